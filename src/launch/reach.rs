//! The supervisor's steps that let a network's containers reach others, and others reach them.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::explain;
use crate::linux::net::conf::Switch;
use crate::linux::net::nft::{self, Change, Refused};
use crate::linux::net::{Refusal, undo};
use crate::network::{Stay, undo_ports};
use crate::plan::Op;
use crate::verdict;

/// `container` is its directory.
#[inline(never)]
pub(super) fn step(op: &Op, stay: &Stay, container: Option<BorrowedFd<'_>>) -> Result<()> {
    match op {
        Op::Rules { done: true, .. } | Op::Switch { done: true, .. } => Ok(()),
        Op::Rules { changes, optional, .. } => match rules(changes, stay) {
            Err(error) if *optional => {
                let less = match changes.iter().any(|change| matches!(change, Change::Map(_))) {
                    true => "the container reaches the host and its network, and nothing else",
                    false => "nothing keeps what the host passes on out of the internal network",
                };
                eprintln!("nsctl: warning: {error}: {less}");
                Ok(())
            }
            other => other,
        },
        Op::Switch { switches, back, .. } => {
            set(switches, *back, stay);
            Ok(())
        }
        Op::Publish(mappings) => {
            let dir = container.ok_or_else(|| Error::os("write down the ports", Errno::NOENT))?;
            undo::keep(dir, &undo_ports(mappings)).map_err(|errno| Error::os("write down the ports", errno))?;
            let socket = stay.netfilter.as_ref().ok_or_else(|| refused(&[], none()))?;
            socket.publish(mappings).map_err(|refused| {
                let changes: Vec<Change> =
                    nft::elements(mappings).map(|(map, of)| Change::Elements(map, of)).collect();
                self::refused(&changes, refused)
            })
        }
        _ => unreachable!("no step of these"),
    }
}

fn rules(changes: &[Change], stay: &Stay) -> Result<()> {
    let socket = stay.netfilter.as_ref().ok_or_else(|| refused(changes, none()))?;
    let undo = undo::Undo::Rules(nft::batch(&nft::farewell(changes), None));
    undo::keep(stay.networks(), &[undo]).map_err(|errno| Error::os("write down the rules of the network", errno))?;
    socket.change(changes).map_err(|refusal| refused(changes, refusal))
}

/// As where there is not even a socket for it.
fn none() -> Refused {
    Refused { change: 0, refusal: Refusal::from(Errno::PROTONOSUPPORT) }
}

fn refused(changes: &[Change], Refused { change, refusal }: Refused) -> Error {
    let change = changes.get(change).unwrap_or(&Change::Table);
    verdict::rules(change, &explain::nft(change), refusal.errno).because(&refusal.said)
}

/// What cannot be switched is said, and the container does with less.
fn set(switches: &[Switch], back: bool, stay: &Stay) {
    let mut done: [Vec<String>; 2] = Default::default();
    for switch in switches {
        // Before: whoever comes after a killed one sets it back.
        if back {
            let _ = undo::keep(stay.networks(), &[undo::Undo::Back(switch.clone())]);
        }
        match stay.conf.set(switch.v6, &switch.file, switch.value) {
            Ok(()) => {
                let file = switch.file.to_string_lossy();
                if let Some((interface, "forwarding" | "force_forwarding")) = file.split_once('/') {
                    done[usize::from(switch.v6)].push(interface.into());
                }
            }
            // The interface is gone since.
            Err(Errno::NOENT) => {}
            Err(errno) => {
                let error = Error::os(format!("write {}", explain::path(switch)), errno);
                eprintln!("nsctl: warning: {error}: what the container sends may not be passed on");
            }
        }
    }
    for (kind, interfaces) in
        ["IPv4", "IPv6"].iter().zip(done).filter(|(_, interfaces)| back && !interfaces.is_empty())
    {
        eprintln!(
            "nsctl: {kind} forwarding is switched on ({}) for as long as a container uses a network",
            interfaces.join(", ")
        );
    }
}
