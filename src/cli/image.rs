//! `nsctl image`, as typed.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::{Command, Listing, once_text, once_word, unexpected, wrong};
use crate::error::{Error, Result};

pub(crate) enum Image {
    Import { what: OsString, name: Option<String>, store: Option<OsString>, max_unpacked: Option<String> },
    Ls { listing: Listing, store: Option<OsString> },
    Rm { force: bool, images: Vec<OsString>, store: Option<OsString> },
    Inspect { image: OsString, store: Option<OsString> },
}

/// All options of all verbs; which of them belong to this one is decided as they come.
#[derive(Default)]
struct Typed {
    name: Option<String>,
    store: Option<OsString>,
    max_unpacked: Option<String>,
    listing: Listing,
    force: bool,
    words: Vec<OsString>,
}

const VERBS: [&str; 4] = ["import", "ls", "rm", "inspect"];

pub(super) fn image(parser: &mut Parser) -> Result<Command> {
    let verb = match parser.next().map_err(wrong)? {
        Some(Arg::Long("help")) => return Ok(Command::Help("image")),
        Some(Arg::Value(verb)) => verb,
        Some(other) => return Err(unexpected(other, "image")),
        None => {
            return Err(Error::new("nsctl image: nothing was asked for")
                .hint("it has import, ls, rm, inspect; see nsctl image --help"));
        }
    };
    let Some(verb) = VERBS.into_iter().find(|known| verb == **known) else {
        return Err(Error::new(format_args!("nsctl image has no command {}", verb.display()))
            .hint("it has import, ls, rm, inspect; see nsctl image --help"));
    };
    let mut typed = Typed::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match (verb, arg) {
            (_, Arg::Long("help")) => return Ok(Command::Help("image")),
            (_, Arg::Long("store")) => once_word(&mut typed.store, "--store", parser)?,
            ("import", Arg::Long("name")) => once_text(&mut typed.name, "--name", parser)?,
            ("import", Arg::Long("max-unpacked")) => once_text(&mut typed.max_unpacked, "--max-unpacked", parser)?,
            ("ls", Arg::Long("quiet") | Arg::Short('q')) => typed.listing.quiet = true,
            ("ls", Arg::Long("no-trunc")) => typed.listing.no_trunc = true,
            ("ls", Arg::Long("format")) => typed.listing.format(parser)?,
            ("rm", Arg::Long("force") | Arg::Short('f')) => typed.force = true,
            ("import" | "rm" | "inspect", Arg::Value(word)) => typed.words.push(word),
            (_, other) => return Err(unexpected(other, "image")),
        }
    }
    meaning(verb, typed).map(Command::Image)
}

fn meaning(verb: &str, typed: Typed) -> Result<Image> {
    let Typed { name, store, max_unpacked, listing, force, mut words } = typed;
    let mut one = |what: &str| match (words.pop(), words.is_empty()) {
        (Some(word), true) => Ok(word),
        (None, _) => Err(Error::new(format_args!("nsctl image {verb}: no {what} was given"))),
        _ => Err(Error::new(format_args!("nsctl image {verb} takes one {what}"))),
    };
    match verb {
        "import" => Ok(Image::Import { what: one("path")?, name, store, max_unpacked }),
        "inspect" => Ok(Image::Inspect { image: one("image")?, store }),
        "rm" if words.is_empty() => Err(Error::new("nsctl image rm: no image was given")),
        "rm" => Ok(Image::Rm { force, images: words, store }),
        _ => Ok(Image::Ls { listing: listing.checked("image ls")?, store }),
    }
}
