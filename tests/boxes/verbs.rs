//! What is done with containers that run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;

use libtest_mimic::Failed;

use crate::Case;
use crate::life::until;
use crate::nsctl::{Outcome, Running, must, nsctl, outcome, spawn, state};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("events_are_kept_and_followed", events),
    ("events_of_all_verbs", every_event),
    ("rename_gives_another_name", rename),
    ("prune_removes_what_has_ended", prune),
    ("health_is_asked_for", health),
    ("top_lists_what_runs_inside", top),
    ("stats_count_what_is_used", stats),
];

/// A container that stays until it is dropped, and is listed.
pub(crate) struct Box(Option<Running>);

impl Box {
    pub(crate) fn new(name: &str, options: &[&str], script: &str) -> Self {
        let mut args = vec!["run", "--name", name];
        args.extend(options);
        args.extend(["--", "sh", "-c", script]);
        let running = spawn(&args);
        let mut container = Self(Some(running));
        let claimed = || fs::symlink_metadata(state().join(format!("@{name}"))).is_ok();
        let listed = || nsctl(&["ps", "--format", "name"]).out.lines().any(|line| line == name);
        let mut ended = false;
        let started = until(name, || {
            ended = container.0.as_mut().is_some_and(|running| !running.runs());
            ended || claimed() && listed()
        });
        assert!(started.is_ok() && !ended, "{name} does not start: {}", container.end().err);
        container
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Outcome {
        let mut running = self.0.take().unwrap();
        if running.runs() {
            running.signal(libc::SIGTERM);
        }
        outcome(running)
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.signal(libc::SIGTERM);
            outcome(running);
        }
    }
}

fn events() -> Result<(), Failed> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let (since, until) = (now.to_string(), (now + crate::nsctl::patience().as_secs()).to_string());
    let filter = ["--format", "json", "--filter", "container=happens"];
    let mut following = spawn(&[&["events", "--since", &since, "--until", &until], &filter[..]].concat());
    let mut lines = BufReader::new(following.stdout()).lines();
    let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
    let container = Box::new("happens", &[], "sleep 600; true");
    let start = next();
    // Of that it can only hear while it follows.
    let ended = container.end();
    must(ended.code == 128 + 15, "SIGTERM ends it", &ended)?;
    let die = next();
    let right = start.contains(r#""name":"happens","event":"start","attributes":{"#)
        && die.contains(r#""event":"die","attributes":{"exitCode":"143"}}"#);
    if !right {
        return Err(format!("followed: {start}, {die}").into());
    }
    following.signal(libc::SIGTERM);
    outcome(following);
    let kept = nsctl(&["events", "--since", "1h", "--until", "0s", "-f", "event=die", "-f", "container=happens"]);
    let right = kept.out.lines().count() == 1 && kept.out.ends_with("(name=happens, exitCode=143)\n");
    must(right && kept.out.contains("Z container die "), "kept", &kept)?;
    let none = nsctl(&["events", "--until", "1s"]);
    must(none.code == 0 && none.out.is_empty(), "nothing between now and a second ago", &none)?;
    let wrong = nsctl(&["events", "--since", "yesterday"]);
    must(wrong.code == 125 && wrong.err.contains("--since yesterday is not a time"), "a wrong time", &wrong)
}

/// With a cgroup, with a PID namespace of its own, and with neither.
fn top() -> Result<(), Failed> {
    for options in [&["-m", "64m"][..], &[], &["--pid", "host"]] {
        // In the host's PID namespace nobody else ends them.
        let script = "sleep 604 & one=$!; sleep 605 & trap \"kill $one $!; exit\" TERM; wait";
        let container = Box::new("seen", options, script);
        let json = || nsctl(&["top", "--format", "json", "seen"]);
        until("both sleep", || ["\"sleep 604\"", "\"sleep 605\""].iter().all(|words| json().out.contains(words)))?;
        let json = json();
        let table = nsctl(&["top", "seen"]);
        let columns = nsctl(&["top", "--format", "inside,command", "seen"]);
        let arguments = nsctl(&["top", "seen", "aux"]);
        let options_of_ps = nsctl(&["top", "seen", "-ef"]);
        container.end();
        for sleeper in ["sleep 604", "sleep 605"] {
            must(json.out.contains(&format!("\"command\":\"{sleeper}\"")), sleeper, &json)?;
            must(table.out.lines().any(|line| line.ends_with(sleeper)), sleeper, &table)?;
        }
        let least = columns.out.lines().filter_map(|line| line.split('\t').next()?.parse::<u32>().ok()).min();
        let numbered = if options.contains(&"--pid") { least > Some(2) } else { least <= Some(2) };
        must(numbered, "numbers as they are inside", &columns)?;
        must(!json.out.contains("\"command\":\"nsctl top"), "nothing else", &json)?;
        for refused in [arguments, options_of_ps] {
            must(refused.code == 125 && refused.err.contains("--format takes columns"), "no ps options", &refused)?;
        }
    }
    Ok(())
}

fn stats() -> Result<(), Failed> {
    for (options, limit) in [(&["-m", "64m", "--pids-limit", "9"][..], "64 MiB"), (&[], "")] {
        let container = Box::new("busy", options, "while :; do :; done");
        let table = nsctl(&["stats", "--no-stream", "--format", "name,cpu%,mem,limit,tasks"]);
        let json = nsctl(&["stats", "--no-stream", "--format", "json", "busy"]);
        let nobody = nsctl(&["stats", "--no-stream", "nobody"]);
        container.end();
        let row: Vec<&str> =
            table.out.lines().find(|line| line.starts_with("busy\t")).unwrap_or("").split('\t').collect();
        let used =
            |at: usize| row.get(at).and_then(|cell| cell.split(' ').next()?.parse::<f64>().ok()).unwrap_or(-1.0);
        must((1.0..800.0).contains(&used(1)), "it uses a processor", &table)?;
        must(used(2) > 0.0 && row.get(3) == Some(&limit) && used(4) >= 1.0, "memory and tasks", &table)?;
        must(json.out.starts_with("{\"id\":\"") && json.out.lines().count() == 1, "an object a line", &json)?;
        must(nobody.code != 0 && nobody.err.contains("no container nobody"), "one that is not there", &nobody)?;
    }
    Ok(())
}

/// Ends what is left of a test that gave up.
struct Removed(&'static str);

impl Drop for Removed {
    fn drop(&mut self) {
        nsctl(&["rm", "-f", self.0]);
    }
}

fn every_event() -> Result<(), Failed> {
    let _left = Removed("told");
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64().to_string();
    for (line, code) in [
        ("run -d --name told -- sh -c 'sleep 60; true'", 0),
        ("exec told true", 0),
        ("pause told", 0),
        ("unpause told", 0),
        ("update --pids-limit 50 told", 0),
        ("kill -s WINCH told", 0),
        ("rename told told2", 0),
        ("rename told2 told", 0),
        ("stop -t 5 told", 0),
        ("start told", 0),
        ("restart -t 5 told", 0),
        ("rm -f told", 0),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        let args = match line.split_once(" -- ") {
            Some(_) => vec!["run", "-d", "--name", "told", "--", "sh", "-c", "sleep 60; true"],
            None => args,
        };
        let done = nsctl(&args);
        must(done.code == code, line, &done)?;
    }
    let said = nsctl(&["events", "--since", &since, "--until", "0s", "--format", "json"]);
    let mut events: Vec<&str> = said
        .out
        .lines()
        .filter(|line| line.contains("told"))
        .filter_map(|line| line.split("\"event\":\"").nth(1)?.split('"').next())
        .collect();
    events.sort_unstable();
    events.dedup();
    let wanted = [
        "create",
        "destroy",
        "die",
        "exec_start",
        "kill",
        "pause",
        "rename",
        "restart",
        "start",
        "stop",
        "unpause",
        "update",
    ];
    must(events == wanted, &format!("{events:?}"), &said)?;
    must(said.out.contains(r#""event":"exec_start","attributes":{"command":"true"}"#), "what is executed", &said)
}

fn rename() -> Result<(), Failed> {
    let (_left, _other) = (Removed("new"), Removed("other"));
    for name in ["old", "other"] {
        let run = nsctl(&["run", "-d", "--name", name, "--", "sh", "-c", "sleep 60; true"]);
        must(run.code == 0, "it starts", &run)?;
    }
    let taken = nsctl(&["rename", "old", "other"]);
    must(taken.code == 1 && taken.err.contains("another container has the name"), "a name that is taken", &taken)?;
    let wrong = nsctl(&["rename", "old", "../x"]);
    must(wrong.code == 125 && wrong.err.contains("is not a name"), "no name at all", &wrong)?;
    let same = nsctl(&["rename", "old", "old"]);
    must(same.code == 1, "the same", &same)?;
    let done = nsctl(&["rename", "old", "new"]);
    must(done.code == 0, "it is renamed", &done)?;
    let gone = nsctl(&["top", "old"]);
    must(gone.code == 1, "the old name is free", &gone)?;
    for verb in [&["top", "new"][..], &["stop", "-t", "5", "new"], &["start", "new"], &["exec", "new", "true"]] {
        let done = nsctl(verb);
        must(done.code == 0, "the new name is good", &done)?;
    }
    let listed = nsctl(&["ps", "--format", "name"]);
    let mut names: Vec<&str> = listed.out.lines().collect();
    names.sort_unstable();
    must(names == ["new", "other"], "also after a start", &listed)
}

fn prune() -> Result<(), Failed> {
    let (_one, _two, _three) = (Removed("ended"), Removed("labelled"), Removed("running"));
    let run = |name: &str, label: &str, script: &str| {
        let run = nsctl(&["run", "-d", "--name", name, "-l", label, "--", "sh", "-c", script]);
        must(run.code == 0, "it starts", &run)
    };
    run("ended", "a", "true")?;
    run("labelled", "kind=test", "true")?;
    run("running", "kind=test", "sleep 60; true")?;
    nsctl(&["wait", "ended", "labelled"]);
    let asked = nsctl(&["prune"]);
    must(asked.code == 125 && asked.err.contains("no terminal to ask"), "it does not ask nobody", &asked)?;
    let names = || {
        let mut names: Vec<String> = nsctl(&["ps", "-a", "--format", "name"]).out.lines().map(String::from).collect();
        names.sort_unstable();
        names.join(" ")
    };
    let none = nsctl(&["prune", "-f", "--filter", "label=kind=other"]);
    must(none.code == 0 && none.out.is_empty() && names() == "ended labelled running", "none fits", &none)?;
    let one = nsctl(&["prune", "-f", "--filter", "label=kind"]);
    must(one.code == 0 && one.out.len() == 13 && names() == "ended running", "one fits", &one)?;
    let old = nsctl(&["prune", "-f", "--filter", "until=1h"]);
    must(old.code == 0 && names() == "ended running", "none is that old", &old)?;
    let all = nsctl(&["prune", "-f", "--filter", "until=2100-01-01"]);
    must(all.code == 0 && names() == "running", "what runs stays", &all)?;
    let wrong = nsctl(&["prune", "-f", "--filter", "status=exited"]);
    must(wrong.code == 125, "another filter", &wrong)
}

/// Polls until `ps` shows the container as being so.
fn is_shown(name: &str, state: &str) -> Result<(), Failed> {
    let line = format!("{name}\t{state}");
    let listed = || nsctl(&["ps", "-a", "--format", "name,state"]);
    until(&format!("{name} becomes {state}"), || listed().out.lines().any(|shown| shown == line))
        .or_else(|_| must(false, &format!("{name} becomes {state}"), &listed()))
}

/// Its command is asked in the container's root, as the container's user, without capabilities that the command does not have.
fn health() -> Result<(), Failed> {
    let _left = Removed("asked");
    let root = Root::plain("health").dir("w");
    std::os::unix::fs::chown(root.at("w"), Some(1000), Some(1000))?;
    // Whole when it has its name: it is written again and again.
    let check = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status > /w/part; mv /w/part /w/check; echo noise; \
                 test -e /w/good";
    let own = "grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status > /w/new; mv /w/new /w/own; sleep 600; true";
    let mut args = vec!["run", "-d", "--name", "asked", "--rootfs", root.path(), "--rw", "-u", "1000:1000"];
    args.extend([
        "--health-cmd",
        check,
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "--",
        "sh",
        "-c",
        own,
    ]);
    let run = nsctl(&args);
    must(run.code == 0, "it starts", &run)?;
    is_shown("asked", "running (unhealthy)")?;
    until("both have written", || root.at("w/own").exists() && root.at("w/check").exists())?;
    let (own, check) = (fs::read_to_string(root.at("w/own"))?, fs::read_to_string(root.at("w/check"))?);
    if own != check || !own.contains("Uid:\t1000\t") {
        return Err(format!("the command is {own}, and who asks is {check}").into());
    }
    fs::write(root.at("w/good"), "")?;
    let inspected = |words: &str| {
        let json = nsctl(&["inspect", "asked"]);
        must(json.out.contains(words), words, &json)
    };
    is_shown("asked", "running (healthy)")?;
    inspected(r#""health":{"status":"healthy","failing_streak":0,"exit_code":0,"checked_at":"20"#)?;
    // It is told after it is shown.
    let events = ["events", "--since", "1h", "--until", "0s", "-f", "container=asked", "-f", "event=health_status"];
    until("both events", || {
        let said = nsctl(&events).out;
        said.contains("health=unhealthy)") && said.contains("health=healthy)")
    })?;
    let logged = nsctl(&["logs", "asked"]);
    must(logged.out.is_empty() && logged.err.is_empty(), "what it says is not the command's output", &logged)?;
    let json = nsctl(&["ps", "--format", "json"]);
    must(json.out.contains(r#""state":"running","health":"healthy""#), "json", &json)?;
    let stopped = nsctl(&["stop", "-t", "60", "asked"]);
    must(stopped.code == 0, "it stops", &stopped)?;
    is_shown("asked", "exited (143)")?;
    let removed = nsctl(&["rm", "asked"]);
    must(removed.code == 0, "and goes", &removed)?;
    // One that hangs is a failure, too.
    let mut args = vec!["run", "-d", "--name", "asked", "--health-cmd", "sleep 60", "--health-interval", "50ms"];
    args.extend(["--health-timeout", "50ms", "--health-retries", "1", "--", "sh", "-c", "sleep 60; true"]);
    let run = nsctl(&args);
    must(run.code == 0, "it starts", &run)?;
    is_shown("asked", "running (unhealthy)")?;
    inspected(r#""health":{"status":"unhealthy","failing_streak":"#)?;
    inspected(r#""exit_code":137,"checked_at":"20"#)?;
    let removed = nsctl(&["rm", "-f", "asked"]);
    must(removed.code == 0, "and goes", &removed)?;
    let made = nsctl(&["create", "--name", "asked", "--health-cmd", "true", "--", "true"]);
    must(made.code == 0, "create", &made)?;
    inspected(r#""health":null"#)?;
    nsctl(&["rm", "-f", "asked"]);
    // With a terminal, which the command's user gets, and the one who asks has none of.
    let null = fs::metadata("/dev/null")?;
    let mut args = vec!["run", "-d", "-t", "--name", "asked", "--rootfs", root.path(), "-u", "1000", "--health-cmd"];
    args.extend(["test ! -t 0 && ! test -t 1", "--health-interval", "50ms", "--", "sh", "-c", "sleep 60; true"]);
    let run = nsctl(&args);
    must(run.code == 0, "it starts", &run)?;
    is_shown("asked", "running (healthy)")?;
    let after = fs::metadata("/dev/null")?;
    let same = (null.uid(), null.gid(), null.mode()) == (after.uid(), after.gid(), after.mode());
    must(same, "the host's /dev/null is as before", &run)?;
    for (args, said) in [
        (&["run", "--health-cmd", "true", "true"][..], "--health-cmd is for a container that lives on"),
        (&["run", "-d", "--health-interval", "1s", "true"], "need --health-cmd"),
        (&["run", "-d", "--health-cmd", "true", "--health-interval", "1", "true"], "is not a duration"),
    ] {
        let refused = nsctl(args);
        must(refused.code == 125 && refused.err.contains(said), said, &refused)?;
    }
    Ok(())
}
