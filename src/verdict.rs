//! A step that failed → the sentence that says so: act, object, the kernel's word, and the way out.

use std::borrow::Cow;

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::error::{Error, NOT_EXECUTABLE, NOT_FOUND};
use crate::linux::elf::{self, Trouble};
use crate::linux::text::shown;
use crate::plan::{Op, Plan, Step};
use crate::sync::Detail;

mod confine;
mod groups;
mod landlock;
mod net;
mod tree;
pub(crate) use net::rules;

/// `detail` is what the container's side saw of a file that could not be executed.
pub(crate) fn sentence(plan: &Plan, index: usize, errno: Errno, detail: Option<&Detail>) -> Error {
    match described(plan, index, errno, detail) {
        error if errno == Errno::MFILE => {
            error.hint("nsctl needs some itself: a higher --ulimit nofile, or ulimit -n")
        }
        error => error,
    }
}

fn described(plan: &Plan, index: usize, errno: Errno, detail: Option<&Detail>) -> Error {
    let Some(step) = plan.steps.get(index) else { return Error::os("start the container", errno) };
    let group = |index: &usize| shown(&plan.groups[*index].mount);
    let dir = |index: &usize| format!("{}/{}", group(index), shown(&plan.groups[*index].dir));
    let doing = match &step.op {
        Op::Exec => return exec(plan, errno, detail),
        Op::Claim => match (&plan.name, errno) {
            (Some(name), Errno::EXIST) => {
                return Error::new(format_args!("a container has the name {name} already"))
                    .hint("nsctl ps -a lists them; nsctl rm removes one that has ended, or choose another --name");
            }
            _ => format!("make the directory {}/{}", state(plan), plan.id),
        },
        Op::OwnUserNamespace(_) | Op::JoinUserNamespaceOf { .. } => "enter a user namespace".into(),
        Op::NewUserNamespace { .. } => "make a user namespace".into(),
        Op::MakeFilesAs(_) => "make files as the container's root".into(),
        Op::DefaultSigchld | Op::BlockSignals | Op::RestoreSignals => "set the signal mask".into(),
        Op::Pair => "make a pair of sockets".into(),
        Op::OpenState { dir } => format!("open the state directory {}", shown(dir)),
        Op::MountHierarchy { group: g } => format!("mount cgroup2 on {}", group(g)),
        Op::OpenHierarchy { group: g } => format!("open the cgroup hierarchy {}", group(g)),
        Op::Confine(confine) => return confine::sentence(confine, errno),
        op if groups::is_about(op) => return groups::sentence(plan, op, errno),
        Op::Landlock(act) => return landlock::sentence(act, errno),
        op if net::is_about(op) => return net::sentence(op, errno),
        Op::OverlayRoot { .. } if errno == Errno::INVAL && plan.userns.is_some() => {
            return tree::sentence(&step.op, errno)
                .hint("over a root in a user namespace overlayfs takes Linux 5.19; --rw does without; dmesg tells");
        }
        op if tree::is_about(op) => return tree::sentence(op, errno),
        Op::OpenNamespace { path, .. } => format!("open the namespace {}", shown(path)),
        Op::JoinPid { .. } | Op::Join { .. } => "join a namespace".into(),
        Op::Clone { .. } => "clone into new namespaces".into(),
        Op::Spawn { .. } => "fork the command from PID 1".into(),
        Op::CloseSupervisorsEnd | Op::CloseOwnEnd | Op::CheckSupervisor => "close a socket".into(),
        Op::DieWithSupervisor { .. } | Op::Undumpable => "prctl".into(),
        Op::PrivateMounts => "make the mounts private".into(),
        Op::Hostname(name) => format!("set the host name {}", shown(name)),
        Op::Domainname(name) => format!("set the domain name {}", shown(name)),
        Op::MountProc => "mount proc on /proc".into(),
        Op::EnterGroup { group: g } => format!("enter the cgroup {}", dir(g)),
        Op::NewCgroupNamespace => "make a cgroup namespace".into(),
        Op::OpenTerminal { .. } => "open a pseudoterminal".into(),
        Op::MountConsole => "mount the terminal on /dev/console".into(),
        Op::SendTerminal | Op::TakeTerminal | Op::SaveTerminal => "hand the terminal over".into(),
        Op::MountGroup { group: g, .. } => format!("mount the container's cgroup on {}", group(g)),
        Op::OwnNull => "open the container's /dev/null".into(),
        Op::Chdir(dir) => format!("change to the directory {}", shown(dir)),
        Op::CloseOnExec { .. } => "mark descriptors close-on-exec".into(),
        Op::Record => format!("record the container in {}", state(plan)),
        Op::PidFile(path) => format!("write --pidfile {}", shown(path)),
        Op::Reap | Op::Relay | Op::Wait | Op::GiveTime => "wait".into(),
        Op::RemoveGroup { group: g } => format!("remove the cgroup {}", dir(g)),
        Op::RemoveState => "remove the container's state".into(),
        Op::KeepFiles { .. } => format!("make the container's log, status and socket in {}", state(plan)),
        Op::NewSession => "begin a session".into(),
        Op::AwaitRecord | Op::Hold | Op::Release | Op::AwaitStart | Op::Listen => {
            "talk to the other side of the start".into()
        }
        Op::Monitor { .. } | Op::Streams | Op::OpenNothing => "set the streams of the container".into(),
        Op::CidFile(path) => format!("write --cidfile {}", shown(path)),
        Op::OpenGroup { group: g } => format!("open the cgroup {}", dir(g)),
        Op::JoinPidOfContainer { pid } | Op::JoinContainer { pid, .. } => {
            format!("join the namespaces of process {pid}")
        }
        _ => "make the container's files".into(),
    };
    Error::os(doing, errno).hint(hint(&step.op, errno))
}

/// Where containers are recorded, as far as this plan has to do with that.
fn state(plan: &Plan) -> Cow<'_, str> {
    fn dir(step: &Step) -> Option<Cow<'_, str>> {
        let Op::OpenState { dir } = &step.op else { return None };
        Some(dir.to_string_lossy())
    }
    plan.steps.iter().find_map(dir).unwrap_or_default()
}

/// The usual reason of this error of this step.
fn hint(op: &Op, errno: Errno) -> &'static str {
    match (op, errno) {
        (Op::Clone { .. }, Errno::PERM) => {
            "new namespaces need root (CAP_SYS_ADMIN): run it as root; nsctl check says more"
        }
        (Op::Clone { .. }, Errno::INVAL) => {
            "this kernel lacks a namespace that was asked for; nsctl check says which"
        }
        (Op::NewUserNamespace { .. }, Errno::INVAL) => {
            "this kernel lacks a namespace that was asked for (CONFIG_USER_NS); nsctl check says which"
        }
        (Op::NewUserNamespace { .. }, Errno::PERM) => {
            "the caller has not all ids of the map itself: see /proc/self/uid_map; or a security module forbids it"
        }
        (Op::NewUserNamespace { .. } | Op::Clone { .. } | Op::Spawn { .. }, Errno::NOSPC | Errno::USERS) => {
            "a limit of /proc/sys/user/max_*_namespaces is reached"
        }
        (Op::Clone { .. } | Op::Spawn { .. }, Errno::AGAIN) => {
            "a limit on tasks is reached: ulimit -u, or pids.max of the caller's cgroup"
        }
        (Op::MountHierarchy { .. }, Errno::NOENT) => {
            "there is no such directory: mount -t sysfs sysfs /sys, or a kernel with CONFIG_CGROUPS"
        }
        (Op::EnterGroup { .. }, Errno::ACCESS) => {
            "it is not below the caller's own cgroup, which it would have to leave: exec from where it was started"
        }
        (Op::EnterGroup { .. }, Errno::OPNOTSUPP) => {
            "the group above has processes of its own, or is threaded: choose another --cgroup-parent"
        }
        (Op::Claim | Op::Record | Op::KeepFiles { .. }, Errno::NOSPC | Errno::ROFS) => {
            "containers are recorded there; --root before the verb, or NSCTL_ROOT, names another directory"
        }
        (Op::MountProc, Errno::NOENT) => "make the directory /proc",
        (Op::MountProc, Errno::PERM) => "an outer container masks /proc; --pid host does without a new one",
        (Op::OpenNamespace { .. }, Errno::NOENT) => "the process is gone, or the kernel has no such namespace",
        (Op::OpenTerminal { .. }, Errno::NOSPC) => {
            "there are as many as /proc/sys/kernel/pty/max allows: end some, or raise it"
        }
        (Op::OpenTerminal { .. }, Errno::NODEV) => "this kernel has none: CONFIG_UNIX98_PTYS; leave -t out",
        (Op::OwnNull, _) => {
            "a standard stream is the host's, and must not be: /dev has to have one, or give it another stream"
        }
        (Op::PrivateMounts, Errno::INVAL) => {
            "the root directory is no mount: nsctl runs in a chroot; with --rootfs / it works there"
        }
        (Op::Chdir(_), Errno::ROFS) => "it is not there, and the root is read-only",
        (Op::Chdir(_), Errno::NOTDIR) => "it is a file",
        (Op::Chdir(_), Errno::LOOP) => "links of /proc that lead out of every path are not followed",
        (Op::Chdir(_), Errno::NOENT) => "make it, or choose another --workdir",
        (Op::JoinContainer { .. } | Op::JoinPidOfContainer { .. }, Errno::PERM) => {
            "joining takes the same rights as starting: run it as root"
        }
        (Op::Join { .. } | Op::JoinPid { .. }, Errno::INVAL) => {
            "the file is a namespace of another kind, or no namespace"
        }
        _ => "",
    }
}

/// execve says ENOENT also for a missing interpreter, and ENOEXEC for a foreign architecture.
fn exec(plan: &Plan, errno: Errno, detail: Option<&Detail>) -> Error {
    // A file that was found is named by its path, one that was not as it was typed.
    let program = plan.programs.get(detail.map_or(0, |detail| usize::from(detail.program)));
    let program = program.map(|program| program.to_string_lossy()).unwrap_or_default();
    let own = if detail.is_none() && !plan.rooted { elf::trouble(CWD, &plan.programs[0]) } else { None };
    let trouble = detail.map_or(own.as_ref(), |detail| detail.trouble.as_ref());
    // It was looked for in PATH.
    let by_name = plan.argv.strings().first().is_some_and(|name| !name.to_bytes().contains(&b'/'));
    let missing = matches!(trouble, Some(Trouble::Missing)) && (plan.programs.len() > 1 || by_name);
    let code = if errno == Errno::NOENT || errno == Errno::NOTDIR { NOT_FOUND } else { NOT_EXECUTABLE };
    if missing {
        let name = plan.argv.strings()[0].to_string_lossy();
        let path: Vec<_> = plan.programs.iter().filter_map(|program| directory(&program.to_string_lossy())).collect();
        return Error::new(format_args!("execute {name}: no such file in PATH"))
            .hint(format_args!("in the container PATH is {}", path.join(":")))
            .code(code);
    }
    let error = Error::os(format_args!("execute {program}"), errno).code(code);
    let inside = if plan.rooted { " in the container" } else { "" };
    match (errno, trouble) {
        (Errno::NOENT, Some(Trouble::NoInterpreter(path))) if path.ends_with('\r') => error.hint(
            "its first line ends in a carriage return, as on Windows: the interpreter is not found by that name",
        ),
        (Errno::NOENT, Some(Trouble::NoInterpreter(path))) => {
            error.hint(format_args!("the file is there, but its interpreter {path} is missing{inside}"))
        }
        (Errno::NOENT, Some(Trouble::Missing)) if plan.rooted => {
            error.hint("there is no such file in the container's root")
        }
        (Errno::NOEXEC, Some(Trouble::OtherMachine(machine))) => error
            .hint(format_args!("it is for another architecture, {machine}; this one is {}", std::env::consts::ARCH)),
        (Errno::NOEXEC, Some(Trouble::NoFormat)) => {
            error.hint("it is neither an ELF file nor a script that begins with #!")
        }
        (Errno::ACCESS, Some(Trouble::Directory)) => error.hint("it is a directory"),
        (Errno::ACCESS, Some(Trouble::Special)) => error.hint("it is a device, a FIFO or a socket"),
        (Errno::ACCESS, Some(Trouble::NotExecutable)) => error.hint("it is not executable: chmod +x"),
        (Errno::IO | Errno::UCLEAN | Errno::BADMSG, _) => error.hint(tree::UNREADABLE),
        (Errno::ACCESS, _) if plan.steps.iter().any(|step| matches!(step.op, Op::Landlock(_))) => {
            error.hint("landlock has files executed only below --landlock-ro and --landlock-rw: the program's, its interpreter's, its libraries'")
        }
        (Errno::ACCESS, _) => {
            error.hint("it or its interpreter is on a noexec mount, or this user may not enter a directory above it")
        }
        _ => error,
    }
}

fn directory(program: &str) -> Option<String> {
    program.rsplit_once('/').map(|(directory, _)| directory.to_string())
}
