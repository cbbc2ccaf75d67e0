//! The supervisor's steps that make a container's network.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::linux::net::{Message, Refusal, Request, Socket, undo};
use crate::linux::sys;
use crate::linux::sys::net::namespace_of;
use crate::network::{Seat, Stay};
use crate::plan::{Op, Plan, Side};

use linux_raw_sys::general as k;

/// The namespace that is being furnished, and the way back.
pub(super) struct Net {
    /// In the host's namespace; None: it is that of the network that was joined.
    outside: Option<Socket>,
    inside: Socket,
    home: OwnedFd,
    here: OwnedFd,
}

/// Takes one of the steps.
#[inline(never)]
pub(super) fn step(plan: &Plan, op: &Op, net: &mut Option<Net>, stay: Option<&Stay>) -> Result<(), Refusal> {
    match op {
        // It had to be taken to be planned.
        Op::TakeAddress(_) | Op::Ask { done: true, .. } | Op::UndoNetwork { done: true, .. } => {}
        Op::NewNetwork => *net = Some(enter(stay)?),
        Op::Ask { side: Side::Outside, request, .. } => {
            let outside = net.as_ref().and_then(|net| net.outside.as_ref()).or(stay.map(|stay| &stay.route));
            let here = net.as_ref().map(|net| net.here.as_fd());
            // What is asked for before there is an inside does not lead there.
            let outside = outside.ok_or(Errno::BADF)?;
            request.send(outside, here.unwrap_or(outside.fd()))?;
        }
        Op::Ask { side: Side::Inside, request, .. } => {
            let net = net.as_ref().ok_or(Errno::BADF)?;
            request.send(&net.inside, net.here.as_fd())?;
        }
        Op::UndoNetwork { interface, .. } => {
            let stay = stay.ok_or(Errno::BADF)?;
            let delete = Request::Delete(interface.clone()).message_for(&stay.route)?;
            undo::keep(stay.network(), &[(undo::ROUTE, wire(&delete))])?;
        }
        Op::Member => {
            let (stay, seat) = (stay.ok_or(Errno::BADF)?, seat(plan).ok_or(Errno::BADF)?);
            stay.leases.write(seat.number, &seat.slot(&plan.id, plan.name.as_deref()))?;
            stay.unlock();
        }
        Op::BackHome => {
            if let Some(net) = net.take() {
                rustix::thread::move_into_link_name_space(net.home.as_fd(), Some(LinkNameSpaceType::Network))?;
            }
        }
        _ => unreachable!("no step of the network's"),
    }
    Ok(())
}

fn enter(stay: Option<&Stay>) -> Result<Net, Errno> {
    let outside = if stay.is_none() { Some(Socket::route()?) } else { None };
    let host = outside.as_ref().or(stay.map(|stay| &stay.route)).ok_or(Errno::BADF)?;
    let home = namespace_of(host.fd())?;
    sys::unshare(k::CLONE_NEWNET)?;
    let inside = Socket::route()?;
    let here = namespace_of(inside.fd())?;
    Ok(Net { outside, inside, home, here })
}

/// As it goes over the wire, without a wish for an answer.
fn wire(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.write(&mut bytes, 0, 0);
    bytes
}

/// The container's place on its network.
pub(super) fn seat(plan: &Plan) -> Option<&Seat> {
    plan.steps.iter().find_map(|step| match &step.op {
        Op::TakeAddress(seat) => Some(&**seat),
        _ => None,
    })
}
