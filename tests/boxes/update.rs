//! `nsctl update`: the files of a running container's groups, before and after.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{Outcome, Running, command, must, nsctl, outcome, spawn};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("limits_go_up_and_down", up_and_down),
    ("what_a_container_had_not_is_made", made),
    ("a_part_leaves_the_rest_as_it_is", parts),
    ("nothing_is_changed_by_nonsense", refused),
    ("one_that_lives_on_has_a_group_and_gets_more", kept),
    ("one_without_a_group_stays_without", none),
    ("one_that_was_killed_for_memory_says_so", killed),
    ("a_command_goes_where_the_delegated_ones_are", delegated),
];

fn unified() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

/// A container that sleeps; its name is that of the test.
struct Sleeper {
    running: Option<Running>,
    name: String,
    id: String,
}

impl Sleeper {
    fn new(name: &str, options: &[&str]) -> Self {
        let name = format!("update-{name}-{}", std::process::id());
        let args = [&["run", "--name", &name], options, &["--", "sh", "-c", "sleep 600 & echo ready; wait"]].concat();
        let mut running = spawn(&args);
        let mut line = [0u8; 6];
        std::io::Read::read_exact(&mut running.stdout(), &mut line).expect("it starts");
        // It is recorded when it has run for a moment.
        let mut id = String::new();
        let listed = crate::life::until(&format!("{name} is listed"), || {
            let listed = nsctl(&["ps", "--no-trunc", "--json"]).out;
            let mut all = listed.split("\"id\":\"").skip(1);
            let own = all.find(|rest| rest.contains(&name)).and_then(|rest| rest.split('"').next());
            own.is_some_and(|own| {
                id = own.into();
                true
            })
        });
        listed.unwrap();
        Self { running: Some(running), name, id }
    }

    fn update(&self, limits: &[&str]) -> Outcome {
        outcome(Running::start(&mut command(&[&["update"], limits, &[&self.name]].concat())))
    }

    /// What a file of its group has on v1 or v2.
    fn file(&self, v1: &str, v2: &str) -> String {
        let path = if unified() {
            Path::new("/sys/fs/cgroup/nsctl").join(&self.id).join(v2)
        } else {
            let (controller, name) = v1.split_once('/').unwrap();
            PathBuf::from(format!("/sys/fs/cgroup/{controller}/nsctl/{}/{name}", self.id))
        };
        fs::read_to_string(&path)
            .map_or_else(|error| format!("{}: {error}", path.display()), |text| text.trim().into())
    }

    fn must_have(&self, v1: &str, v2: &str, wanted: [&str; 2], outcome: &Outcome) -> Result<(), Failed> {
        let wanted = wanted[usize::from(unified())];
        let there = self.file(v1, v2);
        must(outcome.code == 0 && there == wanted, &format!("{v1} or {v2} is {wanted}, not {there}"), outcome)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.signal(libc::SIGTERM);
            outcome(running);
        }
    }
}

fn up_and_down() -> Result<(), Failed> {
    let sleeper = Sleeper::new("up", &["-m", "64m", "--pids-limit", "20", "--cpus", "1"]);
    for (size, bytes) in [("32m", "33554432"), ("128m", "134217728"), ("48m", "50331648")] {
        let outcome = sleeper.update(&["-m", size]);
        must(outcome.out == format!("{}\n", sleeper.name), "its name is printed", &outcome)?;
        sleeper.must_have("memory/memory.limit_in_bytes", "memory.max", [bytes; 2], &outcome)?;
    }
    let outcome = sleeper.update(&["--pids-limit", "-1", "--cpus", "0.25"]);
    sleeper.must_have("pids/pids.max", "pids.max", ["max"; 2], &outcome)?;
    sleeper.must_have("cpu/cpu.cfs_quota_us", "cpu.max", ["25000", "25000 100000"], &outcome)?;
    let outcome = sleeper.update(&["--memory-swap", "64m"]);
    sleeper.must_have("memory/memory.memsw.limit_in_bytes", "memory.swap.max", ["67108864", "16777216"], &outcome)
}

fn made() -> Result<(), Failed> {
    // Only the tasks are limited; all the others get their first limit.
    let sleeper = Sleeper::new("made", &["--pids-limit", "20"]);
    if !unified() {
        let outcome = sleeper.update(&["-m", "64m"]);
        return must(
            outcome.code == 1 && outcome.err.contains("runs in the foreground, and has no cgroup in"),
            "v1",
            &outcome,
        );
    }
    let outcome = sleeper.update(&["-m", "64m", "-c", "512", "--cpuset-cpus", "0"]);
    sleeper.must_have("memory/memory.limit_in_bytes", "memory.max", ["67108864"; 2], &outcome)?;
    sleeper.must_have("cpu/cpu.shares", "cpu.weight", ["512", "59"], &outcome)?;
    sleeper.must_have("cpuset/cpuset.cpus", "cpuset.cpus", ["0"; 2], &outcome)?;
    let pids = sleeper.file("memory/cgroup.procs", "cgroup.procs");
    must(pids.lines().count() == 2, &format!("the shell and its child are in it: {pids}"), &outcome)
}

fn parts() -> Result<(), Failed> {
    let sleeper = Sleeper::new("parts", &["--cpu-quota", "20000", "--cpu-period", "40000"]);
    let outcome = sleeper.update(&["--cpu-quota", "10000"]);
    sleeper.must_have("cpu/cpu.cfs_quota_us", "cpu.max", ["10000", "10000 40000"], &outcome)?;
    sleeper.must_have("cpu/cpu.cfs_period_us", "cpu.max", ["40000", "10000 40000"], &outcome)?;
    let outcome = sleeper.update(&["--cpu-period", "50000"]);
    sleeper.must_have("cpu/cpu.cfs_period_us", "cpu.max", ["50000", "10000 50000"], &outcome)
}

fn refused() -> Result<(), Failed> {
    let sleeper = Sleeper::new("refused", &["-m", "64m"]);
    for (limits, wanted) in [
        (&["-m", "nonsense"][..], "--memory nonsense is not a size"),
        (&["--cgroup-parent", "x"], "--cgroup-parent is not supported (what a container got at its start stays so)"),
        (&[], "no limit was given"),
        (&["--memroy", "1m"], "--memroy"),
    ] {
        let outcome = sleeper.update(limits);
        must(outcome.code != 0 && outcome.err.contains(wanted), wanted, &outcome)?;
    }
    let outcome = nsctl(&["update", "-m", "1m", "nobody-has-this-name"]);
    must(
        outcome.code == 1 && outcome.err.contains("there is no container nobody-has-this-name"),
        "nobody",
        &outcome,
    )?;
    let there = sleeper.file("memory/memory.limit_in_bytes", "memory.max");
    must(there == "67108864", &format!("as before, not {there}"), &outcome)
}

/// A name of a detached container, and its removal.
struct Detached(String);

impl Detached {
    fn new(name: &str, args: &[&str]) -> (Self, Outcome) {
        let name = format!("update-{name}-{}", std::process::id());
        let outcome = nsctl(&[&["run", "-d", "--name", &name], args].concat());
        (Self(name), outcome)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        nsctl(&["rm", "-f", &self.0]);
    }
}

fn kept() -> Result<(), Failed> {
    for options in [&[][..], &["--rm"]] {
        let (container, started) = Detached::new("kept", &[options, &["sh", "-c", "sleep 60 & wait"]].concat());
        let id = started.out.trim();
        let sleeper = Sleeper { running: None, name: container.0.clone(), id: id.into() };
        let frozen = nsctl(&["pause", &container.0]);
        must(started.code == 0 && frozen.code == 0, "it has a group that can be frozen", &frozen)?;
        let thawed = nsctl(&["unpause", &container.0]);
        must(thawed.code == 0, "and thawed", &thawed)?;
        let outcome = sleeper.update(&["-m", "64m", "--pids-limit", "30", "--cpuset-cpus", "0", "-c", "512"]);
        sleeper.must_have("memory/memory.limit_in_bytes", "memory.max", ["67108864"; 2], &outcome)?;
        sleeper.must_have("cpuset/cpuset.cpus", "cpuset.cpus", ["0"; 2], &outcome)?;
        sleeper.must_have("cpu/cpu.shares", "cpu.weight", ["512", "59"], &outcome)?;
        // What comes later goes there, too.
        let file = crate::cases::limit_file("pids/cgroup.procs", "cgroup.procs");
        let own = Path::new("/sys/fs/cgroup").join(if unified() { "" } else { "pids" }).join("nsctl").join(id);
        let outcome = nsctl(&["exec", &container.0, "sh", "-c", "sleep 0.1; true"]);
        must(outcome.code == 0, &file, &outcome)?;
        let inside = nsctl(&["exec", &container.0, "sh", "-c", "cat /proc/self/cgroup"]);
        let seen = || fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
        crate::life::until("the shell and sleep", || seen().lines().count() == 2)?;
        must(inside.code == 0, "what it is in can be seen", &inside)?;
    }
    Ok(())
}

fn none() -> Result<(), Failed> {
    let (container, started) = Detached::new("none", &["--cgroup", "none", "sleep", "60"]);
    let outcome = nsctl(&["pause", &container.0]);
    must(started.code == 0 && outcome.err.contains("it has no cgroup that can be frozen"), "pause", &outcome)?;
    let outcome = nsctl(&["update", "-m", "64m", &container.0]);
    must(outcome.code == 1 && outcome.err.contains("has no cgroup (it was started without one)"), "update", &outcome)
}

fn killed() -> Result<(), Failed> {
    let (container, started) =
        Detached::new("oom", &["-m", "32m", "--", &crate::nsctl::own(), "probe", "hog", "200"]);
    let outcome = nsctl(&["wait", &container.0]);
    must(started.code == 0 && outcome.out == "137\n", "137", &outcome)?;
    let outcome = nsctl(&["inspect", &container.0]);
    must(outcome.out.contains("\"oom_killed\":true"), "by the memory limit", &outcome)?;
    let outcome = nsctl(&["update", "-m", "64m", &container.0]);
    must(outcome.code == 1 && outcome.err.contains("does not run"), "and has no limits any more", &outcome)
}

fn delegated() -> Result<(), Failed> {
    if !unified() {
        return Ok(());
    }
    let script = "echo +pids > /sys/fs/cgroup/cgroup.subtree_control; sleep 60 & wait";
    let (container, started) = Detached::new("delegated", &["--cgroup-delegate", "sh", "-c", script]);
    let outcome = nsctl(&["exec", &container.0, "sh", "-c", "echo ran; wc -l < /sys/fs/cgroup/payload/cgroup.procs"]);
    must(started.code == 0 && outcome.out.starts_with("ran\n"), "a group with controllers takes no process", &outcome)
}
