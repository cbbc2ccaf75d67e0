//! A container's steps in the order of their causes: what the supervisor makes, what its clone furnishes, what the command gives up,
//! and how all of it ends.

use std::ffi::CString;

use linux_raw_sys::general as k;

use super::tree::{self, Tree};
use super::{Group, Host, Op, SUPERVISOR_ENDED, Step, Who, confine, net};
use crate::error::Result;
use crate::linux::cgroup::Version;
use crate::seccomp::Filter;
use crate::spec::{Kind, Namespace, Spec};

/// What belongs to a container's user namespace: the kinds over which its root may then have rights. Its mounts and processes are
/// left out, since the host's root furnishes the ones and its PID 1 is among the others.
pub(crate) const OF_USERS: [(u32, &str); 3] =
    [(k::CLONE_NEWUTS, "uts"), (k::CLONE_NEWIPC, "ipc"), (k::CLONE_NEWNET, "net")];

/// In the order in which they are made.
pub(super) fn kinds_of(made: u32) -> impl Iterator<Item = u32> {
    OF_USERS.iter().map(|(kind, _)| *kind).filter(move |kind| made & kind != 0)
}

/// Namespaces that the container is not born in.
#[derive(Clone, Copy)]
pub(super) struct Joins<'a> {
    /// Kinds that come with its user namespace, first.
    pub(super) made: u32,
    pub(super) paths: &'a [(CString, u32)],
}

impl Joins<'_> {
    fn kinds(self) -> impl Iterator<Item = u32> {
        kinds_of(self.made).chain(self.paths.iter().map(|(_, kind)| *kind))
    }
}

/// The steps, being written down, and what several of them go by.
struct Steps<'a> {
    steps: Vec<Step>,
    spec: &'a Spec,
    host: &'a Host,
    groups: &'a [Group],
    joins: Joins<'a>,
    /// It has a place where it is recorded.
    recorded: bool,
    /// It is recorded before anything is made.
    claimed_first: bool,
    /// The terminal of one that lives on is kept inside.
    relayed: bool,
    /// Its network was furnished before the clone.
    own_network: bool,
    pasta: Option<Op>,
    /// What of its network must be undone.
    undone: bool,
    /// Who its root is on the host, if that is not the host's.
    owner: Option<[u32; 2]>,
    /// By which PID 1 hears of the supervisor's end.
    signal: i32,
    /// There is a group of v2 to be born in.
    born_in: Option<usize>,
    /// Somebody outside decides about its system calls.
    listens: bool,
}

pub(super) fn steps(
    spec: &Spec,
    host: &Host,
    groups: &[Group],
    limits: Vec<Op>,
    joins: Joins<'_>,
    filter: Option<Filter>,
) -> Result<Vec<Step>> {
    let mut tree = tree::plan(spec, host, !groups.is_empty())?;
    let pasta = net::pasta(spec, host);
    let lent = matches!(spec.network.kind, Kind::Physical(_));
    let undone = host.seat.is_some() || lent || pasta.is_some();
    let others = limits.iter().any(|op| matches!(op, Op::OpenOtherHierarchies { .. }));
    let mut steps = Steps {
        steps: Vec::with_capacity(48 + tree.tree.len()),
        spec,
        host,
        groups,
        joins,
        recorded: host.state.is_some() && spec.listed,
        // A name can be taken: find out before anything is made. And a group must not outlive a supervisor that is killed
        // before the clone: its state directory tells whoever comes next. A plain run has neither, and claims while the
        // container runs, and only if it runs for longer than a moment, since nobody could have asked ps for it.
        claimed_first: spec.name.is_some() || !groups.is_empty() || spec.keep.is_some() || undone,
        relayed: spec.terminal && spec.keep.is_none(),
        own_network: false,
        pasta,
        undone,
        owner: host.ground.userns.as_ref().and_then(|maps| maps.outside([0, 0])),
        signal: if spec.init { SUPERVISOR_ENDED } else { libc::SIGKILL },
        born_in: groups.iter().position(|group| group.version == Version::V2),
        listens: filter.as_ref().is_some_and(|filter| filter.listener().is_some()),
    };
    steps.before_the_clone(limits, &mut tree);
    steps.init(tree);
    steps.becomes_pid_one();
    let who = if spec.init { Who::Payload } else { Who::Init };
    steps.payload(who);
    steps.command(who, filter);
    steps.meanwhile();
    steps.end(others);
    Ok(steps.steps)
}

impl Steps<'_> {
    fn add(&mut self, who: Who, op: Op) {
        self.steps.push(Step { who, op });
    }

    fn add_all(&mut self, who: Who, ops: impl IntoIterator<Item = Op>) {
        self.steps.extend(ops.into_iter().map(|op| Step { who, op }));
    }

    fn before_the_clone(&mut self, limits: Vec<Op>, tree: &mut Tree) {
        let (spec, host, who) = (self.spec, self.host, Who::Supervisor);
        if let Some(own) = &host.ground.rootless {
            self.add(who, Op::OwnUserNamespace(own.maps.clone()));
        }
        self.add_all(who, [Op::DefaultSigchld, Op::BlockSignals, Op::Pair]);
        if let Some(dir) = host.state.as_ref().filter(|_| self.recorded) {
            self.add(who, Op::OpenState { dir: dir.clone() });
            if self.claimed_first {
                self.add(who, Op::Claim);
            }
        }
        if self.relayed {
            self.add(who, Op::SaveTerminal);
        }
        if let Some(maps) = &host.ground.userns {
            self.add(who, Op::NewUserNamespace { maps: maps.clone(), kinds: self.joins.made });
        }
        let network = net::plan(spec, host);
        self.own_network = !network.is_empty();
        self.add_all(who, network);
        self.add_all(who, limits);
        // In our own PID namespace still, where a helper can tell whether its parent lives.
        self.add_all(who, std::mem::take(&mut tree.before_clone));
        self.open_namespaces();
        if let Some(keep) = &spec.keep {
            self.add(who, Op::KeepFiles { interactive: keep.interactive, log: keep.log.is_some() });
        }
        self.add(who, Op::Clone { group: self.born_in.filter(|_| !spec.init) });
        if self.own_network {
            self.add(who, Op::BackHome);
        }
        // What a command finds is all there. One that lives on waits anyway, until it is recorded.
        if let Some(pasta) = self.pasta.take() {
            self.add(who, pasta);
            if spec.keep.is_none() {
                self.add(who, Op::Release);
            }
        }
    }

    fn open_namespaces(&mut self) {
        let first = kinds_of(self.joins.made).count();
        for (namespace, (path, kind)) in (first..).zip(self.joins.paths) {
            let open = match &self.spec.network.kind {
                Kind::Container(container) if *kind == k::CLONE_NEWNET => {
                    Op::OpenNetworkOf { container: container.clone() }
                }
                _ => Op::OpenNamespace { path: path.clone(), kind: *kind },
            };
            self.add(Who::Supervisor, open);
            if *kind == k::CLONE_NEWPID {
                self.add(Who::Supervisor, Op::JoinPid { namespace });
            }
        }
    }

    /// What the cloned process makes of its namespaces.
    fn init(&mut self, tree: Tree) {
        let (spec, ground, who) = (self.spec, &self.host.ground, Who::Init);
        self.add(who, Op::CloseSupervisorsEnd);
        if spec.keep.is_some() {
            self.add(who, Op::NewSession);
        } else {
            self.die_with_supervisor(who);
        }
        let first = kinds_of(self.joins.made).count();
        for (namespace, kind) in self.joins.kinds().enumerate() {
            // It is born in its PID namespace, and in a network that was furnished.
            if kind != k::CLONE_NEWPID && !(namespace < first && kind == k::CLONE_NEWNET && self.own_network) {
                self.add(who, Op::Join { namespace, kind });
            }
        }
        if net::is_empty(spec) {
            self.add(who, net::loopback());
        }
        self.add_all(who, tree.sources);
        if !spec.isolated {
            self.add(who, Op::PrivateMounts);
        }
        self.add_all(who, spec.hostname.iter().map(|name| Op::Hostname(name.clone())));
        self.add_all(who, spec.domainname.iter().map(|name| Op::Domainname(name.clone())));
        let own_pids =
            spec.namespaces.pid == Namespace::Private || self.joins.kinds().any(|kind| kind == k::CLONE_NEWPID);
        if spec.root.is_none() && own_pids {
            self.add(who, Op::MountProc);
        }
        let owner = self.owner.filter(|_| spec.terminal || !tree.tree.is_empty());
        self.add_all(who, owner.map(Op::MakeFilesAs));
        if spec.terminal && spec.root.is_none() {
            let devpts = || tree::devpts(tree::tty_group(ground.rootless.as_ref(), ground.userns.as_ref()));
            self.add(who, Op::OpenTerminal { devpts: (!spec.isolated).then(devpts) });
        }
        self.add_all(who, tree.tree);
        if owner.is_some() {
            self.add(who, Op::MakeFilesAs([0, 0]));
            // The kernel forgets the signal when whose files are made changes, too (prctl(2)).
            if spec.init && spec.keep.is_none() {
                self.die_with_supervisor(who);
            }
        }
    }

    fn die_with_supervisor(&mut self, who: Who) {
        self.add_all(who, [Op::DieWithSupervisor { signal: self.signal }, Op::CheckSupervisor]);
    }

    /// The process that furnished it stays as PID 1, if there is to be one of nsctl's, and the command is another one.
    fn becomes_pid_one(&mut self) {
        let (spec, who) = (self.spec, Who::Init);
        if self.relayed {
            self.add(who, Op::SendTerminal);
        }
        if spec.keep.is_none() && self.steps.iter().any(|step| matches!(step.op, Op::Pasta { .. })) {
            self.add(who, Op::AwaitRecord);
        }
        if !spec.init {
            return;
        }
        // Of an ordinary user nobody could enter it then, not even who started it; what keeps the command from it is that it has
        // fewer capabilities.
        if self.host.ground.rootless.is_none() {
            self.add(who, Op::Undumpable);
        }
        if spec.keep.is_some() {
            self.add_all(who, [Op::AwaitRecord, Op::Monitor { group: self.born_in }]);
        } else {
            self.add(who, Op::Spawn { group: self.born_in });
        }
    }

    /// What will be the command goes to its place: groups, terminal, directory.
    fn payload(&mut self, who: Who) {
        let (spec, groups) = (self.spec, self.groups);
        if spec.keep.is_some() && !spec.terminal {
            self.add(who, Op::Streams);
        }
        if spec.root.is_some() && self.host.ground.rootless.is_none() {
            self.add(who, Op::OwnNull);
        }
        self.add_all(who, confine::resources(&spec.privileges, spec.oom_score_adj));
        self.add_all(who, (0..groups.len()).map(|group| Op::EnterGroup { group }));
        if !groups.is_empty() && spec.namespaces.cgroup == Namespace::Private {
            self.add(who, Op::NewCgroupNamespace);
            if spec.root.is_none() {
                let writable = spec.cgroup.delegate || spec.privileges.privileged;
                self.add_all(who, (0..groups.len()).map(|group| Op::MountGroup { group, writable }));
            }
        }
        if !groups.is_empty() {
            self.add_all(who, tree::cgroup_views(spec, self.host, groups).into_iter().map(Op::Mount));
        }
        if spec.terminal {
            self.add(who, Op::TakeTerminal);
        }
        if spec.cgroup.delegate {
            let delegate = |group| Op::Delegate { group, user: spec.user.clone() };
            self.add_all(who, (0..groups.len()).map(delegate));
        }
        if let Some(dir) = &spec.workdir {
            // It is made if it is not there.
            self.add_all(who, self.owner.filter(|_| spec.root.is_some()).map(Op::MakeFilesAs));
            self.add(who, Op::Chdir(dir.clone()));
        }
    }

    /// It becomes who the command is, gives up what the command has not, and is the command.
    fn command(&mut self, who: Who, mut filter: Option<Filter>) {
        let (spec, own_ids) = (self.spec, self.owner.is_some());
        if self.host.ground.rootless.is_some() {
            self.add(who, Op::Undumpable);
        }
        let changes = own_ids || spec.root.is_some() || spec.user.is_some() || !spec.groups.is_empty();
        let dies = (!spec.init).then_some(self.signal);
        let user = changes.then(|| Op::BeUser { user: spec.user.clone(), groups: spec.groups.clone() });
        let first = 3 + spec.preserve_fds;
        self.add_all(who, confine::identity(&spec.privileges, own_ids, user, first, dies, &mut filter));
        self.add(who, Op::RestoreSignals);
        self.add_all(who, confine::last(&spec.privileges, self.host.landlock, &self.host.programs, filter));
        self.add(who, Op::Exec);
        if spec.init && spec.keep.is_none() {
            self.add_all(Who::Init, [Op::CloseOwnEnd, Op::Reap]);
        }
    }

    /// What the supervisor does beside it.
    fn meanwhile(&mut self) {
        let (spec, who) = (self.spec, Who::Supervisor);
        if self.relayed {
            self.add(who, Op::Relay);
        }
        if self.listens && spec.keep.is_none() {
            self.add(who, Op::Listen);
        }
        if self.recorded {
            if !self.claimed_first {
                if spec.pidfile.is_none() {
                    self.add(who, Op::GiveTime);
                }
                self.add(who, Op::Claim);
            }
            self.add(who, Op::Record);
        }
        self.add_all(who, spec.pidfile.iter().map(|file| Op::PidFile(file.clone())));
        self.add_all(who, spec.cidfile.iter().map(|file| Op::CidFile(file.clone())));
        let Some(keep) = &spec.keep else { return self.add(who, Op::Wait) };
        self.add(who, Op::Release);
        if self.listens && !keep.wait_for_start {
            self.add(who, Op::Listen);
        }
        self.add(who, Op::AwaitStart);
    }

    /// What is left to do in the end: the supervisor's, or of one that lives on PID 1's.
    fn end(&mut self, others: bool) {
        let keep = self.spec.keep.as_ref();
        let who = if keep.is_some() { Who::Init } else { Who::Supervisor };
        if self.undone {
            self.add(who, Op::LeaveNetwork);
        }
        self.add_all(who, (0..self.groups.len()).map(|group| Op::RemoveGroup { group }));
        if others {
            self.add(who, Op::RemoveOtherGroups);
        }
        if self.recorded && keep.is_none_or(|keep| keep.remove) {
            self.add(who, Op::RemoveState);
        }
    }
}
