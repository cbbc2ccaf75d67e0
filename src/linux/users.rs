//! /etc/passwd and /etc/group of a root that is not trusted, read through a descriptor, in passing: a line that is no entry is
//! passed over, however long it is, and nothing is kept but what was asked for (passwd(5), group(5)). The C library's functions
//! would load plug-ins from inside that root.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::text::Text;

/// What a user's line says.
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: Text<256>,
    pub(crate) home: Text<1024>,
}

/// Whom to look for. All digits are always a number, so that a line cannot redefine it by its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Who<'a> {
    Id(u32),
    Name(&'a [u8]),
}

/// The number that a text of digits is. None: it is not all digits. EINVAL: it is no id, since it is too large, or -1, which
/// setresuid(2) takes for "as it is".
pub(crate) fn id(text: &[u8]) -> Option<Result<u32, Errno>> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u32>().ok());
    Some(number.filter(|number| *number != u32::MAX).ok_or(Errno::INVAL))
}

/// The first line of passwd(5) that is of this user.
pub(crate) fn user(passwd: OwnedFd, who: Who<'_>) -> Result<Option<User>, Errno> {
    let mut found = None;
    lines(passwd, &mut |line| {
        found = user_of(line, who);
        found.is_none()
    })?;
    Ok(found)
}

fn user_of(line: &[u8], who: Who<'_>) -> Option<User> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, _) = (fields.next()?, fields.next()?);
    let (uid, gid) = (id(fields.next()?)?.ok()?, id(fields.next()?)?.ok()?);
    let wanted = match who {
        Who::Id(number) => number == uid,
        Who::Name(wanted) => wanted == name,
    };
    let home = fields.nth(1).unwrap_or_default();
    let mut user = User { uid, gid, name: Text::new(), home: Text::new() };
    let kept = user.name.push(name).is_ok() && user.home.push(home).is_ok();
    (wanted && !name.is_empty() && kept).then_some(user)
}

/// The id of the group of this name, by group(5).
pub(crate) fn group(group: OwnedFd, wanted: &[u8]) -> Result<Option<u32>, Errno> {
    let mut found = None;
    lines(group, &mut |line| {
        if let Some((name, gid, _)) = group_of(line)
            && name == wanted
        {
            found = Some(gid);
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Calls `add` with the id of each group that has the user of this name as a member.
pub(crate) fn memberships(group: OwnedFd, user: &[u8], add: &mut dyn FnMut(u32)) -> Result<(), Errno> {
    lines(group, &mut |line| {
        if let Some((_, gid, members)) = group_of(line)
            && members.split(|byte| *byte == b',').any(|member| member == user)
        {
            add(gid);
        }
        true
    })
}

fn group_of(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, _) = (fields.next()?, fields.next()?);
    let gid = id(fields.next()?)?.ok()?;
    (!name.is_empty()).then_some((name, gid, fields.next().unwrap_or_default()))
}

const LONGEST_LINE: usize = 16 << 10;
/// A file of a hostile root may have no end (a FIFO and a device are refused where it is opened, a sparse file is not).
const LARGEST_FILE: usize = 16 << 20;

/// Calls `each` with every line, until that says false. A line longer than any honest one is passed over as a whole.
fn lines(file: OwnedFd, each: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), Errno> {
    let mut buffer = [0u8; LONGEST_LINE];
    let (mut filled, mut too_long, mut total) = (0, false, 0);
    loop {
        let read = match rustix::io::read(&file, &mut buffer[filled..]) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        total += read;
        if total > LARGEST_FILE {
            return Err(Errno::FBIG);
        }
        filled += read;
        let mut start = 0;
        while let Some(length) = buffer[start..filled].iter().position(|byte| *byte == b'\n') {
            if !too_long && !each(&buffer[start..start + length]) {
                return Ok(());
            }
            too_long = false;
            start += length + 1;
        }
        if read == 0 {
            if !too_long && start < filled {
                each(&buffer[start..filled]);
            }
            return Ok(());
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        if filled == buffer.len() {
            (filled, too_long) = (0, true);
        }
    }
}

/// Looks for whoever may be in a file of either kind.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    let file = || super::file::unnamed(bytes);
    let wanted = bytes.split(|byte| matches!(byte, b':' | b'\n')).next().unwrap_or_default();
    for who in [Who::Id(0), Who::Id(1000), Who::Name(wanted), Who::Name(b"ann")] {
        let _ = user(file(), who);
    }
    if let Ok(Some(found)) = group(file(), wanted) {
        assert!(found != u32::MAX);
    }
    let mut count = 0;
    let _ = memberships(file(), wanted, &mut |_| count += 1);
    assert!(count <= bytes.len());
    let _ = id(wanted);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::file::unnamed as file;

    fn find(text: &[u8], who: Who<'_>) -> Option<(u32, u32, String)> {
        let user = user(file(text), who).unwrap()?;
        Some((user.uid, user.gid, String::from_utf8_lossy(user.home.as_bytes()).into_owned()))
    }

    #[test]
    fn users_by_name_and_number() {
        let text =
            b"root:x:0:0:root:/root:/bin/sh\n# no entry\nann:x:1000:100:Ann,,,:/home/ann:/bin/sh\nlast:x:7:8::/l:";
        assert_eq!(find(text, Who::Name(b"ann")), Some((1000, 100, "/home/ann".into())));
        assert_eq!(find(text, Who::Id(0)), Some((0, 0, "/root".into())));
        assert_eq!(find(text, Who::Id(7)), Some((7, 8, "/l".into())));
        assert_eq!(find(text, Who::Name(b"nobody")), None);
        assert_eq!(find(text, Who::Name(b"")), None);
    }

    #[test]
    fn numbers_are_never_names_and_never_wrap() {
        for text in ["4294967295", "4294967296", "99999999999999999999"] {
            assert_eq!(id(text.as_bytes()), Some(Err(Errno::INVAL)), "{text}");
        }
        assert_eq!(id(b"0"), Some(Ok(0)));
        assert_eq!(id(b"00"), Some(Ok(0)));
        for text in ["", "-1", "+1", "0x0", "1a", " 1", "1 "] {
            assert_eq!(id(text.as_bytes()), None, "{text}");
        }
        let hostile = b"4294967297:x:0:0::/:\nx:x:4294967296:0::/:\nx:x::0::/:\nx:x:5:5::/five:\n";
        assert_eq!(find(hostile, Who::Name(b"x")), Some((5, 5, "/five".into())));
    }

    #[test]
    fn long_lines_are_passed_over() {
        let mut text = vec![b'a'; LONGEST_LINE * 3];
        text.extend_from_slice(b"\nann:x:1:2::/home:\n");
        assert_eq!(find(&text, Who::Name(b"ann")), Some((1, 2, "/home".into())));
        // The end of a long line is not the start of another.
        let mut text = vec![b'a'; LONGEST_LINE];
        text.extend_from_slice(b"root:x:0:0::/:\nroot:x:9:9::/nine:\n");
        assert_eq!(find(&text, Who::Name(b"root")), Some((9, 9, "/nine".into())));
    }

    #[test]
    fn groups_and_their_members() {
        let text = b"root:x:0:\nusers:x:100:ann,bob\nannex:x:5:annabel\nwheel:x:10:ann\nbad:x:x:ann\n";
        assert_eq!(group(file(text), b"users").unwrap(), Some(100));
        assert_eq!(group(file(text), b"bad").unwrap(), None);
        let mut found = Vec::new();
        memberships(file(text), b"ann", &mut |gid| found.push(gid)).unwrap();
        assert_eq!(found, [100, 10]);
    }
}
