//! What is done with bytes of an image, with any bytes: for src/fuzz.rs.

use std::io::{Read, sink};
use std::os::fd::BorrowedFd;

use super::archive::Archive;
use super::digest::Digest;
use super::document::{self, Document, Saved};
use super::layer::{self, Expected};
use super::source::Source;
use super::stream::{Budget, Charged, Decoded};
use super::{Config, check_name, config, store, whole_name};
use crate::linux::file;

const MAX: u64 = 1 << 20;

/// Every kind of document. Returns the configuration, if it is one.
pub(crate) fn documents(bytes: &[u8]) -> Option<Config> {
    for tag in [None, Some("latest"), Some("x:1")] {
        if let Ok(index) = Document::parse("it", bytes) {
            let _ = (document::choose(&index, tag), document::choose_platform(&index));
        }
        let _ = Saved::parse(bytes).map(|images| document::choose_saved(&images, tag));
    }
    if let Ok(Ok(manifest)) = Document::parse("it", bytes).map(Document::manifest) {
        manifest.layers.iter().chain([&manifest.config]).for_each(|one| drop(one.digest()));
    }
    store::survives(bytes);
    if let Ok(name) = std::str::from_utf8(bytes) {
        let _ = check_name(&whole_name("/dir/x.tar.gz".as_ref(), name));
    }
    config::parse(bytes).ok().map(|(config, _)| config)
}

/// A tar archive, as an image and as a layer of one; `work` is an empty directory.
pub(crate) fn archive(bytes: &[u8], work: BorrowedFd<'_>) {
    if let Ok(archive) = Archive::open(file::unnamed(bytes).into(), MAX) {
        let source = Source::Archive(archive);
        if let Ok(contents) = source.contents(None).or_else(|_| source.contents(Some("latest"))) {
            let layers: Vec<_> = contents.layers.iter().collect();
            let _ = source.read(&layers, &mut |_, blob| {
                let _ = std::io::copy(blob, &mut sink());
                Ok(())
            });
        }
    }
    let expected = Expected { diff_id: Digest::of(bytes), blob: None };
    let _ = layer::unpack(&mut { bytes }, &expected, work, &Budget::new(MAX));
}

/// Most of an archive are zeros. 0xff: zeros up to a block's end; 0xfe and a number: so many; 0xfd and a byte: that byte.
pub(crate) fn expanded(bytes: &[u8]) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            0xff => all.resize((all.len() + 1).next_multiple_of(512), 0),
            0xfe => all.resize(all.len() + usize::from(rest.next().copied().unwrap_or(1)), 0),
            0xfd => all.extend(rest.next()),
            byte => all.push(*byte),
        }
    }
    all
}

/// A compressed blob.
pub(crate) fn stream(bytes: &[u8]) {
    let mut blob = bytes;
    let Ok(mut decoded) = Decoded::new(&mut blob) else { return };
    let budget = Budget::new(16 * MAX);
    let mut charged = Charged { inner: &mut decoded, budget: &budget };
    let mut buffer = [0; 4096];
    while charged.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
