//! An interface that a container has for itself, without a network of nsctl's: one that stands on an interface of the host's, or
//! that interface itself.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use super::{Range, refused};
use crate::error::{Error, Result};
use crate::linux::net::look::Link;
use crate::linux::net::{Refusal, Request, Socket, Upon};
use linux_raw_sys::netlink as r;

/// How a record says that an interface of the host's is inside.
pub(crate) const PHYSICAL: &str = "phys";

/// What has to be known to make it, or to move it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Own {
    /// The interface of the host's.
    pub(crate) parent: CString,
    /// None: it is that one.
    pub(crate) upon: Option<Upon>,
    pub(crate) mac: Option<[u8; 6]>,
    /// Each with its default gateway.
    pub(crate) addresses: Vec<(IpAddr, u8, Option<IpAddr>)>,
    /// What is asked of the host's again, when it is back.
    pub(crate) back: Vec<Request>,
}

/// What is asked for.
pub(crate) struct Asked<'a> {
    pub(crate) parent: &'a CStr,
    pub(crate) upon: Option<Upon>,
    pub(crate) mac: Option<[u8; 6]>,
    /// Each with its prefix, if that was said.
    pub(crate) addresses: Vec<(IpAddr, Option<u8>)>,
}

impl Own {
    /// Looks at the interface of the host's, and whether it may be had.
    pub(crate) fn find(asked: &Asked<'_>, route: &Socket) -> Result<Self> {
        let shown = asked.parent.to_string_lossy();
        let failed = |refusal: Refusal| refused("look at the interfaces", &refusal);
        let link = route.link(asked.parent).map_err(failed)?.ok_or_else(|| {
            Error::new(format!("there is no interface {shown}"))
                .hint("ip link lists them; one that is in a container comes back with its end")
        })?;
        may_be_had(asked, &link, route)?;
        let on_it = |address: &crate::linux::net::look::Address| address.interface == link.index;
        let addresses: Vec<_> = route.addresses().map_err(failed)?.into_iter().filter(on_it).collect();
        let ways: Vec<_> =
            route.routes().map_err(failed)?.into_iter().filter(|way| way.interface == link.index).collect();
        let place = |(address, prefix): &(IpAddr, Option<u8>)| {
            let around = addresses.iter().map(|own| Range::around(own.address, own.prefix));
            let of_parent = around.clone().find(|range| range.contains(*address));
            let range = match (prefix, of_parent) {
                (Some(prefix), _) => Range::around(*address, *prefix),
                (None, Some(range)) => range,
                (None, None) => {
                    return Err(Error::new(format!("{address} is in no subnet of {shown}")).hint(format!(
                        "say which it is in, as {address}/{}",
                        if address.is_ipv4() { 24 } else { 64 }
                    )));
                }
            };
            if addresses.iter().any(|own| own.address == *address) && asked.upon.is_some() {
                return Err(Error::new(format!("{address} is the host's own address on {shown}")));
            }
            let gateways = ways.iter().filter(|way| way.to.is_none()).filter_map(|way| way.gateway);
            Ok((*address, range.prefix, gateways.into_iter().find(|gateway| range.contains(*gateway))))
        };
        let placed = asked.addresses.iter().map(place).collect::<Result<_>>()?;
        let mut own = Self::unseen(asked);
        own.addresses = placed;
        if asked.upon.is_none() && link.is_up() {
            own.back.push(Request::Up(own.parent.clone()));
        }
        if asked.upon.is_none() {
            // The kernel makes those of its own again; what is lent comes from who lent it.
            let lasting = addresses.iter().filter(|address| {
                address.permanent && u32::from(address.scope) != r::rt_scope_t::RT_SCOPE_LINK as u32
            });
            let name = || own.parent.clone();
            let again =
                lasting.map(|own| Request::Address { name: name(), address: own.address, prefix: own.prefix });
            let made = [r::RTPROT_BOOT as u8, r::RTPROT_STATIC as u8];
            let ways = ways.iter().filter(|way| made.contains(&way.protocol));
            // First what is on the wire: the gateways of the others are there.
            let (near, far): (Vec<_>, Vec<_>) = ways.partition(|way| way.gateway.is_none());
            let ways = near.into_iter().chain(far).map(|way| {
                let all = if way.v6 { IpAddr::from([0u8; 16]) } else { IpAddr::from([0u8; 4]) };
                let to = way.to.unwrap_or((all, 0));
                Request::Route { name: name(), to, gateway: way.gateway, metric: way.metric }
            });
            let again: Vec<Request> = again.chain(ways).collect();
            own.back.extend(again);
        }
        Ok(own)
    }

    /// `KIND:INTERFACE`, as it is asked for.
    pub(crate) fn shown(&self) -> String {
        let kind = match self.upon {
            Some(Upon::Macvlan) => "macvlan",
            Some(Upon::Ipvlan) => "ipvlan",
            None => PHYSICAL,
        };
        format!("{kind}:{}", self.parent.to_string_lossy())
    }

    /// The same without a look: for a plan of a container that has it already, which shall have as many steps.
    pub(crate) fn unseen(asked: &Asked<'_>) -> Self {
        Self {
            parent: asked.parent.into(),
            upon: asked.upon,
            mac: asked.mac,
            addresses: asked
                .addresses
                .iter()
                .map(|(address, prefix)| (*address, prefix.unwrap_or(0), None))
                .collect(),
            back: Vec::new(),
        }
    }
}

/// What the kernel refuses without a word of why, or what would cut others off.
fn may_be_had(asked: &Asked<'_>, link: &Link, route: &Socket) -> Result<()> {
    let shown = asked.parent.to_string_lossy();
    if link.is_loopback() {
        return Err(Error::new(format!("{shown} is the loopback device, which every namespace has for itself"))
            .hint("--network none has one"));
    }
    if link.master != 0 {
        let links = route.links().unwrap_or_default();
        let master = links.iter().find(|other| other.index == link.master);
        let master = master.map_or("another interface".into(), |link| link.name.to_string_lossy());
        let error = Error::new(format!("{shown} is a port of {master}"));
        return Err(match asked.upon {
            Some(_) => error.hint(format!("an interface can stand on {master} itself")),
            None => error.hint(format!("ip link set {shown} nomaster takes it out")),
        });
    }
    Ok(())
}
