//! What limits have to know of the machine.

use rustix::fs::{AtFlags, CWD, FileType};

use crate::error::{Error, Result};
use crate::linux::cgroup::{self, Hierarchy};
use crate::linux::userns;
use crate::spec::{Limits, Spec};

/// The cgroup hierarchies, if the container needs groups. One that is merely kept does without where it cannot have any.
pub(crate) fn hierarchies(spec: &Spec) -> Result<Vec<Hierarchy>> {
    if !spec.wants_groups() {
        return Ok(Vec::new());
    }
    if userns::own().is_some() {
        let own = cgroup::own_group().map_or(Ok(Vec::new()), |group| cgroup::below(&group));
        return own.map_err(|errno| Error::os("look at the caller's own cgroup", errno));
    }
    let must = spec.limits != Limits::default() || spec.cgroup.asks();
    match cgroup::hierarchies() {
        Ok(found) if must => Ok(found),
        Ok(found) => Ok(found.into_iter().filter(cgroup::is_usable).collect()),
        Err(_) if !must => Ok(Vec::new()),
        Err(errno) => Err(Error::os("read /proc/self/mountinfo", errno)
            .hint("limits need a mounted /proc: mount -t proc proc /proc")),
    }
}

/// The numbers of the devices whose use is limited.
pub(crate) fn disks(limits: &Limits) -> Result<Vec<u64>> {
    let number = |throttle: &crate::spec::Throttle| {
        let shown = format!("{} {}", throttle.option, throttle.device.to_string_lossy());
        let stat = rustix::fs::statat(CWD, &throttle.device, AtFlags::empty())
            .map_err(|errno| Error::os(format_args!("open {shown}"), errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => Ok(stat.st_rdev),
            _ => Err(Error::new(format_args!("{shown} is no block device")).hint("such as /dev/sda")),
        }
    };
    limits.throttle.iter().map(number).collect()
}
