//! A tree, read one entry after the other.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{End, Sink};
use crate::error::{Error, Result};
use crate::image::{Entry, EntryKind as Kind, shown};
use crate::linux::path::file_type;
use crate::linux::text::fd_path;
use crate::linux::{file, mounts};

/// Each level is a descriptor.
const MOST_LEVELS: usize = 256;
const CAPABILITY: &CStr = c"security.capability";

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
}

/// Puts all of it, and calls the topmost `top`. Says what it leaves out.
pub(crate) fn walk(source: &End, top: &[u8], sink: &mut dyn Sink) -> Result<()> {
    let mut walk = Walk { sink, name: top.to_vec(), levels: Vec::new(), linked: BTreeMap::new() };
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
        let mut entry = described(&self.name, kind, &stat);
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
        self.sink.put(&described(&self.name, Kind::Directory, stat), &mut std::io::empty())?;
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
        let mut value = [0; 64];
        if let Ok(length) = rustix::fs::fgetxattr(&file, CAPABILITY, &mut value[..]) {
            entry.xattrs.push((CAPABILITY.to_bytes().to_vec(), value[..length].to_vec()));
        }
        // One that grows meanwhile would have no end.
        self.sink.put(&entry, &mut std::fs::File::from(file).take(entry.size))
    }
}

fn described(name: &[u8], kind: Kind, stat: &Stat) -> Entry {
    Entry {
        name: name.to_vec(),
        link: Vec::new(),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
        mtime: (stat.st_mtime as _, stat.st_mtime_nsec as _),
        device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        xattrs: Vec::new(),
    }
}
