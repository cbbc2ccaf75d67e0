//! Paths inside a root that is not trusted. A string is never resolved by the kernel on its own there: openat2(2) keeps the
//! resolution beneath a directory descriptor, and where it is missing or masked, and where directories are to be made on the
//! way, a walk does the same component by component, with O_NOFOLLOW. Nothing here allocates.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::text::{Path, fd_path};

/// What symbolic links on the way mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Links {
    /// They are followed, as a process would that has the root as its root directory. Links of procfs that lead out of every
    /// path (`/proc/self/fd/N`) are refused with ELOOP.
    Inside,
    /// There may be none: ELOOP.
    Refused,
}

/// What [`make`] shall find, or put, at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Directory,
    /// Anything that is not a directory; a file is made.
    File,
}

/// symlink(7): more than 40 are ELOOP.
const MOST_LINKS: u32 = 40;
/// openat2 answers EAGAIN when a directory on the way was renamed meanwhile; somebody who does nothing else must not hold us up
/// for ever.
const MOST_TRIES: u32 = 1000;

/// Opens `path` below `root`, as a handle only (O_PATH): nothing is read, no device or FIFO is touched. The last component is
/// followed according to `links`, too.
pub(crate) fn open(root: BorrowedFd<'_>, path: &CStr, links: Links) -> Result<OwnedFd, Errno> {
    match openat2(root, path, OFlags::PATH, links) {
        Err(Errno::NOSYS | Errno::PERM) => walk(root, path, links, None),
        other => other,
    }
}

/// Opens a regular file below `root` for reading. EINVAL: it is no regular file (a FIFO would make us wait).
pub(crate) fn open_file(root: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let file = match open_for(root, path, OFlags::RDONLY, Links::Inside) {
        // A socket, or a device that is not there.
        Err(Errno::NXIO | Errno::NODEV) => return Err(Errno::INVAL),
        other => other?,
    };
    let regular = file_type(&rustix::fs::fstat(&file)?) == FileType::RegularFile;
    // Files of the kernel's may act when they are read.
    let table = super::mounts::is_kernel_table(file.as_fd())?;
    if regular && !table { Ok(file) } else { Err(Errno::INVAL) }
}

/// Opens an existing file below `root` for more than a handle: `access` is O_RDONLY or O_WRONLY.
pub(crate) fn open_for(root: BorrowedFd<'_>, path: &CStr, access: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    match openat2(root, path, flags, links) {
        Err(Errno::NOSYS | Errno::PERM) => {
            // What the walk found is opened itself, and not again by its name.
            let handle = walk(root, path, links, None)?;
            rustix::fs::openat(rustix::fs::CWD, fd_path(handle.as_fd()).as_c_str(), flags, Mode::empty())
        }
        other => other,
    }
}

/// Opens `path` below `root` as a handle, and makes what is missing of it: directories (0755), and at the end an empty file
/// (0644) where `kind` says so. EEXIST and ENOTDIR tell that what is there is of the other kind.
pub(crate) fn make(root: BorrowedFd<'_>, path: &CStr, kind: Kind, links: Links) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | if kind == Kind::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
    let mut found = openat2(root, path, flags, links);
    if matches!(found, Err(Errno::NOENT)) {
        found = make_last(root, path, kind, links).ok_or(Errno::NOENT);
    } else if kind == Kind::Directory && found.is_ok() {
        // The kernel has looked at it.
        return found;
    }
    let found = match found {
        Err(Errno::NOENT | Errno::NOSYS | Errno::PERM) => walk(root, path, links, Some(kind))?,
        other => other?,
    };
    let directory = file_type(&rustix::fs::fstat(&found)?) == FileType::Directory;
    match (kind, directory) {
        (Kind::Directory, false) => Err(Errno::NOTDIR),
        (Kind::File, true) => Err(Errno::ISDIR),
        _ => Ok(found),
    }
}

/// The usual case: only the last component is missing. None: it is not so simple, and takes the walk.
fn make_last(root: BorrowedFd<'_>, path: &CStr, kind: Kind, links: Links) -> Option<OwnedFd> {
    let bytes = path.to_bytes();
    let (above, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&b""[..], bytes),
    };
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let opened = if above.is_empty() {
        None
    } else {
        let mut text = Path::new();
        text.push(above).ok()?;
        Some(open(root, text.as_c_str(), links).ok()?)
    };
    let above = opened.as_ref().map_or(root, AsFd::as_fd);
    make_here(above, name, kind).ok()?;
    let made = rustix::fs::openat(above, name, HANDLE, Mode::empty()).ok()?;
    // A link that was there all along, or is by now: the walk knows what to do with it.
    (file_type(&rustix::fs::fstat(&made).ok()?) != FileType::Symlink).then_some(made)
}

/// Makes a directory or an empty file, unless the name is taken.
fn make_here(dir: BorrowedFd<'_>, name: &[u8], kind: Kind) -> Result<(), Errno> {
    let made = match kind {
        Kind::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn openat2(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_MAGICLINKS
        | match links {
            Links::Inside => ResolveFlags::IN_ROOT,
            Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        };
    // The mode is for what is made, and must be nothing otherwise.
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, relative(path), flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < MOST_TRIES => tries += 1,
            other => return other,
        }
    }
}

/// Without the slashes in front: what is below a root is relative to it. The root itself is ".".
fn relative(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().take_while(|byte| **byte == b'/').count();
    match CStr::from_bytes_with_nul(&bytes[start..]) {
        Ok(rest) if !rest.is_empty() => rest,
        _ => c".",
    }
}

/// A walk from the root, one component at a time.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    links: Links,
    /// Where it has come to.
    here: OwnedFd,
    /// The same as a path from the root without any links, for "..".
    real: Path,
    /// What is left to walk; every component is preceded by slashes.
    rest: Path,
    followed: u32,
}

/// What openat2 does, and more: with `make`, what is missing is made.
fn walk(root: BorrowedFd<'_>, path: &CStr, links: Links, make: Option<Kind>) -> Result<OwnedFd, Errno> {
    let here = rustix::fs::openat(root, c".", HANDLE | OFlags::DIRECTORY, Mode::empty())?;
    let mut walk = Walk { root, links, here, real: Path::new(), rest: Path::new(), followed: 0 };
    walk.rest.push(path.to_bytes())?;
    let mut tries = 0;
    loop {
        let rest = walk.rest.as_bytes();
        let start = rest.iter().take_while(|byte| **byte == b'/').count();
        let length = rest[start..].iter().take_while(|byte| **byte != b'/').count();
        let mut name = [0u8; 256];
        name.get_mut(..length)
            .filter(|name| name.len() < 256)
            .ok_or(Errno::NAMETOOLONG)?
            .copy_from_slice(&rest[start..start + length]);
        let mut after = Path::new();
        after.push(&rest[start + length..])?;
        let name = &name[..length];
        match walk.step(name, &mut after, make) {
            Ok(()) => {}
            // Somebody made, or removed, it between our two looks.
            Err(Errno::AGAIN) if tries < MOST_TRIES => {
                tries += 1;
                continue;
            }
            Err(errno) => return Err(errno),
        }
        walk.rest = after;
        if walk.rest.as_bytes().iter().all(|byte| *byte == b'/') {
            return Ok(walk.here);
        }
    }
}

const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Walk<'_> {
    /// Goes to `name`. A link puts its text in front of `after`.
    fn step(&mut self, name: &[u8], after: &mut Path, make: Option<Kind>) -> Result<(), Errno> {
        match name {
            b"" | b"." => return Ok(()),
            b".." if self.links == Links::Refused && self.real.as_bytes().is_empty() => return Err(Errno::XDEV),
            b".." => return self.up(),
            _ => {}
        }
        let last = after.as_bytes().iter().all(|byte| *byte == b'/');
        let found = match (rustix::fs::openat(&self.here, name, HANDLE, Mode::empty()), make) {
            (Err(Errno::NOENT), Some(kind)) => {
                make_here(self.here.as_fd(), name, if last { kind } else { Kind::Directory })?;
                // What was made is looked at like anything else: it may be a link by now.
                return Err(Errno::AGAIN);
            }
            (found, _) => found?,
        };
        match file_type(&rustix::fs::fstat(&found)?) {
            FileType::Symlink => return self.follow(&found, after),
            FileType::Directory => {}
            _ if !last || !after.as_bytes().is_empty() => return Err(Errno::NOTDIR),
            _ => {}
        }
        self.real.push(b"/")?;
        self.real.push(name)?;
        self.here = found;
        Ok(())
    }

    fn follow(&mut self, link: &OwnedFd, after: &mut Path) -> Result<(), Errno> {
        self.followed += 1;
        if self.links == Links::Refused || self.followed > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 4096];
        let (text, _) = rustix::fs::readlinkat_raw(link, c"", &mut buffer)?;
        let text: &[u8] = text;
        // procfs has links that are none: their text is no path, or one of another root (proc_pid_fd(5)). Its honest ones
        // (self, mounts, net) are relative.
        let honest = text.first().is_some_and(u8::is_ascii_alphanumeric) && !text.contains(&b':');
        if !honest && rustix::fs::fstatfs(link)?.f_type as u64 == rustix::fs::PROC_SUPER_MAGIC as u64 {
            return Err(Errno::LOOP);
        }
        let mut rest = Path::new();
        rest.push(text)?;
        rest.push(after.as_bytes())?;
        if text.first() == Some(&b'/') {
            self.real.truncate(0);
            self.here = rustix::fs::openat(self.root, c".", HANDLE | OFlags::DIRECTORY, Mode::empty())?;
        }
        *after = rest;
        Ok(())
    }

    /// "..", by walking the link-free path to here anew without its last component: asking the kernel for ".." would lead out of
    /// the root if the directory was moved meanwhile. At the root it stays there.
    fn up(&mut self) -> Result<(), Errno> {
        let end = self.real.as_bytes().iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        self.real.truncate(end);
        let mut here = rustix::fs::openat(self.root, c".", HANDLE | OFlags::DIRECTORY, Mode::empty())?;
        for name in self.real.as_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            here = rustix::fs::openat(&here, name, HANDLE | OFlags::DIRECTORY, Mode::empty())?;
        }
        self.here = here;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
