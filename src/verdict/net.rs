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
            (Op::NewNetwork, Errno::PERM) => "it needs root (CAP_SYS_ADMIN): run it as root",
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
        (Request::AddUpon { .. } | Request::Move { .. }, Errno::NODEV) => "there is no such interface",
        (Request::AddBridge { .. }, Errno::EXIST) => "an interface of that name is there already",
        (_, Errno::PERM) => "it needs root (CAP_NET_ADMIN): run it as root",
        _ => "",
    }
}

/// nf_tables refused something; `command` is what nft(8) would have been told.
pub(crate) fn rules(change: &Change, command: &str, errno: Errno) -> Error {
    let missing =
        matches!(errno, Errno::NOENT | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::INVAL);
    let part = match change {
        Change::Table | Change::DeleteTable => {
            "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET (which takes CONFIG_IPV6), the module nf_tables"
        }
        Change::Map(_) | Change::Elements(..) | Change::DeleteElements(..) => {
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
            Rule::Hairpin { .. } | Rule::Door { .. } => {
                "CONFIG_NFT_CT and CONFIG_NFT_MASQ, the modules nft_ct and nft_masq"
            }
            Rule::Guard { .. } => "CONFIG_NF_TABLES, the module nf_tables",
        },
    };
    let error = Error::os(command, errno);
    match errno {
        _ if missing => error.hint(format!("it takes a kernel with {part}")),
        Errno::PERM => error.hint("it needs root (CAP_NET_ADMIN): run it as root"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
