//! The ports of the host's that are to lead to a container.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::{container, holder};
use crate::error::{Error, Result};
use crate::linux::process;
use crate::network::{self, Port, Publish, Seat, Taken};

/// Whether each port can lead to the container.
pub(super) fn fits(seat: &Seat) -> Result<()> {
    if seat.network.internal && !seat.reach.ports.is_empty() {
        return Err(Error::new(format!("--publish: the network {} is internal", seat.network.name))
            .hint("nothing outside reaches it; another network does not have that"));
    }
    let leads = |port: &&Port| {
        seat.mappings().iter().any(|mapping| mapping.to.1 == port.inner && fitting(port, mapping.to.0))
    };
    match seat.reach.ports.iter().find(|port| !leads(port)) {
        Some(port) => {
            Err(Error::new(format!("--publish {}: the container has no such address to lead to", shown(*port)))
                .hint(format!("the network {} has no IPv6", seat.network.name)))
        }
        None => Ok(()),
    }
}

fn fitting(port: &Port, to: std::net::IpAddr) -> bool {
    port.at.is_none_or(|at| at.is_ipv4() == to.is_ipv4())
}

/// How often, and after how many milliseconds, one whose holder is about to end is tried again.
const TRIES: u32 = 40;
const PAUSE: u64 = 25;

/// Reserves the ports that are to be published.
pub(super) fn take(publish: &[Publish], v6: bool) -> Result<(Vec<Port>, Vec<OwnedFd>)> {
    if publish.is_empty() {
        return Ok(Default::default());
    }
    let mut tries = 0;
    loop {
        // Where the ports of containers that were killed lead, ours are to lead: those are cleared up now.
        let containers = container::all()?;
        let Taken { port, errno } = match network::reserve(publish, v6) {
            Ok(ports) => return Ok(ports),
            Err(taken) => taken,
        };
        let error = match errno {
            Errno::ADDRINUSE => {
                let holder = holder::of(port, &containers);
                tries += 1;
                if holder.is_none() && tries < TRIES {
                    process::pause(PAUSE);
                    continue;
                }
                let who = holder.unwrap_or_else(|| "somebody".into());
                Error::new(format!("port {} is taken: {who} has it", shown(port)))
                    .hint("publish it at another port, or -p PORT for any that is free")
            }
            Errno::ADDRNOTAVAIL => Error::os(format!("--publish {}", shown(port)), errno)
                .hint("the host has no such address; ip addr lists those it has"),
            Errno::ACCESS => Error::os(format!("--publish {}", shown(port)), errno)
                .hint("ports below /proc/sys/net/ipv4/ip_unprivileged_port_start need root"),
            Errno::MFILE => Error::os("--publish", errno).hint("each port takes a descriptor: ulimit -n"),
            _ => Error::os(format!("reserve the port {}", shown(port)), errno),
        };
        return Err(error);
    }
}

fn shown(port: Port) -> String {
    let number = if port.number == 0 { port.inner } else { port.number };
    match port.at {
        Some(at) => format!("{}/{}", std::net::SocketAddr::new(at, number), port.protocol()),
        None => format!("{number}/{}", port.protocol()),
    }
}
