//! The steps that make cgroups, as text.

use super::{quoted, write};
use crate::linux::cgroup::Version;
use crate::linux::text::shown;
use crate::plan::{Op, Plan};

pub(super) fn text(plan: &Plan, op: &Op) -> (String, String) {
    let mount = |index: &usize| shown(&plan.groups[*index].mount);
    let inside = |index: &usize| format!("{}/{}", mount(index), shown(&plan.groups[*index].dir));
    let (call, why): (String, &str) = match op {
        Op::OpenOtherHierarchies { mounts } => {
            let mounts: Vec<String> = mounts.iter().map(|mount| quoted(mount).to_string()).collect();
            (
                format!("openat(AT_FDCWD, {}, …O_DIRECTORY)", mounts.join(" and ")),
                "nsctl update may make a group there later, and somebody has to remove it",
            )
        }
        Op::RemoveOtherGroups => (
            format!(
                "unlinkat(…, {}, AT_REMOVEDIR) = -1 ENOENT",
                plan.groups.first().map_or_else(String::new, |group| quoted(&group.dir).to_string())
            ),
            "in the other hierarchies: there is none, unless nsctl update made it",
        ),
        Op::MakeParent { group, level } => (
            format!(
                "mkdirat({}, {}, 0755)",
                quoted(&plan.groups[*group].mount),
                quoted(&plan.groups[*group].above[*level])
            ),
            if level + 1 == plan.groups[*group].above.len() {
                "the group above all containers' groups"
            } else {
                "on the way to it"
            },
        ),
        Op::Enable { group, level } => {
            let above = level.checked_sub(1).map(|above| format!("{}/", shown(&plan.groups[*group].above[above])));
            let file = format!("{}/{}cgroup.subtree_control", mount(group), above.unwrap_or_default());
            (
                write(&file, &plan.groups[*group].controllers.to_string_lossy()),
                "v2: only the controllers asked for, from the root down",
            )
        }
        Op::MakeGroup { group } => (
            format!(
                "mkdirat({}, {}, 0755); flock(…, LOCK_UN)",
                quoted(&plan.groups[*group].mount),
                quoted(&plan.groups[*group].dir)
            ),
            "the container's own group",
        ),
        Op::InheritCpuset { group, level } => {
            let dir = plan.groups[*group].above.get(*level);
            let dir = dir.map_or_else(|| inside(group), |dir| format!("{}/{}", mount(group), shown(dir)));
            (
                write(&format!("{dir}/cpuset.{{cpus,mems}}"), "as above"),
                "v1 lets no task into a cpuset without processors and memory nodes",
            )
        }
        Op::Limit { group, setting } => {
            let one = |(file, value): &(String, String)| write(&format!("{}/{file}", inside(group)), value);
            let calls: Vec<String> = setting.files.iter().map(one).collect();
            let why = if setting.optional {
                "the limit for memory and swap; without swap accounting the file is not there".into()
            } else {
                setting.option.to_string()
            };
            return (calls.join("; "), why);
        }
        Op::AllowDevices { group, rules, optional } => {
            let rules: Vec<String> = rules.iter().map(|rule| rule.text()).collect();
            let call = match plan.groups[*group].version {
                Version::V2 => {
                    format!("bpf(BPF_PROG_LOAD, {{{}}}); bpf(BPF_PROG_ATTACH, {})", rules.join(", "), inside(group))
                }
                Version::V1 => format!(
                    "{}; write(devices.allow, {})",
                    write(&format!("{}/devices.deny", inside(group)), "a"),
                    rules.join(", ")
                ),
            };
            let why = if *optional {
                "which devices can be opened, whatever nodes there are; a kernel may lack it"
            } else {
                "which devices can be opened, whatever nodes there are"
            };
            (call, why)
        }
        Op::MakeLeaf { group } => (
            format!("mkdirat({}/{}, \"payload\", 0755)", mount(group), shown(&plan.groups[*group].dir)),
            "a group that hands controllers on must have no processes of its own",
        ),
        Op::Delegate { group, user } => {
            let enter = match plan.groups[*group].version {
                Version::V2 => write(&format!("{}/payload/cgroup.procs", inside(group)), "0"),
                Version::V1 => String::new(),
            };
            let chown = if user.is_some() { "fchownat(…, the user's)" } else { "" };
            let separator = if enter.is_empty() || chown.is_empty() { "" } else { "; " };
            (
                format!("{enter}{separator}{chown}"),
                "--cgroup-delegate: it may make groups and move its processes, not change its limits",
            )
        }
        _ => (String::new(), ""),
    };
    (call, why.into())
}
