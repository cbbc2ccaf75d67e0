//! What lets a network's containers reach others, and others reach them: rules, and the kernel's willingness to pass packets on.
//! Looked at before the plan, so that it says what will be changed.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use super::{Network, Port, Seat};
use crate::linux::net::conf::{Conf, Switch};
use crate::linux::net::nft::{self, Change, Mapping};
use crate::linux::net::{Message, Socket, VETH, undo};

/// For one place on a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reach {
    /// Nobody uses any network: what is in nsctl's table is nobody's.
    pub(crate) first: bool,
    /// The network's rules are there.
    pub(crate) ruled: bool,
    /// Where packets are passed on from now on: at the bridge,
    pub(crate) bridge: Vec<Switch>,
    /// and at the interfaces that lead elsewhere.
    pub(crate) forward: Vec<Switch>,
    /// What comes from the host's loopback is let through to the bridge. Only where ports are published.
    pub(crate) loopback: Vec<Switch>,
    pub(crate) ports: Vec<Port>,
}

impl Reach {
    /// To be called in the host's namespace.
    pub(super) fn look(seat: &Seat, route: &Socket, netfilter: Option<&Socket>, conf: &Conf, first: bool) -> Self {
        let interface = super::c_string(&seat.network.interface);
        let chains = nft::chains(&interface, seat.network.internal);
        Self {
            first,
            ruled: netfilter.zip(chains.first()).is_some_and(|(socket, (chain, _))| socket.has_chain(chain)),
            bridge: at_bridge(&seat.network, &interface, conf, seat.address6.is_some()),
            forward: if seat.network.internal {
                Vec::new()
            } else {
                elsewhere(route, conf, &interface, seat.address6.is_some())
            },
            // One that is made only now has it not.
            loopback: conf
                .wish(false, &interface, "route_localnet", b'1')
                .or_else(|| (!seat.up).then(|| switch(false, &interface, "route_localnet", b'1')))
                .into_iter()
                .collect(),
            ports: Vec::new(),
        }
    }
}

/// A switch of an interface that is not there yet, and is gone before anything is set back.
fn switch(v6: bool, interface: &CStr, name: &str, value: u8) -> Switch {
    let file = CString::new([interface.to_bytes(), b"/", name.as_bytes()].concat()).unwrap_or_default();
    Switch { v6, file, value, was: b'0' }
}

fn at_bridge(network: &Network, interface: &CStr, conf: &Conf, v6: bool) -> Vec<Switch> {
    let value = if network.internal { b'0' } else { b'1' };
    let mut switches = vec![switch(false, interface, "forwarding", value)];
    // A container that says that it is a router is not to become the host's (CVE-2020-13401).
    if conf.get(true, c"default/accept_ra").is_some() {
        switches.push(switch(true, interface, "accept_ra", b'0'));
    }
    if v6 && !network.internal && alone(conf) {
        switches.push(switch(true, interface, FORCE, b'1'));
    }
    switches
}

/// IPv6 has it since 6.17. Before, all interfaces pass on or none.
const FORCE: &str = "force_forwarding";

fn alone(conf: &Conf) -> bool {
    conf.get(true, c"all/forwarding") != Some(b'1') && conf.get(true, c"lo/force_forwarding").is_some()
}

/// A packet is passed on if that is allowed where it comes in: at every interface that an answer may come by. Those that are up,
/// since one without an address may get one any time.
fn elsewhere(route: &Socket, conf: &Conf, bridge: &CStr, v6: bool) -> Vec<Switch> {
    let links = route.links().unwrap_or_default();
    let ways = || {
        links
            .iter()
            .filter(|link| link.is_up() && !link.is_loopback() && link.master == 0 && link.name.as_c_str() != bridge)
            // Of a container that is just ending.
            .filter(|link| !link.name.to_bytes().starts_with(VETH.as_bytes()))
    };
    let mut switches: Vec<Switch> =
        ways().filter_map(|link| conf.wish(false, &link.name, "forwarding", b'1')).collect();
    // Without others there is nobody to pass packets on to.
    if !v6 || ways().next().is_none() {
        return switches;
    }
    if alone(conf) {
        switches.extend(ways().filter_map(|link| conf.wish(true, &link.name, FORCE, b'1')));
    } else if let Some(all) = conf.wish(true, c"all", "forwarding", b'1') {
        // A host that passes packets on takes no more advice from routers (RFC 4862), its own default route is lost, unless it is
        // told to: 2.
        let advised = |link: &&crate::linux::net::look::Link| {
            let file = super::c_string(&format!("{}/accept_ra", link.name.to_string_lossy()));
            conf.get(true, &file) == Some(b'1')
        };
        switches.extend(ways().filter(advised).filter_map(|link| conf.wish(true, &link.name, "accept_ra", b'2')));
        switches.push(all);
    }
    switches
}

impl Seat {
    fn interface(&self) -> CString {
        super::c_string(&self.network.interface)
    }

    /// The transaction that makes the network's rules, and what they stand on.
    pub(crate) fn rules(&self) -> Vec<Change> {
        let v6 = self.network.range6().filter(|_| self.address6.is_some());
        let subnets: Vec<(IpAddr, u8)> =
            self.network.range().into_iter().chain(v6).map(|range| (range.base, range.prefix)).collect();
        let internal = self.network.internal;
        let mut changes = nft::common(self.reach.first, internal);
        changes.extend(nft::network(&self.interface(), &subnets, internal));
        changes
    }

    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        let own = [Some(self.address.0.into()), self.address6.map(|(address, _)| address.into())];
        self.reach.ports.iter().flat_map(|port| port.mappings(own)).collect()
    }

    /// Its ports, as docker shows them.
    pub(crate) fn shown_ports(&self) -> Vec<String> {
        self.reach.ports.iter().flat_map(|port| port.texts(self.address6.is_some())).collect()
    }
}

/// What removes a network, for the last one that leaves it.
pub(crate) fn undo_network(delete: Message, interface: &CStr, internal: bool) -> [undo::Undo; 2] {
    let chains = nft::chains(interface, internal).into_iter().map(|(name, _)| Change::DeleteChain(name));
    [undo::Undo::Route(delete), undo::Undo::Rules(nft::batch(&chains.collect::<Vec<_>>(), None))]
}

/// What takes the ports of a container back.
pub(crate) fn undo_ports(mappings: &[Mapping]) -> Vec<undo::Undo> {
    nft::elements(mappings)
        .map(|(map, of)| undo::Undo::Rules(nft::batch(&[Change::DeleteElements(map, of)], None)))
        .collect()
}
