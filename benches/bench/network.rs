//! What a network of its own adds to a start, and how fast it is: in a network namespace of the benchmark's own.

use crate::contenders::{Contender, vet_all};
use crate::kit::{Kit, find};
use crate::oci::{self, With};
use crate::rooted;
use crate::start;
use crate::sys::PrivateNetwork;
use crate::table::{Table, thousands};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) fn table(kit: &Kit, rounds: usize) -> Table {
    let title = format!("Start to exit with a network namespace, µs ({rounds} rounds, interleaved)");
    let _network = match PrivateNetwork::new() {
        Ok(network) => network,
        Err(e) => return none(&title, &format!("no network namespace: {e}")),
    };
    let _mounts = match rooted::namespace(kit) {
        Ok(mounts) => mounts,
        Err(why) => return none(&title, &why),
    };
    // While somebody is on the network the bridge stays; of the other network each start is the first and the last.
    let kept = Kept::on_bridge(kit);
    let (yes, alone) = (kit.path("true"), kit.path("net-alone"));
    let kept_state = kit.path("net-kept");
    let nsctl = |name: &str, state: &str, network: &str| {
        let words = ["--root", state, "run", "--network", network, "--", &yes];
        Contender::new(name, &kit.nsctl, &words)
    };
    let _ = fs::create_dir_all(&alone);
    let _ = kept.nsctl_in(&alone, &["network", "create", "first"]);
    let mut all = vec![
        Contender::new("floor, host network", &kit.ours("floor"), &[&yes]),
        nsctl("nsctl run, host network", &alone, "host"),
        nsctl("nsctl run --network none", &alone, "none"),
        nsctl("nsctl run --network bridge", &kept_state, "bridge"),
        nsctl("nsctl run --network NAME, first and last on it", &alone, "first"),
        unshare(&yes),
    ];
    let peers = oci::runtimes(kit, With::Network).into_iter();
    all.extend(peers.map(|peer| Contender { name: format!("{}, network namespace", peer.name), ..peer }));
    for network in ["none", "bridge"] {
        all.push(podman(kit, network));
    }
    let mut table = start::figures(kit, &title, &vet_all(kit, all), rounds, "floor, host network");
    table.note("namespaces uts, pid, mnt, ipc, cgroup, and net but where it says host; crun and runc leave lo down; podman: crun, no cgroup");
    table.note("bridge: a pair of interfaces, addresses of IPv4 and IPv6, routes, and the rules of the network");
    drop(kept);
    table
}

fn none(title: &str, why: &str) -> Table {
    let mut table = Table::new(title, &["program", ""]);
    table.out("all", why);
    table
}

fn unshare(yes: &str) -> Contender {
    let words = ["-u", "-p", "-m", "-i", "-C", "-n", "-f", "--mount-proc", yes];
    Contender::new("util-linux unshare --net", &find("unshare", "util-linux"), &words)
}

fn podman(kit: &Kit, network: &str) -> Contender {
    let root = kit.path("podman-root");
    let made =
        fs::create_dir_all(format!("{root}/proc")).and_then(|()| fs::copy(kit.path("true"), format!("{root}/true")));
    let (store, run) = (kit.path("podman-store"), kit.path("podman-run"));
    let place = ["--root", &store, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
    let mut contender = Contender::new(&format!("podman run --network {network}"), &find("podman", "podman"), &place)
        .with(&[
            "run",
            "--rm",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
            // Without CAP_SYS_RESOURCE crun cannot raise the limit under which it would load the program for the cgroup's devices.
            "--cgroups",
            "disabled",
            "--network",
            network,
            "--rootfs",
            &root,
            "/true",
        ]);
    if let Err(e) = made {
        contender.out = Some(format!("no root: {e}"));
    }
    contender
}

/// A container that stays on the default network.
struct Kept<'a> {
    kit: &'a Kit,
    state: String,
}

impl<'a> Kept<'a> {
    fn on_bridge(kit: &'a Kit) -> Self {
        let state = kit.path("net-kept");
        let _ = fs::create_dir_all(&state);
        let kept = Self { kit, state };
        // If it cannot be made, nor can those that are measured, and they say why.
        let _ = kept.nsctl(&["run", "-d", "--log", "none", "--network", "bridge", &kit.path("pause")]);
        kept
    }

    fn nsctl(&self, words: &[&str]) -> Result<String, String> {
        self.nsctl_in(&self.state, words)
    }

    fn nsctl_in(&self, state: &str, words: &[&str]) -> Result<String, String> {
        let nsctl = self.kit.nsctl.as_ref().map_err(Clone::clone)?;
        let output = Command::new(nsctl).args(["--root", state]).args(words).output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_string()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let _ = self.nsctl(&["rm", "--force", "--all"]);
    }
}

/// TCP from a container to the host over the bridge, and over the same path made by hand.
pub(crate) fn throughput_table(kit: &Kit, quick: bool) -> Table {
    let title = "TCP from a container to the host, Gbit/s (iperf3)";
    match throughput(kit, title, quick) {
        Ok(table) => table,
        Err(why) => none(title, &why),
    }
}

fn throughput(kit: &Kit, title: &str, quick: bool) -> Result<Table, String> {
    let iperf = find("iperf3", "iperf3")?.display().to_string();
    let ip = find("ip", "iproute2")?.display().to_string();
    let _network = PrivateNetwork::new().map_err(|e| format!("no network namespace: {e}"))?;
    let kept = Kept::on_bridge(kit);
    let listed = kept.nsctl(&["ps", "-q"])?;
    let address = kept.nsctl(&["exec", &listed, "ip", "-4", "route", "show", "default"])?;
    let gateway = address.split_whitespace().nth(2).ok_or("no default route")?.to_string();
    let pid = kept.nsctl(&["ps", "--format", "pid"])?;
    let by_hand = ByHand::new(&ip)?;
    let mut server = quiet(Command::new(&iperf).args(["-s"])).spawn().map_err(|e| e.to_string())?;
    std::thread::sleep(Duration::from_millis(300));
    let seconds = if quick { "1" } else { "3" };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..if quick { 2 } else { 5 } {
        ours.push(measure(&iperf, &pid, &gateway, seconds));
        theirs.push(measure(&iperf, &by_hand.pid(), HAND, seconds));
    }
    let _ = (server.kill(), server.wait());
    let mut table = Table::new(title, &["path", "best", "median", "× by hand (best)", "× by hand (median)"]);
    let figures = |all: Vec<Result<f64, String>>| -> Result<(f64, f64), String> {
        let mut all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
        all.sort_by(f64::total_cmp);
        Ok((all[all.len() - 1], all[all.len() / 2]))
    };
    let (ours, theirs) = (figures(ours)?, figures(theirs)?);
    for (name, figures) in [("nsctl --network bridge", ours), ("a bridge and a pair, by ip(8)", theirs)] {
        let ratio = |of: f64, to: f64| format!("{:.2}", of / to);
        let cells = [format!("{:.1}", figures.0), format!("{:.1}", figures.1)];
        let [best, median] = cells;
        table.row(vec![name.into(), best, median, ratio(figures.0, theirs.0), ratio(figures.1, theirs.1)]);
    }
    table.note(format!("{} runs of {seconds} s each, in turn", thousands(if quick { 2.0 } else { 5.0 })));
    Ok(table)
}

const HAND: &str = "10.254.77.1";

/// A namespace on a bridge, made by hand.
struct ByHand {
    process: Child,
}

impl ByHand {
    fn new(ip: &str) -> Result<Self, String> {
        let unshare = find("unshare", "util-linux")?;
        let process = Command::new(unshare).args(["-n", "sleep", "1000"]).spawn().map_err(|e| e.to_string())?;
        let hand = Self { process };
        let pid = hand.pid();
        let own = fs::read_link("/proc/self/ns/net").ok();
        let begin = Instant::now();
        while fs::read_link(format!("/proc/{pid}/ns/net")).ok() == own && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let inside = ["nsenter", "-t", &pid, "-n", ip];
        let outside = [ip];
        for (program, words) in [
            (&outside[..], "link add hand0 type bridge"),
            (&outside, "addr add 10.254.77.1/24 dev hand0"),
            (&outside, "link set hand0 up"),
            (&outside, "link add hand1 type veth peer name hand2"),
            (&outside, &format!("link set hand2 netns {pid}")),
            (&outside, "link set hand1 master hand0 up"),
            (&inside, "addr add 10.254.77.2/24 dev hand2"),
            (&inside, "link set hand2 up"),
        ] {
            let output = Command::new(program[0]).args(&program[1..]).args(words.split(' ')).output();
            let output = output.map_err(|e| e.to_string())?;
            if !output.status.success() {
                return Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()));
            }
        }
        Ok(hand)
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Gbit/s that the server received.
fn measure(iperf: &str, pid: &str, server: &str, seconds: &str) -> Result<f64, String> {
    let words = ["-t", pid, "-n", iperf, "-c", server, "-t", seconds, "-J"];
    let output = Command::new("nsenter").args(words).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sum = text.split("\"sum_received\"").nth(1).ok_or_else(|| format!("iperf3: {}", text.trim()))?;
    let bits = sum.split("\"bits_per_second\":").nth(1).ok_or("iperf3 says no bits_per_second")?;
    let number: String = bits.trim().chars().take_while(|c| c.is_ascii_digit() || ".e+".contains(*c)).collect();
    number.parse::<f64>().map(|bits| bits / 1e9).map_err(|e| format!("iperf3: {number}: {e}"))
}
