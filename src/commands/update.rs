//! `nsctl update`: other limits for a container that runs. The same options mean the same files as at its start; what it needs more
//! of controllers and groups is made.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FlockOperation};
use rustix::io::Errno;

use crate::cli;
use crate::commands::container::{self, Container, REFUSED};
use crate::commands::machine;
use crate::error::{self, Error, Result};
use crate::linux::cgroup::{self, Hierarchy, Setting, Version};
use crate::linux::file;
use crate::linux::text::shown;
use crate::plan::settings;
use crate::spec::{CPU_PERIOD, Limits, UNLIMITED};
use crate::state::{Cgroup, Record};

pub(crate) fn update(typed: &cli::Update) -> Result<u8> {
    // Nonsense is refused before anything is changed.
    Limits::new(&typed.limits)?;
    let mut code = 0;
    for word in &typed.containers {
        let done = container::find(word)
            .and_then(|mut found| one(&mut found, &typed.limits).map(|()| found.note("update", &[])))
            .and_then(|()| container::done(word));
        // Every failure is said, and the others come to their turn.
        done.unwrap_or_else(|error| {
            error::report(&error);
            code = REFUSED;
        });
    }
    Ok(code)
}

fn one(container: &mut Container, typed: &cli::Limits) -> Result<()> {
    if !container.entry.alive {
        return Err(container.refused("does not run").hint("limits are given at its start, by run or create"));
    }
    // For two updates at once: each may find that a group is missing.
    rustix::fs::flock(container.state.fd(), FlockOperation::LockExclusive)
        .map_err(|errno| Error::os("lock the state directory", errno))?;
    container.entry.read_again();
    let record = &mut container.entry.record;
    let before = record.cgroups.len();
    let done = Limits::new(typed).and_then(|limits| set(record, limits));
    let more = record.cgroups.len() > before || done.is_ok();
    let recorded = if more { container.entry.rewrite() } else { Ok(()) };
    let _ = rustix::fs::flock(container.state.fd(), FlockOperation::Unlock);
    recorded
        .map_err(|errno| Error::os(format_args!("record the groups of container {}", container.shown()), errno))?;
    done
}

/// Sets the limits in the groups of the record, which may become more. After an error, too: some of the limits may have been set.
pub(crate) fn set(record: &mut Record, mut limits: Limits) -> Result<()> {
    if record.cgroups.is_empty() {
        return Err(
            Error::new(format_args!("container {} has no cgroup", record.id)).hint("it was started without one")
        );
    }
    let hierarchies = cgroup::hierarchies().map_err(|errno| Error::os("read /proc/self/mountinfo", errno))?;
    Update { record, hierarchies }.set(&mut limits)
}

struct Update<'a> {
    record: &'a mut Record,
    hierarchies: Vec<Hierarchy>,
}

impl Update<'_> {
    fn set(&mut self, limits: &mut Limits) -> Result<()> {
        self.complete(limits)?;
        let version =
            |controller: &str| self.hierarchy(controller).map_or(Version::V2, |hierarchy| hierarchy.version);
        let mut left = Vec::new();
        for wanted in settings(limits, &machine::disks(limits)?, &version) {
            if wanted.setting.files.is_empty() {
                return Err(Error::new(format_args!(
                    "{}: cgroup v1 has no such limit, and has the {} controller here",
                    wanted.setting.option, wanted.controller
                )));
            }
            let group = self.group(wanted.controller, &wanted.setting)?;
            left.push((group, wanted.setting));
        }
        // Two limits of which one must not be above the other can be set in one order only, whether up or down.
        for last in [false, true] {
            let mut refused = Vec::new();
            for (group, setting) in left {
                let dir = open(&self.record.cgroups[group])?;
                match setting.set(dir.as_fd()) {
                    Ok(()) => {}
                    Err(Errno::INVAL | Errno::BUSY) if !last => refused.push((group, setting)),
                    Err(errno) => return Err(self.sentence(group, &setting, errno)),
                }
            }
            left = refused;
        }
        Ok(())
    }

    /// What one file of v2 has together, and the user gave a part of.
    fn complete(&self, limits: &mut Limits) -> Result<()> {
        if let (None, Some(both)) = (limits.memory, limits.memory_swap)
            && both != UNLIMITED
        {
            let memory = self.read("memory", c"memory.max").and_then(|text| text.trim().parse().ok());
            if let Some(memory) = memory {
                if memory > both {
                    return Err(Error::new("--memory-swap is less than --memory is").hint("give both"));
                }
                limits.memory = Some(memory);
            } else if self.hierarchy("memory").is_some_and(|hierarchy| hierarchy.version == Version::V2) {
                return Err(Error::new("--memory-swap without --memory").hint("it is memory and swap together"));
            }
        }
        if limits.cpu_quota.is_some() != limits.cpu_period.is_some() {
            let number = |text: &str| text.trim().parse::<u64>().ok();
            let (quota, period) = match self.read("cpu", c"cpu.max") {
                Some(text) => {
                    let (quota, period) = text.split_once(' ').unwrap_or_default();
                    (number(quota), number(period))
                }
                None => {
                    let read = |name: &CStr| number(&self.read("cpu", name)?);
                    (read(c"cpu.cfs_quota_us"), read(c"cpu.cfs_period_us"))
                }
            };
            limits.cpu_quota = limits.cpu_quota.or(quota).or(Some(UNLIMITED));
            limits.cpu_period = limits.cpu_period.or(period).or(Some(CPU_PERIOD));
        }
        Ok(())
    }

    /// The hierarchy that has the controller on this machine.
    fn hierarchy(&self, controller: &str) -> Option<&Hierarchy> {
        cgroup::with(&self.hierarchies, controller).map(|index| &self.hierarchies[index])
    }

    /// The number of the container's group in that hierarchy.
    fn known(&self, hierarchy: &Hierarchy) -> Option<usize> {
        let mount = hierarchy.mount.to_string_lossy();
        self.record.cgroups.iter().position(|group| group.mount == mount)
    }

    fn read(&self, controller: &str, name: &CStr) -> Option<String> {
        let group = self.known(self.hierarchy(controller)?)?;
        file::read_text(open(&self.record.cgroups[group]).ok()?, name).ok()
    }

    /// The number of the group that has the controller, made if need be.
    fn group(&mut self, controller: &'static str, setting: &Setting) -> Result<usize> {
        let Some(hierarchy) = self.hierarchy(controller).cloned() else {
            return Err(Error::new(format_args!(
                "{}: no mounted cgroup hierarchy has the {controller} controller",
                setting.option
            ))
            .hint(format_args!("the kernel needs {}", cgroup::controller_needs(controller))));
        };
        let known = match self.known(&hierarchy) {
            Some(group) => group,
            // Nobody would remove it.
            None if !self.record.kept => {
                return Err(Error::new(format_args!(
                    "{}: container {} runs in the foreground, and has no cgroup in {}",
                    setting.option,
                    self.record.id,
                    shown(&hierarchy.mount)
                ))
                .hint("on cgroup v1 its first limit of a kind is given at its start"));
            }
            None => self.join(&hierarchy).map_err(|errno| {
                Error::os(
                    format_args!("make a cgroup of container {} below {}", self.record.id, shown(&hierarchy.mount)),
                    errno,
                )
            })?,
        };
        let group = &mut self.record.cgroups[known];
        if group.v2 && !group.controllers.iter().any(|name| name == controller) {
            enable(group, controller).map_err(|errno| {
                Error::os(
                    format_args!("enable the cgroup controller {controller} for {}/{}", group.mount, group.dir),
                    errno,
                )
            })?;
            group.controllers.push(controller.into());
        }
        Ok(known)
    }

    /// Makes a group in one more hierarchy, and moves all processes of the container there.
    fn join(&mut self, hierarchy: &Hierarchy) -> std::result::Result<usize, Errno> {
        let old = self.record.groups();
        let dir = self.record.cgroups[0].dir.clone();
        let root = cgroup::open_root(&hierarchy.mount)?;
        let v1_cpuset = hierarchy.version == Version::V1 && hierarchy.controllers.iter().any(|name| name == "cpuset");
        let mut from = file::open_dir(CWD, &hierarchy.mount)?;
        for path in above(&dir) {
            cgroup::make(root.as_fd(), &path)?;
            let next = file::open_dir(&root, &path)?;
            if v1_cpuset {
                cgroup::inherit_cpuset(from.as_fd(), next.as_fd())?;
            }
            from = next;
        }
        let group = cgroup::make_new(root.as_fd(), &CString::new(dir.as_str()).map_err(|_| Errno::INVAL)?)?;
        if v1_cpuset {
            cgroup::inherit_cpuset(from.as_fd(), group.as_fd())?;
        }
        // What is forked meanwhile is found by looking again.
        let mut moved = Vec::new();
        loop {
            let new: Vec<i32> = old.pids()?.into_iter().filter(|pid| !moved.contains(pid)).collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                match file::write(&group, c"cgroup.procs", pid.to_string().as_bytes()) {
                    // It has ended.
                    Err(Errno::SRCH) => {}
                    other => other?,
                }
                moved.push(pid);
            }
        }
        let names = hierarchy.controllers.iter().filter(|name| !["rw", "ro"].contains(&name.as_str()));
        self.record.cgroups.push(Cgroup {
            mount: hierarchy.mount.to_string_lossy().into_owned(),
            dir,
            v2: hierarchy.version == Version::V2,
            controllers: if hierarchy.version == Version::V2 { Vec::new() } else { names.cloned().collect() },
        });
        Ok(self.record.cgroups.len() - 1)
    }

    fn sentence(&self, group: usize, setting: &Setting, errno: Errno) -> Error {
        let group = &self.record.cgroups[group];
        let (file, value) = setting.files.first().map_or(("", ""), |(file, value)| (file, value));
        let hint = match errno {
            Errno::NOENT => {
                format!("{}: this kernel has no such limit; it takes {}", setting.option, setting.needs())
            }
            Errno::BUSY => "the container uses more than that, and cannot give it back".into(),
            Errno::INVAL | Errno::RANGE => "the kernel does not take this value beside the others".into(),
            _ => String::new(),
        };
        Error::os(format_args!("set {file} to {value} in the cgroup {}/{}", group.mount, group.dir), errno).hint(hint)
    }
}

fn open(group: &Cgroup) -> Result<OwnedFd> {
    let c_string = |text: &str| CString::new(text).unwrap_or_default();
    let open = || file::open_dir(file::open_dir(CWD, &c_string(&group.mount))?, &c_string(&group.dir));
    open().map_err(|errno| Error::os(format_args!("open the cgroup {}/{}", group.mount, group.dir), errno))
}

/// The directories above this one, from the root down.
fn above(dir: &str) -> impl Iterator<Item = CString> {
    dir.match_indices('/').map(|(at, _)| CString::new(&dir[..at]).unwrap_or_default())
}

/// v2: from the root down to the group.
fn enable(group: &Cgroup, controller: &str) -> std::result::Result<(), Errno> {
    let root = file::open_dir(CWD, &CString::new(group.mount.as_str()).map_err(|_| Errno::INVAL)?)?;
    let text = CString::new(format!("+{controller}")).map_err(|_| Errno::INVAL)?;
    cgroup::enable(root.as_fd(), None, &text)?;
    above(&group.dir).try_for_each(|dir| cgroup::enable(root.as_fd(), Some(&dir), &text))
}
