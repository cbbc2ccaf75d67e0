//! Another command in a container that runs. The steps by which it gets what the container's own has, and no more, are the same as
//! those of a run.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

use linux_raw_sys::general as k;

use super::{Group, Op, Plan, Step, Who, confine};
use crate::linux::cgroup::{LEAF, Version};
use crate::linux::landlock::Abi;
use crate::linux::mount::Api;
use crate::linux::sys::StringArray;
use crate::linux::userns::{Maps, UserNamespace};
use crate::spec::Exec;
use crate::state::{self, Cgroup, Record};

impl Plan {
    pub(crate) fn exec(
        mut spec: Exec,
        record: &Record,
        programs: Vec<CString>,
        landlock: Abi,
        own: Option<&UserNamespace>,
    ) -> Self {
        let groups: Vec<Group> = record.cgroups.iter().map(|cgroup| group(cgroup, record.delegated)).collect();
        let given = record.user_namespace.as_ref().map(state::UserNamespace::maps);
        let steps = steps(&mut spec, record, &groups, &programs, landlock, (own, given.as_ref()));
        let privileges = spec.privileges;
        let variable = |(name, value): (OsString, OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
        };
        Self {
            id: record.id.clone(),
            name: Some(record.name.clone()).filter(|name| !name.is_empty()),
            steps,
            clone_flags: 0,
            groups,
            init: false,
            rooted: record.rooted,
            api: Api::default(),
            programs,
            argv: StringArray::new(spec.argv),
            envp: StringArray::new(spec.env.into_iter().filter_map(variable).collect()),
            home_of_user: spec.home_of_user,
            labels: Vec::new(),
            stop_signal: None,
            stop_timeout: None,
            keep: None,
            health: StringArray::new(Vec::new()),
            words: None,
            image: String::new(),
            user: String::new(),
            more_groups: Vec::new(),
            workdir: String::new(),
            joined: Vec::new(),
            terminal: spec.terminal,
            interactive: spec.interactive,
            own: None,
            memory: None,
            privileges,
            groups_denied: own.is_some_and(|own| own.groups_denied),
            userns: given,
        }
    }
}

fn group(group: &Cgroup, delegated: bool) -> Group {
    // A group that hands on controllers takes no processes.
    let below = if delegated && group.v2 { format!("/{}", LEAF.to_string_lossy()) } else { String::new() };
    let c_string = |text: &str| CString::new(text).unwrap_or_default();
    Group {
        version: if group.v2 { Version::V2 } else { Version::V1 },
        mount: c_string(&group.mount),
        dir: c_string(&(group.dir.clone() + &below)),
        controllers: c_string(&group.controllers.join(",")),
        names: group.controllers.clone(),
        above: Vec::new(),
    }
}

fn steps(
    spec: &mut Exec,
    record: &Record,
    groups: &[Group],
    programs: &[CString],
    landlock: Abi,
    (own, given): (Option<&UserNamespace>, Option<&Maps>),
) -> Vec<Step> {
    let (privileges, mut filter) = (&spec.privileges, spec.seccomp.take());
    let listens = filter.as_ref().is_some_and(|filter| filter.listener().is_some());
    let mut steps = Vec::new();
    let mut who = Who::Supervisor;
    let mut add = |who: Who, op: Op| steps.push(Step { who, op });
    if own.is_some() {
        add(who, Op::JoinUserNamespaceOf { pid: record.pid });
    }
    for op in [Op::DefaultSigchld, Op::BlockSignals, Op::Pair] {
        add(who, op);
    }
    (0..groups.len()).for_each(|group| add(who, Op::OpenGroup { group }));
    if spec.detach {
        add(who, Op::OpenNothing);
    }
    if spec.terminal {
        add(who, Op::SaveTerminal);
    }
    if record.namespaces.contains_key("pid") {
        add(who, Op::JoinPidOfContainer { pid: record.pid });
    }
    add(who, Op::Clone { group: groups.iter().position(|group| group.version == Version::V2) });

    who = Who::Init;
    add(who, Op::CloseSupervisorsEnd);
    // Processes of the container see it come, and could take what it has open from it once it has no more rights than they have.
    add(who, Op::Undumpable);
    let die = [Op::DieWithSupervisor { signal: libc::SIGKILL }, Op::CheckSupervisor];
    if spec.detach {
        add(who, Op::NewSession);
        add(who, Op::Streams);
    } else {
        die.into_iter().for_each(|op| add(who, op));
    }
    (0..groups.len()).for_each(|group| add(who, Op::EnterGroup { group }));
    let kinds = crate::linux::join::NAMESPACES
        .iter()
        .filter(|(kind, name)| *kind != k::CLONE_NEWPID && record.namespaces.contains_key(*name));
    add(who, Op::JoinContainer { pid: record.pid, kinds: kinds.fold(0, |kinds, (kind, _)| kinds | kind) });
    if record.new_cgroupns {
        add(who, Op::NewCgroupNamespace);
    }
    if record.rooted && own.is_none() {
        add(who, Op::OwnNull);
    }
    let owner = given.and_then(|maps| maps.outside([0, 0]));
    if let Some(owner) = owner.filter(|_| spec.terminal || spec.workdir.is_some()) {
        add(who, Op::MakeFilesAs(owner));
    }
    if spec.terminal {
        add(who, Op::OpenTerminal { devpts: Some(super::tree::devpts(super::tree::tty_group(own, given))) });
        add(who, Op::SendTerminal);
        add(who, Op::TakeTerminal);
    }
    confine::resources(privileges, record.oom_score_adj).for_each(|op| add(who, op));
    if let Some(dir) = &spec.workdir {
        add(who, Op::Chdir(dir.clone()));
    }
    if own.is_some() {
        add(who, Op::Undumpable);
    }
    let user = Op::BeUser { user: spec.user.clone(), groups: spec.groups.clone() };
    let dies = (!spec.detach).then_some(libc::SIGKILL);
    confine::identity(privileges, given.is_some(), Some(user), 3, dies, &mut filter)
        .into_iter()
        .for_each(|op| add(who, op));
    add(who, Op::RestoreSignals);
    confine::last(privileges, landlock, programs, filter).into_iter().for_each(|op| add(who, op));
    add(who, Op::Exec);
    if spec.terminal {
        add(Who::Supervisor, Op::Relay);
    }
    if listens {
        add(Who::Supervisor, Op::Listen);
    }
    add(Who::Supervisor, if spec.detach { Op::AwaitStart } else { Op::Wait });
    steps
}
