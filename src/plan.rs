//! Spec + Host → Plan: everything decided before the clone, in order, complete and printable. Pure: it makes no
//! system call, so that `--explain` shows exactly what a run would do.

use std::ffi::{CStr, CString, OsString};

use linux_raw_sys::general as k;

use crate::error::Result;
use crate::linux::cgroup::{Hierarchy, PARENT, Version};
use crate::linux::landlock::Abi;
use crate::linux::mount::Api;
use crate::linux::sys::StringArray;
use crate::linux::userns;
use crate::network::{Own, Seat};
use crate::seccomp::{Filter, Listener};
use crate::spec::{Keep, Kind, Namespace, Principal, Spec, User};
use crate::state::{Privileges, Seccomp, Words};

mod confine;
mod environment;
mod exec;
mod groups;
mod landlock;
mod names;
mod net;
mod op;
mod tree;
pub(crate) use confine::Confine;
pub(crate) use environment::DEFAULT_PATH;
pub(crate) use groups::settings;
pub(crate) use op::{Group, MOMENT, Op, SUPERVISOR_ENDED, Side, Step, Who};
pub(crate) use tree::{Base, CgroupView, DEVICES, Lower, Lowers, Mount, Over, Place, Provided, is_in_every_dev};

/// What the plan has to know of the machine and the caller.
pub(crate) struct Host {
    /// A fresh container id.
    pub(crate) id: String,
    pub(crate) environ: Vec<(OsString, OsString)>,
    /// The command as execve(2) will get it: the files to try, the first that is there is it.
    pub(crate) programs: Vec<CString>,
    /// Empty unless it needs groups.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Of the devices in `Limits::throttle`.
    pub(crate) disks: Vec<u64>,
    /// Where state is kept; None where there is no place for it.
    pub(crate) state: Option<CString>,
    /// What a container that lives on is made of.
    pub(crate) words: Option<Words>,
    /// What a root of the container's own stands on.
    pub(crate) lower: Option<Lower>,
    /// Its place on the network that it shares with others.
    pub(crate) seat: Option<Seat>,
    /// The interface that it has for itself.
    pub(crate) own: Option<Own>,
    /// Where the program pasta is.
    pub(crate) pasta: Option<CString>,
    /// What landlock can do, if it is wanted.
    pub(crate) landlock: Abi,
    pub(crate) ground: Ground,
}

/// What the machine offers to a tree of the container's own.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    pub(crate) api: Api,
    pub(crate) overlay: bool,
    pub(crate) cgroups: Vec<CgroupView>,
    /// The terminal that is the caller's standard input.
    pub(crate) terminal: Option<CString>,
    pub(crate) terminal_number: Option<u64>,
    /// resolv.conf(5), as the container shall have it.
    pub(crate) resolv: Vec<u8>,
    /// A server that nothing inside reaches, where there is no other.
    pub(crate) unreachable: Option<String>,
    /// hosts(5) of the container whose network it joins.
    pub(crate) hosts: Option<Vec<u8>>,
    /// How many processors have a thermal_throttle directory.
    pub(crate) throttled_cpus: u32,
    pub(crate) devices: Vec<DeviceNode>,
    /// The user namespace of an ordinary user, which has been entered.
    pub(crate) rootless: Option<userns::UserNamespace>,
    /// The ids of a user namespace that root gives to the container. The host's root makes its files all the same, and its PID 1
    /// stays that; what goes there is each command, as the last but few of its steps.
    pub(crate) userns: Option<userns::Maps>,
    /// Names of devices that every container has, but not this host.
    pub(crate) no_devices: Vec<&'static CStr>,
    /// Nothing is mounted on the host's /sys.
    pub(crate) no_sysfs: bool,
    /// The caller's own cgroup of v2, below the root of the hierarchy, if it may make groups there.
    pub(crate) own_group: Option<CString>,
    /// The kernel has no filters of system calls, and none was asked for by name.
    pub(crate) no_seccomp: bool,
}

/// A device of the host, to be made anew in the container's /dev.
#[derive(Debug)]
pub(crate) struct DeviceNode {
    /// Where it is on the host.
    pub(crate) source: CString,
    pub(crate) name: CString,
    /// Type and permissions, as in st_mode.
    pub(crate) mode: u32,
    pub(crate) number: u64,
    pub(crate) owner: [u32; 2],
}

pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    /// In the order of their causes; the supervisor's steps after the clone run beside the child's.
    pub(crate) steps: Vec<Step>,
    pub(crate) clone_flags: u64,
    pub(crate) groups: Vec<Group>,
    pub(crate) init: bool,
    /// It has a root of its own.
    pub(crate) rooted: bool,
    /// It has a terminal of its own.
    pub(crate) terminal: bool,
    /// Standard input was asked for by name.
    pub(crate) interactive: bool,
    pub(crate) api: Api,
    pub(crate) programs: Vec<CString>,
    pub(crate) argv: StringArray,
    pub(crate) envp: StringArray,
    /// HOME is not in `envp`: it will be that of the user's line in /etc/passwd.
    pub(crate) home_of_user: bool,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) stop_signal: Option<i32>,
    pub(crate) stop_timeout: Option<u32>,
    /// None: it ends with its supervisor.
    pub(crate) keep: Option<Keep>,
    /// The words of the command that asks whether the container is well.
    pub(crate) health: StringArray,
    /// To start it again.
    pub(crate) words: Option<Words>,
    /// For the record: what its root is, and what `exec` inherits.
    pub(crate) image: String,
    pub(crate) user: String,
    pub(crate) more_groups: Vec<String>,
    pub(crate) workdir: String,
    /// The kinds of the namespaces that are joined, in the order in which their files are opened.
    pub(crate) joined: Vec<u32>,
    /// The interface that it has for itself.
    pub(crate) own: Option<Own>,
    pub(crate) privileges: Privileges,
    /// For the sentence that says why the kernel killed it.
    pub(crate) memory: Option<u64>,
    /// No group can be given up or taken (setgroups(2)).
    pub(crate) groups_denied: bool,
    /// The ids of its own user namespace.
    pub(crate) userns: Option<userns::Maps>,
}

impl Plan {
    pub(crate) fn new(mut spec: Spec, host: Host) -> Result<Self> {
        if host.ground.no_seccomp {
            (spec.seccomp, spec.privileges.seccomp) = (None, Seccomp::Unconfined);
        }
        let filter = spec.seccomp.take();
        let (groups, limits) = groups::plan(&spec, &host)?;
        spec.privileges.capabilities &= !confine::withheld(&spec, &limits);
        let own_groups = !groups.is_empty();
        let mut flags = if spec.isolated { 0 } else { u64::from(k::CLONE_NEWNS) };
        let own_ids = host.ground.userns.is_some();
        let (mut made, mut joins) = (0, Vec::new());
        for (namespace, kind) in [
            (&spec.namespaces.uts, k::CLONE_NEWUTS),
            (&spec.namespaces.ipc, k::CLONE_NEWIPC),
            (&spec.namespaces.net, k::CLONE_NEWNET),
            (&spec.namespaces.pid, k::CLONE_NEWPID),
            (&spec.namespaces.cgroup, k::CLONE_NEWCGROUP),
        ] {
            match namespace {
                Namespace::Host => {}
                // A cgroup namespace is rooted where its maker is: with groups of its own, the payload makes it
                // when it is there.
                Namespace::Private if kind == k::CLONE_NEWCGROUP && own_groups => {}
                // Whose user namespace they belong to is root over them.
                Namespace::Private if own_ids && OF_USERS.iter().any(|(of, _)| *of == kind) => made |= kind,
                // The supervisor makes it before the clone, if it has to furnish it.
                Namespace::Private if kind == k::CLONE_NEWNET && !net::is_empty(&spec) => {}
                Namespace::Private => flags |= u64::from(kind),
                Namespace::Path(path) => joins.push((path.clone(), kind)),
            }
        }
        let steps = steps(&spec, &host, &groups, limits, Joins { made, paths: &joins }, filter)?;
        let (envp, home_of_user) = environment::environment(&spec, host.environ);
        Ok(Self {
            id: host.id,
            name: spec.name,
            steps,
            clone_flags: flags,
            groups,
            init: spec.init,
            rooted: spec.root.is_some(),
            terminal: spec.terminal,
            interactive: spec.interactive,
            api: host.ground.api,
            programs: host.programs,
            argv: StringArray::new(spec.argv),
            envp: StringArray::new(envp),
            home_of_user,
            labels: spec.labels,
            stop_signal: spec.stop_signal,
            stop_timeout: spec.stop_timeout,
            words: host.words,
            image: spec.root.as_ref().map(|root| root.shown()).unwrap_or_default(),
            user: spec.user.as_ref().map(User::text).unwrap_or_default(),
            more_groups: spec.groups.iter().map(Principal::text).collect(),
            workdir: spec.workdir.as_ref().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default(),
            joined: kinds_of(made).chain(joins.iter().map(|(_, kind)| *kind)).collect(),
            keep: spec.keep,
            health: StringArray::new(spec.health),
            own: host.own,
            memory: spec.limits.memory,
            privileges: spec.privileges,
            groups_denied: host.ground.rootless.is_some_and(|own| own.groups_denied),
            userns: host.ground.userns,
        })
    }

    /// What `--cgroup-parent` says, if there are groups.
    pub(crate) fn parent(&self) -> Option<&CString> {
        self.groups.first()?.above.last().filter(|above| above.as_c_str() != PARENT)
    }

    /// The steps of one process, with their numbers.
    pub(crate) fn steps_of(&self, who: Who) -> impl Iterator<Item = (usize, &Op)> {
        self.steps.iter().enumerate().filter(move |(_, step)| step.who == who).map(|(index, step)| (index, &step.op))
    }

    /// Who decides about the command's system calls.
    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.steps.iter().find_map(|step| match &step.op {
            Op::Confine(Confine::Seccomp { filter, .. }) => filter.listener(),
            _ => None,
        })
    }

    /// PID 1 waits where it would start the command, until nsctl outside is done with the files.
    pub(crate) fn want_only_files(&mut self) {
        for step in &mut self.steps {
            match step.op {
                Op::Spawn { .. } => step.op = Op::Hold,
                Op::Wait => step.op = Op::AwaitStart,
                _ => {}
            }
        }
        self.steps.retain(|step| !matches!(step.op, Op::Listen));
    }
}

/// What belongs to a container's user namespace: the kinds over which its root may then have rights. Its mounts and processes are
/// left out, since the host's root furnishes the ones and its PID 1 is among the others.
pub(crate) const OF_USERS: [(u32, &str); 3] =
    [(k::CLONE_NEWUTS, "uts"), (k::CLONE_NEWIPC, "ipc"), (k::CLONE_NEWNET, "net")];

/// In the order in which they are made.
fn kinds_of(made: u32) -> impl Iterator<Item = u32> {
    OF_USERS.iter().map(|(kind, _)| *kind).filter(move |kind| made & kind != 0)
}

/// Namespaces that the container is not born in.
#[derive(Clone, Copy)]
struct Joins<'a> {
    /// Kinds that come with its user namespace, first.
    made: u32,
    paths: &'a [(CString, u32)],
}

fn steps(
    spec: &Spec,
    host: &Host,
    groups: &[Group],
    limits: Vec<Op>,
    joins: Joins<'_>,
    mut filter: Option<Filter>,
) -> Result<Vec<Step>> {
    let private_pid = spec.namespaces.pid == Namespace::Private;
    let state = host.state.as_ref().filter(|_| spec.listed);
    // A name can be taken: find out before anything is made. And a group must not outlive a supervisor that is killed
    // before the clone: its state directory tells whoever comes next. A plain run has neither, and claims while the container
    // runs, and only if it runs for longer than a moment, since nobody could have asked ps for it.
    let pasta = net::pasta(spec, host);
    let lent = matches!(spec.network.kind, Kind::Physical(_));
    let undone = host.seat.is_some() || lent || pasta.is_some();
    let claim_first = spec.name.is_some() || !groups.is_empty() || spec.keep.is_some() || undone;
    let tree = tree::plan(spec, host, !groups.is_empty())?;
    let mut steps = Vec::with_capacity(48 + tree.tree.len());
    let mut who = Who::Supervisor;
    let mut add = |who: Who, op: Op| steps.push(Step { who, op });

    if let Some(own) = &host.ground.rootless {
        add(who, Op::OwnUserNamespace(own.maps.clone()));
    }
    add(who, Op::DefaultSigchld);
    add(who, Op::BlockSignals);
    add(who, Op::Pair);
    if let Some(dir) = state {
        add(who, Op::OpenState { dir: dir.clone() });
        if claim_first {
            add(who, Op::Claim);
        }
    }
    // The terminal of one that lives on is kept inside.
    let relayed = spec.terminal && spec.keep.is_none();
    if relayed {
        add(who, Op::SaveTerminal);
    }
    if let Some(maps) = &host.ground.userns {
        add(who, Op::NewUserNamespace { maps: maps.clone(), kinds: joins.made });
    }
    let network = net::plan(spec, host);
    let own_network = !network.is_empty();
    network.into_iter().for_each(|op| add(who, op));
    let others = limits.iter().any(|op| matches!(op, Op::OpenOtherHierarchies { .. }));
    limits.into_iter().for_each(|op| add(who, op));
    // In our own PID namespace still, where a helper can tell whether its parent lives.
    tree.before_clone.into_iter().for_each(|op| add(who, op));
    let first = kinds_of(joins.made).count();
    for (namespace, (path, kind)) in (first..).zip(joins.paths) {
        match &spec.network.kind {
            Kind::Container(container) if *kind == k::CLONE_NEWNET => {
                add(who, Op::OpenNetworkOf { container: container.clone() });
            }
            _ => add(who, Op::OpenNamespace { path: path.clone(), kind: *kind }),
        }
        if *kind == k::CLONE_NEWPID {
            add(who, Op::JoinPid { namespace });
        }
    }
    if let Some(keep) = &spec.keep {
        add(who, Op::KeepFiles { interactive: keep.interactive, log: keep.log.is_some() });
    }
    let born_in = groups.iter().position(|group| group.version == Version::V2);
    add(who, Op::Clone { group: born_in.filter(|_| !spec.init) });
    if own_network {
        add(who, Op::BackHome);
    }
    // What a command finds is all there. One that lives on waits anyway, until it is recorded.
    let waits = pasta.is_some();
    if let Some(pasta) = pasta {
        add(who, pasta);
        if spec.keep.is_none() {
            add(who, Op::Release);
        }
    }

    who = Who::Init;
    add(who, Op::CloseSupervisorsEnd);
    let signal = if spec.init { SUPERVISOR_ENDED } else { libc::SIGKILL };
    if spec.keep.is_some() {
        add(who, Op::NewSession);
    } else {
        add(who, Op::DieWithSupervisor { signal });
        add(who, Op::CheckSupervisor);
    }
    let paths = joins.paths.iter().map(|(_, kind)| *kind);
    for (namespace, kind) in kinds_of(joins.made).chain(paths.clone()).enumerate() {
        // It is born there, as it is in a network that was furnished.
        if kind != k::CLONE_NEWPID && !(namespace < first && kind == k::CLONE_NEWNET && own_network) {
            add(who, Op::Join { namespace, kind });
        }
    }
    if net::is_empty(spec) {
        add(who, net::loopback());
    }
    tree.sources.into_iter().for_each(|op| add(who, op));
    if !spec.isolated {
        add(who, Op::PrivateMounts);
    }
    spec.hostname.iter().for_each(|name| add(who, Op::Hostname(name.clone())));
    spec.domainname.iter().for_each(|name| add(who, Op::Domainname(name.clone())));
    if spec.root.is_none() && (private_pid || paths.clone().any(|kind| kind == k::CLONE_NEWPID)) {
        add(who, Op::MountProc);
    }
    let owner = host.ground.userns.as_ref().and_then(|maps| maps.outside([0, 0]));
    let makes = owner.is_some() && (spec.terminal || !tree.tree.is_empty());
    owner.filter(|_| makes).into_iter().for_each(|owner| add(who, Op::MakeFilesAs(owner)));
    if spec.terminal && spec.root.is_none() {
        let devpts = || tree::devpts(tree::tty_group(host.ground.rootless.as_ref(), host.ground.userns.as_ref()));
        add(who, Op::OpenTerminal { devpts: (!spec.isolated).then(devpts) });
    }
    tree.tree.into_iter().for_each(|op| add(who, op));
    if makes {
        add(who, Op::MakeFilesAs([0, 0]));
        // The kernel forgets the signal when whose files are made changes, too (prctl(2)).
        if spec.init && spec.keep.is_none() {
            add(who, Op::DieWithSupervisor { signal });
            add(who, Op::CheckSupervisor);
        }
    }
    if relayed {
        add(who, Op::SendTerminal);
    }
    if waits && spec.keep.is_none() {
        add(who, Op::AwaitRecord);
    }
    let rootless = host.ground.rootless.is_some();
    if spec.init {
        // Of an ordinary user nobody could enter it then, not even who started it; what keeps the command from it is that it has
        // fewer capabilities.
        if !rootless {
            add(who, Op::Undumpable);
        }
        if spec.keep.is_some() {
            add(who, Op::AwaitRecord);
            add(who, Op::Monitor { group: born_in });
        } else {
            add(who, Op::Spawn { group: born_in });
        }
        who = Who::Payload;
    }
    if spec.keep.is_some() && !spec.terminal {
        add(who, Op::Streams);
    }
    confine::resources(&spec.privileges, spec.oom_score_adj).for_each(|op| add(who, op));
    for group in 0..groups.len() {
        add(who, Op::EnterGroup { group });
    }
    if !groups.is_empty() && spec.namespaces.cgroup == Namespace::Private {
        add(who, Op::NewCgroupNamespace);
        if spec.root.is_none() {
            let writable = spec.cgroup.delegate || spec.privileges.privileged;
            (0..groups.len()).for_each(|group| add(who, Op::MountGroup { group, writable }));
        }
    }
    if !groups.is_empty() {
        tree::cgroup_views(spec, host, groups).into_iter().for_each(|mount| add(who, Op::Mount(mount)));
    }
    if spec.terminal {
        add(who, Op::TakeTerminal);
    }
    if spec.cgroup.delegate {
        (0..groups.len()).for_each(|group| add(who, Op::Delegate { group, user: spec.user.clone() }));
    }
    if let Some(dir) = &spec.workdir {
        // It is made if it is not there.
        owner.filter(|_| spec.root.is_some()).into_iter().for_each(|owner| add(who, Op::MakeFilesAs(owner)));
        add(who, Op::Chdir(dir.clone()));
    }
    if rootless {
        add(who, Op::Undumpable);
    }
    let own_ids = owner.is_some();
    let changes = own_ids || spec.root.is_some() || spec.user.is_some() || !spec.groups.is_empty();
    let listens = filter.as_ref().is_some_and(|filter| filter.listener().is_some());
    let dies = (!spec.init).then_some(signal);
    let user = changes.then(|| Op::BeUser { user: spec.user.clone(), groups: spec.groups.clone() });
    confine::identity(&spec.privileges, own_ids, user, dies, &mut filter).into_iter().for_each(|op| add(who, op));
    add(who, Op::RestoreSignals);
    add(who, Op::CloseOnExec { first: 3 + spec.preserve_fds });
    let last = confine::last(&spec.privileges, host.landlock, &host.programs, filter);
    last.into_iter().for_each(|op| add(who, op));
    add(who, Op::Exec);
    if spec.init && spec.keep.is_none() {
        add(Who::Init, Op::CloseOwnEnd);
        add(Who::Init, Op::Reap);
    }

    who = Who::Supervisor;
    if relayed {
        add(who, Op::Relay);
    }
    if listens && spec.keep.is_none() {
        add(who, Op::Listen);
    }
    if state.is_some() {
        if !claim_first {
            if spec.pidfile.is_none() {
                add(who, Op::GiveTime);
            }
            add(who, Op::Claim);
        }
        add(who, Op::Record);
    }
    spec.pidfile.iter().for_each(|file| add(who, Op::PidFile(file.clone())));
    spec.cidfile.iter().for_each(|file| add(who, Op::CidFile(file.clone())));
    if spec.keep.is_some() {
        add(who, Op::Release);
        if listens && spec.keep.as_ref().is_some_and(|keep| !keep.wait_for_start) {
            add(who, Op::Listen);
        }
        add(who, Op::AwaitStart);
        // What is left to do is PID 1's.
        who = Who::Init;
    } else {
        add(who, Op::Wait);
    }
    if undone {
        add(who, Op::LeaveNetwork);
    }
    (0..groups.len()).for_each(|group| add(who, Op::RemoveGroup { group }));
    if others {
        add(who, Op::RemoveOtherGroups);
    }
    if state.is_some() && spec.keep.as_ref().is_none_or(|keep| keep.remove) {
        add(who, Op::RemoveState);
    }
    Ok(steps)
}
