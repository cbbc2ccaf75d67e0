//! A mount for the container's root to stand on, where the host's root stands on nothing, or on what is not to be seen.
//!
//! pivot_root(2) replaces a root mount, and refuses (EINVAL) to replace the one that everything else is mounted on: the rootfs of an
//! initramfs, before Linux 7.0 put an empty file system beneath it. That mount stays at the bottom of the container's mount namespace,
//! with the host's files in it. So it has to be covered, and the cover must not come off: a process inside with CAP_SYS_ADMIN could
//! unmount its root, and setns(2) to its own mount namespace would then show what lies beneath.
//!
//! The kernel has such covers: when a mount namespace is copied into a less privileged user namespace, the mounts of the copy are
//! locked to one another. A helper makes such a copy of two empty mounts, one upon the other, and takes a clone of the pair:
//! the lower one comes loose in it, but the lock between the two stays. It is put over "/", its upper mount becomes the root directory, and
//! pivot_root hands the lock of the mount that it replaces on to the new root.
//!
//! Where the host's root is not at the bottom, it was mounted over that by whoever started the machine (switch_root(8)), and pivot_root
//! puts the container's root in its place. What is at the bottom should be empty, and is not on every machine. There the pair comes
//! in between afterwards: it is put over the container's root, and the lower of the two pivots with it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::CWD;
use rustix::io::{DupFlags, Errno};
use rustix::mount::{MountFlags, MountPropagationFlags, OpenTreeFlags};

use crate::linux::mount::{Change, FileSystem, Maker};
use crate::linux::process::{Ended, Process, Spawned};
use crate::linux::{file, process, sys};

/// Whether pivot_root would refuse: it says EINVAL of a root that cannot be replaced before it says EBUSY of a new root that is the
/// old one. Mounts must be private, and the root directory that of the mount namespace.
pub(super) fn is_needed() -> bool {
    rustix::process::pivot_root(c"/", c"/") == Err(Errno::INVAL)
}

/// The pair while its helper works on it, beside us: the container's files are made meanwhile.
pub(super) struct Pair {
    helper: Process,
    /// The lower mount, once the helper has put it into the table of descriptors that it shares with us.
    lower: OwnedFd,
}

/// Has the pair made. None: the kernel has no user namespaces for us, or no open_tree.
pub(super) fn begin(maker: &Maker) -> Option<Pair> {
    if !maker.api.fds {
        return None;
    }
    // Only a number for the helper's clone.
    let mut lower = file::handle(c"/").ok()?;
    match process::spawn_aside(u64::from(k::CLONE_FILES | k::CLONE_NEWNS)).ok()? {
        Spawned::Child { .. } => {
            let done = locked_pair(&mut lower);
            sys::exit(u8::from(done.is_err()))
        }
        Spawned::Parent(helper) => Some(Pair { helper, lower }),
    }
}

impl Pair {
    /// Puts it over "/" and hands back its lower mount. If it fails, nothing has changed.
    fn cover(self, maker: &Maker) -> Result<OwnedFd, Errno> {
        if self.helper.wait()? != Ended::Exited(0) {
            return Err(Errno::PERM);
        }
        maker.attach(self.lower.as_fd(), file::handle(c"/")?.as_fd())?;
        Ok(self.lower)
    }
}

/// An empty, read-only file system over "/", to become the root directory for as long as it takes to pivot: that of the pair, or an
/// unlocked one, which a privileged process inside could take off.
pub(super) fn make(maker: &Maker, pair: Option<Pair>) -> Result<OwnedFd, Errno> {
    if pair.is_some_and(|pair| pair.cover(maker).is_ok()) {
        // Of the root, ".." is the root, but with what is mounted on it.
        return file::handle(c"/..");
    }
    let attr = k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC;
    let cover = maker.over_slash(&FileSystem::new(c"tmpfs", "size=4k,mode=755", attr))?;
    // A recursive bind of "/" is one of the host's files: without this and what stands on it.
    maker
        .set(cover.as_fd(), Change { propagation: MountPropagationFlags::UNBINDABLE.bits(), ..Change::default() })?;
    Ok(cover)
}

/// Slips the pair beneath the container's root, which is the root directory and alone in its mount namespace, and stays it. It is
/// not locked itself: taking it off shows the upper of the two. Without a pair, what is at the bottom stays within reach of
/// CAP_SYS_ADMIN.
pub(super) fn slip_beneath(maker: &Maker, root: BorrowedFd<'_>, pair: Option<Pair>) -> Result<(), Errno> {
    let Some(lower) = pair.and_then(|pair| pair.cover(maker).ok()) else { return Ok(()) };
    rustix::process::fchdir(lower)?;
    // "." is the lower one as the new root, and for the old root what is mounted on it: the upper one.
    rustix::process::pivot_root(c".", c".")?;
    rustix::process::fchdir(root)?;
    rustix::process::chroot(c".")
}

/// In the helper, which has a copy of the mount namespace to itself.
fn locked_pair(pair: &mut OwnedFd) -> Result<(), Errno> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"tmpfs", c"/", c"tmpfs", flags, c"size=4k,mode=755")?;
    rustix::process::chdir(c"/..")?;
    // The upper of the two; "." stays the lower.
    rustix::mount::mount_bind(c".", c".")?;
    // The kernel makes no user namespace for a process whose root directory is not that of its mount namespace.
    rustix::process::chroot(c"/..")?;
    sys::unshare(k::CLONE_NEWUSER | k::CLONE_NEWNS)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let clone = rustix::mount::open_tree(CWD, c".", flags)?;
    rustix::io::dup3(&clone, pair, DupFlags::CLOEXEC)
}
