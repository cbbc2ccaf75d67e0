//! System calls as the tries make them, from a process with one thread.

use std::ffi::CStr;

/// A system call, its errno in the error. Numbers stand for themselves, and for pointers to what lives through the call.
pub(super) fn call(number: libc::c_long, args: &[usize]) -> Result<i32, i32> {
    let at = |index: usize| args.get(index).copied().unwrap_or(0);
    // SAFETY: the callers pass what the call of this number takes, and what pointers lead to lives in their frames.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(result as i32) }
}

pub(super) fn p(text: &CStr) -> usize {
    text.as_ptr() as usize
}

pub(super) const HERE: usize = libc::AT_FDCWD as usize;
pub(super) const CLONE: usize = 1;
pub(super) const NAMESPACE: usize = 2;
pub(super) const RECURSIVE: usize = 0x8000;
pub(super) const FROM_EMPTY: usize = 4;
pub(super) const TO_EMPTY: usize = 0x40;
pub(super) const BENEATH: usize = 0x200;
pub(super) const DETACH: usize = libc::MNT_DETACH as usize;
pub(super) const NEWNS: usize = libc::CLONE_NEWNS as usize;
pub(super) const NEWUSER: usize = libc::CLONE_NEWUSER as usize;
pub(super) const BIND: usize = libc::MS_BIND as usize;
pub(super) const MOVE: usize = libc::MS_MOVE as usize;
pub(super) const REC: usize = libc::MS_REC as usize;

pub(super) fn umount(path: &CStr, flags: usize) -> Result<i32, i32> {
    call(libc::SYS_umount2, &[p(path), flags])
}

pub(super) fn mount(source: &CStr, target: &CStr, fs: &CStr, flags: usize) -> Result<i32, i32> {
    call(libc::SYS_mount, &[p(source), p(target), p(fs), flags, 0])
}

pub(super) fn pivot(new: &CStr, old: &CStr) -> Result<i32, i32> {
    call(libc::SYS_pivot_root, &[p(new), p(old)])
}

pub(super) fn open_tree(path: &CStr, flags: usize) -> Result<usize, i32> {
    call(libc::SYS_open_tree, &[HERE, p(path), flags]).map(|fd| fd as usize)
}

pub(super) fn move_mount(from: usize, source: &CStr, to: usize, target: &CStr, flags: usize) -> Result<i32, i32> {
    call(libc::SYS_move_mount, &[from, p(source), to, p(target), flags])
}

/// A tmpfs that is mounted nowhere.
pub(super) fn loose_tmpfs() -> Result<usize, i32> {
    let context = call(libc::SYS_fsopen, &[p(c"tmpfs"), 1])? as usize;
    call(libc::SYS_fsconfig, &[context, 6, 0, 0, 0])?;
    call(libc::SYS_fsmount, &[context, 1, 0]).map(|fd| fd as usize)
}

pub(super) fn handle(path: &CStr) -> usize {
    call(libc::SYS_openat, &[HERE, p(path), libc::O_PATH as usize]).unwrap_or(-1) as usize
}

pub(super) fn chdir(path: &CStr) -> Result<i32, i32> {
    call(libc::SYS_chdir, &[p(path)])
}

pub(super) fn fchdir(fd: usize) -> Result<i32, i32> {
    call(libc::SYS_fchdir, &[fd])
}

pub(super) fn chroot(path: &CStr) -> Result<i32, i32> {
    call(libc::SYS_chroot, &[p(path)])
}

/// Runs this in a child; what it returns.
pub(super) fn child(act: impl FnOnce() -> u8) -> i32 {
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        std::process::exit(i32::from(act()));
    }
    let mut status = 0;
    // SAFETY: it is our child.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    status
}

pub(super) fn name(errno: i32) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::ENOENT, "ENOENT"),
        (libc::EACCES, "EACCES"),
        (libc::EBUSY, "EBUSY"),
        (libc::EINVAL, "EINVAL"),
        (libc::ELOOP, "ELOOP"),
        (libc::ENOSYS, "ENOSYS"),
    ];
    names.iter().find(|(number, _)| *number == errno).map_or(format!("errno {errno}"), |(_, name)| (*name).into())
}
