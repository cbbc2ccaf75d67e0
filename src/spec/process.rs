//! Who the command is and what it gets: user and groups, variables, words, labels.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::c_string;
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::{file, users};

/// A user or a group. All digits are always a number, so that no line of a file in the container can turn it into another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Principal {
    Id(u32),
    /// To be looked up in the container.
    Name(CString),
}

impl Principal {
    /// As it was typed.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Name(name) => name.to_string_lossy().into_owned(),
        }
    }
}

/// `--user`, as it is written: `USER[:GROUP]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct User {
    pub(crate) user: Principal,
    /// None: that of the user's line in /etc/passwd, or 0.
    pub(crate) group: Option<Principal>,
}

impl User {
    pub(crate) fn text(&self) -> String {
        match &self.group {
            Some(group) => format!("{}:{}", self.user.text(), group.text()),
            None => self.user.text(),
        }
    }
}

/// What an image says about its command; what was typed goes before it.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) stop_signal: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// A change to the environment; without a value, the caller's is taken.
pub(crate) type Variable = (OsString, Option<OsString>);

/// The words of the command: docker's rule for what was typed and what the image says.
pub(super) fn words(typed: Vec<OsString>, entrypoint: Option<OsString>, image: &Defaults) -> Result<Vec<CString>> {
    let strings = |list: &[String]| list.iter().map(OsString::from).collect::<Vec<_>>();
    let (first, rest) = match entrypoint {
        // An empty one only takes the image's away.
        Some(word) => ((!word.is_empty()).then_some(word).into_iter().collect(), typed),
        None if typed.is_empty() => (strings(&image.entrypoint), strings(&image.cmd)),
        None => (strings(&image.entrypoint), typed),
    };
    let words: Vec<OsString> = first.into_iter().chain(rest).collect();
    if words.is_empty() {
        return Err(Error::new("no command was given, and the image names none").hint("for a shell: /bin/sh"));
    }
    words.into_iter().map(|word| c_string("argument", word)).collect()
}

/// Variables of the image, then those of files, then those typed one by one.
pub(super) fn environment(set: &[OsString], files: &[OsString], image: &[String]) -> Result<Vec<Variable>> {
    let mut changes = Vec::new();
    for text in image {
        // Without a value it would be the caller's, who did not ask for that.
        if !text.contains('=') {
            return Err(Error::new(format_args!("Env of the image: '{text}' has no value")).hint("-e sets it"));
        }
        changes.push(variable("Env of the image", text.as_bytes())?);
    }
    for path in files {
        let shown = path.display();
        let c_path = c_string("--env-file", path.clone())?;
        let text = file::read(rustix::fs::CWD, &c_path)
            .map_err(|errno| Error::os(format_args!("read --env-file {shown}"), errno))?;
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

fn variable(at: &str, text: &[u8]) -> Result<Variable> {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    if name.is_empty() || text.contains(&0) {
        return Err(Error::new(format_args!("{at}: not a variable")).hint("it is NAME=VALUE or NAME"));
    }
    Ok((OsString::from_vec(name.to_vec()), parts.next().map(|value| OsString::from_vec(value.to_vec()))))
}

pub(super) fn user(typed: Option<String>, image: &str) -> Result<Option<User>> {
    let (option, text) = match &typed {
        Some(text) => ("--user", text.as_str()),
        None if image.is_empty() => return Ok(None),
        None => ("User of the image", image),
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(principal(option, group)?)),
        None => (text, None),
    };
    Ok(Some(User { user: principal(option, user)?, group }))
}

pub(super) fn groups(typed: &[String]) -> Result<Vec<Principal>> {
    if typed.len() > MOST_GROUPS {
        return Err(Error::new(format_args!("--group-add: {MOST_GROUPS} groups at most")));
    }
    typed.iter().map(|text| principal("--group-add", text)).collect()
}

/// What a process can have here; the kernel's own limit is 65536.
pub(crate) const MOST_GROUPS: usize = 256;

fn principal(option: &str, text: &str) -> Result<Principal> {
    match users::id(text.as_bytes()) {
        Some(Ok(id)) => Ok(Principal::Id(id)),
        Some(Err(_)) => Err(Error::new(format_args!("{option} {text} is no id")).hint("ids go from 0 to 4294967294")),
        None if text.is_empty() || text.len() > 255 || text.contains([':', '\n', '\0', '/']) => {
            Err(Error::new(format_args!("{option}: '{text}' is no user or group"))
                .hint("it is UID or NAME, and after a colon GID or GROUP"))
        }
        None => Ok(Principal::Name(c_string(option, text.into())?)),
    }
}

/// Labels of the image, then those typed; the later of one name counts.
pub(super) fn labels(typed: &[String], image: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = image.to_vec();
    for text in typed {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(Error::new(format_args!("--label {text} has no name")).hint("it is NAME=VALUE or NAME"));
        }
        all.retain(|(known, _)| known != name);
        all.push((name.into(), value.into()));
    }
    Ok(all)
}

/// A signal by number or name, with or without SIG, RTMIN+n and RTMAX-n included (signal(7)).
pub(super) fn stop_signal(run: &cli::Run, image: &str) -> Result<Option<i32>> {
    let (option, text) = match &run.stop_signal {
        Some(text) => ("--stop-signal", text.as_str()),
        None if image.is_empty() => return Ok(None),
        None => ("StopSignal of the image", image),
    };
    let wrong =
        || Error::new(format_args!("{option} {text} is no signal")).hint("such as TERM, SIGQUIT, RTMIN+3 or 15");
    signal(text).map(Some).ok_or_else(wrong)
}

/// What the C library leaves of the real-time signals for programs begins at 34.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

pub(crate) fn signal(text: &str) -> Option<i32> {
    const NAMES: &[&str] = &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text[1..].parse::<i32>().ok() };
    if let Some(rest) = name.strip_prefix("RTMIN").filter(|rest| rest.is_empty() || rest.starts_with('+')) {
        return offset(rest).map(|n| RTMIN + n).filter(|n| (RTMIN..=RTMAX).contains(n));
    }
    if let Some(rest) = name.strip_prefix("RTMAX").filter(|rest| rest.is_empty() || rest.starts_with('-')) {
        return offset(rest).map(|n| RTMAX - n).filter(|n| (RTMIN..=RTMAX).contains(n));
    }
    NAMES.iter().position(|known| *known == name).map(|index| index as i32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        assert_eq!(variable("x", b"A=b=c").unwrap(), ("A".into(), Some("b=c".into())));
        assert_eq!(variable("x", b"A").unwrap(), ("A".into(), None));
        assert_eq!(variable("x", b"A=").unwrap(), ("A".into(), Some("".into())));
        assert!(variable("x", b"=b").is_err() && variable("x", b"A=\0").is_err());
    }

    #[test]
    fn an_image_does_not_take_the_callers_variables() {
        assert!(environment(&[], &[], &["SECRET".into()]).is_err());
        assert!(environment(&["SECRET".into()], &[], &["A=b".into()]).is_ok());
    }

    #[test]
    fn users_and_groups() {
        let name = |text: &str| Principal::Name(CString::new(text).unwrap());
        for (text, user_is, group_is) in [
            ("0", Principal::Id(0), None),
            ("00", Principal::Id(0), None),
            ("1", Principal::Id(1), None),
            ("1:2", Principal::Id(1), Some(Principal::Id(2))),
            ("ann", name("ann"), None),
            ("ann:users", name("ann"), Some(name("users"))),
            ("1:users", Principal::Id(1), Some(name("users"))),
        ] {
            let wanted = User { user: user_is, group: group_is };
            assert_eq!(user(Some(text.into()), "").unwrap(), Some(wanted.clone()), "{text}");
            assert_eq!(user(None, text).unwrap(), Some(wanted), "{text}");
        }
        for text in ["", ":", ":1", "1:", "4294967295", "4294967296", "a:b:c", "a/b", "1:99999999999"] {
            assert!(user(Some(text.into()), "").is_err(), "{text}");
        }
        assert_eq!(user(None, "").unwrap(), None);
    }

    #[test]
    fn the_image_gives_what_was_not_typed() {
        let image = Defaults { entrypoint: vec!["/e".into()], cmd: vec!["c".into()], ..Defaults::default() };
        let made = |typed: &[&str], entrypoint: Option<&str>| {
            let typed = typed.iter().map(OsString::from).collect();
            let words = words(typed, entrypoint.map(OsString::from), &image).ok()?;
            Some(words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(made(&[], None).as_deref(), Some("/e c"));
        assert_eq!(made(&["x"], None).as_deref(), Some("/e x"));
        assert_eq!(made(&["x"], Some("/f")).as_deref(), Some("/f x"));
        assert_eq!(made(&[], Some("/f")).as_deref(), Some("/f"));
        assert_eq!(made(&["x"], Some("")).as_deref(), Some("x"));
        assert_eq!(made(&[], Some("")), None);
    }

    #[test]
    fn signals() {
        for (text, number) in
            [("TERM", 15), ("sigquit", 3), ("9", 9), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("RTMIN", 34), ("SYS", 31)]
        {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "SIGNONE", "RTMIN+31", "RTMIN-1", "RTMAX+1", "SIG", "-1"] {
            assert_eq!(signal(text), None, "{text}");
        }
    }
}
