//! Labels of AppArmor and SELinux: what the next execve(2) of this process gives it (proc_pid_attr(5)).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::file;
use super::path::{self, Links};

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
    let proc = procfs()?;
    let common = c"thread-self/attr/exec";
    let fd = match lsm {
        // The common file belongs to the first LSM that wants it (since 5.8).
        Lsm::AppArmor => match own_file(&proc, c"thread-self/attr/apparmor/exec") {
            Err(Errno::NOENT) => own_file(&proc, common)?,
            other => other?,
        },
        Lsm::SeLinux => own_file(&proc, common)?,
    };
    file::write_all(fd, label.to_bytes())
}

/// A procfs that is mounted nowhere, over which nobody can have put anything. Without the calls or the right to make one, that on
/// /proc. ENODEV: it is none.
fn procfs() -> Result<OwnedFd, Errno> {
    let made = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|context| {
        rustix::mount::fsconfig_create(&context)?;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    });
    let proc = made.or_else(|_| file::open_dir(CWD, c"/proc"))?;
    is_procfs(&proc)?;
    Ok(proc)
}

fn is_procfs(fd: &OwnedFd) -> Result<(), Errno> {
    if rustix::fs::fstatfs(fd)?.f_type as u32 == k::PROC_SUPER_MAGIC { Ok(()) } else { Err(Errno::NODEV) }
}

/// EXDEV, ENODEV: something is mounted over it.
fn own_file(proc: &OwnedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = match rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => path::open_for(proc.as_fd(), path, OFlags::WRONLY, Links::Inside)?,
        other => other?,
    };
    is_procfs(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_files_are_written_to() {
        let proc = procfs().unwrap();
        assert!(own_file(&proc, c"thread-self/attr/exec").is_ok());
        assert_eq!(own_file(&proc, c"thread-self/attr/none").err(), Some(Errno::NOENT));
        assert!(own_file(&proc, c"thread-self/root/dev/null").is_err());
        assert!(own_file(&file::open_dir(CWD, c"/dev").unwrap(), c"null").is_err());
    }
}
