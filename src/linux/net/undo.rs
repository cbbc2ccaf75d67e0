//! Messages that undo what was done, kept in a file until it is time: so that a process that must not allocate can send them, and
//! whoever clears up behind a killed one.
//!
//! The file is a row of batches: the netlink protocol and the length, 4 bytes each, then the bytes as they go over the wire. They ask
//! for no acknowledgement: what is gone already is no error.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::Socket;
use crate::linux::file;

pub(crate) const UNDO: &CStr = c"undo";
const NEW: &CStr = c"undo.new";
/// The most bytes of a batch.
pub(crate) const MOST: usize = 8 << 10;
pub(crate) const ROUTE: u32 = 0;
pub(crate) const NETFILTER: u32 = 12;
/// linux/rtnetlink.h.
const RTM_NEWROUTE: u16 = 24;

/// Writes down what is to be sent at the end. EMSGSIZE: a batch is too long.
pub(crate) fn keep(dir: impl AsFd, batches: &[(u32, Vec<u8>)]) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    for (protocol, batch) in batches {
        if batch.len() > MOST {
            return Err(Errno::MSGSIZE);
        }
        bytes.extend(protocol.to_ne_bytes());
        bytes.extend((batch.len() as u32).to_ne_bytes());
        bytes.extend(batch);
    }
    file::replace(dir, NEW, UNDO, &bytes)
}

/// For whoever finds what a killed process left: in the namespace of the host.
pub(crate) fn heal(dir: BorrowedFd<'_>) {
    if rustix::fs::accessat(dir, UNDO, Access::EXISTS, AtFlags::empty()).is_ok() {
        all(dir, Socket::route().ok().as_ref(), Socket::netfilter().ok().as_ref());
    }
}

/// Sends all of it, and forgets it. Does not allocate.
pub(crate) fn all(dir: BorrowedFd<'_>, route: Option<&Socket>, netfilter: Option<&Socket>) {
    each(dir, &mut |protocol, batch| {
        let socket = if protocol == ROUTE { route } else { netfilter };
        socket.iter().for_each(|socket| _ = socket.send(batch));
    });
}

/// The same for messages that are all about one interface, one in each batch: it has this number now.
pub(super) fn of_interface(dir: BorrowedFd<'_>, route: &Socket, index: u32) {
    each(dir, &mut |_, message| {
        // In ifinfomsg and ifaddrmsg it comes after four bytes; of a route it is the first attribute after rtmsg. Before all of them
        // is the message's own header, in which the type comes after four bytes.
        let is_route = message.get(4..6) == Some(&RTM_NEWROUTE.to_ne_bytes()[..]);
        let place = if is_route { 32..36 } else { 20..24 };
        if let Some(number) = message.get_mut(place) {
            number.copy_from_slice(&index.to_ne_bytes());
            let _ = route.send(message);
        }
    });
}

fn each(dir: BorrowedFd<'_>, act: &mut dyn FnMut(u32, &mut [u8])) {
    let Ok(kept) = file::open_no_link(dir, UNDO) else { return };
    let mut bytes = [0u8; MOST];
    let mut header = [0u8; 8];
    while matches!(rustix::io::read(&kept, &mut header), Ok(8)) {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = (word(4) as usize).min(MOST);
        let Ok(read) = rustix::io::read(&kept, &mut bytes[..length]) else { return };
        act(word(0), &mut bytes[..read]);
    }
    let _ = rustix::fs::unlinkat(dir, UNDO, AtFlags::empty());
}
