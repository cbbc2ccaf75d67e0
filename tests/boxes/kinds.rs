//! Networks that are no bridge: another container's, an interface of the host's or one upon it, pasta. The host is a network namespace
//! of the test's own, with a pair of interfaces, `up0` and `veth0`, of which the second one is the world.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{Outcome, Running, binary, must, outcome, state};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a macvlan has its place on the wire", macvlan),
    ("an address is that of the parent's subnet, unless its prefix is said", addresses),
    ("an ipvlan has its place by its address", ipvlan),
    ("an interface that was lent comes back as it was", lent),
    ("an interface comes back from a container that lives on, however it is ended", lent_for_long),
    ("what cannot be lent is refused with its reason", not_lent),
    ("two containers on one network", shared),
    ("what cannot be shared is refused with its reason", not_shared),
    ("the namespace of a file", by_file),
    ("pasta", pasta),
    ("stats count what went over a network", counted),
];

/// busybox's `ip` will do. ENDED is what a script says of containers that it leaves.
const HOST: &str = "ip link set lo up; ip link add up0 type veth || exit 99; \
    ip addr add 192.0.2.2/24 dev up0; ip link set up0 up; ip link set veth0 up; \
    ip route add default via 192.0.2.1; run() { $N run \"$@\"; }; far() { \
    $N run -d --name far --network phys:veth0 --ip 192.0.2.1/24 -- sleep 1000 >/dev/null; }; \
    awaits() { n=0; until eval \"$1\"; do n=$((n + 1)); [ $n -lt 600 ] || return 1; sleep 0.1; done; }; ";

/// Says a word when an answer comes from an address. An interface that has just been switched on may drop the first packets.
fn ping(address: &str, word: &str) -> String {
    let ping = format!("busybox ping -c 1 -W 5 {address} >/dev/null");
    format!("for i in 1 2 3 4 5 6 7 8 9 10; do {ping} && echo {word} && break; done")
}

/// Runs a script on a host of its own.
pub(crate) fn host(script: &str) -> Outcome {
    in_namespace(&format!("{HOST}{script}"), None)
}

/// Runs a script in a network namespace in which there is nothing, without a capability.
pub(crate) fn in_namespace(script: &str, without: Option<libc::c_ulong>) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("N", binary()).env("NSCTL_ROOT", state());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: one or two system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let dropped = without.map_or(0, |number| libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0));
            match (libc::unshare(libc::CLONE_NEWNET), dropped) {
                (0, 0) => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    outcome(Running::start(&mut command))
}

/// All of these are in the output, in this order.
pub(crate) fn says(got: &Outcome, parts: &[&str]) -> Result<(), Failed> {
    let text = format!("{}{}", got.out, got.err);
    let mut rest = text.as_str();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return must(false, &format!("no {part:?}, in this order"), got),
        }
    }
    Ok(())
}

fn macvlan() -> Result<(), Failed> {
    let got = host(&format!(
        "far; run --network macvlan:up0 --ip 192.0.2.9 --mac-address 02:00:00:00:00:09 -- sh -c \
         'ip addr show dev eth0; ip route; {}'; $N exec far sh -c '{}'; $N rm -f far",
        ping("192.0.2.1", "there"),
        ping("192.0.2.2", "host"),
    ));
    says(&got, &["02:00:00:00:00:09", "192.0.2.9/24", "default via 192.0.2.1 dev eth0", "there", "host", "far"])
}

fn addresses() -> Result<(), Failed> {
    let got = host(
        "run --network macvlan:up0 -- ip -4 addr show dev eth0; echo end; \
         run --network macvlan:up0 --ip 10.3.3.3/30 -- sh -c 'ip -4 addr show dev eth0; ip route'; \
         run --network macvlan:up0 --ip 10.3.3.3 -- true; run --network macvlan:up0 --ip 192.0.2.2 -- true",
    );
    must(!got.out.split("end").next().unwrap_or_default().contains("inet "), "an address without --ip", &got)?;
    must(!got.out.contains("default via"), "a gateway of another subnet", &got)?;
    let refusals = ["10.3.3.3 is in no subnet of up0", "10.3.3.3/24", "192.0.2.2 is the host's own address on up0"];
    says(&got, &["10.3.3.3/30"])?;
    says(&got, &refusals)
}

fn ipvlan() -> Result<(), Failed> {
    let got = host(&format!(
        "far; run --network ipvlan:up0 --ip 192.0.2.9 -- sh -c 'ip addr show dev eth0; {}'; $N rm -f far",
        ping("192.0.2.1", "there")
    ));
    // Debian's kernels all have it.
    if got.err.contains("CONFIG_IPVLAN") && std::env::var_os("NSCTL_QEMU").is_none() {
        return Ok(());
    }
    says(&got, &["192.0.2.9/24", "there", "far"])
}

/// What the host has of the interface.
const LOOK: &str = "look() { ip link show up0 | grep -c '[<,]UP[,>]'; ip -4 addr show dev up0 | grep -o 'inet [0-9./]*'; \
    ip route | grep -v far | sed 's/ *proto [a-z]*//;s/ *$//' | grep up0 | sort; }; \
    ip route add 198.51.100.0/24 via 192.0.2.7 dev up0 metric 77; far; \
    same() { test \"$(look)\" = \"$was\" && echo \"$1 same\" || look; }; was=$(look); \
    back() { awaits 'test \"$(look)\" = \"$was\"'; same \"$1\"; }; ";

fn lent() -> Result<(), Failed> {
    let got = host(&format!(
        "{LOOK} run --network phys:up0 --ip 192.0.2.5 -- sh -c \
         'ip addr show dev up0; ip route; {}; ip link set up0 down; ip link set up0 name hidden'; same first; \
         run --network phys:up0 -- true; same second; ip link set up0 down; run --network phys:up0 -- true; \
         ip link show up0 | grep -q '[<,]UP[,>]' || echo down; $N rm -f far",
        ping("192.0.2.1", "there")
    ));
    says(&got, &["192.0.2.5/24", "default via 192.0.2.1 dev up0", "there", "first same", "second same", "down"])
}

fn lent_for_long() -> Result<(), Failed> {
    let got = host(&format!(
        "{LOOK} $N run -d --name one --network phys:up0 -- sleep 1000; ip link show up0; \
         run --network phys:up0 -- true; $N stop -t 0 one; same stop; $N start one; $N rm -f one; same rm; \
         $N run -d --rm --network phys:up0 -- sleep 0.3; back end; \
         $N create --name two --network phys:up0 -- true; $N rm -f two; same created; up=$(mktemp); \
         $N run --network phys:up0 -- sh -c 'echo up; exec sleep 1000' >$up & awaits 'test -s $up'; kill -9 $!; \
         back killed; $N rm -f far; awaits 'test -z \"$($N ps -aq)\"'; rm $up"
    ));
    let refused = ["the interface up0 is in container one", "comes back with its end"];
    says(&got, &refused)?;
    says(&got, &["stop same", "rm same", "end same", "created same", "killed same"])
}

fn not_lent() -> Result<(), Failed> {
    let got = host(
        "ip link add br9 type bridge; ip link set veth0 master br9; \
         for i in lo nix0 veth0 br9; do run --network phys:$i -- true; done; run --network macvlan:veth0 -- true; \
         run --network macvlan:lo -- true; ip link show br9 >/dev/null && echo still",
    );
    let parts = [
        "lo is the loopback device",
        "there is no interface nix0",
        "veth0 is a port of br9 (ip link set veth0 nomaster",
        "move the interface br9 into the container",
        "stays where it is",
        "veth0 is a port of br9",
        "lo is the loopback device",
    ];
    must(got.out.contains("still"), "the bridge is gone", &got)?;
    says(&got, &parts)
}

fn shared() -> Result<(), Failed> {
    let got = host(
        "$N run -d --name web --network none --hostname webhost -- sleep 1000 >/dev/null; \
         there=$($N exec web readlink /proc/self/ns/net); \
         run --network container:web -- sh -c \"hostname; test $there = \\$(readlink /proc/self/ns/net) && echo same\"; \
         run --network container:web --hostname own -- hostname; \
         $N run -d --name also --network container:web -- sleep 1000 >/dev/null; $N stop -t 0 web >/dev/null; \
         test $there = $($N exec also readlink /proc/self/ns/net) && echo lives; \
         run --network container:also -- readlink /proc/self/ns/net | grep -qF $there && echo third; $N rm -f web also",
    );
    says(&got, &["webhost\n", "same\n", "own\n", "lives\n", "third\n"])
}

fn not_shared() -> Result<(), Failed> {
    let got = host(
        "$N run -d --name hosts -- sleep 1000; $N create --name new --network none -- true; \
         for i in nix hosts new; do run --network container:$i -- true; done; \
         run --network container:hosts --ip 10.0.0.1 -- true; run --network container:hosts --mac-address 02:00:00:00:00:01 -- true; \
         $N rm -f hosts new",
    );
    let parts = [
        "--network container:nix: there is no container nix",
        "container hosts has the host's network",
        "container new is not started",
        "--ip with the network of another container",
        "--mac-address with the network of another container",
    ];
    says(&got, &parts)
}

fn by_file() -> Result<(), Failed> {
    let got = host(
        "$N run -d --name web --network none -- sleep 1000 >/dev/null; \
         pid=$($N ps --format pid); test \"$($N exec web readlink /proc/self/ns/net)\" = \
         \"$(run --network ns:/proc/$pid/ns/net -- readlink /proc/self/ns/net)\" && echo same; $N rm -f web; \
         for i in /nix /etc/passwd /proc/self/ns/uts; do run --network ns:$i -- true; done",
    );
    says(&got, &["same", "web"])?;
    says(&got, &["open the namespace /nix: no such file", "another kind, or no namespace", "another kind"])
}

fn pasta() -> Result<(), Failed> {
    let got = host("PATH= $N run --network pasta -- /bin/true");
    must(got.code == 125, "pasta where there is none", &got)?;
    says(&got, &["pasta, which is not in PATH", "apt install passt"])?;
    if host("command -v pasta").code != 0 {
        return Ok(());
    }
    let got = host(
        "run --network pasta -- sh -c 'ip addr; ip route'; run --network pasta:--nonsense -- true; \
         $N run -d --name web --network pasta -- sleep 1000; netns=$(ls -d $NSCTL_ROOT/[0-9a-f]*/netns); \
         pgrep -f $netns >/dev/null && echo works; $N stop -t 0 web; \
         awaits '! pgrep -f $netns >/dev/null' && echo ended; $N rm -f web",
    );
    says(&got, &["192.0.2.2/24", "default via 192.0.2.1", "works", "ended"])?;
    must(got.err.contains("pasta does not start: ") && got.err.contains("nonsense"), "its own words", &got)
}

fn counted() -> Result<(), Failed> {
    let got = host(
        "far; $N run -d --name one --network macvlan:up0 --ip 192.0.2.9 -- sleep 1000 >/dev/null; \
         $N run -d --name none -- sleep 1000 >/dev/null; \
         $N exec one busybox ping -c 5 -i 0.1 -s 1000 192.0.2.1 >/dev/null; $N stats --no-stream --format 'name,net i/o' one none; \
         $N stats --no-stream --format json one; $N rm -f far one none",
    );
    let line =
        |name: &str| got.out.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_string();
    must(line("one").contains("KiB / "), "what one has sent and got", &got)?;
    must(line("none") == "-", "the host's network is not counted", &got)?;
    says(&got, &["\"net_received\":5"]).or_else(|_| says(&got, &["\"net_received\":6"]))
}
