//! Ordinary users: nsctl without any right over the machine, and without any set-up of it.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, plain, skip};
use crate::life::until;
use crate::nsctl::{self, Outcome, Running, command, must, outcome};
use crate::root::Root;
use crate::screen::Screen;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_root_needs_no_set_up", rooted),
    ("without_a_root_the_hosts_files_are_seen", hosts_files),
    ("volumes_keep_their_owner_and_their_flags", volumes),
    ("a_network_of_its_own_has_only_lo", network),
    ("a_terminal", terminal),
    ("the_hosts_namespaces", hosts_namespaces),
];

pub(crate) const UNMASKED: &[(&str, Case)] = &[
    ("a_container_that_lives_on", life),
    ("the_network_of_another_container", another_network),
    ("changes_are_kept", kept_changes),
    ("what_takes_root_is_refused", refused),
    ("limits_in_a_group_that_was_handed_over", delegated),
    ("ranges_of_ids_are_mapped_by_the_helpers", ranges),
    ("maps_of_ids_that_are_asked_for", maps),
    ("packages_are_installed_in_a_debian", packages),
    ("ranges_without_helpers_are_no_obstacle", no_helpers),
    ("nsctl_inside_is_out_of_the_commands_reach", reach),
    ("who_comes_in_is_out_of_the_commands_reach", reach_of_joiner),
    ("state_of_somebody_else_is_not_used", foreign_state),
    ("a_set_uid_copy_is_refused", set_uid),
    ("check_tells_what_there_is", check),
];

const USER: u32 = 4242;

/// What the user has of its own: a home, and in it a program that it can execute and the directory of its state.
struct Home(Scratch);

impl Home {
    fn new() -> Self {
        let home = Self(Scratch::new("home"));
        fs::set_permissions(home.0.at(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(nsctl::binary(), home.0.at("nsctl")).unwrap();
        home.dir("state");
        home
    }

    /// A directory of the user's.
    fn dir(&self, name: &str) -> String {
        let dir = self.0.dir(name);
        chown(&dir, Some(USER), Some(USER)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn command(&self, args: &[&str]) -> Command {
        let known = command(args);
        // What masks it, or the copy itself.
        let own = |word: &std::ffi::OsStr| {
            if word == nsctl::binary().as_str() { self.0.at("nsctl").into_os_string() } else { word.to_owned() }
        };
        let words: Vec<_> = std::iter::once(known.get_program()).chain(known.get_args()).map(own).collect();
        let mut nsctl = Command::new(&words[0]);
        nsctl.args(&words[1..]).env("NSCTL_ROOT", self.0.path("state")).env("HOME", self.0.path("")).current_dir("/");
        nsctl
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        nsctl.env_remove("XDG_RUNTIME_DIR");
        nsctl
    }

    fn nsctl(&self, args: &[&str]) -> Outcome {
        outcome(Running::start(&mut as_user(self.command(args), Vec::new())))
    }

    fn shell(&self, options: &[&str], script: &str) -> Outcome {
        self.nsctl(&[&["run"], options, &["--", "sh", "-c", script]].concat())
    }

    /// A root whose files are the user's.
    fn own_root(&self) -> Root {
        fn hand_over(path: &std::path::Path) {
            lchown(path, Some(USER), Some(USER)).unwrap();
            if path.is_dir() && !path.is_symlink() {
                fs::read_dir(path).unwrap().flatten().for_each(|entry| hand_over(&entry.path()));
            }
        }
        let root = Root::plain("own");
        hand_over(&root.at(""));
        root
    }

    fn in_root(&self, options: &[&str], script: &str) -> Outcome {
        self.shell(&[&["--rootfs", plain().path()], options].concat(), script)
    }
}

/// The command as that of an ordinary user without other groups; `bound` are files that it sees in the place of others.
fn as_user(mut command: Command, bound: Vec<[CString; 2]>) -> Command {
    // SAFETY: system calls alone, between fork and exec; the strings live in the closure.
    unsafe {
        command.pre_exec(move || {
            let check = |result: i32| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
            if !bound.is_empty() {
                let nothing = c"none".as_ptr();
                check(libc::unshare(libc::CLONE_NEWNS))?;
                check(libc::mount(
                    nothing,
                    c"/".as_ptr(),
                    nothing,
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ))?;
            }
            for [from, to] in &bound {
                check(libc::mount(from.as_ptr(), to.as_ptr(), c"none".as_ptr(), libc::MS_BIND, std::ptr::null()))?;
            }
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setresgid(USER, USER, USER))?;
            check(libc::setresuid(USER, USER, USER))
        })
    };
    command
}

fn lines(outcome: &Outcome, code: i32, right: &[&str]) -> Result<(), Failed> {
    let text: Vec<&str> = outcome.out.lines().collect();
    must(outcome.code == code && text == right, &format!("exit {code} and {right:?}"), outcome)
}

/// Before Linux 5.11 a user has no overlay, and nsctl says so.
fn has_overlay(home: &Home) -> bool {
    !home.in_root(&[], "true").err.contains("no overlayfs")
}

const LOOK: &str = "id -u; id -g; tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups; \
    for d in null zero full random urandom tty; do [ -c /dev/$d ] && echo -n \"$d \"; done; echo; \
    echo x >/dev/null && echo written; echo $$; [ -d /sys/class ] && echo sys; \
    touch /proc/sys/kernel/hostname 2>/dev/null || echo read-only";

fn rooted() -> Result<(), Failed> {
    let home = Home::new();
    let here = home.in_root(&[], LOOK);
    let right = [
        "0",
        "0",
        &format!(" 0 {USER} 1"),
        "deny",
        "null zero full random urandom tty ",
        "written",
        "2",
        "sys",
        "read-only",
    ];
    lines(&here, 0, &right)?;
    if has_overlay(&home) {
        let root = home.own_root();
        let script = "echo changed >/etc/passwd && cat /etc/passwd; rm /etc/group; ls /etc/group";
        lines(&home.shell(&["--rootfs", root.path()], script), 1, &["changed"])?;
        must(root.at("etc/group").exists(), "the directory itself stays", &here)?;
    }
    lines(&home.in_root(&["--no-init"], "echo $$; exit 7"), 7, &["1"])
}

fn hosts_files() -> Result<(), Failed> {
    let home = Home::new();
    let mark = home.0.file("mark", "of the host");
    lines(
        &home.shell(&[], &format!("cat {mark}; echo; id -u; hostname; echo $$")),
        0,
        &["of the host", "0", "container", "2"],
    )?;
    let scratch = home.dir("scratch");
    let inside = home.shell(&["--tmpfs", &scratch, "--pid", "host"], &format!("touch {scratch}/x; ls {scratch}"));
    lines(&inside, 0, &["x"])?;
    must(fs::read_dir(&scratch).unwrap().next().is_none(), "nothing of it on the host", &inside)
}

fn volumes() -> Result<(), Failed> {
    let home = Home::new();
    let volume = home.dir("volume");
    let ro = format!("{}:/root:ro", home.0.path("volume"));
    let here = home.in_root(
        &["-v", &format!("{volume}:/tmp"), "-v", &ro],
        "echo text >/tmp/file; stat -c %u /tmp/file; cat /root/file; touch /root/x 2>/dev/null || echo read-only",
    );
    lines(&here, 0, &["0", "text", "read-only"])?;
    let meta = fs::metadata(home.0.at("volume/file")).unwrap();
    must(meta.uid() == USER && meta.gid() == USER, "the user's own on the host", &here)?;
    // What belongs to nobody whom the container knows.
    let foreign = home.0.file("foreign", "root's");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    let here = home
        .in_root(&["-v", &format!("{foreign}:/etc/group")], "cat /etc/group 2>/dev/null || stat -c %u /etc/group");
    lines(&here, 0, &["65534"])
}

fn network() -> Result<(), Failed> {
    let home = Home::new();
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ping -c 1 -w 60 127.0.0.1 >/dev/null && echo answered; ls /sys/class/net";
    lines(&home.in_root(&["--network", "none"], script), 0, &["lo", "answered", "lo"])
}

fn terminal() -> Result<(), Failed> {
    let home = Home::new();
    for root in [true, false] {
        let mut args = vec!["run", "-it"];
        if root {
            args.extend(["--rootfs", plain().path()]);
        }
        args.extend(["--", "sh", "-c", "tty; test -c /dev/console && echo here; echo 1 >/dev/tty; exit 5"]);
        let mut screen = Screen::start(&mut as_user(home.command(&args), Vec::new()), (24, 80));
        let code = screen.end()?;
        let text: String = screen.text().lines().filter(|line| !line.starts_with("nsctl: warning")).collect();
        // Where the host's devpts is not for users, nor the calls that would mount another in its place, it has no name.
        let right =
            (text.starts_with("/dev/pts/") || !root) && text.contains("here") && text.trim_end().ends_with('1');
        if code != 5 || !right {
            return Err(format!("exit {code}, {text:?}").into());
        }
    }
    Ok(())
}

fn hosts_namespaces() -> Result<(), Failed> {
    let home = Home::new();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let pid = std::process::id().to_string();
    let here = home.in_root(
        &["--uts", "host", "--pid", "host", "--ipc", "host", "--cgroupns", "host"],
        &format!("hostname; [ -d /proc/{pid} ] && echo seen; touch /proc/sys/vm/swappiness /sys/kernel/uevent_seqnum 2>/dev/null || echo no"),
    );
    lines(&here, 0, &[name.trim(), "seen", "no"])
}

fn life() -> Result<(), Failed> {
    let home = Home::new();
    let root = Root::plain("life");
    fs::set_permissions(root.at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let volume = format!("{}:/tmp", home.dir("volume"));
    let run = [
        "run",
        "-d",
        "--name",
        "box",
        "--rootfs",
        root.path(),
        "-v",
        &volume,
        "--",
        "sh",
        "-c",
        "echo said; exec sleep 1000",
    ];
    must(home.nsctl(&run).code == 0, "a start", &home.nsctl(&["ps", "-a"]))?;
    let ps = home.nsctl(&["ps"]);
    must(ps.out.contains("box") && ps.out.contains("running"), "ps lists it", &ps)?;
    lines(
        &home.nsctl(&[
            "exec",
            "box",
            "sh",
            "-c",
            "id -u; cat /proc/1/cmdline | tr '\\0' '\\n' | grep -c .; hostname",
        ]),
        0,
        &["0", "1", "container"],
    )?;
    let mut screen = Screen::start(&mut as_user(home.command(&["exec", "-it", "box", "tty"]), Vec::new()), (24, 80));
    let code = screen.end()?;
    must(code == 0 && screen.text().starts_with("/dev/pts/"), "exec with a terminal", &ps)?;
    let listed = || home.nsctl(&["top", "box"]).out.contains("sleep 1000");
    until("top lists its processes", listed)?;
    let text = home.0.file("text", "copied");
    let into = home.nsctl(&["cp", &text, "box:/tmp/in"]);
    must(into.code == 0, "cp into it", &into)?;
    let out = home.nsctl(&["cp", "box:/tmp/in", &home.0.path("volume/out")]);
    must(fs::read_to_string(home.0.at("volume/out")).is_ok_and(|text| text == "copied"), "cp out of it", &out)?;
    until("its log has what it said", || !home.nsctl(&["logs", "box"]).out.is_empty())?;
    lines(&home.nsctl(&["logs", "box"]), 0, &["said"])?;
    let pause = home.nsctl(&["pause", "box"]);
    must(pause.code == 1 && pause.err.contains("no cgroup"), "without a group it cannot be paused", &pause)?;
    lines(&home.nsctl(&["stop", "-t", "60", "box"]), 0, &["box"])?;
    lines(&home.nsctl(&["wait", "box"]), 0, &["143"])?;
    lines(&home.nsctl(&["start", "box"]), 0, &["box"])?;
    lines(&home.nsctl(&["exec", "-u", "0", "-w", "/tmp", "box", "pwd"]), 0, &["/tmp"])?;
    lines(&home.nsctl(&["kill", "box"]), 0, &["box"])?;
    lines(&home.nsctl(&["wait", "box"]), 0, &["137"])?;
    lines(&home.nsctl(&["rm", "box"]), 0, &["box"])?;
    let create = home.nsctl(&["create", "--name", "later", "--rootfs", root.path(), "true"]);
    must(create.code == 0, "create", &create)?;
    lines(&home.nsctl(&["start", "later"]), 0, &["later"])?;
    lines(&home.nsctl(&["wait", "later"]), 0, &["0"])?;
    lines(&home.nsctl(&["rm", "-f", "later"]), 0, &["later"])
}

fn another_network() -> Result<(), Failed> {
    let home = Home::new();
    let run = home.nsctl(&[
        "run",
        "-d",
        "--name",
        "first",
        "--network",
        "none",
        "--rootfs",
        plain().path(),
        "sleep",
        "1000",
    ]);
    must(run.code == 0, "the first", &run)?;
    let inside = "readlink /proc/self/ns/net; readlink /proc/self/ns/user; ls /sys/class/net";
    let first = home.nsctl(&["exec", "first", "sh", "-c", inside]);
    let second = home.in_root(&["--network", "container:first"], inside);
    let third = home.in_root(&["--network", "none"], inside);
    home.nsctl(&["rm", "-f", "first"]);
    must(first.code == 0 && first.out == second.out, "the same network and user namespace", &second)?;
    must(third.code == 0 && third.out != first.out, "others have their own", &third)
}

fn kept_changes() -> Result<(), Failed> {
    let home = Home::new();
    if !has_overlay(&home) {
        skip("no overlayfs for ordinary users");
        return Ok(());
    }
    let upper = home.0.path("kept/upper");
    home.dir("kept");
    let root = home.own_root();
    let again = |script: &str| home.shell(&["--rootfs", root.path(), "--overlay-upper", &upper], script);
    let here = again("true");
    if here.err.contains("no extended attributes") {
        // tmpfs has those of users since Linux 6.6.
        return must(here.code == 125, "a directory that cannot keep an overlay's changes", &here);
    }
    lines(&again("echo mine >/mine; rm -r /bin/vi /root; mkdir /root; touch /root/new"), 0, &[])?;
    let seen = again("cat /mine; ls -A /root; [ -e /bin/vi ] || echo gone");
    lines(&seen, 0, &["mine", "new", "gone"])?;
    must(fs::metadata(home.0.at("kept/upper/mine")).is_ok_and(|meta| meta.uid() == USER), "the user's own", &seen)
}

fn refused() -> Result<(), Failed> {
    let home = Home::new();
    for (options, why) in [
        (&["-m", "64m"][..], "--memory: an ordinary user has no cgroup here"),
        (&["--pids-limit", "5"], "--pids-limit: an ordinary user has no cgroup here"),
        (&["--cgroup-parent", "x"], "--cgroup-parent: an ordinary user has no cgroup here"),
        (&["--device-cgroup-rule", "c 1:3 r"], "--device-cgroup-rule: that takes root"),
        (&["--network", "bridge"], "--network bridge: that takes root"),
        (&["--network", "bridge", "-p", "8080:80"], "that takes root"),
        (&["--network", "macvlan:lo"], "that takes root"),
        (&["--network", "phys:lo"], "that takes root"),
        (&["-u", "5"], "there is no user 5 in the container"),
        (&["-u", "0:7"], "there is no group 7 in the container"),
        (&["-u", "user"], "there is no such id in the container: -u 0 is the caller"),
        (&["--group-add", "5"], "--group-add: there is one group"),
        (&["--tmpfs", "/tmp:uid=5"], "none of the container's"),
        (&["--userns", "0:0:1"], "the map of ids takes other ids than the caller's own"),
        (&["--oom-score-adj", "-500"], "CAP_SYS_RESOURCE"),
    ] {
        let outcome = home.in_root(options, "true");
        must(outcome.code == 125 && outcome.err.contains(why), &format!("{options:?}: {why}"), &outcome)?;
    }
    let image = home.0.file("image.squashfs", "hsqs");
    let outcome = home.nsctl(&["run", "--image", &image, "true"]);
    must(outcome.code == 125, "an image of a file system", &outcome)
}

/// A cgroup of v2 that is the user's, with these controllers; removed at the end.
struct Delegated(std::path::PathBuf);

impl Delegated {
    fn new() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount =
            crate::host::mounts(&text).into_iter().find(|mount| mount.fs == "cgroup2" && mount.root == "/")?;
        let has =
            |file: &str| fs::read_to_string(format!("{}/{file}", mount.target)).unwrap_or_default().contains("pids");
        if !has("cgroup.controllers") {
            return None;
        }
        if !has("cgroup.subtree_control") {
            fs::write(format!("{}/cgroup.subtree_control", mount.target), "+pids").ok()?;
        }
        let group = Self(std::path::Path::new(&mount.target).join(format!("boxes-{}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(group.0.join(name), Some(USER), Some(USER)).ok()?;
        }
        Some(group)
    }

    /// In there, as the user.
    fn run(&self, home: &Home, args: &[&str]) -> Outcome {
        let procs = self.0.join("cgroup.procs");
        // As long as a group hands controllers on, nobody may be in it.
        let _ = fs::write(self.0.join("cgroup.subtree_control"), "-pids");
        let mut command = home.command(args);
        // SAFETY: a write between fork and exec; the path lives in the closure.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        outcome(Running::start(&mut as_user(command, Vec::new())))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for _ in 0..100 {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn delegated() -> Result<(), Failed> {
    let home = Home::new();
    let Some(group) = Delegated::new() else {
        println!("skipped: no cgroup v2 with the controller pids");
        return Ok(());
    };
    let root = ["--rootfs", plain().path()];
    let script =
        "cat /sys/fs/cgroup/pids.max /proc/self/cgroup; touch /sys/fs/cgroup/x 2>/dev/null || echo read-only";
    let here = group.run(&home, &[&["run", "--pids-limit", "9"], &root[..], &["--", "sh", "-c", script]].concat());
    lines(&here, 0, &["9", "0::/", "read-only"])?;
    let life = group.run(&home, &[&["run", "-d", "--name", "kept"], &root[..], &["--", "sleep", "1000"]].concat());
    must(life.code == 0, "one that lives on", &life)?;
    lines(&group.run(&home, &["pause", "kept"]), 0, &["kept"])?;
    lines(&group.run(&home, &["unpause", "kept"]), 0, &["kept"])?;
    lines(&group.run(&home, &["exec", "kept", "cat", "/proc/self/cgroup"]), 0, &["0::/"])?;
    let outside = home.nsctl(&["exec", "kept", "true"]);
    must(
        outside.code == 125 && outside.err.contains("caller's own cgroup"),
        "nobody goes in from outside",
        &outside,
    )?;
    lines(&group.run(&home, &["rm", "-f", "kept"]), 0, &["kept"])?;
    // Other tests may have had the group above hand it on.
    let handed = fs::read_to_string(group.0.join("cgroup.controllers")).unwrap_or_default();
    if handed.contains("hugetlb") {
        return Ok(());
    }
    let refused = group.run(&home, &[&["run", "--hugetlb-limit", "2m:4m"], &root[..], &["true"]].concat());
    must(refused.code == 125, "a limit whose controller was not handed over", &refused)
}

/// The files by which the user has ranges of ids.
fn ranges_of(home: &Home, line: &str) -> Vec<[CString; 2]> {
    let own = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let passwd = home.0.file("passwd", &format!("{own}\nboxer:x:{USER}:{USER}::/:/bin/sh\n"));
    let ranges = home.0.file("ranges", line);
    let c = |text: &str| CString::new(text).unwrap();
    vec![[c(&passwd), c("/etc/passwd")], [c(&ranges), c("/etc/subuid")], [c(&ranges), c("/etc/subgid")]]
}

fn ranges() -> Result<(), Failed> {
    let home = Home::new();
    if !has_helpers() {
        skip("newuidmap, newgidmap and the files of ranges are needed (package uidmap)");
        return Ok(());
    }
    let volume = home.dir("volume");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    for line in ["boxer:300000:65536\n", &format!("other:1:5\n{USER}:300000:65536\n")] {
        let run = |args: &[&str]| outcome(Running::start(&mut as_user(home.command(args), ranges_of(&home, line))));
        let bind = format!("{volume}:/tmp");
        let root = ["--rootfs", plain().path(), "-v", &bind];
        let script = "tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups; touch /tmp/f; chown 33:44 /tmp/f; id -G; stat -c %g /dev/pts/ptmx";
        let here = run(&[&["run"], &root[..], &["--", "sh", "-c", script]].concat());
        lines(&here, 0, &[&format!(" 0 {USER} 1"), " 1 300000 65536", "allow", "0", "0"])?;
        let meta = fs::metadata(home.0.at("volume/f")).unwrap();
        must((meta.uid(), meta.gid()) == (300_032, 300_043), "its owner on the host", &here)?;
        fs::remove_file(home.0.at("volume/f")).unwrap();
        let other =
            run(&[&["run", "-u", "user", "--group-add", "7"], &root[..], &["--", "sh", "-c", "id -u; id -G"]]
                .concat());
        lines(&other, 0, &["1000", "1000 7 2000"]).or_else(|_| lines(&other, 0, &["1000", "1000 2000 7"]))?;
        let life = run(&[&["run", "-d", "--name", "many", "-u", "5"], &root[..], &["--", "sleep", "1000"]].concat());
        must(life.code == 0, "one that lives on", &life)?;
        let inside = run(&["exec", "-u", "33:44", "many", "sh", "-c", "id -u; id -g"]);
        let own = run(&["exec", "many", "id", "-u"]);
        let ended = run(&["rm", "-f", "many"]);
        lines(&inside, 0, &["33", "44"])?;
        lines(&own, 0, &["5"])?;
        lines(&ended, 0, &["many"])?;
    }
    Ok(())
}

fn maps() -> Result<(), Failed> {
    let home = Home::new();
    let refused = home.in_root(&["--userns", "auto:size=9"], "true");
    must(refused.code == 125 && refused.err.contains("how many is for root to say"), "of a user", &refused)?;
    let own = format!("0:{USER}:1");
    lines(
        &home.in_root(&["--uidmap", &own], "id -u; tr -s ' ' </proc/self/gid_map"),
        0,
        &["0", &format!(" 0 {USER} 1")],
    )?;
    for (options, why) in [
        (&["--userns", "keep-id"][..], "newuidmap"),
        (&["--uidmap", "0:1:1"], "newuidmap"),
        (&["--uidmap", "0:1"], "is no map of ids"),
        (&["--userns", "keep-id", "--gidmap", "0:1:1"], "contradict"),
        (&["--userns", "keep-id", "--network", "container:x"], "those of the other container"),
    ] {
        let outcome = home.in_root(options, "true");
        must(outcome.code == 125 && outcome.err.contains(why), &format!("{options:?}: {why}"), &outcome)?;
    }
    if !has_helpers() {
        return Ok(());
    }
    let volume = home.dir("volume");
    let run = |options: &[&str], script: &str| {
        let bind = format!("{volume}:/tmp");
        let words =
            [&["run", "--rootfs", plain().path(), "-v", &bind], options, &["--", "sh", "-c", script]].concat();
        outcome(Running::start(&mut as_user(home.command(&words), ranges_of(&home, "boxer:300000:65536\n"))))
    };
    let look = "id -u; id -g; tr -s ' ' </proc/self/uid_map; touch /tmp/f; stat -c %u:%g /tmp/f";
    let map = [" 0 300000 4242", " 4242 4242 1", " 4243 304242 61294"];
    let kept = run(&["--userns", "keep-id"], look);
    lines(&kept, 0, &["4242", "4242", map[0], map[1], map[2], "4242:4242"])?;
    must(fs::metadata(home.0.at("volume/f")).is_ok_and(|meta| meta.uid() == USER), "its own outside, too", &kept)?;
    lines(
        &run(&["--userns", "keep-id", "-u", "0"], "id -u; touch /tmp/x 2>/dev/null || echo no; rm /tmp/f"),
        0,
        &["0"],
    )?;
    lines(
        &run(&["--userns", "0:4242:1,7:300000:2"], "id -u; tr -s ' ' </proc/self/uid_map"),
        0,
        &["0", " 0 4242 1", " 7 300000 2"],
    )?;
    let foreign = run(&["--uidmap", "0:4242:1,1:5:1"], "true");
    must(foreign.code == 125 && foreign.err.contains("map the user"), "what is not the user's to map", &foreign)
}

/// dpkg as root with several ids: a package's group, and a program that is set to it.
fn packages() -> Result<(), Failed> {
    let home = Home::new();
    let archive =
        std::path::Path::new(&std::env::var("NSCTL_IMAGES").unwrap_or_default()).with_file_name("debian.tar");
    if !archive.is_file() || !has_helpers() {
        println!("skipped: newuidmap is needed (package uidmap), and a Debian: make target/debian.tar");
        return Ok(());
    }
    let run = |args: &[&str]| {
        let bound = ranges_of(&home, "boxer:300000:65536\n");
        outcome(Running::start(&mut as_user(home.command(args), bound)))
    };
    let root = home.dir("debian");
    let (bind, tar) = (format!("{root}:/tmp"), format!("{}:/root:ro", archive.parent().unwrap().display()));
    let unpack =
        ["run", "--rootfs", plain().path(), "-v", &bind, "-v", &tar, "tar", "-xpf", "/root/debian.tar", "-C", "/tmp"];
    let unpacked = run(&unpack);
    must(unpacked.code == 0, "a root with its owners", &unpacked)?;
    let install = "dpkg -i /debs/cron-daemon*.deb && dpkg -i /debs/cron_*.deb && stat -c '%U:%G %a' /usr/bin/crontab && dpkg -s cron | grep ^Status";
    let installed = run(&["run", "--rw", "--rootfs", &root, "sh", "-c", install]);
    let meta = fs::metadata(home.0.at("debian/usr/bin/crontab"));
    // Whoever the files belong to outside may remove them, and nobody else but root.
    let _ = run(&["run", "--rootfs", plain().path(), "-v", &bind, "sh", "-c", "rm -rf /tmp/* 2>/dev/null"]);
    let last: Vec<&str> = installed.out.lines().rev().take(2).collect();
    must(
        installed.code == 0 && last == ["Status: install ok installed", "root:crontab 2755"],
        "a package with a group of its own",
        &installed,
    )?;
    must(meta.is_ok_and(|meta| meta.uid() == USER && meta.gid() > 300_000), "its group on the host", &installed)
}

fn has_helpers() -> bool {
    let exists = |path: &&str| fs::exists(path).unwrap_or(false);
    ["/usr/bin/newuidmap", "/bin/newuidmap"].iter().any(exists) && ["/etc/subuid", "/etc/subgid"].iter().all(exists)
}

fn no_helpers() -> Result<(), Failed> {
    let home = Home::new();
    if !["/etc/subuid", "/etc/subgid"].iter().all(|path| fs::exists(path).unwrap_or(false)) {
        skip("there are no files of ranges");
        return Ok(());
    }
    let mut nsctl = as_user(
        home.command(&["run", "--rootfs", plain().path(), "tr", "-s", " "]),
        ranges_of(&home, "boxer:300000:65536\n"),
    );
    nsctl.env("PATH", "/nowhere").stdin(fs::File::open("/dev/null").unwrap());
    let here = outcome(Running::start(&mut nsctl));
    must(here.code == 0 && !here.err.contains("newuidmap"), "one id, without a word", &here)
}

/// PID 1 is the user's own process and may be looked at by it, or nobody could go in; the command is kept from it by having fewer
/// capabilities.
fn reach() -> Result<(), Failed> {
    let home = Home::new();
    let script = "for f in exe cwd root fd/0 fd/1 ns/mnt; do [ -n \"$(readlink /proc/1/$f)\" ] && echo \"reached $f\"; done 2>/dev/null; \
                  cat /proc/1/environ /proc/1/maps /proc/1/mem 2>/dev/null | head -c 1; ( : >/proc/1/mem ) 2>/dev/null && echo wrote; echo done";
    for options in [&[][..], &["--network", "none"]] {
        lines(&home.in_root(options, script), 0, &["done"])?;
    }
    Ok(())
}

/// CVE-2019-5736, where the program is the user's own and could be written to.
fn reach_of_joiner() -> Result<(), Failed> {
    let home = Home::new();
    chown(home.0.at("nsctl"), Some(USER), Some(USER)).unwrap();
    let before = fs::read(home.0.at("nsctl")).unwrap();
    let script = "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe 2>/dev/null) in */nsctl) echo reached; ( : >>$p/exe ) 2>/dev/null && echo opened;; esac; done; done";
    let run = home.nsctl(&["run", "-d", "--name", "trap", "--rootfs", plain().path(), "--", "sh", "-c", script]);
    must(run.code == 0, "the trap", &run)?;
    for _ in 0..20 {
        lines(&home.nsctl(&["exec", "trap", "echo", "in"]), 0, &["in"])?;
    }
    let said = home.nsctl(&["logs", "trap"]);
    home.nsctl(&["rm", "-f", "trap"]);
    must(said.out.is_empty(), "nsctl's program is never reached", &said)?;
    must(fs::read(home.0.at("nsctl")).unwrap() == before, "it is as it was", &said)
}

fn foreign_state() -> Result<(), Failed> {
    let home = Home::new();
    let foreign = home.0.dir("foreign");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(home.0.at("state"), home.0.at("link")).unwrap();
    for place in [foreign, home.0.path("link")] {
        let mut nsctl = as_user(home.command(&["run", "--rootfs", plain().path(), "true"]), Vec::new());
        let here = outcome(Running::start(nsctl.env("NSCTL_ROOT", &place)));
        must(here.code == 125 && here.err.contains("use the state directory"), &place, &here)?;
    }
    Ok(())
}

/// CVE-2016-8659, CVE-2020-5291, CVE-2026-41163.
fn set_uid() -> Result<(), Failed> {
    let home = Home::new();
    let dir = CString::new(home.0.path("")).unwrap();
    // SAFETY: a structure of integers, and a call that fills it.
    let flags = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        libc::statvfs(dir.as_ptr(), &raw mut stat);
        stat.f_flag
    };
    if flags & libc::ST_NOSUID != 0 {
        println!("skipped: set-user-id programs are none there");
        return Ok(());
    }
    for mode in [0o4755, 0o2755] {
        fs::set_permissions(home.0.at("nsctl"), fs::Permissions::from_mode(mode)).unwrap();
        for args in [&["run", "true"][..], &["ps"], &["--version"]] {
            let here = home.nsctl(args);
            must(here.code == 125 && here.err.contains("does not run set-user-id"), "refused", &here)?;
        }
    }
    Ok(())
}

fn check() -> Result<(), Failed> {
    let home = Home::new();
    let here = home.nsctl(&["check"]);
    let line = |name: &str| here.out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_string();
    must(here.code == 0 && line("user namespaces").contains(" yes "), "user namespaces", &here)?;
    must(line("ranges of ids").contains("/etc/subuid"), "how to get more ids", &here)?;
    must(line("mount namespaces").contains(" yes "), "what is to be had in a user namespace", &here)?;
    must(line("device rules").contains(" off ") || line("device rules").contains(" no "), "what is not", &here)
}
