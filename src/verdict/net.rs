//! Sentences of the steps that make a network.

use rustix::io::Errno;

use crate::error::Error;
use crate::linux::net::nft::{Change, Hook, Rule};
use crate::linux::net::{Request, Upon};
use crate::plan::Op;

pub(super) fn is_about(op: &Op) -> bool {
    matches!(
        op,
        Op::TakeAddress(_)
            | Op::NewNetwork
            | Op::Ask { .. }
            | Op::UndoNetwork { .. }
            | Op::Member { .. }
            | Op::Hosts(_)
            | Op::Lend(_)
            | Op::OpenNetworkOf { .. }
            | Op::Pasta { .. }
            | Op::Rules { .. }
            | Op::Switch { .. }
            | Op::Publish(_)
            | Op::BackHome
            | Op::LeaveNetwork
    )
}

pub(super) fn sentence(op: &Op, errno: Errno) -> Error {
    if let Op::Lend(own) = op {
        let name = own.parent.to_string_lossy();
        return Error::os(format!("move the interface {name} into the container"), errno).hint(match errno {
            Errno::INVAL => {
                "it is one that stays where it is: a radio is moved as a whole (iw phy), a bridge and the like are made inside"
            }
            Errno::PERM => "it needs root (CAP_NET_ADMIN): run it as root",
            _ => "",
        });
    }
    let Op::Ask { request, .. } = op else {
        let doing = match op {
            Op::NewNetwork => "make a network namespace",
            Op::Switch { .. } => "let packets be passed on",
            Op::Publish(_) => "publish the ports",
            Op::Rules { .. } => "make the rules of the network",
            Op::BackHome => "go back to the host's network namespace",
            Op::OpenNetworkOf { .. } => "join the other container's network",
            Op::Pasta { .. } => "start pasta",
            _ => "write down who is on the network",
        };
        return Error::os(doing, errno).hint(match (op, errno) {
            (Op::NewNetwork, Errno::PERM) => "it needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN): run it as root",
            (Op::NewNetwork, Errno::INVAL) => "this kernel has none (CONFIG_NET_NS): --network host",
            (Op::NewNetwork, Errno::NOSPC) => "/proc/sys/user/max_net_namespaces is reached",
            (Op::NewNetwork, Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => "this kernel has no network (CONFIG_NET)",
            _ => "",
        });
    };
    let shown = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    let doing = match request {
        Request::AddBridge { name, .. } => format!("make the bridge {}", shown(name)),
        Request::AddVeth { name, bridge, .. } => {
            format!("make the pair of interfaces {} on {}", shown(name), shown(bridge))
        }
        Request::AddUpon { parent, .. } => format!("make an interface on {}", shown(parent)),
        Request::Move { name, .. } => format!("move the interface {} into the container", shown(name)),
        Request::Hairpin(name) => format!("switch hairpin on at {}", shown(name)),
        Request::Up(name) => format!("switch the interface {} on", shown(name)),
        Request::Address { name, address, prefix } => format!("give {} the address {address}/{prefix}", shown(name)),
        Request::DefaultRoute { gateway, .. } => format!("make the default route over {gateway}"),
        Request::Route { name, to: (to, prefix), .. } => format!("route {to}/{prefix} over {}", shown(name)),
        Request::Delete(name) => format!("remove the interface {}", shown(name)),
    };
    Error::os(doing, errno).hint(hint(request, errno))
}

fn hint(request: &Request, errno: Errno) -> &'static str {
    match (request, errno) {
        (Request::AddBridge { .. }, Errno::OPNOTSUPP) => {
            "this kernel has no bridges (CONFIG_BRIDGE, the module bridge)"
        }
        (Request::AddVeth { .. }, Errno::OPNOTSUPP) => "this kernel has no such pairs (CONFIG_VETH, the module veth)",
        (Request::AddVeth { .. }, Errno::XFULL) => "a bridge has 1023 ports at most",
        (Request::AddUpon { kind: Upon::Macvlan, .. }, Errno::OPNOTSUPP) => {
            "this kernel has none (CONFIG_MACVLAN, the module macvlan)"
        }
        (Request::AddUpon { kind: Upon::Ipvlan, .. }, Errno::OPNOTSUPP) => {
            "this kernel has none (CONFIG_IPVLAN, the module ipvlan)"
        }
        (Request::AddUpon { .. }, Errno::INVAL | Errno::BUSY) => {
            "it takes an interface like those of Ethernet, on which no other kind of interface stands: ip -d link"
        }
        (Request::AddUpon { .. } | Request::Move { .. }, Errno::NODEV) => "there is no such interface",
        (Request::AddBridge { .. }, Errno::EXIST) => "an interface of that name is there already",
        (Request::Up(_), Errno::ADDRINUSE) => "another interface there has this --mac-address",
        (Request::Address { .. }, Errno::ADDRNOTAVAIL | Errno::INVAL) => "that is no address that one host can have",
        (Request::Address { .. }, Errno::EXIST) => "it has that address already",
        (
            Request::DefaultRoute { .. } | Request::Route { .. },
            Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::INVAL,
        ) => "a gateway has to be within reach itself: an address of the interface's own subnet",
        (_, Errno::PERM) => "it needs root (CAP_NET_ADMIN): run it as root",
        (_, Errno::NOBUFS | Errno::NOSPC | Errno::NOMEM) => {
            "the kernel has no room for another one: memory, or a limit such as /proc/sys/net/ipv6/route/max_size"
        }
        _ => "--explain shows it as a command of ip(8)",
    }
}

/// nf_tables refused something; `command` is what nft(8) would have been told.
pub(crate) fn rules(change: &Change, command: &str, errno: Errno) -> Error {
    let missing =
        matches!(errno, Errno::NOENT | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL);
    let part = match change {
        Change::Table | Change::DeleteTable { .. } => {
            "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET (which takes CONFIG_IPV6), the module nf_tables"
        }
        Change::Map(_) | Change::DeleteMap(_) | Change::Elements(..) | Change::DeleteElements(..) => {
            "CONFIG_NF_TABLES, the module nf_tables"
        }
        Change::Chain { hook: Some(Hook::NatPrerouting | Hook::NatOutput | Hook::NatPostrouting), .. } => {
            "CONFIG_NFT_NAT, the modules nft_nat and nft_chain_nat"
        }
        Change::Chain { .. } | Change::Flush(_) | Change::DeleteChain(_) => "CONFIG_NF_TABLES, the module nf_tables",
        Change::Rule { rule, .. } => match rule {
            Rule::SkipLoopback => "CONFIG_NF_TABLES, the module nf_tables",
            Rule::ToPorts => "CONFIG_NFT_FIB_INET, the modules nft_fib_inet, nft_fib_ipv4 and nft_fib_ipv6",
            Rule::Redirect(_) => "CONFIG_NFT_NAT, the module nft_nat",
            Rule::Masquerade { .. } | Rule::FromLoopback { .. } => "CONFIG_NFT_MASQ, the module nft_masq",
            Rule::Hairpin { .. } | Rule::Stray { .. } | Rule::Door { .. } => {
                "CONFIG_NFT_CT and CONFIG_NFT_MASQ, the modules nft_ct and nft_masq"
            }
            Rule::Guard { .. } | Rule::Closed { .. } => "CONFIG_NF_TABLES, the module nf_tables",
        },
    };
    let error = Error::os(command, errno);
    match errno {
        _ if missing => error.hint(format!("it takes a kernel with {part}")),
        Errno::PERM => error.hint("it needs root (CAP_NET_ADMIN): run it as root"),
        Errno::EXIST | Errno::BUSY => error.hint("somebody else changed the table: nft delete table inet nsctl"),
        Errno::NOBUFS | Errno::NOSPC | Errno::NOMEM => error.hint("the kernel has no room for another one"),
        _ => error.hint("nft list table inet nsctl shows what there is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each request says what it was about, and each refusal has a way out.
    #[test]
    fn a_refused_request_has_object_word_and_way_out() {
        let name = || c"eth0".to_owned();
        let (address, mac) = (std::net::IpAddr::from([10, 91, 0, 2]), [2; 6]);
        let upon = |kind| Request::AddUpon { kind, parent: name(), name: c"x".to_owned(), mac: None };
        let veth = || Request::AddVeth { name: name(), bridge: c"nsctl0".to_owned(), peer: name(), mac, mtu: 1500 };
        for (request, errno, object, way) in [
            (Request::AddBridge { name: name(), mtu: 0, mac }, Errno::OPNOTSUPP, "the bridge eth0", "CONFIG_BRIDGE"),
            (Request::AddBridge { name: name(), mtu: 0, mac }, Errno::EXIST, "the bridge eth0", "there already"),
            (veth(), Errno::OPNOTSUPP, "eth0 on nsctl0", "CONFIG_VETH"),
            (veth(), Errno::XFULL, "eth0 on nsctl0", "1023 ports"),
            (upon(Upon::Macvlan), Errno::OPNOTSUPP, "on eth0", "CONFIG_MACVLAN"),
            (upon(Upon::Ipvlan), Errno::OPNOTSUPP, "on eth0", "CONFIG_IPVLAN"),
            (upon(Upon::Macvlan), Errno::INVAL, "on eth0", "like those of Ethernet"),
            (upon(Upon::Ipvlan), Errno::BUSY, "on eth0", "ip -d link"),
            (Request::Move { name: name(), new_name: name() }, Errno::NODEV, "interface eth0", "no such interface"),
            (Request::Hairpin(name()), Errno::OPNOTSUPP, "hairpin on at eth0", "--explain"),
            (Request::Up(name()), Errno::ADDRINUSE, "interface eth0 on", "--mac-address"),
            (
                Request::Address { name: name(), address, prefix: 22 },
                Errno::EXIST,
                "eth0 the address 10.91.0.2/22",
                "already",
            ),
            (Request::Address { name: name(), address, prefix: 22 }, Errno::NOBUFS, "eth0 the address", "no room"),
            (
                Request::DefaultRoute { name: name(), gateway: address },
                Errno::NETUNREACH,
                "over 10.91.0.2",
                "own subnet",
            ),
            (
                Request::Route { name: name(), to: (address, 32), gateway: None, metric: 0 },
                Errno::NOSPC,
                "10.91.0.2/32 over eth0",
                "no room",
            ),
            (Request::Delete(name()), Errno::PERM, "the interface eth0", "CAP_NET_ADMIN"),
        ] {
            let error = sentence(&Op::Ask { side: crate::plan::Side::Outside, request, done: false }, errno);
            let text = error.because("its own words").to_string();
            for part in [object, crate::error::errno_name(errno).unwrap(), "the kernel says: its own words", way] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }

    #[test]
    fn what_a_kernel_lacks_has_a_name() {
        let chain = || c"nat-nsctl0".to_owned();
        let of = |change: Change, errno| rules(&change, "nft '…'", errno).to_string();
        let masquerade = Rule::FromLoopback { interface: c"nsctl0".to_owned() };
        for (change, errno, part) in [
            (Change::Table, Errno::PROTONOSUPPORT, "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"),
            (Change::Table, Errno::OPNOTSUPP, "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET"),
            (Change::Chain { name: chain(), hook: Some(Hook::NatOutput) }, Errno::NOENT, "CONFIG_NFT_NAT"),
            (Change::Rule { chain: chain(), rule: masquerade }, Errno::NOENT, "CONFIG_NFT_MASQ"),
            (Change::Rule { chain: chain(), rule: Rule::ToPorts }, Errno::NOENT, "CONFIG_NFT_FIB_INET"),
        ] {
            let text = of(change, errno);
            assert!(text.contains(&format!("it takes a kernel with {part}")), "{text}");
        }
        assert!(of(Change::Table, Errno::PERM).contains("CAP_NET_ADMIN"));
    }
}
