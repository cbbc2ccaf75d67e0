//! Which network a container has.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Namespace, c_string, container_name};
use crate::cli;
use crate::error::{Error, Result};
use crate::network;

/// Where a container's network namespace comes from, and what is in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// The host's, with all that it has.
    Host,
    /// One of its own, in which it talks to itself alone.
    None,
    /// An existing namespace, by its file.
    Path(CString),
    /// That of another container, by its id or name.
    Container(String),
    /// A pair of interfaces to the bridge of a network.
    Bridge(String),
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) kind: Kind,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
    pub(crate) mac: Option<[u8; 6]>,
}

impl Network {
    pub(super) fn new(typed: &cli::Net) -> Result<Self> {
        let kind = kind(typed.network.as_deref().unwrap_or("host"))?;
        let given = [("--ip", &typed.ip), ("--ip6", &typed.ip6), ("--mac-address", &typed.mac)];
        if !matches!(kind, Kind::Bridge(_))
            && let Some((option, _)) = given.iter().find(|(_, typed)| typed.is_some())
        {
            return Err(Error::new(format!("{option} is for a container with an interface of its own"))
                .hint("add --network bridge"));
        }
        Ok(Self {
            kind,
            ip: address("--ip", typed.ip.as_deref())?,
            ip6: address("--ip6", typed.ip6.as_deref())?,
            mac: typed.mac.as_deref().map(mac).transpose()?,
        })
    }

    /// Its namespace, as far as that is known already.
    pub(super) fn namespace(&self) -> Namespace {
        match &self.kind {
            Kind::Host => Namespace::Host,
            Kind::Path(path) => Namespace::Path(path.clone()),
            // Which process has it will be found out.
            Kind::Container(_) => Namespace::Path(CString::default()),
            Kind::None | Kind::Bridge(_) => Namespace::Private,
        }
    }
}

fn kind(typed: &str) -> Result<Kind> {
    let (kind, of) = typed.split_once(':').map_or((typed, None), |(kind, of)| (kind, Some(of)));
    Ok(match (kind, of) {
        ("host", None) => Kind::Host,
        ("none" | "private", None) => Kind::None,
        ("bridge" | "default", None) => Kind::Bridge(network::DEFAULT.into()),
        ("bridge", Some(name)) => Kind::Bridge(container_name("--network", name.into())?),
        ("container", Some(container)) => Kind::Container(container_name("--network container:", container.into())?),
        ("ns", Some(path)) => Kind::Path(c_string("--network ns:", path.into())?),
        (path, None) if path.starts_with('/') => Kind::Path(c_string("--network", path.into())?),
        // docker's way to say it.
        (name, None) => Kind::Bridge(container_name("--network", name.into())?),
        _ => {
            return Err(Error::new(format!("--network {typed} is unknown"))
                .hint("it is host, none, bridge, bridge:NAME, container:NAME or ns:PATH"));
        }
    })
}

fn address<T: std::str::FromStr>(option: &str, typed: Option<&str>) -> Result<Option<T>> {
    let Some(typed) = typed else { return Ok(None) };
    typed.parse().map(Some).map_err(|_| Error::new(format!("{option} {typed} is no address")))
}

/// Six bytes in hexadecimal; not one of a group of interfaces.
fn mac(typed: &str) -> Result<[u8; 6]> {
    let wrong = || {
        Error::new(format!("--mac-address {typed} is none"))
            .hint("such as 02:42:0a:5b:00:02; the first byte is even, and not all are zero")
    };
    let mut bytes = [0u8; 6];
    let mut parts = typed.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] { Err(wrong()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_networks() {
        let of = |typed: &str| kind(typed).map_err(|error| error.to_string());
        assert_eq!(of("host"), Ok(Kind::Host));
        assert_eq!(of("bridge"), Ok(Kind::Bridge("bridge".into())));
        assert_eq!(of("bridge:lan"), Ok(Kind::Bridge("lan".into())));
        assert_eq!(of("lan"), Ok(Kind::Bridge("lan".into())));
        assert_eq!(of("container:web"), Ok(Kind::Container("web".into())));
        assert_eq!(of("/proc/1/ns/net"), of("ns:/proc/1/ns/net"));
        for wrong in ["host:x", "bridge:", "bridge:../x", "container:", "ns:", "", "sky:x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_of_interfaces() {
        assert_eq!(mac("02:42:0a:5b:00:fF").unwrap(), [2, 0x42, 10, 0x5b, 0, 255]);
        for wrong in
            ["", "02:42:0a:5b:00", "02:42:0a:5b:00:02:03", "01:00:00:00:00:00", "0:0:0:0:0:0", "zz:42:0a:5b:00:02"]
        {
            assert!(mac(wrong).is_err(), "{wrong}");
        }
    }
}
