//! Containers that live on, and those who enter them: what the payload can get of nsctl's while it is there.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use libtest_mimic::Failed;

use super::{each_way, snapshot};
use crate::life::{Kept, refused, says, until};
use crate::nsctl::{Running, binary, command, must, nsctl, outcome, state};
use crate::root::Root;

const SECRET: &str = "SECRET_OF_THE_CALLER";

/// A root inside looks all the time for processes of nsctl's on their way in.
pub(super) fn entered() -> Result<(), Failed> {
    let file = fs::canonicalize(binary())?;
    let before = snapshot(&file);
    let root = Root::new("entered");
    let kept = Kept::made(
        "run",
        &["-d", "--name", "grab", "--rootfs", root.path(), "--", "/bin/probe", "probe", "grab", SECRET],
    )?;
    kept.said("ready\n")?;
    for number in 0..200 {
        let words: &[&str] = match number % 4 {
            0 => &["exec", "grab", "/bin/true"],
            1 => &["exec", "-u", "1000", "grab", "/bin/true"],
            2 => &["exec", "-d", "grab", "/bin/true"],
            _ => &["exec", "-w", "/tmp", "-e", "A=1", "grab", "/bin/sh", "-c", ":"],
        };
        enter(words)?;
    }
    enter(&["exec", "grab", "/bin/touch", "/tmp/stop"])?;
    says(&["wait", "grab"], 0, "0\n")?;
    let logged = nsctl(&["logs", "grab"]);
    let refused = logged.out.strip_prefix("ready\nrefused ").and_then(|rest| rest.trim().parse::<u32>().ok());
    must(refused.is_some_and(|count| count > 0), "processes were seen, and nothing of them was had", &logged)?;
    println!("a process of nsctl's was looked at {} times", refused.unwrap_or(0));
    if snapshot(&file) == before { Ok(()) } else { Err("nsctl's file has changed".into()) }
}

/// Who looks may just have the root's own program open for writing, which the kernel then does not execute.
fn enter(words: &[&str]) -> Result<(), Failed> {
    let once = || outcome(Running::start(command(words).env(SECRET, SECRET)));
    let mut done = once();
    for _ in 0..50 {
        if done.code == 126 && done.err.contains("ETXTBSY") {
            done = once();
        }
    }
    must(done.code == 0, "it is entered", &done)
}

/// What is executed, by exec and by the health check, is `/proc/self/exe`: nsctl's file. Until it hides itself a root inside that looks all
/// the time can open it, and must not be able to change it.
pub(super) fn becomes() -> Result<(), Failed> {
    let file = fs::canonicalize(binary())?;
    each_way(|| {
        let before = snapshot(&file);
        let root = Root::new("becomes").symlink("/proc/self/exe", "bin/sh");
        let options = ["-d", "--rootfs", root.path(), "--health-cmd", "--version", "--health-interval", "20ms"];
        let kept = Kept::made("run", &[&options[..], &["--", "/bin/probe", "probe", "change"]].concat())?;
        kept.said("ready\n")?;
        for _ in 0..40 {
            let done = nsctl(&["exec", kept.id(), "/bin/sh", "--version"]);
            must(done.code == 0 && done.out.starts_with("nsctl"), "nsctl is executed", &done)?;
        }
        let logged = nsctl(&["logs", kept.id()]);
        drop(kept);
        must(logged.out == "ready\n", "nothing was changed", &logged)?;
        if snapshot(&file) == before { Ok(()) } else { Err("nsctl's file has changed".into()) }
    })
}

/// `probe change`: changes the mode of each program that it can open by a process, to what it is.
pub(super) fn change() -> ! {
    println!("ready");
    loop {
        for pid in 2..400 {
            let Ok(path) = CString::new(format!("/proc/{pid}/exe")) else { continue };
            // SAFETY: the path lives through the call; the descriptor is ours alone.
            let file = unsafe {
                let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
                if fd < 0 {
                    continue;
                }
                fs::File::from_raw_fd(fd)
            };
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            let name = fs::read_link(&link).unwrap_or_default().display().to_string();
            // Of this root, or a copy that nobody executes but the one who made it.
            let own =
                ["/busybox", "/probe"].iter().any(|own| name.ends_with(own)) || name.starts_with("/memfd:nsctl");
            if let (false, Ok(there)) = (own, file.metadata())
                && fs::set_permissions(&link, there.permissions()).is_ok()
            {
                println!("{name} was changed");
            }
        }
    }
}

/// PID 1 is not to be read, stopped or killed by a root inside.
pub(super) fn pid_1() -> Result<(), Failed> {
    let root = Root::new("pid1");
    for user in [&[][..], &["-u", "1000"]] {
        let options =
            [&["-d", "--name", "one", "--rootfs", root.path()], user, &["--", "/bin/probe", "probe", "pid1"]]
                .concat();
        let kept = Kept::made("run", &options)?;
        says(&["wait", "one"], 0, "0\n")?;
        says(&["logs", "one"], 0, "end\n")?;
        let waiting = Kept::shell(&["--name", "two", "--rootfs", root.path()], "sleep 600; true")?;
        says(&[&["exec"], user, &["two", "/bin/probe", "probe", "pid1"]].concat(), 0, "end\n")?;
        must(waiting.shown("state") == "running", "it is there still", &nsctl(&["ps", "-a"]))?;
        drop(kept);
    }
    Ok(())
}

/// CVE-2020-15257: there is no socket in the abstract namespace, and the names of those that there are lead nowhere inside.
pub(super) fn control() -> Result<(), Failed> {
    let root = Root::new("control");
    let kept = Kept::shell(&["--name", "c", "--rootfs", root.path(), "--net", "host"], "sleep 600; true")?;
    let sockets = fs::read_to_string("/proc/net/unix")?;
    let names: Vec<&str> = sockets.lines().filter_map(|line| line.split_whitespace().nth(7)).collect();
    assert!(names.iter().any(|name| name.ends_with("/control")), "it listens somewhere");
    // Number of the socket, and its address: by whatever name, none of PID 1's is an abstract one.
    let held: Vec<String> = fs::read_dir(format!("/proc/{}/fd", kept.pid()))?
        .filter_map(|entry| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string()))
        .collect();
    let own = sockets.lines().filter(|line| {
        let inode = line.split_whitespace().nth(6).unwrap_or_default();
        held.contains(&format!("socket:[{inode}]"))
    });
    let own: Vec<&str> = own.filter_map(|line| line.split_whitespace().nth(7)).collect();
    assert!(own.iter().any(|name| name.ends_with("/control")), "{own:?} of {held:?}");
    assert!(!own.iter().any(|name| name.starts_with('@')), "{own:?}");
    let path = state().join(kept.id()).join("control");
    let path = path.to_str().ok_or("a path")?;
    let names = names.into_iter().filter(|name| name.ends_with("/control")).chain([path]);
    let words: Vec<&str> = ["exec", "c", "/bin/probe", "probe", "connect"].into_iter().chain(names).collect();
    says(&words, 0, "end\n")?;
    assert!(Path::new(path).exists());
    // Nor by others of the host's.
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(state().join(kept.id()))?.mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    Ok(())
}

/// CVE-2022-31214: a record that names another process is not believed.
pub(super) fn forged() -> Result<(), Failed> {
    let root = Root::plain("forged");
    let kept = Kept::shell(&["--name", "f", "--rootfs", root.path()], "sleep 600; true")?;
    let file = state().join(kept.id()).join("state.json");
    let text = fs::read_to_string(&file)?;
    let value = |key: &str| {
        text.split(&format!("\"{key}\":")).nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default()
    };
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)).unwrap_or_default();
    let with = |pid: &str, ticks: &str| {
        text.replace(&format!("\"pid\":{},", value("pid")), &format!("\"pid\":{pid},"))
            .replace(&format!("\"ticks\":{},", value("ticks")), &format!("\"ticks\":{ticks},"))
    };
    let own = std::process::id().to_string();
    let namespaces =
        text.split("\"namespaces\":{").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    for (forged, words) in [
        (with(&own, ticks), "namespace than it was started in"),
        (with(&own, "0"), "namespace than it was started in"),
        (with(&own, value("ticks")), "has just ended"),
        (with(&own, ticks).replace(namespaces, ""), "has no namespaces to go into"),
    ] {
        assert_ne!(forged, text);
        fs::write(&file, &forged)?;
        let tried = nsctl(&["exec", "f", "/bin/echo", "entered"]);
        fs::write(&file, &text)?;
        must(tried.code == 1 && tried.out.is_empty() && tried.err.contains(words), words, &tried)?;
    }
    says(&["exec", "f", "/bin/echo", "entered"], 0, "entered\n")?;
    // A lock that nobody holds is no container, whatever is written there.
    let id = "0123456789ab";
    fs::create_dir(state().join(id))?;
    fs::write(
        state().join(id).join("state.json"),
        text.replace(kept.id(), id).replace("\"name\":\"f\"", "\"name\":\"g\""),
    )?;
    let tried = refused(&["exec", id, "/bin/true"], 1, "");
    nsctl(&["rm", "-f", id]);
    tried?;
    until("the true one is untouched", || kept.shown("state") == "running")
}

/// `probe grab SECRET`: says what it can get of processes that are not of this root, until /tmp/stop is there.
pub(super) fn grab(secret: &str) -> ! {
    println!("ready");
    let mut refused = 0u32;
    while !Path::new("/tmp/stop").exists() {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.parse::<u32>().map_or(true, |pid| pid == std::process::id()) {
                continue;
            }
            let path = entry.path();
            let environ = fs::read(path.join("environ")).unwrap_or_default();
            if environ.windows(secret.len()).any(|part| part == secret.as_bytes()) {
                println!("the caller's variables of {name}");
            }
            match fs::read_link(path.join("exe")) {
                // Of this root: it was executed, and is nsctl no more.
                Ok(exe) if exe.ends_with("busybox") => {}
                Ok(exe) => println!("{name} is {}", exe.display()),
                Err(error) if error.raw_os_error() == Some(libc::EACCES) => refused += u32::from(name != "1"),
                Err(_) => {}
            }
            if let Ok(file) = fs::OpenOptions::new().write(true).open(path.join("exe")) {
                let had = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
                // A program of this root may be changed by root inside.
                if !had.ends_with("busybox") {
                    println!("{name} can be written to: {}", had.display());
                }
            }
        }
    }
    println!("refused {refused}");
    std::process::exit(0)
}

/// `probe pid1`: says what it can do to PID 1.
pub(super) fn attack_pid_1() -> ! {
    // CAP_PERFMON opens more than CAP_SYS_PTRACE does (since 6.16): the addresses, and variables of which nothing is left.
    let environ = fs::read("/proc/1/environ").unwrap_or_default();
    if environ.iter().any(|byte| *byte != 0) {
        println!("variables of PID 1: {}", String::from_utf8_lossy(&environ));
    }
    for name in ["mem", "exe", "fd/0", "fd/1", "fd/3", "fd/4", "fd/5", "cwd/.", "root/."] {
        let path = format!("/proc/1/{name}");
        if fs::File::open(&path).is_ok() || fs::read_link(&path).is_ok() {
            println!("{path} was opened");
        }
        if fs::OpenOptions::new().write(true).open(&path).is_ok() {
            println!("{path} was opened to write");
        }
    }
    // SAFETY: numbers, and structures that live through the calls.
    unsafe {
        if libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0) == 0 || libc::ptrace(libc::PTRACE_SEIZE, 1, 0, 0) == 0 {
            println!("PID 1 is traced");
        }
        let mut byte = 0u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: 0x40_0000 as *mut _, iov_len: 1 };
        if *libc::__errno_location() == 0
            || libc::process_vm_readv(1, &raw const local, 1, &raw const remote, 1, 0) > 0
        {
            println!("PID 1 was read");
        }
        let pidfd = libc::syscall(libc::SYS_pidfd_open, 1, 0);
        for fd in 0..16 {
            if pidfd >= 0 && libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) >= 0 {
                println!("descriptor {fd} of PID 1");
            }
        }
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            libc::kill(1, signal);
        }
    }
    // One that was stopped stays so; it may be at work.
    let status = || fs::read_to_string("/proc/1/status").unwrap_or_default();
    for _ in 0..600 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        if status().contains("State:\tS") {
            println!("end");
            std::process::exit(0)
        }
    }
    println!("PID 1: {}", status());
    println!("end");
    std::process::exit(0)
}

/// `probe connect PATH…`: says which sockets can be connected to.
pub(super) fn connect(paths: &[String]) -> ! {
    for path in paths {
        // SAFETY: the address lives through the calls and is as long as we say.
        unsafe {
            let mut address: libc::sockaddr_un = std::mem::zeroed();
            address.sun_family = libc::AF_UNIX as u16;
            for (to, from) in address.sun_path.iter_mut().zip(path.as_bytes().iter().take(107)) {
                *to = *from as _;
            }
            for kind in [libc::SOCK_SEQPACKET, libc::SOCK_STREAM, libc::SOCK_DGRAM] {
                let socket = libc::socket(libc::AF_UNIX, kind, 0);
                let length = size_of::<libc::sockaddr_un>() as u32;
                if libc::connect(socket, (&raw const address).cast(), length) == 0 {
                    println!("{path} is open");
                }
                libc::close(socket);
            }
        }
    }
    println!("end");
    std::process::exit(0)
}
