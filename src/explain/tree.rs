//! The container's files: the steps that make them, as text.

use linux_raw_sys::general as k;

use super::quoted;
use crate::linux::mount::{Change, FileSystem};
use crate::linux::text::shown;
use crate::plan::{Base, Lowers, Mount, Op, Over, Place, Plan};

/// One match over the steps of the tree.
pub(super) fn text(plan: &Plan, op: &Op) -> (String, String) {
    let fds = plan.api.fds;
    let (call, why): (String, &str) = match op {
        Op::MakeUpper { upper, work } => (
            format!("mkdirat({}); mkdirat({}); flock(upper, LOCK_EX|LOCK_NB)", quoted(upper), quoted(work)),
            "--overlay-upper and the work directory beside it; nobody else may change it meanwhile",
        ),
        Op::MakeIdMap(map) => (
            format!(
                "clone3({{flags=CLONE_NEWUSER}}); write(/proc/PID/{{uid,gid}}_map, \"{}\", \"{}\"); openat(/proc/PID/ns/user)",
                ranges(&map.users),
                ranges(&map.groups)
            ),
            "a user namespace that only holds the map of ids",
        ),
        Op::OpenSource { path } => (
            format!("openat(AT_FDCWD, {}, O_PATH|O_CLOEXEC)", quoted(path)),
            "something of the host's, while its files are in sight",
        ),
        Op::MapSource { source } | Op::MapUpper { above: source, .. } => {
            let why = match op {
                Op::MapSource { .. } => "its owners as the container numbers them: nothing is written for that",
                _ => "where --overlay-upper is: what is written there is the container's root's own",
            };
            return (
                format!(
                    "{}; mount_setattr(…, MOUNT_ATTR_IDMAP); {}",
                    clone(true, false),
                    attach(true, "stage/layer")
                ),
                format!("{}, {why}", path_of(plan, *source)),
            );
        }
        Op::CloneSource { source, recursive } => {
            return (
                clone(true, *recursive),
                format!(
                    "{}, before mounts are made private and ours are among them (shared and slave go on to hear of the host's)",
                    path_of(plan, *source)
                ),
            );
        }
        Op::TopOfMounts => (
            "setns(pidfd_open(getpid()), CLONE_NEWNS)".into(),
            "to the root of our own mounts: a caller may be in a chroot",
        ),
        Op::ProcOfHost => (
            "statfs(\"/proc\") = procfs".into(),
            "some calls take only paths, and get /proc/self/fd/N; else it is mounted now",
        ),
        Op::NewParent => (
            "pivot_root(\"/\", \"/\") = -1 EBUSY".into(),
            "EINVAL tells that nothing is beneath the root (an initramfs): then two empty mounts, locked to one another, go between",
        ),
        Op::Stage(fs) => {
            (mount(false, fs, "\"/\""), "a place of our own to work on, over \"/\", where paths do not lead")
        }
        Op::HostTree { stage } => (
            if *stage {
                "openat(\"/\", O_PATH); mount(\"tmpfs\", \"/\", \"tmpfs\", …)"
            } else {
                "openat(\"/\", O_PATH)"
            }
            .into(),
            "no root of its own: mounts go into our copy of the host's tree",
        ),
        Op::MountImage { fs, .. } => (
            format!(
                "ioctl(loop, LOOP_CONFIGURE, LO_FLAGS_READ_ONLY|LO_FLAGS_AUTOCLEAR); mount {} on stage/lower",
                shown(fs)
            ),
            "the image, read-only; the loop device goes away with its last user (and erofs may do without)",
        ),
        Op::BindRoot { .. } => {
            (format!("{}; {}", clone(fds, false), attach(fds, "stage")), "the directory itself is the root")
        }
        Op::OverlayRoot { lowers, upper, .. } => {
            let count = match lowers {
                Lowers::Sources(sources) => sources.len(),
                Lowers::Image => 1,
            };
            let upper = if upper.is_some() { "--overlay-upper" } else { "stage/upper" };
            (overlay(fds, count, Some(upper), "stage"), "the root: what is there, and over it what changes")
        }
        Op::Mount(mount) => return tree(plan, mount),
        Op::LeaveStage { stage: true } => {
            ("umount2(\"/..\", MNT_DETACH)".into(), "the place that mount(2) needed to work on")
        }
        Op::LeaveStage { stage: false } => ("close(sources)".into(), "what was opened of the host's is in place"),
        Op::Enter => (
            format!(
                "fchdir(root); pivot_root(\".\", \".\"); {}; umount2(\".\", MNT_DETACH); chdir(\"/\")",
                if fds { "move_mount(stage, below the old root)" } else { "umount2(\".\", MNT_DETACH)" }
            ),
            "the new root takes the old one's place; two empty mounts, locked to one another, go between it and what the host's was mounted on",
        ),
        _ => unreachable!("not a step of the tree"),
    };
    (call, why.into())
}

fn tree(plan: &Plan, what: &Mount) -> (String, String) {
    let fds = plan.api.fds;
    let (call, why): (String, String) = match what {
        Mount::Fs { fs, at, .. } => (mount(fds, fs, &open(at)), reason(fs, at).into()),
        Mount::Bind { source, cloned, recursive, map, change, spread, at } => (
            [
                if *cloned { String::new() } else { clone(fds, *recursive) + "; " },
                if map.is_some() { "mount_setattr(…, MOUNT_ATTR_IDMAP); ".into() } else { String::new() },
                attach(fds, &open(at)),
                set(plan, *spread),
                set(plan, *change),
            ]
            .concat(),
            format!("{} of the host's, seen on {}", path_of(plan, *source), at.shown()),
        ),
        Mount::Tree { change, at, .. } => (
            [clone(fds, true), "; ".into(), attach(fds, &open(at)), set(plan, *change)].concat(),
            "the host's own: to mount one takes rights over the namespace that it shows".into(),
        ),
        Mount::Overlay { lowers, upper, at, .. } => {
            let upper = upper.map(|[upper, _]| path_of(plan, upper));
            (overlay(fds, lowers.len(), upper.as_deref(), &open(at)), format!("--mount on {}", at.shown()))
        }
        Mount::Mask(at) => (
            format!("{}; {}", clone(fds, false), attach(fds, &open(at))),
            "an empty read-only file or directory hides it, if it is there".into(),
        ),
        Mount::ReadOnly(at) => (
            format!(
                "{}; {}{}",
                clone(fds, true),
                attach(fds, &open(at)),
                set(plan, Change { set: k::MOUNT_ATTR_RDONLY, ..Change::default() })
            ),
            "a mount of itself, and not to be written to: it is the whole machine's".into(),
        ),
        Mount::Node { name, mode, device, .. } => (
            format!(
                "mknodat(dev, {}, {}|{:04o}, makedev({}, {}))",
                quoted(name),
                if mode & libc::S_IFMT == libc::S_IFBLK { "S_IFBLK" } else { "S_IFCHR" },
                mode & 0o7777,
                rustix::fs::major(*device),
                rustix::fs::minor(*device)
            ),
            // Those of every container have no type in their mode.
            if mode & libc::S_IFMT == 0 { "a device that does no harm" } else { "--device" }.into(),
        ),
        Mount::Link { name, target } => {
            (format!("symlinkat({}, dev, {})", quoted(target), quoted(name)), "as programs expect it".into())
        }
        Mount::Text { at, over, .. } => (
            format!("{}; {}", clone(fds, false), attach(fds, &open(at))),
            match over {
                Over::Nothing => "programs expect it; only if it is missing or empty",
                Over::Anything => "it tells of the container's own network, over whatever the root has there",
                Over::Must => "as it was asked for, over whatever the root has there",
            }
            .into(),
        ),
        Mount::Sysctl { path, value } => {
            (format!("write(/proc/{}, {})", shown(path), quoted(value)), "--sysctl".into())
        }
        Mount::ReadOnlyRoot => (
            if plan.api.setattr {
                "mount_setattr(root, \"\", AT_EMPTY_PATH, {MOUNT_ATTR_RDONLY})"
            } else {
                "mount(NULL, root, NULL, MS_REMOUNT|MS_BIND|MS_RDONLY, NULL)"
            }
            .into(),
            "last, since mount points had to be made".into(),
        ),
    };
    (call, why)
}

fn reason(fs: &FileSystem, at: &Place) -> &'static str {
    match (fs.name.to_bytes(), at.shown().as_str()) {
        (b"proc", "/proc") => "a procfs shows the PID namespace of its mounter: ps sees only what runs inside",
        (b"sysfs", "/sys") => "the kernel's view of devices; not the container's to change",
        (_, "/dev") => "made by us, and empty: nothing in it is the image's",
        (b"devpts", _) => "terminals of its own: the host's cannot be named",
        (_, "/dev/shm") => "the memory that its processes share",
        (b"mqueue", _) => "POSIX message queues of its IPC namespace",
        (b"cgroup" | b"cgroup2", _) => {
            "the container reads its own limits there, not the host's, and cannot change them"
        }
        (b"tmpfs", "/sys/fs/cgroup") => "where the cgroup hierarchies are mounted",
        _ => "what was asked for",
    }
}

/// How a target is opened: never by a path that the kernel resolves alone.
fn open(at: &Place) -> String {
    let (dir, path) = match at.base {
        Base::Root => ("root", &at.path),
        Base::Proc => ("proc", &at.path),
        Base::Sys => ("sys", &at.path),
        Base::Dev => ("dev", &at.path),
        Base::Cgroup => ("cgroup", &at.path),
        Base::Pts => ("pts", &at.path),
    };
    let how = if at.strict { "RESOLVE_NO_SYMLINKS" } else { "RESOLVE_IN_ROOT" };
    format!("openat2({dir}, {}, {how})", quoted(path))
}

/// What a source is on the host.
fn path_of(plan: &Plan, source: usize) -> String {
    let sources = plan.steps.iter().filter_map(|step| match &step.op {
        Op::OpenSource { path } => Some(path),
        _ => None,
    });
    sources.skip(source).map(|path| path.to_string_lossy().into_owned()).next().unwrap_or_default()
}

fn mount(fds: bool, fs: &FileSystem, target: &str) -> String {
    let options = quoted(fs.options_text());
    if fds {
        let sets = if fs.options.is_empty() { String::new() } else { format!("; fsconfig({options})") };
        return format!(
            "fsopen({}){sets}; fsmount({}); move_mount(…, {target})",
            quoted(&fs.name),
            attributes("MOUNT_ATTR_", fs.attr)
        );
    }
    format!("mount({0}, {target}, {0}, {1}, {options})", quoted(&fs.name), attributes("MS_", fs.attr))
}

pub(super) fn clone(fds: bool, recursive: bool) -> String {
    if fds {
        let below = if recursive { "|AT_RECURSIVE" } else { "" };
        return format!("open_tree(source, \"\", AT_EMPTY_PATH|OPEN_TREE_CLONE{below})");
    }
    format!("mount(source, slot, NULL, MS_BIND{}, NULL)", if recursive { "|MS_REC" } else { "" })
}

pub(super) fn attach(fds: bool, target: &str) -> String {
    if fds { format!("move_mount(…, {target})") } else { format!("mount(slot, {target}, NULL, MS_MOVE, NULL)") }
}

fn overlay(fds: bool, lowers: usize, upper: Option<&str>, target: &str) -> String {
    let lowers = if lowers == 1 { "1 lowerdir".into() } else { format!("{lowers} lowerdirs") };
    let upper = upper.map_or(String::new(), |upper| format!(", upperdir={upper}, workdir"));
    if fds {
        return format!("fsopen(\"overlay\"); fsconfig({lowers}{upper}); fsmount(); {}", attach(fds, target));
    }
    format!("mount(\"overlay\", slot, \"overlay\", 0, {lowers}{upper}); {}", attach(fds, target))
}

/// As the files of /proc take them, with a comma for the end of a line.
fn ranges(map: &[[u32; 3]]) -> String {
    let lines: Vec<String> =
        map.iter().map(|[inside, outside, count]| format!("{inside} {outside} {count}")).collect();
    lines.join(", ")
}

/// A change of the mount that was just attached.
fn set(plan: &Plan, change: Change) -> String {
    if change.is_nothing() {
        return String::new();
    }
    let spread = match change.propagation {
        k::MS_PRIVATE => "MS_PRIVATE",
        k::MS_SLAVE => "MS_SLAVE",
        k::MS_SHARED => "MS_SHARED",
        _ => "",
    };
    if !plan.api.setattr {
        let below = if change.recursive { "|MS_REC" } else { "" };
        if !spread.is_empty() {
            return format!("; mount(NULL, …, NULL, {spread}{below}, NULL)");
        }
        let more = if change.recursive { ", likewise what is below" } else { "" };
        let flags = if change.set == 0 { "0".into() } else { attributes("MS_", change.set) };
        return format!("; mount(NULL, …, NULL, MS_REMOUNT|MS_BIND|{flags}, NULL){more}");
    }
    let mut words = Vec::new();
    if change.set != 0 {
        words.push(attributes("MOUNT_ATTR_", change.set));
    }
    if change.clear != 0 {
        words.push(format!("~{}", attributes("MOUNT_ATTR_", change.clear)));
    }
    if !spread.is_empty() {
        words.push(spread.into());
    }
    format!("; mount_setattr(…{}, {})", if change.recursive { ", AT_RECURSIVE" } else { "" }, words.join(", "))
}

/// MS_NODEV, MOUNT_ATTR_{NOSUID,NODEV}
fn attributes(prefix: &str, bits: u32) -> String {
    let names = [
        (k::MOUNT_ATTR_RDONLY, "RDONLY"),
        (k::MOUNT_ATTR_NOSUID, "NOSUID"),
        (k::MOUNT_ATTR_NODEV, "NODEV"),
        (k::MOUNT_ATTR_NOEXEC, "NOEXEC"),
        (k::MOUNT_ATTR_NOATIME, "NOATIME"),
        (k::MOUNT_ATTR_STRICTATIME, "STRICTATIME"),
    ];
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    match set[..] {
        [] => "0".into(),
        [one] => format!("{prefix}{one}"),
        _ => format!("{prefix}{{{}}}", set.join(",")),
    }
}
