//! What the container's side says, as sentences: a plan gives the numbers their meaning.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Error;
use crate::explain;
use crate::linux::errno;
use crate::plan::Plan;
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
