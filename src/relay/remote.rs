//! The container's side: its terminal, or the socket of the monitor that holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::termios::Winsize;

use super::Over;
use super::buffer::Buffer;
use crate::linux::clock;
use crate::linux::tty::{self, Line};

pub(crate) enum Remote {
    /// `slave` is kept open: then reading the master says EAGAIN where there is nothing, also while the command has closed its own.
    Terminal {
        master: OwnedFd,
        slave: Option<OwnedFd>,
        /// How far input has come, and how its end comes there.
        line: Line,
        end: Option<Again>,
    },
    /// SOCK_SEQPACKET; the messages are in src/monitor.rs.
    Monitor {
        socket: OwnedFd,
        /// It holds a terminal.
        tty: bool,
        /// The last byte that went there, and messages that wait for room.
        last: u8,
        size: Option<Winsize>,
        end: Option<&'static [u8]>,
    },
    /// Nobody is there to be written to or read.
    Gone,
}

/// When the key for the end is typed next, and how long after that again: both in microseconds of the monotonic clock.
pub(crate) struct Again {
    at: u64,
    pause: u64,
}

/// The first pause, in which a shell turns line editing off, doubles up to the longest.
const FIRST: u64 = 50_000;
const LONGEST: u64 = 1_000_000;

pub(super) enum Came {
    Nothing,
    /// 0: standard output, 1: standard error.
    Output {
        stream: usize,
    },
    End(Over),
}

impl Remote {
    pub(crate) fn terminal(master: OwnedFd) -> Self {
        let slave = tty::peer(master.as_fd()).ok();
        Self::Terminal { master, slave, line: Line::default(), end: None }
    }

    pub(crate) fn monitor(socket: OwnedFd, tty: bool) -> Self {
        Self::Monitor { socket, tty, last: b'\n', size: None, end: None }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Terminal { master, .. } => Some(master.as_fd()),
            Self::Monitor { socket, .. } => Some(socket.as_fd()),
            Self::Gone => None,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        !matches!(self, Self::Monitor { .. })
    }

    /// Whether something of our own is to be written.
    pub(super) fn is_due(&self) -> bool {
        match self {
            Self::Monitor { size, end, .. } => size.is_some() || end.is_some(),
            Self::Terminal { .. } | Self::Gone => false,
        }
    }

    /// When [`Remote::put`] has something to do again, in microseconds of the monotonic clock.
    pub(super) fn next(&self) -> Option<u64> {
        if let Self::Terminal { end: Some(again), .. } = self { Some(again.at) } else { None }
    }

    pub(super) fn resize(&mut self, new: Winsize) {
        match self {
            Self::Terminal { master, .. } => _ = rustix::termios::tcsetwinsize(master, new),
            Self::Monitor { size, .. } => *size = Some(new),
            Self::Gone => {}
        }
    }

    /// A terminal has no end of input of its own; there is a key for it. It is lost where a shell turns line editing off
    /// before it reads, and good for one reader: so it is typed again whenever it was read, at a slow pace.
    pub(super) fn end_input(&mut self) {
        match self {
            Self::Terminal { end, .. } => *end = Some(Again { at: clock::micros() + FIRST, pause: FIRST }),
            // The terminal goes on for others: only the usual key is typed.
            Self::Monitor { tty: true, last: b'\n', end, .. } => *end = Some(b"i\x04"),
            Self::Monitor { tty: true, end, .. } => *end = Some(b"i\x04\x04"),
            Self::Monitor { end, .. } => *end = Some(b"x"),
            Self::Gone => {}
        }
    }

    /// Whoever has the terminal gets SIGHUP.
    pub(super) fn hang_up(&mut self) {
        if self.is_terminal() {
            *self = Self::Gone;
        }
    }

    pub(super) fn take<const N: usize>(&mut self, into: &mut Buffer<N>) -> Came {
        match self {
            Self::Terminal { master, .. } => match into.fill(0, |bytes| rustix::io::read(&*master, bytes)) {
                Ok(length) if length > 0 => Came::Output { stream: 0 },
                // EAGAIN: nothing for now. EIO: all have closed it.
                _ => Came::Nothing,
            },
            Self::Monitor { socket, .. } => {
                let receive = |bytes: &mut [u8]| {
                    rustix::net::recv(&*socket, bytes, RecvFlags::DONTWAIT).map(|(length, _)| length)
                };
                match into.fill(1, receive) {
                    // ECONNRESET: it ended without having read all of ours; what it said comes after that, see `socket::receive`.
                    Err(Errno::AGAIN | Errno::INTR | Errno::CONNRESET) => Came::Nothing,
                    Ok(0) | Err(_) => Came::End(Over::Closed),
                    Ok(_) => match into.first() {
                        b'o' => Came::Output { stream: 0 },
                        b'e' => Came::Output { stream: 1 },
                        b'c' => {
                            let code = into.left().first().copied().unwrap_or(0);
                            into.clear();
                            Came::End(Over::Ended(code))
                        }
                        _ => {
                            into.clear();
                            Came::Nothing
                        }
                    },
                }
            }
            Self::Gone => Came::Nothing,
        }
    }

    /// How much of it was taken; our own messages go first, but for the end.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Terminal { master, slave, line, end } => {
                if !bytes.is_empty() {
                    let written = rustix::io::write(&*master, bytes)?;
                    line.half = written.checked_sub(1).map_or(line.half, |at| bytes[at] != b'\n');
                    return Ok(written);
                }
                let now = clock::micros();
                if let Some(again) = end.as_mut().filter(|again| again.at <= now) {
                    *again = Again { at: now + again.pause, pause: LONGEST.min(again.pause * 2) };
                    if !slave.as_ref().is_some_and(|slave| tty::is_unread(slave.as_fd())) {
                        for key in tty::end_of_input(master.as_fd(), line).into_iter().filter(|key| *key != 0) {
                            rustix::io::write(&*master, &[key])?;
                        }
                    }
                }
                Ok(0)
            }
            Self::Monitor { socket, last, size, end, .. } => {
                let send = |message: &[u8]| {
                    rustix::net::send(&*socket, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(|_| ())
                };
                if let Some(Winsize { ws_row, ws_col, .. }) = size {
                    let ([a, b], [c, d]) = (ws_row.to_ne_bytes(), ws_col.to_ne_bytes());
                    send(&[b'w', a, b, c, d])?;
                    *size = None;
                }
                if !bytes.is_empty() {
                    let mut message = [0u8; super::KEYS + 1];
                    message[0] = b'i';
                    message[1..=bytes.len()].copy_from_slice(bytes);
                    send(&message[..=bytes.len()])?;
                    *last = message[bytes.len()];
                } else if let Some(key) = *end {
                    send(key)?;
                    *end = None;
                }
                Ok(bytes.len())
            }
            Self::Gone => Ok(bytes.len()),
        }
    }
}

/// One message of a monitor.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    let Ok((ours, theirs)) = crate::sync::pair() else { return };
    // None of nothing: that would be the end.
    if bytes.is_empty() || rustix::net::send(&theirs, bytes, SendFlags::DONTWAIT).is_err() {
        return;
    }
    let mut into = Buffer::<64>::new();
    if let Came::Output { stream } = Remote::monitor(ours, false).take(&mut into) {
        assert!(stream < 2 && into.left().len() < bytes.len());
    }
}
