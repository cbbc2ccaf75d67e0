//! PID 1 of a container that lives on: a reaper that also keeps its log, its streams and its status, and starts it again.
//!
//! It is the only process of nsctl's that is left. Everything that happens comes through poll(2): a signal, output of the command,
//! somebody at the control socket, or a time to do something. Nothing is allocated after the start. What it writes to is outside of
//! the container, and reached by descriptors. While somebody who is attached does not read, the command's output is not read
//! either, so that nothing is lost; signals are taken all the same.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFlags, Timespec};
use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;
use rustix::termios::Winsize;

use crate::linux::process::{self, Ended, Process};
use crate::linux::{clock, sys};
use crate::reaper::{self, LeftBehind};
use crate::spec::{Keep, Restart};
use crate::state::events::Value;
use crate::state::{self, Cause, Phase, Status};
use crate::sync;

pub(crate) mod clients;
mod health;
mod log;
mod outside;
mod polled;
pub(crate) use clients::{ATTACH, SIGNAL, SIZE, START};
use clients::{Clients, Request};
use health::Health;
use log::Log;
pub(crate) use log::make as make_log;
use outside::Outside;
use polled::Polled;

/// What the starter made for it, all close-on-exec.
pub(crate) struct Files {
    /// The container's directory in the state directory.
    pub(crate) dir: OwnedFd,
    pub(crate) status: OwnedFd,
    /// Listens.
    pub(crate) control: OwnedFd,
    pub(crate) log: Option<OwnedFd>,
    /// The other ends of what the command has as 0 (if it is open for input), 1 and 2; they do not block.
    pub(crate) streams: [Option<OwnedFd>; 3],
    /// The first two are the master of a terminal.
    pub(crate) terminal: bool,
}

/// The most that is taken of a stream at once.
const CHUNK: usize = 4096;
/// How often at most before signals and requests have their turn: some commands never stop writing.
const TURN: usize = 16;
/// How often after the end: more than pipes hold. Somebody outside of the container may have been handed one, and write on.
const LAST: usize = 1 << 15;

/// docker's: the first wait, the longest, and how long a command must have run for the next wait to be the first again.
const FIRST_WAIT: u64 = 100;
const LONGEST_WAIT: u64 = 60_000;
const RAN_WELL: u64 = 10_000;

pub(crate) enum What {
    /// The command; what it says of its way there is told to the descriptor.
    Command(OwnedFd),
    /// The one that asks how it is.
    Check,
}

type Spawn<'a> = &'a mut dyn FnMut(What) -> Result<Process, Errno>;

struct Monitor<'a> {
    files: &'a Files,
    input: Option<OwnedFd>,
    outside: &'a Outside<'a>,
    keep: Keep,
    spawn: Spawn<'a>,
    signals: OwnedFd,
    command: Option<Process>,
    status: Status,
    log: Log<'a>,
    health: Option<Health>,
    clients: Clients,
    /// When to start the command again, in milliseconds of the monotonic clock.
    again_at: Option<u64>,
    wait: u64,
    began: u64,
    tries: u32,
    /// How often the kernel had killed for want of memory when the command was started.
    oom_kills: u64,
}

/// `starter` hears why the command could not be executed, or that it waits for its start.
pub(crate) fn run(
    files: &mut Files,
    left_behind: &LeftBehind,
    keep: Keep,
    starter: Option<OwnedFd>,
    spawn: Spawn<'_>,
) -> ! {
    let (Ok(signals), Ok(outside)) = (sys::signal_fd(), Outside::new(left_behind)) else {
        sys::exit(crate::error::FAILED)
    };
    // What making the container took of it, and this does not.
    sys::forget_unused_stack();
    serve(files, &outside, keep, signals, starter, spawn)
}

#[inline(never)]
fn serve(
    files: &mut Files,
    outside: &Outside<'_>,
    keep: Keep,
    signals: OwnedFd,
    starter: Option<OwnedFd>,
    spawn: Spawn<'_>,
) -> ! {
    let (input, log) = (files.streams[0].take(), files.log.take());
    let files = &*files;
    let mut monitor = Monitor {
        files,
        input,
        outside,
        keep,
        spawn,
        signals,
        command: None,
        status: Status::created(),
        log: Log::new(files.dir.as_fd(), log, keep.log),
        health: keep.health.and_then(|times| Health::new(files.dir.as_fd(), times).ok()),
        clients: Clients::new(),
        again_at: None,
        wait: FIRST_WAIT,
        began: 0,
        tries: 0,
        oom_kills: 0,
    };
    if keep.wait_for_start {
        if let Some(starter) = starter {
            let _ = sync::Message::Ready.send(starter);
        }
    } else {
        monitor.start(starter);
    }
    loop {
        monitor.wait_for_something();
        monitor.take_signals();
        monitor.take_requests();
        monitor.take_output();
        if monitor.again_at.is_some_and(|time| time <= now()) {
            monitor.start_again();
        }
        if let Some(health) = &mut monitor.health {
            health.act(now(), || (monitor.spawn)(What::Check));
        }
    }
}

fn now() -> u64 {
    clock::micros() / 1000
}

impl Monitor<'_> {
    /// Whoever waits for the end-of-file of `tell` finds a status that says that it runs, or how it ended. What cannot be executed
    /// is not tried again: it is docker's rule, and there is nobody to see that it fails again and again.
    fn start(&mut self, tell: Option<OwnedFd>) {
        self.oom_kills = self.outside.oom_kills();
        match self.execute(tell.as_ref()) {
            Ok(command) => self.command = Some(command),
            Err(how) => self.finish(how, Cause::NotStarted),
        }
        sys::forget_unused_stack();
        if self.keep.restart == Restart::No && self.keep.health.is_none() {
            // The plan was for the command, which runs; and nothing else of ours is on the heap.
            sys::forget_heap();
        }
        self.began = now();
        if let Some(health) = &mut self.health {
            health.begin(self.began);
        }
        self.status.phase = Phase::Running;
        self.status.started = clock::epoch_seconds();
        self.status.pid = self.command.as_ref().map_or(0, |command| command.pid as u32);
        self.write_status();
        self.note("start", &[]);
    }

    /// Waits for its execve(2), which closes the other end of the pair. Err: how it ended before that.
    #[inline(never)]
    fn execute(&mut self, tell: Option<&OwnedFd>) -> Result<Process, Ended> {
        let failed = |_| Ended::Exited(crate::error::FAILED);
        let (ours, theirs) = sync::pair().map_err(failed)?;
        let command = (self.spawn)(What::Command(theirs)).map_err(failed)?;
        match sync::hand_on(&ours, tell) {
            true => Ok(command),
            false => Err(command.wait().unwrap_or(Ended::Exited(crate::error::FAILED))),
        }
    }

    fn note(&self, event: &str, attributes: &[(&str, Value<'_>)]) {
        self.outside.note(event, attributes);
    }

    fn start_again(&mut self) {
        if self.is_to_stop() {
            self.leave_between_starts();
        }
        self.again_at = None;
        self.start(None);
    }

    fn leave_between_starts(&mut self) -> ! {
        self.status.phase = Phase::Exited;
        self.leave(self.status.code)
    }

    /// What cannot be written is lost, and no reason to stop: the container matters more.
    fn write_status(&self) {
        let _ = self.status.write(&self.files.status);
    }

    /// Blocks until something can be done.
    fn wait_for_something(&self) {
        let mut polled = Polled::new(self.signals.as_fd());
        if self.clients.have_room() {
            polled.add(self.files.control.as_fd(), PollFlags::IN);
        }
        if !self.clients.owe() {
            self.outputs().for_each(|(_, stream)| polled.add(stream, PollFlags::IN));
        }
        self.clients.poll(self.input.as_ref().map(AsFd::as_fd), &mut polled);
        let next = self.health.as_ref().and_then(Health::next);
        let time = self.again_at.into_iter().chain(next).min().map(|at| {
            let milliseconds = at.saturating_sub(now());
            Timespec { tv_sec: (milliseconds / 1000) as i64, tv_nsec: (milliseconds % 1000 * 1_000_000) as i64 }
        });
        // Whatever it says, everything is looked at without blocking.
        let _ = rustix::event::poll(polled.all(), time.as_ref());
    }

    fn outputs(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let stream = |number: usize| Some((number, self.files.streams[number].as_ref()?.as_fd()));
        (1..3).filter_map(stream)
    }

    fn take_signals(&mut self) {
        while let Some(taken) = sys::take_pending(self.signals.as_fd()) {
            if taken.signal != libc::SIGCHLD {
                self.signal(taken.signal);
            }
        }
        // SIGCHLD of several is one.
        let mut ended = None;
        while let Some((pid, how)) = process::reap() {
            if self.command.as_ref().is_some_and(|command| command.pid == pid) {
                ended = Some(how);
            } else if let Some(news) = self.health.as_mut().and_then(|health| health.ended(pid, how, now())) {
                self.note("health_status", &[("health", Value::Text(news))]);
            }
        }
        if let Some(how) = ended {
            self.command = None;
            self.ended(how);
        }
    }

    fn signal(&mut self, signal: i32) {
        match &self.command {
            // ESRCH: it has ended, and SIGCHLD is on its way.
            Some(command) => drop(sys::kill(command.pid, signal)),
            // Between two starts there is nobody to take it: there will be no next one.
            None if self.again_at.is_some() && self.is_to_stop() => {
                self.leave_between_starts();
            }
            // Before the first one neither: it was told to go while it has something of the host's.
            None if self.status.phase == Phase::Created && signal == libc::SIGKILL && self.is_to_stop() => {
                self.leave(crate::error::SIGNALED + libc::SIGKILL as u8)
            }
            None => {}
        }
    }

    fn is_to_stop(&self) -> bool {
        rustix::fs::accessat(&self.files.dir, state::STOPPING, Access::EXISTS, AtFlags::empty()).is_ok()
    }

    fn take_requests(&mut self) {
        self.clients.accept(self.files.control.as_fd());
        while let Some(request) = self.clients.request(&mut self.input) {
            match request {
                Request::Signal(signal) => self.signal(signal),
                Request::Start(tell) if self.status.phase == Phase::Created => self.start(tell),
                Request::Start(_) => {}
                Request::Size([ws_row, ws_col]) => {
                    if let Some(master) = self.files.streams[1].as_ref().filter(|_| self.files.terminal) {
                        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
                        let _ = rustix::termios::tcsetwinsize(master, size);
                    }
                }
            }
        }
    }

    fn take_output(&mut self) {
        for _ in 0..TURN {
            if !(self.pass_on(1) | self.pass_on(2)) {
                return;
            }
        }
    }

    /// Takes what one stream has; false: nothing.
    fn pass_on(&mut self, number: usize) -> bool {
        if self.clients.owe() {
            return false;
        }
        let Some(stream) = &self.files.streams[number] else { return false };
        match rustix::io::read(stream, self.clients.room()) {
            Ok(length) if length > 0 => {
                self.log.write(number, self.clients.output(number, length));
                true
            }
            // EAGAIN: nothing now.
            _ => false,
        }
    }

    /// The command has ended, and with it the rest of the container; or it begins anew.
    fn ended(&mut self, how: Ended) {
        // We are PID 1 of a namespace of our own: -1 is everyone in it, and nobody else.
        let _ = sys::kill(-1, libc::SIGKILL);
        process::reap_all();
        if let Some(health) = &mut self.health {
            health.end();
        }
        self.take_output();
        let more_killed = self.outside.oom_kills() > self.oom_kills;
        let cause = if more_killed { Cause::OutOfMemory } else { Cause::None };
        if !self.goes_on(how) {
            self.finish(how, cause);
        }
        if now().saturating_sub(self.began) >= RAN_WELL {
            self.wait = FIRST_WAIT;
        }
        self.tries = if how == Ended::Exited(0) { 0 } else { self.tries + 1 };
        self.status.restarts += 1;
        self.set_end(Phase::Restarting, how, cause);
        self.note("restart", &[]);
        self.again_at = Some(now() + self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    fn goes_on(&self, how: Ended) -> bool {
        !self.is_to_stop()
            && match self.keep.restart {
                Restart::No => false,
                Restart::OnFailure(most) => how != Ended::Exited(0) && (most == 0 || self.tries < most),
                Restart::Always | Restart::UnlessStopped => true,
            }
    }

    fn set_end(&mut self, phase: Phase, how: Ended, cause: Cause) {
        self.status.phase = phase;
        self.status.code = reaper::code(how);
        self.status.signal = if let Ended::Killed(signal) = how { signal as u8 } else { 0 };
        self.status.cause = cause;
        self.status.finished = clock::epoch_seconds();
        self.write_status();
        if cause == Cause::OutOfMemory {
            self.note("oom", &[]);
        }
        self.note("die", &[("exitCode", Value::Number(self.status.code.into()))]);
    }

    fn finish(&mut self, how: Ended, cause: Cause) -> ! {
        self.clients.settle();
        for _ in 0..LAST {
            if !(self.pass_on(1) | self.pass_on(2)) {
                break;
            }
            self.clients.settle();
        }
        self.set_end(Phase::Exited, how, cause);
        self.leave(reaper::code(how))
    }

    fn leave(&mut self, code: u8) -> ! {
        self.outside.leave_network(self.files.dir.as_fd());
        self.outside.remove_groups();
        self.write_status();
        self.clients.end(code);
        if self.keep.remove {
            self.outside.remove();
            self.note("destroy", &[]);
        }
        sys::exit(code)
    }
}
