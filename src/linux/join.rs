//! Another process's namespaces and root, found by its pid and made sure of.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType;

use super::{file, process, sys};

/// By kind and name, in the order in which they are joined: the mount namespace last, since with it the host's files are gone.
pub(crate) const NAMESPACES: [(u32, &str); 6] = [
    (k::CLONE_NEWUTS, "uts"),
    (k::CLONE_NEWIPC, "ipc"),
    (k::CLONE_NEWNET, "net"),
    (k::CLONE_NEWPID, "pid"),
    (k::CLONE_NEWCGROUP, "cgroup"),
    (k::CLONE_NEWNS, "mnt"),
];

/// A process that is not our child. Its pid may be reused at any time, unless there is a pidfd.
pub(crate) struct Stranger {
    pub(crate) pid: i32,
    /// None: pidfd_open is masked.
    pidfd: Option<OwnedFd>,
    ticks: u64,
}

impl Stranger {
    /// The process of this pid that started at this time. ESRCH: it is not there any more.
    pub(crate) fn find(pid: i32, ticks: u64) -> Result<Self, Errno> {
        let number = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::NOSYS | Errno::PERM) => None,
            other => Some(other?),
        };
        let found = Self { pid, pidfd, ticks };
        if found.is_there() { Ok(found) } else { Err(Errno::SRCH) }
    }

    /// It is the same, or was when the descriptor was opened; a zombie counts.
    fn is_there(&self) -> bool {
        process::started(self.pid).is_some_and(|ticks| ticks == self.ticks || self.ticks == 0)
    }

    pub(crate) fn kill(&self, signal: i32) -> Result<(), Errno> {
        match &self.pidfd {
            Some(pidfd) => match sys::pidfd_kill(pidfd.as_fd(), signal) {
                Err(Errno::NOSYS | Errno::PERM) => {}
                other => return other,
            },
            None if !self.is_there() => return Err(Errno::SRCH),
            None => {}
        }
        sys::kill(self.pid, signal)
    }

    /// Waits for its end, so many milliseconds at most. False: it is still there.
    pub(crate) fn wait(&self, milliseconds: Option<u64>) -> bool {
        let Some(pidfd) = &self.pidfd else { return self.wait_without_pidfd(milliseconds) };
        let time = milliseconds
            .map(|time| Timespec { tv_sec: (time / 1000) as i64, tv_nsec: (time % 1000 * 1_000_000) as i64 });
        loop {
            match rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], time.as_ref()) {
                Ok(count) => return count > 0,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn wait_without_pidfd(&self, milliseconds: Option<u64>) -> bool {
        const STEP: u64 = 10;
        let mut waited = 0;
        while self.is_there() && !process::is_zombie(self.pid) {
            if milliseconds.is_some_and(|most| waited >= most) {
                return false;
            }
            process::pause(STEP);
            waited += STEP;
        }
        true
    }
}

/// One namespace of a process, which must be the one of that number; the process is looked at again afterwards.
pub(crate) fn namespace(process: &Stranger, name: &'static str, inode: u64) -> Result<OwnedFd, Refusal> {
    let path = CString::new(format!("/proc/{}/ns/{name}", process.pid)).unwrap_or_default();
    let fd = file::open(CWD, &path).map_err(|errno| Refusal::Proc(name, errno))?;
    let there = rustix::fs::fstat(&fd).map_err(|errno| Refusal::Proc(name, errno))?;
    match there.st_ino == inode {
        true if process.is_there() => Ok(fd),
        true => Err(Refusal::Proc("", Errno::SRCH)),
        false => Err(Refusal::Changed(name)),
    }
}

/// The user namespace of that number, in which the commands of a process are, but it itself may not be: it has the namespace open
/// then.
pub(crate) fn user_namespace(process: &Stranger, inode: u64) -> Result<OwnedFd, Refusal> {
    let refused = |errno| Refusal::Proc("ns/user", errno);
    let path = |name: &str| CString::new(format!("/proc/{}/{name}", process.pid)).unwrap_or_default();
    let own = file::open(CWD, &path("ns/user")).map_err(refused)?;
    let number = |file: &OwnedFd| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
    let (device, its) = number(&own).map_err(refused)?;
    let found = if its == inode {
        Some(own)
    } else {
        let dir = file::open_dir(CWD, &path("fd")).map_err(refused)?;
        let open = Dir::read_from(&dir).map_err(refused)?;
        let is_it = |name: &&CStr| {
            rustix::fs::statat(&dir, *name, AtFlags::empty())
                .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode))
        };
        let names: Vec<CString> = open.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
        let name = names.iter().map(CString::as_c_str).find(is_it).ok_or(Refusal::Changed("user"))?;
        let file = file::open(&dir, name).map_err(refused)?;
        Some(file).filter(|file| number(file) == Ok((device, inode)))
    };
    match found {
        Some(found) if process.is_there() => Ok(found),
        Some(_) => Err(Refusal::Proc("", Errno::SRCH)),
        None => Err(Refusal::Changed("user")),
    }
}

/// How a machine is called in a UTS namespace: by going there, and back.
pub(crate) fn host_name(uts: &OwnedFd) -> Result<CString, Errno> {
    let home = file::open(CWD, c"/proc/self/ns/uts")?;
    rustix::thread::move_into_link_name_space(uts.as_fd(), None)?;
    let name = rustix::system::uname().nodename().to_owned();
    rustix::thread::move_into_link_name_space(home.as_fd(), None)?;
    Ok(name)
}

/// What `exec` joins.
pub(crate) struct Target {
    pidfd: Option<OwnedFd>,
    /// The kinds that are the container's own.
    kinds: u32,
    /// Only without a pidfd: each by its file, in the order of [`NAMESPACES`].
    files: Vec<(u32, OwnedFd)>,
    root: OwnedFd,
    /// That of the container's commands, where its PID 1 is not in it.
    user: Option<OwnedFd>,
}

/// Why it cannot be joined.
pub(crate) enum Refusal {
    /// The namespace of that name is another one than is recorded.
    Changed(&'static str),
    /// The file of /proc/PID that could not be looked at.
    Proc(&'static str, Errno),
}

impl Target {
    /// `inodes` says what the namespaces must be. The process is looked at again afterwards, so that it was it all the time.
    /// `user` is the number of the user namespace of its commands, if they have one that PID 1 is not in.
    pub(crate) fn open(
        process: Stranger,
        inodes: impl Fn(&str) -> Option<u64>,
        user: Option<u64>,
    ) -> Result<Self, Refusal> {
        let dir = CString::new(format!("/proc/{}", process.pid)).unwrap_or_default();
        let dir = file::open_dir(CWD, &dir).map_err(|errno| Refusal::Proc("", errno))?;
        let mut target = Self {
            kinds: 0,
            files: Vec::new(),
            root: rustix::fs::openat(&dir, c"root", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| Refusal::Proc("root", errno))?,
            pidfd: None,
            user: user.map(|inode| user_namespace(&process, inode)).transpose()?,
        };
        for (kind, name) in NAMESPACES {
            let Some(inode) = inodes(name) else { continue };
            let path = format!("ns/{name}");
            let there =
                rustix::fs::statat(&dir, &path, AtFlags::empty()).map_err(|errno| Refusal::Proc(name, errno))?;
            if there.st_ino != inode {
                return Err(Refusal::Changed(name));
            }
            target.kinds |= kind;
            if process.pidfd.is_none() {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&dir, &path, flags, Mode::empty());
                target.files.push((kind, file.map_err(|errno| Refusal::Proc(name, errno))?));
            }
        }
        if process.wait(Some(0)) {
            return Err(Refusal::Proc("", Errno::SRCH));
        }
        target.pidfd = process.pidfd;
        Ok(target)
    }

    pub(crate) fn take_user(&mut self) -> Option<OwnedFd> {
        self.user.take()
    }

    /// For the processes that are cloned from now on.
    pub(crate) fn enter_pid(&self) -> Result<(), Errno> {
        self.enter(self.kinds & k::CLONE_NEWPID)
    }

    /// All others; the container's root becomes the root directory, and nothing of the host's stays open. Does not allocate.
    pub(crate) fn join(&mut self) -> Result<(), Errno> {
        self.enter(self.kinds & !k::CLONE_NEWPID)?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(c".")
    }

    fn enter(&self, kinds: u32) -> Result<(), Errno> {
        if kinds == 0 {
            return Ok(());
        }
        if let Some(pidfd) = &self.pidfd {
            return rustix::thread::move_into_thread_name_spaces(
                pidfd.as_fd(),
                ThreadNameSpaceType::from_bits_retain(kinds),
            );
        }
        for (_, file) in self.files.iter().filter(|(kind, _)| kinds & kind != 0) {
            rustix::thread::move_into_link_name_space(file.as_fd(), None)?;
        }
        Ok(())
    }
}
