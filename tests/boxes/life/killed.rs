//! Every process of nsctl's is killed, at any moment of what it does: afterwards everything can be done again, and nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Kept, says, until};
use crate::Case;
use crate::leaks::Snapshot;
use crate::nsctl::{Running, must, nsctl, patience, spawn, state};

pub(super) const CASES: &[(&str, Case)] = &[
    ("killed_at_200_moments_of_run_exec_stop_and_rm", outside),
    ("killed_at_moments_of_a_second_start_it_stays", second_start),
];

/// Which process gets the SIGKILL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    /// The one that was typed.
    Outside,
    /// PID 1 of the container.
    Inside,
    Both,
}

const NAMES: [(Whom, &str); 3] =
    [(Whom::Outside, "nsctl outside"), (Whom::Inside, "PID 1 inside"), (Whom::Both, "both")];

fn moments() -> u64 {
    std::env::var("NSCTL_MOMENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// Numbers that look random and are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn kill(pid: i32) {
    if pid > 1 {
        // SAFETY: a process of a container of ours, or one that has just ended.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// PIDs 1 of all containers of these tests, by their records, whether they are finished or not.
fn inside() -> Vec<i32> {
    let records = fs::read_dir(state()).into_iter().flatten().flatten();
    let text = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("state.json")).unwrap_or_default();
    let pid = |text: String| text.split("\"pid\":").nth(1)?.split(',').next()?.parse().ok();
    records.map(text).filter_map(pid).collect()
}

/// How far it had come: of the outside, whether it still ran; of the container, its state.
fn step(alive: bool) -> String {
    let mut of: Vec<String> = fs::read_dir(state())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            let has = |name: &str| entry.path().join(name).exists();
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let phase = status.split(' ').next().unwrap_or_default().to_string();
            match (has("state.json"), has("status"), phase.as_str()) {
                (_, false, _) => "claimed".to_string(),
                (false, true, _) => "made".to_string(),
                (true, true, phase) => format!("recorded, {phase}"),
            }
        })
        .collect();
    of.sort();
    let container = if of.is_empty() { "no container".into() } else { of.join("; ") };
    format!("{container}{}", if alive { "" } else { " (done before)" })
}

fn outside() -> Result<(), Failed> {
    let before = Snapshot::take();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut fell: BTreeMap<String, u32> = BTreeMap::new();
    let moments = moments();
    for moment in 0..moments {
        let verb = ["run -d", "exec", "stop", "rm -f"][(moment % 4) as usize];
        let (whom, name) = NAMES[(moment / 4 % 3) as usize];
        let words: &[&str] = match verb {
            "run -d" => &["run", "-d", "--name", "x", "-m", "64m", "--", "sleep", "39000.5"],
            "exec" => &["exec", "x", "sleep", "39000.5"],
            "stop" => &["stop", "-t", "5", "x"],
            _ => &["rm", "-f", "x"],
        };
        let run = || nsctl(&["run", "-d", "--name", "x", "-m", "64m", "--", "sleep", "39000.5"]);
        if verb != "run -d" {
            let made = run();
            must(made.code == 0, &format!("moment {moment}: a new one of the same name"), &made)?;
        }
        let mut running = spawn(words);
        std::thread::sleep(Duration::from_micros(random.below(if verb == "run -d" { 9000 } else { 5000 })));
        let alive = running.runs();
        let at = step(alive);
        if whom != Whom::Outside {
            inside().into_iter().for_each(kill);
        }
        if whom == Whom::Inside {
            // It must come to its end by itself.
            running.end_within(patience()).map_err(|text| format!("moment {moment}, {verb}, {at}: {text}"))?;
        }
        drop(running);
        *fell.entry(format!("{verb}, {name}, {at}")).or_default() += 1;
        check(moment, verb, &at)?;
    }
    for (step, count) in &fell {
        println!("{count:>4} × {step}");
    }
    println!("{moments} moments");
    settle(&before)
}

/// `ps` works, `rm -f` works, and a new one of the same name does.
fn check(moment: u64, verb: &str, at: &str) -> Result<(), Failed> {
    let what = format!("moment {moment}, {verb}, {at}");
    let listed = nsctl(&["ps", "-a"]);
    must(listed.code == 0 && listed.err.is_empty(), &format!("{what}: ps"), &listed)?;
    let removed = nsctl(&["rm", "-f", "x"]);
    must(removed.code == 0, &format!("{what}: rm -f"), &removed)?;
    // One that was being made is given two seconds, its name as long; what follows takes it over.
    let end = Instant::now() + patience();
    loop {
        let again = nsctl(&["run", "-d", "--name", "x", "--", "true"]);
        if again.code == 0 {
            break;
        }
        let young = again.err.contains("has the name x already") && Instant::now() < end;
        must(young, &format!("{what}: a new one of the same name"), &again)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    says(&["wait", "x"], 0, "0\n")?;
    says(&["rm", "x"], 0, "x\n")?;
    until(&format!("{what}: nobody sleeps"), || !sleeps())
}

fn sleeps() -> bool {
    let has = |entry: fs::DirEntry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("39000.5"))
    };
    fs::read_dir("/proc").unwrap().flatten().any(has)
}

fn settle(before: &Snapshot) -> Result<(), Failed> {
    let end = Instant::now() + patience();
    loop {
        let listed = nsctl(&["ps", "-aq"]);
        must(listed.code == 0 && listed.out.is_empty(), "ps lists no ghost", &listed)?;
        match before.compare_now() {
            Ok(()) => return Ok(()),
            Err(left) if Instant::now() > end => return Err(left),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A container that is there is not lost because somebody who starts it again is killed: nor are its words and its log.
fn second_start() -> Result<(), Failed> {
    let before = Snapshot::take();
    let kept = Kept::shell(&["--name", "y", "-m", "64m"], "echo kept; exec sleep 39000.5")?;
    kept.said("kept\n")?;
    says(&["stop", "-t", "1", "y"], 0, "y\n")?;
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut runs = 0;
    for moment in 0..60u64 {
        let running: Running = spawn(&["start", "y"]);
        std::thread::sleep(Duration::from_micros(random.below(9000)));
        if moment % 3 == 2 {
            inside().into_iter().for_each(kill);
        }
        drop(running);
        let mut state = String::new();
        // PID 1 hears of it when it has come to wait for its record.
        until(&format!("moment {moment}: it runs or has ended"), || {
            state = kept.shown("state");
            state == "running" || state.starts_with("exited")
        })?;
        runs += u32::from(state == "running");
        let logged = nsctl(&["logs", "y"]);
        must(logged.out.starts_with("kept\n"), "its log is as it was", &logged)?;
        let stopped = nsctl(&["stop", "-t", "1", "y"]);
        must(stopped.code == 0, &format!("moment {moment}: stop"), &stopped)?;
        until("nobody sleeps", || !sleeps())?;
    }
    println!("60 moments of a second start; it ran after {runs} of them");
    says(&["start", "y"], 0, "y\n")?;
    says(&["exec", "y", "true"], 0, "")?;
    drop(kept);
    settle(&before)
}
