//! exec: where it runs, as whom, with what, and how it ends.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;

use super::{Kept, refused, says, until};
use crate::Case;
use crate::host::plain;
use crate::nsctl::{Running, command, must, nsctl, outcome, own, spawn};
use crate::root::Root;

pub(super) const CASES: &[(&str, Case)] = &[
    ("exec_is_where_the_command_is", place),
    ("exec_has_the_rights_of_the_command_and_no_more", rights),
    ("exec_as_another_user", users),
    ("exec_has_the_variables_and_the_directory", variables),
    ("exec_is_in_the_cgroup", groups),
    ("exec_passes_input_output_and_signals_through", streams),
    ("exec_detached_leaves_its_starter", detached),
    ("a_killed_exec_leaves_nothing", killed),
    ("exec_ends_with_its_container", ends_with),
    ("exec_opens_no_more_than_the_command", descriptors),
];

/// The cgroup namespace is its own, and begins where the command's does: /proc/self/cgroup says the same.
const NAMES: [&str; 5] = ["uts", "ipc", "net", "pid", "mnt"];

/// Namespaces, root, cgroup and names: as PID 2's.
pub(super) fn place() -> Result<(), Failed> {
    let root = Root::plain("exec").file("only-here", "");
    for (name, options) in [
        ("e1", &["--rootfs", root.path(), "--net", "none"][..]),
        ("e2", &[]),
        ("e3", &["--rootfs", root.path(), "--uts", "host", "--ipc", "host"]),
        ("e4", &["--cgroup", "none"]),
    ] {
        let kept = Kept::shell(&[&["--name", name], options].concat(), "echo $$; sleep 600; true")?;
        // 2, unless another process was needed before it.
        let pid = kept.said("\n")?.out.trim().to_string();
        for namespace in NAMES {
            let link = format!("readlink /proc/self/ns/{namespace}; readlink /proc/{pid}/ns/{namespace}");
            let both = nsctl(&["exec", name, "sh", "-c", &link]);
            let lines: Vec<&str> = both.out.lines().collect();
            must(lines.len() == 2 && lines[0] == lines[1], &format!("{name} {namespace}"), &both)?;
        }
        let script = &format!("cat /proc/self/cgroup; echo --; cat /proc/{pid}/cgroup");
        let both = nsctl(&["exec", name, "sh", "-c", script]);
        let parts: Vec<&str> = both.out.split("--\n").collect();
        must(parts.len() == 2 && parts[0] == parts[1], &format!("{name}: the same groups"), &both)?;
        // Seen from the host, too.
        let script = "echo $$; ls /; ls /proc | grep -c '^[0-9]'; sleep 0.2";
        let listed = nsctl(&["exec", name, "sh", "-c", script]);
        let files = nsctl(&["exec", name, "ls", &format!("/proc/{pid}/root/")]);
        let middle: Vec<&str> = listed.out.lines().skip(1).collect();
        must(
            middle[..middle.len() - 1] == files.out.lines().collect::<Vec<_>>(),
            &format!("{name}: the same files"),
            &listed,
        )?;
        must(files.out.contains("only-here") == (name == "e1" || name == "e3"), "of its root", &files)?;
        must(middle.last().is_some_and(|count| count.parse().unwrap_or(99) <= 6), "its processes alone", &listed)?;
        drop(kept);
    }
    Ok(())
}

/// The lines of status(5) that tell what a process may do are those of a run.
fn rights() -> Result<(), Failed> {
    let lines = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|CoreDumping|Umask)' /proc/self/status; ulimit -a; cat /proc/self/oom_score_adj; umask";
    for options in [
        &["--rootfs", plain().path()][..],
        &[],
        &["--rootfs", plain().path(), "-u", "1000:2000", "--group-add", "44"],
        &["-u", "1000"],
        &["--rootfs", plain().path(), "-u", "user"],
        &["--oom-score-adj", "77"],
    ] {
        // One that lives on has a group that keeps devices closed in any case.
        let options = &[&["--pids-limit", "99"], options].concat()[..];
        let run = nsctl(&[&["run"], options, &["--", "sh", "-c", lines]].concat());
        let kept = Kept::shell(&[&["--name", "r"], options].concat(), &format!("{lines}; sleep 600"))?;
        let exec = nsctl(&["exec", "r", "sh", "-c", lines]);
        must(
            exec.out.contains("CapBnd") && exec.out == run.out,
            &format!("{options:?}: as run:\n{}", run.out),
            &exec,
        )?;
        kept.said(&run.out)?;
    }
    Ok(())
}

fn users() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "u", "--rootfs", plain().path(), "-u", "1000"], "sleep 600; true")?;
    let script = "echo $(id -u):$(id -g):$(id -G | tr ' ' ,) $HOME; grep CapEff /proc/self/status | cut -f 2";
    for (options, wanted) in [
        (&[][..], "1000:1000:1000,2000 /home/user\n0000000000000000\n"),
        (&["-u", "0"], "0:0:0 /root\n"),
        (&["-u", "root"], "0:0:0 /root\n"),
        (&["-u", "1234:55"], "1234:55:55 /\n0000000000000000\n"),
        (&["-u", "user:more"], "1000:2000:2000 /home/user\n0000000000000000\n"),
        (&["-u", "0", "-e", "HOME=/tmp"], "0:0:0 /tmp\n"),
    ] {
        let outcome = nsctl(&[&["exec"], options, &["u", "sh", "-c", script]].concat());
        must(outcome.out.starts_with(wanted), &format!("{options:?}: {wanted}"), &outcome)?;
    }
    refused(&["exec", "-u", "nobody-such", "u", "true"], 125, "nobody-such")?;
    refused(&["exec", "-u", "4294967296", "u", "true"], 125, "4294967296")?;
    must(kept.shown("state") == "running", "", &nsctl(&["ps"]))
}

fn variables() -> Result<(), Failed> {
    let options = ["--name", "v", "--rootfs", plain().path(), "-e", "ONE=1", "-e", "TWO=2", "-w", "/tmp"];
    let _kept = Kept::shell(&options, "sleep 600; true")?;
    says(&["exec", "v", "sh", "-c", "echo $ONE $TWO $(pwd)"], 0, "1 2 /tmp\n")?;
    // The same, and nothing of the caller's.
    let sorted = |text: &str| text.lines().map(str::to_string).collect::<std::collections::BTreeSet<_>>();
    let commands = nsctl(&["exec", "v", "sh", "-c", "cat /proc/2/environ | tr '\\0' '\\n'"]);
    let own = nsctl(&["exec", "v", "env"]);
    must(own.out.contains("ONE=1") && sorted(&own.out) == sorted(&commands.out), &commands.out, &own)?;
    let mut exec = command(&[
        "exec",
        "-e",
        "TWO=zwei",
        "-e",
        "THREE",
        "-e",
        "NONE",
        "-w",
        "/etc",
        "v",
        "sh",
        "-c",
        "echo $ONE $TWO $THREE ${NONE-unset} $(pwd)",
    ]);
    let done = outcome(Running::start(exec.env("THREE", "3").env_remove("NONE")));
    must(done.out == "1 zwei 3 unset /etc\n", "its own over the container's", &done)?;
    refused(&["exec", "-w", "etc", "v", "true"], 125, "is not absolute")?;
    let mut exec = command(&["exec", "v", "env"]);
    let done = outcome(Running::start(exec.env("SECRET_OF_THE_CALLER", "x")));
    must(!done.out.contains("SECRET"), "nothing of the caller's", &done)
}

fn groups() -> Result<(), Failed> {
    let _kept = Kept::shell(&["--name", "g", "--pids-limit", "5", "-m", "64m"], "sleep 600; true")?;
    let own = own();
    let hog = nsctl(&["exec", "g", &own, "probe", "hog", "200"]);
    must(hog.code == 137, "the container's memory limit", &hog)?;
    let forks = nsctl(&["exec", "g", &own, "probe", "bomb", "20"]);
    let count: i32 = forks.out.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(99);
    must(count <= 4, "the container's number of tasks", &forks)
}

fn streams() -> Result<(), Failed> {
    let _kept = Kept::shell(&["--name", "s"], "sleep 600; true")?;
    let mut running = command(&["exec", "-i", "s", "sh", "-c", "cat; echo err >&2; exit 9"]);
    let mut child = running.stdin(Stdio::piped()).spawn()?;
    let text = vec![b'x'; 300_000];
    let mut input = child.stdin.take().ok_or("no pipe")?;
    let writer = std::thread::spawn(move || input.write_all(&text));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "the writer")??;
    assert_eq!((output.stdout.len(), output.stderr, output.status.code()), (300_000, b"err\n".to_vec(), Some(9)));
    let own = own();
    let mut running = spawn(&["exec", "s", &own, "probe", "signals"]);
    let mut lines = BufReader::new(running.stdout()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let skip = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGTERM, 32, 33];
    for signal in (1..=64).filter(|signal| !skip.contains(signal)).chain([libc::SIGTERM]) {
        running.signal(signal);
        let line = lines.next().unwrap_or_default();
        if line != signal.to_string() {
            return Err(format!("sent {signal}, the probe got '{line}'").into());
        }
    }
    let done = outcome(running);
    must(done.code == 0, "the probe leaves with 0 after SIGTERM", &done)
}

fn detached() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "d", "--rootfs", plain().path()], "sleep 600; true")?;
    says(
        &[
            "exec",
            "-d",
            "d",
            "sh",
            "-c",
            "readlink /proc/self/fd/0 >/tmp/out; readlink /proc/self/fd/1 >>/tmp/out; readlink /proc/self/fd/2 >>/tmp/out; sleep 0.2; echo done >>/tmp/out; exec sleep 500",
        ],
        0,
        "",
    )?;
    until("it has run", || nsctl(&["exec", "d", "cat", "/tmp/out"]).out.ends_with("done\n"))?;
    let listed = nsctl(&["exec", "d", "cat", "/tmp/out"]);
    must(listed.out == "/dev/null\n/tmp/out\n/dev/null\ndone\n", "nothing of the caller's", &listed)?;
    let there = "grep -l 'sleep.500' /proc/[0-9]*/cmdline | grep -vc self";
    let running = nsctl(&["exec", "d", "sh", "-c", there]);
    must(running.out.trim().parse().unwrap_or(0) >= 1, "it lives on", &running)?;
    // When it has ended, nobody is left of it: PID 1 reaps what is not its own.
    for _ in 0..20 {
        says(&["exec", "-d", "d", "true"], 0, "")?;
    }
    let zombies = "grep -h ^State /proc/[0-9]*/status | grep -c Z; true";
    until("no zombie", || nsctl(&["exec", "d", "sh", "-c", zombies]).out.trim() == "0")?;
    drop(kept);
    Ok(())
}

fn any(fits: impl Fn(&str) -> bool) -> bool {
    let fits = |entry: std::fs::DirEntry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| fits(&String::from_utf8_lossy(&line)))
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(fits)
}

/// Whether the command itself is executed, and not only about to be: nsctl has the mark among its words, too.
fn sleeps(mark: &str) -> bool {
    any(|line| line == format!("sleep\0{mark}\0"))
}

fn killed() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "k"], "sleep 600; true")?;
    for moment in 0..60u64 {
        let mark = format!("37{moment:03}.5");
        let running = spawn(&["exec", "k", "sleep", &mark]);
        std::thread::sleep(Duration::from_micros(moment * 150));
        drop(running);
        until(&format!("moment {moment}: nobody sleeps"), || !any(|line| line.contains(&mark)))?;
    }
    // One that became another user, too.
    let running = spawn(&["exec", "-u", "1000", "k", "sleep", "37999.5"]);
    until("it sleeps", || sleeps("37999.5"))?;
    drop(running);
    until("nobody sleeps", || !any(|line| line.contains("37999.5")))?;
    says(&["exec", "k", "sh", "-c", "ls /proc | grep -c '^[0-9]' >/dev/null; echo fine"], 0, "fine\n")?;
    must(kept.shown("state") == "running", "", &nsctl(&["ps", "-a"]))
}

fn ends_with() -> Result<(), Failed> {
    for words in [&["stop", "-t", "5", "w"][..], &["kill", "w"], &["rm", "-f", "w"]] {
        let kept = Kept::shell(&["--name", "w"], "exec sleep 600")?;
        let running = spawn(&["exec", "w", "sleep", "38000.5"]);
        until("it sleeps", || sleeps("38000.5"))?;
        says(words, 0, "w\n")?;
        let done = outcome(running);
        must(done.code == 137, "it ended by SIGKILL", &done)?;
        refused(&["exec", "w", "true"], 1, "w")?;
        drop(kept);
    }
    Ok(())
}

fn descriptors() -> Result<(), Failed> {
    let _kept = Kept::shell(&["--name", "f", "--rootfs", plain().path()], "sleep 600; true")?;
    let list = "for f in /proc/self/fd/*; do test -e $f && echo ${f##*/}; done";
    let program = crate::nsctl::binary();
    for verb in ["exec f", "exec -i f"] {
        let text = format!("exec 3</dev/null 4</ 5</proc 9</etc/passwd; exec {program} {verb} sh -c '{list}'");
        let mut shell = crate::host::script(&text, &[]);
        let done = outcome(Running::start(&mut shell));
        let numbers: Vec<&str> = done.out.split_whitespace().collect();
        must(numbers == ["0", "1", "2"], "the three", &done)?;
    }
    Ok(())
}
