//! `nsctl events`, as typed.

use lexopt::{Arg, Parser};

use super::{Command, choice, once_text, text, unexpected, wrong};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Events {
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) filter: Vec<String>,
    pub(crate) json: bool,
}

pub(super) fn events(parser: &mut Parser) -> Result<Command> {
    let mut events = Events::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("since") => once_text(&mut events.since, "--since", parser)?,
            Arg::Long("until") => once_text(&mut events.until, "--until", parser)?,
            Arg::Long("filter") | Arg::Short('f') => events.filter.push(text(parser)?),
            Arg::Long("format") => events.json = choice(parser, "--format", ["text", "json"])? == 1,
            Arg::Long("json") => events.json = true,
            Arg::Long("help") => return Ok(Command::Help("events")),
            other => return Err(unexpected(other)),
        }
    }
    Ok(Command::Events(events))
}
