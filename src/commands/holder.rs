//! Who has a port of the host's.

use std::ffi::CString;

use rustix::fs::{CWD, Dir};

use super::container::Container;
use crate::linux::file;
use crate::network::Port;

/// A container of nsctl's, or a process. None: nobody who can be seen.
pub(super) fn of(port: Port, containers: &[Container]) -> Option<String> {
    let end = format!(":{}->", port.number);
    let has = |container: &&Container| {
        let network = container.record().network.as_ref().filter(|_| container.entry.alive);
        network.is_some_and(|network| {
            network.ports.iter().any(|text| text.contains(&end) && text.ends_with(port.protocol()))
        })
    };
    if let Some(container) = containers.iter().find(has) {
        return Some(format!("container {}", container.shown()));
    }
    let socket = format!("socket:[{}]", inode(port)?);
    let processes = Dir::read_from(file::open_dir(CWD, c"/proc").ok()?).ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let path = CString::new(format!("/proc/{pid}/fd")).ok()?;
        let dir = file::open_dir(CWD, &path).ok()?;
        let mut open = Dir::read_from(&dir).ok()?.filter_map(std::result::Result::ok);
        open.any(|entry| {
            rustix::fs::readlinkat(&dir, entry.file_name(), Vec::new())
                .is_ok_and(|link| link.as_bytes() == socket.as_bytes())
        })
        .then(|| format!("{} (process {pid})", name(pid)))
    })
}

fn name(pid: u32) -> String {
    let path = CString::new(format!("/proc/{pid}/comm")).unwrap_or_default();
    file::read_text(CWD, &path).map_or_else(|_| "a process".into(), |text| text.trim_end().into())
}

/// The socket at the port, as proc_net_tcp(5) and its like list it.
fn inode(port: Port) -> Option<String> {
    let files = if port.udp { [c"/proc/net/udp", c"/proc/net/udp6"] } else { [c"/proc/net/tcp", c"/proc/net/tcp6"] };
    let end = format!(":{:04X}", port.number);
    files.iter().find_map(|path| {
        let text = file::read_text(CWD, path).ok()?;
        text.lines().skip(1).find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            // A connection from a port is not one to it: 0A is a listener, 07 a socket of UDP.
            let (local, condition) = (fields.nth(1)?, fields.nth(1)?);
            (local.ends_with(&end) && matches!(condition, "0A" | "07")).then(|| fields.nth(5))?.map(String::from)
        })
    })
}
