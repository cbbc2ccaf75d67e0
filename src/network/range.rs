//! Ranges of addresses: `ADDRESS/PREFIX`, and which of them nobody uses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Network, refused};
use crate::error::{Error, Result};
use crate::linux::net::{Refusal, Socket};

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    /// The lowest one.
    pub(crate) base: IpAddr,
    /// How many bits.
    pub(crate) prefix: u8,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Range {
    /// None: it is none, or has bits beyond its prefix.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let range = Self { base: address.parse().ok()?, prefix: prefix.parse().ok().filter(|_| digits)? };
        (range.prefix <= range.bits() && range.cut(range.base) == range.base).then_some(range)
    }

    /// That of which an address is one.
    pub(crate) fn around(address: IpAddr, prefix: u8) -> Self {
        let whole = Self { base: address, prefix };
        Self { base: whole.cut(address), prefix }
    }

    fn bits(&self) -> u8 {
        if self.base.is_ipv4() { 32 } else { 128 }
    }

    fn cut(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & mask).into()
            }
        }
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && self.cut(address) == self.base
    }

    /// The address of host `number`.
    pub(crate) fn host(&self, number: u32) -> IpAddr {
        match self.base {
            IpAddr::V4(base) => Ipv4Addr::from(u32::from(base).wrapping_add(number)).into(),
            IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).wrapping_add(number.into())).into(),
        }
    }

    /// Which host an address of the range is; u32::MAX: one beyond all numbers.
    pub(crate) fn number(&self, address: IpAddr) -> Option<u32> {
        match (self.base, address) {
            _ if !self.contains(address) => None,
            (IpAddr::V4(base), IpAddr::V4(address)) => Some(u32::from(address) - u32::from(base)),
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                Some(u32::try_from(u128::from(address) - u128::from(base)).unwrap_or(u32::MAX))
            }
            _ => None,
        }
    }

    /// The highest number of a host; the last address of an IPv4 range is that of all.
    pub(crate) fn last_host(&self) -> u32 {
        let bits = u32::from(self.bits() - self.prefix);
        let all = 1u32.checked_shl(bits).map_or(u32::MAX, |size| size - 1);
        if self.base.is_ipv4() { all.saturating_sub(1) } else { all }
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }
}

/// The first of 10.91.0.0/22 and the next ones that meets neither a route nor an address nor another network: as many addresses
/// as a bridge has ports.
pub(super) fn free(used: &[(Range, String)]) -> Result<Range> {
    let mut candidates = (91..=250u8).flat_map(|second| {
        (0..64u8).map(move |third| Range { base: Ipv4Addr::new(10, second, third * 4, 0).into(), prefix: 22 })
    });
    candidates.find(|range| !used.iter().any(|(other, _)| other.meets(range))).ok_or_else(|| {
        Error::new("no range of addresses is free below 10.0.0.0/8").hint("nsctl network create --subnet names one")
    })
}

/// What the other networks and the machine have, and whose it is.
pub(super) fn used(route: &Socket, others: &[Network]) -> Result<Vec<(Range, String)>> {
    let networks = others.iter().flat_map(|network| {
        let name = format!("the network {}", network.name);
        [Range::parse(&network.subnet), network.range6()]
            .into_iter()
            .flatten()
            .map(move |range| (range, name.clone()))
    });
    let mut used: Vec<(Range, String)> = networks.collect();
    let mut look = || {
        let links = route.links()?;
        let of = |index: u32| links.iter().find(|link| link.index == index);
        let name = |index: u32| of(index).map(|link| link.name.to_string_lossy().into_owned()).unwrap_or_default();
        // Every interface has one for itself alone.
        let link_local = Range { base: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), prefix: 10 };
        let own = route.addresses()?.into_iter().filter(|own| !link_local.contains(own.address));
        used.extend(own.map(|own| {
            (
                Range::around(own.address, own.prefix),
                format!("the address {} of {}", own.address, name(own.interface)),
            )
        }));
        let ways = route.routes()?.into_iter().filter_map(|way| Some((way.to?, way.interface)));
        used.extend(ways.filter(|((to, _), _)| !link_local.contains(*to)).map(|((to, prefix), interface)| {
            (Range::around(to, prefix), format!("a route over {}", name(interface)))
        }));
        Ok(())
    };
    look().map_err(|refusal: Refusal| refused("list the routes", &refusal))?;
    Ok(used)
}

/// A range of one's own, of which no other is likely to be the same (RFC 4193).
pub(crate) fn local() -> Result<Range> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes[1..6], rustix::rand::GetRandomFlags::NONBLOCK)
        .map_err(|errno| Error::os("get random bytes for a range of addresses", errno))?;
    bytes[0] = 0xfd;
    Ok(Range { base: Ipv6Addr::from(bytes).into(), prefix: 64 })
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    if let Some(range) = Range::parse(text) {
        assert!(Range::parse(&range.to_string()) == Some(range));
        for number in [0, 1, range.last_host(), u32::MAX] {
            let address = range.host(number);
            assert!(number > range.last_host() || range.number(address) == Some(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_their_hosts() {
        let range = Range::parse("10.91.4.0/22").unwrap();
        assert_eq!((range.host(1).to_string().as_str(), range.last_host()), ("10.91.4.1", 1022));
        assert_eq!(range.number("10.91.5.0".parse().unwrap()), Some(256));
        assert_eq!(range.number("10.91.8.0".parse().unwrap()), None);
        assert_eq!(Range::around("10.91.7.9".parse().unwrap(), 22), range);
        let range6 = Range::parse("fd00:1::/64").unwrap();
        assert_eq!(range6.host(0x10).to_string(), "fd00:1::10");
        assert_eq!((range6.number("fd00:1::2".parse().unwrap()), range6.last_host()), (Some(2), u32::MAX));
        for wrong in ["", "10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/+24", "fd00::/129", "x/8"] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
        assert!(Range::parse("0.0.0.0/0").unwrap().meets(&range) && !range6.meets(&range));
        assert!(range.meets(&Range::parse("10.91.0.0/16").unwrap()));
        assert!(!range.meets(&Range::parse("10.91.0.0/22").unwrap()));
        assert_eq!(Range::parse("10.0.0.0/31").unwrap().last_host(), 0);
    }
}
