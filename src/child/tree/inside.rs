//! What is mounted, made and hidden inside the new root, one entry of the plan at a time. Every place is found below a descriptor.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{QUIET, Tree, handle, make_directory, stacked};
use crate::linux::mount::{self, Change, FileSystem, Slot};
use crate::linux::path::{self, Kind, Links};
use crate::linux::text::Path;
use crate::linux::{file, mounts};
use crate::plan::{Base, Mount, Over, Place, Provided};

const NO_DIRECTORY: &CStr = c"no-directory";
const NO_FILE: &CStr = c"no-file";

impl Tree {
    pub(in crate::child) fn mount(
        &mut self,
        mount: &Mount,
        sources: &[OwnedFd],
        maps: &[OwnedFd],
    ) -> Result<(), Errno> {
        match mount {
            Mount::Fs { fs, at, keep, optional } => match self.file_system(fs, at, *keep) {
                // ENODEV: no such file system. ENOENT: the kernel's own tree has no place for it. EINVAL: no such hierarchy.
                Err(Errno::NODEV | Errno::NOENT | Errno::INVAL) if *optional => Ok(()),
                other => other,
            },
            Mount::Bind { source, cloned, recursive, map, change, spread, at } => {
                let source = sources[*source].as_fd();
                let kind = if is_directory(source)? { Kind::Directory } else { Kind::File };
                let target = self.target(at, kind)?;
                not_a_kernel_table(target.as_fd())?;
                let made = if *cloned { None } else { Some(self.clone_source(source, *recursive)?) };
                let made = made.as_ref().map_or(source, AsFd::as_fd);
                if let Some(map) = map {
                    mount::map_ids(made, maps[*map].as_fd(), *recursive)?;
                }
                self.maker.attach(made, target.as_fd())?;
                self.maker.set(made, *spread)?;
                self.maker.set(made, *change)
            }
            Mount::Tree { source, change, at, keep } => {
                let target = self.target(at, Kind::Directory)?;
                let made = self.clone_source(sources[*source].as_fd(), true)?;
                self.maker.attach(made.as_fd(), target.as_fd())?;
                self.maker.set(made.as_fd(), *change)?;
                self.bases[*keep as usize] = Some(made);
                Ok(())
            }
            Mount::Overlay { lowers, upper, change, at } => {
                let target = self.target(at, Kind::Directory)?;
                not_a_kernel_table(target.as_fd())?;
                let lowers = stacked(sources, lowers, None);
                let upper = upper.map(|numbers| numbers.map(|number| sources[number].as_fd()));
                let made = self.maker.overlay(lowers, upper, change.set)?;
                self.maker.attach(made.as_fd(), target.as_fd())
            }
            Mount::Mask(at) => self.mask(at),
            Mount::ReadOnly(at) => self.read_only(at),
            Mount::Node { name, mode, device, owner } => self.node(name, *mode, *device, *owner),
            Mount::Link { name, target } => rustix::fs::symlinkat(target, self.base(Base::Dev)?, name),
            Mount::Text { at, name, what, read_only, over } => match self.text(at, name, what, sources, *over) {
                Ok(Some(made)) => {
                    let set = if *read_only { k::MOUNT_ATTR_RDONLY } else { 0 };
                    self.maker.set(made.as_fd(), Change { set, ..Change::default() })
                }
                // A root that has no room for it does without.
                Err(
                    Errno::ROFS
                    | Errno::LOOP
                    | Errno::NOTDIR
                    | Errno::ISDIR
                    | Errno::NOENT
                    | Errno::ACCESS
                    | Errno::PERM,
                ) if *over != Over::Must => Ok(()),
                other => other.map(drop),
            },
            Mount::Sysctl { path, value } => {
                let file = path::open_for(self.base(Base::Proc)?, path, OFlags::WRONLY, Links::Refused)?;
                // What is mounted over a setting is none.
                if rustix::fs::fstatfs(&file)?.f_type as u32 != k::PROC_SUPER_MAGIC {
                    return Err(Errno::XDEV);
                }
                file::write_all(file, value.to_bytes())
            }
            Mount::ReadOnlyRoot => {
                let change = Change { set: k::MOUNT_ATTR_RDONLY, ..Change::default() };
                self.maker.set(self.base(Base::Root)?, change)
            }
        }
    }

    /// The root directory of the container's own devpts.
    pub(in crate::child) fn pts(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.base(Base::Pts)
    }

    /// The terminal itself, whatever has its name, is what /dev/console shows.
    pub(in crate::child) fn console(&self, slave: BorrowedFd<'_>) -> Result<(), Errno> {
        let target = path::make(self.base(Base::Dev)?, c"console", Kind::File, Links::Refused)?;
        let made = self.clone_source(slave, false)?;
        self.maker.attach(made.as_fd(), target.as_fd())
    }

    fn file_system(&mut self, fs: &FileSystem, at: &Place, keep: Option<Base>) -> Result<(), Errno> {
        let target = self.target(at, Kind::Directory)?;
        if !at.strict {
            not_a_kernel_table(target.as_fd())?;
        }
        let made = self.maker.mount(fs, target.as_fd(), || self.open(at))?;
        if let Some(base) = keep {
            self.bases[base as usize] = Some(made);
        }
        Ok(())
    }

    fn mask(&mut self, at: &Place) -> Result<(), Errno> {
        let Some(target) = self.open_if_there(at)? else { return Ok(()) };
        let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
        if !self.hiding {
            // Masks come last: nothing of ours is written any more, and what is cloned of the stage is read-only as the stage is.
            // The overlay has a mount of its own of its upper directory.
            make_directory(stage, NO_DIRECTORY)?;
            make_file(stage, NO_FILE)?;
            if !self.maker.api.fds {
                self.maker.slot(Slot::Directory)?;
                self.maker.slot(Slot::File)?;
            }
            self.maker.set(stage.as_fd(), Change { set: QUIET | k::MOUNT_ATTR_RDONLY, ..Change::default() })?;
            self.hiding = true;
        }
        let nothing = handle(stage.as_fd(), if is_directory(target.as_fd())? { NO_DIRECTORY } else { NO_FILE })?;
        let made = self.maker.clone(nothing.as_fd(), false)?;
        self.maker.attach(made.as_fd(), target.as_fd())
    }

    fn read_only(&self, at: &Place) -> Result<(), Errno> {
        let Some(target) = self.open_if_there(at)? else { return Ok(()) };
        let made = self.maker.clone(target.as_fd(), true)?;
        self.maker.attach(made.as_fd(), target.as_fd())?;
        let change = Change { set: k::MOUNT_ATTR_RDONLY, ..Change::default() };
        self.maker.set(made.as_fd(), change)
    }

    fn node(&self, name: &CStr, mode: u32, device: u64, owner: Option<[u32; 2]>) -> Result<(), Errno> {
        let dev = self.base(Base::Dev)?;
        let bytes = name.to_bytes();
        let slash = bytes.iter().rposition(|byte| *byte == b'/');
        let made = slash.map(|slash| directory_in(dev, &bytes[..slash])).transpose()?;
        let above = made.as_ref().map_or(dev, AsFd::as_fd);
        let name = &bytes[slash.map_or(0, |slash| slash + 1)..];
        let kind = FileType::from_raw_mode(mode);
        let kind = if kind == FileType::Unknown { FileType::CharacterDevice } else { kind };
        match rustix::fs::mknodat(above, name, kind, Mode::from_raw_mode(mode & 0o7777), device) {
            // One of those that every container has.
            Err(Errno::EXIST) => {
                let there = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW)?;
                return if there.st_rdev == device { Ok(()) } else { Err(Errno::EXIST) };
            }
            other => other?,
        }
        let Some([uid, gid]) = owner else { return Ok(()) };
        rustix::fs::chownat(
            above,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }

    /// None: there is something already.
    fn text(
        &self,
        at: &Place,
        name: &CStr,
        what: &Provided,
        sources: &[OwnedFd],
        over: Over,
    ) -> Result<Option<OwnedFd>, Errno> {
        let target = self.target(at, Kind::File)?;
        let stat = rustix::fs::fstat(&target)?;
        // Exports of a container leave empty ones behind. The kernel's own look as if they were, and are where a link of the
        // image's may lead: covered, they would take the settings that are written later.
        let empty = path::file_type(&stat) == FileType::RegularFile && stat.st_size == 0;
        if over == Over::Nothing && !empty {
            return Ok(None);
        }
        // A link may lead to a device, too, which others need.
        if path::file_type(&stat) != FileType::RegularFile {
            return Err(Errno::PERM);
        }
        not_a_kernel_table(target.as_fd())?;
        let made = match what {
            Provided::Source(source) => self.maker.clone(sources[*source].as_fd(), false)?,
            Provided::Text(text) => {
                let stage = self.maker.stage.as_ref().ok_or(Errno::NOENT)?;
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                let written = rustix::fs::openat(stage, name, flags, Mode::from_raw_mode(0o644))?;
                file::write_all(&written, text)?;
                self.maker.clone(written.as_fd(), false)?
            }
        };
        self.maker.attach(made.as_fd(), target.as_fd())?;
        Ok(Some(made))
    }

    fn target(&self, at: &Place, kind: Kind) -> Result<OwnedFd, Errno> {
        if at.make {
            return path::make(self.base(at.base)?, &at.path, kind, links(at));
        }
        self.open(at)
    }

    fn open(&self, at: &Place) -> Result<OwnedFd, Errno> {
        path::open(self.base(at.base)?, &at.path, links(at))
    }

    fn open_if_there(&self, at: &Place) -> Result<Option<OwnedFd>, Errno> {
        match self.open(at) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

fn links(at: &Place) -> Links {
    if at.strict { Links::Refused } else { Links::Inside }
}

fn make_file(dir: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    rustix::fs::mknodat(dir, name, FileType::RegularFile, Mode::RUSR, 0)
}

/// A directory in ours, made with those above it.
#[cold]
#[inline(never)]
fn directory_in(dir: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut text = Path::new();
    text.push(path)?;
    path::make(dir, text.as_c_str(), Kind::Directory, Links::Refused)
}

fn is_directory(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(path::file_type(&rustix::fs::fstat(fd)?) == FileType::Directory)
}

/// EPERM: what is there is procfs, sysfs or a cgroup tree, also by way of a link in the image. Nothing may be put over those.
fn not_a_kernel_table(target: BorrowedFd<'_>) -> Result<(), Errno> {
    if mounts::is_kernel_table(target)? { Err(Errno::PERM) } else { Ok(()) }
}
