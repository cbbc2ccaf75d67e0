//! What a command gives up, as text.

use super::write;
use crate::linux::caps;
use crate::linux::lsm::Lsm;
use crate::plan::{Confine, Plan};

pub(super) fn text(step: &Confine) -> (String, String) {
    let (call, why) = match step {
        Confine::OomScore(score) => (
            untouched("openat2(proc, \"self/oom_score_adj\")", &score.to_string()),
            "how soon the kernel kills it for want of memory",
        ),
        Confine::Nice(priority) => (format!("setpriority(PRIO_PROCESS, 0, {priority})"), "--nice"),
        Confine::Limit { typed, .. } => {
            let (name, value) = typed.split_once('=').unwrap_or((typed, ""));
            (format!("prlimit64(0, RLIMIT_{}, {value}, NULL)", name.to_ascii_uppercase()), "--ulimit")
        }
        Confine::Umask(mask) => (format!("umask({mask:#05o})").replace("0o", "0"), "of the files that it will make"),
        Confine::Label(which, label) => (
            untouched(
                match which {
                    Lsm::AppArmor => "openat2(proc, \"thread-self/attr/apparmor/exec\")",
                    Lsm::SeLinux => "openat2(proc, \"thread-self/attr/exec\")",
                },
                &label.to_string_lossy(),
            ),
            "the label of what is executed, by a procfs that nobody can have put anything over",
        ),
        Confine::UserNamespace => (
            "setns(userns, CLONE_NEWUSER)".into(),
            "from here on it has rights over the container alone, and the ids of it",
        ),
        Confine::Keyring => (
            "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)".into(),
            "the caller's keys are not the container's; a kernel without keys has none to hide",
        ),
        Confine::Bound { mask, .. } => (
            format!("prctl(PR_CAPBSET_DROP, …), for each but {}", list(*mask)),
            "what is given up here nobody inside gets back, by no set-uid program and no file",
        ),
        Confine::KeepCapabilities => ("prctl(PR_SET_KEEPCAPS, 1)".into(), "over the change of the user"),
        Confine::Capabilities { given: 0, .. } => (
            "capset(permitted = effective = of those, if it is root; inheritable = 0)".into(),
            "a user who is not root has none",
        ),
        Confine::Capabilities { given, .. } => (
            format!(
                "capset(permitted = effective = of those if it is root, else {}); prctl(PR_CAP_AMBIENT, …)",
                list(*given)
            ),
            "another user keeps what was given by name: ambient",
        ),
        Confine::Seccomp { filter, profile } => (
            format!("seccomp(SECCOMP_SET_MODE_FILTER, {}, …)", filter.flags()),
            if *profile {
                "the profile of --security-opt seccomp"
            } else {
                "the default profile: README, \"System calls\""
            },
        ),
        Confine::NoNewPrivileges => {
            ("prctl(PR_SET_NO_NEW_PRIVS, 1)".into(), "no program that it executes has more rights than it has")
        }
    };
    (call, why.into())
}

fn untouched(file: &str, value: &str) -> String {
    format!("fsopen(\"proc\"); fsmount(…); {}", write(file, value))
}

fn list(mask: u64) -> String {
    match mask {
        caps::ALL => "all".into(),
        0 => "none".into(),
        _ => caps::names(mask).collect::<Vec<_>>().join(" "),
    }
}

/// For `--privileged`, below the steps: what they leave out.
pub(super) fn given_away(plan: &Plan) -> &'static str {
    if !plan.privileges.privileged {
        return "";
    }
    "--privileged gives away:\n\
     \x20   all capabilities that the caller has, CAP_SYS_ADMIN among them: root inside can become root of the host\n\
     \x20   all system calls, those for modules, kexec and other kernels' parts among them (no seccomp filter)\n\
     \x20   set-uid programs and file capabilities work (no_new_privs is off)\n\
     \x20   /proc/sys, /proc/sysrq-trigger and /sys can be written to, and nothing in them is hidden\n\
     \x20   each device of the host's is in /dev, its disks among them, and can be opened\n"
}
