//! A container's place on a network: its number, and the addresses that follow from it.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Member, Network, Reach, Wanted, c_string, define, has_ipv6, refused, uplink};
use crate::error::{Error, Result};
use crate::linux::net::lease::Leases;
use crate::linux::net::{Socket, VETH};

/// The most ports that a bridge has (BR_MAX_PORTS, net/bridge/br_private.h), and with them the most containers.
const MOST: u32 = 1023;
const WHO: &str = "nsctl network inspect lists who has which";

/// A place on a network, and what has to be known to take it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seat {
    pub(crate) network: Network,
    /// Of the host in the network: 1 is the bridge.
    pub(crate) number: u32,
    pub(crate) address: (Ipv4Addr, u8),
    pub(crate) gateway: Ipv4Addr,
    pub(crate) address6: Option<(Ipv6Addr, u8)>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    /// The bridge is there.
    pub(crate) up: bool,
    /// What is to be done for others to be reached, and to reach it.
    pub(crate) reach: Reach,
    /// The end of the pair of interfaces that is outside.
    pub(crate) veth: CString,
}

impl Seat {
    /// What the slot of the lease says.
    pub(crate) fn slot(&self, id: &str, name: Option<&str>, aliases: &[String]) -> String {
        let ip6 = self.address6.map_or("-".into(), |(address, _)| address.to_string());
        let (id, name) = (id.into(), name.unwrap_or("-").into());
        Member { ip: self.address.0.to_string(), ip6, id, name, aliases: aliases.to_vec() }.slot()
    }
}

/// The number of the host, taken; with it its address of IPv6. Without leases all are free.
pub(super) fn number(network: &Network, wanted: &Wanted<'_>, leases: Option<&Leases>) -> Result<u32> {
    let last = network.last();
    let failed = |errno| Error::os(format!("take an address of the network {}", network.name), errno);
    let take = |number| leases.map_or(Ok(true), |leases| leases.take(number)).map_err(failed);
    let take6 = |address| leases.map_or(Ok(true), |leases| leases.take6(address)).map_err(failed);
    if let Some(ip6) = wanted.ip6
        && network.range6().is_some()
    {
        if network.gateway6 == ip6.to_string() {
            return Err(Error::new(format!("--ip6 {ip6} is the bridge's own address")));
        }
        if !take6(ip6)? {
            return Err(Error::new(format!("--ip6 {ip6} is taken: another container has it")).hint(WHO));
        }
    }
    // Its own, unless it has one that was asked for.
    let range6 = network.range6().filter(|_| wanted.ip6.is_none());
    let free6 = |number: u32| match range6.map(|range| range.host(number)) {
        Some(IpAddr::V6(address)) if network.gateway6 == address.to_string() => Ok(false),
        Some(IpAddr::V6(address)) => take6(address),
        _ => Ok(true),
    };
    if let Some(ip) = wanted.ip {
        let range = network.range()?;
        let Some(number) = range.number(ip.into()).filter(|number| (1..=last).contains(number)) else {
            return Err(Error::new(format!("--ip {ip} is not of the network {}", network.name)).hint(format!(
                "its addresses are {} to {}",
                range.host(1),
                range.host(last)
            )));
        };
        if network.gateway == ip.to_string() {
            return Err(Error::new(format!("--ip {ip} is the bridge's own address")));
        }
        if !take(number)? {
            return Err(Error::new(format!("--ip {ip} is taken: another container has it")).hint(WHO));
        }
        if !free6(number)? {
            return Err(Error::new(format!("the IPv6 address that goes with --ip {ip} is taken"))
                .hint("--ip6 names another one"));
        }
        return Ok(number);
    }
    let gateway = network.range()?.number(network.gateway.parse().map_err(|_| network.broken())?);
    // As many as there can be containers, and the bridge.
    let last = last.min(MOST + 1);
    for number in (1..=last).filter(|number| Some(*number) != gateway) {
        if take(number)? {
            if free6(number)? {
                return Ok(number);
            }
            // Somebody asked for the address of IPv6 that goes with it.
            leases.iter().for_each(|leases| leases.give_back(number));
        }
    }
    Err(Error::new(format!("the network {} is full: it has {last} addresses", network.name))
        .hint("nsctl network create makes another one"))
}

pub(super) fn seat(network: Network, number: u32, wanted: &Wanted<'_>, route: &Socket) -> Result<Seat> {
    let (range, range6) = (network.range()?, network.range6().filter(|_| has_ipv6()));
    let IpAddr::V4(address) = range.host(number) else { return Err(network.broken()) };
    let address6 = match (wanted.ip6, range6) {
        (Some(ip6), Some(range)) if range.number(ip6.into()).is_some_and(|number| number > 0) => {
            Some((ip6, range.prefix))
        }
        (Some(ip6), _) => {
            let error = Error::new(format!("--ip6 {ip6} is not of the network {}", network.name));
            return Err(match range6 {
                Some(range) => error.hint(format!("its addresses are those of {range}")),
                None => error.hint("it has no IPv6"),
            });
        }
        (None, Some(range)) => match range.host(number) {
            IpAddr::V6(address) => Some((address, range.prefix)),
            IpAddr::V4(_) => None,
        },
        (None, None) => None,
    };
    let interface = c_string(&network.interface);
    let bridge = route.link(&interface).map_err(|refusal| refused("look at the interfaces", &refusal))?;
    let octets = address.octets();
    Ok(Seat {
        number,
        address: (address, range.prefix),
        gateway: network.gateway.parse().map_err(|_| network.broken())?,
        address6,
        gateway6: network.gateway6.parse().ok(),
        // Its address again: whoever has it in a cache finds the next container that has it.
        mac: wanted.mac.unwrap_or([0x02, 0x42, octets[0], octets[1], octets[2], octets[3]]),
        mtu: match (&bridge, network.mtu) {
            (Some(bridge), _) => bridge.mtu,
            // Below the least that IPv6 works with, it would have no address of it: whoever sends too much is told.
            (None, 0) => uplink(route).map_or(1500, |link| link.mtu).max(define::least_mtu(address6.is_some())),
            (None, mtu) => mtu,
        },
        up: bridge.is_some(),
        reach: Reach::default(),
        veth: c_string(&format!("{VETH}{}", wanted.id)),
        network,
    })
}
