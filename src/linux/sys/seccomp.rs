//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};

use libc::{c_int, c_long, c_ulong};
use rustix::io::Errno;

use super::check;

// SECCOMP_FILTER_FLAG_*
pub(crate) const TSYNC: u32 = 1;
pub(crate) const LOG: u32 = 2;
/// Without it, kernels before 5.16 slow the whole process down (speculative store bypass).
pub(crate) const SPEC_ALLOW: u32 = 4;
pub(crate) const NEW_LISTENER: u32 = 8;
pub(crate) const WAIT_KILLABLE_RECV: u32 = 32;

const SET_MODE_FILTER: c_long = 1;

/// struct sock_fprog.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const u8,
}

/// Loads a program, which holds from now on for this process and those that it makes; of at most 4096 instructions, each a struct
/// sock_filter. Some only with NEW_LISTENER. EINVAL: the kernel has no such filters (CONFIG_SECCOMP_FILTER), or not this flag;
/// EACCES: neither no_new_privs nor CAP_SYS_ADMIN.
pub(crate) fn load(program: &[u8], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let length = u16::try_from(program.len() / 8).map_err(|_| Errno::TOOBIG)?;
    let program = Program { length, instructions: program.as_ptr() };
    let flags = c_ulong::from(flags);
    // SAFETY: the kernel reads so many instructions of eight bytes, whatever their alignment is.
    let fd = check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) })?;
    // SAFETY: the kernel made the descriptor, close-on-exec, and nobody else owns it.
    Ok((flags & c_ulong::from(NEW_LISTENER) != 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as c_int) }))
}

/// Whether the kernel has filters, and lets us load one.
pub(crate) fn is_there() -> bool {
    // SAFETY: there is no program to read.
    let nothing = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, std::ptr::null::<Program>()) };
    check(nothing) == Err(Errno::FAULT)
}
