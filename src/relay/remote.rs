//! The container's side: its terminal, or the socket of the monitor that holds it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::termios::Winsize;

use super::Over;
use super::buffer::Buffer;
use crate::linux::tty;

pub(crate) enum Remote {
    /// `slave` is kept open: then reading the master says EAGAIN where there is nothing, also while the command has closed its own.
    Terminal {
        master: OwnedFd,
        _slave: Option<OwnedFd>,
        /// The last byte that went there, and how often the key for the end of input still has to.
        last: u8,
        ends: u8,
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
        Self::Terminal { master, _slave: slave, last: b'\n', ends: 0 }
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
            Self::Terminal { ends, .. } => *ends > 0,
            Self::Monitor { size, end, .. } => size.is_some() || end.is_some(),
            Self::Gone => false,
        }
    }

    pub(super) fn resize(&mut self, new: Winsize) {
        match self {
            Self::Terminal { master, .. } => _ = rustix::termios::tcsetwinsize(master, new),
            Self::Monitor { size, .. } => *size = Some(new),
            Self::Gone => {}
        }
    }

    /// A terminal has no end of input of its own; there is a key for it, which half a line needs twice.
    pub(super) fn end_input(&mut self) {
        match self {
            Self::Terminal { last, ends, .. } => *ends = if *last == b'\n' { 1 } else { 2 },
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
            Self::Terminal { master, last, ends, .. } => {
                if !bytes.is_empty() {
                    let written = rustix::io::write(&*master, bytes)?;
                    *last = written.checked_sub(1).map_or(*last, |at| bytes[at]);
                    return Ok(written);
                }
                while *ends > 0 {
                    if let Some(key) = tty::end_of_input(master.as_fd()) {
                        rustix::io::write(&*master, &[key])?;
                    }
                    *ends -= 1;
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
