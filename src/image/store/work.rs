//! A directory of one's own in the store's `tmp`. Whoever makes it holds its lock; what is there without a lock was left by
//! a killed nsctl.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode};
use rustix::io::Errno;

use super::Store;
use crate::error::Result;
use crate::linux::{file, tree};

pub(in crate::image) struct Work<'a> {
    store: &'a Store,
    name: CString,
    dir: OwnedFd,
}

impl Store {
    /// Makes such a directory, after the removal of what dead ones left. `alone` says that the caller has the store's lock.
    pub(in crate::image) fn work(&self) -> Result<Work<'_>> {
        let (work, dead) = self.alone(|| {
            // The lock of the store keeps others from looking between the making and the locking.
            let work = self.make_work().map_err(|errno| self.error("make a directory in", errno))?;
            let dead = self.dead().map_err(|errno| self.error("look for leftovers in", errno))?;
            Ok((work, dead))
        })?;
        for (name, _lock) in dead {
            tree::remove(&self.tmp, &name).map_err(|errno| self.error("remove leftovers of", errno))?;
        }
        Ok(work)
    }

    fn make_work(&self) -> std::result::Result<Work<'_>, Errno> {
        let mut bytes = [0u8; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK)?;
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        rustix::fs::mkdirat(&self.tmp, &name, Mode::RWXU)?;
        let dir = file::open_dir(&self.tmp, &name)?;
        rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Work { store: self, name, dir })
    }

    /// Directories that nobody holds, now locked by us.
    fn dead(&self) -> std::result::Result<Vec<(CString, OwnedFd)>, Errno> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.tmp)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // One that was just removed by its owner, or is locked, is no leftover.
            let Ok(dir) = file::open_dir(&self.tmp, name) else { continue };
            if rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
                found.push((name.to_owned(), dir));
            }
        }
        Ok(found)
    }
}

impl Work<'_> {
    pub(in crate::image) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// A new empty directory in it.
    pub(in crate::image) fn directory(&self, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
        rustix::fs::mkdirat(&self.dir, name, Mode::RWXU)?;
        file::open_dir(&self.dir, name)
    }

    /// Moves a finished layer to its place. That it is there already is as good: its name says what is in it.
    pub(in crate::image) fn publish(&self, from: &str, to: &str) -> std::result::Result<(), Errno> {
        let name = |hex: &str| CString::new(hex).map_err(|_| Errno::INVAL);
        match rustix::fs::renameat(&self.dir, &name(from)?, &self.store.layers, &name(to)?) {
            Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Work<'_> {
    /// What cannot be removed now is a leftover for the next one.
    fn drop(&mut self) {
        let _ = tree::clear(self.dir.as_fd());
        let _ = rustix::fs::unlinkat(&self.store.tmp, &self.name, AtFlags::REMOVEDIR);
    }
}
