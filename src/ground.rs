//! What a container's tree stands on: the root that was asked for, and what this machine offers. All the looking is done here,
//! before the plan; nothing is changed by it, but that an image may be unpacked into the store.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use linux_raw_sys::general as k;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::image::{self, Kind, Store};
use crate::linux::caps;
use crate::linux::cgroup::{self, Version};
use crate::linux::mount::{self, FileSystem};
use crate::linux::sys::seccomp;
use crate::linux::text;
use crate::linux::text::shown;
use crate::linux::userns;
use crate::plan::{self, CgroupView, DEVICES, DeviceNode, Ground, Lower};
use crate::spec::{Changes, Defaults, From, Root, Spec};
use crate::state::Seccomp;

pub(crate) mod resolv;

/// The files below a container's changes, and what an image says about its command.
pub(crate) struct Found {
    pub(crate) lower: Lower,
    pub(crate) defaults: Defaults,
    /// Keeps an image of the store from being removed.
    pub(crate) lease: Option<OwnedFd>,
}

/// Finds the root. `explain`: nothing is unpacked for it.
pub(crate) fn find(root: &Root, explain: bool) -> Result<Found> {
    let plain = |lower: Lower| Found { lower, defaults: Defaults::default(), lease: None };
    let (what, store, max_unpacked) = match &root.from {
        From::Directory(path) => {
            directory(path)?;
            if let Changes::Kept(upper) = &root.changes
                && same(path, upper)
            {
                return Err(Error::new("--overlay-upper is the root itself").hint("--rw writes straight into it"));
            }
            return Ok(plain(Lower::Directories(vec![path.clone()])));
        }
        From::Image { what, store, max_unpacked } => (what, store, *max_unpacked),
    };
    let is = |text: &str| Error::new(format_args!("--image {} is {text}", what.display()));
    let found = kind(what)?;
    let file_system = matches!(found, Some(Kind::FileSystem(_) | Kind::Directory | Kind::Unknown));
    if explain && image::is_path(what) && !file_system {
        return Err(Error::new("--explain unpacks nothing, and what the image says is in it")
            .hint("nsctl image import it, then name it by what nsctl image ls shows"));
    }
    match found {
        Some(Kind::FileSystem(name)) => {
            let fs = match name {
                "squashfs" => c"squashfs",
                "erofs" => c"erofs",
                _ => c"ext4",
            };
            let path = CString::new(what.as_bytes()).map_err(|_| is("no path"))?;
            return Ok(plain(Lower::File { path, fs }));
        }
        Some(Kind::Directory) => return Err(is("a directory, and no OCI layout").hint("if it is a root: --rootfs")),
        Some(Kind::Unknown) => {
            return Err(is("of no known kind")
                .hint("there are squashfs, erofs and ext4 images, OCI layouts, and archives of docker save"));
        }
        Some(Kind::Layout | Kind::Archive) | None => {}
    }
    // A path's image is unpacked into a store that is made for it; a name is of something that is there.
    let store = if image::is_path(what) {
        Store::open(store.as_deref())?
    } else {
        Store::open_existing(store.as_deref())?.ok_or_else(|| image::none_of_that_name(what))?
    };
    let image = image::get(&store, what, max_unpacked)?;
    let defaults = defaults(image.config);
    Ok(Found { lower: Lower::Directories(image.layers), defaults, lease: Some(image.lease) })
}

pub(crate) fn defaults(config: image::Config) -> Defaults {
    Defaults {
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        user: config.user,
        working_dir: config.working_dir,
        stop_signal: config.stop_signal,
        labels: config.labels.into_iter().collect(),
    }
}

/// None: there is no such path; it may be a name of the store.
fn kind(what: &OsStr) -> Result<Option<Kind>> {
    match rustix::fs::stat(what) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        _ => image::kind(what).map(Some),
    }
}

fn directory(path: &CString) -> Result<()> {
    let shown = shown(path);
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty()).map_err(|errno| {
        Error::os(format_args!("open --rootfs {shown}"), errno).hint("the container's root is to be there")
    })?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if image::kind(std::ffi::OsStr::from_bytes(path.to_bytes()))? == Kind::Layout => {
            Err(Error::new(format_args!("--rootfs {shown} is an OCI image layout"))
                .hint(format_args!("--image {shown}")))
        }
        FileType::Directory => Ok(()),
        FileType::RegularFile | FileType::BlockDevice => Err(Error::new(format_args!("--rootfs {shown} is a file"))
            .hint(format_args!("if it is an image: --image {shown}"))),
        _ => Err(Error::new(format_args!("--rootfs {shown} is no directory"))),
    }
}

fn same(one: &CString, other: &CString) -> bool {
    let number =
        |path: &CString| rustix::fs::statat(CWD, path, AtFlags::empty()).map(|stat| (stat.st_dev, stat.st_ino));
    number(one).is_ok_and(|one| number(other) == Ok(one))
}

/// What the machine offers to this container.
pub(crate) fn look(spec: &Spec) -> Result<Ground> {
    let mut ground = Ground { rootless: userns::own().cloned(), ..Ground::default() };
    if ground.rootless.is_some() {
        look_as_user(spec, &mut ground);
    }
    capabilities(spec)?;
    ground.no_seccomp = spec.privileges.seccomp == Seccomp::Default && !seccomp::is_there();
    if spec.root.is_none() && spec.mounts.is_empty() && spec.shm_size.is_none() && spec.sysctls.is_empty() {
        return Ok(ground);
    }
    ground.api = mount::probe();
    if spec.root.is_none() {
        return Ok(ground);
    }
    ground.overlay = mount::has_overlay(ground.api);
    ground.cgroups = cgroups();
    ground.terminal = terminal();
    if ground.terminal.is_some() {
        ground.terminal_number = rustix::fs::fstat(rustix::stdio::stdin()).ok().map(|stat| stat.st_rdev);
    }
    resolv::look(spec, &mut ground);
    ground.throttled_cpus = throttled_cpus();
    ground.devices = spec.devices.iter().map(device).collect::<Result<_>>()?;
    if spec.privileges.privileged {
        devices(b"/dev", &mut ground.devices);
    }
    Ok(ground)
}

/// What was asked for by name must be the caller's to give.
fn capabilities(spec: &Spec) -> Result<()> {
    let given = spec.privileges.given & caps::KNOWN;
    // ALL is whatever there is.
    if given == 0 || spec.privileges.given != given {
        return Ok(());
    }
    let own = caps::own().map_err(|errno| Error::os("look at the caller's capabilities", errno))?;
    match caps::names(given & !own).next() {
        None => Ok(()),
        Some(name) => Err(Error::new(format_args!("--cap-add {name}: the caller does not have it itself"))
            .hint("grep Cap /proc/self/status shows what it has; CapBnd is the most that it can have")),
    }
}

/// What an ordinary user has to borrow of the host, and its own group.
#[inline(never)]
fn look_as_user(spec: &Spec, ground: &mut Ground) {
    if spec.wants_groups() {
        ground.own_group = cgroup::own_group();
    }
    if spec.root.is_none() {
        return;
    }
    ground.no_sysfs = rustix::fs::statfs(c"/sys").map_or(true, |fs| fs.f_type as u32 != k::SYSFS_MAGIC);
    let is_missing = |(name, _, major, minor): &&(&CStr, u32, u32, u32)| {
        let path = [b"/dev/", name.to_bytes()].concat();
        rustix::fs::stat(path.as_slice()).map_or(true, |stat| stat.st_rdev != rustix::fs::makedev(*major, *minor))
    };
    ground.no_devices = DEVICES.iter().filter(is_missing).map(|(name, ..)| *name).collect();
}

fn device(asked: &crate::spec::Device) -> Result<DeviceNode> {
    let shown = shown(&asked.source);
    let stat = rustix::fs::statat(CWD, &asked.source, AtFlags::empty())
        .map_err(|errno| Error::os(format_args!("open --device {shown}"), errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice | FileType::BlockDevice => Ok(DeviceNode {
            source: asked.source.clone(),
            name: asked.name.clone(),
            mode: stat.st_mode,
            number: stat.st_rdev,
            owner: [stat.st_uid, stat.st_gid],
        }),
        FileType::Directory => {
            Err(Error::new(format_args!("--device {shown} is a directory")).hint("name each device in it"))
        }
        _ => Err(Error::new(format_args!("--device {shown} is no device")).hint("for files there is --volume")),
    }
}

/// Those of the host's that a container does not have anyway, for `--privileged`. What goes away meanwhile is left out.
fn devices(dir: &[u8], found: &mut Vec<DeviceNode>) {
    // The container has file systems and links of its own there.
    const OWN: &[&str] = &["pts", "shm", "mqueue", "hugepages", "ptmx", "console"];
    let Ok(entries) = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    let Ok(entries) = rustix::fs::Dir::new(entries) else { return };
    for entry in entries.flatten() {
        let path = [dir, b"/", entry.file_name().to_bytes()].concat();
        let Some(name) = path.strip_prefix(b"/dev/") else { continue };
        if matches!(entry.file_name().to_bytes(), b"." | b"..") || OWN.iter().any(|own| name == own.as_bytes()) {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let Ok(name) = CString::new(name) else { continue };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => devices(&path, found),
            FileType::CharacterDevice | FileType::BlockDevice
                if !plan::is_in_every_dev(&name) && !found.iter().any(|known| known.name == name) =>
            {
                let owner = [stat.st_uid, stat.st_gid];
                let source = CString::new(path.as_slice()).unwrap_or_default();
                found.push(DeviceNode { source, name, mode: stat.st_mode, number: stat.st_rdev, owner });
            }
            _ => {}
        }
    }
}

/// What is to be seen on /sys/fs/cgroup: the one tree of v2, or as the host has it a directory for each.
fn cgroups() -> Vec<CgroupView> {
    let attr = k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC;
    let unified = |name: CString| CgroupView { name, fs: FileSystem::new(c"cgroup2", "", attr) };
    let magic = rustix::fs::statfs(c"/sys/fs/cgroup").map(|fs| fs.f_type as u32);
    match magic {
        Ok(k::CGROUP2_SUPER_MAGIC) => return vec![unified(CString::default())],
        // Nothing is mounted there, or there is no such directory: nobody uses cgroups here.
        Ok(k::SYSFS_MAGIC) | Err(_) => return Vec::new(),
        Ok(_) => {}
    }
    let mut views = Vec::new();
    for hierarchy in cgroup::hierarchies().unwrap_or_default().into_iter().filter(|hierarchy| hierarchy.mounted) {
        let Some(name) = hierarchy.mount.to_bytes().strip_prefix(b"/sys/fs/cgroup/") else { continue };
        let Ok(name) = CString::new(name) else { continue };
        match hierarchy.version {
            Version::V2 => views.push(unified(name)),
            Version::V1 => {
                let flags = ["rw", "ro", "xattr", "none"];
                let own =
                    |option: &&String| !flags.contains(&option.as_str()) && !option.starts_with("release_agent");
                let options: Vec<&str> = hierarchy.controllers.iter().filter(own).map(String::as_str).collect();
                // A named hierarchy has no controllers, and says so.
                let none = if options.iter().all(|option| option.starts_with("name=")) { "none," } else { "" };
                let options = format!("{none}{}", options.join(","));
                views.push(CgroupView { name, fs: FileSystem::new(c"cgroup", &options, attr) });
            }
        }
    }
    views
}

/// The terminal on standard input, by the path that it has on the host; only if that still leads to it.
fn terminal() -> Option<CString> {
    let input = rustix::stdio::stdin();
    if !rustix::termios::isatty(input) {
        return None;
    }
    let path = rustix::fs::readlinkat(CWD, text::fd_path(input).as_c_str(), Vec::new()).ok()?;
    let there = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let here = rustix::fs::fstat(input).ok()?;
    // Every devpts has the same device numbers.
    let same = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino);
    (same && FileType::from_raw_mode(there.st_mode) == FileType::CharacterDevice).then_some(path)
}

/// One more than the highest processor that has such a directory; one that is off has none at the moment.
fn throttled_cpus() -> u32 {
    let has = |path: String| {
        rustix::fs::openat(CWD, path.as_str(), OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty()).is_ok()
    };
    let throttles = |cpu: u32| has(format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    if !throttles(0) {
        return 0;
    }
    let exists = |cpu: &u32| has(format!("/sys/devices/system/cpu/cpu{cpu}"));
    (0..4096).take_while(exists).filter(|cpu| throttles(*cpu)).last().map_or(0, |last| last + 1)
}
