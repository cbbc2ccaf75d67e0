//! `nsctl cp`, as typed.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::{Command, unexpected, wrong};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Copy {
    pub(crate) archive: bool,
    pub(crate) follow: bool,
    pub(crate) source: OsString,
    pub(crate) dest: OsString,
}

pub(super) fn copy(parser: &mut Parser) -> Result<Command> {
    let mut copy = Copy::default();
    let mut words = Vec::new();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("archive") | Arg::Short('a') => copy.archive = true,
            Arg::Long("follow-link") | Arg::Short('L') => copy.follow = true,
            // There is no progress to be shown.
            Arg::Long("quiet") | Arg::Short('q') => {}
            Arg::Long("help") => return Ok(Command::Help("cp")),
            Arg::Value(word) => words.push(word),
            other => return Err(unexpected(other)),
        }
    }
    match <[OsString; 2]>::try_from(words) {
        Ok([source, dest]) => Ok(Command::Copy(Copy { source, dest, ..copy })),
        Err(_) => Err(Error::new("nsctl cp takes a source and a destination").hint("see nsctl cp --help")),
    }
}
