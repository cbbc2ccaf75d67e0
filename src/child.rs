//! The container's side: the straight line from the clone to the command. It takes the steps of the plan that are
//! the init's and the payload's, one system call each, in order; it does not allocate, look anything up or print.
//! The first failure is sent to the supervisor as the step's number, and ends the process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::net::RecvFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::LinkNameSpaceType;

use crate::error::{FAILED, NOT_EXECUTABLE, NOT_FOUND};
use crate::linux::net::Socket;
use crate::linux::process::{self, Spawned};
use crate::linux::{caps, clock, file, landlock, sys};
use crate::plan::{Confine, Op, Plan, Who};
use crate::reaper::{self, LeftBehind};
use crate::sync::{self, Message};

mod check;
mod confine;
mod descriptors;
mod groups;
mod identity;
mod inherited;
mod keep;
mod parent;
mod terminal;
mod tree;
pub(crate) use descriptors::close_from;
use descriptors::close_on_exec_from;
use identity::Home;
pub(crate) use inherited::Inherited;
use terminal::Terminal;
use tree::Tree;

/// One process of the container's side.
struct Child<'a> {
    plan: &'a Plan,
    inherited: &'a mut Inherited,
    left_behind: &'a LeftBehind,
    /// It was born in its v2 group.
    placed: bool,
    tree: Tree,
    terminal: Terminal,
    /// Empty, unless a user was looked up.
    home: Home,
    /// The command was started before: what it sees is mounted.
    again: bool,
    /// What is made of landlock's rules, until they are in force.
    ruleset: Option<OwnedFd>,
}

/// Runs in the clone and never returns.
pub(crate) fn run(plan: &Plan, inherited: &mut Inherited, left_behind: &LeftBehind, placed: bool) -> ! {
    let tree = Tree::new(plan.api);
    let terminal = Terminal::default();
    let mut init = Child {
        plan,
        inherited,
        left_behind,
        placed,
        tree,
        terminal,
        home: Home::new(),
        again: false,
        ruleset: None,
    };
    init.follow(Who::Init);
    sys::exit(FAILED)
}

impl Child<'_> {
    /// Takes this process's steps; a failure is reported and final.
    fn follow(&mut self, who: Who) {
        for (index, op) in self.plan.steps_of(who) {
            if self.again && matches!(op, Op::Mount(_) | Op::MountGroup { .. }) {
                continue;
            }
            if self.inherited.verbose {
                let micros = clock::micros().wrapping_sub(self.inherited.began) as u32;
                self.tell(Message::Step { index: index as u16, micros });
            }
            if let Err(errno) = self.step(op) {
                self.tell(Message::Failure { index: index as u16, errno: errno.raw_os_error() });
                sys::exit(match (op, errno) {
                    (Op::Exec, Errno::NOENT) => NOT_FOUND,
                    (Op::Exec, _) => NOT_EXECUTABLE,
                    _ => FAILED,
                });
            }
        }
    }

    fn tell(&self, message: Message) {
        // Nobody is left to hear it if this fails: the supervisor is gone, and this process will be.
        let _ = self.inherited.theirs.as_ref().map(|theirs| message.send(theirs));
    }

    fn step(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::CloseSupervisorsEnd => drop(self.inherited.ours.take()),
            Op::DieWithSupervisor { signal } => sys::signal_when_parent_ends(*signal)?,
            Op::CheckSupervisor => self.check_supervisor(),
            Op::JoinContainer { .. } => self.inherited.target.as_mut().ok_or(Errno::SRCH)?.join()?,
            Op::Join { namespace, kind } => {
                let fd = self.inherited.namespaces[*namespace].as_fd();
                rustix::thread::move_into_link_name_space(fd, link_kind(*kind))?;
            }
            Op::PrivateMounts => {
                let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                rustix::mount::mount_change(c"/", flags)?;
            }
            Op::Hostname(name) => rustix::system::sethostname(name.to_bytes())?,
            Op::Domainname(name) => rustix::system::setdomainname(name.to_bytes())?,
            Op::MountProc => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
                rustix::mount::mount(c"proc", c"/proc", c"proc", flags, None)?;
            }
            Op::Ask { request, .. } => {
                let socket = Socket::route()?;
                request.send(&socket, socket.fd()).map_err(|refusal| refusal.errno)?;
            }
            Op::Undumpable => rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?,
            Op::Spawn { group } => self.spawn(*group)?,
            Op::NewSession => drop(rustix::process::setsid()?),
            Op::AwaitRecord => self.await_record(),
            Op::Hold => {
                self.tell(Message::Ready);
                self.await_record();
            }
            Op::Monitor { group } => self.monitor(*group)?,
            Op::Streams => self.streams()?,
            Op::EnterGroup { group } => self.enter(*group)?,
            Op::NewCgroupNamespace => sys::unshare(k::CLONE_NEWCGROUP)?,
            Op::MountGroup { group, writable } => self.mount_group(*group, *writable)?,
            Op::Delegate { group, user } => self.delegate(*group, user.as_ref())?,
            Op::Confine(Confine::Seccomp { filter, .. }) => {
                if let (Some(listener), Some(theirs)) = (filter.load()?, &self.inherited.theirs) {
                    sync::send_listener(theirs, listener.as_fd())?;
                }
            }
            Op::Confine(Confine::UserNamespace) => {
                let own = self.inherited.userns.as_ref().ok_or(Errno::BADF)?;
                rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::User))?;
            }
            Op::MakeFilesAs(owner) => caps::make_files_as(*owner)?,
            Op::Confine(step) => confine::step(step, self.inherited.withheld)?,
            Op::OwnNull => descriptors::own_null(self.root()?.as_fd())?,
            Op::Chdir(dir) if self.plan.rooted => identity::go_to(self.root()?.as_fd(), dir)?,
            Op::Chdir(dir) => rustix::process::chdir(dir.as_c_str())?,
            Op::BeUser { user, groups } => {
                identity::become_user(self.plan, user.as_ref(), groups, self.plan.terminal, &mut self.home)?;
            }
            Op::RestoreSignals => {
                if self.inherited.sigchld_ignored {
                    sys::ignore_sigchld(true);
                }
                sys::block_exactly(self.inherited.mask)?;
            }
            Op::CloseOnExec { first } if self.plan.rooted => close_from(*first, self.inherited.theirs.as_ref())?,
            Op::CloseOnExec { first } => close_on_exec_from(*first, self.inherited.theirs.as_ref())?,
            Op::Exec => {
                return Err(identity::execute(self.plan, &self.home, self.inherited.theirs.as_ref()));
            }
            Op::OpenTerminal { .. } | Op::MountConsole | Op::SendTerminal | Op::TakeTerminal => {
                return self.terminal(op);
            }
            op => return self.files(op),
        }
        Ok(())
    }

    /// The steps that make the container's files. Apart, for it needs far more stack than the steps of a plain start, and each page
    /// of that would be a page fault in each process.
    #[inline(never)]
    fn files(&mut self, op: &Op) -> Result<(), Errno> {
        let (tree, inherited) = (&mut self.tree, &mut *self.inherited);
        match op {
            Op::OpenSource { path } => inherited.sources.push(file::handle(path)?),
            Op::CloneSource { source, recursive } => {
                let clone = tree.clone_source(inherited.sources[*source].as_fd(), *recursive)?;
                inherited.sources[*source] = clone;
            }
            Op::TopOfMounts => tree::go_to_top_of_mounts()?,
            Op::ProcOfHost => tree::mount_proc_of_host()?,
            Op::NewParent => tree.new_parent()?,
            Op::Stage(fs) => tree.stage(fs)?,
            Op::HostTree { stage } => tree.host_tree(*stage)?,
            Op::MountImage { source, fs, mapped } => {
                let map = inherited.maps.first().filter(|_| *mapped).map(AsFd::as_fd);
                tree.mount_image(inherited.sources[*source].as_fd(), fs, map)?;
            }
            Op::MapSource { source } => {
                let map = inherited.maps.first().ok_or(Errno::BADF)?;
                let mapped = tree.map_source(inherited.sources[*source].as_fd(), *source, map.as_fd())?;
                inherited.sources[*source] = mapped;
            }
            Op::MapUpper { above, sources, names } => {
                let map = inherited.maps.first().ok_or(Errno::BADF)?;
                let above = tree.map_source(inherited.sources[*above].as_fd(), *above, map.as_fd())?;
                for (source, name) in sources.iter().zip(names) {
                    inherited.sources[*source] = file::handle_in(above.as_fd(), name)?;
                }
            }
            Op::BindRoot { lowers, attr } => tree.bind_root(&inherited.sources, lowers, *attr)?,
            Op::OverlayRoot { lowers, upper, attr } => {
                let kept = match upper {
                    None => None,
                    Some(numbers) => Some(locked(&inherited.sources, *numbers, &inherited.upper)?),
                };
                tree.overlay_root(&inherited.sources, lowers, kept, *attr)?;
            }
            Op::Mount(mount) => tree.mount(mount, &inherited.sources, &inherited.maps)?,
            Op::LeaveStage { stage } => {
                tree.leave_stage(*stage)?;
                inherited.close_sources();
            }
            Op::Enter => {
                tree.enter()?;
                inherited.close_sources();
            }
            Op::Landlock(act) => landlock::take(act, &mut self.ruleset)?,
            Op::CloseOwnEnd | Op::Reap => unreachable!("the reaper never comes back from its spawn"),
            // The supervisor's steps: `steps_of` never gives them to a child.
            Op::OwnUserNamespace(_)
            | Op::NewUserNamespace { .. }
            | Op::JoinUserNamespaceOf { .. }
            | Op::DefaultSigchld
            | Op::BlockSignals
            | Op::Pair
            | Op::OpenState { .. }
            | Op::Claim
            | Op::MountHierarchy { .. }
            | Op::OpenHierarchy { .. }
            | Op::OpenOtherHierarchies { .. }
            | Op::MakeParent { .. }
            | Op::Enable { .. }
            | Op::MakeGroup { .. }
            | Op::InheritCpuset { .. }
            | Op::Limit { .. }
            | Op::AllowDevices { .. }
            | Op::MakeLeaf { .. }
            | Op::OpenNamespace { .. }
            | Op::MakeIdMap(_)
            | Op::MakeUpper { .. }
            | Op::SaveTerminal
            | Op::Relay
            | Op::JoinPid { .. }
            | Op::Clone { .. }
            | Op::KeepFiles { .. }
            | Op::OpenGroup { .. }
            | Op::OpenNothing
            | Op::TakeAddress(_)
            | Op::NewNetwork
            | Op::UndoNetwork { .. }
            | Op::Member { .. }
            | Op::Hosts(_)
            | Op::Lend(_)
            | Op::OpenNetworkOf { .. }
            | Op::Pasta { .. }
            | Op::Rules { .. }
            | Op::Switch { .. }
            | Op::Publish(_)
            | Op::BackHome
            | Op::LeaveNetwork
            | Op::JoinPidOfContainer { .. }
            | Op::GiveTime
            | Op::Record
            | Op::CidFile(_)
            | Op::Release
            | Op::AwaitStart
            | Op::Listen
            | Op::PidFile(_)
            | Op::Wait
            | Op::RemoveGroup { .. }
            | Op::RemoveOtherGroups
            | Op::RemoveState => unreachable!("a supervisor's step in a child"),
            Op::CloseSupervisorsEnd
            | Op::DieWithSupervisor { .. }
            | Op::CheckSupervisor
            | Op::Join { .. }
            | Op::JoinContainer { .. }
            | Op::PrivateMounts
            | Op::Hostname(_)
            | Op::Domainname(_)
            | Op::MountProc
            | Op::Ask { .. }
            | Op::Undumpable
            | Op::MakeFilesAs(_)
            | Op::Spawn { .. }
            | Op::NewSession
            | Op::AwaitRecord
            | Op::Hold
            | Op::Monitor { .. }
            | Op::Streams
            | Op::EnterGroup { .. }
            | Op::NewCgroupNamespace
            | Op::MountGroup { .. }
            | Op::OpenTerminal { .. }
            | Op::MountConsole
            | Op::SendTerminal
            | Op::TakeTerminal
            | Op::Delegate { .. }
            | Op::Confine(_)
            | Op::OwnNull
            | Op::Chdir(_)
            | Op::BeUser { .. }
            | Op::RestoreSignals
            | Op::CloseOnExec { .. }
            | Op::Exec => unreachable!("a step of `step`"),
        }
        Ok(())
    }

    /// The root directory as the container has it.
    fn root(&self) -> Result<OwnedFd, Errno> {
        file::handle(c"/")
    }

    /// End-of-file on the pair means that the supervisor was killed before PR_SET_PDEATHSIG could tell us.
    fn check_supervisor(&self) {
        let Some(theirs) = &self.inherited.theirs else { return };
        let mut nothing = [0u8; 8];
        if let Ok((0, _)) = rustix::net::recv(theirs, &mut nothing[..], RecvFlags::DONTWAIT) {
            reaper::clear_up(self.left_behind);
            sys::exit(FAILED);
        }
    }

    /// PID 1 makes PID 2. The payload goes on with its own steps; PID 1 becomes the reaper.
    fn spawn(&mut self, group: Option<usize>) -> Result<(), Errno> {
        let cgroup = group.map(|group| self.inherited.groups[group].as_fd());
        match process::spawn(0, cgroup)? {
            Spawned::Child { placed } => {
                self.placed = placed;
                self.follow(Who::Payload);
                sys::exit(FAILED)
            }
            Spawned::Parent(payload) => {
                self.inherited.theirs = None;
                self.terminal = Terminal::default();
                sys::wipe_words();
                reaper::run(payload, self.left_behind)
            }
        }
    }
}

/// The two directories of `--overlay-upper`. ESTALE: they are not those that the supervisor made and locked, since somebody put
/// others in their place.
fn locked<'a>(sources: &'a [OwnedFd], numbers: [usize; 2], locked: &[OwnedFd]) -> Result<[BorrowedFd<'a>; 2], Errno> {
    for (number, ours) in numbers.iter().zip(locked) {
        let (theirs, ours) = (rustix::fs::fstat(&sources[*number])?, rustix::fs::fstat(ours)?);
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino) {
            return Err(Errno::STALE);
        }
    }
    Ok(numbers.map(|number| sources[number].as_fd()))
}

/// setns(2) refuses a descriptor of another kind than this one.
fn link_kind(kind: u32) -> Option<LinkNameSpaceType> {
    match kind {
        k::CLONE_NEWUTS => Some(LinkNameSpaceType::HostNameAndNISDomainName),
        k::CLONE_NEWIPC => Some(LinkNameSpaceType::InterProcessCommunication),
        k::CLONE_NEWNET => Some(LinkNameSpaceType::Network),
        k::CLONE_NEWPID => Some(LinkNameSpaceType::ProcessID),
        k::CLONE_NEWCGROUP => Some(LinkNameSpaceType::ControlGroup),
        _ => None,
    }
}
