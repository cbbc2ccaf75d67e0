//! Containers that live on: every verb, and what is left when it is done.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{Outcome, must, nsctl, patience};

mod begin;
mod codes;
mod end;
mod exec;
mod killed;
mod logs;
mod many;
mod policy;
mod race;
mod session;

pub(crate) const CASES: &[&[(&str, Case)]] = &[
    begin::CASES,
    codes::CASES,
    end::CASES,
    exec::CASES,
    killed::CASES,
    logs::CASES,
    many::CASES,
    policy::CASES,
    race::CASES,
    session::CASES,
];

/// Where clone3, pidfd, close_range and openat2 matter.
pub(crate) const MASKED: &[(&str, Case)] =
    &[("detached_from_start_to_removal", begin::whole_life), ("exec_is_where_the_command_is", exec::place)];

/// A detached container, removed with all of it when it is dropped.
pub(crate) struct Kept(pub(crate) String);

impl Kept {
    /// `run --detach OPTIONS -- sh -c SCRIPT`
    pub(crate) fn shell(options: &[&str], script: &str) -> Result<Self, Failed> {
        Self::made("run", &[&["--detach"], options, &["--", "sh", "-c", script]].concat())
    }

    /// By `run` or `create` with these words: standard output is the id and nothing else.
    pub(crate) fn made(verb: &str, words: &[&str]) -> Result<Self, Failed> {
        let outcome = nsctl(&[&[verb], words].concat());
        let id = outcome.out.trim_end().to_string();
        let right =
            id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && outcome.out == format!("{id}\n");
        // Kept before it is looked at, so that it is removed.
        let kept = Self(id);
        must(outcome.code == 0 && right && outcome.err.is_empty(), "the id, and only that", &outcome)?;
        Ok(kept)
    }

    pub(crate) fn id(&self) -> &str {
        &self.0
    }

    /// The value of one of the columns of `ps`.
    pub(crate) fn shown(&self, column: &str) -> String {
        let listed = nsctl(&["ps", "-a", "--format", &format!("id,{column}")]);
        let line = |line: &str| Some(line.strip_prefix(self.id())?.strip_prefix('\t')?.to_string());
        listed.out.lines().find_map(line).unwrap_or_else(|| "nothing".into())
    }

    /// What `inspect` says of it.
    pub(crate) fn inspected(&self) -> String {
        nsctl(&["inspect", self.id()]).out
    }

    pub(crate) fn pid(&self) -> i32 {
        self.shown("pid").parse().unwrap_or(0)
    }

    /// Waits until what it wrote has this in it.
    pub(crate) fn said(&self, text: &str) -> Result<Outcome, Failed> {
        let mut logged = None;
        until(&format!("{} says {text}", self.id()), || {
            let outcome = nsctl(&["logs", self.id()]);
            let said = outcome.out.contains(text);
            logged = Some(outcome);
            said
        })?;
        logged.ok_or_else(|| "no log".into())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            nsctl(&["rm", "-f", &self.0]);
        }
    }
}

/// For as long as [`patience`] has it.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), Failed> {
    let end = Instant::now() + patience();
    while !done() {
        if Instant::now() > end {
            return Err(format!("not in time: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Runs nsctl and wants this code, and exactly this on standard output.
pub(crate) fn says(args: &[&str], code: i32, out: &str) -> Result<Outcome, Failed> {
    let outcome = nsctl(args);
    must(outcome.code == code && outcome.out == out, &format!("{args:?}: exit {code}, '{out}'"), &outcome)?;
    Ok(outcome)
}

/// Runs nsctl and wants it to be refused with this code and these words.
pub(crate) fn refused(args: &[&str], code: i32, words: &str) -> Result<(), Failed> {
    let outcome = nsctl(args);
    let right = outcome.code == code && outcome.err.contains(words) && outcome.out.is_empty();
    must(right, &format!("{args:?}: exit {code}, '{words}'"), &outcome)
}
