//! The steps that make the container's cgroups.

use std::os::fd::AsFd;

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::child::Inherited;
use crate::linux::{caps, cgroup, devices, file, userns};
use crate::plan::{Op, Plan};
use crate::reaper::LeftBehind;

/// Takes a step that is about a group whose hierarchy is open.
pub(super) fn step(plan: &Plan, op: &Op, inherited: &mut Inherited, left: &LeftBehind) -> Result<(), Errno> {
    match op {
        Op::MakeParent { group, level } => {
            cgroup::make(left.roots[*group].as_fd(), &plan.groups[*group].above[*level])?;
        }
        Op::Enable { group, level } => {
            let Some(planned) = plan.groups.get(*group) else { return Ok(()) };
            let dir = level.checked_sub(1).map(|above| planned.above[above].as_c_str());
            if let (Some(_), Some(own)) = (userns::own(), dir) {
                // If it cannot, the kernel says below that there is still somebody in the group.
                let _ = cgroup::step_aside(left.roots[*group].as_fd(), own);
            }
            cgroup::enable(left.roots[*group].as_fd(), dir, &planned.controllers)?;
        }
        Op::MakeGroup { group } => {
            let made = cgroup::make_new(left.roots[*group].as_fd(), &plan.groups[*group].dir)?;
            inherited.groups.push(made);
        }
        Op::InheritCpuset { group, level } => {
            let (root, above) = (left.roots[*group].as_fd(), &plan.groups[*group].above);
            let open = |level: usize| file::open_dir(root, &above[level]);
            let from = level.checked_sub(1).map(open).transpose()?;
            let from = from.as_ref().map_or(root, AsFd::as_fd);
            match above.get(*level) {
                Some(_) => cgroup::inherit_cpuset(from, open(*level)?.as_fd())?,
                None => cgroup::inherit_cpuset(from, inherited.groups[*group].as_fd())?,
            }
        }
        Op::Limit { group, setting } => setting.set(inherited.groups[*group].as_fd())?,
        Op::AllowDevices { group, rules, optional } => {
            match devices::allow(plan.groups[*group].version, inherited.groups[*group].as_fd(), rules) {
                // A kernel without CONFIG_CGROUP_BPF, or an outer container that does not let us: there are still the nodes in
                // /dev, which are no others, and mounts without devices.
                Err(_) if *optional => inherited.withheld = caps::MKNOD & !plan.privileges.given,
                other => other?,
            }
        }
        Op::MakeLeaf { group } => {
            rustix::fs::mkdirat(&inherited.groups[*group], cgroup::LEAF, Mode::from_raw_mode(0o755))?;
        }
        _ => unreachable!("a step of other files"),
    }
    Ok(())
}
