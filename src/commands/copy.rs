//! `nsctl cp`: files into and out of a running container.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::cli;
use crate::commands::container::{self, REFUSED};
use crate::copy::{self, Plant, Side, Sink, Stream, Target};
use crate::error::{Error, Result};
use crate::image::{Decoded, Entries, Input};

#[inline(never)]
pub(crate) fn copy(typed: &cli::Copy) -> Result<u8> {
    copied(typed).map_err(|error| error.code(REFUSED))
}

fn copied(typed: &cli::Copy) -> Result<u8> {
    let (from, source) = split(&typed.source);
    let (to, dest) = split(&typed.dest);
    match (from, to) {
        (Some(from), None) => {
            let side = container(from)?;
            out_of(&side, from, source, dest, typed)?;
        }
        (None, Some(to)) => {
            let side = container(to)?;
            into(&side, to, source, dest, typed)?;
        }
        (None, None) => return Err(Error::new("nsctl cp: neither is in a container").hint("CONTAINER:PATH is")),
        (Some(_), Some(_)) => {
            return Err(Error::new("nsctl cp: both are in containers").hint("nsctl cp A:PATH - | nsctl cp - B:PATH"));
        }
    }
    Ok(0)
}

/// The container, if the word has one, and the path. docker's rule: what begins with / or . is local.
fn split(word: &OsStr) -> (Option<&OsStr>, &[u8]) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b':') {
        Some(at) if !matches!(bytes[0], b'/' | b'.' | b':') => {
            (Some(OsStr::from_bytes(&bytes[..at])), &bytes[at + 1..])
        }
        _ => (None, bytes),
    }
}

/// Says on which side it was.
fn on(error: Error, container: Option<&OsStr>) -> Error {
    match container {
        Some(name) => error.within(format_args!("in container {}", name.display())),
        None => error.within("on the host"),
    }
}

fn out_of(side: &Side, name: &OsStr, source: &[u8], dest: &[u8], typed: &cli::Copy) -> Result<()> {
    let end = existing(side, source, typed.follow).map_err(|error| on(error, Some(name)))?;
    if dest == b"-" {
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new("nsctl cp: a tar archive is not for a terminal").hint("redirect standard output"));
        }
        let mut stream = Stream::new();
        let top = if is_contents(source) { &[] } else { end.name.to_bytes() };
        copy::walk(&end, top, &mut stream)?;
        return stream.finish();
    }
    plant(&Side::Host, None, &end, source, dest, typed)
}

fn into(side: &Side, name: &OsStr, source: &[u8], dest: &[u8], typed: &cli::Copy) -> Result<()> {
    if source != b"-" {
        let end = existing(&Side::Host, source, typed.follow).map_err(|error| on(error, None))?;
        return plant(side, Some(name), &end, source, dest, typed);
    }
    let base = side.end(dest, true).and_then(|end| end.directory());
    let base = base.map_err(|errno| {
        let error = Error::os(format_args!("copy to {}", String::from_utf8_lossy(dest)), errno);
        on(error, Some(name)).hint("an archive goes into a directory")
    })?;
    let mut plant = Plant::new(base, true, true).following(side, dest);
    let failed = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Error::os("read standard input", errno)
    };
    let mut stdin = File::from(rustix::stdio::stdin().try_clone_to_owned().map_err(failed)?);
    let mut decoded = Decoded::new(&mut stdin).map_err(failed)?;
    let mut entries = Entries::new(Input::Stream(&mut decoded));
    while let Some(entry) = entries.next().map_err(|fault| fault.at("standard input"))? {
        plant.put(&entry, &mut entries)?;
    }
    // Whoever writes it is not to find a closed pipe.
    let mut rest = [0; 4096];
    while decoded.read(&mut rest).map_err(failed)? > 0 {}
    plant.finish()
}

fn plant(
    to: &Side,
    name: Option<&OsStr>,
    end: &copy::End,
    source: &[u8],
    dest: &[u8],
    typed: &cli::Copy,
) -> Result<()> {
    let target = copy::target(to, dest, source, end.kind == Some(FileType::Directory));
    let Target { base, top } = target.map_err(|error| on(error, name))?;
    let mut plant = Plant::new(base, typed.archive, typed.archive);
    copy::walk(end, &top, &mut plant)?;
    plant.finish()
}

fn is_contents(source: &[u8]) -> bool {
    matches!(source.rsplit(|byte| *byte == b'/').next(), Some(b"." | b".."))
}

fn existing(side: &Side, path: &[u8], follow: bool) -> Result<copy::End> {
    let failed = |errno| Error::os(format_args!("copy {}", String::from_utf8_lossy(path)), errno);
    let end = side.end(path, follow).map_err(failed)?;
    match end.kind {
        None => Err(failed(Errno::NOENT)),
        Some(kind) if kind != FileType::Directory && path.ends_with(b"/") => Err(failed(Errno::NOTDIR)),
        _ => Ok(end),
    }
}

/// The root of a running container, as a handle.
fn container(word: &OsStr) -> Result<Side> {
    let word = word.to_string_lossy();
    let container = container::find(&word)?;
    container.must_be_made()?;
    let record = container.record();
    let failed = |errno| {
        Error::os(format_args!("open the root of container {word}"), errno)
            .hint("does it run still, and is it this user's?")
    };
    let path = CString::new(format!("/proc/{}/root", record.pid)).unwrap_or_default();
    // A link of procfs that leads to the root itself, whatever its text is.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(failed)?;
    // It runs still: so that was its root, and not that of another with the same number.
    container.process()?;
    container.note("copy", &[]);
    Ok(Side::Container(root))
}
