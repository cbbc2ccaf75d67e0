//! Inside a container, as its root with CAP_SYS_ADMIN and CAP_SYS_CHROOT: the ways that lead out of a root, if they do.
//! `boxes probe escape NAME CANARY…`: exit status 0 held, 1 escaped; a kernel that lacks a call says so, and has held.

use std::ffi::{CStr, CString};
use std::fs;

use super::calls::{
    BENEATH, BIND, CLONE, DETACH, FROM_EMPTY, HERE, MOVE, NAMESPACE, NEWNS, NEWUSER, REC, RECURSIVE, TO_EMPTY,
};
use super::calls::{
    call, chdir, child, chroot, fchdir, handle, loose_tmpfs, mount, move_mount, name, open_tree, p, pivot, umount,
};
use super::reach;

/// One try: what it did, and whether the host's files came into sight.
pub(super) struct Try {
    log: String,
    canaries: Vec<CString>,
    /// Only the canaries tell: what the host's root stands on may come into sight.
    named_only: bool,
    namespace: usize,
    /// The canary's directory, as struct file_handle has it.
    pub(super) handle: Vec<u32>,
    pub(super) escaped: bool,
}

impl Try {
    /// Notes what came of a call.
    pub(super) fn note(&mut self, what: &str, result: Result<i32, i32>) -> Option<i32> {
        match result {
            Ok(_) => self.log.push_str(&format!(" {what}=ok")),
            Err(errno) => self.log.push_str(&format!(" {what}={}", name(errno))),
        }
        result.ok()
    }

    fn see(&mut self, when: &str, what: &str) {
        self.log.push_str(&format!(" [{when}: {what}]"));
    }

    /// Whether a file of the host's is there, from the root directory or the current one, or below this one.
    pub(super) fn sees_host(&self, from: usize) -> bool {
        self.canaries.iter().any(|canary| {
            let relative = CStr::from_bytes_with_nul(&canary.to_bytes_with_nul()[1..]).unwrap();
            [canary.as_c_str(), relative].iter().any(|path| call(libc::SYS_faccessat, &[from, p(path), 0]).is_ok())
        })
    }

    pub(super) fn look(&mut self, when: &str) {
        let inside = ["/inside", "/own-marker"].iter().any(|marker| fs::exists(marker).unwrap_or(false));
        let entries = fs::read_dir("/").map_or(0, |entries| entries.flatten().count());
        if self.sees_host(HERE) {
            self.see(when, "the host's files");
            self.end();
        } else if !inside && entries > 0 && !self.named_only {
            // Neither the container's root, nor one that it made, nor an empty one.
            let names: Vec<String> =
                fs::read_dir("/").unwrap().flatten().map(|entry| entry.file_name().display().to_string()).collect();
            self.see(when, &format!("a strange root with {names:?}"));
            self.end();
        } else {
            self.see(when, if inside { "the container" } else { "nothing" });
        }
    }

    /// What is outside now must not be touched: no more of this.
    fn end(&self) -> ! {
        println!("ESCAPED {}", self.log);
        std::process::exit(1)
    }

    pub(super) fn escape(&mut self, how: &str) {
        self.escaped = true;
        self.see("out", how);
    }

    /// Joins its own mount namespace, which makes that one's root the root directory.
    fn re_enter(&mut self) {
        let pidfd = call(libc::SYS_pidfd_open, &[std::process::id() as usize, 0]);
        let by_pidfd = pidfd.and_then(|fd| {
            let done = call(libc::SYS_setns, &[fd as usize, NEWNS]);
            let _ = call(libc::SYS_close, &[fd as usize]);
            done
        });
        let done = by_pidfd.or_else(|_| call(libc::SYS_setns, &[self.namespace, NEWNS]));
        self.note("setns", done);
        self.look("setns");
    }

    /// Takes roots off until that ends.
    fn take_off(&mut self) {
        for path in [c"/", c"/..", c"."] {
            for _ in 0..10 {
                let off = umount(path, DETACH);
                self.note("umount", off);
                self.re_enter();
                if off.is_err() {
                    break;
                }
            }
        }
    }

    /// Out of one's own root directory, which must not be the end of "..".
    fn chroot_twice(&mut self) {
        let old = handle(c"/");
        let _ = call(libc::SYS_mkdirat, &[HERE, p(c"/tmp/jail"), 0o755]);
        let jail = loose_tmpfs().and_then(fchdir).and_then(|_| chroot(c".")).or_else(|_| chroot(c"/tmp/jail"));
        self.note("chroot", jail);
        let _ = fchdir(old);
        for _ in 0..30 {
            let _ = chdir(c"..");
        }
        let again = chroot(c".");
        self.note("chroot", again);
        self.look("chroot twice");
    }

    /// A file system of its own, with the directory old in it.
    fn own(&mut self, at: &CStr) {
        let _ = call(libc::SYS_mkdirat, &[HERE, p(at), 0o755]);
        let mounted = mount(c"tmpfs", at, c"tmpfs", 0);
        if self.note("own", mounted).is_some() {
            let at = at.to_str().unwrap();
            let _ = fs::write(format!("{at}/own-marker"), "");
            let _ = fs::create_dir(format!("{at}/old"));
        }
    }

    /// Does the same in a child that has new namespaces.
    pub(super) fn nested(&mut self, flags: usize, act: fn(&mut Self)) {
        let done = child(|| {
            let unshared = call(libc::SYS_unshare, &[flags]);
            if self.note("unshare", unshared).is_some() {
                if flags & NEWUSER != 0 {
                    for (file, text) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
                        let _ = fs::write(format!("/proc/self/{file}"), text);
                    }
                }
                act(self);
            }
            println!("  nested:{}", self.log);
            u8::from(self.escaped)
        });
        self.escaped |= done != 0;
    }
}

pub(super) type Act = fn(&mut Try);

pub(super) const TRIES: &[(&str, Act)] = &[
    ("umount", |t| {
        t.take_off();
        t.chroot_twice();
    }),
    ("umount-forced", |t| {
        for flags in [0, libc::MNT_FORCE, libc::MNT_EXPIRE, libc::MNT_EXPIRE] {
            let off = umount(c"/", flags as usize);
            t.note("umount", off);
            t.re_enter();
        }
        t.take_off();
    }),
    ("umount-magic-links", |t| {
        for path in [c"/..", c"/proc/self/root", c"/proc/self/cwd", c"/proc/1/root"] {
            let off = umount(path, DETACH);
            t.note("umount", off);
        }
        t.re_enter();
        t.take_off();
    }),
    ("pivot-to-own", |t| {
        t.own(c"/own");
        let done = pivot(c"/own", c"/own/old");
        t.note("pivot", done);
        let _ = chdir(c"/");
        let off = umount(c"/old", DETACH);
        t.note("umount", off);
        t.look("pivoted");
        t.re_enter();
        t.take_off();
        t.chroot_twice();
    }),
    ("pivot-over-itself", pivot_over_itself),
    ("pivot-there-and-back", |t| {
        t.own(c"/own");
        let there = pivot(c"/own", c"/own/old");
        t.note("pivot", there);
        let _ = fs::create_dir("/old/own");
        let back = pivot(c"/old", c"/old/own");
        t.note("pivot", back);
        let _ = chdir(c"/");
        let off = umount(c"/own", DETACH);
        t.note("umount", off);
        t.take_off();
    }),
    ("pivot-to-a-clone", |t| {
        let bound = mount(c"/", c"/tmp", c"", BIND | REC);
        t.note("bind", bound);
        let _ = chdir(c"/tmp");
        let done = pivot(c".", c".").and_then(|_| umount(c".", DETACH));
        t.note("pivot", done);
        let _ = chdir(c"/");
        t.take_off();
    }),
    ("move-the-root", |t| {
        t.own(c"/own");
        let moved = mount(c"/", c"/own/old", c"", MOVE);
        t.note("move", moved);
        if let Ok(loose) = loose_tmpfs() {
            let moved = move_mount(HERE, c"/", loose, c"", TO_EMPTY);
            t.note("move_mount", moved);
        }
        if let Ok(root) = open_tree(c"/", 0) {
            let moved = move_mount(root, c"", HERE, c"/own/old", FROM_EMPTY);
            t.note("move_mount", moved);
        }
        t.re_enter();
        t.take_off();
    }),
    ("move-over-the-root", |t| {
        t.own(c"/own");
        let _ = chdir(c"/own");
        let moved = mount(c".", c"/", c"", MOVE);
        t.note("move", moved);
        let _ = chroot(c".");
        t.look("moved");
        t.take_off();
        t.chroot_twice();
    }),
    ("chroot-twice", |t| {
        t.chroot_twice();
        t.take_off();
    }),
    ("clone-of-the-root", clone_of_the_root),
    ("mount-beneath", |t| {
        let Ok(loose) = loose_tmpfs() else { return };
        for path in [c"/", c"/.."] {
            let beneath = move_mount(loose, c"", HERE, path, FROM_EMPTY | BENEATH);
            t.note("beneath", beneath);
        }
        let root = handle(c"/");
        t.own(c"/own");
        let _ = chroot(c"/own");
        let beneath = move_mount(loose, c"", root, c"", FROM_EMPTY | TO_EMPTY | BENEATH);
        t.note("beneath", beneath);
        let _ = fchdir(root);
        let off = umount(c".", DETACH);
        t.note("umount", off);
        t.re_enter();
        t.take_off();
    }),
    ("umount-from-a-chroot", |t| {
        let root = handle(c"/");
        t.own(c"/own");
        let _ = chroot(c"/own");
        let _ = fchdir(root);
        for path in [c".", c"..", c"./.."] {
            let off = umount(path, DETACH);
            t.note("umount", off);
        }
        t.re_enter();
        t.take_off();
    }),
    ("new-mounts-umount", |t| t.nested(NEWNS, Try::take_off)),
    ("new-mounts-pivot", |t| t.nested(NEWNS, pivot_over_itself)),
    ("new-mounts-clone", |t| t.nested(NEWNS, clone_of_the_root)),
    ("new-user-umount", |t| t.nested(NEWUSER | NEWNS, Try::take_off)),
    ("new-user-pivot", |t| t.nested(NEWUSER | NEWNS, pivot_over_itself)),
    ("new-user-twice", |t| t.nested(NEWUSER | NEWNS, |t| t.nested(NEWUSER | NEWNS, Try::take_off))),
    ("shared-peers", |t| {
        let shared = call(libc::SYS_mount, &[0, p(c"/"), 0, REC | libc::MS_SHARED as usize, 0]);
        t.note("shared", shared);
        t.nested(NEWNS, |t| {
            t.take_off();
            pivot_over_itself(t);
        });
        t.take_off();
    }),
    ("namespace-of-the-root", |t| match open_tree(c"/", NAMESPACE) {
        Err(errno) => {
            t.note("open_tree", Err(errno));
        }
        Ok(tree) => {
            let joined = call(libc::SYS_setns, &[tree, NEWNS]);
            t.note("setns", joined);
            t.look("another namespace");
            t.take_off();
        }
    }),
    ("empty-namespace", |t| {
        let unshared = call(libc::SYS_unshare, &[0x0010_0000]);
        t.note("unshare", unshared);
        t.look("an empty namespace");
        t.take_off();
    }),
    ("namespaces-in-turn", namespaces_in_turn),
    ("namespace-by-handle", reach::namespace_by_handle),
    ("descriptors", reach::descriptors),
    ("processes", reach::processes),
    ("file-handles", |t| reach::file_handles(t, true)),
    ("file-handles-new-user", |t| t.nested(NEWUSER | NEWNS, |t| reach::file_handles(t, false))),
    ("ptrace-of-pid-1", reach::ptrace),
];

fn pivot_over_itself(t: &mut Try) {
    t.own(c"/own");
    let _ = chdir(c"/own");
    let done = pivot(c".", c".").and_then(|_| umount(c".", DETACH));
    t.note("pivot", done);
    let _ = chdir(c"/");
    t.look("pivoted");
    t.re_enter();
    t.take_off();
}

fn clone_of_the_root(t: &mut Try) {
    let Ok(tree) = open_tree(c"/", CLONE | RECURSIVE) else { return };
    let over = move_mount(tree, c"", HERE, c"/", FROM_EMPTY);
    t.note("move_mount", over);
    let _ = fchdir(tree);
    t.look("the clone");
    let _ = chroot(c".");
    t.take_off();
    if let Ok(tree) = open_tree(c"/", CLONE) {
        let _ = fchdir(tree).and_then(|_| chroot(c"."));
        for _ in 0..9 {
            let _ = chdir(c"..");
        }
        let _ = chroot(c".");
        t.look("a loose clone");
    }
}

/// NS_MNT_GET_NEXT and NS_MNT_GET_PREV, ioctl_nsfs(2).
fn namespaces_in_turn(t: &mut Try) {
    for request in [0x8010_b70b_usize, 0x8010_b70c] {
        let mut at = t.namespace;
        for _ in 0..200 {
            let info = [16u64, 0];
            match call(libc::SYS_ioctl, &[at, request, info.as_ptr() as usize]) {
                Ok(next) => at = next as usize,
                Err(errno) => {
                    t.note("next", Err(errno));
                    break;
                }
            }
            let joined = call(libc::SYS_setns, &[at, NEWNS]);
            t.note("setns", joined);
            t.look("another namespace");
        }
    }
}

/// `escape NAME CANARY…`
pub(crate) fn run(args: &[String]) -> ! {
    // SAFETY: no handler is set; what hangs ends.
    unsafe { libc::alarm(120) };
    let (words, paths): (Vec<_>, Vec<_>) = args[1..].iter().partition(|arg| !arg.starts_with('/'));
    let canaries = paths.iter().map(|path| CString::new(path.as_str()).unwrap()).collect();
    let named_only = words.iter().any(|word| *word == "named-only");
    let namespace = call(libc::SYS_openat, &[HERE, p(c"/proc/self/ns/mnt"), 0]).unwrap_or(-1) as usize;
    let handle = words.iter().find_map(|word| word.strip_prefix("handle:")).map(reach::decode).unwrap_or_default();
    let mut t = Try { log: String::new(), canaries, named_only, namespace, handle, escaped: false };
    let (_, act) = TRIES.iter().find(|(name, _)| *name == args[0]).expect("a try of this name");
    t.look("start");
    act(&mut t);
    println!("{} {}:{}", if t.escaped { "ESCAPED" } else { "held" }, args[0], t.log);
    std::process::exit(i32::from(t.escaped))
}
