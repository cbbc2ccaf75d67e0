//! The ids of a container that root gives a user namespace: those that were asked for, or some that nobody else has.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::seat::Aim;
use crate::error::{Error, Result};
use crate::linux::sys::net::{RangeLock, range_lock};
use crate::linux::userns::{self, Maps};
use crate::spec::{Ids, Principal, Spec};
use crate::state::State;

/// Beside the containers. Its byte N is the user N of the host: who has ids for a container has locked their bytes.
const FILE: &CStr = c".ids";
/// Whose ranges in /etc/subuid and /etc/subgid are root's to give, if it is there (containers-storage.conf(5)).
const OWNER: &[u8] = b"containers";
/// Where there is no such line: what systemd keeps free for containers, in its UIDS-GIDS.md. useradd(8) gives parts of it to users.
const FREE: (u32, u32) = (0x80000, 0x6fff_0000 - 0x80000);

/// What was settled: the maps, and what keeps others from them.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) maps: Option<Maps>,
    pub(super) lease: Option<OwnedFd>,
}

/// `asked`: None, it has the host's ids. Only for a start others are kept from the ids. A container gets the same as the last time,
/// if they are free.
pub(super) fn settle(asked: Option<Ids>, spec: &Spec, state: Option<&State>, id: &str, aim: Aim) -> Result<Settled> {
    let lease = || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = |state: &State| rustix::fs::openat(state.fd(), FILE, flags, Mode::RUSR | Mode::WUSR);
        let keeps = matches!(aim, Aim::Start | Aim::Files);
        let opened = state.filter(|_| keeps).map(open).transpose();
        opened.map_err(|errno| Error::os("open the file .ids in the state directory", errno))
    };
    let (maps, lease) = match asked {
        Some(Ids::Given(maps)) => {
            let lease = lease()?;
            // Whoever wants the same of two containers may have that; only none that is chosen is among them.
            for [_, first, count] in &maps.users {
                let _ = lease.as_ref().map_or(Ok(true), |lease| take(lease, *first, *count));
            }
            (maps, lease)
        }
        Some(Ids::Auto(size)) => {
            let lease = lease()?;
            (free(lease.as_ref(), size, id)?, lease)
        }
        _ => return Ok(Settled::default()),
    };
    check(&maps, spec)?;
    Ok(Settled { maps: Some(maps), lease })
}

/// False: somebody else has one of them.
fn take(lease: &OwnedFd, first: u32, count: u32) -> std::result::Result<bool, Errno> {
    match range_lock(lease.as_fd(), RangeLock::Take, first.into(), count.into()) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// So many ids from 0 on. The first that are tried come of the container's id, so that those who are in other state directories
/// hardly ever meet.
fn free(lease: Option<&OwnedFd>, size: u32, id: &str) -> Result<Maps> {
    let files = [c"/etc/subuid", c"/etc/subgid"];
    let range =
        |file: &CStr| userns::ranges(file, Some((u32::MAX, OWNER))).into_iter().max_by_key(|(_, count)| *count);
    let ([users, groups], given) = match files.map(range) {
        [Some(users), Some(groups)] => ([users, groups], Vec::new()),
        _ => ([FREE; 2], files.map(|file| userns::ranges(file, None)).concat()),
    };
    // A user who has them could signal the container's processes, and has its files.
    let apart = |first: u32| given.iter().all(|(other, many)| first + size <= *other || other + many <= first);
    let places = users.1.min(groups.1) / size;
    if places == 0 {
        return Err(Error::new(format_args!("--userns auto: there are no {size} ids in a row for containers"))
            .hint("the line 'containers:FIRST:COUNT' in /etc/subuid and /etc/subgid says which there are"));
    }
    let start = id.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % places;
    for place in (start..places).chain(0..start) {
        let first = users.0 + place * size;
        if !apart(first) {
            continue;
        }
        let taken = lease.map_or(Ok(true), |lease| take(lease, first, size));
        if taken.map_err(|errno| Error::os("lock ids in the state directory", errno))? {
            let map = |first: u32| vec![[0, first, size]];
            return Ok(Maps { users: map(first), groups: map(groups.0 + place * size) });
        }
    }
    Err(Error::new("--userns auto: all ids for containers are taken")
        .hint("the line 'containers:FIRST:COUNT' in /etc/subuid and /etc/subgid says which there are"))
}

/// Whoever is named by a number is there.
fn check(maps: &Maps, spec: &Spec) -> Result<()> {
    let missing = |what: &str, id: u32| {
        Err(Error::new(format_args!("there is no {what} {id} in the container"))
            .hint("its ids are those of --userns, --uidmap and --gidmap"))
    };
    if maps.outside([0, 0]).is_none() {
        return Err(Error::new("the map of ids has no root, 0, inside, whose the container's files are")
            .hint("such as 0:100000:65536"));
    }
    let user = spec.user.as_ref();
    if let Some(Principal::Id(id)) = user.map(|user| &user.user)
        && !maps.has_user(*id)
    {
        return missing("user", *id);
    }
    let groups = user.and_then(|user| user.group.as_ref()).into_iter().chain(&spec.groups);
    for group in groups {
        if let Principal::Id(id) = group
            && !maps.has_group(*id)
        {
            return missing("group", *id);
        }
    }
    Ok(())
}
