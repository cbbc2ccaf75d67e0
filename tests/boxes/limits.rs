//! cgroups: every limit in its file, what hogs get, devices, delegation, and what is refused.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::Case;
use crate::cases::limit_file;
use crate::host::{Scratch, plain};
use crate::life::Kept;
use crate::nsctl::{Outcome, must, nsctl, outcome, own, shell, spawn};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("each_limit_is_in_its_file", files),
    ("a_memory_hog_stays_within_its_limit", memory_hog),
    ("an_oom_kill_says_whose_limit_it_was", above),
    ("all_go_at_once_with_oom_group", oom_group),
    ("a_fork_bomb_stays_within_its_limit", fork_bomb),
    ("a_cpu_hog_stays_within_its_limit", cpu_hog),
    ("an_io_hog_stays_within_its_limit", io_hog),
    ("a_static_program_starts_in_512k", small),
    ("the_oom_score_is_the_commands", oom_score),
    ("a_group_elsewhere", parent),
    ("a_group_above_that_is_busy_for_a_moment", busy),
    ("a_lock_of_somebody_elses_holds_nobody_up", locked),
    ("no_group_at_all", none),
    ("a_delegated_group_is_the_users", delegated),
    ("what_a_delegate_makes_is_removed", delegated_remains),
    ("a_root_with_a_group_opens_only_its_devices", devices),
    ("devices_that_rules_allow", device_rules),
    ("contradictions_and_nonsense_are_refused", refused),
    ("what_this_kernel_cannot_limit_is_refused_by_name", cannot),
];

/// Any user can open the root of a hierarchy and keep it locked.
fn locked() -> Result<(), Failed> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let cgroups = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let mut held = Vec::new();
    for target in cgroups.filter_map(|line| line.split(' ').nth(4)) {
        let root = fs::File::open(target)?;
        // SAFETY: no memory is involved.
        unsafe { libc::flock(root.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
        held.push(root);
    }
    let mut running = spawn(&["run", "-m", "64m", "--pids-limit", "9", "true"]);
    running.end_within(crate::nsctl::patience())?;
    let outcome = outcome(running);
    must(outcome.code == 0, "it runs all the same", &outcome)?;
    // The group above could not be removed; the next one does that.
    drop(held);
    let next = shell(&["-m", "64m", "--pids-limit", "9"], "true");
    must(next.code == 0, "the next one", &next)
}

fn unified() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false)
}

/// The directory, as seen inside, in which the controller's files are.
fn dir(controller: &str) -> String {
    match (unified(), controller) {
        (true, _) => "/sys/fs/cgroup".into(),
        (false, "io") => "/sys/fs/cgroup/blkio".into(),
        // Not given to v1 here.
        (false, "hugetlb") if !Path::new("/sys/fs/cgroup/hugetlb").exists() => "/sys/fs/cgroup/unified".into(),
        (false, other) => format!("/sys/fs/cgroup/{other}"),
    }
}

/// Whether a group below the root would have this file.
fn has(controller: &str, file: &str) -> bool {
    let outcome = shell(
        &["--cgroup-delegate", "--pids-limit", "99", "-m", "64m", "--cpus", "1", "--cpuset-cpus", "0"],
        &format!("ls {}/{file}", dir(controller)),
    );
    if outcome.code == 0 {
        return true;
    }
    // v1: only those with a limit have a group of their own; any other is made and removed.
    let probe = PathBuf::from(dir(controller)).join(format!("nsctl-probe-{}", std::process::id()));
    let there = fs::create_dir(&probe).is_ok() && probe.join(file).exists();
    let _ = fs::remove_dir(&probe);
    there
}

/// Options, the controller, its file on v1 and what is in it, and the same for v2. An empty name: there is none.
type Row = (&'static [&'static str], &'static str, [&'static str; 2], [&'static str; 2]);

const FILES: &[Row] = &[
    (&["-m", "64m"], "memory", ["memory.limit_in_bytes", "67108864"], ["memory.max", "67108864"]),
    (&["-m", "64m"], "memory", ["memory.memsw.limit_in_bytes", "134217728"], ["memory.swap.max", "67108864"]),
    (
        &["-m", "64m", "--memory-swap", "64m"],
        "memory",
        ["memory.memsw.limit_in_bytes", "67108864"],
        ["memory.swap.max", "0"],
    ),
    (&["-m", "64m", "--memory-swap", "-1"], "memory", ["", ""], ["memory.swap.max", "max"]),
    (
        &["--memory-reservation", "32m"],
        "memory",
        ["memory.soft_limit_in_bytes", "33554432"],
        ["memory.low", "33554432"],
    ),
    (&["--memory-high", "32m"], "memory", ["", ""], ["memory.high", "33554432"]),
    (&["--oom-group"], "memory", ["", ""], ["memory.oom.group", "1"]),
    (&["--cpus", "0.5"], "cpu", ["cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"]),
    (
        &["--cpu-quota", "20000", "--cpu-period", "40000"],
        "cpu",
        ["cpu.cfs_period_us", "40000"],
        ["cpu.max", "20000 40000"],
    ),
    (&["--cpu-period", "40000"], "cpu", ["cpu.cfs_quota_us", "-1"], ["cpu.max", "max 40000"]),
    (&["--cpus", "1", "--cpu-burst", "1000"], "cpu", ["cpu.cfs_burst_us", "1000"], ["cpu.max.burst", "1000"]),
    (&["-c", "512"], "cpu", ["cpu.shares", "512"], ["cpu.weight", "59"]),
    (&["--cpu-weight", "200"], "cpu", ["cpu.shares", "2048"], ["cpu.weight", "200"]),
    (&["--cpuset-cpus", "0"], "cpuset", ["cpuset.cpus", "0"], ["cpuset.cpus", "0"]),
    (&["--cpuset-mems", "0"], "cpuset", ["cpuset.mems", "0"], ["cpuset.mems", "0"]),
    (&["--pids-limit", "20"], "pids", ["pids.max", "20"], ["pids.max", "20"]),
    (&["--blkio-weight", "300"], "io", ["blkio.bfq.weight", "300"], ["io.bfq.weight", "default 300"]),
    (&["--io-weight", "300"], "io", ["blkio.bfq.weight", "118"], ["io.weight", "default 300"]),
    (
        &["--hugetlb-limit", "2m:64m"],
        "hugetlb",
        ["hugetlb.2MB.limit_in_bytes", "67108864"],
        ["hugetlb.2MB.max", "67108864"],
    ),
];

fn files() -> Result<(), Failed> {
    let mut tried = 0;
    for (options, controller, v1, v2) in FILES {
        let on_v2 = dir(controller).ends_with("unified") || unified();
        let [file, wanted] = if on_v2 { v2 } else { v1 };
        if file.is_empty() {
            continue;
        }
        if !has(controller, file) {
            eprintln!("not tried: this kernel has no {file}");
            continue;
        }
        let path = format!("{}/{file}", dir(controller));
        let outcome = shell(options, &format!("cat {path}"));
        let text = outcome.out.trim().trim_end_matches('\n');
        let right = text == *wanted || wanted.strip_prefix("default ") == Some(text);
        must(outcome.code == 0 && right, &format!("{options:?}: {file} is {wanted}"), &outcome)?;
        tried += 1;
    }
    if tried >= 10 { Ok(()) } else { Err(format!("only {tried} of the limits could be tried").into()) }
}

fn memory_hog() -> Result<(), Failed> {
    let limit: u64 = 32 << 20;
    let peak = limit_file("memory/memory.max_usage_in_bytes", "memory.peak");
    let events = limit_file("memory/memory.oom_control", "memory.events");
    // The shell outlives the hog and looks.
    let script = format!("{} probe hog 200; echo $?; cat {events}; cat {peak} 2>/dev/null || echo 0", own());
    let accounts = has("memory", if unified() { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" });
    let swaps = fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    for (swap, words) in [
        ("32m", if accounts { " and swap 0" } else { "" }),
        ("64m", if swaps && accounts { " and swap 32 MiB" } else { "" }),
    ] {
        let outcome = shell(&["-m", "32m", "--memory-swap", swap], &script);
        let killed = outcome.out.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok());
        let peak: Option<u64> = outcome.out.lines().last().and_then(|line| line.parse().ok());
        must(outcome.out.starts_with("137\n") && killed == Some(1), "the hog is killed", &outcome)?;
        must(peak.is_some_and(|peak| peak <= limit), "the peak is not above the limit", &outcome)?;
        let line = format!("1 process(es) of the container killed by the kernel: memory limit 32 MiB{words} reached");
        must(outcome.err.contains(&line), "nsctl says so", &outcome)?;
    }
    Ok(())
}

/// A group of the test's own, above a container's; removed with what is in it.
pub(crate) struct Above(Vec<PathBuf>);

impl Above {
    /// In each hierarchy of these controllers. Its name is for `--cgroup-parent`.
    pub(crate) fn new(controllers: &[&str]) -> (Self, String) {
        let name = format!("nsctl-test-{}", std::process::id());
        if unified() {
            let all: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
            fs::write("/sys/fs/cgroup/cgroup.subtree_control", all.join(" ")).unwrap();
        }
        let mut made: Vec<PathBuf> = controllers.iter().map(|one| PathBuf::from(dir(one)).join(&name)).collect();
        made.dedup();
        made.iter().for_each(|path| fs::create_dir(path).unwrap());
        (Self(made), name)
    }

    /// No group is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let groups =
            |path: &PathBuf| fs::read_dir(path).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
        self.0.iter().all(|path| groups(path) == 0)
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0[0].join(file), value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

impl Drop for Above {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| _ = fs::remove_dir(path));
    }
}

fn above() -> Result<(), Failed> {
    let (above, name) = Above::new(&["memory"]);
    above.set(if unified() { "memory.max" } else { "memory.limit_in_bytes" }, "33554432");
    let _ = fs::write(above.0[0].join("memory.swap.max"), "0");
    let outcome = nsctl(&["run", "--cgroup-parent", &name, "-m", "64m", "--", &own(), "probe", "hog", "200"]);
    must(outcome.code == 137, "killed", &outcome)?;
    let said = outcome.err.contains(
        "killed by the kernel: a cgroup above, or the machine, had no memory left; the limit 64 MiB was not reached",
    );
    must(said, "nsctl says so", &outcome)
}

fn oom_group() -> Result<(), Failed> {
    if !unified() {
        let outcome = nsctl(&["run", "-m", "32m", "--oom-group", "true"]);
        return must(outcome.code == 125 && outcome.err.contains("cgroup_no_v1=memory"), "not on v1", &outcome);
    }
    let script = format!("sleep 60 & {} probe hog 200; echo the shell lives", own());
    let outcome = shell(&["-m", "32m", "--memory-swap", "32m", "--oom-group"], &script);
    must(outcome.code == 137 && outcome.out.is_empty(), "all are killed", &outcome)?;
    // Without swap there is nothing more to be had of it, either, if the kernel counts it.
    let said = ["memory limit 32 MiB reached", "memory limit 32 MiB and swap 0 reached"];
    let says = |limit: &&str| outcome.err.contains(&format!("killed by the kernel: {limit}"));
    must(said.iter().any(says), "nsctl says so", &outcome)
}

fn fork_bomb() -> Result<(), Failed> {
    let current = limit_file("pids/pids.current", "pids.current");
    let outcome = nsctl(&["run", "--pids-limit", "20", "--", &own(), "probe", "bomb", "100", &current]);
    // The probe itself is one, and no other process is in there.
    must(outcome.out.trim() == "19 20", "20 tasks and no more", &outcome)
}

fn cpu_hog() -> Result<(), Failed> {
    let stat = limit_file("cpu/cpu.stat", "cpu.stat");
    // Many periods: a machine that stands still for one is not to count for much.
    let script = format!("{} probe spin 3000; cat {stat}", own());
    let outcome = shell(&["--cpus", "0.3"], &script);
    let first = outcome.out.lines().next().unwrap_or_default().split_once(' ');
    let (used, passed): (u64, u64) =
        first.and_then(|(used, passed)| Some((used.parse().ok()?, passed.parse().ok()?))).ok_or("no numbers")?;
    // Two processors would get twice the time that passed. The kernel takes the right away at a tick, of which each processor may use
    // one more in a period: much, where both are emulated.
    must(used <= passed / 2, "0.3 of the time that passed", &outcome)?;
    must(used >= 100, "but not nothing", &outcome)?;
    let throttled = outcome.out.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok());
    must(throttled.is_some_and(|count| count >= 5), "throttled", &outcome)
}

/// A disk to read from: a loop device on a file of the test's.
struct Disk {
    path: String,
    _file: Scratch,
    device: fs::File,
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_SET_FD: libc::c_ulong = 0x4c00;
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;

impl Disk {
    fn new(mebibytes: u64) -> Option<Self> {
        let scratch = Scratch::new("disk");
        let backing = fs::File::create_new(scratch.at("disk")).ok()?;
        backing.set_len(mebibytes << 20).ok()?;
        let backing = fs::OpenOptions::new().read(true).write(true).open(scratch.at("disk")).ok()?;
        let control = fs::File::open("/dev/loop-control").ok()?;
        // SAFETY: ioctls that take a number or nothing.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let path = format!("/dev/loop{number}");
        let device = fs::OpenOptions::new().read(true).write(true).open(&path).ok()?;
        // SAFETY: likewise.
        let set = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, backing.as_raw_fd()) };
        (set == 0).then_some(Self { path, _file: scratch, device })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD as _, 0) };
    }
}

fn io_hog() -> Result<(), Failed> {
    let Some(disk) = Disk::new(8) else {
        eprintln!("not tried: there is no loop device");
        return Ok(());
    };
    let (number, path) = (fs::metadata(&disk.path)?.rdev(), &disk.path);
    let number = format!("{}:{}", libc::major(number), libc::minor(number));
    let file = limit_file("blkio/blkio.throttle.read_bps_device", "io.max");
    let script = format!("{} probe read {path} 2048; cat {file}", own());
    let outcome = shell(&["--device-read-bps", &format!("{path}:1m")], &script);
    if outcome.code == 125 {
        must(outcome.err.contains("CONFIG_BLK_DEV_THROTTLING"), "refused by name", &outcome)?;
        eprintln!("not tried: this kernel does not throttle");
        return Ok(());
    }
    let milliseconds: u64 = outcome.out.lines().next().and_then(|line| line.parse().ok()).ok_or("no number")?;
    must(milliseconds >= 1500, "2 MiB at 1 MiB a second take nearly two", &outcome)?;
    must(outcome.out.contains(&number) && outcome.out.contains("1048576"), "the file says so", &outcome)?;
    // By operations: 16 of 64 KiB.
    let outcome = shell(&["--device-read-iops", &format!("{path}:10")], &format!("{} probe read {path} 1024", own()));
    let milliseconds: u64 = outcome.out.trim().parse().map_err(|_| "no number")?;
    must(milliseconds >= 1000, "16 operations at 10 a second", &outcome)?;
    for (option, v1, v2) in [
        ("--device-write-bps", "blkio/blkio.throttle.write_bps_device", "wbps=1048576"),
        ("--device-write-iops", "blkio/blkio.throttle.write_iops_device", "wiops=1048576"),
    ] {
        let outcome = shell(&[option, &format!("{path}:1048576")], &format!("cat {}", limit_file(v1, "io.max")));
        let wanted = if unified() { v2 } else { "1048576" };
        must(outcome.out.contains(&number) && outcome.out.contains(wanted), option, &outcome)?;
    }
    Ok(())
}

fn small() -> Result<(), Failed> {
    for size in ["1m", "512k"] {
        let outcome = nsctl(&["run", "-m", size, "--rootfs", plain().path(), "--", "/bin/busybox", "echo", "ran"]);
        must(outcome.code == 0 && outcome.out == "ran\n", size, &outcome)?;
    }
    Ok(())
}

fn oom_score() -> Result<(), Failed> {
    for options in [&[][..], &["--rootfs", plain().path()], &["--no-init"]] {
        let options = [&["--oom-score-adj", "300"], options].concat();
        let script = "cat /proc/self/oom_score_adj; test $$ = 1 || cat /proc/1/oom_score_adj";
        let outcome = shell(&options, script);
        let before = fs::read_to_string("/proc/self/oom_score_adj")?;
        let wanted = if options.contains(&"--no-init") { "300\n".into() } else { format!("300\n{before}") };
        must(outcome.out == wanted, &format!("{options:?}: the command's, not that of nsctl"), &outcome)?;
    }
    Ok(())
}

fn parent() -> Result<(), Failed> {
    let name = format!("nsctl-test-{}", std::process::id());
    let options = ["--cgroup-parent", &format!("/{name}/inner"), "--pids-limit", "9", "--cpuset-cpus", "0"];
    let top = PathBuf::from(dir("pids")).join(&name).join("inner");
    let mut running = spawn(&[&["run"], &options[..], &["--", "sh", "-c", "echo ready; exec sleep 600"]].concat());
    let mut line = [0u8; 6];
    std::io::Read::read_exact(&mut running.stdout(), &mut line)?;
    let groups: Vec<_> = fs::read_dir(&top)?.flatten().filter(|entry| entry.path().is_dir()).collect();
    let limit = groups.first().and_then(|group| fs::read_to_string(group.path().join("pids.max")).ok());
    running.signal(libc::SIGTERM);
    let outcome = outcome(running);
    let empty = fs::read_dir(&top)?.flatten().all(|entry| !entry.path().is_dir());
    for controller in ["pids", "cpuset"] {
        for path in
            [PathBuf::from(dir(controller)).join(&name).join("inner"), PathBuf::from(dir(controller)).join(&name)]
        {
            let _ = fs::remove_dir(path);
        }
    }
    must(groups.len() == 1 && limit.as_deref() == Some("9\n"), "the group is there", &outcome)?;
    must(empty && outcome.code == 143, "and removed; the directories above stay", &outcome)
}

/// v2 lets no group hand controllers on that has processes: those that are about to go are waited for.
fn busy() -> Result<(), Failed> {
    if !unified() {
        return Ok(());
    }
    for (seconds, wanted) in [("0.05", 0), ("600", 125)] {
        let (above, name) = Above::new(&["memory"]);
        let script = format!("echo 0 > {}/cgroup.procs; echo there; exec sleep {seconds}", above.0[0].display());
        let mut inside =
            std::process::Command::new("sh").args(["-c", &script]).stdout(std::process::Stdio::piped()).spawn()?;
        std::io::Read::read_exact(&mut inside.stdout.take().ok_or("a pipe")?, &mut [0u8; 6])?;
        let run = || nsctl(&["run", "--cgroup-parent", &name, "-m", "64m", "true"]);
        let outcome = if wanted == 0 {
            // A zombie keeps its group busy.
            let waited = std::thread::spawn(move || inside.wait());
            let outcome = run();
            waited.join().map_err(|_| "the thread")??;
            outcome
        } else {
            let outcome = run();
            inside.kill()?;
            inside.wait()?;
            outcome
        };
        must(outcome.code == wanted, &format!("a process that goes after {seconds} s"), &outcome)?;
        let said = outcome.err.contains("EBUSY (the group has processes of its own: choose another --cgroup-parent)");
        must(said == (wanted != 0), "and the reason", &outcome)?;
    }
    Ok(())
}

fn none() -> Result<(), Failed> {
    let outcome = shell(&["--cgroup", "none", "--cgroupns", "host"], "cat /proc/self/cgroup");
    must(outcome.out == fs::read_to_string("/proc/self/cgroup")?, "that of the caller", &outcome)
}

/// The v2 hierarchy as seen inside; None on pure v1.
fn v2() -> Option<&'static str> {
    match unified() {
        true => Some("/sys/fs/cgroup"),
        false => Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists().then_some("/sys/fs/cgroup/unified"),
    }
}

fn delegated() -> Result<(), Failed> {
    let Some(top) = v2() else { return Ok(()) };
    let script = format!(
        "cat /proc/self/cgroup | grep ^0:; cd {top}; mkdir web && echo 0 > web/cgroup.procs && grep ^0: /proc/self/cgroup; \
         stat -c '%u:%g %n' . cgroup.procs cgroup.subtree_control cgroup.threads cgroup.max.depth payload/cgroup.procs; \
         echo 5 > cgroup.max.depth; rmdir payload && echo gone"
    );
    for options in [&[][..], &["--rootfs", plain().path()]] {
        let outcome = shell(&[&["--cgroup-delegate", "-u", "1000:1000"], options].concat(), &script);
        let owners = "1000:1000 .\n1000:1000 cgroup.procs\n1000:1000 cgroup.subtree_control\n1000:1000 cgroup.threads\n\
                      0:0 cgroup.max.depth\n1000:1000 payload/cgroup.procs\n";
        let wanted = format!("0::/payload\n0::/web\n{owners}gone\n");
        must(outcome.out == wanted && outcome.err.contains("ermission denied"), &wanted, &outcome)?;
    }
    if unified() {
        let script =
            "cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control && ls payload/memory.max; cat pids.max";
        let outcome = shell(&["--cgroup-delegate", "--pids-limit", "30"], script);
        must(outcome.out == "payload/memory.max\n30\n", "all controllers can be handed on", &outcome)?;
    }
    let without = shell(&[], &format!("mkdir {top}/x"));
    let _ = fs::remove_dir(Path::new(top).join("x"));
    if !unified() {
        let outcome = shell(&["--cgroup-delegate", "--rootfs", plain().path()], "mkdir /sys/fs/cgroup/cpu/x");
        must(outcome.err.contains("Read-only file system"), "a hierarchy in which it has no group", &outcome)?;
    }
    let root = shell(&["--rootfs", plain().path()], &format!("mkdir {top}/x"));
    must(root.err.contains("Read-only file system"), "only with the option", &root)?;
    must(without.code == 0, "without a root it is the host's", &without)
}

fn delegated_remains() -> Result<(), Failed> {
    let Some(top) = v2() else { return Ok(()) };
    let script = format!(
        "cd {top}; mkdir -p a/b/c a/d e; echo 0 > a/b/c/cgroup.procs; sleep 60 & cat {top}/a/b/c/cgroup.procs"
    );
    let outcome = shell(&["--cgroup-delegate", "--pids-limit", "30"], &script);
    // That nothing stays is for the comparison after the test.
    must(outcome.code == 0 && outcome.out.lines().count() >= 2, "processes in groups in groups", &outcome)
}

/// Opened inside of a root, with nodes that are made there: the probe's answer.
fn opened(options: &[&str]) -> Outcome {
    let root = Root::new("devices");
    let script = "cd /dev; for n in 'kmsg c 1 11' 'mem c 1 1' 'other b 99 9'; do mknod $n || echo no node; done; \
                  exec probe probe open /dev/null /dev/kmsg /dev/mem /dev/tty /dev/urandom";
    let head = ["--cap-add", "ALL", "--rootfs", root.path()];
    let words = ["sh", "-c", script];
    let run = nsctl(&[&["run"], &head[..], options, &words].concat());
    // By exec it is the same. What is detached has an init.
    let options: Vec<&str> = options.iter().copied().filter(|option| *option != "--no-init").collect();
    let kept = Kept::made("run", &[&["-d"], &head[..], &options, &["sleep", "600"]].concat());
    let exec = kept.map(|kept| nsctl(&[&["exec", kept.id()], &words[..]].concat()));
    match exec {
        Ok(exec) if exec.out != run.out => exec,
        Ok(_) => run,
        Err(failed) => panic!("{failed:?}"),
    }
}

fn devices() -> Result<(), Failed> {
    let wanted =
        |kmsg: &str| format!("/dev/null opened\n/dev/kmsg {kmsg}\n/dev/mem 1\n/dev/tty 6\n/dev/urandom opened\n");
    let outcome = opened(&["--pids-limit", "30"]);
    must(outcome.out == wanted("1"), "EPERM for all but the usual", &outcome)?;
    let outcome = opened(&["--pids-limit", "30", "--no-init"]);
    must(outcome.out == wanted("1"), "without init, too", &outcome)?;
    let outcome = opened(&["--pids-limit", "30", "--device-cgroup-rule", "c 1:11 rwm"]);
    must(outcome.out == wanted("opened"), "and those of a rule", &outcome)?;
    let outcome = opened(&["--device-cgroup-rule", "c 1:11 r"]);
    must(outcome.out == wanted("opened"), "without any other limit", &outcome)?;
    let outcome = opened(&["--device-cgroup-rule", "c 1:11 w"]);
    must(outcome.out == wanted("1"), "but not for writing alone", &outcome)?;
    let outcome = opened(&["--device-cgroup-rule", "a *:* rwm"]);
    let free = outcome.out.contains("/dev/kmsg opened");
    must(free, "or all", &outcome)?;
    let outcome = opened(&["--pids-limit", "30", "--device", "/dev/kmsg:/dev/messages"]);
    must(outcome.out == wanted("opened"), "and those of --device", &outcome)
}

/// Without a root of its own.
fn device_rules() -> Result<(), Failed> {
    let probe = |options: &[&str]| {
        let own = own();
        nsctl(
            &[&["run", "--cap-add", "ALL"], options, &["--", &own, "probe", "open", "/dev/null", "/dev/kmsg"]]
                .concat(),
        )
    };
    let outcome = probe(&["--pids-limit", "9"]);
    must(outcome.out == "/dev/null opened\n/dev/kmsg opened\n", "all, if nobody asked", &outcome)?;
    let outcome = probe(&["--device-cgroup-rule", "c 10:229 rwm"]);
    must(outcome.out == "/dev/null opened\n/dev/kmsg 1\n", "only the usual", &outcome)
}

fn refused() -> Result<(), Failed> {
    for (options, wanted) in [
        (&["-m", "64m", "--memory-swap", "32m"][..], "--memory-swap is less than --memory"),
        (&["--memory-swap", "32m"], "--memory-swap without --memory"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "--cpus says both"),
        (&["--cpu-burst", "5000"], "--cpu-burst without"),
        (&["-c", "1"], "--cpu-shares 1 is not a number from 2 to 262144"),
        (&["--device-read-bps", "/dev/null:1m"], "--device-read-bps /dev/null is no block device"),
        (&["--device-read-bps", "/no/such:1m"], "open --device-read-bps /no/such: no such file or directory"),
        (&["--cgroup", "none", "-m", "1m"], "--cgroup none and limits contradict each other"),
        (&["--cgroup", "none", "--cgroup-delegate"], "--cgroup none and --cgroup-delegate contradict each other"),
        (&["--cgroup", "host"], "--cgroup host is unknown"),
        (&["--cgroup-parent", "../x"], "--cgroup-parent ../x is no path of a cgroup"),
        (&["--device-cgroup-rule", "c 1:3"], "--device-cgroup-rule c 1:3 is no rule"),
        (&["--oom-score-adj", "1001"], "--oom-score-adj 1001 is not a number from -1000 to 1000"),
        (&["--cpuset-cpus", "4000"], "set cpuset.cpus to 4000 in the cgroup"),
        (&["--kernel-memory", "1m"], "--kernel-memory is not supported (kernels have dropped it"),
    ] {
        let outcome = shell(options, "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), wanted, &outcome)?;
    }
    Ok(())
}

fn cannot() -> Result<(), Failed> {
    // No machine has pages of 4 MiB.
    let outcome = nsctl(&["run", "--hugetlb-limit", "4m:4m", "true"]);
    must(outcome.code == 125 && outcome.err.contains("CONFIG_CGROUP_HUGETLB"), "huge pages", &outcome)?;
    if !unified() {
        let outcome = nsctl(&["run", "--memory-high", "4m", "true"]);
        must(outcome.err.contains("cgroup v1 has no such limit"), "v1", &outcome)?;
    }
    Ok(())
}
