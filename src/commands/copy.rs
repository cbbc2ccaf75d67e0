//! `nsctl cp`: files into and out of a container.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use linux_raw_sys::general as k;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::cli;
use crate::commands::container::{self, REFUSED};
use crate::commands::rootless;
use crate::commands::start::Files;
use crate::copy::{self, Plant, Side, Sink, Stream, Target};
use crate::error::{Error, Result};
use crate::image::{Decoded, Entries, Input};
use crate::linux::mounts::{self, Mount};
use crate::linux::userns::Maps;
use crate::state::UserNamespace;

/// The side that is in a container.
struct There<'a> {
    name: &'a OsStr,
    side: Side,
    /// Of one that has ended.
    files: Option<Files>,
    /// Its own ids, if root gave it some.
    ids: Option<Maps>,
}

#[inline(never)]
pub(crate) fn copy(typed: &cli::Copy) -> Result<u8> {
    copied(typed).map_err(|error| error.code(REFUSED))
}

fn copied(typed: &cli::Copy) -> Result<u8> {
    let (from, source) = split(&typed.source);
    let (to, dest) = split(&typed.dest);
    match (from, to) {
        (Some(from), None) => {
            let there = There::new(from)?;
            if there.files.as_ref().is_some_and(|files| files.in_memory) {
                eprintln!(
                    "nsctl: warning: {} has ended, and with it what it changed in memory: these are the files of its next start",
                    from.display()
                );
            }
            out_of(&there, source, dest, typed)?;
        }
        (None, Some(to)) => {
            into(&There::new(to)?, source, dest, typed)?;
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
fn on(error: Error, there: Option<&There<'_>>) -> Error {
    match there {
        Some(there) => error.within(format_args!("in container {}", there.name.display())),
        None => error.within("on the host"),
    }
}

fn out_of(there: &There<'_>, source: &[u8], dest: &[u8], typed: &cli::Copy) -> Result<()> {
    let end = existing(&there.side, source, typed.follow).map_err(|error| on(error, Some(there)))?;
    if dest == b"-" {
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new("nsctl cp: a tar archive is not for a terminal").hint("redirect standard output"));
        }
        let mut stream = Stream::new();
        let top = if is_contents(source) { &[] } else { end.name.to_bytes() };
        copy::walk(&end, top, there.ids(), &mut stream)?;
        return stream.finish();
    }
    plant((Some(there), None), &end, source, dest, typed)
}

fn into(there: &There<'_>, source: &[u8], dest: &[u8], typed: &cli::Copy) -> Result<()> {
    if source != b"-" {
        let end = existing(&Side::Host, source, typed.follow).map_err(|error| on(error, None))?;
        return plant((None, Some(there)), &end, source, dest, typed);
    }
    let base = there.side.end(dest, true).and_then(|end| end.directory());
    let base = base.map_err(|errno| {
        let error = Error::os(format_args!("copy to {}", String::from_utf8_lossy(dest)), errno);
        on(error, Some(there)).hint("an archive goes into a directory")
    })?;
    there.must_last(base.as_fd(), dest)?;
    let mut plant = Plant::new(base, true, true).with_ids(there.ids())?.following(&there.side, dest);
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

/// `from` and `there` are the sides that are in a container.
fn plant(
    (from, there): (Option<&There<'_>>, Option<&There<'_>>),
    end: &copy::End,
    source: &[u8],
    dest: &[u8],
    typed: &cli::Copy,
) -> Result<()> {
    let side = there.map_or(&Side::Host, |there| &there.side);
    let target = copy::target(side, dest, source, end.kind == Some(FileType::Directory));
    let Target { base, top } = target.map_err(|error| on(error, there))?;
    there.map_or(Ok(()), |there| there.must_last(base.as_fd(), dest))?;
    let mut plant = Plant::new(base, typed.archive, typed.archive).with_ids(there.and_then(There::ids))?;
    // Without -a all becomes the caller's, who is not the container's root: so that whose set-id bits those are is seen.
    copy::walk(end, &top, from.and_then(There::ids).filter(|_| typed.archive), &mut plant)?;
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

impl<'a> There<'a> {
    /// Its root is a handle; of one that has ended it is there as long as the files.
    fn new(name: &'a OsStr) -> Result<Self> {
        let word = name.to_string_lossy();
        let container = container::find(&word)?;
        let files = if container.entry.alive {
            container.must_have_its_files()?;
            rootless::join(&container)?;
            None
        } else {
            Some(Files::make(&container)?)
        };
        let failed = |errno| {
            Error::os(format_args!("open the root of container {word}"), errno)
                .hint("does it run still, and is it this user's?")
        };
        let pid = files.as_ref().map_or(container.record().pid, Files::pid);
        let path = CString::new(format!("/proc/{pid}/root")).unwrap_or_default();
        // A link of procfs that leads to the root itself, whatever its text is.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(failed)?;
        if files.is_none() {
            // It lives still: so that was its root, and not that of another with the same number.
            container.process()?;
        }
        container.note("copy", &[]);
        let ids = match &files {
            Some(files) => files.ids().cloned(),
            None => container.record().user_namespace.as_ref().map(UserNamespace::maps),
        };
        Ok(Self { name, side: Side::Container(root), files, ids })
    }

    fn ids(&self) -> Option<&Maps> {
        self.ids.as_ref()
    }

    /// What would be written to the memory of files that go at once is not written at all. What the host has mounted, too, is a
    /// volume.
    fn must_last(&self, base: BorrowedFd<'_>, dest: &[u8]) -> Result<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let shown = String::from_utf8_lossy(dest);
        let failed = |errno| Error::os(format_args!("copy to {shown}"), errno);
        let magic = rustix::fs::fstatfs(base).map_err(failed)?.f_type as u32;
        let device = rustix::fs::fstat(base).map_err(failed)?.st_dev;
        let in_memory = magic == k::TMPFS_MAGIC || magic == k::OVERLAYFS_SUPER_MAGIC && files.in_memory;
        let is_there = |mount: &Mount| {
            matches!(mount.fs.as_str(), "tmpfs" | "devtmpfs" | "overlay")
                && rustix::fs::stat(mount.target.as_str()).is_ok_and(|stat| stat.st_dev == device)
        };
        if !in_memory || mounts::all().map_err(failed)?.iter().any(is_there) {
            return Ok(());
        }
        let error = Error::new(format_args!(
            "copy to {shown}: it has ended, and has that in memory, made anew at each start"
        ));
        Err(on(error, Some(self))
            .hint("start it first, or copy to a volume; with --rw or --overlay-upper its files stay"))
    }
}
