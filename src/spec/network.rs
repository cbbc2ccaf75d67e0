//! Which network a container has.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Namespace, c_string, container_name};
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::net::Upon;
use crate::network::{self, Publish};

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
    /// An interface that stands on this one of the host's.
    Upon(Upon, CString),
    /// This interface of the host's itself.
    Physical(CString),
    /// What the program pasta passes on, with these options.
    Pasta(Vec<CString>),
}

/// As typed: ADDRESS[/PREFIX].
type Given<T> = Option<(T, Option<u8>)>;

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) kind: Kind,
    pub(crate) ip: Given<Ipv4Addr>,
    pub(crate) ip6: Given<Ipv6Addr>,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) publish: Vec<Publish>,
}

impl Network {
    pub(super) fn new(typed: &cli::Net) -> Result<Self> {
        let kind = kind(typed.network.as_deref().unwrap_or("host"))?;
        let addresses = matches!(kind, Kind::Bridge(_) | Kind::Upon(..) | Kind::Physical(_));
        let given = [
            ("--ip", &typed.ip, addresses),
            ("--ip6", &typed.ip6, addresses),
            // Those on an ipvlan have the address of the one below.
            ("--mac-address", &typed.mac, matches!(kind, Kind::Bridge(_) | Kind::Upon(Upon::Macvlan, _))),
        ];
        if let Some((option, ..)) = given.iter().find(|(_, typed, may)| typed.is_some() && !may) {
            return Err(match kind {
                Kind::Container(other) => Error::new(format!("{option} with the network of another container"))
                    .hint(format!("{other} has its addresses already")),
                _ => Error::new(format!("{option} is for a container with an interface of its own"))
                    .hint("add --network bridge"),
            });
        }
        let (ip, ip6) = (address("--ip", typed.ip.as_deref(), 32)?, address("--ip6", typed.ip6.as_deref(), 128)?);
        let prefixes = [("--ip", ip.and_then(|(_, prefix)| prefix)), ("--ip6", ip6.and_then(|(_, prefix)| prefix))];
        if let (Kind::Bridge(_), Some((option, _))) = (&kind, prefixes.iter().find(|(_, prefix)| prefix.is_some())) {
            return Err(
                Error::new(format!("{option} on a bridge is an address alone")).hint("the network has the prefix")
            );
        }
        let publish: Vec<Publish> =
            typed.publish.iter().map(|typed| super::publish::parse(typed)).collect::<Result<_>>()?;
        if !matches!(kind, Kind::Bridge(_)) && !publish.is_empty() {
            return Err(match kind {
                Kind::Host => Error::new("--publish is for a container with a network of its own")
                    .hint("with the host's, every port is there already; or add --network bridge"),
                _ => Error::new("--publish is for a container on a bridge").hint("add --network bridge"),
            });
        }
        Ok(Self { kind, ip, ip6, mac: typed.mac.as_deref().map(mac).transpose()?, publish })
    }

    /// Its namespace, as far as that is known already.
    pub(super) fn namespace(&self) -> Namespace {
        match &self.kind {
            Kind::Host => Namespace::Host,
            Kind::Path(path) => Namespace::Path(path.clone()),
            // Which process has it will be found out.
            Kind::Container(_) => Namespace::Path(CString::default()),
            Kind::None | Kind::Bridge(_) | Kind::Upon(..) | Kind::Physical(_) | Kind::Pasta(_) => Namespace::Private,
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
        ("macvlan", Some(parent)) => Kind::Upon(Upon::Macvlan, interface(parent)?),
        ("ipvlan", Some(parent)) => Kind::Upon(Upon::Ipvlan, interface(parent)?),
        ("phys", Some(name)) => Kind::Physical(interface(name)?),
        ("macvlan" | "ipvlan" | "phys", None) => {
            return Err(Error::new(format!("--network {kind} without an interface of the host's"))
                .hint(format!("--network {kind}:eth0")));
        }
        ("pasta", options) => Kind::Pasta(pasta(options.unwrap_or_default())?),
        (path, None) if path.starts_with('/') => Kind::Path(c_string("--network", path.into())?),
        // docker's way to say it.
        (name, None) => Kind::Bridge(container_name("--network", name.into())?),
        _ => {
            return Err(Error::new(format!("--network {typed} is unknown"))
                .hint("it is host, none, bridge[:NAME], container:NAME, ns:PATH, macvlan:IFACE, ipvlan:IFACE, phys:IFACE or pasta"));
        }
    })
}

/// A name of an interface: 1 to 15 bytes, as dev_valid_name() of the kernel takes them.
fn interface(name: &str) -> Result<CString> {
    let valid = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || !name.bytes().all(valid) {
        return Err(Error::new(format!("--network: {name} is no name of an interface")).hint("ip link lists them"));
    }
    c_string("--network", name.into())
}

/// As podman takes them: with commas between them.
fn pasta(options: &str) -> Result<Vec<CString>> {
    options.split(',').filter(|word| !word.is_empty()).map(|word| c_string("--network pasta", word.into())).collect()
}

fn address<T: std::str::FromStr + Copy + Into<IpAddr>>(
    option: &str,
    typed: Option<&str>,
    bits: u8,
) -> Result<Given<T>> {
    let Some(typed) = typed else { return Ok(None) };
    let (address, prefix) = typed.split_once('/').map_or((typed, None), |(address, prefix)| (address, Some(prefix)));
    let prefix = prefix.map(|prefix| prefix.parse().ok().filter(|prefix| (1..=bits).contains(prefix)));
    // Some of them the kernel takes, and nothing comes of it.
    let of_a_host = |address: &T| {
        let address: IpAddr = (*address).into();
        !(address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address == IpAddr::from([255; 4]))
    };
    match (address.parse().ok().filter(of_a_host).ok_or(()), prefix) {
        (Ok(address), None) => Ok(Some((address, None))),
        (Ok(address), Some(Some(prefix))) => Ok(Some((address, Some(prefix)))),
        _ => Err(Error::new(format!("{option} {typed} is no address of a host"))),
    }
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
        assert_eq!(of("macvlan:eth0.5"), Ok(Kind::Upon(Upon::Macvlan, c"eth0.5".into())));
        assert_eq!(of("ipvlan:eth0"), Ok(Kind::Upon(Upon::Ipvlan, c"eth0".into())));
        assert_eq!(of("phys:can0"), Ok(Kind::Physical(c"can0".into())));
        assert_eq!(of("pasta"), Ok(Kind::Pasta(Vec::new())));
        assert_eq!(of("pasta:-t,8080:80"), Ok(Kind::Pasta(vec![c"-t".into(), c"8080:80".into()])));
        let none = ["macvlan", "phys:", "phys:a/b", "ipvlan:0123456789abcdef", "macvlan:..", "phys:a b"];
        for wrong in ["host:x", "bridge:", "bridge:../x", "container:", "ns:", "", "sky:x"].into_iter().chain(none) {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_go_where_there_is_an_interface() {
        let of = |network: &str, ip: &str| {
            let (network, ip) = (Some(network.into()), Some(ip.into()));
            Network::new(&cli::Net { network, ip, ..cli::Net::default() }).map(|network| network.ip)
        };
        let ip = Ipv4Addr::new(10, 0, 0, 9);
        assert_eq!(of("macvlan:eth0", "10.0.0.9/24").unwrap(), Some((ip, Some(24))));
        assert_eq!(of("phys:eth0", "10.0.0.9").unwrap(), Some((ip, None)));
        for (network, wrong) in [
            ("bridge", "10.0.0.9/24"),
            ("container:web", "10.0.0.9"),
            ("host", "10.0.0.9"),
            ("pasta", "10.0.0.9"),
            ("macvlan:eth0", "10.0.0.9/33"),
            ("macvlan:eth0", "10.0.0.9/0"),
            ("macvlan:eth0", "10.0.0"),
            ("macvlan:eth0", "0.0.0.0/24"),
            ("macvlan:eth0", "224.0.0.5/24"),
            ("macvlan:eth0", "127.0.0.1/8"),
        ] {
            assert!(of(network, wrong).is_err(), "{network} {wrong}");
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
