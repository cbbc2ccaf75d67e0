//! Signals: blocked, taken one by one, and sent.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::c_long;
use rustix::io::Errno;

use super::check;

/// All signals; bit n-1 is signal n. The C library's own functions would leave its reserved ones out.
pub(crate) const ALL_SIGNALS: u64 = !0;

/// rt_sigprocmask(2): blocks exactly `set`, returns what was blocked before.
pub(crate) fn block_exactly(set: u64) -> Result<u64, Errno> {
    let mut old = 0u64;
    // SAFETY: both sets are 8 bytes, as said in the last argument.
    let r = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, &raw mut old, size_of::<u64>())
    };
    check(r).map(|_| old)
}

/// A signal that was taken from the queue.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) signal: i32,
    /// `si_code`: SI_USER (0) and below from a process, above 0 from the kernel.
    pub(crate) code: i32,
    /// The sender as seen from here; 0 for the kernel and for senders outside of this PID namespace.
    pub(crate) sender: i32,
}

/// rt_sigtimedwait(2): waits for a blocked signal and takes it.
pub(crate) fn take_signal() -> Taken {
    loop {
        if let Some(taken) = take_signal_within(None) {
            return taken;
        }
    }
}

/// The same, but None after this many milliseconds at the latest (or when a stop and continue interrupted it).
pub(crate) fn take_signal_within(milliseconds: Option<u16>) -> Option<Taken> {
    // SAFETY: siginfo_t is plain data; zero is a valid value of it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let set = ALL_SIGNALS;
    // The kernel's own old timespec, of two words on every architecture that has this call; the C library's may be wider.
    let time: [c_long; 2] = [0, c_long::from(milliseconds.unwrap_or(0)) * 1_000_000];
    let timeout = if milliseconds.is_some() { (&raw const time).cast() } else { std::ptr::null::<c_long>() };
    // SAFETY: set and info are valid for the call, the set is 8 bytes long.
    let r =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, &raw mut info, timeout, size_of::<u64>()) };
    // EINTR and EAGAIN (no signal in time) are the only errors.
    let signal = check(r).ok()?;
    // SAFETY: si_pid is meaningful for process-sent signals and SIGCHLD, and plain bytes for others.
    let sender = unsafe { info.si_pid() };
    Some(Taken { signal: signal as i32, code: info.si_code, sender })
}

/// Sets SIGCHLD's disposition to default, or to ignored again; says whether it was ignored. A parent that
/// ignores SIGCHLD hands that on through execve, and then no child of ours could be waited for.
pub(crate) fn ignore_sigchld(ignore: bool) -> bool {
    // SAFETY: sigaction is plain data; handler constants need no code of ours.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut old: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
        libc::sigaction(libc::SIGCHLD, &raw const new, &raw mut old);
        old.sa_sigaction == libc::SIG_IGN
    }
}

/// kill(2) with every target it knows: -1 is everyone whom we may signal.
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_kill, c_long::from(pid), c_long::from(signal)) }).map(|_| ())
}

/// pidfd_send_signal(2), Linux 5.1, for any signal number.
pub(crate) fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo means "as kill(2) would fill it".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) }).map(|_| ())
}

/// prctl(PR_SET_PDEATHSIG): the signal that this process gets when its parent ends.
pub(crate) fn signal_when_parent_ends(signal: i32) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(|_| ())
}

/// signalfd4(2): becomes readable when a signal is pending. All signals must be blocked.
pub(crate) fn signal_fd() -> Result<OwnedFd, Errno> {
    let set = ALL_SIGNALS;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is 8 bytes, as said in the third argument.
    let fd = check(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, size_of::<u64>(), flags) })?;
    // SAFETY: a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Takes the next pending signal. None: there is none.
pub(crate) fn take_pending(signals: BorrowedFd<'_>) -> Option<Taken> {
    // SAFETY: plain integers.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the kernel writes one whole structure, or nothing.
    let read = check(unsafe { libc::syscall(libc::SYS_read, signals.as_raw_fd(), &raw mut info, size) }).ok()?;
    (read == size).then_some(Taken {
        signal: info.ssi_signo as i32,
        code: info.ssi_code,
        sender: info.ssi_pid as i32,
    })
}
