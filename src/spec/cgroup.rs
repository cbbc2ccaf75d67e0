//! Where a container's groups are, and what only its start can give it.

use std::ffi::CString;

use super::Limits;
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::devices::Rule;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Cgroup {
    /// `--cgroup none`: it stays in the caller's.
    pub(crate) none: bool,
    /// Below the root of each hierarchy; None: nsctl's own.
    pub(crate) parent: Option<CString>,
    /// The command may make groups of its own.
    pub(crate) delegate: bool,
    /// Devices that it may use besides those of every container.
    pub(crate) rules: Vec<Rule>,
}

impl Cgroup {
    pub(super) fn new(typed: &cli::Cgroup, limits: &Limits) -> Result<Self> {
        let none = match typed.group.as_deref() {
            None => false,
            Some("none") => true,
            Some(other) => {
                return Err(Error::new(format_args!("--cgroup {other} is unknown"))
                    .hint("it is none; where the groups are made says --cgroup-parent"));
            }
        };
        let rules = typed.device_rules.iter().map(|typed| rule(typed)).collect::<Result<Vec<_>>>()?;
        let parent = typed.parent.as_deref().map(parent).transpose()?;
        for (asked, what) in [
            (*limits != Limits::default(), "limits"),
            (typed.delegate, "--cgroup-delegate"),
            (!rules.is_empty(), "--device-cgroup-rule"),
            (parent.is_some(), "--cgroup-parent"),
        ] {
            if none && asked {
                return Err(Error::new(format_args!("--cgroup none and {what} contradict each other")));
            }
        }
        Ok(Self { none, parent, delegate: typed.delegate, rules })
    }

    /// Whether there must be a group, whatever the limits are.
    pub(crate) fn asks(&self) -> bool {
        self.delegate || self.parent.is_some() || !self.rules.is_empty()
    }
}

/// A path below the root of each hierarchy, as docker has it: with or without a slash at its beginning.
fn parent(typed: &str) -> Result<CString> {
    let path = typed.trim_matches('/');
    let name = |name: &str| !matches!(name, "" | "." | "..") && !name.starts_with("cgroup.") && name.len() < 256;
    match CString::new(path) {
        Ok(path) if path.count_bytes() < 2048 && path.to_string_lossy().split('/').all(name) => Ok(path),
        _ => Err(Error::new(format_args!("--cgroup-parent {typed} is no path of a cgroup"))
            .hint("such as machine/web, below the root of the hierarchy")),
    }
}

fn rule(typed: &str) -> Result<Rule> {
    Rule::parse(typed).ok_or_else(|| {
        Error::new(format_args!("--device-cgroup-rule {typed} is no rule"))
            .hint("such as 'c 10:229 rwm', 'b *:* m' or 'a *:* rwm'")
    })
}

/// What is to be written to /proc/PID/oom_score_adj.
pub(super) fn oom_score_adj(typed: Option<&str>) -> Result<Option<i32>> {
    let Some(typed) = typed else { return Ok(None) };
    match typed.parse() {
        Ok(value) if (-1000..=1000).contains(&value) => Ok(Some(value)),
        _ => Err(Error::new(format_args!("--oom-score-adj {typed} is not a number from -1000 to 1000"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_stay_below_the_root() {
        for (typed, path) in [("/a/b", c"a/b"), ("web", c"web"), ("/machine.slice/", c"machine.slice")] {
            assert_eq!(parent(typed).unwrap().as_c_str(), path);
        }
        for typed in ["", "/", "..", "a/../b", "a//b", "./a", "a/cgroup.procs", "a\0b"] {
            assert!(parent(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn none_is_none() {
        let typed = |parent: Option<&str>| cli::Cgroup {
            group: Some("none".into()),
            parent: parent.map(String::from),
            ..cli::Cgroup::default()
        };
        assert!(Cgroup::new(&typed(None), &Limits::default()).unwrap().none);
        assert!(Cgroup::new(&typed(Some("a")), &Limits::default()).is_err());
        assert!(Cgroup::new(&typed(None), &Limits { pids: Some(1), ..Limits::default() }).is_err());
        let other = cli::Cgroup { group: Some("private".into()), ..cli::Cgroup::default() };
        assert!(Cgroup::new(&other, &Limits::default()).is_err());
    }

    #[test]
    fn scores() {
        assert_eq!(oom_score_adj(Some("-1000")).unwrap(), Some(-1000));
        assert!(oom_score_adj(Some("1001")).is_err() && oom_score_adj(Some("")).is_err());
    }
}
