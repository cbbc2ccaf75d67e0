//! Between the caller's streams and a container's terminal: keys one way, output the other, until one side is done.
//!
//! # Theory of operation
//!
//! The container's side, the [`Remote`], is the master of a pseudoterminal, or for a container that lives on the socket of the one
//! that holds its terminal or its pipes. [`Relay::turn`] waits until something can be moved (or a signal is pending), and moves it: at most
//! one buffer each way, and nothing is read before what was read last is written. So a side that does not take any more slows the
//! other down, as a pipe does, and nothing is lost.
//!
//! Nothing here waits anywhere else. The master never blocks. Of the caller's streams we have only a share, and whoever has the
//! others would be surprised to find them non-blocking; so a terminal or a pipe is opened once more for writing, and anything else
//! gets as much as poll(2) promises to take.
//!
//! The caller's terminal is raw as long as an [`Input`] has it: dropped, it gives the terminal back as it was.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::linux::{clock, sys, tty};

mod buffer;
mod input;
pub(crate) mod keys;
mod outlet;
mod remote;
use buffer::Buffer;
pub(crate) use input::Input;
pub(crate) use keys::Keys;
use outlet::Outlet;
use remote::Came;
pub(crate) use remote::Remote;
#[cfg(any(test, fuzzing))]
pub(crate) use remote::survives;

/// Why there is nothing to relay any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Over {
    /// The keys for that were pressed, or nobody reads the output any more.
    Detached,
    /// The other side said that the command has ended, with this code.
    Ended(u8),
    /// The other side is gone.
    Closed,
}

pub(crate) struct Relay {
    remote: Remote,
    input: Input,
    keys: Keys,
    typed: Buffer<KEYS>,
    came: Buffer<OUTPUT>,
    /// Which of the outlets `came` goes to.
    which: usize,
    outlets: [Outlet; 2],
    signals: Option<OwnedFd>,
    over: Option<Over>,
    /// In microseconds of the monotonic clock.
    hang_up_at: Option<u64>,
}

/// How long a command has that was told to end, in microseconds: as long as `nsctl stop` gives it.
const GRACE: u64 = 10_000_000;
/// What is read of the caller at a time; a message to a monitor is no longer than that and its first byte.
pub(crate) const KEYS: usize = 2048;
/// What is read of the container at a time, or a message from a monitor.
const OUTPUT: usize = 16 << 10;
/// How often signals are looked for by a kernel without signalfd(2), in milliseconds.
const GLANCE: u32 = 20;
/// More than a pseudoterminal holds: who still writes into it after the end is not waited for.
const LEFT: usize = 1 << 20;

impl Relay {
    /// All signals must be blocked.
    pub(crate) fn new(remote: Remote, input: Input, keys: Keys) -> Self {
        let outlets = [Outlet::new(rustix::stdio::stdout()), Outlet::new(rustix::stdio::stderr())];
        let signals = sys::signal_fd().ok();
        let (typed, came) = (Buffer::new(), Buffer::new());
        let mut relay =
            Self { remote, input, keys, typed, came, which: 0, outlets, signals, over: None, hang_up_at: None };
        relay.resize();
        relay
    }

    /// The caller's terminal has another size: the container's gets it, too.
    pub(crate) fn resize(&mut self) {
        if let Some(size) = tty::window() {
            self.remote.resize(size);
        }
    }

    /// The command was told to end. A shell that somebody types to ignores that: it ends when its terminal hangs up, which this one does
    /// after a while, or if it is told so again.
    pub(crate) fn expect_end(&mut self) {
        self.hang_up_at = Some(if self.hang_up_at.is_some() { 0 } else { clock::micros() + GRACE });
    }

    /// After a stop: the shell may have given the terminal to us, or taken it away.
    pub(crate) fn resume(&mut self) {
        self.input.attend();
        self.resize();
    }

    /// Waits for something to do, no longer than so many milliseconds, and does it. Returns also when a signal is pending.
    pub(crate) fn turn(&mut self, milliseconds: Option<u32>) -> Option<Over> {
        let most = if self.signals.is_none() { GLANCE } else { u32::MAX };
        let mut time = milliseconds.unwrap_or(most).min(most);
        if let Some(next) = self.hang_up_at.into_iter().chain(self.remote.next()).min() {
            time = time.min(next.saturating_sub(clock::micros()).div_ceil(1000) as u32);
        }
        let typed = self.poll((time != u32::MAX).then_some(time));
        if self.hang_up_at.is_some_and(|at| at <= clock::micros()) {
            self.remote.hang_up();
            self.hang_up_at = None;
        }
        self.take_output();
        self.put_output();
        if typed {
            self.take_input();
        }
        self.put_input();
        // What came before the end is written before it is told.
        self.over.filter(|over| *over == Over::Detached || self.came.is_empty())
    }

    /// Waits until one of the next steps can be taken; whether there is input to take.
    fn poll(&self, milliseconds: Option<u32>) -> bool {
        let (none, read, write) = (PollFlags::empty(), PollFlags::IN, PollFlags::OUT);
        let mut fds = [const { None }; 4];
        if self.typed.is_empty() {
            fds[0] = self.input.fd().map(|fd| PollFd::from_borrowed_fd(fd, read));
        }
        let listening = fds[0].is_some();
        let remote = if self.came.is_empty() && self.over.is_none() { read } else { none }
            | if self.typed.is_empty() && !self.remote.is_due() { none } else { write };
        fds[1] = self.remote.fd().filter(|_| !remote.is_empty()).map(|fd| PollFd::from_borrowed_fd(fd, remote));
        fds[2] = self.signals.as_ref().map(|fd| PollFd::new(fd, read));
        if !self.came.is_empty() {
            fds[3] = Some(PollFd::from_borrowed_fd(self.outlets[self.which].fd(), write));
        }
        let placeholder = self.outlets[0].fd();
        let mut list = [const { None }; 4].map(|_: Option<()>| PollFd::from_borrowed_fd(placeholder, none));
        let mut count = 0;
        for fd in fds.into_iter().flatten() {
            list[count] = fd;
            count += 1;
        }
        let time = milliseconds.map(|time| Timespec {
            tv_sec: i64::from(time / 1000),
            tv_nsec: (i64::from(time % 1000) * 1_000_000) as _,
        });
        // EINTR: a stop and continue; whoever calls comes back.
        let ready = rustix::event::poll(&mut list[..count], time.as_ref()).unwrap_or(0);
        ready > 0 && listening && !list[0].revents().is_empty()
    }

    fn take_output(&mut self) {
        if !self.came.is_empty() || self.over.is_some() {
            return;
        }
        match self.remote.take(&mut self.came) {
            Came::Nothing => {}
            Came::Output { stream } => self.which = stream,
            Came::End(over) => self.over = Some(over),
        }
    }

    fn put_output(&mut self) {
        if self.came.is_empty() {
            return;
        }
        match self.outlets[self.which].put(self.came.left()) {
            Ok(written) => self.came.consume(written),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody reads any more: for the command the terminal has hung up, as when its window is closed.
            Err(_) => {
                self.came.clear();
                self.remote.hang_up();
                if !self.remote.is_terminal() {
                    self.over = Some(Over::Detached);
                }
            }
        }
    }

    fn take_input(&mut self) {
        let mut read = [0u8; KEYS / 2];
        match self.input.take(&mut read) {
            None => {}
            Some(0) => self.remote.end_input(),
            // Keys that were held back and are not those for detaching come before these: half of the room is for them.
            Some(length) if self.keys.pass(&read[..length], &mut self.typed) => self.over = Some(Over::Detached),
            Some(_) => {}
        }
    }

    fn put_input(&mut self) {
        match self.remote.put(self.typed.left()) {
            Ok(written) => self.typed.consume(written),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Gone; its end tells how.
            Err(_) => self.typed.clear(),
        }
    }

    /// After the container's end: writes all that came before it. A signal that ends programs ends the wait for whoever reads.
    pub(crate) fn finish(&mut self) {
        if !self.input.shows_output() {
            self.input.give_back();
        }
        let mut left = LEFT;
        loop {
            self.take_output();
            if self.came.is_empty() || left == 0 {
                break;
            }
            let before = self.came.left().len();
            self.put_output();
            let after = self.came.left().len();
            left = left.saturating_sub(before - after);
            if before == after {
                self.wait_for_reader();
                let ends = |signal| matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT);
                if sys::take_signal_within(Some(0)).is_some_and(|taken| ends(taken.signal)) {
                    break;
                }
            }
        }
        self.input.give_back();
    }

    fn wait_for_reader(&self) {
        let outlet = PollFd::from_borrowed_fd(self.outlets[self.which].fd(), PollFlags::OUT);
        let signals = self.signals.as_ref().map(AsFd::as_fd).unwrap_or(self.outlets[self.which].fd());
        let time = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = rustix::event::poll(&mut [outlet, PollFd::from_borrowed_fd(signals, PollFlags::IN)], Some(&time));
    }
}

/// A standard stream, which is open for as long as this process is.
type Stream = BorrowedFd<'static>;
