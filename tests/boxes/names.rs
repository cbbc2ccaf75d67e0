//! Networks that are made and removed, and how containers on one find each other. Each test has a network namespace of its own for
//! its host, so that nothing of the machine's changes.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, plain};
use crate::life::until;
use crate::net::world::kill;
use crate::nsctl::{Outcome, Running, command, must, outcome};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("networks_are_made_shown_and_removed", networks),
    ("a_range_of_somebody_else_is_refused_by_its_name", collisions),
    ("a_network_in_use_stays", in_use),
    ("what_a_killed_container_left_is_pruned", pruned),
    ("containers_reach_each_other_by_name", by_name),
    ("names_come_and_go_with_containers", come_and_go),
    ("resolv_conf_has_what_is_in_reach", resolv_conf),
    ("addresses_of_ipv6_are_one_containers_alone", addresses),
    ("inspect_shows_the_place_on_the_network", inspected),
    ("what_needs_a_root_says_so", without_root),
    ("who_ended_is_started_again_at_once", again),
];

/// Those about the container's files.
pub(crate) const TREES: &[(&str, Case)] =
    &[("etc_hosts_is_the_containers_own", own_hosts), ("a_root_does_not_lead_its_hosts_file_elsewhere", hostile)];

/// A host of a test's own: its network namespace, and nsctl's state.
struct World {
    net: OwnedFd,
    state: Scratch,
}

impl World {
    /// None: this kernel has no networks for containers, and that is said.
    fn new() -> Option<Self> {
        let made = std::thread::spawn(|| {
            // SAFETY: it changes this thread alone, which ends at once.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            fs::File::open("/proc/thread-self/ns/net").unwrap()
        });
        let world = Self { net: made.join().unwrap().into(), state: Scratch::new("names") };
        let able = world
            .script("ip link add b0 type bridge && ip link add v0 type veth && ip link del b0 && ip link del v0");
        if able.code != 0 {
            crate::host::skip("no bridges, or no pairs of interfaces (the modules bridge and veth)");
            return None;
        }
        Some(world)
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
        until("no interface is left", || self.links().is_empty())
            .map_err(|_| format!("interfaces are left: {}", self.links()).into())
    }

    /// What a container's /etc/hosts says of others.
    fn hosts(&self, container: &str) -> String {
        let outcome = self.nsctl(&["exec", container, "cat", "/etc/hosts"]);
        outcome.out.split_once("knows them:\n").map_or(outcome.out.clone(), |(_, others)| others.into())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nsctl(&["rm", "-f", "--all"]);
    }
}

const WAIT: &str = "sleep 1000";

/// Tries something for a minute: a server does not listen yet, a port of the bridge is not on yet and drops the first packets.
const TRY: &str = "try() { n=0; until \"$@\"; do n=$((n + 1)); [ $n -lt 60 ] || return 1; sleep 1; done; }; ";

fn networks() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
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
    let Some(world) = World::new() else { return Ok(()) };
    let ready = "ip link add up0 type veth && ip addr add 10.3.0.7/24 dev up0 && ip link set up0 up && \
                 ip link set veth0 up && ip route add 10.4.0.0/16 via 10.3.0.1 && ip addr add 10.91.2.1/24 dev up0";
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
    let Some(world) = World::new() else { return Ok(()) };
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
    let Some(world) = World::new() else { return Ok(()) };
    world.start(&["--network", "bridge", "--name", "web"], WAIT)?;
    world.start(&["--network", "bridge", "--name", "db"], WAIT)?;
    for name in ["web", "db"] {
        let pid = world.nsctl(&["ps", "--format", "name,pid"]);
        let line = pid.out.lines().find_map(|line| line.strip_prefix(&format!("{name}\t"))).unwrap_or_default();
        let pid: i32 = line.parse().map_err(|_| format!("no pid of {name}: {}", pid.out))?;
        kill(&[pid])?;
    }
    must(world.links().contains("nsctl0"), "the bridge is left", &world.nsctl(&["version"]))?;
    let pruned = world.nsctl(&["network", "prune", "-f"]);
    must(pruned.code == 0, "pruned", &pruned)?;
    world.no_links()
}

fn by_name() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    world.start(&["--network", "bridge", "--name", "web"], "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp")?;
    let script = format!(
        "{TRY} try ping -4 -c 1 -W 2 web && try ping -6 -c 1 -W 2 web && try wget -q -O - http://web/index.html && \
         grep web /etc/hosts | tail -n 1 | cut -f1"
    );
    let outcome = world.run(&["--network", "bridge", "--name", "client"], &script);
    must(outcome.code == 0 && outcome.out.contains("hello\n"), "by its name", &outcome)?;
    let six = outcome.out.lines().last().unwrap_or_default();
    let script = format!("{TRY} try wget -q -O - 'http://[{six}]/index.html'");
    let outcome = world.run(&["--network", "bridge"], &script);
    must(outcome.out == "hello\n", "over IPv6", &outcome)
}

fn come_and_go() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    world.start(&["--network", "bridge", "--name", "one", "--hostname", "host-one"], WAIT)?;
    let alone = world.hosts("one");
    must(alone.lines().count() == 2 && alone.contains("10.91.0.2\tone "), &alone, &world.nsctl(&["ps"]))?;
    world.start(&["--network", "bridge", "--name", "two", "--network-alias", "db"], WAIT)?;
    // Without a root of its own it is found, and sees the host's file.
    let bare = world.nsctl(&["run", "-d", "--network", "bridge", "--name", "bare", "sleep", "1000"]);
    must(bare.code == 0, "without a root", &bare)?;
    for name in ["one", "two"] {
        let hosts = world.hosts(name);
        let names: Vec<&str> =
            hosts.lines().filter_map(|line| line.split_once('\t')).map(|(_, names)| names).collect();
        let right = names.len() == 6
            && names[0].starts_with("one ")
            && names[0].ends_with(" host-one")
            && names[2].starts_with("two ")
            && names[2].ends_with(" db")
            && names[4].starts_with("bare ");
        must(right, &hosts, &bare)?;
    }
    let renamed = world.nsctl(&["rename", "two", "three"]);
    must(renamed.code == 0 && world.hosts("one").contains("\tthree "), &world.hosts("one"), &renamed)?;
    let stopped = world.nsctl(&["stop", "-t", "0", "three"]);
    must(stopped.code == 0 && !world.hosts("one").contains("three"), &world.hosts("one"), &stopped)?;
    let started = world.nsctl(&["start", "three"]);
    must(started.code == 0 && world.hosts("one").contains("\tthree "), &world.hosts("one"), &started)?;
    must(world.hosts("three").contains("\tone "), &world.hosts("three"), &started)?;
    let removed = world.nsctl(&["rm", "-f", "three", "bare"]);
    must(removed.code == 0 && world.hosts("one") == alone, &world.hosts("one"), &removed)?;
    let foreground = world.run(&["--network", "bridge", "--name", "four"], "grep -c one /etc/hosts");
    must(foreground.out == "2\n" && world.hosts("one") == alone, &world.hosts("one"), &foreground)
}

fn own_hosts() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    let root = Root::plain("hosts").file("etc/hosts", "192.0.2.1 of-the-root\n");
    let run = |options: &[&str], script: &str| {
        world.nsctl(&[&["run", "--rootfs", root.path()], options, &["sh", "-c", script]].concat())
    };
    let add = ["--add-host", "db:10.1.0.7", "--add-host", "six=[fd00::7]", "--add-host", "host:host-gateway"];
    let outcome = run(
        &[&["--network", "bridge", "--hostname", "me"], &add[..]].concat(),
        "cat /etc/hosts; echo x >> /etc/hosts",
    );
    for line in ["127.0.0.1\tlocalhost\n", "10.91.0.2\tme\n", "10.1.0.7\tdb\n", "fd00::7\tsix\n", "10.91.0.1\thost\n"]
    {
        must(outcome.out.contains(line) && !outcome.out.contains("of-the-root"), line, &outcome)?;
    }
    must(outcome.code != 0 && outcome.err.contains("Read-only"), "not to be written to", &outcome)?;
    let outcome = run(&add, "cat /etc/hosts");
    must(
        outcome.out.contains("10.1.0.7\tdb\n") && outcome.out.contains("127.0.0.1\thost\n"),
        "the host's network",
        &outcome,
    )?;
    let outcome = run(&[], "cat /etc/hosts");
    must(outcome.out == "192.0.2.1 of-the-root\n", "without a reason it stays", &outcome)?;
    let outcome = run(&["--network", "none", "--add-host", "me:host-gateway"], "true");
    must(outcome.code == 125, "no way to the host", &outcome)?;
    // Whoever the command is, and whatever the caller's umask: it can read it.
    let text =
        "umask 077; \"$@\" run --rootfs \"$ROOT\" --network bridge --user 1000 cat /etc/hosts /etc/resolv.conf";
    let mut script = crate::host::script(&text.replace("$ROOT", root.path()), &[]);
    script.env("ROOT", root.path());
    let outcome = outcome_of(&world, script);
    must(outcome.code == 0, "readable", &outcome)?;
    let own = Scratch::new("hosts");
    let volume = format!("{}:/etc/hosts", own.file("hosts", "mine\n"));
    let outcome = run(&["--network", "bridge", "-v", &volume], "cat /etc/hosts");
    must(outcome.out == "mine\n", "--volume is over all", &outcome)?;
    must(fs::read_to_string(root.at("etc/hosts"))? == "192.0.2.1 of-the-root\n", "the root is as it was", &outcome)
}

fn outcome_of(world: &World, command: Command) -> Outcome {
    outcome(Running::start(&mut world.inside(command)))
}

fn resolv_conf() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    let files = Scratch::new("resolv");
    // The host's, as this says.
    let with = |text: &str, options: &[&str]| {
        let conf = files.file("conf", text);
        let script = format!(
            "[ -e /etc/resolv.conf ] || : > /etc/resolv.conf; mount --bind {conf} $(readlink -f /etc/resolv.conf) && \"$@\" run --rootfs {} {} cat /etc/resolv.conf",
            plain().path(),
            options.join(" ")
        );
        let mut script = crate::host::script(&script, &[]);
        crate::host::prepare(&mut script, Vec::new());
        outcome_of(&world, script)
    };
    let real = "nameserver 192.0.2.53\nsearch lan\n";
    for options in [&[][..], &["--network", "bridge"]] {
        let outcome = with(real, options);
        must(outcome.out == real && outcome.err.is_empty(), "what is in reach is as it was", &outcome)?;
    }
    let stub = "nameserver 127.0.0.53\noptions edns0\n";
    let outcome = with(stub, &[]);
    must(outcome.out == stub, "the host's network", &outcome)?;
    let outcome = with(stub, &["--network", "bridge"]);
    must(
        outcome.out == "options edns0\n" && outcome.err.contains("the DNS server 127.0.0.53"),
        "left out",
        &outcome,
    )?;
    let dns = [
        "--network",
        "bridge",
        "--dns",
        "192.0.2.1",
        "--dns",
        "fd00::1",
        "--dns-search",
        "x.example",
        "--dns-opt",
        "rotate",
    ];
    let outcome = with(stub, &dns);
    let wanted = "nameserver 192.0.2.1\nnameserver fd00::1\nsearch x.example\noptions rotate\n";
    must(outcome.out == wanted && outcome.err.is_empty(), "as asked for", &outcome)?;
    let outcome = with(real, &["--dns", "192.0.2.1"]);
    must(outcome.out == "nameserver 192.0.2.1\nsearch lan\n", "with the host's network, too", &outcome)?;
    // The host's network by its file is the host's.
    let outcome = with(stub, &["--network", "ns:/proc/self/ns/net"]);
    must(outcome.out == stub, "joined by its file", &outcome)?;
    let outcome = with(real, &["--network", "none"]);
    must(outcome.out.is_empty() && outcome.code == 0, "nobody to ask", &outcome)
}

fn hostile() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    let files = Scratch::new("canary");
    let canary = files.file("canary", "safe\n");
    let up = format!("../../../../../..{canary}");
    for (target, shown) in
        [(canary.as_str(), true), (up.as_str(), true), ("/proc/sys/kernel/hostname", false), ("/dev/null", false)]
    {
        let root = Root::plain("links").symlink(target, "etc/hosts");
        let args =
            ["run", "--rootfs", root.path(), "--network", "bridge", "--name", "x", "sh", "-c", "cat /etc/hosts"];
        let outcome = world.nsctl(&args);
        must(outcome.code == 0 && outcome.out.contains("localhost") == shown, target, &outcome)?;
        must(fs::read_to_string(&canary)? == "safe\n", "the host's file is as it was", &outcome)?;
        let loud = [&args[..7], &["--add-host", "a:10.0.0.1"], &args[7..]].concat();
        let outcome = world.nsctl(&loud);
        must((outcome.code == 0) == shown, "what was asked for is not left out in silence", &outcome)?;
    }
    let root = Root::plain("fifo");
    fs::create_dir(root.at("etc/hosts"))?;
    let outcome = world.nsctl(&["run", "--rootfs", root.path(), "--network", "bridge", "true"]);
    must(outcome.code == 0, "a directory", &outcome)?;
    // One that got to write into its own file, which is nsctl's, spoils its own alone.
    world.start(&["--network", "bridge", "--name", "bad"], WAIT)?;
    let id = world.nsctl(&["ps", "-q"]).out.trim().to_string();
    fs::write(world.state.at("state").join(&id).join("hosts"), "a".repeat(1 << 20))?;
    world.start(&["--network", "bridge", "--name", "good"], WAIT)?;
    let hosts = world.hosts("good");
    must(hosts.contains("\tbad ") && hosts.contains("\tgood "), &hosts, &outcome)
}

fn addresses() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
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
    // What its command could not be started for is said also of one that waits with what it asked for.
    let outcome = world.nsctl(&[
        "create",
        "--rootfs",
        plain().path(),
        "--network",
        "lan",
        "--ip",
        "10.7.0.20",
        "--ip6",
        "fd07::20",
        "--name",
        "odd",
        "nothing",
    ]);
    must(outcome.code == 0, "it waits", &outcome)?;
    let outcome = world.nsctl(&["start", "odd"]);
    must(outcome.err.contains("execute nothing"), "no such command", &outcome)?;
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

/// The kernel takes a network namespace apart later than its last process ends.
fn again() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    world.start(&["--network", "bridge", "--name", "other"], WAIT)?;
    world.start(&["--network", "bridge", "--name", "web"], WAIT)?;
    for _ in 0..10 {
        let outcome = world.nsctl(&["restart", "-t", "0", "web"]);
        must(outcome.code == 0, "at once", &outcome)?;
    }
    let outcome = world.nsctl(&["exec", "web", "sh", "-c", &format!("{TRY} try ping -c 1 -W 2 other")]);
    must(outcome.code == 0, "and is on the network", &outcome)
}

fn inspected() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
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

fn without_root() -> Result<(), Failed> {
    let Some(world) = World::new() else { return Ok(()) };
    for option in ["--add-host=a:10.0.0.1", "--dns=10.0.0.1", "--dns-search=x", "--dns-option=rotate"] {
        let refused = world.nsctl(&["run", "--network", "bridge", option, "true"]);
        must(refused.code == 125 && refused.err.contains("sees the host's /etc/hosts"), option, &refused)?;
    }
    let refused = world.nsctl(&["run", "--network-alias", "x", "true"]);
    must(refused.code == 125 && refused.err.contains("add --network bridge"), "alone there are no aliases", &refused)
}
