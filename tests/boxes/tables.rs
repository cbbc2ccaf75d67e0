//! The table of mounts inside: what is in it, and that it is the same whichever calls the kernel has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Mount, Scratch, mounted, mounts, nsctl_with, plain, seen};
use crate::nsctl::{must, nsctl, outcome, shell, spawn};
use crate::{life, masked};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("only_the_containers_own_mounts_are_there", mount_table),
    ("explain_shows_the_steps_that_verbose_takes", verbose),
];

/// It sets every mask itself.
pub(crate) const UNMASKED: &[(&str, Case)] = &[("the_mount_table_is_the_same_whatever_is_masked", same_table)];

const QUIET: &str = "nosuid,nodev,noexec,relatime";

/// What depends on the kernel: whether the host has such a file.
pub(crate) const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
pub(crate) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// `TARGET OPTIONS TYPE` of every mount of a container with nothing but a root. The sizes, devices and numbers are left out.
pub(crate) fn table() -> BTreeSet<String> {
    let mut lines: BTreeSet<String> = [
        "/ rw,nodev,relatime overlay".to_string(),
        "/dev rw,nosuid tmpfs".to_string(),
        "/dev/pts rw,nosuid,noexec,relatime devpts".to_string(),
        format!("/dev/shm rw,{QUIET} tmpfs"),
        format!("/etc/hostname rw,{QUIET} tmpfs"),
        format!("/etc/hosts rw,{QUIET} tmpfs"),
        format!("/etc/resolv.conf rw,{QUIET} tmpfs"),
        format!("/proc rw,{QUIET} proc"),
        format!("/sys ro,{QUIET} sysfs"),
    ]
    .into();
    if fs::read_to_string("/proc/filesystems").unwrap().contains("mqueue") {
        lines.insert(format!("/dev/mqueue rw,{QUIET} mqueue"));
    }
    let there = |path: &String| Path::new(path).exists();
    let tables = READ_ONLY.map(|name| format!("/proc/{name}"));
    lines.extend(tables.into_iter().filter(there).map(|path| format!("{path} ro,{QUIET} proc")));
    lines.extend(MASKED.map(String::from).into_iter().filter(there).map(|path| format!("{path} ro,{QUIET} tmpfs")));
    let throttle = (0..4096).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    lines.extend(throttle.take_while(there).map(|path| format!("{path} ro,{QUIET} tmpfs")));
    // The cgroup trees are where the host has them.
    for mount in mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap()) {
        let at_home = mount.target == "/sys/fs/cgroup" || mount.target.starts_with("/sys/fs/cgroup/");
        if at_home {
            let access = if mount.fs == "tmpfs" { "rw" } else { "ro" };
            lines.insert(format!("{} {access},{QUIET} {}", mount.target, mount.fs));
        }
    }
    lines
}

fn mount_table() -> Result<(), Failed> {
    let outcome = shell(&["--rootfs", plain().path()], "cat /proc/self/mountinfo");
    let lines = seen(&outcome.out, "");
    let got: BTreeSet<String> = lines.iter().cloned().collect();
    let root = mounts(&outcome.out).iter().filter(|mount| mount.target == "/").count();
    must(root == 1 && got.len() == lines.len(), "one root, and nothing mounted twice", &outcome)?;
    let wanted = table();
    let (more, less): (Vec<_>, Vec<_>) = (got.difference(&wanted).collect(), wanted.difference(&got).collect());
    must(more.is_empty() && less.is_empty(), &format!("more: {more:#?}, less: {less:#?}"), &outcome)
}

fn verbose() -> Result<(), Failed> {
    let scratch = Scratch::new("explain");
    let up = scratch.path("up");
    let options =
        ["--rootfs", plain().path(), "--overlay-upper", &up, "--tmpfs", "/x", "--shm-size", "1m", "-u", "user"];
    let words = |more: &'static str| [&["run", more], &options[..], &["sleep", "600"]].concat();
    let plan = nsctl(&words("--explain"));
    must(plan.code == 0 && !scratch.at("up").exists(), "nothing is made for a plan", &plan)?;
    // It is recorded when it has run for a moment.
    let mut running = spawn(&words("--verbose"));
    life::until("it is recorded, or cannot run", || !nsctl(&["ps", "-q"]).out.is_empty() || !running.runs())?;
    running.signal(libc::SIGTERM);
    let taken = outcome(running);
    must(taken.code == 128 + libc::SIGTERM, "it runs", &taken)?;
    // Its wait and what the reaper does after it closed its end are not announced.
    for line in
        plan.out.lines().filter(|line| !line.contains(" init     close(theirs)") && !line.contains("rt_sigtimedwait"))
    {
        // All of a line but the container's id, which is another one.
        let step = line.get(..24).unwrap_or(line);
        must(taken.err.contains(step), &format!("step {step}"), &taken)?;
    }
    Ok(())
}

/// A container with a mount of each kind.
fn rich_table(scratch: &Scratch) -> Result<String, Failed> {
    let volume = format!("{}:/data:ro", scratch.path("data"));
    let words = [
        "run",
        "--rootfs",
        plain().path(),
        "--read-only",
        "-v",
        &volume,
        "--tmpfs",
        "/scratch:size=1m,mode=1700,uid=7",
        "--device",
        "/dev/null:/dev/nothing",
        "--shm-size",
        "1m",
        "cat",
        "/proc/self/mountinfo",
    ];
    let outcome = nsctl_with(vec![mounted("tmpfs", &scratch.path("data/below"))], &words);
    must(outcome.code == 0, "it runs", &outcome)?;
    Ok(mounts(&outcome.out).into_iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// All of a line but the numbers of mounts and devices.
fn line(mount: Mount) -> String {
    let Mount { root, target, options, spread, fs, source, own } = mount;
    // The directories of an overlay are named by descriptors, whose numbers are those that were free. mount(2) knows no
    // "lowerdir+", which fsconfig(2) has since 6.7: the same option, one directory at a time.
    let own = match fs.as_str() {
        "overlay" => {
            own.replace("lowerdir+=", "lowerdir=").split(',').map(without_number).collect::<Vec<_>>().join(",")
        }
        _ => own,
    };
    format!("{root} {target} {options} {spread} {fs} {source} {own}")
}

fn without_number(word: &str) -> String {
    match word.rsplit_once("/fd/") {
        Some((start, _)) => format!("{start}/fd/N"),
        None => word.to_string(),
    }
}

fn same_table() -> Result<(), Failed> {
    let scratch = Scratch::new("rich");
    scratch.dir("data/below");
    let unmasked = rich_table(&scratch)?;
    for wanted in ["/data/below ro,", "/data ro,", " / ro,", "/scratch rw,", "/proc/sys ro,"] {
        if !unmasked.contains(wanted) {
            return Err(format!("no {wanted} in {unmasked}").into());
        }
    }
    for mask in masked::TREE_MASKS.iter().chain(masked::MASKS) {
        masked::set(Some(*mask));
        let table = rich_table(&scratch);
        masked::set(None);
        let table = table?;
        if table != unmasked {
            let (old, new): (BTreeSet<_>, BTreeSet<_>) = (unmasked.lines().collect(), table.lines().collect());
            let (less, more): (Vec<_>, Vec<_>) = (old.difference(&new).collect(), new.difference(&old).collect());
            return Err(format!("without {mask:?} {less:#?} became {more:#?}").into());
        }
    }
    Ok(())
}
