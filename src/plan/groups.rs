//! Limits → the cgroups that they need, and the steps that make them.

use std::ffi::CString;

use super::{Group, Host, Op};
use crate::error::{Error, Result};
use crate::linux::cgroup::{Hierarchy, PARENT, Setting, Version, controller_needs, with as find};
use crate::linux::devices::{DEFAULTS, Rule};
use crate::linux::text::shown;
use crate::spec::Spec;

mod settings;
pub(crate) use settings::settings;

/// The groups that the container needs, and the steps that make them and set the limits.
pub(super) fn plan(spec: &Spec, host: &Host) -> Result<(Vec<Group>, Vec<Op>)> {
    if spec.cgroup.none {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut groups = Groups { host, found: Vec::new() };
    let version = |controller: &str| {
        find(&host.hierarchies, controller).map_or(Version::V2, |index| host.hierarchies[index].version)
    };
    let mut files = Vec::new();
    for wanted in settings(&spec.limits, &host.disks, &version) {
        if wanted.setting.files.is_empty() {
            return Err(only_v2(&wanted.setting, wanted.controller));
        }
        let group = groups
            .with(wanted.controller)
            .ok_or_else(|| missing(&wanted.setting, wanted.controller, host.ground.rootless.is_some()))?;
        files.push(Op::Limit { group, setting: wanted.setting });
    }
    let somewhere = spec.cgroup.parent.is_some() && groups.found.is_empty();
    if spec.keep.is_some() || spec.cgroup.delegate || somewhere {
        groups.any();
        if groups.found.is_empty() && (spec.cgroup.delegate || somewhere) {
            if host.ground.rootless.is_some() {
                let option = if somewhere { "--cgroup-parent" } else { "--cgroup-delegate" };
                return Err(Error::new(format_args!("{option}: {NOT_DELEGATED}")).hint(DELEGATE));
            }
            return Err(Error::new("no cgroup hierarchy is mounted").hint("the kernel needs CONFIG_CGROUPS"));
        }
    }
    if spec.cgroup.delegate {
        groups.everything();
    }
    files.extend(groups.devices(spec)?);

    let own = host.ground.own_group.as_ref();
    let parent = spec.cgroup.parent.as_ref().or(own).cloned().unwrap_or_else(|| PARENT.into());
    let mut ops = Vec::new();
    let mut made = Vec::new();
    for (group, (index, controllers)) in groups.found.iter().enumerate() {
        made.push(make(group, &host.hierarchies[*index], controllers, &parent, host, &mut ops));
    }
    if spec.keep.is_some() && !made.is_empty() {
        let mounts = groups.others();
        if !mounts.is_empty() {
            ops.push(Op::OpenOtherHierarchies { mounts });
        }
    }
    ops.extend(files);
    if spec.cgroup.delegate {
        ops.extend(
            (0..made.len()).filter(|group| made[*group].version == Version::V2).map(|group| Op::MakeLeaf { group }),
        );
    }
    Ok((made, ops))
}

/// The hierarchies in which there will be a group, by their numbers, and of each the controllers that it is for.
struct Groups<'a> {
    host: &'a Host,
    found: Vec<(usize, Vec<String>)>,
}

impl Groups<'_> {
    /// The number of the group in that hierarchy.
    fn in_hierarchy(&mut self, hierarchy: usize) -> usize {
        self.found.iter().position(|(index, _)| *index == hierarchy).unwrap_or_else(|| {
            self.found.push((hierarchy, Vec::new()));
            self.found.len() - 1
        })
    }

    /// The number of the group that has the controller.
    fn with(&mut self, controller: &str) -> Option<usize> {
        let group = self.in_hierarchy(find(&self.host.hierarchies, controller)?);
        let controllers = &mut self.found[group].1;
        if !controllers.iter().any(|name| name == controller) {
            controllers.push(controller.into());
        }
        Some(group)
    }

    /// The number of the group in the v2 hierarchy.
    fn v2(&mut self) -> Option<usize> {
        let hierarchy = self.host.hierarchies.iter().position(|hierarchy| hierarchy.version == Version::V2)?;
        Some(self.in_hierarchy(hierarchy))
    }

    /// One that can be frozen: v2, even without controllers, or the v1 freezer.
    fn any(&mut self) {
        if self.v2().is_none() {
            self.with("freezer");
        }
    }

    /// v2: what is to be handed on must be there.
    fn everything(&mut self) {
        for (index, controllers) in &mut self.found {
            let hierarchy = &self.host.hierarchies[*index];
            if hierarchy.version == Version::V2 {
                controllers.clone_from(&hierarchy.controllers);
            }
        }
    }

    /// Where an update may make more.
    fn others(&self) -> Vec<CString> {
        let others = self.host.hierarchies.iter().enumerate().filter(|(index, hierarchy)| {
            let named = hierarchy.controllers.iter().any(|name| name.starts_with("name="));
            hierarchy.version == Version::V1 && !named && !self.found.iter().any(|(found, _)| found == index)
        });
        others.map(|(_, hierarchy)| hierarchy.mount.clone()).collect()
    }

    /// Which devices there are: with a root of its own the usual ones and those of `--device`, if there is a group at all; without,
    /// all, unless rules were asked for.
    fn devices(&mut self, spec: &Spec) -> Result<Option<Op>> {
        let asked = !spec.cgroup.rules.is_empty();
        let may_not = self.host.ground.rootless.is_some();
        if !asked && (spec.root.is_none() || spec.privileges.privileged || self.found.is_empty() || may_not) {
            return Ok(None);
        }
        let group = match find(&self.host.hierarchies, "devices") {
            Some(_) => self.with("devices"),
            None => self.v2(),
        };
        let Some(group) = group else {
            return if asked { Err(no_devices()) } else { Ok(None) };
        };
        let ground = &self.host.ground;
        let given = ground
            .devices
            .iter()
            .map(|device| Rule::device(device.mode & libc::S_IFMT == libc::S_IFCHR, device.number));
        let terminal = ground.terminal_number.map(|number| Rule::device(true, number));
        let mut rules = DEFAULTS.to_vec();
        rules.extend(terminal.into_iter().chain(given).chain(spec.cgroup.rules.iter().copied()));
        Ok(Some(Op::AllowDevices { group, rules, optional: !asked }))
    }
}

/// The container's group in one hierarchy, and the steps from the hierarchy's root down to it.
fn make(
    group: usize,
    hierarchy: &Hierarchy,
    controllers: &[String],
    parent: &CString,
    host: &Host,
    ops: &mut Vec<Op>,
) -> Group {
    let id = &host.id;
    let v2 = hierarchy.version == Version::V2;
    let enable = v2 && !controllers.is_empty();
    let cpuset = !v2 && hierarchy.controllers.iter().any(|name| name == "cpuset");
    if !hierarchy.mounted {
        ops.push(Op::MountHierarchy { group });
    }
    ops.push(Op::OpenHierarchy { group });
    let mut above = Vec::new();
    let slashes = parent.to_bytes().iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for end in slashes.chain([parent.count_bytes()]) {
        above.push(CString::new(&parent.to_bytes()[..end]).unwrap_or_default());
    }
    // What is above the caller's own group is not the caller's.
    let first = if host.ground.rootless.is_some() { above.len() } else { 0 };
    for level in first..=above.len() {
        if enable {
            ops.push(Op::Enable { group, level });
        }
        ops.push(if level < above.len() { Op::MakeParent { group, level } } else { Op::MakeGroup { group } });
        if cpuset {
            ops.push(Op::InheritCpuset { group, level });
        }
    }
    let names: Vec<String> = if v2 {
        controllers.to_vec()
    } else {
        // A mount of a v1 hierarchy must name all of its controllers.
        hierarchy.controllers.iter().filter(|name| !["rw", "ro"].contains(&name.as_str())).cloned().collect()
    };
    let text = if v2 { format!("+{}", names.join(" +")) } else { names.join(",") };
    Group {
        version: hierarchy.version,
        mount: hierarchy.mount.clone(),
        dir: CString::new(format!("{}/{id}", shown(parent))).unwrap_or_default(),
        above,
        controllers: CString::new(text).unwrap_or_default(),
        names,
    }
}

const NOT_DELEGATED: &str = "an ordinary user has no cgroup here in which it could be set";
const DELEGATE: &str = "run it as root, or in a cgroup v2 that was handed to the user: systemd-run --user --scope -p Delegate=yes nsctl …";

fn missing(setting: &Setting, controller: &str, rootless: bool) -> Error {
    let option = setting.option;
    if rootless {
        return Error::new(format_args!("{option}: {NOT_DELEGATED} (controller {controller})")).hint(DELEGATE);
    }
    Error::new(format_args!("{option}: no mounted cgroup hierarchy has the {controller} controller"))
        .hint(format_args!("the kernel needs {}; nsctl check shows what is there", controller_needs(controller)))
}

fn only_v2(setting: &Setting, controller: &str) -> Error {
    Error::new(format_args!(
        "{}: cgroup v1 has no such limit, and has the {controller} controller here",
        setting.option
    ))
    .hint(format_args!("cgroup_no_v1={controller} at boot leaves it to v2"))
}

fn no_devices() -> Error {
    Error::new("--device-cgroup-rule: no mounted cgroup hierarchy can do that")
        .hint("the kernel needs CONFIG_CGROUP_BPF and a cgroup2 mount, or CONFIG_CGROUP_DEVICE on v1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Defaults, Limits};

    fn spec() -> Spec {
        let run = crate::cli::Run { argv: vec!["true".into()], ..Default::default() };
        Spec::new(run, None, &Defaults::default()).unwrap()
    }

    fn host(hierarchies: Vec<Hierarchy>) -> Host {
        Host {
            id: "0123456789ab".into(),
            environ: vec![],
            programs: vec![c"/bin/true".into()],
            hierarchies,
            disks: vec![],
            state: None,
            words: None,
            lower: None,
            seat: None,
            own: None,
            pasta: None,
            landlock: Default::default(),
            ground: crate::plan::Ground::default(),
        }
    }

    fn hierarchy(version: Version, controllers: &[&str]) -> Hierarchy {
        let controllers = controllers.iter().map(|name| (*name).to_string()).collect();
        Hierarchy { version, mount: c"/sys/fs/cgroup/x".into(), mounted: true, controllers }
    }

    #[test]
    fn a_limit_without_its_controller_names_the_config() {
        let limits = Limits { pids: Some(1), ..Limits::default() };
        let refused = plan(&Spec { limits, ..spec() }, &host(vec![])).err().unwrap().to_string();
        assert!(
            refused.starts_with("--pids-limit: no mounted cgroup hierarchy has the pids controller"),
            "{refused}"
        );
        assert!(refused.contains("CONFIG_CGROUP_PIDS"));
    }

    #[test]
    fn what_v1_lacks_is_refused() {
        let limits = Limits { memory_high: Some(1 << 20), ..Limits::default() };
        let v1 = host(vec![hierarchy(Version::V1, &["rw", "memory"])]);
        let refused = plan(&Spec { limits, ..spec() }, &v1).err().unwrap().to_string();
        assert!(refused.starts_with("--memory-high: cgroup v1 has no such limit"), "{refused}");
    }

    #[test]
    fn a_kept_container_has_a_group_where_there_can_be_one() {
        let kept = || Spec {
            keep: Some(crate::spec::Keep {
                wait_for_start: false,
                remove: false,
                log: None,
                restart: crate::spec::Restart::No,
                health: None,
                interactive: false,
            }),
            ..spec()
        };
        let freezer = || hierarchy(Version::V1, &["rw", "freezer"]);
        let memory = || hierarchy(Version::V1, &["rw", "memory"]);
        let names = |spec: &Spec, hierarchies: Vec<Hierarchy>| {
            let (groups, ops) = plan(spec, &host(hierarchies)).unwrap();
            assert!(!ops.iter().any(|op| matches!(op, Op::Enable { .. })));
            let others = ops.iter().filter(|op| matches!(op, Op::OpenOtherHierarchies { .. })).count();
            assert_eq!(others, usize::from(!groups.is_empty()));
            groups.into_iter().map(|group| (group.version, group.names.join(","))).collect::<Vec<_>>()
        };
        let unified = || hierarchy(Version::V2, &["memory"]);
        assert_eq!(names(&kept(), vec![memory(), freezer(), unified()]), [(Version::V2, String::new())]);
        assert_eq!(names(&kept(), vec![memory(), freezer()]), [(Version::V1, "freezer".into())]);
        assert_eq!(names(&kept(), vec![memory()]), []);
        assert_eq!(names(&kept(), vec![]), []);
        let none = crate::spec::Cgroup { none: true, ..Default::default() };
        assert_eq!(names(&Spec { cgroup: none, ..kept() }, vec![unified()]), []);
        assert_eq!(names(&spec(), vec![unified()]), []);
    }
}
