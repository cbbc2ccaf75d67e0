//! A stream of the caller's to write to, without waiting for whoever reads it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Stream;
use crate::linux::text;

pub(super) struct Outlet {
    stream: Stream,
    /// The same file, open once more, and non-blocking.
    own: Option<OwnedFd>,
}

/// PIPE_BUF: what poll(2) has room for when it says that there is room.
const SURE: usize = 4096;

impl Outlet {
    pub(super) fn new(stream: Stream) -> Self {
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        // A plain file would be written from its beginning, and never blocks.
        let again = kind == Ok(FileType::Fifo) || rustix::termios::isatty(stream);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // Of another user, or of a machine without /proc: what poll says has to do.
        let open = || rustix::fs::openat(CWD, text::fd_path(stream).as_c_str(), flags, Mode::empty()).ok();
        Self { stream, own: if again { open() } else { None } }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or(self.stream, AsFd::as_fd)
    }

    /// How much of it was taken. EAGAIN: nothing, for now.
    pub(super) fn put(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.own.is_some() {
            return rustix::io::write(self.fd(), bytes);
        }
        use rustix::event::{PollFd, PollFlags, Timespec};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(self.stream, PollFlags::OUT)];
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) => Err(Errno::AGAIN),
            _ => rustix::io::write(self.stream, &bytes[..bytes.len().min(SURE)]),
        }
    }
}
