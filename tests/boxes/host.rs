//! The machine's side of a test: its files, mount namespaces to prepare something in, and what a tree or a table of mounts is like.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Failed;

use crate::nsctl::{Outcome, Running, command, outcome, state};
use crate::root::{self, Root};

/// A root that no test changes: most need nothing else.
pub(crate) fn plain() -> &'static Root {
    static PLAIN: OnceLock<Root> = OnceLock::new();
    PLAIN.get_or_init(|| Root::plain("plain"))
}

/// Without this file, link or directory.
pub(crate) fn without(root: Root, name: &str) -> Root {
    let place = root.at(name);
    if fs::symlink_metadata(&place).unwrap().is_dir() {
        fs::remove_dir_all(place).unwrap();
    } else {
        fs::remove_file(place).unwrap();
    }
    root
}

/// Removes what no destructor does: the plain root, images, the state.
pub(crate) fn clear() {
    let ours = format!("nsctl-boxes-{}", std::process::id());
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ours || name.starts_with(&format!("{ours}-")) {
            root::remove(&entry.path());
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// An empty directory of a test, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}-{name}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_str().unwrap().into()
    }

    pub(crate) fn dir(&self, name: &str) -> String {
        fs::create_dir_all(self.at(name)).unwrap();
        self.path(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        root::remove(&self.0);
    }
}

/// What is mounted in a mount namespace of its own before a command starts in it.
pub(crate) struct Prepared {
    fs: CString,
    target: CString,
    flags: libc::c_ulong,
}

/// A file system of this type on an existing directory.
pub(crate) fn mounted(fs: &str, target: &str) -> Prepared {
    Prepared { fs: CString::new(fs).unwrap(), target: CString::new(target).unwrap(), flags: 0 }
}

/// MS_SHARED and its like, for what is mounted there.
pub(crate) fn spread(target: &str, flags: libc::c_ulong) -> Prepared {
    Prepared { flags, ..mounted("", target) }
}

impl Prepared {
    pub(crate) fn of(self, fs: &str) -> Self {
        Self { fs: CString::new(fs).unwrap(), ..self }
    }
}

/// The directory as a mount of its own.
pub(crate) fn bound(target: &str) -> Prepared {
    Prepared { flags: libc::MS_BIND, ..mounted("", target) }
}

/// One directory or file in the place of another.
pub(crate) fn over(source: &str, target: &str) -> Prepared {
    Prepared { flags: libc::MS_BIND, ..mounted(source, target) }
}

/// Of the kernel's version the first two numbers.
pub(crate) fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Has the command start in a mount namespace of its own, with this in it.
pub(crate) fn prepare(command: &mut Command, mounts: Vec<Prepared>) {
    // SAFETY: system calls alone, between fork and exec; the strings live in the closure.
    unsafe {
        command.pre_exec(move || {
            let check = |result: i32| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
            let nothing = c"none".as_ptr();
            check(libc::unshare(libc::CLONE_NEWNS))?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            check(libc::mount(nothing, c"/".as_ptr(), nothing, private, std::ptr::null()))?;
            for Prepared { fs, target, flags } in &mounts {
                let itself = fs.is_empty();
                let (fs, target) = (fs.as_ptr(), target.as_ptr());
                let source = match flags & libc::MS_BIND {
                    0 => nothing,
                    _ if itself => target,
                    _ => fs,
                };
                check(libc::mount(source, target, fs, *flags, std::ptr::null()))?;
            }
            Ok(())
        })
    };
}

/// nsctl in a mount namespace with this in it.
pub(crate) fn nsctl_with(mounts: Vec<Prepared>, args: &[&str]) -> Outcome {
    let mut nsctl = command(args);
    prepare(&mut nsctl, mounts);
    outcome(Running::start(&mut nsctl))
}

/// `sh -c SCRIPT` on the host's side; its arguments are these and then nsctl, masked or not.
pub(crate) fn script(text: &str, args: &[&str]) -> Command {
    let nsctl = command(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", text, "sh"]).args(args).arg(nsctl.get_program()).args(nsctl.get_args());
    shell.env("NSCTL_ROOT", state()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

/// A tree as it is: for every name what lstat(2) says of it, its extended attributes and its contents.
#[derive(PartialEq)]
pub(crate) struct Tree(BTreeMap<PathBuf, (String, Vec<u8>)>);

impl Tree {
    pub(crate) fn of(dir: impl AsRef<Path>) -> Self {
        let mut tree = Self(BTreeMap::new());
        tree.add(dir.as_ref());
        tree
    }

    fn add(&mut self, path: &Path) {
        let meta = fs::symlink_metadata(path).unwrap();
        let contents = if meta.is_symlink() {
            fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
        } else if meta.is_file() {
            fs::read(path).unwrap()
        } else {
            Vec::new()
        };
        let (mode, uid, gid, links) = (meta.mode(), meta.uid(), meta.gid(), meta.nlink());
        let (seconds, nanoseconds, device) = (meta.mtime(), meta.mtime_nsec(), meta.rdev());
        let attributes = attributes(path);
        let text = format!("{mode:o} {uid}:{gid} {links} {seconds}.{nanoseconds:09} {device} {attributes:?}");
        self.0.insert(path.into(), (text, contents));
        if meta.is_dir() {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| self.add(&entry.path()));
        }
    }

    /// Fails with what became different, was added or removed.
    pub(crate) fn must_be(&self, other: &Self) -> Result<(), Failed> {
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differ = |name: &&&PathBuf| self.0.get(**name) != other.0.get(**name);
        let text = |tree: &Self, name: &PathBuf| tree.0.get(name).map(|(text, _)| text.clone()).unwrap_or_default();
        let different: Vec<String> = names
            .iter()
            .filter(differ)
            .map(|name| format!("{}: '{}', it was '{}'", name.display(), text(self, name), text(other, name)))
            .collect();
        if different.is_empty() { Ok(()) } else { Err(format!("changed: {different:#?}").into()) }
    }
}

/// Names and values.
pub(crate) fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0u8; 4096];
    // SAFETY: the buffer is as long as we say.
    let length = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let names = &names[..usize::try_from(length).unwrap_or(0)];
    let value = |name: &[u8]| {
        let name = CString::new(name).unwrap();
        let mut value = vec![0u8; 4096];
        // SAFETY: likewise.
        let length = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        value.truncate(usize::try_from(length).unwrap_or(0));
        (name.to_string_lossy().into_owned(), value)
    };
    names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(value).collect()
}

/// A line of mountinfo.
pub(crate) struct Mount {
    /// Which directory of the file system it shows.
    pub(crate) root: String,
    pub(crate) target: String,
    /// Of the mount.
    pub(crate) options: String,
    /// shared:N, master:N.
    pub(crate) spread: String,
    pub(crate) fs: String,
    pub(crate) source: String,
    /// Of the file system.
    pub(crate) own: String,
}

/// Sorted by target; what was mounted later comes after what was mounted there before.
pub(crate) fn mounts(text: &str) -> Vec<Mount> {
    let mut all: Vec<Mount> = text.lines().filter(|line| line.contains(" - ")).map(mount).collect();
    all.sort_by(|a, b| a.target.cmp(&b.target));
    all
}

fn mount(line: &str) -> Mount {
    let (place, kind) = line.split_once(" - ").unwrap();
    let place: Vec<&str> = place.split(' ').collect();
    let kind: Vec<&str> = kind.split(' ').collect();
    let text = |list: &[&str], at: usize| list.get(at).copied().unwrap_or_default().to_string();
    Mount {
        root: text(&place, 3),
        target: text(&place, 4),
        options: text(&place, 5),
        spread: place.get(6..).unwrap_or_default().join(" "),
        fs: text(&kind, 0),
        source: text(&kind, 1),
        own: text(&kind, 2),
    }
}

/// `TARGET OPTIONS TYPE` of what is mounted on, or below, this target.
pub(crate) fn seen(text: &str, target: &str) -> Vec<String> {
    let below = format!("{target}/");
    let wanted = |mount: &Mount| mount.target == target || mount.target.starts_with(&below);
    let line = |mount: Mount| format!("{} {} {}", mount.target, mount.options, mount.fs);
    mounts(text).into_iter().filter(wanted).map(line).collect()
}

/// Says why a test is not run. With NSCTL_MUST that is a failure on a whole machine, where what is missing can be had.
pub(crate) fn skip(why: &str) {
    let must = std::env::var_os("NSCTL_MUST").is_some() && std::env::var_os("NSCTL_QEMU").is_none();
    assert!(!must, "skipped: {why}");
    println!("skipped: {why}");
}
