//! The container's side: the straight line from the clone to the command. It takes the steps of the plan that are
//! the init's and the payload's, one system call each, in order; it does not allocate, look anything up or print.
//! The first failure is sent to the supervisor as the step's number, and ends the process.

use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::net::RecvFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::LinkNameSpaceType;

use crate::error::{FAILED, NOT_EXECUTABLE, NOT_FOUND};
use crate::linux::cgroup::{self, Version};
use crate::linux::process::{self, Spawned};
use crate::linux::{clock, file, sys};
use crate::plan::{Op, Plan, Who};
use crate::reaper::{self, LeftBehind};
use crate::sync::Message;

/// What the supervisor had open and knew at the clone; the child has a copy of all of it.
#[derive(Default)]
pub(crate) struct Inherited {
    /// The supervisor's end of the pair of sockets, and the container's.
    pub(crate) ours: Option<OwnedFd>,
    pub(crate) theirs: Option<OwnedFd>,
    /// The container's group in each hierarchy of `Plan::groups`.
    pub(crate) groups: Vec<OwnedFd>,
    pub(crate) namespaces: Vec<OwnedFd>,
    /// The caller's signal mask, and whether it ignored SIGCHLD.
    pub(crate) mask: u64,
    pub(crate) sigchld_ignored: bool,
    /// Send a message for every step (`-v`).
    pub(crate) verbose: bool,
    /// When the supervisor began, in microseconds of the monotonic clock.
    pub(crate) began: u64,
}

/// One process of the container's side.
struct Child<'a> {
    plan: &'a Plan,
    inherited: &'a mut Inherited,
    left_behind: &'a LeftBehind,
    /// It was born in its v2 group.
    placed: bool,
}

/// Runs in the clone and never returns.
pub(crate) fn run(plan: &Plan, inherited: &mut Inherited, left_behind: &LeftBehind, placed: bool) -> ! {
    let mut init = Child { plan, inherited, left_behind, placed };
    init.follow(Who::Init);
    sys::exit(FAILED)
}

impl Child<'_> {
    /// Takes this process's steps; a failure is reported and final.
    fn follow(&mut self, who: Who) {
        for (index, op) in self.plan.steps_of(who) {
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
            Op::Undumpable => rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?,
            Op::Spawn { group } => self.spawn(*group)?,
            Op::EnterGroup { group } => self.enter(*group)?,
            Op::NewCgroupNamespace => sys::unshare_cgroup()?,
            Op::MountGroup { group } => self.mount_group(*group)?,
            Op::Chdir(dir) => rustix::process::chdir(dir.as_c_str())?,
            Op::RestoreSignals => {
                if self.inherited.sigchld_ignored {
                    sys::ignore_sigchld(true);
                }
                sys::block_exactly(self.inherited.mask)?;
            }
            Op::CloseOnExec { first } => close_on_exec_from(*first)?,
            Op::Exec => return Err(sys::execve(&self.plan.program, &self.plan.argv, &self.plan.envp)),
            Op::CloseOwnEnd | Op::Reap => unreachable!("the reaper never comes back from its spawn"),
            // The supervisor's steps: `steps_of` never gives them to a child.
            Op::DefaultSigchld
            | Op::BlockSignals
            | Op::Pair
            | Op::OpenState { .. }
            | Op::Claim
            | Op::MountHierarchy { .. }
            | Op::OpenHierarchy { .. }
            | Op::MakeParent { .. }
            | Op::Enable { .. }
            | Op::MakeGroup { .. }
            | Op::InheritCpuset { .. }
            | Op::Limit { .. }
            | Op::OpenNamespace { .. }
            | Op::JoinPid { .. }
            | Op::Clone { .. }
            | Op::GiveTime
            | Op::Record
            | Op::PidFile(_)
            | Op::Wait
            | Op::RemoveGroup { .. }
            | Op::RemoveState => unreachable!("a supervisor's step in a child"),
        }
        Ok(())
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
                reaper::run(payload, self.left_behind)
            }
        }
    }

    fn enter(&self, group: usize) -> Result<(), Errno> {
        if self.placed && self.plan.groups[group].version == Version::V2 {
            return Ok(());
        }
        cgroup::enter(self.inherited.groups[group].as_fd())
    }

    fn mount_group(&self, group: usize) -> Result<(), Errno> {
        let group = &self.plan.groups[group];
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        let (fs, options) = match group.version {
            Version::V1 => (c"cgroup", Some(group.controllers.as_c_str())),
            Version::V2 => (c"cgroup2", None),
        };
        // The same file system twice on one mount point is EBUSY: take the host's view away first, from our copy.
        rustix::mount::unmount(group.mount.as_c_str(), UnmountFlags::DETACH)?;
        rustix::mount::mount(c"cgroup", group.mount.as_c_str(), fs, flags, options)
    }
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

/// close_range(2), or before 5.11 and where it is masked: a walk over /proc/self/fd that does the same.
fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    match sys::close_on_exec_from(first) {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
        other => return other,
    }
    let dir = file::open_dir(rustix::fs::CWD, c"/proc/self/fd")?;
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 1024];
    let mut entries = rustix::fs::RawDir::new(&dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let number = entry?.file_name().to_bytes().iter().try_fold(0i32, |sum, byte| {
            byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')))
        });
        if let Some(fd) = number.filter(|fd| *fd >= first as i32) {
            // EBADF: it was closed since; the directory's own is among those we mark.
            let _ = sys::close_on_exec(fd);
        }
    }
    Ok(())
}
