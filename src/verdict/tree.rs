//! A step of the container's files that failed → the sentence that says so.

use rustix::io::Errno;

use crate::error::Error;
use crate::linux::text::shown;
use crate::linux::upper::{self, Trouble};
use crate::linux::userns;
use crate::plan::{Mount, Op, Place};
use crate::spec::{Principal, User};

/// What a read of a damaged file system ends in.
pub(super) const UNREADABLE: &str = "its file system is damaged, or the image is cut short; dmesg tells";

/// Whether the sentence is made here.
pub(super) fn is_about(op: &Op) -> bool {
    matches!(
        op,
        Op::MakeUpper { .. }
            | Op::MakeIdMap(_)
            | Op::MapSource { .. }
            | Op::MapUpper { .. }
            | Op::OpenSource { .. }
            | Op::CloneSource { .. }
            | Op::TopOfMounts
            | Op::ProcOfHost
            | Op::NewParent
            | Op::Stage(_)
            | Op::HostTree { .. }
            | Op::MountImage { .. }
            | Op::BindRoot { .. }
            | Op::OverlayRoot { .. }
            | Op::Mount(_)
            | Op::LeaveStage { .. }
            | Op::Enter
            | Op::BeUser { .. }
    )
}

pub(super) fn sentence(op: &Op, errno: Errno) -> Error {
    let doing = match op {
        Op::MakeUpper { upper, work } => return unfit_upper(&upper.to_string_lossy(), work, errno),
        Op::BeUser { user, groups } => return no_such_user(user.as_ref(), groups, errno),
        Op::MakeIdMap(_) => "make the map of ids".to_string(),
        Op::MapSource { .. } | Op::MapUpper { .. } => "show the root's files as the container's own".into(),
        Op::OpenSource { path } => format!("open {}", shown(path)),
        Op::CloneSource { .. } => "clone a mount with its propagation".into(),
        Op::TopOfMounts => "go to the root of the mount namespace".into(),
        Op::ProcOfHost => "mount proc on the host's /proc".into(),
        Op::NewParent => "put a mount beneath the container's root".into(),
        Op::Stage(_) => "mount a tmpfs to work on".into(),
        Op::HostTree { .. } => "open the host's root directory".into(),
        Op::MountImage { fs, .. } => format!("mount the {} image", shown(fs)),
        Op::BindRoot { .. } => "mount the root directory".into(),
        Op::OverlayRoot { .. } => "mount the overlay that is the root".into(),
        Op::Mount(mount) => return mounting(mount, errno),
        Op::LeaveStage { .. } => "unmount what was worked on".into(),
        Op::Enter => "pivot into the root".into(),
        _ => "make the container's files".into(),
    };
    Error::os(doing, errno).hint(hint(op, errno))
}

/// The usual reason of this error of this step.
fn hint(op: &Op, errno: Errno) -> &'static str {
    match (op, errno) {
        (Op::OpenSource { .. }, Errno::NOENT) => "there is no such file or directory; nsctl makes none on the host",
        (Op::OpenSource { .. }, Errno::NOTDIR) => "something on the way is no directory",
        (Op::ProcOfHost, Errno::NOENT) => "make the directory /proc",
        (Op::MountImage { .. }, Errno::NOENT | Errno::NXIO) => {
            "there is no /dev/loop-control: CONFIG_BLK_DEV_LOOP, or modprobe loop, and a devtmpfs on /dev"
        }
        (Op::MountImage { .. }, Errno::NODEV) => {
            "the kernel lacks this file system: CONFIG_SQUASHFS, CONFIG_EROFS_FS, CONFIG_EXT4_FS, or modprobe"
        }
        (Op::MapSource { .. } | Op::MapUpper { .. } | Op::MountImage { mapped: true, .. }, Errno::INVAL) => {
            "its file system, or this kernel for it, cannot map owners (ext4, xfs: Linux 5.12, overlayfs never); leave --userns out"
        }
        (Op::MountImage { .. }, Errno::INVAL) => {
            "the image is damaged, or uses a compression or feature that this kernel lacks; dmesg tells"
        }
        (_, Errno::IO | Errno::UCLEAN | Errno::BADMSG) => UNREADABLE,
        (Op::OverlayRoot { .. } | Op::BindRoot { .. }, Errno::INVAL) if userns::own().is_some() => {
            "something is mounted in that directory, and an ordinary user may not look beneath: --rw takes it as it is; or overlayfs refuses it: dmesg tells"
        }
        (Op::BindRoot { .. } | Op::OverlayRoot { .. }, Errno::NOTDIR) => "the root is no directory",
        (Op::OverlayRoot { .. }, Errno::STALE) => "somebody put another directory in the place of --overlay-upper",
        (Op::OverlayRoot { .. }, Errno::INVAL) => {
            "overlayfs refuses these directories (an overlay of overlays, or the upper one within the lower one?); dmesg tells"
        }
        (Op::OverlayRoot { .. }, Errno::NAMETOOLONG) => "more layers than this kernel can stack",
        (Op::OverlayRoot { .. }, Errno::LOOP) => "the directories lie within one another",
        (Op::Enter, Errno::INVAL) => "the root cannot be replaced here; nsctl check says more",
        _ => "",
    }
}

/// Where, of which kind, and the way out.
fn mounting(mount: &Mount, errno: Errno) -> Error {
    let (doing, at) = match mount {
        Mount::Fs { fs, at, .. } => (format!("mount {} on {}", shown(&fs.name), at.shown()), Some(at)),
        Mount::Bind { at, .. } => (format!("mount on {}", at.shown()), Some(at)),
        Mount::Tree { at, .. } => (format!("show the host's {}", at.shown()), Some(at)),
        Mount::Overlay { at, .. } => (format!("mount an overlay on {}", at.shown()), Some(at)),
        Mount::Mask(at) => (format!("hide {}", at.shown()), Some(at)),
        Mount::ReadOnly(at) => (format!("make {} read-only", at.shown()), Some(at)),
        Mount::Node { name, .. } => (format!("make the device /dev/{}", shown(name)), None),
        Mount::Link { name, .. } => (format!("make the link /dev/{}", shown(name)), None),
        Mount::Text { at, .. } => (format!("provide {}", at.shown()), Some(at)),
        Mount::Sysctl { path, value } => {
            let (path, value) = (shown(path), shown(value));
            (format!("set /proc/{path} to {value}"), None)
        }
        Mount::ReadOnlyRoot => ("make the root read-only".into(), None),
    };
    Error::os(doing, errno).hint(mount_hint(mount, at, errno))
}

fn mount_hint(mount: &Mount, at: Option<&Place>, errno: Errno) -> &'static str {
    let kernels_own = at.is_some_and(|at| at.strict);
    match (mount, errno) {
        (_, Errno::IO | Errno::UCLEAN | Errno::BADMSG) => UNREADABLE,
        (_, Errno::NOSPC) => {
            "there is no room for mount points: --overlay-size, or what holds the changes, is too small"
        }
        (_, Errno::LOOP | Errno::XDEV) if kernels_own => {
            "in the root it is a symbolic link, which could lead anywhere; make it a directory"
        }
        (_, Errno::NOTDIR) if kernels_own => "in the root it is no directory; make it one",
        (_, Errno::ROFS) => {
            "there is no such mount point, and the root cannot be written to; make it, or leave --rw and --read-only out"
        }
        (_, Errno::LOOP) => "too many symbolic links, or one of /proc that leads out of every path",
        (_, Errno::NOTDIR) => "a directory is to be seen there, but in the root it is a file, or has a file above it",
        (_, Errno::ISDIR) => "a file is to be seen there, but in the root it is a directory",
        (Mount::Bind { map: Some(_), .. }, Errno::INVAL) => {
            "this kernel cannot map the file system's owners (it can ext4 since 5.12, tmpfs since 6.3)"
        }
        (Mount::Fs { fs, .. }, Errno::PERM) if fs.name.as_c_str() == c"proc" && at.is_some_and(|at| at.strict) => {
            "an outer container masks /proc, and a new one would show it (mount too revealing); --pid host does without"
        }
        (Mount::Bind { recursive: false, .. }, Errno::INVAL) if userns::own().is_some() => {
            "something is mounted below it, and an ordinary user may not look beneath: leave bind out"
        }
        (Mount::Bind { .. } | Mount::Fs { .. } | Mount::Overlay { .. }, Errno::PERM) => {
            "it leads into /proc or /sys, or the kernel does not let this user mount it"
        }
        (_, Errno::NOENT) if at.is_some_and(|at| !at.make) => {
            "without a root of its own, the container's mount points have to be there"
        }
        (Mount::Fs { .. }, Errno::NOENT) => "there is no such directory",
        (Mount::Fs { .. }, Errno::NODEV) => "the kernel lacks this file system",
        (Mount::Fs { .. }, Errno::INVAL) => {
            "the kernel does not take these options, or a uid= or gid= is none of the container's; dmesg tells"
        }
        (Mount::Overlay { .. }, Errno::INVAL) => "overlayfs refuses these directories; dmesg tells",
        (Mount::Node { .. }, Errno::PERM) => "making devices takes CAP_MKNOD",
        (Mount::Node { .. }, Errno::EXIST) => "every container has another one of that name",
        (Mount::Sysctl { .. }, Errno::NOENT) => "this kernel, or this network namespace, has no such setting",
        (Mount::Sysctl { .. }, Errno::INVAL) => "the kernel does not take this value",
        _ => "",
    }
}

fn unfit_upper(shown: &str, work: &std::ffi::CStr, errno: Errno) -> Error {
    match upper::trouble(work, errno) {
        Some(Trouble::Unfit(name, lacks)) => Error::new(format_args!(
            "--overlay-upper {shown} is on {name}, which cannot keep an overlay's changes: {lacks}"
        ))
        .hint("choose a directory on ext4, xfs, btrfs or tmpfs; without the option changes are kept in memory"),
        Some(Trouble::InUse) => Error::new(format_args!("--overlay-upper {shown} is in use by a running container"))
            .hint("each needs a directory of its own"),
        None => Error::os(format_args!("prepare --overlay-upper {shown}"), errno).hint(match errno {
            Errno::NOENT => "the directory above it must be there",
            Errno::LOOP | Errno::NOTDIR => "it, or the .work beside it, is no directory, or a link to one",
            Errno::ROFS => "its file system is read-only",
            Errno::PERM => "it, or the .work beside it, belongs to somebody else, or all may write there",
            _ => "",
        }),
    }
}

fn no_such_user(user: Option<&User>, groups: &[Principal], errno: Errno) -> Error {
    let name = |principal: &Principal| match principal {
        Principal::Id(id) => id.to_string(),
        Principal::Name(name) => name.to_string_lossy().into_owned(),
    };
    let named = |principal: &&Principal| matches!(principal, Principal::Name(_));
    match (errno, user) {
        (Errno::SRCH, Some(user)) => {
            Error::new(format_args!("there is no user {} in the container's /etc/passwd", name(&user.user)))
                .hint("a number needs no entry")
        }
        (Errno::NXIO, _) => {
            let asked = user.and_then(|user| user.group.as_ref()).into_iter().chain(groups).filter(named);
            let names: Vec<String> = asked.map(name).collect();
            Error::new(format_args!("there is no group {} in the container's /etc/group", names.join(" or ")))
                .hint("a number needs no entry")
        }
        (Errno::INVAL, _) if userns::own().is_some() => {
            Error::os("change user and groups", errno).hint("there is no such id in the container: -u 0 is the caller; more take newuidmap and newgidmap (package uidmap) and ranges in /etc/subuid and /etc/subgid")
        }
        (Errno::INVAL, _) => {
            Error::os("change user and groups", errno).hint("who is asked for is not in the container's map of ids")
        }
        (Errno::PERM, _) => Error::os("change user and groups", errno).hint("that takes CAP_SETUID and CAP_SETGID, and a seccomp profile must not refuse it"),
        (Errno::FBIG, _) => Error::new("the container's /etc/passwd or /etc/group is too large to be one"),
        _ => Error::os("change user and groups", errno),
    }
}
