//! What every container with a root of its own finds in it: the kernel's tables, devices, and a few texts.

use std::ffi::{CStr, CString};

use linux_raw_sys::general as k;

use super::{Base, Mount, Over, Place, Provided, QUIET, Steps};
use crate::linux::mount::{Change, FileSystem};
use crate::linux::userns::{Maps, UserNamespace};
use crate::network::HOSTS;
use crate::plan::{Op, names};
use crate::spec::Namespace;

/// The size of /dev/shm that docker gives.
const SHM_SIZE: u64 = 64 << 20;

/// Hidden, as OCI engines do by default (moby's and containerd's lists): what tells about the whole machine or its hardware.
const MASKED: &[(Base, &CStr)] = &[
    (Base::Proc, c"acpi"),
    (Base::Proc, c"asound"),
    (Base::Proc, c"interrupts"),
    (Base::Proc, c"kcore"),
    (Base::Proc, c"keys"),
    (Base::Proc, c"latency_stats"),
    (Base::Proc, c"sched_debug"),
    (Base::Proc, c"scsi"),
    (Base::Proc, c"timer_list"),
    (Base::Proc, c"timer_stats"),
    (Base::Sys, c"firmware"),
    (Base::Sys, c"devices/virtual/powercap"),
];

/// Of the whole machine, and not the container's to change.
const READ_ONLY: &[&CStr] = &[c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];

/// Name, mode, major, minor (Documentation/admin-guide/devices.txt).
pub(crate) const DEVICES: &[(&CStr, u32, u32, u32)] = &[
    (c"null", 0o666, 1, 3),
    (c"zero", 0o666, 1, 5),
    (c"full", 0o666, 1, 7),
    (c"random", 0o666, 1, 8),
    (c"urandom", 0o666, 1, 9),
    (c"tty", 0o666, 5, 0),
];

/// Whether a container has a device of this name whatever was asked for.
pub(crate) fn is_in_every_dev(name: &CStr) -> bool {
    DEVICES.iter().any(|(known, ..)| *known == name)
}

/// Where pseudoterminals come from, all of this group.
pub(in crate::plan) fn devpts(tty: Option<u32>) -> FileSystem {
    let group = tty.map_or(String::new(), |group| format!(",gid={group}"));
    let options = ["newinstance,ptmxmode=0666,mode=0620", &group].concat();
    FileSystem::new(c"devpts", &options, k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NOEXEC)
}

/// The group tty, which is 5 everywhere, as who mounts the file system numbers it. Of a user namespace with one id there is none.
pub(in crate::plan) fn tty_group(own: Option<&UserNamespace>, given: Option<&Maps>) -> Option<u32> {
    const TTY: u32 = 5;
    match given {
        Some(maps) => maps.group_outside(TTY),
        None => Some(TTY).filter(|tty| own.is_none_or(|own| own.maps.has_group(*tty))),
    }
}

impl Steps<'_> {
    /// /proc and /sys.
    pub(super) fn kernel_tables(&mut self) {
        let (proc, sys) = (Place::new(Base::Root, c"proc", true), Place::new(Base::Root, c"sys", true));
        let user = self.host.ground.rootless.is_some();
        // Each shows a namespace, and whoever has no right over that may not mount it.
        if user && self.spec.namespaces.pid == Namespace::Host {
            self.tree(c"/proc", QUIET, proc, Base::Proc);
        } else {
            let fs = FileSystem::new(c"proc", "", QUIET);
            self.put(Mount::Fs { fs, at: proc, keep: Some(Base::Proc), optional: false });
        }
        if user && self.host.ground.no_sysfs {
            return;
        }
        let read_only = if self.spec.privileges.unmasked { 0 } else { k::MOUNT_ATTR_RDONLY };
        if user && self.spec.namespaces.net == Namespace::Host {
            return self.tree(c"/sys", QUIET | read_only, sys, Base::Sys);
        }
        let fs = FileSystem::new(c"sysfs", "", QUIET | read_only);
        self.put(Mount::Fs { fs, at: sys, keep: Some(Base::Sys), optional: false });
    }

    fn tree(&mut self, path: &CStr, set: u32, at: Place, keep: Base) {
        let source = self.source(path);
        self.put(Mount::Tree { source, change: Change { set, recursive: true, ..Change::default() }, at, keep });
    }

    /// A device of the host's: as a node of its own, or for an ordinary user, who may make none, as the host's node.
    fn device(&mut self, name: &CStr, mode: u32, device: u64, owner: [u32; 2], on_host: &CStr) {
        let ground = &self.host.ground;
        if ground.rootless.is_none() {
            // Those that all have, and those asked for by name. Who has no number inside is nobody there.
            let given = is_in_every_dev(name) || self.spec.devices.iter().any(|asked| *asked.name == *name);
            let maps = ground.userns.as_ref().filter(|_| given);
            let owner = maps.map_or(owner, |maps| maps.outside(owner).unwrap_or(owner));
            let maker = ground.userns.as_ref().and_then(|maps| maps.outside([0, 0])).unwrap_or([0, 0]);
            let owner = Some(owner).filter(|owner| *owner != maker);
            return self.put(Mount::Node { name: name.into(), mode, device, owner });
        }
        let source = self.source(on_host);
        let (at, change) = (Place::new(Base::Dev, name, true), Change::default());
        self.put(Mount::Bind { source, cloned: false, recursive: false, map: None, change, spread: change, at });
    }

    /// /dev, on a tmpfs of our own: nothing in it is the image's.
    pub(super) fn devices(&mut self) {
        let fs = FileSystem::new(c"tmpfs", "mode=755,size=64k", k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_STRICTATIME);
        let at = Place::new(Base::Root, c"dev", true);
        self.put(Mount::Fs { fs, at, keep: Some(Base::Dev), optional: false });
        let ground = &self.host.ground;
        for (name, mode, major, minor) in DEVICES.iter().filter(|(name, ..)| !ground.no_devices.contains(name)) {
            let path = CString::new([b"/dev/", name.to_bytes()].concat()).unwrap_or_default();
            self.device(name, *mode, rustix::fs::makedev(*major, *minor), [0, 0], &path);
        }
        for device in &ground.devices {
            self.device(&device.name, device.mode, device.number, device.owner, &device.source);
        }
        for (name, target) in [
            (c"fd", c"/proc/self/fd"),
            (c"stdin", c"/proc/self/fd/0"),
            (c"stdout", c"/proc/self/fd/1"),
            (c"stderr", c"/proc/self/fd/2"),
            (c"ptmx", c"pts/ptmx"),
        ] {
            self.put(Mount::Link { name: name.into(), target: target.into() });
        }
        let in_dev = |path: &CStr| Place::new(Base::Dev, path, true);
        let tty = tty_group(ground.rootless.as_ref(), ground.userns.as_ref());
        self.put(Mount::Fs { fs: devpts(tty), at: in_dev(c"pts"), keep: Some(Base::Pts), optional: false });
        self.shm(self.spec.shm_size.unwrap_or(SHM_SIZE), Base::Dev, c"shm");
        if self.host.ground.rootless.is_none() || self.spec.namespaces.ipc == Namespace::Private {
            let mqueue = FileSystem::new(c"mqueue", "", QUIET);
            self.put(Mount::Fs { fs: mqueue, at: in_dev(c"mqueue"), keep: None, optional: true });
        }
        if self.spec.terminal {
            self.ops.extend([Op::OpenTerminal { devpts: None }, Op::MountConsole]);
        } else if let Some(tty) = self.host.ground.terminal.clone() {
            let source = self.source(&tty);
            let at = in_dev(c"console");
            let (change, spread) = (Change::default(), Change::default());
            self.put(Mount::Bind { source, cloned: false, recursive: false, map: None, change, spread, at });
        }
    }

    /// The memory that processes share is the namespace's, or with the host's IPC namespace the host's.
    pub(super) fn shm(&mut self, size: u64, base: Base, path: &CStr) {
        let at = Place { make: base == Base::Dev, ..Place::new(base, path, base == Base::Dev) };
        if self.spec.namespaces.ipc == Namespace::Host && self.spec.shm_size.is_none() {
            let source = self.source(c"/dev/shm");
            let (change, spread) = (Change { set: QUIET, ..Change::default() }, Change::default());
            return self.put(Mount::Bind { source, cloned: false, recursive: false, map: None, change, spread, at });
        }
        let fs = FileSystem::new(c"tmpfs", &format!("mode=1777,size={size}"), QUIET);
        self.put(Mount::Fs { fs, at, keep: None, optional: false });
    }

    /// What a root needs to know of the machine and of the network.
    pub(super) fn texts(&mut self) {
        let read_only = self.spec.root.as_ref().is_some_and(|root| root.read_only);
        let seat = self.host.seat.as_ref();
        // On a network of nsctl's, what the root says itself is about another one.
        let over = |asked: bool| match seat {
            _ if asked => Over::Must,
            Some(_) => Over::Anything,
            None => Over::Nothing,
        };
        let names = &self.spec.names;
        let (hosts_over, resolv_over) = (over(!names.hosts.is_empty()), over(names.asks_for_dns()));
        let hosts = match (seat, &self.host.state) {
            (Some(_), Some(state)) => {
                let path = [state.to_bytes(), b"/", self.host.id.as_bytes(), b"/", HOSTS.to_bytes()].concat();
                Provided::Source(self.source(&CString::new(path).unwrap_or_default()))
            }
            _ => Provided::Text(match &self.host.ground.hosts {
                Some(others) if names.hosts.is_empty() => others.clone(),
                _ => names::hosts(self.spec, seat).into_bytes(),
            }),
        };
        let own = matches!(hosts, Provided::Source(_));
        let name = self.spec.hostname.as_deref().map_or("localhost".into(), |name| name.to_string_lossy());
        let resolv = self.host.ground.resolv.clone();
        for (path, name, what, read_only, over) in [
            (c"etc/hosts", c"hosts", hosts, read_only || own, hosts_over),
            (
                c"etc/hostname",
                c"hostname",
                Provided::Text(format!("{name}\n").into_bytes()),
                read_only,
                Over::Nothing,
            ),
            (c"etc/resolv.conf", c"resolv.conf", Provided::Text(resolv), read_only, resolv_over),
        ] {
            let at = Place::new(Base::Root, path, false);
            self.put(Mount::Text { at, name: name.into(), what, read_only, over });
        }
    }

    /// The parts of /proc and /sys that are the machine's.
    pub(super) fn protect(&mut self) {
        let place = |base: Base, path: &CStr| Place { make: false, ..Place::new(base, path, true) };
        for path in READ_ONLY {
            self.put(Mount::ReadOnly(place(Base::Proc, path)));
        }
        for (base, path) in MASKED {
            self.put(Mount::Mask(place(*base, path)));
        }
        // A side channel to what else the processor does, one directory each (moby's GHSA-6fw5-f8r9-fgfm).
        for cpu in 0..self.host.ground.throttled_cpus {
            let path = format!("devices/system/cpu/cpu{cpu}/thermal_throttle");
            self.put(Mount::Mask(place(Base::Sys, &CString::new(path).unwrap_or_default())));
        }
    }
}
