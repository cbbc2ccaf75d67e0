//! The benchmark's only `unsafe`: start a program by posix_spawn (vfork-like), wait for it, kill it.
//!
//! std::process::Command would do, but it allocates and copies inside the measured time, and its wait has
//! no time limit: a peer that hangs would hang the whole run.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A program's words in the form that execve wants; made before the clock starts.
pub(crate) struct Argv {
    words: Vec<CString>,
}

impl Argv {
    /// The first word is the program's path: PATH is not searched.
    pub(crate) fn new<S: AsRef<str>>(words: &[S]) -> Argv {
        let words = words.iter().map(|w| CString::new(w.as_ref()).expect("a word without NUL")).collect();
        Argv { words }
    }
}

/// Where a started program's stdio goes, and its environment.
pub(crate) struct Spawner {
    actions: libc::posix_spawn_file_actions_t,
    environment: Vec<CString>,
    _files: [File; 3],
}

impl Spawner {
    /// stdin is /dev/null; so are stdout and stderr where no file is given.
    pub(crate) fn new(stdout: Option<File>, stderr: Option<File>) -> io::Result<Spawner> {
        let null = || File::options().read(true).write(true).open("/dev/null");
        let files = [null()?, stdout.map_or_else(null, Ok)?, stderr.map_or_else(null, Ok)?];
        // SAFETY: an all-zero value of this C struct is valid storage; init then fills it.
        let mut actions: libc::posix_spawn_file_actions_t = unsafe { std::mem::zeroed() };
        // SAFETY: `actions` is our own live storage.
        check(unsafe { libc::posix_spawn_file_actions_init(&mut actions) })?;
        for (fd, file) in (0..).zip(&files) {
            // SAFETY: initialised above; the file stays open as long as the Spawner lives.
            check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut actions, file.as_raw_fd(), fd) })?;
        }
        let environment = ["PATH", "HOME", "XDG_RUNTIME_DIR"]
            .iter()
            .filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)))
            .map(|pair| CString::new(pair).expect("the environment has no NUL"))
            .collect();
        Ok(Spawner { actions, environment, _files: files })
    }

    /// After a signal it starts nothing more, so that every section runs out by itself and cleans up.
    pub(crate) fn spawn(&self, argv: &Argv) -> io::Result<Child> {
        if interrupted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        let pointers = |list: &[CString]| -> Vec<*mut libc::c_char> {
            let ends = list.iter().map(|s| s.as_ptr().cast_mut());
            ends.chain([ptr::null_mut()]).collect()
        };
        let (args, env) = (pointers(&argv.words), pointers(&self.environment));
        let mut pid = 0;
        // SAFETY: both arrays end with NULL and their strings outlive the call; posix_spawn only reads.
        check(unsafe {
            libc::posix_spawn(&mut pid, args[0], &self.actions, ptr::null(), args.as_ptr(), env.as_ptr())
        })?;
        // SAFETY: pid is our child and not yet waited for, so the number is still its own.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave us this descriptor; nobody else has it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        Ok(Child { pid, pidfd })
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.actions) };
    }
}

/// A program that was started and not yet waited for.
pub(crate) struct Child {
    pub(crate) pid: i32,
    pidfd: OwnedFd,
}

impl Child {
    /// Its exit code (128 + n for signal n), or None if it still runs after `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<Option<i32>> {
        match first_ended(&[self], limit)? {
            Some(_) => self.reap().map(Some),
            None => Ok(None),
        }
    }

    /// Blocks until it has ended; its exit code as in `wait`.
    pub(crate) fn reap(&self) -> io::Result<i32> {
        let mut status = 0;
        // SAFETY: status is ours; rusage may be NULL (peak.c says why it is of no use here).
        if unsafe { libc::wait4(self.pid, &mut status, 0, ptr::null_mut()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) })
    }
}

/// The index of a child that has ended (not reaped yet), or None after `limit`.
pub(crate) fn first_ended(children: &[&Child], limit: Duration) -> io::Result<Option<usize>> {
    let deadline = Instant::now() + limit;
    let mut polls: Vec<libc::pollfd> =
        children.iter().map(|c| libc::pollfd { fd: c.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: the array is ours and its length is right.
        let n = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, left.as_millis() as i32) };
        match n {
            0 => return Ok(None),
            n if n > 0 => return Ok(polls.iter().position(|p| p.revents != 0)),
            // EINTR: a stopped and continued benchmark; poll again for the rest of the time
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

/// SIGKILL to one process that we (or a program of ours) started. ESRCH is fine: it has ended already.
pub(crate) fn kill(pid: i32) {
    assert!(pid > 1, "kill({pid}) would hit a process group or PID 1");
    // SAFETY: plain system call on one process.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// A mount namespace of this process's own, as long as it lives.
pub(crate) struct PrivateMounts {
    before: File,
}

impl PrivateMounts {
    /// The same mounts, but for /sys/fs/cgroup, which is a cgroup2 alone.
    pub(crate) fn with_cgroup2() -> io::Result<PrivateMounts> {
        let before = File::open("/proc/self/ns/mnt")?;
        // SAFETY: no memory is involved; this process has one thread.
        minus_one(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        // From here on dropping it leads back.
        let mounts = PrivateMounts { before };
        let (slash, groups, fs) = (c"/".as_ptr(), c"/sys/fs/cgroup".as_ptr(), c"cgroup2".as_ptr());
        // SAFETY: each argument is a string constant or NULL where mount(2) allows it.
        minus_one(unsafe {
            libc::mount(ptr::null(), slash, ptr::null(), libc::MS_REC | libc::MS_PRIVATE, ptr::null())
        })?;
        // SAFETY: as above. EINVAL: nothing is mounted there.
        unsafe { libc::umount2(groups, libc::MNT_DETACH) };
        // SAFETY: as above.
        minus_one(unsafe { libc::mount(fs, groups, fs, 0, ptr::null()) })?;
        Ok(mounts)
    }
}

impl Drop for PrivateMounts {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open; this process has one thread.
        if let Err(e) = minus_one(unsafe { libc::setns(self.before.as_raw_fd(), libc::CLONE_NEWNS) }) {
            // what follows would be measured in another place than it says
            panic!("back to the host's mounts: {e}");
        }
    }
}

/// A network namespace of the benchmark's own, with nothing in it but lo, until it is dropped.
pub(crate) struct PrivateNetwork {
    before: File,
}

impl PrivateNetwork {
    pub(crate) fn new() -> io::Result<PrivateNetwork> {
        let before = File::open("/proc/self/ns/net")?;
        // SAFETY: no memory is involved; this process has one thread.
        minus_one(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
        Ok(PrivateNetwork { before })
    }
}

impl Drop for PrivateNetwork {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open; this process has one thread.
        if let Err(e) = minus_one(unsafe { libc::setns(self.before.as_raw_fd(), libc::CLONE_NEWNET) }) {
            panic!("back to the host's network: {e}");
        }
    }
}

fn minus_one(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_signal(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Signals that would end us, and with us the cleaning, only set a flag. SIGPIPE too: std ignores it, and
/// a spawned program would inherit that; a handler becomes the default again at execve.
pub(crate) fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
        let handler = note_signal as extern "C" fn(libc::c_int);
        // SAFETY: the handler only stores to an atomic, which is allowed in any context.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

pub(crate) fn is_root() -> bool {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// posix_spawn and its helpers return the errno instead of setting it.
fn check(errno: i32) -> io::Result<()> {
    match errno {
        0 => Ok(()),
        n => Err(io::Error::from_raw_os_error(n)),
    }
}
