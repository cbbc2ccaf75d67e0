//! An ordinary user's nsctl becomes root of a user namespace before it makes a container or goes into one; from there on the road is
//! the same as root's. What can then not be had is refused here, and what forbids the whole is named.

use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::container::{self, Container};
use super::program;
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::join::{self, Refusal};
use crate::linux::mounts;
use crate::linux::userns::{self, Act, Maps};
use crate::plan::Lower;
use crate::spec::{Ids, Kind, Principal, Spec};

/// Where the ranges of other ids are, and the programs that may map them.
const RANGES: [&CStr; 2] = [c"/etc/subuid", c"/etc/subgid"];
const HELPERS: [&str; 2] = ["newuidmap", "newgidmap"];

/// Whether there is anything to do: root stays where it is.
fn is_needed() -> bool {
    !rustix::process::geteuid().is_root() && userns::own().is_none()
}

/// For a container that is made.
#[inline(never)]
pub(super) fn enter() -> Result<()> {
    enter_with(Ids::Usual)
}

fn enter_with(ids: Ids) -> Result<()> {
    if !is_needed() {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let alone = Maps::single(uid, gid);
    let what = if ids == Ids::Keep { "--userns keep-id" } else { "the map of ids" };
    let no_more = || {
        Error::new(format_args!("{what} takes other ids than the caller's own, and there are none here"))
            .hint(MORE_IDS)
    };
    let (maps, helpers) = match (ids, helpers()) {
        (Ids::Usual | Ids::Auto(_), Some((helpers, users, groups))) => (alone.with(&users, &groups), Some(helpers)),
        (Ids::Usual | Ids::Auto(_), None) => (alone, None),
        (Ids::Given(maps), None) if maps == alone => (alone, None),
        (Ids::Keep, Some((helpers, users, groups))) => {
            (Maps::keeping(uid, gid, &users, &groups).ok_or_else(no_more)?, Some(helpers))
        }
        (Ids::Given(maps), Some((helpers, ..))) => (maps, Some(helpers)),
        (_, None) => return Err(no_more()),
    };
    match userns::enter(&maps, helpers.as_ref()) {
        Ok(true) => {}
        Ok(false) => eprintln!(
            "nsctl: warning: newuidmap or newgidmap refused; the container has one user and one group, root, which are yours"
        ),
        Err((act, errno)) => return Err(forbidden(act, errno)),
    }
    Ok(())
}

/// Both programs, and what the user may have mapped by them.
type Helped = ([CString; 2], Vec<(u32, u32)>, Vec<(u32, u32)>);

/// None: one id is all that there is.
pub(super) fn helpers() -> Option<Helped> {
    let uid = userns::caller();
    let name = userns::name_of(uid);
    let [users, groups] = RANGES.map(|file| userns::ranges(file, Some((uid, &name))));
    if users.is_empty() || groups.is_empty() {
        return None;
    }
    let [for_users, for_groups] = HELPERS.map(|name| program::find_program(name).ok());
    Some(([for_users?, for_groups?], users, groups))
}

/// Of a run: with the network of another container it is in that one's user namespace, which the network belongs to. For root nothing
/// is entered: what is answered is what ids its container is to have. None: the host's.
pub(super) fn enter_for(typed: &mut cli::Run) -> Result<Option<Ids>> {
    let ids = Ids::new(typed)?;
    if typed.landlock.isolate.as_deref() == Some("landlock") {
        return match Ids::asked(typed) {
            Some(option) => Err(Error::new(format_args!("{option}: --isolate=landlock makes no namespaces"))),
            None => Ok(None),
        };
    }
    if let (Some(_), true) = (Ids::asked(typed), userns::is_root()) {
        return match ids {
            Ids::Keep => Err(Error::new("--userns keep-id: root is root inside, too")
                .hint("it is for ordinary users; --userns auto gives the container ids of its own")),
            ids => Ok(Some(ids)),
        };
    }
    enter_as_user(typed, ids).map(|()| None)
}

fn enter_as_user(typed: &mut cli::Run, ids: Ids) -> Result<()> {
    if let Some(kind) = typed.userns.as_deref().filter(|kind| kind.starts_with("auto:")) {
        return Err(Error::new(format_args!("--userns {kind}: how many is for root to say"))
            .hint("an ordinary user has those of /etc/subuid and /etc/subgid: auto, or --uidmap and --gidmap"));
    }
    if ids == Ids::Keep && typed.user.is_none() {
        // And so the command is the caller, whatever an image says.
        let (uid, gid) = (userns::caller(), rustix::process::getegid().as_raw());
        typed.user = Some(format!("{uid}:{gid}"));
    }
    let network = typed.net.network.as_deref().unwrap_or_default();
    match network.strip_prefix("container:") {
        Some(_) if !matches!(ids, Ids::Usual | Ids::Auto(_)) => {
            Err(Error::new(format_args!("--network {network}: its ids are those of the other container"))
                .hint("leave --userns, --uidmap and --gidmap out"))
        }
        Some(other) if is_needed() => {
            let within = |error: Error| error.within(format!("--network {network}")).code(crate::error::FAILED);
            let other = container::find(other).map_err(within)?;
            other.must_run().map_err(within)?;
            join(&other).map_err(within)?;
            crate::linux::sys::unshare(linux_raw_sys::general::CLONE_NEWNS)
                .map_err(|errno| Error::os("make a mount namespace", errno))
        }
        _ => enter_with(ids),
    }
}

/// For what is done inside a container that lives.
#[inline(never)]
pub(super) fn join(container: &Container) -> Result<()> {
    if !is_needed() {
        return Ok(());
    }
    let record = container.record();
    if !record.namespaces.contains_key("mnt") {
        // There is nothing to go into: that is said later.
        return Ok(());
    }
    let Some(inode) = record.namespaces.get("user") else {
        return Err(container.refused("has no user namespace on record").hint("it was started by root"));
    };
    let found = join::namespace(&container.process()?, "user", *inode);
    let joined = match found {
        Ok(namespace) => userns::join(std::os::fd::AsFd::as_fd(&namespace)),
        Err(Refusal::Changed(_)) => {
            return Err(container
                .refused("is in another user namespace than it was started in")
                .hint("its process is not the one that was recorded, or it went elsewhere"));
        }
        Err(Refusal::Proc(_, errno)) => Err(errno),
    };
    joined.map_err(|errno| {
        Error::os(format_args!("enter the user namespace of container {}", container.shown()), errno)
            .hint("does it run still, and is it this user's?")
    })
}

/// What takes rights over the machine.
pub(super) fn refuse(spec: &Spec, lower: Option<&Lower>) -> Result<()> {
    let Some(own) = userns::own() else { return Ok(()) };
    let refused = |what: &str, hint: &str| Err(Error::new(format!("{what}: that takes root")).hint(hint));
    match &spec.network.kind {
        Kind::Bridge(_) => {
            return refused("--network bridge", "an ordinary user has pasta, none, host and container:NAME");
        }
        Kind::Upon(..) | Kind::Physical(_) => {
            return refused(
                "--network with an interface of the host's",
                "an ordinary user has pasta, none, host and container:NAME",
            );
        }
        _ => {}
    }
    if let Some(Lower::File { path, .. }) = lower {
        let shown = crate::linux::text::shown(path);
        return refused(
            &format!("mount the image {shown}"),
            "unpack it (unsquashfs, debugfs), then --rootfs; images of layers need no root",
        );
    }
    if !spec.cgroup.rules.is_empty() {
        return refused(
            "--device-cgroup-rule",
            "without it the devices of --device can be used as their modes allow",
        );
    }
    if own.groups_denied && !spec.groups.is_empty() {
        return Err(Error::new("--group-add: there is one group, root").hint(MORE_IDS));
    }
    let user = spec.user.as_ref();
    if let Some(Principal::Id(id)) = user.map(|user| &user.user)
        && !own.maps.has_user(*id)
    {
        return Err(Error::new(format_args!("there is no user {id} in the container")).hint(MORE_IDS));
    }
    if let Some(Principal::Id(id)) = user.and_then(|user| user.group.as_ref())
        && !own.maps.has_group(*id)
    {
        return Err(Error::new(format_args!("there is no group {id} in the container")).hint(MORE_IDS));
    }
    Ok(())
}

pub(crate) const MORE_IDS: &str =
    "more ids than one take newuidmap and newgidmap (package uidmap) and ranges in /etc/subuid and /etc/subgid";

/// Why there is no user namespace, and who can change that.
#[cold]
fn forbidden(act: Act, errno: Errno) -> Error {
    let doing = match act {
        Act::Unshare => "make a user namespace",
        Act::Map => "map the user into its user namespace",
    };
    Error::os(doing, errno).hint(match reason(errno) {
        "" => "an ordinary user needs one; as root nsctl does without. nsctl check says more",
        reason => reason,
    })
}

/// What of this machine forbids it.
fn reason(errno: Errno) -> &'static str {
    match errno {
        _ if userns::is_off(c"kernel/unprivileged_userns_clone") == Some(true) => {
            "this system keeps them from ordinary users: sysctl kernel.unprivileged_userns_clone=1, or run it as root"
        }
        _ if userns::is_off(c"user/max_user_namespaces") == Some(true) => {
            "this system allows none: sysctl user.max_user_namespaces=10000, or run it as root"
        }
        _ if userns::is_off(c"kernel/apparmor_restrict_unprivileged_userns") == Some(false) => {
            "AppArmor keeps them from programs without a profile: sysctl kernel.apparmor_restrict_unprivileged_userns=0, \
             or a profile with 'userns,' for nsctl (README), or run it as root"
        }
        Errno::INVAL => "this kernel has none (CONFIG_USER_NS): run it as root",
        Errno::NOSYS => "a seccomp filter, of a sandbox that nsctl runs in, forbids it: run it as root, or outside",
        Errno::NOSPC | Errno::USERS => {
            "there are as many as sysctl user.max_user_namespaces allows, or too deeply nested"
        }
        Errno::PERM if is_in_chroot() => {
            "the kernel makes none for a process in a chroot: run it as root, or outside"
        }
        Errno::PERM => "a seccomp filter or a security module, of a sandbox that nsctl runs in, forbids it",
        _ => "",
    }
}

/// The root directory is no mount, or not that which the mount table begins with.
fn is_in_chroot() -> bool {
    mounts::all().is_ok_and(|all| !all.iter().any(|mount| mount.target == "/"))
}

/// For `nsctl check`: what keeps an ordinary user's nsctl from its user namespace. None: nothing.
pub(super) fn obstacle() -> Option<String> {
    enter().err().map(|error| error.hint.clone())
}
