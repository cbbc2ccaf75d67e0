//! What the controllers have counted.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Group, Groups, Version};
use crate::linux::file;

/// What the memory controller says about a group.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// Processes that the kernel killed for want of memory.
    pub(crate) killed: u64,
    /// It was this group's own limit that was reached, and not that of a group above or all of the machine's memory.
    pub(crate) own_limit: bool,
    /// Bytes of the group's limit of swap, if that was reached, too.
    pub(crate) swap: Option<u64>,
    /// All processes were killed for one (memory.oom.group); counted since 5.17.
    pub(crate) as_group: bool,
    /// Bytes; None where the kernel does not keep it (v2 before 5.19).
    pub(crate) peak: Option<u64>,
}

pub(crate) fn memory(version: Version, group: impl AsFd) -> Memory {
    let group = group.as_fd();
    let text = |name: &CStr| file::read_text(group, name).unwrap_or_default();
    match version {
        Version::V1 => {
            // The count of failures is not enough: with as much memory and swap together as memory, Linux 6.18 counts none. Memory
            // is taken in batches of up to 64 pages.
            let reached = |most: &CStr, limit: &CStr| {
                number(group, most).zip(number(group, limit)).is_some_and(|(most, limit)| most + (64 << 12) > limit)
            };
            let limit = number(group, c"memory.limit_in_bytes");
            let both = number(group, c"memory.memsw.limit_in_bytes");
            let swap = reached(c"memory.memsw.max_usage_in_bytes", c"memory.memsw.limit_in_bytes");
            let own_limit = number(group, c"memory.failcnt").is_some_and(|count| count > 0)
                || reached(c"memory.max_usage_in_bytes", c"memory.limit_in_bytes")
                || swap;
            Memory {
                swap: both.zip(limit).filter(|_| swap).map(|(both, limit)| both.saturating_sub(limit)),
                killed: field(&text(c"memory.oom_control"), "oom_kill").unwrap_or(0),
                own_limit,
                as_group: false,
                peak: number(group, c"memory.max_usage_in_bytes"),
            }
        }
        Version::V2 => {
            let events = text(c"memory.events");
            let count = |key: &str| field(&events, key).unwrap_or(0);
            // The kernel does not try to swap where there is no room for more (mem_cgroup_get_nr_swap_pages), and then counts nothing.
            let full = |limit: u64| {
                let peak = number(group, c"memory.swap.peak").is_some_and(|peak| peak + (64 << 12) > limit);
                limit == 0 || peak || field(&text(c"memory.swap.events"), "max").is_some_and(|times| times > 0)
            };
            Memory {
                swap: number(group, c"memory.swap.max").filter(|limit| full(*limit)),
                killed: count("oom_kill"),
                own_limit: count("oom") > 0,
                as_group: count("oom_group_kill") > 0,
                peak: number(group, c"memory.peak"),
            }
        }
    }
}

/// How often the kernel has killed something in the group for want of memory. Does not allocate.
pub(crate) fn oom_kills(root: BorrowedFd<'_>, dir: &CStr) -> u64 {
    let Ok(group) = file::open_dir(root, dir) else { return 0 };
    let count = |name: &CStr| {
        let mut bytes = [0; 512];
        let length = file::open(&group, name).and_then(|file| rustix::io::read(file, &mut bytes[..])).ok()?;
        field(std::str::from_utf8(&bytes[..length]).ok()?, "oom_kill")
    };
    // One of the two is there, or none.
    count(c"memory.events").or_else(|| count(c"memory.oom_control")).unwrap_or(0)
}

/// What a container uses, and how much of it it may use. None: no group of it has the controller that counts this, or the
/// kernel does not. Limits are None, too, where there is none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) memory_peak: Option<u64>,
    /// Pages of files that nobody used lately, which docker does not count as used.
    pub(crate) memory_inactive_file: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
    /// Microseconds of processor time.
    pub(crate) cpu: Option<u64>,
    /// Tasks: processes and threads.
    pub(crate) pids: Option<u64>,
    pub(crate) pids_limit: Option<u64>,
    /// Bytes that went from and to block devices.
    pub(crate) io_read: Option<u64>,
    pub(crate) io_write: Option<u64>,
}

impl Groups {
    /// What is read of each group is what its controllers have.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for group in &self.0 {
            match group.version {
                Version::V2 => group.count_v2(&mut usage),
                Version::V1 => group.count_v1(&mut usage),
            }
        }
        usage
    }
}

impl Group {
    fn number(&self, file: &CStr) -> Option<u64> {
        number(&self.fd, file)
    }

    fn text(&self, file: &CStr) -> String {
        file::read_text(&self.fd, file).unwrap_or_default()
    }

    fn count_v2(&self, usage: &mut Usage) {
        // There is one without the controller, too (Linux 4.15).
        usage.cpu = usage.cpu.or(field(&self.text(c"cpu.stat"), "usage_usec"));
        if let Some(bytes) = self.number(c"memory.current") {
            usage.memory = Some(bytes);
            // "max" is no number.
            usage.memory_limit = self.number(c"memory.max");
            usage.memory_peak = self.number(c"memory.peak");
            usage.memory_inactive_file = field(&self.text(c"memory.stat"), "inactive_file");
            usage.oom_kills = field(&self.text(c"memory.events"), "oom_kill");
        }
        if let Some(tasks) = self.number(c"pids.current") {
            usage.pids = Some(tasks);
            usage.pids_limit = self.number(c"pids.max");
        }
        // "8:0 rbytes=… wbytes=… rios=…", a line for each device.
        if let Ok(text) = file::read_text(&self.fd, c"io.stat") {
            let sum = |key: &str| {
                text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
            };
            usage.io_read = Some(sum("rbytes="));
            usage.io_write = Some(sum("wbytes="));
        }
    }

    fn count_v1(&self, usage: &mut Usage) {
        if self.has("memory") {
            usage.memory = self.number(c"memory.usage_in_bytes");
            // No limit is a number beyond all memory, rounded down to pages.
            usage.memory_limit = self.number(c"memory.limit_in_bytes").filter(|bytes| *bytes < 1 << 62);
            usage.memory_peak = self.number(c"memory.max_usage_in_bytes");
            usage.memory_inactive_file = field(&self.text(c"memory.stat"), "total_inactive_file");
            usage.oom_kills = field(&self.text(c"memory.oom_control"), "oom_kill");
        }
        if self.has("cpuacct") {
            usage.cpu = self.number(c"cpuacct.usage").map(|nanoseconds| nanoseconds / 1000).or(usage.cpu);
        }
        if self.has("pids") {
            usage.pids = self.number(c"pids.current");
            usage.pids_limit = self.number(c"pids.max");
        }
        if self.has("blkio") {
            let text = self.text(c"blkio.throttle.io_service_bytes_recursive");
            // "8:0 Read 4096", and at the end "Total 4096".
            let sum = |kind: &str| {
                let lines = text
                    .lines()
                    .filter_map(|line| line.split_once(' ')?.1.strip_prefix(kind)?.trim().parse::<u64>().ok());
                lines.sum()
            };
            usage.io_read = Some(sum("Read "));
            usage.io_write = Some(sum("Write "));
        }
    }
}

/// A file that holds a number.
fn number(dir: impl AsFd, name: &CStr) -> Option<u64> {
    file::read_text(dir, name).ok()?.trim().parse().ok()
}

/// The value of a line "KEY VALUE".
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    for key in ["oom_kill", "usage_usec", "total_inactive_file"] {
        let _ = field(text, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "oom"), Some(3));
        assert_eq!(field(text, "kill"), None);
    }
}
