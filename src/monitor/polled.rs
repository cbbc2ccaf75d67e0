//! The set of descriptors that the monitor waits for.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags};

use super::clients::MOST;

/// What is waited for: the signals, the socket, two outputs, the clients and the command's input.
pub(super) struct Polled<'a> {
    fds: [PollFd<'a>; 5 + MOST],
    count: usize,
}

impl<'a> Polled<'a> {
    pub(super) fn new(first: BorrowedFd<'a>) -> Self {
        Self { fds: std::array::from_fn(|_| PollFd::from_borrowed_fd(first, PollFlags::IN)), count: 1 }
    }

    pub(super) fn add(&mut self, fd: BorrowedFd<'a>, events: PollFlags) {
        if let Some(place) = self.fds.get_mut(self.count) {
            *place = PollFd::from_borrowed_fd(fd, events);
            self.count += 1;
        }
    }

    pub(super) fn all(&mut self) -> &mut [PollFd<'a>] {
        &mut self.fds[..self.count]
    }
}
