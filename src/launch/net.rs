//! The supervisor's steps that make a container's network.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::linux::net::{Lent, Refusal, Request, Socket, undo};
use crate::linux::sys::net::namespace_of;
use crate::linux::{file, sys};
use crate::network::{HOSTS, Seat, undo_network};
use crate::plan::{Op, Plan, Side};
use crate::reaper::LeftBehind;

use linux_raw_sys::general as k;

/// The namespace that is being furnished, and the way back.
pub(super) struct Net {
    inside: Socket,
    home: OwnedFd,
    /// Opened when it is needed first.
    here: OnceCell<OwnedFd>,
}

impl Net {
    fn here(&self) -> Result<BorrowedFd<'_>, Errno> {
        if self.here.get().is_none() {
            let _ = self.here.set(namespace_of(self.inside.fd())?);
        }
        self.here.get().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// Back to the host's namespace.
    pub(super) fn leave(&self) -> Result<(), Errno> {
        rustix::thread::move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network))
    }
}

/// What a step may need of the start.
pub(super) struct Around<'a> {
    /// A socket of the host's namespace.
    pub(super) any: BorrowedFd<'a>,
    /// One for questions, where no network has it.
    pub(super) route: Option<&'a Socket>,
    /// The container's directory.
    pub(super) dir: Option<BorrowedFd<'a>>,
    /// The namespace, if it was made with a user namespace.
    pub(super) own: Option<BorrowedFd<'a>>,
}

/// Takes one of the steps.
#[inline(never)]
pub(super) fn step(
    plan: &Plan,
    op: &Op,
    net: &mut Option<Net>,
    left: &mut LeftBehind,
    around: &Around<'_>,
) -> Result<(), Refusal> {
    let stay = left.network.as_ref();
    let outside = stay.map(|stay| &stay.route).or(around.route).ok_or(Errno::BADF);
    match op {
        Op::Lend(own) => {
            let net = net.as_ref().ok_or(Errno::BADF)?;
            let dir = around.dir.ok_or(Errno::BADF)?;
            left.lent = Some(Lent::lend(&own.parent, [outside?, &net.inside], &own.back, dir)?);
        }
        // It had to be taken to be planned.
        Op::TakeAddress(_) | Op::Ask { done: true, .. } | Op::UndoNetwork { done: true, .. } => {}
        Op::NewNetwork => *net = Some(enter(around.any, around.own)?),
        Op::Ask { side: Side::Outside, request, .. } => {
            let outside = outside?;
            // What is asked for before there is an inside does not lead there.
            let here = net.as_ref().map_or(Ok(outside.fd()), Net::here)?;
            let sent = request.send(outside, here);
            // The kernel takes the namespace of a last run apart when it has time: who is started again at once finds its pair there.
            match (&sent, request) {
                (Err(refusal), Request::AddVeth { name, .. }) if refusal.errno == Errno::EXIST => {
                    // ENODEV: it is gone now.
                    let _ = Request::Delete(name.clone()).send(outside, here);
                    request.send(outside, here)?;
                }
                _ => sent?,
            }
        }
        Op::Ask { side: Side::Inside, request, .. } => {
            let net = net.as_ref().ok_or(Errno::BADF)?;
            request.send(&net.inside, net.inside.fd())?;
        }
        Op::UndoNetwork { interface, .. } => {
            let stay = stay.ok_or(Errno::BADF)?;
            let delete = Request::Delete(interface.clone()).message_for(&stay.route)?;
            undo::keep(
                stay.network(),
                &undo_network(delete, interface, seat(plan).is_some_and(|seat| seat.network.internal)),
            )?;
        }
        Op::Member { aliases } => {
            let (stay, seat) = (stay.ok_or(Errno::BADF)?, seat(plan).ok_or(Errno::BADF)?);
            stay.join(seat, &seat.slot(&plan.id, plan.name.as_deref(), aliases))?;
            stay.unlock();
        }
        Op::BackHome => {
            net.take().map_or(Ok(()), |net| net.leave())?;
        }
        _ => unreachable!("no step of the network's"),
    }
    Ok(())
}

fn enter(any: BorrowedFd<'_>, own: Option<BorrowedFd<'_>>) -> Result<Net, Errno> {
    let home = namespace_of(any)?;
    match own {
        Some(own) => rustix::thread::move_into_link_name_space(own, Some(LinkNameSpaceType::Network))?,
        None => sys::unshare(k::CLONE_NEWNET)?,
    }
    Ok(Net { inside: Socket::route()?, home, here: OnceCell::new() })
}

/// What the container sees as /etc/hosts, in its directory.
pub(super) fn write_hosts(dir: BorrowedFd<'_>, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o644);
    let hosts = rustix::fs::openat(dir, HOSTS, flags, mode)?;
    // Everybody's to read, whatever the caller's umask is.
    rustix::fs::fchmod(&hosts, mode)?;
    file::write_all(hosts, text)
}

/// The container's place on its network.
pub(super) fn seat(plan: &Plan) -> Option<&Seat> {
    plan.steps.iter().find_map(|step| match &step.op {
        Op::TakeAddress(seat) => Some(&**seat),
        _ => None,
    })
}
