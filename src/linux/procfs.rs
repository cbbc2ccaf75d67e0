//! The kernel's own files, where something may have been mounted over them.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::file;
use super::path::{self, Links};
use super::text::fd_path;

/// A procfs that is mounted nowhere, over which nobody can have put anything. Without the calls or the right to make one, that on
/// /proc. ENODEV: it is none.
pub(crate) fn untouched() -> Result<OwnedFd, Errno> {
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

/// Opens one for writing. EXDEV, ENODEV: something is mounted over it.
pub(crate) fn own_file(proc: &OwnedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = match rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let handle = path::open(proc.as_fd(), path, Links::Inside)?;
            let itself = fd_path(handle.as_fd());
            let within = itself.as_bytes().strip_prefix(b"/proc/").ok_or(Errno::INVAL)?;
            rustix::fs::openat(proc, within, flags, Mode::empty())?
        }
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
        let proc = untouched().unwrap();
        assert!(own_file(&proc, c"thread-self/attr/exec").is_ok());
        assert_eq!(own_file(&proc, c"thread-self/attr/none").err(), Some(Errno::NOENT));
        assert!(own_file(&proc, c"thread-self/root/dev/null").is_err());
        assert!(own_file(&file::open_dir(CWD, c"/dev").unwrap(), c"null").is_err());
    }
}
