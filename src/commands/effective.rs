//! What the command of a container may do, as the kernel says it: read back from /proc, and not from what was asked for.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;

use miniserde::Serialize;
use rustix::fs::CWD;

use super::container::Container;
use crate::linux::{caps, file, processes};

#[derive(Serialize)]
pub(super) struct Effective {
    /// The command's process, as the host numbers it.
    pid: i32,
    cap_inheritable: Vec<String>,
    cap_permitted: Vec<String>,
    cap_effective: Vec<String>,
    cap_bounding: Vec<String>,
    cap_ambient: Vec<String>,
    no_new_privs: bool,
    /// As proc_pid_status(5) has it: disabled, strict, filter.
    seccomp: &'static str,
    /// How many filters, where the kernel says that (5.9).
    seccomp_filters: Option<u64>,
    /// The effective ones.
    uid: String,
    gid: String,
    groups: Vec<String>,
    /// Lines of "INSIDE OUTSIDE COUNT".
    uid_map: Vec<String>,
    gid_map: Vec<String>,
    umask: String,
    oom_score_adj: Option<i32>,
    /// Of an LSM, if there is one that labels processes.
    label: Option<String>,
    /// "SOFT HARD UNIT", by the names of /proc/PID/limits.
    limits: BTreeMap<String, String>,
}

/// None: it does not run, or there is no /proc to ask.
pub(super) fn effective(container: &Container) -> Option<Effective> {
    let pid = command(container)?;
    let dir = file::open_dir(CWD, &CString::new(format!("/proc/{pid}")).ok()?).ok()?;
    let status = text(&dir, "status")?;
    let field = |name: &str| {
        let find = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_string());
        status.lines().find_map(find).unwrap_or_default()
    };
    let capabilities =
        |name: &str| caps::names(u64::from_str_radix(&field(name), 16).unwrap_or(0)).collect::<Vec<_>>();
    let second = |name: &str| field(name).split_whitespace().nth(1).unwrap_or_default().to_string();
    let lines = |name: &str| {
        let text = text(&dir, name).unwrap_or_default();
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    Some(Effective {
        pid,
        cap_inheritable: capabilities("CapInh"),
        cap_permitted: capabilities("CapPrm"),
        cap_effective: capabilities("CapEff"),
        cap_bounding: capabilities("CapBnd"),
        cap_ambient: capabilities("CapAmb"),
        no_new_privs: field("NoNewPrivs") == "1",
        seccomp: match &*field("Seccomp") {
            "1" => "strict",
            "2" => "filter",
            _ => "disabled",
        },
        seccomp_filters: field("Seccomp_filters").parse().ok(),
        uid: second("Uid"),
        gid: second("Gid"),
        groups: field("Groups").split_whitespace().map(String::from).collect(),
        uid_map: lines("uid_map"),
        gid_map: lines("gid_map"),
        umask: field("Umask"),
        oom_score_adj: text(&dir, "oom_score_adj").and_then(|text| text.trim().parse().ok()),
        label: text(&dir, "attr/current").map(|text| text.trim_end_matches(['\n', '\0']).to_string()),
        limits: text(&dir, "limits").unwrap_or_default().lines().skip(1).filter_map(limit).collect(),
    })
}

/// A line is a name of 26 columns and three words (fs/proc/base.c, proc_pid_limits).
fn limit(line: &str) -> Option<(String, String)> {
    let (name, values) = line.split_at_checked(26)?;
    Some((name.trim().into(), values.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn text(dir: &OwnedFd, name: &str) -> Option<String> {
    file::read_text(dir, &CString::new(name).ok()?).ok()
}

/// That of the container's command: PID 1 itself, or its child.
fn command(container: &Container) -> Option<i32> {
    let record = container.record();
    if !container.entry.alive {
        return None;
    }
    if !record.init {
        return Some(record.pid);
    }
    let known = container.entry.status.as_ref().map_or(0, |status| status.pid as i32);
    let children = processes::around(record.pid).ok()?.into_iter().filter(|process| process.parent == record.pid);
    // One in the foreground says nothing; its command is the first child.
    if known == 0 {
        return children.min_by_key(|process| process.inside).map(|process| process.pid);
    }
    children.into_iter().find(|process| process.inside == known).map(|process| process.pid)
}
