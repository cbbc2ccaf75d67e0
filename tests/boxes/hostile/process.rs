//! What the command is, where it stands, and what it holds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

use libtest_mimic::Failed;

use super::{Canary, each_way, inside, snapshot};
use crate::life::{Kept, until};
use crate::masked;
use crate::nsctl::{self, Outcome, Running, binary, must, nsctl, own};
use crate::root::Root;

/// Descriptors 3 to 9 of the caller lead to this directory of the host's, and are not close-on-exec.
fn with_open_directories(canary: &Canary, args: &[&str]) -> Outcome {
    let mut command = nsctl::command(args);
    let path = std::ffi::CString::new(canary.path()).unwrap();
    // SAFETY: open and dup2 only; the path was made before the fork.
    unsafe {
        command.pre_exec(move || {
            let dir = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
            (3..10).for_each(|fd| {
                libc::dup2(dir, fd);
            });
            Ok(())
        });
    }
    nsctl::outcome(Running::start(&mut command))
}

/// How many descriptors are looked at: with calls masked, some are enough.
fn most() -> u32 {
    if masked::current().is_none() { 64 } else { 16 }
}

pub(super) fn workdir() -> Result<(), Failed> {
    let canary = Canary::new("workdir");
    each_way(|| {
        let root = Root::plain("workdir").symlink("/proc/self/fd", "fds");
        let mut dirs: Vec<String> = (0..most()).map(|fd| format!("/proc/self/fd/{fd}")).collect();
        for fd in 0..16 {
            dirs.extend([
                format!("/proc/self/fd/{fd}/../.."),
                format!("/fds/{fd}"),
                format!("/dev/fd/{fd}/sub"),
                format!("/proc/1/fd/{fd}"),
            ]);
        }
        dirs.extend(
            ["/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/proc/1/cwd", "/proc/thread-self/root/.."]
                .map(String::from),
        );
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        for dir in &dirs {
            let script = "pwd; cat secret ../secret; ls ../../../../..; /bin/busybox readlink /proc/self/cwd";
            let run = ["run", "--rootfs", root.path(), "-w", dir, "--name", "workdir", "--", "/bin/sh", "-c", script];
            let exec = ["exec", "-w", dir, kept.id(), "/bin/sh", "-c", script];
            for args in [&run[..], &exec] {
                let outcome = with_open_directories(&canary, args);
                must(outcome.code == 125, &format!("{} -w {dir} is refused", args[0]), &outcome)?;
                must(outcome.err.contains(dir.as_str()), "it is named", &outcome)?;
                canary.unseen(&outcome)?;
            }
        }
        Ok(())
    })
}

/// The kernel follows such links in what is executed, and in what that names as its interpreter, when nothing is closed yet.
pub(super) fn program() -> Result<(), Failed> {
    let canary = Canary::new("program");
    let host = own();
    each_way(|| {
        let root = Root::plain("program");
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        let ups = ["", "/..", "/../..", "/../../..", "/../../../..", "/../../../../../../../../../.."];
        for fd in 0..most().min(20) {
            for up in ups {
                let path = format!("/proc/self/fd/{fd}{up}{host}");
                let options: &[&str] = if fd % 2 == 0 { &["--no-init"] } else { &["--name", "program"] };
                let args = [&["run", "--rootfs", root.path()], options, &["--", &path, "probe", "marker"]].concat();
                let outcome = with_open_directories(&canary, &args);
                let right = [126, 127].contains(&outcome.code) && outcome.out.is_empty();
                must(right, &format!("{path} is no program"), &outcome)?;
                let outcome = with_open_directories(&canary, &["exec", kept.id(), &path, "probe", "marker"]);
                let right = [126, 127].contains(&outcome.code) && outcome.out.is_empty();
                must(right, &format!("{path} is no program to exec"), &outcome)?;
                if fd % 8 == 3 {
                    let script = Root::plain("interpreter").script("script", &format!("#!{path} probe\n"));
                    let args = ["run", "--name", "program", "--rootfs", script.path(), "--", "/script"];
                    let outcome = with_open_directories(&canary, &args);
                    must([126, 127].contains(&outcome.code), &format!("{path} is no interpreter"), &outcome)?;
                }
            }
        }
        canary.check()
    })
}

/// nsctl's own file is not to be had inside: not by executing it, not as an interpreter, not from PID 1. (That chmod would show.)
pub(super) fn own_executable() -> Result<(), Failed> {
    let canary = Canary::new("own-executable");
    let file = fs::canonicalize(binary())?;
    let before = snapshot(&file);
    each_way(|| {
        let root = Root::plain("own")
            .symlink("/proc/self/exe", "bin/itself")
            .script("script", "#!/proc/self/exe --version\n")
            .script("simple", "#!/proc/self/exe simple\n")
            .script("nested", "#!/simple\n")
            .script("bin/bash", "#!/bin/sh\n/bin/touch-runtime\n")
            // Whoever runs nsctl's file can have it by way of /proc, and change its mode if no more.
            .script("bin/touch-runtime", "#!/bin/sh\nfor p in /proc/[0-9]*; do case $(readlink $p/exe) in *nsctl*) echo reached $p; chmod 755 $p/exe;; esac; done\n");
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        for command in [
            &["/proc/self/exe", "--version"][..],
            &["/proc/self/exe", "run", "--pid", "host", "--cgroupns", "host", "--", "/bin/touch-runtime"],
            &["/bin/itself", "--version"],
            &["itself", "--version"],
            &["/proc/thread-self/exe", "--version"],
            &["/proc/1/exe", "--version"],
            &["/proc/2/exe", "--version"],
            &["/script"],
            &["/simple"],
            &["/nested"],
        ] {
            for options in [&[][..], &["--no-init"]] {
                let run = [&["run", "--rootfs", root.path()], options, &["--"], command].concat();
                let exec = [&["exec", kept.id()], command].concat();
                for args in [run, exec] {
                    let outcome = nsctl(&args);
                    // It may run: then it is one more program inside, of which nobody has the file.
                    let right = !outcome.out.contains("reached");
                    must(right, &format!("{args:?} does not hand out nsctl's file"), &outcome)?;
                }
            }
        }
        drop(kept);
        beside_itself(&root)?;
        let script = "for link in exe cwd root mem fd/0 fd/1 fd/3 fd/4 fd/5 fd/6 fd/7 $(ls /proc/1/map_files | sed s,^,map_files/,); do
                ! (: < /proc/1/$link) 2>/dev/null || echo $link of PID 1 was opened
                ! (: >> /proc/1/$link) 2>/dev/null || echo $link of PID 1 was opened to write
            done; readlink /proc/1/exe; readlink /proc/1/cwd; readlink /proc/1/root; echo end";
        let outcome = inside(&root, &[], script);
        must(outcome.out == "end\n", "PID 1 keeps what it has", &outcome)?;
        canary.check()
    })?;
    if snapshot(&file) == before { Ok(()) } else { Err("the executable has changed".into()) }
}

/// A container whose command is nsctl, which waits for events there, and others beside it with the same rights.
fn beside_itself(root: &Root) -> Result<(), Failed> {
    let words = ["-d", "--rootfs", root.path(), "--", "/proc/self/exe", "events"];
    let itself = Kept::made("run", &words)?;
    let listed = nsctl(&["exec", itself.id(), "/bin/sh", "-c", "tr '\\0' ' ' < /proc/2/cmdline"]);
    must(listed.out == "/proc/self/exe events ", "nsctl is the command", &listed)?;
    // From the first instructions of its own on.
    let look = ["exec", itself.id(), "/bin/readlink", "/proc/2/exe"];
    until("it hides itself", || nsctl(&look).out.is_empty())?;
    let reached = nsctl(&["exec", itself.id(), "/bin/touch-runtime"]);
    must(reached.code == 0 && reached.out.is_empty(), "nobody beside it has its file", &reached)
}

/// What the caller could hand down without having it itself.
pub(super) fn inheritable() -> Result<(), Failed> {
    let root = Root::plain("inheritable");
    each_way(|| {
        for options in [&[][..], &["--no-init"], &["-u", "1000"], &["-u", "user"]] {
            let script = "grep -e CapInh -e CapAmb /proc/self/status; grep CapBnd /proc/self/status";
            let words = ["/bin/sh", "-c", script];
            nothing_handed_down(&[&["run", "--rootfs", root.path()], options, &["--"], &words].concat())?;
            if options != ["--no-init"] {
                let kept = Kept::shell(&[&["--rootfs", root.path()], options].concat(), "sleep 600; true")?;
                nothing_handed_down(&[&["exec", kept.id()], &words[..]].concat())?;
            }
        }
        Ok(())
    })
}

fn nothing_handed_down(args: &[&str]) -> Result<(), Failed> {
    let mut command = nsctl::command(args);
    // SAFETY: system calls with structures of this frame, and ambient capabilities by number.
    unsafe {
        command.pre_exec(|| {
            // _LINUX_CAPABILITY_VERSION_3; effective, permitted, inheritable, twice.
            let header = [0x2008_0522u32, 0];
            let mut data = [0u32; 6];
            libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr());
            (data[2], data[5]) = (data[1], data[4]);
            libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr());
            (0..41).for_each(|number| {
                libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0);
            });
            Ok(())
        });
    }
    let outcome = nsctl::outcome(Running::start(&mut command));
    let none =
        outcome.out.starts_with("CapInh:\t0000000000000000\n") && outcome.out.contains("CapAmb:\t0000000000000000\n");
    must(none, &format!("nothing is inheritable {args:?}"), &outcome)?;
    // CAP_SYS_PTRACE is 19, CAP_DAC_READ_SEARCH 2.
    let bounds =
        outcome.out.lines().last().and_then(|line| u64::from_str_radix(line.split_whitespace().last()?, 16).ok());
    must(bounds.is_some_and(|set| set & (1 << 19 | 1 << 2) == 0), "tracing is out of bounds", &outcome)
}

/// The caller's variables, passwords among them, are not the container's: not in the command's environment, nor in that of PID 1, which
/// CAP_SYS_ADMIN can read.
pub(super) fn environment() -> Result<(), Failed> {
    let root = Root::plain("environment");
    each_way(|| {
        for options in [&[][..], &["--no-init"]] {
            let script = "cat /proc/*/environ | tr '\\0' '\\n' | grep -c PASSWORD; env | grep -c PASSWORD";
            let args = [&["run", "--rootfs", root.path()], options, &["--", "/bin/sh", "-c", script]].concat();
            let mut command = nsctl::command(&args);
            let outcome = nsctl::outcome(Running::start(command.env("PASSWORD", "secret")));
            must(outcome.out == "0\n0\n", &format!("the caller's variables stay outside {options:?}"), &outcome)?;
        }
        let outcome = inside(&root, &[], "tr '\\0' ' ' </proc/1/cmdline | grep -c rootfs");
        must(outcome.out == "0\n", "and so does its command line", &outcome)
    })
}

/// With CAP_SYS_ADMIN a root inside has put something else over /proc when nsctl comes again: for exec, and to start its command anew.
pub(super) fn proc_of_who_enters() -> Result<(), Failed> {
    let canary = Canary::new("proc-of-who-enters");
    each_way(|| {
        let root = Root::plain("proc-of-who-enters");
        let volume = format!("{}:/host", canary.path());
        let script =
            "mkdir -p /mnt; mount -t proc proc /mnt && read score < /mnt/self/oom_score_adj && echo is $score
            mount -t tmpfs tmpfs /proc && mkdir /proc/self && ln -s /host/secret /proc/self/oom_score_adj
            test -e /again && exec sleep 600; > /again; exit 1";
        let options =
            ["--cap-add", "SYS_ADMIN", "--oom-score-adj", "500", "-v", &volume, "--restart", "on-failure:1"];
        let head = ["-d", "--rootfs", root.path()];
        let kept = Kept::made("run", &[&head, &options[..], &["sh", "-c", script]].concat())?;
        if masked::current().is_some_and(|(call, _)| call == "mounts") {
            // There is no other procfs then.
            let outcome = nsctl(&["wait", kept.id()]);
            must(outcome.out == "125\n", "it is not started again", &outcome)?;
            return canary.check();
        }
        let twice = || nsctl(&["logs", kept.id()]).out.matches("is 500\n").count() == 2;
        until("it has the score each time", twice)?;
        let outcome = nsctl(&["exec", kept.id(), "sh", "-c", "cat /mnt/self/oom_score_adj"]);
        must(outcome.out == "500\n", "and so has who enters", &outcome)?;
        canary.check()
    })
}

/// What nsctl or its caller has of the host's /dev/null is not what the command has: it could take it from everybody.
pub(super) fn null() -> Result<(), Failed> {
    let changed = || fs::metadata("/dev/null").map(|stat| (stat.ctime(), stat.ctime_nsec()));
    let before = changed()?;
    let root = Root::plain("null");
    let script = "for fd in 0 1 2; do chmod 666 /proc/self/fd/$fd; done";
    for options in [&[][..], &["--no-init"]] {
        let args = [&["run", "--rootfs", root.path()], options, &["sh", "-c", script]].concat();
        let outcome = nsctl(&args);
        must(outcome.code == 0, "run", &outcome)?;
    }
    let twice = format!("{script}; test -e /again && echo again && exec sleep 600; > /again; exit 1");
    let check = format!("{script}; echo > /checked");
    let options = ["--restart", "on-failure:1", "--health-cmd", &check, "--health-interval", "100ms"];
    let args = [&["-d", "--rootfs", root.path()], &options[..], &["sh", "-c", &twice]].concat();
    let kept = Kept::made("run", &args)?;
    until("it is started again", || nsctl(&["logs", kept.id()]).out == "again\n")?;
    let outcome = nsctl(&["exec", "-d", kept.id(), "sh", "-c", &format!("{script}; echo > /detached")]);
    must(outcome.code == 0, "exec", &outcome)?;
    until("all have tried", || nsctl(&["exec", kept.id(), "ls", "/checked", "/detached"]).code == 0)?;
    // Nor is that so when there is no other.
    let outcome = nsctl(&["exec", kept.id(), "rm", "/dev/null"]);
    must(outcome.code == 0, "removed", &outcome)?;
    let outcome = nsctl(&["exec", kept.id(), "chmod", "666", "/proc/self/fd/0"]);
    must(outcome.code == 125 && outcome.err.contains("open the container's /dev/null"), "refused", &outcome)?;
    if changed()? == before { Ok(()) } else { Err("the host's /dev/null was changed".into()) }
}
