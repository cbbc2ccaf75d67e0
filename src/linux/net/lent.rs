//! An interface of the host's that is in a container, and how it comes back: by itself it would go to the machine's first network
//! namespace, which need not be that of nsctl, and only if it is a piece of hardware; another one would be gone.
//!
//! What it had is kept as [`undo`] keeps it: if nobody is left to bring the interface back, whoever clears up later at least asks for
//! that of the one that the kernel has brought back.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::netlink as r;
use netlink_bindings::rt_link::{Ifinfomsg, PushLinkAttrs};

use super::undo::Undo;
use super::{Request, Result, Socket, request, undo};
use crate::linux::sys::net::namespace_of;
use crate::linux::text::Text;

/// It keeps the container's namespace alive. Whoever has it gives the interface back at the container's end.
pub(crate) struct Lent {
    outside: Socket,
    inside: Socket,
    /// The host's: the message that brings it back has the descriptor's number in it.
    home: OwnedFd,
    name: Text<16>,
    back: Text<128>,
}

impl Lent {
    /// Moves an interface from the host's namespace, where `outside` is, to that of `inside`. `again` is what is asked for when it is
    /// back, kept in `dir`, the container's directory.
    pub(crate) fn lend(
        name: &CStr,
        [outside, inside]: [&Socket; 2],
        again: &[Request],
        dir: BorrowedFd<'_>,
    ) -> Result<Self> {
        let (home, here) = (namespace_of(outside.fd())?, namespace_of(inside.fd())?);
        let mut kept = Vec::new();
        for request in again {
            kept.push(Undo::Route(request.message_for(outside)?));
        }
        undo::keep(dir, &kept)?;
        let mut lent =
            Self { outside: outside.again()?, inside: inside.again()?, home, name: Text::new(), back: Text::new() };
        lent.name.push(name.to_bytes())?;
        let number = outside.index(name)?;
        Request::Move { name: name.into(), new_name: name.into() }.send(outside, here.as_fd())?;
        // By its number: inside, it may be renamed.
        let header = Ifinfomsg { ifi_index: inside.index(name)? as i32, ..Ifinfomsg::new() };
        let mut message = request::link(r::RTM_SETLINK, 0, &header);
        let attributes =
            PushLinkAttrs::new(&mut message.payload).push_net_ns_fd(lent.home.as_raw_fd() as u32).push_ifname(name);
        // Since Linux 5.13; before that it may come back with another number.
        drop(attributes.push_new_ifindex(number as i32));
        lent.back.push(&message.alone())?;
        Ok(lent)
    }

    /// `dir` is the container's directory. Errors are nobody's: the interface may have been removed, and its name may be taken. Does
    /// not allocate.
    pub(crate) fn give_back(&self, dir: BorrowedFd<'_>) {
        let _ = self.inside.send(self.back.as_bytes());
        if let Ok(index) = self.outside.index(self.name.as_c_str()) {
            undo::of_interface(dir, &self.outside, index);
        }
    }
}
