//! The three system calls of landlock(7).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, c_void};
use linux_raw_sys::landlock as k;
use rustix::io::Errno;

use super::check;

/// The version of what the kernel can do, from 1. ENOSYS: it was built without; EOPNOTSUPP: it was not turned on at boot.
pub(crate) fn version() -> Result<u32, Errno> {
    let flags = k::LANDLOCK_CREATE_RULESET_VERSION;
    let nothing = std::ptr::null::<c_void>();
    // SAFETY: with this flag the kernel reads nothing.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, flags) }).map(|abi| abi as u32)
}

/// LANDLOCK_ACCESS_FS_*, LANDLOCK_ACCESS_NET_* and LANDLOCK_SCOPE_*. E2BIG, EINVAL: the kernel does not know one of them; ENOMSG: there
/// are none. Close-on-exec.
pub(crate) fn create_ruleset(fs: u64, net: u64, scoped: u64) -> Result<OwnedFd, Errno> {
    let attr = k::landlock_ruleset_attr { handled_access_fs: fs, handled_access_net: net, scoped };
    let size = size_of_val(&attr);
    // SAFETY: the kernel reads so many bytes; those that it has no field for have to be zero, and are on such a kernel.
    let fd = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0) })?;
    // SAFETY: it is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// `access` is allowed to what is at, and below, `beneath` (O_PATH will do). EINVAL: a right for directories, of a file.
pub(crate) fn allow_beneath(ruleset: BorrowedFd<'_>, beneath: BorrowedFd<'_>, access: u64) -> Result<(), Errno> {
    let attr = k::landlock_path_beneath_attr { allowed_access: access, parent_fd: beneath.as_raw_fd() };
    add_rule(ruleset, k::landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH, (&raw const attr).cast())
}

/// `access` is allowed to this port.
pub(crate) fn allow_port(ruleset: BorrowedFd<'_>, port: u16, access: u64) -> Result<(), Errno> {
    let attr = k::landlock_net_port_attr { allowed_access: access, port: port.into() };
    add_rule(ruleset, k::landlock_rule_type::LANDLOCK_RULE_NET_PORT, (&raw const attr).cast())
}

fn add_rule(ruleset: BorrowedFd<'_>, kind: k::landlock_rule_type, attr: *const c_void) -> Result<(), Errno> {
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: both callers give the structure of this kind of rule, which outlives the call.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, kind as c_long, attr, 0) }).map(drop)
}

/// From now on this process, and what comes of it, has what the rules allow, for good. EPERM: it has neither no_new_privs nor
/// CAP_SYS_ADMIN; E2BIG: it is confined 16 times already.
pub(crate) fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}
