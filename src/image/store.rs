//! Where unpacked layers and the records of images are kept.
//!
//!     STORE/layers/HEX/root      a layer's tree; never changed once it is there. HEX is its diff id, or, if it took
//!                                attributes from the layers beneath it, its chain id
//!     STORE/images/HEX/image.json   an image's record, by the digest of its configuration
//!     STORE/tmp/RANDOM/          what is being made or removed, locked (flock) by who does it
//!
//! Whatever is in `layers` and `images` is whole: it was made in `tmp`, written to the disk, and renamed. The store's own
//! directory is locked only for the moments in which names change. An image that a container uses has its directory locked
//! (shared) by it, so that it is not removed.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use miniserde::Serialize;
use miniserde::json::to_string;
use rustix::fs::{CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::config::Config;
use super::digest::Digest;
use crate::error::{Error, Result};
use crate::json;
use crate::linux::text::shown;
use crate::linux::{file, tree, userns};

mod remove;
mod work;
pub(super) use work::Work;

pub(crate) struct Store {
    dir: OwnedFd,
    images: OwnedFd,
    layers: OwnedFd,
    tmp: OwnedFd,
    /// Absolute, for overlayfs.
    path: CString,
}

/// An image's record, as `image.json` holds it.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
    /// Seconds since the epoch.
    pub(crate) created: u64,
    pub(crate) config: Config,
    /// Bottommost first.
    pub(crate) layers: Vec<Part>,
}

/// A layer of an image.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Part {
    /// Of the blob that it came in, or the same as `diff_id`.
    pub(crate) digest: String,
    pub(crate) diff_id: String,
    /// Its name in the store's `layers`.
    pub(crate) directory: String,
    /// Of the unpacked archive, in bytes.
    pub(crate) size: u64,
}

impl Record {
    fn read(text: &[u8]) -> Result<Self> {
        let value = json::parse("a record", text)?;
        let part = |value| {
            let of = |key| json::text(value, key);
            let size = json::number(value, "size")?;
            Ok(Part { digest: of("digest")?, diff_id: of("diff_id")?, directory: of("directory")?, size })
        };
        Ok(Self {
            id: json::text(&value, "id")?,
            names: json::texts(&value, "names")?,
            created: json::number(&value, "created")?,
            config: match json::get(&value, "config")? {
                None => return Err(Error::new("the record has no configuration")),
                Some(config) => Config::of_record(config)?,
            },
            layers: json::list(&value, "layers")?.iter().map(part).collect::<Result<_>>()?,
        })
    }
}

const RECORD: &CStr = c"image.json";
const NEW: &CStr = c"new";

impl Store {
    /// The same, if it is there; nothing is made. None: nobody has put anything into this user's own place yet. One that was named has
    /// to be there.
    pub(crate) fn open_existing(dir: Option<&OsStr>) -> Result<Option<Self>> {
        let path = place(dir)?;
        match rustix::fs::stat(&path) {
            Err(Errno::NOENT) if dir.is_none() => Ok(None),
            Err(errno) => Err(Error::os(format_args!("open the image store {}", path.display()), errno)
                .hint("nsctl image import makes it")),
            Ok(_) => Self::open(dir).map(Some),
        }
    }

    /// The store in `dir`, NSCTL_STORE or this user's own place; made if it is not there.
    pub(crate) fn open(dir: Option<&OsStr>) -> Result<Self> {
        let path = place(dir)?;
        let wrong = |errno| {
            Error::os(format_args!("open the image store {}", path.display()), errno)
                .hint("--store DIR, or NSCTL_STORE, takes another directory, which must be writable and on a file system with device nodes and extended attributes")
        };
        let dir = make_path(&path).map_err(wrong)?;
        let stat = rustix::fs::fstat(&dir).map_err(wrong)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(Error::new(format_args!(
                "the image store {} belongs to somebody else, or others may write there",
                path.display()
            ))
            .hint("chown and chmod 700 it, or take another with --store DIR"));
        }
        let part = |name: &CStr| {
            make_directory(&dir, name)?;
            file::open_dir(&dir, name)
        };
        let absolute =
            std::fs::canonicalize(&path).map_err(|error| wrong(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(Self {
            images: part(c"images").map_err(wrong)?,
            layers: part(c"layers").map_err(wrong)?,
            tmp: part(c"tmp").map_err(wrong)?,
            path: CString::new(absolute.as_os_str().as_bytes()).map_err(|_| wrong(Errno::INVAL))?,
            dir,
        })
    }

    /// All images, the oldest first.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let listed = || -> std::result::Result<Vec<Record>, Errno> {
            let mut found = Vec::new();
            for entry in Dir::read_from(&self.images)? {
                let entry = entry?;
                // An image that is removed at this moment has no record any more.
                found.extend(self.record(entry.file_name()));
            }
            Ok(found)
        };
        let mut found = listed().map_err(|errno| self.error("list the images of", errno))?;
        found.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(found)
    }

    fn record(&self, hex: &CStr) -> Option<Record> {
        let dir = file::open_dir(&self.images, hex).ok()?;
        Record::read(&file::read(&dir, RECORD).ok()?).ok()
    }

    pub(super) fn record_of(&self, hex: &str) -> Option<Record> {
        self.record(&CString::new(hex).ok()?)
    }

    /// The image that a name, a tag or the unique beginning of an id means.
    pub(crate) fn find(&self, words: &OsStr) -> Result<Record> {
        let text = words.to_string_lossy();
        let all = self.records()?;
        if let Some(record) = all.iter().find(|record| record.names.iter().any(|name| is_called(name, &text))) {
            return Ok(record.clone());
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(&text);
        let mut found = all.iter().filter(|record| !prefix.is_empty() && record.id.starts_with(prefix));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => Err(Error::new(format_args!("several images begin with {}", words.display()))),
            _ => Err(super::none_of_that_name(words)),
        }
    }

    /// Whether the layer is there, whole.
    pub(super) fn has(&self, layer: &str) -> bool {
        self.layer(layer).is_some_and(|name| tree::look(&self.layers, &name).is_ok())
    }

    /// The name of a layer's tree beneath `layers`; None: a record was tampered with.
    fn layer(&self, hex: &str) -> Option<CString> {
        Digest::of_hex(hex)?;
        CString::new(hex).ok()
    }

    /// The layer's tree.
    pub(super) fn layer_root(&self, hex: &str) -> std::result::Result<OwnedFd, Errno> {
        let name = self.layer(hex).ok_or(Errno::INVAL)?;
        file::open_dir(file::open_dir(&self.layers, &name)?, c"root")
    }

    /// Where the layer's tree is, from the root of the file system.
    pub(super) fn layer_path(&self, hex: &str) -> CString {
        let path = [self.path.to_bytes(), b"/layers/", hex.as_bytes(), b"/root"].concat();
        CString::new(path).unwrap_or_default()
    }

    /// Keeps the image from being removed for as long as the descriptor is open.
    pub(super) fn lease(&self, id: &str) -> std::result::Result<OwnedFd, Errno> {
        let name = CString::new(id).map_err(|_| Errno::INVAL)?;
        let dir = file::open_dir(&self.images, &name)?;
        rustix::fs::flock(&dir, FlockOperation::NonBlockingLockShared)?;
        Ok(dir)
    }

    /// Does what changes names, alone.
    pub(super) fn alone<T>(&self, change: impl FnOnce() -> Result<T>) -> Result<T> {
        let lock = |operation| rustix::io::retry_on_intr(|| rustix::fs::flock(&self.dir, operation));
        lock(FlockOperation::LockExclusive).map_err(|errno| self.error("lock", errno))?;
        let done = change();
        let unlocked = lock(FlockOperation::Unlock).map_err(|errno| self.error("unlock", errno));
        done.and_then(|done| unlocked.map(|()| done))
    }

    /// Makes the image's record or replaces it. To be called alone.
    pub(super) fn write(&self, record: &Record, work: &Work<'_>) -> Result<()> {
        let name = CString::new(record.id.as_str()).unwrap_or_default();
        let written = || -> std::result::Result<(), Errno> {
            match file::open_dir(&self.images, &name) {
                Ok(dir) => write_record(&dir, record),
                Err(Errno::NOENT) => {
                    make_directory(work.dir(), c"image")?;
                    write_record(&file::open_dir(work.dir(), c"image")?, record)?;
                    rustix::fs::renameat(work.dir(), c"image", &self.images, &name)?;
                    rustix::fs::fsync(&self.images)
                }
                Err(errno) => Err(errno),
            }
        };
        written().map_err(|errno| self.error("write an image's record in", errno))
    }

    /// Takes the name away from whatever image has it. To be called alone.
    pub(super) fn free_name(&self, name: &str, but: &str) -> Result<()> {
        for mut record in self.records()?.into_iter().filter(|record| record.id != but) {
            if record.names.iter().any(|known| known == name) {
                record.names.retain(|known| known != name);
                self.rewrite(&record)?;
            }
        }
        Ok(())
    }

    fn rewrite(&self, record: &Record) -> Result<()> {
        let name = CString::new(record.id.as_str()).unwrap_or_default();
        let written = file::open_dir(&self.images, &name).and_then(|dir| write_record(&dir, record));
        written.map_err(|errno| self.error("write an image's record in", errno))
    }

    pub(super) fn error(&self, act: &str, errno: Errno) -> Error {
        let error = Error::os(format_args!("{act} the image store {}", shown(&self.path)), errno);
        match errno {
            Errno::ROFS => error.hint("it is read-only; --store DIR, or NSCTL_STORE, takes another"),
            Errno::NOSPC | Errno::DQUOT => {
                error.hint("it is full; nsctl image rm frees space, --store DIR takes another")
            }
            _ => error,
        }
    }
}

/// Whether the words mean this name: whole, without docker's own registry, without the tag `latest`.
fn is_called(name: &str, words: &str) -> bool {
    let short = name.strip_prefix("docker.io/").map(|rest| rest.strip_prefix("library/").unwrap_or(rest));
    let is = |name: &str| name == words || name.strip_suffix(":latest") == Some(words);
    is(name) || short.is_some_and(is)
}

fn write_record(dir: &OwnedFd, record: &Record) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, NEW, flags, Mode::RUSR | Mode::WUSR)?;
    file::write_all(&fd, to_string(record).as_bytes())?;
    rustix::fs::fsync(&fd)?;
    rustix::fs::renameat(dir, NEW, dir, RECORD)
}

fn make_directory(dir: impl AsFd, name: &CStr) -> std::result::Result<(), Errno> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn place(dir: Option<&OsStr>) -> Result<OsString> {
    match dir.map(OsStr::to_owned).or_else(|| std::env::var_os("NSCTL_STORE")) {
        Some(path) if path.is_empty() => Err(Error::new("the image store's name is empty").hint("--store DIR")),
        Some(path) => Ok(path),
        None => default_place(),
    }
}

fn default_place() -> Result<OsString> {
    if userns::is_root() {
        return Ok("/var/lib/nsctl".into());
    }
    let of = |variable: &str| std::env::var_os(variable).filter(|dir| Path::new(dir).is_absolute());
    let data = of("XDG_DATA_HOME").or_else(|| Some(Path::new(&of("HOME")?).join(".local/share").into()));
    data.map(|dir| Path::new(&dir).join("nsctl").into()).ok_or_else(|| {
        Error::new("there is no place for images: HOME is not set").hint("--store DIR, or NSCTL_STORE, names one")
    })
}

/// Opens the user's directory, after making it and what is above it. Links are followed: a store may lie on another disk.
fn make_path(path: &OsStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(CWD, path, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    for parent in above.into_iter().rev().filter(|parent| !parent.as_os_str().is_empty()) {
        match rustix::fs::mkdirat(CWD, parent, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // What is above may be there on a file system that is read-only.
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM) if parent.is_dir() => {}
            Err(errno) => return Err(errno),
        }
    }
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(bytes: &[u8]) {
    if let Ok(record) = Record::read(bytes) {
        assert!(
            Record::read(to_string(&record).as_bytes()).is_ok_and(|again| again.layers.len() == record.layers.len())
        );
    }
}
