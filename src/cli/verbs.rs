//! The verbs about containers that are there.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::{Command, log_format, once_text, once_word, unexpected, word, wrong};
use crate::error::{Error, Result};

/// One of them, as typed. Which options a verb has is decided here, what they mean by the verb.
#[derive(Default)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) containers: Vec<String>,
    /// `--time`, `--tail`, `--since`, `--until`, `--signal`.
    pub(crate) time: Option<String>,
    pub(crate) tail: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) signal: Option<String>,
    pub(crate) force: bool,
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    pub(crate) attach: bool,
    pub(crate) interactive: bool,
    pub(crate) no_stdin: bool,
    /// `--sig-proxy false`.
    pub(crate) no_proxy: bool,
    pub(crate) detach_keys: Option<String>,
    pub(crate) all: bool,
}

/// `nsctl exec`, as typed.
#[derive(Default)]
pub(crate) struct Exec {
    pub(crate) container: String,
    pub(crate) env: Vec<OsString>,
    pub(crate) env_file: Vec<OsString>,
    pub(crate) workdir: Option<OsString>,
    pub(crate) user: Option<String>,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
    pub(crate) detach: bool,
    pub(crate) explain: bool,
    pub(crate) verbose: bool,
    pub(crate) argv: Vec<OsString>,
}

pub(super) const NAMES: &[&str] =
    &["attach", "start", "stop", "kill", "restart", "wait", "rm", "pause", "unpause", "logs", "inspect", "port"];

pub(super) fn verb(name: &'static str, parser: &mut Parser, log_json: &mut bool) -> Result<Command> {
    let mut verb = Verb { name, ..Verb::default() };
    while let Some(arg) = parser.next().map_err(wrong)? {
        match (name, arg) {
            (_, Arg::Long("help")) => return Ok(Command::Help(name)),
            (_, Arg::Long("log-format")) => *log_json = log_format(parser)?,
            ("stop" | "restart", Arg::Short('t') | Arg::Long("time" | "timeout")) => {
                once_text(&mut verb.time, "--time", parser)?;
            }
            ("stop" | "restart" | "kill", Arg::Short('s') | Arg::Long("signal")) => {
                once_text(&mut verb.signal, "--signal", parser)?;
            }
            ("rm", Arg::Short('f') | Arg::Long("force")) => verb.force = true,
            // There are no anonymous volumes.
            ("rm", Arg::Short('v') | Arg::Long("volumes")) => {}
            ("start", Arg::Short('a') | Arg::Long("attach")) => verb.attach = true,
            ("start", Arg::Short('i') | Arg::Long("interactive")) => verb.interactive = true,
            ("attach", Arg::Long("no-stdin")) => verb.no_stdin = true,
            ("attach" | "start", Arg::Long("sig-proxy")) => {
                let mut proxy = true;
                super::run::flag(&mut proxy, parser)?;
                verb.no_proxy = !proxy;
            }
            ("attach" | "start", Arg::Long("detach-keys")) => {
                once_text(&mut verb.detach_keys, "--detach-keys", parser)?;
            }
            ("logs", Arg::Short('f') | Arg::Long("follow")) => verb.follow = true,
            ("logs", Arg::Short('t') | Arg::Long("timestamps")) => verb.timestamps = true,
            ("logs", Arg::Short('n') | Arg::Long("tail")) => once_text(&mut verb.tail, "--tail", parser)?,
            ("logs", Arg::Long("since")) => once_text(&mut verb.since, "--since", parser)?,
            ("logs", Arg::Long("until")) => once_text(&mut verb.until, "--until", parser)?,
            ("stop" | "kill" | "rm" | "start" | "pause" | "unpause", Arg::Short('a') | Arg::Long("all")) => {
                verb.all = true;
            }
            ("inspect", Arg::Short('f') | Arg::Long("format")) => {
                return Err(Error::new("--format is not supported")
                    .hint("it prints JSON: nsctl inspect NAME | jq '.[0].state.pid'"));
            }
            (_, Arg::Value(word)) => {
                let word = word.into_string().map_err(|word| no_container(&word.to_string_lossy()))?;
                verb.containers.push(word);
            }
            (_, other) => return Err(unexpected(other)),
        }
    }
    if verb.containers.is_empty() != verb.all {
        let what = if verb.all { "--all and names contradict each other" } else { "no container was given" };
        return Err(Error::new(what).hint("nsctl ps -a lists them"));
    }
    if matches!(name, "logs" | "attach") && verb.containers.len() > 1 {
        return Err(Error::new(format_args!("nsctl {name} takes one container")));
    }
    if name == "port" && verb.containers.len() > 2 {
        return Err(Error::new("nsctl port takes one container, and one of its ports"));
    }
    if name == "start" && !verb.attach && (verb.interactive || verb.no_proxy || verb.detach_keys.is_some()) {
        return Err(Error::new("--interactive, --sig-proxy and --detach-keys go with --attach"));
    }
    if verb.attach && verb.containers.len() > 1 {
        return Err(Error::new("nsctl start --attach takes one container"));
    }
    Ok(Command::Verb(Box::new(verb)))
}

pub(crate) fn no_container(name: &str) -> Error {
    Error::new(format_args!("there is no container {name}")).hint("nsctl ps -a lists them").code(1)
}

pub(super) fn exec(parser: &mut Parser, log_json: &mut bool) -> Result<Command> {
    let mut exec = Exec::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("help") => return Ok(Command::Help("exec")),
            Arg::Long("log-format") => *log_json = log_format(parser)?,
            Arg::Short('e') | Arg::Long("env") => exec.env.push(word(parser)?),
            Arg::Long("env-file") => exec.env_file.push(word(parser)?),
            Arg::Short('w') | Arg::Long("workdir") => once_word(&mut exec.workdir, "--workdir", parser)?,
            Arg::Short('u') | Arg::Long("user") => once_text(&mut exec.user, "--user", parser)?,
            Arg::Short('i') | Arg::Long("interactive") => exec.interactive = true,
            Arg::Short('t') | Arg::Long("tty") => exec.tty = true,
            Arg::Short('d') | Arg::Long("detach") => exec.detach = true,
            Arg::Long("explain") => exec.explain = true,
            Arg::Long("verbose") => exec.verbose = true,
            Arg::Long("privileged") => {
                return Err(
                    Error::new("--privileged is not supported").hint("the command gets what the container's own has")
                );
            }
            Arg::Long("detach-keys") => {
                return Err(Error::new("--detach-keys is not supported").hint("the command ends with nsctl exec"));
            }
            Arg::Value(word) if exec.container.is_empty() => {
                exec.container = word.into_string().map_err(|word| no_container(&word.to_string_lossy()))?;
                // Options end at the command's name, which is the next word.
                if let Some(Arg::Value(program)) = parser.next().map_err(wrong)? {
                    exec.argv.push(program);
                    exec.argv.extend(parser.raw_args().map_err(wrong)?);
                }
            }
            other => return Err(unexpected(other)),
        }
    }
    if exec.container.is_empty() || exec.argv.is_empty() {
        let what = if exec.container.is_empty() { "container" } else { "command" };
        return Err(Error::new(format_args!("no {what} was given")).hint("nsctl exec CONTAINER COMMAND"));
    }
    if exec.detach && exec.tty {
        return Err(Error::new("--detach and --tty contradict each other").hint(
            "nobody would be at the other end of the terminal; run --detach --tty makes a container with one",
        ));
    }
    if exec.detach && exec.interactive {
        return Err(Error::new("--detach and --interactive contradict each other"));
    }
    Ok(Command::Exec(Box::new(exec)))
}
