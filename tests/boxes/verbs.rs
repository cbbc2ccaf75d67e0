//! What is done with containers that run.

use std::fs;
use std::io::{BufRead, BufReader};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{Outcome, Running, must, nsctl, outcome, spawn, state};

pub(crate) const CASES: &[(&str, Case)] = &[("events_are_kept_and_followed", events)];

/// A container that stays until it is dropped, and is listed.
pub(crate) struct Box(Option<Running>);

impl Box {
    pub(crate) fn new(name: &str, options: &[&str], script: &str) -> Self {
        let mut args = vec!["run", "--name", name];
        args.extend(options);
        args.extend(["--", "sh", "-c", script]);
        let running = spawn(&args);
        for _ in 0..500 {
            if fs::symlink_metadata(state().join(format!("@{name}"))).is_ok()
                && nsctl(&["ps", "--format", "name"]).out.lines().any(|line| line == name)
            {
                return Self(Some(running));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let running = outcome(running);
        panic!("{name} does not start: {}", running.err);
    }

    /// Ends it.
    pub(crate) fn end(mut self) -> Outcome {
        let running = self.0.take().unwrap();
        running.signal(libc::SIGTERM);
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
    let until = (now + 10).to_string();
    let mut following = spawn(&["events", "--format", "json", "--filter", "container=happens", "--until", &until]);
    let mut lines = BufReader::new(following.stdout()).lines();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let ended = Box::new("happens", &[], "sleep 30; true").end();
    must(ended.code == 128 + 15, "SIGTERM ends it", &ended)?;
    let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
    let (start, die) = (next(), next());
    let right = start.contains(r#""name":"happens","event":"start","attributes":{"#)
        && die.contains(r#""event":"die","attributes":{"exitCode":"143"}}"#);
    if !right {
        return Err(format!("followed: {start}, {die}").into());
    }
    following.signal(libc::SIGTERM);
    outcome(following);
    let kept = nsctl(&["events", "--since", "1m", "--until", "0s", "-f", "event=die", "-f", "container=happens"]);
    let right = kept.out.lines().count() == 1 && kept.out.ends_with("(name=happens, exitCode=143)\n");
    must(right && kept.out.contains("Z container die "), "kept", &kept)?;
    let none = nsctl(&["events", "--until", "1s"]);
    must(none.code == 0 && none.out.is_empty(), "nothing between now and a second ago", &none)?;
    let wrong = nsctl(&["events", "--since", "yesterday"]);
    must(wrong.code == 125 && wrong.err.contains("--since yesterday is not a time"), "a wrong time", &wrong)
}
