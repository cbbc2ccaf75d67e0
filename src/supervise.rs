//! nsctl outside, while the container runs: forwards signals and waits for its end.

use crate::linux::process::{Ended, Process};
use crate::linux::sys;
use crate::plan::SUPERVISOR_ENDED;
use crate::reaper::from_terminal;

/// Waits until the container's first process has ended. None: it still ran after so many milliseconds without a signal.
pub(crate) fn wait(container: &Process, milliseconds: Option<u16>) -> Option<Ended> {
    loop {
        let taken = match milliseconds {
            None => sys::take_signal(),
            Some(_) => sys::take_signal_within(milliseconds)?,
        };
        match taken.signal {
            // Of our children only the container counts: a caller may have left us others by its execve.
            libc::SIGCHLD => match container.ended() {
                Ok(Some(ended)) => return Some(ended),
                Ok(None) => {}
                // ECHILD cannot be: nobody else waits for it. Should it be, there is nothing to wait for.
                Err(_) => return Some(Ended::Killed(libc::SIGKILL)),
            },
            // Ctrl-Z stops the container, which has the signal already, and us: the shell waits for that.
            libc::SIGTSTP if from_terminal(taken) => {
                let _ = sys::kill(rustix::process::getpid().as_raw_nonzero().get(), libc::SIGSTOP);
            }
            SUPERVISOR_ENDED => {}
            _ if from_terminal(taken) => {}
            // ESRCH: it has ended, and SIGCHLD is on its way.
            signal => {
                let _ = container.kill(signal);
            }
        }
    }
}
