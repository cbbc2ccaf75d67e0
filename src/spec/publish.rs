//! `--publish`, with docker's grammar: `[[IP:][HOSTPORT]:]PORT[/PROTOCOL]`, where a port may be a range.

use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::network::Publish;

pub(super) fn parse(typed: &str) -> Result<Publish> {
    let wrong = |what: &str| {
        Error::new(format!("--publish {typed}: {what}"))
            .hint("such as 8080:80, 127.0.0.1:8080:80/udp, [2001:db8::1]:8080:80, 8000-8010:80-90, or 80 for any port that is free")
    };
    let (rest, protocol) = typed.rsplit_once('/').unwrap_or((typed, "tcp"));
    let udp = match protocol {
        "tcp" => false,
        "udp" => true,
        _ => return Err(wrong("the protocol is tcp or udp")),
    };
    let (rest, inner) = rest.rsplit_once(':').map_or((None, rest), |(rest, inner)| (Some(rest), inner));
    let (at, host) = match rest {
        None => (None, ""),
        // An address of IPv6 has colons of its own.
        Some(rest) => match rest.rsplit_once(':') {
            Some((at, host)) if !host.ends_with(']') => (Some(at), host),
            _ if rest.starts_with('[') => (Some(rest), ""),
            _ => (None, rest),
        },
    };
    let at = at.map(|at| address(at).ok_or_else(|| wrong("that is no address of the host's"))).transpose()?.flatten();
    if at == Some(std::net::Ipv6Addr::LOCALHOST.into()) {
        return Err(Error::new(format!("--publish {typed}: the kernel passes on nothing that comes from ::1"))
            .hint("127.0.0.1 can be published at"));
    }
    let inner = range(inner).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?;
    let host = if host.is_empty() {
        None
    } else {
        Some(range(host).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?)
    };
    let length = |(from, to): (u16, u16)| to - from;
    if let Some(host) = host
        && length(host) != length(inner)
        && length(inner) != 0
    {
        return Err(wrong("the two ranges are not equally long"));
    }
    Ok(Publish { at, host, inner, udp })
}

/// Some(None): an empty one, all.
fn address(typed: &str) -> Option<Option<IpAddr>> {
    match typed {
        "" => Some(None),
        _ => match typed.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse().ok().filter(IpAddr::is_ipv6).map(Some),
            None => typed.parse().ok().filter(IpAddr::is_ipv4).map(Some),
        },
    }
}

fn range(typed: &str) -> Option<(u16, u16)> {
    let (from, to) = typed.split_once('-').unwrap_or((typed, typed));
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten().filter(|n| *n > 0)
    };
    let (from, to) = (number(from)?, number(to)?);
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_takes() {
        let of = |typed: &str| parse(typed).map_err(|error| error.to_string()).unwrap();
        let at = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let plain = Publish { at: None, host: Some((8080, 8080)), inner: (80, 80), udp: false };
        assert_eq!(of("8080:80"), plain);
        assert_eq!(of("8080:80/tcp"), plain);
        assert_eq!(of("8080:80/udp"), Publish { udp: true, ..plain.clone() });
        assert_eq!(of("80"), Publish { host: None, ..plain.clone() });
        assert_eq!(of(":80"), of("80"));
        assert_eq!(of("127.0.0.1:8080:80"), Publish { at: at("127.0.0.1"), ..plain.clone() });
        assert_eq!(of("127.0.0.1::80"), Publish { at: at("127.0.0.1"), host: None, ..plain.clone() });
        assert_eq!(of("[::2]:8080:80"), Publish { at: at("::2"), ..plain.clone() });
        assert_eq!(of("[::2]::80"), Publish { at: at("::2"), host: None, ..plain.clone() });
        assert_eq!(of("[::]:8080:80").at, at("::"));
        assert_eq!(of("0.0.0.0:8080:80").at, at("0.0.0.0"));
        assert_eq!(of("8000-8010:80-90/udp").inner, (80, 90));
        assert_eq!(of("8000-8010:80").host, Some((8000, 8010)));
        assert_eq!(of("8000-8010").inner, (8000, 8010));
    }

    #[test]
    fn what_it_does_not() {
        for wrong in [
            "",
            ":",
            "a",
            "0",
            "65536",
            "-1",
            "1-",
            "9-8",
            "80/",
            "80/icmp",
            "80/TCP/udp",
            "8080:",
            "8000-8010:80-91",
            "80:8000-8001",
            "1.2.3:80:80",
            "::1:80:80",
            "[::1:80:80",
            "[127.0.0.1]:80:80",
            "localhost:80:80",
            "+80",
            "[::1]:80:80",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
