//! Whether a directory can be the upper one of an overlay (Documentation/filesystems/overlayfs.rst: "The upper filesystem will
//! normally be writable and if it is it must support the creation of trusted.* and/or user.* extended attributes, and must provide
//! valid d_type in readdir responses"). The kernel says no more than EINVAL, or mounts it and fails later.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, XattrFlags};
use rustix::io::Errno;

use super::{file, userns};

#[derive(Debug, PartialEq)]
pub(crate) enum Trouble {
    /// The name of its file system, and what that lacks.
    Unfit(String, &'static str),
    /// Another container has it.
    InUse,
}

const PROBE: &CStr = c".nsctl-probe";

/// Makes the directory if it is not there, and opens it; not through a symbolic link. EPERM: it is
/// somebody else's, or all may write there.
pub(crate) fn make(path: &CStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(rustix::fs::CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let dir = file::open_dir(rustix::fs::CWD, path)?;
    let stat = rustix::fs::fstat(&dir)?;
    // What is in an upper directory is the container's root.
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o002 == 0;
    if ours { Ok(dir) } else { Err(Errno::PERM) }
}

/// Locks the upper directory, so that no two overlays change it at once. EBUSY: somebody has.
pub(crate) fn lock(upper: BorrowedFd<'_>) -> Result<(), Errno> {
    match rustix::fs::flock(upper, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Errno::BUSY),
        other => other,
    }
}

/// EOPNOTSUPP: its file system cannot do it; [`trouble`] says why.
#[inline(never)]
pub(crate) fn check(work: BorrowedFd<'_>) -> Result<(), Errno> {
    match unfit(work)? {
        Some(_) => Err(Errno::OPNOTSUPP),
        None => Ok(()),
    }
}

/// For the sentence after a failed [`lock`] or [`check`].
pub(crate) fn trouble(path: &CStr, errno: Errno) -> Option<Trouble> {
    match errno {
        Errno::BUSY => Some(Trouble::InUse),
        Errno::OPNOTSUPP => {
            let dir = file::open_dir(rustix::fs::CWD, path).ok()?;
            let lacks = unfit(dir.as_fd()).ok()??;
            Some(Trouble::Unfit(name(dir.as_fd()), lacks))
        }
        _ => None,
    }
}

fn unfit(dir: BorrowedFd<'_>) -> Result<Option<&'static str>, Errno> {
    match magic(dir)? {
        k::OVERLAYFS_SUPER_MAGIC => return Ok(Some("an overlay cannot stand on another one's changes")),
        k::RAMFS_MAGIC => return Ok(Some("it has no extended attributes")),
        k::NFS_SUPER_MAGIC => return Ok(Some("it does not rename as an overlay needs it")),
        _ => {}
    }
    // One may be left of a run that was killed, or be something else that would hold us up.
    let _ = rustix::fs::unlinkat(dir, PROBE, AtFlags::empty());
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let probe = rustix::fs::openat(dir, PROBE, flags, Mode::RUSR | Mode::WUSR)?;
    let name = if userns::own().is_some() { c"user.overlay.nsctl" } else { c"trusted.overlay.nsctl" };
    let attribute = rustix::fs::fsetxattr(&probe, name, b"y", XattrFlags::empty());
    let typed = has_types(dir);
    rustix::fs::unlinkat(dir, PROBE, AtFlags::empty())?;
    match attribute {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP) => return Ok(Some("it has no extended attributes")),
        Err(errno) => return Err(errno),
    }
    Ok(if typed? { None } else { Some("its directories do not say what type a file is of (d_type)") })
}

fn has_types(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let again = file::open_dir(dir, c".")?;
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&again, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.file_name() == PROBE {
            return Ok(entry.file_type() != FileType::Unknown);
        }
    }
    Ok(true)
}

fn magic(dir: BorrowedFd<'_>) -> Result<u32, Errno> {
    Ok(rustix::fs::fstatfs(dir)?.f_type as u32)
}

fn name(dir: BorrowedFd<'_>) -> String {
    let magic = magic(dir).unwrap_or(0);
    let known = [
        (k::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (k::RAMFS_MAGIC, "ramfs"),
        (k::TMPFS_MAGIC, "tmpfs"),
        (k::NFS_SUPER_MAGIC, "nfs"),
        (k::MSDOS_SUPER_MAGIC, "vfat"),
        (k::EXFAT_SUPER_MAGIC, "exfat"),
    ];
    let name = known.iter().find(|(number, _)| *number == magic).map(|(_, name)| (*name).to_string());
    name.unwrap_or_else(|| format!("file system {magic:#x}"))
}
