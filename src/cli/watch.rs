//! `nsctl top` and `nsctl stats`, as typed.

use lexopt::{Arg, Parser, ValueExt};

use super::{Command, Listing, unexpected, wrong};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Top {
    pub(crate) container: String,
    pub(crate) listing: Listing,
}

#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) containers: Vec<String>,
    pub(crate) all: bool,
    pub(crate) once: bool,
    pub(crate) listing: Listing,
}

pub(super) fn top(parser: &mut Parser) -> Result<Command> {
    let mut top = Top::default();
    let mut containers = Vec::new();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("format") => top.listing.format(parser)?,
            Arg::Long("json") => top.listing.json()?,
            Arg::Long("quiet") | Arg::Short('q') => top.listing.quiet = true,
            Arg::Long("no-trunc") => top.listing.no_trunc = true,
            Arg::Long("help") => return Ok(Command::Help("top")),
            Arg::Value(word) => containers.push(word.string().map_err(wrong)?),
            other if !containers.is_empty() => {
                let ps = "what ps(1) shows of a container could be made up by the container";
                return Err(unexpected(other).hint(format_args!("{ps}; --format takes columns")));
            }
            other => return Err(unexpected(other)),
        }
    }
    top.listing = top.listing.checked()?;
    match containers.len() {
        1 => Ok(Command::Top(Top { container: containers.remove(0), ..top })),
        0 => Err(Error::new("no container was given").hint("nsctl ps lists them")),
        _ => Err(Error::new("nsctl top takes one container, and no options of ps").hint("--format takes columns")),
    }
}

pub(super) fn stats(parser: &mut Parser) -> Result<Command> {
    let mut stats = Stats::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("all") | Arg::Short('a') => stats.all = true,
            Arg::Long("no-stream") => stats.once = true,
            Arg::Long("format") => stats.listing.format(parser)?,
            Arg::Long("json") => stats.listing.json()?,
            Arg::Long("no-trunc") => stats.listing.no_trunc = true,
            Arg::Long("help") => return Ok(Command::Help("stats")),
            Arg::Value(word) => stats.containers.push(word.string().map_err(wrong)?),
            other => return Err(unexpected(other)),
        }
    }
    if stats.all && !stats.containers.is_empty() {
        return Err(Error::new("--all and names of containers contradict each other"));
    }
    Ok(Command::Stats(stats))
}
