//! `--mount`: what is to be seen where, in words of the form `key=value`.

use std::ffi::{CString, OsStr};

use linux_raw_sys::general as k;

use super::{ID_MAP, IdMap, Mount, What, flag, id_map, place, private, propagation, quiet};
use crate::error::{Error, Result};
use crate::linux::mount::Change;

/// `type=…,src=…,dst=…,…`
pub(in crate::spec) fn mount(typed: &OsStr) -> Result<Mount> {
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
