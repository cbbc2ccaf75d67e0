//! What extended headers (POSIX's `x`, GNU's `L` and `K`) say about the entry that follows them.

use crate::image::fault::{Checked, Fault, refuse};

use super::{Entry, Kind, sparse};

/// The kernel lists 64 KiB of names at most (XATTR_LIST_MAX).
const MOST_XATTRS: usize = 1024;

#[derive(Default)]
pub(super) struct Overrides {
    seen: bool,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: bool,
}

impl Overrides {
    pub(super) fn is_empty(&self) -> bool {
        !self.seen && self.name.is_none() && self.link.is_none()
    }

    pub(super) fn gnu_name(&mut self, text: Vec<u8>) -> Checked<()> {
        once(&mut self.name, terminated(text)?)
    }

    pub(super) fn gnu_link(&mut self, text: Vec<u8>) -> Checked<()> {
        once(&mut self.link, terminated(text)?)
    }

    /// Records of "LENGTH KEY=VALUE\n", where LENGTH counts the whole record.
    pub(super) fn pax(&mut self, text: &[u8]) -> Checked<()> {
        if std::mem::replace(&mut self.seen, true) {
            return refuse("two extended headers belong to one entry");
        }
        let (gnu_name, gnu_link) = (self.name.take(), self.link.take());
        let mut rest = text;
        // GNU tar ends the header with a NUL.
        while !rest.is_empty() && rest != b"\0" {
            let Some((key, value, after)) = record(rest) else { return refuse("an extended header is malformed") };
            self.set(key, value)?;
            rest = after;
        }
        for (slot, gnu) in [(&mut self.name, gnu_name), (&mut self.link, gnu_link)] {
            if let Some(gnu) = gnu {
                once(slot, gnu)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Checked<()> {
        let wrong = |what: &str| {
            Fault::image(format!("the extended {what} is not right: {}", crate::image::fault::shown(value)))
        };
        let id = || match number(value).and_then(|id| u32::try_from(id).ok()) {
            Some(id) if id != u32::MAX => Ok(Some(id)),
            _ => Err(wrong("owner")),
        };
        // POSIX: an empty value takes the override back, and the last of several wins.
        let given = !value.is_empty();
        match key {
            b"path" => self.name = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" => self.size = if given { Some(number(value).ok_or_else(|| wrong("size"))?) } else { None },
            b"uid" => self.uid = if given { id()? } else { None },
            b"gid" => self.gid = if given { id()? } else { None },
            b"mtime" => self.mtime = if given { Some(time(value).ok_or_else(|| wrong("time"))?) } else { None },
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.retain(|(known, _)| known != name);
                    if self.xattrs.len() >= MOST_XATTRS {
                        return refuse("it has more than 1024 extended attributes");
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
                self.sparse |= key.starts_with(b"GNU.sparse.");
            }
        }
        Ok(())
    }

    pub(super) fn apply(self, mut entry: Entry) -> Checked<Entry> {
        entry.name = self.name.unwrap_or(entry.name);
        if self.sparse {
            return Err(sparse().of_entry(&entry.name));
        }
        if matches!(entry.kind, Kind::Symlink | Kind::HardLink) {
            entry.link = self.link.unwrap_or(entry.link);
        }
        entry.size = self.size.unwrap_or(entry.size);
        entry.uid = self.uid.unwrap_or(entry.uid);
        entry.gid = self.gid.unwrap_or(entry.gid);
        entry.mtime = self.mtime.unwrap_or(entry.mtime);
        entry.xattrs = self.xattrs;
        Ok(entry)
    }
}

fn once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Checked<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => refuse("two extended headers give one entry two names or links"),
    }
}

/// GNU tar ends a name with a NUL, and fills up with more.
fn terminated(mut text: Vec<u8>) -> Checked<Vec<u8>> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    if text[end..].iter().any(|byte| *byte != 0) {
        return refuse("an extended name has a NUL in it");
    }
    text.truncate(end);
    Ok(text)
}

/// The first record's key and value, and what comes after it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = text.iter().take(8).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&text[..blank])?).ok()?;
    let record = text.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &text[length..]))
}

/// Decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Seconds with an optional sign and fraction; nanoseconds count upwards also before the epoch.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next().filter(|fraction| !fraction.is_empty()) {
        let digits = &fraction[..fraction.len().min(9)];
        number(fraction)?;
        nanos = number(digits)? as u32 * 10u32.pow(9 - digits.len() as u32);
    }
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}
