//! The files that the container sees: the root, what is mounted below it, and the way in. The order is the order of the steps.

use std::ffi::{CStr, CString};

use linux_raw_sys::general as k;

use super::{Group, Host, Op};
use crate::error::{Error, Result};
use crate::linux::mount::FileSystem;
use crate::spec::{self, Changes, Namespace, Spec, What};

mod defaults;
mod parts;
pub(crate) use defaults::{DEVICES, is_in_every_dev};
pub(super) use defaults::{devpts, tty_group};
pub(crate) use parts::{Base, CgroupView, Lower, Lowers, Mount, Over, Place, Provided};

const QUIET: u32 = k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC;

/// The steps, being written down.
pub(super) struct Steps<'a> {
    spec: &'a Spec,
    host: &'a Host,
    /// What has to be opened while the host's tree is still there.
    sources: Vec<CString>,
    /// What the supervisor makes for them.
    before_clone: Vec<Op>,
    /// What is done with them while their mounts are still shared.
    kept: Vec<Op>,
    ops: Vec<Op>,
}

/// The steps of the tree, apart by when they are due.
pub(super) struct Tree {
    /// The supervisor's.
    pub(super) before_clone: Vec<Op>,
    /// The container's first: sources, and making mounts private.
    pub(super) sources: Vec<Op>,
    pub(super) tree: Vec<Op>,
}

pub(super) fn plan(spec: &Spec, host: &Host, own_groups: bool) -> Result<Tree> {
    let mut steps =
        Steps { spec, host, sources: Vec::new(), before_clone: Vec::new(), kept: Vec::new(), ops: Vec::new() };
    if let Some(root) = &spec.root {
        steps.ops.reserve(64 + spec.mounts.len() + host.ground.cgroups.len() + host.ground.throttled_cpus as usize);
        steps.root(root)?;
        steps.kernel_tables();
        steps.devices();
        if !own_groups {
            steps.ops.extend(cgroup_views(spec, host, &[]).into_iter().map(Op::Mount));
        }
        steps.texts();
    } else if !spec.mounts.is_empty() || spec.shm_size.is_some() || !spec.sysctls.is_empty() {
        steps.ops.push(Op::HostTree { stage: needs_stage(spec, host) });
        if let Some(size) = spec.shm_size {
            steps.shm(size, Base::Root, c"dev/shm");
        }
    }
    steps.asked_for()?;
    steps.sysctls();
    if let Some(root) = &spec.root {
        if !spec.privileges.unmasked {
            steps.protect();
        }
        if root.read_only && !steps.no_overlay(root) {
            steps.put(Mount::ReadOnlyRoot);
        }
        steps.ops.push(Op::Enter);
    } else if !steps.ops.is_empty() {
        steps.ops.push(Op::LeaveStage { stage: needs_stage(spec, host) });
    }
    Ok(steps.finish())
}

/// Without a root of its own: mount(2) needs a place to work on, also for an overlay of many layers.
fn needs_stage(spec: &Spec, host: &Host) -> bool {
    !host.ground.api.fds || spec.mounts.iter().any(|mount| matches!(mount.what, What::Overlay { .. }))
}

/// What shows the container's cgroups. With groups of its own the command mounts them itself, when it is in them.
/// Where it has none, what it sees is the caller's, and not to be written to even by one that has a group handed over.
pub(super) fn cgroup_views(spec: &Spec, host: &Host, groups: &[Group]) -> Vec<Mount> {
    let may_not = host.ground.rootless.is_some() && spec.namespaces.cgroup != Namespace::Private;
    if spec.root.is_none() || may_not {
        return Vec::new();
    }
    let views = &host.ground.cgroups;
    let several = views.iter().any(|view| !view.name.is_empty());
    let top = || Place::new(Base::Root, c"sys/fs/cgroup", true);
    let mut mounts = Vec::new();
    if several {
        let fs = FileSystem::new(c"tmpfs", "mode=755,size=64k", QUIET);
        mounts.push(Mount::Fs { fs, at: top(), keep: Some(Base::Cgroup), optional: true });
    }
    for view in views {
        let at = if several { Place::new(Base::Cgroup, &view.name, true) } else { top() };
        let mut fs = view.fs.clone();
        let path = [&b"/sys/fs/cgroup/"[..], view.name.to_bytes()].concat();
        let own = |group: &Group| path.strip_suffix(b"/").unwrap_or(&path) == group.mount.to_bytes();
        if spec.privileges.privileged {
            fs.attr &= !k::MOUNT_ATTR_RDONLY;
        }
        if spec.cgroup.delegate && spec.namespaces.cgroup == Namespace::Private && groups.iter().any(own) {
            fs.attr &= !k::MOUNT_ATTR_RDONLY;
        }
        mounts.push(Mount::Fs { fs, at, keep: None, optional: true });
    }
    mounts
}

impl Steps<'_> {
    fn put(&mut self, mount: Mount) {
        self.ops.push(Op::Mount(mount));
    }

    /// The number of a source.
    fn source(&mut self, path: &CStr) -> usize {
        self.sources.push(path.into());
        self.sources.len() - 1
    }

    fn no_overlay(&self, root: &spec::Root) -> bool {
        matches!(root.changes, Changes::Memory { .. }) && !self.host.ground.overlay
    }

    fn root(&mut self, root: &spec::Root) -> Result<()> {
        let ground = &self.host.ground;
        self.ops.extend([Op::ProcOfHost, Op::NewParent]);
        let size = match root.changes {
            Changes::Memory { size: Some(bytes), .. } => bytes.to_string(),
            _ => "25%".into(),
        };
        self.ops.push(Op::Stage(FileSystem::new(c"tmpfs", &format!("mode=755,size={size}"), QUIET)));
        let lowers = match &self.host.lower {
            // An image without layers: nothing is beneath the changes.
            Some(Lower::Directories(paths)) if paths.is_empty() => Lowers::Image,
            Some(Lower::Directories(paths)) => {
                let paths = paths.clone();
                Lowers::Sources(paths.iter().map(|path| self.source(path)).collect())
            }
            Some(Lower::File { path, fs }) => {
                let source = self.source(&path.clone());
                self.ops.push(Op::MountImage { source, fs, mapped: ground.userns.is_some() });
                Lowers::Image
            }
            None => Lowers::Sources(Vec::new()),
        };
        self.map_layers(&lowers)?;
        let attr = k::MOUNT_ATTR_NODEV;
        match &root.changes {
            Changes::Direct => self.ops.push(Op::BindRoot { lowers, attr }),
            Changes::Memory { asked, .. } if !ground.overlay => {
                if *asked || matches!(&lowers, Lowers::Sources(sources) if sources.len() != 1) {
                    return Err(no_overlayfs());
                }
                // Nothing is made in the directory, not even a mount point.
                self.ops.push(Op::BindRoot { lowers, attr: attr | k::MOUNT_ATTR_RDONLY });
            }
            Changes::Memory { .. } => self.ops.push(Op::OverlayRoot { lowers, upper: None, attr }),
            Changes::Kept(_) if !ground.overlay => return Err(no_overlayfs()),
            Changes::Kept(dir) => {
                let work = CString::new([dir.to_bytes(), b".work"].concat()).unwrap_or_default();
                self.before_clone.push(Op::MakeUpper { upper: dir.clone(), work: work.clone() });
                let sources = [self.source(dir), self.source(&work)];
                if ground.userns.is_some() {
                    let (above, name) = above(dir);
                    let work = CString::new([name.to_bytes(), b".work"].concat()).unwrap_or_default();
                    let above = self.source(&above);
                    self.ops.push(Op::MapUpper { above, sources, names: [name, work] });
                }
                self.ops.push(Op::OverlayRoot { lowers, upper: Some(sources), attr });
            }
        }
        Ok(())
    }

    /// What root's files are to the host they are to the root inside: nothing is written to them for that.
    fn map_layers(&mut self, lowers: &Lowers) -> Result<()> {
        let ground = &self.host.ground;
        if ground.userns.is_none() {
            return Ok(());
        }
        if !(ground.api.fds && ground.api.setattr) {
            return Err(Error::new("this kernel cannot show the root's files to other users as theirs")
                .hint("a root in a user namespace takes Linux 5.12, with changes over it 5.19; leave --userns out"));
        }
        if let Lowers::Sources(sources) = lowers {
            self.ops.extend(sources.iter().map(|source| Op::MapSource { source: *source }));
        }
        Ok(())
    }

    /// `--volume`, `--mount` and `--tmpfs`.
    fn asked_for(&mut self) -> Result<()> {
        let own_root = self.spec.root.is_some();
        for mount in &self.spec.mounts {
            let at = Place { base: Base::Root, path: mount.target.clone(), strict: false, make: own_root };
            let (change, spread) = (mount.change, mount.spread);
            let planned = match &mount.what {
                What::Bind { source, recursive, idmap } => {
                    let source = self.source(source);
                    let api = self.host.ground.api;
                    if api.fds {
                        self.kept.push(Op::CloneSource { source, recursive: *recursive });
                    } else if spread.propagation != libc::MS_PRIVATE as u32 {
                        return Err(Error::new(format_args!(
                            "{}: this kernel cannot take a mount's propagation along",
                            mount.option
                        ))
                        .hint("it takes open_tree(2), Linux 5.2; leave shared and slave out"));
                    }
                    let own = match idmap {
                        Some(map) if map.users.is_empty() => Some(self.own_map(mount.option)?),
                        _ => None,
                    };
                    if idmap.is_some() && !(api.fds && api.setattr) {
                        return Err(Error::new(format_args!(
                            "{}: this kernel cannot map a mount's owners",
                            mount.option
                        ))
                        .hint("idmap takes open_tree(2) and mount_setattr(2), Linux 5.12"));
                    }
                    let given = idmap.as_ref().filter(|_| own.is_none());
                    let map = own.or_else(|| given.map(|map| self.map(map.clone())));
                    Mount::Bind { source, cloned: api.fds, recursive: *recursive, map, change, spread, at }
                }
                What::Fs { fs, options } => {
                    let name = if *fs == "cgroup" { "cgroup2" } else { fs };
                    let name = CString::new(name).unwrap_or_default();
                    let fs = FileSystem::new(&name, &self.owned(options)?, change.set);
                    Mount::Fs { fs, at, keep: None, optional: false }
                }
                What::Overlay { lowers, upper } => {
                    let lowers = lowers.iter().map(|path| self.source(path)).collect();
                    let upper = upper.as_ref().map(|[upper, work]| [self.source(upper), self.source(work)]);
                    Mount::Overlay { lowers, upper, change, at }
                }
            };
            self.put(planned);
        }
        Ok(())
    }

    /// The number of a user namespace that has this map. The container's own is the first.
    fn map(&mut self, map: spec::IdMap) -> usize {
        let number = self.before_clone.iter().filter(|op| matches!(op, Op::MakeIdMap(_))).count();
        self.before_clone.push(Op::MakeIdMap(map));
        number + usize::from(self.host.ground.userns.is_some())
    }

    fn own_map(&self, option: &str) -> Result<usize> {
        if self.host.ground.userns.is_some() {
            return Ok(0);
        }
        Err(Error::new(format_args!("{option}: idmap without ranges is the container's own map, and it has none"))
            .hint("--userns auto gives it one, if root starts it; ranges are such as idmap=uids=0-1000-1"))
    }

    /// Options of a file system. Its uid= and gid= are numbers of the container's, and the kernel takes those of who mounts it.
    fn owned(&self, options: &str) -> Result<String> {
        let Some(maps) = &self.host.ground.userns else { return Ok(options.into()) };
        let outside = |option: &str| {
            let Some((key @ ("uid" | "gid"), id)) = option.split_once('=') else { return Ok(option.into()) };
            let id = id
                .parse()
                .ok()
                .and_then(|id| if key == "uid" { maps.user_outside(id) } else { maps.group_outside(id) });
            let id = id.ok_or_else(|| Error::new(format_args!("{option}: the container has no such number")))?;
            Ok(format!("{key}={id}"))
        };
        Ok(options.split(',').map(outside).collect::<Result<Vec<String>>>()?.join(","))
    }

    fn sysctls(&mut self) {
        for (path, value) in &self.spec.sysctls {
            self.ops.push(Op::Mount(Mount::Sysctl { path: path.clone(), value: value.clone() }));
        }
    }

    fn finish(self) -> Tree {
        let mut sources: Vec<Op> = self.sources.into_iter().map(|path| Op::OpenSource { path }).collect();
        sources.extend(self.kept);
        if self.spec.root.is_some() {
            sources.push(Op::TopOfMounts);
        }
        Tree { before_clone: self.before_clone, sources, tree: self.ops }
    }
}

/// A directory, and what another one is called in it.
fn above(dir: &CStr) -> (CString, CString) {
    let path = dir.to_bytes();
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let at = path.iter().rposition(|byte| *byte == b'/');
    let (above, name) = at.map_or((&b"."[..], path), |at| (&path[..at.max(1)], &path[at + 1..]));
    let c_string = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
    (c_string(above), c_string(name))
}

fn no_overlayfs() -> Error {
    Error::new("this kernel has no overlayfs, and without it the changes have nowhere to go").hint(
        "CONFIG_OVERLAY_FS, or modprobe overlay; --rw writes into the directory itself, --read-only does without",
    )
}
