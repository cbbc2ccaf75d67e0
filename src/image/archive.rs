//! An image in one file: a tar archive, perhaps compressed as a whole. It is read in passes: the first collects the small
//! documents and where everything is; a layer is then read in place, or, where nothing can be skipped, in one further pass for
//! all of them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::entries::{Entries, Input, Kind};
use super::fault::{Checked, Fault, refuse, shown};
use super::source::{Layer, Use, too_large};
use super::stream::{Budget, Charged, Decoded};
use super::tree::components;
use crate::error::{Error, Result};
use crate::json;

/// Of documents and names that are kept in memory, in bytes.
const MOST_KEPT: usize = 16 << 20;

pub(super) struct Archive {
    file: File,
    /// What a compressed archive as a whole may unpack to.
    max: u64,
    /// In the archive's order; of several with one name the last counts.
    items: Vec<(Vec<u8>, Item)>,
}

enum Item {
    File(Content),
    /// docker before 25 has a layer once, and links to it.
    Link(Vec<u8>),
}

struct Content {
    size: u64,
    /// Where it begins, if it can be read in place.
    offset: Option<u64>,
    /// All of it, if it may be a document.
    text: Option<Vec<u8>>,
}

impl Archive {
    pub(super) fn open(file: File, max: u64) -> Result<Self> {
        let mut archive = Self { file, max, items: Vec::new() };
        let mut items = Vec::new();
        let mut kept = 0;
        let pass = archive.pass(&mut |entries| {
            while let Some(entry) = entries.next()? {
                let item = match entry.kind {
                    Kind::File => {
                        let offset = entries.offset();
                        Item::File(Content { size: entry.size, offset, text: text(entry.size, entries)? })
                    }
                    Kind::Symlink | Kind::HardLink => Item::Link(target(&entry.name, &entry.link, entry.kind)?),
                    _ => continue,
                };
                let name = plain(&entry.name)?;
                kept += name.len() + size_of::<Item>() + item.kept();
                if kept > MOST_KEPT {
                    return refuse("it has more than 16 MiB of names and documents, which no image has");
                }
                items.push((name, item));
            }
            Ok(())
        });
        pass.map_err(|fault| fault.at("the archive"))?;
        archive.items = items;
        Ok(archive)
    }

    /// Reads the archive from the start.
    fn pass(&self, each: &mut dyn FnMut(&mut Entries<'_>) -> Checked<()>) -> Checked<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        if !self.is_compressed()? {
            return each(&mut Entries::new(Input::File(&self.file)));
        }
        let budget = Budget::new(self.max);
        let mut decoded = Decoded::new(&mut file)?;
        let mut charged = Charged { inner: &mut decoded, budget: &budget };
        each(&mut Entries::new(Input::Stream(&mut charged)))
    }

    fn is_compressed(&self) -> Checked<bool> {
        let mut file = &self.file;
        let plain = Decoded::new(&mut file)?.is_plain();
        file.seek(SeekFrom::Start(0))?;
        Ok(!plain)
    }

    /// A file by its name, through links, with its own name.
    fn item(&self, name: &[u8]) -> Option<(Vec<u8>, &Content)> {
        let mut name = plain(name).ok()?;
        for _ in 0..8 {
            match &self.items.iter().rev().find(|(known, _)| *known == name)?.1 {
                Item::Link(target) => name = target.clone(),
                Item::File(content) => return Some((name, content)),
            }
        }
        None
    }

    pub(super) fn document(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.item(name) {
            None => Ok(None),
            Some((_, Content { text: Some(text), .. })) => Ok(Some(text.clone())),
            Some((_, content)) => {
                too_large(content.size, name)?;
                Err(Error::new(format_args!("its document {} is not JSON", shown(name))))
            }
        }
    }

    /// The name of the file that the path leads to, and its size.
    pub(super) fn find(&self, path: &[u8]) -> Result<(Vec<u8>, u64)> {
        match self.item(path) {
            Some((name, content)) => Ok((name, content.size)),
            None => Err(Error::new(format_args!("its file {} is missing", shown(path)))),
        }
    }

    pub(super) fn read(&self, layers: &[&Layer], each: Use<'_>) -> Result<()> {
        let mut later: Vec<(usize, Vec<u8>)> = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let Some((name, Content { size, offset, .. })) = self.item(&layer.file) else {
                return Err(Error::new(format_args!("its file {} is missing", shown(&layer.file))));
            };
            let Some(offset) = offset else {
                later.push((number, name));
                continue;
            };
            let mut file = &self.file;
            let sought = file.seek(SeekFrom::Start(*offset));
            sought.map_err(|error| Fault::from(error).at("the archive"))?;
            each(number, &mut file.take(*size))?;
        }
        if later.is_empty() { Ok(()) } else { self.read_through(later, each) }
    }

    fn read_through(&self, mut wanted: Vec<(usize, Vec<u8>)>, each: Use<'_>) -> Result<()> {
        let mut failed = None;
        let pass = self.pass(&mut |entries| {
            while let Some(entry) = entries.next()? {
                let name = plain(&entry.name)?;
                let here: Vec<usize> = wanted.iter().filter(|(_, want)| *want == name).map(|(n, _)| *n).collect();
                // A second file of that name, or a second layer in the same file, has no other contents.
                let Some(number) = here.first().filter(|_| entry.kind == Kind::File) else { continue };
                if let Err(error) = each(*number, entries) {
                    failed = Some(error);
                    return Ok(());
                }
                wanted.retain(|(_, want)| *want != name);
                if wanted.is_empty() {
                    return Ok(());
                }
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => pass.map_err(|fault| fault.at("the archive")),
        }
    }
}

impl Item {
    fn kept(&self) -> usize {
        match self {
            Self::File(content) => content.text.as_ref().map_or(0, Vec::len),
            Self::Link(target) => target.len(),
        }
    }
}

/// The contents, if they may be a JSON document.
fn text(size: u64, contents: &mut dyn Read) -> Checked<Option<Vec<u8>>> {
    let mut text = vec![0; usize::from(size > 0 && size <= json::MOST)];
    contents.read_exact(&mut text)?;
    if !matches!(text.first(), Some(b'{' | b'[')) {
        return Ok(None);
    }
    contents.read_to_end(&mut text)?;
    Ok(Some(text))
}

/// A name without "./" and doubled slashes.
fn plain(name: &[u8]) -> Checked<Vec<u8>> {
    Ok(components(name)?.iter().map(|component| component.to_bytes()).collect::<Vec<_>>().join(&b'/'))
}

/// The name of the entry that a link means: a symbolic one begins in its own directory, a hard one at the top.
fn target(name: &[u8], link: &[u8], kind: Kind) -> Checked<Vec<u8>> {
    let own = components(name)?;
    let mut way: Vec<&[u8]> = match kind {
        Kind::Symlink => own.iter().rev().skip(1).rev().map(|component| component.to_bytes()).collect(),
        _ => Vec::new(),
    };
    for component in link.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if way.pop().is_none() => return refuse("a link in it leads out of it"),
            b".." => {}
            _ => way.push(component),
        }
    }
    Ok(way.join(&b'/'))
}

#[cfg(test)]
mod tests;
