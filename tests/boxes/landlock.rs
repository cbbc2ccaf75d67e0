//! Landlock: what is left to a command is all that it can reach, in a container and without any namespace.

use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use libtest_mimic::Failed;

use crate::host::{Scratch, plain, skip};
use crate::nsctl::{Outcome, must, nsctl, shell};
use crate::root::Root;
use crate::{Case, life, masked};

pub(crate) mod isolated;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("what_is_read_only_is_read_and_executed", read_only),
    ("what_is_not_named_is_not_there", outside),
    ("links_lead_nowhere_outside", links),
    ("ports_are_those_that_are_named", ports),
    ("udp_ports_are_those_that_are_named", udp_ports),
    ("moves_truncation_and_devices", rights),
    ("exec_and_the_next_start_are_confined_as_well", again),
    ("no_mount_is_made_by_whoever_is_confined", no_mounts),
    ("words_that_are_wrong_are_said", wrong),
    ("a_kernel_without_it_is_said", without),
];

/// 0: the kernel has none.
fn abi() -> i64 {
    // SAFETY: with this flag the kernel reads nothing.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, 1) }.max(0)
}

/// Whether the kernel's landlock is of that version; says that the test is not run, if not.
fn has(version: i64) -> bool {
    let found = abi();
    if found < version {
        skip(&format!("landlock of this kernel is ABI {found}, and this is about ABI {version}"));
    }
    found >= version
}

fn inside(options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", plain().path()], options].concat(), script)
}

fn read_only() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let script = "read line </etc/passwd && echo $line; ls /bin/busybox; echo x >/etc/passwd; echo x >/etc/new; rm /etc/group; \
        mkdir /etc/dir; ln -s x /etc/link; mkfifo /etc/pipe; echo y >/tmp/new && cat /tmp/new && mkdir /tmp/dir && rm /tmp/new && echo all";
    let got = inside(&["--landlock-ro", "/", "--landlock-rw", "/tmp"], script);
    let out = "root:x:0:0:root:/root:/bin/sh\n/bin/busybox\ny\nall\n";
    must(got.code == 0 && got.out == out, "read and executed, and changed in /tmp", &got)?;
    must(got.err.matches("ermission denied").count() == 6, "six refusals", &got)
}

fn outside() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let got = inside(
        &["--landlock-ro", "/bin", "--landlock-rw", "/tmp/"],
        "cat /etc/passwd; ls /; echo $0 >/tmp/x; cat /tmp/x",
    );
    must(got.out == "sh\n" && got.err.matches("ermission denied").count() == 2, "only /bin and /tmp", &got)?;
    let got = inside(&["--landlock-rw", "/tmp"], "true");
    must(got.code == 126 && got.err.contains("landlock has files executed only below"), "not even the shell", &got)?;
    let got = inside(&["--landlock-ro", "/bin", "--landlock-ro", "/no/such"], "true");
    let wanted = "leave /no/such to the command by landlock: no such file or directory, ENOENT (what is named";
    must(got.code == 125 && got.err.contains(wanted), "a path that is not there", &got)?;
    // One file, by its name.
    let got = inside(
        &["--landlock-ro", "/bin", "--landlock-ro", "/etc/group", "--landlock-rw", "/dev/null"],
        "cat /etc/group >/dev/null && echo read; cat /etc/passwd",
    );
    must(got.out == "read\n", "a file alone", &got)?;
    // Also for a user who may do it otherwise.
    let got = inside(
        &["-u", "1000", "--landlock-ro", "/bin", "--landlock-rw", "/tmp"],
        "echo x >/tmp/x && cat /tmp/x; cat /etc/group",
    );
    must(got.out == "x\n" && got.err.contains("ermission denied"), "an ordinary user", &got)
}

fn links() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let scratch = Scratch::new("landlock");
    let host = scratch.dir("host");
    let root = Root::plain("landlock")
        .symlink(&host, "out")
        .symlink("../../../../../etc", "up")
        .symlink("/proc/1/root", "magic");
    let of = |path: &str, script: &str| {
        shell(&["--rootfs", root.path(), "--rw", "--landlock-ro", "/bin", "--landlock-rw", path], script)
    };
    let got = of("/out", "true");
    must(got.code == 125 && got.err.contains("ENOENT"), "a directory of the host's", &got)?;
    for path in ["/magic", "/proc/self/root", "/proc/self/fd/0"] {
        let got = of(path, "true");
        // Of a process that it may not trace, nobody is even told where the link leads.
        must(got.code == 125 && (got.err.contains("ELOOP") || got.err.contains("EACCES")), path, &got)?;
    }
    let got = of("/up", "echo x >/etc/x && cat /etc/x; cat /proc/version");
    must(got.out == "x\n" && got.err.contains("ermission denied"), "a directory of the root's", &got)?;
    let kept = fs::read_dir(&host)?.count() == 0;
    must(kept && root.at("etc/x").exists(), "nothing on the host", &got)?;
    // A link that is made later leads to what is refused.
    let got = shell(
        &["--rootfs", root.path(), "--landlock-ro", "/bin", "--landlock-rw", "/tmp"],
        "ln -s /etc/passwd /tmp/a; ln -s ../etc /tmp/b; cat /tmp/a; cat /tmp/b/group; echo x >/tmp/a",
    );
    must(got.out.is_empty() && got.err.matches("ermission denied").count() == 3, "links of the command's", &got)
}

/// What a probe found out: `WHAT ERRNO` in each line.
fn probed(options: &[&str], tries: &[&str]) -> Outcome {
    let root = Root::new("landlock-probe");
    let words =
        [&["run", "--rootfs", root.path()], options, &["--", "/bin/probe", "probe", "landlock"], tries].concat();
    nsctl(&words)
}

fn lines(tries: &[(&str, i32)]) -> String {
    tries.iter().map(|(what, errno)| format!("{what} {errno}\n")).collect()
}

fn ports() -> Result<(), Failed> {
    let options =
        ["--network", "none", "--landlock-port", "bind:8080", "--landlock-port", "connect:9", "--landlock-port", "7"];
    if abi() < 4 {
        if has(1) {
            let got = probed(&options, &[]);
            must(got.code == 125 && got.err.contains("does not know such ports (Linux 6.7 does"), "a refusal", &got)?;
        }
        return Ok(());
    }
    let tries = [
        ("bind:8080", 0),
        ("bind:8081", libc::EACCES),
        ("bind:0", libc::EACCES),
        ("bind:7", 0),
        ("connect:9", libc::ECONNREFUSED),
        ("connect:7", libc::ECONNREFUSED),
        ("connect:8080", libc::EACCES),
        ("open:/etc/passwd", 0),
    ];
    let got = probed(&options, &tries.map(|(what, _)| what));
    must(got.out == lines(&tries), "TCP, and files as before", &got)?;
    let got = probed(&["--network", "none", "--landlock-port", "none"], &["bind:8080", "connect:9"]);
    must(got.out == lines(&[("bind:8080", 13), ("connect:9", 13)]), "none at all", &got)
}

fn udp_ports() -> Result<(), Failed> {
    let options = ["--network", "none", "--landlock-port", "connect:53/udp", "--landlock-port", "bind:5000/udp"];
    if abi() < 10 {
        if has(1) {
            let got = probed(&options, &[]);
            must(got.code == 125 && got.err.contains("does not know such ports"), "a refusal", &got)?;
        }
        return Ok(());
    }
    let tries =
        [("send:53", 0), ("send:54", libc::EACCES), ("udp:5000", 0), ("udp:5001", libc::EACCES), ("bind:8080", 0)];
    let got = probed(&options, &tries.map(|(what, _)| what));
    must(got.out == lines(&tries), "UDP, and TCP as before", &got)?;
    let got = probed(&["--network", "none", "--landlock-port", "none"], &["send:53", "udp:5000"]);
    must(got.out == lines(&[("send:53", 13), ("udp:5000", 13)]), "none at all", &got)
}

/// What came with later versions.
fn rights() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let root = Root::new("landlock-rights").dir("data/a").dir("data/b").file("data/a/f", "x").file("fixed", "x");
    let refused_since = |since: i64| if abi() >= since { libc::EACCES } else { 0 };
    let tries = [
        ("move:/data/a/f:/data/b/f", if abi() >= 2 { 0 } else { libc::EXDEV }),
        ("truncate:/fixed", refused_since(3)),
        ("ioctl:/dev/tty1", refused_since(5)),
    ];
    let words = tries.map(|(what, _)| what);
    // Without the device there is nothing to be asked.
    let words = if fs::metadata("/dev/tty1").is_ok() { &words[..] } else { &words[..2] };
    let device: &[&str] = if words.len() == 3 { &["--device", "/dev/tty1"] } else { &[] };
    let options =
        [&["run", "--rootfs", root.path()], device, &["--landlock-ro", "/", "--landlock-rw", "/data"]].concat();
    let got = nsctl(&[&options[..], &["--", "/bin/probe", "probe", "landlock"], words].concat());
    must(got.out == lines(&tries[..words.len()]), "as its version has it", &got)?;
    for (since, what) in [(3, "truncation"), (5, "ioctls of devices")] {
        let said = got.err.contains(what) && got.err.contains(&format!("(ABI {})", abi()));
        must(said == (abi() < since), "what it does not know is said, with the version", &got)?;
    }
    must(got.err.lines().count() <= 1, "one line at most", &got)
}

fn again() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let scratch = Scratch::new("landlock-again");
    let log = scratch.dir("log");
    let volume = format!("{log}:/log");
    let root = ["--rootfs", plain().path(), "-v", &volume, "--landlock-ro", "/", "--landlock-rw", "/log"];
    let script = "echo x >/etc/x || echo refused >>/log/run; sleep 600";
    let got = nsctl(&[&["run", "-d"], &root[..], &["--", "sh", "-c", script]].concat());
    let kept = life::Kept(got.out.trim().into());
    must(got.code == 0, "it runs", &got)?;
    let refusals = || fs::read_to_string(scratch.at("log/run")).unwrap_or_default().lines().count();
    life::until("the first refusal", || refusals() == 1)?;
    let try_it = "echo y >/log/exec && cat /log/exec; echo x >/etc/x; cat /etc/group | head -n 1";
    for user in ["0", "1000"] {
        fs::set_permissions(&log, PermissionsExt::from_mode(0o777))?;
        let _ = fs::remove_file(scratch.at("log/exec"));
        let got = nsctl(&["exec", "-u", user, kept.id(), "sh", "-c", try_it]);
        must(got.out == "y\nroot:x:0:\n" && got.err.contains("ermission denied"), "exec", &got)?;
    }
    let got = nsctl(&["restart", "-t", "0", kept.id()]);
    must(got.code == 0, "restart", &got)?;
    life::until("the second refusal", || refusals() == 2)
}

fn no_mounts() -> Result<(), Failed> {
    if !has(1) {
        return Ok(());
    }
    let got = shell(
        &["--landlock-ro", "/", "--landlock-rw", "/tmp"],
        "mount -t tmpfs none /tmp; umount /proc; umount -l /proc",
    );
    must(got.code != 0 && !got.out.contains("mounted"), "refused", &got)
}

fn wrong() -> Result<(), Failed> {
    for (options, said) in [
        (&["--landlock-port", "http"][..], "--landlock-port http is no port"),
        (&["--rootfs", plain().path(), "--landlock-ro", "etc"], "--landlock-ro etc is not absolute"),
        (&["--landlock-rw", ""], "--landlock-rw is empty"),
    ] {
        let got = shell(options, "true");
        must(got.code == 125 && got.err.contains(said), said, &got)?;
    }
    Ok(())
}

fn without() -> Result<(), Failed> {
    masked::set(Some(("landlock", "ENOSYS")));
    let got = shell(&["--landlock-ro", "/"], "true");
    let isolated = shell(&["--isolate=landlock"], "true");
    let check = nsctl(&["check"]);
    masked::set(None);
    for got in [got, isolated] {
        let said = got.err.contains("this kernel has none")
            && got.err.contains("CONFIG_SECURITY_LANDLOCK")
            && got.err.contains("lsm=");
        must(got.code == 125 && said, "an error with the way out", &got)?;
    }
    must(check.out.lines().any(|line| line.starts_with("landlock ") && line.contains(" no ")), "check", &check)?;
    let check = nsctl(&["check"]);
    let line = check.out.lines().find(|line| line.starts_with("landlock ")).unwrap_or_default();
    must((abi() > 0) == line.contains(&format!("ABI {}: files", abi())), "check, with its version", &check)
}

/// Tries each, and says its errno or 0.
pub(crate) fn probe(tries: &[String]) -> ! {
    for what in tries {
        let (how, of) = what.split_once(':').unwrap_or((what, ""));
        let local = |port: &str| format!("127.0.0.1:{port}");
        // Emulation is slow.
        let long = Duration::from_secs(60);
        let done = match how {
            "bind" => std::net::TcpListener::bind(local(of)).map(drop),
            "connect" => local(of)
                .parse()
                .map_err(std::io::Error::other)
                .and_then(|to| std::net::TcpStream::connect_timeout(&to, long))
                .map(drop),
            "udp" => std::net::UdpSocket::bind(local(of)).map(drop),
            "send" => send(of.parse().unwrap()),
            "open" => fs::File::open(of).map(drop),
            "truncate" => truncate(of),
            "move" => of.split_once(':').map_or(Ok(()), |(from, to)| fs::rename(from, to)),
            "ioctl" => ioctl(of),
            // SAFETY: signal 0 only asks.
            "kill" => of_libc(unsafe { libc::kill(of.parse().unwrap(), 0) }),
            "unix" => UnixStream::connect(of).map(drop),
            "abstract" => SocketAddr::from_abstract_name(of).and_then(|to| UnixStream::connect_addr(&to)).map(drop),
            _ => panic!("no try {what}"),
        };
        println!("{what} {}", done.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
    }
    std::io::stdout().flush().unwrap();
    std::process::exit(0)
}

fn of_libc(result: i32) -> std::io::Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// From a socket that was not bound.
fn send(port: u16) -> std::io::Result<()> {
    // SAFETY: integers, and an address that outlives the call.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let mut to: libc::sockaddr_in = std::mem::zeroed();
        (to.sin_family, to.sin_port) = (libc::AF_INET as u16, port.to_be());
        to.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let size = size_of_val(&to) as u32;
        let sent = libc::sendto(socket, b"x".as_ptr().cast(), 1, 0, (&raw const to).cast(), size);
        if sent == 1 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

fn truncate(path: &str) -> std::io::Result<()> {
    let path = std::ffi::CString::new(path).unwrap();
    // SAFETY: a C string.
    of_libc(unsafe { libc::truncate(path.as_ptr(), 0) })
}

/// KDGKBTYPE, which only asks.
fn ioctl(path: &str) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let file = fs::File::open(path)?;
    let mut answer = 0u64;
    // SAFETY: the kernel writes one byte.
    of_libc(unsafe { libc::ioctl(file.as_raw_fd(), 0x4B33, &raw mut answer) })
}
