//! What was asked for, in the user's words but checked: sizes are numbers, names are valid, contradictions are
//! gone. Defaults live here and only here.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli;
use crate::error::{Error, Result};
use crate::linux::file;

/// Where one of the container's namespaces comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Namespace {
    /// The caller's own.
    Host,
    /// A new one.
    Private,
    /// An existing one, by its file.
    Path(CString),
}

#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) uts: Namespace,
    pub(crate) pid: Namespace,
    pub(crate) ipc: Namespace,
    pub(crate) cgroup: Namespace,
    pub(crate) net: Namespace,
}

/// Resource limits; what is None is not limited.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Microseconds of processor time per [`CPU_PERIOD`].
    pub(crate) cpu_quota: Option<u64>,
    /// Tasks (processes and threads).
    pub(crate) pids: Option<u64>,
    /// A cpulist as cpuset(7) writes it.
    pub(crate) cpuset: Option<String>,
}

/// The period of the processor limit in microseconds: the kernel's own default.
pub(crate) const CPU_PERIOD: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) namespaces: Namespaces,
    pub(crate) hostname: Option<CString>,
    pub(crate) domainname: Option<CString>,
    /// nsctl itself is PID 1 and the command its child.
    pub(crate) init: bool,
    /// Changes to the caller's environment, in order; None takes the caller's value.
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) workdir: Option<CString>,
    pub(crate) name: Option<String>,
    pub(crate) pidfile: Option<CString>,
    /// How many descriptors from 3 on the command keeps.
    pub(crate) preserve_fds: u32,
    pub(crate) limits: Limits,
    /// Whether `ps` shall list it.
    pub(crate) listed: bool,
    pub(crate) argv: Vec<CString>,
}

impl Spec {
    pub(crate) fn new(run: cli::Run) -> Result<Self> {
        let namespaces = Namespaces {
            uts: namespace("--uts", run.uts, Namespace::Private)?,
            pid: namespace("--pid", run.pid, Namespace::Private)?,
            ipc: namespace("--ipc", run.ipc, Namespace::Private)?,
            cgroup: namespace("--cgroupns", run.cgroupns, Namespace::Private)?,
            net: namespace("--net", run.net, Namespace::Host)?,
        };
        let hostname = uts_name("--hostname", run.hostname, &namespaces.uts)?;
        let default = (namespaces.uts == Namespace::Private).then(|| c"container".into());
        Ok(Self {
            hostname: hostname.or(default),
            domainname: uts_name("--domainname", run.domainname, &namespaces.uts)?,
            // Only PID 1 of a namespace can be its init.
            init: !run.no_init && namespaces.pid == Namespace::Private,
            env: environment(&run.env, &run.env_file)?,
            workdir: run.workdir.map(|dir| c_string("--workdir", dir)).transpose()?,
            name: run.name.map(name).transpose()?,
            pidfile: run.pidfile.map(|file| c_string("--pidfile", file)).transpose()?,
            preserve_fds: number("--preserve-fds", run.preserve_fds.as_deref(), 1024)?.unwrap_or(0),
            limits: Limits {
                memory: run.memory.as_deref().map(size).transpose()?,
                cpu_quota: run.cpus.as_deref().map(cpus).transpose()?,
                pids: run.pids_limit.as_deref().map(pids).transpose()?.flatten(),
                cpuset: run.cpuset_cpus.map(cpulist).transpose()?,
            },
            listed: true,
            argv: run.argv.into_iter().map(|arg| c_string("argument", arg)).collect::<Result<_>>()?,
            namespaces,
        })
    }

    /// `nsctl simple`: UTS, PID and mount namespaces and nothing else.
    pub(crate) fn simple(shell: &str) -> Result<Self> {
        let host = || Some("host".to_string());
        let run = cli::Run {
            ipc: host(),
            cgroupns: host(),
            no_init: true,
            argv: vec![shell.into()],
            ..cli::Run::default()
        };
        Ok(Self { listed: false, ..Self::new(run)? })
    }
}

fn namespace(option: &str, typed: Option<String>, default: Namespace) -> Result<Namespace> {
    match typed.as_deref() {
        None => Ok(default),
        Some("host") => Ok(Namespace::Host),
        Some("private") => Ok(Namespace::Private),
        Some("none") if option == "--net" => Ok(Namespace::Private),
        Some(path) if path.starts_with('/') => Ok(Namespace::Path(c_string(option, path.into())?)),
        Some(other) => Err(Error::new(format!("{option} {other} is no namespace"))
            .hint("it is host, private, or the path of a namespace such as /proc/1/ns/net")),
    }
}

/// A host or domain name as sethostname(2) takes it: 1 to 64 bytes.
fn uts_name(option: &str, typed: Option<String>, uts: &Namespace) -> Result<Option<CString>> {
    let Some(name) = typed else { return Ok(None) };
    if *uts != Namespace::Private {
        return Err(Error::new(format!("{option} {name} would rename a UTS namespace that is not the container's"))
            .hint("leave --uts out"));
    }
    if name.is_empty() || name.len() > 64 {
        return Err(Error::new(format!("{option} must have 1 to 64 bytes, not {}", name.len())));
    }
    c_string(option, name.into()).map(Some)
}

fn environment(set: &[OsString], files: &[OsString]) -> Result<Vec<(OsString, Option<OsString>)>> {
    let mut changes = Vec::new();
    for path in files {
        let shown = path.display();
        let c_path = c_string("--env-file", path.clone())?;
        let text = file::read(rustix::fs::CWD, &c_path)
            .map_err(|errno| Error::os(format!("read --env-file {shown}"), errno))?;
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii_start();
            if !line.is_empty() && line[0] != b'#' {
                let at = format!("--env-file {shown}, line {}", number + 1);
                changes.push(variable(&at, line)?);
            }
        }
    }
    for typed in set {
        changes.push(variable("--env", typed.as_bytes())?);
    }
    Ok(changes)
}

fn variable(at: &str, text: &[u8]) -> Result<(OsString, Option<OsString>)> {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() || text.contains(&0) {
        return Err(Error::new(format!("{at}: not a variable")).hint("it is NAME=VALUE or NAME"));
    }
    Ok((OsString::from_vec(name.to_vec()), parts.next().map(|value| OsString::from_vec(value.to_vec()))))
}

fn c_string(what: &str, text: OsString) -> Result<CString> {
    if text.is_empty() && what.starts_with("--") {
        return Err(Error::new(format!("{what} is empty")));
    }
    CString::new(text.into_vec()).map_err(|_| Error::new(format!("{what} has a NUL byte in it")))
}

/// Container names: what docker allows, so that no name is a path or an option.
fn name(name: String) -> Result<String> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Ok(name);
    }
    Err(Error::new(format!("--name {name} is not a name"))
        .hint("a letter or digit, then letters, digits, '_', '.' or '-', 128 at most"))
}

fn number(option: &str, typed: Option<&str>, max: u32) -> Result<Option<u32>> {
    let Some(typed) = typed else { return Ok(None) };
    match typed.parse() {
        Ok(value) if value <= max => Ok(Some(value)),
        _ => Err(Error::new(format!("{option} {typed} is not a number from 0 to {max}"))),
    }
}

/// Bytes, with an optional unit of 1024: b, k, m, g or t in either case (docker's rule).
fn size(typed: &str) -> Result<u64> {
    let wrong = || Error::new(format!("--memory {typed} is not a size")).hint("such as 64m, 1g or 67108864");
    let lower = typed.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        Some(b't') => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = if plain { digits.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    value.checked_mul(1 << shift).filter(|bytes| (1..=i64::MAX as u64).contains(bytes)).ok_or_else(wrong)
}

/// A number of processors with up to three decimals → microseconds per period. The kernel's least quota is 1 ms.
fn cpus(typed: &str) -> Result<u64> {
    let wrong =
        || Error::new(format!("--cpus {typed} is not a number of processors")).hint("0.01 or more, such as 0.5");
    let (whole, fraction) = typed.split_once('.').unwrap_or((typed, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole)
        || !digits(fraction)
        || fraction.len() > 5
        || typed.is_empty()
        || typed == "."
        || whole.len() > 5
    {
        return Err(wrong());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let fraction: u64 = format!("{fraction:0<5}").parse().map_err(|_| wrong())?;
    let quota = whole * CPU_PERIOD + fraction;
    if quota < 1_000 { Err(wrong()) } else { Ok(quota) }
}

/// -1 is docker's word for no limit.
fn pids(typed: &str) -> Result<Option<u64>> {
    match typed.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit) if limit > 0 => Ok(Some(limit as u64)),
        _ => {
            Err(Error::new(format!("--pids-limit {typed} is not a number of tasks"))
                .hint("1 or more, or -1 for none"))
        }
    }
}

fn cpulist(typed: String) -> Result<String> {
    let item = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
    };
    if typed.split(',').all(item) {
        return Ok(typed);
    }
    Err(Error::new(format!("--cpuset-cpus {typed} is not a list of processors")).hint("such as 0-2,7"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (typed, bytes) in [("1", 1), ("512k", 512 << 10), ("64m", 64 << 20), ("64MB", 64 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(size(typed).unwrap(), bytes, "{typed}");
        }
        for typed in ["", "m", "0", "-1", "+1", "1.5g", "1x", "0x10", "99999999t", "18446744073709551616"] {
            assert!(size(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn processors() {
        for (typed, quota) in [("1", 100_000), ("0.5", 50_000), (".25", 25_000), ("2.", 200_000), ("0.01", 1_000)] {
            assert_eq!(cpus(typed).unwrap(), quota, "{typed}");
        }
        for typed in ["", ".", "0", "-1", "1e3", "0.001", "1,5", "0.1234567"] {
            assert!(cpus(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn tasks_and_lists() {
        assert_eq!(pids("20").unwrap(), Some(20));
        assert_eq!(pids("-1").unwrap(), None);
        assert!(pids("0").is_err() && pids("x").is_err() && pids("-2").is_err());
        assert_eq!(cpulist("0-2,7".into()).unwrap(), "0-2,7");
        for typed in ["", "2-1", "a", "1,", "0 1", "0\n1", "0-"] {
            assert!(cpulist(typed.into()).is_err(), "{typed}");
        }
    }

    #[test]
    fn names_are_never_paths() {
        assert!(name("web-1.a_B".into()).is_ok());
        for wrong in ["", ".", "..", "-x", "a/b", "@web", "a b", "ä", &"x".repeat(129)] {
            assert!(name(wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn namespaces_are_host_private_or_a_path() {
        assert_eq!(namespace("--net", None, Namespace::Host).unwrap(), Namespace::Host);
        assert_eq!(namespace("--net", Some("none".into()), Namespace::Host).unwrap(), Namespace::Private);
        assert_eq!(
            namespace("--uts", Some("/proc/1/ns/uts".into()), Namespace::Private).unwrap(),
            Namespace::Path(c"/proc/1/ns/uts".into())
        );
        assert!(namespace("--uts", Some("none".into()), Namespace::Private).is_err());
        assert!(uts_name("--hostname", Some("x".into()), &Namespace::Host).is_err());
        assert!(uts_name("--hostname", Some("x".repeat(65)), &Namespace::Private).is_err());
    }

    #[test]
    fn variables() {
        assert_eq!(variable("x", b"A=b=c").unwrap(), ("A".into(), Some("b=c".into())));
        assert_eq!(variable("x", b"A").unwrap(), ("A".into(), None));
        assert_eq!(variable("x", b"A=").unwrap(), ("A".into(), Some("".into())));
        assert!(variable("x", b"=b").is_err() && variable("x", b"A=\0").is_err());
    }
}
