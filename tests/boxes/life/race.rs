//! Several at once.

use std::time::Duration;

use libtest_mimic::Failed;

use super::{Kept, says, until};
use crate::Case;
use crate::nsctl::{must, nsctl, outcome, spawn};

pub(super) const CASES: &[(&str, Case)] = &[
    ("two_starts_at_once_start_once", starts),
    ("two_removals_at_once_remove_once", removals),
    ("rm_force_against_start_leaves_one_or_nothing", remove_and_start),
    ("looking_is_in_nobodys_way", looking),
    ("one_name_for_one_of_many_at_once", one_name),
    ("stop_against_start", stop_and_start),
    ("a_name_that_was_given_up_is_anothers", name_of_another),
    ("rename_against_restart_leaves_a_container_that_can_be_reached", rename_and_restart),
    ("exec_against_the_end_says_that_it_has_ended", exec_and_end),
];

fn starts() -> Result<(), Failed> {
    for round in 0..20 {
        let kept = Kept::made("create", &["--name", "two", "--", "sh", "-c", "echo once; sleep 600"])?;
        if round % 2 == 1 {
            says(&["stop", "two"], 0, "two\n")?;
        }
        let both: Vec<_> = (0..3).map(|_| spawn(&["start", "two"])).collect();
        for one in both {
            let started = outcome(one);
            // Who comes when another one is at it is told so.
            let right = started.code == 0 && started.out == "two\n"
                || started.err.contains("is being started or removed by somebody else");
            must(right, &format!("round {round}: one of three"), &started)?;
        }
        kept.said("once")?;
        says(&["logs", "two"], 0, "once\n")?;
        must(kept.shown("state") == "running", "it runs", &nsctl(&["ps", "-a"]))?;
    }
    Ok(())
}

fn removals() -> Result<(), Failed> {
    for round in 0..20 {
        let script = if round % 2 == 0 { "true" } else { "sleep 600" };
        let kept = Kept::shell(&["--name", "two"], script)?;
        if round % 2 == 0 {
            says(&["wait", "two"], 0, "0\n")?;
        }
        let both: Vec<_> = (0..3).map(|_| spawn(&["rm", "-f", "two"])).collect();
        for one in both {
            let removed = outcome(one);
            must(removed.code == 0, &format!("round {round}: one of three"), &removed)?;
        }
        must(kept.shown("state") == "nothing", "it is gone", &nsctl(&["ps", "-a"]))?;
        std::mem::forget(kept);
    }
    Ok(())
}

fn remove_and_start() -> Result<(), Failed> {
    for round in 0..40u64 {
        let kept = Kept::made("create", &["--name", "both", "--", "sleep", "600"])?;
        if round % 2 == 1 {
            says(&["stop", "both"], 0, "both\n")?;
        }
        let starting = spawn(&["start", "both"]);
        std::thread::sleep(Duration::from_micros(round * 150));
        let removed = nsctl(&["rm", "-f", "both"]);
        must(removed.code == 0, &format!("round {round}: removed"), &removed)?;
        let started = outcome(starting);
        must(started.code == 0 || !started.err.is_empty(), "started, or told why not", &started)?;
        let state = kept.shown("state");
        must(
            state == "nothing",
            &format!("round {round}: {state} after {}{}", started.out, started.err),
            &nsctl(&["ps", "-a"]),
        )?;
        std::mem::forget(kept);
    }
    Ok(())
}

/// ps and inspect lock for a moment what has ended: that is no reason for others to fail.
fn looking() -> Result<(), Failed> {
    let scratch = crate::host::Scratch::new("looking");
    let on = scratch.file("on", "");
    let text = format!("while test -e {on}; do \"$@\" ps -a; \"$@\" inspect look; done >/dev/null 2>&1");
    let lookers: Vec<_> =
        (0..3).map(|_| crate::nsctl::Running::start(&mut crate::host::script(&text, &[]))).collect();
    let done = (0..30).try_for_each(|round| {
        let kept = Kept::shell(&["--name", "look"], "true")?;
        for (words, out) in [
            (["wait", "look"], "0\n"),
            (["start", "look"], "look\n"),
            (["wait", "look"], "0\n"),
            (["rm", "look"], "look\n"),
        ] {
            let outcome = nsctl(&words);
            must(outcome.code == 0 && outcome.out == out, &format!("round {round}: {words:?}"), &outcome)?;
        }
        std::mem::forget(kept);
        Ok(())
    });
    // They end when they are through with what they are at.
    std::fs::remove_file(on)?;
    lookers.into_iter().map(outcome).for_each(drop);
    done
}

fn one_name() -> Result<(), Failed> {
    let many: Vec<_> = (0..8).map(|_| spawn(&["run", "-d", "--name", "one", "--", "sleep", "600"])).collect();
    let ended: Vec<_> = many.into_iter().map(outcome).collect();
    let won = ended.iter().filter(|one| one.code == 0).count();
    let told = ended.iter().filter(|one| one.code == 125 && one.err.contains("has the name one already")).count();
    let kept = Kept("one".into());
    must(won == 1 && told == 7, &format!("{won} have it, {told} were told so"), &nsctl(&["ps", "-a"]))?;
    says(&["ps", "--format", "name,state"], 0, "one\trunning\n")?;
    drop(kept);
    Ok(())
}

fn stop_and_start() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "both", "--restart", "always"], "sleep 600")?;
    for round in 0..20u64 {
        let starting = spawn(&["start", "both"]);
        std::thread::sleep(Duration::from_micros(round * 200));
        let stopped = nsctl(&["stop", "both"]);
        must(stopped.code == 0, &format!("round {round}"), &stopped)?;
        let started = outcome(starting);
        must(started.code == 0 || !started.err.is_empty(), "started, or told why not", &started)?;
        says(&["stop", "both"], 0, "both\n")?;
        until("it has ended", || kept.shown("state").starts_with("exited"))?;
    }
    Ok(())
}

/// Renamed, it ends without taking along the name that it had.
fn name_of_another() -> Result<(), Failed> {
    for options in [&["--rm"][..], &[]] {
        let first = Kept::shell(&[options, &["--name", "name-1"]].concat(), "sleep 600")?;
        says(&["rename", "name-1", "name-2"], 0, "")?;
        let second = Kept::shell(&["--name", "name-1"], "sleep 600")?;
        says(&["stop", "-t", "0", "name-2"], 0, "name-2\n")?;
        if options.is_empty() {
            says(&["rm", "name-2"], 0, "name-2\n")?;
        }
        says(&["exec", "name-1", "echo", "here"], 0, "here\n")?;
        must(second.shown("name") == "name-1", "its name", &nsctl(&["ps", "-a"]))?;
        must(first.shown("name") == "nothing", "the other is gone", &nsctl(&["ps", "-a"]))?;
        std::mem::forget(first);
    }
    Ok(())
}

/// Whoever writes its record last does not bring back an older pid, nor mixes two files.
fn rename_and_restart() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "turn-0"], "trap 'exit 0' TERM; while :; do sleep 0.01; done")?;
    for round in 0..20 {
        let restart = spawn(&["restart", "-t", "0", kept.id()]);
        for name in ["turn-1", "turn-0", "turn-1", "turn-0"] {
            let renamed = nsctl(&["rename", kept.id(), name]);
            must(renamed.code == 0 || renamed.code == 1, "renamed, or late", &renamed)?;
        }
        let restarted = outcome(restart);
        must(restarted.code == 0, &format!("round {round}: restarted"), &restarted)?;
        says(&["exec", kept.id(), "echo", "here"], 0, "here\n")?;
    }
    says(&["stop", "-t", "0", kept.id()], 0, &format!("{}\n", kept.id()))?;
    Ok(())
}

fn exec_and_end() -> Result<(), Failed> {
    for _ in 0..20 {
        let kept = Kept::shell(&[], "sleep 600")?;
        let many: Vec<_> = (0..4).map(|_| spawn(&["exec", kept.id(), "true"])).collect();
        nsctl(&["kill", kept.id()]);
        for one in many {
            let done = outcome(one);
            must(!done.err.contains("ENOMEM"), "what has ended is no want of memory", &done)?;
        }
    }
    Ok(())
}
