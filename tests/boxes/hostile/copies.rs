//! A container that exchanges a directory for a link to the host's files while files are copied out of it and into it.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use super::races::race;
use super::{Canary, SECRET};
use crate::copies::{Place, cp};
use crate::masked;
use crate::nsctl::{Outcome, binary, must, state};
use crate::root::Root;
use crate::verbs::Box;

const WAYS: &[Option<(&str, &str)>] = &[None, Some(("openat2", "ENOSYS"))];

pub(super) fn links() -> Result<(), Failed> {
    for way in WAYS {
        let canary = Canary::new("copies");
        let relative = canary.relative();
        // The directory that is exchanged has the same names in it as the canary.
        let root = Root::plain("copies").dir("a/sub").file("a/secret", "inner").file("a/sub/file", "inner");
        let root = root.symlink(canary.path(), "l").symlink(&relative, "k");
        let container = Box::new("racing", &["--rootfs", root.path(), "--rw"], "sleep 600; true");
        let place = Place::new("racing");
        fs::create_dir_all(place.0.join("in/sub"))?;
        fs::write(place.0.join("in/secret"), "changed")?;
        fs::write(place.0.join("in/sub/file"), "changed")?;
        let (inside, file, out) = (place.path("in/."), place.path("in/secret"), place.path("out"));
        masked::set(*way);
        let pairs = [(root.at("a"), root.at("l")), (root.at("a"), root.at("k"))];
        let done = race(&pairs, 20, 2000, || {
            for args in [
                [&file, "racing:/a/secret"],
                [&file, "racing:/a/empty/new"],
                [&inside, "racing:/a"],
                ["racing:/a/secret", &out],
                ["racing:/a", &out],
                ["racing:/a/.", &out],
            ] {
                honest(&cp(&args))?;
                stranger(&place)?;
                honest(&cp(&["-a", "-L", args[0], args[1]]))?;
                stranger(&place)?;
            }
            honest(&piped(&place)?)?;
            canary.check()
        });
        masked::set(None);
        container.end();
        done?;
    }
    Ok(())
}

fn honest(outcome: &Outcome) -> Result<(), Failed> {
    let right = [0, 1].contains(&outcome.code) && (outcome.code == 0 || !outcome.err.is_empty());
    must(right && !outcome.out.contains(SECRET.trim()), "it copies or says why not", outcome)
}

/// What came out is never the host's, and is removed again.
fn stranger(place: &Place) -> Result<(), Failed> {
    // A link that was copied as a link is none of the host's files.
    let args = [&place.path("out"), "-type", "f", "-exec", "grep", "-l", SECRET.trim(), "{}", ";"];
    let found = Command::new("find").args(args).stdin(Stdio::null()).output()?;
    crate::root::remove(&place.0.join("out"));
    let _ = fs::remove_file(place.0.join("out"));
    if found.stdout.is_empty() { Ok(()) } else { Err("the host's secret was copied".into()) }
}

/// An archive into it, and one out of it.
fn piped(place: &Place) -> Result<Outcome, Failed> {
    let script = format!(
        "cd {}; tar c --transform 's,^in,a,' in | {n} cp - racing:/; {n} cp racing:/a - | tr -d '\\0'",
        place.path(""),
        n = binary()
    );
    let output = Command::new("sh").args(["-c", &script]).env("NSCTL_ROOT", state()).output()?;
    Ok(Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What a container mounts over one of its files is written as a file, and not if it is one of the kernel's that act.
pub(super) fn kernel_files() -> Result<(), Failed> {
    let root = Root::plain("kernel-files").file("f", "").dir("d");
    let host = fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    let share = "/proc/sys/kernel/core_pattern:/f";
    let container = Box::new("racing", &["--rootfs", root.path(), "--rw", "-v", share], "sleep 600; true");
    let place = Place::new("kernel-files");
    // The same, so that a failure of this test does no harm.
    fs::write(place.0.join("f"), &host)?;
    let out = cp(&[&place.path("f"), "racing:/f"]);
    must(out.code == 1 && out.err.contains("EBUSY"), "it is not written", &out)?;
    container.end();
    Ok(())
}

/// Tools of the container's own are not what tells about it.
pub(super) fn tools() -> Result<(), Failed> {
    let root = Root::plain("tools");
    fs::remove_file(root.at("bin/ps"))?;
    let root = root.script("bin/ps", "#!/bin/sh\necho run >> /tmp/marker\n");
    let root = root.script("bin/nsenter", "#!/bin/sh\necho run >> /tmp/marker\n");
    let container = Box::new("tools", &["--rootfs", root.path(), "--rw"], "sleep 730; true");
    // The command has to come to it first.
    let mut top = None;
    crate::life::until("the command has come to it", || {
        let listed = crate::nsctl::nsctl(&["top", "tools"]);
        top.insert(listed).out.contains("sleep 730")
    })?;
    let stats = crate::nsctl::nsctl(&["stats", "--no-stream", "tools"]);
    container.end();
    let top = top.ok_or("no top")?;
    must(top.code == 0, "top", &top)?;
    must(stats.code == 0 && !root.at("tmp/marker").exists(), "nothing of it ran", &stats)
}
