//! Limits → the cgroups that they need, and the steps that make them.

use std::ffi::CString;

use super::{Group, Host, Op};
use crate::error::{Error, Result};
use crate::linux::cgroup::{Hierarchy, PARENT, Version};
use crate::spec::{CPU_PERIOD, Limits};

/// Control files, their values, and whether the kernel may lack them.
type Settings = Vec<(&'static str, String, bool)>;

/// The groups that the limits need, and the steps that make them and set the limits.
pub(super) fn plan(limits: &Limits, host: &Host) -> Result<(Vec<Group>, Vec<Op>)> {
    let mut groups: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut files = Vec::new();
    for (controller, v2, v1) in wanted(limits) {
        let hierarchy = find(&host.hierarchies, controller).ok_or_else(|| missing(controller))?;
        let group = groups.iter().position(|(index, _)| *index == hierarchy).unwrap_or_else(|| {
            groups.push((hierarchy, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(controller);
        let settings = if host.hierarchies[hierarchy].version == Version::V2 { v2 } else { v1 };
        for (file, value, optional) in settings {
            files.push(Op::Limit { group, file, value, optional });
        }
    }

    let mut ops = Vec::new();
    let made = groups
        .into_iter()
        .enumerate()
        .map(|(group, (hierarchy, controllers))| {
            make(group, &host.hierarchies[hierarchy], &controllers, &host.id, &mut ops)
        })
        .collect();
    ops.extend(files);
    Ok((made, ops))
}

/// The controllers that the limits ask for, each with its files of v2 and those of v1.
fn wanted(limits: &Limits) -> Vec<(&'static str, Settings, Settings)> {
    let mut wanted: Vec<(&str, Settings, Settings)> = Vec::new();
    if let Some(bytes) = limits.memory {
        // With swap, as much again may be swapped out: docker's and podman's default.
        let twice = bytes.saturating_mul(2).min(i64::MAX as u64).to_string();
        wanted.push((
            "memory",
            vec![("memory.max", bytes.to_string(), false), ("memory.swap.max", bytes.to_string(), true)],
            vec![("memory.limit_in_bytes", bytes.to_string(), false), ("memory.memsw.limit_in_bytes", twice, true)],
        ));
    }
    if let Some(quota) = limits.cpu_quota {
        wanted.push((
            "cpu",
            vec![("cpu.max", format!("{quota} {CPU_PERIOD}"), false)],
            vec![
                ("cpu.cfs_period_us", CPU_PERIOD.to_string(), false),
                ("cpu.cfs_quota_us", quota.to_string(), false),
            ],
        ));
    }
    if let Some(tasks) = limits.pids {
        let file = vec![("pids.max", tasks.to_string(), false)];
        wanted.push(("pids", file.clone(), file));
    }
    if let Some(list) = &limits.cpuset {
        let file = vec![("cpuset.cpus", list.clone(), false)];
        wanted.push(("cpuset", file.clone(), file));
    }
    wanted
}

/// The container's group in one hierarchy, and the steps from the hierarchy's root down to it.
fn make(group: usize, hierarchy: &Hierarchy, controllers: &[&str], id: &str, ops: &mut Vec<Op>) -> Group {
    let v2 = hierarchy.version == Version::V2;
    let cpuset = !v2 && controllers.contains(&"cpuset");
    if !hierarchy.mounted {
        ops.push(Op::MountHierarchy { group });
    }
    ops.push(Op::OpenHierarchy { group });
    if v2 {
        ops.push(Op::Enable { group, parent: false });
    }
    ops.push(Op::MakeParent { group });
    if v2 {
        ops.push(Op::Enable { group, parent: true });
    }
    if cpuset {
        ops.push(Op::InheritCpuset { group, parent: true });
    }
    ops.push(Op::MakeGroup { group });
    if cpuset {
        ops.push(Op::InheritCpuset { group, parent: false });
    }
    let names: Vec<String> = if v2 {
        controllers.iter().map(|name| (*name).to_string()).collect()
    } else {
        // A mount of a v1 hierarchy must name all of its controllers.
        hierarchy.controllers.iter().filter(|name| !["rw", "ro"].contains(&name.as_str())).cloned().collect()
    };
    let text = if v2 { format!("+{}", names.join(" +")) } else { names.join(",") };
    Group {
        version: hierarchy.version,
        mount: hierarchy.mount.clone(),
        dir: CString::new(format!("{}/{id}", PARENT.to_string_lossy())).unwrap_or_default(),
        controllers: CString::new(text).unwrap_or_default(),
        names,
    }
}

/// A controller lives in one hierarchy only; v2 lists only what v1 has not taken.
fn find(hierarchies: &[Hierarchy], controller: &str) -> Option<usize> {
    hierarchies.iter().position(|hierarchy| hierarchy.controllers.iter().any(|name| name == controller))
}

fn missing(controller: &str) -> Error {
    let (option, config) = match controller {
        "memory" => ("--memory", "CONFIG_MEMCG, and no cgroup_disable=memory at boot"),
        "cpu" => ("--cpus", "CONFIG_CFS_BANDWIDTH"),
        "pids" => ("--pids-limit", "CONFIG_CGROUP_PIDS"),
        _ => ("--cpuset-cpus", "CONFIG_CPUSETS"),
    };
    Error::new(format!("{option}: no mounted cgroup hierarchy has the {controller} controller"))
        .hint(format!("the kernel needs {config}; nsctl check shows what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_without_its_controller_names_the_config() {
        let host = Host {
            id: "0123456789ab".into(),
            environ: vec![],
            programs: vec![c"/bin/true".into()],
            hierarchies: vec![],
            state: None,
            lower: None,
            ground: crate::plan::Ground::default(),
        };
        let limits = Limits { pids: Some(1), ..Limits::default() };
        let refused = plan(&limits, &host).err().unwrap().to_string();
        assert!(
            refused.starts_with("--pids-limit: no mounted cgroup hierarchy has the pids controller"),
            "{refused}"
        );
        assert!(refused.contains("CONFIG_CGROUP_PIDS"));
    }
}
