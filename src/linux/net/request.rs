//! What is asked of rtnetlink, each as a value: the messages of a start are known, and can be shown, before the first is sent.

use std::ffi::{CStr, CString};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use linux_raw_sys::netlink as r;
use netlink_bindings::consts as n;
use netlink_bindings::rt_addr::{Ifaddrmsg, PushAddrAttrs};
use netlink_bindings::rt_link::{Ifinfomsg, PushLinkAttrs};
use netlink_bindings::rt_route::{PushRouteAttrs, Rtmsg};
use netlink_bindings::traits::Pusher;
use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};
use rustix::io::Errno;

use super::look::IFF_UP;
use super::{Message, Result, Socket};

/// An interface is named, not numbered: its number is looked up when the message is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// `ip link add NAME type bridge`, up. Its address is given, since otherwise it changes with each port.
    AddBridge { name: CString, mtu: u32, mac: [u8; 6] },
    /// `ip link add NAME type veth peer name PEER netns …`: NAME on the bridge and up, PEER inside.
    AddVeth { name: CString, bridge: CString, peer: CString, mac: [u8; 6], mtu: u32 },
    /// `ip link add NAME link PARENT netns … type macvlan|ipvlan`: asked for outside, comes to be inside.
    AddUpon { kind: Upon, parent: CString, name: CString, mac: Option<[u8; 6]> },
    /// `ip link set NAME netns …`, to where the descriptor's namespace is.
    Move { name: CString, new_name: CString },
    /// `bridge link set dev NAME hairpin on`: what comes from a port of a bridge may leave by it again.
    Hairpin(CString),
    /// `ip link set NAME up`.
    Up(CString),
    /// `ip addr add ADDRESS/PREFIX dev NAME`.
    Address { name: CString, address: IpAddr, prefix: u8 },
    /// `ip route add default via GATEWAY dev NAME`.
    DefaultRoute { name: CString, gateway: IpAddr },
    /// `ip route add TO [via GATEWAY] dev NAME metric METRIC`.
    Route { name: CString, to: (IpAddr, u8), gateway: Option<IpAddr>, metric: u32 },
    /// `ip link del NAME`.
    Delete(CString),
}

/// Interfaces that stand on another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Upon {
    /// With an address of its own on the wire, switched as by a bridge.
    Macvlan,
    /// With the parent's address on the wire, told apart by the IP address (L2).
    Ipvlan,
}

/// How the end of a pair outside is called, before the container's id. An interface's name has 15 bytes.
pub(crate) const VETH: &str = "ve-";

// linux/veth.h, linux/if_link.h: what is in IFLA_INFO_DATA, which the specification of rtnetlink leaves open.
const VETH_INFO_PEER: u16 = 1;
const MODE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IPVLAN_MODE_L2: u16 = 0;

impl Request {
    /// Asks the kernel. `socket` is where the interface is, or for a new one where its parent is; `inside` the namespace of the
    /// container.
    pub(crate) fn send(&self, socket: &Socket, inside: BorrowedFd<'_>) -> Result<()> {
        socket.ask(&self.message(&|name| socket.index(name), inside)?)
    }

    /// What would be sent. `socket` is where the interface is.
    pub(crate) fn message_for(&self, socket: &Socket) -> std::result::Result<Message, Errno> {
        self.message(&|name| socket.index(name), socket.fd())
    }

    fn message(
        &self,
        index: &dyn Fn(&CStr) -> std::result::Result<u32, Errno>,
        inside: BorrowedFd<'_>,
    ) -> std::result::Result<Message, Errno> {
        Ok(match self {
            Self::AddBridge { name, mtu, mac } => {
                let mut message = new_link(&up(0));
                let link = PushLinkAttrs::new(&mut message.payload).push_ifname(name).push_address(mac);
                let link = if *mtu == 0 { link } else { link.push_mtu(*mtu) };
                link.nested_linkinfo().push_kind(c"bridge").end_nested();
                message
            }
            Self::AddVeth { name, bridge, peer, mac, mtu } => {
                let mut message = new_link(&up(0));
                let link = PushLinkAttrs::new(&mut message.payload)
                    .push_ifname(name)
                    .push_mtu(*mtu)
                    .push_master(index(bridge)?);
                let mut info = link.nested_linkinfo().push_kind(c"veth");
                let bytes = info.as_vec_mut();
                let data = push_nested_header(bytes, r::IFLA_INFO_DATA as u16);
                let end = push_nested_header(bytes, VETH_INFO_PEER);
                // It cannot be up before it has its other end.
                bytes.extend(Ifinfomsg::new().as_slice());
                PushLinkAttrs::new(&mut *bytes)
                    .push_ifname(peer)
                    .push_mtu(*mtu)
                    .push_address(mac)
                    .push_net_ns_fd(inside.as_raw_fd() as u32);
                finalize_nested_header(bytes, end);
                finalize_nested_header(bytes, data);
                info.end_nested();
                message
            }
            Self::AddUpon { kind, parent, name, mac } => {
                let mut message = new_link(&Ifinfomsg::new());
                let link = PushLinkAttrs::new(&mut message.payload).push_ifname(name).push_link(index(parent)?);
                let link = link.push_net_ns_fd(inside.as_raw_fd() as u32);
                let link = if let Some(mac) = mac { link.push_address(mac) } else { link };
                let mut info = link.nested_linkinfo().push_kind(match kind {
                    Upon::Macvlan => c"macvlan",
                    Upon::Ipvlan => c"ipvlan",
                });
                let bytes = info.as_vec_mut();
                let data = push_nested_header(bytes, r::IFLA_INFO_DATA as u16);
                match kind {
                    Upon::Macvlan => {
                        push_header(bytes, MODE, 4);
                        bytes.extend(MACVLAN_MODE_BRIDGE.to_ne_bytes());
                    }
                    Upon::Ipvlan => {
                        push_header(bytes, MODE, 2);
                        bytes.extend(IPVLAN_MODE_L2.to_ne_bytes());
                    }
                }
                finalize_nested_header(bytes, data);
                info.end_nested();
                message
            }
            Self::Move { name, new_name } => {
                let header = Ifinfomsg { ifi_index: index(name)? as i32, ..Ifinfomsg::new() };
                let mut message = link(r::RTM_SETLINK, 0, &header);
                PushLinkAttrs::new(&mut message.payload)
                    .push_net_ns_fd(inside.as_raw_fd() as u32)
                    .push_ifname(new_name);
                message
            }
            Self::Hairpin(name) => {
                let header = Ifinfomsg {
                    ifi_family: libc::AF_BRIDGE as u8,
                    ifi_index: index(name)? as i32,
                    ..Ifinfomsg::new()
                };
                let mut message = link(r::RTM_SETLINK, 0, &header);
                let bytes = &mut message.payload;
                let port = push_nested_header(bytes, r::IFLA_PROTINFO as u16);
                push_header(bytes, IFLA_BRPORT_MODE, 1);
                bytes.push(1);
                finalize_nested_header(bytes, port);
                message
            }
            Self::Up(name) => link(r::RTM_SETLINK, 0, &up(index(name)?)),
            Self::Address { name, address, prefix } => {
                let header = Ifaddrmsg {
                    ifa_family: family(*address),
                    ifa_prefixlen: *prefix,
                    // It can be used at once: nobody else has it, by our own account.
                    ifa_flags: r::IFA_F_NODAD as u8,
                    ifa_index: index(name)?,
                    ..Ifaddrmsg::new()
                };
                let mut message = Message::new(r::RTM_NEWADDR as u16, n::NLM_F_CREATE, header.as_slice());
                let attributes = PushAddrAttrs::new(&mut message.payload).push_local(*address).push_address(*address);
                if let (IpAddr::V4(address), 0..=30) = (address, prefix) {
                    let broadcast = u32::from(*address) | u32::MAX >> prefix;
                    attributes.push_broadcast(broadcast.into());
                } else {
                    drop(attributes);
                }
                message
            }
            Self::DefaultRoute { name, gateway } => way(index(name)?, None, Some(*gateway), 0),
            Self::Route { name, to, gateway, metric } => way(index(name)?, Some(*to), *gateway, *metric),
            // By its name, so that how to remove an interface can be written down before it is there.
            Self::Delete(name) => {
                let mut message = link(r::RTM_DELLINK, 0, &Ifinfomsg::new());
                drop(PushLinkAttrs::new(&mut message.payload).push_ifname(name));
                message
            }
        })
    }
}

fn new_link(header: &Ifinfomsg) -> Message {
    link(r::RTM_NEWLINK, n::NLM_F_CREATE | n::NLM_F_EXCL, header)
}

/// Without its attributes.
pub(super) fn link(kind: r::_bindgen_ty_62, flags: i32, header: &Ifinfomsg) -> Message {
    Message::new(kind as u16, flags, header.as_slice())
}

/// None: to everywhere.
fn way(interface: u32, to: Option<(IpAddr, u8)>, gateway: Option<IpAddr>, metric: u32) -> Message {
    let header = Rtmsg {
        rtm_family: to.map(|(to, _)| to).or(gateway).map_or(0, family),
        rtm_dst_len: to.map_or(0, |(_, prefix)| prefix),
        rtm_table: r::rt_class_t::RT_TABLE_MAIN as u8,
        rtm_protocol: r::RTPROT_STATIC as u8,
        // On the wire itself, or beyond a gateway.
        rtm_scope: if gateway.is_none() { r::rt_scope_t::RT_SCOPE_LINK as u8 } else { 0 },
        rtm_type: r::RTN_UNICAST as u8,
        ..Rtmsg::new()
    };
    let mut message = Message::new(r::RTM_NEWROUTE as u16, n::NLM_F_CREATE, header.as_slice());
    let mut attributes = PushRouteAttrs::new(&mut message.payload).push_oif(interface);
    if let Some((to, _)) = to.filter(|(_, prefix)| *prefix > 0) {
        attributes = attributes.push_dst(to);
    }
    if let Some(gateway) = gateway {
        attributes = attributes.push_gateway(gateway);
    }
    if metric > 0 {
        drop(attributes.push_priority(metric))
    } else {
        drop(attributes)
    }
    message
}

fn up(index: u32) -> Ifinfomsg {
    Ifinfomsg { ifi_index: index as i32, ifi_flags: IFF_UP, ifi_change: IFF_UP, ..Ifinfomsg::new() }
}

/// As the kernel numbers it: AF_INET, AF_INET6.
pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}
