//! Networks that containers share: what is remembered of each, and who is on it. A network is a bridge that exists while somebody
//! uses it, a range of addresses, and the rules that lead from it to the world.
//!
//! `DIR/.networks/` is locked (flock) by whoever changes something; in it one directory for each network: `network.json` says how it
//! is, `leases` who has which address ([`Leases`]), `undo` how to remove what the kernel has of it ([`undo`]). Whoever uses a
//! network has a read lock on `.users`: without others, what they have in common is removed, too, as `.networks/undo` says.

use std::ffi::{CStr, CString};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use miniserde::{Deserialize, Serialize, json};
use rustix::fs::{Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::linux::file;
use crate::linux::net::conf::Conf;
use crate::linux::net::lease::Leases;
use crate::linux::net::look::Link;
use crate::linux::net::{Refusal, Socket, undo};
use crate::linux::sys::net::{RangeLock, range_lock};

mod define;
mod hosts;
mod own;
mod ports;
mod range;
mod reach;
mod seat;
mod stay;
pub(crate) use define::{Member, Wish};
pub(crate) use hosts::{HOSTS, MARK};
pub(crate) use own::{Asked, Own, PHYSICAL};
pub(crate) use ports::{Port, Publish, Taken, foreseen, reserve};
pub(crate) use range::Range;
pub(crate) use reach::{Reach, undo_network, undo_ports};
pub(crate) use seat::Seat;
use seat::{number, seat};
pub(crate) use stay::{Holding, Stay};

/// The network that `--network bridge` means; it is there without being made.
pub(crate) const DEFAULT: &str = "bridge";
const DIRECTORY: &CStr = c".networks";
const DEFINITION: &CStr = c"network.json";
const NEW: &CStr = c"new";
const LEASES: &CStr = c"leases";

/// How a network is: `network.json`.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct Network {
    pub(crate) name: String,
    /// The bridge's name.
    pub(crate) interface: String,
    /// `ADDRESS/PREFIX`.
    pub(crate) subnet: String,
    /// The bridge's own address.
    pub(crate) gateway: String,
    /// Empty: it has no IPv6.
    pub(crate) subnet6: String,
    pub(crate) gateway6: String,
    /// Bytes; 0: as the interface that leads to the world.
    pub(crate) mtu: u32,
    /// It leads nowhere else.
    pub(crate) internal: bool,
    /// Seconds since the epoch.
    pub(crate) created: u64,
    pub(crate) labels: Vec<String>,
}

/// What a container asks for.
#[derive(Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) id: &'a str,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
    pub(crate) mac: Option<[u8; 6]>,
}

/// The directory of all networks.
pub(crate) struct Networks {
    dir: OwnedFd,
}

impl Networks {
    /// `state` is the directory above all containers' directories.
    pub(crate) fn open(state: BorrowedFd<'_>) -> Result<Self> {
        let open = || {
            directory(state, DIRECTORY)?;
            file::open_dir(state, DIRECTORY)
        };
        let dir = open().map_err(|errno: Errno| Error::os("open the directory of networks", errno))?;
        Ok(Self { dir })
    }

    /// None: nobody ever made or used one.
    pub(crate) fn existing(state: BorrowedFd<'_>) -> Option<Self> {
        Some(Self { dir: file::open_dir(state, DIRECTORY).ok()? })
    }

    /// Keeps others from changing anything until the descriptor is closed or [`Networks::unlock`] is called.
    pub(crate) fn lock(&self) -> Result<()> {
        rustix::fs::flock(&self.dir, FlockOperation::LockExclusive)
            .map_err(|errno| Error::os("lock the directory of networks", errno))
    }

    /// False: somebody else has the lock.
    fn try_lock(&self) -> bool {
        rustix::fs::flock(&self.dir, FlockOperation::NonBlockingLockExclusive).is_ok()
    }

    pub(crate) fn unlock(&self) {
        let _ = rustix::fs::flock(&self.dir, FlockOperation::Unlock);
    }

    pub(crate) fn get(&self, name: &str) -> Option<Network> {
        let dir = file::open_dir(&self.dir, &c_string(name)).ok()?;
        json::from_str(&file::read_text(dir, DEFINITION).ok()?).ok()
    }

    /// By their names.
    pub(crate) fn all(&self) -> Vec<Network> {
        let Ok(entries) = Dir::read_from(&self.dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(String::from));
        let mut all: Vec<Network> =
            names.filter(|name| !name.starts_with('.')).filter_map(|name| self.get(&name)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Writes down a network.
    pub(crate) fn write(&self, network: &Network) -> Result<()> {
        let write = || {
            let name = c_string(&network.name);
            directory(&self.dir, &name)?;
            file::replace(file::open_dir(&self.dir, &name)?, NEW, DEFINITION, json::to_string(network).as_bytes())
        };
        write().map_err(|errno: Errno| Error::os(format!("write down the network {}", network.name), errno))
    }

    /// Whether the network of that name gives its containers an address of IPv6.
    pub(crate) fn has_ipv6(&self, name: &str) -> bool {
        has_ipv6() && self.get(name).is_none_or(|network| network.range6().is_some())
    }

    fn dir_of(&self, name: &str) -> std::result::Result<OwnedFd, Errno> {
        file::open_dir(&self.dir, &c_string(name))
    }

    /// Takes a place on the network of that name; the default one is made if it is not there. To be called under the lock.
    pub(crate) fn join(&self, name: &str, wanted: &Wanted<'_>, route: Socket) -> Result<(Seat, Stay)> {
        let first = self.heal(false) && define::no_bridges(&route)?;
        let network = self.network(name, &route)?;
        let open = |errno| Error::os(format!("open the network {name}"), errno);
        let dir = self.dir_of(name).map_err(open)?;
        let leases = Leases::open(&dir, LEASES).map_err(open)?;
        let number = number(&network, wanted, Some(&leases))?;
        let mut seat = seat(network, number, wanted, &route)?;
        let stay =
            Stay::new(self.dir.try_clone().map_err(|_| open(Errno::MFILE))?, dir, leases, route).map_err(open)?;
        if seat.up && !stay.leases.others() {
            let interface = &seat.network.interface;
            return Err(Error::new(format!("there is an interface {interface}, and it is not the network {name}'s"))
                .hint(format!(
                    "ip link del {interface} removes it; nsctl network rm {name}, and the next one has another"
                )));
        }
        seat.reach = Reach::look(&seat, &stay.route, stay.netfilter.as_ref(), &stay.conf, first);
        Ok((seat, stay))
    }

    /// Undoes what the kernel has of networks that nobody uses any more: their last user was killed before it could. `tell`: to
    /// those that are used, who is still there. Whether nobody uses any.
    fn heal(&self, tell: bool) -> bool {
        for network in self.all() {
            let Ok(dir) = self.dir_of(&network.name) else { continue };
            let Ok(leases) = Leases::open(&dir, LEASES) else { continue };
            if !leases.others() {
                undo::heal(dir.as_fd());
            } else if tell {
                hosts::tell(self.dir.as_fd(), &leases, network.last(), None);
            }
        }
        let unused = users(&self.dir).is_ok_and(|users| !in_use(users.as_fd()));
        if unused {
            undo::heal(self.dir.as_fd());
        }
        unused
    }

    fn network(&self, name: &str, route: &Socket) -> Result<Network> {
        match self.get(name) {
            Some(network) => Ok(network),
            None if name == DEFAULT => self.define(Wish::default(), route),
            None => Err(Error::new(format!("there is no network {name}"))
                .hint(format!("nsctl network ls lists them; nsctl network create {name} makes it"))),
        }
    }
}

/// The same without taking or making anything: what would be.
pub(crate) fn foresee(
    state: Option<BorrowedFd<'_>>,
    name: &str,
    wanted: &Wanted<'_>,
    route: &Socket,
) -> Result<Seat> {
    let networks = state.and_then(Networks::existing);
    let network = match networks.as_ref().and_then(|networks| networks.get(name)) {
        Some(network) => network,
        None if name == DEFAULT => define::network(Wish::default(), route, &[])?,
        None => return Err(Error::new(format!("there is no network {name}"))),
    };
    let leases = networks.and_then(|networks| Leases::open(networks.dir_of(name).ok()?, LEASES).ok());
    // A plan that is made again is that of a container that has what it asked for.
    let leases = leases.filter(|_| wanted.ip.is_none() && wanted.ip6.is_none());
    let number = number(&network, wanted, leases.as_ref())?;
    let mut seat = seat(network, number, wanted, route)?;
    let netfilter = Socket::netfilter().ok();
    seat.reach = Reach::look(&seat, route, netfilter.as_ref(), &Conf::open(), !seat.up);
    Ok(seat)
}

/// Undoes what the kernel has of networks that nobody uses any more, since their last user was killed before it could, and tells
/// those that are used who is still there. `wait`: for the lock; who holds that of all containers must not, since a start takes them
/// the other way round.
pub(crate) fn sweep(state: BorrowedFd<'_>, wait: bool) {
    let Some(networks) = Networks::existing(state) else { return };
    if !(networks.try_lock() || wait && networks.lock().is_ok()) {
        return;
    }
    networks.heal(true);
    networks.unlock();
}

/// Whether anybody else uses any network. Does not allocate.
fn in_use(users: BorrowedFd<'_>) -> bool {
    range_lock(users, RangeLock::Ask, 0, 1).is_ok_and(|other| other.is_some())
}

/// The kernel has it, and it is not switched off for new interfaces.
pub(crate) fn has_ipv6() -> bool {
    file::read(rustix::fs::CWD, c"/proc/sys/net/ipv6/conf/default/disable_ipv6")
        .is_ok_and(|text| text.starts_with(b"0"))
}

impl Network {
    /// Its IPv4 range.
    pub(crate) fn range(&self) -> Result<Range> {
        Range::parse(&self.subnet).ok_or_else(|| self.broken())
    }

    pub(crate) fn range6(&self) -> Option<Range> {
        Range::parse(&self.subnet6)
    }

    fn broken(&self) -> Error {
        Error::new(format!("what is written down of the network {} makes no sense", self.name))
            .hint(format!("nsctl network rm {}", self.name))
    }

    /// The highest number of a host.
    pub(crate) fn last(&self) -> u32 {
        let last6 = self.range6().map_or(u32::MAX, |range| range.last_host());
        self.range().map_or(0, |range| range.last_host()).min(last6)
    }
}

/// The kernel's word and its sentence; `doing` names the act and its object.
#[cold]
fn refused(doing: &str, refusal: &Refusal) -> Error {
    Error::os(doing, refusal.errno).because(&refusal.said)
}

/// The interface that leads to the world.
pub(crate) fn uplink(route: &Socket) -> Option<Link> {
    let routes = route.routes().ok()?;
    let way = routes.iter().filter(|way| way.to.is_none()).min_by_key(|way| (way.v6, way.metric))?;
    route.links().ok()?.into_iter().find(|link| link.index == way.interface)
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    range::survives(text);
    define::survives(text);
    if let Ok(network) = json::from_str::<Network>(text) {
        let (last, wanted) = (network.last(), Wanted::default());
        let number = number(&network, &wanted, None);
        assert!(number.is_ok_and(|number| number <= last) || network.gateway != "10.91.0.1" || last < 2);
    }
}

fn directory(dir: impl AsFd, name: &CStr) -> std::result::Result<(), Errno> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// For texts that have no NUL byte, by their making.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The file that all who use any network have a read lock on.
fn users(dir: impl AsFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, c".users", flags, Mode::RUSR | Mode::WUSR)
}
