//! How the changes look on the wire. Numbers are big-endian there, addresses and ports as in a packet, and what is compared is as it
//! is in the kernel's registers.

use std::ffi::CStr;
use std::net::IpAddr;

use linux_raw_sys::netlink as r;
use netlink_bindings::consts as n;
use netlink_bindings::utils::{finalize_nested_header, push_header, push_nested_header};

use super::numbers::*;
use super::{Change, Hook, Map, Mapping, Rule, TABLE};
use crate::linux::net::Message;

/// A transaction, as it goes over the wire. `first`: the sequence number of its begin, each message has the next one, and the last
/// change is acknowledged; None: nothing is, and all have 0.
pub(crate) fn batch(changes: &[Change], first: Option<u32>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2048);
    let number = |at: usize| first.map_or(0, |first| first + at as u32);
    bound(&mut bytes, BEGIN, number(0));
    for (at, change) in changes.iter().enumerate() {
        let acknowledge = if first.is_some() && at + 1 == changes.len() { n::NLM_F_ACK } else { 0 };
        message(&mut bytes, change, acknowledge, number(at + 1));
    }
    bound(&mut bytes, END, number(changes.len() + 1));
    bytes
}

pub(super) fn look_for_chain(name: &CStr) -> Message {
    let mut payload = header(NFPROTO_INET, 0);
    string(&mut payload, 1, TABLE);
    string(&mut payload, NFTA_CHAIN_NAME, name);
    Message { kind: kind(GETCHAIN), flags: 0, payload }
}

fn kind(of: u8) -> u16 {
    SUBSYSTEM << 8 | u16::from(of)
}

/// nfgenmsg.
fn header(family: u8, resource: u16) -> Vec<u8> {
    let [high, low] = resource.to_be_bytes();
    let mut bytes = Vec::with_capacity(512);
    bytes.extend([family, 0, high, low]);
    bytes
}

fn bound(bytes: &mut Vec<u8>, kind: u16, sequence: u32) {
    Message { kind, flags: 0, payload: header(0, SUBSYSTEM) }.write(bytes, 0, sequence);
}

fn message(bytes: &mut Vec<u8>, change: &Change, flags: i32, sequence: u32) {
    let mut payload = header(NFPROTO_INET, 0);
    let (of, more) = body(&mut payload, change);
    Message { kind: kind(of), flags: flags as u16, payload }.write(bytes, more, sequence);
}

fn words(bytes: &mut Vec<u8>, words: &[(u16, u32)]) {
    for (kind, value) in words {
        push_header(bytes, *kind, 4);
        bytes.extend(value.to_be_bytes());
    }
}

fn string(bytes: &mut Vec<u8>, kind: u16, text: &CStr) {
    let text = text.to_bytes_with_nul();
    push_header(bytes, kind, text.len() as u16);
    bytes.extend(text);
}

fn nested(bytes: &mut Vec<u8>, kind: u16, contents: &dyn Fn(&mut Vec<u8>)) {
    let start = push_nested_header(bytes, kind);
    contents(bytes);
    finalize_nested_header(bytes, start);
}

/// An NFTA_DATA_VALUE.
fn value(bytes: &mut Vec<u8>, kind: u16, of: &[u8]) {
    nested(bytes, kind, &|bytes| {
        push_header(bytes, 1, of.len() as u16);
        bytes.extend(of);
    });
}

/// Writes the message's attributes; its type and flags.
fn body(bytes: &mut Vec<u8>, change: &Change) -> (u8, i32) {
    // The table is the first attribute of all messages.
    string(bytes, 1, TABLE);
    match change {
        Change::Table => (NEWTABLE, n::NLM_F_CREATE),
        Change::DeleteTable { whole } => (DELTABLE, if *whole { 0 } else { NLM_F_NONREC }),
        Change::DeleteMap(map) => {
            string(bytes, NFTA_SET_NAME, map.name());
            (DELSET, 0)
        }
        Change::Map(map) => {
            let (key, key_length, data, data_length) = types(*map);
            string(bytes, NFTA_SET_NAME, map.name());
            let flags = (NFTA_SET_FLAGS, NFT_SET_MAP);
            let key = [(NFTA_SET_KEY_TYPE, key), (NFTA_SET_KEY_LEN, key_length)];
            let data = [(NFTA_SET_DATA_TYPE, data), (NFTA_SET_DATA_LEN, data_length)];
            // One of those that are made in the transaction.
            let id = (NFTA_SET_ID, 1 + u32::from(map.v6) * 2 + u32::from(map.at));
            words(bytes, &[flags, key[0], key[1], data[0], data[1], id]);
            (NEWSET, n::NLM_F_CREATE)
        }
        Change::Chain { name, hook } => {
            string(bytes, NFTA_CHAIN_NAME, name);
            if let Some(hook) = hook {
                let (kind, number, priority) = place(*hook);
                nested(bytes, NFTA_CHAIN_HOOK, &|bytes| {
                    words(bytes, &[(NFTA_HOOK_HOOKNUM, number), (NFTA_HOOK_PRIORITY, priority as u32)]);
                });
                string(bytes, NFTA_CHAIN_TYPE, kind);
            }
            (NEWCHAIN, n::NLM_F_CREATE)
        }
        Change::DeleteChain(name) => {
            string(bytes, NFTA_CHAIN_NAME, name);
            (DELCHAIN, 0)
        }
        Change::Flush(chain) => {
            string(bytes, NFTA_RULE_CHAIN, chain);
            (DELRULE, 0)
        }
        Change::Rule { chain, rule } => {
            string(bytes, NFTA_RULE_CHAIN, chain);
            nested(bytes, NFTA_RULE_EXPRESSIONS, &|bytes| expressions(bytes, rule));
            (NEWRULE, n::NLM_F_CREATE | n::NLM_F_APPEND)
        }
        Change::Elements(map, mappings) => {
            elements(bytes, *map, mappings, true);
            (NEWSETELEM, n::NLM_F_CREATE)
        }
        Change::DeleteElements(map, mappings) => {
            elements(bytes, *map, mappings, false);
            (DELSETELEM, 0)
        }
    }
}

/// Type and length in bytes of a map's keys and of what they lead to: each part takes whole registers.
fn types(map: Map) -> (u32, u32, u32, u32) {
    let (address, length) = if map.v6 { (IPV6_ADDR, 16) } else { (IPV4_ADDR, 4) };
    let port = INET_PROTO << 6 | INET_SERVICE;
    let (key, key_length) = if map.at { (address << 12 | port, length + 8) } else { (port, 8) };
    (key, key_length, address << 6 | INET_SERVICE, length + 4)
}

/// Type, number and priority.
fn place(hook: Hook) -> (&'static CStr, u32, i32) {
    match hook {
        Hook::NatPrerouting => (c"nat", 0, -100),
        Hook::NatOutput => (c"nat", 3, -100),
        Hook::NatPostrouting => (c"nat", 4, 100),
        Hook::Raw => (c"filter", 0, -300),
        Hook::Forward => (c"filter", 2, 0),
    }
}

fn elements(bytes: &mut Vec<u8>, map: Map, mappings: &[Mapping], with_data: bool) {
    string(bytes, NFTA_SET_ELEM_LIST_SET, map.name());
    nested(bytes, NFTA_SET_ELEM_LIST_ELEMENTS, &|bytes| {
        for mapping in mappings {
            nested(bytes, NFTA_LIST_ELEM, &|bytes| {
                let mut key = Vec::with_capacity(24);
                mapping.at.iter().for_each(|address| push_address(&mut key, *address));
                key.extend([mapping.protocol, 0, 0, 0]);
                push_port(&mut key, mapping.port);
                value(bytes, NFTA_SET_ELEM_KEY, &key);
                if with_data {
                    let mut data = Vec::with_capacity(20);
                    push_address(&mut data, mapping.to.0);
                    push_port(&mut data, mapping.to.1);
                    value(bytes, NFTA_SET_ELEM_DATA, &data);
                }
            });
        }
    });
}

/// In a register of its own.
fn push_port(bytes: &mut Vec<u8>, port: u16) {
    bytes.extend(port.to_be_bytes());
    bytes.extend([0; 2]);
}

fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
}

/// Where an address is in the header of IPv4 or IPv6.
#[derive(Clone, Copy)]
enum Of {
    Source,
    Destination,
}

/// nft(8) shows the same with --debug=netlink.
fn expressions(bytes: &mut Vec<u8>, rule: &Rule) {
    match rule {
        Rule::SkipLoopback => {
            address(bytes, Of::Destination, (std::net::Ipv6Addr::LOCALHOST.into(), 128));
            verdict(bytes, RETURN, None);
        }
        Rule::ToPorts => {
            const DESTINATION: u32 = 2;
            let flags = [(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE), (NFTA_FIB_FLAGS, DESTINATION)];
            expression(bytes, c"fib", &[(NFTA_FIB_DREG, REGISTER), flags[0], flags[1]]);
            compare(bytes, EQ, &(r::RTN_LOCAL as u32).to_ne_bytes());
            verdict(bytes, GOTO, Some(c"ports"));
        }
        Rule::Redirect(map) => redirect(bytes, *map),
        Rule::Masquerade { subnet, interface } => {
            address(bytes, Of::Source, *subnet);
            device(bytes, OIFNAME, NEQ, interface);
            expression(bytes, c"masq", &[]);
        }
        Rule::Hairpin { subnet, interface } => {
            address(bytes, Of::Source, *subnet);
            device(bytes, OIFNAME, EQ, interface);
            connection(bytes, NFT_CT_STATUS, IPS_DST_NAT, NEQ);
            expression(bytes, c"masq", &[]);
        }
        Rule::FromLoopback { interface } => {
            address(bytes, Of::Source, LOOPBACK);
            device(bytes, OIFNAME, EQ, interface);
            expression(bytes, c"masq", &[]);
        }
        Rule::Guard { interface } => {
            device(bytes, IIFNAME, EQ, interface);
            address(bytes, Of::Destination, LOOPBACK);
            verdict(bytes, DROP, None);
        }
        Rule::Stray { interface } => {
            device(bytes, OIFNAME, EQ, interface);
            device(bytes, IIFNAME, NEQ, interface);
            connection(bytes, NFT_CT_STATE, STATE_INVALID | STATE_UNTRACKED, NEQ);
            verdict(bytes, DROP, None);
        }
        Rule::Closed { interface, out } => {
            device(bytes, OIFNAME, if *out { NEQ } else { EQ }, interface);
            device(bytes, IIFNAME, if *out { EQ } else { NEQ }, interface);
            verdict(bytes, DROP, None);
        }
        Rule::Door { interface } => {
            device(bytes, OIFNAME, EQ, interface);
            device(bytes, IIFNAME, NEQ, interface);
            connection(bytes, NFT_CT_STATE, STATE_NEW, NEQ);
            connection(bytes, NFT_CT_STATUS, IPS_DST_NAT, EQ);
            verdict(bytes, DROP, None);
        }
    }
}

const LOOPBACK: (IpAddr, u8) = (IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), 8);

/// The key goes from the first register on, and what is found there as well.
fn redirect(bytes: &mut Vec<u8>, map: Map) {
    family(bytes, map.v6);
    let length: u32 = if map.v6 { 16 } else { 4 };
    let mut register = REGISTER;
    if map.at {
        payload(bytes, NETWORK_HEADER, place_of(Of::Destination, map.v6), length, register);
        register += length / 4;
    }
    meta(bytes, L4PROTO, register);
    // The destination's port is at the same place with TCP and UDP.
    payload(bytes, TRANSPORT_HEADER, 2, 2, register + 1);
    named(bytes, c"lookup", &|data| {
        string(data, NFTA_LOOKUP_SET, map.name());
        words(data, &[(NFTA_LOOKUP_SREG, REGISTER), (NFTA_LOOKUP_DREG, REGISTER)]);
    });
    let family = if map.v6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = [(NFTA_NAT_TYPE, NFT_NAT_DNAT), (NFTA_NAT_FAMILY, family as u32)];
    let port = (NFTA_NAT_REG_PROTO_MIN, REGISTER + length / 4);
    expression(bytes, c"nat", &[kind[0], kind[1], (NFTA_NAT_REG_ADDR_MIN, REGISTER), port]);
}

/// One element of a rule's list.
fn named(bytes: &mut Vec<u8>, name: &CStr, data: &dyn Fn(&mut Vec<u8>)) {
    nested(bytes, NFTA_LIST_ELEM, &|bytes| {
        string(bytes, NFTA_EXPR_NAME, name);
        nested(bytes, NFTA_EXPR_DATA, data);
    });
}

fn expression(bytes: &mut Vec<u8>, name: &CStr, of: &[(u16, u32)]) {
    named(bytes, name, &|data| words(data, of));
}

fn meta(bytes: &mut Vec<u8>, key: u32, register: u32) {
    expression(bytes, c"meta", &[(NFTA_META_DREG, register), (NFTA_META_KEY, key)]);
}

fn payload(bytes: &mut Vec<u8>, base: u32, offset: u32, length: u32, register: u32) {
    let place = [(NFTA_PAYLOAD_BASE, base), (NFTA_PAYLOAD_OFFSET, offset)];
    expression(bytes, c"payload", &[(NFTA_PAYLOAD_DREG, register), place[0], place[1], (NFTA_PAYLOAD_LEN, length)]);
}

/// What is in the first register.
fn compare(bytes: &mut Vec<u8>, how: u32, with: &[u8]) {
    named(bytes, c"cmp", &|data| {
        words(data, &[(NFTA_CMP_SREG, REGISTER), (NFTA_CMP_OP, how)]);
        value(data, NFTA_CMP_DATA, with);
    });
}

/// Leaves only these bits of what is in the first register.
fn mask(bytes: &mut Vec<u8>, mask: &[u8]) {
    named(bytes, c"bitwise", &|data| {
        let registers = [(NFTA_BITWISE_SREG, REGISTER), (NFTA_BITWISE_DREG, REGISTER)];
        words(data, &[registers[0], registers[1], (NFTA_BITWISE_LEN, mask.len() as u32)]);
        value(data, NFTA_BITWISE_MASK, mask);
        value(data, NFTA_BITWISE_XOR, &[0; 16][..mask.len()]);
    });
}

fn family(bytes: &mut Vec<u8>, v6: bool) {
    meta(bytes, NFPROTO, REGISTER);
    compare(bytes, EQ, &[if v6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 }]);
}

fn place_of(of: Of, v6: bool) -> u32 {
    match (of, v6) {
        (Of::Source, false) => 12,
        (Of::Destination, false) => 16,
        (Of::Source, true) => 8,
        (Of::Destination, true) => 24,
    }
}

fn address(bytes: &mut Vec<u8>, of: Of, (base, prefix): (IpAddr, u8)) {
    let v6 = base.is_ipv6();
    let mut value = Vec::with_capacity(16);
    push_address(&mut value, base);
    let bits = (u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).to_be_bytes();
    family(bytes, v6);
    payload(bytes, NETWORK_HEADER, place_of(of, v6), value.len() as u32, REGISTER);
    mask(bytes, &bits[..value.len()]);
    compare(bytes, EQ, &value);
}

/// Its name, in IFNAMSIZ bytes.
fn device(bytes: &mut Vec<u8>, key: u32, how: u32, name: &CStr) {
    let mut padded = [0u8; 16];
    let name = &name.to_bytes()[..name.count_bytes().min(15)];
    padded[..name.len()].copy_from_slice(name);
    meta(bytes, key, REGISTER);
    compare(bytes, how, &padded);
}

/// Whether one of these bits is set (NEQ: they are not 0) or none (EQ).
fn connection(bytes: &mut Vec<u8>, key: u32, bits: u32, how: u32) {
    expression(bytes, c"ct", &[(NFTA_CT_DREG, REGISTER), (NFTA_CT_KEY, key)]);
    mask(bytes, &bits.to_ne_bytes());
    compare(bytes, how, &[0; 4]);
}

fn verdict(bytes: &mut Vec<u8>, code: u32, chain: Option<&CStr>) {
    named(bytes, c"immediate", &|data| {
        words(data, &[(NFTA_IMMEDIATE_DREG, 0)]);
        nested(data, NFTA_IMMEDIATE_DATA, &|data| {
            nested(data, NFTA_DATA_VERDICT, &|data| {
                words(data, &[(NFTA_VERDICT_CODE, code)]);
                chain.iter().for_each(|chain| string(data, NFTA_VERDICT_CHAIN, chain));
            });
        });
    });
}
