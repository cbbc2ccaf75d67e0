//! What a container may leave behind and must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

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
            if !remembered(&entry) {
                lines.insert(format!("state {}", entry.file_name().display()));
            }
        }
        // Others on this machine use them, too.
        let ours = format!("nsctl-boxes-{}", std::process::id());
        for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
            if file.contains(&ours) || file.starts_with("/images/") {
                lines.insert(format!("{} {}", entry.file_name().display(), file.trim()));
            }
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

    fn left(&self) -> BTreeSet<String> {
        Self::take().0.difference(&self.0).cloned().collect()
    }

    /// Fails with what is there and was not before. Others on this machine may have containers, with groups and interfaces, and the
    /// kernel lets go of a loop device, and of an interface, a moment after its last user: only what stays is left behind.
    pub(crate) fn compare(&self) -> Result<(), Failed> {
        let mut left = self.left();
        let passing = |line: &String| ["cgroup ", "loop", "interface "].iter().any(|kind| line.starts_with(kind));
        let end = Instant::now() + nsctl::patience() / 2;
        while left.iter().any(passing) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            let now = Self::take().0;
            left.retain(|line| now.contains(line));
        }
        none(&left)
    }

    /// The same, for who does something about it meanwhile, and asks again.
    pub(crate) fn compare_now(&self) -> Result<(), Failed> {
        none(&self.left())
    }
}

fn none(left: &BTreeSet<String>) -> Result<(), Failed> {
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:#?}").into()) }
}

/// What stays in the state directory: what happened, which networks there are, and where ids are locked.
pub(crate) fn remembered(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy().into_owned();
    name.starts_with("events") || name == ".networks" || name == ".ids"
}

/// Groups without others in them: those above are there for them.
fn cgroups(dir: &Path, lines: &mut BTreeSet<String>) {
    let inner: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .collect();
    inner.iter().for_each(|entry| cgroups(&entry.path(), lines));
    if inner.is_empty() && dir.is_dir() {
        lines.insert(format!("cgroup {}", dir.display()));
    }
}
