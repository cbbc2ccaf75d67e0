//! nsctl outside, while the container runs: forwards signals and waits for its end.

use crate::linux::process::{Ended, Process};
use crate::linux::{clock, sys};
use crate::plan::SUPERVISOR_ENDED;
use crate::reaper::from_terminal;
use crate::relay::Relay;

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

/// The same for a container with a terminal of its own, which is relayed meanwhile and to its last byte.
pub(crate) fn wait_relaying(container: &Process, relay: &mut Relay, milliseconds: Option<u16>) -> Option<Ended> {
    let until = milliseconds.map(|time| clock::micros() + u64::from(time) * 1000);
    loop {
        let left = until.map(|until| until.saturating_sub(clock::micros()).div_ceil(1000) as u32);
        relay.turn(left);
        while let Some(taken) = sys::take_signal_within(Some(0)) {
            match taken.signal {
                libc::SIGCHLD => match container.ended() {
                    Ok(None) => {}
                    ended => {
                        relay.finish();
                        return Some(ended.ok().flatten().unwrap_or(Ended::Killed(libc::SIGKILL)));
                    }
                },
                libc::SIGWINCH => relay.resize(),
                // Not by a key of the terminal that is relayed, which is raw: the command's own does that.
                libc::SIGTSTP if from_terminal(taken) => {
                    let _ = sys::kill(rustix::process::getpid().as_raw_nonzero().get(), libc::SIGSTOP);
                }
                SUPERVISOR_ENDED => {}
                signal => {
                    match signal {
                        libc::SIGCONT => relay.resume(),
                        libc::SIGTERM => relay.expect_end(),
                        _ => {}
                    }
                    // The command is in a session of its own: what a terminal sends us it does not get by itself.
                    let _ = container.kill(signal);
                }
            }
        }
        if left == Some(0) {
            return None;
        }
    }
}
