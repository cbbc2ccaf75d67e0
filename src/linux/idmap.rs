//! A user namespace that only holds a map of ids, for mounts (mount_setattr(2), "ID-mapped mounts").

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::OwnedFd;

use linux_raw_sys::general as k;
use rustix::fs::CWD;
use rustix::io::Errno;

use super::process::{self, Spawned};
use super::{file, sys};

/// Whether the kernel takes them as a map: none is empty, has the id -1, or has an id of another one, on either side (map_write(),
/// kernel/user_namespace.c).
pub(crate) fn is_map(ranges: &[[u32; 3]]) -> bool {
    /// UID_GID_MAP_MAX_EXTENTS, since Linux 4.15.
    const MOST: usize = 340;
    let fits = |[one, other, count]: &[u32; 3]| *count > 0 && one.max(other).checked_add(*count).is_some();
    let apart = |side: usize, one: &[u32; 3], other: &[u32; 3]| {
        one[side] + one[2] <= other[side] || other[side] + other[2] <= one[side]
    };
    let alone =
        |at: usize| (0..at).all(|before| [0, 1].iter().all(|side| apart(*side, &ranges[at], &ranges[before])));
    ranges.len() <= MOST && ranges.iter().all(fits) && (0..ranges.len()).all(alone)
}

/// Ranges of (on the disk, seen, how many).
pub(crate) fn make(users: &[[u32; 3]], groups: &[[u32; 3]]) -> Result<OwnedFd, Errno> {
    let own = rustix::process::getpid();
    match process::spawn(u64::from(k::CLONE_NEWUSER), None)? {
        Spawned::Child { .. } => {
            // Only its namespace is wanted. Signals are blocked, so that it waits until it is killed; not longer than its parent.
            let _ = sys::signal_when_parent_ends(libc::SIGKILL);
            if rustix::process::getppid() != Some(own) {
                sys::exit(1);
            }
            loop {
                sys::take_signal();
            }
        }
        Spawned::Parent(holder) => {
            let made = map(holder.pid, users, groups);
            holder.end();
            made
        }
    }
}

fn map(pid: i32, users: &[[u32; 3]], groups: &[[u32; 3]]) -> Result<OwnedFd, Errno> {
    let c_path = |name: &str| CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let write = |path: &CStr, ranges: &[[u32; 3]]| {
        let mut text = String::new();
        for [inside, outside, count] in ranges {
            let _ = writeln!(text, "{inside} {outside} {count}");
        }
        file::write(CWD, path, text.as_bytes())
    };
    write(&c_path("uid_map"), users)?;
    write(&c_path("gid_map"), groups)?;
    file::open(CWD, &c_path("ns/user"))
}
