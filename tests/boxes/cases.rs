//! What a container is: namespaces, /proc, names, limits, descriptors, errors.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{must, nsctl, outcome, own, shell, spawn, state, with_input};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("the_host_name_is_container_and_the_hosts_stays", hostname),
    ("the_command_is_pid_2_or_without_init_1", pids),
    ("proc_shows_only_the_container", proc_is_fresh),
    ("every_namespace_is_new_and_the_network_the_hosts", namespaces),
    ("namespaces_are_shared_or_joined_as_asked", joined),
    ("mounts_inside_do_not_reach_the_host", mounts_are_private),
    ("simple_is_the_original_demonstration", simple),
    ("environment_and_directory", environment),
    ("no_descriptor_leaks_but_those_preserved", descriptors),
    ("ps_lists_the_running_and_a_name_is_unique", ps),
    ("pidfile_has_the_pid", pidfile),
    ("limits_are_seen_inside_and_outside", limits),
    ("cgroups_are_mounted_where_nothing_is", unmounted_cgroups),
    ("parallel_starts_do_not_remove_each_others_groups", parallel_limits),
    ("a_hog_is_killed_with_a_sentence", hog),
    ("a_fork_bomb_meets_its_limit", fork_bomb),
    ("errors_are_sentences_with_their_codes", errors),
    ("closed_standard_streams_are_dev_null", closed_streams),
    ("explain_runs_nothing", explain),
    ("verbose_says_each_step", verbose),
];

fn hostname() -> Result<(), Failed> {
    let before = fs::read("/proc/sys/kernel/hostname")?;
    let outcome = shell(&[], "cat /proc/sys/kernel/hostname");
    must(outcome.out == "container\n", "the default", &outcome)?;
    let outcome =
        shell(&["-h", "box", "--domainname", "lan"], "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname");
    must(outcome.out == "box\nlan\n", "as asked", &outcome)?;
    assert_eq!(before, fs::read("/proc/sys/kernel/hostname")?);
    Ok(())
}

fn pids() -> Result<(), Failed> {
    let outcome = shell(&[], "echo $$");
    must(outcome.out == "2\n", "with the reaper", &outcome)?;
    let outcome = shell(&["--no-init"], "echo $$");
    must(outcome.out == "1\n", "without", &outcome)
}

fn proc_is_fresh() -> Result<(), Failed> {
    let outcome = shell(&[], "ls /proc | grep -c '^[0-9]'; grep ' /proc ' /proc/self/mountinfo | tail -n 1");
    let mut lines = outcome.out.lines();
    let count: u32 = lines.next().unwrap_or_default().parse().unwrap_or(99);
    must(count <= 4, "a handful of processes", &outcome)?;
    must(lines.next().is_some_and(|line| line.contains("nosuid,nodev,noexec")), "nosuid, nodev, noexec", &outcome)
}

fn links(names: &[&str]) -> String {
    names.iter().map(|name| format!("readlink /proc/self/ns/{name}; ")).collect()
}

fn own_link(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
}

fn namespaces() -> Result<(), Failed> {
    let names = ["uts", "pid", "mnt", "ipc", "cgroup", "net"];
    let outcome = shell(&[], &links(&names));
    let inside: Vec<&str> = outcome.out.lines().collect();
    must(inside.len() == names.len(), "six links", &outcome)?;
    for (name, link) in names.iter().zip(&inside) {
        must((*link == own_link(name)) == (*name == "net"), name, &outcome)?;
    }
    let outcome = shell(&["--net", "private"], "readlink /proc/self/ns/net");
    must(outcome.code == 0 && outcome.out.trim() != own_link("net"), "a private network", &outcome)
}

fn joined() -> Result<(), Failed> {
    for (option, name) in [("--uts", "uts"), ("--ipc", "ipc"), ("--cgroupns", "cgroup"), ("--pid", "pid")] {
        let outcome = shell(&[option, "host"], &links(&[name]));
        must(outcome.out.trim() == own_link(name), &format!("{option} host"), &outcome)?;
    }
    let first = spawn(&["run", "--pidfile", &path("first"), "--", "sleep", "600"]);
    wait_for(&path("first"));
    let pid = fs::read_to_string(path("first"))?.trim().to_string();
    fs::remove_file(path("first"))?;
    let names = ["uts", "ipc", "cgroup", "net", "pid"];
    let files: Vec<String> = names.iter().map(|name| format!("/proc/{pid}/ns/{name}")).collect();
    let theirs: String = files.iter().map(|file| format!("{}\n", fs::read_link(file).unwrap().display())).collect();
    let options = ["--uts", "--ipc", "--cgroupns", "--net", "--pid"];
    let options: Vec<&str> = options.iter().zip(&files).flat_map(|(option, file)| [*option, file]).collect();
    let outcome = shell(&options, &links(&names));
    drop(first);
    settle_state();
    must(outcome.out == theirs, &format!("the namespaces of {pid} are joined: {theirs}"), &outcome)?;
    let outcome = shell(&["--uts", "/proc/self/ns/net"], "true");
    must(outcome.code == 125 && outcome.err.contains("another kind"), "a namespace of another kind", &outcome)
}

/// After a kill: lets the reaper finish, and `ps` clear what it could not.
pub(crate) fn settle_state() {
    let left = || fs::read_dir(state()).unwrap().flatten().any(|entry| !crate::leaks::remembered(&entry));
    // What is left all the same is for the comparison after the test.
    let _ = crate::life::until("nothing is left", || nsctl(&["ps", "-q"]).out.is_empty() && !left());
}

fn mounts_are_private() -> Result<(), Failed> {
    let before = fs::read("/proc/self/mountinfo")?;
    let outcome = shell(&["--cap-add", "SYS_ADMIN"], "mount -t tmpfs x /tmp && test -z \"$(ls /tmp)\"");
    must(outcome.code == 0, "mounting inside works", &outcome)?;
    must(before == fs::read("/proc/self/mountinfo")?, "the host's mounts are as before", &outcome)
}

fn simple() -> Result<(), Failed> {
    let outcome = with_input(&["simple"], "hostname; echo $$; ls /proc | grep -c '^[0-9]'; exit 7\n");
    let lines: Vec<&str> = outcome.out.lines().collect();
    let right = lines.len() == 5
        && lines[0] == "[ns] creating PID, UTS, and mount namespaces"
        && lines[1].starts_with("[ns] started ")
        && lines[1].ends_with(" in isolated namespaces")
        && lines[2..4] == ["container", "1"]
        && lines[4].parse::<u32>().is_ok_and(|count| count <= 4);
    must(right && outcome.code == 7, "two lines, container, 1, a handful, 7", &outcome)
}

fn environment() -> Result<(), Failed> {
    let file = path("env");
    fs::write(&file, "# a comment\nFROM_FILE=1\n\nBOTH=file\n")?;
    let outcome =
        shell(&["--env-file", &file, "-e", "BOTH=flag", "-e", "PATH", "-w", "/proc"], "echo $FROM_FILE $BOTH; pwd");
    fs::remove_file(&file)?;
    must(outcome.out == "1 flag\n/proc\n", "variables and directory", &outcome)?;
    let outcome = shell(&["-w", "/nowhere"], "true");
    must(outcome.code == 125 && outcome.err.contains("/nowhere"), "a missing directory is named", &outcome)
}

fn descriptors() -> Result<(), Failed> {
    let binary = crate::nsctl::binary();
    let list = "for f in /proc/self/fd/*; do test -e $f && echo ${f##*/}; done";
    for (option, wanted) in [("", "0 1 2"), ("--preserve-fds 2", "0 1 2 3 4")] {
        let script =
            format!("exec 3</dev/null 4</dev/null 5</dev/null; exec {binary} run {option} -- sh -c '{list}'");
        let output = std::process::Command::new("sh").args(["-c", &script]).env("NSCTL_ROOT", state()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        if text != wanted {
            return Err(
                format!("{option}: {text} instead of {wanted}: {}", String::from_utf8_lossy(&output.stderr)).into()
            );
        }
    }
    let outcome = shell(&["--preserve-fds", "900"], "true");
    must(outcome.code == 125 && outcome.err.contains("is not open"), "a descriptor that is not there", &outcome)
}

fn ps() -> Result<(), Failed> {
    let child = spawn(&["run", "--name", "web", "--pidfile", &path("pid"), "--", "sh", "-c", "sleep 600; true"]);
    wait_for(&path("pid"));
    let table = nsctl(&["ps"]);
    let json = nsctl(&["ps", "--format", "json"]);
    let columns = nsctl(&["ps", "--format", "Name,pid,command"]);
    let wrong = nsctl(&["ps", "--format", "name,colour"]);
    let again = nsctl(&["run", "--name", "web", "--", "true"]);
    let pid = fs::read_to_string(path("pid"))?.trim().to_string();
    fs::remove_file(path("pid"))?;
    child.signal(libc::SIGTERM);
    let ended = outcome(child);
    must(ended.code == 128 + 15, "SIGTERM ends it", &ended)?;
    must(
        table.out.contains("web") && table.out.contains(&pid) && table.out.contains("sleep 600"),
        "the table",
        &table,
    )?;
    must(json.out.contains("\"name\":\"web\"") && json.out.contains(&format!("\"pid\":{pid}")), "the JSON", &json)?;
    must(columns.out == format!("web\t{pid}\tsh -c sleep 600; true\n"), "columns by name", &columns)?;
    must(wrong.code == 125 && wrong.err.contains("no column colour (it is table, json, or some of ID,"), "", &wrong)?;
    must(again.code == 125 && again.err.contains("has the name web already"), "the name is taken", &again)?;
    let after = nsctl(&["ps", "-q"]);
    must(after.out.is_empty(), "nothing is listed after the end", &after)
}

fn pidfile() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--pidfile", &path("p"), "--", "true"]);
    let text = fs::read_to_string(path("p"))?;
    fs::remove_file(path("p"))?;
    must(text.trim().parse::<u32>().is_ok_and(|pid| pid > 1), "a number", &outcome)
}

/// Where the controller's limit is read: (file inside, value).
pub(crate) fn limit_file(v1: &str, v2: &str) -> String {
    let candidates = [format!("/sys/fs/cgroup/{v1}"), format!("/sys/fs/cgroup/{v2}")];
    let at = usize::from(fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false));
    candidates[at].clone()
}

fn limits() -> Result<(), Failed> {
    let memory = limit_file("memory/memory.limit_in_bytes", "memory.max");
    let tasks = limit_file("pids/pids.max", "pids.max");
    let cpu = limit_file("cpu/cpu.cfs_quota_us", "cpu.max");
    let cpus = limit_file("cpuset/cpuset.cpus", "cpuset.cpus");
    let options = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "--cpuset-cpus", "0"];
    let script = format!("cat {memory} {tasks} {cpu} {cpus}; cat /proc/self/cgroup");
    let outcome = shell(&options, &script);
    must(outcome.out.starts_with("67108864\n20\n50000"), "inside", &outcome)?;
    must(!outcome.out.contains("nsctl"), "the cgroup namespace is rooted at the container's group", &outcome)?;
    let file = std::path::Path::new(&memory);
    let child = spawn(&["run", "-m", "32m", "--pidfile", &path("l"), "--", "sh", "-c", "sleep 600; true"]);
    wait_for(&path("l"));
    fs::remove_file(path("l"))?;
    // Others may have theirs beside it.
    let group = file.parent().unwrap().join("nsctl").join(nsctl(&["ps", "-q"]).out.trim());
    let outside = fs::read_to_string(group.join(file.file_name().unwrap()))?;
    child.signal(libc::SIGTERM);
    crate::nsctl::outcome(child);
    if outside.trim() == "33554432" { Ok(()) } else { Err(format!("outside it is {outside}").into()) }
}

/// In a mount namespace of its own: nsctl mounts the v2 hierarchy where it belongs, and limits with it. Where v1 has the
/// controllers, it says that they are not to be had.
fn unmounted_cgroups() -> Result<(), Failed> {
    let binary = crate::nsctl::binary();
    let script = format!(
        "while umount /sys/fs/cgroup/* 2>/dev/null || umount /sys/fs/cgroup 2>/dev/null; do :; done; \
         {binary} run --pids-limit 9 -m 64m --cpuset-cpus 0 -- cat /sys/fs/cgroup/pids.max"
    );
    let outcome = shell(&["--cgroupns", "host", "--cap-add", "ALL"], &script);
    if fs::exists("/sys/fs/cgroup/cgroup.controllers")? {
        must(outcome.out.trim() == "9", "mounted and limited", &outcome)
    } else {
        must(outcome.code == 125 && outcome.err.contains("the kernel needs CONFIG_"), "refused by name", &outcome)
    }
}

/// Each makes the group above all groups if need be, and removes it if it was the last.
fn parallel_limits() -> Result<(), Failed> {
    for _ in 0..10 {
        let started: Vec<_> =
            (0..8).map(|_| spawn(&["run", "--pids-limit", "9", "--cpus", "1", "--", "true"])).collect();
        for one in started {
            let outcome = outcome(one);
            must(outcome.code == 0, "one of eight at once", &outcome)?;
        }
    }
    Ok(())
}

fn hog() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "-m", "64m", "--", &own(), "probe", "hog", "300"]);
    must(outcome.code == 137, "killed", &outcome)?;
    must(outcome.err.contains("killed by the kernel: memory limit 64 MiB reached"), "a sentence says why", &outcome)
}

fn fork_bomb() -> Result<(), Failed> {
    let outcome = shell(&["--pids-limit", "8"], "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; echo unreached");
    let by_the_shell = outcome.code != 0 && outcome.code != 125;
    must(by_the_shell && !outcome.out.contains("unreached"), "fork fails", &outcome)?;
    let refused = outcome.err.contains("fork") || outcome.err.contains("Resource temporarily unavailable");
    must(refused, "and the shell says so", &outcome)
}

fn errors() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "no-such-command"]);
    must(outcome.code == 127 && outcome.err.contains("no such file in PATH"), "127", &outcome)?;
    let outcome = nsctl(&["run", "/no/such/file"]);
    must(outcome.code == 127 && outcome.err.contains("ENOENT"), "127 by path", &outcome)?;
    let outcome = nsctl(&["run", "/"]);
    must(outcome.code == 126 && outcome.err.contains("EACCES (it is a directory)"), "126", &outcome)?;
    let script = path("script");
    fs::write(&script, "")?;
    let outcome = nsctl(&["run", &script]);
    must(outcome.code == 126 && outcome.err.contains("it is not executable"), "no execute bit", &outcome)?;
    let outcome = nsctl(&["run", "--net", "/proc/4194304/ns/net", "true"]);
    must(outcome.code == 125 && outcome.err.contains("the process is gone"), "no such namespace", &outcome)?;
    let with = |text: &[u8]| {
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        nsctl(&["run", &script])
    };
    let outcome = with(b"#!/no/such/interpreter\n");
    must(
        outcome.code == 127 && outcome.err.contains("interpreter /no/such/interpreter is missing"),
        "the interpreter",
        &outcome,
    )?;
    let mut elf = fs::read(own())?;
    elf[18..20].copy_from_slice(&183u16.to_le_bytes());
    let outcome = with(&elf);
    let foreign = if cfg!(target_arch = "aarch64") { outcome.code == 0 } else { outcome.err.contains("AArch64") };
    must(outcome.code == 126 && foreign, "another architecture", &outcome)?;
    fs::remove_file(&script)?;
    let outcome = nsctl(&["--log-format", "json", "run", "no-such-command"]);
    must(outcome.err.starts_with("{\"level\":\"error\",\"msg\":\"execute no-such-command"), "JSON", &outcome)?;
    let outcome = nsctl(&["run", "--memroy", "1"]);
    must(outcome.code == 125 && outcome.err.contains("--memroy"), "usage", &outcome)
}

fn closed_streams() -> Result<(), Failed> {
    let binary = crate::nsctl::binary();
    let file = path("streams");
    // The loop runs nothing, so that the shell holds no pipe of its own while it looks.
    let list = format!(
        "readlink /proc/self/fd/0 > {file}; readlink /proc/self/fd/2 >> {file}; \
         for n in 3 4 5 6 7 8 9; do test ! -e /proc/$$/fd/$n || set -- $n \"$@\"; done; echo more: \"$@\" >> {file}"
    );
    let script = format!("exec {binary} run -- sh -c '{list}' <&- >&- 2>&-");
    let status = std::process::Command::new("sh").args(["-c", &script]).env("NSCTL_ROOT", state()).status()?;
    let text = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    if status.success() && text == "/dev/null\n/dev/null\nmore:\n" {
        Ok(())
    } else {
        Err(format!("{status} {text}").into())
    }
}

fn explain() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--explain", "-m", "64m", "--name", "x", "touch", "/nsctl-was-here"]);
    must(outcome.code == 0 && outcome.out.contains("execve("), "a plan", &outcome)?;
    must(!fs::exists("/nsctl-was-here")?, "nothing ran", &outcome)
}

fn verbose() -> Result<(), Failed> {
    // Until it is recorded.
    let script = format!("until test -e {}/*/state.json; do sleep 0.02; done", state().display());
    let plan = shell(&["--explain"], &script);
    let outcome = shell(&["--verbose"], &script);
    must(outcome.code == 0, "it runs", &outcome)?;
    // Its wait and what the reaper does after it closed its end are not announced.
    for line in
        plan.out.lines().filter(|line| !line.contains(" init     close(theirs)") && !line.contains("rt_sigtimedwait"))
    {
        let number = line.get(..13).unwrap_or(line);
        must(outcome.err.contains(number), &format!("step {number}"), &outcome)?;
    }
    Ok(())
}

fn path(name: &str) -> String {
    std::env::temp_dir().join(format!("nsctl-boxes-{}-{name}", std::process::id())).to_string_lossy().into_owned()
}

pub(crate) fn wait_for(path: &str) {
    crate::life::until(path, || fs::exists(path).unwrap_or(false)).unwrap();
}
