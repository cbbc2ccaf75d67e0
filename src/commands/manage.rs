//! `nsctl rename` and `nsctl prune`.

use rustix::io::Errno;

use super::container::{self, REFUSED, done};
use super::{filter, lifecycle, print};
use crate::cli;
use crate::error::{self, Error, Result};
use crate::network::Networks;
use crate::spec;
use crate::state::Phase;
use crate::state::events::Value;

#[inline(never)]
pub(crate) fn rename(typed: &cli::Rename) -> Result<u8> {
    let mut container = container::find(&typed.container)?;
    let name = spec::container_name("the new name", typed.name.clone())?;
    let old = container.record().name.clone();
    if old == name {
        return Err(container.refused("has that name already"));
    }
    container.state.rename(&mut container.entry.record, &name).map_err(|errno| {
        let error = Error::os(format_args!("rename container {}", typed.container), errno).code(REFUSED);
        if errno == Errno::EXIST { error.hint(format_args!("another container has the name {name}")) } else { error }
    })?;
    let record = container.record();
    if let (Some(attachment), Some(networks)) = (&record.network, Networks::existing(container.state.fd())) {
        networks.rename(&attachment.network, &record.id, &name);
    }
    container.note("rename", &[("oldName", Value::Text(&old))]);
    Ok(0)
}

#[inline(never)]
pub(crate) fn prune(typed: &cli::Prune) -> Result<u8> {
    let filters = filter::read(&typed.filter, &["label", "until"])?;
    if !typed.force && !agreed("All containers that have ended will be removed, with what they wrote.")? {
        return Ok(0);
    }
    let mut code = 0;
    container::allow_many();
    for container in container::all()? {
        if container.phase() != Phase::Exited || !filter::fit(&filters, &container) {
            continue;
        }
        let removed = lifecycle::remove(&container, false);
        if let Err(error) = removed.and_then(|()| done(&container.record().id)) {
            error::report(&error);
            code = REFUSED;
        }
    }
    Ok(code)
}

/// Says what would be done, and asks whether it shall.
pub(super) fn agreed(what: &str) -> Result<bool> {
    if !rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Error::new("there is no terminal to ask").hint("--force removes without asking"));
    }
    print(&format!("{what} Go on? [y/N] "))?;
    // A terminal hands out a line at a time.
    let mut answer = [0; 16];
    let length = rustix::io::read(rustix::stdio::stdin(), &mut answer).unwrap_or(0);
    Ok(matches!(answer[..length].trim_ascii(), b"y" | b"Y" | b"yes"))
}
