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
const KNOWN: &str = "it has import, ls, rm, inspect; see nsctl image --help";

pub(super) fn image(parser: &mut Parser) -> Result<Command> {
    // Empty until it comes.
    let mut verb = "";
    let mut typed = Typed::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match (verb, arg) {
            (_, Arg::Long("help")) => return Ok(Command::Help("image")),
            (_, Arg::Long("store")) => once_word(&mut typed.store, "--store", parser)?,
            ("", Arg::Value(word)) => {
                verb = VERBS.into_iter().find(|known| word == **known).ok_or_else(|| {
                    Error::new(format_args!("nsctl image has no command {}", word.display())).hint(KNOWN)
                })?;
            }
            ("import", Arg::Long("name")) => once_text(&mut typed.name, "--name", parser)?,
            ("import", Arg::Long("max-unpacked")) => once_text(&mut typed.max_unpacked, "--max-unpacked", parser)?,
            ("ls", Arg::Long("quiet") | Arg::Short('q')) => typed.listing.quiet = true,
            ("ls", Arg::Long("no-trunc")) => typed.listing.no_trunc = true,
            ("ls", Arg::Long("format")) => typed.listing.format(parser)?,
            ("ls", Arg::Long("json")) => typed.listing.json()?,
            ("rm", Arg::Long("force") | Arg::Short('f')) => typed.force = true,
            ("import" | "rm" | "inspect", Arg::Value(word)) => typed.words.push(word),
            (_, other) => return Err(unexpected(other)),
        }
    }
    if verb.is_empty() {
        return Err(Error::new("nsctl image: nothing was asked for").hint(KNOWN));
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
        _ => Ok(Image::Ls { listing: listing.checked()?, store }),
    }
}
