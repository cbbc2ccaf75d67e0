//! Which descriptors the command keeps, and which it has instead.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::linux::path::{self, Links};
use crate::linux::{file, sys};

/// Closes every descriptor from `first` on but `kept`, which is close-on-exec. To mark the others would be too late: the kernel finds
/// the program, and its interpreter, before it closes anything, and `/proc/self/fd/N/../..` would lead to the host's files
/// (CVE-2024-21626). The owners of what is closed never come to use or drop it: this process executes, or exits.
pub(crate) fn close_from(first: u32, kept: Option<&OwnedFd>) -> Result<(), Errno> {
    let kept = kept.map_or(first.wrapping_sub(1), |kept| kept.as_raw_fd() as u32);
    let ranges = [(first, kept.wrapping_sub(1)), (first.max(kept.wrapping_add(1)), u32::MAX)];
    let mut closed = Ok(());
    for (from, to) in ranges.into_iter().filter(|(from, to)| from <= to && *to >= first) {
        closed = closed.and_then(|()| sys::close_range(from, to));
    }
    match closed {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other,
    }
    each_open_from(first, |fd| {
        if fd as u32 != kept {
            sys::close(fd);
        }
    })
}

/// Root inside could change mode, owner and times of the host's device by what it has open (fchmod(2)), and nobody on the host could write
/// to it any more. ENOENT, ENODEV: the container's root has taken its own away.
pub(super) fn own_null(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (number, stream) in streams.into_iter().enumerate() {
        if !is_null(stream)? {
            continue;
        }
        let dev = path::open(root, c"dev", Links::Refused)?;
        let open = |flags| {
            let null = rustix::fs::openat(&dev, c"null", flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            if is_null(null.as_fd())? { Ok(null) } else { Err(Errno::NODEV) }
        };
        // Another device is not woken.
        open(OFlags::PATH)?;
        let own = open(rustix::fs::fcntl_getfl(stream)? & OFlags::RWMODE)?;
        match number {
            0 => rustix::stdio::dup2_stdin(own)?,
            1 => rustix::stdio::dup2_stdout(own)?,
            _ => rustix::stdio::dup2_stderr(own)?,
        }
    }
    Ok(())
}

fn is_null(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let device = rustix::fs::makedev(1, 3);
    Ok(path::file_type(&stat) == FileType::CharacterDevice && stat.st_rdev == device)
}

/// close_range(2), or before 5.11 and where it is masked: a walk over /proc/self/fd that does the same. Who has something else in the
/// place of /proc loses what was open: it is closed at once.
pub(super) fn close_on_exec_from(first: u32, kept: Option<&OwnedFd>) -> Result<(), Errno> {
    match sys::close_on_exec_from(first) {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
        other => return other,
    }
    // EBADF: it was closed since.
    match each_open_from(first, |fd| _ = sys::close_on_exec(fd)) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => close_from(first, kept),
        other => other,
    }
}

/// Does something with each descriptor from `first` on that is open. ENOENT: there is no procfs, but something that looks like it.
fn each_open_from(first: u32, act: impl Fn(i32)) -> Result<(), Errno> {
    let dir = file::open_dir(rustix::fs::CWD, c"/proc/self/fd")?;
    if rustix::fs::fstatfs(&dir)?.f_type as u32 != k::PROC_SUPER_MAGIC {
        return Err(Errno::NOENT);
    }
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 1024];
    let mut entries = rustix::fs::RawDir::new(&dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let number = entry?.file_name().to_bytes().iter().try_fold(0i32, |sum, byte| {
            byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(i32::from(byte - b'0')))
        });
        // The directory's own is needed for a while.
        if let Some(fd) = number.filter(|fd| *fd >= first as i32 && *fd != dir.as_raw_fd()) {
            act(fd);
        }
    }
    Ok(())
}
