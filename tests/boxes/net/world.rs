//! A world of one's own: a "host" with an uplink to an "outside", each a network namespace of the thread that the test runs in. What
//! that thread starts or opens is in the namespace that it is in; nothing of it is the machine's.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::life::until;
use crate::nsctl::patience;

pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const HOST6: &str = "2001:db8::1";
pub(crate) const OUTSIDE: &str = "192.0.2.2";
pub(crate) const OUTSIDE6: &str = "2001:db8::2";
const UPLINK: &str = "up0";

pub(crate) struct World {
    outside: File,
    host: File,
}

/// Runs a test in a world. Of the thread nothing is left, and of the namespaces nothing that nobody uses.
pub(crate) fn with(test: fn(&World) -> Result<(), Failed>) -> Result<(), Failed> {
    let thread = std::thread::spawn(move || {
        let world = World::new();
        test(&world).map_err(|failed| failed.message().unwrap_or("failed").to_string())
    });
    thread.join().map_err(|_| "a thread that panicked")?.map_err(Failed::from)
}

fn here() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn unshare() {
    // SAFETY: a system call about this thread alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "a network namespace");
}

fn enter(namespace: &File) {
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
}

impl World {
    fn new() -> Self {
        unshare();
        let outside = here();
        up("lo");
        unshare();
        let host = here();
        up("lo");
        veth(UPLINK, &outside);
        furnish(HOST, HOST6);
        let gateway: [IpAddr; 2] = [OUTSIDE.parse().unwrap(), OUTSIDE6.parse().unwrap()];
        gateway.into_iter().for_each(|gateway| route(None, gateway));
        let world = Self { outside, host };
        world.outside(|| furnish(OUTSIDE, OUTSIDE6));
        world
    }

    /// Does something outside.
    pub(crate) fn outside<T>(&self, act: impl FnOnce() -> T) -> T {
        enter(&self.outside);
        let done = act();
        enter(&self.host);
        done
    }
}

fn furnish(address: &str, address6: &str) {
    up(UPLINK);
    add_address(address.parse().unwrap(), 24);
    add_address(address6.parse().unwrap(), 64);
}

/// A way over a gateway; None: the default one.
pub(crate) fn route(to: Option<(IpAddr, u8)>, gateway: IpAddr) {
    // rtmsg: family, lengths, tos, table main, protocol static, scope, unicast, flags.
    let (to, prefix) = to.map_or((Vec::new(), 0), |(to, prefix)| (attribute(1, &octets(to)), prefix));
    let header = [family(gateway), prefix, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    let interface = index(UPLINK).to_ne_bytes();
    ask(24, &[&header[..], &to, &attribute(5, &octets(gateway)), &attribute(4, &interface)].concat());
}

fn add_address(address: IpAddr, prefix: u8) {
    const NODAD: u8 = 2;
    let header = [&[family(address), prefix, NODAD, 0][..], &index(UPLINK).to_ne_bytes()].concat();
    ask(20, &[header, attribute(2, &octets(address)), attribute(1, &octets(address))].concat());
}

/// The host's uplink takes packets of no more bytes.
pub(crate) fn narrow(bytes: u32) {
    ask(16, &[link(index(UPLINK), 0), attribute(4, &bytes.to_ne_bytes())].concat());
}

fn up(name: &str) {
    ask(16, &link(index(name), 1));
}

/// A pair of this name, here and there.
fn veth(name: &str, there: &File) {
    let name = attribute(3, format!("{name}\0").as_bytes());
    let there = attribute(28, &there.as_raw_fd().to_ne_bytes());
    let peer = attribute(1, &[link(0, 0), name.clone(), there].concat());
    let info = attribute(18, &[attribute(1, b"veth\0"), attribute(2, &peer)].concat());
    ask(16, &[link(0, 0), name, info].concat());
}

fn link(index: u32, flags: u32) -> Vec<u8> {
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(kind: u16, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [&(contents.len() as u16 + 4).to_ne_bytes()[..], &kind.to_ne_bytes(), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn index(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: the name is a string.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// One request of rtnetlink.
fn ask(kind: u16, payload: &[u8]) {
    assert_eq!(answer(libc::NETLINK_ROUTE, kind, payload), 0, "request {kind} of rtnetlink");
}

/// The errno of a netlink request, or 0.
fn answer(protocol: i32, kind: u16, payload: &[u8]) -> i32 {
    // NLM_F_REQUEST, _ACK, _CREATE.
    let header = [&kind.to_ne_bytes()[..], &0x405u16.to_ne_bytes(), &[0; 8]].concat();
    let bytes = [&(payload.len() as u32 + 16).to_ne_bytes()[..], &header, payload].concat();
    let mut reply = [0u8; 4096];
    // SAFETY: the buffers are as long as is said; the descriptor is new.
    unsafe {
        let socket =
            OwnedFd::from_raw_fd(libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol));
        libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0);
        libc::recv(socket.as_raw_fd(), reply.as_mut_ptr().cast(), reply.len(), 0);
    }
    match u16::from_ne_bytes([reply[4], reply[5]]) {
        2 => -i32::from_ne_bytes([reply[16], reply[17], reply[18], reply[19]]),
        _ => 0,
    }
}

/// Whether nsctl has its table.
pub(crate) fn has_table() -> bool {
    // NFT_MSG_GETTABLE of `inet nsctl`.
    answer(libc::NETLINK_NETFILTER, 10 << 8 | 1, &[vec![1, 0, 0, 0], attribute(1, b"nsctl\0")].concat()) == 0
}

pub(crate) fn has_interface(name: &str) -> bool {
    index(name) != 0
}

/// Kills PID 1 of containers of this test, and waits until they have ended, whoever is to reap them.
pub(crate) fn kill(pids: &[i32]) -> Result<(), Failed> {
    // SAFETY: processes of this test.
    pids.iter().for_each(|pid| _ = unsafe { libc::kill(*pid, libc::SIGKILL) });
    let ended = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X'])))
    };
    until("those that were killed end", || pids.iter().all(ended))
}

/// What the server of [`serve`] says to a caller by TCP: who the caller is to it.
pub(crate) fn call(address: &str, port: u16) -> Result<String, String> {
    call_within(patience(), address, port)
}

/// The same where nobody should be reached: who is not answered waits for nothing.
pub(crate) fn try_call(address: &str, port: u16) -> Result<String, String> {
    call_within(Duration::from_secs(5), address, port)
}

fn call_within(time: Duration, address: &str, port: u16) -> Result<String, String> {
    let to = SocketAddr::new(address.parse().unwrap(), port);
    let mut stream = TcpStream::connect_timeout(&to, time).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(time)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// The same by UDP, of which a packet may be lost.
pub(crate) fn send(address: &str, port: u16) -> Result<String, String> {
    let to = SocketAddr::new(address.parse().unwrap(), port);
    let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let end = Instant::now() + patience();
    loop {
        socket.send(b"?").map_err(|error| error.to_string())?;
        let mut bytes = [0; 100];
        match socket.recv(&mut bytes) {
            Ok(length) => return Ok(String::from_utf8_lossy(&bytes[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// `probe serve PORT`: tells each caller by TCP and UDP, in one word, what address it has.
pub(crate) fn serve(port: u16) -> ! {
    let any = || if std::path::Path::new("/proc/net/if_inet6").exists() { "[::]" } else { "0.0.0.0" };
    let packets = UdpSocket::bind(format!("{}:{port}", any())).unwrap();
    let listener = TcpListener::bind(format!("{}:{port}", any())).unwrap();
    let seen = |from: SocketAddr| from.ip().to_canonical().to_string();
    std::thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((_, from)) = packets.recv_from(&mut bytes) {
            let _ = packets.send_to(seen(from).as_bytes(), from);
        }
    });
    println!("ready");
    loop {
        if let Ok((mut stream, from)) = listener.accept() {
            let _ = std::io::Write::write_all(&mut stream, seen(from).as_bytes());
        }
    }
}

/// `probe call ADDRESS PORT …`: what the servers there say, a line each. `probe try …`: they should not.
pub(crate) fn callers(args: &[String]) -> ! {
    let call = if args[0] == "try" { try_call } else { call };
    for pair in args[1..].chunks(2) {
        println!("{}", call(&pair[0], pair[1].parse().unwrap()).unwrap_or_else(|error| format!("no: {error}")));
    }
    std::process::exit(0)
}
