//! A tree that grows entry by entry in a directory that somebody else may change meanwhile.

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::stream::read;
use super::{CAPABILITY, Side, Sink, goes_along, stat};
use crate::error::{Error, Result};
use crate::image::{Entry, EntryKind as Kind, components, shown};
use crate::linux::path::{self, Links, file_type};
use crate::linux::text::fd_path;
use crate::linux::userns::{self, Maps};
use crate::linux::{caps, file, mounts, tree};

type Tried<T> = std::result::Result<T, Errno>;

/// Each level on the way to the current entry is a descriptor.
const MOST_LEVELS: usize = 256;
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

pub(crate) struct Plant<'a> {
    base: OwnedFd,
    /// In whose root links among the parents of an archive's entries are followed, and where the base is there. None: they are
    /// not followed.
    follow: Option<(BorrowedFd<'a>, Vec<u8>)>,
    /// The way to the directory that was used last.
    way: Vec<(CString, OwnedFd)>,
    /// What directories get when they have their contents, by their names.
    pending: Vec<(Vec<u8>, Attributes)>,
    /// The files belong to whom they did (and have their extended attributes), and nodes are made.
    keep: bool,
    nodes: bool,
    own: (u32, u32),
    /// It grows in a container with ids of its own.
    ids: Option<&'a Maps>,
    /// Device and inode of the topmost directory, once it is there.
    top: Option<(u64, u64)>,
    buffer: Vec<u8>,
}

struct Attributes {
    mode: u32,
    owner: Option<(u32, u32)>,
    mtime: (i64, u32),
}

impl<'a> Plant<'a> {
    /// `keep`: owners as the entries say, if root asks for it.
    pub(crate) fn new(base: OwnedFd, keep: bool, nodes: bool) -> Self {
        let root = userns::is_root();
        // Modes are meant as they are.
        rustix::process::umask(Mode::empty());
        Self {
            base,
            follow: None,
            way: Vec::new(),
            pending: Vec::new(),
            keep: keep && root,
            nodes: nodes && root,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            ids: None,
            top: None,
            buffer: vec![0; 64 << 10],
        }
    }

    /// For a container whose own ids these are: all is made by its root, and owners are its own.
    pub(crate) fn with_ids(self, ids: Option<&'a Maps>) -> Result<Self> {
        if let Some(root) = ids.and_then(|ids| ids.outside([0, 0])) {
            caps::make_files_as(root)
                .map_err(|errno| Error::os("make files as the container's root (setfsuid)", errno))?;
        }
        Ok(Self { ids, ..self })
    }

    /// For archives, which may name what is beneath a link (lib → usr/lib).
    pub(crate) fn following(mut self, side: &'a Side, base: &[u8]) -> Self {
        if let Side::Container(root) = side {
            self.follow = Some((root.as_fd(), base.to_vec()));
        }
        self
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.way.last().map_or(self.base.as_fd(), |(_, fd)| fd.as_fd())
    }

    /// Goes to the directory of these names; makes what is missing.
    fn go(&mut self, names: &[CString]) -> Tried<()> {
        let known = self.way.iter().zip(names).take_while(|((known, _), name)| known == *name).count();
        self.way.truncate(known);
        for (at, name) in names.iter().enumerate().skip(known) {
            if at == MOST_LEVELS {
                return Err(Errno::NAMETOOLONG);
            }
            let next = match tree::enter(self.here(), name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(self.here(), name, Mode::from_raw_mode(0o755))?;
                    tree::enter(self.here(), name)
                }
                Err(Errno::LOOP | Errno::NOTDIR) if self.follow.is_some() => self.linked(&names[..=at]),
                other => other,
            };
            self.way.push((name.clone(), next?));
        }
        Ok(())
    }

    /// A parent that is a link: all of the way anew, as the container would go it.
    fn linked(&self, names: &[CString]) -> Tried<OwnedFd> {
        let Some((root, base)) = &self.follow else { return Err(Errno::NOTDIR) };
        let names = names.iter().flat_map(|name| [b"/", name.to_bytes()]);
        let path = CString::new([base, names.collect::<Vec<_>>().concat().as_slice()].concat());
        let found = path::open(*root, &path.map_err(|_| Errno::INVAL)?, Links::Inside)?;
        match file_type(&rustix::fs::fstat(&found)?) {
            FileType::Directory => Ok(found),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn attributes(&self, entry: &Entry) -> Attributes {
        let root = userns::is_root();
        let owner = if self.keep { (entry.uid, entry.gid) } else { self.own };
        // Who has no number inside cannot own a file there: it is its root's.
        let outside = |ids: &Maps| ids.outside(owner.into());
        let there = self.ids.map_or(Some(owner.into()), outside);
        // Set-id bits are somebody's: of another they would be a gift.
        let same = there.is_some() && owner == (entry.uid, entry.gid);
        let mode = if same { entry.mode & 0o7777 } else { entry.mode & 0o1777 };
        let owner = there.or_else(|| self.ids?.outside([0, 0])).map_or(owner, Into::into);
        Attributes { mode, owner: root.then_some(owner), mtime: entry.mtime }
    }

    fn add(&mut self, entry: &Entry, contents: &mut dyn Read) -> Tried<()> {
        let mut names = components(&entry.name).map_err(|_| Errno::INVAL)?;
        let target = match entry.kind {
            Kind::HardLink => Some(self.target(&entry.link)?),
            _ => None,
        };
        let Some(name) = names.pop() else {
            // The base is there already, and stays as it is.
            self.top = Some(number(&rustix::fs::fstat(&self.base)?));
            return if entry.kind == Kind::Directory { Ok(()) } else { Err(Errno::ISDIR) };
        };
        self.go(&names)?;
        let attributes = self.attributes(entry);
        match (entry.kind, target) {
            (Kind::Directory, _) => self.directory(entry, &name, attributes),
            (Kind::File, _) => self.file(&name, entry, contents, &attributes),
            (_, Some((parent, old))) => {
                self.clear(&name)?;
                rustix::fs::linkat(parent, &old, self.here(), &name, AtFlags::empty())
            }
            (_, None) => self.special(&name, entry, &attributes),
        }
    }

    fn target(&mut self, link: &[u8]) -> Tried<(OwnedFd, CString)> {
        let mut names = components(link).map_err(|_| Errno::INVAL)?;
        let name = names.pop().ok_or(Errno::INVAL)?;
        self.go(&names)?;
        Ok((rustix::io::fcntl_dupfd_cloexec(self.here(), 3)?, name))
    }

    /// Removes what has the name; a directory stays, and so does (EBUSY) what something is mounted on: from another mount
    /// namespace unlink(2) would take the mount away.
    fn clear(&self, name: &CStr) -> Tried<()> {
        let there = match rustix::fs::openat(self.here(), name, HANDLE, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        match file_type(&rustix::fs::fstat(&there)?) {
            FileType::Directory => Err(Errno::ISDIR),
            _ if mounts::id(there.as_fd())? != mounts::id(self.here())? => Err(Errno::BUSY),
            _ => rustix::fs::unlinkat(self.here(), name, AtFlags::empty()),
        }
    }

    fn directory(&mut self, entry: &Entry, name: &CStr, attributes: Attributes) -> Tried<()> {
        match rustix::fs::mkdirat(self.here(), name, Mode::RWXU) {
            Err(Errno::EXIST) if file_type(&stat(self.here(), name)?) != FileType::Directory => {
                return Err(Errno::NOTDIR);
            }
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        if self.keep && !entry.xattrs.is_empty() {
            self.set_xattrs(file::open_dir(self.here(), name)?.as_fd(), entry)?;
        }
        if self.top.is_none() {
            self.top = Some(number(&stat(self.here(), name)?));
        }
        self.pending.push((entry.name.clone(), attributes));
        Ok(())
    }

    fn file(&mut self, name: &CStr, entry: &Entry, contents: &mut dyn Read, attributes: &Attributes) -> Tried<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match self.clear(name) {
            // Something is mounted there, such as /etc/hosts.
            Err(Errno::BUSY) => mounted(self.here(), name)?,
            other => other.and_then(|()| rustix::fs::openat(self.here(), name, flags, Mode::RUSR | Mode::WUSR))?,
        };
        loop {
            match read(contents, &mut self.buffer)? {
                0 => break,
                length => file::write_all(&file, &self.buffer[..length])?,
            }
        }
        // In this order: chown clears capabilities and set-id bits.
        self.own(file.as_fd(), attributes)?;
        self.set_xattrs(file.as_fd(), entry)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
        rustix::fs::futimens(&file, &times(attributes.mtime))
    }

    fn set_xattrs(&self, file: BorrowedFd<'_>, entry: &Entry) -> Tried<()> {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| self.keep && goes_along(name)) {
            let c_name = CString::new(name.as_slice()).unwrap_or_default();
            match rustix::fs::fsetxattr(file, &c_name, value, XattrFlags::empty()) {
                // The file system has none of the users', or no room for them: the file is still what it is.
                Err(errno) if name != CAPABILITY => {
                    let what = format!("set {} of {}", shown(name), shown(&entry.name));
                    eprintln!("nsctl: warning: {}", Error::os(what, errno));
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn own(&self, file: BorrowedFd<'_>, attributes: &Attributes) -> Tried<()> {
        let Some((uid, gid)) = attributes.owner else { return Ok(()) };
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH)
    }

    /// A link, or a node, whose mode is made with it: there is no chmod that could be led elsewhere.
    fn special(&mut self, name: &CStr, entry: &Entry, attributes: &Attributes) -> Tried<()> {
        let kind = match entry.kind {
            Kind::Character => FileType::CharacterDevice,
            Kind::Block => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            _ => FileType::Symlink,
        };
        if kind != FileType::Symlink && !self.nodes {
            eprintln!("nsctl: warning: {} is left out: it is a device or a FIFO", shown(&entry.name));
            return Ok(());
        }
        self.clear(name)?;
        let here = self.here();
        if kind == FileType::Symlink {
            rustix::fs::symlinkat(&CString::new(entry.link.as_slice()).map_err(|_| Errno::INVAL)?, here, name)?;
        } else {
            let number = rustix::fs::makedev(entry.device.0, entry.device.1);
            rustix::fs::mknodat(here, name, kind, Mode::from_raw_mode(attributes.mode & 0o1777), number)?;
        }
        let made = rustix::fs::openat(here, name, HANDLE, Mode::empty())?;
        self.own(made.as_fd(), attributes)?;
        rustix::fs::utimensat(here, name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives the directories what they were to get, the deepest first.
    pub(crate) fn finish(mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        for (name, attributes) in pending.into_iter().rev() {
            self.settle(&name, &attributes).map_err(|errno| failed(&name, errno))?;
        }
        Ok(())
    }

    fn settle(&mut self, name: &[u8], attributes: &Attributes) -> Tried<()> {
        let names = components(name).map_err(|_| Errno::INVAL)?;
        self.go(&names)?;
        let dir = file::open_dir(self.here(), c".")?;
        self.own(dir.as_fd(), attributes)?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(attributes.mode))?;
        rustix::fs::futimens(&dir, &times(attributes.mtime))
    }
}

impl Sink for Plant<'_> {
    fn put(&mut self, entry: &Entry, contents: &mut dyn Read) -> Result<()> {
        self.add(entry, contents).map_err(|errno| failed(&entry.name, errno))
    }

    fn is_top(&self, stat: &Stat) -> bool {
        self.top == Some(number(stat))
    }

    fn takes_nodes(&self) -> bool {
        self.nodes
    }
}

fn number(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cold]
fn failed(name: &[u8], errno: Errno) -> Error {
    Error::os(format_args!("write {}", shown(name)), errno).hint(match errno {
        Errno::ISDIR => "a directory is there, and is not replaced by what is none",
        Errno::NOTDIR | Errno::LOOP => "what is there is no directory, and not replaced by one",
        Errno::INVAL => "a name in it is not one that tar archives may have",
        Errno::BUSY => "something is mounted there that is not written over",
        Errno::ROFS => "the container's root, or what is mounted there, is read-only",
        _ => "",
    })
}

/// A file that something is mounted on is written over where it is.
fn mounted(here: BorrowedFd<'_>, name: &CStr) -> Tried<OwnedFd> {
    let handle = rustix::fs::openat(here, name, HANDLE, Mode::empty())?;
    let regular = file_type(&rustix::fs::fstat(&handle)?) == FileType::RegularFile;
    // The container may have mounted one of the kernel's files, which acts when it is written (CVE-2025-52881).
    if !regular || mounts::is_kernel_table(handle.as_fd())? {
        return Err(Errno::BUSY);
    }
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(CWD, fd_path(handle.as_fd()).as_c_str(), flags, Mode::empty())
}

fn times((tv_sec, tv_nsec): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: tv_nsec.into() };
    Timestamps { last_access: time, last_modification: time }
}
