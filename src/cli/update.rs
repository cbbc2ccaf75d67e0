//! `nsctl update`, as typed.

use lexopt::{Arg, Parser};

use super::{Command, Limits, log_format, unexpected, wrong};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Update {
    pub(crate) limits: Limits,
    pub(crate) containers: Vec<String>,
}

pub(super) fn update(parser: &mut Parser, log_json: &mut bool) -> Result<Command> {
    let mut update = Update::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("help") => return Ok(Command::Help("update")),
            Arg::Long("log-format") => *log_json = log_format(parser)?,
            Arg::Value(word) => update.containers.push(word.to_string_lossy().into_owned()),
            Arg::Short('m') => take("memory", &mut update, parser)?,
            Arg::Short('c') => take("cpu-shares", &mut update, parser)?,
            Arg::Long(name) => {
                let name = name.to_string();
                take(&name, &mut update, parser)?;
            }
            other => return Err(unexpected(other)),
        }
    }
    if update.containers.is_empty() {
        return Err(Error::new("no container was given").hint("nsctl ps lists them"));
    }
    if update.limits.0.is_empty() {
        return Err(Error::new("no limit was given"));
    }
    Ok(Command::Update(Box::new(update)))
}

fn take(name: &str, update: &mut Update, parser: &mut Parser) -> Result<()> {
    if update.limits.take(name, parser)? {
        return Ok(());
    }
    let why = match name {
        "oom-score-adj" | "cgroup-parent" | "cgroup" | "cgroup-delegate" | "device-cgroup-rule" => {
            "what a container got at its start stays so"
        }
        "restart" => "start it anew with another --restart",
        _ => return Err(unexpected(Arg::Long(name))),
    };
    Err(Error::new(format_args!("--{name} is not supported")).hint(why))
}
