//! Images as roots: from the words of the user to the directories that overlayfs puts one over the other.
//!
//!     path ─▶ source (layout, archive) ─▶ documents: which image, which layers ─▶ store: is it there?
//!                                                  └─▶ layer: stream ─▶ entries ─▶ tree, beneath store/tmp ─▶ renamed into place
//!
//! All of an image is hostile until its digests are verified, and its paths, links and numbers also afterwards. What a
//! layer may do is to fill a directory of its own.

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};

mod archive;
mod config;
mod digest;
mod document;
mod entries;
mod fault;
mod import;
mod inherit;
mod layer;
mod source;
mod store;
mod stream;
#[cfg(any(test, fuzzing))]
pub(crate) mod survives;
mod tree;

pub(crate) use config::Config;
pub(crate) use entries::{Entries, Entry, Input, Kind as EntryKind};
pub(crate) use fault::shown;
pub(crate) use store::{Part, Record, Store};
pub(crate) use stream::Decoded;
pub(crate) use tree::components;

use source::Source;

/// An image in the store, ready to be mounted.
pub(crate) struct Image {
    /// SHA-256 of its configuration, in hexadecimal digits.
    pub(crate) id: String,
    /// Absolute paths of the layers' directories, topmost first, each once: as overlayfs's `lowerdir` wants them. An image
    /// without layers has none.
    pub(crate) layers: Vec<CString>,
    pub(crate) config: Config,
    /// While it is open, the image is not removed.
    pub(crate) lease: OwnedFd,
}

/// What a path is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Perhaps an unpacked root; no image.
    Directory,
    /// An OCI image layout.
    Layout,
    /// A tar archive, perhaps compressed.
    Archive,
    FileSystem(&'static str),
    Unknown,
}

/// Looks at what the path is. It may be anything that can be opened without being acted upon.
pub(crate) fn kind(path: &OsStr) -> Result<Kind> {
    let failed = |errno| Error::os(format_args!("open {}", path.display()), errno);
    let stat = rustix::fs::stat(path).map_err(failed)?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory if has_marker(path) => return Ok(Kind::Layout),
        rustix::fs::FileType::Directory => return Ok(Kind::Directory),
        // A disk with a file system on it is looked at as a file is.
        rustix::fs::FileType::RegularFile | rustix::fs::FileType::BlockDevice => {}
        _ => return Ok(Kind::Unknown),
    }
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(2048).read_to_end(&mut start));
    read.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    Ok(kind_of(&start))
}

fn has_marker(path: &OsStr) -> bool {
    rustix::fs::stat([path.as_bytes(), b"/oci-layout"].concat()).is_ok()
}

fn kind_of(start: &[u8]) -> Kind {
    let at = |place: usize, magic: &[u8]| start.get(place..).is_some_and(|rest| rest.starts_with(magic));
    if at(0, b"hsqs") {
        Kind::FileSystem("squashfs")
    } else if at(1024, &0xe0f5_e1e2_u32.to_le_bytes()) {
        Kind::FileSystem("erofs")
    } else if at(1024 + 56, &0xef53_u16.to_le_bytes()) {
        Kind::FileSystem("ext4")
    } else if at(257, b"ustar") || at(0, stream::GZIP) || at(0, stream::ZSTD) {
        Kind::Archive
    } else {
        Kind::Unknown
    }
}

/// The image that the words mean: a path or PATH:TAG, whose layers are unpacked if they are not in the store yet, or, if there is
/// no such path, a name, a tag or the unique beginning of an id in the store.
pub(crate) fn get(store: &Store, what: &OsStr, max_unpacked: u64) -> Result<Image> {
    match source::locate(what) {
        // What a path's image calls itself does not decide what others mean by that name.
        Some(_) => bring_in(store, what, max_unpacked, |_, _| None),
        None => store.alone(|| ready(store, &store.find(what)?)),
    }
}

/// For words that are neither a path nor anything in the store.
pub(crate) fn none_of_that_name(what: &OsStr) -> Error {
    let text = what.to_string_lossy();
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    Error::new(format_args!("there is no image {text}")).hint(match scheme {
        Some("oci" | "oci-archive" | "docker-archive" | "dir") => "a path stands without such a word in front: --image PATH",
        Some("docker") => "nsctl downloads nothing; skopeo copy docker://NAME oci:DIR does, then --image DIR",
        _ => "no such path, and nothing of that name in nsctl image ls; nsctl downloads nothing, nsctl image import PATH brings one in",
    })
}

/// Whether the words are a path, or PATH:TAG, of something that is there.
pub(crate) fn is_path(what: &OsStr) -> bool {
    source::locate(what).is_some()
}

/// Brings an image of a path into the store, under this name or its own.
pub(crate) fn import(store: &Store, what: &OsStr, name: Option<&str>, max_unpacked: u64) -> Result<Image> {
    bring_in(store, what, max_unpacked, |path, own| match name {
        Some(name) => Some(name.to_string()),
        None => own.map(|own| whole_name(path, own)),
    })
}

fn bring_in(
    store: &Store,
    what: &OsStr,
    max_unpacked: u64,
    name: impl FnOnce(&OsStr, Option<&str>) -> Option<String>,
) -> Result<Image> {
    let Some((path, tag)) = source::locate(what) else {
        return Err(Error::os(format_args!("open {}", what.display()), Errno::NOENT));
    };
    let within = |error: Error| error.within(format_args!("image {}", what.display()));
    let source = open(&path, max_unpacked)?;
    let contents = source.contents(tag.as_deref()).map_err(within)?;
    let name = name(&path, contents.name.as_deref());
    if let Some(name) = &name {
        check_name(name)?;
    }
    import::bring_in(store, &source, &contents, name.as_deref(), max_unpacked).map_err(within)
}

fn open(path: &OsStr, max_unpacked: u64) -> Result<Source> {
    let failed = |errno| Error::os(format_args!("open {}", path.display()), errno);
    let is = |what: &str| Error::new(format_args!("{} is {what}", path.display()));
    match kind(path)? {
        Kind::Layout => {
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let dir = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(failed)?;
            Ok(Source::Layout(dir))
        }
        Kind::Archive => {
            let file = source::open_path(path).map_err(failed)?;
            let archive = archive::Archive::open(file, max_unpacked);
            archive.map(Source::Archive).map_err(|error| error.within(format_args!("image {}", path.display())))
        }
        Kind::Directory => {
            Err(is("a directory without the file oci-layout").hint("it is no image, but may be a root"))
        }
        Kind::FileSystem(name) => {
            Err(is(&format!("a file system, {name}")).hint("it is no image, but may be a root"))
        }
        Kind::Unknown => {
            Err(is("no image").hint("an image is an OCI layout, or an archive of one or of docker save"))
        }
    }
}

/// The image with its lease. To be called alone.
fn ready(store: &Store, record: &Record) -> Result<Image> {
    let lease = store.lease(&record.id).map_err(|errno| store.error("use an image of", errno))?;
    let mut layers: Vec<CString> = Vec::new();
    for part in record.layers.iter().rev() {
        let hex = &part.directory;
        if !store.has(hex) {
            return Err(Error::new(format_args!("layer {} of the image is missing in the store", part.diff_id))
                .hint("import the image again"));
        }
        let path = store.layer_path(hex);
        // overlayfs refuses a directory twice, and what the upper one shows hides all of the lower one.
        if !layers.contains(&path) {
            layers.push(path);
        }
    }
    Ok(Image { id: record.id.clone(), layers, config: record.config.clone(), lease })
}

/// A name that is only a tag is told together with its source's.
fn whole_name(path: &OsStr, name: &str) -> String {
    if name.contains(['/', ':']) {
        return name.to_string();
    }
    let file = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    let mut stem = file.as_ref();
    while let Some(shorter) = [".gz", ".zst", ".tar", ".tgz", ".oci"].iter().find_map(|end| stem.strip_suffix(end)) {
        stem = shorter;
    }
    if stem.is_empty() { name.to_string() } else { format!("{stem}:{name}") }
}

/// Names are shown on terminals and written on command lines.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if !name.is_empty() && name.len() <= 255 && name.chars().all(plain) && !name.starts_with(['-', '/']) {
        return Ok(());
    }
    Err(Error::new(format_args!("{} cannot be the name of an image", fault::shown(name.as_bytes())))
        .hint("1 to 255 letters, digits and . _ - / : @ +; --name NAME gives it another"))
}

#[cfg(test)]
mod tests;
