//! What a container with a root of its own has of the kernel's: /dev, /proc, /sys, cgroups and their settings.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use libtest_mimic::Failed;

use crate::Case;
use crate::cases::limit_file;
use crate::host::{Scratch, mounts, plain};
use crate::nsctl::{Outcome, must, nsctl, outcome, shell, spawn};
use crate::tables::{MASKED, READ_ONLY};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("dev_has_what_every_program_expects_and_no_more", dev),
    ("terminals_are_the_containers_own", terminals),
    ("a_device_has_its_modes_and_another_name", device),
    ("only_devices_are_devices", no_device),
    ("shm_has_its_size", shm),
    ("message_queues_are_the_containers_own", mqueue),
    ("what_is_the_machines_in_proc_cannot_be_written_to", read_only),
    ("what_tells_about_the_machine_is_unreadable", hidden),
    ("sys_is_read_only", sys),
    ("cgroups_are_read_only", cgroups),
    ("limits_are_seen_inside_a_root", limits),
    ("limits_without_init_are_seen_inside_a_root", limits_without_init),
    ("sysctls_of_the_containers_namespaces_are_set", sysctls),
    ("other_sysctls_are_refused", no_sysctls),
];

fn inside(options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", plain().path()], options].concat(), script)
}

const DEV: &str = "\
/dev/fd 777 symbolic link /proc/self/fd
/dev/full 666 character special file 1:7
/dev/mqueue 1777 directory
/dev/null 666 character special file 1:3
/dev/ptmx 777 symbolic link pts/ptmx
/dev/pts 755 directory
/dev/pts/ptmx 666 character special file 5:2
/dev/random 666 character special file 1:8
/dev/shm 1777 directory
/dev/stderr 777 symbolic link /proc/self/fd/2
/dev/stdin 777 symbolic link /proc/self/fd/0
/dev/stdout 777 symbolic link /proc/self/fd/1
/dev/tty 666 character special file 5:0
/dev/urandom 666 character special file 1:9
/dev/zero 666 character special file 1:5
";

fn dev() -> Result<(), Failed> {
    // A umask of the caller's must not show.
    let script = "for f in $(find /dev -mindepth 1 | sort); do echo $f $(stat -c '%a %F' $f) $(readlink $f); done; \
                  cd /dev; stat -c '%n %t:%T' full null pts/ptmx random tty urandom zero; stat -c '%a %u:%g' /dev; umask";
    let mut command = crate::nsctl::command(&["run", "--rootfs", plain().path(), "sh", "-c", script]);
    // SAFETY: umask(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o077);
            Ok(())
        })
    };
    let outcome = outcome(crate::nsctl::Running::start(&mut command));
    // Character devices: their numbers come after, by name.
    let numbers: Vec<(String, String)> = outcome
        .out
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, number)| !name.starts_with('/') && number.contains(':') && number.len() < 6)
        .map(|(name, number)| (format!("/dev/{name} "), format!(" {number}")))
        .collect();
    let mut listed = String::new();
    for line in outcome.out.lines().filter(|line| line.starts_with("/dev/")) {
        let number = numbers.iter().find(|(name, _)| line.starts_with(name)).map_or("", |(_, number)| number);
        listed.push_str(&format!("{line}{number}\n"));
    }
    let mqueue = fs::read_to_string("/proc/filesystems")?.contains("mqueue");
    let wanted: String =
        DEV.lines().filter(|line| mqueue || !line.contains("mqueue")).map(|line| format!("{line}\n")).collect();
    must(listed == wanted, &format!("instead of {wanted}"), &outcome)?;
    must(outcome.out.ends_with("755 0:0\n0022\n"), "the directory, and the umask of every container", &outcome)
}

fn terminals() -> Result<(), Failed> {
    let script = "exec 3<>/dev/ptmx; ls /dev/pts; stat -c %d /dev/pts; exec sleep 600";
    let number = |running: &mut crate::nsctl::Running| {
        let mut text = [0; 256];
        let mut all = String::new();
        let mut out = running.stdout();
        while all.lines().count() < 3 {
            let length = std::io::Read::read(&mut out, &mut text).unwrap_or(0);
            if length == 0 {
                break;
            }
            all.push_str(&String::from_utf8_lossy(&text[..length]));
        }
        all
    };
    let args = ["run", "--rootfs", plain().path(), "sh", "-c", script];
    let (mut first, mut second) = (spawn(&args), spawn(&args));
    let (one, two) = (number(&mut first), number(&mut second));
    for running in [first, second] {
        running.signal(libc::SIGTERM);
        outcome(running);
    }
    let right = one.starts_with("0\nptmx\n") && two.starts_with("0\nptmx\n") && one != two;
    if right {
        Ok(())
    } else {
        Err(format!("both have a first terminal, on devices of their own: {one} {two}").into())
    }
}

fn device() -> Result<(), Failed> {
    let scratch = Scratch::new("device");
    let path = CString::new(scratch.path("fuse")).unwrap();
    // SAFETY: a string with an end. The device is the bit bucket, so that it can be tried out anywhere.
    unsafe {
        libc::mknod(path.as_ptr(), libc::S_IFCHR, libc::makedev(1, 3));
        libc::chmod(path.as_ptr(), 0o640);
        libc::chown(path.as_ptr(), 7, 8);
    }
    let named = format!("{}:/dev/net/fuse:rwm", scratch.path("fuse"));
    let options = ["--device", "/dev/null:/dev/nothing", "--device", "/dev/zero", "--device", &named];
    let script = "cd /dev; echo x > nothing && wc -c < nothing; echo x > net/fuse; \
                  stat -c '%n %a %u:%g %t:%T' nothing net/fuse zero; stat -c %a net";
    let outcome = inside(&options, script);
    let modes = fs::metadata("/dev/null").map(|meta| meta.mode() & 0o7777)?;
    let wanted = format!("0\nnothing {modes:o} 0:0 1:3\nnet/fuse 640 7:8 1:3\nzero 666 0:0 1:5\n755\n");
    must(outcome.out == wanted && outcome.err.is_empty(), &wanted, &outcome)
}

fn no_device() -> Result<(), Failed> {
    let scratch = Scratch::new("no-device");
    let (file, dir, missing) = (scratch.file("file", ""), scratch.dir("dir"), scratch.path("missing"));
    for (text, wanted) in [
        (format!("{dir}:/dev/x"), format!("nsctl: --device {dir} is a directory (name each device in it)\n")),
        (format!("{file}:/dev/x"), format!("nsctl: --device {file} is no device (for files there is --volume)\n")),
        (format!("{missing}:/dev/x"), format!("nsctl: open --device {missing}: no such file or directory, ENOENT\n")),
        ("null".into(), "nsctl: --device null: the source is not an absolute path (such as /dev/ttyS0)\n".into()),
        (file.clone(), format!("nsctl: --device {file}: a device is put below /dev (--device /dev/SRC:/dev/DST)\n")),
        (
            "/dev/null:r".into(),
            "nsctl: --device /dev/null:r: nsctl cannot give only some of r, w and m (leave them out)\n".into(),
        ),
        (
            "/dev/zero:/dev/null".into(),
            "nsctl: make the device /dev/null: file exists, EEXIST (every container has another one of that name)\n"
                .into(),
        ),
    ] {
        let outcome = nsctl(&["run", "--rootfs", plain().path(), "--device", &text, "true"]);
        must(outcome.code == 125 && outcome.err == wanted, &wanted, &outcome)?;
    }
    Ok(())
}

fn shm() -> Result<(), Failed> {
    for (options, wanted) in [(&[][..], "65536"), (&["--shm-size", "1m"], "1024"), (&["--shm-size", "64k"], "64")] {
        let outcome = inside(options, "df -k /dev/shm | tail -n 1");
        must(outcome.out.split_whitespace().nth(1) == Some(wanted), wanted, &outcome)?;
    }
    // Without a root it is mounted over the host's.
    let outcome = shell(&["--shm-size", "64k"], "df -k /dev/shm | tail -n 1; ls /dev/shm");
    must(outcome.out.split_whitespace().nth(1) == Some("64"), "over the host's", &outcome)?;
    // With the host's IPC namespace it is the host's.
    let outcome = inside(&["--ipc", "host"], "stat -c %d /dev/shm");
    let device = fs::metadata("/dev/shm").map(|meta| meta.dev())?;
    must(outcome.out.trim() == device.to_string(), "the host's", &outcome)
}

fn mqueue() -> Result<(), Failed> {
    if !fs::read_to_string("/proc/filesystems")?.contains("mqueue") {
        eprintln!("not tried: this kernel has no mqueue");
        return Ok(());
    }
    let outcome = inside(&[], "touch /dev/mqueue/queue && ls /dev/mqueue; cat /dev/mqueue/queue");
    must(outcome.out.starts_with("queue\nQSIZE:0"), "a queue", &outcome)?;
    let outcome = inside(&[], "ls /dev/mqueue");
    must(outcome.out.is_empty(), "of that container alone", &outcome)
}

fn read_only() -> Result<(), Failed> {
    for name in READ_ONLY.iter().filter(|name| Path::new(&format!("/proc/{name}")).exists()) {
        let outcome = inside(
            &[],
            &format!(
                "for f in $(find /proc/{name} -type f -perm /222 | head -n 20); do (echo > $f) 2>&1; done; mkdir /proc/{name}/x"
            ),
        );
        let lines = outcome.out.lines().chain(outcome.err.lines());
        let right = lines.clone().all(|line| {
            ["Read-only file system", "No such file", "Not a directory", "Operation not permitted", "File exists"]
                .iter()
                .any(|word| line.contains(word))
        });
        must(right, name, &outcome)?;
    }
    let outcome = inside(&[], "echo x > /proc/sys/kernel/hostname; echo 1 > /proc/sys/vm/drop_caches");
    must(outcome.err.matches("Read-only file system").count() == 2, "EROFS", &outcome)
}

fn hidden() -> Result<(), Failed> {
    for path in MASKED.iter().filter(|path| Path::new(path).exists()) {
        let outcome = inside(
            &[],
            &format!(
                "if test -d {path}; then ls -A {path}; else cat {path}; fi; (echo > {path}/x || echo > {path}) 2>/dev/null && echo written"
            ),
        );
        must(outcome.out.is_empty() && outcome.err.is_empty(), path, &outcome)?;
    }
    Ok(())
}

fn sys() -> Result<(), Failed> {
    let outcome = inside(&[], "echo 1 > /sys/kernel/mm/ksm/run; mkdir /sys/x; test -d /sys/class/net/lo && echo lo");
    must(outcome.out == "lo\n" && outcome.err.contains("Read-only file system"), "EROFS", &outcome)
}

fn cgroups() -> Result<(), Failed> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    for mount in mounts(&table).iter().filter(|mount| mount.fs.starts_with("cgroup")) {
        let outcome = inside(
            &[],
            &format!("test -e {0}/cgroup.procs && mkdir {0}/x; echo $$ > {0}/cgroup.procs", mount.target),
        );
        must(outcome.err.matches("Read-only file system").count() == 2, &mount.target, &outcome)?;
    }
    Ok(())
}

fn own_limits(more: &[&str]) -> Result<(), Failed> {
    let memory = limit_file("memory/memory.limit_in_bytes", "memory.max");
    let tasks = limit_file("pids/pids.max", "pids.max");
    let options = [&["-m", "64m", "--pids-limit", "20"], more].concat();
    let outcome = inside(&options, &format!("cat {memory} {tasks} /proc/self/cgroup; echo max > {tasks}"));
    must(outcome.out.starts_with("67108864\n20\n"), "inside", &outcome)?;
    must(!outcome.out.contains("nsctl"), "the cgroup namespace is rooted at the container's group", &outcome)?;
    must(outcome.err.contains("Read-only file system"), "and cannot be changed", &outcome)
}

fn limits() -> Result<(), Failed> {
    own_limits(&[])?;
    own_limits(&["--read-only"])
}

fn limits_without_init() -> Result<(), Failed> {
    own_limits(&["--no-init"])
}

fn sysctls() -> Result<(), Failed> {
    let options = [
        &["--net", "private", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmax=1048576"][..],
        &["--sysctl", "net/ipv4/conf/lo/forwarding=0", "--sysctl", "kernel.sem=100 2000 30 40"],
    ]
    .concat();
    let script = "cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/conf/lo/forwarding kernel/shmmax kernel/sem";
    let outcome = inside(&options, script);
    must(outcome.out == "1\n0\n1048576\n100\t2000\t30\t40\n", "in a root", &outcome)?;
    let before = fs::read_to_string("/proc/sys/kernel/shmmax")?;
    let outcome = shell(&["--sysctl", "kernel.shmmax=1048577"], "cat /proc/sys/kernel/shmmax");
    must(outcome.out == "1048577\n", "with the host's files", &outcome)?;
    must(before == fs::read_to_string("/proc/sys/kernel/shmmax")?, "the host's is as before", &outcome)
}

fn no_sysctls() -> Result<(), Failed> {
    for (options, wanted) in [
        (&["--sysctl", "net.ipv4.ip_forward=1"][..], "that is the host's network (--net private)"),
        (&["--sysctl", "kernel.shmmax=1", "--ipc", "host"], "that is the host's IPC namespace (leave --ipc out)"),
        (
            &["--sysctl", "kernel.hostname=x"],
            "that is not the container's alone (net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} are)",
        ),
        (&["--sysctl", "vm.swappiness=1"], "that is not the container's alone"),
        (&["--sysctl", "net.ipv4.ip_forward"], "there is no value (it is NAME=VALUE)"),
        (&["--sysctl", "net/../kernel/sem=1", "--net", "private"], "that is no name of a sysctl"),
        (
            &["--sysctl", "net.ipv4.no_such=1", "--net", "private"],
            "ENOENT (this kernel, or this network namespace, has no such setting)",
        ),
        (
            &["--sysctl", "kernel.shmmni=many"],
            "set /proc/sys/kernel/shmmni to many: invalid argument, EINVAL (the kernel does not take this value)",
        ),
    ] {
        let outcome = inside(options, "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), wanted, &outcome)?;
    }
    Ok(())
}
