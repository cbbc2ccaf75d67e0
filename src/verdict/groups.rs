//! Why a step that makes a cgroup failed.

use rustix::io::Errno;

use crate::error::Error;
use crate::linux::cgroup::{Version, controller_needs};
use crate::linux::text::shown;
use crate::linux::userns;
use crate::plan::{Op, Plan};

pub(super) fn is_about(op: &Op) -> bool {
    matches!(
        op,
        Op::MakeParent { .. }
            | Op::Enable { .. }
            | Op::MakeGroup { .. }
            | Op::InheritCpuset { .. }
            | Op::Limit { .. }
            | Op::AllowDevices { .. }
            | Op::MakeLeaf { .. }
            | Op::Delegate { .. }
    )
}

pub(super) fn sentence(plan: &Plan, op: &Op, errno: Errno) -> Error {
    let mount = |index: &usize| shown(&plan.groups[*index].mount);
    let dir = |index: &usize| format!("{}/{}", mount(index), shown(&plan.groups[*index].dir));
    let doing = match op {
        Op::MakeParent { group, level } => {
            format!("make the cgroup {}/{}", mount(group), shown(&plan.groups[*group].above[*level]))
        }
        Op::Enable { group, .. } => format!(
            "enable the cgroup controllers {} below {}",
            shown(&plan.groups[*group].controllers),
            mount(group)
        ),
        Op::Limit { group, setting } => {
            let (file, value) = setting.files.first().map_or(("", ""), |(file, value)| (file, value));
            format!("set {file} to {value} in the cgroup {}", dir(group))
        }
        Op::AllowDevices { group, .. } => format!("set the devices of the cgroup {}", dir(group)),
        Op::MakeGroup { group } | Op::InheritCpuset { group, .. } | Op::MakeLeaf { group } => {
            format!("make the cgroup {}", dir(group))
        }
        Op::Delegate { group, .. } => format!("hand over the cgroup {}", dir(group)),
        _ => String::new(),
    };
    Error::os(doing, errno).hint(hint(plan, op, errno))
}

/// The usual reason of this error of this step.
fn hint(plan: &Plan, op: &Op, errno: Errno) -> String {
    let text = match (op, errno) {
        (Op::Enable { level: 0, .. }, Errno::BUSY) => {
            "the root of the hierarchy has processes of its own: nsctl runs inside another container's cgroup namespace"
        }
        (Op::Enable { .. }, Errno::BUSY) if userns::own().is_some() => {
            "there are others than nsctl in the user's cgroup: systemd-run --user --scope -p Delegate=yes nsctl …"
        }
        (Op::Enable { .. }, Errno::BUSY) => "the group has processes of its own: choose another --cgroup-parent",
        (Op::Enable { .. }, Errno::AGAIN) => "a process is being moved or ends there for long; try again",
        (Op::Enable { .. }, Errno::OPNOTSUPP) => "the group is threaded: choose another --cgroup-parent",
        (Op::Enable { .. }, Errno::NOENT) => "the controller is not there: it is disabled, or bound to cgroup v1",
        (Op::Enable { .. }, Errno::INVAL) => "the kernel lacks one of them, or has real-time processes",
        (Op::MakeParent { .. } | Op::MakeGroup { .. } | Op::Limit { .. }, Errno::ROFS) => {
            "the cgroup mount is read-only: nsctl runs inside another container"
        }
        (Op::AllowDevices { .. }, _) => {
            let v2 = plan.groups.iter().any(|group| group.version == Version::V2);
            if v2 {
                "on v2 it takes CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL"
            } else {
                "an outer container forbids it"
            }
        }
        (Op::MakeParent { .. } | Op::MakeGroup { .. } | Op::Limit { .. }, Errno::ACCESS | Errno::PERM) => {
            "limits need root, or a delegated cgroup"
        }
        (Op::MakeParent { .. } | Op::MakeGroup { .. }, Errno::AGAIN) => {
            "cgroup.max.descendants or cgroup.max.depth of a group above is reached"
        }
        (Op::Limit { setting, .. }, Errno::NODEV) if setting.option.starts_with("--device") => {
            "it is no disk, or a partition: name the whole disk"
        }
        (Op::Limit { setting, .. }, Errno::INVAL) if setting.option == "--cpu-burst" => {
            "it adds to the quota of --cpus, and cannot be more"
        }
        (Op::Limit { setting, .. }, Errno::INVAL | Errno::RANGE) if setting.option.starts_with("--cpuset") => {
            "the machine, or the group above, does not have all of them"
        }
        (Op::Limit { .. }, Errno::INVAL | Errno::RANGE) => "the kernel does not take this value",
        (Op::Limit { group, setting }, Errno::NOENT) => {
            let controllers = plan.groups[*group].names.iter();
            let config = controllers.map(|name| controller_needs(name)).next().unwrap_or_default();
            return format!(
                "{}: this kernel has no such limit; it takes {}, and {config}",
                setting.option,
                setting.needs()
            );
        }
        _ => "",
    };
    text.into()
}
