//! The caller's standard input.

use std::os::fd::BorrowedFd;

use super::Stream;
use crate::linux::tty::{self, Modes};

/// Reads of it, if it is to be read; a terminal is raw meanwhile.
pub(crate) struct Input {
    stream: Stream,
    /// How it was, if it is a terminal.
    modes: Option<Modes>,
    wanted: bool,
    /// It is read: a terminal only while it is ours.
    open: bool,
}

impl Input {
    /// `modes`: of the terminal that standard input is, if that is to be raw. Otherwise it is read only if that is `wanted`: a script's
    /// own input is not taken away from it for a container that does not ask for it.
    pub(crate) fn new(modes: Option<Modes>, wanted: bool) -> Self {
        let mut input = Self { stream: rustix::stdio::stdin(), modes, wanted, open: false };
        input.attend();
        input
    }

    /// Makes the terminal raw, if its keys are for us; in the background they are not, and it is left alone.
    pub(super) fn attend(&mut self) {
        self.open = match &self.modes {
            Some(modes) => tty::is_ours(self.stream) && modes.make_raw(self.stream).is_ok(),
            None => self.wanted && tty::is_ours(self.stream),
        };
    }

    /// The terminal is as it was.
    pub(super) fn give_back(&mut self) {
        if let (Some(modes), true) = (&self.modes, self.open) {
            modes.restore(self.stream);
            self.open = false;
        }
    }

    /// Whether what the container writes goes to a terminal, too: then that is best raw until all of it is written.
    pub(super) fn shows_output(&self) -> bool {
        self.modes.is_some() && rustix::termios::isatty(rustix::stdio::stdout())
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.open.then_some(self.stream)
    }

    /// What there is: poll(2) said that there is something. 0: it is at its end.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Option<usize> {
        match rustix::io::read(self.stream, bytes) {
            Ok(length) if length > 0 => Some(length),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => None,
            Ok(_) if self.modes.is_none() => {
                (self.open, self.wanted) = (false, false);
                Some(0)
            }
            // A terminal that has hung up, or is another's by now: SIGHUP or SIGCONT tell more.
            _ => {
                self.open = false;
                None
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.give_back();
    }
}
