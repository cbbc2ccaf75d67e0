//! A tree, read one entry after the other.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{End, Sink, goes_along};
use crate::error::{Error, Result};
use crate::image::{Entry, EntryKind as Kind, shown};
use crate::linux::path::file_type;
use crate::linux::text::fd_path;
use crate::linux::userns::Maps;
use crate::linux::{file, mounts};

/// Each level is a descriptor.
const MOST_LEVELS: usize = 256;
/// The most that the kernel has of the names of one file's extended attributes, and of one of them (xattr(7)).
const XATTR: usize = 64 << 10;
/// What is taken of one file: what an extended header of an archive may hold has room for that, too.
const MOST_XATTRS: usize = 512 << 10;

/// A directory, what is left to do in it, and how long its name is, from the top.
struct Level {
    dir: OwnedFd,
    names: Vec<CString>,
    length: usize,
}

struct Walk<'a> {
    sink: &'a mut dyn Sink,
    /// The name of the entry.
    name: Vec<u8>,
    levels: Vec<Level>,
    /// What has several names, by its number: the first that it was put under.
    linked: BTreeMap<(u64, u64), Vec<u8>>,
    /// Names of extended attributes, and one of them.
    buffer: Vec<u8>,
    /// The files are in a container with ids of its own.
    ids: Option<&'a Maps>,
}

/// Puts all of it, and calls the topmost `top`. Says what it leaves out. `ids` are those of the container that it is in.
pub(crate) fn walk(source: &End, top: &[u8], ids: Option<&Maps>, sink: &mut dyn Sink) -> Result<()> {
    let (name, levels, linked) = (top.to_vec(), Vec::new(), BTreeMap::new());
    let mut walk = Walk { sink, name, levels, linked, buffer: vec![0; 2 * XATTR], ids };
    walk.visit(source.parent.as_fd(), &source.name)?;
    while let Some(level) = walk.levels.last_mut() {
        walk.name.truncate(level.length);
        let Some(name) = level.names.pop() else {
            walk.levels.pop();
            continue;
        };
        let dir = rustix::io::fcntl_dupfd_cloexec(&level.dir, 3).map_err(|errno| walk_failed(&walk.name, errno))?;
        if !walk.name.is_empty() {
            walk.name.push(b'/');
        }
        walk.name.extend_from_slice(name.to_bytes());
        walk.visit(dir.as_fd(), &name)?;
    }
    Ok(())
}

fn walk_failed(name: &[u8], errno: Errno) -> Error {
    Error::os(format_args!("read {}", shown(name)), errno)
}

impl Walk<'_> {
    fn visit(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        match self.entry(parent, name) {
            // Somebody was faster.
            Err(error) if error.errno == Some(Errno::NOENT) && !self.levels.is_empty() => {
                self.skip("it was removed meanwhile");
                Ok(())
            }
            other => other,
        }
    }

    fn skip(&self, why: &str) {
        eprintln!("nsctl: warning: {} is left out: {why}", shown(&self.name));
    }

    /// What is looked at is what is read: from here on there is no name.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let failed = |errno| walk_failed(&self.name, errno);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = if name.is_empty() { c"." } else { name };
        let handle = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed)?;
        let stat = rustix::fs::fstat(&handle).map_err(failed)?;
        let kind = match file_type(&stat) {
            FileType::Directory => return self.directory(handle, &stat),
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => {
                self.skip("it is a socket");
                return Ok(());
            }
        };
        if !matches!(kind, Kind::File | Kind::Symlink) && !self.sink.takes_nodes() {
            self.skip("it is a device or a FIFO (root copies those with -a)");
            return Ok(());
        }
        let mut entry = described(&self.name, kind, &stat, self.ids);
        if stat.st_nlink > 1 {
            let number = (stat.st_dev as u64, stat.st_ino as u64);
            if let Some(first) = self.linked.get(&number) {
                (entry.kind, entry.link, entry.size) = (Kind::HardLink, first.clone(), 0);
                return self.sink.put(&entry, &mut std::io::empty());
            }
            self.linked.insert(number, self.name.clone());
        }
        match kind {
            Kind::File => return self.file(handle, entry),
            Kind::Symlink => {
                entry.link = rustix::fs::readlinkat(&handle, c"", Vec::new()).map_err(failed)?.into_bytes();
            }
            _ => {}
        }
        self.sink.put(&entry, &mut std::io::empty())
    }

    fn directory(&mut self, handle: OwnedFd, stat: &Stat) -> Result<()> {
        let failed = |errno| walk_failed(&self.name, errno);
        if self.levels.len() == MOST_LEVELS {
            return Err(Error::new(format_args!(
                "read {}: more than 256 directories in each other",
                shown(&self.name)
            )));
        }
        if self.sink.is_top(stat) {
            self.skip("it is what all is copied to");
            return Ok(());
        }
        let dir = file::open_dir(&handle, c".").map_err(failed)?;
        let mut names = Vec::new();
        // What the kernel has there is no copy of anybody's files.
        if !mounts::is_kernel_table(dir.as_fd()).map_err(failed)? {
            for entry in Dir::read_from(&dir).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    names.push(entry.file_name().to_owned());
                }
            }
        } else if self.levels.is_empty() {
            return Err(Error::new(format_args!("{} is the kernel's and not copied", shown(&self.name)))
                .hint("nsctl exec CONTAINER cat reads single files"));
        }
        // The last is taken first.
        names.sort_by(|one, other| other.cmp(one));
        let mut entry = described(&self.name, Kind::Directory, stat, self.ids);
        self.xattrs(dir.as_fd(), &mut entry);
        self.sink.put(&entry, &mut std::io::empty())?;
        self.levels.push(Level { dir, names, length: self.name.len() });
        Ok(())
    }

    fn file(&mut self, handle: OwnedFd, mut entry: Entry) -> Result<()> {
        let failed = |errno| walk_failed(&entry.name, errno);
        if mounts::is_kernel_table(handle.as_fd()).map_err(failed)? {
            return Err(Error::new(format_args!("{} is the kernel's and not copied", shown(&self.name)))
                .hint("nsctl exec CONTAINER cat reads it"));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let path = fd_path(handle.as_fd());
        let file = rustix::fs::openat(CWD, path.as_c_str(), flags, Mode::empty()).map_err(failed)?;
        self.xattrs(file.as_fd(), &mut entry);
        // One that grows meanwhile would have no end.
        self.sink.put(&entry, &mut std::fs::File::from(file).take(entry.size))
    }

    /// Without those that cannot be read, or that have gone meanwhile.
    fn xattrs(&mut self, file: BorrowedFd<'_>, entry: &mut Entry) {
        let (names, value) = self.buffer.split_at_mut(XATTR);
        let length = rustix::fs::flistxattr(file, &mut *names).unwrap_or(0);
        let mut total = 0;
        for name in names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(c_name) = CStr::from_bytes_with_nul(name) else { continue };
            if !goes_along(c_name.to_bytes()) {
                continue;
            }
            let Ok(length) = rustix::fs::fgetxattr(file, c_name, &mut *value) else { continue };
            total += name.len() + length;
            if total > MOST_XATTRS {
                eprintln!("nsctl: warning: {} has more extended attributes than are copied", shown(&entry.name));
                return;
            }
            entry.xattrs.push((c_name.to_bytes().to_vec(), value[..length].to_vec()));
        }
    }
}

fn described(name: &[u8], kind: Kind, stat: &Stat, ids: Option<&Maps>) -> Entry {
    let owner = [stat.st_uid, stat.st_gid];
    let [uid, gid] = ids.map_or(owner, |ids| ids.inside(owner));
    // Nobody is not who has no number inside, and gets no set-id bits of it.
    let known = ids.is_none_or(|ids| ids.outside([uid, gid]) == Some(owner));
    Entry {
        name: name.to_vec(),
        link: Vec::new(),
        kind,
        mode: stat.st_mode & if known { 0o7777 } else { 0o1777 },
        uid,
        gid,
        size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
        mtime: (stat.st_mtime as _, stat.st_mtime_nsec as _),
        device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        xattrs: Vec::new(),
    }
}
