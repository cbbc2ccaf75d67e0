//! Mounts by file descriptor. A file system or a clone of a mount is first made where nobody sees it, as a descriptor, and then
//! attached to a directory or file that is a descriptor as well: no path of the tree under construction is ever resolved.
//!
//! Two interfaces of the kernel can do this: the new mount calls (fsopen, fsmount, open_tree, move_mount: Linux 5.2; and
//! mount_setattr: 5.12), and mount(2) on `/proc/self/fd/N`. Which one is decided once, by [`probe`]; both make the same mounts.
//! mount(2) cannot make a mount without a place, so that it needs a stage of our own to make it on.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use super::text::fd_path;
use super::{mounts, path, sys, userns};

mod overlay;
pub(crate) use overlay::has_overlay;

/// What this kernel offers to us.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Api {
    /// fsopen, fsconfig, fsmount, open_tree and move_mount, all of them.
    pub(crate) fds: bool,
    /// mount_setattr.
    pub(crate) setattr: bool,
    /// overlayfs keeps its marks in user.*, since trusted.* is for the host's root (Linux 5.11).
    pub(crate) userxattr: bool,
}

/// Asks each call for something that makes no sense: one that is there says so (EINVAL, EFAULT, EBADF); ENOSYS and EPERM are both
/// in use for one that is not (old kernels; sandboxes, also for somebody who may not mount at all).
pub(crate) fn probe() -> Api {
    let there = |answer: Result<(), Errno>| !matches!(answer, Err(Errno::NOSYS | Errno::PERM));
    let nothing = OpenTreeFlags::from_bits_retain(!0);
    let fds = there(sys::fsopen_nothing())
        && there(rustix::mount::open_tree(CWD, c"", nothing).map(drop))
        && there(rustix::mount::move_mount(CWD, c"", CWD, c"", MoveMountFlags::from_bits_retain(!0)));
    let setattr = there(sys::mount_setattr(CWD, !0, &Change::default().to_attr(None)));
    Api { fds, setattr, userxattr: userns::own().is_some() }
}

/// Attributes of one mount (not of its file system): MOUNT_ATTR_* bits, and how it takes part in mount events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Change {
    pub(crate) set: u32,
    pub(crate) clear: u32,
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 for as it is.
    pub(crate) propagation: u32,
    /// With every mount below it.
    pub(crate) recursive: bool,
}

impl Change {
    pub(crate) fn is_nothing(self) -> bool {
        self.set == 0 && self.clear == 0 && self.propagation == 0
    }

    fn to_attr(self, userns: Option<BorrowedFd<'_>>) -> sys::MountAttr<'_> {
        // The access time is one field of several bits: all of it is cleared for a new value to be set.
        let atime = if (self.set | self.clear) & k::MOUNT_ATTR__ATIME != 0 { k::MOUNT_ATTR__ATIME } else { 0 };
        sys::MountAttr::new(self.set, (self.clear & !self.set) | atime, self.propagation, userns)
    }
}

/// A file system to be mounted, in the words of both interfaces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FileSystem {
    pub(crate) name: CString,
    /// What mountinfo shows as the source.
    pub(crate) source: CString,
    /// Options of the file system itself: key, and value where it has one.
    pub(crate) options: Vec<(CString, Option<CString>)>,
    /// The same as mount(2) wants them.
    data: CString,
    /// MOUNT_ATTR_* of the mount.
    pub(crate) attr: u32,
}

impl FileSystem {
    /// `options` as mount(8) writes them: `mode=755,size=64k`; no value has a comma.
    pub(crate) fn new(name: &CStr, options: &str, attr: u32) -> Self {
        let c_string = |text: &str| CString::new(text).unwrap_or_default();
        let pair = |option: &str| match option.split_once('=') {
            Some((key, value)) => (c_string(key), Some(c_string(value))),
            None => (c_string(option), None),
        };
        Self {
            name: name.into(),
            source: name.into(),
            options: options.split(',').filter(|option| !option.is_empty()).map(pair).collect(),
            data: c_string(options),
            attr,
        }
    }

    /// The options as mount(8) writes them.
    pub(crate) fn options_text(&self) -> &CStr {
        &self.data
    }
}

/// Makes mounts. Does not allocate, but for [`Maker::set`] where mount_setattr is missing.
pub(crate) struct Maker {
    pub(crate) api: Api,
    /// A directory of our own; mount(2) needs a directory and a file in it, also for an overlay of many layers.
    pub(crate) stage: Option<OwnedFd>,
}

/// Where mount(2) makes what is then moved to its place.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    Directory,
    File,
}

const EMPTY_PATHS: MoveMountFlags =
    MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);

impl Maker {
    /// Puts a file system over "/", where it hides nothing from paths that begin at the root, and needs no directory of its own.
    pub(crate) fn over_slash(&self, fs: &FileSystem) -> Result<OwnedFd, Errno> {
        mount2(fs, c"/", fs.data.as_c_str())?;
        // Of the root, ".." is the root, but with what is mounted on it.
        rustix::fs::openat(CWD, c"/..", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Makes a file system and hands back its root directory, attached nowhere yet.
    fn create(&self, fs: &FileSystem) -> Result<OwnedFd, Errno> {
        if self.api.fds {
            return fsmount(&configured(fs)?, fs.attr);
        }
        let slot = self.slot(Slot::Directory)?;
        mount2(fs, fd_path(slot.as_fd()).as_c_str(), fs.data.as_c_str())?;
        let made = self.slot(Slot::Directory)?;
        self.finish(made.as_fd(), fs.attr)?;
        Ok(made)
    }

    /// Makes a file system out of a block device or a file.
    pub(crate) fn create_from(
        &self,
        name: &CStr,
        source: BorrowedFd<'_>,
        options: &CStr,
        attr: u32,
    ) -> Result<OwnedFd, Errno> {
        let source = fd_path(source);
        if self.api.fds {
            let context = rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
            rustix::mount::fsconfig_set_string(&context, c"source", source.as_c_str())?;
            for option in options.to_bytes().split(|byte| *byte == b',') {
                rustix::mount::fsconfig_set_flag(&context, option)?;
            }
            rustix::mount::fsconfig_create(&context)?;
            return fsmount(&context, attr);
        }
        let slot = self.slot(Slot::Directory)?;
        let (target, flags) = (fd_path(slot.as_fd()), flags_of(attr));
        // "ro" is a flag of mount(2), not an option.
        let options = if options == c"ro,noload" { c"noload" } else { c"" };
        rustix::mount::mount(source.as_c_str(), target.as_c_str(), name, flags, options)?;
        self.slot(Slot::Directory)
    }

    /// Makes a file system on `target` and hands back its root directory. `again` opens the same place once more: what is mounted
    /// there by then.
    pub(crate) fn mount(
        &self,
        fs: &FileSystem,
        target: BorrowedFd<'_>,
        again: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<OwnedFd, Errno> {
        if self.api.fds || self.stage.is_some() {
            let made = self.create(fs)?;
            self.attach(made.as_fd(), target)?;
            return Ok(made);
        }
        mount2(fs, fd_path(target).as_c_str(), fs.data.as_c_str())?;
        let made = again()?;
        self.finish(made.as_fd(), fs.attr)?;
        Ok(made)
    }

    /// A second mount of what `source` is, a directory or a file, attached nowhere yet; with the mounts below it, if wanted.
    pub(crate) fn clone(&self, source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
        if self.api.fds {
            let mut flags =
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
            flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
            return rustix::mount::open_tree(source, c"", flags);
        }
        let directory = path::file_type(&rustix::fs::fstat(source)?) == FileType::Directory;
        let which = if directory { Slot::Directory } else { Slot::File };
        let slot = self.slot(which)?;
        let (from, to) = (fd_path(source), fd_path(slot.as_fd()));
        if recursive {
            // The stage and what stands on it would be among the mounts below "/": nobody binds what is unbindable.
            let stage = fd_path(self.stage.as_ref().ok_or(Errno::NOSYS)?.as_fd());
            let turn = |kind| rustix::mount::mount_change(stage.as_c_str(), kind);
            turn(MountPropagationFlags::UNBINDABLE)?;
            let bound = rustix::mount::mount_bind_recursive(from.as_c_str(), to.as_c_str());
            turn(MountPropagationFlags::PRIVATE)?;
            bound?;
        } else {
            rustix::mount::mount_bind(from.as_c_str(), to.as_c_str())?;
        }
        self.slot(which)
    }

    /// Attaches what was made by this maker to a directory or file, whatever its name is by now.
    pub(crate) fn attach(&self, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.api.fds {
            return rustix::mount::move_mount(mount, c"", target, c"", EMPTY_PATHS);
        }
        rustix::mount::mount_move(fd_path(mount).as_c_str(), fd_path(target).as_c_str())
    }

    /// Changes an attached mount.
    pub(crate) fn set(&self, mount: BorrowedFd<'_>, change: Change) -> Result<(), Errno> {
        if change.is_nothing() {
            return Ok(());
        }
        if self.api.setattr {
            let flags = if change.recursive { k::AT_EMPTY_PATH | k::AT_RECURSIVE } else { k::AT_EMPTY_PATH };
            return sys::mount_setattr(mount, flags, &change.to_attr(None));
        }
        if change.propagation != 0 {
            let mut flags = MountPropagationFlags::from_bits_retain(change.propagation);
            flags.set(MountPropagationFlags::REC, change.recursive);
            rustix::mount::mount_change(fd_path(mount).as_c_str(), flags)?;
        }
        if change.set == 0 && change.clear == 0 {
            return Ok(());
        }
        remount(mount, change)?;
        if change.recursive { below(mount, |fd| remount(fd, change)) } else { Ok(()) }
    }

    fn finish(&self, made: BorrowedFd<'_>, attr: u32) -> Result<(), Errno> {
        // mount(2) would set it for the file system, and so for its every other mount.
        let change = Change { set: attr & k::MOUNT_ATTR_RDONLY, ..Change::default() };
        if change.set == 0 { Ok(()) } else { remount(made, change) }
    }

    /// The slot, made when it is first needed, or what is mounted on it.
    pub(crate) fn slot(&self, which: Slot) -> Result<OwnedFd, Errno> {
        let stage = self.stage.as_ref().ok_or(Errno::NOSYS)?;
        let (name, kind) = match which {
            Slot::Directory => (c"slot", FileType::Directory),
            Slot::File => (c"file-slot", FileType::RegularFile),
        };
        let open = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(stage, name, flags, Mode::empty())
        };
        match (open(), kind) {
            (Err(Errno::NOENT), FileType::Directory) => rustix::fs::mkdirat(stage, name, Mode::RWXU)?,
            (Err(Errno::NOENT), _) => rustix::fs::mknodat(stage, name, kind, Mode::RUSR, 0)?,
            (found, _) => return found,
        }
        open()
    }
}

/// A file system that is attached nowhere, for a look into it.
pub(crate) fn detached(fs: &FileSystem) -> Result<OwnedFd, Errno> {
    fsmount(&configured(fs)?, fs.attr)
}

/// Maps the owners of files as the user namespace does (mount_setattr(2), "ID-mapped mounts", Linux 5.12). Only for a mount that
/// is attached nowhere yet.
pub(crate) fn map_ids(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let change = Change { set: k::MOUNT_ATTR_IDMAP, ..Change::default() };
    let flags = if recursive { k::AT_EMPTY_PATH | k::AT_RECURSIVE } else { k::AT_EMPTY_PATH };
    sys::mount_setattr(mount, flags, &change.to_attr(Some(userns)))
}

fn configured(fs: &FileSystem) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(&fs.name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", &fs.source)?;
    for (key, value) in &fs.options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, key)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(context)
}

fn fsmount(context: &OwnedFd, attr: u32) -> Result<OwnedFd, Errno> {
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attr))
}

fn mount2(fs: &FileSystem, target: &CStr, data: &CStr) -> Result<(), Errno> {
    let flags = flags_of(fs.attr & !k::MOUNT_ATTR_RDONLY);
    rustix::mount::mount(&fs.source, target, &fs.name, flags, data)
}

/// MOUNT_ATTR_* → MS_*, as mount(2) spells them.
fn flags_of(attr: u32) -> MountFlags {
    let pairs = [
        (k::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (k::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (k::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (k::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (k::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (k::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
        (k::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
    ];
    pairs.iter().filter(|(bit, _)| attr & bit != 0).fold(MountFlags::empty(), |flags, (_, flag)| flags | *flag)
}

/// The remount of mount(2) replaces all flags, so those that are there are given again.
fn remount(mount: BorrowedFd<'_>, change: Change) -> Result<(), Errno> {
    let have = mounts::attributes(mount)?;
    let atime = if change.set & k::MOUNT_ATTR__ATIME != 0 { k::MOUNT_ATTR__ATIME } else { 0 };
    let flags = flags_of((have & !(change.clear | atime)) | change.set) | MountFlags::BIND;
    rustix::mount::mount_remount(fd_path(mount).as_c_str(), flags, c"")
}

/// Does something with every mount below this one.
fn below(mount: BorrowedFd<'_>, act: impl Fn(BorrowedFd<'_>) -> Result<(), Errno>) -> Result<(), Errno> {
    for inner in mounts::below(mount)? {
        match path::open(mount, &inner, path::Links::Refused) {
            Ok(fd) => act(fd.as_fd())?,
            // Hidden by a mount over a directory above it: nobody inside reaches it either.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
