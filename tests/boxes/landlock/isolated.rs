//! Landlock alone, without any namespace.

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libtest_mimic::Failed;

use super::{abi, has, lines};
use crate::host::Scratch;
use crate::nsctl::{Outcome, Running, must, nsctl, own, shell, spawn};
use crate::{Case, life, masked};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("isolated_without_namespaces", isolated),
    ("isolated_by_an_ordinary_user", isolated_user),
    ("isolated_ends_and_is_listed_as_others", isolated_life),
    ("isolated_takes_signals", isolated_signals),
    ("isolated_does_not_reach_neighbours", neighbours),
    ("what_needs_a_namespace_is_refused_without_one", no_namespace),
];

/// `run --isolate=landlock OPTIONS -- sh -c SCRIPT`, in this directory.
fn isolated_in(dir: &str, options: &[&str], script: &str) -> Outcome {
    shell(&[&["--isolate=landlock", "-w", dir], options].concat(), script)
}

fn isolated() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    // Not below /tmp, which is left to all.
    let (own_dir, other) = (format!("/run/nsctl-boxes-{}", std::process::id()), Scratch::new("landlock-isolated"));
    let own_dir = std::path::Path::new(&own_dir);
    fs::create_dir_all(own_dir.join("mine"))?;
    fs::create_dir_all(own_dir.join("others"))?;
    let dir = own_dir.join("mine").to_str().ok_or("a path")?.to_string();
    let script = "for name in /proc/self/ns/*; do readlink $name; done | sort -u | tr '\\n' ' '; echo; echo x >file && cat file; \
        echo x >../others/file; ls ../others; echo x >/etc/nsctl-boxes; ls /; echo t >/dev/null && echo end";
    let got = isolated_in(&dir, &[], script);
    let namespaces: std::collections::BTreeSet<String> = fs::read_dir("/proc/self/ns")?
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.to_str()?.to_string()))
        .collect();
    let namespaces: String = namespaces.into_iter().map(|name| name + " ").collect();
    let right = got.out == format!("{namespaces}\nx\nend\n") && got.err.matches("ermission denied").count() == 4;
    let left = (own_dir.join("others/file").exists(), fs::metadata("/etc/nsctl-boxes").is_ok());
    must(right && left == (false, false), "the usual set, in the caller's namespaces", &got)?;
    // The root directory is not taken for what the command works on; and with paths of one's own there is no usual set.
    let script = format!("echo x >{0}/others/file; cat {0}/mine/file", own_dir.display());
    let got = isolated_in("/", &[], &script);
    must(got.out.is_empty() && got.code != 0, "from /", &got)?;
    let path = other.path("x");
    let others = ["--landlock-ro", "/", "--landlock-rw", &other.dir(".")];
    let got = isolated_in(&dir, &others, &format!("echo y >{path} && cat {path}; echo x >file2"));
    must(got.out == "y\n" && !own_dir.join("mine/file2").exists(), "paths of one's own", &got)?;
    // No call that is about namespaces or mounts is made at all.
    masked::set(Some(("namespaces", "KILL")));
    let got = isolated_in(&dir, &[], "echo here");
    masked::set(None);
    fs::remove_dir_all(own_dir)?;
    must(got.code == 0 && got.out == "here\n", "without a call for a namespace", &got)
}

/// Who may make no namespace, and has no capability.
fn isolated_user() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let scratch = Scratch::new("landlock-user");
    let (program, state) = (scratch.path("nsctl"), scratch.dir("state"));
    fs::copy(crate::nsctl::binary(), &program)?;
    let mine = scratch.dir("mine");
    for dir in [&state, &mine] {
        std::os::unix::fs::chown(dir, Some(1000), Some(1000))?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    let script = "echo x >file && cat file; echo x >/etc/nsctl-boxes; grep -c . /etc/passwd >/dev/null && id -u";
    let mut command = std::process::Command::new(program);
    command.args(["run", "--isolate=landlock", "--", "sh", "-c", script]).env("NSCTL_ROOT", state).current_dir(mine);
    command.uid(1000).gid(1000).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let got = crate::nsctl::outcome(Running::start(&mut command));
    must(got.code == 0 && got.out == "x\n1000\n" && got.err.contains("ermission denied"), "an ordinary user", &got)
}

fn isolated_life() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    for (script, code) in
        [("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("/etc/passwd", 126), ("nosuch", 127)]
    {
        let got = isolated_in("/tmp", &[], script);
        must(got.code == code, script, &got)?;
    }
    let got = nsctl(&["run", "--isolate=landlock", "/no/such"]);
    must(got.code == 127, "a command that is not there", &got)?;
    let running = spawn(&["run", "--isolate=landlock", "--name", "alone", "--", "sleep", "600"]);
    life::until("it is listed", || nsctl(&["ps", "--format", "name,state"]).out.contains("alone\trunning"))?;
    let got = nsctl(&["exec", "alone", "true"]);
    must(got.code == 1 && got.err.contains("has no namespaces to go into"), "exec is refused", &got)?;
    let got = nsctl(&["inspect", "alone"]);
    must(got.out.contains("\"namespaces\":{}") && got.out.contains("\"landlock\":{"), "inspect", &got)?;
    let got = nsctl(&["stop", "-t", "0", "alone"]);
    must(got.code == 0, "stop", &got)?;
    let ended = crate::nsctl::outcome(running);
    must(ended.code == 137 || ended.code == 143, "it was stopped", &ended)
}

fn isolated_signals() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let mut running = spawn(&[
        "run",
        "--isolate=landlock",
        "--",
        "sh",
        "-c",
        "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done",
    ]);
    let mut out = running.stdout();
    let mut ready = [0; 6];
    out.read_exact(&mut ready)?;
    running.signal(libc::SIGUSR1);
    let mut rest = String::new();
    out.read_to_string(&mut rest)?;
    let ended = crate::nsctl::outcome(running);
    must(ended.code == 5 && rest == "got\n", "signals are forwarded", &ended)?;
    // It ends with its starter.
    let scratch = Scratch::new("landlock-killed");
    let file = scratch.path("pid");
    let script = format!("echo $$ >{file}; exec sleep 600");
    let running = spawn(&["run", "--isolate=landlock", "--", "sh", "-c", &script]);
    life::until("it runs", || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')))?;
    life::until("it is listed", || !nsctl(&["ps", "-q"]).out.is_empty())?;
    let pid: i32 = fs::read_to_string(&file)?.trim().parse()?;
    running.signal(libc::SIGKILL);
    drop(running);
    // SAFETY: signal 0 only asks.
    life::until("it is gone", || unsafe { libc::kill(pid, 0) } != 0)?;
    // Whoever comes next clears up.
    let got = nsctl(&["ps", "-q"]);
    must(got.code == 0 && got.out.is_empty(), "ps", &got)
}

fn neighbours() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let scratch = Scratch::new("landlock-neighbours");
    let socket = scratch.path("socket");
    let _by_path = UnixListener::bind(&socket)?;
    let name = format!("nsctl-boxes-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    let own = own();
    let pid = format!("kill:{}", std::process::id());
    let (by_path, by_name) = (format!("unix:{socket}"), format!("abstract:{name}"));
    let options = ["run", "--isolate=landlock", "--landlock-ro", "/"];
    let got = nsctl(&[&options[..], &["--", &own, "probe", "landlock", &pid, &by_path, &by_name]].concat());
    let since = |version: i64, errno: i32| if abi() >= version { errno } else { 0 };
    let wanted =
        [(&*pid, since(6, libc::EPERM)), (&by_path, since(9, libc::EACCES)), (&by_name, since(6, libc::EPERM))];
    must(got.out == lines(&wanted), "signals, sockets with a path, without one", &got)?;
    must(got.err.contains("sockets with a path") == (abi() < 9), "what is missing is said", &got)
}

fn no_namespace() -> Result<(), Failed> {
    for options in [
        &["--rootfs", "/"][..],
        &["--image", "x"],
        &["-v", "/tmp:/mnt"],
        &["--tmpfs", "/mnt"],
        &["--hostname", "x"],
        &["--network", "none"],
        &["--pid", "private"],
        &["--sysctl", "net.ipv4.ip_forward=1"],
        &["--init"],
        &["-d"],
    ] {
        let got = shell(&[&["--isolate=landlock"], options].concat(), "true");
        let said = got.err.contains("--isolate=landlock") && got.err.contains("namespace");
        must(got.code == 125 && said, options[0], &got)?;
    }
    let got = shell(&["--isolate=vm"], "true");
    must(got.code == 125 && got.err.contains("--isolate vm is unknown"), "another word", &got)
}
