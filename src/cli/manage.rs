//! `nsctl rename` and `nsctl prune`, as typed.

use lexopt::{Arg, Parser, ValueExt};

use super::{Command, text, unexpected, wrong};
use crate::error::{Error, Result};

pub(crate) struct Rename {
    pub(crate) container: String,
    pub(crate) name: String,
}

#[derive(Default)]
pub(crate) struct Prune {
    pub(crate) force: bool,
    pub(crate) filter: Vec<String>,
}

pub(super) fn rename(parser: &mut Parser) -> Result<Command> {
    let mut words = Vec::new();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("help") => return Ok(Command::Help("rename")),
            Arg::Value(word) => words.push(word.string().map_err(wrong)?),
            other => return Err(unexpected(other)),
        }
    }
    match <[String; 2]>::try_from(words) {
        Ok([container, name]) => Ok(Command::Rename(Rename { container, name })),
        Err(_) => Err(Error::new("nsctl rename takes a container and its new name")),
    }
}

pub(super) fn prune(parser: &mut Parser) -> Result<Command> {
    let mut prune = Prune::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("force") | Arg::Short('f') => prune.force = true,
            Arg::Long("filter") => prune.filter.push(text(parser)?),
            Arg::Long("help") => return Ok(Command::Help("prune")),
            other => return Err(unexpected(other)),
        }
    }
    Ok(Command::Prune(prune))
}
