//! Roots for containers, built of a static busybox and this program, the probe.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::nsctl::own;

/// A root in a directory of its own: bin/busybox with its applets, bin/probe, a few files in /etc, and the directories that every
/// root has. Removed at the end, unless something is still mounted in it.
pub(crate) struct Root {
    dir: PathBuf,
}

impl Root {
    pub(crate) fn new(name: &str) -> Self {
        let root = Self::plain(name);
        root.copy(&own(), "bin/probe");
        root
    }

    /// Without the probe, which is large.
    pub(crate) fn plain(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}-root-{name}-{number}", std::process::id()));
        let root = Self { dir };
        for directory in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir_all(root.at(directory)).unwrap();
        }
        // Readable by whatever user a test runs as, whatever the umask is here.
        for directory in ["", "bin", "etc", "root"] {
            fs::set_permissions(root.at(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(root.at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        root.copy(&busybox(), "bin/busybox");
        for applet in applets() {
            symlink("busybox", root.at("bin").join(applet)).unwrap();
        }
        root.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
            .file("etc/group", "root:x:0:\nuser:x:1000:\nmore:x:2000:user\n")
    }

    /// A copy: what a container with `--rw` does to it must not reach the machine's own.
    fn copy(&self, from: &str, to: &str) {
        fs::copy(from, self.at(to)).unwrap();
        fs::set_permissions(self.at(to), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// The path on the host of a file inside.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name.trim_start_matches('/'))
    }

    pub(crate) fn symlink(self, target: &str, name: &str) -> Self {
        symlink(target, self.place(name)).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let place = self.place(name);
        fs::write(&place, text).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// A file that can be executed.
    pub(crate) fn script(self, name: &str, text: &str) -> Self {
        let root = self.file(name, text);
        fs::set_permissions(root.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        root
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        fs::create_dir_all(self.at(name)).unwrap();
        self
    }

    /// Where something new goes: its directory is made, and what was there is removed.
    fn place(&self, name: &str) -> PathBuf {
        let place = self.at(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match fs::symlink_metadata(&place) {
            Ok(there) if there.is_dir() => fs::remove_dir_all(&place).unwrap(),
            Ok(_) => fs::remove_file(&place).unwrap(),
            Err(_) => {}
        }
        place
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Removes a directory of a test. If a mount was left in it, which the leak check tells, what is mounted there stays as it is.
pub(crate) fn remove(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let inside = |line: &str| line.split(' ').nth(4).is_some_and(|target| Path::new(target).starts_with(dir));
    if !mounts.lines().any(inside) {
        let _ = fs::remove_dir_all(dir);
    }
}

/// A busybox that runs without libraries. The dynamic package has the same file name.
pub(crate) fn busybox() -> String {
    let is_static = |path: &&str| {
        let mut head = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head));
        // A dynamic program names its interpreter, near the start of the file.
        read.is_ok() && !head.windows(4).any(|bytes| bytes == b"/ld-")
    };
    let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(is_static);
    found.expect("a static busybox (package busybox-static)").to_string()
}

fn applets() -> &'static [String] {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let output = Command::new(busybox()).arg("--list").output().expect("busybox --list");
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        names.lines().filter(|name| *name != "busybox").map(String::from).collect()
    })
}
