//! What a command may do, as steps: one list for all that are started in a container, the first one and those of `exec` alike.
//! The order is that of the rights which each step needs, and gives up.

use std::ffi::CString;

use super::{Op, landlock};
use crate::linux::caps;
use crate::linux::landlock::Abi;
use crate::linux::lsm::Lsm;
use crate::seccomp::Filter;
use crate::spec::{Spec, resource};
use crate::state::{Privileges, Seccomp};

/// A step by which a process gives something up for good, or takes on what its children inherit.
#[derive(Debug, PartialEq)]
pub(crate) enum Confine {
    OomScore(i32),
    Nice(i32),
    Limit {
        resource: rustix::process::Resource,
        /// As `--ulimit` has it.
        typed: String,
        limit: rustix::process::Rlimit,
    },
    Umask(u32),
    /// What is executed has this label.
    Label(Lsm, CString),
    /// Into the container's user namespace. It holds all rights over that one then, and none over the host.
    UserNamespace,
    /// A session keyring of its own.
    Keyring,
    /// No process gets others than these capabilities. `closed`: none would gain any by what it executes.
    Bound {
        mask: u64,
        closed: bool,
    },
    /// They outlive the change of the user that comes next.
    KeepCapabilities,
    /// Root's, and another user's.
    Capabilities {
        root: u64,
        given: u64,
    },
    NoNewPrivileges,
    /// Which system calls it may make. `profile`: it is the user's.
    Seccomp {
        filter: Filter,
        profile: bool,
    },
}

/// Without a cgroup that says which devices can be opened, root in a root of its own makes none, unless that was asked for by name.
pub(super) fn withheld(spec: &Spec, limits: &[Op]) -> u64 {
    let closed = limits.iter().any(|op| matches!(op, Op::AllowDevices { .. }));
    if closed || spec.root.is_none() || spec.privileges.privileged { 0 } else { caps::MKNOD & !spec.privileges.given }
}

/// What takes rights of nsctl's to change.
pub(super) fn resources(privileges: &Privileges, oom_score: Option<i32>) -> impl Iterator<Item = Op> {
    let limits = privileges.limits.iter().filter_map(|limit| {
        let value = |value: Option<u64>| value.map_or("-1".into(), |value| value.to_string());
        Some(Confine::Limit {
            resource: resource(&limit.name)?,
            typed: format!("{}={}:{}", limit.name, value(limit.soft), value(limit.hard)),
            limit: rustix::process::Rlimit { current: limit.soft, maximum: limit.hard },
        })
    });
    let first = [oom_score.map(Confine::OomScore), privileges.nice.map(Confine::Nice)];
    let umask = privileges.umask.map(Confine::Umask);
    first.into_iter().flatten().chain(limits).chain(umask).map(Op::Confine)
}

/// Who the command is, and what it can do as that: `user` is the step that makes it somebody, `dies` the signal that shall end it with
/// its supervisor. `own_ids`: the container has a user namespace, which root gave it. Descriptors from `first` on are closed. A filter
/// is taken that cannot wait for [`last`].
pub(super) fn identity(
    privileges: &Privileges,
    own_ids: bool,
    user: Option<Op>,
    first: u32,
    dies: Option<i32>,
    filter: &mut Option<Filter>,
) -> Vec<Op> {
    let Privileges { capabilities: root, given, .. } = *privileges;
    let confine = |wanted: bool, step: Confine| wanted.then_some(Op::Confine(step));
    let own = !privileges.is_the_callers();
    let changes = user.is_some();
    // Without no_new_privs it takes CAP_SYS_ADMIN, which is still there now (seccomp(2)).
    let early = filter.take_if(|_| !privileges.no_new_privs);
    [
        // AppArmor's file takes a command, SELinux's the context itself.
        label(Lsm::AppArmor, "exec ", privileges.apparmor.as_deref()),
        label(Lsm::SeLinux, "", privileges.selinux.as_deref()),
        // Only the host's root can mount a procfs of its own, as a label takes; and all that is dropped below comes back with this.
        own_ids.then_some(Op::Undumpable),
        confine(own_ids, Confine::UserNamespace),
        // Where fs.suid_dumpable is 1, a change of the user opens this process to whoever has its number (proc_sys_fs(5)), until the
        // step after it.
        Some(Op::CloseOnExec { first }),
        // Before the filter, which refuses it, and its failure is silent.
        confine(own, Confine::Keyring),
        early.map(|filter| seccomp(privileges, filter)),
        confine(root != caps::ALL, Confine::Bound { mask: root, closed: privileges.no_new_privs }),
        confine(changes && given != 0, Confine::KeepCapabilities),
        user,
        changes.then_some(Op::Undumpable),
        confine(own, Confine::Capabilities { root, given }),
        // The kernel forgets the signal when the user changes (prctl(2)).
        dies.filter(|_| changes).map(|signal| Op::DieWithSupervisor { signal }),
        dies.filter(|_| changes).map(|_| Op::CheckSupervisor),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn label(lsm: Lsm, before: &str, label: Option<&str>) -> Option<Op> {
    let text = CString::new([before, label?].concat()).ok()?;
    Some(Op::Confine(Confine::Label(lsm, text)))
}

/// What holds for the command alone. The filter comes last: it need not let pass what the other steps call.
pub(super) fn last(privileges: &Privileges, abi: Abi, programs: &[CString], filter: Option<Filter>) -> Vec<Op> {
    let mut steps = Vec::new();
    if privileges.no_new_privs {
        steps.push(Op::Confine(Confine::NoNewPrivileges));
    }
    // Who is not root may confine himself only then (landlock_restrict_self(2)).
    if let Some(rules) = &privileges.landlock {
        landlock::steps(rules, abi, programs, &mut steps);
    }
    steps.extend(filter.map(|filter| seccomp(privileges, filter)));
    steps
}

fn seccomp(privileges: &Privileges, filter: Filter) -> Op {
    Op::Confine(Confine::Seccomp { filter, profile: privileges.seccomp == Seccomp::Profile })
}
