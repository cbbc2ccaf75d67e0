//! Golden plans: for each `tests/plans/NAME.cmd`, the text of `--explain` is `tests/plans/NAME.plan`.
//! The machine is made up, so that the texts are the same everywhere. `make bless` writes them anew.

use std::net::Ipv4Addr;

use linux_raw_sys::general as k;

use crate::error::Result;
use crate::linux::cgroup::{Hierarchy, Version};
use crate::linux::landlock::Abi;
use crate::linux::mount::{Api, FileSystem};
use crate::linux::net::Request;
use crate::linux::net::conf::Switch;
use crate::linux::userns::{Maps, UserNamespace};
use crate::network::{self, Network, Own, Reach, Seat};
use crate::plan::{CgroupView, DeviceNode, Ground, Host, Lower, Plan};
use crate::spec::{Device, From, Kind, Spec};

fn hierarchy(version: Version, mount: &std::ffi::CStr, controllers: &[&str]) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_string()).collect();
    Hierarchy { version, mount: mount.into(), mounted: true, controllers }
}

/// `v2`: one tree; `v1`: a tree each; `none`: nothing is mounted yet.
fn hierarchies(kind: &str) -> Vec<Hierarchy> {
    let unified = hierarchy(Version::V2, c"/sys/fs/cgroup", &["cpuset", "cpu", "io", "memory", "pids"]);
    match kind {
        "v2" => vec![unified],
        "none" => vec![Hierarchy { mounted: false, ..unified }],
        "v1" => vec![
            hierarchy(Version::V1, c"/sys/fs/cgroup/memory", &["rw", "memory"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/cpu,cpuacct", &["rw", "cpu", "cpuacct"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/pids", &["rw", "pids"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/cpuset", &["rw", "cpuset"]),
        ],
        other => panic!("no such machine: {other}"),
    }
}

/// `new`: a kernel with the new mount calls; `old`: with mount(2) alone; `bare`: without overlayfs; `user`: for an
/// ordinary user; `root`: with a user namespace that root gives.
fn ground(kind: &str) -> Ground {
    let attr = k::MOUNT_ATTR_RDONLY | k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC;
    let unified = CgroupView { name: c"".into(), fs: FileSystem::new(c"cgroup2", "", attr) };
    Ground {
        api: Api { fds: kind != "old", setattr: kind != "old", userxattr: kind == "user" },
        overlay: kind != "bare",
        cgroups: vec![unified],
        rootless: (kind == "user").then(|| UserNamespace {
            uid: 1000,
            maps: Maps::single(1000, 1000),
            groups_denied: true,
        }),
        userns: (kind == "root").then(|| Maps { users: vec![[0, 589824, 65536]], groups: vec![[0, 589824, 65536]] }),
        ..Ground::default()
    }
}

/// Every device asked for is one that its group may use.
fn device(asked: &Device) -> DeviceNode {
    let number = rustix::fs::makedev(10, 229);
    DeviceNode {
        source: asked.source.clone(),
        name: asked.name.clone(),
        mode: libc::S_IFCHR | 0o660,
        number,
        owner: [0, 20],
    }
}

/// The first line is the command line; with limits, the next one names the machine's cgroups; one more may name its mount calls.
#[cfg(test)]
fn plan_of(text: &str) -> String {
    use crate::cli::{self, Command};
    use crate::spec::Defaults;
    let mut lines = text.lines();
    let words: Vec<std::ffi::OsString> =
        lines.next().unwrap().split_whitespace().map(std::ffi::OsString::from).collect();
    let spec = match cli::parse(words).unwrap_or_else(|error| panic!("{text}: {error}")).command {
        Command::Run(run) => Spec::root(&run).and_then(|root| Spec::new(*run, root, &Defaults::default())),
        Command::Simple(_) => Spec::simple("bash"),
        _ => panic!("{text} has no plan"),
    };
    let spec = spec.unwrap_or_else(|error| panic!("{text}: {error}"));
    let groups = if spec.wants_groups() { lines.next().unwrap_or("v2") } else { "v2" };
    let plan = plan(spec, groups, lines.next().unwrap_or("new"));
    super::explain(&plan.unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// The plan on one of the made-up machines.
pub(crate) fn plan(spec: Spec, groups: &str, kind: &str) -> Result<Plan> {
    let limited = spec.wants_groups();
    let program = format!("/usr/bin/{}", spec.argv[0].to_string_lossy());
    let lower = spec.root.as_ref().map(|root| match &root.from {
        From::Directory(path) => Lower::Directories(vec![path.clone()]),
        From::Image { what, .. } if what.to_string_lossy().ends_with(".squashfs") => {
            Lower::File { path: std::ffi::CString::new(what.to_string_lossy().as_bytes()).unwrap(), fs: c"squashfs" }
        }
        From::Image { .. } => Lower::Directories(vec![c"/store/layer2".into(), c"/store/layer1".into()]),
    });
    let devices = spec.devices.iter().map(device).collect();
    let host = Host {
        id: "0123456789ab".into(),
        environ: vec![("HOME".into(), "/root".into()), ("PATH".into(), "/usr/bin".into())],
        programs: vec![std::ffi::CString::new(program).unwrap()],
        hierarchies: if limited { hierarchies(groups) } else { Vec::new() },
        disks: vec![rustix::fs::makedev(8, 16); spec.limits.throttle.len()],
        state: Some(c"/run/nsctl".into()),
        words: None,
        lower,
        seat: matches!(spec.network.kind, Kind::Bridge(_)).then(|| seat(&spec)),
        own: own(&spec.network.kind),
        pasta: matches!(spec.network.kind, Kind::Pasta(_)).then(|| c"/usr/bin/pasta".into()),
        landlock: Abi(10),
        ground: Ground { devices, ..ground(kind) },
    };
    Plan::new(spec, host)
}

/// An interface with an address of its parent's subnet, whatever was asked for.
fn own(kind: &Kind) -> Option<Own> {
    let (upon, parent) = match kind {
        Kind::Upon(upon, parent) => (Some(*upon), parent.clone()),
        Kind::Physical(parent) => (None, parent.clone()),
        _ => return None,
    };
    let gateway = Some("192.0.2.1".parse().unwrap());
    let addresses = vec![("192.0.2.9".parse().unwrap(), 24, gateway)];
    let back = if upon.is_none() { vec![Request::Up(parent.clone())] } else { Vec::new() };
    Some(Own { parent, upon, mac: None, addresses, back })
}

fn switch(file: &std::ffi::CStr) -> Switch {
    Switch { v6: false, file: file.into(), value: b'1', was: b'0' }
}

/// The first container on the default network.
fn seat(spec: &Spec) -> Seat {
    Seat {
        network: Network {
            name: "bridge".into(),
            interface: "nsctl0".into(),
            subnet: "10.91.0.0/22".into(),
            gateway: "10.91.0.1".into(),
            subnet6: "fd12:3456:789a::/64".into(),
            gateway6: "fd12:3456:789a::1".into(),
            mtu: 0,
            internal: false,
            created: 0,
            labels: Vec::new(),
        },
        number: 2,
        address: (Ipv4Addr::new(10, 91, 0, 2), 22),
        gateway: Ipv4Addr::new(10, 91, 0, 1),
        address6: "fd12:3456:789a::2".parse().ok().map(|address| (address, 64)),
        gateway6: "fd12:3456:789a::1".parse().ok(),
        mac: [2, 0x42, 10, 91, 0, 2],
        mtu: 1500,
        up: false,
        reach: Reach {
            first: true,
            ruled: false,
            bridge: vec![switch(c"nsctl0/forwarding")],
            forward: vec![switch(c"eth0/forwarding")],
            loopback: vec![switch(c"nsctl0/route_localnet")],
            ports: network::foreseen(&spec.network.publish),
        },
        veth: c"ve-0123456789ab".into(),
    }
}

#[test]
fn golden_plans() {
    use std::fs;
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let command = entry.unwrap().path();
        if command.extension().is_none_or(|extension| extension != "cmd") {
            continue;
        }
        let golden = command.with_extension("plan");
        let plan = plan_of(&fs::read_to_string(&command).unwrap());
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &plan).unwrap();
        }
        // Whose process it becomes finds nothing of the host's open in it.
        let at = |what: &str| plan.lines().position(|line| line.contains(what));
        let (closed, becomes) = (at(" close_range("), at("setresuid("));
        assert!(closed.is_some() && becomes.is_none_or(|becomes| closed < Some(becomes)), "{}", golden.display());
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(plan == expected, "{} differs; what it is now (make bless accepts it):\n{plan}", golden.display());
        seen += 1;
    }
    assert!(seen >= 34, "only {seen} plans");
}
