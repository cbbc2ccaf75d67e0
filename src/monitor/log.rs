//! The log: what the command wrote, a line each, in the format of the Container Runtime Interface
//! (kubernetes, design-proposals, "kubelet CRI logging"): time, stream, F for a whole line or P for a part of one, text.
//! When it is as long as it may be, it becomes `log.1`, and a new one is begun: who reads the old one reads on.

use std::io::IoSlice;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::linux::{clock, file};
use crate::state::{LOG, OLD_LOG};

/// What a log may have beyond its size while somebody reads the one before: who is further behind loses lines.
const BEHIND: u64 = 8 << 20;

pub(super) struct Log<'a> {
    dir: BorrowedFd<'a>,
    file: Option<OwnedFd>,
    size: u64,
    most: u64,
}

/// A new log, to be appended to.
pub(crate) fn make(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, LOG, flags, Mode::from_raw_mode(0o600))
}

impl<'a> Log<'a> {
    pub(super) fn new(dir: BorrowedFd<'a>, file: Option<OwnedFd>, most: Option<u64>) -> Self {
        let size = file.as_ref().and_then(|file| rustix::fs::fstat(file).ok()).map_or(0, |stat| stat.st_size as u64);
        Self { dir, file, size, most: most.unwrap_or(0) }
    }

    /// Stream 1 or 2. A disk that is full loses lines, but does not hold the command up.
    pub(super) fn write(&mut self, stream: usize, bytes: &[u8]) {
        let time = clock::stamp(clock::epoch());
        let name = if stream == 1 { &b" stdout "[..] } else { b" stderr " };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = line.ends_with(b"\n");
            let (tag, end) = if whole { (&b"F "[..], &b""[..]) } else { (&b"P "[..], &b"\n"[..]) };
            self.append(&[&time, name, tag, line, end].map(IoSlice::new));
        }
        if self.size >= self.most {
            self.begin_anew();
        }
    }

    fn append(&mut self, parts: &[IoSlice<'_>]) {
        if let Some(file) = &self.file
            && let Ok(length) = rustix::io::writev(file, parts)
        {
            self.size += length as u64;
        }
    }

    /// Somebody who follows is still at the older log: what comes after that must not be gone when he is through with it.
    fn is_read(&self) -> bool {
        let old = file::open_no_link(self.dir, OLD_LOG);
        old.is_ok_and(|old| rustix::fs::flock(old, FlockOperation::NonBlockingLockExclusive).is_err())
    }

    fn begin_anew(&mut self) {
        if self.file.is_none() {
            return;
        }
        if self.size < self.most.saturating_add(BEHIND) && self.is_read() {
            return;
        }
        let _ = rustix::fs::renameat(self.dir, LOG, self.dir, OLD_LOG);
        if let Ok(file) = make(self.dir) {
            self.file = Some(file);
            self.size = 0;
        }
    }
}
