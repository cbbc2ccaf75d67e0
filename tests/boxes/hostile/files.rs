//! What the image brings along in the places where nsctl, or the kernel, has files of its own.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libtest_mimic::Failed;

use super::{Canary, Source, each_way, inside};
use crate::life::Kept;
use crate::nsctl::{self, must};
use crate::root::Root;

/// Tells which files of a directory were opened.
struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    fn new(dirs: &[&Path]) -> Self {
        // SAFETY: no memory is handed over but paths that live through the calls; the descriptor is ours alone.
        unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            assert!(fd >= 0, "inotify: {}", std::io::Error::last_os_error());
            for dir in dirs {
                let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).unwrap();
                let added =
                    libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_OPEN | libc::IN_ACCESS | libc::IN_MODIFY);
                assert!(added >= 0, "watch {}: {}", dir.display(), std::io::Error::last_os_error());
            }
            Self { inotify: OwnedFd::from_raw_fd(fd) }
        }
    }

    /// The names since the last call; directories are left out.
    fn opened(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut buffer = [0u8; 16 << 10];
        loop {
            // SAFETY: the kernel writes no more than the buffer holds.
            let read = unsafe { libc::read(self.inotify.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Ok(read) = usize::try_from(read) else { return names };
            // struct inotify_event: wd, mask, cookie, len, name.
            let mut at = 0;
            while at < read {
                let number = |offset: usize| u32::from_ne_bytes(buffer[at + offset..][..4].try_into().unwrap());
                let length = number(12) as usize;
                let name = String::from_utf8_lossy(&buffer[at + 16..][..length]).trim_end_matches('\0').to_string();
                if number(4) & libc::IN_ISDIR == 0 && !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
                at += 16 + length;
            }
        }
    }
}

/// What is looked into, and covered.
const FILES: &[&str] = &["passwd", "group", "hosts", "hostname", "resolv.conf"];

/// Looking up names of users, as root inside somebody's root, must load nothing of it: no plug-ins of the name service, no loader.
pub(super) fn libraries() -> Result<(), Failed> {
    let canary = Canary::new("libraries");
    each_way(|| {
        let mut root = Root::plain("libraries").file("etc/nsswitch.conf", "passwd: files evil\ngroup: files evil\n");
        let libraries =
            ["libnss_files.so.2", "libnss_evil.so.2", "libnss_compat.so.2", "libc.so.6", "ld-musl-x86_64.so.1"];
        for dir in ["lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib"] {
            for library in libraries {
                root = root.script(&format!("{dir}/{library}"), "\x7fELF");
            }
        }
        root = root.file("etc/ld.so.preload", "/lib/libc.so.6\n").file("etc/ld.so.cache", "");
        let dirs = ["lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib", "etc"].map(|dir| root.at(dir));
        // Straight, since an overlay tells nobody what is opened below it.
        let watch = Watch::new(&dirs.iter().map(|dir| dir.as_path()).collect::<Vec<_>>());
        let options =
            ["run", "--rootfs", root.path(), "--rw", "-u", "user:more", "--group-add", "user", "--", "/bin/true"];
        let outcome = nsctl::nsctl(&options);
        must(outcome.code == 0, "names are found", &outcome)?;
        let opened = watch.opened();
        let foreign: Vec<_> = opened.iter().filter(|name| !FILES.contains(&name.as_str())).collect();
        must(foreign.is_empty(), &format!("files of the root that were opened: {foreign:?}"), &outcome)?;
        must(opened.iter().any(|name| name == "passwd"), "the watch sees passwd", &outcome)?;
        let kept = Kept::shell(&["--rootfs", root.path(), "--rw"], "sleep 600; true")?;
        watch.opened();
        let outcome = nsctl::nsctl(&["exec", "-u", "user:more", kept.id(), "/bin/true"]);
        must(outcome.code == 0, "names are found by exec", &outcome)?;
        let opened = watch.opened();
        let right = opened.iter().any(|name| name == "passwd") && opened.iter().all(|name| FILES.contains(&&**name));
        must(right, &format!("files of the root that exec opened: {opened:?}"), &outcome)?;
        canary.check()
    })
}

/// Only the command line tells what to do: nothing in a root, nor beside it, nor where nsctl was called.
pub(super) fn settings() -> Result<(), Failed> {
    let canary = Canary::new("settings");
    let beside = Source::new("beside");
    each_way(|| {
        let names = [
            "nsctl.toml",
            "nsctl.json",
            "nsctl.conf",
            ".nsctl",
            "config.json",
            "root.nspawn",
            ".dockerenv",
            "Dockerfile",
        ];
        let text =
            format!("[Files]\nBind={0}:/host\n[mounts]\nbind = [\"{0}:/host\"]\nvolume={0}:/host\n", canary.path());
        let mut root = Root::plain("settings");
        for name in names {
            root =
                root.file(name, &text).file(&format!("etc/{name}"), &text).file(&format!("etc/nsctl/{name}"), &text);
            fs::write(beside.0.join(name), &text)?;
        }
        let moved = beside.0.join("root");
        fs::rename(root.at(""), &moved)?;
        let watch = Watch::new(&[&moved, &moved.join("etc"), &moved.join("etc/nsctl"), &beside.0]);
        let mut command = nsctl::command(&[
            "run",
            "--rootfs",
            moved.to_str().unwrap(),
            "--rw",
            "--",
            "/bin/sh",
            "-c",
            "ls -d /host /run/host",
        ]);
        let outcome = nsctl::outcome(nsctl::Running::start(command.current_dir(&beside.0)));
        let opened = watch.opened();
        fs::rename(&moved, root.at(""))?;
        must(outcome.code == 1 && outcome.out.is_empty(), "there is no /host", &outcome)?;
        let read: Vec<_> = names.iter().filter(|name| opened.iter().any(|opened| opened == *name)).collect();
        must(read.is_empty(), &format!("settings that were opened: {read:?}"), &outcome)?;
        let kept = Kept::shell(&["--rootfs", root.path(), "--rw"], "sleep 600; true")?;
        watch.opened();
        let mut command = nsctl::command(&["exec", kept.id(), "/bin/sh", "-c", "ls -d /host /run/host"]);
        let outcome = nsctl::outcome(nsctl::Running::start(command.current_dir(&beside.0)));
        must(outcome.code == 1 && outcome.out.is_empty(), "nor for exec", &outcome)?;
        let opened = watch.opened();
        let read = names.iter().find(|name| opened.iter().any(|opened| opened == *name));
        must(read.is_none(), &format!("exec opened {read:?}"), &outcome)?;
        canary.check()
    })
}

/// An image with files where the kernel's are (as VOLUME /proc makes them), and a user who would mount such.
pub(super) fn proc_of_the_image() -> Result<(), Failed> {
    let canary = Canary::new("proc-of-the-image");
    let source = Source::new("proc");
    each_way(|| {
        let mut root = Root::plain("proc");
        for name in [
            "self/attr/exec",
            "self/attr/apparmor/exec",
            "thread-self/attr/exec",
            "sys/net/ipv4/ip_default_ttl",
            "self/status",
        ] {
            root = root.file(&format!("proc/{name}"), "fake").file(&format!("sys/{name}"), "fake");
        }
        for options in [&[][..], &["--rw"]] {
            let sysctl = ["--net", "private", "--sysctl", "net.ipv4.ip_default_ttl=77"];
            let script = "grep -c fake /proc/self/status; cat /proc/sys/net/ipv4/ip_default_ttl; ls /sys/self";
            let outcome = inside(&root, &[options, &sysctl].concat(), script);
            must(outcome.out == "0\n77\n", &format!("/proc is the kernel's {options:?}"), &outcome)?;
            let fake = fs::read(root.at("proc/sys/net/ipv4/ip_default_ttl"))?;
            must(fake == b"fake", "the image's file is not written", &outcome)?;
        }
        for place in ["/proc", "/proc/self/attr", "/proc/self/attr/exec"] {
            let outcome = inside(&root, &["-v", &source.to(place)], "echo started");
            must(outcome.code == 125, &format!("no volume at {place}"), &outcome)?;
        }
        canary.check()
    })
}

/// etc/hosts as a link to a file of /proc, which is empty by its size: nsctl's text must not cover it, lest a setting goes there.
pub(super) fn texts_over_proc() -> Result<(), Failed> {
    let host = fs::read("/proc/sys/net/ipv4/ip_default_ttl")?;
    each_way(|| {
        for target in [
            "/proc/sys/net/ipv4/ip_default_ttl",
            "../proc/sys/net/ipv4/ip_default_ttl",
            "/proc/self/status",
            "/sys/kernel/mm/ksm/run",
        ] {
            for name in ["hosts", "hostname", "resolv.conf"] {
                let root = Root::plain("texts-over-proc").symlink(target, &format!("etc/{name}"));
                let options = ["--net", "private", "--sysctl", "net.ipv4.ip_default_ttl=77"];
                let script = format!(
                    "cat /proc/sys/net/ipv4/ip_default_ttl; grep -c -e ' /proc/.*/{name} ' -e '/{name} /proc' -e '/{name} /sys' /proc/self/mountinfo"
                );
                let outcome = inside(&root, &options, &script);
                must(outcome.out == "77\n0\n", &format!("etc/{name} -> {target}"), &outcome)?;
            }
        }
        Ok(())
    })?;
    if fs::read("/proc/sys/net/ipv4/ip_default_ttl")? == host {
        Ok(())
    } else {
        Err("the host's setting changed".into())
    }
}

/// No more than the same text is written, should it be possible.
pub(super) fn cgroups() -> Result<(), Failed> {
    each_way(|| {
        let root = Root::plain("cgroups");
        let script = "cd /sys/fs/cgroup; grep -q ' - cgroup' /proc/self/mountinfo && echo mounted
            for group in . */.; do
                test -e $group/cgroup.procs || continue
                for file in cgroup.procs tasks release_agent notify_on_release cgroup.subtree_control memory.max; do
                    test ! -e $group/$file || ! (: >> $group/$file) 2>/dev/null || echo $group/$file can be written
                    test ! -e $group/$file || ! (cat $group/$file > $group/$file) 2>/dev/null || echo $group/$file was written
                done
                ! mkdir $group/made 2>/dev/null || { echo $group/made; rmdir $group/made; }
            done";
        for options in [&[][..], &["--rw"], &["--pids-limit", "30"], &["-u", "1000"]] {
            let outcome = inside(&root, options, script);
            // A guest without cgroups shows none; here there are some.
            let mounted = fs::read_to_string("/proc/self/mountinfo")?.contains(" - cgroup");
            let wanted = if mounted { "mounted\n" } else { "" };
            must(outcome.out == wanted, &format!("cgroups are read-only {options:?}"), &outcome)?;
            let kept = Kept::shell(&[&["--rootfs", root.path()], options].concat(), "sleep 600; true")?;
            let outcome = nsctl::nsctl(&["exec", kept.id(), "/bin/sh", "-c", script]);
            must(outcome.out == wanted, &format!("to exec as well {options:?}"), &outcome)?;
        }
        Ok(())
    })
}

/// What masks and read-only parts must keep to themselves; prints what they do not.
pub(super) const MASKS: &str = "
    for file in acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats; do
        echo /proc/$file
    done > /tmp/masked
    for file in /sys/firmware /sys/devices/virtual/powercap /sys/devices/system/cpu/cpu*/thermal_throttle; do echo $file; done >> /tmp/masked
    while read -r file; do
        if test -d $file; then
            test -z \"$(ls -A $file)\" || echo $file can be listed
            ! mkdir $file/made 2>/dev/null || echo $file can be written
        elif test -e $file; then
            test -z \"$(head -c 1 $file | od)\" || test \"$(head -c 1 $file | od)\" = 0000000 || echo $file can be read
            ! (: >> $file) 2>/dev/null || echo $file can be written
        fi
    done < /tmp/masked
    for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches /proc/sysrq-trigger /proc/irq/default_smp_affinity; do
        test ! -e $file || ! (: >> $file) 2>/dev/null || echo $file can be written
    done
    echo done";

pub(super) fn masks() -> Result<(), Failed> {
    let canary = Canary::new("masks");
    each_way(|| {
        for target in ["/etc/passwd", "/proc/sys/kernel/core_pattern", canary.path(), "null"] {
            let root =
                Root::plain("masks").symlink(target, "dev/null").file("no-file", "fake").dir("no-directory/full");
            for options in [&[][..], &["--rw"]] {
                let outcome = inside(&root, options, MASKS);
                must(outcome.out == "done\n", &format!("masks, /dev/null -> {target} {options:?}"), &outcome)?;
                canary.unseen(&outcome)?;
            }
        }
        let root = Root::plain("masks").symlink(canary.path(), "dev/null");
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        let outcome = nsctl::nsctl(&["exec", kept.id(), "/bin/sh", "-c", MASKS]);
        must(outcome.out == "done\n", "masks are there for exec", &outcome)?;
        Ok(())
    })
}

/// A terminal on standard input becomes /dev/console: by what is open, and in nsctl's own /dev.
pub(super) fn console() -> Result<(), Failed> {
    let canary = Canary::new("console");
    let victim = format!("{}/sub/file", canary.path());
    each_way(|| {
        let root = Root::plain("console")
            .symlink(&victim, "dev/console")
            .symlink(canary.path(), "dev/pts")
            .symlink(&victim, "dev/ptmx")
            .symlink(&victim, "dev/tty");
        let (master, slave) = terminal()?;
        let args = [
            "run",
            "--rootfs",
            root.path(),
            "--rw",
            "--",
            "/bin/sh",
            "-c",
            "test -c /dev/console && echo written > /dev/console; ls /dev/pts",
        ];
        let mut command = nsctl::command(&args);
        let outcome = nsctl::outcome(nsctl::Running::start(command.stdin(slave)));
        must(outcome.code == 0 && outcome.out == "ptmx\n", "it runs with a terminal", &outcome)?;
        let mut text = [0u8; 64];
        // SAFETY: the kernel writes no more than the buffer holds.
        let read = unsafe { libc::read(master.as_raw_fd(), text.as_mut_ptr().cast(), text.len()) };
        must(text[..read.max(0) as usize].starts_with(b"written"), "the console is the terminal", &outcome)?;
        canary.unseen(&outcome)?;
        own_consoles(&root, &canary, &victim)
    })
}

/// With -t it is one of the container's own; and that of exec -t comes out of the devpts that is mounted, whatever the names in /dev are by
/// then.
fn own_consoles(root: &Root, canary: &Canary, victim: &str) -> Result<(), Failed> {
    let script = "tty; stat -c %t:%T /dev/console $(tty); echo written > /dev/console";
    let args = ["run", "-t", "--rootfs", root.path(), "--rw", "--", "/bin/sh", "-c", script];
    let outcome = nsctl::nsctl(&args);
    let right = outcome.code == 0 && outcome.out == "/dev/pts/0\r\n88:0\r\n88:0\r\nwritten\r\n";
    must(right, "/dev/console is the command's terminal", &outcome)?;
    canary.unseen(&outcome)?;
    let kept = Kept::shell(&["--rootfs", root.path(), "--rw"], "sleep 600; true")?;
    let script =
        format!("cd /dev; for name in ptmx console tty; do rm -f $name; ln -s {victim} $name; done; ls -l ptmx");
    let replaced = nsctl::nsctl(&["exec", kept.id(), "/bin/sh", "-c", &script]);
    must(replaced.out.contains(victim), "/dev/ptmx is a link now", &replaced)?;
    let outcome = nsctl::nsctl(&["exec", "-t", kept.id(), "/bin/sh", "-c", "tty; stat -c %t:%T $(tty)"]);
    must(outcome.code == 0 && outcome.out == "/dev/pts/0\r\n88:0\r\n", "a terminal of its devpts", &outcome)?;
    canary.unseen(&outcome)
}

/// Both ends of a new one.
fn terminal() -> Result<(OwnedFd, OwnedFd), Failed> {
    // SAFETY: descriptors that the calls hand out are ours alone; TIOCGPTN writes one number, TIOCSPTLCK reads one.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let master = libc::open(c"/dev/ptmx".as_ptr(), flags | libc::O_NONBLOCK);
        let (mut number, unlock) = (0i32, 0i32);
        if master < 0
            || libc::ioctl(master, libc::TIOCSPTLCK, &raw const unlock) < 0
            || libc::ioctl(master, libc::TIOCGPTN, &raw mut number) < 0
        {
            return Err(format!("no terminal: {}", std::io::Error::last_os_error()).into());
        }
        let name = std::ffi::CString::new(format!("/dev/pts/{number}")).unwrap();
        let slave = libc::open(name.as_ptr(), flags);
        if slave < 0 {
            return Err(format!("open {name:?}: {}", std::io::Error::last_os_error()).into());
        }
        Ok((OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)))
    }
}
