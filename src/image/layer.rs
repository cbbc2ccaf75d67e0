//! One layer: a blob that is a tar archive, unpacked beneath a directory. The blob is read once, and believed when its end is
//! reached and the digests are right; until then the directory is one that nobody looks at.

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::digest::Digest;
use super::entries::{Entries, Entry, Input, Kind};
use super::fault::{Checked, Fault, kernel, refuse, shown};
use super::stream::{BUFFER, Budget, Charged, Decoded, Hashed};
use super::tree::{Attributes, Ids, Tree, Walk, components, set_xattrs};
use crate::error::{Error, Result};
use crate::linux::{file, tree, userns};

/// What an entry costs beside its bytes: the least that a file takes on most file systems.
const ENTRY: u64 = 4096;

/// What a layer must turn out to be.
pub(super) struct Expected {
    /// Of the unpacked tar archive.
    pub(super) diff_id: Digest,
    /// Of the blob as it lies in the image, where the image says so, and its size.
    pub(super) blob: Option<(Digest, u64)>,
}

pub(super) struct Unpacked {
    /// Of the archive, in bytes.
    pub(super) size: u64,
    /// Directories that no entry describes.
    pub(super) implied: Vec<Vec<u8>>,
}

pub(super) fn ids() -> Ids {
    if userns::is_root() { Ids::Kept } else { Ids::Own }
}

/// Fills `work`, an empty directory, with the layer: its tree is `work`/root afterwards.
pub(super) fn unpack(
    blob: &mut dyn Read,
    expected: &Expected,
    work: BorrowedFd<'_>,
    budget: &Budget,
) -> Result<Unpacked> {
    let place = format!("layer {}", expected.diff_id);
    let directory = |name: &CStr| -> Checked<_> {
        rustix::fs::mkdirat(work, name, Mode::RWXU).map_err(kernel("make a directory in the store"))?;
        file::open_dir(work, name).map_err(kernel("open a directory of the store"))
    };
    let root = directory(c"root").map_err(|fault| fault.at(&place))?;
    let gone = directory(c"gone").map_err(|fault| fault.at(&place))?;
    let default = Mode::from_raw_mode(0o755);
    rustix::fs::fchmod(&root, default).map_err(|errno| Fault::kernel("set the mode", errno).at(&place))?;

    let mut compressed = Hashed::new(blob);
    let mut decoded = Decoded::new(&mut compressed).map_err(|error| Fault::from(error).at(&place))?;
    let plain = decoded.is_plain();
    let mut charged = Charged { inner: &mut decoded, budget };
    let mut unpacked = Hashed::new(&mut charged);
    let mut tree = Tree::new(rustix::fd::AsFd::as_fd(&root), rustix::fd::AsFd::as_fd(&gone), ids());
    fill(&mut unpacked, &mut tree, budget, &place)?;
    // What follows the archive's end is a part of what the digests are of.
    let drained = std::io::copy(&mut unpacked, &mut std::io::sink()).map(|_| ());
    drained.map_err(|error| Fault::from(error).at(&place))?;
    let implied = tree.finish().map_err(|(entry, fault)| fault.at(&format!("{place}, entry {entry}")))?;

    let (diff_id, size) = unpacked.finish();
    let same = |what: &str, found: Digest, told: Digest| {
        let sentence = format!("{place}: its {what} has the digest {found}, and the image says {told}");
        if found == told { Ok(()) } else { Err(Error::new(sentence).hint("the image is damaged or was changed")) }
    };
    if let Some((digest, told)) = expected.blob {
        let (found, length) = compressed.finish();
        same("blob", found, digest)?;
        if length != told {
            return Err(Error::new(format_args!("{place}: its blob has {length} bytes, and the image says {told}")));
        }
    }
    same(if plain { "archive" } else { "unpacked archive" }, diff_id, expected.diff_id)?;
    rustix::fs::unlinkat(work, c"gone", AtFlags::REMOVEDIR)
        .map_err(|errno| Fault::kernel("remove a directory of the store", errno).at(&place))?;
    Ok(Unpacked { size, implied })
}

fn fill(archive: &mut dyn Read, tree: &mut Tree<'_>, budget: &Budget, place: &str) -> Result<()> {
    let mut entries = Entries::new(Input::Stream(archive));
    let mut buffer = vec![0; BUFFER];
    while let Some(entry) = entries.next().map_err(|fault| fault.at(place))? {
        let done =
            budget.charge(ENTRY).map_err(Fault::from).and_then(|()| add(&entry, &mut entries, tree, &mut buffer));
        done.map_err(|fault| fault.at(&format!("{place}, entry {}", shown(&entry.name))))?;
    }
    Ok(())
}

fn add(entry: &Entry, contents: &mut dyn Read, tree: &mut Tree<'_>, buffer: &mut [u8]) -> Checked<()> {
    let mut names = components(&entry.name)?;
    if entry.name.is_empty() {
        return refuse("it has no name");
    }
    let Some(name) = names.pop() else {
        return match entry.kind {
            Kind::Directory => describe(entry, c"", tree),
            _ => refuse("only a directory can be the root"),
        };
    };
    if names.iter().any(|parent| parent.to_bytes().starts_with(b".wh.")) {
        return refuse("a whiteout (.wh.) has no contents");
    }
    if let Some(hidden) = name.to_bytes().strip_prefix(b".wh.") {
        return whiteout(entry, &names, hidden, tree);
    }
    // The target first: what is resolved for it must not be undone by what is made for the entry.
    let target = if entry.kind == Kind::HardLink { Some(target(entry, tree)?) } else { None };
    tree.walk(&names, Walk::Make)?;
    match (entry.kind, target) {
        (Kind::Directory, _) => describe(entry, &name, tree),
        (Kind::File, _) => regular(entry, &name, contents, tree, buffer),
        (_, Some((parent, old))) => link(parent, &old, &name, tree),
        (_, None) => special(entry, &name, tree),
    }
}

fn describe(entry: &Entry, name: &CStr, tree: &mut Tree<'_>) -> Checked<()> {
    let ids = tree.ids();
    if name.is_empty() {
        tree.walk(&[], Walk::Find)?;
        set_xattrs(tree.here(), entry, ids)?;
    } else {
        tree.make_directory(name)?;
        if !entry.xattrs.is_empty() {
            let directory = file::open_dir(tree.here(), name).map_err(kernel("open a directory"))?;
            set_xattrs(rustix::fd::AsFd::as_fd(&directory), entry, ids)?;
        }
    }
    tree.keep(name, Attributes::of(entry))
}

fn whiteout(entry: &Entry, parents: &[CString], hidden: &[u8], tree: &mut Tree<'_>) -> Checked<()> {
    if entry.kind != Kind::File {
        return refuse("a whiteout (.wh.) is a file");
    }
    match hidden {
        b"" | b"." | b".." => refuse("the whiteout (.wh.) names nothing that could be hidden"),
        b".wh..opq" => {
            if tree.walk(parents, Walk::Hide)? {
                tree.opaque()
            } else {
                Ok(())
            }
        }
        _ if hidden.starts_with(b".wh.") => refuse("whiteouts of whiteouts (.wh..wh.) are aufs's own and unknown"),
        _ if tree.walk(parents, Walk::Hide)? => {
            tree.whiteout(&CString::new(hidden).map_err(|_| Fault::kernel("hide a name", Errno::INVAL))?)
        }
        _ => Ok(()),
    }
}

fn regular(
    entry: &Entry,
    name: &CStr,
    contents: &mut dyn Read,
    tree: &mut Tree<'_>,
    buffer: &mut [u8],
) -> Checked<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = |tree: &Tree<'_>| rustix::fs::openat(tree.here(), name, flags, Mode::RUSR | Mode::WUSR);
    let fd = match create(tree) {
        Err(Errno::EXIST) => {
            tree.clear_place(name)?;
            create(tree)
        }
        other => other,
    }
    .map_err(kernel("make a file"))?;
    loop {
        let read = match contents.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        file::write_all(&fd, &buffer[..read]).map_err(kernel("write a file"))?;
    }
    Attributes::of(entry).set_file(&fd, entry, tree.ids())
}

/// The directory and the name of a hard link's target. It must be there already, in this layer.
fn target(entry: &Entry, tree: &mut Tree<'_>) -> Checked<(std::os::fd::OwnedFd, CString)> {
    let mut names = match components(&entry.link) {
        Ok(names) => names,
        Err(_) => return Err(Fault::image(format!("it is a hard link to {}, which cannot be", shown(&entry.link)))),
    };
    let Some(old) = names.pop() else { return refuse("it is a hard link to the root") };
    tree.walk(&names, Walk::Find)?;
    match tree::look(tree.here(), &old) {
        Ok((FileType::Directory, _)) => refuse("it is a hard link to a directory"),
        Ok(_) => Ok((rustix::io::fcntl_dupfd_cloexec(tree.here(), 3).map_err(kernel("keep a directory"))?, old)),
        Err(Errno::NOENT) => {
            Err(Fault::image(format!("it is a hard link to {}, which is not in this layer", shown(&entry.link))))
        }
        Err(errno) => Err(Fault::kernel("look at the target of a hard link", errno)),
    }
}

fn link(parent: std::os::fd::OwnedFd, old: &CStr, name: &CStr, tree: &mut Tree<'_>) -> Checked<()> {
    let make = |tree: &Tree<'_>| rustix::fs::linkat(&parent, old, tree.here(), name, AtFlags::empty());
    match make(tree) {
        Err(Errno::EXIST) if same(&parent, old, tree.here(), name)? => Ok(()),
        Err(Errno::EXIST) => {
            tree.clear_place(name)?;
            make(tree)
        }
        other => other,
    }
    .map_err(kernel("make a hard link"))
}

fn same(parent: &std::os::fd::OwnedFd, old: &CStr, here: BorrowedFd<'_>, name: &CStr) -> Checked<bool> {
    let number = |dir: BorrowedFd<'_>, name: &CStr| {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(kernel("look at a hard link"))?;
        Ok::<_, Fault>((stat.st_dev, stat.st_ino))
    };
    Ok(number(rustix::fd::AsFd::as_fd(parent), old)? == number(here, name)?)
}

fn special(entry: &Entry, name: &CStr, tree: &mut Tree<'_>) -> Checked<()> {
    let (kind, device) = match entry.kind {
        Kind::Character => (FileType::CharacterDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
        Kind::Block => (FileType::BlockDevice, rustix::fs::makedev(entry.device.0, entry.device.1)),
        Kind::Symlink => (FileType::Symlink, 0),
        Kind::Fifo => (FileType::Fifo, 0),
        Kind::File | Kind::Directory | Kind::HardLink => return Ok(()),
    };
    // A user may make no device; a container gets its own in /dev.
    if tree.ids() == Ids::Own && device != 0 {
        return Ok(());
    }
    let target = CString::new(entry.link.as_slice()).map_err(|_| Fault::kernel("make a link", Errno::INVAL))?;
    let make = |tree: &Tree<'_>| match entry.kind {
        Kind::Symlink => rustix::fs::symlinkat(&target, tree.here(), name),
        _ => rustix::fs::mknodat(tree.here(), name, kind, Mode::RUSR, device),
    };
    match make(tree) {
        Err(Errno::EXIST) => {
            tree.clear_place(name)?;
            make(tree)
        }
        other => other,
    }
    .map_err(kernel("make a link or a device"))?;
    Attributes::of(entry).set_other(tree.here(), name, entry, tree.ids())
}

#[cfg(test)]
mod tests;
