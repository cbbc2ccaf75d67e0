//! What a container may leave behind and must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use crate::nsctl;

/// The parts of the machine that a container touches, as lines of text.
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        let mut lines = BTreeSet::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for line in mounts.lines() {
            lines.insert(format!("mount {line}"));
            if line.contains(" - cgroup") {
                let target = line.split(' ').nth(4).unwrap_or_default();
                cgroups(&Path::new(target).join("nsctl"), &mut lines);
            }
        }
        for entry in fs::read_dir(nsctl::state()).into_iter().flatten().flatten() {
            lines.insert(format!("state {}", entry.file_name().display()));
        }
        let interfaces = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        lines.extend(
            interfaces
                .lines()
                .skip(2)
                .filter_map(|line| line.split(':').next())
                .map(|name| format!("interface {name}")),
        );
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        lines.extend(children.split_whitespace().map(|pid| format!("child {pid}")));
        for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
            let own = format!("/proc/{}", std::process::id());
            if let Some(target) = fs::read_link(entry.path()).ok().filter(|target| !target.starts_with(&own)) {
                lines.insert(format!("fd {} {}", entry.file_name().display(), target.display()));
            }
        }
        Self(lines)
    }

    pub(crate) fn compare(&self) -> Result<(), Failed> {
        let after = Self::take();
        let left: Vec<&String> = after.0.difference(&self.0).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:#?}").into()) }
    }
}

fn cgroups(dir: &Path, lines: &mut BTreeSet<String>) {
    if dir.is_dir() {
        lines.insert(format!("cgroup {}", dir.display()));
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            cgroups(&entry.path(), lines);
        }
    }
}
