//! The user namespace in which an ordinary user's nsctl is root (user_namespaces(7)). The process goes there itself, once, and stays:
//! whatever it makes from then on belongs to that namespace. The host still sees it as the user that it was.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use linux_raw_sys::general as k;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use super::file;
use super::idmap::is_map;
use super::process::{self, Ended, Process, Spawned};
use super::sys::{self, StringArray};
use super::users::{self, Who};

/// Which ids there are: ranges of (inside, outside, how many).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Maps {
    pub(crate) users: Vec<[u32; 3]>,
    pub(crate) groups: Vec<[u32; 3]>,
}

/// Where this process is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UserNamespace {
    /// Who it is on the host.
    pub(crate) uid: u32,
    pub(crate) maps: Maps,
    /// No supplementary group can be given up or taken: the price of a map that was written without any right (setgroups(2)).
    pub(crate) groups_denied: bool,
}

static OWN: OnceLock<UserNamespace> = OnceLock::new();

/// The user namespace that was entered. None: it is the one that nsctl was started in.
pub(crate) fn own() -> Option<&'static UserNamespace> {
    OWN.get()
}

/// Whether this is the host's root, and not that of a user namespace which was entered.
pub(crate) fn is_root() -> bool {
    own().is_none() && rustix::process::geteuid().is_root()
}

/// The user who started nsctl, as the host numbers it.
pub(crate) fn caller() -> u32 {
    own().map_or_else(|| rustix::process::geteuid().as_raw(), |own| own.uid)
}

/// More lines of a map than any kernel takes in one write of a page (340, before 4.15 five).
const MOST_RANGES: usize = 64;
/// A file of ranges is larger only by mistake.
const LARGEST_FILE: usize = 4 << 20;

/// The ranges of subuid(5) that a user has, by its number or by its name: (first, how many). A line that is none is passed over, and
/// so is a range that overlaps one before it, which the kernel would not take. None: those of all, as they stand.
pub(crate) fn ranges(file: &CStr, whose: Option<(u32, &[u8])>) -> Vec<(u32, u32)> {
    let text = file::open(CWD, file).and_then(|fd| file::read_all(fd, LARGEST_FILE)).unwrap_or_default();
    ranges_in(&text, whose)
}

fn ranges_in(text: &[u8], whose: Option<(u32, &[u8])>) -> Vec<(u32, u32)> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(who), Some(first), Some(count), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let number = |text| users::id(text).and_then(Result::ok);
        let (Some(first), Some(count)) = (number(first), number(count)) else { continue };
        let Some(end) = first.checked_add(count).filter(|_| count > 0) else { continue };
        let apart = |(other, many): &(u32, u32)| end <= *other || other + many <= first;
        let wanted = whose.is_none_or(|(uid, name)| {
            // All digits are a number, also where a user has such a name.
            let ours = users::id(who).map_or(!who.is_empty() && who == name, |id| id == Ok(uid));
            ours && found.len() < MOST_RANGES && found.iter().all(apart)
        });
        if wanted {
            found.push((first, count));
        }
    }
    found
}

/// The name of a user of the host's, by its own /etc/passwd; empty if it has none there.
pub(crate) fn name_of(uid: u32) -> Vec<u8> {
    let found = file::open(CWD, c"/etc/passwd").and_then(|passwd| users::user(passwd, Who::Id(uid)));
    found.ok().flatten().map_or(Vec::new(), |user| user.name.as_bytes().to_vec())
}

impl Maps {
    /// The user alone, as root.
    pub(crate) fn single(uid: u32, gid: u32) -> Self {
        Self { users: vec![[0, uid, 1]], groups: vec![[0, gid, 1]] }
    }

    /// The same, and from 1 on the ranges, one after the other.
    pub(crate) fn with(self, users: &[(u32, u32)], groups: &[(u32, u32)]) -> Self {
        let more = |mut map: Vec<[u32; 3]>, ranges: &[(u32, u32)]| {
            let mut inside = 1u32;
            for (first, count) in ranges {
                let Some(end) = inside.checked_add(*count).filter(|end| *end < u32::MAX) else { break };
                map.push([inside, *first, *count]);
                inside = end;
            }
            map
        };
        Self { users: more(self.users, users), groups: more(self.groups, groups) }
    }

    /// The user as itself, with its ranges around it. None: they do not reach so far.
    pub(crate) fn keeping(uid: u32, gid: u32, users: &[(u32, u32)], groups: &[(u32, u32)]) -> Option<Self> {
        Some(Self { users: around(uid, users)?, groups: around(gid, groups)? })
    }

    /// What the kernel says of this process.
    fn of_this_process() -> Self {
        let read = |path: &CStr| file::read_text(CWD, path).unwrap_or_default();
        Self::read(&read(c"/proc/self/uid_map"), &read(c"/proc/self/gid_map"))
    }

    /// Lines of INSIDE OUTSIDE COUNT, as the kernel writes and reads them; others are passed over.
    pub(crate) fn read(users: &str, groups: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split_whitespace().map(str::parse);
            Some([words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?])
        };
        let map = |text: &str| text.lines().filter_map(line).filter(|range| is_map(&[*range])).collect();
        Self { users: map(users), groups: map(groups) }
    }

    /// The same as text.
    pub(crate) fn text(map: &[[u32; 3]]) -> String {
        map.iter().map(|[inside, outside, count]| format!("{inside} {outside} {count}\n")).collect()
    }

    /// A user and a group of the container's, as the host numbers them. None: one of them has no number there.
    pub(crate) fn outside(&self, [user, group]: [u32; 2]) -> Option<[u32; 2]> {
        Some([self.user_outside(user)?, self.group_outside(group)?])
    }

    /// The other way round; who has no number inside is nobody.
    pub(crate) fn inside(&self, [user, group]: [u32; 2]) -> [u32; 2] {
        /// As the kernel shows them (/proc/sys/kernel/overflowuid).
        const NOBODY: u32 = 65534;
        [(&self.users, user), (&self.groups, group)].map(|(map, id)| through(map, id, [1, 0]).unwrap_or(NOBODY))
    }

    pub(crate) fn user_outside(&self, user: u32) -> Option<u32> {
        through(&self.users, user, [0, 1])
    }

    pub(crate) fn group_outside(&self, group: u32) -> Option<u32> {
        through(&self.groups, group, [0, 1])
    }

    pub(crate) fn has_user(&self, id: u32) -> bool {
        has(&self.users, id)
    }

    pub(crate) fn has_group(&self, id: u32) -> bool {
        has(&self.groups, id)
    }
}

/// From 0 up to the id the ranges, then itself, then what is left of the ranges.
fn around(id: u32, ranges: &[(u32, u32)]) -> Option<Vec<[u32; 3]>> {
    let (mut map, mut inside) = (Vec::new(), 0u32);
    for (mut first, mut count) in ranges.iter().copied() {
        if inside < id {
            let part = count.min(id - inside);
            map.push([inside, first, part]);
            (inside, first, count) = (inside + part, first + part, count - part);
        }
        if inside == id {
            map.push([id, id, 1]);
            inside = id.checked_add(1)?;
        }
        if count > 0 {
            map.push([inside, first, count]);
            inside = inside.checked_add(count)?;
        }
    }
    (inside > id).then_some(map)
}

fn has(map: &[[u32; 3]], id: u32) -> bool {
    through(map, id, [0, 1]).is_some()
}

/// An id of the column `from`, as the column `to` has it.
fn through(map: &[[u32; 3]], id: u32, [from, to]: [usize; 2]) -> Option<u32> {
    let range = map.iter().find(|range| id >= range[from] && id - range[from] < range[2])?;
    Some(range[to] + (id - range[from]))
}

/// What it took to get there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Act {
    Unshare,
    Map,
}

/// Goes into a new user namespace, and a new mount namespace, since only there mounts can be tried. With `helpers`, newuidmap and
/// newgidmap write the maps; without, they are of one id each. `Ok(false)`: a helper refused, and there is one id.
pub(crate) fn enter(maps: &Maps, helpers: Option<&[CString; 2]>) -> Result<bool, (Act, Errno)> {
    let uid = caller();
    let ignored = sys::ignore_sigchld(false);
    let done = unshared(maps, helpers);
    if ignored {
        sys::ignore_sigchld(true);
    }
    let helped = done?;
    note(uid);
    Ok(helped)
}

fn unshared(maps: &Maps, helpers: Option<&[CString; 2]>) -> Result<bool, (Act, Errno)> {
    let flags = k::CLONE_NEWUSER | k::CLONE_NEWNS;
    let Some(helpers) = helpers else {
        sys::unshare(flags).map_err(|errno| (Act::Unshare, errno))?;
        return write_single(maps).map(|()| true).map_err(|errno| (Act::Map, errno));
    };
    // They are set-user-id programs, which are none in a namespace without root's id: so they are forked before, and wait.
    let prepare = || {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let users = helper(&helpers[0], &maps.users, read.as_fd(), write.as_fd())?;
        let groups = helper(&helpers[1], &maps.groups, read.as_fd(), write.as_fd())?;
        Ok(([users, groups], write))
    };
    let (waiting, write) = prepare().map_err(|errno| (Act::Map, errno))?;
    let unshared = sys::unshare(flags);
    if unshared.is_ok() {
        let _ = rustix::io::write(&write, b"go");
    }
    drop(write);
    let done = waiting.map(|helper| matches!(helper.wait(), Ok(Ended::Exited(0))));
    unshared.map_err(|errno| (Act::Unshare, errno))?;
    if done == [true; 2] {
        return Ok(true);
    }
    // Of what was asked for by name nothing less will do.
    if maps.users[0][0] != 0 || maps.users[0][1] != caller() {
        return Err((Act::Map, Errno::PERM));
    }
    let alone = Maps { users: maps.users[..1].to_vec(), groups: maps.groups[..1].to_vec() };
    write_missing(&alone, done).map(|()| false).map_err(|errno| (Act::Map, errno))
}

/// One of newuidmap and newgidmap (newuidmap(1)), as soon as there is a byte in the pipe.
fn helper(
    program: &CString,
    map: &[[u32; 3]],
    read: BorrowedFd<'_>,
    write: BorrowedFd<'_>,
) -> Result<Process, Errno> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let number = |number: u32| CString::new(number.to_string()).unwrap_or_default();
    let mut words = vec![program.clone(), number(pid as u32)];
    words.extend(map.iter().flatten().map(|part| number(*part)));
    let (argv, envp) = (StringArray::new(words), StringArray::new(Vec::new()));
    match process::spawn(0, None)? {
        Spawned::Child { .. } => {
            // The end of the parent is to be seen.
            sys::close(write.as_raw_fd());
            let mut byte = [0u8];
            if rustix::io::read(read, &mut byte) == Ok(1) {
                sys::execve(program, &argv, &envp, None);
            }
            sys::exit(127)
        }
        Spawned::Parent(process) => Ok(process),
    }
}

fn write_single(maps: &Maps) -> Result<(), Errno> {
    write_missing(maps, [false; 2])
}

fn write_missing(maps: &Maps, [users, groups]: [bool; 2]) -> Result<(), Errno> {
    let write = |path: &CStr, [inside, outside, count]: [u32; 3]| {
        file::write(CWD, path, format!("{inside} {outside} {count}").as_bytes())
    };
    if !groups {
        match file::write(CWD, c"/proc/self/setgroups", b"deny") {
            // It came with 3.19, and the rule with it.
            Err(Errno::NOENT) => {}
            other => other?,
        }
        write(c"/proc/self/gid_map", maps.groups[0])?;
    }
    if users { Ok(()) } else { write(c"/proc/self/uid_map", maps.users[0]) }
}

/// Goes into a user namespace that is there, of a container of this user's.
pub(crate) fn join(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let uid = caller();
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::User))?;
    note(uid);
    Ok(())
}

fn note(uid: u32) {
    let denied = file::read(CWD, c"/proc/self/setgroups").is_ok_and(|text| text.trim_ascii() == b"deny");
    let _ = OWN.set(UserNamespace { uid, maps: Maps::of_this_process(), groups_denied: denied });
}

/// Whether a switch of the kernel's is at 0. None: there is none of that name.
pub(crate) fn is_off(name: &CStr) -> Option<bool> {
    let path = [b"/proc/sys/", name.to_bytes()].concat();
    let text = file::read_text(CWD, &CString::new(path).ok()?).ok()?;
    Some(text.trim() == "0")
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &[u8]) {
    let ranges = ranges_in(text, Some((1000, b"ann")));
    let maps = Maps::default().with(&ranges, &ranges);
    assert!(super::idmap::is_map(&maps.users) && maps.users == maps.groups);
    assert!(!maps.has_user(u32::MAX));
    let read = Maps::read(&String::from_utf8_lossy(text), "0 5 2");
    assert_eq!(Maps::read(&Maps::text(&read.users), "0 5 2"), read);
    assert!(read.outside([7, 1]).is_none_or(|there| read.groups != [[0, 5, 2]] || there[1] == 6));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let of = |text: &str| ranges_in(text.as_bytes(), Some((4242, b"user")));
        assert_eq!(of("user:100000:65536\n"), [(100000, 65536)]);
        assert_eq!(of("4242:100000:65536"), [(100000, 65536)]);
        assert_eq!(of("other:1:2\nuser:10:5\n4242:20:5\n"), [(10, 5), (20, 5)]);
        // One that overlaps, and lines that are none.
        assert_eq!(of("user:10:5\nuser:14:5\nuser:15:1\n"), [(10, 5), (15, 1)]);
        for wrong in [
            "user:100000",
            "user:100000:65536:1",
            "user:-1:5",
            "user:+1:5",
            "user: 1:5",
            "user:0x10:5",
            "user:10:0",
            "user::5",
            "user:4294967295:1",
            "user:4294967290:10",
            "user:99999999999:1",
            "4294971538:1:5",
            "04243:1:5",
            ":1:5",
            "user:1:5 # x",
            "",
        ] {
            assert_eq!(of(wrong), [], "{wrong}");
        }
        // A name of digits is a number.
        assert_eq!(ranges_in(b"77:1:5", Some((4242, b"77"))), []);
        let many: String = (0..1000).map(|n| format!("user:{}:10\n", n * 10)).collect();
        assert_eq!(of(&many).len(), MOST_RANGES);
        assert_eq!(ranges_in(many.as_bytes(), None).len(), 1000);
        assert_eq!(ranges_in(b"ann:10:5\nbob:14:5\n", None), [(10, 5), (14, 5)]);
    }

    #[test]
    fn maps_begin_with_the_user_as_root() {
        let maps = Maps::single(4242, 4343).with(&[(100000, 65536), (300000, 10)], &[(7, 2)]);
        assert_eq!(maps.users, [[0, 4242, 1], [1, 100000, 65536], [65537, 300000, 10]]);
        assert_eq!(maps.groups, [[0, 4343, 1], [1, 7, 2]]);
        assert!(maps.has_user(65546) && !maps.has_user(65547));
        assert!(maps.has_group(2) && !maps.has_group(3) && !maps.has_group(u32::MAX));
        // The same id inside as outside.
        let kept = |ranges: &[(u32, u32)]| around(5, ranges);
        assert_eq!(kept(&[(100, 10)]).unwrap(), [[0, 100, 5], [5, 5, 1], [6, 105, 5]]);
        assert_eq!(kept(&[(100, 3), (200, 2)]).unwrap(), [[0, 100, 3], [3, 200, 2], [5, 5, 1]]);
        assert_eq!((kept(&[(100, 4)]), kept(&[])), (None, None));
        // What does not fit is left out.
        let most = Maps::single(1, 1).with(&[(0, 4_000_000_000), (4_000_000_000, 294_967_294), (5, 5)], &[]);
        assert_eq!(most.users.len(), 2);
    }
}
