//! The messages from the container's side to the supervisor: eight bytes each, on a SOCK_SEQPACKET pair.
//! A child never formats text; it sends the number of a step of the plan that both sides have. One message is longer: what was
//! seen of a file that could not be executed, since the supervisor cannot see it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::linux::elf::Trouble;
use crate::linux::socket;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Message {
    /// The step begins, so many microseconds after the supervisor's start (modulo 2^32). Sent for `-v` only.
    Step { index: u16, micros: u32 },
    /// The step failed; nothing follows.
    Failure { index: u16, errno: i32 },
    /// Made, and waiting for its start.
    Ready,
    /// From the supervisor: it is recorded, go on.
    Go,
}

const STEP: u16 = 1;
const FAILURE: u16 = 2;
const READY: u16 = 4;
const GO: u16 = 5;

impl Message {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let (kind, index, value) = match self {
            Self::Step { index, micros } => (STEP, index, micros),
            Self::Failure { index, errno } => (FAILURE, index, errno as u32),
            Self::Ready => (READY, 0, 0),
            Self::Go => (GO, 0, 0),
        };
        let ([a, b], [c, d], [e, f, g, h]) = (kind.to_ne_bytes(), index.to_ne_bytes(), value.to_ne_bytes());
        [a, b, c, d, e, f, g, h]
    }

    /// None: not a message of ours.
    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Option<Self> {
        let index = u16::from_ne_bytes([c, d]);
        let value = u32::from_ne_bytes([e, f, g, h]);
        match u16::from_ne_bytes([a, b]) {
            STEP => Some(Self::Step { index, micros: value }),
            FAILURE => Some(Self::Failure { index, errno: value as i32 }),
            READY => Some(Self::Ready),
            GO => Some(Self::Go),
            _ => None,
        }
    }

    /// Does not allocate. EPIPE: the supervisor is gone, and nobody is left to be told.
    pub(crate) fn send(self, to: impl AsFd) -> Result<(), Errno> {
        rustix::net::send(to, &self.to_bytes(), SendFlags::NOSIGNAL).map(|_| ())
    }
}

/// The two ends on which they go.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Hands messages on as they are, until a failure (false), or until the other end is closed (true). Does not allocate.
pub(crate) fn hand_on(from: &OwnedFd, to: Option<&OwnedFd>) -> bool {
    let mut bytes = [0; LONGEST];
    while let Ok((length @ 1.., fd)) = socket::receive(from, &mut bytes, RecvFlags::empty()) {
        // Whoever does not want to hear it has gone.
        let _ = to.map(|to| socket::send(to, &bytes[..length], fd.as_ref().map(AsFd::as_fd)));
        let message = bytes[..length].try_into().ok().and_then(Message::from_bytes);
        if matches!(message, Some(Message::Failure { .. })) {
            return false;
        }
    }
    true
}

/// What is wrong with a file that could not be executed.
#[derive(Debug, PartialEq)]
pub(crate) struct Detail {
    /// Its number among the plan's.
    pub(crate) program: u16,
    pub(crate) trouble: Option<Trouble>,
}

const DETAIL: u16 = 3;
/// Kind, program and number of the trouble; its text follows.
const DETAIL_HEAD: usize = 5;
/// The longest path, and the head.
const LONGEST: usize = 4096 + DETAIL_HEAD;

impl Detail {
    fn to_bytes(&self) -> Vec<u8> {
        let (number, text) = self.trouble.as_ref().map_or((0, ""), Trouble::parts);
        let ([a, b], [c, d]) = (DETAIL.to_ne_bytes(), self.program.to_ne_bytes());
        let mut bytes = vec![a, b, c, d, number];
        bytes.extend(text.bytes().take(LONGEST - DETAIL_HEAD));
        // Eight bytes would be another message.
        if bytes.len() == 8 {
            bytes.push(0);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([a, b, c, d, number], text) = bytes.split_first_chunk::<DETAIL_HEAD>()?;
        let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_string();
        let detail = Self { program: u16::from_ne_bytes([*c, *d]), trouble: Trouble::from_parts(*number, text) };
        (u16::from_ne_bytes([*a, *b]) == DETAIL).then_some(detail)
    }

    /// For when nothing else can be done any more: allocates.
    pub(crate) fn send(&self, to: impl AsFd) {
        // Without it the message that follows is less clear.
        let _ = rustix::net::send(to, &self.to_bytes(), SendFlags::NOSIGNAL);
    }
}

/// What came.
pub(crate) enum Received {
    Message(Message),
    Detail(Detail),
    /// The master of the container's terminal.
    Terminal(OwnedFd),
    /// By which the kernel asks about system calls (SECCOMP_RET_USER_NOTIF).
    Listener(OwnedFd),
}

/// Hands the master of the container's terminal over. Does not allocate.
pub(crate) fn send_terminal(to: impl AsFd, master: BorrowedFd<'_>) -> Result<(), Errno> {
    socket::send(to, &[0; 8], Some(master))
}

/// The same for the descriptor by which the kernel asks.
pub(crate) fn send_listener(to: impl AsFd, listener: BorrowedFd<'_>) -> Result<(), Errno> {
    socket::send(to, &[1; 8], Some(listener))
}

/// The next message. None: the other side has no open end any more, or (with `wait` false) sent nothing yet.
pub(crate) fn receive(from: impl AsFd, wait: bool) -> Option<Received> {
    let mut bytes = [0u8; LONGEST];
    let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let (length, fd) = socket::receive(from, &mut bytes, flags).ok()?;
    if let Some(fd) = fd {
        return Some(if bytes[0] == 0 { Received::Terminal(fd) } else { Received::Listener(fd) });
    }
    match <[u8; 8]>::try_from(&bytes[..length]) {
        Ok(message) => Message::from_bytes(message).map(Received::Message),
        Err(_) => Detail::from_bytes(&bytes[..length]).map(Received::Detail),
    }
}

#[cfg(any(test, fuzzing))]
/// What may have come, as a message or as more about it.
pub(crate) fn survives(bytes: &[u8]) -> (Option<Message>, Option<Detail>) {
    let message = bytes.first_chunk().and_then(|bytes| Message::from_bytes(*bytes));
    if let Some(message) = message {
        assert!(Message::from_bytes(message.to_bytes()) == Some(message));
    }
    let detail = Detail::from_bytes(bytes);
    if let Some(detail) = &detail {
        assert!(Detail::from_bytes(&detail.to_bytes()).is_some());
    }
    (message, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_comes_back() {
        for trouble in [
            None,
            Some(Trouble::Missing),
            Some(Trouble::NoInterpreter("/bin/x".into())),
            Some(Trouble::OtherMachine("ARM".into())),
            Some(Trouble::NoFormat),
            Some(Trouble::Directory),
            Some(Trouble::Special),
            Some(Trouble::NotExecutable),
        ] {
            let detail = Detail { program: 513, trouble };
            assert_eq!(Detail::from_bytes(&detail.to_bytes()), Some(detail));
        }
        let long = Detail { program: 0, trouble: Some(Trouble::NoInterpreter("x".repeat(9000))) };
        assert!(long.to_bytes().len() <= LONGEST);
        assert_eq!(Detail::from_bytes(b"abc"), None);
    }

    /// What the other side said stays to be heard when it has ended without having read what was sent to it.
    #[test]
    fn a_last_word_is_not_lost() {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let kind = rustix::net::SocketType::SEQPACKET;
        let (ours, theirs) = rustix::net::socketpair(rustix::net::AddressFamily::UNIX, kind, flags, None).unwrap();
        let failure = Message::Failure { index: 7, errno: 5 };
        failure.send(&theirs).unwrap();
        Message::Go.send(&ours).unwrap();
        drop(theirs);
        assert!(matches!(receive(&ours, true), Some(Received::Message(said)) if said == failure));
        assert!(receive(&ours, true).is_none());
    }

    #[test]
    fn every_message_comes_back() {
        for index in [0, 1, 255, 256, u16::MAX] {
            for value in [0, 1, i32::MAX, -1] {
                for message in
                    [Message::Step { index, micros: value as u32 }, Message::Failure { index, errno: value }]
                {
                    assert_eq!(Message::from_bytes(message.to_bytes()), Some(message));
                }
            }
        }
        for message in [Message::Ready, Message::Go] {
            assert_eq!(Message::from_bytes(message.to_bytes()), Some(message));
        }
        assert_eq!(Message::from_bytes([9; 8]), None);
    }
}
