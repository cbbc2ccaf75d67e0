//! `nsctl network`, as typed.

use lexopt::{Arg, Parser};

use super::{Command, Listing, once_text, text, unexpected, wrong};
use crate::error::{Error, Result};

pub(crate) enum Networks {
    Create(Box<Create>),
    Ls(Listing),
    Rm { force: bool, names: Vec<String> },
    Inspect(Vec<String>),
    Prune { force: bool },
}

#[derive(Default)]
pub(crate) struct Create {
    pub(crate) name: String,
    pub(crate) subnet: Vec<String>,
    pub(crate) gateway: Vec<String>,
    pub(crate) internal: bool,
    /// None: as the kernel has it.
    pub(crate) ipv6: Option<bool>,
    pub(crate) mtu: Option<String>,
    pub(crate) label: Vec<String>,
}

/// All options of all verbs; which of them belong to this one is decided as they come.
#[derive(Default)]
struct Typed {
    create: Box<Create>,
    listing: Listing,
    force: bool,
    names: Vec<String>,
}

const VERBS: [&str; 6] = ["create", "ls", "list", "rm", "inspect", "prune"];

pub(super) fn network(parser: &mut Parser) -> Result<Command> {
    let word = match parser.next().map_err(wrong)? {
        Some(Arg::Long("help")) => return Ok(Command::Help("network")),
        Some(Arg::Value(word)) => word,
        Some(other) => return Err(unexpected(other)),
        None => return Err(none("nothing was asked for")),
    };
    let Some(verb) = VERBS.into_iter().find(|known| word == **known) else {
        return Err(none(&format!("there is no command {}", word.display())));
    };
    let mut typed = Typed::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        let create = &mut typed.create;
        match (verb, arg) {
            (_, Arg::Long("help")) => return Ok(Command::Help("network")),
            ("create", Arg::Long("subnet")) => create.subnet.push(text(parser)?),
            ("create", Arg::Long("gateway")) => create.gateway.push(text(parser)?),
            ("create", Arg::Long("internal")) => super::run::flag(&mut create.internal, parser)?,
            ("create", Arg::Long("ipv6")) => super::run::flag(create.ipv6.get_or_insert_default(), parser)?,
            ("create", Arg::Long("mtu")) => once_text(&mut create.mtu, "--mtu", parser)?,
            ("create", Arg::Long("opt") | Arg::Short('o')) => option(create, &text(parser)?)?,
            ("create", Arg::Long("driver") | Arg::Short('d')) => driver(&text(parser)?)?,
            ("create", Arg::Long("label")) => create.label.push(text(parser)?),
            ("ls" | "list", Arg::Long("quiet") | Arg::Short('q')) => typed.listing.quiet = true,
            ("ls" | "list", Arg::Long("no-trunc")) => typed.listing.no_trunc = true,
            ("ls" | "list", Arg::Long("format")) => typed.listing.format(parser)?,
            ("rm" | "prune", Arg::Long("force") | Arg::Short('f')) => typed.force = true,
            ("create" | "rm" | "inspect", Arg::Value(word)) => {
                typed.names.push(word.to_string_lossy().into_owned());
            }
            (_, other) => return Err(unexpected(other)),
        }
    }
    meaning(verb, typed).map(Command::Network)
}

fn meaning(verb: &str, typed: Typed) -> Result<Networks> {
    let Typed { mut create, listing, force, mut names } = typed;
    if names.is_empty() && ["create", "rm", "inspect"].contains(&verb) {
        return Err(Error::new(format!("nsctl network {verb}: no network was given")));
    }
    Ok(match verb {
        "create" if names.len() > 1 => return Err(Error::new("nsctl network create makes one network")),
        "create" => {
            create.name = names.remove(0);
            Networks::Create(create)
        }
        "rm" => Networks::Rm { force, names },
        "inspect" => Networks::Inspect(names),
        "prune" => Networks::Prune { force },
        _ => Networks::Ls(listing.checked()?),
    })
}

/// docker's way to say it.
fn option(create: &mut Create, typed: &str) -> Result<()> {
    match typed.split_once('=') {
        Some(("mtu" | "com.docker.network.driver.mtu", mtu)) => super::once(&mut create.mtu, "--mtu", mtu.into()),
        _ => Err(Error::new(format!("nsctl network create: there is no option {typed}")).hint("there is mtu=BYTES")),
    }
}

fn driver(typed: &str) -> Result<()> {
    match typed {
        "bridge" => Ok(()),
        _ => Err(Error::new(format!("nsctl network create: there is no driver {typed}")).hint(
            "a network is a bridge; run --network macvlan:IFACE or ipvlan:IFACE takes an interface of the host's",
        )),
    }
}

fn none(what: &str) -> Error {
    Error::new(format!("nsctl network: {what}")).hint(
        "it has create, ls, rm, inspect, prune; a container has the network it was started with: run --network NAME",
    )
}
