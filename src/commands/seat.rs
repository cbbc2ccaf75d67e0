//! A container's place on a network, found before the plan.

use std::ffi::{CStr, CString};
use std::net::IpAddr;
use std::os::fd::AsFd;

use super::container;
use super::ports;
use super::program;
use crate::error::{Error, Result};
use crate::linux::join::{self, Refusal};
use crate::linux::net::{Socket, Upon};
use crate::linux::{file, path};
use crate::network::{self, Asked, Holding, Networks, Own, Seat, Wanted};
use crate::plan::Ground;
use crate::spec::{Kind, Spec};
use crate::state::State;

/// More is no hosts(5).
const MOST_TEXT: usize = 256 << 10;

/// What shall come of the plan.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Aim {
    /// It will be taken.
    Start,
    /// It will be shown.
    Explain,
    /// It says what the messages of a container mean that is there.
    Decode,
    /// It makes the files of one that has ended, and no more.
    Files,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) seat: Option<Seat>,
    pub(super) own: Option<Own>,
    pub(super) pasta: Option<CString>,
    pub(super) holding: Holding,
    /// That of the container whose network it joins.
    host_name: Option<CString>,
    /// Its hosts(5) and resolv.conf(5).
    texts: Option<[Vec<u8>; 2]>,
}

impl Found {
    /// What goes with the network of another container: how it is called, if nobody has said that, and what it knows of others.
    pub(super) fn settle(&mut self, spec: &mut Spec, ground: &mut Ground) {
        if let Some([hosts, resolv]) = self.texts.take() {
            ground.hosts = Some(hosts);
            if !spec.names.asks_for_dns() {
                (ground.resolv, ground.unreachable) = (resolv, None);
            }
        }
        if let (Kind::Container(_), None) = (&spec.network.kind, &spec.hostname)
            && spec.namespaces.uts == crate::spec::Namespace::Private
        {
            spec.hostname = self.host_name.clone().or(Some(c"container".into()));
        }
    }
}

/// Takes it; but for a start only looks which it would be. What is held keeps others from changing a network, until the start has
/// come so far that it lets go.
pub(super) fn seat(spec: &Spec, state: Option<&State>, id: &str, aim: Aim) -> Result<Found> {
    match &spec.network.kind {
        Kind::Host | Kind::None | Kind::Path(_) => Ok(Found::default()),
        Kind::Bridge(name) => bridge(spec, name, state, id, aim),
        Kind::Upon(upon, parent) => own(spec, parent, Some(*upon), aim),
        Kind::Physical(name) => own(spec, name, None, aim),
        Kind::Container(other) if aim == Aim::Start => join(other),
        Kind::Container(_) => Ok(Found::default()),
        Kind::Pasta(_) => pasta(state, aim),
    }
}

fn socket() -> Result<Socket> {
    Socket::route().map_err(|errno| {
        Error::os("open a netlink socket", errno).hint("this kernel has no network (CONFIG_NET): --network host")
    })
}

fn bridge(spec: &Spec, name: &str, state: Option<&State>, id: &str, aim: Aim) -> Result<Found> {
    let (ip, ip6) = (spec.network.ip.map(|(ip, _)| ip), spec.network.ip6.map(|(ip, _)| ip));
    let wanted = Wanted { id, ip, ip6, mac: spec.network.mac };
    let route = socket()?;
    if aim != Aim::Start {
        let mut seat = network::foresee(state.map(State::fd), name, &wanted, &route)?;
        seat.reach.ports = network::foreseen(&spec.network.publish);
        ports::fits(&seat)?;
        return Ok(Found { seat: Some(seat), ..Found::default() });
    }
    let networks = Networks::open(place(state)?.fd())?;
    // Not under the lock: who has a port until now, and is about to end, needs that for it.
    let taken = ports::take(&spec.network.publish, networks.has_ipv6(name))?;
    networks.lock()?;
    let (mut seat, mut stay) = networks.join(name, &wanted, route)?;
    (seat.reach.ports, stay.ports) = taken;
    ports::fits(&seat)?;
    let holding = Holding { stay: Some(stay), ..Holding::default() };
    Ok(Found { seat: Some(seat), holding, ..Found::default() })
}

fn place(state: Option<&State>) -> Result<&State> {
    state.ok_or_else(|| {
        Error::new("there is no place to write down who is on the network")
            .hint("--root DIR names one; otherwise it is in /run, /dev/shm or /tmp")
    })
}

fn own(spec: &Spec, parent: &CStr, upon: Option<Upon>, aim: Aim) -> Result<Found> {
    let network = &spec.network;
    let ip = network.ip.map(|(ip, prefix)| (IpAddr::V4(ip), prefix));
    let ip6 = network.ip6.map(|(ip, prefix)| (IpAddr::V6(ip), prefix));
    let asked = Asked { parent, upon, mac: network.mac, addresses: ip.into_iter().chain(ip6).collect() };
    if aim == Aim::Decode {
        return Ok(Found { own: Some(Own::unseen(&asked)), ..Found::default() });
    }
    let route = socket()?;
    let own = Own::find(&asked, &route).map_err(|error| who_has_it(parent).unwrap_or(error))?;
    Ok(Found { own: Some(own), holding: Holding { route: Some(route), ..Holding::default() }, ..Found::default() })
}

/// The container in which the interface is.
fn who_has_it(name: &CStr) -> Option<Error> {
    let name = name.to_str().ok()?;
    let all = container::all().ok()?;
    let other = all.iter().find(|other| other.entry.alive && other.record().lent() == Some(name))?;
    let error = Error::new(format!("the interface {name} is in container {}", other.shown()));
    Some(error.hint("it comes back with its end"))
}

/// The network namespace of a container that runs, made sure of.
fn join(other: &str) -> Result<Found> {
    let within = |error: Error| error.within(format!("--network container:{other}")).code(crate::error::FAILED);
    let container = container::find(other).map_err(within)?;
    container.must_run().map_err(within)?;
    let record = container.record();
    let Some(inode) = record.namespaces.get("net") else {
        return Err(Error::new(format!(
            "--network container:{other}: container {} has the host's network",
            container.shown()
        ))
        .hint("--network host is the same"));
    };
    let process = container.process().map_err(within)?;
    let look = || {
        let joined = join::namespace(&process, "net", *inode)?;
        let uts = record.namespaces.get("uts").map(|inode| join::namespace(&process, "uts", *inode)).transpose()?;
        Ok((joined, uts))
    };
    let (joined, uts) = look().map_err(|refusal| match refusal {
        Refusal::Changed(name) => container
            .refused(&format!("is in another {name} namespace than it was started in"))
            .hint("its process is not the one that was recorded, or it went elsewhere: its network is not joined"),
        Refusal::Proc(_, errno) => {
            Error::os(format!("look at the process {} of container {}", record.pid, container.shown()), errno)
                .hint("it takes a mounted /proc, and the rights over the container")
        }
    })?;
    let host_name = uts.and_then(|uts| join::host_name(&uts).ok());
    let texts = if record.rooted { texts(record.pid) } else { None };
    Ok(Found {
        host_name,
        texts,
        holding: Holding { joined: Some(joined), ..Holding::default() },
        ..Found::default()
    })
}

/// None: it has none, or something else in their place.
fn texts(pid: i32) -> Option<[Vec<u8>; 2]> {
    let root = file::handle(&CString::new(format!("/proc/{pid}/root")).ok()?).ok()?;
    let read = |path: &CStr| file::read_all(path::open_file(root.as_fd(), path).ok()?, MOST_TEXT).ok();
    Some([read(c"etc/hosts")?, read(c"etc/resolv.conf")?])
}

fn pasta(state: Option<&State>, aim: Aim) -> Result<Found> {
    if aim == Aim::Start {
        place(state)?;
    }
    let program = program::find_program("pasta").map_err(|_| {
        Error::new("--network pasta takes the program pasta, which is not in PATH")
            .hint("it is in the package passt: apt install passt, apk add passt; else --network none or host")
    })?;
    Ok(Found { pasta: Some(program), ..Found::default() })
}
