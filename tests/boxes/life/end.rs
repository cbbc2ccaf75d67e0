//! stop, kill, wait, rm, pause, restart.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Kept, refused, says, until};
use crate::Case;
use crate::host::Scratch;
use crate::nsctl::{must, nsctl, outcome, own, spawn};

pub(super) const CASES: &[(&str, Case)] = &[
    ("stop_sends_the_stop_signal_waits_and_kills", stop),
    ("stop_of_what_is_paused_created_or_ended", stop_in_each_phase),
    ("who_never_stops_writing_hears_signals", flood),
    ("kill_sends_any_signal", kill),
    ("wait_prints_each_code_and_many_may_wait", wait),
    ("pause_stops_all_and_unpause_lets_them_go_on", pause),
    ("restart_is_stop_and_start", restart),
    ("rm_refuses_what_runs_and_force_does_not", remove),
    ("all_is_every_container", all),
    ("a_killed_pid_1_is_an_unknown_end_and_never_success", unknown_end),
    ("wrong_options_of_verbs_are_sentences", wrong),
];

/// nsctl inside has always something to write down, and takes signals all the same.
fn flood() -> Result<(), Failed> {
    for options in [&[][..], &["-t"], &["--log", "none"]] {
        let scratch = Scratch::new("flood");
        let ready = scratch.path("ready");
        let script = format!("trap 'exit 9' HUP; touch {ready}; while :; do yes & wait; done");
        let kept = Kept::shell(options, &script)?;
        crate::cases::wait_for(&ready);
        // So that much is written.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let began = std::time::Instant::now();
        says(&["stop", "-s", "HUP", "-t", "60", kept.id()], 0, &format!("{}\n", kept.id()))?;
        let state = kept.shown("state");
        must(state == "exited (9)", "its own end", &nsctl(&["ps", "-a"]))?;
        let time = began.elapsed();
        must(time.as_secs() < 20, &format!("at once, not after {time:?}"), &nsctl(&["ps", "-a"]))?;
    }
    Ok(())
}

/// Says which signal it got and lives on, but for `ends`.
fn sturdy(name: &str, options: &[&str], ends: &str) -> Result<Kept, Failed> {
    let script = format!(
        "for s in HUP INT QUIT USR1 USR2 TERM; do trap \"echo got $s; test $s != {ends} || exit 7\" $s; done; echo ready; \
         while :; do sleep 0.02; done"
    );
    let kept = Kept::shell(&[&["--name", name], options].concat(), &script)?;
    kept.said("ready")?;
    Ok(kept)
}

fn stop() -> Result<(), Failed> {
    let timed = |args: &[&str]| -> Result<Duration, Failed> {
        let begun = Instant::now();
        says(args, 0, &format!("{}\n", args[args.len() - 1]))?;
        Ok(begun.elapsed())
    };
    let kept = sturdy("s", &[], "TERM")?;
    let took = timed(&["stop", "s"])?;
    says(&["wait", "s"], 0, "7\n")?;
    must(took < Duration::from_secs(9), "TERM is enough", &nsctl(&["logs", "s"]))?;
    drop(kept);
    // Of the words, the container's own, the image's.
    for (options, stop, wanted, code) in [
        (&[][..], &["stop", "-t", "2", "s"][..], "ready\ngot TERM\n", "137\n"),
        (&[], &["stop", "-t", "2", "-s", "USR1", "s"], "ready\ngot USR1\n", "137\n"),
        (&["--stop-signal", "INT", "--stop-timeout", "2"], &["stop", "s"], "ready\ngot INT\n", "137\n"),
        (&["--stop-signal", "SIGUSR2"], &["stop", "--time=0", "s"], "", "137\n"),
        (&["--stop-signal", "QUIT"], &["stop", "-s", "1", "-t", "2", "s"], "ready\ngot HUP\n", "137\n"),
        (&["--stop-timeout", "2"], &["restart", "s"], "ready\ngot TERM\nready\n", ""),
    ] {
        let kept = sturdy("s", options, "never")?;
        let took = timed(stop)?;
        must(took < Duration::from_secs(8), &format!("{stop:?}: it took {took:?}"), &nsctl(&["logs", "s"]))?;
        if !code.is_empty() {
            says(&["wait", "s"], 0, code)?;
        }
        if !wanted.is_empty() {
            let logged = if code.is_empty() { kept.said("TERM\nready")? } else { nsctl(&["logs", "s"]) };
            must(logged.out == wanted, &format!("{stop:?}: {wanted}"), &logged)?;
        }
    }
    // -1 waits for ever: until somebody else sends what it waits for.
    let kept = sturdy("s", &[], "USR2")?;
    let stopping = spawn(&["stop", "-t", "-1", "s"]);
    kept.said("got TERM")?;
    std::thread::sleep(Duration::from_millis(1200));
    says(&["kill", "-s", "USR2", "s"], 0, "s\n")?;
    let stopped = outcome(stopping);
    must(stopped.out == "s\n", "stopped", &stopped)?;
    says(&["wait", "s"], 0, "7\n")?;
    Ok(())
}

fn stop_in_each_phase() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "s"], "sleep 60")?;
    says(&["pause", "s"], 0, "s\n")?;
    says(&["stop", "s"], 0, "s\n")?;
    says(&["wait", "s"], 0, "143\n")?;
    says(&["stop", "s"], 0, "s\n")?;
    says(&["stop", "s", "s"], 0, "s\ns\n")?;
    says(&["start", "s"], 0, "s\n")?;
    says(&["pause", "s"], 0, "s\n")?;
    says(&["kill", "s"], 0, "s\n")?;
    says(&["wait", "s"], 0, "137\n")?;
    says(&["start", "s"], 0, "s\n")?;
    says(&["pause", "s"], 0, "s\n")?;
    says(&["rm", "-f", "s"], 0, "s\n")?;
    drop(kept);
    // Whatever takes TERM away from it, a paused one goes by SIGKILL.
    let kept = sturdy("s", &[], "never")?;
    says(&["pause", "s"], 0, "s\n")?;
    says(&["stop", "-t", "0", "s"], 0, "s\n")?;
    says(&["wait", "s"], 0, "137\n")?;
    drop(kept);
    let kept = Kept::made("create", &["--name", "s", "--", "sleep", "60"])?;
    says(&["stop", "s"], 0, "s\n")?;
    assert_eq!(kept.shown("state"), "exited (137)");
    let one = nsctl(&["stop", "nobody", "s"]);
    must(one.code == 1 && one.out == "s\n", "one that is not there does not keep others from it", &one)
}

fn kill() -> Result<(), Failed> {
    let own = own();
    let kept = Kept::made("run", &["-d", "--name", "k", "--", &own, "probe", "signals"])?;
    kept.said("ready")?;
    let skip = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGTERM, 32, 33];
    let mut wanted = String::from("ready\n");
    for signal in (1..=64).filter(|signal| !skip.contains(signal)) {
        says(&["kill", "-s", &signal.to_string(), "k"], 0, "k\n")?;
        wanted += &format!("{signal}\n");
        kept.said(&wanted)?;
    }
    for name in ["USR1", "SIGUSR1", "usr1"] {
        says(&["kill", "--signal", name, "k"], 0, "k\n")?;
        wanted += "10\n";
        kept.said(&wanted)?;
    }
    says(&["kill", "-s", "RTMIN+3", "k"], 0, "k\n")?;
    wanted += "37\n";
    kept.said(&wanted)?;
    for wrong in ["0", "65", "-1", "NONE", ""] {
        refused(&["kill", "-s", wrong, "k"], 125, "is no signal")?;
    }
    says(&["kill", "-s", "TERM", "k"], 0, "k\n")?;
    says(&["wait", "k"], 0, "0\n")?;
    refused(&["kill", "k"], 1, "does not run")?;
    drop(kept);
    for signal in [1, 2, 9, 15, 34, 64] {
        let kept = Kept::shell(&["--name", "k"], "exec sleep 60")?;
        says(&["kill", "-s", &signal.to_string(), "k"], 0, "k\n")?;
        says(&["wait", "k"], 0, &format!("{}\n", 128 + signal))?;
        drop(kept);
    }
    Ok(())
}

fn wait() -> Result<(), Failed> {
    let _one = Kept::shell(&["--name", "w1"], "sleep 0.4; exit 3")?;
    let _two = Kept::shell(&["--name", "w2"], "sleep 0.2; exit 4")?;
    let waiting: Vec<_> = (0..8).map(|_| spawn(&["wait", "w1", "w2"])).collect();
    for one in waiting {
        let waited = outcome(one);
        must(waited.code == 0 && waited.out == "3\n4\n", "in the order of the words", &waited)?;
    }
    let waited = nsctl(&["wait", "w2", "nobody", "w1"]);
    must(waited.code == 1 && waited.out == "4\n3\n", "one is not there", &waited)
}

fn pause() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "p"], "(while :; do echo x; sleep 0.02; done) & wait")?;
    kept.said("x\nx\n")?;
    says(&["pause", "p"], 0, "p\n")?;
    assert_eq!(kept.shown("state"), "paused");
    assert!(kept.inspected().contains(r#""status":"paused","running":true,"paused":true"#));
    let mut before = String::new();
    // What was in the pipe is written down meanwhile.
    until("it stands still", || {
        before = nsctl(&["logs", "p"]).out;
        std::thread::sleep(Duration::from_millis(200));
        before == nsctl(&["logs", "p"]).out
    })?;
    std::thread::sleep(Duration::from_millis(200));
    let still = nsctl(&["logs", "p"]);
    must(still.out == before, "it stands still", &still)?;
    refused(&["pause", "p"], 1, "is paused already")?;
    refused(&["exec", "p", "true"], 1, "is paused")?;
    says(&["resume", "p"], 0, "p\n")?;
    refused(&["unpause", "p"], 1, "is not paused")?;
    until("it goes on", || nsctl(&["logs", "p"]).out.len() > before.len())?;
    let _without = Kept::shell(&["--name", "bare", "--cgroup", "none"], "sleep 60")?;
    refused(&["pause", "bare"], 1, "it has no cgroup that can be frozen")
}

fn restart() -> Result<(), Failed> {
    let kept = sturdy("r", &[], "TERM")?;
    let pid = kept.pid();
    says(&["restart", "r"], 0, "r\n")?;
    kept.said("got TERM\nready\n")?;
    must(kept.pid() != pid && kept.pid() > 0, "another process", &nsctl(&["ps"]))?;
    says(&["stop", "r"], 0, "r\n")?;
    says(&["restart", "r"], 0, "r\n")?;
    until("it runs", || kept.shown("state") == "running")?;
    says(&["pause", "r"], 0, "r\n")?;
    says(&["restart", "-t", "1", "r"], 0, "r\n")?;
    until("it runs", || kept.shown("state") == "running")?;
    drop(kept);
    let kept = Kept::made("create", &["--name", "r", "--", "sleep", "60"])?;
    says(&["restart", "r"], 0, "r\n")?;
    assert_eq!(kept.shown("state"), "running");
    Ok(())
}

fn remove() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "m"], "sleep 60")?;
    refused(&["rm", "m"], 1, "stop it first, or rm --force")?;
    assert_eq!(kept.shown("state"), "running");
    says(&["rm", "--force", "m"], 0, "m\n")?;
    refused(&["rm", "m"], 1, "m")?;
    let _one = Kept::shell(&["--name", "m1"], "true")?;
    let _two = Kept::shell(&["--name", "m2"], "sleep 60")?;
    says(&["wait", "m1"], 0, "0\n")?;
    let removed = nsctl(&["rm", "m2", "m1"]);
    must(removed.code == 1 && removed.out == "m1\n", "the one that may", &removed)?;
    // One in the foreground ends with it, too.
    let foreground = spawn(&["run", "--name", "front", "--", "sleep", "60"]);
    until("it is listed", || nsctl(&["ps", "--format", "name"]).out.contains("front"))?;
    refused(&["rm", "front"], 1, "runs")?;
    refused(&["wait", "front"], 1, "runs in the foreground")?;
    refused(&["logs", "front"], 1, "runs in the foreground")?;
    says(&["exec", "front", "sh", "-c", "exit 6"], 6, "")?;
    says(&["rm", "-f", "front"], 0, "front\n")?;
    let ended = outcome(foreground);
    must(ended.code == 137, "its starter is told", &ended)?;
    let foreground = spawn(&["run", "--name", "front", "--", "sleep", "60"]);
    until("it is listed", || nsctl(&["ps", "--format", "name"]).out.contains("front"))?;
    says(&["stop", "front"], 0, "front\n")?;
    let ended = outcome(foreground);
    must(ended.code == 143, "by TERM", &ended)
}

fn all() -> Result<(), Failed> {
    let all: Vec<Kept> = (0..3).map(|_| Kept::shell(&[], "exec sleep 60")).collect::<Result<_, _>>()?;
    let ids: String = all.iter().map(|kept| format!("{}\n", kept.id())).collect();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    for words in [&["pause", "-a"][..], &["unpause", "--all"], &["stop", "--all", "-t", "5"], &["rm", "-fa"]] {
        let done = nsctl(words);
        must(done.code == 0 && sorted(&done.out) == sorted(&ids), &format!("{words:?}"), &done)?;
    }
    says(&["ps", "-aq"], 0, "")?;
    says(&["rm", "-fa"], 0, "")?;
    Ok(())
}

fn unknown_end() -> Result<(), Failed> {
    for policy in ["no", "always"] {
        let kept = Kept::shell(&["--name", "u", "--restart", policy], "sleep 60")?;
        let waiting = spawn(&["wait", "u"]);
        std::thread::sleep(Duration::from_millis(50));
        // SAFETY: PID 1 of our own container.
        unsafe { libc::kill(kept.pid(), libc::SIGKILL) };
        let waited = outcome(waiting);
        must(waited.out == "137\n", "as by SIGKILL", &waited)?;
        assert_eq!(kept.shown("state"), "exited (137)");
        let json = kept.inspected();
        must(
            json.contains(r#""exit_code":137,"signal":9,"oom_killed":false,"cause":"unknown""#),
            &json,
            &nsctl(&["ps", "-a"]),
        )?;
        says(&["start", "u"], 0, "u\n")?;
        says(&["exec", "u", "true"], 0, "")?;
    }
    Ok(())
}

fn wrong() -> Result<(), Failed> {
    let _kept = Kept::shell(&["--name", "x"], "sleep 60")?;
    for (words, sentence) in [
        (&["stop", "-t", "soon", "x"][..], "--time soon is not a number of seconds"),
        (&["stop", "-s", "NO", "x"], "--signal NO is no signal"),
        (&["stop"], ""),
        (&["rm"], ""),
        (&["stop", "--all", "x"], ""),
        (&["wait", "--all"], "--all"),
        (&["logs", "x", "x"], ""),
        (&["pause", "--force", "x"], "--force"),
        (&["exec", "x"], ""),
        (&["exec"], ""),
        (&["logs", "-n", "few", "x"], "--tail few is no number of lines"),
        (&["logs", "--since", "never", "x"], "--since never"),
        (&["run", "-d", "--log", "far", "--", "true"], "--log far is unknown"),
        (&["run", "-d", "--log-size", "1k", "--", "true"], "is too small"),
        (&["run", "-d", "--restart", "maybe", "--", "true"], "--restart maybe is unknown"),
        (&["run", "--restart", "always", "--", "true"], "is for a container that lives on"),
    ] {
        refused(words, 125, sentence)?;
    }
    says(&["ps", "--format", "name,state"], 0, "x\trunning\n")?;
    Ok(())
}
