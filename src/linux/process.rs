//! Children: made by clone3 or clone, known by pidfd or pid, and how they end.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};

use super::file;
use super::sys::{self, Cloned};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ended {
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

/// A child that nobody else can wait for, so that its pid cannot be reused before we are done with it.
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Absent only where the kernel has no CLONE_PIDFD (before 5.2).
    pub(crate) pidfd: Option<OwnedFd>,
}

pub(crate) enum Spawned {
    /// In the child. `placed`: it was born in the cgroup; otherwise it still has to go there by itself.
    Child {
        placed: bool,
    },
    Parent(Process),
}

/// Forks with clone3, into `cgroup` where the kernel can do that, or with clone(2) where clone3 is missing.
///
/// Not there is told in several ways: ENOSYS by old kernels and by seccomp, EPERM by other sandboxes, E2BIG and
/// EINVAL where clone3 is older than CLONE_INTO_CGROUP; EBUSY, EACCES and EOPNOTSUPP come from cgroups that a
/// write to cgroup.procs may still accept. Each next attempt does the same with less; if privileges are what
/// is missing, the last one says so.
pub(crate) fn spawn(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned, Errno> {
    if let Some(cgroup) = cgroup {
        match sys::clone3(flags, Some(cgroup)) {
            Ok(side) => return Ok(spawned(side, true)),
            Err(
                Errno::NOSYS
                | Errno::PERM
                | Errno::TOOBIG
                | Errno::INVAL
                | Errno::BUSY
                | Errno::ACCESS
                | Errno::OPNOTSUPP,
            ) => {}
            Err(errno) => return Err(errno),
        }
    }
    match sys::clone3(flags, None) {
        Err(Errno::NOSYS | Errno::PERM) => sys::clone(flags).map(|side| spawned(side, false)),
        other => other.map(|side| spawned(side, false)),
    }
}

/// A number that no small container comes to by counting.
const ASIDE: i32 = 299;

/// Forks a helper that leaves the next process id to the next child, where the kernel can do that.
pub(crate) fn spawn_aside(flags: u64) -> Result<Spawned, Errno> {
    match sys::clone3_numbered(flags, ASIDE) {
        Ok(side) => Ok(spawned(side, false)),
        Err(_) => spawn(flags, None),
    }
}

fn spawned(side: Cloned, placed: bool) -> Spawned {
    match side {
        Cloned::Child => Spawned::Child { placed },
        Cloned::Parent { pid, pidfd } => Spawned::Parent(Process { pid, pidfd }),
    }
}

impl Process {
    /// Sends any signal. ESRCH: it has ended.
    pub(crate) fn kill(&self, signal: i32) -> Result<(), Errno> {
        if let Some(pidfd) = &self.pidfd {
            match sys::pidfd_kill(pidfd.as_fd(), signal) {
                // pidfd_send_signal is masked; our own child's pid means the same.
                Err(Errno::NOSYS | Errno::PERM) => {}
                other => return other,
            }
        }
        sys::kill(self.pid, signal)
    }

    /// Kills it and waits until it is gone; its PID namespace, if it has one, goes with it.
    pub(crate) fn end(&self) {
        let _ = self.kill(libc::SIGKILL);
        if let Some(pid) = Pid::from_raw(self.pid) {
            while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {}
        }
    }

    /// How it ended, if it did; never blocks.
    pub(crate) fn ended(&self) -> Result<Option<Ended>, Errno> {
        self.status(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Blocks until it has ended.
    pub(crate) fn wait(&self) -> Result<Ended, Errno> {
        loop {
            match self.status(WaitIdOptions::EXITED) {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn status(&self, options: WaitIdOptions) -> Result<Option<Ended>, Errno> {
        let by_fd = self.pidfd.as_ref().map(|fd| rustix::process::waitid(WaitId::PidFd(fd.as_fd()), options));
        let status = match by_fd {
            // P_PIDFD came with 5.4.
            None | Some(Err(Errno::INVAL)) => {
                let pid = Pid::from_raw(self.pid).ok_or(Errno::CHILD)?;
                rustix::process::waitid(WaitId::Pid(pid), options)?
            }
            Some(status) => status?,
        };
        Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Ended::Exited(code as u8)),
            (None, Some(signal)) => Some(Ended::Killed(signal)),
            (None, None) => None,
        }))
    }
}

pub(crate) fn pause(milliseconds: u64) {
    let time = rustix::time::Timespec {
        tv_sec: (milliseconds / 1000) as i64,
        tv_nsec: (milliseconds % 1000 * 1_000_000) as i64,
    };
    let _ = rustix::thread::nanosleep(&time);
}

/// Field 3 and on of /proc/PID/stat (proc_pid_stat(5)).
fn stat(pid: i32) -> Option<String> {
    let path = CString::new(format!("/proc/{pid}/stat")).ok()?;
    // Fifty numbers of twenty digits at most.
    let mut bytes = [0; 1536];
    let text = file::read_short(rustix::fs::CWD, &path, &mut bytes).ok()?;
    // The name, field 2, may have anything in it, also what looks like its end.
    let end = text.windows(2).rposition(|pair| pair == b") ")?;
    std::str::from_utf8(&text[end + 2..]).ok().map(str::to_string)
}

/// It has ended, and its parent has not waited for it yet.
pub(crate) fn is_zombie(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.starts_with(['Z', 'X']))
}

/// When a process started, in clock ticks after boot (proc_pid_stat(5), field 22): with its pid, what it is known by.
pub(crate) fn started(pid: i32) -> Option<u64> {
    stat(pid)?.split(' ').nth(19)?.parse().ok()
}

/// Reaps one child that has ended, whoever's orphan it was. None: none has ended yet, or none is left.
pub(crate) fn reap() -> Option<(i32, Ended)> {
    loop {
        return match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let ended = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Exited(code as u8),
                    (None, signal) => Ended::Killed(signal.unwrap_or(0)),
                };
                Some((pid.as_raw_nonzero().get(), ended))
            }
            Err(Errno::INTR) => continue,
            Ok(None) | Err(_) => None,
        };
    }
}

/// Blocks until every child is gone.
pub(crate) fn reap_all() {
    while !matches!(rustix::process::wait(WaitOptions::empty()), Err(Errno::CHILD)) {}
}
