//! The verbs that a person types.

mod attach;
pub(crate) mod check;
mod container;
pub(crate) mod copy;
mod effective;
pub(crate) mod events;
pub(crate) mod exec;
mod filter;
mod holder;
mod ids;
pub(crate) mod image;
mod inspect;
mod lifecycle;
mod logs;
pub(crate) mod machine;
pub(crate) mod manage;
mod names;
mod network;
mod port;
mod ports;
mod program;
pub(crate) mod ps;
mod rootless;
pub(crate) mod run;
mod seat;
mod start;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod top;
pub(crate) mod update;

pub(crate) use network::network;

use crate::error::{Error, Result};
use crate::linux::file;

/// The verbs about containers that are there.
#[inline(never)]
pub(crate) fn verb(typed: &crate::cli::Verb) -> Result<u8> {
    match typed.name {
        "attach" => attach::attach(typed),
        "start" if typed.attach => attach::start(typed),
        "logs" => logs::logs(typed),
        "inspect" => inspect::inspect(typed),
        "port" => port::port(typed),
        _ => lifecycle::verb(typed),
    }
}

/// Writes to standard output. A closed pipe ends us by SIGPIPE, as users of `head` expect; a full disk is an error.
pub(crate) fn print(text: &str) -> Result<()> {
    file::write_all(rustix::stdio::stdout(), text.as_bytes())
        .map_err(|errno| Error::os("write to standard output", errno))
}

/// What they read of what others wrote.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    logs::survives(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    events::survives(text);
    filter::survives(text);
    stats::survives(text);
    table::survives(text);
}
