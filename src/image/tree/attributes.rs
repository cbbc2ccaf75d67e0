//! Owners, modes, times and extended attributes, in the order in which the kernel does not undo them: chown clears set-id bits
//! and capabilities, an inherited ACL changes modes, new contents change a directory's time.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::image::entries::{Entry, Kind};
use crate::image::fault::{Checked, Fault, kernel, shown};
use crate::linux::file;

/// Whose files the unpacked ones are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Ids {
    /// As the layer says.
    Kept,
    /// The user's who unpacks, who can give files to nobody else.
    Own,
}

/// What a file or directory gets besides its contents.
pub(in crate::image) struct Attributes {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    /// A directory's default ACL, which would be inherited by what is still to come.
    acl: Option<Vec<u8>>,
    /// No entry describes it.
    implied: bool,
}

const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

impl Attributes {
    pub(in crate::image) fn of(entry: &Entry) -> Self {
        let acl = entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL).map(|(_, value)| value.clone());
        Self { mode: entry.mode & 0o7777, owner: (entry.uid, entry.gid), mtime: entry.mtime, acl, implied: false }
    }

    /// Of a directory that no entry describes, but that has to be there for one.
    pub(super) fn of_parent() -> Self {
        Self { mode: 0o755, owner: (0, 0), mtime: (0, 0), acl: None, implied: true }
    }

    /// The same, where nothing of the lower layers is to be seen in its place.
    pub(super) fn of_new_parent() -> Self {
        Self { implied: false, ..Self::of_parent() }
    }

    /// As a directory of another layer has them.
    pub(in crate::image) fn of_stat(stat: &rustix::fs::Stat) -> Self {
        let mtime = (stat.st_mtime as _, stat.st_mtime_nsec as _);
        Self { mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid), mtime, acl: None, implied: false }
    }

    pub(super) fn is_implied(&self) -> bool {
        self.implied
    }

    pub(super) fn kept(&self) -> usize {
        self.acl.as_ref().map_or(0, Vec::len)
    }

    /// Of an open regular file.
    pub(in crate::image) fn set_file(&self, fd: impl AsFd, entry: &Entry, ids: Ids) -> Checked<()> {
        let fd = fd.as_fd();
        self.set_owner(fd, c"", AtFlags::EMPTY_PATH, ids)?;
        set_xattrs(fd, entry, ids)?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode)).map_err(kernel("set the mode"))?;
        rustix::fs::futimens(fd, &times(self.mtime)).map_err(kernel("set the time"))
    }

    /// Of what is no file and no directory: it cannot be opened without side effects.
    pub(in crate::image) fn set_other(
        &self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        entry: &Entry,
        ids: Ids,
    ) -> Checked<()> {
        self.set_owner(parent, name, AtFlags::SYMLINK_NOFOLLOW, ids)?;
        set_xattrs_at(parent, name, entry, ids)?;
        if entry.kind != Kind::Symlink {
            // Made just now, by us, in a directory of ours: it is no symbolic link that chmod could follow.
            let mode = Mode::from_raw_mode(self.mode);
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(kernel("set the mode"))?;
        }
        rustix::fs::utimensat(parent, name, &times(self.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(kernel("set the time"))
    }

    /// Of a directory, once it has its contents. `dir` is a descriptor to work in (O_PATH), which fchmod does not take.
    pub(in crate::image) fn settle(&self, dir: BorrowedFd<'_>, ids: Ids) -> Checked<()> {
        let dir = file::open_dir(dir, c".").map_err(kernel("open a directory"))?;
        self.set_owner(dir.as_fd(), c"", AtFlags::EMPTY_PATH, ids)?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(self.mode)).map_err(kernel("set the mode"))?;
        if let Some(acl) = &self.acl {
            let name = CString::new(DEFAULT_ACL).unwrap_or_default();
            rustix::fs::fsetxattr(&dir, &name, acl, XattrFlags::empty()).map_err(kernel("set the default ACL"))?;
        }
        rustix::fs::futimens(&dir, &times(self.mtime)).map_err(kernel("set the time"))
    }

    fn set_owner(&self, fd: BorrowedFd<'_>, name: &CStr, flags: AtFlags, ids: Ids) -> Checked<()> {
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        match ids {
            Ids::Own => Ok(()),
            Ids::Kept => rustix::fs::chownat(fd, name, Some(uid), Some(gid), flags).map_err(kernel("set the owner")),
        }
    }
}

fn times((tv_sec, tv_nsec): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: tv_nsec.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// The attributes of an entry that are set at once. overlayfs's own are refused, since they would change what the lower layers
/// show. Left out are SELinux's labels, which are those of the machine that made the image, and for a user whatever only root
/// may set.
fn wanted(entry: &Entry, ids: Ids) -> Checked<Vec<(CString, &[u8])>> {
    let mut found = Vec::new();
    for (name, value) in &entry.xattrs {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            return Err(Fault::image(format!("it has overlayfs's own attribute {}", shown(name))));
        }
        let roots = name.starts_with(b"security.") || name.starts_with(b"trusted.");
        if name == b"security.selinux" || name == DEFAULT_ACL || (roots && ids == Ids::Own) {
            continue;
        }
        if name.len() > 255 || value.len() > 65536 {
            return Err(Fault::image(format!("its extended attribute {} is too long", shown(name))));
        }
        match CString::new(name.as_slice()) {
            Ok(name) if !name.is_empty() => found.push((name, value.as_slice())),
            _ => return Err(Fault::image("the name of an extended attribute is empty or has a NUL".into())),
        }
    }
    Ok(found)
}

/// Extended attributes of an open file or directory.
pub(in crate::image) fn set_xattrs(fd: BorrowedFd<'_>, entry: &Entry, ids: Ids) -> Checked<()> {
    for (name, value) in wanted(entry, ids)? {
        let set = rustix::fs::fsetxattr(fd, &name, value, XattrFlags::empty());
        set.map_err(kernel("set an extended attribute"))?;
    }
    Ok(())
}

/// Extended attributes of what cannot be opened. There is no call that takes a descriptor and a name; the path leads through our
/// own descriptor, and `name` is one component, which is not followed.
fn set_xattrs_at(parent: BorrowedFd<'_>, name: &CStr, entry: &Entry, ids: Ids) -> Checked<()> {
    for (attribute, value) in wanted(entry, ids)? {
        let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
        let set = rustix::fs::lsetxattr(path.as_slice(), &attribute, value, XattrFlags::empty());
        set.map_err(kernel("set an extended attribute (through /proc)"))?;
    }
    Ok(())
}

/// Marks a directory as one that shows nothing of the lower layers. A user namespace may set only user.overlay.*, which
/// overlayfs reads when it is mounted with `userxattr`.
pub(super) fn set_opaque(dir: impl AsFd) -> Checked<()> {
    let dir = file::open_dir(dir, c".").map_err(kernel("open a directory"))?;
    let set = |name: &CStr| rustix::fs::fsetxattr(&dir, name, b"y", XattrFlags::empty());
    match set(c"trusted.overlay.opaque") {
        Err(Errno::PERM) => set(c"user.overlay.opaque"),
        other => other,
    }
    .map_err(kernel("mark a directory as opaque"))
}

pub(in crate::image) fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let Ok(dir) = file::open_dir(dir, c".") else { return false };
    let has = |name: &CStr| rustix::fs::fgetxattr(&dir, name, &mut [0u8; 1][..]) == Ok(1);
    has(c"trusted.overlay.opaque") || has(c"user.overlay.opaque")
}

/// A character device 0:0; every user may make it since Linux 5.8.
pub(super) fn make_whiteout(parent: BorrowedFd<'_>, name: &CStr) -> Checked<()> {
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0).map_err(kernel("make a whiteout"))
}
