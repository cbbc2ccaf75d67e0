//! Published ports: which of the host's lead to which of the container's, and how they are kept from others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::linux::net::nft::Mapping;

/// What a `--publish` asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Publish {
    /// None: all addresses, of IPv4 and of IPv6; one that is unspecified: all of its kind.
    pub(crate) at: Option<IpAddr>,
    /// From and to. None: any that is free. Longer than `inner`: one of them that is free.
    pub(crate) host: Option<(u16, u16)>,
    pub(crate) inner: (u16, u16),
    pub(crate) udp: bool,
}

/// A port of the host's, and where it leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Port {
    pub(crate) at: Option<IpAddr>,
    pub(crate) number: u16,
    pub(crate) inner: u16,
    pub(crate) udp: bool,
}

/// Why a port could not be had.
pub(crate) struct Taken {
    pub(crate) port: Port,
    pub(crate) errno: Errno,
}

impl Publish {
    /// The ports; 0: one that is free is to be found, in `host` if there is one.
    fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        let paired = self.host.filter(|(from, to)| to - from == self.inner.1 - self.inner.0);
        (self.inner.0..=self.inner.1).map(move |inner| Port {
            at: self.at,
            number: paired.map_or(0, |(from, _)| from + (inner - self.inner.0)),
            inner,
            udp: self.udp,
        })
    }
}

/// All ports, without holding them.
pub(crate) fn foreseen(publish: &[Publish]) -> Vec<Port> {
    publish.iter().flat_map(Publish::ports).collect()
}

/// Takes the ports: as long as the sockets are open, nobody else gets one of them. Nothing listens on them: where the rules are not,
/// a connection is refused. `v6`: the container has IPv6 as well.
pub(crate) fn reserve(publish: &[Publish], v6: bool) -> Result<(Vec<Port>, Vec<OwnedFd>), Taken> {
    let (mut ports, mut sockets) = (Vec::new(), Vec::new());
    for one in publish {
        for port in one.ports() {
            let candidates = match one.host {
                Some((from, to)) if port.number == 0 => from..=to,
                _ => port.number..=port.number,
            };
            let mut outcome = Err(Errno::ADDRINUSE);
            for number in candidates {
                outcome = bind(Port { number, ..port }, v6);
                if !matches!(outcome, Err(Errno::ADDRINUSE)) {
                    break;
                }
            }
            match outcome {
                Ok((number, socket)) => {
                    ports.push(Port { number, ..port });
                    sockets.push(socket);
                }
                Err(errno) => return Err(Taken { port, errno }),
            }
        }
    }
    Ok((ports, sockets))
}

/// Without SO_REUSEADDR, with which two that do not listen may have the same.
fn bind(port: Port, v6: bool) -> Result<(u16, OwnedFd), Errno> {
    let kind = if port.udp { SocketType::DGRAM } else { SocketType::STREAM };
    let address = port.at.unwrap_or(if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() });
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, port.at.is_some())?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(address, port.number))?;
    let bound: SocketAddr = rustix::net::getsockname(&socket)?.try_into()?;
    Ok((bound.port(), socket))
}

impl Port {
    /// What the kernel is told: one for each kind of address that the container has and the port is published at.
    pub(crate) fn mappings(self, own: [Option<IpAddr>; 2]) -> impl Iterator<Item = Mapping> {
        let at = self.at.filter(|address| !address.is_unspecified());
        own.into_iter().flatten().filter(move |own| self.at.is_none_or(|at| at.is_ipv4() == own.is_ipv4())).map(
            move |own| Mapping {
                protocol: if self.udp { libc::IPPROTO_UDP as u8 } else { libc::IPPROTO_TCP as u8 },
                at,
                port: self.number,
                to: (own, self.inner),
            },
        )
    }

    pub(crate) fn protocol(self) -> &'static str {
        if self.udp { "udp" } else { "tcp" }
    }

    /// As docker shows it, once for each kind of address: `0.0.0.0:8080->80/tcp`.
    pub(crate) fn texts(self, v6: bool) -> impl Iterator<Item = String> {
        let at = match self.at {
            Some(at) => [Some(at), None],
            None => [Some(Ipv4Addr::UNSPECIFIED.into()), v6.then_some(Ipv6Addr::UNSPECIFIED.into())],
        };
        at.into_iter()
            .flatten()
            .map(move |at| format!("{}->{}/{}", SocketAddr::new(at, self.number), self.inner, self.protocol()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(host: Option<(u16, u16)>, inner: (u16, u16)) -> Publish {
        Publish { at: Some(Ipv4Addr::LOCALHOST.into()), host, inner, udp: false }
    }

    #[test]
    fn ports_are_held_and_found() {
        let (ports, held) = reserve(&[one(None, (80, 81))], false).map_err(|taken| taken.errno).unwrap();
        assert_eq!(ports.iter().map(|port| port.inner).collect::<Vec<_>>(), [80, 81]);
        let number = ports[0].number;
        assert!(number > 0);
        let again = [one(Some((number, number)), (90, 90))];
        let taken = reserve(&again, false).err().unwrap();
        assert_eq!((taken.errno, taken.port.number), (Errno::ADDRINUSE, number));
        // One of several, the first of which is taken.
        if number < u16::MAX - 20 {
            let (found, _) = reserve(&[one(Some((number, number + 20)), (90, 90))], false).ok().unwrap();
            assert!(found[0].number > number && found[0].inner == 90);
        }
        drop(held);
        assert!(reserve(&again, false).is_ok());
    }

    #[test]
    fn a_port_leads_to_each_kind_of_address() {
        let own: [Option<IpAddr>; 2] = [Some("10.91.0.2".parse().unwrap()), Some("fd00::2".parse().unwrap())];
        let port = Port { at: None, number: 8080, inner: 80, udp: true };
        assert_eq!(port.mappings(own).map(|mapping| mapping.to.0.is_ipv6()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(port.texts(true).collect::<Vec<_>>(), ["0.0.0.0:8080->80/udp", "[::]:8080->80/udp"]);
        let all4 = Port { at: Some(Ipv4Addr::UNSPECIFIED.into()), ..port };
        assert_eq!(all4.mappings(own).map(|mapping| mapping.at).collect::<Vec<_>>(), [None]);
        let one = Port { at: Some("::1".parse().unwrap()), udp: false, ..port };
        assert_eq!(one.mappings(own).map(|mapping| mapping.at).collect::<Vec<_>>(), [one.at]);
        assert_eq!(one.texts(true).collect::<Vec<_>>(), ["[::1]:8080->80/tcp"]);
    }
}
