//! The supervisor's side of a start.
//!
//! # Theory of operation
//!
//! Everything is decided in the plan; here its steps are taken, each one system call or a few. The supervisor holds
//! all signals back, makes what the container needs outside of itself (state, cgroups), and clones once. From there
//! two processes run side by side: the container's (`child`), which needs nothing more from us, and the supervisor,
//! which records the container meanwhile. There is no round trip: the pair of sockets carries at most one message,
//! the number of the step that failed, and it is read only when the container has ended with one of nsctl's codes.
//!
//! Waits: only one, in `supervise`, for the end of the container.
//!
//! If the supervisor is killed at any point, the container's PID 1 is told by PR_SET_PDEATHSIG, or finds the pair
//! closed if that was too late, and clears up in its place. If it is killed too, the next `nsctl ps`, or the next
//! `run` with the same name, finds the lock of the state directory free and clears up.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::child::{self, Inherited};
use crate::error::{Error, Result};
use crate::linux::join::Target;
use crate::linux::net::Socket;
use crate::linux::process::{self, Process, Spawned};
use crate::linux::tty::Modes;
use crate::linux::{cgroup, clock, file, idmap, sys, upper};
use crate::network::Holding;
use crate::plan::{Group, OF_USERS, Op, Plan, Who};
use crate::reaper::LeftBehind;
use crate::state::events::{self, Event, Value};
use crate::state::{self, Claim, State};
use crate::sync::{self, Message};
use crate::verdict;

mod end;
mod groups;
mod keep;
mod listener;
mod messages;
mod net;
mod pasta;
mod reach;
pub(crate) use keep::control_address;
pub(crate) use messages::meaning;

/// A container that was started, and what is to be removed after it.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) process: Option<Process>,
    pub(crate) inherited: Inherited,
    left_behind: LeftBehind,
    state: Option<State>,
    /// Holds the lock.
    claim: Option<Claim>,
    /// The master of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
    /// What it said while its terminal was waited for.
    said: Option<Error>,
    net: Option<net::Net>,
    /// The network namespace of another container.
    joined: Option<OwnedFd>,
    /// In the host's network namespace, where no network has one.
    route: Option<Socket>,
    /// The kernel's own words for why it refused a step.
    why: String,
    /// What there is to say of a failed step, if it knows more than its number.
    error: Option<Error>,
}

/// Takes the supervisor's steps up to the wait. `state` is the open directory that the plan names, `claim` that of a container that
/// is started again. On an error nothing is left behind.
pub(crate) fn start(
    plan: &Plan,
    verbose: bool,
    state: Option<State>,
    claim: Option<Claim>,
    holding: Holding,
) -> Result<Container> {
    let mut container = Container {
        inherited: Inherited {
            verbose,
            began: if verbose { clock::micros() } else { 0 },
            sources: Vec::with_capacity(
                plan.steps.iter().filter(|step| matches!(step.op, Op::OpenSource { .. })).count(),
            ),
            _ids: holding.ids,
            ..Inherited::default()
        },
        left_behind: LeftBehind {
            id: c_string(&plan.id),
            link: plan.name.as_deref().map(state::link_name),
            group: plan.groups.first().map(|group| group.dir.clone()).unwrap_or_default(),
            stays: claim.is_some(),
            network: holding.stay,
            ..LeftBehind::default()
        },
        state,
        claim,
        joined: holding.joined,
        route: holding.route,
        ..Container::default()
    };
    container.take_all(plan)?;
    Ok(container)
}

/// The same for one more command in the container that `target` is.
pub(crate) fn start_in(plan: &Plan, verbose: bool, mut target: Target) -> Result<Container> {
    let mut container = Container {
        inherited: Inherited {
            verbose,
            began: if verbose { clock::micros() } else { 0 },
            userns: target.take_user(),
            target: Some(target),
            ..Inherited::default()
        },
        left_behind: LeftBehind { stays: true, ..LeftBehind::default() },
        ..Container::default()
    };
    container.take_all(plan)?;
    Ok(container)
}

impl Container {
    fn take_all(&mut self, plan: &Plan) -> Result<()> {
        for (index, op) in plan.steps_of(Who::Supervisor) {
            if matches!(op, Op::Wait | Op::GiveTime) {
                break;
            }
            self.take(plan, index, op)?;
            let error = match op {
                Op::AwaitStart => self.failed_start(plan),
                Op::Listen => self.messages(plan, true),
                _ => None,
            };
            if let Some(error) = error {
                if self.left_behind.stays {
                    self.let_it_note();
                }
                self.give_up(plan);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A moment for PID 1 to write down how it ended.
    fn let_it_note(&self) {
        let ended = |process: &Process| !matches!(process.ended(), Ok(None));
        for _ in 0..200 {
            if self.process.as_ref().is_none_or(ended) {
                return;
            }
            process::pause(5);
        }
    }

    /// Takes the steps that a plan puts off until the container has run for a moment.
    pub(crate) fn record_late(&mut self, plan: &Plan) -> Result<()> {
        let late = plan.steps_of(Who::Supervisor).skip_while(|(_, op)| !matches!(op, Op::GiveTime)).skip(1);
        for (index, op) in late.take_while(|(_, op)| !matches!(op, Op::Wait)) {
            self.take(plan, index, op)?;
        }
        Ok(())
    }

    /// For `nsctl events`.
    pub(crate) fn note(&self, plan: &Plan, event: &str, attributes: &[(&str, Value<'_>)]) {
        if let Some(state) = &self.left_behind.state {
            let name = plan.name.as_deref().unwrap_or_default();
            events::append(state.fd(), &Event { id: &plan.id, name, event, attributes });
        }
    }

    /// Takes one step; if it fails, ends the container and clears up.
    fn take(&mut self, plan: &Plan, index: usize, op: &Op) -> Result<()> {
        self.announce(plan, index);
        let Err(errno) = self.step(plan, op) else { return Ok(()) };
        let error = match op {
            Op::Pasta { .. } if !self.why.is_empty() => Error::new(format!("pasta does not start: {}", self.why)),
            _ => self.error.take().unwrap_or_else(|| verdict::sentence(plan, index, errno, None).because(&self.why)),
        };
        self.give_up(plan);
        // One nsctl may start several: the next one is not to begin where this one was to live.
        if let Some(net) = self.net.take() {
            let _ = net.leave();
        }
        Err(error)
    }

    fn give_up(&self, plan: &Plan) {
        if let Some(process) = &self.process {
            process.end();
        }
        self.clear_up(plan);
    }

    fn step(&mut self, plan: &Plan, op: &Op) -> std::result::Result<(), Errno> {
        let (inherited, left) = (&mut self.inherited, &mut self.left_behind);
        match op {
            // It had to be entered to make the plan.
            Op::OwnUserNamespace(_) | Op::JoinUserNamespaceOf { .. } => {}
            Op::DefaultSigchld => inherited.sigchld_ignored = sys::ignore_sigchld(false),
            Op::BlockSignals => inherited.mask = sys::block_exactly(sys::ALL_SIGNALS)?,
            Op::Pair => {
                let pair = sync::pair()?;
                (inherited.ours, inherited.theirs) = (Some(pair.0), Some(pair.1));
            }
            // It had to be opened to be chosen.
            Op::OpenState { .. } => left.state = self.state.take(),
            // It is there and locked: it is started again.
            Op::Claim if self.claim.is_some() => {}
            Op::Claim => {
                let state = left.state.as_ref().ok_or(Errno::NOENT)?;
                let claim = self.claim.insert(state.claim(&plan.id, plan.name.as_deref())?);
                plan.parent().map_or(Ok(()), |parent| claim.note_parent(parent))?;
            }
            Op::MountHierarchy { group } => cgroup::mount_v2(&plan.groups[*group].mount)?,
            Op::OpenHierarchy { group } => left.roots.push(cgroup::open_root(&plan.groups[*group].mount)?),
            Op::OpenOtherHierarchies { mounts } => {
                // One that is gone since has no group of ours.
                left.roots.extend(mounts.iter().filter_map(|mount| file::open_dir(CWD, mount).ok()));
            }
            Op::MakeParent { .. }
            | Op::Enable { .. }
            | Op::MakeGroup { .. }
            | Op::InheritCpuset { .. }
            | Op::Limit { .. }
            | Op::AllowDevices { .. }
            | Op::MakeLeaf { .. } => groups::step(plan, op, inherited, left)?,
            Op::OpenGroup { group } => {
                let Group { mount, dir, .. } = &plan.groups[*group];
                inherited.groups.push(file::open_dir(file::open_dir(CWD, mount)?, dir)?);
            }
            Op::TakeAddress(_)
            | Op::NewNetwork
            | Op::Ask { .. }
            | Op::UndoNetwork { .. }
            | Op::Member { .. }
            | Op::Lend(_)
            | Op::BackHome => {
                let around = net::Around {
                    any: inherited.ours.as_ref().ok_or(Errno::BADF)?.as_fd(),
                    route: self.route.as_ref(),
                    dir: self.claim.as_ref().map(|claim| claim.dir.as_fd()),
                    own: plan
                        .joined
                        .iter()
                        .zip(&inherited.namespaces)
                        .find_map(|(kind, fd)| (*kind == k::CLONE_NEWNET).then(|| fd.as_fd())),
                };
                net::step(plan, op, &mut self.net, left, &around).map_err(|refusal| {
                    self.why = refusal.said;
                    refusal.errno
                })?;
            }
            Op::OpenNetworkOf { .. } => inherited.namespaces.push(self.joined.take().ok_or(Errno::SRCH)?),
            Op::Pasta { netns, program, words } => {
                let process = self.process.as_ref().ok_or(Errno::SRCH)?;
                pasta::start(process, netns, program, words, inherited.mask).map_err(|refusal| {
                    self.why = refusal.said;
                    refusal.errno
                })?;
            }
            Op::Hosts(text) => {
                let claim = self.claim.as_ref().ok_or(Errno::NOENT)?;
                net::write_hosts(claim.dir.as_fd(), text)?;
            }
            Op::Rules { .. } | Op::Switch { .. } | Op::Publish(_) => {
                let stay = left.network.as_ref().ok_or(Errno::BADF)?;
                let dir = self.claim.as_ref().map(|claim| claim.dir.as_fd());
                reach::step(op, stay, dir).map_err(|error| {
                    let errno = error.errno.unwrap_or(Errno::IO);
                    self.error = Some(error);
                    errno
                })?;
            }
            Op::OpenNothing => {
                let flags = OFlags::RDWR | OFlags::CLOEXEC;
                let open = |_| rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty());
                inherited.streams = (0..3).map(open).collect::<std::result::Result<_, _>>()?;
            }
            Op::JoinPidOfContainer { .. } => inherited.target.as_ref().ok_or(Errno::SRCH)?.enter_pid()?,
            Op::MakeUpper { upper: dir, work } => {
                inherited.upper = vec![upper::make(dir)?, upper::make(work)?];
                upper::lock(inherited.upper[0].as_fd())?;
                upper::check(inherited.upper[1].as_fd())?;
            }
            Op::SaveTerminal => left.terminal = Modes::of(rustix::stdio::stdin()),
            Op::Relay => self.said = self.messages(plan, true),
            Op::NewUserNamespace { maps, kinds } => {
                let more: Vec<_> = OF_USERS.iter().filter(|(kind, _)| kinds & kind != 0).copied().collect();
                let mut made = idmap::make_with(&maps.users, &maps.groups, &more)?;
                let own = made.remove(0);
                inherited.namespaces = made;
                inherited.maps.push(rustix::io::fcntl_dupfd_cloexec(&own, 3)?);
                inherited.userns = Some(own);
            }
            Op::MakeIdMap(map) => inherited.maps.push(idmap::make(&map.users, &map.groups)?),
            Op::OpenNamespace { path, .. } => inherited.namespaces.push(file::open(CWD, path)?),
            Op::JoinPid { namespace } => {
                let fd = inherited.namespaces[*namespace].as_fd();
                rustix::thread::move_into_link_name_space(fd, Some(LinkNameSpaceType::ProcessID))?;
            }
            Op::Clone { group } => self.clone(plan, *group)?,
            Op::Record => self.record(plan)?,
            Op::PidFile(path) => {
                let pid = self.process.as_ref().map_or(0, |process| process.pid);
                self.note_in_file(path, &format!("{pid}\n"))?;
            }
            // docker's, too, is made once, and a second container does not take it over.
            Op::CidFile(_) if self.left_behind.stays => {}
            Op::CidFile(path) if rustix::fs::accessat(CWD, path, Access::EXISTS, AtFlags::empty()).is_ok() => {
                return Err(Errno::EXIST);
            }
            Op::CidFile(path) => self.note_in_file(path, &plan.id)?,
            Op::KeepFiles { interactive, log } => {
                self.keep_files(*interactive, *log)?;
                if !plan.health.strings().is_empty() {
                    let nothing =
                        rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
                    self.inherited.nothing = Some(nothing?);
                }
            }
            Op::Release => {
                let ours = inherited.ours.as_ref().ok_or(Errno::PIPE)?;
                match Message::Go.send(ours) {
                    // It has ended already; why, it said before.
                    Err(Errno::PIPE) => {}
                    other => other?,
                }
            }
            // Its failure is a sentence of its own.
            Op::AwaitStart | Op::Listen => {}
            _ => unreachable!("a step of the container's side, or of its end"),
        }
        Ok(())
    }

    fn clone(&mut self, plan: &Plan, group: Option<usize>) -> std::result::Result<(), Errno> {
        let cgroup = group.map(|group| self.inherited.groups[group].as_fd());
        match process::spawn(plan.clone_flags, cgroup)? {
            Spawned::Child { placed } => child::run(plan, &mut self.inherited, &self.left_behind, placed),
            Spawned::Parent(process) => self.process = Some(process),
        }
        self.inherited.theirs = None;
        Ok(())
    }

    fn keep_files(&mut self, interactive: bool, log: bool) -> std::result::Result<(), Errno> {
        let claim = self.claim.as_ref().ok_or(Errno::NOENT)?;
        keep::make(claim.dir.as_fd(), interactive, log, &mut self.inherited)
    }

    /// How the caller's terminal was before the start.
    pub(crate) fn callers_terminal(&mut self) -> Option<Modes> {
        self.left_behind.terminal.take()
    }
}

/// For texts that have no NUL byte, by their making.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
