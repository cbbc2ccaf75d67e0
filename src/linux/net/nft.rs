//! nsctl's own table of nf_tables, `table inet nsctl`: what is changed in it, each change as a value, and the transaction that changes
//! it. What is there of others' tables stays as it is.
//!
//! Four maps say where a published port leads: of IPv4 and IPv6, of all addresses of the host and of one alone. The chain `ports` looks
//! there, for what comes from outside (`prerouting`) and for what the host itself sends (`output`). Each network has three chains of its
//! own, named after its bridge: `nat-`, what leaves it gets the host's address; `guard-`, the host's loopback stays closed to it;
//! `door-`, nothing begins a conversation with it but through a published port; of an internal network there is that one alone, and
//! nothing passes. All of them are base chains: they are removed by their
//! names, where the rule that jumps to a chain would have to be known by a number.

use std::ffi::{CStr, CString};
use std::net::IpAddr;

use rustix::io::Errno;

use super::{Refusal, Socket};

mod encode;
mod numbers;
#[cfg(test)]
mod tests;
pub(crate) use encode::batch;

pub(crate) const TABLE: &CStr = c"nsctl";

/// One command of nft(8).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// `add table`; it may be there.
    Table,
    /// `delete table`. `whole`: with all that is in it; otherwise EBUSY, if there is something.
    DeleteTable { whole: bool },
    /// `add map`; it may be there.
    Map(Map),
    /// `delete map`, with its elements.
    DeleteMap(Map),
    /// `add chain`; it may be there.
    Chain { name: CString, hook: Option<Hook> },
    /// `flush chain`.
    Flush(CString),
    /// `delete chain`, with its rules.
    DeleteChain(CString),
    /// `add rule`.
    Rule { chain: CString, rule: Rule },
    /// `add element`; all of them are in this map. EBUSY: one of these ports leads elsewhere already.
    Elements(Map, Vec<Mapping>),
    /// `delete element`. ENOENT: one of them is not there.
    DeleteElements(Map, Vec<Mapping>),
}

/// Which map a published port is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Map {
    /// The container's address is one of IPv6.
    pub(crate) v6: bool,
    /// The port is published at one of the host's addresses alone.
    pub(crate) at: bool,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mapping {
    /// IPPROTO_*.
    pub(crate) protocol: u8,
    /// None: at every address of the host.
    pub(crate) at: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) to: (IpAddr, u16),
}

/// Where in a packet's way a base chain is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Hook {
    /// `type nat hook prerouting priority dstnat`.
    NatPrerouting,
    /// `type nat hook output priority -100`.
    NatOutput,
    /// `type nat hook postrouting priority srcnat`.
    NatPostrouting,
    /// `type filter hook prerouting priority raw`: before anything is known of the connection.
    Raw,
    /// `type filter hook forward priority filter`.
    Forward,
}

/// An interface is named, so that a rule is right before it is there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rule {
    /// `ip6 daddr ::1 return`: the kernel passes on nothing that comes from there, so that a connection would hang.
    SkipLoopback,
    /// `fib daddr type local goto ports`.
    ToPorts,
    /// `dnat ip to … map @ports`.
    Redirect(Map),
    /// `ip saddr SUBNET oifname != INTERFACE masquerade`.
    Masquerade { subnet: (IpAddr, u8), interface: CString },
    /// `ip saddr SUBNET oifname INTERFACE ct status dnat masquerade`: one of a network to another by a published port, whose answer
    /// would otherwise go straight back and be of a stranger's.
    Hairpin { subnet: (IpAddr, u8), interface: CString },
    /// `ip saddr 127.0.0.0/8 oifname INTERFACE masquerade`.
    FromLoopback { interface: CString },
    /// `iifname INTERFACE ip daddr 127.0.0.0/8 drop`: without it, net.ipv4.conf.INTERFACE.route_localnet would let a container reach
    /// what listens on the host's loopback (CVE-2020-8558).
    Guard { interface: CString },
    /// `oifname INTERFACE iifname != INTERFACE ct state invalid,untracked drop`: what belongs to no conversation.
    Stray { interface: CString },
    /// Of an internal network. `oifname INTERFACE iifname != INTERFACE drop`: nothing comes in. `out`: the other way round.
    Closed { interface: CString, out: bool },
    /// `oifname INTERFACE iifname != INTERFACE ct state new ct status ! dnat drop`: whose way to the host's network leads over this
    /// host reaches published ports only.
    Door { interface: CString },
}

impl Map {
    pub(crate) const ALL: [Self; 4] = [
        Self { v6: false, at: true },
        Self { v6: false, at: false },
        Self { v6: true, at: true },
        Self { v6: true, at: false },
    ];

    pub(crate) fn name(self) -> &'static CStr {
        match (self.v6, self.at) {
            (false, false) => c"ports",
            (false, true) => c"ports_at",
            (true, false) => c"ports6",
            (true, true) => c"ports6_at",
        }
    }
}

impl Mapping {
    pub(crate) fn map(&self) -> Map {
        Map { v6: self.to.0.is_ipv6(), at: self.at.is_some() }
    }
}

/// What all networks have in common, internal ones the table alone. `anew`: nobody uses it, and what may be there is thrown away.
pub(crate) fn common(anew: bool, internal: bool) -> Vec<Change> {
    let mut changes = vec![Change::Table];
    if anew {
        changes.extend([Change::DeleteTable { whole: true }, Change::Table]);
    }
    if internal {
        return changes;
    }
    changes.extend(Map::ALL.map(Change::Map));
    let rule = |chain: &CStr, rule| Change::Rule { chain: chain.into(), rule };
    for (name, hook) in
        [(c"ports", None), (c"prerouting", Some(Hook::NatPrerouting)), (c"output", Some(Hook::NatOutput))]
    {
        changes.extend([Change::Chain { name: name.into(), hook }, Change::Flush(name.into())]);
        match hook {
            None => changes.extend(Map::ALL.map(|map| rule(name, Rule::Redirect(map)))),
            Some(hook) => {
                if hook == Hook::NatOutput {
                    changes.push(rule(name, Rule::SkipLoopback));
                }
                changes.push(rule(name, Rule::ToPorts));
            }
        }
    }
    changes
}

/// What removes these, if no network has anything in the table any more, be it one of nsctl with another directory.
pub(crate) fn farewell(changes: &[Change]) -> Vec<Change> {
    let shared = changes.iter().any(|change| matches!(change, Change::Map(_)));
    let chains = [c"prerouting", c"output", c"ports"].map(|name| Change::DeleteChain(name.into()));
    let shared = chains.into_iter().chain(Map::ALL.map(Change::DeleteMap)).filter(|_| shared);
    shared.chain([Change::DeleteTable { whole: false }]).collect()
}

/// The chains of the network with this bridge, first that which every network has.
pub(crate) fn chains(interface: &CStr, internal: bool) -> Vec<(CString, Hook)> {
    let name = |prefix: &str| {
        let name = [prefix.as_bytes(), interface.to_bytes()].concat();
        CString::new(name).unwrap_or_default()
    };
    let mut chains = vec![(name("door-"), Hook::Forward)];
    if !internal {
        chains.extend([(name("nat-"), Hook::NatPostrouting), (name("guard-"), Hook::Raw)]);
    }
    chains
}

/// What a network has of its own; `subnets` are its ranges.
pub(crate) fn network(interface: &CStr, subnets: &[(IpAddr, u8)], internal: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, hook) in chains(interface, internal) {
        changes.extend([Change::Chain { name: name.clone(), hook: Some(hook) }, Change::Flush(name.clone())]);
        let interface = || CString::from(interface);
        let rules = match hook {
            Hook::Raw => vec![Rule::Guard { interface: interface() }],
            Hook::Forward if internal => [false, true].map(|out| Rule::Closed { interface: interface(), out }).into(),
            Hook::Forward => vec![Rule::Stray { interface: interface() }, Rule::Door { interface: interface() }],
            Hook::NatPrerouting | Hook::NatOutput | Hook::NatPostrouting => subnets
                .iter()
                .flat_map(|subnet| {
                    [
                        Rule::Masquerade { subnet: *subnet, interface: interface() },
                        Rule::Hairpin { subnet: *subnet, interface: interface() },
                    ]
                })
                .chain([Rule::FromLoopback { interface: interface() }])
                .collect(),
        };
        changes.extend(rules.into_iter().map(|rule| Change::Rule { chain: name.clone(), rule }));
    }
    changes
}

/// The elements of published ports, in as few changes as it takes for none to be longer than a batch of [`super::undo`] may be.
pub(crate) fn elements(mappings: &[Mapping]) -> impl Iterator<Item = (Map, Vec<Mapping>)> {
    /// One takes 64 bytes at most.
    const AT_ONCE: usize = 100;
    Map::ALL.into_iter().flat_map(|map| {
        let of: Vec<Mapping> = mappings.iter().filter(|mapping| mapping.map() == map).copied().collect();
        of.chunks(AT_ONCE).map(|chunk| (map, chunk.to_vec())).collect::<Vec<_>>()
    })
}

/// A refused transaction, of which nothing was done.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    /// Which of the changes it was.
    pub(crate) change: usize,
    pub(crate) refusal: Refusal,
}

impl Socket {
    /// All of the changes, or none of them.
    pub(crate) fn change(&self, changes: &[Change]) -> Result<(), Refused> {
        let mut tries = 0;
        loop {
            let first = self.reserve(changes.len() as u32 + 2);
            let bytes = batch(changes, Some(first));
            let refused = |(sequence, refusal): (u32, Refusal)| Refused {
                // That of the begin stands for the whole.
                change: sequence.saturating_sub(first + 1) as usize,
                refusal,
            };
            self.send(&bytes).map_err(|errno| refused((first, errno.into())))?;
            match self.outcome(first..=first + changes.len() as u32, true, &mut |_, _| {}).map_err(refused) {
                // Somebody else changed something meanwhile.
                Err(Refused { refusal: Refusal { errno: AGAIN | RESTART, .. }, .. }) if tries < 5 => tries += 1,
                outcome => return outcome,
            }
        }
    }

    /// Publishes ports. Where one leads elsewhere already, whoever it led to is gone, since the port could be reserved for us.
    pub(crate) fn publish(&self, mappings: &[Mapping]) -> Result<(), Refused> {
        let add = |mappings: &[Mapping]| {
            let changes: Vec<Change> = elements(mappings).map(|(map, of)| Change::Elements(map, of)).collect();
            self.change(&changes)
        };
        let Err(refused) = add(mappings) else { return Ok(()) };
        if !matches!(refused.refusal.errno, Errno::BUSY | Errno::EXIST) {
            return Err(refused);
        }
        for mapping in mappings {
            if let Err(refused) = add(&[*mapping]) {
                let (map, of) = (mapping.map(), vec![*mapping]);
                self.change(&[Change::DeleteElements(map, of.clone()), Change::Elements(map, of)])
                    .map_err(|_| refused)?;
            }
        }
        Ok(())
    }

    /// Whether a chain is there.
    pub(crate) fn has_chain(&self, name: &CStr) -> bool {
        let mut there = false;
        self.get(&encode::look_for_chain(name), &mut |_, _| there = true).is_ok() && there
    }
}

const AGAIN: Errno = Errno::AGAIN;
const RESTART: Errno = Errno::from_raw_os_error(linux_raw_sys::errno::ERESTART as i32);
