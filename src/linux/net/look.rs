//! What interfaces, addresses and routes there are.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use linux_raw_sys::netlink as r;
use netlink_bindings::consts as n;
use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, Ifinfomsg};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_bindings::traits::NetlinkRequest;
use rustix::io::Errno;

#[cfg(test)]
use super::answers;
use super::{Message, Result, Socket};

/// linux/netfilter/nfnetlink.h, nf_tables.h: NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN.
const NFT_GETGEN: u16 = 10 << 8 | 16;
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
        let mut request = rt_link::Request::new().op_getlink_do(&Ifinfomsg::new());
        request.encode().push_ifname(name);
        let mut found = None;
        match self.get(&Message::of(&request), &mut |_, bytes| found = link(bytes)) {
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Asks for an interface of this kind, without anything else. EOPNOTSUPP: there is no such kind.
    pub(crate) fn try_kind(&self, kind: &CStr) -> std::result::Result<(), Errno> {
        let mut request = rt_link::Request::new().set_create().set_excl().op_newlink_do(&Ifinfomsg::new());
        request.encode().nested_linkinfo().push_kind(kind).end_nested();
        self.ask(&Message::of(&request)).map_err(|refusal| refusal.errno)
    }

    /// Asks nf_tables which generation of rules it has.
    pub(crate) fn nf_tables(&self) -> std::result::Result<(), Errno> {
        // nfgenmsg: of no family, version 0.
        let message = Message { kind: NFT_GETGEN, flags: 0, payload: vec![0; 4] };
        self.get(&message, &mut |_, _| {}).map_err(|refusal| refusal.errno)
    }

    pub(crate) fn links(&self) -> Result<Vec<Link>> {
        self.dump(&rt_link::Request::new().op_getlink_dump(&Ifinfomsg::new()), link)
    }

    /// Those of the main table.
    pub(crate) fn routes(&self) -> Result<Vec<Route>> {
        self.dump(&rt_route::Request::new().op_getroute_dump(&Rtmsg::new()), route)
    }

    pub(crate) fn addresses(&self) -> Result<Vec<Address>> {
        self.dump(&rt_addr::Request::new().op_getaddr_dump(&Ifaddrmsg::new()), address)
    }

    fn dump<R: NetlinkRequest, T>(&self, request: &R, read: fn(&[u8]) -> Option<T>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut message = Message::of(request);
        message.flags |= n::NLM_F_DUMP as u16;
        self.get(&message, &mut |_, bytes| found.extend(read(bytes)))?;
        Ok(found)
    }
}

fn link(bytes: &[u8]) -> Option<Link> {
    let (header, attributes) = rt_link::OpGetlinkDo::decode_reply(bytes);
    Some(Link {
        index: header.ifi_index as u32,
        name: attributes.get_ifname().ok()?.into(),
        mtu: attributes.get_mtu().unwrap_or(0),
        master: attributes.get_master().unwrap_or(0),
        flags: header.ifi_flags,
    })
}

fn route(bytes: &[u8]) -> Option<Route> {
    let (header, attributes) = rt_route::OpGetrouteDo::decode_reply(bytes);
    if header.rtm_table != r::rt_class_t::RT_TABLE_MAIN as u8 || header.rtm_type != r::RTN_UNICAST as u8 {
        return None;
    }
    let to = attributes.get_dst().ok().filter(|_| header.rtm_dst_len > 0);
    Some(Route {
        to: to.map(|to| (to, header.rtm_dst_len)),
        v6: i32::from(header.rtm_family) == libc::AF_INET6,
        gateway: attributes.get_gateway().ok(),
        interface: attributes.get_oif().ok()?,
        metric: attributes.get_priority().unwrap_or(0),
        protocol: header.rtm_protocol,
    })
}

fn address(bytes: &[u8]) -> Option<Address> {
    let (header, attributes) = rt_addr::OpGetaddrDump::decode_reply(bytes);
    // With a peer, IFA_ADDRESS is the peer's.
    let address = attributes.get_local().or_else(|_| attributes.get_address()).ok()?;
    Some(Address {
        interface: header.ifa_index,
        address,
        prefix: header.ifa_prefixlen,
        scope: header.ifa_scope,
        permanent: u32::from(header.ifa_flags) & r::IFA_F_PERMANENT != 0,
    })
}

/// For the test that no answer makes a reader panic.
#[cfg(test)]
pub(super) fn survives(bytes: &[u8]) {
    for payload in answers(bytes).map(|answer| answer.payload).chain([bytes]) {
        let _ = (link(payload), route(payload), address(payload));
    }
}
