//! A layer's directory while it is filled. Names come from a hostile archive: they are taken apart here, and the kernel sees
//! one component at a time, relative to a descriptor, with O_NOFOLLOW. So no kernel feature is needed for safety, and all
//! kernels do the same. A symbolic link among the parents is followed as the container would see it (an absolute one from
//! the layer's root), and refused if it leads above the root or to what is not in the layer.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::fault::{Checked, Fault, kernel, refuse, shown};
use crate::linux::tree;

mod attributes;
pub(super) use attributes::{Attributes, Ids, is_opaque, set_xattrs};

/// How deep directories may be nested: each level on the way to the current one is a descriptor.
const MOST_LEVELS: usize = 512;
const MOST_LINKS: usize = 40;
/// Of the names and lists that are kept until the end for the directories, in bytes.
const MOST_KEPT: usize = 64 << 20;

pub(super) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Where replaced directories are moved before they are emptied.
    gone: BorrowedFd<'a>,
    /// The way to the directory that was used last: real names from the root on, and their directories.
    way: Vec<(CString, OwnedFd)>,
    /// What directories get when they have all their contents, by their real names joined with '/'.
    pending: Vec<(Vec<u8>, Attributes)>,
    kept: usize,
    ids: Ids,
}

/// What a walk does about names that are not there, and about symbolic links.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// Makes them; follows.
    Make,
    /// Refuses them; follows.
    Find,
    /// Makes them; does not follow: what this layer has in the place of a directory hides all that lower layers have in it, so
    /// that there is nothing more to hide. (Layers with entries of both kinds come from tools that list every removed file.)
    Hide,
}

/// A component that is still to be walked, and whether it comes from a symbolic link.
struct Step {
    name: Vec<u8>,
    of_link: bool,
}

/// The components of an entry's name. A leading '/' is dropped, as tar does.
pub(crate) fn components(name: &[u8]) -> Checked<Vec<CString>> {
    if name.len() > 4095 {
        return refuse("the name is longer than 4095 bytes");
    }
    let mut found = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return refuse("the name has a \"..\" in it"),
            _ if component.len() > 255 => return refuse("a component of the name is longer than 255 bytes"),
            _ => match CString::new(component) {
                Ok(component) => found.push(component),
                Err(_) => return refuse("the name has a NUL in it"),
            },
        }
    }
    Ok(found)
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, gone: BorrowedFd<'a>, ids: Ids) -> Self {
        Self { root, gone, way: Vec::new(), pending: Vec::new(), kept: 0, ids }
    }

    pub(super) fn ids(&self) -> Ids {
        self.ids
    }

    /// The directory that was walked to last.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        self.way.last().map_or(self.root, |(_, fd)| fd.as_fd())
    }

    /// Walks to the directory of these names. False: to hide, and a name on the way is none of a directory.
    pub(super) fn walk(&mut self, names: &[CString], how: Walk) -> Checked<bool> {
        let step = |name: &CString| Step { name: name.to_bytes().to_vec(), of_link: false };
        let mut todo: Vec<Step> = names.iter().rev().map(step).collect();
        let (mut depth, mut links) = (0, 0);
        while let Some(step) = todo.pop() {
            match step.name.as_slice() {
                b"" | b"." => continue,
                b".." if depth == 0 => return refuse("a symbolic link among its parents leads above the root"),
                b".." => depth -= 1,
                name if self.way.get(depth).is_some_and(|(known, _)| known.to_bytes() == name) => depth += 1,
                _ => {
                    self.way.truncate(depth);
                    if self.enter(&step, how)? {
                        depth += 1;
                        continue;
                    }
                    if how == Walk::Hide {
                        return Ok(false);
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return refuse("its parents are symbolic links in a circle");
                    }
                    if self.follow(&step.name, &mut todo)? {
                        depth = 0;
                    }
                }
            }
        }
        self.way.truncate(depth);
        Ok(true)
    }

    /// Enters a component. False: it is a symbolic link, or, to hide, anything but a directory.
    fn enter(&mut self, step: &Step, how: Walk) -> Checked<bool> {
        let name =
            CString::new(step.name.as_slice()).map_err(|_| Fault::kernel("enter a directory", Errno::INVAL))?;
        if self.way.len() >= MOST_LEVELS {
            return refuse("its directories are nested deeper than 512 levels");
        }
        let fd = match tree::enter(self.here(), &name) {
            Err(Errno::NOENT) if step.of_link => {
                return refuse("a symbolic link among its parents leads to what is not in this layer");
            }
            Err(Errno::NOENT) if how != Walk::Find => self.make_directory(&name)?,
            Err(Errno::NOENT) => return refuse("the directory of its target is not in this layer"),
            Err(Errno::NOTDIR | Errno::LOOP) => match tree::look(self.here(), &name) {
                Ok((kind, _)) if kind == FileType::Symlink || how == Walk::Hide => return Ok(false),
                Ok(found) if is_whiteout(found) && how == Walk::Make && !step.of_link => {
                    self.make_directory(&name)?
                }
                Ok(_) => return refuse("one of its parents is not a directory"),
                Err(errno) => return Err(Fault::kernel("look at a parent", errno)),
            },
            other => other.map_err(kernel("enter a directory"))?,
        };
        self.way.push((name, fd));
        Ok(true)
    }

    /// Puts what a symbolic link here says before what is still to be walked. True: it begins at the root.
    fn follow(&mut self, name: &[u8], todo: &mut Vec<Step>) -> Checked<bool> {
        let name = CString::new(name).map_err(|_| Fault::kernel("read a symbolic link", Errno::INVAL))?;
        let target =
            rustix::fs::readlinkat(self.here(), &name, Vec::new()).map_err(kernel("read a symbolic link"))?;
        let target = target.to_bytes();
        let steps = target.split(|byte| *byte == b'/').rev();
        todo.extend(steps.map(|name| Step { name: name.to_vec(), of_link: true }));
        Ok(target.starts_with(b"/"))
    }

    /// Makes a directory here that no entry has described yet, or keeps the one there is.
    pub(super) fn make_directory(&mut self, name: &CStr) -> Checked<OwnedFd> {
        let make = |here: BorrowedFd<'_>| rustix::fs::mkdirat(here, name, Mode::RWXU);
        match make(self.here()) {
            Ok(()) => self.keep(name, Attributes::of_parent())?,
            Err(Errno::EXIST) => {
                if tree::look(self.here(), name).map_err(kernel("look at what is there"))?.0 != FileType::Directory {
                    self.clear_place(name)?;
                    make(self.here()).map_err(kernel("make a directory"))?;
                    self.keep(name, Attributes::of_new_parent())?;
                    // What it replaces hides the lower layers' directory of this name, too.
                    let fd = tree::enter(self.here(), name).map_err(kernel("enter a directory"))?;
                    attributes::set_opaque(&fd)?;
                    return Ok(fd);
                }
            }
            Err(errno) => return Err(Fault::kernel("make a directory", errno)),
        }
        tree::enter(self.here(), name).map_err(kernel("enter a directory"))
    }

    /// Remembers what a directory here, or with an empty name this one, gets at the end.
    pub(super) fn keep(&mut self, name: &CStr, attributes: Attributes) -> Checked<()> {
        let place = self.place(name);
        self.kept += place.len() + size_of::<Attributes>() + attributes.kept();
        if self.kept > MOST_KEPT {
            return refuse("the names of its directories are more than 64 MiB");
        }
        self.pending.push((place, attributes));
        Ok(())
    }

    fn place(&self, name: &CStr) -> Vec<u8> {
        let way = self.way.iter().map(|(name, _)| name.to_bytes());
        way.chain([name.to_bytes()]).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(&b'/')
    }

    /// Removes what has this name here, if anything; never follows it.
    pub(super) fn clear_place(&mut self, name: &CStr) -> Checked<()> {
        match rustix::fs::unlinkat(self.here(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Linux says EISDIR for a directory, POSIX EPERM.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(Fault::kernel("remove what an earlier entry made", errno)),
        }
        rustix::fs::renameat(self.here(), name, self.gone, name)
            .map_err(kernel("remove what an earlier entry made"))?;
        tree::remove(self.gone, name).map_err(kernel("remove what an earlier entry made"))
    }

    /// Hides what lower layers have under this name.
    pub(super) fn whiteout(&mut self, name: &CStr) -> Checked<()> {
        match tree::look(self.here(), name) {
            Err(Errno::NOENT) => attributes::make_whiteout(self.here(), name),
            // An entry of this same layer stays, and hides the lower ones.
            Ok((FileType::Directory, _)) => {
                attributes::set_opaque(&tree::enter(self.here(), name).map_err(kernel("enter a directory"))?)
            }
            Ok(_) => Ok(()),
            Err(errno) => Err(Fault::kernel("look at what is there", errno)),
        }
    }

    /// Hides all that lower layers have in the directory that was walked to.
    pub(super) fn opaque(&mut self) -> Checked<()> {
        attributes::set_opaque(self.here())
    }

    /// Gives all directories what they were to get, the deepest first. Returns those that no entry described, or the place where
    /// it failed.
    pub(super) fn finish(mut self) -> Result<Vec<Vec<u8>>, (String, Fault)> {
        let mut pending = std::mem::take(&mut self.pending);
        // Stable: of several for one place the last counts.
        pending.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut implied = Vec::new();
        let mut before = None;
        for (place, attributes) in pending.into_iter().rev() {
            if before.as_ref() != Some(&place) {
                let there = self.settle(&place, &attributes).map_err(|fault| (shown(&place), fault))?;
                if there && attributes.is_implied() {
                    implied.push(place.clone());
                }
                before = Some(place);
            }
        }
        Ok(implied)
    }

    /// False: a place that is no directory any more was replaced by a later entry, and so was what is beneath it.
    fn settle(&mut self, place: &[u8], attributes: &Attributes) -> Checked<bool> {
        let names = place.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        let mut depth = 0;
        for name in names {
            if self.way.get(depth).is_none_or(|(known, _)| known.to_bytes() != name) {
                self.way.truncate(depth);
                let name = CString::new(name).map_err(|_| Fault::kernel("enter a directory", Errno::INVAL))?;
                match tree::enter(self.here(), &name) {
                    Ok(fd) => self.way.push((name, fd)),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                    Err(errno) => return Err(Fault::kernel("enter a directory", errno)),
                }
            }
            depth += 1;
        }
        self.way.truncate(depth);
        attributes.settle(self.here(), self.ids).map(|()| true)
    }
}

/// overlayfs's own sign that a name is gone: a character device 0:0.
pub(super) fn is_whiteout(found: (FileType, u64)) -> bool {
    found == (FileType::CharacterDevice, 0)
}
