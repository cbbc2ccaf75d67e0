//! How a kept container is, or how it ended: one line of a fixed length, `PHASE CODE SIGNAL CAUSE STARTED FINISHED RESTARTS PID`. It is
//! written over in place with one pwrite(2), by nsctl inside, so that who opened it before the end can read it after the
//! container's directory was removed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::linux::text::Text;
use crate::linux::{clock, file};

pub(super) const STATUS: &CStr = c"status";
const LENGTH: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    /// Made, and waiting for `start`.
    Created,
    Running,
    /// The command has ended and will be started again.
    Restarting,
    Exited,
}

/// Why it ended, beyond its code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cause {
    None,
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// nsctl inside was killed before it could tell.
    Unknown,
    /// The command could not be executed.
    NotStarted,
}

const PHASES: [(Phase, &str); 4] = [
    (Phase::Created, "created"),
    (Phase::Running, "running"),
    (Phase::Restarting, "restarting"),
    (Phase::Exited, "exited"),
];
const CAUSES: [(Cause, &str); 4] = [
    (Cause::None, "-"),
    (Cause::OutOfMemory, "oom"),
    (Cause::Unknown, "unknown"),
    (Cause::NotStarted, "not-started"),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// As the exit status of a shell: 128+n for signal n.
    pub(crate) code: u8,
    /// 0: it ended by itself.
    pub(crate) signal: u8,
    pub(crate) cause: Cause,
    /// Seconds since the epoch; 0: not yet.
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) restarts: u32,
    /// The command's, as the container numbers it; 0: it did not start yet.
    pub(crate) pid: u32,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        PHASES.iter().find(|(phase, _)| *phase == self).map_or("", |(_, name)| name)
    }
}

impl Cause {
    pub(crate) fn name(self) -> &'static str {
        CAUSES.iter().find(|(cause, _)| *cause == self).map_or("", |(_, name)| name)
    }
}

impl Status {
    pub(crate) fn created() -> Self {
        Self {
            phase: Phase::Created,
            code: 0,
            signal: 0,
            cause: Cause::None,
            started: 0,
            finished: 0,
            restarts: 0,
            pid: 0,
        }
    }

    /// Does not allocate.
    pub(crate) fn write(&self, to: impl AsFd) -> Result<(), Errno> {
        let mut line: Text<LENGTH> = Text::new();
        line.push(self.phase.name().as_bytes())?;
        for number in [self.code, self.signal] {
            line.push(b" ")?;
            line.push_number(number.into())?;
        }
        line.push(b" ")?;
        line.push(self.cause.name().as_bytes())?;
        for number in [self.started, self.finished, self.restarts.into(), self.pid.into()] {
            line.push(b" ")?;
            line.push_number(number)?;
        }
        line.fill()?;
        rustix::io::pwrite(to, line.as_bytes(), 0).map(|_| ())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut word = || words.next();
        let phase = word().and_then(|word| PHASES.iter().find(|(_, name)| *name == word))?.0;
        let (code, signal) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let cause = word().and_then(|word| CAUSES.iter().find(|(_, name)| *name == word))?.0;
        Some(Self {
            phase,
            code,
            signal,
            cause,
            started: word()?.parse().ok()?,
            finished: word()?.parse().ok()?,
            restarts: word()?.parse().ok()?,
            pid: word()?.parse().ok()?,
        })
    }

    /// Of a file that was opened before.
    pub(crate) fn of(file: impl AsFd) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        let length = rustix::io::pread(file, &mut bytes[..], 0).ok()?;
        Self::parse(std::str::from_utf8(&bytes[..length]).ok()?)
    }
}

/// Opens the file to be written, made if it is not there.
pub(crate) fn make(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, STATUS, flags, Mode::from_raw_mode(0o600))
}

pub(crate) fn open(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    file::open(dir, STATUS)
}

/// None: there is none, as of one in the foreground.
pub(crate) fn read(dir: BorrowedFd<'_>) -> Option<Status> {
    Status::of(open(dir).ok()?)
}

/// What was killed says nothing of itself: as if by SIGKILL, and never as success.
pub(super) fn end_unknown(dir: BorrowedFd<'_>, cause: Cause) -> Result<(), Errno> {
    let file = make(dir)?;
    let before = Status::of(&file).unwrap_or(Status::created());
    let never = before.phase == Phase::Created;
    let (code, signal) = (128 + libc::SIGKILL as u8, libc::SIGKILL as u8);
    let cause = if never { Cause::NotStarted } else { cause };
    Status { phase: Phase::Exited, code, signal, cause, finished: clock::epoch_seconds(), ..before }.write(file)
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    if let Some(status) = Status::parse(text) {
        let file = file::unnamed(b"");
        status.write(&file).unwrap();
        assert!(Status::of(&file) == Some(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_comes_back() {
        for (phase, _) in PHASES {
            for (cause, _) in CAUSES {
                let status = Status {
                    phase,
                    code: 255,
                    signal: 64,
                    cause,
                    started: u64::MAX,
                    finished: u64::MAX,
                    restarts: u32::MAX,
                    pid: u32::MAX,
                };
                let path = std::env::temp_dir().join(format!("nsctl-status-{}", std::process::id()));
                let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path);
                let file = file.unwrap();
                status.write(&file).unwrap();
                assert_eq!(Status::of(&file), Some(status));
                // A shorter one leaves nothing of a longer one.
                Status::created().write(&file).unwrap();
                assert_eq!(Status::of(&file), Some(Status::created()));
                std::fs::remove_file(path).unwrap();
            }
        }
        for text in ["", "running", "running 0 0 - 1 2 3", "gone 0 0 - 1 2 3 4", "running 256 0 - 1 2 3 4"] {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }
}
