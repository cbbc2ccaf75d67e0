//! Spec + Host → Plan: everything decided before the clone, in order, complete and printable. Pure: it makes no
//! system call, so that `--explain` shows exactly what a run would do.

use std::ffi::{CStr, CString, OsString};

use linux_raw_sys::general as k;

use crate::error::Result;
use crate::linux::cgroup::{Hierarchy, PARENT};
use crate::linux::landlock::Abi;
use crate::linux::mount::Api;
use crate::linux::sys::StringArray;
use crate::linux::userns;
use crate::network::{Own, Seat};
use crate::seccomp::Listener;
use crate::spec::{Keep, Namespace, Principal, Spec, User};
use crate::state::{Privileges, Seccomp, Words};

mod confine;
mod environment;
mod exec;
mod groups;
mod landlock;
mod names;
mod net;
mod op;
mod steps;
mod tree;
pub(crate) use confine::Confine;
pub(crate) use environment::DEFAULT_PATH;
pub(crate) use groups::settings;
pub(crate) use op::{Group, MOMENT, Op, SUPERVISOR_ENDED, Side, Step, Who};
pub(crate) use steps::OF_USERS;
use steps::{Joins, kinds_of};
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
        let steps = steps::steps(&spec, &host, &groups, limits, Joins { made, paths: &joins }, filter)?;
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
