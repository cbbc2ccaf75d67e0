//! Whether the command is healthy: another command asks, from time to time. What it says is its exit code. What is known
//! is a line of a fixed length in the container's directory, `STATE FAILURES CODE TIME`, written over in place.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::linux::process::{Ended, Process};
use crate::linux::text::Text;
use crate::linux::{clock, sys};
use crate::reaper;
use crate::spec;
use crate::state::HEALTH;

#[derive(Clone, Copy, PartialEq)]
enum State {
    Starting,
    Healthy,
    Unhealthy,
}

pub(super) struct Health {
    times: spec::Health,
    file: OwnedFd,
    state: State,
    /// The one that asks now.
    check: Option<Process>,
    /// When to ask next, or to give up; milliseconds of the monotonic clock. None: there is nobody to ask about.
    at: Option<u64>,
    began: u64,
    failures: u32,
    /// The exit code of the last one that asked, and when it ended, in seconds since the epoch; 0: none has yet.
    code: u8,
    asked: u64,
}

/// As that of the status.
const LENGTH: usize = 128;

impl Health {
    pub(super) fn new(dir: BorrowedFd<'_>, times: spec::Health) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir, HEALTH, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self {
            times,
            file,
            state: State::Starting,
            check: None,
            at: None,
            began: 0,
            failures: 0,
            code: 0,
            asked: 0,
        })
    }

    /// The command was started.
    pub(super) fn begin(&mut self, now: u64) {
        (self.state, self.failures, self.asked, self.began) = (State::Starting, 0, 0, now);
        self.at = Some(now + self.times.interval);
        self.write();
    }

    /// The command has ended, and with it everybody.
    pub(super) fn end(&mut self) {
        (self.check, self.at) = (None, None);
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.at
    }

    /// Asks, or gives the one up that asks for too long.
    pub(super) fn act(&mut self, now: u64, spawn: impl FnOnce() -> Result<Process, Errno>) {
        if self.at.is_none_or(|at| now < at) {
            return;
        }
        match &self.check {
            // Its end is told like any other.
            Some(check) => drop(sys::kill(check.pid, libc::SIGKILL)),
            None => self.check = spawn().ok(),
        }
        self.at = Some(now + if self.check.is_some() { self.times.timeout } else { self.times.interval });
    }

    /// A process has ended. What is new, if it was the one that asked.
    pub(super) fn ended(&mut self, pid: i32, how: Ended, now: u64) -> Option<&'static str> {
        self.check.take_if(|check| check.pid == pid)?;
        let before = self.state;
        if how == Ended::Exited(0) {
            (self.state, self.failures) = (State::Healthy, 0);
        } else if self.state != State::Starting || now.saturating_sub(self.began) >= self.times.start_period {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.times.retries {
                self.state = State::Unhealthy;
            }
        }
        (self.code, self.asked) = (reaper::code(how), clock::epoch_seconds());
        self.at = Some(now + self.times.interval);
        self.write();
        (self.state != before).then_some(self.word())
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Starting => "starting",
            State::Healthy => "healthy",
            State::Unhealthy => "unhealthy",
        }
    }

    /// What cannot be written is lost, and no reason to stop.
    fn write(&self) {
        let mut line: Text<LENGTH> = Text::new();
        let mut fill = || {
            line.push(self.word().as_bytes())?;
            for number in [self.failures.into(), self.code.into(), self.asked] {
                line.push(b" ")?;
                line.push_number(number)?;
            }
            line.fill()
        };
        let _ = fill().and_then(|()| rustix::io::pwrite(&self.file, line.as_bytes(), 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn failures_count_after_the_start() {
        let path = std::env::temp_dir().join(format!("nsctl-health-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        let times = spec::Health { interval: 10, timeout: 5, start_period: 100, retries: 2 };
        let mut health = Health::new(dir.as_fd(), times).unwrap();
        let line = || std::fs::read_to_string(path.join("health")).unwrap();
        let said = || line().split(' ').next().unwrap().to_string();
        assert_eq!(health.next(), None);
        health.begin(0);
        let (good, bad) = (Ended::Exited(0), Ended::Exited(1));
        let mut ask = |now: u64, how| {
            // A number that no process has.
            health.act(now, || Ok(Process { pid: i32::MAX, pidfd: None }));
            assert!(health.check.is_some() && health.next() == Some(now + 5));
            assert_eq!(health.ended(1, how, now), None);
            let news = health.ended(i32::MAX, how, now);
            assert_eq!(health.next(), Some(now + 10));
            news
        };
        assert_eq!((ask(10, bad), ask(20, bad), ask(30, bad)), (None, None, None));
        assert_eq!((said().as_str(), line().len()), ("starting", LENGTH - 1));
        assert_eq!((ask(100, bad), ask(110, bad), ask(120, bad)), (None, Some("unhealthy"), None));
        assert_eq!((ask(130, good), ask(140, good), said().as_str()), (Some("healthy"), None, "healthy"));
        assert_eq!((ask(150, bad), ask(160, good), ask(170, bad)), (None, None, None));
        assert_eq!((ask(180, Ended::Killed(9)), said().as_str()), (Some("unhealthy"), "unhealthy"));
        assert!(line().starts_with("unhealthy 2 137 "));
        std::fs::remove_dir_all(path).unwrap();
    }
}
