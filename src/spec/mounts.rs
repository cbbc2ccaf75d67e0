//! `--volume`, `--mount`, `--tmpfs`, `--device` and `--sysctl`: what is to be seen where inside, in docker's words.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use linux_raw_sys::general as k;

use super::c_string;
use crate::error::{Error, Result};
use crate::linux::idmap;
use crate::linux::mount::Change;

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

/// `type=…,src=…,dst=…,…`
pub(super) fn mount(typed: &OsStr) -> Result<Mount> {
    let shown = typed.display();
    let wrong = |why: String, hint: &str| Error::new(format_args!("--mount {shown}: {why}")).hint(hint);
    let text = typed.to_str().ok_or_else(|| wrong("it is not text".into(), "use --volume for such names"))?;
    let mut words = Words::default();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').map_or((item, None), |(key, value)| (key, Some(value)));
        words.take(key, value).map_err(|(why, hint)| wrong(why, hint))?;
    }
    let target = words.target.take().ok_or_else(|| wrong("dst= is missing".into(), "where it is to be seen"))?;
    let target = place("--mount", target.as_bytes())?;
    let kind = words.kind.take().unwrap_or("bind");
    let spread = if kind == "bind" { words.spread.unwrap_or_else(private) } else { Change::default() };
    let (what, change) = words.resolve(kind).map_err(|(why, hint)| wrong(why, hint))?;
    Ok(Mount { option: "--mount", what, target, change, spread })
}

/// What a `--mount` says.
#[derive(Default)]
struct Words<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    change: Change,
    spread: Option<Change>,
    writable: bool,
    not_recursive: bool,
    idmap: Option<IdMap>,
    options: Vec<String>,
    lowers: Option<&'a str>,
    upper: Option<&'a str>,
    work: Option<&'a str>,
}

type Complaint = (String, &'static str);

impl<'a> Words<'a> {
    fn take(&mut self, key: &'a str, value: Option<&'a str>) -> std::result::Result<(), Complaint> {
        let on = match value {
            None | Some("true" | "1") => Some(true),
            Some("false" | "0") => Some(false),
            Some(_) => None,
        };
        match (key, value, on) {
            ("type", Some(kind), _) => self.kind = Some(kind),
            ("src" | "source", Some(path), _) => self.source = Some(path),
            ("dst" | "target" | "destination", Some(path), _) => self.target = Some(path),
            ("ro" | "readonly", _, Some(on)) => {
                flag(if on { "ro" } else { "rw" }, &mut self.change);
            }
            ("bind-propagation", Some(word), _) if propagation(word, self.spread.get_or_insert_default()) => {}
            ("bind-nonrecursive", _, Some(on)) => self.not_recursive = on,
            ("bind-recursive", Some("enabled"), _) => self.not_recursive = false,
            ("bind-recursive", Some("disabled"), _) => self.not_recursive = true,
            ("tmpfs-size" | "size", Some(size), _) => self.options.push(format!("size={size}")),
            ("tmpfs-mode" | "mode", Some(mode), _) => self.options.push(format!("mode={mode}")),
            ("uid" | "gid" | "nr_inodes" | "ptmxmode", Some(value), _) => self.options.push(format!("{key}={value}")),
            ("lowerdir", Some(dirs), _) => self.lowers = Some(dirs),
            ("upperdir", Some(dir), _) => self.upper = Some(dir),
            ("workdir", Some(dir), _) => self.work = Some(dir),
            ("idmap", Some(ranges), _) => {
                self.idmap = Some(id_map(ranges).ok_or_else(|| ("no map of ids".to_string(), ID_MAP))?);
            }
            ("idmap", None, _) => self.idmap = Some(IdMap::default()),
            (_, None, _) if flag(key, &mut self.change) => self.writable |= key == "rw",
            _ => return Err((format!("{key} is unknown or has a wrong value"), "see nsctl run --help")),
        }
        Ok(())
    }

    fn resolve(self, kind: &str) -> std::result::Result<(What, Change), Complaint> {
        let foreign = |given: bool, what: &str, of: &str| {
            if given { Err((format!("{what} is for type={of}"), "leave it out")) } else { Ok(()) }
        };
        let c_path = |path: &str| CString::new(path).unwrap_or_default();
        match kind {
            "bind" | "overlay" | "tmpfs" | "proc" | "sysfs" | "mqueue" | "devpts" | "cgroup" => {}
            "volume" => return Err(("nsctl has no named volumes".into(), "type=bind,src=/DIR,dst=/DST")),
            _ => {
                let there = "there are bind, tmpfs, overlay, proc, sysfs, mqueue, devpts and cgroup";
                return Err((format!("there is no type {kind}"), there));
            }
        }
        if kind != "overlay" {
            foreign(self.lowers.is_some() || self.upper.is_some() || self.work.is_some(), "lowerdir", "overlay")?;
        }
        if kind != "bind" {
            foreign(self.idmap.is_some(), "idmap", "bind")?;
            foreign(self.not_recursive || self.spread.is_some(), "bind-…", "bind")?;
        }
        match kind {
            "bind" => {
                foreign(!self.options.is_empty(), &self.options.join(","), "tmpfs")?;
                let source = self.source.filter(|source| !source.is_empty());
                let source =
                    source.ok_or_else(|| ("src= is missing".to_string(), "the file or directory to show"))?;
                let recursive = !self.not_recursive;
                let change = Change { recursive, ..self.change };
                Ok((What::Bind { source: c_path(source), recursive, idmap: self.idmap }, change))
            }
            "overlay" => {
                let lowers =
                    self.lowers.ok_or_else(|| ("lowerdir= is missing".to_string(), "directories, : between them"))?;
                let upper = match (self.upper, self.work) {
                    (Some(upper), Some(work)) => Some([c_path(upper), c_path(work)]),
                    (None, None) => None,
                    _ => return Err(("upperdir and workdir go together".into(), "both on one file system")),
                };
                Ok((What::Overlay { lowers: lowers.split(':').map(c_path).collect(), upper }, self.change))
            }
            _ => {
                foreign(self.source.is_some_and(|source| source != kind), "src", "bind")?;
                let fs = ["tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup"].into_iter().find(|fs| *fs == kind);
                let Some(fs) = fs else { return Err((format!("there is no type {kind}"), "see nsctl run --help")) };
                let mut change = Change { set: quiet().set & !self.change.clear | self.change.set, ..self.change };
                // A devpts with nodev has no terminals, and the two of the kernel's settings are not the container's to change.
                if fs == "devpts" {
                    change.set &= !k::MOUNT_ATTR_NODEV;
                }
                if ["sysfs", "cgroup"].contains(&fs) {
                    if self.writable {
                        return Err((format!("{fs} is the whole machine's"), "it is read-only: leave rw out"));
                    }
                    change.set |= k::MOUNT_ATTR_RDONLY;
                }
                Ok((What::Fs { fs, options: self.options.join(",") }, change))
            }
        }
    }
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

/// What `--sysctl` may set: those that belong to a namespace of the container (kernel/sysctl docs, docker's list).
pub(super) fn sysctl(typed: &str, private_net: bool, private_ipc: bool) -> Result<(CString, CString)> {
    let wrong = |why: &str, hint: &str| Error::new(format_args!("--sysctl {typed}: {why}")).hint(hint);
    let (name, value) = typed.split_once('=').ok_or_else(|| wrong("there is no value", "it is NAME=VALUE"))?;
    let clean = name.split(['.', '/']).all(|part| !part.is_empty() && part != "..");
    if !clean {
        return Err(wrong("that is no name of a sysctl", "such as net.ipv4.ip_forward"));
    }
    let ipc = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    // With a slash, dots are part of a name (an interface's), as sysctl(8) has it.
    let slashes = if name.contains('/') { name.to_string() } else { name.replace('.', "/") };
    let dots = slashes.replace('/', ".");
    match () {
        () if dots.starts_with("net.") && !private_net => {
            return Err(wrong("that is the host's network", "--net private"));
        }
        () if (ipc.contains(&dots.as_str()) || dots.starts_with("fs.mqueue.")) && !private_ipc => {
            return Err(wrong("that is the host's IPC namespace", "leave --ipc out"));
        }
        () if dots.starts_with("net.") || dots.starts_with("fs.mqueue.") || ipc.contains(&dots.as_str()) => {}
        () => {
            return Err(wrong(
                "that is not the container's alone",
                "net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} are",
            ));
        }
    }
    Ok((c_string("--sysctl", format!("sys/{slashes}").into())?, c_string("sysctl", value.to_string().into())?))
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    if let Some(map) = id_map(text) {
        assert!(idmap::is_map(&map.users) && idmap::is_map(&map.groups));
    }
}

#[cfg(test)]
mod tests;
