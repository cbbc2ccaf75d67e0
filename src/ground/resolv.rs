//! resolv.conf(5) for a container: the host's, with what was asked for, and without what its network does not reach.

use std::ffi::CStr;
use std::net::IpAddr;

use rustix::fs::{AtFlags, CWD};

use crate::linux::file;
use crate::plan::Ground;
use crate::spec::{Kind, Names, Spec};

/// Where systemd-resolved writes the servers that it asks itself (systemd-resolved.service(8)).
const UPSTREAM: &CStr = c"/run/systemd/resolve/resolv.conf";

/// The host's is read through its symbolic link.
pub(super) fn look(spec: &Spec, ground: &mut Ground) {
    let hosts = || file::read(CWD, c"/etc/resolv.conf").unwrap_or_default();
    let apart = match &spec.network.kind {
        Kind::Host => false,
        // It may be the host's own, by a file.
        Kind::Path(path) => namespace(path) != namespace(c"/proc/self/ns/net"),
        _ => true,
    };
    if !apart && !spec.names.asks_for_dns() {
        ground.resolv = hosts();
    } else if spec.network.kind != Kind::None || spec.names.asks_for_dns() {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let upstream = || text(file::read(CWD, UPSTREAM).unwrap_or_default());
        let made = text_of(&text(hosts()), upstream, &spec.names, apart);
        (ground.resolv, ground.unreachable) = (made.0.into_bytes(), made.1);
    }
}

/// A namespace's own number.
fn namespace(path: &CStr) -> Option<(u64, u64)> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// What resolv.conf says.
struct Lines<'a> {
    servers: Vec<&'a str>,
    search: Vec<&'a str>,
    options: Vec<&'a str>,
}

fn read(text: &str) -> Lines<'_> {
    let mut lines = Lines { servers: Vec::new(), search: Vec::new(), options: Vec::new() };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => lines.servers.extend(words.next()),
            // Of several, the last one holds.
            Some("search" | "domain") => lines.search = words.collect(),
            Some("options") => lines.options.extend(words),
            _ => {}
        }
    }
    lines
}

/// `apart`: the network is not the host's, so that addresses of the host's loopback, and such that go with one of its interfaces,
/// lead nowhere. With it the first server that was left out, if none is left.
fn text_of(hosts: &str, upstream: impl FnOnce() -> String, names: &Names, apart: bool) -> (String, Option<String>) {
    let reaches = |server: &&str| !apart || server.parse().is_ok_and(|address: IpAddr| !address.is_loopback());
    let mut lines = read(hosts);
    let all_reached = lines.servers.iter().all(&reaches);
    if all_reached && !names.asks_for_dns() {
        return (hosts.into(), None);
    }
    let real;
    let mut lost = None;
    if names.dns.is_empty() && !all_reached {
        real = upstream();
        let (first, found) = (lines.servers.first().map(|server| (*server).to_string()), read(&real));
        if found.servers.iter().any(&reaches) {
            lines.servers = found.servers;
        }
        lines.servers.retain(|server| reaches(server));
        lost = first.filter(|_| lines.servers.is_empty());
    }
    let own: Vec<String> = names.dns.iter().map(IpAddr::to_string).collect();
    if !own.is_empty() {
        lines.servers = own.iter().map(String::as_str).collect();
    }
    if !names.dns_search.is_empty() {
        lines.search = names.dns_search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    }
    if !names.dns_options.is_empty() {
        lines.options = names.dns_options.iter().map(String::as_str).collect();
    }
    let mut text: String = lines.servers.iter().flat_map(|server| ["nameserver ", server, "\n"]).collect();
    for (key, words) in [("search", lines.search), ("options", lines.options)] {
        if !words.is_empty() {
            text += &format!("{key} {}\n", words.join(" "));
        }
    }
    (text, lost)
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    let asking = Names { dns_search: vec!["lan".into()], ..Names::default() };
    for (names, apart) in [(&Names::default(), false), (&Names::default(), true), (&asking, true)] {
        let _ = text_of(text, || text.into(), names, apart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: &str = "# stub\nnameserver 127.0.0.53\noptions edns0\nsearch lan\n";

    fn of(hosts: &str, upstream: &str, names: &Names, apart: bool) -> (String, Option<String>) {
        text_of(hosts, || upstream.into(), names, apart)
    }

    #[test]
    fn what_is_in_reach_is_kept_as_it_is() {
        let text = "# mine\nnameserver 10.0.0.1\nnameserver fd00::1\n";
        assert_eq!(of(text, "", &Names::default(), true), (text.into(), None));
        assert_eq!(of(STUB, "", &Names::default(), false), (STUB.into(), None));
    }

    #[test]
    fn servers_of_the_hosts_loopback_are_replaced_or_left_out() {
        let none = Names::default();
        let upstream = "nameserver 10.0.0.1\nnameserver ::1\nsearch other\n";
        assert_eq!(of(STUB, upstream, &none, true).0, "nameserver 10.0.0.1\nsearch lan\noptions edns0\n");
        assert_eq!(of(STUB, "", &none, true), ("search lan\noptions edns0\n".into(), Some("127.0.0.53".into())));
        let mixed = "nameserver ::1\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n";
        assert_eq!(of(mixed, "", &none, true), ("nameserver 9.9.9.9\n".into(), None));
    }

    #[test]
    fn what_was_asked_for_holds() {
        let names = Names {
            dns: vec!["9.9.9.9".parse().unwrap(), "127.0.0.1".parse().unwrap()],
            dns_search: vec![".".into()],
            dns_options: vec!["ndots:2".into(), "rotate".into()],
            ..Names::default()
        };
        let wanted = "nameserver 9.9.9.9\nnameserver 127.0.0.1\noptions ndots:2 rotate\n";
        assert_eq!(of(STUB, "", &names, true), (wanted.into(), None));
        let names = Names { dns_search: vec!["a.example".into(), "b.example".into()], ..Names::default() };
        let wanted = "nameserver 127.0.0.53\nsearch a.example b.example\noptions edns0\n";
        assert_eq!(of(STUB, "", &names, false).0, wanted);
    }
}
