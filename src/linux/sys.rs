//! The only `unsafe` of the crate, with its modules: the system calls that rustix does not have, and the C entry point.
//! A wrapper here is one system call plus our one policy (close-on-exec, one signal set, no flags that
//! nobody uses). What calls after a clone must neither allocate nor touch a lock: every function here
//! keeps to that, but for [`StringArray::new`] and [`arguments`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_char, c_int, c_long};
use linux_raw_sys::general as k;
use rustix::io::Errno;

pub(crate) mod bpf;
mod heap;
pub(crate) mod landlock;
pub(crate) mod net;
pub(crate) mod seccomp;
mod signals;
mod words;
pub(crate) use signals::*;
use words::ARGUMENTS;
pub(crate) use words::{wipe_environment, wipe_words};

/// Defines the C `main` that calls `$start` with the arguments and returns its exit code. Rust's own
/// start-up is left out: it would ignore SIGPIPE for the payload, install signal handlers and an alternate
/// stack (13 system calls), none of which a process that soon forks and execs can use.
macro_rules! entry {
    ($start:path) => {
        #[cfg(not(any(test, fuzzing)))]
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
            i32::from($start($crate::linux::sys::arguments(argc, argv)))
        }
    };
}
pub(crate) use entry;

/// The arguments of C's `main` as Rust strings.
#[cfg(not(any(test, fuzzing)))]
pub(crate) fn arguments(argc: c_int, argv: *const *const c_char) -> Vec<std::ffi::OsString> {
    use std::os::unix::ffi::OsStringExt;
    ARGUMENTS.store(argv.cast_mut().cast(), std::sync::atomic::Ordering::Relaxed);
    (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: the C runtime promises argc valid, NUL-terminated strings at argv.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .map(|s| std::ffi::OsString::from_vec(s.to_bytes().to_vec()))
        .collect()
}

fn page() -> usize {
    // SAFETY: it only answers.
    unsafe { libc::getauxval(libc::AT_PAGESZ) as usize }
}

/// For a process that uses nothing any more that was allocated before: the memory of that goes back to the kernel.
pub(crate) fn forget_heap() {
    heap::forget_heap();
}

/// The memory of the stack that was used once, and is not now, goes back to the kernel.
#[inline(never)]
pub(crate) fn forget_unused_stack() {
    const MOST: usize = 256 << 10;
    let page = page();
    let here = (&raw const page) as usize;
    // What is left alone is this function's, the call's, and what the kernel writes below for a signal.
    let end = here / page * page - page;
    // SAFETY: below the stack pointer nothing is in use. ENOMEM: the stack was never so large; what there is of it is given back.
    unsafe { libc::madvise((end - MOST / page * page) as *mut _, MOST / page * page, libc::MADV_DONTNEED) };
}

fn check(returned: c_long) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| {
        // SAFETY: the address of this thread's errno is always valid to read.
        Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
    })
}

/// Which side of a clone this is.
pub(crate) enum Cloned {
    Child,
    Parent { pid: i32, pidfd: Option<OwnedFd> },
}

/// clone3(2) as a fork: the child goes on in a copy of this memory. `flags` are CLONE_* bits; a pidfd is
/// always asked for. With `cgroup` (a cgroup v2 directory) the child is born in it (CLONE_INTO_CGROUP,
/// Linux 5.7). The process must have one thread, and the child must keep to direct system calls: the
/// thread id that the C library remembers is the parent's.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is a plain structure of integers, for which zero means "not asked for".
    let mut args: k::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | u64::from(k::CLONE_PIDFD);
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    let mut size = std::mem::offset_of!(k::clone_args, set_tid);
    if let Some(fd) = cgroup {
        args.flags |= k::CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
        size = size_of::<k::clone_args>();
    }
    // SAFETY: without CLONE_VM the child has memory of its own; `args` and `pidfd` outlive the call, and
    // `size` says how much of `args` the kernel may read.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size) })?;
    Ok(sides(pid, pidfd))
}

/// [`clone3`] with the process id, as the PID namespace has it, of our choice (Linux 5.5): the next child still gets the next number.
pub(crate) fn clone3_numbered(flags: u64, pid: i32) -> Result<Cloned, Errno> {
    let mut pidfd: c_int = -1;
    // SAFETY: as in clone3.
    let mut args: k::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | u64::from(k::CLONE_PIDFD);
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = &raw const pid as u64;
    args.set_tid_size = 1;
    // SAFETY: as in clone3; `pid` outlives the call, too.
    let made = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<k::clone_args>()) })?;
    Ok(sides(made, pidfd))
}

/// clone(2) with the same meaning as [`clone3`] without a cgroup, for kernels before 5.3 and for sandboxes
/// that answer clone3 with ENOSYS.
pub(crate) fn clone(flags: u64) -> Result<Cloned, Errno> {
    let mut pidfd: c_int = -1;
    let flags = flags as c_long | k::CLONE_PIDFD as c_long | c_long::from(libc::SIGCHLD);
    // SAFETY: as in clone3; the first three arguments are the same on every architecture we build for, and
    // the other two are unused without CLONE_SETTLS and CLONE_*_SETTID.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut pidfd, 0, 0) })?;
    Ok(sides(pid, pidfd))
}

fn sides(pid: usize, pidfd: c_int) -> Cloned {
    if pid == 0 {
        return Cloned::Child;
    }
    // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Cloned::Parent { pid: pid as i32, pidfd }
}

/// Ends the process at once; nothing is flushed or run.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: exit_group has no preconditions.
    unsafe { libc::syscall(libc::SYS_exit_group, c_int::from(code)) };
    // A filter of system calls refuses it; _exit(2) would ask again and again, and abort(3) would signal the thread that musl
    // takes this for: the caller of clone3(2).
    // SAFETY: an instruction that no processor has ends the process.
    unsafe {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        std::arch::asm!("ud2", options(noreturn));
        #[cfg(any(target_arch = "arm", target_arch = "aarch64"))]
        std::arch::asm!("udf #0", options(noreturn));
        #[cfg(any(target_arch = "riscv32", target_arch = "riscv64"))]
        std::arch::asm!("unimp", options(noreturn));
    }
}

/// A NULL-terminated array of C strings, made before the clone for execve(2) after it.
/// It has room for one more.
pub(crate) struct StringArray {
    strings: Vec<CString>,
    pointers: Vec<std::cell::Cell<*const c_char>>,
}

impl StringArray {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let ends = [std::ptr::null(); 2];
        let pointers = strings.iter().map(|s| s.as_ptr()).chain(ends).map(std::cell::Cell::new).collect();
        Self { strings, pointers }
    }

    pub(crate) fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// execve(2), with one more variable at the end of the environment. Returns only to say why not.
pub(crate) fn execve(path: &CStr, argv: &StringArray, envp: &StringArray, more: Option<&CStr>) -> Errno {
    let spare = &envp.pointers[envp.strings.len()];
    spare.set(more.map_or(std::ptr::null(), CStr::as_ptr));
    // SAFETY: both arrays end with NULL, and their strings, `more` among them, outlive the call; a Cell is as what is in it.
    let failed =
        unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    spare.set(std::ptr::null());
    check(failed).err().unwrap_or(Errno::NOSYS)
}

/// Executes a file with the words and the environment that this program was started with. Comes back if that fails.
pub(crate) fn execute_again(file: BorrowedFd<'_>) {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    let arguments = ARGUMENTS.load(std::sync::atomic::Ordering::Relaxed).cast_const();
    if !arguments.is_null() {
        // SAFETY: both arrays are those that the kernel handed to this program, and end with NULL.
        unsafe {
            let (fd, flags) = (file.as_raw_fd(), k::AT_EMPTY_PATH);
            libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), arguments, environ, flags);
        }
    }
}

/// Whether the current directory is below the root directory: getcwd(2) marks one that is not with "(unreachable)".
pub(crate) fn cwd_is_reachable() -> bool {
    let mut buffer = [0u8; 4096];
    // SAFETY: the kernel writes at most so many bytes.
    let length = check(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) });
    length.is_ok() && buffer[0] == b'/'
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC, Linux 5.11: marks every descriptor from `first` on.
pub(crate) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: descriptors are only marked, none is closed here.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(|_| ())
}

/// close_range(2), Linux 5.9. For a process that only executes or exits after that: the owners of what is closed are not told.
pub(crate) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: by the contract above, nobody uses or closes these descriptors any more.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(|_| ())
}

/// As [`close_range`], one. EBADF: there is none.
pub(crate) fn close(fd: i32) {
    // SAFETY: by the contract above.
    unsafe { libc::close(fd) };
}

/// fcntl(F_SETFD, FD_CLOEXEC) on a descriptor number; EBADF where there is none.
pub(crate) fn close_on_exec(fd: i32) -> Result<(), Errno> {
    // SAFETY: the descriptor is only marked; a wrong number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into()).map(|_| ())
}

/// getpgid(2) of this process; 0: that of somebody outside of its PID namespace.
pub(crate) fn process_group() -> i32 {
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_getpgid, 0) }).map_or(0, |group| group as i32)
}

/// Whether the file gave this process rights that its caller does not have: set-user-id, set-group-id, capabilities (AT_SECURE of
/// getauxval(3), which security modules set, too, but then root stays root).
pub(crate) fn has_lent_rights() -> bool {
    let differ = rustix::process::geteuid() != rustix::process::getuid()
        || rustix::process::getegid() != rustix::process::getgid();
    // SAFETY: it only looks.
    differ || (!rustix::process::getuid().is_root() && unsafe { libc::getauxval(libc::AT_SECURE) } != 0)
}

/// Whether this descriptor number is open.
pub(crate) fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD only looks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Opens /dev/null where 0, 1 or 2 is closed: otherwise a descriptor of ours would take that number, and what somebody prints
/// would go there. Without /dev/null (no /dev at all) they stay closed.
pub(crate) fn open_standard_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array is ours and its length is right; with no time to wait it only looks.
    unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for stream in streams {
        if stream.revents & libc::POLLNVAL != 0 {
            // SAFETY: the path is a C string; the lowest free number, which open takes, is this one.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

/// The user at the other end of a unix socket (SO_PEERCRED), whose pid may be 0: it is outside of our PID namespace.
pub(crate) fn peer_uid(socket: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut peer = libc::ucred { pid: 0, uid: !0, gid: !0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    let (to, length) = ((&raw mut peer).cast(), &raw mut size);
    // SAFETY: the kernel writes at most the size that it is given.
    let done = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, to, length) };
    check(done.into()).map(|_| peer.uid)
}

/// unshare(2) of namespaces: CLONE_NEW* bits.
pub(crate) fn unshare(namespaces: u32) -> Result<(), Errno> {
    // SAFETY: no memory or descriptor is shared or unshared by these flags.
    check(unsafe { libc::syscall(libc::SYS_unshare, namespaces as c_long) }).map(|_| ())
}

/// setfsgid(2) and setfsuid(2): whose the files are that this process makes from here on. They cannot fail, so what came of them is
/// looked at. EPERM: they are not these.
pub(crate) fn set_file_ids(user: u32, group: u32) -> Result<(), Errno> {
    // SAFETY: no memory is involved; -1 is nobody, and only asks.
    let is = unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
        [libc::setfsuid(u32::MAX) as u32, libc::setfsgid(u32::MAX) as u32]
    };
    if is == [user, group] { Ok(()) } else { Err(Errno::PERM) }
}

/// keyctl(2): a new session keyring without a name, instead of the one that this process shares with its caller.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: a null pointer is "without a name".
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) })
        .map(|_| ())
}

/// fsopen(2) of no file system at all: EFAULT where the call is there.
pub(crate) fn fsopen_nothing() -> Result<(), Errno> {
    // SAFETY: the kernel checks the pointer before it reads.
    check(unsafe { libc::syscall(libc::SYS_fsopen, std::ptr::null::<c_char>(), 0) }).map(|_| ())
}

/// struct mount_attr of mount_setattr(2).
pub(crate) struct MountAttr<'a> {
    raw: k::mount_attr,
    /// Keeps the descriptor that `raw` names open.
    _userns: Option<BorrowedFd<'a>>,
}

impl<'a> MountAttr<'a> {
    /// MOUNT_ATTR_* to set and to clear; MS_* for the propagation or 0; the user namespace for MOUNT_ATTR_IDMAP.
    pub(crate) fn new(set: u32, clear: u32, propagation: u32, userns: Option<BorrowedFd<'a>>) -> Self {
        let raw = k::mount_attr {
            attr_set: set.into(),
            attr_clr: clear.into(),
            propagation: propagation.into(),
            userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
        };
        Self { raw, _userns: userns }
    }

    #[cfg(test)]
    pub(crate) fn cleared(&self) -> u64 {
        self.raw.attr_clr
    }
}

/// mount_setattr(2), Linux 5.12, of the mount whose root `mount` is. `flags` are AT_*.
pub(crate) fn mount_setattr(mount: impl std::os::fd::AsFd, flags: u32, attr: &MountAttr<'_>) -> Result<(), Errno> {
    let fd = mount.as_fd().as_raw_fd();
    let raw = &raw const attr.raw;
    // SAFETY: the path is a C string, `raw` is a whole structure of the size given.
    let done =
        unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, raw, size_of::<k::mount_attr>()) };
    check(done).map(|_| ())
}

/// An ioctl that takes nothing and answers with a number.
pub(crate) fn ioctl_number(fd: BorrowedFd<'_>, request: u32) -> Result<u32, Errno> {
    // SAFETY: only for requests without an argument.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), request as c_long, 0) }).map(|number| number as u32)
}

/// struct loop_config with a file's descriptor and LO_FLAGS_*; the block size is the kernel's choice.
pub(crate) fn loop_config(file: u32, flags: u32) -> linux_raw_sys::loop_device::loop_config {
    // SAFETY: plain integers and arrays of them, for which zero means "not given".
    let mut config: linux_raw_sys::loop_device::loop_config = unsafe { std::mem::zeroed() };
    config.fd = file;
    config.info.lo_flags = flags;
    config
}

/// LOOP_CONFIGURE.
pub(crate) fn configure_loop(
    device: BorrowedFd<'_>,
    config: &linux_raw_sys::loop_device::loop_config,
) -> Result<(), Errno> {
    let request = linux_raw_sys::loop_device::LOOP_CONFIGURE as c_long;
    // SAFETY: the kernel reads one such structure.
    check(unsafe { libc::syscall(libc::SYS_ioctl, device.as_raw_fd(), request, &raw const *config) }).map(|_| ())
}
