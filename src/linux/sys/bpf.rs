//! bpf(2), for the one kind of program that nsctl has: which devices a cgroup may use.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_char, c_int, c_long};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::check;

/// The fields of union bpf_attr that BPF_PROG_LOAD needs; the kernel takes what is not there as zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Those of BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    at: u32,
    flags: u32,
}

const PROG_LOAD: c_long = 5;
const PROG_ATTACH: c_long = 8;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

fn bpf<T>(command: c_long, attr: &T) -> Result<usize, Errno> {
    // SAFETY: the kernel reads as many bytes as the structure has.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attr, size_of::<T>()) })
}

/// Loads instructions of eight bytes each. ENOSYS, EINVAL: the kernel has no such programs.
///
/// Kernels before 5.11 count programs as locked memory, of which a process may have little: then the limit is raised for the moment.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let license: *const c_char = c"GPL".as_ptr();
    let attr = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license as u64,
    };
    let loaded = match bpf(PROG_LOAD, &attr) {
        Err(Errno::PERM) => {
            let limit = rustix::process::getrlimit(Resource::Memlock);
            rustix::process::setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
            let loaded = bpf(PROG_LOAD, &attr);
            rustix::process::setrlimit(Resource::Memlock, limit)?;
            loaded
        }
        loaded => loaded,
    };
    // SAFETY: the kernel made the descriptor, close-on-exec, and nobody else owns it.
    loaded.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// From now on the program is asked, for as long as the group is there; its descriptor is not needed for that.
pub(crate) fn attach_device_program(group: BorrowedFd<'_>, program: &OwnedFd) -> Result<(), Errno> {
    let attr = Attach {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        at: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attr).map(|_| ())
}
