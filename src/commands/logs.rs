//! `nsctl logs`: what a detached container wrote, each stream to where it belongs. The format is that of the monitor's log.

use std::ffi::CStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FlockOperation};
use rustix::io::Errno;

use super::container::{Container, REFUSED, find};
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::{clock, file, text};
use crate::spec;
use crate::state::{LOG, OLD_LOG};

const STAMP: usize = 30;

struct Wanted {
    /// As the log has them, which sorts as time does.
    since: Option<[u8; STAMP]>,
    until: Option<[u8; STAMP]>,
    stamps: bool,
    /// So many lines at the end.
    tail: Option<u64>,
}

pub(crate) fn logs(typed: &cli::Verb) -> Result<u8> {
    let container = find(&typed.containers[0])?;
    let tail = match typed.tail.as_deref() {
        None | Some("all") => None,
        // docker's: less than none are all.
        Some(text) => match text.parse::<i64>() {
            Ok(lines) => u64::try_from(lines).ok(),
            Err(_) => {
                return Err(Error::new(format_args!("--tail {text} is no number of lines")).hint("a number, or all"));
            }
        },
    };
    let wanted = Wanted {
        since: moment("--since", typed.since.as_deref())?,
        until: moment("--until", typed.until.as_deref())?,
        stamps: typed.timestamps,
        tail,
    };
    if !container.record().kept {
        return Err(container.refused("runs in the foreground").hint("its output goes to whoever started it"));
    }
    show(&container, &wanted, typed.follow).map_err(|errno| match errno {
        Errno::NOENT => container.refused("has no log").hint("it was made with --log none"),
        errno => Error::os(format_args!("read the log of container {}", container.shown()), errno).code(REFUSED),
    })?;
    Ok(0)
}

fn moment(option: &str, typed: Option<&str>) -> Result<Option<[u8; STAMP]>> {
    typed.map(|typed| spec::moment(option, typed, clock::epoch()).map(clock::stamp)).transpose()
}

fn show(container: &Container, wanted: &Wanted, follow: bool) -> std::result::Result<(), Errno> {
    let dir = container.dir();
    // Opened in this order, no line is missed should the log be begun anew between the two: it is shown twice at most, and the inode
    // tells.
    let mut current = open(dir, LOG)?;
    let old = open(dir, OLD_LOG).ok();
    if let Some(old) = &old
        && rustix::fs::fstat(old)?.st_ino == rustix::fs::fstat(&current)?.st_ino
    {
        current = open(dir, LOG)?;
    }
    let watch = if follow { Some(watch(container)?) } else { None };
    let mut shown = Shown { wanted, skip: 0, open: [false; 2] };
    if let Some(tail) = wanted.tail {
        shown.skip = lines(old.iter().chain([&current]), wanted)?.saturating_sub(tail);
    }
    if let Some(old) = old {
        shown.print(&mut reader(&old)?)?;
    }
    let mut lines = reader(&current)?;
    loop {
        shown.print(&mut lines)?;
        let Some(watch) = &watch else { return Ok(()) };
        // Asked before the last look, so that what came in between is seen.
        let alive = container.entry.alive && container.process().is_ok_and(|process| !process.wait(Some(0)));
        if shown.print(&mut lines)? {
            continue;
        }
        if begun_anew(container, &current) {
            // What was written before that is shown first.
            shown.print(&mut lines)?;
            current = open(dir, LOG)?;
            lines = reader(&current)?;
        } else if !alive {
            return Ok(());
        } else {
            wait(watch);
        }
    }
}

/// While somebody has it open so, nsctl inside does not let go of it for a newer one: see `monitor::log`.
fn open(dir: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let log = file::open_no_link(dir, name)?;
    rustix::fs::flock(&log, FlockOperation::LockShared)?;
    Ok(log)
}

fn reader(file: &OwnedFd) -> std::result::Result<BufReader<File>, Errno> {
    let file = rustix::io::dup(file)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(BufReader::new(File::from(file)))
}

/// One line of the log, as far as it is whole.
struct Line<'a> {
    stamp: &'a [u8],
    errors: bool,
    /// As it was written, with its newline if it had one.
    text: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (stamp, rest) = line.split_at_checked(STAMP)?;
    let (errors, rest) = match rest.strip_prefix(b" stdout ") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b" stderr ")?),
    };
    let text = match rest.strip_prefix(b"P ") {
        Some(part) => part.strip_suffix(b"\n")?,
        None => rest.strip_prefix(b"F ").filter(|text| text.ends_with(b"\n"))?,
    };
    Some(Line { stamp, errors, text })
}

impl Wanted {
    fn has(&self, line: &Line<'_>) -> bool {
        self.since.as_ref().is_none_or(|since| line.stamp >= &since[..])
            && self.until.as_ref().is_none_or(|until| line.stamp <= &until[..])
    }
}

/// How many lines of those wanted the logs have together; what has no end yet counts as one, of each stream.
fn lines<'a>(logs: impl Iterator<Item = &'a OwnedFd>, wanted: &Wanted) -> std::result::Result<u64, Errno> {
    let (mut count, mut open) = (0, [false; 2]);
    let mut bytes = Vec::new();
    for log in logs {
        let mut reader = reader(log)?;
        while read(&mut reader, &mut bytes)? {
            if let Some(line) = parse(&bytes).filter(|line| wanted.has(line)) {
                let ends = line.text.ends_with(b"\n");
                open[usize::from(line.errors)] = !ends;
                count += u64::from(ends);
            }
            bytes.clear();
        }
    }
    Ok(count + open.into_iter().map(u64::from).sum::<u64>())
}

/// False: there is no more. A line that is being written is left in the file.
fn read(reader: &mut BufReader<File>, bytes: &mut Vec<u8>) -> std::result::Result<bool, Errno> {
    let length =
        reader.read_until(b'\n', bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if length > 0 && !bytes.ends_with(b"\n") {
        let _ = reader.seek_relative(-(length as i64));
        return Ok(false);
    }
    Ok(length > 0)
}

/// What has been shown, and what still has to be.
struct Shown<'a> {
    wanted: &'a Wanted,
    /// So many lines are not.
    skip: u64,
    /// Of output and errors: the last line has no end yet.
    open: [bool; 2],
}

impl Shown<'_> {
    /// All that there is; whether there was any.
    fn print(&mut self, reader: &mut BufReader<File>) -> std::result::Result<bool, Errno> {
        let mut bytes = Vec::new();
        let mut some = false;
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        while read(reader, &mut bytes)? {
            some = true;
            if let Some(line) = parse(&bytes).filter(|line| self.wanted.has(line)) {
                let to: &mut dyn Write = if line.errors { &mut err } else { &mut out };
                self.show(&line, to).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            }
            bytes.clear();
        }
        Ok(some)
    }

    fn show(&mut self, line: &Line<'_>, to: &mut dyn Write) -> std::io::Result<()> {
        let ends = line.text.ends_with(b"\n");
        if self.skip > 0 {
            self.skip -= u64::from(ends);
            return Ok(());
        }
        // A long line was written down in parts.
        let begins = !std::mem::replace(&mut self.open[usize::from(line.errors)], !ends);
        if self.wanted.stamps && begins {
            to.write_all(line.stamp)?;
            to.write_all(b" ")?;
        }
        to.write_all(line.text)?;
        to.flush()
    }
}

fn begun_anew(container: &Container, current: &OwnedFd) -> bool {
    let now = rustix::fs::statat(container.dir(), LOG, AtFlags::SYMLINK_NOFOLLOW);
    let ours = rustix::fs::fstat(current);
    matches!((now, ours), (Ok(now), Ok(ours)) if now.st_ino != ours.st_ino)
}

fn watch(container: &Container) -> std::result::Result<OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::DELETE;
    inotify::add_watch(&watch, text::fd_path(container.dir()).as_c_str(), flags)?;
    Ok(watch)
}

/// Until something happens in the container's directory, or for a second: the end of a killed one is no event there.
fn wait(watch: &OwnedFd) {
    let time = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut polled = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut polled, Some(&time));
    let mut events = [0u8; 1024];
    while rustix::io::read(watch.as_fd(), &mut events[..]).is_ok_and(|length| length > 0) {}
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(bytes: &[u8]) {
    let _ = parse(bytes);
    let wanted = Wanted { stamps: true, tail: None, since: None, until: None };
    let count = lines([file::unnamed(bytes)].iter(), &wanted).unwrap();
    assert!(count <= bytes.len() as u64);
    let mut shown = Shown { wanted: &wanted, skip: count / 2, open: [false; 2] };
    bytes.split_inclusive(|byte| *byte == b'\n').filter_map(parse).for_each(|line| {
        let _ = shown.show(&line, &mut std::io::sink());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back() {
        let line = parse(b"2024-02-29T23:59:59.000007080Z stdout F text\n").unwrap();
        assert_eq!(
            (line.stamp, line.errors, line.text),
            (&b"2024-02-29T23:59:59.000007080Z"[..], false, &b"text\n"[..])
        );
        let part = parse(b"2024-02-29T23:59:59.000007080Z stderr P part\n").unwrap();
        assert_eq!((part.errors, part.text), (true, &b"part"[..]));
        let empty = parse(b"2024-02-29T23:59:59.000007080Z stdout F \n").unwrap();
        assert_eq!(empty.text, b"\n");
        for wrong in [&b""[..], b"x\n", b"2024-02-29T23:59:59.000007080Z stdin F text\n"] {
            assert!(parse(wrong).is_none());
        }
    }
}
