//! One limit as a group's files have it.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::linux::file;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    /// As which the user asked for it.
    pub(crate) option: &'static str,
    /// Control files and what is to be written to them, in this order. A kernel has some or all of them; the limit holds if it has
    /// one.
    pub(crate) files: Vec<(String, String)>,
    /// The kernel may lack all of them: nobody asked for it.
    pub(crate) optional: bool,
}

impl Setting {
    /// ENOENT: the kernel has none of the files.
    pub(crate) fn set(&self, group: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut done = if self.optional { Ok(()) } else { Err(Errno::NOENT) };
        for (name, value) in &self.files {
            let name = CString::new(name.as_str()).map_err(|_| Errno::INVAL)?;
            match file::write(group, &name, value.as_bytes()) {
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
                Ok(()) => done = Ok(()),
            }
        }
        done
    }

    /// The CONFIG without which the kernel has no such files, or what else they need.
    pub(crate) fn needs(&self) -> &'static str {
        let file = self.files.first().map_or("", |(name, _)| name.as_str());
        match file {
            "memory.swap.max" | "memory.memsw.limit_in_bytes" => {
                "CONFIG_SWAP, before 6.1 CONFIG_MEMCG_SWAP and swapaccount=1 at boot"
            }
            "memory.oom.group" => "Linux 4.19",
            "cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us" => "CONFIG_CFS_BANDWIDTH",
            "cpu.max.burst" | "cpu.cfs_burst_us" => "CONFIG_CFS_BANDWIDTH of Linux 5.14",
            "cpu.weight" | "cpu.shares" => "CONFIG_FAIR_GROUP_SCHED",
            "io.weight" | "io.bfq.weight" | "blkio.weight" | "blkio.bfq.weight" => {
                "CONFIG_BLK_CGROUP_IOCOST or CONFIG_BFQ_GROUP_IOSCHED (modprobe bfq)"
            }
            "io.max" => "CONFIG_BLK_DEV_THROTTLING",
            _ if file.starts_with("blkio.throttle.") => "CONFIG_BLK_DEV_THROTTLING",
            _ if file.starts_with("hugetlb.") => "pages of that size",
            _ => "this limit",
        }
    }
}

/// The CONFIG that a kernel needs for a controller.
pub(crate) fn controller_needs(controller: &str) -> &'static str {
    match controller {
        "memory" => "CONFIG_MEMCG, and no cgroup_disable=memory at boot",
        "cpu" => "CONFIG_CGROUP_SCHED",
        "pids" => "CONFIG_CGROUP_PIDS",
        "cpuset" => "CONFIG_CPUSETS",
        "io" | "blkio" => "CONFIG_BLK_CGROUP",
        "hugetlb" => "CONFIG_CGROUP_HUGETLB",
        "devices" => "CONFIG_CGROUP_DEVICE",
        _ => "CONFIG_CGROUPS",
    }
}
