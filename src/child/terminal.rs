//! The container's terminal: opened by the first process, taken by the command.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::Child;
use crate::linux::path::{self, Links};
use crate::linux::tty::{self, Pty};
use crate::plan::Op;
use crate::sync;

/// Both ends, as long as this process needs them.
#[derive(Default)]
pub(super) struct Terminal {
    pub(super) master: Option<OwnedFd>,
    slave: Option<OwnedFd>,
}

impl Child<'_> {
    /// The steps about it. Apart, so that a start without one needs no more stack.
    #[inline(never)]
    pub(super) fn terminal(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::OpenTerminal { devpts } => {
                let Pty { master, slave } = match devpts {
                    None if self.plan.rooted => tty::open_in(self.tree.pts()?)?,
                    // Nothing is mounted for one without a mount namespace.
                    None => tty::open_in(path::open(self.root()?.as_fd(), c"dev/pts", Links::Inside)?.as_fd())?,
                    Some(devpts) => tty::open_in_sight(devpts)?,
                };
                tty::prepare(master.as_fd(), slave.as_fd())?;
                self.terminal = Terminal { master: Some(master), slave: Some(slave) };
            }
            Op::MountConsole => {
                let slave = self.terminal.slave.as_ref().ok_or(Errno::NOTTY)?;
                self.tree.console(slave.as_fd())?;
            }
            Op::SendTerminal => {
                let master = self.terminal.master.take().ok_or(Errno::NOTTY)?;
                let theirs = self.inherited.theirs.as_ref().ok_or(Errno::PIPE)?;
                sync::send_terminal(theirs, master.as_fd())?;
            }
            Op::TakeTerminal => {
                self.terminal.master = None;
                tty::take(self.terminal.slave.take().ok_or(Errno::NOTTY)?)?;
            }
            _ => unreachable!("a step of `step`"),
        }
        Ok(())
    }
}
