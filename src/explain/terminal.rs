//! The container's terminal, as text.

use super::tree;
use crate::plan::{Op, Plan};

pub(super) fn text(plan: &Plan, op: &Op) -> (String, String) {
    let (call, why): (String, &str) = match op {
        Op::SaveTerminal => ("ioctl(0, TCGETS2, …)".into(), "how the caller's terminal is, to give it back so"),
        Op::OpenTerminal { devpts } => {
            let open =
                "openat(pts, \"ptmx\", O_RDWR|O_NONBLOCK|O_NOCTTY|O_NOFOLLOW|O_CLOEXEC); ioctl(master, TIOCGPTPEER)";
            match devpts {
                None if !plan.rooted => {
                    (format!("openat2(\"/\", \"dev/pts\"); {open}"), "-t: a terminal of the size of the caller's")
                }
                None => {
                    (open.into(), "-t: a terminal out of the container's own devpts, of the size of the caller's")
                }
                Some(_) => (
                    format!("openat2(\"/\", \"dev/pts\"); {open}"),
                    "-t: a terminal of the size of the caller's; without a devpts, one is mounted",
                ),
            }
        }
        Op::MountConsole => (
            format!("{}; {}", tree::clone(plan.api.fds, false), tree::attach(plan.api.fds, "console")),
            "/dev/console is this terminal itself, and not what a path leads to",
        ),
        Op::SendTerminal => {
            ("sendmsg(theirs, …, SCM_RIGHTS master); close(master)".into(), "nsctl outside is at the other end of it")
        }
        Op::TakeTerminal => (
            "setsid(); ioctl(slave, TIOCSCTTY); dup2(slave, 0); dup2(slave, 1); dup2(slave, 2)".into(),
            "a session of its own: what is typed into this terminal (TIOCSTI) never reaches the caller's",
        ),
        Op::Relay => (
            "recvmsg(ours, …, SCM_RIGHTS master); ioctl(0, TCSETS2, raw)".into(),
            "every key goes to the container as it is, until the end; then the terminal is as before",
        ),
        _ => unreachable!("not a step of the terminal"),
    };
    (call, why.into())
}
