//! What happened to containers: a line of JSON each in `DIR/events`, put there by whoever did it or saw it, since there is no
//! daemon. A line is one write at the end of the file, so that lines of two processes do not mix. A file that has grown is
//! renamed to `events.1`, and never cut under a reader.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::linux::clock;
use crate::linux::text::Text;

pub(crate) const EVENTS: &CStr = c"events";
pub(crate) const OLD_EVENTS: &CStr = c"events.1";
/// Beyond it a new file is begun.
const SIZE: i64 = 256 << 10;
/// Of a text among the attributes.
const MOST: usize = 256;

/// docker's names: create, start, die, restart, oom, exec_start, health_status, and so on.
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) event: &'a str,
    pub(crate) attributes: &'a [(&'a str, Value<'a>)],
}

#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u32),
    Text(&'a str),
}

/// Notes the event in the state directory. Does not allocate. That it cannot be noted stops nobody: the file system may be full.
pub(crate) fn append(state: BorrowedFd<'_>, event: &Event<'_>) {
    let mut line = Line::new();
    if event.write(&mut line, clock::epoch()).is_ok()
        && let Ok(file) = open(state)
    {
        let _ = rustix::io::write(file, line.as_bytes());
    }
}

/// The longest line: a container's name, an id, a few attributes.
type Line = Text<2048>;

impl Event<'_> {
    fn write(&self, line: &mut Line, now: (u64, u32)) -> Result<(), Errno> {
        let time = clock::stamp(now);
        let time = std::str::from_utf8(&time).unwrap_or_default();
        let fields =
            [("{\"time\":", time), (",\"id\":", self.id), (",\"name\":", self.name), (",\"event\":", self.event)];
        for (key, value) in fields {
            line.push(key.as_bytes())?;
            quoted(line, value)?;
        }
        line.push(b",\"attributes\":{")?;
        for (at, (key, value)) in self.attributes.iter().enumerate() {
            line.push(if at > 0 { b"," } else { b"" })?;
            quoted(line, key)?;
            line.push(b":")?;
            // A text, too, as docker has it.
            match value {
                Value::Number(number) => {
                    line.push(b"\"")?;
                    line.push_number((*number).into())?;
                    line.push(b"\"")?;
                }
                Value::Text(text) => quoted(line, text)?,
            }
        }
        line.push(b"}}\n")
    }
}

/// A string of JSON. What would need an escape becomes a question mark.
fn quoted(line: &mut Line, text: &str) -> Result<(), Errno> {
    line.push(b"\"")?;
    for character in text.chars().scan(0, |length, character| {
        *length += character.len_utf8();
        (*length <= MOST).then_some(character)
    }) {
        let special = character.is_control() || matches!(character, '"' | '\\');
        line.push((if special { '?' } else { character }).encode_utf8(&mut [0; 4]).as_bytes())?;
    }
    line.push(b"\"")
}

/// The file to write to; begins a new one if this one is full.
fn open(state: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(state, EVENTS, flags, Mode::RUSR | Mode::WUSR);
    let file = open()?;
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_size as i64) < SIZE || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(file);
    }
    // With the lock: nobody else renames this file, and if somebody has, it is not what has the name.
    let named = rustix::fs::statat(state, EVENTS, AtFlags::SYMLINK_NOFOLLOW)?;
    if named.st_ino == stat.st_ino {
        rustix::fs::renameat(state, EVENTS, state, OLD_EVENTS)?;
    }
    open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn line(attributes: &[(&str, Value<'_>)]) -> String {
        let mut line = Line::new();
        let event = Event { id: "0a", name: "web", event: "die", attributes };
        event.write(&mut line, (0, 5)).unwrap();
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_line() {
        let wanted = r#"{"time":"1970-01-01T00:00:00.000000005Z","id":"0a","name":"web","event":"die","attributes":"#;
        assert_eq!(line(&[]), format!("{wanted}{{}}}}\n"));
        let attributes = [("exitCode", Value::Number(137)), ("command", Value::Text("a\"\\\n\x1bü"))];
        assert_eq!(line(&attributes), format!("{wanted}{{\"exitCode\":\"137\",\"command\":\"a????ü\"}}}}\n"));
        assert_eq!(line(&[("command", Value::Text(&"ü".repeat(1000)))]).matches('ü').count(), MOST / 2);
    }

    #[test]
    fn what_has_grown_is_kept_once() {
        let path = std::env::temp_dir().join(format!("nsctl-events-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let dir = std::fs::File::open(&path).unwrap();
        let size = |name: &str| std::fs::metadata(path.join(name)).map_or(0, |file| file.len());
        let event = Event { id: "0a", name: "web", event: "die", attributes: &[] };
        append(dir.as_fd(), &event);
        let one = size("events");
        assert!(one > 0);
        for _ in 0..SIZE as u64 / one + 2 {
            append(dir.as_fd(), &event);
        }
        assert!((SIZE as u64..SIZE as u64 + one).contains(&size("events.1")));
        assert_eq!(size("events"), 2 * one);
        std::fs::remove_dir_all(path).unwrap();
    }
}
