//! Labels of AppArmor and SELinux: what the next execve(2) of this process gives it (proc_pid_attr(5)).

use std::ffi::CStr;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{file, procfs};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lsm {
    AppArmor,
    SeLinux,
}

impl Lsm {
    /// Whether the kernel has it, and it was turned on at boot.
    pub(crate) fn is_on(self) -> bool {
        let text = |path: &CStr| file::read_text(CWD, path).unwrap_or_default();
        match self {
            Self::AppArmor => text(c"/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            // It is there only then.
            Self::SeLinux => text(c"/proc/filesystems").lines().any(|line| line.ends_with("\tselinuxfs")),
        }
    }
}

/// The label of this process, without what ends it.
pub(crate) fn current() -> Result<String, Errno> {
    let text = file::read_text(CWD, c"/proc/self/attr/current")?;
    Ok(text.trim_end_matches(['\0', '\n']).into())
}

/// What is executed next has this label: `exec PROFILE` for AppArmor, a whole context for SELinux. EINVAL: SELinux's policy has no
/// such context; ENOENT: AppArmor has no such profile. Does not allocate.
pub(crate) fn label_next(lsm: Lsm, label: &CStr) -> Result<(), Errno> {
    let proc = procfs::untouched()?;
    let common = c"thread-self/attr/exec";
    let fd = match lsm {
        // The common file belongs to the first LSM that wants it (since 5.8).
        Lsm::AppArmor => match procfs::own_file(&proc, c"thread-self/attr/apparmor/exec") {
            Err(Errno::NOENT) => procfs::own_file(&proc, common)?,
            other => other?,
        },
        Lsm::SeLinux => procfs::own_file(&proc, common)?,
    };
    file::write_all(fd, label.to_bytes())
}
