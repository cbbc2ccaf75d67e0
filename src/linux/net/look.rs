//! What interfaces, addresses and routes there are.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use linux_raw_sys::netlink as r;
use netlink_bindings::consts as n;
use netlink_bindings::rt_addr::Ifaddrmsg;
use netlink_bindings::rt_link::{Ifinfomsg, PushLinkAttrs};
use netlink_bindings::rt_route::Rtmsg;
use netlink_bindings::utils::find_attr;
use rustix::io::Errno;

use super::{Message, Result, Socket, request};

/// linux/if.h.
pub(super) const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

/// An interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: CString,
    pub(crate) mtu: u32,
    /// The number of the bridge that it is a port of; 0: of none.
    pub(crate) master: u32,
    /// IFF_*.
    pub(crate) flags: u32,
}

/// A way of the main table (`ip route`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    /// None: the default.
    pub(crate) to: Option<(IpAddr, u8)>,
    pub(crate) v6: bool,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) interface: u32,
    pub(crate) metric: u32,
    /// RTPROT_*: who made it.
    pub(crate) protocol: u8,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    pub(crate) interface: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// RT_SCOPE_*: 0 is the whole world.
    pub(crate) scope: u8,
    /// It was set by somebody, and not lent for a time (DHCP, autoconfiguration).
    pub(crate) permanent: bool,
}

impl Link {
    pub(crate) fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    pub(crate) fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }
}

impl Socket {
    /// The number of an interface. ENODEV: there is none of that name.
    pub(crate) fn index(&self, name: &CStr) -> std::result::Result<u32, Errno> {
        if name == c"lo" {
            // LOOPBACK_IFINDEX, linux/if.h: in every namespace.
            return Ok(1);
        }
        rustix::net::netdevice::name_to_index(self.fd(), name.to_str().map_err(|_| Errno::NODEV)?)
    }

    /// One interface. None: there is none of that name.
    pub(crate) fn link(&self, name: &CStr) -> Result<Option<Link>> {
        let mut message = request::link(r::RTM_GETLINK, 0, &Ifinfomsg::new());
        drop(PushLinkAttrs::new(&mut message.payload).push_ifname(name));
        let mut found = None;
        match self.get(&message, &mut |_, bytes| found = link(bytes)) {
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Asks for an interface of this kind, without anything else. EOPNOTSUPP: there is no such kind.
    pub(crate) fn try_kind(&self, kind: &CStr) -> std::result::Result<(), Errno> {
        let mut message = request::link(r::RTM_NEWLINK, n::NLM_F_CREATE | n::NLM_F_EXCL, &Ifinfomsg::new());
        drop(PushLinkAttrs::new(&mut message.payload).nested_linkinfo().push_kind(kind).end_nested());
        self.ask(&message).map_err(|refusal| refusal.errno)
    }

    pub(crate) fn links(&self) -> Result<Vec<Link>> {
        self.dump(r::RTM_GETLINK, Ifinfomsg::new().as_slice(), link)
    }

    /// Those of the main table.
    pub(crate) fn routes(&self) -> Result<Vec<Route>> {
        self.dump(r::RTM_GETROUTE, Rtmsg::new().as_slice(), route)
    }

    pub(crate) fn addresses(&self) -> Result<Vec<Address>> {
        self.dump(r::RTM_GETADDR, Ifaddrmsg::new().as_slice(), address)
    }

    fn dump<T>(&self, kind: r::_bindgen_ty_62, header: &[u8], read: fn(&[u8]) -> Option<T>) -> Result<Vec<T>> {
        let message = Message::new(kind as u16, n::NLM_F_DUMP, header);
        let mut tries = 0;
        loop {
            let mut found = Vec::new();
            match self.get(&message, &mut |_, bytes| found.extend(read(bytes))) {
                // It changed while it was listed.
                Err(refusal) if refusal.errno == Errno::AGAIN && tries < 5 => tries += 1,
                other => return other.map(|()| found),
            }
        }
    }
}

// Of an answer only a few attributes are wanted: they are found by their numbers, which is a tenth of the code of the readers that
// netlink-bindings has for all of them.

fn link(bytes: &[u8]) -> Option<Link> {
    let (header, attributes) = bytes.split_at_checked(Ifinfomsg::len())?;
    let header = Ifinfomsg::new_from_slice(header)?;
    Some(Link {
        index: header.ifi_index as u32,
        name: CStr::from_bytes_until_nul(find_attr(attributes, r::IFLA_IFNAME as u16)?).ok()?.into(),
        mtu: number(attributes, r::IFLA_MTU as u16).unwrap_or(0),
        master: number(attributes, r::IFLA_MASTER as u16).unwrap_or(0),
        flags: header.ifi_flags,
    })
}

fn route(bytes: &[u8]) -> Option<Route> {
    let (header, attributes) = bytes.split_at_checked(Rtmsg::len())?;
    let header = Rtmsg::new_from_slice(header)?;
    if header.rtm_table != r::rt_class_t::RT_TABLE_MAIN as u8 || header.rtm_type != r::RTN_UNICAST as u8 {
        return None;
    }
    let to = ip(attributes, r::rtattr_type_t::RTA_DST as u16).filter(|_| header.rtm_dst_len > 0);
    Some(Route {
        to: to.map(|to| (to, header.rtm_dst_len)),
        v6: i32::from(header.rtm_family) == libc::AF_INET6,
        gateway: ip(attributes, r::rtattr_type_t::RTA_GATEWAY as u16),
        interface: number(attributes, r::rtattr_type_t::RTA_OIF as u16)?,
        metric: number(attributes, r::rtattr_type_t::RTA_PRIORITY as u16).unwrap_or(0),
        protocol: header.rtm_protocol,
    })
}

fn address(bytes: &[u8]) -> Option<Address> {
    let (header, attributes) = bytes.split_at_checked(Ifaddrmsg::len())?;
    let header = Ifaddrmsg::new_from_slice(header)?;
    // With a peer, IFA_ADDRESS is the peer's.
    let address = ip(attributes, r::IFA_LOCAL as u16).or_else(|| ip(attributes, r::IFA_ADDRESS as u16))?;
    Some(Address {
        interface: header.ifa_index,
        address,
        prefix: header.ifa_prefixlen,
        scope: header.ifa_scope,
        permanent: u32::from(header.ifa_flags) & r::IFA_F_PERMANENT != 0,
    })
}

fn number(attributes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(find_attr(attributes, kind)?.try_into().ok()?))
}

fn ip(attributes: &[u8], kind: u16) -> Option<IpAddr> {
    let bytes = find_attr(attributes, kind)?;
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// For the tests that no answer makes a reader panic.
#[cfg(any(test, fuzzing))]
pub(super) fn survives(payload: &[u8]) {
    let _ = (link(payload), route(payload), address(payload));
}
