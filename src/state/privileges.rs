//! What a container's processes may do: decided once, written down, and the same for each command that is started in it.

use miniserde::{Deserialize, Serialize};

use super::Landlock;

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct Privileges {
    /// `--privileged`: nothing is held back.
    pub(crate) privileged: bool,
    /// Capabilities, bit by bit; root inside has them.
    pub(crate) capabilities: u64,
    /// Those that were asked for by name: another user has them, too.
    pub(crate) given: u64,
    /// Nobody gains by a set-uid program (prctl(2), PR_SET_NO_NEW_PRIVS).
    pub(crate) no_new_privs: bool,
    /// /proc and /sys as the kernel shows them, nothing hidden and nothing read-only.
    pub(crate) unmasked: bool,
    /// None: the caller's.
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    pub(crate) seccomp: Seccomp,
    pub(crate) limits: Vec<ResourceLimit>,
    pub(crate) landlock: Option<Landlock>,
    /// The AppArmor profile, and the whole SELinux context, that a command gets by its execution. None: what the kernel gives it.
    pub(crate) apparmor: Option<String>,
    pub(crate) selinux: Option<String>,
}

/// Which filter of system calls it has.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seccomp {
    #[serde(rename = "default")]
    Default,
    /// None.
    #[serde(rename = "unconfined")]
    Unconfined,
    /// The user's: what was made of it is beside the record.
    #[serde(rename = "profile")]
    Profile,
}

/// One of setrlimit(2). None: no limit.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub(crate) struct ResourceLimit {
    /// As `--ulimit` names it.
    pub(crate) name: String,
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}
