//! The steps of a container that lives on, and of another command in one that runs.

use super::{flags, quoted};
use crate::plan::{Op, Plan};

pub(super) fn text(plan: &Plan, op: &Op) -> (String, String) {
    let (call, why): (String, &str) = match op {
        Op::KeepFiles { interactive, log } => (
            format!(
                "openat(\"{0}/status\"{1}, O_CREAT); bind(socket, \"{0}/control\"); {2}pipe2(…) twice",
                plan.id,
                if *log { format!(", \"{}/log\"", plan.id) } else { String::new() },
                if *interactive { "pipe2(…); " } else { "openat(\"/dev/null\"); " },
            ),
            "how it is and how it ended, its output, how to talk to it, and its streams",
        ),
        Op::NewSession => ("setsid()".into(), "what ends the starter's terminal does not end the container"),
        Op::AwaitRecord => (
            "recvfrom(theirs, …)".into(),
            "what is not recorded yet does not start; end-of-file: the starter was killed, and this clears up and ends",
        ),
        Op::Hold => ("recvfrom(theirs, …)".into(), "its files stay until nsctl outside is done with them"),
        Op::Monitor { group } => (
            format!(
                "poll([signals, control, output, …]); clone3({{flags=CLONE_PIDFD{}, …}})",
                if group.is_some() { "|CLONE_INTO_CGROUP" } else { "" }
            ),
            match plan.keep.and_then(|keep| keep.health) {
                Some(_) => {
                    "starts the command, and beside it, from time to time, the one that asks how it is; reaps, forwards, keeps the log; the only process of nsctl's that stays"
                }
                None => {
                    "until the command ends for good: starts it, reaps, forwards, keeps the log; the only process of nsctl's that stays"
                }
            },
        ),
        Op::Streams => ("dup2(…, 0); dup2(…, 1); dup2(…, 2)".into(), "its input and output are nsctl's"),
        Op::CidFile(path) => (format!("openat(AT_FDCWD, {}, O_CREAT), write, renameat", quoted(path)), "--cidfile"),
        Op::Release => ("sendto(ours, …)".into(), "it is recorded: it may start"),
        Op::Listen => (
            "recvmsg(ours, …); connect, sendmsg(SCM_RIGHTS)".into(),
            "who decides about its system calls gets the descriptor by which the kernel asks",
        ),
        Op::AwaitStart => (
            "recvfrom(ours, …)".into(),
            "end-of-file: the command was executed, which closed the other end; otherwise what went wrong",
        ),
        Op::OpenGroup { group } => {
            let group = &plan.groups[*group];
            (
                format!("openat({}, {}, …O_DIRECTORY)", quoted(&group.mount), quoted(&group.dir)),
                "the container's group, whose limits hold for this command, too",
            )
        }
        Op::OpenNothing => ("openat(AT_FDCWD, \"/dev/null\", O_RDWR|O_CLOEXEC) three times".into(), "--detach"),
        Op::JoinPidOfContainer { pid } => (
            format!("setns(pidfd of {pid}, CLONE_NEWPID)"),
            "for the process cloned next; its namespaces were compared with those recorded",
        ),
        Op::JoinContainer { pid, kinds } => (
            format!("setns(pidfd of {pid}, {}); fchdir(root of {pid}); chroot(\".\")", flags(u64::from(*kinds))),
            "all the others at once, and the root that its PID 1 has",
        ),
        _ => unreachable!("a step of `explain`"),
    };
    (call, why.into())
}
