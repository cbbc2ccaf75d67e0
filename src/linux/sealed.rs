//! nsctl's own executable, out of the reach of those whom it goes among. If a command of a container is `/proc/self/exe`, what is
//! executed is the file of the process that executes it (CVE-2019-5736); and until its first instruction, others of the container
//! can open that by its /proc/PID/exe, and change the file's mode at least. So whoever may have company there is executed from a
//! read-only mount of the file that is attached nowhere, or from a copy.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::{file, sys};

/// Executes this program again with the same words, from where its file cannot be changed. Comes back if that is so already, if the
/// file is not the caller's to change, or where nothing of this can be done.
#[inline(never)]
pub(crate) fn execute_sealed() {
    let Ok(own) = file::handle(c"/proc/self/exe") else { return };
    match is_sealed(own.as_fd()) {
        Ok(false) => {}
        // The kernel calls a program after the descriptor that it was executed by.
        Ok(true) => {
            let _ = rustix::thread::set_name(c"nsctl");
            return;
        }
        Err(_) => return,
    }
    for sealed in [mounted, copied] {
        if let Ok(file) = sealed(own.as_fd()) {
            sys::execute_again(file.as_fd());
        }
    }
}

fn is_sealed(own: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (stat, user) = (rustix::fs::fstat(own)?, rustix::process::geteuid());
    if !user.is_root() && stat.st_uid != user.as_raw() {
        return Err(Errno::PERM);
    }
    Ok(stat.st_nlink == 0 || rustix::fs::fstatvfs(own)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn mounted(own: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(own, c"", flags)?;
    sys::mount_setattr(&mount, k::AT_EMPTY_PATH, &sys::MountAttr::new(k::MOUNT_ATTR_RDONLY, 0, 0, None))?;
    Ok(mount)
}

/// Before Linux 5.12, and for an ordinary user.
fn copied(own: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(c"nsctl", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"nsctl", flags)?,
        other => other?,
    };
    let from = file::open(rustix::fs::CWD, super::text::fd_path(own).as_c_str())?;
    while rustix::fs::sendfile(&copy, &from, None, 1 << 30)? > 0 {}
    rustix::fs::fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy)
}
