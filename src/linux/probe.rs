//! Whether the kernel can do a thing for this user: by doing it, where that has no effect, not by its version.

use std::ffi::CStr;
use std::net::Ipv4Addr;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::PidfdFlags;

use super::net::{Socket, nft};
use super::process::{Ended, Process, Spawned};
use super::{cgroup, devices, file, mount, process, sys, userns};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Answer {
    Yes,
    /// The kernel does not have it.
    No,
    /// The kernel has it, but not for this user, or a limit is in the way.
    Off,
}

/// A child in a new namespace of this kind (a CLONE_NEW* bit), which ends at once.
pub(crate) fn namespace(flag: i32) -> Answer {
    match process::spawn(flag as u32 as u64, None) {
        Ok(Spawned::Child { .. }) => sys::exit(0),
        Ok(Spawned::Parent(child)) => {
            end(&child);
            Answer::Yes
        }
        Err(Errno::INVAL | Errno::NOSYS) => Answer::No,
        Err(_) => Answer::Off,
    }
}

/// Whether there are interfaces of this kind: one is made in a namespace that ends at once.
pub(crate) fn interface(kind: &CStr) -> Answer {
    in_new_network(&|| {
        let made = Socket::route()?.try_kind(kind);
        // Others say that the kind is known, and that more has to be told of it.
        if made == Err(Errno::OPNOTSUPP) { made } else { Ok(()) }
    })
}

/// Whether there is all that the rules of a network take: they are made.
pub(crate) fn nf_tables() -> Answer {
    let subnet = (Ipv4Addr::new(10, 91, 0, 0).into(), 22);
    let mut rules = nft::common(false, false);
    rules.extend(nft::network(c"nsctl0", &[subnet], false));
    in_new_network(&|| Socket::netfilter()?.change(&rules).map_err(|refused| refused.refusal.errno))
}

/// What is found out in a network namespace of its own, by a child. Errors are that there is none.
fn in_new_network(look: &dyn Fn() -> Result<(), Errno>) -> Answer {
    match process::spawn(libc::CLONE_NEWNET as u64, None) {
        Ok(Spawned::Child { .. }) => sys::exit(u8::from(look().is_err())),
        Ok(Spawned::Parent(child)) => match child.wait() {
            Ok(Ended::Exited(0)) => Answer::Yes,
            _ => Answer::No,
        },
        Err(Errno::INVAL | Errno::NOSYS) => Answer::No,
        Err(_) => Answer::Off,
    }
}

/// Interfaces whose packets a program makes.
pub(crate) fn tun() -> Answer {
    match rustix::fs::openat(CWD, c"/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Answer::Yes,
        Err(Errno::ACCESS | Errno::PERM) => Answer::Off,
        Err(_) => Answer::No,
    }
}

pub(crate) fn clone3() -> Answer {
    match sys::clone3(0, None) {
        Ok(sys::Cloned::Child) => sys::exit(0),
        Ok(sys::Cloned::Parent { pid, pidfd }) => {
            end(&Process { pid, pidfd });
            Answer::Yes
        }
        Err(_) => Answer::No,
    }
}

fn end(child: &Process) {
    while let Ok(None) = child.ended() {
        rustix::thread::sched_yield();
    }
}

pub(crate) fn pidfd() -> Answer {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    if own.is_ok() { Answer::Yes } else { Answer::No }
}

pub(crate) fn close_range() -> Answer {
    // Marks nothing: no descriptor has so high a number.
    if sys::close_on_exec_from(u32::MAX).is_ok() { Answer::Yes } else { Answer::No }
}

/// Whether the kernel has this type of file system: built in, loaded, or (where it can be asked for) as a module that loads.
pub(crate) fn filesystem(name: &str) -> Answer {
    let c_name = std::ffi::CString::new(name).unwrap_or_default();
    if rustix::mount::fsopen(&c_name, rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).is_ok() {
        return Answer::Yes;
    }
    let text = file::read_text(CWD, c"/proc/filesystems").unwrap_or_default();
    if text.lines().any(|line| line.split_whitespace().last() == Some(name)) { Answer::Yes } else { Answer::No }
}

/// The same of overlayfs, which since 5.11 also the root of a user namespace may mount.
pub(crate) fn overlay() -> Answer {
    match filesystem("overlay") {
        Answer::Yes if userns::own().is_some() && !mount::has_overlay(mount::probe()) => Answer::Off,
        other => other,
    }
}

pub(crate) fn mount_calls() -> Answer {
    if mount::probe().fds { Answer::Yes } else { Answer::No }
}

pub(crate) fn mount_setattr() -> Answer {
    if mount::probe().setattr { Answer::Yes } else { Answer::No }
}

pub(crate) fn openat2() -> Answer {
    let here = rustix::fs::openat2(CWD, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH);
    if here.is_ok() { Answer::Yes } else { Answer::No }
}

/// Whether files can be block devices: asked by the device that gives them out.
pub(crate) fn loop_devices() -> Answer {
    match rustix::fs::openat(CWD, c"/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => Answer::Yes,
        Err(Errno::ACCESS | Errno::PERM) => Answer::Off,
        Err(_) => Answer::No,
    }
}

/// Whether a mounted hierarchy, or the v2 one that could be mounted, has the controller.
pub(crate) fn controller(name: &str) -> Answer {
    let has = |hierarchy: &cgroup::Hierarchy| hierarchy.controllers.iter().any(|have| have == name);
    let found = cgroup::hierarchies().unwrap_or_default();
    let own = || cgroup::own_group().and_then(|group| cgroup::below(&group).ok()).unwrap_or_default();
    if userns::own().is_some() && found.iter().any(has) && !own().iter().any(has) {
        return Answer::Off;
    }
    if found.iter().any(has) { Answer::Yes } else { Answer::No }
}

/// The same for disks: what is io on v2 is blkio on v1.
pub(crate) fn io_controller() -> Answer {
    if controller("io") == Answer::Yes { Answer::Yes } else { controller("blkio") }
}

/// Whether a group's devices can be said: by the v1 controller, or a program that the kernel takes.
pub(crate) fn device_rules() -> Answer {
    if controller("devices") == Answer::Yes {
        return Answer::Yes;
    }
    match devices::probe() {
        Ok(()) => Answer::Yes,
        Err(Errno::PERM | Errno::ACCESS) => Answer::Off,
        Err(_) => Answer::No,
    }
}

pub(crate) fn seccomp() -> Answer {
    if sys::seccomp::is_there() { Answer::Yes } else { Answer::No }
}

/// Whether processes can be confined by landlock; what of them, its version says.
pub(crate) fn landlock() -> Answer {
    match sys::landlock::version() {
        Ok(_) => Answer::Yes,
        Err(Errno::OPNOTSUPP) => Answer::Off,
        Err(_) => Answer::No,
    }
}
