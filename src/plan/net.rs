//! The steps that make a container's network. All of them are the supervisor's, and come before the clone: it goes into the new
//! namespace itself, furnishes it, and goes back when the container was born there.

use std::ffi::CString;
use std::net::IpAddr;

use super::{Host, Op, Side, names};
use crate::linux::net::Request;
use crate::linux::net::conf::Switch;
use crate::network::{Own, Seat};
use crate::spec::{Kind, Spec};

mod pasta;

/// How the interface is called inside, as with docker.
const INSIDE: &std::ffi::CStr = c"eth0";

/// None for the host's network, or one that is joined.
pub(super) fn plan(spec: &Spec, host: &Host) -> Vec<Op> {
    let mut steps = Vec::new();
    match (&spec.network.kind, &host.seat, &host.own) {
        (Kind::Bridge(_), Some(seat), _) => {
            bridge(seat, &mut steps);
            if spec.root.is_some() {
                steps.push(Op::Hosts(names::hosts(spec, Some(seat)).into_bytes()));
            }
            steps.push(Op::Member { aliases: names::aliases(spec) });
        }
        (Kind::Upon(..) | Kind::Physical(_), _, Some(own)) => alone(own, &mut steps),
        _ => {}
    }
    steps
}

/// Whether it has a network namespace of its own with nothing of the host's in it: the clone makes it, and the container furnishes
/// it.
pub(super) fn is_empty(spec: &Spec) -> bool {
    matches!(spec.network.kind, Kind::None | Kind::Pasta(_))
}

pub(super) fn loopback() -> Op {
    inside(Request::Up(c"lo".into()))
}

/// What is done when the container is there, and before its command is. `dir` is the state directory.
pub(super) fn pasta(spec: &Spec, host: &Host) -> Option<Op> {
    let (Kind::Pasta(options), Some(program), Some(dir)) = (&spec.network.kind, &host.pasta, &host.state) else {
        return None;
    };
    let netns = [dir.to_bytes(), b"/", host.id.as_bytes(), b"/netns"].concat();
    let netns = CString::new(netns).unwrap_or_default();
    Some(Op::Pasta { program: program.clone(), words: pasta::words(&netns, options), netns })
}

fn empty(steps: &mut Vec<Op>) {
    steps.push(Op::NewNetwork);
    steps.push(loopback());
}

/// As many steps, whatever was found out of the host's interface.
fn alone(own: &Own, steps: &mut Vec<Op>) {
    empty(steps);
    let name = match own.upon {
        Some(kind) => {
            let (parent, name) = (own.parent.clone(), CString::from(INSIDE));
            steps.push(outside(Request::AddUpon { kind, parent, name, mac: own.mac }));
            CString::from(INSIDE)
        }
        None => {
            steps.push(Op::Lend(Box::new(own.clone())));
            own.parent.clone()
        }
    };
    steps.push(inside(Request::Up(name.clone())));
    for (address, prefix, gateway) in &own.addresses {
        steps.push(inside(Request::Address { name: name.clone(), address: *address, prefix: *prefix }));
        let (done, gateway) = (gateway.is_none(), gateway.unwrap_or(*address));
        let request = Request::DefaultRoute { name: name.clone(), gateway };
        steps.push(Op::Ask { side: Side::Inside, request, done });
    }
}

fn inside(request: Request) -> Op {
    Op::Ask { side: Side::Inside, request, done: false }
}

fn outside(request: Request) -> Op {
    Op::Ask { side: Side::Outside, request, done: false }
}

/// Rules before what they guard, and all before the container is there.
fn reach(seat: &Seat, interface: &CString, steps: &mut Vec<Op>) {
    let reach = &seat.reach;
    let switch = |switches: &[Switch], back: bool, done: bool| Op::Switch {
        done: done || switches.is_empty(),
        switches: switches.to_vec(),
        back,
    };
    let changes = if reach.ruled { Vec::new() } else { seat.rules() };
    let optional = reach.ports.is_empty();
    steps.push(Op::Rules { interface: interface.clone(), changes, optional, done: reach.ruled });
    steps.push(switch(&reach.bridge, false, seat.up));
    steps.push(switch(&reach.forward, true, false));
    if !reach.ports.is_empty() {
        steps.push(switch(&reach.loopback, false, false));
        steps.push(Op::Publish(seat.mappings()));
    }
}

fn bridge(seat: &Seat, steps: &mut Vec<Op>) {
    let interface: CString = CString::new(seat.network.interface.as_str()).unwrap_or_default();
    steps.push(Op::TakeAddress(Box::new(seat.clone())));
    let gateways = [(IpAddr::V4(seat.gateway), seat.address.1)]
        .into_iter()
        .chain(seat.gateway6.zip(seat.address6).map(|(gateway, (_, prefix))| (IpAddr::V6(gateway), prefix)));
    let octets = seat.gateway.octets();
    let mac = [0x02, 0x42, octets[0], octets[1], octets[2], octets[3]];
    let bridge = |request: Request| Op::Ask { side: Side::Outside, request, done: seat.up };
    steps.push(Op::UndoNetwork { interface: interface.clone(), done: seat.up });
    steps.push(bridge(Request::AddBridge { name: interface.clone(), mtu: seat.mtu, mac }));
    for (address, prefix) in gateways.clone() {
        steps.push(bridge(Request::Address { name: interface.clone(), address, prefix }));
    }
    reach(seat, &interface, steps);
    empty(steps);
    steps.push(outside(Request::AddVeth {
        name: seat.veth.clone(),
        bridge: interface,
        peer: INSIDE.into(),
        mac: seat.mac,
        mtu: seat.mtu,
    }));
    if !seat.reach.ports.is_empty() {
        steps.push(outside(Request::Hairpin(seat.veth.clone())));
    }
    steps.push(inside(Request::Up(INSIDE.into())));
    let own = [(IpAddr::V4(seat.address.0), seat.address.1)]
        .into_iter()
        .chain(seat.address6.map(|(address, prefix)| (IpAddr::V6(address), prefix)));
    for (address, prefix) in own {
        steps.push(inside(Request::Address { name: INSIDE.into(), address, prefix }));
    }
    if !seat.network.internal {
        for (gateway, _) in gateways {
            steps.push(inside(Request::DefaultRoute { name: INSIDE.into(), gateway }));
        }
    }
}
