//! What a container's processes may do: docker's defaults, and what was asked for instead.

use std::ffi::CString;

use rustix::fs::CWD;
use rustix::process::Resource;

use super::label;
use crate::cli;
use crate::error::{Error, Result};
use crate::json;
use crate::linux::{caps, file};
use crate::seccomp::Filter;
use crate::state::{Privileges, ResourceLimit, Seccomp};

/// By docker's names, which are those of the shell's ulimit in words (setrlimit(2)).
const RESOURCES: &[(&str, Resource)] = &[
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// What a file that is made is not by default: as runc has it, whatever the caller's is.
const UMASK: u32 = 0o022;

impl Privileges {
    pub(crate) fn new(typed: &cli::Privileges) -> Result<Self> {
        let (capabilities, given) = capabilities(typed)?;
        let mut privileges = Self {
            privileged: typed.privileged,
            capabilities,
            given,
            no_new_privs: !typed.privileged,
            unmasked: typed.privileged,
            umask: Some(typed.umask.as_deref().map_or(Ok(UMASK), umask)?),
            nice: typed.nice.as_deref().map(nice).transpose()?,
            seccomp: if typed.privileged { Seccomp::Unconfined } else { Seccomp::Default },
            limits: Vec::new(),
            landlock: None,
            apparmor: None,
            selinux: None,
        };
        for typed in &typed.ulimit {
            let limit = ulimit(typed)?;
            privileges.limits.retain(|other| other.name != limit.name);
            privileges.limits.push(limit);
        }
        typed.security_opt.iter().try_for_each(|typed| privileges.security_opt(typed))?;
        Ok(privileges)
    }

    /// As the caller: nothing is given up.
    pub(crate) fn of_the_caller() -> Self {
        Self {
            privileged: false,
            capabilities: caps::ALL,
            given: 0,
            no_new_privs: false,
            unmasked: true,
            umask: None,
            nice: None,
            seccomp: Seccomp::Unconfined,
            limits: Vec::new(),
            landlock: None,
            apparmor: None,
            selinux: None,
        }
    }

    pub(crate) fn is_the_callers(&self) -> bool {
        *self == Self::of_the_caller()
    }

    fn security_opt(&mut self, typed: &str) -> Result<()> {
        // docker wrote a colon once.
        let (name, value) = typed.split_once(['=', ':']).unwrap_or((typed, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => self.no_new_privs = true,
            ("no-new-privileges", "false") => self.no_new_privs = false,
            ("seccomp", "unconfined") => self.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => self.seccomp = Seccomp::Default,
            ("seccomp", profile) if !profile.is_empty() => self.seccomp = Seccomp::Profile,
            ("systempaths" | "unmask", "unconfined" | "ALL" | "all") => self.unmasked = true,
            ("label", part) => self.selinux = label::selinux(self.selinux.take(), part)?,
            ("apparmor", profile) => self.apparmor = label::apparmor(profile)?,
            _ => {
                return Err(Error::new(format_args!("--security-opt {typed} is unknown")).hint(
                    "there are no-new-privileges[=false], seccomp=…, systempaths=unconfined, label=… and apparmor=…",
                ));
            }
        }
        Ok(())
    }
}

/// The filter of system calls; None: it has none.
pub(super) fn seccomp(typed: &cli::Privileges, privileges: &Privileges) -> Result<Option<Filter>> {
    match privileges.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default => Ok(Some(Filter::default(privileges.capabilities))),
        Seccomp::Profile => {
            let value = |typed: &String| Some(typed.strip_prefix("seccomp")?.get(1..)?.to_string());
            let path = typed.security_opt.iter().rev().find_map(value).unwrap_or_default();
            let what = format_args!("the seccomp profile {path}").to_string();
            let file = CString::new(path).map_err(|_| Error::new(format_args!("{what} has a NUL in its name")))?;
            let text = file::open(CWD, &file).and_then(|fd| file::read_all(fd, json::MOST as usize));
            let text = text.map_err(|errno| Error::os(format_args!("read {what}"), errno))?;
            let filter = Filter::profile(&text, privileges.capabilities);
            filter.map(Some).map_err(|error| error.within(what))
        }
    }
}

/// docker's rule: what is added comes after what is dropped, unless all is added.
fn capabilities(typed: &cli::Privileges) -> Result<(u64, u64)> {
    let add = masks("--cap-add", &typed.cap_add)?;
    let drop = masks("--cap-drop", &typed.cap_drop)?;
    let base = if typed.privileged { caps::ALL } else { caps::DEFAULT };
    let all = if add == caps::ALL { caps::ALL & !drop } else { base & !drop | add };
    Ok((all, all & add))
}

fn masks(option: &str, typed: &[String]) -> Result<u64> {
    let names = typed.iter().flat_map(|typed| typed.split(','));
    names.map(|name| mask(option, name)).try_fold(0, |all, one| Ok(all | one?))
}

fn mask(option: &str, name: &str) -> Result<u64> {
    if name.eq_ignore_ascii_case("all") {
        return Ok(caps::ALL);
    }
    caps::by_name(name).ok_or_else(|| {
        Error::new(format_args!("{option} {name} is no capability"))
            .hint("such as NET_ADMIN, CAP_NET_ADMIN or ALL: capabilities(7) has them all")
    })
}

/// `nofile=1024[:2048]`; the hard one is the soft one if it is not said, and -1 is none.
fn ulimit(typed: &str) -> Result<ResourceLimit> {
    let wrong = |hint: String| Error::new(format_args!("--ulimit {typed} is no limit")).hint(hint);
    let usual = || wrong("such as nofile=1024, nofile=1024:2048, or core=-1 for none".into());
    let (name, values) = typed.split_once('=').ok_or_else(usual)?;
    if !RESOURCES.iter().any(|(known, _)| *known == name) {
        let names: Vec<_> = RESOURCES.iter().map(|(name, _)| *name).collect();
        return Err(wrong(format!("there are {}", names.join(", "))));
    }
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| usual()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err(wrong("the first, soft one must not be above the hard one".into()));
    }
    Ok(ResourceLimit { name: name.into(), soft, hard })
}

/// What setrlimit(2) calls it.
pub(crate) fn resource(name: &str) -> Option<Resource> {
    RESOURCES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource)
}

fn umask(typed: &str) -> Result<u32> {
    match u32::from_str_radix(typed, 8) {
        Ok(mask) if mask <= 0o777 && typed.bytes().all(|byte| byte.is_ascii_digit()) => Ok(mask),
        _ => Err(Error::new(format_args!("--umask {typed} is none")).hint("octal digits, such as 0022 or 077")),
    }
}

fn nice(typed: &str) -> Result<i32> {
    match typed.parse() {
        Ok(value) if (-20..=19).contains(&value) => Ok(value),
        _ => Err(Error::new(format_args!("--nice {typed} is not a number from -20 to 19"))),
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    let some = || vec![text.to_string()];
    for typed in [
        cli::Privileges { cap_add: some(), ..cli::Privileges::default() },
        cli::Privileges { cap_drop: some(), privileged: true, ..cli::Privileges::default() },
        cli::Privileges { ulimit: some(), ..cli::Privileges::default() },
        cli::Privileges { security_opt: some(), ..cli::Privileges::default() },
        cli::Privileges { nice: Some(text.into()), ..cli::Privileges::default() },
        cli::Privileges { umask: Some(text.into()), ..cli::Privileges::default() },
    ] {
        let _ = Privileges::new(&typed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(add: &[&str], drop: &[&str]) -> cli::Privileges {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_string()).collect();
        cli::Privileges { cap_add: strings(add), cap_drop: strings(drop), ..Default::default() }
    }

    #[test]
    fn what_is_added_and_dropped() {
        let of = |add: &[&str], drop: &[&str]| capabilities(&typed(add, drop)).unwrap();
        let (chown, admin) = (1, 1 << 21);
        assert_eq!(of(&[], &[]), (caps::DEFAULT, 0));
        assert_eq!(of(&["SYS_ADMIN"], &["CHOWN"]), (caps::DEFAULT & !chown | admin, admin));
        assert_eq!(of(&["CHOWN"], &["ALL"]), (chown, chown));
        assert_eq!(of(&["cap_chown,sys_admin"], &["all"]), (chown | admin, chown | admin));
        assert_eq!(of(&["ALL"], &["CHOWN"]), (!chown, !chown));
        assert_eq!(of(&[], &["ALL"]), (0, 0));
        let privileged = cli::Privileges { privileged: true, ..typed(&[], &["CHOWN"]) };
        assert_eq!(capabilities(&privileged).unwrap(), (!chown, 0));
        for wrong in ["", "ROOT", "CHOWN,", "0"] {
            assert!(capabilities(&typed(&[wrong], &[])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits() {
        let of = |typed: &str| ulimit(typed).map(|limit| (limit.soft, limit.hard));
        assert_eq!(of("nofile=1").unwrap(), (Some(1), Some(1)));
        assert_eq!(of("nofile=1:2").unwrap(), (Some(1), Some(2)));
        assert_eq!(of("core=-1").unwrap(), (None, None));
        assert_eq!(of("stack=1:unlimited").unwrap(), (Some(1), None));
        for wrong in ["", "nofile", "nofile=", "nofile=2:1", "core=-1:5", "files=1", "nofile=1:2:3", "nofile=-2"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn masks_and_priorities() {
        assert_eq!((umask("0022").unwrap(), umask("777").unwrap(), umask("0").unwrap()), (0o22, 0o777, 0));
        for wrong in ["", "8", "1000", "+22", "-1", "0x7"] {
            assert!(umask(wrong).is_err(), "{wrong}");
        }
        assert!(nice("-20").is_ok() && nice("19").is_ok() && nice("20").is_err() && nice("").is_err());
    }

    #[test]
    fn options_of_security() {
        let of = |typed: &[&str]| {
            let security_opt = typed.iter().map(|text| (*text).to_string()).collect();
            Privileges::new(&cli::Privileges { security_opt, ..Default::default() })
        };
        assert!(of(&[]).unwrap().no_new_privs && of(&["no-new-privileges"]).unwrap().no_new_privs);
        assert!(!of(&["no-new-privileges=false"]).unwrap().no_new_privs);
        assert!(!of(&["no-new-privileges:false"]).unwrap().no_new_privs);
        assert!(of(&["systempaths=unconfined"]).unwrap().unmasked);
        let seccomp = |typed: &[&str]| of(typed).unwrap().seccomp;
        assert_eq!((seccomp(&[]), seccomp(&["seccomp=unconfined"])), (Seccomp::Default, Seccomp::Unconfined));
        assert_eq!(seccomp(&["seccomp=/x", "seccomp=builtin"]), Seccomp::Default);
        assert!(seccomp(&["seccomp=unconfined", "seccomp=/x"]) == Seccomp::Profile && of(&["seccomp="]).is_err());
        assert!(of(&["no-new-privileges=no"]).is_err() && of(&["secret=1"]).is_err());
    }
}
