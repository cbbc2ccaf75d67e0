//! Files between the host and a running container, by way of descriptors.
//!
//!     walk (a tree) ──┐ entries, one  ┌──▶ plant (a tree)
//!     a tar stream ───┘ by one        └──▶ stream (a tar stream)
//!
//! The container runs meanwhile and may exchange a directory for a link at any moment (CVE-2018-15664). So a path in it is
//! resolved once, by openat2(2) beneath its root; from there on there are only descriptors and single names that are not followed.
//! Nothing of the container's is executed or loaded, and what is no file, directory or link is never opened.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::image::Entry;
use crate::linux::path::{self, Links, file_type};
use crate::linux::{file, tree};

mod plant;
mod stream;
mod walk;

pub(crate) use plant::Plant;
pub(crate) use stream::Stream;
pub(crate) use walk::walk;

/// What takes the entries, a directory before what is in it.
pub(crate) trait Sink {
    /// `contents` has `entry.size` bytes, or fewer if the file was cut meanwhile.
    fn put(&mut self, entry: &Entry, contents: &mut dyn Read) -> Result<()>;

    /// Whether this directory is the one that the topmost became: a tree that is copied into itself has no end.
    fn is_top(&self, _: &Stat) -> bool {
        false
    }

    /// Whether device nodes and FIFOs are put, too.
    fn takes_nodes(&self) -> bool;
}

/// Whose paths are meant.
pub(crate) enum Side {
    Host,
    /// Those beneath this root (O_PATH).
    Container(OwnedFd),
}

/// What a path leads to: a name in a directory.
pub(crate) struct End {
    /// A handle (O_PATH).
    pub(crate) parent: OwnedFd,
    /// Empty: `parent` itself, a directory.
    pub(crate) name: CString,
    /// None: it is not there.
    pub(crate) kind: Option<FileType>,
}

/// symlink(7)
const MOST_LINKS: usize = 40;

impl Side {
    pub(crate) fn open(&self, path: &[u8]) -> std::result::Result<OwnedFd, Errno> {
        let path = CString::new(path).map_err(|_| Errno::INVAL)?;
        match self {
            Self::Host => file::handle(&path),
            Self::Container(root) => path::open(root.as_fd(), &path, Links::Inside),
        }
    }

    /// Where the path ends. A link at its end is followed if `follow` says so, or if a slash is behind it.
    pub(crate) fn end(&self, typed: &[u8], follow: bool) -> std::result::Result<End, Errno> {
        let mut path = typed.to_vec();
        for _ in 0..MOST_LINKS {
            let trimmed = path.len() - path.iter().rev().take_while(|byte| **byte == b'/').count();
            let start = path[..trimmed].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            let name = &path[start..trimmed];
            if matches!(name, b"" | b"." | b"..") {
                let parent = self.open(&path)?;
                return match file_type(&rustix::fs::fstat(&parent)?) {
                    FileType::Directory => {
                        Ok(End { parent, name: CString::default(), kind: Some(FileType::Directory) })
                    }
                    _ => Err(Errno::NOTDIR),
                };
            }
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            let parent = self.open(if start == 0 { b"." } else { &path[..start] })?;
            let kind = match tree::look(&parent, &name) {
                Ok((kind, _)) => Some(kind),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno),
            };
            if kind != Some(FileType::Symlink) || !(follow || trimmed < path.len()) {
                return Ok(End { parent, name, kind });
            }
            let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?.into_bytes();
            let above = if target.starts_with(b"/") { &[] } else { &path[..start] };
            path = [above, &target, &path[trimmed..]].concat();
        }
        Err(Errno::LOOP)
    }
}

impl End {
    /// The directory itself, or the one of this name.
    pub(crate) fn directory(&self) -> std::result::Result<OwnedFd, Errno> {
        match self.name.is_empty() {
            true => rustix::io::fcntl_dupfd_cloexec(&self.parent, 3),
            false => tree::enter(&self.parent, &self.name),
        }
    }
}

/// Where copied things go: a directory, and what the topmost of them is called there (nothing: only its contents are copied).
pub(crate) struct Target {
    pub(crate) base: OwnedFd,
    pub(crate) top: Vec<u8>,
}

/// docker's rules about what is there, and about slashes and a dot at the end.
pub(crate) fn target(side: &Side, typed: &[u8], source: &[u8], directory: bool) -> Result<Target> {
    let shown = String::from_utf8_lossy(typed);
    let failed = |errno| Error::os(format_args!("copy to {shown}"), errno);
    let end = side.end(typed, true).map_err(failed)?;
    let top = end.name.to_bytes().to_vec();
    match end.kind {
        Some(FileType::Directory) => {
            let base = end.directory().map_err(failed)?;
            let last = source.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty()).unwrap_or_default();
            // SRC/. is what SRC has in it.
            let contents = directory && (matches!(last, b"" | b"." | b".."));
            Ok(Target { base, top: if contents { Vec::new() } else { last.to_vec() } })
        }
        Some(_) if typed.ends_with(b"/") => Err(failed(Errno::NOTDIR)),
        Some(_) if directory => Err(Error::new(format_args!("copy to {shown}: it is no directory"))),
        None if !directory && typed.ends_with(b"/") => {
            Err(Error::new(format_args!("copy to {shown}: there is no such directory"))
                .hint("a file is not put into a missing one"))
        }
        _ => Ok(Target { base: end.parent, top }),
    }
}

const CAPABILITY: &[u8] = b"security.capability";

/// Whether an extended attribute goes along: the capabilities of a program, as with docker, and what users say of their files. Not
/// what overlayfs says of its own with the same prefix, nor what would end a name in a tar archive early.
fn goes_along(name: &[u8]) -> bool {
    let users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    (users || name == CAPABILITY) && !name.contains(&b'=')
}

/// A single name, itself.
fn stat(parent: impl AsFd, name: &std::ffi::CStr) -> std::result::Result<rustix::fs::Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// An archive that goes into this directory, as if it were a container's root; and its entries as they would come out again.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(mut bytes: &[u8], root: OwnedFd) {
    use crate::image::{Entries, Input};
    let Ok(base) = rustix::io::dup(&root) else { return };
    let side = Side::Container(root);
    let mut plant = Plant::new(base, true, true).following(&side, b"/");
    let mut entries = Entries::new(Input::Stream(&mut bytes));
    while let Ok(Some(entry)) = entries.next() {
        let headers = stream::headers(&entry);
        let mut source = headers.as_slice();
        let again = Entries::new(Input::Stream(&mut source)).next();
        assert!(again.is_ok_and(|again| {
            again.is_some_and(|again| again.mtime.0 == entry.mtime.0 && again.kind == entry.kind)
        }));
        if plant.put(&entry, &mut entries).is_err() {
            return;
        }
    }
    let _ = plant.finish();
}

#[cfg(test)]
mod tests;
