//! nsctl is killed, at any moment: the container ends, and nothing is left.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, plain};
use crate::images::images;
use crate::leaks::Snapshot;
use crate::limits::Above;
use crate::nsctl::{binary, must, nsctl, own, patience, shell, spawn, state};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_killed_nsctl_leaves_nothing_at_100_moments", killed_at_100_moments),
    ("a_killed_nsctl_ends_only_its_own_in_the_hosts_pid_namespace", killed_in_host_pid),
    ("a_killed_nsctl_leaves_no_group_elsewhere", killed_elsewhere),
    ("a_killed_nsctl_without_init_leaves_nothing_after_ps", killed_without_init),
];

/// With a root of their own.
pub(crate) const ROOTED: &[(&str, Case)] = &[
    ("a_killed_nsctl_leaves_nothing_of_a_root", killed_with_root),
    ("a_killed_nsctl_leaves_nothing_of_an_upper", killed_with_upper),
    ("a_killed_nsctl_leaves_nothing_of_an_image", killed_with_image),
];

fn killed_with_root() -> Result<(), Failed> {
    killed_with("34", &["--rootfs", plain().path(), "--name", "root", "-m", "64m"])
}

fn killed_with_upper() -> Result<(), Failed> {
    let scratch = Scratch::new("killed");
    let up = scratch.path("up");
    let options = ["--rootfs", plain().path(), "--overlay-upper", &up];
    killed_with("35", &options)?;
    let outcome = shell(&options, "echo x > /kept && cat /kept");
    must(outcome.out == "x\n", "it can be used again", &outcome)
}

/// Their loop devices are in the snapshot.
fn killed_with_image() -> Result<(), Failed> {
    for image in images().values() {
        killed_with("36", &["--image", image])?;
    }
    Ok(())
}

/// At 100 moments, from before the first step to when the command runs.
fn killed_with(kind: &str, options: &[&str]) -> Result<(), Failed> {
    let before = Snapshot::take();
    for moment in 0..100u64 {
        let mark = format!("{kind}{moment:03}.5");
        let child = spawn(&[&["run"], options, &["--", "sleep", &mark]].concat());
        std::thread::sleep(Duration::from_micros(moment * 150));
        drop(child);
        gone(&mark).map_err(|text| format!("moment {moment}: {text}"))?;
    }
    settle(&before)
}

/// Moments from 0 to 5 ms after the start, which is from before the first step to well into the container's life.
fn killed_at_100_moments() -> Result<(), Failed> {
    let before = Snapshot::take();
    for moment in 0..100u64 {
        let mark = format!("31{moment:03}.5");
        let child = spawn(&["run", "-m", "64m", "--pids-limit", "20", "--", "sleep", &mark]);
        std::thread::sleep(Duration::from_micros(moment * 50));
        drop(child);
        gone(&mark).map_err(|text| format!("moment {moment}: {text}"))?;
    }
    // A moment between two steps can leave what only the next command finds.
    settle(&before)
}

/// When it has made its groups, and before anything that would clear up after it.
fn killed_elsewhere() -> Result<(), Failed> {
    let (above, name) = Above::new(&["memory"]);
    let before = Snapshot::take();
    let groups = ["--cgroup-parent", &name, "-m", "64m", "--", "true"];
    for words in [&["run"][..], &["run", "--name", "elsewhere"]] {
        let mut killed = std::process::Command::new(own());
        killed.args(["masked", "clone3", "KILL", &binary()]).args(words).args(groups).env("NSCTL_ROOT", state());
        let killed = killed.stdin(std::process::Stdio::null()).output()?.status;
        if killed.signal() != Some(libc::SIGSYS) || above.is_empty() {
            return Err(format!("{words:?}: {killed}, and it left nothing").into());
        }
        settle(&before)?;
        must(above.is_empty(), "no group is left", &nsctl(&["ps", "-a"]))?;
    }
    killed_with("37", &groups[..4])?;
    must(above.is_empty(), "no group is left", &nsctl(&["ps", "-a"]))
}

/// Without a PID namespace of its own, nothing of nsctl may say kill(-1): the bystander lives on.
fn killed_in_host_pid() -> Result<(), Failed> {
    let before = Snapshot::take();
    let mut bystander = std::process::Command::new("sleep").arg("6000").spawn()?;
    let done = (0..50u64).try_for_each(|moment| {
        let mark = format!("33{moment:03}.5");
        let child = spawn(&["run", "--pid", "host", "--name", "host", "--", "sleep", &mark]);
        std::thread::sleep(Duration::from_micros(moment * 60));
        drop(child);
        gone(&mark).map_err(|text| format!("moment {moment}: {text}"))
    });
    let alive = bystander.try_wait()?.is_none();
    bystander.kill()?;
    bystander.wait()?;
    done?;
    if !alive {
        return Err("the bystander was killed".into());
    }
    settle(&before)
}

fn killed_without_init() -> Result<(), Failed> {
    let before = Snapshot::take();
    for moment in 0..20u64 {
        let mark = format!("32{moment:03}.5");
        let child = spawn(&["run", "--no-init", "--name", "same", "-m", "64m", "--", "sleep", &mark]);
        std::thread::sleep(Duration::from_micros(moment * 250));
        drop(child);
        gone(&mark).map_err(|text| format!("moment {moment}: {text}"))?;
    }
    settle(&before)?;
    let outcome = nsctl(&["run", "--name", "same", "--", "true"]);
    must(outcome.code == 0, "the name is free again", &outcome)
}

/// Waits until nobody runs `sleep MARK` any more.
fn gone(mark: &str) -> Result<(), String> {
    let end = Instant::now() + patience();
    loop {
        let alive = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(mark))
        });
        if !alive {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("sleep {mark} is still there"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `ps` lists none and clears up; a directory without a record is given two seconds in case it is being made. Who is about to be gone
/// has no words any more, and for a moment its lock.
fn settle(before: &Snapshot) -> Result<(), Failed> {
    let end = Instant::now() + patience();
    loop {
        let outcome = nsctl(&["ps", "-q"]);
        let ghosts = must(outcome.code == 0 && outcome.out.is_empty(), "ps lists no ghost", &outcome);
        match ghosts.and_then(|()| before.compare_now()) {
            Ok(()) => return Ok(()),
            Err(left) if Instant::now() > end => return Err(left),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
