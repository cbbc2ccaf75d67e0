//! `nsctl logs`: what a detached container wrote, each stream to where it belongs. The format is that of the monitor's log.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;

use rustix::fs::AtFlags;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
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
        Some(text) => Some(
            text.parse()
                .map_err(|_| Error::new(format!("--tail {text} is no number of lines")).hint("a number, or all"))?,
        ),
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
        errno => Error::os(format!("read the log of container {}", container.shown()), errno).code(REFUSED),
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
    let mut current = file::open(dir, LOG)?;
    let old = file::open(dir, OLD_LOG).ok();
    if let Some(old) = &old
        && rustix::fs::fstat(old)?.st_ino == rustix::fs::fstat(&current)?.st_ino
    {
        current = file::open(dir, LOG)?;
    }
    let watch = if follow { Some(watch(container)?) } else { None };
    let mut skip = match wanted.tail {
        None => 0,
        Some(tail) => {
            let files = old.iter().chain([&current]);
            let lines: u64 =
                files.map(|file| lines(file, wanted)).collect::<std::result::Result<Vec<_>, _>>()?.iter().sum();
            lines.saturating_sub(tail)
        }
    };
    if let Some(old) = old {
        print(&mut reader(&old)?, wanted, &mut skip)?;
    }
    let mut lines = reader(&current)?;
    loop {
        print(&mut lines, wanted, &mut skip)?;
        let Some(watch) = &watch else { return Ok(()) };
        // Asked before the last look, so that what came in between is seen.
        let alive = container.entry.alive && container.process().is_ok_and(|process| !process.wait(Some(0)));
        if print(&mut lines, wanted, &mut skip)? {
            continue;
        }
        if begun_anew(container, &current) {
            // What was written before that is shown first.
            print(&mut lines, wanted, &mut skip)?;
            current = file::open(dir, LOG)?;
            lines = reader(&current)?;
        } else if !alive {
            return Ok(());
        } else {
            wait(watch);
        }
    }
}

fn reader(file: &std::os::fd::OwnedFd) -> std::result::Result<BufReader<File>, Errno> {
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

/// How many whole lines of those wanted a log has; a part at its end counts as one.
fn lines(log: &std::os::fd::OwnedFd, wanted: &Wanted) -> std::result::Result<u64, Errno> {
    let (mut count, mut open) = (0, false);
    let mut reader = reader(log)?;
    let mut bytes = Vec::new();
    while read(&mut reader, &mut bytes)? {
        if let Some(line) = parse(&bytes).filter(|line| wanted.has(line)) {
            open = !line.text.ends_with(b"\n");
            count += u64::from(!open);
        }
        bytes.clear();
    }
    Ok(count + u64::from(open))
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

/// Whether there was any.
fn print(reader: &mut BufReader<File>, wanted: &Wanted, skip: &mut u64) -> std::result::Result<bool, Errno> {
    let mut bytes = Vec::new();
    let mut some = false;
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    while read(reader, &mut bytes)? {
        some = true;
        let Some(line) = parse(&bytes).filter(|line| wanted.has(line)) else {
            bytes.clear();
            continue;
        };
        if *skip > 0 {
            *skip -= u64::from(line.text.ends_with(b"\n"));
        } else {
            let to: &mut dyn Write = if line.errors { &mut err } else { &mut out };
            let stamp = if wanted.stamps { [line.stamp, b" "].concat() } else { Vec::new() };
            let done = to.write_all(&stamp).and_then(|()| to.write_all(line.text)).and_then(|()| to.flush());
            done.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        bytes.clear();
    }
    Ok(some)
}

fn begun_anew(container: &Container, current: &std::os::fd::OwnedFd) -> bool {
    let now = rustix::fs::statat(container.dir(), LOG, AtFlags::SYMLINK_NOFOLLOW);
    let ours = rustix::fs::fstat(current);
    matches!((now, ours), (Ok(now), Ok(ours)) if now.st_ino != ours.st_ino)
}

fn watch(container: &Container) -> std::result::Result<std::os::fd::OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::DELETE;
    inotify::add_watch(&watch, text::fd_path(container.dir()).as_c_str(), flags)?;
    Ok(watch)
}

/// Until something happens in the container's directory, or for a second: the end of a killed one is no event there.
fn wait(watch: &std::os::fd::OwnedFd) {
    let time = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut polled = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut polled, Some(&time));
    let mut events = [0u8; 1024];
    while rustix::io::read(watch.as_fd(), &mut events[..]).is_ok_and(|length| length > 0) {}
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
