//! Starting a container that is there: one that waits for it, or one that has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::container::{Container, REFUSED};
use super::run::{self, Prepared};
use super::seat::Aim;
use crate::cli::{self, Command};
use crate::error::{Error, Result};
use crate::launch;
use crate::linux::process::Process;
use crate::linux::userns::Maps;
use crate::linux::{file, socket, sys};
use crate::monitor;
use crate::plan::Op;
use crate::state::{Claim, Phase, Words};
use crate::sync;

pub(crate) fn start(container: &Container) -> Result<()> {
    match container.phase() {
        // docker's start of what runs is content.
        Phase::Running | Phase::Restarting => Ok(()),
        Phase::Created if container.entry.alive => first_start(container),
        Phase::Created | Phase::Exited => again(container, false),
    }
}

/// One that has ended waits for its start again.
pub(super) fn prepare(container: &Container) -> Result<()> {
    match container.phase() {
        Phase::Created if container.entry.alive => Ok(()),
        _ => again(container, true),
    }
}

/// nsctl inside starts the command; a socket that goes with the request tells why it could not, and is closed by its execve(2).
pub(super) fn first_start(container: &Container) -> Result<()> {
    let at_work = |_| container.refused("is being started or removed by somebody else");
    let Some(control) = container.connect().map_err(at_work)? else { return Ok(()) };
    let ask = || {
        let pair = sync::pair()?;
        socket::send(&control, &[monitor::START], Some(pair.1.as_fd()))?;
        Ok(pair.0)
    };
    let answers = ask().map_err(|errno: Errno| {
        Error::os(format_args!("start container {}", container.shown()), errno).code(REFUSED)
    })?;
    failure(container, answers.as_fd())
}

fn failure(container: &Container, answers: BorrowedFd<'_>) -> Result<()> {
    let Some(first) = sync::receive(answers, true) else { return Ok(()) };
    // The plan says what the numbers in a message mean.
    let plan = plan(container, false, Aim::Decode)?.plan;
    match launch::meaning(&plan, container.record().pid, answers, first, true, &mut None) {
        Some(error) => {
            // Whoever hears of it finds it ended.
            container.process().iter().for_each(|process| _ = process.wait(Some(1000)));
            Err(error.within(format_args!("start container {}", container.shown())))
        }
        None => Ok(()),
    }
}

/// The files of a container that has ended, as its next start would make them; it is locked, and they are there until this is dropped.
pub(super) struct Files {
    made: launch::Container,
    _lease: Option<OwnedFd>,
    /// What is changed in the root is gone then.
    pub(super) in_memory: bool,
    ids: Option<Maps>,
}

impl Files {
    pub(super) fn make(container: &Container) -> Result<Self> {
        let claim = claim(container)?;
        let here = file::handle(c".").map_err(|errno| Error::os("open the working directory", errno))?;
        let make = || {
            let Prepared { plan, lease, holding, .. } = plan(container, false, Aim::Files)?;
            let made = launch::start(&plan, false, None, Some(claim), holding)?;
            let in_memory = plan.steps.iter().any(|step| matches!(step.op, Op::OverlayRoot { upper: None, .. }));
            Ok((made, lease, in_memory, plan.userns))
        };
        let made = make();
        // Relative paths of the caller's are still to come.
        let _ = rustix::process::fchdir(here);
        let (made, lease, in_memory, ids) = made.map_err(|error: Error| {
            error.within(format_args!("make the files of container {}", container.shown()))
        })?;
        // Ctrl-C is to end this: then the files go, too.
        let _ = sys::block_exactly(made.inherited.mask);
        Ok(Self { made, _lease: lease, in_memory, ids })
    }

    /// Of a container that root gives ids of its own.
    pub(super) fn ids(&self) -> Option<&Maps> {
        self.ids.as_ref()
    }

    /// Whose root they are in.
    pub(super) fn pid(&self) -> i32 {
        self.made.process.as_ref().map_or(0, |process| process.pid)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.made.process.iter().for_each(Process::end);
    }
}

/// Nobody else can start or remove it meanwhile.
fn claim(container: &Container) -> Result<Claim> {
    let claim = container.state.reclaim(&container.record().id);
    claim
        .map_err(|errno| Error::os(format_args!("lock container {}", container.shown()), errno).code(REFUSED))?
        .ok_or_else(|| container.refused("is being started or removed by somebody else, or copied from"))
}

/// The whole road once more, with the words of the first time.
fn again(container: &Container, wait: bool) -> Result<()> {
    let claim = claim(container)?;
    // A start before this one may have been killed when it had made some.
    container.state.remove_groups(container.record());
    let Prepared { plan, lease, holding, .. } = plan(container, wait, Aim::Start)?;
    let state = crate::state::State::open(&container.place)
        .map_err(|errno| Error::os("open the state directory", errno).code(REFUSED))?;
    let started = launch::start(&plan, false, Some(state), Some(claim), holding);
    drop(lease);
    std::mem::forget(started.map_err(|error| error.within(format_args!("start container {}", container.shown())))?);
    Ok(())
}

fn plan(container: &Container, wait: bool, aim: Aim) -> Result<Prepared> {
    let within = |errno| Error::os(format_args!("read what container {} was made of", container.shown()), errno);
    let words = Words::read(container.dir()).map_err(within)?;
    rustix::process::chdir(&words.directory)
        .map_err(|errno| Error::os(format_args!("change to the directory {}", words.directory.display()), errno))?;
    let Command::Run(mut typed) = cli::parse(words.words.clone())?.command else {
        return Err(Error::new("the words of a container are no run"));
    };
    (typed.create, typed.detach) = (wait, true);
    run::plan_again(typed, container, words, aim)
}
