//! Limits → what is to be written to which files, for v2 and for v1.
//! v2: Documentation/admin-guide/cgroup-v2.rst; v1: Documentation/admin-guide/cgroup-v1/.

use crate::linux::cgroup::{Setting, Version};
use crate::spec::{CPU_PERIOD, Limits, UNLIMITED, weight_of_shares};

/// A setting and the controller that has its files.
pub(crate) struct Wanted {
    pub(crate) controller: &'static str,
    pub(crate) setting: Setting,
}

/// What the limits ask for where a controller is on that version. A setting without files cannot be made on that version. `disks` are
/// the devices of `Limits::throttle`.
#[inline(never)]
pub(crate) fn settings(limits: &Limits, disks: &[u64], version: &dyn Fn(&str) -> Version) -> Vec<Wanted> {
    let mut all = Settings { wanted: Vec::new(), version };
    all.memory(limits);
    all.cpu(limits);
    for (option, list, file) in
        [("--cpuset-cpus", &limits.cpuset_cpus, "cpuset.cpus"), ("--cpuset-mems", &limits.cpuset_mems, "cpuset.mems")]
    {
        if let Some(list) = list {
            all.add("cpuset", option, file, file, list.clone());
        }
    }
    all.number("pids", "--pids-limit", "pids.max", "pids.max", limits.pids);
    all.io(limits, disks);
    for (page, bytes) in &limits.hugetlb {
        let names =
            if all.is_v2("hugetlb") { ["max", "rsvd.max"] } else { ["limit_in_bytes", "rsvd.limit_in_bytes"] };
        let files = names.map(|name| (format!("hugetlb.{page}.{name}"), bytes.to_string()));
        all.push("hugetlb", "--hugetlb-limit", files.into());
    }
    all.wanted
}

struct Settings<'a> {
    wanted: Vec<Wanted>,
    version: &'a dyn Fn(&str) -> Version,
}

impl Settings<'_> {
    fn is_v2(&self, controller: &str) -> bool {
        (self.version)(controller) == Version::V2
    }

    fn push(&mut self, controller: &'static str, option: &'static str, files: Vec<(String, String)>) {
        self.wanted.push(Wanted { controller, setting: Setting { option, files, optional: false } });
    }

    /// An empty name: there is no such file.
    fn add(&mut self, controller: &'static str, option: &'static str, v2: &str, v1: &str, value: String) {
        let name = if self.is_v2(controller) { v2 } else { v1 };
        let files = if name.is_empty() { Vec::new() } else { vec![(name.into(), value)] };
        self.push(controller, option, files);
    }

    #[inline(never)]
    fn number(&mut self, controller: &'static str, option: &'static str, v2: &str, v1: &str, value: Option<u64>) {
        let Some(value) = value else { return };
        let value = match value {
            // cgroup v1's pids controller was the first to say it in words.
            UNLIMITED if self.is_v2(controller) || controller == "pids" => "max".into(),
            UNLIMITED => "-1".into(),
            value => value.to_string(),
        };
        self.add(controller, option, v2, v1, value);
    }

    fn memory(&mut self, limits: &Limits) {
        self.number("memory", "--memory", "memory.max", "memory.limit_in_bytes", limits.memory);
        // As much again may be swapped out: docker's and podman's default.
        let both = limits.memory_swap.or(limits.memory.map(|bytes| bytes.saturating_mul(2).min(i64::MAX as u64)));
        let (name, value) = match (both, limits.memory) {
            _ if !self.is_v2("memory") => ("", both),
            // v2 counts swap alone. Without --memory, for an update, there is nothing to take away from it.
            (Some(both), Some(memory)) if both != UNLIMITED => ("memory.swap.max", Some(both - memory)),
            (Some(UNLIMITED), _) => ("memory.swap.max", both),
            _ => ("", both),
        };
        self.number("memory", "--memory-swap", name, "memory.memsw.limit_in_bytes", value);
        if let Some(last) = self.wanted.last_mut().filter(|_| limits.memory_swap.is_none()) {
            last.setting.optional = true;
        }
        let reserved = limits.memory_reservation;
        self.number("memory", "--memory-reservation", "memory.low", "memory.soft_limit_in_bytes", reserved);
        self.number("memory", "--memory-high", "memory.high", "", limits.memory_high);
        self.number("memory", "--oom-group", "memory.oom.group", "", limits.oom_group.map(u64::from));
    }

    fn cpu(&mut self, limits: &Limits) {
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            let option = if limits.cpu_quota.is_some() { "--cpus" } else { "--cpu-period" };
            let period = limits.cpu_period.unwrap_or(CPU_PERIOD);
            let quota = limits.cpu_quota.unwrap_or(UNLIMITED);
            self.number("cpu", option, "cpu.max", "cpu.cfs_quota_us", Some(quota));
            let v2 = self.is_v2("cpu");
            if let Some((_, value)) =
                self.wanted.last_mut().and_then(|last| last.setting.files.last_mut()).filter(|_| v2)
            {
                *value = format!("{value} {period}");
            } else if let Some(last) = self.wanted.last_mut() {
                last.setting.files.insert(0, ("cpu.cfs_period_us".into(), period.to_string()));
            }
        }
        self.number("cpu", "--cpu-burst", "cpu.max.burst", "cpu.cfs_burst_us", limits.cpu_burst);
        // Both are a share among others: a weight of 100 is 1024 shares, as systemd has it.
        let (option, weight, shares) = match (limits.cpu_shares, limits.cpu_weight) {
            (Some(shares), _) => ("--cpu-shares", Some(weight_of_shares(shares)), Some(shares)),
            (None, weight) => ("--cpu-weight", weight, weight.map(|w| (w * 1024 / 100).clamp(2, 262_144))),
        };
        let value = if self.is_v2("cpu") { weight } else { shares };
        self.number("cpu", option, "cpu.weight", "cpu.shares", value);
    }

    fn io(&mut self, limits: &Limits, disks: &[u64]) {
        let v2 = self.is_v2("io");
        if let Some(weight) = limits.io_weight {
            let files = if v2 {
                [("io.weight", weight.io()), ("io.bfq.weight", weight.bfq())]
            } else {
                [("blkio.weight", weight.bfq()), ("blkio.bfq.weight", weight.bfq())]
            };
            self.push("io", "--io-weight", files.map(|(name, value)| (name.into(), value.to_string())).into());
        }
        for (throttle, number) in limits.throttle.iter().zip(disks) {
            let (key, name) = match throttle.option {
                "--device-read-bps" => ("rbps=", "blkio.throttle.read_bps_device"),
                "--device-write-bps" => ("wbps=", "blkio.throttle.write_bps_device"),
                "--device-read-iops" => ("riops=", "blkio.throttle.read_iops_device"),
                _ => ("wiops=", "blkio.throttle.write_iops_device"),
            };
            let (major, minor) = (rustix::fs::major(*number), rustix::fs::minor(*number));
            let value = format!("{major}:{minor} {}{}", if v2 { key } else { "" }, throttle.rate);
            self.add("io", throttle.option, "io.max", name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    /// "FILE=VALUE" of all settings.
    fn written(version: Version, typed: &[(&'static str, &str)]) -> Vec<String> {
        let typed = cli::Limits(typed.iter().map(|(option, value)| (*option, (*value).to_string())).collect());
        let limits = Limits::new(&typed).unwrap();
        let disks = vec![rustix::fs::makedev(8, 16); limits.throttle.len()];
        let wanted = settings(&limits, &disks, &|_| version);
        wanted.iter().flat_map(|one| &one.setting.files).map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn each_option_has_its_files() {
        for (typed, v2, v1) in [
            (
                &[("--memory", "64m")][..],
                &["memory.max=67108864", "memory.swap.max=67108864"][..],
                &["memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=134217728"][..],
            ),
            (
                &[("--memory", "64m"), ("--memory-swap", "-1")],
                &["memory.max=67108864", "memory.swap.max=max"],
                &["memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=-1"],
            ),
            (
                &[("--memory", "64m"), ("--memory-swap", "64m")],
                &["memory.max=67108864", "memory.swap.max=0"],
                &["memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=67108864"],
            ),
            (&[("--memory-reservation", "1k")], &["memory.low=1024"], &["memory.soft_limit_in_bytes=1024"]),
            (&[("--memory-high", "-1")], &["memory.high=max"], &[]),
            (&[("--oom-group", "true")], &["memory.oom.group=1"], &[]),
            (
                &[("--cpus", "0.5")],
                &["cpu.max=50000 100000"],
                &["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"],
            ),
            (&[("--cpu-period", "5000")], &["cpu.max=max 5000"], &["cpu.cfs_period_us=5000", "cpu.cfs_quota_us=-1"]),
            (
                &[("--cpu-quota", "2000"), ("--cpu-period", "5000"), ("--cpu-burst", "1000")],
                &["cpu.max=2000 5000", "cpu.max.burst=1000"],
                &["cpu.cfs_period_us=5000", "cpu.cfs_quota_us=2000", "cpu.cfs_burst_us=1000"],
            ),
            (&[("--cpu-shares", "512")], &["cpu.weight=59"], &["cpu.shares=512"]),
            (&[("--cpu-weight", "200")], &["cpu.weight=200"], &["cpu.shares=2048"]),
            (
                &[("--cpuset-cpus", "0"), ("--cpuset-mems", "0-1")],
                &["cpuset.cpus=0", "cpuset.mems=0-1"],
                &["cpuset.cpus=0", "cpuset.mems=0-1"],
            ),
            (&[("--pids-limit", "-1")], &["pids.max=max"], &["pids.max=max"]),
            (
                &[("--blkio-weight", "500")],
                &["io.weight=4950", "io.bfq.weight=500"],
                &["blkio.weight=500", "blkio.bfq.weight=500"],
            ),
            (
                &[("--io-weight", "200")],
                &["io.weight=200", "io.bfq.weight=109"],
                &["blkio.weight=109", "blkio.bfq.weight=109"],
            ),
            (
                &[("--device-read-bps", "/dev/sdb:1m")],
                &["io.max=8:16 rbps=1048576"],
                &["blkio.throttle.read_bps_device=8:16 1048576"],
            ),
            (
                &[("--device-write-iops", "/dev/sdb:9")],
                &["io.max=8:16 wiops=9"],
                &["blkio.throttle.write_iops_device=8:16 9"],
            ),
            (
                &[("--hugetlb-limit", "2m:0")],
                &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"],
                &["hugetlb.2MB.limit_in_bytes=0", "hugetlb.2MB.rsvd.limit_in_bytes=0"],
            ),
        ] {
            assert_eq!(written(Version::V2, typed), v2, "{typed:?}");
            assert_eq!(written(Version::V1, typed), v1, "{typed:?}");
        }
    }
}
