//! Networks that are made and removed, and the addresses on them. Each test has a network namespace of its own for
//! its host, so that nothing of the machine's changes.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, plain};
use crate::nsctl::{Outcome, Running, command, must, outcome};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("networks_are_made_shown_and_removed", networks),
    ("a_range_of_somebody_else_is_refused_by_its_name", collisions),
    ("a_network_in_use_stays", in_use),
    ("what_a_killed_container_left_is_pruned", pruned),
    ("addresses_of_ipv6_are_one_containers_alone", addresses),
    ("inspect_shows_the_place_on_the_network", inspected),
];

/// A host of a test's own: its network namespace, and nsctl's state.
struct World {
    net: OwnedFd,
    state: Scratch,
}

impl World {
    fn new() -> Self {
        let made = std::thread::spawn(|| {
            // SAFETY: it changes this thread alone, which ends at once.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            fs::File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self { net: made.join().unwrap().into(), state: Scratch::new("names") }
    }

    fn inside(&self, mut command: Command) -> Command {
        let net = self.net.as_raw_fd();
        command.env("NSCTL_ROOT", self.state.dir("state"));
        // SAFETY: one system call, between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setns(net, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
        command
    }

    fn nsctl(&self, args: &[&str]) -> Outcome {
        outcome(Running::start(&mut self.inside(command(args))))
    }

    /// `nsctl run --rootfs ROOT OPTIONS sh -c SCRIPT`.
    fn run(&self, options: &[&str], script: &str) -> Outcome {
        let mut args = vec!["run", "--rootfs", plain().path()];
        args.extend(options);
        args.extend(["sh", "-c", script]);
        self.nsctl(&args)
    }

    /// The same, detached; it must start.
    fn start(&self, options: &[&str], script: &str) -> Result<(), Failed> {
        let outcome = self.run(&[&["-d", "--stop-timeout", "0"], options].concat(), script);
        must(outcome.code == 0, "it starts", &outcome)
    }

    fn script(&self, text: &str) -> Outcome {
        outcome(Running::start(&mut self.inside(crate::host::script(text, &[]))))
    }

    /// The interfaces of nsctl's on the host.
    fn links(&self) -> String {
        self.script("cut -s -d: -f1 /proc/net/dev | tr -d ' ' | grep -E '^(nsctl|ve-)' | tr '\\n' ' '").out
    }

    /// None is left; those of a namespace are gone a moment after its last process.
    fn no_links(&self) -> Result<(), Failed> {
        for _ in 0..200 {
            if self.links().is_empty() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Err(format!("interfaces are left: {}", self.links()).into())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nsctl(&["rm", "-f", "--all"]);
    }
}

const WAIT: &str = "sleep 1000";

fn networks() -> Result<(), Failed> {
    let world = World::new();
    let none = world.nsctl(&["network", "ls"]);
    must(none.out.trim() == "NAME  INTERFACE  SUBNET  SUBNET6  CONTAINERS", "an empty table", &none)?;
    let made = world.nsctl(&[
        "network",
        "create",
        "--subnet",
        "10.7.0.0/24",
        "--subnet",
        "fd07::/64",
        "--gateway",
        "10.7.0.254",
        "-o",
        "mtu=1400",
        "--internal",
        "--label",
        "a=b",
        "lan",
    ]);
    must(made.code == 0 && made.out == "lan\n", "made", &made)?;
    let other = world.nsctl(&["network", "create", "--ipv6=false", "wan"]);
    must(other.code == 0, "another one", &other)?;
    let twice = world.nsctl(&["network", "create", "lan"]);
    must(twice.code == 1 && twice.err.contains("there is a network lan already"), "not twice", &twice)?;
    let listed = world.nsctl(&["network", "ls", "--format", "name,interface,subnet,subnet6,containers,internal"]);
    let wanted = "lan\tnsctl1\t10.7.0.0/24\tfd07::/64\t0\tyes\nwan\tnsctl2\t10.91.0.0/22\t\t0\tno\n";
    must(listed.out == wanted, "both", &listed)?;
    let shown = world.nsctl(&["network", "inspect", "lan"]);
    for part in ["\"gateway\":\"10.7.0.254\"", "\"gateway6\":\"fd07::1\"", "\"mtu\":1400", "\"labels\":[\"a=b\"]"] {
        must(shown.out.contains(part), part, &shown)?;
    }
    let script = "ip addr show eth0; ip route; cat /sys/class/net/eth0/mtu";
    let inside = world.run(&["--network", "lan"], script);
    for part in ["inet 10.7.0.2/24", "inet6 fd07::2/64", "\n1400\n"] {
        must(inside.out.contains(part) && !inside.out.contains("default"), part, &inside)?;
    }
    let removed = world.nsctl(&["network", "rm", "lan", "nothing", "wan"]);
    must(removed.code == 1 && removed.out == "lan\nwan\n", "the others are removed", &removed)?;
    must(removed.err.contains("there is no network nothing"), "and it is said", &removed)?;
    let again = world.nsctl(&["network", "rm", "-f", "lan"]);
    must(again.code == 0, "with force it is no error", &again)?;
    let left = world.nsctl(&["network", "ls", "-q"]);
    must(left.out.is_empty(), "nothing", &left)?;
    world.no_links()
}

fn collisions() -> Result<(), Failed> {
    let world = World::new();
    let ready = "ip link add up0 type veth peer up1 && ip addr add 10.3.0.7/24 dev up0 && ip link set up0 up && \
                 ip link set up1 up && ip route add 10.4.0.0/16 via 10.3.0.1 && ip addr add 10.91.2.1/24 dev up0";
    let ready = world.script(ready);
    must(ready.code == 0, "an uplink", &ready)?;
    world.nsctl(&["network", "create", "--subnet", "10.5.0.0/24", "--subnet", "fd05::/64", "lan"]);
    for (subnet, said) in [
        ("10.3.0.0/25", "--subnet 10.3.0.0/25 meets 10.3.0.0/24: that is the address 10.3.0.7 of up0"),
        ("10.4.9.0/24", "--subnet 10.4.9.0/24 meets 10.4.0.0/16: that is a route over up0"),
        ("10.0.0.0/8", "--subnet 10.0.0.0/8 meets 10.5.0.0/24: that is the network lan"),
        ("fd05::/80", "--subnet fd05::/80 meets fd05::/64: that is the network lan"),
        ("10.6.0.1/24", "its address has bits beyond the prefix: 10.6.0.0/24"),
        ("10.6.0.0/31", "no room for a bridge and a container"),
        ("x", "--subnet x is none"),
    ] {
        let refused = world.nsctl(&["network", "create", "--subnet", subnet, "new"]);
        must(refused.code != 0 && refused.err.contains(said), said, &refused)?;
    }
    for name in ["host", "none", "undo", "../x", "a b", ""] {
        let refused = world.nsctl(&["network", "create", name]);
        must(refused.code != 0 && refused.out.is_empty(), name, &refused)?;
    }
    // What is chosen meets nothing.
    let made = world.nsctl(&["network", "create", "free"]);
    let shown = world.nsctl(&["network", "inspect", "free"]);
    must(made.code == 0 && shown.out.contains("\"subnet\":\"10.91.4.0/22\""), "the next one", &shown)
}

fn in_use() -> Result<(), Failed> {
    let world = World::new();
    world.nsctl(&["network", "create", "lan"]);
    world.start(&["--network", "lan", "--name", "web"], WAIT)?;
    world.start(&["--network", "bridge", "--name", "other"], WAIT)?;
    must(
        world.links().contains("nsctl1") && world.links().contains("nsctl0"),
        &world.links(),
        &world.nsctl(&["ps"]),
    )?;
    let refused = world.nsctl(&["network", "rm", "lan"]);
    must(refused.code == 1 && refused.err.contains("the network lan is in use (by web)"), "by whom", &refused)?;
    let refused = world.nsctl(&["network", "prune", "--force"]);
    must(refused.code == 0 && refused.out.is_empty(), "nor is it pruned", &refused)?;
    let shown = world.nsctl(&["network", "inspect", "lan"]);
    must(shown.out.contains("\"name\":\"web\",\"ip\":\"10.91.0.2\""), "who has which", &shown)?;
    world.nsctl(&["stop", "web", "other"]);
    world.no_links()?;
    let pruned = world.nsctl(&["network", "prune", "--force"]);
    must(pruned.code == 0 && pruned.out == "lan\n", "pruned", &pruned)?;
    let started = world.nsctl(&["start", "web"]);
    must(started.code != 0 && started.err.contains("there is no network lan"), "it is missed", &started)?;
    let removed = world.nsctl(&["network", "rm", "bridge"]);
    must(removed.code == 0, "also the default one can be removed", &removed)?;
    let made = world.nsctl(&["network", "create", "--subnet", "10.8.0.0/24", "bridge"]);
    must(made.code == 0, "and made as it shall be", &made)?;
    let inside = world.run(&["--network", "bridge"], "ip addr show eth0");
    must(inside.out.contains("inet 10.8.0.2/24"), "so it is", &inside)
}

fn pruned() -> Result<(), Failed> {
    let world = World::new();
    world.start(&["--network", "bridge", "--name", "web"], WAIT)?;
    world.start(&["--network", "bridge", "--name", "db"], WAIT)?;
    for name in ["web", "db"] {
        let pid = world.nsctl(&["ps", "--format", "name,pid"]);
        let line = pid.out.lines().find_map(|line| line.strip_prefix(&format!("{name}\t"))).unwrap_or_default();
        let pid: i32 = line.parse().map_err(|_| format!("no pid of {name}: {}", pid.out))?;
        // SAFETY: the container's PID 1, which is this test's.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        for _ in 0..1000 {
            if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    must(world.links().contains("nsctl0"), "the bridge is left", &world.nsctl(&["version"]))?;
    let pruned = world.nsctl(&["network", "prune", "-f"]);
    must(pruned.code == 0, "pruned", &pruned)?;
    world.no_links()
}

fn addresses() -> Result<(), Failed> {
    let world = World::new();
    world.nsctl(&["network", "create", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "lan"]);
    let six = "ip -6 addr show eth0 | sed -n 's/.*inet6 \\(fd[^/]*\\).*/\\1/p'; sleep 1000";
    let start = |name: &str, options: &[&str]| {
        let outcome = world.run(&[&["-d", "--network", "lan", "--name", name], options].concat(), six);
        (outcome.code == 0).then(|| world.nsctl(&["inspect", name]).out).ok_or(outcome)
    };
    // What goes with the first address is asked for by another one.
    let one = start("one", &["--ip6", "fd07::3", "--ip", "10.7.0.9"]).map_err(|outcome| outcome.err)?;
    must(one.contains("\"ip\":\"10.7.0.9\",\"ip6\":\"fd07::3\""), &one, &world.nsctl(&["ps"]))?;
    let two = start("two", &[]).map_err(|outcome| outcome.err)?;
    must(two.contains("\"ip\":\"10.7.0.2\",\"ip6\":\"fd07::2\""), &two, &world.nsctl(&["ps"]))?;
    let three = start("three", &[]).map_err(|outcome| outcome.err)?;
    must(three.contains("\"ip\":\"10.7.0.4\",\"ip6\":\"fd07::4\""), &three, &world.nsctl(&["ps"]))?;
    let far = start("far", &["--ip6", "fd07::ffff:0:0:1"]).map_err(|outcome| outcome.err)?;
    must(far.contains("\"ip6\":\"fd07::ffff:0:0:1\""), &far, &world.nsctl(&["ps"]))?;
    for (wrong, said) in [
        ("fd07::3", "is taken"),
        ("fd07::2", "is taken"),
        ("fd07::ffff:0:0:1", "is taken"),
        ("fd07::1", "the bridge's own"),
        ("fd07::", "is not of the network lan"),
        ("fd08::9", "is not of the network lan"),
    ] {
        let refused = world.run(&["--network", "lan", "--ip6", wrong], "true");
        must(refused.code == 125 && refused.err.contains(said), wrong, &refused)?;
    }
    Ok(())
}

fn inspected() -> Result<(), Failed> {
    let world = World::new();
    world.nsctl(&["network", "create", "--subnet", "10.7.0.0/24", "--ipv6=false", "lan"]);
    world.start(&["--network", "lan", "--name", "web", "--mac-address", "02:00:00:00:00:07"], WAIT)?;
    let shown = world.nsctl(&["inspect", "web"]);
    let wanted = "\"network_settings\":{\"network\":\"lan\",\"ip\":\"10.7.0.2\",\"ip6\":\"\",\"prefix\":24,\"prefix6\":0,\
                  \"gateway\":\"10.7.0.1\",\"gateway6\":\"\",\"mac\":\"02:00:00:00:00:07\"";
    must(shown.out.contains(wanted), wanted, &shown)?;
    world.nsctl(&["stop", "web"]);
    let shown = world.nsctl(&["inspect", "web"]);
    must(shown.out.contains("\"network_settings\":null"), "it has none now", &shown)
}
