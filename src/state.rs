//! What is remembered of a container: one directory each, `DIR/ID/`, and for a named one the link `DIR/@NAME` → ID.
//!
//! The directory is locked (flock) for as long as the container lives: by its supervisor, or, of a detached one, by nsctl inside,
//! its PID 1. So no pid is trusted, and a reused pid or a reboot cannot make a dead container look alive. What is not locked has
//! ended. A detached or created container stays, until it is removed; another was left by a killed nsctl, and is cleared away
//! by whoever finds it. Whoever changes something of a container that has ended holds its lock meanwhile.
//!
//! `state.json` is the record; `status` how it is or how it ended; `words` and `environ` what it was made of, to start it again;
//! `log` and `log.1` its output; `control` the socket of nsctl inside; `stopping` says that it is not to be started again.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode};
use rustix::io::Errno;

use crate::linux::net::undo;
use crate::linux::{file, userns};
use crate::network;

pub(crate) mod events;
mod heal;
mod landlock;
mod privileges;
mod record;
mod status;
mod words;
pub(crate) use landlock::Landlock;
pub(crate) use privileges::{Privileges, ResourceLimit, Seccomp};
pub(crate) use record::{Attachment, Cgroup, Namespaces, Record, UserNamespace};
pub(crate) use status::{Cause, Phase, Status, make as make_status, open as open_status};
pub(crate) use words::Words;

/// The directory above all containers' directories.
pub(crate) struct State {
    dir: OwnedFd,
}

/// A container's directory, locked.
pub(crate) struct Claim {
    pub(crate) dir: OwnedFd,
}

/// A container as it was found.
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) dir: OwnedFd,
    pub(crate) alive: bool,
    /// None: it runs in the foreground.
    pub(crate) status: Option<Status>,
}

const RECORD: &CStr = c"state.json";
const NEW: &CStr = c"new";
/// Of who rewrites the record of a container while somebody else may start it.
const NEWER: &CStr = c"newer";
pub(crate) const LOG: &CStr = c"log";
pub(crate) const OLD_LOG: &CStr = c"log.1";
pub(crate) const CONTROL: &CStr = c"control";
/// How healthy it is.
pub(crate) const HEALTH: &CStr = c"health";
/// The filter of system calls, of a container that has not the default one.
pub(crate) const SECCOMP: &CStr = c"seccomp";
pub(crate) const STOPPING: &CStr = c"stopping";
/// A link that leads nowhere: the group above the container's groups, if it is not the usual one. It is there before them.
const ABOVE: &CStr = c"above";
/// By which pasta finds the network namespace; it ends when this is gone.
pub(crate) const NETNS: &CStr = c"netns";
/// All that may be in a container's directory.
const FILES: [&CStr; 16] = [
    RECORD,
    NEW,
    NEWER,
    status::STATUS,
    words::WORDS,
    words::ENVIRON,
    LOG,
    OLD_LOG,
    CONTROL,
    STOPPING,
    SECCOMP,
    HEALTH,
    undo::UNDO,
    network::HOSTS,
    NETNS,
    ABOVE,
];

static PLACE: OnceLock<OsString> = OnceLock::new();

/// What `--root` says.
pub(crate) fn set_place(root: Option<OsString>) {
    if let Some(root) = root {
        let _ = PLACE.set(root);
    }
}

/// The places for state, best first: `--root` or NSCTL_ROOT alone if it is set; else below /run (a user's runtime directory),
/// or where a system without a writable /run has a tmpfs or its last resort.
pub(crate) fn places() -> Vec<CString> {
    let c_string = |path: String| CString::new(path).ok();
    if let Some(root) = PLACE.get().cloned().or_else(|| std::env::var_os("NSCTL_ROOT")) {
        return CString::new(root.into_vec()).into_iter().collect();
    }
    let all: Vec<String> = if userns::is_root() {
        ["/run", "/dev/shm", "/tmp"].iter().map(|dir| format!("{dir}/nsctl")).collect()
    } else {
        let runtime = std::env::var("XDG_RUNTIME_DIR").ok().map(|dir| format!("{dir}/nsctl"));
        let uid = userns::caller();
        runtime.into_iter().chain([format!("/dev/shm/nsctl-{uid}"), format!("/tmp/nsctl-{uid}")]).collect()
    };
    all.into_iter().filter_map(c_string).collect()
}

/// Whether `--root` or NSCTL_ROOT names the place.
pub(crate) fn is_asked() -> bool {
    PLACE.get().is_some() || std::env::var_os("NSCTL_ROOT").is_some()
}

/// Why the place that is asked for cannot be used. None: none is named.
pub(crate) fn asked() -> Option<(CString, Errno)> {
    let path = places().into_iter().next().filter(|_| is_asked())?;
    let errno = State::make(&path).err()?;
    Some((path, errno))
}

/// The first place that exists and is ours, or can be made; open.
pub(crate) fn place() -> Option<(CString, State)> {
    let open = |path: CString| {
        let state = State::open(&path).or_else(|_| State::make(&path)).ok()?;
        Some((path, state))
    };
    places().into_iter().find_map(open)
}

impl State {
    /// An existing place. EPERM: it belongs to somebody else, or others may write there.
    pub(crate) fn open(path: &CStr) -> Result<Self, Errno> {
        let dir = file::open_dir(CWD, path)?;
        let stat = rustix::fs::fstat(&dir)?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o022 == 0;
        if ours { Ok(Self { dir }) } else { Err(Errno::PERM) }
    }

    fn make(path: &CStr) -> Result<Self, Errno> {
        match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(errno) => Err(errno),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes and locks the container's directory and its name. EEXIST: another container has that name.
    pub(crate) fn claim(&self, id: &str, name: Option<&str>) -> Result<Claim, Errno> {
        let c_id = CString::new(id).map_err(|_| Errno::INVAL)?;
        rustix::fs::mkdirat(&self.dir, &c_id, Mode::RWXU)?;
        let dir = file::open_dir(&self.dir, &c_id)?;
        // Blocks only for as long as somebody looks whether it is dead.
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
        let claim = Claim { dir };
        if let Some(name) = name {
            let named = self.link(&c_id, name);
            if let Err(errno) = named {
                remove(self.fd(), &c_id, None);
                return Err(errno);
            }
        }
        Ok(claim)
    }

    /// Locks a container that has ended. None: it is alive, or somebody else is at it. ENOENT: it was removed.
    pub(crate) fn reclaim(&self, id: &str) -> Result<Option<Claim>, Errno> {
        let c_id = CString::new(id).map_err(|_| Errno::INVAL)?;
        // Who only looks whether it is alive has the lock for a moment, too, but never without this one.
        self.locked(|| {
            let dir = file::open_dir(&self.dir, &c_id)?;
            match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
                // Whoever removes it has the lock, but not that of all.
                Ok(()) if rustix::fs::fstat(&dir)?.st_nlink == 0 => Err(Errno::NOENT),
                Ok(()) => Ok(Some(Claim { dir })),
                Err(Errno::AGAIN) => Ok(None),
                Err(errno) => Err(errno),
            }
        })
    }

    /// Gives the container its name; takes it over from one that was left by a killed nsctl.
    fn link(&self, id: &CStr, name: &str) -> Result<(), Errno> {
        let link = link_name(name);
        match rustix::fs::symlinkat(id, &self.dir, &link) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
        // Of two who find the owner dead, the second must see the first's link and not remove it.
        self.locked(|| {
            self.heal_link(&link);
            rustix::fs::symlinkat(id, &self.dir, &link)
        })
    }

    /// Gives a container another name. EEXIST: it is taken.
    pub(crate) fn rename(&self, record: &mut Record, name: &str) -> Result<(), Errno> {
        let id = CString::new(record.id.as_str()).map_err(|_| Errno::INVAL)?;
        self.link(&id, name)?;
        self.locked(|| {
            let dir = file::open_dir(&self.dir, &id)?;
            // It may have been started meanwhile.
            if let Some(now) = record::read(&dir) {
                *record = now;
            }
            let old = std::mem::replace(&mut record.name, name.to_string());
            let written = record::write(dir.as_fd(), NEWER, record);
            let unneeded = if written.is_ok() { old.as_str() } else { name };
            if !unneeded.is_empty() {
                rustix::fs::unlinkat(&self.dir, link_name(unneeded), AtFlags::empty())?;
            }
            written
        })
    }

    /// The record of a container that is started again, under the name that it has by now.
    pub(crate) fn write_again(&self, claim: &Claim, record: &mut Record) -> Result<(), Errno> {
        self.locked(|| {
            if let Some(before) = claim.record() {
                record.name = before.name;
            }
            claim.write(record)
        })
    }

    /// Under the lock of the whole directory.
    fn locked<T>(&self, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        rustix::fs::flock(&self.dir, FlockOperation::LockExclusive)?;
        let done = act();
        rustix::fs::flock(&self.dir, FlockOperation::Unlock)?;
        done
    }

    /// All containers, oldest first; what killed ones left is cleared away.
    pub(crate) fn all(&self) -> Result<Vec<Entry>, Errno> {
        let (mut found, mut links) = (Vec::new(), Vec::new());
        self.locked(|| {
            for entry in Dir::read_from(&self.dir)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes().starts_with(b"@") {
                    links.push(name.to_owned());
                } else if !name.to_bytes().starts_with(b".") && entry.file_type() != FileType::RegularFile {
                    found.extend(self.look(name));
                }
            }
            let mut names: Vec<&[u8]> = found.iter().map(|entry: &Entry| entry.record.name.as_bytes()).collect();
            names.sort_unstable();
            // A name that is a container's is in order.
            for link in links.iter().filter(|link| names.binary_search(&&link.to_bytes()[1..]).is_err()) {
                self.heal_link(link);
            }
            Ok(())
        })?;
        found.sort_by(|a, b| a.record.age().cmp(&b.record.age()));
        Ok(found)
    }

    /// The container of this id, if it is more than what a killed nsctl left.
    pub(crate) fn entry(&self, id: &CStr) -> Option<Entry> {
        self.locked(|| Ok(self.look(id))).ok().flatten()
    }

    /// Under the lock of the whole directory, so that of two who look none takes the other for the container.
    fn look(&self, id: &CStr) -> Option<Entry> {
        let dir = file::open_dir(&self.dir, id).ok()?;
        let alive = rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err();
        if !alive && !self.heal(id, &dir) {
            return None;
        }
        // Read when it is known whether it lives, and not before: it may have ended meanwhile.
        let record = record::read(&dir)?;
        let status = status::read(dir.as_fd());
        if !alive {
            let _ = rustix::fs::flock(&dir, FlockOperation::Unlock);
        }
        Some(Entry { record, dir, alive, status })
    }

    /// Whether it lives still, or again.
    pub(crate) fn is_alive(&self, entry: &Entry) -> bool {
        let free = self.locked(|| {
            rustix::fs::flock(&entry.dir, FlockOperation::NonBlockingLockExclusive)?;
            rustix::fs::flock(&entry.dir, FlockOperation::Unlock)
        });
        free.is_err()
    }

    /// The id that belongs to a name.
    pub(crate) fn id_of(&self, name: &str) -> Option<CString> {
        rustix::fs::readlinkat(&self.dir, link_name(name), Vec::new()).ok()
    }

    /// What is left of groups of one that has ended.
    pub(crate) fn remove_groups(&self, record: &Record) {
        heal::remove_groups(record.places());
    }

    /// Removes the directory and the name of a container that the caller has locked.
    pub(crate) fn remove(&self, record: &Record) {
        let Ok(id) = CString::new(record.id.as_str()) else { return };
        let name = (!record.name.is_empty()).then(|| link_name(&record.name));
        remove(self.fd(), &id, name.as_deref());
    }
}

impl Entry {
    /// Writes the record anew; to be called with the lock of the whole directory.
    pub(crate) fn rewrite(&self) -> Result<(), Errno> {
        record::write(self.dir.as_fd(), NEWER, &self.record)
    }

    pub(crate) fn read_again(&mut self) {
        if let Some(record) = record::read(&self.dir) {
            self.record = record;
        }
    }
}

impl Claim {
    pub(crate) fn record(&self) -> Option<Record> {
        record::read(&self.dir)
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), Errno> {
        record::write(self.dir.as_fd(), NEW, record)
    }

    /// What `exec` reads.
    pub(crate) fn write_filter(&self, filter: &[u8]) -> Result<(), Errno> {
        file::replace(&self.dir, NEW, SECCOMP, filter)
    }

    /// Where groups will be: they are found even if this start is killed before it has written its record.
    pub(crate) fn note_parent(&self, parent: &CStr) -> Result<(), Errno> {
        rustix::fs::symlinkat(parent, &self.dir, ABOVE)
    }
}

/// Removes a container's directory, and its name if that is its own still: it may have been renamed, and the name be another's. Does not
/// allocate, so that the reaper can do it, too. Ignored: that any of them is not there, since a start that failed or was killed
/// half-way has made only some.
pub(crate) fn remove(state: BorrowedFd<'_>, id: &CStr, link: Option<&CStr>) {
    let mut owner = [std::mem::MaybeUninit::<u8>::uninit(); 64];
    if let Some(link) = link
        && rustix::fs::readlinkat_raw(state, link, &mut owner).is_ok_and(|(owner, _)| &*owner == id.to_bytes())
    {
        let _ = rustix::fs::unlinkat(state, link, AtFlags::empty());
    }
    let Ok(dir) = file::open_dir(state, id) else { return };
    let _ = rustix::fs::unlinkat(&dir, RECORD, AtFlags::empty());
    if rustix::fs::unlinkat(state, id, AtFlags::REMOVEDIR).is_err() {
        // One that is kept has more, and one that was killed while its record was written.
        for name in FILES {
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(state, id, AtFlags::REMOVEDIR);
    }
}

/// The entry of a name in the state directory.
pub(crate) fn link_name(name: &str) -> CString {
    CString::new(format!("@{name}")).unwrap_or_default()
}

/// The record, if it is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) -> Option<Record> {
    let _ = Words::of(bytes.to_vec(), bytes.to_vec());
    let text = std::str::from_utf8(bytes).ok()?;
    status::survives(text);
    record::survives(text)
}
