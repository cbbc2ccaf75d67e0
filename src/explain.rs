//! A step of the plan as text: the system call as strace would show it, and why it is made.
//! `--explain` prints all of them, `--verbose` prints each when it is taken.

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter, Write};

use linux_raw_sys::general as k;

use crate::linux::cgroup::Version;
use crate::linux::text::shown;
use crate::plan::{MOMENT, Op, Plan, SUPERVISOR_ENDED, Who};

mod confine;
mod groups;
mod identity;
mod keep;
mod landlock;
mod net;
mod rules;
mod terminal;
mod tree;

pub(crate) use rules::{nft, path};

/// The whole plan, one numbered line per step.
#[inline(never)]
pub(crate) fn explain(plan: &Plan) -> String {
    let done = |index: &usize| {
        matches!(
            plan.steps[*index].op,
            Op::Ask { done: true, .. }
                | Op::UndoNetwork { done: true, .. }
                | Op::Rules { done: true, .. }
                | Op::Switch { done: true, .. }
        )
    };
    let lines = (0..plan.steps.len()).filter(|index| !done(index)).map(|index| line(plan, index) + "\n");
    lines.collect::<String>() + confine::given_away(plan)
}

/// One step: number, process, system call, reason.
pub(crate) fn line(plan: &Plan, index: usize) -> String {
    let step = &plan.steps[index];
    let who = match step.who {
        Who::Supervisor => "outside",
        Who::Init if plan.init => "init",
        Who::Init | Who::Payload => "command",
    };
    let (call, why) = text(plan, &step.op);
    // What takes more than one line goes on below.
    let (call, more) = call.split_once('\n').map_or((&*call, String::new()), |(call, more)| {
        (call, more.lines().map(|line| format!("\n{:17}{line}", "")).collect())
    });
    format!("{:>3} {who:<8} {call:<78} # {why}{more}", index + 1)
}

/// Longer than it should be for one function, but one match over all steps: each line is one sentence of the story.
fn text(plan: &Plan, op: &Op) -> (String, String) {
    let group = |index: &usize| &plan.groups[*index];
    // Where the writes to a group go; the calls themselves name no path, only a file below the group's descriptor.
    let mount = |index: &usize| shown(&group(index).mount);
    let inside = |index: &usize| format!("{}/{}", mount(index), shown(&group(index).dir));
    let (call, why): (String, &str) = match op {
        Op::DefaultSigchld => (
            "rt_sigaction(SIGCHLD, {sa_handler=SIG_DFL}, …)".into(),
            "a caller that ignores SIGCHLD would hide the exit status from us",
        ),
        Op::BlockSignals => {
            ("rt_sigprocmask(SIG_SETMASK, ~[], …)".into(), "signals wait in the queue until they can be forwarded")
        }
        Op::Pair => (
            "socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_CLOEXEC, 0, [ours, theirs])".into(),
            "how the other side says which step failed",
        ),
        Op::OpenState { dir } => (
            format!("openat(AT_FDCWD, {}, O_RDONLY|O_NOFOLLOW|O_CLOEXEC|O_DIRECTORY)", quoted(dir)),
            "where nsctl ps finds the running containers; made (0700) if it is not there",
        ),
        Op::Claim => {
            let mut call = format!("mkdirat(state, \"{}\", 0700); flock(…, LOCK_EX)", plan.id);
            if let Some(name) = &plan.name {
                call += &format!("; symlinkat(\"{}\", state, \"@{name}\")", plan.id);
            }
            if let Some(parent) = plan.parent() {
                call += &format!("; symlinkat({}, \"{}\", \"above\")", quoted(parent), plan.id);
            }
            let why = match (&plan.name, plan.parent()) {
                (Some(_), _) => "the lock says that this container is alive; the link is its name, once per machine",
                (None, Some(_)) => "the lock says that this container is alive; the link, where its groups will be",
                (None, None) => "the lock says that this container is alive",
            };
            (call, why)
        }
        Op::MountHierarchy { group: index } => (
            format!(
                "mount(\"cgroup2\", {}, \"cgroup2\", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)",
                quoted(&group(index).mount)
            ),
            "no cgroups are mounted here, and the limits need them",
        ),
        Op::OpenHierarchy { group: index } => (
            format!("openat(AT_FDCWD, {}, …O_DIRECTORY); flock(…, LOCK_SH)", quoted(&group(index).mount)),
            "the root of the cgroup hierarchy with the controllers asked for, whose nsctl/ nobody shall remove now",
        ),
        Op::OpenOtherHierarchies { .. }
        | Op::RemoveOtherGroups
        | Op::MakeParent { .. }
        | Op::Enable { .. }
        | Op::MakeGroup { .. }
        | Op::InheritCpuset { .. }
        | Op::Limit { .. }
        | Op::AllowDevices { .. }
        | Op::MakeLeaf { .. }
        | Op::Delegate { .. } => return groups::text(plan, op),
        Op::Confine(confine) => return confine::text(confine),
        Op::KeepFiles { .. }
        | Op::NewSession
        | Op::AwaitRecord
        | Op::Hold
        | Op::Monitor { .. }
        | Op::Streams
        | Op::CidFile(_)
        | Op::Release
        | Op::AwaitStart
        | Op::Listen
        | Op::OpenGroup { .. }
        | Op::OpenNothing
        | Op::JoinPidOfContainer { .. }
        | Op::JoinContainer { .. } => return keep::text(plan, op),
        Op::OwnUserNamespace(_) | Op::JoinUserNamespaceOf { .. } | Op::NewUserNamespace { .. } => {
            identity::namespace(op)
        }
        Op::TakeAddress(_)
        | Op::NewNetwork
        | Op::Ask { .. }
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
        | Op::LeaveNetwork => return net::text(plan, op),
        Op::MakeUpper { .. }
        | Op::MakeIdMap(_)
        | Op::MapSource { .. }
        | Op::MapUpper { .. }
        | Op::OpenSource { .. }
        | Op::CloneSource { .. }
        | Op::TopOfMounts
        | Op::ProcOfHost
        | Op::NewParent
        | Op::Stage(_)
        | Op::HostTree { .. }
        | Op::MountImage { .. }
        | Op::BindRoot { .. }
        | Op::OverlayRoot { .. }
        | Op::Mount(_)
        | Op::LeaveStage { .. }
        | Op::Enter => return tree::text(plan, op),
        Op::OpenNamespace { path, .. } => {
            (format!("openat(AT_FDCWD, {}, O_RDONLY|O_CLOEXEC)", quoted(path)), "the namespace to join")
        }
        Op::JoinPid { .. } => ("setns(namespace, CLONE_NEWPID)".into(), "for the processes cloned from now on"),
        Op::Clone { group: into } => {
            let into_cgroup = if into.is_some() { "|CLONE_INTO_CGROUP" } else { "" };
            (
                format!(
                    "clone3({{flags={}{}CLONE_PIDFD{into_cgroup}, exit_signal=SIGCHLD}}, {})",
                    flags(plan.clone_flags),
                    if plan.clone_flags == 0 { "" } else { "|" },
                    if into.is_some() { 88 } else { 64 }
                ),
                if plan.clone_flags == 0 {
                    "fork, with a pidfd to wait for it"
                } else {
                    "fork, with the child in new namespaces and a pidfd to wait for it"
                },
            )
        }
        Op::CloseSupervisorsEnd => ("close(ours)".into(), "so that end-of-file means: the supervisor is gone"),
        Op::MakeFilesAs([0, 0]) => {
            ("setfsuid(0); setfsgid(0)".into(), "what is made from here on is the host's root's again")
        }
        Op::MakeFilesAs([user, group]) => (
            format!("setfsgid({group}); setfsuid({user}); capset(effective = permitted)"),
            "what is made from here on belongs to the container's root",
        ),
        Op::DieWithSupervisor { signal } => (
            format!("prctl(PR_SET_PDEATHSIG, {})", if *signal == SUPERVISOR_ENDED { "SIGRT_0" } else { "SIGKILL" }),
            if *signal == SUPERVISOR_ENDED {
                "if nsctl outside is killed, end all and clear up (the end of PID 1 ends its namespace)"
            } else {
                "if nsctl outside is killed, this ends, and its PID namespace with it"
            },
        ),
        Op::CheckSupervisor => (
            "recvfrom(theirs, …, MSG_DONTWAIT) = -1 EAGAIN".into(),
            "it may have been killed before the line above; getppid() is 0 in a new PID namespace either way",
        ),
        Op::Join { kind, .. } => {
            (format!("setns(namespace, {})", flags(u64::from(*kind))), "join what was asked for")
        }
        Op::PrivateMounts => (
            "mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE, NULL)".into(),
            "a copy of a shared mount would hand our mounts back to the host",
        ),
        Op::Hostname(name) => {
            (format!("sethostname({}, {})", quoted(name), name.count_bytes()), "seen by this UTS namespace only")
        }
        Op::Domainname(name) => (format!("setdomainname({}, {})", quoted(name), name.count_bytes()), "likewise"),
        Op::MountProc => (
            "mount(\"proc\", \"/proc\", \"proc\", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)".into(),
            "a procfs shows the PID namespace of its mounter: ps sees only what runs inside",
        ),
        Op::Undumpable => (
            "prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)".into(),
            "keeps /proc/PID/exe and /proc/PID/fd of nsctl closed to the container",
        ),
        Op::Spawn { group: into } => (
            format!(
                "clone3({{flags=CLONE_PIDFD{}, exit_signal=SIGCHLD}}, {})",
                if into.is_some() { "|CLONE_INTO_CGROUP" } else { "" },
                if into.is_some() { 88 } else { 64 }
            ),
            "PID 2 will be the command, PID 1 its reaper",
        ),
        Op::CloseOwnEnd => ("close(theirs)".into(), "the reaper has nothing more to say"),
        Op::Reap => (
            "rt_sigtimedwait(~[], …); wait4(-1, …, WNOHANG); kill(2, …)".into(),
            "until the command ends: reap orphans, forward signals; then exit with its code",
        ),
        Op::EnterGroup { group: index } => (
            write(&format!("{}/cgroup.procs", inside(index)), "0"),
            match group(index).version {
                Version::V1 => "into the group before anything is run or used",
                Version::V2 => "only where CLONE_INTO_CGROUP is missing",
            },
        ),
        Op::NewCgroupNamespace => {
            ("unshare(CLONE_NEWCGROUP)".into(), "only now, since the group one is in becomes its root")
        }
        Op::MountGroup { group: index, writable } => (
            format!(
                "umount2({0}, MNT_DETACH); mount(\"cgroup\", {0}, \"{1}\", {3}MS_NOSUID|MS_NODEV|MS_NOEXEC, {2})",
                quoted(&group(index).mount),
                if group(index).version == Version::V2 { "cgroup2" } else { "cgroup" },
                if group(index).version == Version::V2 {
                    "NULL".into()
                } else {
                    quoted(&group(index).controllers).to_string()
                },
                if *writable { "" } else { "MS_RDONLY|" },
            ),
            if *writable {
                "the container's own group, in which it may make others"
            } else {
                "the container reads its own limits there, not the host's, and cannot change them"
            },
        ),
        Op::Chdir(dir) if plan.rooted => (
            format!("openat2(\"/\", {}, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS); fchdir(…)", quoted(dir)),
            "--workdir, made if it is not there; no link of /proc can lead it out",
        ),
        Op::Chdir(dir) => (format!("chdir({})", quoted(dir)), "--workdir"),
        Op::SaveTerminal
        | Op::OpenTerminal { .. }
        | Op::MountConsole
        | Op::SendTerminal
        | Op::TakeTerminal
        | Op::Relay => return terminal::text(plan, op),
        Op::BeUser { user, groups } => identity::text(user.as_ref(), groups, plan),
        Op::OwnNull => (
            "openat2(root, \"dev/null\", RESOLVE_NO_SYMLINKS); dup2(…)".into(),
            "where 0, 1 or 2 is the host's /dev/null: root inside could change its mode by that",
        ),
        Op::RestoreSignals => (
            "rt_sigprocmask(SIG_SETMASK, as it was, …)".into(),
            "the command gets the signals as the caller had them",
        ),
        Op::CloseOnExec { first } if plan.rooted => (
            format!("close_range({first}, 4294967295, 0), but for nsctl's own socket"),
            "what is executed must not be named by way of something open: /proc/self/fd/N/../..",
        ),
        Op::CloseOnExec { first } => (
            format!("close_range({first}, 4294967295, CLOSE_RANGE_CLOEXEC)"),
            "no descriptor of the caller or of nsctl reaches the command",
        ),
        Op::Landlock(act) => return landlock::text(act),
        Op::Exec => (exec(plan), "from here on it is the command"),
        Op::GiveTime => (
            format!("rt_sigtimedwait(~[], …, {{tv_nsec={}}}, 8)", u32::from(MOMENT) * 1_000_000),
            "what ends within a moment is not recorded: nobody could ask for it, and the disk is spared",
        ),
        Op::Record => (
            format!("openat(…, O_CREAT), write, renameat(\"{0}/new\" → \"{0}/state.json\")", plan.id),
            "meanwhile: what ps shows; nobody sees half a file",
        ),
        Op::PidFile(path) => (format!("openat(AT_FDCWD, {}, O_CREAT), write, renameat", quoted(path)), "--pidfile"),
        Op::Wait => (
            "rt_sigtimedwait(~[], …); waitid(P_PIDFD, …); pidfd_send_signal(…)".into(),
            "until the container ends: forward every signal that is not the terminal's",
        ),
        Op::RemoveGroup { group: index } => (
            format!("unlinkat({}, {}, AT_REMOVEDIR)", quoted(&group(index).mount), quoted(&group(index).dir)),
            "every process in it is gone",
        ),
        Op::RemoveState => (
            format!("unlinkat(state, \"{0}/state.json\"); unlinkat(state, \"{0}\", AT_REMOVEDIR)", plan.id),
            "nothing is left behind",
        ),
    };
    (call, why.into())
}

fn exec(plan: &Plan) -> String {
    let argv: Vec<String> = plan.argv.strings().iter().map(|arg| quoted(arg).to_string()).collect();
    let vars = plan.envp.strings().len() + usize::from(plan.home_of_user);
    let more = match plan.programs.len() {
        1 => String::new(),
        count => format!(", or in one of {} more directories of PATH", count - 1),
    };
    format!("execve({}, [{}], … /* {vars} vars */){more}", quoted(&plan.programs[0]), argv.join(", "))
}

/// What the kernel reads is written as the shell redirection that would do the same.
fn write(file: &str, value: &str) -> String {
    format!("write({file}, \"{value}\")")
}

/// As strace shows it. Not a text of its own: there are dozens of places that put it into one.
struct Quoted<'a>(&'a CStr);

fn quoted(text: &CStr) -> Quoted<'_> {
    Quoted(text)
}

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        for part in self.0.to_bytes().utf8_chunks() {
            for c in part.valid().chars() {
                match c {
                    '"' | '\\' => write!(out, "\\{c}")?,
                    '\n' => out.write_str("\\n")?,
                    '\t' => out.write_str("\\t")?,
                    c if c.is_control() => write!(out, "\\{:o}", c as u32)?,
                    c => out.write_char(c)?,
                }
            }
            for byte in part.invalid() {
                write!(out, "\\{byte:o}")?;
            }
        }
        out.write_char('"')
    }
}

fn flags(bits: u64) -> String {
    let names = [
        (k::CLONE_NEWNS, "CLONE_NEWNS"),
        (k::CLONE_NEWCGROUP, "CLONE_NEWCGROUP"),
        (k::CLONE_NEWUTS, "CLONE_NEWUTS"),
        (k::CLONE_NEWIPC, "CLONE_NEWIPC"),
        (k::CLONE_NEWPID, "CLONE_NEWPID"),
        (k::CLONE_NEWNET, "CLONE_NEWNET"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & u64::from(*bit) != 0).map(|(_, name)| *name).collect();
    set.join("|")
}

#[cfg(any(test, fuzzing))]
pub(crate) mod golden;
