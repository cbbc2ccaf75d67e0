//! Removing images, and the layers that no image has any more.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FlockOperation};
use rustix::io::Errno;

use super::{Record, Store, Work, is_called};
use crate::error::{Error, Result};
use crate::linux::file;

impl Store {
    /// Removes what the words mean: a name, and the image with its last name; an id, and all its names. `force`: also an image
    /// with several names by its id.
    pub(crate) fn remove(&self, words: &OsStr, force: bool) -> Result<Record> {
        let work = self.work()?;
        self.alone(|| {
            let mut record = self.find(words)?;
            let text = words.to_string_lossy();
            let named = |name: &String| is_called(name, &text);
            if record.names.len() > 1 {
                let others: Vec<String> = record.names.iter().filter(|name| !named(name)).cloned().collect();
                if !others.is_empty() && others.len() < record.names.len() {
                    record.names = others;
                    self.rewrite(&record)?;
                    return Ok(record);
                }
                if !others.is_empty() && !force {
                    return Err(Error::new(format_args!(
                        "image {text} has several names: {}",
                        record.names.join(", ")
                    ))
                    .hint("remove them one by one, or all with -f"));
                }
            }
            self.take_away(&record, &work)?;
            record.names.clear();
            Ok(record)
        })
        // The slow part, emptying the directory, is done as `work` ends, when others may go on already.
    }

    fn take_away(&self, record: &Record, work: &Work<'_>) -> Result<()> {
        let _lock = self.not_in_use(record)?;
        let moved = || -> std::result::Result<(), Errno> {
            let name = CString::new(record.id.as_str()).map_err(|_| Errno::INVAL)?;
            rustix::fs::renameat(&self.images, &name, work.dir(), c"image")?;
            rustix::fs::fsync(&self.images)?;
            self.take_unused_layers(work)
        };
        moved().map_err(|errno| self.error("remove an image from", errno))
    }

    fn not_in_use(&self, record: &Record) -> Result<OwnedFd> {
        let name = CString::new(record.id.as_str()).unwrap_or_default();
        let dir = file::open_dir(&self.images, &name).map_err(|errno| self.error("open an image of", errno))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(dir),
            Err(Errno::WOULDBLOCK) => {
                let shown = record.names.first().map_or(record.id.get(..12).unwrap_or(&record.id), String::as_str);
                Err(Error::new(format_args!("image {shown} is in use by a running container")).hint("see nsctl ps"))
            }
            Err(errno) => Err(self.error("lock an image of", errno)),
        }
    }

    fn take_unused_layers(&self, work: &Work<'_>) -> std::result::Result<(), Errno> {
        let records = self.records().map_err(|error| error.errno.unwrap_or(Errno::IO))?;
        let is_used = |name: &CStr| {
            let mut parts = records.iter().flat_map(|record| &record.layers);
            parts.any(|part| part.directory.as_bytes() == name.to_bytes())
        };
        let mut unused = Vec::new();
        for entry in Dir::read_from(&self.layers)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." && !is_used(name) {
                unused.push(name.to_owned());
            }
        }
        unused.iter().try_for_each(|name| rustix::fs::renameat(&self.layers, name, work.dir(), name))
    }
}
