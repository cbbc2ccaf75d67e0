//! Kernel mechanisms, each in a file of its own. Nothing here knows a Spec or a Plan, and nothing prints.

pub(crate) mod sys;

pub(crate) mod caps;
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod devices;
pub(crate) mod elf;
pub(crate) mod file;
pub(crate) mod idmap;
pub(crate) mod join;
pub(crate) mod kconfig;
pub(crate) mod landlock;
pub(crate) mod loop_device;
pub(crate) mod lsm;
pub(crate) mod mount;
pub(crate) mod mounts;
pub(crate) mod net;
pub(crate) mod path;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod procfs;
pub(crate) mod sealed;
pub(crate) mod socket;
pub(crate) mod text;
pub(crate) mod tree;
pub(crate) mod tty;
pub(crate) mod upper;
pub(crate) mod userns;
pub(crate) mod users;

/// The error of a number that somebody else says. EIO: the kernel has none of that number (MAX_ERRNO, linux/err.h).
pub(crate) fn errno(number: i32) -> rustix::io::Errno {
    rustix::io::Errno::from_raw_os_error(if (1..4096).contains(&number) { number } else { libc::EIO })
}
