//! rtnetlink(7) and nfnetlink: how the kernel is asked for interfaces, addresses, routes and packet rules. Messages are put together
//! and taken apart by netlink-bindings; here are the socket and what an answer means.

use std::cell::Cell;
use std::ffi::CStr;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_bindings::consts as n;
use netlink_bindings::utils::find_attr;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::sys::net as sys;

pub(crate) mod conf;
pub(crate) mod lease;
mod lent;
pub(crate) mod look;
pub(crate) mod nft;
mod request;
pub(crate) mod undo;
pub(crate) use lent::Lent;
pub(crate) use request::{Request, Upon, VETH};

/// A netlink socket. It stays in the network namespace in which it was opened.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: Cell<u32>,
}

/// One message without its sequence number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// RTM_*, or for nf_tables the subsystem and NFT_MSG_*.
    pub(crate) kind: u16,
    /// NLM_F_*.
    pub(crate) flags: u16,
    pub(crate) payload: Vec<u8>,
}

/// Why the kernel did not do it: its number and, if it has one, its sentence (extended acknowledgement).
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    pub(crate) said: String,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, said: String::new() }
    }
}

pub(crate) type Result<T> = std::result::Result<T, Refusal>;

/// nlmsghdr: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// What the kernel hands out at once is never more (NLMSG_GOODSIZE, and what a dump fills at most).
const BUFFER: usize = 32 << 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;

impl Message {
    /// `header` is what comes before the attributes; these are pushed after it.
    pub(crate) fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        Self { kind, flags: flags as u16, payload: header.to_vec() }
    }

    /// As it goes over the wire, without a wish for an answer.
    pub(crate) fn alone(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, 0, 0);
        bytes
    }

    /// Appends the message as it goes over the wire.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>, more_flags: i32, sequence: u32) {
        let length = (HEADER + self.payload.len()) as u32;
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | (n::NLM_F_REQUEST | more_flags) as u16).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(&self.payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
}

impl Socket {
    /// For interfaces, addresses and routes.
    pub(crate) fn route() -> std::result::Result<Self, Errno> {
        // NETLINK_ROUTE is 0.
        Self::open(None)
    }

    /// For nf_tables.
    pub(crate) fn netfilter() -> std::result::Result<Self, Errno> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> std::result::Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        // Sentences for errors (4.12), without the request sent back. Ignored: that a kernel has none.
        for option in [n::NETLINK_EXT_ACK, n::NETLINK_CAP_ACK] {
            let _ = sys::set_netlink_option(fd.as_fd(), option);
        }
        Ok(Self { fd, sequence: Cell::new(0) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The same socket, for somebody who only sends.
    fn again(&self) -> std::result::Result<Self, Errno> {
        Ok(Self { fd: rustix::io::fcntl_dupfd_cloexec(&self.fd, 3)?, sequence: Cell::new(0) })
    }

    fn next(&self) -> u32 {
        self.reserve(1)
    }

    /// The first of so many sequence numbers.
    fn reserve(&self, count: u32) -> u32 {
        let first = self.sequence.get() + 1;
        self.sequence.set(first + count - 1);
        first
    }

    /// Asks for something to be done, and waits until it is.
    pub(crate) fn ask(&self, message: &Message) -> Result<()> {
        let sequence = self.next();
        let mut bytes = Vec::new();
        message.write(&mut bytes, n::NLM_F_ACK, sequence);
        self.send(&bytes)?;
        self.answers(sequence, true, &mut |_, _| {})
    }

    /// Asks a question; hands each answer's type and payload on. EAGAIN: what was listed changed meanwhile, and something may be
    /// missing.
    pub(crate) fn get(&self, message: &Message, each: &mut dyn FnMut(u16, &[u8])) -> Result<()> {
        let sequence = self.next();
        let dump = message.flags & n::NLM_F_DUMP as u16 == n::NLM_F_DUMP as u16;
        let mut bytes = Vec::new();
        // Without: the one answer would be followed by an acknowledgement.
        message.write(&mut bytes, 0, sequence);
        self.send(&bytes)?;
        self.answers(sequence, dump, each)
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> std::result::Result<(), Errno> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, bytes, SendFlags::empty(), &kernel).map(|_| ())
    }

    fn answers(&self, sequence: u32, all: bool, each: &mut dyn FnMut(u16, &[u8])) -> Result<()> {
        self.outcome(sequence..=sequence, all, each).map_err(|(_, refusal)| refusal)
    }

    /// Takes what belongs to some requests, up to the first refusal, an acknowledgement, the end of a dump or, unless `all`, the one
    /// answer. The refusal comes with the number of the request.
    fn outcome(
        &self,
        sequences: RangeInclusive<u32>,
        all: bool,
        each: &mut dyn FnMut(u16, &[u8]),
    ) -> std::result::Result<(), (u32, Refusal)> {
        let mut bytes = vec![0; BUFFER];
        let mut torn = false;
        loop {
            let length = match rustix::net::recv(&self.fd, &mut bytes[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err((*sequences.start(), errno.into())),
            };
            for answer in answers(&bytes[..length]) {
                // An answer to an earlier request that was given up.
                if !sequences.contains(&answer.sequence) {
                    continue;
                }
                torn |= answer.flags & n::NLM_F_DUMP_INTR as u16 != 0;
                match answer.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let outcome = verdict(&answer);
                        let outcome = if torn { outcome.and(Err(Errno::AGAIN.into())) } else { outcome };
                        return outcome.map_err(|refusal| (answer.sequence, refusal));
                    }
                    kind => {
                        each(kind, answer.payload);
                        if !all {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}

/// One message of the kernel's.
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages in what was received; ends where the bytes make no sense.
pub(crate) fn answers(bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_at_checked(HEADER)?;
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let length = word(0) as usize;
        let payload = rest.get(HEADER..length)?;
        let answer = Answer { kind: half(4), flags: half(6), sequence: word(8), payload };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// What NLMSG_ERROR and the end of a dump say: 0 is an acknowledgement; otherwise, with NETLINK_EXT_ACK, there may be a sentence.
pub(crate) fn verdict(answer: &Answer<'_>) -> Result<()> {
    let (flags, done) = (answer.flags, answer.kind == NLMSG_DONE);
    let Some((code, rest)) = answer.payload.split_first_chunk::<4>() else {
        return if done { Ok(()) } else { Err(Errno::BADMSG.into()) };
    };
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return Ok(());
    }
    let mut said = String::new();
    if flags & n::NLM_F_ACK_TLVS as u16 != 0 {
        // The header of the request; with it the whole, if the kernel does not know NETLINK_CAP_ACK.
        let request = rest.first_chunk::<4>().map_or(HEADER, |length| u32::from_ne_bytes(*length) as usize);
        let skip = match flags & n::NLM_F_CAPPED as u16 != 0 {
            _ if done => 0,
            true => HEADER,
            false => request.next_multiple_of(4),
        };
        let text = find_attr(rest.get(skip..).unwrap_or_default(), NLMSGERR_ATTR_MSG);
        if let Some(Ok(text)) = text.map(CStr::from_bytes_until_nul) {
            said = text.to_string_lossy().into_owned();
        }
    }
    Err(Refusal { errno: super::errno(code.wrapping_neg()), said })
}

/// Takes it apart in every way in which answers of the kernel are.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    assert!(answers(bytes).count() <= bytes.len() / HEADER + 1);
    look::survives(bytes);
    for answer in answers(bytes) {
        let _ = verdict(&answer);
        look::survives(answer.payload);
    }
    received(bytes);
}

/// The same as it is received, by a socket from which nothing more will come.
#[cfg(any(test, fuzzing))]
fn received(bytes: &[u8]) {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
    let Ok((fd, kernel)) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None) else { return };
    // Nothing at all would be the end, which netlink has none of.
    if !bytes.is_empty() && rustix::net::send(&kernel, bytes, SendFlags::empty()).is_ok() {
        let socket = Socket { fd, sequence: Cell::new(1) };
        let _ = socket.outcome(1..=u32::MAX, true, &mut |_, payload| look::survives(payload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: i32, flags: i32, rest: &[u8]) -> Refusal {
        of(NLMSG_ERROR, flags, &[&code.to_ne_bytes()[..], rest].concat()).unwrap_err()
    }

    fn of(kind: u16, flags: i32, payload: &[u8]) -> Result<()> {
        verdict(&Answer { kind, flags: flags as u16, sequence: 0, payload })
    }

    #[test]
    fn a_refusal_has_the_kernels_sentence() {
        assert_eq!(of(NLMSG_ERROR, 0, &[0; 20]), Ok(()));
        assert_eq!(of(NLMSG_ERROR, 0, &[]), Err(Errno::BADMSG.into()));
        assert_eq!(refusal(-libc::EEXIST, 0, &[0; 16]), Refusal::from(Errno::EXIST));
        let mut header = [0u8; HEADER];
        header[0] = 40;
        let sentence = b"\x0c\0\x01\0too bad\0";
        let flags = n::NLM_F_ACK_TLVS | n::NLM_F_CAPPED;
        assert_eq!(refusal(-libc::EINVAL, flags, &[&header[..], sentence].concat()).said, "too bad");
        let whole = [&header[..], &[7; 24], sentence].concat();
        assert_eq!(refusal(-libc::EINVAL, n::NLM_F_ACK_TLVS, &whole).said, "too bad");
        // The end of a dump has no request's header.
        assert_eq!([of(NLMSG_DONE, 0, &[]), of(NLMSG_DONE, 0, &[0; 4])], [Ok(()), Ok(())]);
        let end = [&(-libc::EINVAL).to_ne_bytes()[..], sentence].concat();
        assert_eq!(of(NLMSG_DONE, n::NLM_F_ACK_TLVS, &end).unwrap_err().said, "too bad");
    }

    /// Whatever comes, it is taken apart without a panic, and without reading on for ever.
    #[test]
    fn bytes_of_any_kind_are_survived() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
            if round % 2 == 0 && bytes.len() >= 4 {
                let length = (random() % 210) as u32;
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
            }
            survives(&bytes);
        }
    }
}
