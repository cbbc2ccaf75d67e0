//! `nsctl exec`: one more command in a container that runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::container::{Container, find};
use super::{print, program, rootless, run};
use crate::cli;
use crate::error::{Error, FAILED, NOT_FOUND, Result};
use crate::explain;
use crate::launch;
use crate::linux::join::{Refusal, Target};
use crate::linux::landlock::Abi;
use crate::linux::process::Ended;
use crate::linux::{file, sys, userns};
use crate::plan::{DEFAULT_PATH, Plan};
use crate::reaper;
use crate::seccomp::Filter;
use crate::spec::Exec;
use crate::state::events::Value;
use crate::state::{self, Seccomp};
use crate::supervise;

#[inline(never)]
pub(crate) fn exec(typed: cli::Exec) -> Result<u8> {
    let (explain, verbose, detach) = (typed.explain, typed.verbose, typed.detach);
    let container = find(&typed.container)?;
    container.must_be_made()?;
    if container.record().is_frozen() == Some(true) {
        return Err(container.refused("is paused").hint("nsctl unpause lets it go on"));
    }
    let spec = Exec::new(typed, container.record(), filter(&container)?)?;
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    let command = OsStr::from_bytes(spec.argv[0].to_bytes());
    let programs = program::candidates(command, &path.unwrap_or_else(|| DEFAULT_PATH.into()))?;
    let words: Vec<_> = spec.argv.iter().map(|word| word.to_string_lossy()).collect();
    let command = words.join(" ");
    rootless::join(&container)?;
    let abi = if spec.privileges.landlock.is_some() { Abi::here() } else { Abi::default() };
    let plan = Plan::exec(spec, container.record(), programs, abi, userns::own());
    if explain {
        print(&explain::explain(&plan))?;
        return Ok(0);
    }
    let target = target(&container)?;
    // A root inside can read it of whoever comes in, before the command is executed.
    sys::wipe_environment();
    // Once it has ended, its PID namespace makes no more processes (ENOMEM), and its groups go.
    let started = launch::start_in(&plan, verbose, target);
    let mut started = started.map_err(|error| container.process().err().unwrap_or(error))?;
    container.note("exec_start", &[("command", Value::Text(&command))]);
    if detach {
        std::mem::forget(started);
        return Ok(0);
    }
    let failed = if verbose { started.follow(&plan) } else { None };
    let mut relay = run::relay(&plan, &mut started);
    let ended = started.process.as_ref().and_then(|process| match &mut relay {
        Some(relay) => supervise::wait_relaying(process, relay, None),
        None => supervise::wait(process, None),
    });
    drop(relay);
    let code = reaper::code(ended.unwrap_or(Ended::Killed(libc::SIGKILL)));
    let failed = failed.or_else(|| if (FAILED..=NOT_FOUND).contains(&code) { started.failure(&plan) } else { None });
    // The process ends now. To drop a string is to write to it, and its page is shared with the command until then.
    std::mem::forget((started, plan, container));
    failed.map_or(Ok(code), Err)
}

/// The filter that the container's own command has.
fn filter(container: &Container) -> Result<Option<Filter>> {
    let privileges = &container.record().privileges;
    match privileges.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => Ok(Some(Filter::default(privileges.capabilities))),
        Seccomp::Profile => {
            let bytes = file::read(container.dir(), state::SECCOMP).map_err(|errno| {
                Error::os(format_args!("read the seccomp filter of {}", container.shown()), errno)
            })?;
            let broken = || container.refused("has a seccomp filter on record that cannot be read");
            Filter::restore(&bytes).map(Some).ok_or_else(broken)
        }
    }
}

/// What is joined, made sure of: its namespaces are those that were recorded.
fn target(container: &Container) -> Result<Target> {
    let record = container.record();
    if !record.namespaces.contains_key("mnt") {
        return Err(container
            .refused("has no namespaces to go into (--isolate=landlock)")
            .hint("nsctl run with the same options confines another command in the same way"));
    }
    let user = record.user_namespace.as_ref().map(|user| user.inode);
    let target = Target::open(container.process()?, |name| record.namespaces.get(name).copied(), user);
    let target = target.map_err(|refusal| match refusal {
        Refusal::Changed(name) => container
            .refused(&format!("is in another {name} namespace than it was started in"))
            .hint("its process is not the one that was recorded, or it went elsewhere: nothing is executed there"),
        Refusal::Proc(what, errno) => Error::os(
            format_args!("look at {what} of the process {} of container {}", record.pid, container.shown()),
            errno,
        )
        .hint("exec needs a mounted /proc, and the rights over the container"),
    })?;
    // Alive still: it was all the time, and its pid is its own.
    if container.state.is_alive(&container.entry) { Ok(target) } else { Err(container.refused("has just ended")) }
}
