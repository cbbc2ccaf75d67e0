//! What is remembered of a container: one directory each, `DIR/ID/`, with `state.json` inside and, for a named
//! one, the link `DIR/@NAME` → ID. The directory is locked (flock) by its supervisor for as long as that lives, and the
//! container ends with its supervisor: it is alive when the lock is held. So no pid is trusted, and a reused pid or a
//! reboot cannot make a dead container look alive. What is not locked was left by a killed nsctl, and is cleared
//! away by whoever finds it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use miniserde::{Deserialize, Serialize, json};
use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode};
use rustix::io::Errno;

use crate::linux::{cgroup, file};

pub(crate) mod events;

/// The record of a running container, as `state.json` holds it.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    /// PID 1 of the container, as the host numbers it.
    pub(crate) pid: i32,
    /// Seconds since the epoch.
    pub(crate) created: u64,
    pub(crate) command: Vec<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// What the image, or the user, wants the container to be stopped by.
    pub(crate) stop_signal: Option<i32>,
    /// Its groups, one in each cgroup hierarchy that it needs.
    pub(crate) cgroups: Vec<Cgroup>,
}

/// A container's group in one hierarchy.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct Cgroup {
    /// Where the root of the hierarchy is mounted.
    pub(crate) mount: String,
    /// Below it: `nsctl/ID`, or what `--cgroup-parent` says.
    pub(crate) dir: String,
    pub(crate) v2: bool,
    /// v1: those of the hierarchy; v2: those that were enabled for the container.
    pub(crate) controllers: Vec<String>,
}

impl Record {
    /// The groups that are there.
    #[allow(dead_code)] // until pause, kill, stats and top are there
    pub(crate) fn groups(&self) -> cgroup::Groups {
        let open = |group: &Cgroup| {
            let version = if group.v2 { cgroup::Version::V2 } else { cgroup::Version::V1 };
            let (mount, dir) = (CString::new(group.mount.as_str()).ok()?, CString::new(group.dir.as_str()).ok()?);
            cgroup::Group::open(version, &mount, &dir, group.controllers.clone()).ok()
        };
        cgroup::Groups(self.cgroups.iter().filter_map(open).collect())
    }
}

/// The directory above all containers' directories.
pub(crate) struct State {
    dir: OwnedFd,
}

/// A container's directory, locked.
pub(crate) struct Claim {
    dir: OwnedFd,
}

const RECORD: &CStr = c"state.json";
const NEW: &CStr = c"new";
/// A directory without a record may be one that is being made.
const GRACE_SECONDS: i64 = 2;

/// The places for state, best first: NSCTL_ROOT alone if it is set; else below /run (a user's runtime directory),
/// or where a system without a writable /run has a tmpfs or its last resort.
pub(crate) fn places() -> Vec<CString> {
    let c_string = |path: String| CString::new(path).ok();
    if let Ok(root) = std::env::var("NSCTL_ROOT") {
        return c_string(root).into_iter().collect();
    }
    let uid = rustix::process::geteuid();
    let all: Vec<String> = if uid.is_root() {
        ["/run", "/dev/shm", "/tmp"].iter().map(|dir| format!("{dir}/nsctl")).collect()
    } else {
        let runtime = std::env::var("XDG_RUNTIME_DIR").ok().map(|dir| format!("{dir}/nsctl"));
        runtime
            .into_iter()
            .chain([format!("/dev/shm/nsctl-{}", uid.as_raw()), format!("/tmp/nsctl-{}", uid.as_raw())])
            .collect()
    };
    all.into_iter().filter_map(c_string).collect()
}

/// The first place that exists and is ours, or can be made; open.
pub(crate) fn place() -> Option<(CString, State)> {
    let open = |path: CString| {
        let state = State::open(&path).or_else(|_| State::make(&path)).ok()?;
        Some((path, state))
    };
    places().into_iter().find_map(open)
}

impl State {
    /// An existing place. EPERM: it belongs to somebody else, or others may write there.
    pub(crate) fn open(path: &CStr) -> Result<Self, Errno> {
        let dir = file::open_dir(CWD, path)?;
        let stat = rustix::fs::fstat(&dir)?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0;
        if ours { Ok(Self { dir }) } else { Err(Errno::PERM) }
    }

    fn make(path: &CStr) -> Result<Self, Errno> {
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes and locks the container's directory and its name. EEXIST: a living container has that name.
    pub(crate) fn claim(&self, id: &str, name: Option<&str>) -> Result<Claim, Errno> {
        let c_id = CString::new(id).map_err(|_| Errno::INVAL)?;
        rustix::fs::mkdirat(&self.dir, &c_id, Mode::RWXU)?;
        let dir = file::open_dir(&self.dir, &c_id)?;
        // Blocks only for as long as somebody looks whether it is dead.
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
        let claim = Claim { dir };
        if let Some(name) = name {
            let named = self.link(&c_id, name);
            if let Err(errno) = named {
                remove(self.fd(), &c_id, None);
                return Err(errno);
            }
        }
        Ok(claim)
    }

    /// Gives the container its name; takes it over from a dead one.
    fn link(&self, id: &CStr, name: &str) -> Result<(), Errno> {
        let link = link_name(name);
        match rustix::fs::symlinkat(id, &self.dir, &link) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        // Of two who find the owner dead, the second must see the first's link and not remove it.
        rustix::fs::flock(&self.dir, FlockOperation::LockExclusive)?;
        self.heal_link(&link);
        let made = rustix::fs::symlinkat(id, &self.dir, &link);
        rustix::fs::flock(&self.dir, FlockOperation::Unlock)?;
        made
    }

    /// The living containers, oldest first; what dead ones left is cleared away.
    pub(crate) fn running(&self) -> Result<Vec<Record>, Errno> {
        let mut found = Vec::new();
        rustix::fs::flock(&self.dir, FlockOperation::LockExclusive)?;
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().starts_with(b"@") {
                self.heal_link(name);
            } else if !name.to_bytes().starts_with(b".")
                && entry.file_type() != FileType::RegularFile
                && !self.heal(name)
            {
                found.extend(self.record(name));
            }
        }
        rustix::fs::flock(&self.dir, FlockOperation::Unlock)?;
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(found)
    }

    fn record(&self, id: &CStr) -> Option<Record> {
        let dir = file::open_dir(&self.dir, id).ok()?;
        json::from_str(&file::read_text(&dir, RECORD).ok()?).ok()
    }

    /// Clears away a dead container's directory, name and cgroups. False: it is alive (or being made).
    fn heal(&self, id: &CStr) -> bool {
        let Ok(dir) = file::open_dir(&self.dir, id) else { return true };
        if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        match self.record(id) {
            Some(record) => {
                remove_groups(record.cgroups.iter().filter_map(|group| {
                    Some((CString::new(group.mount.as_str()).ok()?, CString::new(group.dir.as_str()).ok()?))
                }));
                let name = (!record.name.is_empty()).then(|| link_name(&record.name));
                remove(self.fd(), id, name.as_deref());
            }
            None if young(&dir) => return false,
            None => {
                // Killed between its first group and its record: it may have made groups anywhere.
                let hierarchies = cgroup::hierarchies().unwrap_or_default();
                let dir = CString::new([cgroup::PARENT.to_bytes(), b"/", id.to_bytes()].concat()).unwrap_or_default();
                remove_groups(hierarchies.into_iter().filter(|h| h.mounted).map(|h| (h.mount, dir.clone())));
                remove(self.fd(), id, None);
            }
        }
        true
    }

    /// Removes a name whose container is no more. To be called with the lock of the whole directory.
    fn heal_link(&self, link: &CStr) {
        let dead = rustix::fs::readlinkat(&self.dir, link, Vec::new()).is_ok_and(|owner| self.heal(&owner));
        if dead {
            // A container that left no record did not take its name along.
            let _ = rustix::fs::unlinkat(&self.dir, link, AtFlags::empty());
        }
    }
}

impl Claim {
    pub(crate) fn write(&self, record: &Record) -> Result<(), Errno> {
        file::replace(&self.dir, NEW, RECORD, json::to_string(record).as_bytes())
    }
}

/// Removes a container's directory and name. Does not allocate, so that the reaper can do it, too. Ignored: that
/// any of them is not there, since a start that failed or was killed half-way has made only some.
pub(crate) fn remove(state: BorrowedFd<'_>, id: &CStr, link: Option<&CStr>) {
    if let Some(link) = link {
        let _ = rustix::fs::unlinkat(state, link, AtFlags::empty());
    }
    let Ok(dir) = file::open_dir(state, id) else { return };
    let _ = rustix::fs::unlinkat(&dir, RECORD, AtFlags::empty());
    if rustix::fs::unlinkat(state, id, AtFlags::REMOVEDIR).is_err() {
        // Killed between the two steps of writing the record.
        let _ = rustix::fs::unlinkat(&dir, NEW, AtFlags::empty());
        let _ = rustix::fs::unlinkat(state, id, AtFlags::REMOVEDIR);
    }
}

/// The entry of a name in the state directory.
pub(crate) fn link_name(name: &str) -> CString {
    CString::new(format!("@{name}")).unwrap_or_default()
}

fn young(dir: &OwnedFd) -> bool {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    rustix::fs::fstat(dir).is_ok_and(|stat| now.saturating_sub(stat.st_mtime as _) < GRACE_SECONDS)
}

/// Each by the root of its hierarchy and the directory below that.
fn remove_groups(groups: impl Iterator<Item = (CString, CString)>) {
    for (mount, dir) in groups {
        if let Ok(root) = file::open_dir(CWD, &mount) {
            let _ = cgroup::remove(root.as_fd(), &dir);
        }
    }
}
