//! --restart, and what is left of an end for want of memory.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Kept, refused, says, until};
use crate::Case;
use crate::nsctl::{must, nsctl, own};
use crate::root::Root;

pub(super) const CASES: &[(&str, Case)] = &[
    ("restart_policies_with_their_waits", policies),
    ("a_restarting_one_can_be_stopped_and_removed", restarting),
    ("stop_and_kill_are_no_reason_to_start_again", stopped),
    ("what_cannot_be_executed_is_not_started_again", not_executable),
    ("a_delegated_group_is_as_new_at_a_restart", delegated),
    ("an_end_for_want_of_memory_is_told", memory),
];

fn restarts(kept: &Kept) -> u32 {
    let json = kept.inspected();
    let number = json.split("\"restarts\":").nth(1).and_then(|rest| rest.split(['}', ',']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(9999)
}

fn policies() -> Result<(), Failed> {
    // Three more tries: 100, 200 and 400 ms after the ends.
    let begun = Instant::now();
    let kept = Kept::shell(&["--name", "p", "--restart", "on-failure:3"], "echo try; exit 6")?;
    says(&["wait", "p"], 0, "6\n")?;
    let took = begun.elapsed();
    says(&["logs", "p"], 0, &"try\n".repeat(4))?;
    must(took >= Duration::from_millis(700), &format!("the waits grow: {took:?}"), &nsctl(&["ps", "-a"]))?;
    assert_eq!((restarts(&kept), kept.shown("state")), (3, "exited (6)".to_string()));
    drop(kept);
    // Until it ends well.
    let script = "test -e /tmp/$0-2 && exit 0; test -e /tmp/$0-1 && touch /tmp/$0-2; touch /tmp/$0-1; exit 1";
    let root = crate::host::plain();
    for policy in ["on-failure", "on-failure:9", "on-failure:0"] {
        let words = [
            "-d",
            "--name",
            "p",
            "--rootfs",
            root.path(),
            "--tmpfs",
            "/tmp",
            "--restart",
            policy,
            "--",
            "sh",
            "-c",
            script,
            "m",
        ];
        let kept = Kept::made("run", &words)?;
        says(&["wait", "p"], 0, "0\n")?;
        assert_eq!(restarts(&kept), 2, "{policy}");
        assert!(kept.inspected().contains(&format!("\"restart\":\"{}\"", policy.trim_end_matches(":0"))));
    }
    for policy in ["no", "on-failure:2"] {
        let kept = Kept::shell(&["--name", "p", "--restart", policy], "exit 0")?;
        says(&["wait", "p"], 0, "0\n")?;
        assert_eq!(restarts(&kept), 0, "{policy}");
    }
    // By signal counts as failure.
    let kept = Kept::shell(&["--name", "p", "--restart", "on-failure:1"], "kill -9 $$")?;
    says(&["wait", "p"], 0, "137\n")?;
    assert_eq!(restarts(&kept), 1);
    drop(kept);
    for policy in ["always", "unless-stopped"] {
        let kept = Kept::shell(&["--name", "p", "--restart", policy], "echo again; exit 0")?;
        kept.said("again\nagain\nagain\n")?;
        must(kept.shown("state") != "exited (0)", "it goes on", &nsctl(&["ps", "-a"]))?;
    }
    Ok(())
}

fn restarting() -> Result<(), Failed> {
    let waits = |name: &str| -> Result<Kept, Failed> {
        let kept = Kept::shell(&["--name", name, "--restart", "always"], "exit 8")?;
        // The wait is 800 ms by then.
        until("it restarts", || restarts(&kept) >= 4 && kept.shown("state") == "restarting (8)")?;
        Ok(kept)
    };
    let kept = waits("r")?;
    let begun = Instant::now();
    says(&["stop", "r"], 0, "r\n")?;
    must(begun.elapsed() < Duration::from_secs(9), "at once", &nsctl(&["ps", "-a"]))?;
    assert_eq!(kept.shown("state"), "exited (8)");
    says(&["wait", "r"], 0, "8\n")?;
    let count = restarts(&kept);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((restarts(&kept), kept.shown("state")), (count, "exited (8)".to_string()));
    // It restarts as before when it is started.
    says(&["start", "r"], 0, "r\n")?;
    until("it restarts", || restarts(&kept) >= 2)?;
    drop(kept);
    let kept = waits("r")?;
    says(&["rm", "-f", "r"], 0, "r\n")?;
    assert_eq!(kept.shown("state"), "nothing");
    let kept = waits("r")?;
    says(&["restart", "r"], 0, "r\n")?;
    until("it runs on", || restarts(&kept) >= 1)?;
    // At any moment of its waits and starts.
    for moment in 0..40u64 {
        let kept = Kept::shell(&["--name", "any", "--restart", "always"], "exit 1")?;
        std::thread::sleep(Duration::from_millis(80 + moment));
        says(&["stop", "any"], 0, "any\n")?;
        let state = kept.shown("state");
        must(state.starts_with("exited ("), &format!("moment {moment}: {state}"), &nsctl(&["ps", "-a"]))?;
    }
    Ok(())
}

fn stopped() -> Result<(), Failed> {
    for words in [&["stop", "-t", "60", "s"][..], &["kill", "s"]] {
        let kept = Kept::shell(&["--name", "s", "--restart", "always"], "exec sleep 60")?;
        says(words, 0, "s\n")?;
        let waited = nsctl(&["wait", "s"]);
        must(waited.out == if words[0] == "kill" { "137\n" } else { "143\n" }, "it has ended", &waited)?;
        std::thread::sleep(Duration::from_millis(300));
        must(kept.shown("state").starts_with("exited"), "and stays so", &nsctl(&["ps", "-a"]))?;
    }
    // Another signal is an end like any other.
    let kept = Kept::shell(&["--name", "s", "--restart", "always"], "exec sleep 60")?;
    says(&["kill", "-s", "TERM", "s"], 0, "s\n")?;
    until("it is there again", || restarts(&kept) == 1 && kept.shown("state") == "running")
}

/// Neither at its first start nor at a later one.
fn not_executable() -> Result<(), Failed> {
    for (program, code) in [("/no/such", 127), ("/", 126)] {
        let kept = Kept::made("create", &["--name", "p", "--restart", "always", "--", program])?;
        refused(&["start", "p"], 1, program)?;
        says(&["wait", "p"], 0, &format!("{code}\n"))?;
        assert_eq!((restarts(&kept), kept.shown("state")), (0, format!("exited ({code})")));
        assert!(kept.inspected().contains(r#""cause":"not-started","started_at":null"#), "{}", kept.inspected());
        // A second start is no other.
        refused(&["start", "p"], 1, program)?;
        assert_eq!((restarts(&kept), kept.shown("state")), (0, format!("exited ({code})")));
    }
    let root = Root::plain("once").script("once", "#!/bin/sh\necho once; rm /once; exit 1\n");
    let kept = Kept::made(
        "run",
        &["-d", "--name", "p", "--rootfs", root.path(), "--rw", "--restart", "always", "--", "/once"],
    )?;
    says(&["wait", "p"], 0, "127\n")?;
    says(&["logs", "p"], 0, "once\n")?;
    assert_eq!((restarts(&kept), kept.shown("state")), (1, "exited (127)".to_string()));
    Ok(())
}

/// The command makes groups and hands controllers on, after which no process may be in the group itself.
fn delegated() -> Result<(), Failed> {
    let script = "c=/sys/fs/cgroup; test -e $c/cgroup.controllers || c=$c/unified; \
        echo $(cd $c; ls -d */) [$(cat $c/cgroup.subtree_control)]; mkdir -p $c/a/b; rmdir $c/payload/x 2>/dev/null; mkdir $c/payload/x; \
        for x in $(cat $c/cgroup.controllers); do echo +$x >$c/cgroup.subtree_control; done; cat $c/cgroup.subtree_control >&2; exit 1";
    let options = ["--name", "d", "-m", "64m", "--cgroup-delegate", "--restart", "on-failure:2"];
    let _kept = Kept::shell(&options, script)?;
    says(&["wait", "d"], 0, "1\n")?;
    let logged = says(&["logs", "d"], 0, &"payload/ []\n".repeat(3))?;
    let handed_on = logged.err.matches("memory").count() == 3;
    must(handed_on || !std::fs::exists("/sys/fs/cgroup/cgroup.controllers")?, "it hands controllers on", &logged)
}

fn memory() -> Result<(), Failed> {
    let own = own();
    let hog = ["-d", "--name", "m", "-m", "32m", "--", &own, "probe", "hog", "200"];
    let kept = Kept::made("run", &hog)?;
    says(&["wait", "m"], 0, "137\n")?;
    let json = kept.inspected();
    must(json.contains(r#""oom_killed":true,"cause":"oom""#), &json, &nsctl(&["ps", "-a"]))?;
    drop(kept);
    // Of two ends, the second is told as it was.
    let script = format!("test -e /tmp/once && exit 3; touch /tmp/once; exec {own} probe hog 200");
    let scratch = crate::host::Scratch::new("once");
    let tmp = scratch.dir("tmp");
    let volume = format!("{tmp}:/mnt");
    let script = script.replace("/tmp/once", "/mnt/once");
    let kept = Kept::shell(&["--name", "m", "-m", "32m", "-v", &volume, "--restart", "on-failure:1"], &script)?;
    says(&["wait", "m"], 0, "3\n")?;
    let json = kept.inspected();
    must(
        json.contains(r#""exit_code":3,"signal":null,"oom_killed":false,"cause":null"#),
        &json,
        &nsctl(&["ps", "-a"]),
    )
}
