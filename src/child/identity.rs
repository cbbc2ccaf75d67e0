//! Who the command is: its user and groups, looked up in the container's own files, its directory, and what is executed.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::linux::path::{self, Kind, Links};
use crate::linux::text::Text;
use crate::linux::users::{self, Who};
use crate::linux::{elf, file, sys};
use crate::plan::Plan;
use crate::spec::{MOST_GROUPS, Principal, User};
use crate::sync::Detail;

/// `HOME=…`, for the end of the environment.
pub(super) type Home = Text<1040>;

struct Groups {
    ids: [Gid; MOST_GROUPS],
    count: usize,
}

impl Groups {
    /// More than fit are more than a user's own files may ask for: they are left out.
    fn add(&mut self, id: u32) {
        let gid = Gid::from_raw(id);
        if self.count < MOST_GROUPS && !self.ids[..self.count].contains(&gid) {
            self.ids[self.count] = gid;
            self.count += 1;
        }
    }
}

/// Becomes the user of the files that are this process's root. ESRCH: they have no user, ENXIO: no group of that name.
#[inline(never)]
pub(super) fn become_user(
    plan: &Plan,
    user: Option<&User>,
    more: &[Principal],
    terminal: bool,
    home: &mut Home,
) -> Result<(), Errno> {
    let Plan { groups_denied, .. } = *plan;
    // Who has gone into a namespace is nobody there yet.
    let must_be = plan.rooted || plan.userns.is_some();
    let mut groups = Groups { ids: [Gid::ROOT; MOST_GROUPS], count: 0 };
    let root = || file::handle(c"/");
    let ids = match user {
        Some(user) => Some(look_up(root()?.as_fd(), user, &mut groups, home)?),
        None if must_be => Some((0, 0)),
        None => None,
    };
    match ids {
        Some((_, gid)) => groups.add(gid),
        // Only groups are added to those that the caller has.
        None => rustix::process::getgroups()?.iter().for_each(|gid| groups.add(gid.as_raw())),
    }
    for group in more {
        groups.add(group_id(root()?.as_fd(), group)?);
    }
    if !groups_denied {
        rustix::thread::set_thread_groups(&groups.ids[..groups.count])?;
    }
    if let Some((uid, gid)) = ids {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        if terminal && !uid.is_root() {
            // So that it may open its own terminal again, as /dev/stderr or by its name.
            rustix::fs::fchown(rustix::stdio::stdin(), Some(uid), None)?;
        }
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    Ok(())
}

/// Who the user is, in the files that are this process's root.
#[inline(never)]
pub(super) fn ids(user: &User) -> Result<(u32, u32), Errno> {
    let mut groups = Groups { ids: [Gid::ROOT; MOST_GROUPS], count: 0 };
    look_up(file::handle(c"/")?.as_fd(), user, &mut groups, &mut Home::new())
}

/// User and group; the groups it is a member of are added, unless a group was asked for.
fn look_up(root: BorrowedFd<'_>, user: &User, groups: &mut Groups, home: &mut Home) -> Result<(u32, u32), Errno> {
    let who = match &user.user {
        Principal::Id(uid) => Who::Id(*uid),
        Principal::Name(name) => Who::Name(name.to_bytes()),
    };
    let found = match path::open_file(root, c"etc/passwd") {
        Ok(passwd) => users::user(passwd, who)?,
        // Without the file numbers still work.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::ACCESS) => None,
        Err(errno) => return Err(errno),
    };
    let (uid, own_group) = match (&found, who) {
        (Some(found), Who::Name(_)) => (found.uid, found.gid),
        (Some(found), Who::Id(uid)) => (uid, found.gid),
        (None, Who::Id(uid)) => (uid, 0),
        (None, Who::Name(_)) => return Err(Errno::SRCH),
    };
    let directory = found.as_ref().map_or(&b"/"[..], |found| found.home.as_bytes());
    home.push(b"HOME=")?;
    home.push(if directory.is_empty() { b"/" } else { directory })?;
    if let Some(group) = &user.group {
        return Ok((uid, group_id(root, group)?));
    }
    groups.add(own_group);
    if let (Some(found), Ok(file)) = (&found, path::open_file(root, c"etc/group")) {
        users::memberships(file, found.name.as_bytes(), &mut |gid| groups.add(gid))?;
    }
    Ok((uid, own_group))
}

fn group_id(root: BorrowedFd<'_>, group: &Principal) -> Result<u32, Errno> {
    let name = match group {
        Principal::Id(gid) => return Ok(*gid),
        Principal::Name(name) => name,
    };
    match path::open_file(root, c"etc/group") {
        Ok(file) => users::group(file, name.to_bytes())?.ok_or(Errno::NXIO),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL | Errno::ACCESS) => Err(Errno::NXIO),
        Err(errno) => Err(errno),
    }
}

/// Goes to a directory inside, made if it is not there. No path of it is resolved by the kernel alone: a link of procfs would lead
/// to what this process still has open.
#[inline(never)]
pub(super) fn go_to(root: BorrowedFd<'_>, dir: &CStr) -> Result<(), Errno> {
    let dir = path::make(root, dir, Kind::Directory, Links::Inside)?;
    rustix::process::fchdir(dir)?;
    if sys::cwd_is_reachable() { Ok(()) } else { Err(Errno::NOENT) }
}

/// Tries the files in turn, as execvp(3) does, and returns only to say why none could be executed: the error of the last that was
/// there, or ENOENT. What is wrong with that file goes to the supervisor, which cannot see it.
pub(super) fn execute(plan: &Plan, home: &Home, tell: Option<&OwnedFd>) -> Errno {
    let home = Some(home.as_c_str()).filter(|text| plan.home_of_user && !text.is_empty());
    let mut failed = (0, Errno::NOENT);
    for (index, program) in plan.programs.iter().enumerate() {
        let errno = sys::execve(program, &plan.argv, &plan.envp, home);
        match errno {
            Errno::NOENT | Errno::NOTDIR if !is_there(program) => {}
            Errno::ACCESS | Errno::NOENT | Errno::NOTDIR => failed = (index, errno),
            _ => {
                failed = (index, errno);
                break;
            }
        }
    }
    let (index, errno) = failed;
    if let (true, Some(tell)) = (plan.rooted, tell) {
        let trouble = elf::trouble(CWD, &plan.programs[index]);
        Detail { program: index as u16, trouble }.send(tell);
    }
    errno
}

/// The shell that asks how the container is.
pub(super) fn execute_check(plan: &Plan, home: &Home) -> Errno {
    let home = Some(home.as_c_str()).filter(|text| plan.home_of_user && !text.is_empty());
    let shell = plan.health.strings().first().map_or(c"", |shell| shell.as_c_str());
    sys::execve(shell, &plan.health, &plan.envp, home)
}

fn is_there(program: &CStr) -> bool {
    rustix::fs::openat(CWD, program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).is_ok()
}
