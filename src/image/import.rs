//! Bringing an image into the store: unpack what is missing, put it into its place, record the image.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use super::digest::Digest;
use super::fault::{Fault, kernel};
use super::inherit::inherit;
use super::layer::{self, Unpacked};
use super::source::{Contents, Layer, Source};
use super::store::{Part, Record, Store, Work};
use super::stream::Budget;
use super::{Image, ready};
use crate::error::{Error, Result};
use crate::linux::{clock, file};

/// A layer of the image on its way into the store.
struct Coming<'a> {
    layer: &'a Layer,
    /// Its name if it took something from the layers beneath it.
    chain: Digest,
    /// None: it was there already, or is the same as one further down.
    unpacked: Option<Unpacked>,
}

impl Coming<'_> {
    fn diff_id(&self) -> Digest {
        self.layer.expected.diff_id
    }

    /// The name that it has or will have in the store.
    fn directory(&self, store: &Store) -> String {
        let own = match &self.unpacked {
            Some(unpacked) => unpacked.implied.is_empty(),
            None => store.has(&self.diff_id().hex()),
        };
        if own { self.diff_id().hex() } else { self.chain.hex() }
    }
}

pub(super) fn bring_in(
    store: &Store,
    source: &Source,
    contents: &Contents,
    name: Option<&str>,
    max_unpacked: u64,
) -> Result<Image> {
    // The usual case when a container is started; it writes nothing, so that a read-only store is as good.
    if let Some(image) = store.alone(|| Ok(known(store, contents, name)))? {
        return Ok(image);
    }
    // Another nsctl can remove a layer that was there between the look and the record: then it is unpacked after all.
    for _ in 0..3 {
        let work = store.work()?;
        let coming = unpack(store, source, contents, &work, max_unpacked)?;
        let done = store.alone(|| {
            for layer in coming.iter().filter(|layer| layer.unpacked.is_some()) {
                let published = work.publish(&layer.diff_id().hex(), &layer.directory(store));
                published.map_err(|errno| store.error("put a layer into", errno))?;
            }
            let Some(parts) = parts(store, &coming)? else { return Ok(None) };
            let record = record(store, contents, name, parts)?;
            if let Some(name) = name {
                store.free_name(name, &record.id)?;
            }
            store.write(&record, &work)?;
            ready(store, &record).map(Some)
        })?;
        if let Some(image) = done {
            return Ok(image);
        }
    }
    Err(Error::new("its layers disappear from the store while it is imported")
        .hint("is another nsctl removing them?"))
}

/// The image, if it is in the store with all its layers and this name.
fn known(store: &Store, contents: &Contents, name: Option<&str>) -> Option<Image> {
    let record = store.record_of(&contents.id.hex())?;
    let named = name.is_none_or(|name| record.names.iter().any(|known| known == name));
    if named { ready(store, &record).ok() } else { None }
}

/// Unpacks the layers that are missing into the working directory and onto the disk.
fn unpack<'a>(
    store: &Store,
    source: &Source,
    contents: &'a Contents,
    work: &Work<'_>,
    max_unpacked: u64,
) -> Result<Vec<Coming<'a>>> {
    let mut coming: Vec<Coming<'a>> = Vec::new();
    let mut missing: Vec<(usize, &Layer)> = Vec::new();
    for (place, layer) in contents.layers.iter().enumerate() {
        let diff_id = layer.expected.diff_id;
        let chain = diff_id.on_top_of(coming.last().map(|lower| lower.chain));
        let known = missing.iter().any(|(_, other)| other.expected.diff_id == diff_id);
        if !known && !store.has(&diff_id.hex()) && !store.has(&chain.hex()) {
            missing.push((place, layer));
        }
        coming.push(Coming { layer, chain, unpacked: None });
    }
    let budget = Budget::new(max_unpacked);
    let layers: Vec<&Layer> = missing.iter().map(|(_, layer)| *layer).collect();
    source.read(&layers, &mut |number, blob| {
        let (place, layer) = missing[number];
        let name = CString::new(layer.expected.diff_id.hex()).unwrap_or_default();
        let dir = work.directory(&name).map_err(|errno| store.error("make a directory in", errno))?;
        coming[place].unpacked = Some(layer::unpack(blob, &layer.expected, dir.as_fd(), &budget)?);
        Ok(())
    })?;
    if !missing.is_empty() {
        let inherited = inherit_all(store, &coming, work);
        inherited.map_err(|fault| fault.at("directories that a layer does not describe"))?;
        // Before the renames, so that after a crash a name never stands for less than all of a layer.
        rustix::fs::syncfs(work.dir()).map_err(|errno| store.error("write layers to the disk of", errno))?;
    }
    Ok(coming)
}

/// From the bottom to the top, since a layer may inherit what the one beneath it inherited.
fn inherit_all(store: &Store, coming: &[Coming<'_>], work: &Work<'_>) -> std::result::Result<(), Fault> {
    let mut lower: Vec<OwnedFd> = Vec::new();
    for layer in coming {
        let root = match &layer.unpacked {
            None => match store.layer_root(&layer.directory(store)) {
                Ok(root) => root,
                // The same as one further down, or removed meanwhile, which is found out when all are put into their place.
                Err(_) => continue,
            },
            Some(unpacked) => {
                let path = CString::new(format!("{}/root", layer.diff_id().hex())).unwrap_or_default();
                let root = file::open_dir(work.dir(), &path).map_err(kernel("open a layer"))?;
                inherit(root.as_fd(), &unpacked.implied, &lower, layer::ids())?;
                root
            }
        };
        lower.insert(0, root);
    }
    Ok(())
}

/// The layers as the record has them. None: one is not in the store any more.
fn parts(store: &Store, coming: &[Coming<'_>]) -> Result<Option<Vec<Part>>> {
    let known = store.records()?;
    let mut parts: Vec<Part> = Vec::new();
    for layer in coming {
        let mut directory = layer.directory(store);
        let diff_id = layer.diff_id().to_string();
        if !store.has(&directory) {
            let Some(same) = parts.iter().find(|part| part.diff_id == diff_id) else { return Ok(None) };
            directory.clone_from(&same.directory);
        }
        let before =
            || known.iter().flat_map(|record| &record.layers).chain(&parts).find(|part| part.diff_id == diff_id);
        let size = match &layer.unpacked {
            Some(unpacked) => unpacked.size,
            None => before().map_or(0, |part| part.size),
        };
        let digest = layer.layer.expected.blob.map_or(layer.diff_id(), |(digest, _)| digest).to_string();
        parts.push(Part { digest, diff_id, directory, size });
    }
    Ok(Some(parts))
}

/// The image's record: what was known of it, and what is new.
fn record(store: &Store, contents: &Contents, name: Option<&str>, layers: Vec<Part>) -> Result<Record> {
    let known = store.records()?;
    let id = contents.id.hex();
    let before = known.iter().find(|record| record.id == id);
    let mut names = before.map(|record| record.names.clone()).unwrap_or_default();
    if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
        names.push(name.to_string());
    }
    let created = before.map_or_else(clock::epoch_seconds, |record| record.created);
    Ok(Record { created, config: contents.config.clone(), layers, id, names })
}
