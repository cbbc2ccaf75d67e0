//! The record of a container, as `state.json` holds it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use miniserde::{Deserialize, Serialize, json};
use rustix::fs::CWD;
use rustix::io::Errno;

use super::{Privileges, RECORD};
use crate::linux::userns::Maps;
use crate::linux::{cgroup, file};
use crate::network::PHYSICAL;

/// By the kernel's names (mnt, pid, …): the inode numbers of the container's own namespaces.
pub(crate) type Namespaces = BTreeMap<String, u64>;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    /// PID 1 of the container, as the host numbers it.
    pub(crate) pid: i32,
    /// When that process started, in clock ticks after boot (proc_pid_stat(5), field 22).
    pub(crate) ticks: u64,
    /// Seconds since the epoch.
    pub(crate) created: u64,
    pub(crate) command: Vec<String>,
    /// The image or the directory that its root is; empty where it sees the host's files.
    pub(crate) image: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// What the image, or the user, wants the container to be stopped by.
    pub(crate) stop_signal: Option<i32>,
    /// How many seconds it has for that.
    pub(crate) stop_timeout: Option<u64>,
    /// It lives on without its starter, and stays after its end.
    pub(crate) kept: bool,
    /// `--rm`: it does not stay.
    pub(crate) remove: bool,
    /// It has a terminal of its own.
    pub(crate) tty: bool,
    /// As typed: no, on-failure:N, always, unless-stopped.
    pub(crate) restart: String,
    pub(crate) namespaces: Namespaces,
    /// That which root gave to its commands; its PID 1 is not there.
    pub(crate) user_namespace: Option<UserNamespace>,
    /// nsctl is its PID 1.
    pub(crate) init: bool,
    /// It has a root of its own.
    pub(crate) rooted: bool,
    /// Its command made a cgroup namespace, in its groups.
    pub(crate) new_cgroupns: bool,
    /// What `exec` inherits: USER[:GROUP] as typed, more groups, the working directory, the variables.
    pub(crate) user: String,
    pub(crate) groups: Vec<String>,
    pub(crate) workdir: String,
    pub(crate) env: Vec<String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) privileges: Privileges,
    /// `--cgroup-delegate`: its command is in a group below its group of v2.
    pub(crate) delegated: bool,
    /// Its place on a network of nsctl's.
    pub(crate) network: Option<Attachment>,
    /// Its groups, one in each cgroup hierarchy that it needs.
    pub(crate) cgroups: Vec<Cgroup>,
}

/// Addresses are texts; an empty one: it has none.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct Attachment {
    /// The network's name.
    pub(crate) network: String,
    pub(crate) ip: String,
    pub(crate) ip6: String,
    /// How many bits of them are the network's.
    pub(crate) prefix: u8,
    pub(crate) prefix6: u8,
    pub(crate) gateway: String,
    pub(crate) gateway6: String,
    pub(crate) mac: String,
    /// `0.0.0.0:8080->80/tcp`
    pub(crate) ports: Vec<String>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct UserNamespace {
    /// The number of its inode.
    pub(crate) inode: u64,
    /// As the kernel has them: lines of INSIDE OUTSIDE COUNT.
    pub(crate) uid_map: String,
    pub(crate) gid_map: String,
}

impl UserNamespace {
    pub(crate) fn maps(&self) -> Maps {
        Maps::read(&self.uid_map, &self.gid_map)
    }
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
    /// The interface of the host's that is inside.
    pub(crate) fn lent(&self) -> Option<&str> {
        self.network.as_ref()?.network.strip_prefix(PHYSICAL)?.strip_prefix(':')
    }

    /// To sort by: of those of the same second, ticks of the clock say more.
    pub(super) fn age(&self) -> (u64, u64, &str) {
        (self.created, self.ticks, &self.id)
    }

    /// The groups that are there.
    pub(crate) fn groups(&self) -> cgroup::Groups {
        let open = |group: &Cgroup| {
            let version = if group.v2 { cgroup::Version::V2 } else { cgroup::Version::V1 };
            let (mount, dir) = (CString::new(group.mount.as_str()).ok()?, CString::new(group.dir.as_str()).ok()?);
            cgroup::Group::open(version, &mount, &dir, group.controllers.clone()).ok()
        };
        cgroup::Groups(self.cgroups.iter().filter_map(open).collect())
    }

    /// Whether all its processes stand still, as the group says that can be frozen, the v2 one first. None: there is none.
    pub(crate) fn is_frozen(&self) -> Option<bool> {
        let frozen = |v2: bool| {
            let version = if v2 { cgroup::Version::V2 } else { cgroup::Version::V1 };
            let name = cgroup::freezer_file(version).to_string_lossy();
            let freezes =
                |group: &&Cgroup| group.v2 == v2 && (v2 || group.controllers.iter().any(|name| name == "freezer"));
            self.cgroups.iter().filter(freezes).find_map(|group| {
                let path = CString::new([&group.mount, "/", &group.dir, "/", &name].concat()).ok()?;
                cgroup::is_frozen(version, CWD, &path).ok()?
            })
        };
        frozen(true).or_else(|| frozen(false))
    }

    /// Where they are: the root of the hierarchy, and the directory below it.
    pub(super) fn places(&self) -> impl Iterator<Item = (CString, CString)> {
        self.cgroups.iter().filter_map(|group| {
            Some((CString::new(group.mount.as_str()).ok()?, CString::new(group.dir.as_str()).ok()?))
        })
    }
}

pub(super) fn read(dir: &OwnedFd) -> Option<Record> {
    let mut bytes = [0; 4096];
    match file::read_short(dir, RECORD, &mut bytes).ok()? {
        text if text.len() < 4096 => json::from_str(std::str::from_utf8(text).ok()?).ok(),
        _ => json::from_str(&file::read_text(dir, RECORD).ok()?).ok(),
    }
}

/// `temporary` is another name for each of those who may write at the same time.
pub(super) fn write(dir: BorrowedFd<'_>, temporary: &CStr, record: &Record) -> Result<(), Errno> {
    file::replace(dir, temporary, RECORD, json::to_string(record).as_bytes())
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) -> Option<Record> {
    let record: Record = json::from_str(text).ok()?;
    let _ = (
        record.lent(),
        record.age(),
        record.places().count(),
        record.user_namespace.as_ref().map(UserNamespace::maps),
    );
    assert!(json::from_str::<Record>(&json::to_string(&record)).is_ok_and(|again| again == record));
    Some(record)
}
