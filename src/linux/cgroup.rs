//! cgroups, v2 and v1, by directory descriptor (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//! A container's group is `nsctl/ID` below the root of each hierarchy that limits it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mount::{self, FileSystem};
use super::{file, mounts};

mod control;
mod setting;
mod usage;
pub(crate) use control::{Group, Groups, freezer_file, is_frozen};
pub(crate) use setting::{Setting, controller_needs};
#[cfg(any(test, fuzzing))]
pub(crate) use usage::survives;
pub(crate) use usage::{Memory, Usage, memory, oom_kills};

/// The group above all containers' groups.
pub(crate) const PARENT: &CStr = c"nsctl";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One tree of cgroups and the controllers that live in it.
#[derive(Debug, Clone)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// Where its root is, or will be, mounted.
    pub(crate) mount: CString,
    pub(crate) mounted: bool,
    pub(crate) controllers: Vec<String>,
}

/// The mounted hierarchies; where there is none at all, the v2 one that could be mounted at its usual place.
pub(crate) fn hierarchies() -> Result<Vec<Hierarchy>, Errno> {
    let mut found = Vec::new();
    for mount in mounts::all()? {
        // Only a mount of the root shows the whole tree; another is some container's view.
        let Some(version) = version_of(&mount.fs).filter(|_| mount.root == "/") else { continue };
        let Ok(path) = CString::new(mount.target.as_str()) else { continue };
        let controllers = match version {
            Version::V1 => mount.options.split(',').map(str::to_string).collect(),
            Version::V2 => {
                let dir = file::open_dir(CWD, &path)?;
                let text = file::read_text(&dir, c"cgroup.controllers").unwrap_or_default();
                text.split_whitespace().map(str::to_string).collect()
            }
        };
        found.push(Hierarchy { version, mount: path, mounted: true, controllers });
    }
    if found.is_empty() {
        found.push(unmounted());
    }
    Ok(found)
}

/// The number of the one that has the controller: it lives in one hierarchy only; v2 lists only what v1 has not taken. What is io on
/// v2 is blkio on v1.
pub(crate) fn with(hierarchies: &[Hierarchy], controller: &str) -> Option<usize> {
    let has = |hierarchy: &Hierarchy| {
        let v1_name = if controller == "io" && hierarchy.version == Version::V1 { "blkio" } else { controller };
        hierarchy.controllers.iter().any(|name| name == v1_name)
    };
    hierarchies.iter().position(has)
}

/// Whether groups can be made in it: it can be written to, or mounted.
pub(crate) fn is_usable(hierarchy: &Hierarchy) -> bool {
    let access = |path: &CStr| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::empty()).is_ok();
    access(&hierarchy.mount) && (hierarchy.mounted || !hierarchy.controllers.is_empty())
}

/// The caller's own group of v2, below the root of the hierarchy, if it is one that was handed to it. None on v1: there is no such thing
/// that would be safe (cgroup-v2.rst, "Model of Delegation").
pub(crate) fn own_group() -> Option<CString> {
    let text = file::read_text(CWD, c"/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).filter(|path| !path.is_empty())?;
    let found = hierarchies().ok()?.into_iter().find(|hierarchy| hierarchy.version == Version::V2)?;
    let procs = format!("{}/{path}/cgroup.procs", found.mount.to_string_lossy());
    rustix::fs::accessat(CWD, procs.as_str(), Access::WRITE_OK, AtFlags::empty()).ok()?;
    CString::new(path).ok()
}

/// The v2 hierarchy, with those controllers that this group has.
pub(crate) fn below(group: &CStr) -> Result<Vec<Hierarchy>, Errno> {
    let mut found = hierarchies()?;
    found.retain(|hierarchy| hierarchy.version == Version::V2);
    for hierarchy in &mut found {
        let path = [hierarchy.mount.to_bytes(), b"/", group.to_bytes()].concat();
        let dir = file::open_dir(CWD, &CString::new(path).map_err(|_| Errno::INVAL)?)?;
        let text = file::read_text(&dir, c"cgroup.controllers").unwrap_or_default();
        hierarchy.controllers = text.split_whitespace().map(str::to_string).collect();
    }
    Ok(found)
}

fn version_of(fs: &str) -> Option<Version> {
    match fs {
        "cgroup" => Some(Version::V1),
        "cgroup2" => Some(Version::V2),
        _ => None,
    }
}

/// The v2 hierarchy of a system that mounted none.
fn unmounted() -> Hierarchy {
    let controllers = controllers_unseen().unwrap_or_else(controllers_of_proc);
    Hierarchy { version: Version::V2, mount: c"/sys/fs/cgroup".into(), mounted: false, controllers }
}

/// What the root of the v2 hierarchy says, by way of a mount that is attached nowhere. None: the kernel cannot do that, or this
/// user may not.
fn controllers_unseen() -> Option<Vec<String>> {
    let root = mount::detached(&FileSystem::new(c"cgroup2", "", 0)).ok()?;
    let text = file::read_text(&root, c"cgroup.controllers").ok()?;
    Some(text.split_whitespace().map(str::to_string).collect())
}

/// The same as far as /proc/cgroups tells (name, hierarchy, groups, enabled): kernels without their v1 side (7.x) do not list
/// memory and cpuset there.
fn controllers_of_proc() -> Vec<String> {
    let text = file::read_text(CWD, c"/proc/cgroups").unwrap_or_default();
    let enabled = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, hierarchy, _, enabled) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        // A controller in a v1 hierarchy that is mounted elsewhere is not to be had.
        (hierarchy == "0" && enabled == "1").then(|| name.to_string())
    };
    text.lines().filter_map(enabled).collect()
}

/// mount(2) of the v2 hierarchy, for a system that has none mounted.
pub(crate) fn mount_v2(target: &CStr) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"cgroup2", target, c"cgroup2", flags, None)
}

/// Makes `dir` below the root; it may exist.
pub(crate) fn make(root: BorrowedFd<'_>, dir: &CStr) -> Result<(), Errno> {
    match rustix::fs::mkdirat(root, dir, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Opens the root of a hierarchy, and holds the group above all containers' groups in place until [`make_new`]. Those of ours who
/// have the lock need a moment; but any user can open the directory, and keep it locked. Then, after a quarter of a second, the
/// group above may go away under us, if another container ends just now.
pub(crate) fn open_root(mount: &CStr) -> Result<OwnedFd, Errno> {
    let root = file::open_dir(CWD, mount)?;
    for _ in 0..250 {
        match rustix::fs::flock(&root, FlockOperation::NonBlockingLockShared) {
            Err(Errno::AGAIN) => pause(1_000_000),
            other => {
                other?;
                break;
            }
        }
    }
    Ok(root)
}

/// Makes a container's group anew; from now on that keeps the group above it in place.
pub(crate) fn make_new(root: BorrowedFd<'_>, dir: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(root, dir, Mode::from_raw_mode(0o755))?;
    let group = file::open_dir(root, dir)?;
    rustix::fs::flock(root, FlockOperation::Unlock)?;
    Ok(group)
}

/// v2: gives the children of `dir` these controllers ("+memory +pids"). EBUSY and EAGAIN: a process that is about to move out of the
/// group, or to end, is still in it; tried again for a quarter of a second (crun #758).
pub(crate) fn enable(root: BorrowedFd<'_>, dir: Option<&CStr>, controllers: &CStr) -> Result<(), Errno> {
    let inner = dir.map(|dir| file::open_dir(root, dir)).transpose()?;
    let dir = inner.as_ref().map_or(root, AsFd::as_fd);
    let mut wait = 1_000_000;
    loop {
        match file::write(dir, c"cgroup.subtree_control", controllers.to_bytes()) {
            Err(Errno::BUSY | Errno::AGAIN) if wait < 200_000_000 => pause(wait),
            other => return other,
        }
        wait *= 2;
    }
}

/// Moves this process out of its own group, which shall hand controllers on and so must be without processes, into one below, which
/// stays.
pub(crate) fn step_aside(root: BorrowedFd<'_>, own: &CStr) -> Result<(), Errno> {
    let own = file::open_dir(root, own)?;
    make(own.as_fd(), PARENT)?;
    enter(file::open_dir(&own, PARENT)?.as_fd())
}

/// Where a container that was given its group for itself begins: the group itself must be without processes as soon as it hands
/// controllers on (the rule of "no internal processes" of cgroup-v2.rst).
pub(crate) const LEAF: &CStr = c"payload";

/// Makes a group that was handed over what it was at first: nothing is in it but the leaf, and it hands no controllers on. What made
/// groups there has ended, but may be in them until it is reaped: tried again for a quarter of a second.
pub(crate) fn renew(root: BorrowedFd<'_>, dir: &CStr) -> Result<(), Errno> {
    let group = file::open_dir(root, dir)?;
    let mut wait = 1_000_000;
    loop {
        remove_inner(root, dir);
        match rustix::fs::mkdirat(&group, LEAF, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) if wait < 200_000_000 => pause(wait),
            Ok(()) | Err(Errno::EXIST) => break,
            other => return other,
        }
        wait *= 2;
    }
    let enabled = file::read_text(&group, c"cgroup.subtree_control")?;
    enabled
        .split_whitespace()
        .try_for_each(|name| file::write(&group, c"cgroup.subtree_control", format!("-{name}").as_bytes()))
}

/// Hands a group over to a user: the directory, and the files that move processes and controllers, but none that sets a limit
/// (cgroup-v2.rst, "Model of Delegation"). On v1 there is no leaf.
pub(crate) fn delegate(group: BorrowedFd<'_>, version: Version, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Some(rustix::fs::Uid::from_raw(uid)), Some(rustix::fs::Gid::from_raw(gid)));
    let files: &[&CStr] = match version {
        Version::V2 => &[c"cgroup.procs", c"cgroup.subtree_control", c"cgroup.threads"],
        Version::V1 => &[c"cgroup.procs", c"tasks"],
    };
    rustix::fs::fchown(group, uid, gid)?;
    for name in files {
        match rustix::fs::chownat(group, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            // cgroup.threads came with 4.14.
            Err(Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

/// v1 refuses tasks in a cpuset group whose cpus and mems are empty: hand the parent's down (cpuset(7)).
pub(crate) fn inherit_cpuset(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in [c"cpuset.cpus", c"cpuset.mems"] {
        if file::read(to, name)?.trim_ascii().is_empty() {
            file::write(to, name, file::read(from, name)?.trim_ascii())?;
        }
    }
    Ok(())
}

/// Moves the calling process into the group. Does not allocate.
pub(crate) fn enter(group: BorrowedFd<'_>) -> Result<(), Errno> {
    file::write(group, c"cgroup.procs", b"0")
}

/// Removes a group whose processes have ended or are about to, and the group above it if that is empty.
/// Does not allocate. A zombie keeps its group busy until it is reaped, so EBUSY is tried again for two seconds,
/// after ending what may be left inside.
pub(crate) fn remove(root: BorrowedFd<'_>, dir: &CStr) -> Result<(), Errno> {
    let mut wait = 500_000;
    let result = loop {
        match rustix::fs::unlinkat(root, dir, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) if wait < 1_000_000_000 => {
                if let Ok(group) = file::open_dir(root, dir) {
                    control::end(group.as_fd());
                }
                remove_inner(root, dir);
            }
            // Somebody else removed it, what we wanted; or it was never made, and only the one above it was.
            Err(Errno::NOENT) => break Ok(()),
            other => break other,
        }
        pause(wait);
        wait *= 2;
    };
    remove_parent(root);
    result
}

/// Removes the group above all containers' groups, if this was the last of them. While it is empty and locked, another container
/// is about to be made in it, and will remove it in our place; or one that ends, too, found ours still there, and will not: so try
/// again, for a tenth of a second: whoever holds the lock may just have lost its processor. Not longer: any user can hold it.
fn remove_parent(root: BorrowedFd<'_>) {
    // Of a directory's links two are its own; the others are of the directories in it. Asked first, since to be refused by rmdir(2)
    // takes the lock of all cgroups, for which all the others that end wait.
    let empty = || rustix::fs::statat(root, PARENT, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_nlink <= 2);
    if !empty() {
        return;
    }
    let mut wait = 100_000;
    while rustix::fs::flock(root, FlockOperation::NonBlockingLockExclusive).is_err() {
        if !empty() || wait > 52_000_000 {
            return;
        }
        pause(wait);
        wait *= 2;
    }
    // EBUSY: other containers live there.
    let _ = rustix::fs::unlinkat(root, PARENT, AtFlags::REMOVEDIR);
    let _ = rustix::fs::flock(root, FlockOperation::Unlock);
}

/// Removes the groups in a group: those of a container that makes some of its own. Always the deepest one, so that nothing has to be
/// remembered, and two descriptors are enough however deep they are. Does not allocate.
fn remove_inner(root: BorrowedFd<'_>, dir: &CStr) {
    while let Ok(mut above) = file::open_dir(root, dir) {
        let Some(mut name) = control::first_child(above.as_fd()) else { return };
        while let Ok(inner) = file::open_dir(&above, name.as_c_str()) {
            let Some(next) = control::first_child(inner.as_fd()) else { break };
            (name, above) = (next, inner);
        }
        if rustix::fs::unlinkat(&above, name.as_c_str(), AtFlags::REMOVEDIR).is_err() {
            return;
        }
    }
}

fn pause(nanoseconds: i64) {
    let time = rustix::time::Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let _ = rustix::thread::nanosleep(&time);
}
