//! Where an image comes from: a directory in OCI's layout, or an archive of such a one or of `docker save`. What is asked for is
//! the same of both: the documents, then the layers, one after the other.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::archive::Archive;
use super::config::{self, Config};
use super::digest::Digest;
use super::document::{self, Descriptor, Document, Found, Saved};
use super::layer::Expected;
use crate::error::{Error, Result};
use crate::json;

/// How many indexes may lie between the topmost and the manifest.
const MOST_NESTED: usize = 4;

/// What overlayfs puts on top of each other (OVL_MAX_STACK, fs/overlayfs/params.h). Each is looked for among all names of an archive.
const MOST_LAYERS: usize = 500;

/// Of which kind an image's file or directory is.
pub(super) enum Source {
    /// The directory.
    Layout(OwnedFd),
    Archive(Archive),
}

/// An image as its documents tell it.
pub(super) struct Contents {
    /// The digest of its configuration.
    pub(super) id: Digest,
    pub(super) config: Config,
    /// The name or only the tag by which it is known in the source.
    pub(super) name: Option<String>,
    /// Bottommost first.
    pub(super) layers: Vec<Layer>,
}

pub(super) struct Layer {
    pub(super) expected: Expected,
    /// Its file in the source.
    pub(super) file: Vec<u8>,
}

/// What is done with each layer: its number among those asked for, and its blob.
pub(super) type Use<'a> = &'a mut dyn FnMut(usize, &mut dyn Read) -> Result<()>;

impl Source {
    /// What the documents say of the image that `tag` means, or of the only one.
    pub(super) fn contents(&self, tag: Option<&str>) -> Result<Contents> {
        if let Some(text) = self.document(b"manifest.json")? {
            let images = Saved::parse(&text)?;
            let (name, saved) = document::choose_saved(&images, tag)?;
            return self.saved(name, &saved);
        }
        let Some(text) = self.document(b"index.json")? else {
            return Err(Error::new("it has neither index.json nor manifest.json")
                .hint("an image is an OCI layout or what docker save or skopeo copy writes; if this is a root, unpack it: --rootfs DIR"));
        };
        let (name, mut found) = document::choose(&Document::parse("index.json", &text)?, tag)?;
        for _ in 0..MOST_NESTED {
            match found {
                Found::Manifest(descriptor) => return self.manifest(name, &descriptor),
                Found::Index(descriptor) => {
                    let text = self.blob(&descriptor)?;
                    found = document::choose_platform(&Document::parse("a nested index", &text)?)?;
                }
            }
        }
        Err(Error::new("its indexes are nested too deep"))
    }

    fn manifest(&self, name: Option<String>, descriptor: &Descriptor) -> Result<Contents> {
        let manifest = Document::parse("the image's manifest", &self.blob(descriptor)?)?.manifest()?;
        let id = manifest.config.digest()?;
        let (config, diff_ids) = config::parse(&self.blob(&manifest.config)?)?;
        same_number(diff_ids.len(), manifest.layers.len())?;
        let layer = |(diff_id, blob): (Digest, &Descriptor)| {
            let digest = blob.digest()?;
            Ok(Layer { expected: Expected { diff_id, blob: Some((digest, blob.size)) }, file: blob_name(digest) })
        };
        let layers = diff_ids.into_iter().zip(&manifest.layers).map(layer).collect::<Result<_>>()?;
        Ok(Contents { id, config, name, layers })
    }

    fn saved(&self, name: Option<String>, saved: &Saved) -> Result<Contents> {
        let Some(text) = self.document(saved.config.as_bytes())? else {
            return Err(Error::new(format_args!(
                "its configuration {} is missing",
                super::fault::shown(saved.config.as_bytes())
            )));
        };
        let id = Digest::of(&text);
        let stem = saved.config.rsplit('/').next().unwrap_or_default();
        let told = Digest::of_hex(stem.strip_suffix(".json").unwrap_or(stem));
        if told.is_some_and(|told| told != id) {
            return Err(Error::new(format_args!("its configuration {stem} has the digest {id}"))
                .hint("the image is damaged or was changed"));
        }
        let (config, diff_ids) = config::parse(&text)?;
        let files = saved.layers.clone();
        same_number(diff_ids.len(), files.len())?;
        let layer = |(diff_id, file): (Digest, String)| {
            let (file, size) = self.size(file.as_bytes())?;
            let hex = file.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok());
            let blob = hex.and_then(Digest::of_hex).map(|digest| (digest, size));
            Ok(Layer { expected: Expected { diff_id, blob }, file })
        };
        let layers = diff_ids.into_iter().zip(files).map(layer).collect::<Result<_>>()?;
        Ok(Contents { id, config, name, layers })
    }

    /// A document by its name. None: there is no such file.
    fn document(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Archive(archive) => archive.document(name),
            // docker's manifest.json is one of archives alone.
            Self::Layout(_) if name == b"manifest.json" => Ok(None),
            Self::Layout(dir) => match open_regular(dir, OsStr::from_bytes(name)) {
                Ok(file) => small(file, name).map(Some),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(cannot_open(name, errno)),
            },
        }
    }

    /// A document by its digest, which is verified.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = descriptor.digest()?;
        let Some(text) = self.document(&blob_name(digest))? else {
            return Err(Error::new(format_args!("its document {digest} is missing")));
        };
        let found = Digest::of(&text);
        if found != digest || text.len() as u64 != descriptor.size {
            return Err(Error::new(format_args!(
                "its document {digest} has the digest {found} and {} bytes",
                text.len()
            ))
            .hint("the image is damaged or was changed"));
        }
        Ok(text)
    }

    fn size(&self, file: &[u8]) -> Result<(Vec<u8>, u64)> {
        match self {
            Self::Archive(archive) => archive.find(file),
            Self::Layout(_) => Ok((file.to_vec(), 0)),
        }
    }

    /// Reads these layers, in whatever order they come.
    pub(super) fn read(&self, layers: &[&Layer], each: Use<'_>) -> Result<()> {
        match self {
            Self::Archive(archive) => archive.read(layers, each),
            Self::Layout(dir) => layers.iter().enumerate().try_for_each(|(number, layer)| {
                let file = open_regular(dir, OsStr::from_bytes(&layer.file));
                each(number, &mut file.map_err(|errno| cannot_open(&layer.file, errno))?)
            }),
        }
    }
}

fn same_number(diff_ids: usize, layers: usize) -> Result<()> {
    if layers > MOST_LAYERS {
        return Err(Error::new(format_args!(
            "it has {layers} layers, and {MOST_LAYERS} are the most that overlayfs takes"
        )));
    }
    if diff_ids == layers {
        return Ok(());
    }
    Err(Error::new(format_args!("its configuration has {diff_ids} layers, and its manifest {layers}")))
}

fn blob_name(digest: Digest) -> Vec<u8> {
    format!("blobs/sha256/{}", digest.hex()).into_bytes()
}

fn cannot_open(name: &[u8], errno: Errno) -> Error {
    Error::os(format_args!("open {} of the image", super::fault::shown(name)), errno)
}

/// Opens a regular file for reading, and nothing that would block or act on being opened. Links of a layout on the host are
/// followed, as some builders write them: what is read has a digest.
pub(super) fn open_regular(dir: impl rustix::fd::AsFd, name: &OsStr) -> std::result::Result<File, Errno> {
    let dir = dir.as_fd();
    let stat = rustix::fs::statat(dir, name, rustix::fs::AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map(File::from)
}

fn small(file: File, name: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = file.take(json::MOST + 1).read_to_end(&mut text);
    read.map_err(|error| cannot_open(name, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    too_large(text.len() as u64, name)?;
    Ok(text)
}

pub(super) fn too_large(size: u64, name: &[u8]) -> Result<()> {
    if size <= json::MOST {
        return Ok(());
    }
    Err(Error::new(format_args!("its document {} is larger than 4 MiB", super::fault::shown(name))))
}

/// The path that exists, and the tag behind it. None: no path of these words exists.
pub(super) fn locate(what: &OsStr) -> Option<(OsString, Option<String>)> {
    let exists = |path: &OsStr| rustix::fs::stat(path).is_ok();
    if exists(what) {
        return Some((what.to_owned(), None));
    }
    let bytes = what.as_bytes();
    // A tag may have colons itself, and so may a path: the longest path that exists is meant.
    let colons = (0..bytes.len()).rev().filter(|place| bytes[*place] == b':');
    colons.into_iter().find_map(|colon| {
        let (path, tag) = (OsStr::from_bytes(&bytes[..colon]), std::str::from_utf8(&bytes[colon + 1..]).ok()?);
        (exists(path) && !tag.is_empty()).then(|| (path.to_owned(), Some(tag.to_string())))
    })
}

/// Opens the file or directory of the user's words.
pub(super) fn open_path(path: &OsStr) -> std::result::Result<File, Errno> {
    open_regular(CWD, path)
}
