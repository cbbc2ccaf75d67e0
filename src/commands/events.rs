//! `nsctl events`: what happened to containers, and what happens.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use miniserde::{Deserialize, json};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::cli;
use crate::commands::print;
use crate::error::{Error, Result as Done};
use crate::linux::text::fd_path;
use crate::linux::text::shown;
use crate::linux::{clock, file};
use crate::spec;
use crate::state::{self, events};

/// As [`events::append`] writes it.
#[derive(Deserialize)]
struct Event {
    time: String,
    id: String,
    name: String,
    event: String,
    attributes: BTreeMap<String, String>,
}

/// Which of them are wanted.
struct Wanted {
    since: [u8; 30],
    until: Option<[u8; 30]>,
    /// Key and value; several of one key are alternatives.
    filters: Vec<(String, String)>,
    json: bool,
}

#[inline(never)]
pub(crate) fn events(typed: &cli::Events) -> Done<u8> {
    let now = clock::epoch();
    let since = typed.since.as_deref().map(|typed| spec::moment("--since", typed, now)).transpose()?;
    let until = typed.until.as_deref().map(|typed| spec::moment("--until", typed, now)).transpose()?;
    let filters = typed.filter.iter().map(|typed| filter(typed)).collect::<Done<_>>()?;
    let wanted = Wanted {
        since: clock::stamp(since.unwrap_or(now)),
        until: until.map(clock::stamp),
        filters,
        json: typed.json,
    };
    let Some((place, state)) = state::place() else {
        return Err(match state::asked() {
            Some((dir, errno)) => super::run::unusable(&dir, errno),
            None => {
                Error::new("there is no place for state in /run, /dev/shm or /tmp").hint("NSCTL_ROOT names another")
            }
        });
    };
    let failed = |errno| Error::os(format_args!("follow the events in {}", shown(&place)), errno);
    follow(state.fd(), &wanted, until).map_err(failed)?.map_or(Ok(0), Err)
}

fn filter(typed: &str) -> Done<(String, String)> {
    match typed.split_once('=') {
        Some((key @ ("container" | "event" | "type"), value)) => Ok((key.into(), value.into())),
        _ => Err(Error::new(format_args!("--filter {typed} is unknown"))
            .hint("it is container=NAME, container=ID, event=NAME or type=container")),
    }
}

/// Prints until the time has come; without one, for ever. Returns what stopped it from printing.
fn follow(state: BorrowedFd<'_>, wanted: &Wanted, until: Option<(u64, u32)>) -> Result<Option<Error>, Errno> {
    let notes = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // Before the first look, so that nothing falls in between.
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
    rustix::fs::inotify::add_watch(&notes, fd_path(state).as_c_str(), changes)?;
    let mut old = file::open(state, events::OLD_EVENTS).ok().map(Tail::new);
    let mut current = None;
    loop {
        let text = collect(state, &mut old, &mut current, wanted)?;
        if !text.is_empty()
            && let Err(error) = print(&text)
        {
            return Ok(Some(error));
        }
        let timeout = match until.map(|(seconds, nanos)| left(seconds, nanos)) {
            Some(None) => return Ok(None),
            other => other.flatten(),
        };
        match poll(&mut [PollFd::new(&notes, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        while rustix::io::read(&notes, &mut [0; 4096]).is_ok_and(|read| read > 0) {}
    }
}

/// The time until then; None: it is past.
fn left(seconds: u64, nanos: u32) -> Option<Timespec> {
    let now = clock::epoch();
    let borrow = u64::from(nanos < now.1);
    let tv_sec = seconds.checked_sub(now.0 + borrow)?;
    let tv_nsec = u64::from(nanos) + borrow * 1_000_000_000 - u64::from(now.1);
    (tv_sec > 0 || tv_nsec > 0).then_some(Timespec { tv_sec: tv_sec as i64, tv_nsec: tv_nsec as _ })
}

/// A file that grows, and of it the beginning of a line that is not whole yet.
struct Tail {
    file: OwnedFd,
    rest: Vec<u8>,
}

impl Tail {
    fn new(file: OwnedFd) -> Self {
        Self { file, rest: Vec::new() }
    }

    fn read(&mut self, wanted: &Wanted, text: &mut String) -> Result<(), Errno> {
        let mut buffer = [0; 8192];
        loop {
            let read = match rustix::io::read(&self.file, &mut buffer) {
                Ok(0) => return Ok(()),
                Err(Errno::INTR) => continue,
                other => other?,
            };
            self.rest.extend_from_slice(&buffer[..read]);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                *text += &std::str::from_utf8(&line).map(|line| wanted.shown(line)).unwrap_or_default();
            }
        }
    }
}

/// What is new. Who had the file open when it was renamed may still write to the old one.
fn collect(
    state: BorrowedFd<'_>,
    old: &mut Option<Tail>,
    current: &mut Option<Tail>,
    wanted: &Wanted,
) -> Result<String, Errno> {
    let mut text = String::new();
    loop {
        for tail in [&mut *old, &mut *current].into_iter().flatten() {
            tail.read(wanted, &mut text)?;
        }
        let named = match file::open(state, events::EVENTS) {
            Ok(named) => named,
            // None was ever written, or one was renamed just now.
            Err(Errno::NOENT) => return Ok(text),
            Err(errno) => return Err(errno),
        };
        let inode = |file: &OwnedFd| rustix::fs::fstat(file).map(|stat| stat.st_ino);
        match current {
            Some(tail) if inode(&tail.file)? == inode(&named)? => return Ok(text),
            Some(tail) => *old = Some(std::mem::replace(tail, Tail::new(named))),
            None => *current = Some(Tail::new(named)),
        }
    }
}

impl Wanted {
    /// The line as it is to be printed; empty if it is not wanted, or none of ours.
    fn shown(&self, line: &str) -> String {
        let Ok(event) = json::from_str::<Event>(line) else { return String::new() };
        let time = event.time.as_bytes();
        let early = time < self.since.as_slice() || self.until.is_some_and(|until| time > until.as_slice());
        if early || !self.filters.iter().all(|(key, _)| self.fits(key, &event)) {
            return String::new();
        }
        if self.json {
            return line.into();
        }
        let more: Vec<String> = event.attributes.iter().map(|(key, value)| format!(", {key}={value}")).collect();
        format!("{} container {} {} (name={}{})\n", event.time, event.event, event.id, event.name, more.concat())
    }

    fn fits(&self, key: &str, event: &Event) -> bool {
        self.filters.iter().filter(|(other, _)| other == key).any(|(_, value)| match key {
            "container" => event.name == *value || (value.len() > 1 && event.id.starts_with(value.as_str())),
            "event" => event.event == *value,
            _ => value == "container",
        })
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    let filters = filter(text).into_iter().collect();
    let _ = Wanted { since: clock::stamp((0, 0)), until: None, filters, json: false }.shown(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::events::{Event as New, Value, append};
    use std::os::fd::AsFd;

    fn wanted(filters: &[&str]) -> Wanted {
        let filters = filters.iter().map(|typed| filter(typed).unwrap()).collect();
        Wanted { since: clock::stamp((0, 0)), until: None, filters, json: false }
    }

    #[test]
    fn filters_of_one_key_are_alternatives() {
        let line = r#"{"time":"1970-01-01T00:00:01.000000000Z","id":"0a1b","name":"web","event":"die","attributes":{"exitCode":"3"}}"#;
        let shown = "1970-01-01T00:00:01.000000000Z container die 0a1b (name=web, exitCode=3)\n";
        for fit in
            [&["event=die"][..], &["event=die", "event=x", "container=web"], &["container=0a"], &["type=container"]]
        {
            assert_eq!(wanted(fit).shown(line), shown, "{fit:?}");
        }
        for unfit in [&["event=x"][..], &["event=die", "container=we"], &["container=0"], &["type=image"]] {
            assert_eq!(wanted(unfit).shown(line), "", "{unfit:?}");
        }
        assert!(filter("colour=red").is_err() && filter("event").is_err());
        let late = Wanted { since: clock::stamp((1, 1)), ..wanted(&[]) };
        assert_eq!(late.shown(line), "");
        assert_eq!(wanted(&[]).shown("no json"), "");
    }

    #[test]
    fn nothing_is_lost_when_the_file_changes() {
        let path = std::env::temp_dir().join(format!("nsctl-follow-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        let (mut old, mut current) = (None, None);
        let mut seen = Vec::new();
        for number in 0..5000 {
            append(dir.as_fd(), &New { id: "0a", name: "", event: "x", attributes: &[("n", Value::Number(number))] });
            if number % 777 == 0 || number == 4999 {
                let text = collect(dir.as_fd(), &mut old, &mut current, &wanted(&[])).unwrap();
                seen.extend(text.lines().map(|line| line.rsplit_once('=').unwrap().1.to_string()));
            }
        }
        assert!(path.join("events.1").exists());
        let all: Vec<String> = (0..5000).map(|number| format!("{number})")).collect();
        assert!(seen == all, "{} of {}", seen.len(), all.len());
        std::fs::remove_dir_all(path).unwrap();
    }
}
