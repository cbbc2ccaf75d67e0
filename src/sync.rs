//! The messages from the container's side to the supervisor: eight bytes each, on a SOCK_SEQPACKET pair.
//! A child never formats text; it sends the number of a step of the plan that both sides have.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Message {
    /// The step begins, so many microseconds after the supervisor's start (modulo 2^32). Sent for `-v` only.
    Step { index: u16, micros: u32 },
    /// The step failed; nothing follows.
    Failure { index: u16, errno: i32 },
}

const STEP: u16 = 1;
const FAILURE: u16 = 2;

impl Message {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let (kind, index, value) = match self {
            Self::Step { index, micros } => (STEP, index, micros),
            Self::Failure { index, errno } => (FAILURE, index, errno as u32),
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
            _ => None,
        }
    }

    /// Does not allocate. EPIPE: the supervisor is gone, and nobody is left to be told.
    pub(crate) fn send(self, to: impl AsFd) -> Result<(), Errno> {
        rustix::net::send(to, &self.to_bytes(), SendFlags::NOSIGNAL).map(|_| ())
    }
}

/// The next message. None: the other side has no open end any more, or (with `wait` false) sent nothing yet.
pub(crate) fn receive(from: impl AsFd, wait: bool) -> Option<Message> {
    let mut bytes = [0u8; 8];
    let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    match rustix::net::recv(from, &mut bytes[..], flags) {
        Ok((8, _)) => Message::from_bytes(bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Message::from_bytes([9; 8]), None);
    }
}
