//! `--volume`, `--mount`, `--tmpfs` and `--device`: what is to be seen where inside, in docker's words.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use linux_raw_sys::general as k;

use super::c_string;
use crate::error::{Error, Result};
use crate::linux::idmap;
use crate::linux::mount::Change;

mod words;
pub(super) use words::mount;

#[derive(Debug, PartialEq)]
pub(crate) enum What {
    /// A file or directory of the caller's, with the mounts below it where `recursive`.
    Bind { source: CString, recursive: bool, idmap: Option<IdMap> },
    /// A file system of this type with these options, `key=value,…`.
    Fs { fs: &'static str, options: String },
    /// Layers, the first on top, and where changes go (upper and work directory).
    Overlay { lowers: Vec<CString>, upper: Option<[CString; 2]> },
}

#[derive(Debug, PartialEq)]
pub(crate) struct Mount {
    /// The option that asked for it, for messages.
    pub(crate) option: &'static str,
    pub(crate) what: What,
    /// An absolute path inside.
    pub(crate) target: CString,
    /// Its attributes, for the mounts below it as well.
    pub(crate) change: Change,
    /// Its propagation alone, for the mounts below it or not.
    pub(crate) spread: Change,
}

/// Owners of files as they are on the disk → as they are seen: ranges of (on the disk, seen, how many). None at all: as the
/// container's own user namespace has them.
#[derive(Debug, PartialEq, Clone, Default)]
pub(crate) struct IdMap {
    pub(crate) users: Vec<[u32; 3]>,
    pub(crate) groups: Vec<[u32; 3]>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Device {
    pub(crate) source: CString,
    /// Below /dev, without that.
    pub(crate) name: CString,
}

/// `SRC:DST[:OPTION,…]`
pub(super) fn volume(typed: &OsStr) -> Result<Mount> {
    let shown = typed.display();
    let wrong = |why: &str, hint: &str| Error::new(format_args!("--volume {shown}: {why}")).hint(hint);
    let form = "it is SRC:DST or SRC:DST:OPTIONS, with absolute paths";
    let parts: Vec<&[u8]> = typed.as_bytes().split(|byte| *byte == b':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, &b""[..]),
        [source, target, options] => (source, target, options),
        [_] => return Err(wrong("nsctl has no anonymous volumes", "--tmpfs DST, or SRC:DST")),
        _ => return Err(wrong("too many colons", form)),
    };
    if !source.starts_with(b"/") && !source.starts_with(b".") {
        let hint = "nsctl has no named volumes; a path begins with / or ./";
        return Err(wrong("the source is no path", hint));
    }
    let (mut change, mut spread) = (Change { recursive: true, ..Change::default() }, private());
    let (mut recursive, mut idmap) = (true, None);
    for option in options.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
        let option = std::str::from_utf8(option).map_err(|_| wrong("an option is not text", form))?;
        match option {
            // There is nothing that would be copied: that is about named volumes.
            "nocopy" => {}
            "bind" => recursive = false,
            "rbind" => recursive = true,
            "z" | "Z" => return Err(wrong("nsctl does not relabel files for SELinux", "leave z and Z out")),
            "U" => return Err(wrong("nsctl changes no owners", "idmap shows files as the container's")),
            _ if flag(option, &mut change) || propagation(option, &mut spread) => {}
            _ => match option.split_once('=') {
                Some(("idmap", ranges)) => {
                    idmap = Some(id_map(ranges).ok_or_else(|| wrong("no map of ids", ID_MAP))?)
                }
                _ if option == "idmap" => idmap = Some(IdMap::default()),
                _ => return Err(wrong(&format!("there is no option {option}"), OPTIONS)),
            },
        }
    }
    change.recursive = recursive;
    let what = What::Bind { source: c_string("--volume", OsString::from_vec(source.to_vec()))?, recursive, idmap };
    Ok(Mount { option: "--volume", what, target: place("--volume", target)?, change, spread })
}

/// No mount of the host shall appear inside later, nor the other way round, unless that is asked for.
fn private() -> Change {
    Change { propagation: libc::MS_PRIVATE as u32, recursive: true, ..Change::default() }
}

const OPTIONS: &str = "there are ro, rw, nosuid, suid, nodev, dev, noexec, exec, noatime, [r]private, [r]slave, [r]shared, \
                       bind, rbind, nocopy, idmap[=…]";
const ID_MAP: &str = "such as idmap=uids=0-1000-1;gids=0-1000-1: on the disk, seen, how many; more ranges after #";

/// `DST[:OPTION,…]`
pub(super) fn tmpfs(typed: &OsStr) -> Result<Mount> {
    let bytes = typed.as_bytes();
    let (target, options) = match bytes.iter().position(|byte| *byte == b':') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b""[..]),
    };
    let wrong = |option: &str| {
        Error::new(format_args!("--tmpfs {}: there is no option {option}", typed.display()))
            .hint("there are size=, mode=, uid=, gid=, nr_inodes=, nr_blocks=, huge= and the flags ro, nosuid, nodev, noexec, noatime")
    };
    let mut change = quiet();
    let mut data = Vec::new();
    for option in options.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
        let option = std::str::from_utf8(option).map_err(|_| wrong("that is not text"))?;
        let own = ["size=", "mode=", "uid=", "gid=", "nr_inodes=", "nr_blocks=", "huge="];
        if own.iter().any(|key| option.starts_with(key)) {
            data.push(option);
        } else if !flag(option, &mut change) {
            return Err(wrong(option));
        }
    }
    let what = What::Fs { fs: "tmpfs", options: data.join(",") };
    Ok(Mount { option: "--tmpfs", what, target: place("--tmpfs", target)?, change, spread: Change::default() })
}

/// docker's default for what is not the user's own directory.
fn quiet() -> Change {
    Change { set: k::MOUNT_ATTR_NOSUID | k::MOUNT_ATTR_NODEV | k::MOUNT_ATTR_NOEXEC, ..Change::default() }
}

/// A flag of one mount. False: no such flag.
fn flag(word: &str, change: &mut Change) -> bool {
    let (set, clear) = match word {
        "ro" => (k::MOUNT_ATTR_RDONLY, 0),
        "rw" => (0, k::MOUNT_ATTR_RDONLY),
        "nosuid" => (k::MOUNT_ATTR_NOSUID, 0),
        "suid" => (0, k::MOUNT_ATTR_NOSUID),
        "nodev" => (k::MOUNT_ATTR_NODEV, 0),
        "dev" => (0, k::MOUNT_ATTR_NODEV),
        "noexec" => (k::MOUNT_ATTR_NOEXEC, 0),
        "exec" => (0, k::MOUNT_ATTR_NOEXEC),
        "noatime" => (k::MOUNT_ATTR_NOATIME, 0),
        _ => return false,
    };
    change.set = (change.set & !clear) | set;
    change.clear = (change.clear & !set) | clear;
    // What is not set is as the source has it: only what was asked for is cleared, and a source may well be read-only.
    if word == "rw" {
        change.clear &= !k::MOUNT_ATTR_RDONLY;
    }
    true
}

fn propagation(word: &str, spread: &mut Change) -> bool {
    spread.propagation = match word {
        "private" | "rprivate" => libc::MS_PRIVATE,
        "slave" | "rslave" => libc::MS_SLAVE,
        "shared" | "rshared" => libc::MS_SHARED,
        _ => return false,
    } as u32;
    spread.recursive = word.starts_with('r');
    true
}

/// `uids=0-1000-1#…;gids=…`; a side that is left out is like the other.
fn id_map(text: &str) -> Option<IdMap> {
    let ranges = |text: &str| -> Option<Vec<[u32; 3]>> {
        let range = |range: &str| {
            let mut numbers = range.split('-').map(str::parse::<u32>);
            let range = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
            numbers.next().is_none().then_some(range)
        };
        text.split('#').map(range).collect::<Option<Vec<_>>>().filter(|ranges| idmap::is_map(ranges))
    };
    let (mut users, mut groups) = (None, None);
    for side in text.split(';') {
        match side.split_once('=')? {
            ("uids", text) => users = Some(ranges(text)?),
            ("gids", text) => groups = Some(ranges(text)?),
            _ => return None,
        }
    }
    let either = users.clone().or_else(|| groups.clone())?;
    Some(IdMap { users: users.unwrap_or_else(|| either.clone()), groups: groups.unwrap_or(either) })
}

/// A path inside, cleaned: absolute, no "..", not the root, and not the kernel's own tables.
fn place(option: &str, path: &[u8]) -> Result<CString> {
    let shown = OsStr::from_bytes(path).display().to_string();
    let wrong =
        |why: &str, hint: &str| Error::new(format_args!("{option}: the destination {shown} {why}")).hint(hint);
    if !path.starts_with(b"/") {
        return Err(wrong("is not absolute", "it begins with /"));
    }
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(wrong("has .. in it", "write the path that it leads to"));
    }
    if path.contains(&b',') && (option == "--volume" || option == "--tmpfs") {
        return Err(wrong(
            "has a comma in it",
            "options come after a colon; --mount takes such a path with type=bind",
        ));
    }
    match parts.first() {
        None => return Err(wrong("is the root itself", "--rootfs DIR")),
        Some(&b"proc" | &b"sys") if option == "--volume" || option == "--tmpfs" => {
            return Err(wrong("belongs to the kernel's own tables", "/proc and /sys are nsctl's to set up"));
        }
        _ => {}
    }
    c_string(option, OsString::from_vec([b"/", parts.join(&b'/').as_slice()].concat()))
}

/// `/dev/SRC[:/dev/DST[:rwm]]`
pub(super) fn device(typed: &OsStr) -> Result<Device> {
    let wrong = |why: &str, hint: &str| Error::new(format_args!("--device {}: {why}", typed.display())).hint(hint);
    let parts: Vec<&[u8]> = typed.as_bytes().split(|byte| *byte == b':').collect();
    let (source, target, rights) = match parts[..] {
        [source] => (source, source, &b"rwm"[..]),
        [source, second] if second.starts_with(b"/") => (source, second, &b"rwm"[..]),
        [source, rights] => (source, source, rights),
        [source, target, rights] => (source, target, rights),
        _ => return Err(wrong("too many colons", "it is SRC, SRC:DST or SRC:DST:rwm")),
    };
    if !source.starts_with(b"/") {
        return Err(wrong("the source is not an absolute path", "such as /dev/ttyS0"));
    }
    if rights != b"rwm" {
        return Err(wrong("nsctl cannot give only some of r, w and m", "leave them out"));
    }
    let place = place("--device", target)?;
    let name = place.to_bytes().strip_prefix(b"/dev/").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong("a device is put below /dev", "--device /dev/SRC:/dev/DST"))?;
    let source = c_string("--device", OsString::from_vec(source.to_vec()))?;
    Ok(Device { source, name: c_string("--device", OsString::from_vec(name.to_vec()))? })
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    if let Some(map) = id_map(text) {
        assert!(idmap::is_map(&map.users) && idmap::is_map(&map.groups));
    }
}

#[cfg(test)]
mod tests;
