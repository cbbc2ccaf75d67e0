//! The options that say how much a container may use: `run` and `update` have them in common.

use lexopt::{Parser, ValueExt};

use super::{once_text, text, wrong};
use crate::error::{Error, Result};

/// The options as typed, in order, by their own names.
#[derive(Default)]
pub(crate) struct Limits(pub(crate) Vec<(&'static str, String)>);

/// Those that are said once, and have a value.
const SINGLE: &[&str] = &[
    "--memory",
    "--memory-swap",
    "--memory-reservation",
    "--memory-high",
    "--cpus",
    "--cpu-shares",
    "--cpu-weight",
    "--cpu-quota",
    "--cpu-period",
    "--cpu-burst",
    "--cpuset-cpus",
    "--cpuset-mems",
    "--pids-limit",
    "--blkio-weight",
    "--io-weight",
];

/// Those of which there may be several.
const LISTS: &[&str] =
    &["--device-read-bps", "--device-write-bps", "--device-read-iops", "--device-write-iops", "--hugetlb-limit"];

/// Where the groups are, and what only a start can do.
#[derive(Default)]
pub(crate) struct Cgroup {
    pub(crate) group: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) delegate: bool,
    pub(crate) device_rules: Vec<String>,
    pub(crate) oom_score_adj: Option<String>,
}

impl Limits {
    /// Takes the option if it is one of these.
    pub(crate) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        let known = |list: &[&'static str]| list.iter().copied().find(|option| option[2..] == *name);
        if name == "oom-group" {
            self.0.push((
                "--oom-group",
                parser.optional_value().map_or(Ok("true".into()), |value| value.string()).map_err(wrong)?,
            ));
        } else if let Some(option) = known(SINGLE) {
            if self.0.iter().any(|(seen, _)| *seen == option) {
                return Err(Error::new(format_args!("{option} was given twice")));
            }
            self.0.push((option, text(parser)?));
        } else if let Some(option) = known(LISTS) {
            self.0.push((option, text(parser)?));
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl Cgroup {
    /// Takes the option if it is one of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "cgroup" => once_text(&mut self.group, "--cgroup", parser)?,
            "cgroup-parent" => once_text(&mut self.parent, "--cgroup-parent", parser)?,
            "cgroup-delegate" => super::run::flag(&mut self.delegate, parser)?,
            "device-cgroup-rule" => self.device_rules.push(text(parser)?),
            "oom-score-adj" => once_text(&mut self.oom_score_adj, "--oom-score-adj", parser)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
