//! What a container holds of its network until its end, by whoever keeps it: the supervisor, or PID 1. Leaving does not allocate.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Leases, Seat, hosts};
use crate::linux::net::conf::Conf;
use crate::linux::net::{Socket, undo};
use crate::linux::sys::net::{RangeLock, range_lock};

/// What is held of a network when a start begins.
#[derive(Default)]
pub(crate) struct Holding {
    /// The ids of its user namespace are nobody else's while this is open.
    pub(crate) ids: Option<OwnedFd>,
    /// A place on a network of nsctl's.
    pub(crate) stay: Option<Stay>,
    /// The network namespace of another container.
    pub(crate) joined: Option<OwnedFd>,
    /// In the host's namespace, where there is no network of nsctl's.
    pub(crate) route: Option<Socket>,
}

pub(crate) struct Stay {
    networks: OwnedFd,
    network: OwnedFd,
    pub(crate) leases: Leases,
    /// A read lock of it is held by each container on any network.
    users: OwnedFd,
    /// In the host's namespace.
    pub(crate) route: Socket,
    /// None: the kernel has no nf_tables.
    pub(crate) netfilter: Option<Socket>,
    /// The host's.
    pub(crate) conf: Conf,
    /// Keep its published ports from being anybody else's.
    pub(crate) ports: Vec<OwnedFd>,
}

impl Stay {
    pub(super) fn new(networks: OwnedFd, network: OwnedFd, leases: Leases, route: Socket) -> Result<Self, Errno> {
        let users = super::users(&networks)?;
        range_lock(users.as_fd(), RangeLock::Share, 0, 1)?;
        Ok(Self {
            networks,
            network,
            leases,
            users,
            route,
            netfilter: Socket::netfilter().ok(),
            conf: Conf::open(),
            ports: Vec::new(),
        })
    }

    /// The network's directory.
    pub(crate) fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    pub(crate) fn networks(&self) -> BorrowedFd<'_> {
        self.networks.as_fd()
    }

    /// What was to be done under the lock is done.
    pub(crate) fn unlock(&self) {
        let _ = rustix::fs::flock(&self.networks, FlockOperation::Unlock);
    }

    /// Tells all on the network that this container is there, too. To be called under the lock.
    pub(crate) fn join(&self, seat: &Seat, slot: &str) -> Result<(), Errno> {
        self.leases.write(seat.number, slot)?;
        hosts::tell(self.networks.as_fd(), &self.leases, seat.network.last(), Some(slot));
        Ok(())
    }

    /// Tells the others that it is not. PID 1, which does not allocate, leaves that to whoever comes next.
    pub(crate) fn say_farewell(&self, seat: &Seat) {
        let _ = rustix::fs::flock(&self.networks, FlockOperation::LockExclusive);
        hosts::tell(self.networks.as_fd(), &self.leases, seat.network.last(), None);
        self.unlock();
    }

    /// Undoes what the kernel has of the container outside of its namespace; without others, what it has of the network, and
    /// without any, of all networks. `container` is its directory.
    pub(crate) fn leave(&self, container: Option<BorrowedFd<'_>>) {
        let _ = rustix::fs::flock(&self.networks, FlockOperation::LockExclusive);
        let ways = undo::Ways { route: Some(&self.route), netfilter: self.netfilter.as_ref(), conf: &self.conf };
        let undo = |dir: BorrowedFd<'_>| undo::all(dir, &ways);
        container.into_iter().for_each(undo);
        if !self.leases.others() {
            undo(self.network.as_fd());
        }
        if !super::in_use(self.users.as_fd()) {
            undo(self.networks.as_fd());
        }
        self.unlock();
    }
}
