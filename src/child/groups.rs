//! The command's way into its cgroups.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::{Child, identity};
use crate::linux::cgroup::{self, Version};
use crate::linux::file;
use crate::spec::User;

impl Child<'_> {
    pub(super) fn enter(&self, group: usize) -> Result<(), Errno> {
        if self.placed && self.plan.groups[group].version == Version::V2 {
            return Ok(());
        }
        cgroup::enter(self.inherited.groups[group].as_fd())
    }

    /// Hands the group to the user that the command will be. On v2 that is in a group of its own in there, from now on: the one that
    /// is handed over may then hand on controllers.
    pub(super) fn delegate(&self, group: usize, user: Option<&User>) -> Result<(), Errno> {
        let version = self.plan.groups[group].version;
        let group = self.inherited.groups[group].as_fd();
        let leaf = match version {
            Version::V1 => None,
            Version::V2 => {
                let leaf = file::open_dir(group, cgroup::LEAF)?;
                cgroup::enter(leaf.as_fd())?;
                Some(leaf)
            }
        };
        let ids = user.map(identity::ids).transpose()?;
        let (uid, gid) = match (&self.plan.userns, ids) {
            (None, None) => return Ok(()),
            (None, Some(ids)) => ids,
            (Some(maps), ids) => {
                let (uid, gid) = ids.unwrap_or((0, 0));
                maps.outside([uid, gid]).ok_or(Errno::INVAL)?.into()
            }
        };
        cgroup::delegate(group, version, uid, gid)?;
        leaf.map_or(Ok(()), |leaf| cgroup::delegate(leaf.as_fd(), version, uid, gid))
    }

    pub(super) fn mount_group(&self, group: usize, writable: bool) -> Result<(), Errno> {
        let group = &self.plan.groups[group];
        let read_only = if writable { MountFlags::empty() } else { MountFlags::RDONLY };
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | read_only;
        let (fs, options) = match group.version {
            Version::V1 => (c"cgroup", Some(group.controllers.as_c_str())),
            Version::V2 => (c"cgroup2", None),
        };
        // The same file system twice on one mount point is EBUSY: take the host's view away first, from our copy.
        rustix::mount::unmount(group.mount.as_c_str(), UnmountFlags::DETACH)?;
        rustix::mount::mount(c"cgroup", group.mount.as_c_str(), fs, flags, options)
    }
}
