//! What went wrong where a command gives something up.

use rustix::io::Errno;

use crate::error::Error;
use crate::linux::lsm::Lsm;
use crate::linux::text::shown;
use crate::plan::Confine;

pub(super) fn sentence(step: &Confine, errno: Errno) -> Error {
    let doing = match step {
        Confine::OomScore(score) => format!("write {score} to /proc/self/oom_score_adj"),
        Confine::Nice(priority) => format!("set --nice {priority}"),
        Confine::Limit { typed, .. } => format!("set --ulimit {typed}"),
        Confine::Label(_, label) => format!("label the command '{}'", shown(label)),
        Confine::UserNamespace => "enter the container's user namespace".into(),
        Confine::Umask(_) | Confine::Keyring => "set what the command inherits".into(),
        Confine::Bound { .. } | Confine::KeepCapabilities | Confine::Capabilities { .. } => {
            "drop capabilities".into()
        }
        Confine::NoNewPrivileges => "set no_new_privs".into(),
        Confine::Seccomp { .. } => "load the seccomp filter".into(),
    };
    let hint = match (step, errno) {
        (Confine::OomScore(_), Errno::ACCESS | Errno::PERM) => "to make it less than it is takes CAP_SYS_RESOURCE",
        (Confine::Nice(_), Errno::ACCESS | Errno::PERM) => "to make it less than it is takes CAP_SYS_NICE",
        (Confine::Limit { .. }, Errno::PERM) => {
            "more than the caller's hard limit (ulimit -H) takes CAP_SYS_RESOURCE; nofile ends at /proc/sys/fs/nr_open"
        }
        (Confine::Bound { .. }, Errno::PERM) => {
            "with no-new-privileges=false it takes CAP_SETPCAP: without it, leave that option out"
        }
        (Confine::Capabilities { .. }, Errno::PERM | Errno::INVAL) => {
            "another user than root has capabilities only by ambient ones, Linux 4.3"
        }
        (Confine::Label(Lsm::AppArmor, _), Errno::NOENT) => {
            "no profile of that name is loaded: apparmor_parser -r loads one"
        }
        (Confine::Label(Lsm::SeLinux, _), Errno::INVAL) => "the policy has no such context: seinfo lists what it has",
        (Confine::Label(..), Errno::ACCESS | Errno::PERM) => "the caller's own label does not allow that",
        (Confine::Label(..) | Confine::OomScore(_), Errno::NODEV | Errno::XDEV) => {
            "something else is mounted on /proc"
        }
        (Confine::Seccomp { .. }, Errno::NOSYS | Errno::INVAL) => crate::seccomp::NEEDS,
        (Confine::Seccomp { .. }, Errno::ACCESS) => {
            "with no-new-privileges=false it takes CAP_SYS_ADMIN: without it, leave that option out, or add seccomp=unconfined"
        }
        _ => "",
    };
    Error::os(doing, errno).hint(hint)
}
