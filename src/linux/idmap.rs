//! A user namespace with a map of ids: that of a container, or one that only holds the map, for mounts (mount_setattr(2), "ID-mapped
//! mounts").

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

/// Of a container's namespace, ranges of (inside, outside, how many); of a mount's, of (on the disk, seen, how many).
pub(crate) fn make(users: &[[u32; 3]], groups: &[[u32; 3]]) -> Result<OwnedFd, Errno> {
    Ok(make_with(users, groups, &[])?.remove(0))
}

/// The user namespace, and namespaces of these kinds and names that belong to it.
pub(crate) fn make_with(
    users: &[[u32; 3]],
    groups: &[[u32; 3]],
    more: &[(u32, &str)],
) -> Result<Vec<OwnedFd>, Errno> {
    let own = rustix::process::getpid();
    let kinds = more.iter().fold(k::CLONE_NEWUSER, |kinds, (kind, _)| kinds | kind);
    match process::spawn(u64::from(kinds), None)? {
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
            let open = |name: &str| file::open(CWD, &path_of(holder.pid, &["ns/", name].concat()));
            let made = map(holder.pid, users, groups)
                .and_then(|()| std::iter::once("user").chain(more.iter().map(|(_, name)| *name)).map(open).collect());
            holder.end();
            made
        }
    }
}

fn path_of(pid: i32, name: &str) -> CString {
    CString::new(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

fn map(pid: i32, users: &[[u32; 3]], groups: &[[u32; 3]]) -> Result<(), Errno> {
    let write = |path: &CStr, ranges: &[[u32; 3]]| {
        let mut text = String::new();
        for [inside, outside, count] in ranges {
            let _ = writeln!(text, "{inside} {outside} {count}");
        }
        file::write(CWD, path, text.as_bytes())
    };
    write(&path_of(pid, "uid_map"), users)?;
    write(&path_of(pid, "gid_map"), groups)
}
