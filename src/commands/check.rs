//! `nsctl check`: what this kernel and this user can do, by trying it.

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::{print, rootless};
use crate::error::Result;
use crate::linux::kconfig::Kconfig;
use crate::linux::landlock::{Abi, KNOWS};
use crate::linux::probe::{self, Answer};
use crate::linux::userns;

/// What a missing feature means for nsctl.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    /// `nsctl run` does not work without it.
    Required,
    /// Only the option named needs it.
    Option(&'static str),
    /// There is a fallback of the same meaning.
    Fallback(&'static str),
}

struct Feature {
    name: &'static str,
    since: &'static str,
    need: Need,
    /// Kernel configuration, all of which it takes; empty for what every kernel of that age has.
    config: &'static [&'static str],
    /// Other ways in which it is turned off.
    knob: &'static str,
    probe: fn() -> Answer,
}

const USER_NAMESPACES: &str = "user namespaces";
const ROOT: &str = "run as root (CAP_SYS_ADMIN)";
const DELEGATE: &str = "run as root, or in a delegated cgroup v2 (systemd-run --user --scope -p Delegate=yes)";
const USERNS: &str = "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                      kernel.apparmor_restrict_unprivileged_userns";

const LANDLOCK: &str = "landlock";

const FEATURES: &[Feature] = {
    use Need::{Fallback, Option, Required};
    macro_rules! feature {
        ($name:expr, $since:literal, $need:expr, $config:expr, $knob:expr, $probe:expr) => {
            Feature { name: $name, since: $since, need: $need, config: $config, knob: $knob, probe: $probe }
        };
    }
    &[
        feature!("mount namespaces", "2.4.19", Required, &["CONFIG_NAMESPACES"], ROOT, || probe::namespace(
            libc::CLONE_NEWNS
        )),
        feature!("UTS namespaces", "2.6.19", Required, &["CONFIG_UTS_NS"], ROOT, || probe::namespace(
            libc::CLONE_NEWUTS
        )),
        feature!("PID namespaces", "2.6.24", Required, &["CONFIG_PID_NS"], ROOT, || probe::namespace(
            libc::CLONE_NEWPID
        )),
        feature!("IPC namespaces", "2.6.19", Required, &["CONFIG_IPC_NS"], ROOT, || probe::namespace(
            libc::CLONE_NEWIPC
        )),
        feature!("cgroup namespaces", "4.6", Required, &["CONFIG_CGROUPS"], ROOT, || probe::namespace(
            libc::CLONE_NEWCGROUP
        )),
        feature!("network namespaces", "2.6.24", Option("--network none"), &["CONFIG_NET_NS"], ROOT, || {
            probe::namespace(libc::CLONE_NEWNET)
        }),
        feature!(
            "pairs of interfaces",
            "2.6.24",
            Option("--network bridge"),
            &["CONFIG_VETH"],
            "modprobe veth",
            || { probe::interface(c"veth") }
        ),
        feature!("bridges", "2.4", Option("--network bridge"), &["CONFIG_BRIDGE"], "modprobe bridge", || {
            probe::interface(c"bridge")
        }),
        feature!(
            "nf_tables",
            "3.13",
            Option("--network bridge to the world"),
            &[
                "CONFIG_NF_TABLES",
                "CONFIG_NF_TABLES_INET",
                "CONFIG_NFT_NAT",
                "CONFIG_NFT_MASQ",
                "CONFIG_NFT_FIB_INET",
                "CONFIG_NFT_CT"
            ],
            "modprobe nft_chain_nat nft_nat nft_masq nft_fib_inet nft_ct",
            probe::nf_tables
        ),
        feature!(
            "macvlan",
            "2.6.23",
            Option("--network macvlan:IFACE"),
            &["CONFIG_MACVLAN"],
            "modprobe macvlan",
            || { probe::interface(c"macvlan") }
        ),
        feature!("ipvlan", "3.19", Option("--network ipvlan:IFACE"), &["CONFIG_IPVLAN"], "modprobe ipvlan", || {
            probe::interface(c"ipvlan")
        }),
        feature!(
            "TUN",
            "2.4",
            Option("--network pasta"),
            &["CONFIG_TUN"],
            "modprobe tun; chmod 666 /dev/net/tun",
            probe::tun
        ),
        Feature {
            name: USER_NAMESPACES,
            since: "3.8",
            need: Option("ordinary users, --userns"),
            config: &["CONFIG_USER_NS"],
            knob: USERNS,
            probe: || probe::namespace(libc::CLONE_NEWUSER),
        },
        feature!(
            "ranges of ids",
            "3.8",
            Option("more ids than one"),
            &[],
            "package uidmap, and ranges in /etc/subuid and /etc/subgid",
            || {
                // Root has all of them.
                if userns::is_root() || rootless::helpers().is_some() { Answer::Yes } else { Answer::Off }
            }
        ),
        feature!("procfs", "1.0", Required, &["CONFIG_PROC_FS"], "mount -t proc proc /proc", || {
            probe::filesystem("proc")
        }),
        feature!("clone3", "5.3", Fallback("clone"), &[], "an outer seccomp filter", probe::clone3),
        feature!("pidfd", "5.3", Fallback("process ids"), &[], "an outer seccomp filter", probe::pidfd),
        feature!(
            "close_range with CLOEXEC",
            "5.11",
            Fallback("a walk over /proc/self/fd"),
            &[],
            "an outer seccomp filter",
            probe::close_range
        ),
        feature!("tmpfs", "2.4", Option("--rootfs, --image"), &["CONFIG_TMPFS", "CONFIG_TMPFS_XATTR"], "", || {
            probe::filesystem("tmpfs")
        }),
        feature!(
            "overlayfs",
            "3.18",
            Option("changes over a root"),
            &["CONFIG_OVERLAY_FS"],
            "modprobe overlay; for ordinary users Linux 5.11",
            probe::overlay
        ),
        feature!("loop devices", "5.8", Option("--image FILE"), &["CONFIG_BLK_DEV_LOOP"], "modprobe loop", || {
            probe::loop_devices()
        }),
        feature!("squashfs", "2.6.29", Option("--image FILE"), &["CONFIG_SQUASHFS"], "modprobe squashfs", || {
            probe::filesystem("squashfs")
        }),
        feature!("erofs", "5.4", Option("--image FILE"), &["CONFIG_EROFS_FS"], "modprobe erofs", || {
            probe::filesystem("erofs")
        }),
        feature!("ext4", "2.6.28", Option("--image FILE"), &["CONFIG_EXT4_FS"], "modprobe ext4", || {
            probe::filesystem("ext4")
        }),
        feature!("POSIX message queues", "2.6.6", Option("/dev/mqueue"), &["CONFIG_POSIX_MQUEUE"], "", || {
            probe::filesystem("mqueue")
        }),
        feature!("openat2", "5.6", Fallback("a walk by component"), &[], "an outer seccomp filter", probe::openat2),
        feature!(
            "fsopen, open_tree",
            "5.2",
            Fallback("mount on /proc/self/fd"),
            &[],
            "an outer seccomp filter",
            probe::mount_calls
        ),
        feature!(
            "mount_setattr",
            "5.12",
            Fallback("a remount; idmap needs it"),
            &[],
            "an outer seccomp filter",
            probe::mount_setattr
        ),
        feature!("cgroup v2", "4.5", Fallback("cgroup v1"), &["CONFIG_CGROUPS"], "", || probe::filesystem("cgroup2")),
        feature!(
            "memory controller",
            "2.6.25",
            Option("--memory"),
            &["CONFIG_MEMCG"],
            "cgroup_disable=memory at boot",
            || probe::controller("memory")
        ),
        feature!(
            "cpu controller",
            "3.2",
            Option("--cpus"),
            &["CONFIG_CGROUP_SCHED", "CONFIG_FAIR_GROUP_SCHED", "CONFIG_CFS_BANDWIDTH"],
            "",
            || probe::controller("cpu")
        ),
        feature!("pids controller", "4.3", Option("--pids-limit"), &["CONFIG_CGROUP_PIDS"], "", || {
            probe::controller("pids")
        }),
        feature!("cpuset controller", "2.6.24", Option("--cpuset-cpus"), &["CONFIG_CPUSETS"], "", || {
            probe::controller("cpuset")
        }),
        feature!(
            "io controller",
            "4.5",
            Option("--device-read-bps"),
            &["CONFIG_BLK_CGROUP", "CONFIG_BLK_DEV_THROTTLING"],
            "",
            || { probe::io_controller() }
        ),
        feature!(
            "device rules",
            "4.15",
            Option("--device-cgroup-rule"),
            &["CONFIG_CGROUP_BPF", "CONFIG_BPF_SYSCALL"],
            ROOT,
            probe::device_rules
        ),
        feature!(
            "seccomp filters",
            "3.17",
            Option("the filter of system calls"),
            &["CONFIG_SECCOMP", "CONFIG_SECCOMP_FILTER"],
            "an outer seccomp filter",
            probe::seccomp
        ),
        feature!(
            LANDLOCK,
            "5.13",
            Option("--landlock-ro, --isolate"),
            &["CONFIG_SECURITY_LANDLOCK"],
            "lsm=landlock,… at boot",
            probe::landlock
        ),
    ]
};

#[derive(Serialize)]
struct Row {
    feature: &'static str,
    since: &'static str,
    /// "yes", "no" or "off" (there, but this user may not).
    answer: &'static str,
    need: String,
    required: bool,
    change: String,
}

#[inline(never)]
pub(crate) fn check(typed: &cli::Check) -> Result<u8> {
    if typed.kconfig {
        print(&fragment())?;
        return Ok(0);
    }
    let obstacle = rootless::obstacle();
    let kconfig = Kconfig::of_running_kernel();
    let mut rows: Vec<Row> = FEATURES.iter().map(|feature| row(feature, kconfig.as_ref())).collect();
    // An ordinary user's answers are those of its user namespace, if it can have one.
    if let (Some(why), Some(row)) = (obstacle, rows.iter_mut().find(|row| row.feature == USER_NAMESPACES)) {
        (row.answer, row.change) = (if row.answer == "yes" { "off" } else { row.answer }, why);
    }
    if typed.json {
        print(&(json::to_string(&rows) + "\n"))?;
    } else {
        print(&table(&rows, kconfig.is_some()))?;
    }
    Ok(u8::from(rows.iter().any(|row| row.required && row.answer != "yes")))
}

fn row(feature: &Feature, kconfig: Option<&Kconfig>) -> Row {
    let answer = (feature.probe)();
    let missing: Vec<&str> =
        feature.config.iter().filter(|name| kconfig.is_none_or(|kconfig| !kconfig.is_set(name))).copied().collect();
    let change = match answer {
        Answer::Yes if feature.name == LANDLOCK => landlock(),
        Answer::Yes => String::new(),
        Answer::Off if feature.name.ends_with("controller") => DELEGATE.to_string(),
        Answer::Off => feature.knob.to_string(),
        Answer::No if missing.is_empty() => feature.knob.to_string(),
        Answer::No => missing.join(" "),
    };
    Row {
        feature: feature.name,
        since: feature.since,
        answer: match answer {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::Off => "off",
        },
        need: match feature.need {
            Need::Required => "needed".into(),
            Need::Option(option) => format!("for {option}"),
            Need::Fallback(fallback) => format!("else {fallback}"),
        },
        required: feature.need == Need::Required,
        change,
    }
}

/// Its version, and what that confines.
fn landlock() -> String {
    let abi = Abi::here();
    let known: Vec<&str> = KNOWS.iter().filter(|(since, _)| *since <= abi).map(|(_, what)| *what).collect();
    format!("ABI {}: {}", abi.0, known.join(", "))
}

fn table(rows: &[Row], kconfig: bool) -> String {
    let mut text = format!("{:<26} {:<6} {:<4} {:<31} HOW TO GET IT\n", "FEATURE", "SINCE", "HERE", "WITHOUT IT");
    for row in rows {
        let line = format!("{:<26} {:<6} {:<4} {:<31} {}", row.feature, row.since, row.answer, row.need, row.change);
        text += line.trim_end();
        text += "\n";
    }
    if !kconfig {
        text += "\n(no /proc/config.gz and no /boot/config: answers are by trying only)\n";
    }
    text
}

fn fragment() -> String {
    let mut names: Vec<&str> = FEATURES.iter().flat_map(|feature| feature.config).copied().collect();
    names.sort_unstable();
    names.dedup();
    let lines: String = names.iter().map(|name| format!("{name}=y\n")).collect();
    format!("# What nsctl can use; merge with scripts/kconfig/merge_config.sh of the kernel.\n{lines}")
}
