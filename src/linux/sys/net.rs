//! Sockets and their namespaces; leases as locks of byte ranges.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};
use rustix::io::Errno;

use super::check;

/// Turns one of NETLINK_* on (netlink(7)).
pub(crate) fn set_netlink_option(socket: BorrowedFd<'_>, option: i32) -> Result<(), Errno> {
    let on: c_int = 1;
    // SAFETY: the value is an int, as long as is said.
    let r = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    check(c_long::from(r)).map(drop)
}

/// linux/sockios.h.
const SIOCGSKNS: u64 = 0x894C;

/// The network namespace that a socket is in (Linux 4.10; it takes CAP_NET_ADMIN there). Close-on-exec.
pub(crate) fn namespace_of(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: it takes no argument and answers with a new descriptor.
    let fd = check(c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) }))?;
    // SAFETY: it is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// Who has one byte range of a file, and what may be asked of it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum RangeLock {
    /// F_OFD_SETLK, F_WRLCK.
    Take,
    /// F_OFD_SETLK, F_RDLCK.
    Share,
    /// F_OFD_SETLK, F_UNLCK.
    Release,
    /// F_OFD_GETLK: the first range that somebody else has.
    Ask,
}

/// Open file description locks (fcntl(2)): they belong to the open file, and so to all who have a copy of the descriptor, and
/// are let go of with the last. `Take` and `Share`: the range, or EAGAIN. `Ask`: the first locked range in it, None if there is none.
/// Does not allocate.
pub(crate) fn range_lock(
    file: BorrowedFd<'_>,
    what: RangeLock,
    start: u64,
    length: u64,
) -> Result<Option<(u64, u64)>, Errno> {
    let (command, kind) = match what {
        RangeLock::Take => (libc::F_OFD_SETLK, libc::F_WRLCK),
        RangeLock::Share => (libc::F_OFD_SETLK, libc::F_RDLCK),
        RangeLock::Release => (libc::F_OFD_SETLK, libc::F_UNLCK),
        RangeLock::Ask => (libc::F_OFD_GETLK, libc::F_WRLCK),
    };
    // SAFETY: a structure of integers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = start as _;
    lock.l_len = length as _;
    // SAFETY: the structure outlives the call.
    check(c_long::from(unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) }))?;
    let held = what == RangeLock::Ask && i32::from(lock.l_type) != libc::F_UNLCK;
    Ok(held.then_some((lock.l_start as u64, lock.l_len as u64)))
}
