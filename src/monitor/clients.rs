//! Who has the control socket open: other commands of nsctl's, which are asked for nothing and answered to. Each message is one packet,
//! its first byte says what it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::{CHUNK, Polled};
use crate::linux::{socket, sys};

/// To the monitor: input for the command, its end, "send me the output from now on", a signal for the command, "start it", the
/// size of the terminal (rows and columns, two bytes each).
pub(crate) const INPUT: u8 = b'i';
pub(crate) const INPUT_ENDS: u8 = b'x';
pub(crate) const ATTACH: u8 = b'a';
pub(crate) const SIGNAL: u8 = b'g';
pub(crate) const START: u8 = b's';
pub(crate) const SIZE: u8 = b'w';
/// From it: output, errors, and the exit code when all is over.
pub(crate) const OUTPUT: u8 = b'o';
pub(crate) const ERRORS: u8 = b'e';
pub(crate) const CODE: u8 = b'c';

/// Who comes when all places are taken waits.
pub(super) const MOST: usize = 8;
/// Those who stay. The other places are for those who only bring a signal, or what else takes a moment.
const MOST_ATTACHED: usize = 6;
/// How long somebody who does not read may hold up the end.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

pub(super) enum Request {
    Signal(i32),
    /// What could not be started is told there.
    Start(Option<OwnedFd>),
    Size([u16; 2]),
}

type Packet = [u8; CHUNK + 1];

struct Packets {
    /// The last output.
    output: Packet,
    /// Input that the command has not taken yet.
    input: Packet,
    /// What has just come from a client.
    came: Packet,
}

/// Not on the stack: what is not written to takes no memory here, but a large frame is touched as a whole. Under one lock, for
/// each lock's word would make a page dirty.
static PACKETS: Mutex<Packets> =
    Mutex::new(Packets { output: [0; CHUNK + 1], input: [0; CHUNK + 1], came: [0; CHUNK + 1] });

struct Client {
    socket: OwnedFd,
    attached: bool,
    /// It has not got the last output yet.
    owes: bool,
}

pub(super) struct Clients {
    places: [Option<Client>; MOST],
    packets: MutexGuard<'static, Packets>,
    /// Of the last output, with its first byte.
    length: usize,
    /// The part of the input that waits.
    waits: std::ops::Range<usize>,
}

impl Clients {
    pub(super) fn new() -> Self {
        Self {
            places: [const { None }; MOST],
            // There is one thread, and this is called once.
            packets: PACKETS.lock().unwrap_or_else(PoisonError::into_inner),
            length: 0,
            waits: 0..0,
        }
    }

    /// Somebody has not taken the last output.
    pub(super) fn owe(&self) -> bool {
        self.places.iter().flatten().any(|client| client.owes)
    }

    pub(super) fn poll<'a>(&'a self, input: Option<BorrowedFd<'a>>, polled: &mut Polled<'a>) {
        for client in self.places.iter().flatten() {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, self.listens_to(client));
            events.set(PollFlags::OUT, client.owes);
            polled.add(client.socket.as_fd(), events);
        }
        if let Some(input) = input.filter(|_| !self.waits.is_empty()) {
            polled.add(input, PollFlags::OUT);
        }
    }

    /// More input is taken when the command has taken the last.
    fn listens_to(&self, client: &Client) -> bool {
        self.waits.is_empty() || !client.attached
    }

    pub(super) fn have_room(&self) -> bool {
        self.places.iter().any(Option::is_none)
    }

    /// Only root and the container's own user can come to the socket; that is looked at all the same.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Some(place) = self.places.iter_mut().find(|place| place.is_none())
            && let Ok(socket) = rustix::net::accept_with(listener, flags)
        {
            let known =
                sys::peer_uid(socket.as_fd()).is_ok_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw());
            if known {
                *place = Some(Client { socket, attached: false, owes: false });
            }
        }
    }

    /// Who comes when there are enough is sent away.
    fn attach(&mut self, number: usize) {
        let attached = self.places.iter().flatten().filter(|client| client.attached).count();
        match &mut self.places[number] {
            Some(client) if client.attached || attached < MOST_ATTACHED => client.attached = true,
            place => *place = None,
        }
    }

    /// Whose input has to wait, and who has left: poll(2) tells it at any time, and would not wait for anything else.
    fn forget_gone(&mut self) {
        if self.waits.is_empty() {
            return;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = |client: &mut Client| {
            let mut polled = [PollFd::new(&client.socket, PollFlags::empty())];
            client.attached && rustix::event::poll(&mut polled, Some(&now)) == Ok(1)
        };
        self.places.iter_mut().for_each(|place| _ = place.take_if(gone));
    }

    /// The next thing that somebody wants; input and attaching are done here.
    pub(super) fn request(&mut self, input: &mut Option<OwnedFd>) -> Option<Request> {
        self.flush();
        self.give_input(input);
        self.forget_gone();
        for number in 0..MOST {
            while let Some(client) = &self.places[number]
                && self.listens_to(client)
            {
                let packets = &mut *self.packets;
                let (length, fd) = match socket::receive(&client.socket, &mut packets.came, RecvFlags::DONTWAIT) {
                    Ok((length, fd)) if length > 0 => (length, fd),
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    _ => {
                        self.places[number] = None;
                        break;
                    }
                };
                match (packets.came[0], &packets.came[1..length]) {
                    (INPUT, data) => {
                        packets.input[..data.len()].copy_from_slice(data);
                        self.waits = 0..data.len();
                        self.give_input(input);
                    }
                    (INPUT_ENDS, _) => *input = None,
                    (ATTACH, _) => self.attach(number),
                    (SIGNAL, [signal]) => return Some(Request::Signal((*signal).into())),
                    (START, _) => return Some(Request::Start(fd)),
                    (SIZE, &[a, b, c, d]) => {
                        return Some(Request::Size([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])]));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Hands input on as far as the command takes it. Without a command that reads there is nobody to keep it for.
    fn give_input(&mut self, input: &Option<OwnedFd>) {
        while !self.waits.is_empty() {
            let taken = match input {
                Some(input) => rustix::io::write(input, &self.packets.input[self.waits.clone()]),
                None => Err(Errno::PIPE),
            };
            match taken {
                Ok(length) => self.waits.start += length,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.waits = 0..0,
            }
        }
    }

    /// Where the next output is to be read to, when nobody owes the last.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.packets.output[1..]
    }

    /// Sends what was read there to those who are attached; these bytes.
    pub(super) fn output(&mut self, stream: usize, length: usize) -> &[u8] {
        self.packets.output[0] = if stream == 1 { OUTPUT } else { ERRORS };
        self.length = 1 + length;
        self.places.iter_mut().flatten().for_each(|client| client.owes = client.attached);
        self.flush();
        &self.packets.output[1..self.length]
    }

    /// Sends the last output to those who have not got it.
    fn flush(&mut self) {
        for place in &mut self.places {
            let Some(client) = place.as_mut().filter(|client| client.owes) else { continue };
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&client.socket, &self.packets.output[..self.length], flags) {
                Ok(_) => client.owes = false,
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => *place = None,
            }
        }
    }

    /// Waits a moment for each who has not got the last output; who does not take it then is sent away.
    pub(super) fn settle(&mut self) {
        for number in 0..MOST {
            if let Some(client) = self.places[number].as_ref().filter(|client| client.owes) {
                let _ = rustix::event::poll(&mut [PollFd::new(&client.socket, PollFlags::OUT)], Some(&PATIENCE));
                self.flush();
                if self.places[number].as_ref().is_some_and(|client| client.owes) {
                    self.places[number] = None;
                }
            }
        }
    }

    /// All is over.
    pub(super) fn end(&mut self, code: u8) {
        for client in self.places.iter().flatten() {
            let _ = rustix::event::poll(&mut [PollFd::new(&client.socket, PollFlags::OUT)], Some(&PATIENCE));
            let _ = rustix::net::send(&client.socket, &[CODE, code], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }
}

/// Packets of one who has the socket open, up to a NUL byte each.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    let Ok((ours, theirs)) = crate::sync::pair() else { return };
    let mut clients = Clients::new();
    clients.places[0] = Some(Client { socket: ours, attached: false, owes: false });
    for packet in bytes.split(|byte| *byte == 0).filter(|packet| !packet.is_empty()).take(16) {
        let _ = rustix::net::send(&theirs, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
    let mut input = None;
    for _ in 0..16 {
        if clients.request(&mut input).is_none() {
            break;
        }
        clients.output(1, 8);
    }
}
