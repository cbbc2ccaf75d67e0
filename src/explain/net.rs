//! The steps of the network as text: what `ip` would be told to do the same.

use std::ffi::CStr;

use super::rules::{self, path};
use crate::linux::net::nft::{self, Change};
use crate::linux::net::{Request, Upon};
use crate::plan::{Op, Plan, Side};

pub(super) fn text(plan: &Plan, op: &Op) -> (String, String) {
    let (call, why): (String, &str) = match op {
        Op::TakeAddress(seat) => (
            format!("flock(networks, LOCK_EX); fcntl(leases, F_OFD_SETLK, {{F_WRLCK, slot {}}})", seat.number),
            "a locked slot of the network is its lease: the kernel lets go of it with the last process that keeps it",
        ),
        Op::NewNetwork => (
            "ioctl(ours, SIOCGSKNS); unshare(CLONE_NEWNET); socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE)"
                .into(),
            "a socket stays in the namespace where it was opened: one of the host's leads back, this one is inside",
        ),
        Op::Ask { side, request, .. } => {
            return (command(request, *side), why(request).into());
        }
        Op::UndoNetwork { .. } => {
            ("write(\"undo\", …)".into(), "the message that removes the bridge, for whoever is the last to leave")
        }
        Op::Hosts(_) => (
            format!("openat(\"{}/hosts\", O_CREAT|O_TRUNC, 0644); write(…)", plan.id),
            "what it will see as /etc/hosts",
        ),
        Op::Member { .. } => (
            "pwrite(leases, …); pwrite(\"ID/hosts\", …); flock(networks, LOCK_UN)".into(),
            "who has the address, and what its names are: told to all on the network that have a root of their own",
        ),
        Op::Lend(own) => {
            let name = own.parent.to_string_lossy();
            (
                format!("ip link set {name} netns container"),
                "the host does without it until the container's end, and whoever clears up gives it back",
            )
        }
        Op::OpenNetworkOf { container } => (
            format!("openat(\"/proc/PID of {container}/ns/net\"); fstat(…)"),
            "its network namespace must have the number that its record says",
        ),
        Op::Pasta { program, words, .. } => {
            let words: Vec<_> = words.iter().skip(1).map(|word| word.to_string_lossy()).collect();
            (
                format!("symlinkat(\"/proc/self/fd/0\", netns); {} {}", program.to_string_lossy(), words.join(" ")),
                "hands packets to sockets of its own, outside; it ends when the link is removed",
            )
        }
        Op::Rules { changes, .. } => {
            return (
                script(changes),
                "where packets go, and with which address: one transaction, all or nothing".into(),
            );
        }
        Op::Switch { switches, .. } => {
            let lines: Vec<String> =
                switches.iter().map(|switch| format!("echo {} > {}", switch.value as char, path(switch))).collect();
            return (lines.join("\n"), "a packet is passed on only where its way in allows it".into());
        }
        Op::Publish(mappings) => {
            let changes: Vec<Change> = nft::elements(mappings).map(|(map, of)| Change::Elements(map, of)).collect();
            let why = "what comes to these ports of the host's goes to the container; how to take it back is written down before";
            return (script(&changes), why.into());
        }
        Op::LeaveNetwork => (
            "flock(networks, LOCK_EX); sendto(…); fcntl(leases, F_OFD_GETLK, …)".into(),
            "what is outside is undone; without others on the network, the bridge as well",
        ),
        Op::BackHome => ("setns(host's, CLONE_NEWNET)".into(), "the container has been born inside"),
        _ => unreachable!("no step of the network's"),
    };
    (call, why.into())
}

fn script(changes: &[Change]) -> String {
    let lines: Vec<String> = changes.iter().map(rules::command).collect();
    format!("nft -f - <<.\n{}\n.", lines.join("\n"))
}

/// The command of iproute2 that sends the same message.
pub(crate) fn command(request: &Request, side: Side) -> String {
    let name = |name: &CStr| name.to_string_lossy().into_owned();
    let ip = if side == Side::Inside { "ip -n container" } else { "ip" };
    match request {
        Request::AddBridge { name: bridge, mtu, mac } => {
            format!("{ip} link add {} address {} mtu {mtu} up type bridge", name(bridge), hex(mac))
        }
        Request::AddVeth { name: outer, bridge, peer, mac, mtu } => format!(
            "{ip} link add {} mtu {mtu} master {} up type veth peer {} address {} mtu {mtu} netns container",
            name(outer),
            name(bridge),
            name(peer),
            hex(mac)
        ),
        Request::AddUpon { kind, parent, name: inner, mac } => format!(
            "{ip} link add {} link {}{} netns container type {}",
            name(inner),
            name(parent),
            mac.map(|mac| format!(" address {}", hex(&mac))).unwrap_or_default(),
            match kind {
                Upon::Macvlan => "macvlan mode bridge",
                Upon::Ipvlan => "ipvlan mode l2",
            }
        ),
        Request::Move { name: inner, new_name } => {
            format!("{ip} link set {} netns container name {}", name(inner), name(new_name))
        }
        Request::Hairpin(link) => format!("bridge link set dev {} hairpin on", name(link)),
        Request::Up(link) => format!("{ip} link set {} up", name(link)),
        Request::Address { name: link, address, prefix } => {
            format!("{ip} addr add {address}/{prefix} dev {} nodad", name(link))
        }
        Request::DefaultRoute { name: link, gateway } => {
            format!("{ip} route add default via {gateway} dev {}", name(link))
        }
        Request::Route { name: link, to: (to, prefix), gateway, .. } => format!(
            "{ip} route add {to}/{prefix}{} dev {}",
            gateway.map_or(String::new(), |gateway| format!(" via {gateway}")),
            name(link)
        ),
        Request::Delete(link) => format!("{ip} link del {}", name(link)),
    }
}

fn why(request: &Request) -> &'static str {
    match request {
        Request::AddBridge { .. } => "nobody uses the network yet: its bridge, a switch in the kernel",
        Request::AddVeth { .. } => "a cable: one end on the bridge, the other inside; it is gone with either",
        Request::AddUpon { .. } => "an interface on another one, for the container alone",
        Request::Move { .. } => "the host does without it until the container's end",
        Request::Hairpin(_) => {
            "so that it reaches its own ports, where the bridge hands its packets to nf_tables (br_netfilter)"
        }
        Request::Up(_) => "an interface begins switched off, the loopback of a new namespace, too",
        Request::Address { .. } => "at once: nobody else has it, by the leases or by the caller's word",
        Request::DefaultRoute { .. } => "everything else goes over this address",
        Request::Route { .. } => "as it was",
        Request::Delete(_) => "and with it all that is attached to it",
    }
}

fn hex(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
