//! Landlock (landlock(7)): a process gives up all files, ports and neighbours but those that it names. What each version of the
//! kernel's interface knows is in one table; what a kernel does not know cannot be confined there, and is not asked for.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::landlock as k;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::path::{self, Links};
use super::{file, sys};

/// The version of the kernel's interface; 0: there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub(crate) struct Abi(pub(crate) u32);

/// linux/landlock.h of Linux 7.1.
pub(crate) const RESOLVE_UNIX: u32 = 1 << 16;
/// linux/landlock.h of Linux 7.2.
const BIND_UDP: u32 = 1 << 2;
const CONNECT_SEND_UDP: u32 = 1 << 3;

/// Reading files, listing directories, executing.
pub(crate) const READ: u64 =
    (k::LANDLOCK_ACCESS_FS_READ_FILE | k::LANDLOCK_ACCESS_FS_READ_DIR | k::LANDLOCK_ACCESS_FS_EXECUTE) as u64;
/// What is allowed to one file; the others are of directories.
const OF_A_FILE: u32 = k::LANDLOCK_ACCESS_FS_EXECUTE
    | k::LANDLOCK_ACCESS_FS_WRITE_FILE
    | k::LANDLOCK_ACCESS_FS_READ_FILE
    | k::LANDLOCK_ACCESS_FS_TRUNCATE
    | k::LANDLOCK_ACCESS_FS_IOCTL_DEV
    | RESOLVE_UNIX;

/// Rights over a port.
pub(crate) mod net {
    use super::{BIND_UDP, CONNECT_SEND_UDP, k};

    pub(crate) const BIND_TCP: u64 = k::LANDLOCK_ACCESS_NET_BIND_TCP as u64;
    pub(crate) const CONNECT_TCP: u64 = k::LANDLOCK_ACCESS_NET_CONNECT_TCP as u64;
    pub(crate) const TCP: u64 = BIND_TCP | CONNECT_TCP;
    pub(crate) const UDP: u64 = (BIND_UDP | CONNECT_SEND_UDP) as u64;
    /// From the right over a TCP port to the same over a UDP port.
    pub(crate) const TCP_TO_UDP: u32 = 2;
}

/// Neighbours that are out of reach: processes for signals, sockets without a path.
pub(crate) const SIGNALS: u64 = k::LANDLOCK_SCOPE_SIGNAL as u64;
pub(crate) const SOCKETS: u64 = k::LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET as u64;

impl Abi {
    pub(crate) const REFER: Self = Self(2);
    pub(crate) const TRUNCATE: Self = Self(3);
    pub(crate) const TCP: Self = Self(4);
    pub(crate) const IOCTL: Self = Self(5);
    pub(crate) const SCOPES: Self = Self(6);
    pub(crate) const UNIX: Self = Self(9);
    pub(crate) const UDP: Self = Self(10);

    /// Of the running kernel. ENOSYS, EOPNOTSUPP and what sandboxes answer: there is none.
    pub(crate) fn here() -> Self {
        Self(sys::landlock::version().unwrap_or(0))
    }

    /// All rights over files that it knows.
    pub(crate) fn files(self) -> u64 {
        let mut rights = 2 * k::LANDLOCK_ACCESS_FS_MAKE_SYM - 1;
        for (since, right) in [
            (Self::REFER, k::LANDLOCK_ACCESS_FS_REFER),
            (Self::TRUNCATE, k::LANDLOCK_ACCESS_FS_TRUNCATE),
            (Self::IOCTL, k::LANDLOCK_ACCESS_FS_IOCTL_DEV),
            (Self::UNIX, RESOLVE_UNIX),
        ] {
            if self >= since {
                rights |= right;
            }
        }
        if self == Self(0) { 0 } else { rights.into() }
    }

    /// All rights over ports.
    pub(crate) fn ports(self) -> u64 {
        (if self >= Self::TCP { net::TCP } else { 0 }) | (if self >= Self::UDP { net::UDP } else { 0 })
    }

    pub(crate) fn scopes(self) -> u64 {
        if self >= Self::SCOPES { SIGNALS | SOCKETS } else { 0 }
    }
}

/// One step of it. The rights are those that the kernel knows.
#[derive(Debug, PartialEq)]
pub(crate) enum Act {
    /// All of these are given up, but for what the rules then allow.
    Create {
        files: u64,
        ports: u64,
        scoped: u64,
    },
    /// `access` below this path inside the root, whose links lead nowhere outside. `optional`: there may be none.
    Beneath {
        path: std::ffi::CString,
        access: u64,
        optional: bool,
    },
    Port {
        port: u16,
        access: u64,
    },
    Restrict,
}

/// Takes one step; `ruleset` is what the steps share. Does not allocate.
pub(crate) fn take(act: &Act, ruleset: &mut Option<OwnedFd>) -> Result<(), Errno> {
    let made = || ruleset.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF);
    match act {
        Act::Create { files, ports, scoped } => {
            *ruleset = Some(sys::landlock::create_ruleset(*files, *ports, *scoped)?);
            Ok(())
        }
        Act::Beneath { path, access, optional } => match beneath(made()?, path, *access) {
            // Nor does it matter to somebody who cannot get there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) if *optional => Ok(()),
            other => other,
        },
        Act::Port { port, access } => sys::landlock::allow_port(made()?, *port, *access),
        // It is closed: what is executed finds nothing open.
        Act::Restrict => sys::landlock::restrict_self(ruleset.take().ok_or(Errno::BADF)?.as_fd()),
    }
}

fn beneath(ruleset: BorrowedFd<'_>, path: &CStr, access: u64) -> Result<(), Errno> {
    let root = file::handle(c"/")?;
    let found = path::open(root.as_fd(), path, Links::Inside)?;
    let directory = path::file_type(&rustix::fs::fstat(&found)?) == FileType::Directory;
    let access = if directory { access } else { access & u64::from(OF_A_FILE) };
    sys::landlock::allow_beneath(ruleset, found.as_fd(), access)
}

/// What each version brought, for those who ask.
pub(crate) const KNOWS: [(Abi, &str); 8] = [
    (Abi(1), "files"),
    (Abi::REFER, "moves between directories"),
    (Abi::TRUNCATE, "truncation"),
    (Abi::TCP, "TCP ports"),
    (Abi::IOCTL, "ioctls of devices"),
    (Abi::SCOPES, "signals and abstract sockets"),
    (Abi::UNIX, "sockets with a path"),
    (Abi::UDP, "UDP ports"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_knows_more() {
        for (abi, files, ports, scopes) in [
            (0, 0, 0, 0),
            (1, 0x1fff, 0, 0),
            (2, 0x3fff, 0, 0),
            (3, 0x7fff, 0, 0),
            (4, 0x7fff, 3, 0),
            (5, 0xffff, 3, 0),
            (6, 0xffff, 3, 3),
            (8, 0xffff, 3, 3),
            (9, 0x1ffff, 3, 3),
            (10, 0x1ffff, 15, 3),
            (99, 0x1ffff, 15, 3),
        ] {
            let abi = Abi(abi);
            assert_eq!((abi.files(), abi.ports(), abi.scopes()), (files, ports, scopes), "{abi:?}");
        }
    }

    #[test]
    fn the_kernel_takes_all_that_its_version_is_said_to_know() {
        let abi = Abi::here();
        let mut ruleset = None;
        let all = Act::Create { files: abi.files(), ports: abi.ports(), scoped: abi.scopes() };
        match take(&all, &mut ruleset) {
            Ok(()) => {}
            Err(Errno::NOSYS | Errno::OPNOTSUPP) if abi == Abi(0) => return,
            other => panic!("{abi:?}: {other:?}"),
        }
        let rule = |path: &CStr, optional| Act::Beneath { path: path.into(), access: abi.files(), optional };
        for (path, optional, answer) in [
            (c"/usr", false, Ok(())),
            (c"/etc/passwd", false, Ok(())),
            (c"/no/such", true, Ok(())),
            (c"/no/such", false, Err(Errno::NOENT)),
            (c"/proc/self/fd/0", false, Err(Errno::LOOP)),
        ] {
            assert_eq!(take(&rule(path, optional), &mut ruleset), answer, "{path:?}");
        }
        if abi >= Abi::TCP {
            assert_eq!(take(&Act::Port { port: 443, access: net::TCP }, &mut ruleset), Ok(()));
        }
    }
}
