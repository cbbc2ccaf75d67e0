//! `nsctl run` and `nsctl simple`: the whole road, Command → Spec → Plan → launch → supervise.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::child::close_from;
use crate::cli;
use crate::commands::program::{Environ, candidates, environ, find, search_path};
use crate::commands::seat::{self, Aim, Found};
use crate::commands::{ids, machine, print, rootless};
use crate::error::{Error, FAILED, NOT_FOUND, Result};
use crate::explain;
use crate::ground;
use crate::launch::{self, Container};
use crate::linux::landlock::Abi;
use crate::linux::process::Ended;
use crate::linux::text::shown;
use crate::linux::{cgroup, sys, userns};
use crate::network::Holding;
use crate::plan::{DEFAULT_PATH, Ground, Host, MOMENT, Plan};
use crate::reaper;
use crate::relay::{Input, Keys, Relay, Remote};
use crate::spec::{Changes, Ids, Spec};
use crate::state::events::Value;
use crate::state::{self, State, Words};
use crate::supervise;

pub(crate) fn run(typed: Box<cli::Run>) -> Result<u8> {
    let (explain, verbose) = (typed.explain, typed.verbose);
    if typed.detach || typed.create {
        close_callers(&typed);
    }
    let Prepared { plan, state, lease, holding } = prepare(typed)?;
    if plan.keep.is_some() && !explain {
        return detached(&plan, verbose, state, lease, holding);
    }
    if explain {
        print(&explain::explain(&plan))?;
        return Ok(0);
    }
    let code = execute(&plan, verbose, state, holding, &|_| {});
    drop(lease);
    // The process ends now, and with it all its memory.
    std::mem::forget(plan);
    code
}

/// Before anything is opened: what the caller has open would stay open in nsctl inside for as long as the container lives, and who
/// waits for the end of a pipe would wait for that. A number that is none is refused later.
fn close_callers(typed: &cli::Run) {
    let handed_on = typed.preserve_fds.as_deref().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let _ = close_from(3 + handed_on.min(1024), None);
}

/// `run --detach` and `create`: prints the id when the command runs, or waits for its start.
#[inline(never)]
fn detached(
    plan: &Plan,
    verbose: bool,
    state: Option<State>,
    lease: Option<OwnedFd>,
    holding: Holding,
) -> Result<u8> {
    if state.is_none() {
        return Err(Error::new("there is no place for the state of a container that lives on")
            .hint("--root DIR names one; otherwise it is in /run, /dev/shm or /tmp"));
    }
    let container = launch::start(plan, verbose, state, None, holding)?;
    drop(lease);
    std::mem::forget(container);
    print(&format!("{}\n", plan.id))?;
    Ok(0)
}

/// The plan of a container that is there, as it was made the first time; or only of its files.
pub(crate) fn plan_again(
    mut typed: Box<cli::Run>,
    container: &super::container::Container,
    words: Words,
    aim: Aim,
) -> Result<Prepared> {
    let ids = rootless::enter_for(&mut typed)?;
    let root = Spec::root(&typed)?;
    let mut found = root.as_ref().map(|root| ground::find(root, false)).transpose()?;
    let defaults = found.as_mut().map(|found| std::mem::take(&mut found.defaults)).unwrap_or_default();
    let mut spec = Spec::new(*typed, root, &defaults)?;
    // It may have been renamed.
    spec.name = Some(container.record().name.clone()).filter(|name| !name.is_empty());
    if aim == Aim::Files {
        spec.want_only_files();
    }
    let (lower, lease) = found.map_or((None, None), |found| (Some(found.lower), found.lease));
    let ids = ids::settle(ids, &spec, Some(&container.state), &container.record().id, aim)?;
    let mut found = seat::seat(&spec, Some(&container.state), &container.record().id, aim)?;
    let mut ground = ground::look(&spec)?;
    ground.userns = ids.maps;
    found.holding.ids = ids.lease;
    found.settle(&mut spec, &mut ground);
    let Found { seat, own, pasta, holding, .. } = found;
    let host = Host {
        lower,
        seat,
        own,
        pasta,
        ground,
        id: container.record().id.clone(),
        ..host(&spec, Some(container.place.clone()), words.environ.clone())?
    };
    let mut plan = Plan::new(spec, Host { words: Some(words), ..host })?;
    if aim == Aim::Files {
        plan.want_only_files();
    }
    Ok(Prepared { plan, state: None, lease, holding })
}

/// What a start needs.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    state: Option<State>,
    /// Keeps an image of the store from being removed.
    pub(crate) lease: Option<OwnedFd>,
    pub(crate) holding: Holding,
}

/// All that is decided before the clone. A function of its own: what it needs of the stack is given back, and the child does not
/// get a copy of each page of it.
#[inline(never)]
fn prepare(mut typed: Box<cli::Run>) -> Result<Prepared> {
    let explain = typed.explain;
    let ids = match rootless::enter_for(&mut typed) {
        // What would be done can be said all the same.
        Err(_) if explain && Ids::asked(&typed).is_none() => None,
        other => other?,
    };
    let root = Spec::root(&typed)?;
    let mut found = root.as_ref().map(|root| ground::find(root, explain)).transpose()?;
    let defaults = found.as_mut().map(|found| std::mem::take(&mut found.defaults)).unwrap_or_default();
    let words = std::mem::take(&mut typed.words);
    let mut spec = Spec::new(*typed, root, &defaults)?;
    for fd in 3..3 + spec.preserve_fds {
        if !sys::is_open(fd as i32) {
            return Err(Error::new(format_args!(
                "--preserve-fds {}: descriptor {fd} is not open",
                spec.preserve_fds
            )));
        }
    }
    // To explain is not to make: the first place is where it would be.
    let (place, state) = if explain { (state::places().into_iter().next(), None) } else { state::place().unzip() };
    if state.is_none()
        && !explain
        && let Some((dir, errno)) = state::asked()
    {
        return Err(unusable(&dir, errno));
    }
    let (lower, lease) = found.map_or((None, None), |found| (Some(found.lower), found.lease));
    rootless::refuse(&spec, lower.as_ref())?;
    let mut host = Host { lower, ground: ground::look(&spec)?, ..host(&spec, place, environ())? };
    if spec.keep.is_some() {
        let directory = std::env::current_dir().map_or_else(|_| "/".into(), |dir| dir.into_os_string());
        host.words = Some(Words { directory, words, environ: host.environ.clone() });
        // Of some hundreds, two may well come to the same name by chance: not so with another id.
        while spec.name.is_none() {
            let name = super::names::made_of(&host.id);
            if state.as_ref().is_some_and(|state| state.id_of(&name).is_some()) {
                host.id = fresh_id()?;
            } else {
                spec.name = Some(name);
            }
        }
    }
    let aim = if explain { Aim::Explain } else { Aim::Start };
    let ids = ids::settle(ids, &spec, state.as_ref(), &host.id, aim)?;
    let mut found = seat::seat(&spec, state.as_ref(), &host.id, aim)?;
    host.ground.userns = ids.maps;
    found.holding.ids = ids.lease;
    found.settle(&mut spec, &mut host.ground);
    warn(&spec, &host, explain)?;
    let Found { seat, own, pasta, holding, .. } = found;
    Ok(Prepared { plan: Plan::new(spec, Host { seat, own, pasta, ..host })?, state, lease, holding })
}

/// The directory of `--root` or `NSCTL_ROOT`.
pub(super) fn unusable(dir: &CStr, errno: Errno) -> Error {
    let error = Error::os(format_args!("use the state directory {}", shown(dir)), errno);
    error.hint("it must be the caller's own, and not writable by others: chmod 700; it is made below an existing one")
}

/// What will be less than was to be expected.
fn warn(spec: &Spec, host: &Host, explain: bool) -> Result<()> {
    if host.state.is_none() && !explain {
        eprintln!(
            "nsctl: warning: no place for state in /run, /dev/shm or /tmp; nsctl ps will not list this container"
        );
    }
    if let Some(server) = &host.ground.unreachable {
        eprintln!(
            "nsctl: warning: the DNS server {server} is the host's own and not in reach from another network; --dns names one"
        );
    }
    if host.ground.no_seccomp {
        eprintln!("nsctl: warning: the command may make any system call: {}", crate::seccomp::NEEDS);
    }
    let changes = spec.root.as_ref().map(|root| (&root.changes, root.read_only));
    if let Some((Changes::Memory { asked: false, .. }, false)) = changes
        && !host.ground.overlay
    {
        let why = match userns::own() {
            Some(_) => "an ordinary user has no overlayfs here (Linux 5.11)",
            None => "this kernel has no overlayfs (CONFIG_OVERLAY_FS)",
        };
        eprintln!("nsctl: warning: {why}: the root is read-only");
    }
    if let Some(lacks) = spec.landlock_lacks(host.landlock)? {
        eprintln!("nsctl: warning: {lacks}");
    }
    Ok(())
}

#[inline(never)]
pub(crate) fn simple(typed: cli::Simple) -> Result<u8> {
    rootless::enter()?;
    let shell = if find("bash", &search_path(&environ())).is_ok() { "bash" } else { "sh" };
    let spec = Spec::simple(shell)?;
    let host = Host { ground: ground::look(&spec)?, ..host(&spec, None, environ())? };
    let plan = Plan::new(spec, host)?;
    if typed.explain {
        print(&explain::explain(&plan))?;
        return Ok(0);
    }
    print("[ns] creating PID, UTS, and mount namespaces\n")?;
    execute(&plan, typed.verbose, None, Holding::default(), &|pid| {
        // A container that runs is not ended for a line that nobody can read.
        let _ = print(&format!("[ns] started {shell} with PID {pid} in isolated namespaces\n"));
    })
}

/// Starts the planned container, waits for its end and clears up.
fn execute(plan: &Plan, verbose: bool, state: Option<State>, holding: Holding, started: &dyn Fn(i32)) -> Result<u8> {
    let mut container = launch::start(plan, verbose, state, None, holding)?;
    let pid = container.process.as_ref().map_or(0, |process| process.pid);
    started(pid);
    let failed = if verbose { container.follow(plan) } else { None };
    let mut relay = relay(plan, &mut container);
    let ended = supervise(plan, &mut container, relay.as_deref_mut());
    // The caller's terminal is its own again, before anything is said on it.
    drop(relay);
    let ended = ended?;
    let code = reaper::code(ended);
    let failed = failed.or_else(|| if (FAILED..=NOT_FOUND).contains(&code) { container.failure(plan) } else { None });
    let memory = container.memory(plan);
    container.clear_up(plan);
    if let (Some(memory), Some(limit)) = (memory, plan.memory) {
        out_of_memory(&memory, limit, ended);
    }
    // The process ends now, and the kernel closes all of it at once.
    std::mem::forget(container);
    match failed {
        Some(error) => Err(error),
        None => Ok(code),
    }
}

/// Between the caller's streams and the terminal, if there is one.
pub(crate) fn relay(plan: &Plan, container: &mut Container) -> Option<Box<Relay>> {
    let master = container.terminal.take()?;
    Some(relay_of(master, plan, container))
}

/// Apart and on the heap: its buffers would be part of the caller's frame, each page of which is touched, and copied for the child,
/// also where there is no terminal.
#[inline(never)]
fn relay_of(master: OwnedFd, plan: &Plan, container: &mut Container) -> Box<Relay> {
    let callers = container.callers_terminal();
    Box::new(Relay::new(Remote::terminal(master), Input::new(callers, plan.interactive), Keys::none()))
}

/// Waits for the container's end; one that runs for longer than a moment is recorded for `ps`.
fn supervise(plan: &Plan, container: &mut Container, mut relay: Option<&mut Relay>) -> Result<Ended> {
    let mut wait = |container: &Container, time| {
        let process = container.process.as_ref()?;
        match &mut relay {
            Some(relay) => supervise::wait_relaying(process, relay, time),
            None => supervise::wait(process, time),
        }
    };
    if let Some(ended) = wait(container, Some(MOMENT)) {
        return Ok(ended);
    }
    container.record_late(plan)?;
    container.note(plan, "start", &[]);
    let ended = wait(container, None).unwrap_or(Ended::Killed(libc::SIGKILL));
    container.note(plan, "die", &[("exitCode", Value::Number(reaper::code(ended).into()))]);
    Ok(ended)
}

/// An exit status of 137 alone leaves its reader guessing.
fn out_of_memory(memory: &cgroup::Memory, limit: u64, ended: Ended) {
    if memory.killed == 0 {
        return;
    }
    let peak = memory.peak.map_or(String::new(), |bytes| format!(" (peak {})", amount(bytes)));
    let who = match reaper::code(ended) {
        _ if memory.as_group => format!("all {} process(es) of the container killed by the kernel", memory.killed),
        137 => "killed by the kernel".to_string(),
        _ => format!("{} process(es) of the container killed by the kernel", memory.killed),
    };
    let limit = amount(limit);
    let swap = match memory.swap {
        Some(0) => " and swap 0".into(),
        Some(bytes) => format!(" and swap {}", amount(bytes)),
        None => String::new(),
    };
    let why = if memory.own_limit {
        format!("memory limit {limit}{swap} reached")
    } else {
        format!("a cgroup above, or the machine, had no memory left; the limit {limit} was not reached")
    };
    eprintln!("nsctl: {who}: {why}{peak}");
}

/// "64 MiB", "1.5 MiB", "4 KiB", "100 bytes".
pub(super) fn amount(bytes: u64) -> String {
    if bytes < 1 << 10 {
        return format!("{bytes} bytes");
    }
    let (unit, name) = if bytes >= 1 << 20 { (1 << 20, "MiB") } else { (1 << 10, "KiB") };
    let tenths = bytes.saturating_mul(10).saturating_add(unit / 2) / unit;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        rest => format!("{}.{rest} {name}", tenths / 10),
    }
}

/// What the plan has to know of this machine.
fn host(spec: &Spec, state: Option<CString>, environ: Environ) -> Result<Host> {
    let path = spec.env.iter().rev().find_map(|(name, value)| if name == "PATH" { value.clone() } else { None });
    let command = OsStr::from_bytes(spec.argv[0].to_bytes());
    let programs = match (&spec.root, path) {
        // The container's files are not in sight yet.
        (Some(_), path) => candidates(command, &path.unwrap_or_else(|| DEFAULT_PATH.into()))?,
        (None, path) => vec![find(command, &path.unwrap_or_else(|| search_path(&environ)))?],
    };
    Ok(Host {
        id: fresh_id()?,
        programs,
        lower: None,
        seat: None,
        own: None,
        pasta: None,
        ground: Ground::default(),
        hierarchies: machine::hierarchies(spec)?,
        disks: machine::disks(&spec.limits)?,
        state,
        words: None,
        environ,
        landlock: if spec.privileges.landlock.is_some() { Abi::here() } else { Abi::default() },
    })
}

/// Twelve hexadecimal digits, as docker shows ids.
fn fresh_id() -> Result<String> {
    let mut bytes = [0u8; 6];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK)
        .map_err(|errno| Error::os("get random bytes for an id", errno))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_memory() {
        for (bytes, text) in
            [(1, "1 bytes"), (4096, "4 KiB"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (3 << 19, "1.5 MiB")]
        {
            assert_eq!(amount(bytes), text);
        }
        assert!(amount(u64::MAX).ends_with(" MiB"));
    }
}
