//! What /proc says about processes that this benchmark started.

use crate::sys;
use std::collections::HashMap;
use std::fs;

/// pid → its children, of the whole system.
///
/// Read from every stat file: /proc/PID/task/TID/children would be shorter but needs CONFIG_PROC_CHILDREN.
fn children_by_parent() -> HashMap<i32, Vec<i32>> {
    let mut map: HashMap<i32, Vec<i32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return map;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|s| s.parse().ok()) else {
            continue;
        };
        // a process that ended meanwhile has no stat: skip it
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // "pid (comm) state ppid": comm may hold spaces and brackets, so look behind the last one
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            map.entry(parent).or_default().push(pid);
        }
    }
    map
}

/// `top`, its only child, that one's only child and so on, if the last one's name is `leaf`.
pub(crate) fn chain_to(top: i32, leaf: &str) -> Option<Vec<i32>> {
    let children = children_by_parent();
    let mut chain = vec![top];
    while let Some([child]) = children.get(chain.last()?).map(Vec::as_slice) {
        chain.push(*child);
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", chain.last()?)).ok()?;
    (name.trim_end() == leaf).then_some(chain)
}

/// SIGKILL to `top` and everything below it, the deepest first.
pub(crate) fn kill_tree(top: i32) {
    let children = children_by_parent();
    let mut found = vec![top];
    let mut at = 0;
    while at < found.len() {
        found.extend(children.get(&found[at]).into_iter().flatten());
        at += 1;
    }
    for &pid in found.iter().rev() {
        sys::kill(pid);
    }
}

/// In KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) pss: f64,
    pub(crate) rss: f64,
    pub(crate) private_clean: f64,
    pub(crate) private_dirty: f64,
    pub(crate) peak_rss: f64,
}

pub(crate) fn memory(pid: i32) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |text: &str, name: &str| -> Option<f64> {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Memory {
        pss: field(&rollup, "Pss:")?,
        rss: field(&rollup, "Rss:")?,
        private_clean: field(&rollup, "Private_Clean:")?,
        private_dirty: field(&rollup, "Private_Dirty:")?,
        peak_rss: field(&status, "VmHWM:")?,
    })
}

/// The mean over several processes; None if there is none.
pub(crate) fn mean(all: &[Memory]) -> Option<Memory> {
    let n = (!all.is_empty()).then_some(all.len() as f64)?;
    let of = |pick: fn(&Memory) -> f64| all.iter().map(pick).sum::<f64>() / n;
    Some(Memory {
        pss: of(|m| m.pss),
        rss: of(|m| m.rss),
        private_clean: of(|m| m.private_clean),
        private_dirty: of(|m| m.private_dirty),
        peak_rss: of(|m| m.peak_rss),
    })
}
