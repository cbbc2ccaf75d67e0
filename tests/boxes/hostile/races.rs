//! Somebody with a hand in the root exchanges a directory for a link, over and over, while containers start on it.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Canary, Source, files, inside};
use crate::masked;
use crate::nsctl::{Outcome, must, patience};
use crate::root::Root;

/// Exchanges pairs of names in turn (renameat2(2), RENAME_EXCHANGE) until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    fn new(pairs: &[(PathBuf, PathBuf)]) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let c_path = |path: &PathBuf| CString::new(path.as_os_str().as_bytes()).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(one, other)| (c_path(one), c_path(other))).collect();
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    // SAFETY: the paths live through the call.
                    let done = unsafe {
                        let here = libc::AT_FDCWD;
                        libc::syscall(
                            libc::SYS_renameat2,
                            here,
                            one.as_ptr(),
                            here,
                            other.as_ptr(),
                            libc::RENAME_EXCHANGE,
                        )
                    };
                    counted.fetch_add(u64::from(done == 0), Ordering::Relaxed);
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Starts containers, one after the other, until there were this many exchanges, and this many starts or four seconds of them.
pub(super) fn race(
    pairs: &[(PathBuf, PathBuf)],
    starts: u32,
    exchanges: u64,
    start: impl Fn() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let racer = Racer::new(pairs);
    let began = Instant::now();
    let mut started = 0;
    let more = |started| {
        let enough = started >= starts || began.elapsed() > Duration::from_secs(4);
        !enough || racer.count.load(Ordering::Relaxed) < exchanges && began.elapsed() < patience()
    };
    while more(started) {
        start()?;
        started += 1;
    }
    let count = racer.count.load(Ordering::Relaxed);
    print!("{count} exchanges, {started} starts; ");
    if count >= exchanges { Ok(()) } else { Err(format!("only {count} exchanges").into()) }
}

/// It started, or said why not; whatever else it prints.
fn honest(outcome: &Outcome) -> Result<(), Failed> {
    let right = [0, 125].contains(&outcome.code) && (outcome.code == 0 || !outcome.err.is_empty());
    must(right, "it starts or is refused", outcome)
}

fn host_sees(source: &Source) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(source.path())
}

const WAYS: &[Option<(&str, &str)>] =
    &[None, Some(("openat2", "ENOSYS")), Some(("openat2", "EPERM")), Some(("mounts", "ENOSYS"))];

/// The mount is in the container, or there is no container.
fn mounted_inside(outcome: &Outcome, source: &Source, canary: &Canary) -> Result<(), Failed> {
    honest(outcome)?;
    let name = Path::new(source.path()).file_name().unwrap().to_string_lossy().into_owned();
    let there =
        outcome.out.lines().filter(|line| line.split(' ').nth(3).is_some_and(|root| root.ends_with(&name))).count();
    must(outcome.code == 125 || there == 1, "the mount is inside", outcome)?;
    must(!host_sees(source), "the host does not see the mount", outcome)?;
    canary.check()
}

pub(super) fn mount_destination() -> Result<(), Failed> {
    for way in WAYS {
        masked::set(*way);
        let canary = Canary::new("destination");
        let source = Source::new("destination");
        // A directory of the root, for an absolute link to the canary, which has what is looked for.
        let root = Root::plain("destination").dir("a/sub").symlink(canary.path(), "l");
        let options = ["--rw", "-v", &source.to("/a/sub")];
        race(&[(root.at("a"), root.at("l"))], 25, 1000, || {
            mounted_inside(&inside(&root, &options, "cat /proc/self/mountinfo"), &source, &canary)
        })?;
        // The last component, which is a file or is not there, for one with many "..".
        let root = Root::plain("destination").dir("a/b").symlink(&canary.relative(), "a/l").file("a/f", "");
        let one = format!("{}/marker:/a/f", source.path());
        let pairs = [(root.at("a/b"), root.at("a/l")), (root.at("a/f"), root.at("a/l"))];
        race(&pairs, 25, 1000, || {
            let outcome = inside(&root, &["--rw", "-v", &source.to("/a/b/c"), "-v", &one], "true");
            honest(&outcome)?;
            must(!host_sees(&source), "the host does not see the mount", &outcome)?;
            canary.check()
        })?;
        // A volume that both have, and a mount in it.
        let shared = Source::new("shared");
        fs::create_dir_all(shared.0.join("x/sub"))?;
        std::os::unix::fs::symlink(canary.path(), shared.0.join("l"))?;
        let root = Root::plain("destination");
        race(&[(shared.0.join("x"), shared.0.join("l"))], 25, 1000, || {
            let outcome =
                inside(&root, &["-v", &shared.to("/v"), "-v", &source.to("/v/x/sub")], "cat /proc/self/mountinfo");
            mounted_inside(&outcome, &source, &canary)
        })?;
        // A directory that leaves the root and comes back, with ".." behind it.
        let outside = Source::new("outside");
        fs::create_dir_all(outside.0.join("d/e"))?;
        let up = format!("../../..{}", canary.path());
        let root = Root::plain("destination").dir("d/e").symlink(&up, "d/e/up");
        std::os::unix::fs::symlink(&up, outside.0.join("d/e/up"))?;
        race(&[(root.at("d"), outside.0.join("d"))], 25, 1000, || {
            let outcome = inside(
                &root,
                &["--rw", "-v", &source.to("/d/e/up/new"), "-w", "/d/e/up/dir"],
                "cat /proc/self/mountinfo",
            );
            mounted_inside(&outcome, &source, &canary)
        })?;
        masked::set(None);
    }
    Ok(())
}

/// Directories are made only inside.
pub(super) fn mkdir() -> Result<(), Failed> {
    for way in WAYS {
        masked::set(*way);
        let canary = Canary::new("mkdir");
        let source = Source::new("mkdir");
        let root = Root::plain("mkdir")
            .dir("a/b")
            .symlink(canary.path(), "l")
            .symlink(&format!("{}/empty", canary.relative()), "a/l");
        let pairs = [(root.at("a"), root.at("l")), (root.at("a/b"), root.at("a/l"))];
        // In one step, too: what is missing is only the last.
        let (volume, one) = (source.to("/a/b/made/volume"), source.to("/a/one"));
        let options = ["--rw", "-w", "/a/b/made/work", "-v", &volume, "-v", &one, "--tmpfs", "/a/made/tmpfs"];
        race(&pairs, 30, 2000, || {
            let outcome = inside(&root, &options, "pwd");
            honest(&outcome)?;
            must(outcome.code == 125 || outcome.out.starts_with('/'), "the directory is in the root", &outcome)?;
            canary.check()
        })?;
        masked::set(None);
    }
    Ok(())
}

/// The changes' directory becomes a link to somebody else's.
pub(super) fn upper_swapped() -> Result<(), Failed> {
    for way in &WAYS[..1] {
        masked::set(*way);
        let canary = Canary::new("upper");
        let dir = Source::new("upper");
        let root = Root::plain("upper");
        for name in ["up", "up.work"] {
            fs::create_dir(dir.0.join(name))?;
            std::os::unix::fs::symlink(canary.path(), dir.0.join(format!("{name}-link")))?;
        }
        // A second directory, not a link: it is not the one that was looked at.
        fs::create_dir(dir.0.join("other"))?;
        let upper = format!("{}/up", dir.path());
        let start = || {
            let outcome = inside(&root, &["--overlay-upper", &upper], "echo x > /changed; echo started");
            if outcome.err.contains("no overlayfs") {
                return Ok(());
            }
            honest(&outcome)?;
            canary.check()
        };
        let at = |name: &str| dir.0.join(name);
        race(&[(at("up"), at("up-link"))], 25, 1000, start)?;
        race(&[(at("up.work"), at("up.work-link"))], 25, 1000, start)?;
        race(&[(at("up"), at("up-link")), (at("up.work"), at("up.work-link"))], 25, 1000, start)?;
        race(&[(at("up"), at("other"))], 50, 1000, start)?;
        masked::set(None);
        // At rest, a link is refused.
        fs::create_dir(at("still"))?;
        std::os::unix::fs::symlink(canary.path(), at("still.work"))?;
        std::os::unix::fs::symlink(canary.path(), at("still-link"))?;
        for name in ["still", "still-link"] {
            let upper = format!("{}/{name}", dir.path());
            let outcome = inside(&root, &["--overlay-upper", &upper], "echo started");
            let absent = outcome.err.contains("no overlayfs");
            must(outcome.code == 125 || absent, &format!("{name} with a link is refused"), &outcome)?;
        }
        canary.check()?;
    }
    Ok(())
}

/// /dev/null comes and goes, and is a link to what would be written then; so is all of /dev.
pub(super) fn masks() -> Result<(), Failed> {
    for way in WAYS {
        masked::set(*way);
        let canary = Canary::new("masks-race");
        let root = Root::plain("masks-race")
            .file("dev/null", "")
            .symlink("/proc/sys/kernel/core_pattern", "dev/l")
            .dir("other/null")
            .symlink(canary.path(), "link");
        let pairs = [
            (root.at("dev/null"), root.at("dev/l")),
            (root.at("dev"), root.at("other")),
            (root.at("dev"), root.at("link")),
        ];
        race(&pairs, 20, 2000, || {
            let outcome = inside(&root, &["--rw"], files::MASKS);
            honest(&outcome)?;
            // Where /dev was exchanged after it was mounted, the container's own shell has no /dev/null to write to.
            let loud = outcome.out.lines().any(|line| line != "done");
            must(!loud, "every mask is there", &outcome)?;
            canary.check()
        })?;
        // So does /proc, under which they are put. What is looked at is what was /proc at one moment.
        let script = "cd /proc; test ! -e self/stat || { cat interrupts timer_list keys | head -c 1;
            ! (: >> sysrq-trigger) 2>/dev/null || echo written; }";
        let root = Root::plain("masks-race").symlink("/tmp", "l");
        race(&[(root.at("proc"), root.at("l"))], 20, 1000, || {
            let outcome = inside(&root, &["--rw"], script);
            honest(&outcome)?;
            must(outcome.out.is_empty(), "every mask is on the kernel's own", &outcome)
        })?;
        masked::set(None);
    }
    Ok(())
}

const TTL: &str = "/proc/sys/net/ipv4/ip_default_ttl";

/// Two containers share a root and a volume. One has /proc come and go, as a link to files of its own that are named like settings,
/// and mounts over its own; the other sets one.
pub(super) fn sysctl() -> Result<(), Failed> {
    let host = fs::read_to_string(TTL)?;
    for way in WAYS {
        masked::set(*way);
        let canary = Canary::new("sysctl");
        let volume = Source::new("sysctl");
        let fake = volume.0.join("sys/net/ipv4/ip_default_ttl");
        fs::create_dir_all(fake.parent().unwrap())?;
        fs::write(&fake, "fake\n")?;
        let score = volume.0.join("self/oom_score_adj");
        fs::create_dir_all(score.parent().unwrap())?;
        fs::write(&score, "fake\n")?;
        let root = Root::plain("sysctl").symlink("/v", "l").symlink("/v", "k").symlink(canary.path(), "c").dir("v");
        let pairs =
            [(root.at("proc"), root.at("l")), (root.at("sys"), root.at("k")), (root.at("proc"), root.at("c"))];
        let share = volume.to("/v");
        // The neighbour mounts over all that it can reach, for as long as it is let.
        let script = "i=0; while test $i -lt 400; do mount -t tmpfs x /v; mount -o bind /v /proc; umount /proc; umount /v; i=$((i + 1)); done 2>/dev/null";
        let mut args = vec!["run", "--rootfs", root.path(), "--rw", "-v", &share, "--", "/bin/sh", "-c", script];
        let neighbour = crate::nsctl::spawn(&args);
        args.clear();
        let options = ["--rw", "-v", &share, "--net", "private", "--sysctl", "net.ipv4.ip_default_ttl=77"];
        let options = [&options[..], &["--oom-score-adj", "777"]].concat();
        let done = race(&pairs, 30, 2000, || {
            let outcome = inside(&root, &options, &format!("cat {TTL}"));
            let right = [0, 1, 125].contains(&outcome.code) && ["77\n", "fake\n", ""].contains(&outcome.out.as_str());
            must(right, "its own setting, or none to be seen", &outcome)?;
            must(fs::read_to_string(TTL)? == host, "the host's setting stays", &outcome)?;
            for file in [&fake, &score] {
                must(fs::read_to_string(file)? == "fake\n", "the neighbour's file is not written", &outcome)?;
            }
            canary.check()
        });
        drop(neighbour);
        masked::set(None);
        crate::cases::settle_state();
        done?;
    }
    Ok(())
}
