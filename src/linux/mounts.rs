//! What is mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use linux_raw_sys::general as k;
use rustix::fs::StatVfsMountFlags as V;
use rustix::io::Errno;

use super::file;

#[derive(Debug, PartialEq)]
pub(crate) struct Mount {
    pub(crate) id: u32,
    /// The mount that this one is mounted on; its own id where there is none.
    pub(crate) parent: u32,
    /// Which directory of the file system is the root of this mount.
    pub(crate) root: String,
    pub(crate) target: String,
    pub(crate) fs: String,
    /// Options of the file system itself, such as the controllers of a cgroup v1 hierarchy.
    pub(crate) options: String,
}

/// All mounts of this mount namespace, oldest first: of two on one target the last is the visible one.
pub(crate) fn all() -> Result<Vec<Mount>, Errno> {
    let text = file::read_text(rustix::fs::CWD, c"/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    // The number of optional fields before " - " varies.
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ');
    let mut kind = kind.split(' ');
    Some(Mount {
        id: place.next()?.parse().ok()?,
        parent: place.next()?.parse().ok()?,
        root: unescape(place.nth(1)?),
        target: unescape(place.next()?),
        fs: kind.next()?.to_string(),
        options: kind.nth(1)?.to_string(),
    })
}

/// The mounts below this one, as paths relative to it, in the order in which they were mounted.
pub(crate) fn below(mount: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let top = id(mount)?;
    let all = all()?;
    let place = all.iter().find(|mount| mount.id == top).map(|mount| mount.target.clone()).ok_or(Errno::INVAL)?;
    let mut inside = vec![top];
    let mut found = Vec::new();
    for mount in &all {
        if inside.contains(&mount.parent) && mount.id != top {
            inside.push(mount.id);
            let rest = mount.target.strip_prefix(place.trim_end_matches('/')).unwrap_or_default();
            found.extend(CString::new(rest.trim_start_matches('/')));
        }
    }
    Ok(found)
}

/// What is mounted directly on this mount, as paths relative to it.
pub(crate) fn children(mount: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let top = id(mount)?;
    let relative = |mount: Mount| CString::new(mount.target.trim_start_matches('/')).ok();
    let children = all()?.into_iter().filter(|mount| mount.parent == top && mount.id != top);
    Ok(children.filter_map(relative).filter(|path| !path.is_empty()).collect())
}

/// The number of the mount that the descriptor is on (proc_pid_fdinfo(5)).
pub(crate) fn id(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let path = CString::new(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap_or_default();
    let text = file::read_text(rustix::fs::CWD, &path)?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or(Errno::NOSYS)
}

/// The MOUNT_ATTR_* of the mount that the descriptor is on.
pub(crate) fn attributes(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let flags = rustix::fs::fstatvfs(fd.as_fd())?.f_flag;
    let pairs = [
        (V::RDONLY, k::MOUNT_ATTR_RDONLY),
        (V::NOSUID, k::MOUNT_ATTR_NOSUID),
        (V::NODEV, k::MOUNT_ATTR_NODEV),
        (V::NOEXEC, k::MOUNT_ATTR_NOEXEC),
        (V::NOATIME, k::MOUNT_ATTR_NOATIME),
        (V::NODIRATIME, k::MOUNT_ATTR_NODIRATIME),
    ];
    let set = pairs.iter().filter(|(flag, _)| flags.contains(*flag)).fold(0, |set, (_, attr)| set | attr);
    let strict = !flags.intersects(V::NOATIME | V::RELATIME);
    Ok(if strict { set | k::MOUNT_ATTR_STRICTATIME } else { set })
}

/// Whether the descriptor is in procfs, sysfs or a cgroup tree.
pub(crate) fn is_kernel_table(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let magic = rustix::fs::fstatfs(fd)?.f_type as u32;
    Ok([k::PROC_SUPER_MAGIC, k::SYSFS_MAGIC, k::CGROUP_SUPER_MAGIC, k::CGROUP2_SUPER_MAGIC].contains(&magic))
}

/// mountinfo writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) if byte == b'\\' => {
                out.push(code);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    for mount in text.lines().filter_map(parse) {
        assert!(mount.target.len() <= 3 * text.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes() {
        let line = r"36 35 98:0 /a\040b /mnt\134x rw,noatime master:1 shared:7 - cgroup cgroup rw,memory";
        let mount = parse(line).unwrap();
        assert_eq!(mount.root, "/a b");
        assert_eq!(mount.target, r"/mnt\x");
        assert_eq!((mount.fs.as_str(), mount.options.as_str()), ("cgroup", "rw,memory"));
        assert_eq!((mount.id, mount.parent), (36, 35));
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in ["", "36 35 98:0 / /x rw", "36 - cgroup", r"1 2 3 /\9 /\ rw - a b"] {
            let _ = parse(line);
        }
        assert!(parse("36 35 98:0 / /x rw").is_none());
    }
}
