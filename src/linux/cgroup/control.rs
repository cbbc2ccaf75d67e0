//! What is done with the groups of a container that runs: freeze, end, list. By descriptors of the groups; the container may make
//! groups of its own below them, and they may go away at any time: ENOENT and ENODEV mean that what was wanted is so.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, RawDir};
use rustix::io::Errno;

use super::{Version, pause};
use crate::linux::text::Text;
use crate::linux::{file, sys};

/// The name of a directory, on the stack.
pub(super) type Name = Text<256>;

/// A container's group in one hierarchy.
pub(crate) struct Group {
    pub(crate) version: Version,
    pub(crate) fd: OwnedFd,
    /// v1: those of its hierarchy; v2: those that were enabled for it.
    pub(crate) controllers: Vec<String>,
}

/// All groups of a container that are there.
#[derive(Default)]
pub(crate) struct Groups(pub(crate) Vec<Group>);

/// How many groups below each other are looked into: a container may make as many as it likes, and each takes stack and a descriptor.
const DEPTH: u8 = 200;

/// How long freezing may take: a process in a system call that cannot be interrupted is waited for.
const FREEZE_MILLISECONDS: i64 = 10_000;

impl Group {
    /// `dir` is below the root of the hierarchy that is mounted on `mount`.
    pub(crate) fn open(version: Version, mount: &CStr, dir: &CStr, controllers: Vec<String>) -> Result<Self, Errno> {
        let root = file::open_dir(CWD, mount)?;
        Ok(Self { version, fd: file::open_dir(root, dir)?, controllers })
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    fn freezes(&self) -> bool {
        match self.version {
            Version::V1 => self.has("freezer"),
            // Linux 5.2.
            Version::V2 => rustix::fs::accessat(
                &self.fd,
                c"cgroup.freeze",
                rustix::fs::Access::EXISTS,
                rustix::fs::AtFlags::empty(),
            )
            .is_ok(),
        }
    }

    fn ask_to_freeze(&self, freeze: bool) -> Result<(), Errno> {
        match (self.version, freeze) {
            (Version::V1, true) => file::write(&self.fd, c"freezer.state", b"FROZEN"),
            (Version::V1, false) => file::write(&self.fd, c"freezer.state", b"THAWED"),
            (Version::V2, true) => file::write(&self.fd, c"cgroup.freeze", b"1"),
            (Version::V2, false) => file::write(&self.fd, c"cgroup.freeze", b"0"),
        }
    }

    /// Whether all its processes stand still (or there is none).
    fn is_frozen(&self) -> Result<bool, Errno> {
        is_frozen(self.version, &self.fd, freezer_file(self.version)).map(|frozen| frozen == Some(true))
    }
}

/// The file that says whether the processes of a group stand still.
pub(crate) fn freezer_file(version: Version) -> &'static CStr {
    match version {
        Version::V1 => c"freezer.state",
        Version::V2 => c"cgroup.events",
    }
}

/// What that file says. None: nothing of it, before Linux 5.2.
pub(crate) fn is_frozen(version: Version, dir: impl AsFd, file: &CStr) -> Result<Option<bool>, Errno> {
    let mut bytes = [0; 256];
    let text = file::read_short(dir, file, &mut bytes)?;
    Ok(match version {
        Version::V1 => Some(text.trim_ascii() == b"FROZEN"),
        Version::V2 => {
            let mut lines = text.split(|byte| *byte == b'\n');
            lines.find_map(|line| line.strip_prefix(b"frozen ")).map(|number| number == b"1")
        }
    })
}

impl Groups {
    /// The one that can be frozen, the v2 one first.
    fn freezer(&self) -> Option<&Group> {
        let of = |version| self.0.iter().find(|group| group.version == version && group.freezes());
        of(Version::V2).or_else(|| of(Version::V1))
    }

    /// Freezes all processes and waits until they stand still, or thaws them. ENOTSUP: no group of the container can do that;
    /// ETIMEDOUT: some did not stop within ten seconds, and all run on.
    pub(crate) fn freeze(&self, freeze: bool) -> Result<(), Errno> {
        let group = self.freezer().ok_or(Errno::NOTSUP)?;
        group.ask_to_freeze(freeze)?;
        let mut waited = 0;
        let mut step = 100_000;
        while group.is_frozen()? != freeze {
            if waited > FREEZE_MILLISECONDS * 1_000_000 {
                let _ = group.ask_to_freeze(!freeze);
                return Err(Errno::TIMEDOUT);
            }
            pause(step);
            waited += step;
            step = (step * 2).min(20_000_000);
            if freeze && group.version == Version::V1 {
                // What was made while the others were being frozen is only found by asking again (freezer-subsystem.txt).
                group.ask_to_freeze(true)?;
            }
        }
        Ok(())
    }

    /// All processes in the groups, those of the first group that has any. As seen from the caller's PID namespace.
    pub(crate) fn pids(&self) -> Result<Vec<i32>, Errno> {
        for group in &self.0 {
            let mut pids = Vec::new();
            list(group.fd.as_fd(), DEPTH, &mut pids)?;
            if !pids.is_empty() {
                return Ok(pids);
            }
        }
        Ok(Vec::new())
    }
}

/// SIGKILL to every process in the group and below it; that they are gone is for the caller to wait for. cgroup.kill (Linux 5.14) takes
/// all at once. Without it each gets its own, where that is possible while they stand still and cannot fork; the caller tries again.
/// Does not allocate.
pub(super) fn end(group: BorrowedFd<'_>) {
    if file::write(group, c"cgroup.kill", b"1").is_ok() {
        return;
    }
    let frozen = file::write(group, c"cgroup.freeze", b"1").is_ok();
    end_each(group, DEPTH / 4);
    if frozen {
        let _ = file::write(group, c"cgroup.freeze", b"0");
    }
}

fn end_each(group: BorrowedFd<'_>, depth: u8) {
    let Ok(procs) = file::open(group, c"cgroup.procs") else { return };
    let mut bytes = [0u8; 512];
    let mut pid = 0i32;
    while let Ok(length @ 1..) = rustix::io::read(&procs, &mut bytes[..]) {
        for byte in &bytes[..length] {
            match byte {
                b'0'..=b'9' => pid = pid.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')),
                // 0: a process of another PID namespace than ours.
                _ if pid > 0 => {
                    let _ = sys::kill(std::mem::take(&mut pid), libc::SIGKILL);
                }
                _ => {}
            }
        }
    }
    let mut buffer = [MaybeUninit::<u8>::uninit(); 512];
    let mut entries = RawDir::new(group, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        if is_child(&entry)
            && depth > 0
            && let Ok(child) = file::open_dir(group, entry.file_name())
        {
            end_each(child.as_fd(), depth - 1);
        }
    }
}

/// The processes of a group and of those below it, to a depth at which no sane container has any.
fn list(group: BorrowedFd<'_>, depth: u8, pids: &mut Vec<i32>) -> Result<(), Errno> {
    let text = match file::read(group, c"cgroup.procs") {
        // EOPNOTSUPP: a threaded group, whose processes are those of the one above.
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let numbers = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
    // 0: a process of another PID namespace than ours.
    pids.extend(numbers.filter(|pid: &i32| *pid > 0));
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    let mut entries = RawDir::new(group, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        if is_child(&entry)
            && let Ok(child) = file::open_dir(group, entry.file_name())
        {
            list(child.as_fd(), depth.checked_sub(1).ok_or(Errno::LOOP)?, pids)?;
        }
    }
    Ok(())
}

fn is_child(entry: &rustix::fs::RawDirEntry<'_>) -> bool {
    entry.file_type() == FileType::Directory && !entry.file_name().to_bytes().starts_with(b".")
}

/// The name of one group below this one. Does not allocate.
pub(super) fn first_child(group: BorrowedFd<'_>) -> Option<Name> {
    let dir = file::open_dir(group, c".").ok()?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    let mut entries = RawDir::new(&dir, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        if is_child(&entry) {
            let mut name = Name::new();
            name.push(entry.file_name().to_bytes()).ok()?;
            return Some(name);
        }
    }
    None
}
