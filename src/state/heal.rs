//! What a killed nsctl left is brought to what it should be, or cleared away, by whoever finds it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FlockOperation};

use super::{ABOVE, Cause, NETNS, Phase, State, record, remove, status};
use crate::linux::net::undo;
use crate::linux::{cgroup, file};
use crate::network;

/// A directory without a record may be one that is being made.
const GRACE_SECONDS: i64 = 2;

impl State {
    /// Brings a dead container, which the caller has locked, to what it should be after its end. False: nothing of it stays.
    pub(super) fn heal(&self, id: &CStr, dir: &OwnedFd) -> bool {
        let record = record::read(dir);
        let _ = rustix::fs::unlinkat(dir, NETNS, AtFlags::empty());
        if record.as_ref().is_some_and(|record| record.network.is_some()) {
            undo::heal(dir.as_fd());
            network::sweep(self.fd(), false);
        }
        match record {
            Some(record) if record.kept => {
                if status::read(dir.as_fd()).is_some_and(|status| status.phase == Phase::Exited) {
                    // Killed when it had said how it ended, and before it had cleared up.
                    if record.remove {
                        remove_groups(record.places());
                        self.remove(&record);
                    }
                    return !record.remove;
                }
                // Its PID 1 was killed before it could say how the container ended.
                let cause = if record.groups().usage().oom_kills.is_some_and(|killed| killed > 0) {
                    Cause::OutOfMemory
                } else {
                    Cause::Unknown
                };
                remove_groups(record.places());
                let _ = status::end_unknown(dir.as_fd(), cause);
                if record.remove {
                    self.remove(&record);
                }
                !record.remove
            }
            Some(record) => {
                remove_groups(record.places());
                self.remove(&record);
                false
            }
            None if young(dir) => false,
            None => {
                // Killed between its first group and its record: it may have made groups anywhere.
                let hierarchies = cgroup::hierarchies().unwrap_or_default();
                let above = rustix::fs::readlinkat(dir, ABOVE, Vec::new()).unwrap_or(cgroup::PARENT.into());
                let dir = CString::new([above.to_bytes(), b"/", id.to_bytes()].concat()).unwrap_or_default();
                remove_groups(hierarchies.into_iter().filter(|h| h.mounted).map(|h| (h.mount, dir.clone())));
                remove(self.fd(), id, None);
                false
            }
        }
    }

    /// Removes a name whose container is no more. To be called with the lock of the whole directory.
    pub(super) fn heal_link(&self, link: &CStr) {
        let Ok(owner) = rustix::fs::readlinkat(&self.dir, link, Vec::new()) else { return };
        let gone = match file::open_dir(&self.dir, &owner) {
            Err(_) => true,
            Ok(dir) => {
                let dead = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok();
                dead && !self.heal(&owner, &dir) && file::open_dir(&self.dir, &owner).is_err()
            }
        };
        if gone {
            // A container that left no record did not take its name along.
            let _ = rustix::fs::unlinkat(&self.dir, link, AtFlags::empty());
        }
    }
}

fn young(dir: &OwnedFd) -> bool {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    rustix::fs::fstat(dir).is_ok_and(|stat| now.saturating_sub(stat.st_mtime as _) < GRACE_SECONDS)
}

/// Each by the root of its hierarchy and the directory below that.
pub(super) fn remove_groups(groups: impl Iterator<Item = (CString, CString)>) {
    for (mount, dir) in groups {
        if let Ok(root) = file::open_dir(CWD, &mount) {
            let _ = cgroup::remove(root.as_fd(), &dir);
        }
    }
}
