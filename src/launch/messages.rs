//! What the container's side says, as sentences: a plan gives the numbers their meaning.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Container;
use crate::error::Error;
use crate::explain;
use crate::linux::{clock, errno};
use crate::plan::Plan;
use crate::state::{self, Phase};
use crate::sync::{self, Detail, Message, Received};
use crate::verdict;

/// What the messages say that begin with this one, up to a failure, the terminal, a listener, which is handed over, or the end. `pid` is
/// the container's.
pub(crate) fn meaning(
    plan: &Plan,
    pid: i32,
    from: BorrowedFd<'_>,
    first: Received,
    wait: bool,
    terminal: &mut Option<OwnedFd>,
) -> Option<Error> {
    let mut detail: Option<Detail> = None;
    let mut next = Some(first);
    while let Some(received) = next {
        match received {
            Received::Message(Message::Step { index, micros }) => {
                say(plan, usize::from(index), u64::from(micros));
            }
            Received::Message(Message::Failure { index, errno: number }) => {
                return Some(verdict::sentence(plan, usize::from(index), errno(number), detail.as_ref()));
            }
            Received::Terminal(master) => {
                *terminal = Some(master);
                return None;
            }
            Received::Listener(fd) => return super::listener::hand_over(plan, pid, fd).err(),
            Received::Message(Message::Ready | Message::Go) => return None,
            Received::Detail(seen) => detail = Some(seen),
        }
        next = sync::receive(from, wait);
    }
    None
}

/// One line of `--verbose`.
pub(super) fn say(plan: &Plan, index: usize, micros: u64) {
    eprintln!("{micros:>7} µs {}", explain::line(plan, index));
}

impl Container {
    /// Why the command of a container that lives on could not be started, if it could not. Waits until that is clear.
    pub(super) fn failed_start(&mut self, plan: &Plan) -> Option<Error> {
        if let Some(error) = self.messages(plan, true) {
            return Some(error);
        }
        let dir = &self.claim.as_ref()?.dir;
        let phase = || state::open_status(dir.as_fd()).ok().and_then(state::Status::of).map(|status| status.phase);
        let to_run = plan.keep.as_ref().is_some_and(|keep| !keep.wait_for_start);
        if to_run && phase() == Some(Phase::Created) {
            // It has ended, or is about to: its descriptors are closed first.
            self.let_it_note();
        }
        let gone = self.process.as_ref().is_some_and(|process| matches!(process.ended(), Ok(Some(_))));
        (gone && phase() == Some(Phase::Created))
            .then(|| Error::new("the container's PID 1 was killed before its command was started"))
    }

    /// With `--verbose`: the step, when it is taken.
    pub(super) fn announce(&self, plan: &Plan, index: usize) {
        if self.inherited.verbose {
            say(plan, index, clock::micros().saturating_sub(self.inherited.began));
        }
    }

    /// With `--verbose`: prints the container's steps until it runs (the pair is closed by its execve).
    pub(crate) fn follow(&mut self, plan: &Plan) -> Option<Error> {
        self.said.take().or_else(|| self.messages(plan, true))
    }

    /// Why the container's side gave up, if it did.
    pub(crate) fn failure(&mut self, plan: &Plan) -> Option<Error> {
        self.said.take().or_else(|| self.messages(plan, false))
    }

    /// Reads what the container's side said, up to a failure, its terminal or the end.
    #[inline(never)]
    pub(super) fn messages(&mut self, plan: &Plan, wait: bool) -> Option<Error> {
        let ours = self.inherited.ours.as_ref()?;
        let first = sync::receive(ours, wait)?;
        let pid = self.process.as_ref().map_or(0, |process| process.pid);
        meaning(plan, pid, ours.as_fd(), first, wait, &mut self.terminal)
    }
}
