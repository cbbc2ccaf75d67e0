//! Changes of nsctl's table as nft(8) would be told, and switches as the shell would.

use std::ffi::CStr;
use std::net::IpAddr;

use crate::linux::net::conf::{DIRECTORIES, Switch};
use crate::linux::net::nft::{Change, Hook, Map, Mapping, Rule};

/// `/proc/sys/net/ipv4/conf/INTERFACE/NAME`.
pub(crate) fn path(switch: &Switch) -> String {
    format!("{}/{}", text(DIRECTORIES[usize::from(switch.v6)]), text(&switch.file))
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}

/// As a command of its own.
pub(crate) fn nft(change: &Change) -> String {
    format!("nft '{}'", command(change))
}

pub(super) fn command(change: &Change) -> String {
    const OF: &str = "inet nsctl";
    match change {
        Change::Table => format!("add table {OF}"),
        Change::DeleteTable { .. } => format!("delete table {OF}"),
        Change::DeleteMap(map) => format!("delete map {OF} {}", text(map.name())),
        Change::Map(map) => {
            let address = if map.v6 { "ipv6_addr" } else { "ipv4_addr" };
            let at = if map.at { format!("{address} . ") } else { String::new() };
            let key = format!("{at}inet_proto . inet_service");
            format!("add map {OF} {} {{ type {key} : {address} . inet_service; }}", text(map.name()))
        }
        Change::Chain { name, hook } => {
            let hook = hook.map(place).map(|hook| format!(" {{ type {hook}; }}")).unwrap_or_default();
            format!("add chain {OF} {}{hook}", text(name))
        }
        Change::Flush(chain) => format!("flush chain {OF} {}", text(chain)),
        Change::DeleteChain(chain) => format!("delete chain {OF} {}", text(chain)),
        Change::Rule { chain, rule } => format!("add rule {OF} {} {}", text(chain), of(rule)),
        Change::Elements(map, mappings) => elements("add", *map, mappings, true),
        Change::DeleteElements(map, mappings) => elements("delete", *map, mappings, false),
    }
}

fn place(hook: Hook) -> &'static str {
    match hook {
        Hook::NatPrerouting => "nat hook prerouting priority -100",
        Hook::NatOutput => "nat hook output priority -100",
        Hook::NatPostrouting => "nat hook postrouting priority 100",
        Hook::Raw => "filter hook prerouting priority -300",
        Hook::Forward => "filter hook forward priority 0",
    }
}

fn of(rule: &Rule) -> String {
    let source = |(base, prefix): &(IpAddr, u8)| {
        format!("{} saddr {base}/{prefix}", if base.is_ipv6() { "ip6" } else { "ip" })
    };
    match rule {
        Rule::SkipLoopback => "ip6 daddr ::1 return".into(),
        Rule::ToPorts => "fib daddr type local goto ports".into(),
        Rule::Redirect(map) => {
            let ip = if map.v6 { "ip6" } else { "ip" };
            let at = if map.at { format!("{ip} daddr . ") } else { String::new() };
            format!(
                "meta nfproto {} dnat {ip} to {at}meta l4proto . th dport map @{}",
                if map.v6 { "ipv6" } else { "ipv4" },
                text(map.name())
            )
        }
        Rule::Masquerade { subnet, interface } => {
            format!("{} oifname != \"{}\" masquerade", source(subnet), text(interface))
        }
        Rule::Hairpin { subnet, interface } => {
            format!("{} oifname \"{}\" ct status dnat masquerade", source(subnet), text(interface))
        }
        Rule::FromLoopback { interface } => {
            format!("ip saddr 127.0.0.0/8 oifname \"{}\" masquerade", text(interface))
        }
        Rule::Guard { interface } => format!("iifname \"{}\" ip daddr 127.0.0.0/8 drop", text(interface)),
        Rule::Stray { interface } => {
            format!("oifname \"{0}\" iifname != \"{0}\" ct state invalid,untracked drop", text(interface))
        }
        Rule::Closed { interface, out: false } => format!("oifname \"{0}\" iifname != \"{0}\" drop", text(interface)),
        Rule::Closed { interface, out: true } => format!("iifname \"{0}\" oifname != \"{0}\" drop", text(interface)),
        Rule::Door { interface } => {
            format!("oifname \"{0}\" iifname != \"{0}\" ct state new ct status & dnat == 0 drop", text(interface))
        }
    }
}

fn elements(verb: &str, map: Map, mappings: &[Mapping], with_data: bool) -> String {
    let one = |mapping: &Mapping| {
        let at = mapping.at.map_or(String::new(), |at| format!("{at} . "));
        let protocol = if i32::from(mapping.protocol) == libc::IPPROTO_UDP { "udp" } else { "tcp" };
        let to = if with_data { format!(" : {} . {}", mapping.to.0, mapping.to.1) } else { String::new() };
        format!("{at}{protocol} . {}{to}", mapping.port)
    };
    let all: Vec<String> = mappings.iter().map(one).collect();
    format!("{verb} element inet nsctl {} {{ {} }}", text(map.name()), all.join(", "))
}
