//! By which names a container finds others, and is found by them.

use std::net::IpAddr;

use super::{Kind, container_name};
use crate::cli;
use crate::error::{Error, Result};

/// What a lease has room for, in bytes.
const MOST_ALIASES: usize = 250;

#[derive(Debug, Default)]
pub(crate) struct Names {
    /// `--add-host`. None: the host itself, as the container reaches it.
    pub(crate) hosts: Vec<(String, Option<IpAddr>)>,
    /// `--network-alias`
    pub(crate) aliases: Vec<String>,
    /// Empty: as the host has them; `.` is no domain.
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) dns_options: Vec<String>,
}

impl Names {
    pub(super) fn new(typed: &cli::Net, kind: &Kind, rooted: bool) -> Result<Self> {
        let given = [
            ("--add-host", &typed.add_host),
            ("--dns", &typed.dns),
            ("--dns-search", &typed.dns_search),
            ("--dns-option", &typed.dns_option),
        ];
        if !rooted && let Some((option, _)) = given.iter().find(|(_, typed)| !typed.is_empty()) {
            return Err(Error::new(format!("{option} is for a container with a root of its own"))
                .hint("--rootfs or --image; without, it sees the host's /etc/hosts and /etc/resolv.conf, or what -v mounts there"));
        }
        if !typed.alias.is_empty() && !matches!(kind, Kind::Bridge(_)) {
            return Err(Error::new("--network-alias is for a container on a network with others")
                .hint("add --network bridge"));
        }
        let aliases = typed.alias.iter().map(|name| container_name("--network-alias", name.clone()));
        let aliases: Vec<String> = aliases.collect::<Result<_>>()?;
        if aliases.iter().map(|name| name.len() + 1).sum::<usize>() > MOST_ALIASES {
            return Err(Error::new(format!(
                "--network-alias: the names have more than {MOST_ALIASES} bytes together"
            )));
        }
        let servers = typed.dns.iter().map(|server| {
            server.parse().map_err(|_| {
                Error::new(format!("--dns {server} is no address")).hint("such as 9.9.9.9, or 2620:fe::fe")
            })
        });
        Ok(Self {
            hosts: typed.add_host.iter().map(|typed| host(typed, kind)).collect::<Result<_>>()?,
            aliases,
            dns: servers.collect::<Result<_>>()?,
            dns_search: words("--dns-search", &typed.dns_search)?,
            dns_options: words("--dns-option", &typed.dns_option)?,
        })
    }

    pub(crate) fn asks_for_dns(&self) -> bool {
        !(self.dns.is_empty() && self.dns_search.is_empty() && self.dns_options.is_empty())
    }
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`; docker takes an address of IPv6 in brackets, too.
fn host(typed: &str, kind: &Kind) -> Result<(String, Option<IpAddr>)> {
    let wrong = |hint: &str| Error::new(format!("--add-host {typed} is no name and address")).hint(hint);
    let (name, address) = typed.split_once([':', '=']).ok_or_else(|| wrong("such as db:10.1.0.7"))?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(wrong("the name is empty, or has something in it that no name has"));
    }
    if address == "host-gateway" {
        return match kind {
            Kind::Host | Kind::Bridge(_) => Ok((name.into(), None)),
            _ => Err(wrong("nothing leads to the host from this network")),
        };
    }
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| wrong("the address is that of a host, or host-gateway"))?;
    Ok((name.into(), Some(address)))
}

/// Each is a word of a line.
fn words(option: &str, typed: &[String]) -> Result<Vec<String>> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    match typed.iter().find(|word| !is_word(word)) {
        Some(word) => Err(Error::new(format!("{option} {word} is not a word"))),
        None => Ok(typed.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_an_address() {
        let of = |typed: &str| host(typed, &Kind::Host).ok();
        let address = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(of("db:10.1.0.7"), Some(("db".into(), address("10.1.0.7"))));
        assert_eq!(of("db=10.1.0.7"), of("db:10.1.0.7"));
        assert_eq!(of("db:fd00::7"), Some(("db".into(), address("fd00::7"))));
        assert_eq!(of("db:[fd00::7]"), of("db:fd00::7"));
        assert_eq!(of("me:host-gateway"), Some(("me".into(), None)));
        for wrong in ["", "db", ":1.2.3.4", "db:", "db:x", "a b:1.2.3.4", "db:1.2.3.4\n", "#:1.2.3.4"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert!(host("me:host-gateway", &Kind::None).is_err());
        assert!(words("--dns-search", &["a b".into()]).is_err() && words("", &[".".into()]).is_ok());
    }
}
