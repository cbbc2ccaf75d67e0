//! The walk and openat2 must come to the same place, and neither may leave the root.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

/// A directory `root` beside a directory `outside`; removed at the end.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-path-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for sub in ["root/a/b", "root/etc", "outside"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::write(dir.join("root/a/file"), "x").unwrap();
        fs::write(dir.join("outside/secret"), "x").unwrap();
        for (target, link) in [
            ("/a/b", "root/absolute"),
            ("../../../../outside/secret", "root/up"),
            ("a/../absolute/..", "root/winding"),
            ("loop2", "root/loop1"),
            ("loop1", "root/loop2"),
            ("/missing/dir", "root/dangling"),
            ("/proc/self/root", "root/magic"),
            ("..", "root/a/parent"),
        ] {
            symlink(target, dir.join(link)).unwrap();
        }
        symlink(dir.join("outside"), dir.join("root/host")).unwrap();
        Self(dir)
    }

    fn root(&self) -> OwnedFd {
        fs::File::open(self.0.join("root")).unwrap().into()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn identity(found: Result<OwnedFd, Errno>) -> Result<(u64, u64), Errno> {
    found.map(|fd| rustix::fs::fstat(&fd).map(|stat| (stat.st_dev, stat.st_ino)).unwrap())
}

#[test]
fn the_walk_and_openat2_agree() {
    let tree = Tree::new("agree");
    let root = tree.root();
    let paths = [
        "",
        "/",
        ".",
        "a",
        "/a/b",
        "a//b/",
        "a/b/../file",
        "a/file",
        "a/file/",
        "a/file/x",
        "nothing",
        "a/nothing/x",
        "absolute",
        "absolute/..",
        "up",
        "winding",
        "loop1",
        "dangling",
        "..",
        "../..",
        "../outside/secret",
        "/../../a",
        "a/parent/a/b",
        "a/parent/../../..",
        "host",
        "host/secret",
        "absolute/../parent/etc",
    ];
    for links in [Links::Inside, Links::Refused] {
        for path in paths {
            let c_path = CString::new(path).unwrap();
            let by_kernel = match openat2(root.as_fd(), &c_path, OFlags::PATH, links) {
                Err(Errno::NOSYS) => return,
                other => identity(other),
            };
            let by_walk = identity(walk(root.as_fd(), &c_path, links, None));
            // The kernel says EXDEV also where the walk first stumbles over something else.
            let same = by_kernel == by_walk || (by_kernel.is_err() && by_walk.is_err() && links == Links::Refused);
            assert!(same, "{path} {links:?}: the kernel {by_kernel:?}, the walk {by_walk:?}");
        }
    }
}

#[test]
fn what_is_missing_is_made_inside() {
    let tree = Tree::new("made");
    let root = tree.root();
    for (path, kind, where_it_is) in [
        (c"x/y/z", Kind::Directory, "root/x/y/z"),
        (c"/etc/hosts", Kind::File, "root/etc/hosts"),
        (c"absolute/new", Kind::File, "root/a/b/new"),
        (c"../../v/../w", Kind::Directory, "root/w"),
        (c"dangling", Kind::Directory, "root/missing/dir"),
        (c"dangling/deeper", Kind::File, "root/missing/dir/deeper"),
    ] {
        make(root.as_fd(), path, kind, Links::Inside).unwrap_or_else(|errno| panic!("{path:?}: {errno:?}"));
        let made = fs::symlink_metadata(tree.0.join(where_it_is)).unwrap_or_else(|e| panic!("{where_it_is}: {e}"));
        assert_eq!(made.is_dir(), kind == Kind::Directory, "{path:?}");
    }
    assert_eq!(make(root.as_fd(), c"a/file", Kind::Directory, Links::Inside).err(), Some(Errno::NOTDIR));
    assert_eq!(make(root.as_fd(), c"a", Kind::File, Links::Inside).err(), Some(Errno::ISDIR));
    // `host` names a path that is outside, and so, inside, another one.
    make(root.as_fd(), c"host/planted", Kind::File, Links::Inside).unwrap();
    assert_eq!(fs::read_dir(tree.0.join("outside")).unwrap().count(), 1);
}

#[test]
fn links_out_of_procfs_are_refused() {
    let slash: OwnedFd = fs::File::open("/").unwrap().into();
    let own = CString::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&slash))).unwrap();
    for path in [own.as_c_str(), c"/proc/self/root/etc", c"/proc/self/cwd"] {
        assert_eq!(open(slash.as_fd(), path, Links::Inside).err(), Some(Errno::LOOP), "{path:?}");
        assert_eq!(walk(slash.as_fd(), path, Links::Inside, None).err(), Some(Errno::LOOP), "{path:?}");
    }
    assert!(walk(slash.as_fd(), c"/proc/self/status", Links::Inside, None).is_ok());
}

#[test]
fn only_regular_files_are_opened_for_reading() {
    let tree = Tree::new("regular");
    let root = tree.root();
    rustix::fs::mknodat(&root, c"etc/passwd", FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(open_file(root.as_fd(), c"etc/passwd").err(), Some(Errno::INVAL));
    assert_eq!(open_file(root.as_fd(), c"a").err(), Some(Errno::INVAL));
    assert!(open_file(root.as_fd(), c"a/file").is_ok());
    assert_eq!(open_file(root.as_fd(), c"host/secret").err(), Some(Errno::NOENT));
}
