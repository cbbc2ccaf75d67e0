//! The command that asks how a container is.

use rustix::io::Errno;

use super::{Child, identity};
use crate::error::FAILED;
use crate::linux::sys;
use crate::plan::{Op, Who};

impl Child<'_> {
    /// The command that asks how the container is: it becomes what the command became, and makes nothing anew.
    pub(super) fn check(&mut self) -> ! {
        let silent = self.inherited.nothing.take().map_or(Err(Errno::BADF), |nothing| {
            rustix::stdio::dup2_stdin(&nothing)?;
            rustix::stdio::dup2_stdout(&nothing)?;
            rustix::stdio::dup2_stderr(&nothing)
        });
        let mut done = silent;
        for (_, op) in self.plan.steps_of(Who::Payload) {
            done = done.and_then(|()| match op {
                Op::OpenTerminal { .. } | Op::MountConsole | Op::SendTerminal | Op::TakeTerminal => Ok(()),
                Op::Streams | Op::Mount(_) | Op::MountGroup { .. } | Op::Delegate { .. } => Ok(()),
                // It has no terminal that could become the user's; what it has as 0 is the host's /dev/null.
                Op::BeUser { user, groups } => {
                    identity::become_user(self.plan, user.as_ref(), groups, false, &mut self.home)
                }
                Op::Exec => Err(identity::execute_check(self.plan, &self.home)),
                op => self.step(op),
            });
        }
        sys::exit(FAILED)
    }
}
