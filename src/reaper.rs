//! PID 1 of the container: forwards signals to the command, reaps every orphan, and leaves with the command's code.
//! The kernel ends what is left in the PID namespace when it leaves.
//!
//! It waits in rt_sigtimedwait(2) with all signals blocked, so that each event is one system call and no handler
//! runs. Below the head of [`run`] it may not die: every error there is that somebody has ended, which the next
//! SIGCHLD tells.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;

use crate::error::SIGNALED;
use crate::linux::net::Lent;
use crate::linux::process::{self, Ended, Process};
use crate::linux::sys;
use crate::linux::tty::Modes;
use crate::linux::{cgroup, file};
use crate::network::Stay;
use crate::plan::SUPERVISOR_ENDED;
use crate::state::{self, State};

/// What a start has made outside of the container, for whoever is there at the end to remove.
#[derive(Default)]
pub(crate) struct LeftBehind {
    /// The state directory, the container's entry in it, and that of its name.
    pub(crate) state: Option<State>,
    pub(crate) id: CString,
    pub(crate) link: Option<CString>,
    /// It was there before this start, and is not removed for want of it.
    pub(crate) stays: bool,
    /// Its place on a network.
    pub(crate) network: Option<Stay>,
    /// The interface of the host's that it has.
    pub(crate) lent: Option<Lent>,
    /// Roots of cgroup hierarchies, and the container's group below them.
    pub(crate) roots: Vec<OwnedFd>,
    pub(crate) group: CString,
    /// How the caller's terminal was, if it is raw while the container runs.
    pub(crate) terminal: Option<Modes>,
}

/// Waits until the command ends.
pub(crate) fn run(payload: Process, left_behind: &LeftBehind) -> ! {
    loop {
        let taken = sys::take_signal();
        match taken.signal {
            libc::SIGCHLD => {
                while let Some((pid, ended)) = process::reap() {
                    if pid == payload.pid {
                        sys::exit(code(ended));
                    }
                }
            }
            // Sender 0: not from inside, where anybody may send this number to us.
            SUPERVISOR_ENDED if taken.sender == 0 => {
                // We are PID 1 of a namespace of our own: -1 is everyone in it, and nobody else.
                let _ = sys::kill(-1, libc::SIGKILL);
                give_terminal_back(left_behind);
                process::reap_all();
                clear_up(left_behind);
                sys::exit(SIGNALED + libc::SIGKILL as u8);
            }
            // The terminal sends its signals to the whole foreground group: the command has them already.
            _ if from_terminal(taken) => {}
            // The session's leader has ended, which may be the supervisor. Of this the command may die before we hear of that.
            libc::SIGHUP if taken.code == libc::SI_KERNEL => {
                give_terminal_back(left_behind);
                let _ = sys::kill(payload.pid, taken.signal);
            }
            // ESRCH: it has ended, and SIGCHLD is on its way.
            signal => {
                let _ = sys::kill(payload.pid, signal);
            }
        }
    }
}

/// For when the supervisor cannot: our standard input is the caller's still.
fn give_terminal_back(left_behind: &LeftBehind) {
    left_behind.terminal.iter().for_each(|modes| modes.restore_raw(rustix::stdio::stdin()));
}

/// The exit code that tells how a process ended, as shells do it.
pub(crate) fn code(ended: Ended) -> u8 {
    match ended {
        Ended::Exited(code) => code,
        Ended::Killed(signal) => SIGNALED.wrapping_add(signal as u8),
    }
}

/// Whether the kernel sent it for a key or a hang-up of the controlling terminal.
pub(crate) fn from_terminal(taken: sys::Taken) -> bool {
    // SI_KERNEL; SIGHUP is left out, since only a hang-up of the session's leader comes this way.
    let keyboard = matches!(taken.signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGWINCH);
    keyboard && taken.code == libc::SI_KERNEL
}

/// Undoes what there is of its network outside. `dir` is the container's directory. Does not allocate.
pub(crate) fn leave_network(left_behind: &LeftBehind, dir: Option<BorrowedFd<'_>>) {
    if let Some(dir) = dir {
        left_behind.lent.iter().for_each(|lent| lent.give_back(dir));
        let _ = rustix::fs::unlinkat(dir, state::NETNS, AtFlags::empty());
    }
    left_behind.network.iter().for_each(|network| network.leave(dir));
}

/// For when the supervisor was killed: removes what the container has outside. The caller is not in the container's
/// cgroups, and reaches all of it by descriptors.
pub(crate) fn clear_up(left_behind: &LeftBehind) {
    let dir = left_behind.state.as_ref().and_then(|state| file::open_dir(state.fd(), &left_behind.id).ok());
    leave_network(left_behind, dir.as_ref().map(AsFd::as_fd));
    for root in &left_behind.roots {
        let _ = cgroup::remove(root.as_fd(), &left_behind.group);
    }
    if let Some(state) = left_behind.state.as_ref().filter(|_| !left_behind.stays) {
        state::remove(state.fd(), &left_behind.id, left_behind.link.as_deref());
    }
}
