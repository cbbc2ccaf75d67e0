//! Trees that somebody else filled: everything goes through directory descriptors, one component at a time, and no symbolic
//! link is ever followed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{file, userns};

/// A directory as a place to work in; needs no permission to read it.
pub(crate) fn enter(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What is there, itself: the type and, of a device, its number.
pub(crate) fn look(parent: impl AsFd, name: &CStr) -> Result<(FileType, u64), Errno> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((FileType::from_raw_mode(stat.st_mode), stat.st_rdev as u64))
}

/// Removes the directory and all beneath it.
pub(crate) fn remove(parent: impl AsFd, name: &CStr) -> Result<(), Errno> {
    let parent = parent.as_fd();
    let dir = open_anyhow(parent, name)?;
    clear(dir.as_fd())?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes everything beneath the directory. Its grandchildren that are directories are first moved up to be its children, so
/// that a tree of any depth needs no recursion and two descriptors.
pub(crate) fn clear(top: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut moved = 0u64;
    loop {
        let children = directories(top)?;
        if children.is_empty() {
            return Ok(());
        }
        for child in children {
            let dir = open_anyhow(top, &child)?;
            for grandchild in directories(dir.as_fd())? {
                // To be moved, a directory must be writable: its ".." changes.
                let _ = rustix::fs::chmodat(&dir, &grandchild, Mode::RWXU, AtFlags::empty());
                move_up(dir.as_fd(), &grandchild, top, &mut moved)?;
            }
            rustix::fs::unlinkat(top, &child, AtFlags::REMOVEDIR)?;
        }
    }
}

/// Moves a directory to a free name in `top`.
fn move_up(from: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        let free = CString::new(format!("{moved}")).map_err(|_| Errno::INVAL)?;
        match rustix::fs::renameat(from, name, top, &free) {
            // A child of that name, with contents or no directory: the next number is as good.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

/// The directories in a directory; everything else in it is removed.
fn directories(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut found = Vec::new();
    // Entries must not be removed while they are read: some file systems then skip others.
    let mut others = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => look(dir, name)?.0,
            known => known,
        };
        if kind == FileType::Directory { &mut found } else { &mut others }.push(name.to_owned());
    }
    for name in others {
        rustix::fs::unlinkat(dir, &name, AtFlags::empty())?;
    }
    Ok(found)
}

/// Opens a directory of ours whatever its mode is. It is known to be no symbolic link, which chmod would follow.
fn open_anyhow(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    if !userns::is_root() && look(parent, name)?.0 == FileType::Directory {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    }
    file::open_dir(parent, name)
}
