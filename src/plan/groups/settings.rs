//! Limits → what is to be written to which files, for v2 and for v1.
//! v2: Documentation/admin-guide/cgroup-v2.rst; v1: Documentation/admin-guide/cgroup-v1/.

use crate::linux::cgroup::{Setting, Version};
use crate::spec::{CPU_PERIOD, Limits, UNLIMITED, weight_of_shares};

/// A setting and the controller that has its files.
pub(crate) struct Wanted {
    pub(crate) controller: &'static str,
    pub(crate) setting: Setting,
}

/// What the limits ask for where this controller is on that version; the controller's own name there. A setting without files cannot
/// be made on that version. `disks` are the devices of `Limits::throttle`.
pub(crate) fn settings(limits: &Limits, disks: &[u64], version: &dyn Fn(&str) -> Version) -> Vec<Wanted> {
    let mut all = Settings { wanted: Vec::new(), version };
    all.memory(limits);
    all.cpu(limits);
    for (option, list, file) in
        [("--cpuset-cpus", &limits.cpuset_cpus, "cpuset.cpus"), ("--cpuset-mems", &limits.cpuset_mems, "cpuset.mems")]
    {
        if let Some(list) = list {
            all.same("cpuset", option, file, list.clone());
        }
    }
    if let Some(tasks) = limits.pids {
        all.same("pids", "--pids-limit", "pids.max", or_max(tasks));
    }
    all.io(limits, disks);
    for (page, bytes) in &limits.hugetlb {
        let file = |end: &str| (format!("hugetlb.{page}.{end}"), bytes.to_string());
        all.add(
            "hugetlb",
            "--hugetlb-limit",
            vec![file("max"), file("rsvd.max")],
            vec![file("limit_in_bytes"), file("rsvd.limit_in_bytes")],
        );
    }
    all.wanted
}

struct Settings<'a> {
    wanted: Vec<Wanted>,
    version: &'a dyn Fn(&str) -> Version,
}

type Files = Vec<(String, String)>;

fn file(name: &str, value: impl ToString) -> Files {
    vec![(name.into(), value.to_string())]
}

fn or_max(value: u64) -> String {
    if value == UNLIMITED { "max".into() } else { value.to_string() }
}

fn or_minus_one(value: u64) -> String {
    if value == UNLIMITED { "-1".into() } else { value.to_string() }
}

impl Settings<'_> {
    fn add(&mut self, controller: &'static str, option: &'static str, v2: Files, v1: Files) {
        let files = if (self.version)(controller) == Version::V2 { v2 } else { v1 };
        self.wanted.push(Wanted { controller, setting: Setting { option, files, optional: false } });
    }

    fn same(&mut self, controller: &'static str, option: &'static str, name: &str, value: String) {
        self.add(controller, option, file(name, &value), file(name, &value));
    }

    fn memory(&mut self, limits: &Limits) {
        if let Some(bytes) = limits.memory {
            let v1 = file("memory.limit_in_bytes", bytes);
            self.add("memory", "--memory", file("memory.max", bytes), v1);
        }
        // As much again may be swapped out: docker's and podman's default.
        let both = limits.memory_swap.or(limits.memory.map(|bytes| bytes.saturating_mul(2).min(i64::MAX as u64)));
        if let Some(both) = both {
            // v2 counts swap alone. Without --memory, for an update, there is nothing to take away from it.
            let v2 = match limits.memory {
                _ if both == UNLIMITED => file("memory.swap.max", "max"),
                Some(memory) => file("memory.swap.max", both - memory),
                None => Vec::new(),
            };
            let v1 = file("memory.memsw.limit_in_bytes", or_minus_one(both));
            self.add("memory", "--memory-swap", v2, v1);
            if let Some(last) = self.wanted.last_mut().filter(|_| limits.memory_swap.is_none()) {
                last.setting.optional = true;
            }
        }
        if let Some(bytes) = limits.memory_reservation {
            let v1 = file("memory.soft_limit_in_bytes", bytes);
            self.add("memory", "--memory-reservation", file("memory.low", bytes), v1);
        }
        if let Some(bytes) = limits.memory_high {
            self.add("memory", "--memory-high", file("memory.high", or_max(bytes)), Vec::new());
        }
        if let Some(all) = limits.oom_group {
            self.add("memory", "--oom-group", file("memory.oom.group", u8::from(all)), Vec::new());
        }
    }

    fn cpu(&mut self, limits: &Limits) {
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            let option = if limits.cpu_quota.is_some() { "--cpus" } else { "--cpu-period" };
            let period = limits.cpu_period.unwrap_or(CPU_PERIOD);
            let quota = limits.cpu_quota.unwrap_or(UNLIMITED);
            let v1 = [file("cpu.cfs_period_us", period), file("cpu.cfs_quota_us", or_minus_one(quota))].concat();
            self.add("cpu", option, file("cpu.max", format!("{} {period}", or_max(quota))), v1);
        }
        if let Some(burst) = limits.cpu_burst {
            self.add("cpu", "--cpu-burst", file("cpu.max.burst", burst), file("cpu.cfs_burst_us", burst));
        }
        if let Some(shares) = limits.cpu_shares {
            let v2 = file("cpu.weight", weight_of_shares(shares));
            self.add("cpu", "--cpu-shares", v2, file("cpu.shares", shares));
        }
        if let Some(weight) = limits.cpu_weight {
            // Both are a share among others: 100 there is 1024 here, as systemd has it.
            let shares = (weight * 1024 / 100).clamp(2, 262_144);
            self.add("cpu", "--cpu-weight", file("cpu.weight", weight), file("cpu.shares", shares));
        }
    }

    fn io(&mut self, limits: &Limits, disks: &[u64]) {
        if let Some(weight) = limits.io_weight {
            let both =
                |names: [&str; 2], values: [u64; 2]| [file(names[0], values[0]), file(names[1], values[1])].concat();
            let v2 = both(["io.weight", "io.bfq.weight"], [weight.io(), weight.bfq()]);
            let v1 = both(["blkio.weight", "blkio.bfq.weight"], [weight.bfq(), weight.bfq()]);
            self.add("io", "--io-weight", v2, v1);
        }
        for (throttle, number) in limits.throttle.iter().zip(disks) {
            let (key, name) = match throttle.option {
                "--device-read-bps" => ("rbps", "read_bps"),
                "--device-write-bps" => ("wbps", "write_bps"),
                "--device-read-iops" => ("riops", "read_iops"),
                _ => ("wiops", "write_iops"),
            };
            let device = format!("{}:{}", rustix::fs::major(*number), rustix::fs::minor(*number));
            let v2 = file("io.max", format!("{device} {key}={}", throttle.rate));
            let v1 = file(&format!("blkio.throttle.{name}_device"), format!("{device} {}", throttle.rate));
            self.add("io", throttle.option, v2, v1);
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
