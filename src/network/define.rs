//! Making and removing networks, and who is on one.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{DEFAULT, DEFINITION, LEASES, Leases, NEW, Network, Networks, Range, c_string, has_ipv6, range, refused};
use crate::error::{Error, Result};
use crate::linux::clock;
use crate::linux::net::{Socket, undo};

/// What `--network` means otherwise.
const RESERVED: [&str; 8] = ["host", "none", "private", "default", "container", "ns", "pasta", "slirp4netns"];
/// Files beside the networks' directories begin with it.
const FILES: &str = "undo";
/// How interfaces of networks are called, before a number.
const INTERFACE: &str = "nsctl";

/// How a network shall be. What is not said is chosen.
#[derive(Default)]
pub(crate) struct Wish {
    /// Empty: the default one.
    pub(crate) name: String,
    pub(crate) subnet: Option<Range>,
    pub(crate) subnet6: Option<Range>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// None: if the kernel has it.
    pub(crate) ipv6: Option<bool>,
    pub(crate) internal: bool,
    pub(crate) mtu: u32,
    pub(crate) labels: Vec<String>,
}

/// A container on a network, as its lease says.
#[derive(Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) ip: String,
    /// `-`: none.
    pub(crate) ip6: String,
    pub(crate) id: String,
    /// `-`: none.
    pub(crate) name: String,
    /// What else it can be found by.
    pub(crate) aliases: Vec<String>,
}

impl Member {
    /// As a slot of the leases has it.
    pub(super) fn slot(&self) -> String {
        let more: String = self.aliases.iter().flat_map(|alias| [" ", alias]).collect();
        format!("{} {} {} {}{more}", self.ip, self.ip6, self.id, self.name)
    }

    /// What [`Self::slot`] wrote.
    pub(crate) fn read(slot: &str) -> Option<Self> {
        let mut words = slot.split(' ').map(String::from);
        let (ip, ip6, id, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // It is the name of a directory, and never a path.
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self { ip, ip6, id, name, aliases: words.collect() })
    }
}

impl Networks {
    /// Makes a network and writes it down. To be called under the lock.
    pub(crate) fn define(&self, wish: Wish, route: &Socket) -> Result<Network> {
        let others = self.all();
        if let Some(other) = others.iter().find(|other| other.name == wish.name) {
            return Err(Error::new(format!("there is a network {} already", other.name))
                .hint(format!("nsctl network inspect {} shows it", other.name)));
        }
        let network = network(wish, route, &others)?;
        self.write(&network)?;
        Ok(network)
    }

    /// Removes a network and what the kernel has of it. False: somebody uses it. To be called under the lock.
    pub(crate) fn forget(&self, network: &Network) -> Result<bool> {
        let failed = |errno| Error::os(format!("remove the network {}", network.name), errno);
        let dir = self.dir_of(&network.name).map_err(failed)?;
        if Leases::open(&dir, LEASES).map_err(failed)?.others() {
            return Ok(false);
        }
        undo::heal(std::os::fd::AsFd::as_fd(&dir));
        for file in [DEFINITION, NEW, LEASES, undo::UNDO, undo::NEW] {
            match rustix::fs::unlinkat(&dir, file, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        rustix::fs::unlinkat(&self.dir, c_string(&network.name), AtFlags::REMOVEDIR).map_err(failed)?;
        Ok(true)
    }

    /// The containers on a network, by their addresses; but for one whose place this process holds.
    pub(crate) fn members(&self, network: &Network) -> Vec<Member> {
        let leases = self.dir_of(&network.name).and_then(|dir| Leases::open(dir, LEASES));
        let held = leases.and_then(|leases| leases.held(network.last())).unwrap_or_default();
        held.iter().filter_map(|(_, slot)| Member::read(slot)).collect()
    }
}

/// Chooses what was not said, and refuses what cannot be.
pub(super) fn network(wish: Wish, route: &Socket, others: &[Network]) -> Result<Network> {
    let name = if wish.name.is_empty() { DEFAULT.into() } else { wish.name };
    if RESERVED.contains(&name.as_str()) || name.starts_with(FILES) {
        return Err(Error::new(format!("{name} cannot be the name of a network")).hint("it means something else"));
    }
    let used = range::used(route, others)?;
    let subnet = match wish.subnet {
        Some(subnet) => checked(subnet, &used)?,
        None => range::free(&used)?,
    };
    let has_ipv6 = has_ipv6();
    if !has_ipv6 && (wish.ipv6 == Some(true) || wish.subnet6.is_some()) {
        return Err(Error::new("this kernel has no IPv6")
            .hint("CONFIG_IPV6, or /proc/sys/net/ipv6/conf/default/disable_ipv6 is 1"));
    }
    let subnet6 = match wish.subnet6 {
        Some(_) if wish.ipv6 == Some(false) => {
            return Err(Error::new("--ipv6=false and a --subnet of IPv6 contradict each other"));
        }
        Some(subnet) => Some(checked(subnet, &used)?),
        None if wish.ipv6.unwrap_or(has_ipv6) => Some(range::local()?),
        None => None,
    };
    let gateway = gateway_of(wish.gateway.map(IpAddr::V4), Some(subnet))?;
    let gateway6 = gateway_of(wish.gateway6.map(IpAddr::V6), subnet6)?;
    let least = least_mtu(subnet6.is_some());
    if wish.mtu != 0 && !(least..=65535).contains(&wish.mtu) {
        return Err(Error::new(format!("--mtu {} is not from {least} to 65535", wish.mtu)));
    }
    Ok(Network {
        interface: interface(&name, route, others)?,
        name,
        subnet: subnet.to_string(),
        gateway,
        subnet6: subnet6.map(|range| range.to_string()).unwrap_or_default(),
        gateway6,
        mtu: wish.mtu,
        internal: wish.internal,
        created: clock::epoch_seconds(),
        labels: wish.labels,
    })
}

/// The least that IPv4 and IPv6 work with (RFC 791, RFC 8200).
pub(super) fn least_mtu(v6: bool) -> u32 {
    if v6 { 1280 } else { 68 }
}

/// A range that somebody named: it has room, and nobody else has it.
fn checked(range: Range, used: &[(Range, String)]) -> Result<Range> {
    if range.last_host() < 2 {
        return Err(Error::new(format!("--subnet {range} has no room for a bridge and a container"))
            .hint("a prefix of 30 bits at most, 125 with IPv6"));
    }
    let unusable = match range.base {
        IpAddr::V4(base) => base.is_loopback() || base.is_multicast() || base.is_unspecified() || base.is_broadcast(),
        IpAddr::V6(base) => {
            base.is_loopback() || base.is_multicast() || base.is_unspecified() || base.is_unicast_link_local()
        }
    };
    if unusable {
        return Err(Error::new(format!("--subnet {range} is not for networks"))
            .hint("such as 10.1.0.0/24, or fd12:3456:789a::/64"));
    }
    match used.iter().find(|(other, _)| other.meets(&range)) {
        None => Ok(range),
        Some((other, whose)) => Err(Error::new(format!("--subnet {range} meets {other}: that is {whose}"))
            .hint("without --subnet a free one is taken")),
    }
}

/// The bridge's own address; empty without a range.
fn gateway_of(wanted: Option<IpAddr>, range: Option<Range>) -> Result<String> {
    let Some(range) = range else {
        return match wanted {
            None => Ok(String::new()),
            Some(address) => Err(Error::new(format!("--gateway {address}: the network has no IPv6"))),
        };
    };
    let address = wanted.unwrap_or(range.host(1));
    match range.number(address) {
        // The first address is the network's, and the last one of IPv4 everybody's.
        Some(number) if number > 0 && (number <= range.last_host() || address.is_ipv6()) => Ok(address.to_string()),
        _ => Err(Error::new(format!("--gateway {address} is no address for one of {range}"))),
    }
}

/// Whether there is not one interface that may be a network's, be it of nsctl with another directory: its rules are in the same table.
pub(super) fn no_bridges(route: &Socket) -> Result<bool> {
    let is_ours = |name: &[u8]| {
        name.strip_prefix(INTERFACE.as_bytes()).is_some_and(|number| number.iter().all(u8::is_ascii_digit))
    };
    let links = route.links().map_err(|refusal| refused("list the interfaces", &refusal))?;
    Ok(!links.iter().any(|link| is_ours(link.name.to_bytes())))
}

/// The name of the bridge: the first that neither a network nor an interface has.
fn interface(name: &str, route: &Socket, others: &[Network]) -> Result<String> {
    let links = route.links().map_err(|refusal| refused("list the interfaces", &refusal))?;
    let taken = |name: &str| {
        let c_name: CString = c_string(name);
        others.iter().any(|other| other.interface == name) || links.iter().any(|link| link.name == c_name)
    };
    let first = u32::from(name != DEFAULT);
    let mut names = (first..).map(|number: u32| format!("{INTERFACE}{number}"));
    names.find(|name| !taken(name)).ok_or_else(|| Error::new("every name of an interface is taken"))
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    if let Some(member) = Member::read(text) {
        assert!(member.slot() == text);
    }
    let Some((range, gateway)) = text.split_once(' ') else { return };
    if let Some(Ok(range)) = Range::parse(range).map(|range| checked(range, &[])) {
        let _ = gateway_of(gateway.parse().ok(), Some(range));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::parse(text).unwrap()
    }

    #[test]
    fn what_meets_another_range_is_refused_by_its_name() {
        let used = [(range("10.0.0.0/8"), "a route over eth0".to_string())];
        let error = checked(range("10.1.0.0/24"), &used).unwrap_err();
        assert_eq!(error.doing(), "--subnet 10.1.0.0/24 meets 10.0.0.0/8: that is a route over eth0");
        assert!(checked(range("192.168.7.0/24"), &used).is_ok());
        for wrong in ["192.168.7.0/31", "127.0.0.0/24", "224.0.0.0/24", "0.0.0.0/0", "fe80::/64", "fd00::/128"] {
            assert!(checked(range(wrong), &used).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_gateway_is_of_the_range() {
        let subnet = Some(range("10.1.0.0/24"));
        assert_eq!(gateway_of(None, subnet).unwrap(), "10.1.0.1");
        assert_eq!(gateway_of("10.1.0.254".parse().ok(), subnet).unwrap(), "10.1.0.254");
        for wrong in ["10.1.0.0", "10.1.0.255", "10.2.0.1", "fd00::1"] {
            assert!(gateway_of(wrong.parse().ok(), subnet).is_err(), "{wrong}");
        }
        assert_eq!(gateway_of(None, Some(range("fd00::/64"))).unwrap(), "fd00::1");
        assert_eq!(gateway_of(None, None).unwrap(), "");
        assert!(gateway_of("fd00::1".parse().ok(), None).is_err());
    }

    #[test]
    fn members_are_what_a_slot_says() {
        let member = Member::read("10.91.0.2 fd00::2 0123456789ab web db").unwrap();
        assert_eq!((member.name.as_str(), member.aliases.as_slice()), ("web", &["db".to_string()][..]));
        assert_eq!(member.slot(), "10.91.0.2 fd00::2 0123456789ab web db");
        assert!(Member::read("10.91.0.2 - ab -").is_some());
        for wrong in ["", "10.91.0.2 -", "10.91.0.2 - ../x web", "10.91.0.2 -  web", "10.91.0.2 - ab"] {
            assert_eq!(Member::read(wrong), None, "{wrong}");
        }
    }
}
