//! Messages on a SOCK_SEQPACKET pair that carry a descriptor (SCM_RIGHTS, unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// Sends one message, and a copy of the descriptor with it. Does not allocate.
pub(crate) fn send(to: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let Some(fd) = fd else {
        return rustix::net::send(to, bytes, SendFlags::NOSIGNAL).map(|_| ());
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(to, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL).map(|_| ())
}

/// Takes one message into `bytes`: its length (0: the other side is closed), and the descriptor that came with it. More than
/// one descriptor is not taken. Does not allocate.
///
/// If the other side closed with a message of ours unread, ECONNRESET comes once, and before what it had sent (unix_release_sock,
/// net/unix/af_unix.c): that is no reason to lose it.
pub(crate) fn receive(
    from: impl AsFd,
    bytes: &mut [u8],
    flags: RecvFlags,
) -> Result<(usize, Option<OwnedFd>), Errno> {
    match receive_once(&from, bytes, flags) {
        Err(Errno::CONNRESET) => receive_once(&from, bytes, flags),
        other => other,
    }
}

fn receive_once(from: impl AsFd, bytes: &mut [u8], flags: RecvFlags) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let came = rustix::net::recvmsg(from, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags)?;
    let mut fd = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            fd = fds.next();
        }
    }
    Ok((came.bytes, fd))
}
