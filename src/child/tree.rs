//! The container's files are put together here, by descriptors, and entered. What nsctl works on is a stage: a tmpfs over the
//! host's "/" that only this process has, with the root on top of it; what is below goes away with the old root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::PidfdFlags;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use super::parent;
use crate::linux::file::{self, handle_in as handle};
use crate::linux::mount::{self, Api, Change, FileSystem, Maker};
use crate::linux::text::Text;
use crate::linux::{loop_device, mounts};
use crate::plan::{Base, Lowers};

mod inside;

/// What is open while the tree is made.
pub(super) struct Tree {
    maker: Maker,
    /// What pivot_root(2) will find the root mounted on, where the host's root has no parent.
    parent: Option<OwnedFd>,
    /// What goes beneath the root where it has one.
    pair: Option<parent::Pair>,
    /// The file system of an image.
    lower: Option<OwnedFd>,
    /// By [`Base`]: the root, and what is mounted on its places.
    bases: [Option<OwnedFd>; 6],
    /// The stage has an empty directory and an empty file, and is read-only.
    hiding: bool,
    umask: Option<Mode>,
}

const UPPER: &CStr = c"upper";
const WORK: &CStr = c"work";
const LOWER: &CStr = c"lower";
const QUIET: u32 = k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC;

impl Tree {
    pub(super) fn new(api: Api) -> Self {
        Self {
            maker: Maker { api, stage: None },
            parent: None,
            pair: None,
            lower: None,
            bases: [const { None }; 6],
            hiding: false,
            umask: None,
        }
    }

    pub(super) fn clone_source(&self, source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
        self.maker.clone(source, recursive)
    }

    pub(super) fn new_parent(&mut self) -> Result<(), Errno> {
        let pair = parent::begin(&self.maker);
        if parent::is_needed() {
            self.parent = Some(parent::make(&self.maker, pair)?);
        } else {
            self.pair = pair;
        }
        Ok(())
    }

    /// Modes below are meant as they stand.
    pub(super) fn stage(&mut self, fs: &FileSystem) -> Result<(), Errno> {
        self.umask = Some(rustix::process::umask(Mode::empty()));
        let stage = self.maker.over_slash(fs)?;
        self.maker.stage = Some(stage);
        Ok(())
    }

    /// For a container that sees the host's files: mounts go into its own copy of the host's tree.
    pub(super) fn host_tree(&mut self, stage: bool) -> Result<(), Errno> {
        self.bases[Base::Root as usize] = Some(file::handle(c"/")?);
        self.bases[Base::Proc as usize] = file::handle(c"/proc").ok();
        if stage { self.stage(&FileSystem::new(c"tmpfs", "mode=755,size=64k", QUIET)) } else { Ok(()) }
    }

    pub(super) fn leave_stage(&mut self, stage: bool) -> Result<(), Errno> {
        if stage {
            rustix::mount::unmount(c"/..", UnmountFlags::DETACH)?;
        }
        self.forget();
        Ok(())
    }

    /// A mount of its own, whose owners are those of the user namespace `map`. overlayfs takes layers only where they are attached.
    pub(super) fn map_source(
        &self,
        source: BorrowedFd<'_>,
        number: usize,
        map: BorrowedFd<'_>,
    ) -> Result<OwnedFd, Errno> {
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        let made = self.maker.clone(source, false)?;
        mount::map_ids(made.as_fd(), map, false)?;
        let mut name: Text<16> = Text::new();
        name.push(b"layer")?;
        name.push_number(number as u64)?;
        make_directory(stage, name.as_c_str())?;
        self.maker.attach(made.as_fd(), handle(stage.as_fd(), name.as_c_str())?.as_fd())?;
        Ok(made)
    }

    pub(super) fn mount_image(
        &mut self,
        file: BorrowedFd<'_>,
        fs: &CStr,
        map: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        make_directory(stage, LOWER)?;
        let target = handle(stage.as_fd(), LOWER)?;
        // An ext4 that was not unmounted cleanly would want to write its journal.
        let options = if fs == c"ext4" { c"ro,noload" } else { c"ro" };
        let attr = k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NODEV;
        let by_file =
            if fs == c"erofs" { self.maker.create_from(fs, file, options, attr) } else { Err(Errno::NOTBLK) };
        let made = match by_file {
            // Only erofs, and only since 6.12, reads a plain file.
            Err(Errno::NOTBLK | Errno::INVAL) => {
                let readable = reopen(file)?;
                // The decompressed pages are not the file's own, so that only without compression pages would be there twice.
                let (_, device) = loop_device::attach(readable.as_fd(), fs == c"ext4")?;
                self.maker.create_from(fs, device.as_fd(), options, attr)?
            }
            other => other?,
        };
        map.map_or(Ok(()), |map| mount::map_ids(made.as_fd(), map, false))?;
        self.maker.attach(made.as_fd(), target.as_fd())?;
        self.lower = Some(made);
        Ok(())
    }

    pub(super) fn bind_root(&mut self, sources: &[OwnedFd], lowers: &Lowers, attr: u32) -> Result<(), Errno> {
        let lower = self.lowers(sources, lowers).next().ok_or(Errno::NOENT)?;
        // Without what is mounted below; but in a user namespace that is locked to it.
        let root = self.maker.clone(lower, self.maker.api.userxattr)?;
        self.rise(root)?;
        self.maker.set(self.base(Base::Root)?, Change { set: attr, ..Change::default() })
    }

    pub(super) fn overlay_root(
        &mut self,
        sources: &[OwnedFd],
        lowers: &Lowers,
        kept: Option<[BorrowedFd<'_>; 2]>,
        attr: u32,
    ) -> Result<(), Errno> {
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        if *lowers == Lowers::Image && self.lower.is_none() {
            make_directory(stage, LOWER)?;
            self.lower = Some(handle(stage.as_fd(), LOWER)?);
        }
        let lowers = self.lowers(sources, lowers);
        if let Some(kept) = kept {
            let root = self.maker.overlay(lowers, Some(kept), attr)?;
            return self.rise(root);
        }
        // The root directory of an overlay is as its upper one is.
        let stat = lowers.clone().next().map(rustix::fs::fstat).transpose()?;
        let [mode, uid, gid] = stat.map_or([0o755, 0, 0], |stat| [stat.st_mode & 0o7777, stat.st_uid, stat.st_gid]);
        rustix::fs::mkdirat(stage, UPPER, Mode::from_raw_mode(mode))?;
        make_directory(stage, WORK)?;
        let (upper, work) = (handle(stage.as_fd(), UPPER)?, handle(stage.as_fd(), WORK)?);
        if (uid, gid) != (0, 0) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            match rustix::fs::chownat(stage, UPPER, uid, gid, AtFlags::empty()) {
                // Nobody whom this user namespace knows: it becomes its root's.
                Err(Errno::INVAL) => {}
                other => other?,
            }
        }
        if mode & 0o6000 != 0 {
            // mkdirat does not set these two.
            rustix::fs::chmodat(stage, UPPER, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        let root = self.maker.overlay(lowers, Some([upper.as_fd(), work.as_fd()]), attr)?;
        self.rise(root)
    }

    /// Attaches the root to the stage.
    fn rise(&mut self, root: OwnedFd) -> Result<(), Errno> {
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        self.maker.attach(root.as_fd(), stage.as_fd())?;
        self.bases[Base::Root as usize] = Some(root);
        Ok(())
    }

    fn lowers<'a>(
        &'a self,
        sources: &'a [OwnedFd],
        lowers: &'a Lowers,
    ) -> impl Iterator<Item = BorrowedFd<'a>> + Clone {
        let (numbers, image) = match lowers {
            Lowers::Sources(numbers) => (numbers.as_slice(), None),
            Lowers::Image => (&[][..], self.lower.as_ref()),
        };
        stacked(sources, numbers, image)
    }

    /// The root becomes the root of this process and of its mount namespace; nothing of the old one is left in it.
    pub(super) fn enter(&mut self) -> Result<(), Errno> {
        // What is mounted on a root that cannot be replaced would stay mounted, hidden beneath ours, and busy.
        let mut hidden = None;
        if let Some(parent) = &self.parent {
            let old = file::handle(c"/")?;
            let children = mounts::children(old.as_fd()).unwrap_or_default();
            hidden = Some((old, children));
            rustix::process::fchdir(parent)?;
            rustix::process::chroot(c".")?;
        }
        let aside = if self.parent.is_none() && self.maker.api.fds { file::handle(c"/proc").ok() } else { None };
        rustix::process::fchdir(self.base(Base::Root)?)?;
        rustix::process::pivot_root(c".", c".")?;
        // The old root is mounted over the new one now, with the stage on top of it: "." leads to the topmost. Moved elsewhere below
        // the old root, the stage goes with that. To take it off by itself is slow: unmounting waits until all processors know.
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        if aside.is_none_or(|aside| self.maker.attach(stage.as_fd(), aside.as_fd()).is_err()) {
            rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        }
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        if let Some((old, children)) = hidden {
            rustix::process::fchdir(old)?;
            // EINVAL: it is not mounted any more; of several on one directory one comes off at a time.
            let off = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            children.iter().for_each(|name| while rustix::mount::unmount(name, off).is_ok() {});
        }
        rustix::process::chdir(c"/")?;
        let root = file::handle(c"/")?;
        if self.parent.is_none() {
            parent::slip_beneath(&self.maker, root.as_fd(), self.pair.take())?;
        }
        self.forget();
        self.bases[Base::Root as usize] = Some(root);
        Ok(())
    }

    /// Closes all that leads out.
    fn forget(&mut self) {
        let umask = self.umask.take();
        *self = Self::new(self.maker.api);
        if let Some(mask) = umask {
            rustix::process::umask(mask);
        }
    }

    fn base(&self, base: Base) -> Result<BorrowedFd<'_>, Errno> {
        self.bases[base as usize].as_ref().map(AsFd::as_fd).ok_or(Errno::NOENT)
    }
}

/// setns(2) to one's own mount namespace makes its root directory the process's root and current directory. For a caller in a chroot
/// that is another one, and pivoting inside of it would leave the namespace's own root where setns finds it.
pub(super) fn go_to_top_of_mounts() -> Result<(), Errno> {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let by_pidfd =
        own.and_then(|own| rustix::thread::move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::MOUNT));
    match by_pidfd {
        // pidfds came with 5.3, setns of them with 5.8, and sandboxes mask them.
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
            let own = file::open(CWD, c"/proc/self/ns/mnt")?;
            rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))
        }
        other => other,
    }
}

/// What takes only paths is given `/proc/self/fd/N`.
pub(super) fn mount_proc_of_host() -> Result<(), Errno> {
    if rustix::fs::statfs(c"/proc")?.f_type as u32 == k::PROC_SUPER_MAGIC {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None)
}

/// The layers of an overlay.
fn stacked<'a>(
    sources: &'a [OwnedFd],
    numbers: &'a [usize],
    image: Option<&'a OwnedFd>,
) -> impl Iterator<Item = BorrowedFd<'a>> + Clone {
    numbers.iter().map(|number| sources[*number].as_fd()).chain(image.map(AsFd::as_fd))
}

fn make_directory(dir: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))
}

fn reopen(handle: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    file::open(CWD, crate::linux::text::fd_path(handle).as_c_str())
}
