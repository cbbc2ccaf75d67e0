//! `--userns`, `--uidmap` and `--gidmap`: which ids a container has.

use crate::cli;
use crate::error::{Error, Result};
use crate::linux::idmap::is_map;
use crate::linux::userns::Maps;
use crate::linux::users;

/// As many as users and groups of a distribution need: nobody is 65534.
const AUTO: u32 = 65536;

#[derive(Debug, PartialEq)]
pub(crate) enum Ids {
    /// Of an ordinary user: root inside is the caller; the ranges that it has follow from 1 on. Of root: the host's.
    Usual,
    /// So many that nobody else has. Of an ordinary user, who has no others than his own: as usual.
    Auto(u32),
    /// The caller has the same id inside; its ranges are around it.
    Keep,
    /// As they are, (inside, outside, how many).
    Given(Maps),
}

impl Ids {
    pub(crate) fn new(run: &cli::Run) -> Result<Self> {
        let given = !run.uidmap.is_empty() || !run.gidmap.is_empty();
        match run.userns.as_deref() {
            Some(kind) if given => {
                Err(Error::new(format_args!("--userns {kind} and --uidmap or --gidmap contradict each other")))
            }
            None if given => {
                let (users, groups) = (list("--uidmap", &run.uidmap)?, list("--gidmap", &run.gidmap)?);
                // One that is left out is like the other.
                Ok(Self::Given(match (users.is_empty(), groups.is_empty()) {
                    (true, _) => Maps { users: groups.clone(), groups },
                    (_, true) => Maps { groups: users.clone(), users },
                    _ => Maps { users, groups },
                }))
            }
            None | Some("host") => Ok(Self::Usual),
            Some("auto") => Ok(Self::Auto(AUTO)),
            Some("keep-id") => Ok(Self::Keep),
            Some(kind) if kind.as_bytes().first().is_some_and(u8::is_ascii_digit) => {
                let map = list("--userns", &[kind.to_string()])?;
                Ok(Self::Given(Maps { users: map.clone(), groups: map }))
            }
            Some(kind) => match kind.strip_prefix("auto:size=").map(|size| users::id(size.as_bytes())) {
                Some(Some(Ok(size @ 1..))) => Ok(Self::Auto(size)),
                Some(_) => Err(Error::new(format_args!("--userns {kind}: that is no number of ids"))),
                None => Err(Error::new(format_args!("--userns {kind} is unknown"))
                    .hint("it is host, auto, auto:size=N, keep-id or INSIDE:OUTSIDE:COUNT[,…]")),
            },
        }
    }

    /// What was asked for by name. None: nothing.
    pub(crate) fn asked(run: &cli::Run) -> Option<&'static str> {
        match run.userns.as_deref() {
            _ if !run.uidmap.is_empty() => Some("--uidmap"),
            _ if !run.gidmap.is_empty() => Some("--gidmap"),
            None | Some("host") => None,
            Some(_) => Some("--userns"),
        }
    }
}

/// `INSIDE:OUTSIDE:COUNT`, with commas between several; what no kernel takes is refused (CVE-2021-43784: nothing is cut short).
fn list(option: &str, typed: &[String]) -> Result<Vec<[u32; 3]>> {
    let range = |text: &str| {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let mut parts = text.split(':').map(number);
        let range = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(range)
    };
    let all: Option<Vec<[u32; 3]>> = typed.iter().flat_map(|typed| typed.split(',')).map(range).collect();
    all.filter(|ranges| is_map(ranges)).ok_or_else(|| {
        let shown: String = typed.join(",").chars().take(100).collect();
        Error::new(format_args!("{option} {shown} is no map of ids")).hint(
            "INSIDE:OUTSIDE:COUNT, such as 0:100000:65536; 340 ranges at most, none of which has an id of another",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(userns: Option<&str>, uidmap: &[&str], gidmap: &[&str]) -> Result<Ids> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_string()).collect();
        let (uidmap, gidmap) = (strings(uidmap), strings(gidmap));
        Ids::new(&cli::Run { userns: userns.map(String::from), uidmap, gidmap, ..cli::Run::default() })
    }

    fn maps(users: &[[u32; 3]], groups: &[[u32; 3]]) -> Ids {
        Ids::Given(Maps { users: users.to_vec(), groups: groups.to_vec() })
    }

    #[test]
    fn kinds_and_maps() {
        assert_eq!(of(None, &[], &[]).unwrap(), Ids::Usual);
        assert_eq!(of(Some("host"), &[], &[]).unwrap(), Ids::Usual);
        assert_eq!(of(Some("auto"), &[], &[]).unwrap(), Ids::Auto(65536));
        assert_eq!(of(Some("auto:size=9"), &[], &[]).unwrap(), Ids::Auto(9));
        for wrong in ["auto:", "auto:size=", "auto:size=0", "auto:size=-1", "auto:size=4294967296", "auto:sizes=1"] {
            assert!(of(Some(wrong), &[], &[]).is_err(), "{wrong}");
        }
        assert_eq!(of(Some("keep-id"), &[], &[]).unwrap(), Ids::Keep);
        let both = maps(&[[0, 7, 1], [1, 100, 9]], &[[0, 7, 1], [1, 100, 9]]);
        assert_eq!(of(Some("0:7:1,1:100:9"), &[], &[]).unwrap(), both);
        assert_eq!(of(None, &["0:7:1", "1:100:9"], &[]).unwrap(), both);
        assert_eq!(of(None, &[], &["0:7:1,1:100:9"]).unwrap(), both);
        assert_eq!(of(None, &["0:7:1"], &["0:8:1"]).unwrap(), maps(&[[0, 7, 1]], &[[0, 8, 1]]));
    }

    #[test]
    fn what_no_kernel_takes_is_refused() {
        for wrong in [
            "0",
            "0:1",
            "0:1:",
            ":1:1",
            "0:1:0",
            "0:1:1:1",
            "+0:1:1",
            "-1:1:1",
            "0:1:1,",
            " 0:1:1",
            "0x0:1:1",
            "4294967295:1:1",
            "0:4294967295:1",
            "4294967290:0:6",
            "0:4294967290:6",
            "99999999999:1:1",
            "0:1:5,4:9:1",
            "0:1:5,9:5:1",
            "a:b:c",
        ] {
            assert!(of(None, &[wrong], &[]).is_err(), "{wrong}");
            assert!(of(None, &[], &[wrong]).is_err(), "{wrong}");
        }
        // CVE-2021-43784: more than a netlink attribute of 64 KiB holds.
        let long = (0..20_000).map(|n| format!("{n}:{n}:1")).collect::<Vec<_>>().join(",");
        assert!(long.len() > 1 << 16);
        let error = of(None, &[&long], &[]).unwrap_err().to_string();
        assert!(error.len() < 400, "{error}");
        assert!(of(Some("sky"), &[], &[]).is_err() && of(Some(""), &[], &[]).is_err());
        assert!(of(Some("keep-id"), &["0:1:1"], &[]).is_err());
    }
}
