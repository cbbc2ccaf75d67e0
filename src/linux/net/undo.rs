//! Messages that undo what was done, kept in a file until it is time: so that a process that must not allocate can send them, and
//! whoever clears up behind a killed one.
//!
//! The file is a row of batches: what is meant and the length, 4 bytes each, then the bytes as they go over the wire of a netlink
//! protocol, or a switch of an interface. They ask for no acknowledgement: what is gone already is no error.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::conf::{Conf, Switch};
use super::{Message, Socket};
use crate::linux::file;

pub(crate) const UNDO: &CStr = c"undo";
/// What is written, before it is [`UNDO`].
pub(crate) const NEW: &CStr = c"undo.new";
/// The most bytes of a batch.
pub(crate) const MOST: usize = 8 << 10;
/// linux/rtnetlink.h.
const RTM_NEWROUTE: u16 = 24;
const ROUTE: u32 = 0;
const NETFILTER: u32 = 12;
/// A digit, and the file below net/ipv4/conf or net/ipv6/conf with a NUL byte.
const CONF: [u32; 2] = [0x100, 0x101];

/// What is to be done at the end.
pub(crate) enum Undo {
    Route(Message),
    /// A transaction of nf_tables.
    Rules(Vec<u8>),
    /// Back to what it was.
    Back(Switch),
}

/// How it is done: all of it in the namespace of the host.
pub(crate) struct Ways<'a> {
    pub(crate) route: Option<&'a Socket>,
    pub(crate) netfilter: Option<&'a Socket>,
    pub(crate) conf: &'a Conf,
}

/// Writes down what is to be done at the end, besides what is written down already. EMSGSIZE: a batch is too long.
pub(crate) fn keep(dir: impl AsFd, undo: &[Undo]) -> Result<(), Errno> {
    let mut bytes = file::read(&dir, UNDO).unwrap_or_default();
    for one in undo {
        let (what, batch) = match one {
            Undo::Route(message) => (ROUTE, message.alone()),
            Undo::Rules(batch) => (NETFILTER, batch.clone()),
            Undo::Back(switch) => {
                let mut batch = vec![switch.was];
                batch.extend(switch.file.as_bytes_with_nul());
                (CONF[usize::from(switch.v6)], batch)
            }
        };
        if batch.len() > MOST {
            return Err(Errno::MSGSIZE);
        }
        let entry = [&what.to_ne_bytes(), &(batch.len() as u32).to_ne_bytes(), &batch[..]].concat();
        // Networks that come and go while another stays have some of it in common.
        if !bytes.windows(entry.len()).any(|known| known == entry) {
            bytes.extend(entry);
        }
    }
    file::replace(dir, NEW, UNDO, &bytes)
}

/// For whoever finds what a killed process left: in the namespace of the host.
pub(crate) fn heal(dir: BorrowedFd<'_>) {
    if rustix::fs::accessat(dir, UNDO, Access::EXISTS, AtFlags::empty()).is_ok() {
        let (route, netfilter) = (Socket::route().ok(), Socket::netfilter().ok());
        all(dir, &Ways { route: route.as_ref(), netfilter: netfilter.as_ref(), conf: &Conf::open() });
    }
}

/// Does all of it, and forgets it. Does not allocate.
pub(crate) fn all(dir: BorrowedFd<'_>, ways: &Ways<'_>) {
    each(dir, &mut |what, batch| match what {
        ROUTE => ways.route.iter().for_each(|socket| _ = socket.send(batch)),
        NETFILTER => ways.netfilter.iter().for_each(|socket| _ = socket.send(batch)),
        _ => back(what == CONF[1], batch, ways.conf),
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

fn back(v6: bool, bytes: &[u8], conf: &Conf) {
    let Some((value, file)) = bytes.split_first() else { return };
    // All interfaces were switched on since, by somebody who means it.
    if !v6 && conf.get(false, c"all/forwarding") == Some(b'1') {
        return;
    }
    if let Ok(file) = CStr::from_bytes_until_nul(file) {
        let _ = conf.set(v6, file, *value);
    }
}
