//! What a command may do: the same for all that are started in a container, and what docker gives where docker gives something.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, plain};
use crate::life::{Kept, refused, says};
use crate::nsctl::{must, nsctl, own, shell};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("the_defaults_are_dockers", defaults),
    ("run_start_and_exec_are_alike", alike),
    ("capabilities_that_are_added_and_dropped", added_and_dropped),
    ("what_is_given_by_name_another_user_has", ambient),
    ("what_the_caller_does_not_have_is_refused", not_to_give),
    ("devices_are_made_only_where_none_can_be_opened", devices),
    ("explain_lists_what_privileged_gives_away", given_away),
    ("systempaths_unconfined", system_paths),
    ("ulimits_priorities_and_masks", inherited),
    ("the_callers_keys_stay_outside", keys),
    ("inspect_shows_what_the_kernel_says", inspected),
];

/// A mask sets no_new_privs before nsctl runs.
pub(crate) const UNMASKED: &[(&str, Case)] = &[
    ("set_uid_programs", set_uid),
    ("who_cannot_drop", without_setpcap),
    ("privileged_holds_nothing_back", privileged),
];

/// What the probe prints, by name.
type Facts = BTreeMap<String, String>;

fn facts(text: &str) -> Facts {
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_string(), value.to_string()));
    text.lines().filter_map(pair).collect()
}

/// `boxes probe privileges`: what this process may do, as the kernel says it.
pub(crate) fn probe() -> ! {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Umask", "Groups"];
    for line in status.lines() {
        let (name, value) = line.split_once(':').unwrap();
        if names.contains(&name) {
            println!("{name}: {}", value.trim());
        }
    }
    for map in ["uid_map", "gid_map"] {
        let text = fs::read_to_string(format!("/proc/self/{map}")).unwrap();
        println!("{map}: {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let mut open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    open.sort_unstable();
    // The last one is that of the directory.
    open.pop();
    println!("open: {open:?}");
    println!("oom_score_adj: {}", fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim());
    // SAFETY: calls that only ask.
    unsafe {
        println!("dumpable: {}", libc::prctl(libc::PR_GET_DUMPABLE));
        println!("securebits: {}", libc::prctl(libc::PR_GET_SECUREBITS));
        println!("priority: {}", 20 - libc::syscall(libc::SYS_getpriority, 0, 0));
        // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, -3; without making one.
        println!("keyring: {}", libc::syscall(libc::SYS_keyctl, 0, -3, 0));
    }
    for line in fs::read_to_string("/proc/self/limits").unwrap().lines().skip(1) {
        println!("limit of {}: {}", line[..26].trim(), line[26..].split_whitespace().collect::<Vec<_>>().join(" "));
    }
    std::process::exit(0)
}

/// Inside of a root, with the probe mounted into it.
fn inside(options: &[&str]) -> Facts {
    let volume = format!("{}:/bin/probe:ro", own());
    let args = [&["run", "--rootfs", plain().path(), "-v", &volume], options, &["/bin/probe", "probe", "privileges"]];
    facts(&nsctl(&args.concat()).out)
}

const NONE: &str = "0000000000000000";

/// What a process of a container of docker's 28 has (its documentation, "Runtime privilege and Linux capabilities"; the specification
/// that it hands to runc). Where nsctl has something else on purpose, docker's and the reason are said.
const DOCKERS: &[(&str, &str)] = &[
    ("CapInh", NONE),
    ("CapPrm", "00000000a80425fb"),
    ("CapEff", "00000000a80425fb"),
    ("CapBnd", "00000000a80425fb"),
    ("CapAmb", NONE),
    // docker: 0; of what a set-uid program could get, a container's root has all, and another user shall not get it.
    ("NoNewPrivs", "1"),
    ("Umask", "0022"),
    // docker: those of /etc/group, where root is often in nine; nobody asked for them here.
    ("Groups", "0"),
    ("uid_map", "0 0 4294967295"),
    ("gid_map", "0 0 4294967295"),
    ("open", "[0, 1, 2]"),
    ("dumpable", "1"),
    ("securebits", "0"),
    ("oom_score_adj", "0"),
    ("priority", "0"),
];

/// With a group, as docker's have one.
fn defaults() -> Result<(), Failed> {
    let found = inside(&["--pids-limit", "99"]);
    let ours = fs::read_to_string("/proc/self/oom_score_adj")?;
    for (name, wanted) in DOCKERS {
        // It is the caller's, and a test's may be another one.
        let wanted = if *name == "oom_score_adj" { ours.trim() } else { wanted };
        let is = found.get(*name).map_or("", String::as_str);
        if is != wanted {
            return Err(format!("{name} is {is}, not {wanted}").into());
        }
    }
    Ok(())
}

/// By run, run --detach, start, exec and the health check; of root and of another user, with and without a root of its own.
fn alike() -> Result<(), Failed> {
    let volume = format!("{}:/bin/probe:ro", own());
    let scratch = Scratch::new("alike");
    let output = format!("{}:/w", scratch.dir("w"));
    fs::set_permissions(scratch.at("w"), fs::Permissions::from_mode(0o777))?;
    let rooted = ["--rootfs", plain().path(), "-v", &volume, "-v", &output, "--pids-limit", "99"];
    for (turn, options) in [
        &[][..],
        &["-u", "1000:2000", "--group-add", "44"],
        &["--cap-add", "NET_ADMIN", "-u", "1000"],
        &["--cap-drop", "ALL", "--ulimit", "nofile=99:100", "--nice", "7", "--umask", "077", "--oom-score-adj", "9"],
        &["--privileged"],
        &["--security-opt", "no-new-privileges=false"],
        &["--userns", "0:300000:65536"],
        &["--userns", "0:300000:65536", "--cap-add", "NET_ADMIN", "-u", "1000"],
        &["--userns", "0:300000:65536", "--privileged"],
    ]
    .into_iter()
    .enumerate()
    {
        if options.contains(&"--userns") && !crate::userns::rootable() {
            continue;
        }
        let options = [&rooted, options].concat();
        let run = nsctl(&[&["run"], &options[..], &["/bin/probe", "probe", "privileges"]].concat());
        let wanted = without_key(&facts(&run.out));
        must(wanted.len() > 25, "the probe speaks", &run)?;
        let words = ["/bin/probe", "probe", "privileges"];
        // Whole when it has its name, and never taken for that of the turn before: it is written again and again.
        let health = format!("/bin/probe probe privileges > /w/part{turn} && mv /w/part{turn} /w/health{turn}");
        let more = ["--name", "alike", "--health-cmd", &health, "--health-interval", "100ms"];
        let script = "/bin/probe probe privileges; sleep 600";
        let kept = Kept::made("run", &[&["-d"], &options[..], &more, &["sh", "-c", script]].concat())?;
        let exec = nsctl(&[&["exec", "alike"], &words[..]].concat());
        let first = kept.said("limit of Max realtime timeout")?;
        let said = scratch.at(&format!("w/health{turn}"));
        crate::life::until("its health was asked for", || said.exists())?;
        let asked = fs::read_to_string(said)?;
        must(nsctl(&["restart", "-t", "0", "alike"]).code == 0, "restart", &first)?;
        let again = || nsctl(&["logs", "alike"]).out.matches("realtime timeout").count() >= 2;
        crate::life::until("started again", again)?;
        let log = nsctl(&["logs", "alike"]).out;
        let second = &log[log.rfind("Umask: ").unwrap_or(0)..];
        for (how, text) in [("exec", &*exec.out), ("run -d", &first.out), ("health", &asked), ("start", second)] {
            let found = without_key(&facts(text));
            if found != wanted {
                let differs = wanted.iter().filter(|(name, value)| found.get(*name) != Some(value));
                return Err(format!("{options:?}, {how}: {:?}, and {found:?}", differs.collect::<Vec<_>>()).into());
            }
        }
    }
    Ok(())
}

/// A keyring of its own has a number of its own. The log's may be cut at the end of a limit.
fn without_key(facts: &Facts) -> Facts {
    facts.iter().filter(|(name, _)| *name != "keyring").map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn added_and_dropped() -> Result<(), Failed> {
    for (options, wanted) in [
        (&["--cap-add", "NET_ADMIN"][..], "00000000a00435fb"),
        (&["--cap-add", "NET_ADMIN", "--pids-limit", "99"], "00000000a80435fb"),
        (&["--cap-add", "NET_ADMIN,MKNOD"], "00000000a80435fb"),
        (&["--cap-add", "cap_net_admin", "--cap-drop", "CAP_CHOWN"], "00000000a00435fa"),
        (&["--cap-drop", "ALL"], NONE),
        (&["--cap-drop", "all", "--cap-add", "CHOWN,KILL"], "0000000000000021"),
        (&["--cap-drop", "CHOWN", "--cap-add", "CHOWN"], "00000000a00425fb"),
    ] {
        let found = inside(options);
        for name in ["CapPrm", "CapEff", "CapBnd"] {
            if found.get(name).is_none_or(|is| is != wanted) {
                return Err(format!("{options:?}: {name} is {:?}, not {wanted}", found.get(name)).into());
            }
        }
        if found["CapInh"] != NONE || found["CapAmb"] != NONE {
            return Err(format!("{options:?}: {found:?}").into());
        }
    }
    let all = inside(&["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"]);
    let bits = |name: &str| u64::from_str_radix(&all[name], 16).unwrap();
    if bits("CapEff") >> 21 & 1 == 1 || bits("CapEff") & 0xa804_25fb != 0xa804_25fb || bits("CapEff") >> 12 & 1 == 0 {
        return Err(format!("all but one: {all:?}").into());
    }
    refused(&["run", "--cap-add", "NET_ADMINS", "true"], 125, "--cap-add NET_ADMINS is no capability")
}

/// And exec as another user, too; in a root without set-uid programs it cannot get others.
fn ambient() -> Result<(), Failed> {
    let found = inside(&["--cap-add", "NET_ADMIN", "-u", "1000"]);
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        if found[name] != "0000000000001000" {
            return Err(format!("{name} is {}", found[name]).into());
        }
    }
    let none = inside(&["--cap-drop", "CHOWN", "-u", "1000"]);
    let left = ["CapInh", "CapPrm", "CapEff", "CapAmb"].iter().any(|name| none[*name] != NONE);
    if left { Err(format!("{none:?}").into()) } else { Ok(()) }
}

fn not_to_give() -> Result<(), Failed> {
    let binary = crate::nsctl::binary();
    let nested = format!("{binary} run --cap-add NET_ADMIN true");
    let options = ["--cap-add", "SYS_ADMIN"];
    let outcome = shell(&options, &nested);
    must(
        outcome.code == 125 && outcome.err.contains("--cap-add CAP_NET_ADMIN: the caller does not have it itself"),
        "named",
        &outcome,
    )
}

/// The probe with the set-uid bit, run as another user: root's rights only where that was asked for, and within the bound.
fn set_uid() -> Result<(), Failed> {
    let root = Root::plain("set-uid");
    fs::copy(own(), root.at("bin/suid"))?;
    fs::set_permissions(root.at("bin/suid"), fs::Permissions::from_mode(0o4755))?;
    let run = |options: &[&str]| {
        let head = ["run", "--rootfs", root.path(), "-u", "1000"];
        facts(&nsctl(&[&head, options, &["/bin/suid", "probe", "privileges"]].concat()).out)["CapEff"].clone()
    };
    let off = ["--security-opt", "no-new-privileges=false"];
    for (options, wanted) in
        [(&[][..], NONE), (&off, "00000000a00425fb"), (&[off[0], off[1], "--cap-drop", "CHOWN"], "00000000a00425fa")]
    {
        let found = run(options);
        if found != wanted {
            return Err(format!("{options:?}: {found}, not {wanted}").into());
        }
    }
    Ok(())
}

/// Who cannot make the bound smaller starts nothing that would get back by an execve what it has given up.
fn without_setpcap() -> Result<(), Failed> {
    let run = |options: &[&str]| {
        let mut nsctl = crate::nsctl::command(&[&["run"], options, &[&own(), "probe", "privileges"]].concat());
        let drop = || {
            // SAFETY: prctl(2) with numbers; between fork and execve nothing else is done.
            match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 8) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: as above.
        unsafe { std::os::unix::process::CommandExt::pre_exec(&mut nsctl, drop) };
        crate::nsctl::outcome(crate::nsctl::Running::start(&mut nsctl))
    };
    let open = ["--security-opt", "no-new-privileges=false"];
    let outcome = run(&[&["--cap-drop", "NET_RAW"], &open[..]].concat());
    must(
        outcome.code == 125 && outcome.err.contains("drop capabilities: operation not permitted"),
        "said",
        &outcome,
    )?;
    must(outcome.err.contains("takes CAP_SETPCAP"), "and why", &outcome)?;
    let outcome = run(&["--cap-drop", "NET_RAW"]);
    let left = u64::from_str_radix(&facts(&outcome.out)["CapEff"], 16)?;
    must(left & (1 << 13 | 1 << 21) == 0, "and by default it does not matter", &outcome)
}

/// CAP_MKNOD and a disk's number are the disk. With a group the number does not help; without one there is no CAP_MKNOD.
fn devices() -> Result<(), Failed> {
    let script = "mknod /dev/disk b 7 0 || exit 3; cat /dev/disk > /dev/null || exit 4";
    for (options, code) in [
        (&[][..], 3),
        (&["--no-init"], 3),
        (&["--cgroup", "none"], 3),
        (&["--pids-limit", "99"], 4),
        (&["--pids-limit", "99", "--no-init"], 4),
        (&["-d"], 4),
    ] {
        let args = [&["run", "--rootfs", plain().path()], options, &["sh", "-c", script]].concat();
        let mut outcome = nsctl(&args);
        if options == ["-d"] {
            let kept = Kept(outcome.out.trim().into());
            outcome = nsctl(&["wait", kept.id()]);
            must(outcome.out == format!("{code}\n"), "detached", &outcome)?;
            continue;
        }
        must(outcome.code == code, &format!("{options:?}: {code}"), &outcome)?;
        must(outcome.err.contains("peration not permitted"), "the kernel says so", &outcome)?;
    }
    let kept = Kept::shell(&["--cgroup", "none", "--rootfs", plain().path()], "sleep 600; true")?;
    let outcome = nsctl(&["exec", kept.id(), "sh", "-c", script]);
    must(outcome.code == 3, "exec as run", &outcome)
}

fn privileged() -> Result<(), Failed> {
    let found = inside(&["--privileged"]);
    let own = fs::read_to_string("/proc/self/status")?;
    let own = own.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or_default();
    if found["CapEff"] != own || found["CapInh"] != NONE || found["NoNewPrivs"] != "0" {
        return Err(format!("{found:?}, and the caller has {own}").into());
    }
    let script = "echo x > /proc/sys/kernel/hostname && mount -t tmpfs x /tmp && mount -o remount,rw /sys; \
                  touch /sys/kernel/nothing 2>&1 | grep -c Read-only; ls /dev";
    let host: Vec<String> = fs::read_dir("/dev")?
        .flatten()
        .filter(|entry| {
            use std::os::unix::fs::FileTypeExt;
            entry.file_type().is_ok_and(|kind| kind.is_block_device() || kind.is_char_device())
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "console" && name != "ptmx")
        .collect();
    let outcome = nsctl(&["run", "--rootfs", plain().path(), "--privileged", "sh", "-c", script]);
    must(outcome.out.starts_with("0\n"), "/sys is not read-only", &outcome)?;
    // Those that come and go meanwhile are none of it.
    let stays = |name: &&String| fs::exists(format!("/dev/{name}")).unwrap_or(false);
    let missing = host.iter().filter(stays).find(|name| !outcome.out.lines().any(|line| line == name.as_str()));
    must(missing.is_none(), &format!("{missing:?} of the host's devices"), &outcome)
}

fn given_away() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--privileged", "--explain", "true"]);
    must(outcome.out.contains("--privileged gives away:\n    all capabilities"), "said", &outcome)?;
    let outcome = nsctl(&["run", "--explain", "true"]);
    must(!outcome.out.contains("gives away"), "and only then", &outcome)
}

fn system_paths() -> Result<(), Failed> {
    let script = "(echo x > /proc/sys/kernel/hostname) 2> /dev/null; echo $?; wc -c < /proc/timer_list";
    let run =
        |options: &[&str]| nsctl(&[&["run", "--rootfs", plain().path()], options, &["sh", "-c", script]].concat());
    let outcome = run(&[]);
    must(outcome.out.starts_with("1\n"), "read-only", &outcome)?;
    let outcome = run(&["--security-opt", "systempaths=unconfined"]);
    must(outcome.out.starts_with("0\n"), "not read-only", &outcome)?;
    refused(&["run", "--security-opt", "systempaths=none", "true"], 125, "--security-opt systempaths=none is unknown")
}

fn inherited() -> Result<(), Failed> {
    let options = ["--ulimit", "nofile=99:100", "--ulimit", "core=0", "--nice", "5", "--umask", "0027"];
    let script = "ulimit -n; ulimit -Hn; ulimit -c; umask; cut -d ' ' -f 19 /proc/self/stat";
    let args = [&["run", "--rootfs", plain().path()], &options[..], &["sh", "-c", script]].concat();
    says(&args, 0, "99\n100\n0\n0027\n5\n")?;
    for (options, words) in [
        (["--ulimit", "nofile=2:1"], "--ulimit nofile=2:1 is no limit"),
        (["--ulimit", "files=1"], "there are as, core, cpu"),
        (["--nice", "20"], "--nice 20 is not a number from -20 to 19"),
        (["--umask", "9"], "--umask 9 is none"),
        (
            ["--ulimit", "nofile=9999999999"],
            "set --ulimit nofile=9999999999:9999999999: operation not permitted, EPERM",
        ),
    ] {
        refused(&["run", options[0], options[1], "true"], 125, words)?;
    }
    let too_few = ["run", "--ulimit", "nofile=3", "-u", "1000", "true"];
    refused(&too_few, 125, "EMFILE (nsctl needs some itself: a higher --ulimit nofile, or ulimit -n)")
}

/// A key of the caller's session is not seen inside.
fn keys() -> Result<(), Failed> {
    // SAFETY: keyctl(2) of this process: a session keyring of its own, so that the number below is the test's.
    let ours = unsafe { libc::syscall(libc::SYS_keyctl, 1, 0usize) };
    if ours < 0 {
        crate::host::skip("this kernel has no keys");
        return Ok(());
    }
    let kept = Kept::shell(&["--name", "keys", "--security-opt", "seccomp=unconfined"], "sleep 600; true")?;
    let exec = facts(&nsctl(&["exec", kept.id(), &own(), "probe", "privileges"]).out);
    let unconfined = ["run", "--security-opt", "seccomp=unconfined", &own(), "probe", "privileges"];
    let run = facts(&nsctl(&unconfined).out);
    let ours = ours.to_string();
    // The filter, which refuses keyctl(2), is loaded earlier then.
    let early = ["run", "--security-opt", "no-new-privileges=false", &own(), "probe", "privileges"];
    let early = facts(&nsctl(&early).out);
    if early["keyring"] == run["keyring"] || early["keyring"] == ours {
        return Err(format!("ours is {ours}, with set-uid programs {}", early["keyring"]).into());
    }
    if run["keyring"] == ours || exec["keyring"] == ours || run["keyring"].starts_with('-') {
        return Err(format!("ours is {ours}, that of run {}, of exec {}", run["keyring"], exec["keyring"]).into());
    }
    let filtered = facts(&nsctl(&["run", &own(), "probe", "privileges"]).out);
    if !filtered["keyring"].starts_with('-') {
        return Err("keyctl is refused by default".into());
    }
    Ok(())
}

/// Of the command, also after a restart, and not of nsctl as PID 1.
fn inspected() -> Result<(), Failed> {
    let options = ["--name", "i", "--rootfs", plain().path(), "-u", "1000:2000", "--cap-add", "NET_RAW"];
    let more = ["--umask", "027", "--ulimit", "nofile=64", "--oom-score-adj", "5"];
    let kept = Kept::shell(&[&options[..], &more].concat(), "sleep 600; true")?;
    for turn in ["first", "again"] {
        let text = kept.inspected();
        for wanted in [
            "\"cap_effective\":[\"CAP_NET_RAW\"]",
            "\"cap_ambient\":[\"CAP_NET_RAW\"]",
            "\"cap_bounding\":[\"CAP_CHOWN\",",
            "\"no_new_privs\":true",
            "\"uid\":\"1000\",\"gid\":\"2000\",\"groups\":[\"2000\"]",
            "\"umask\":\"0027\",\"oom_score_adj\":5",
            "\"Max open files\":\"64 64 files\"",
        ] {
            if !text.contains(wanted) {
                return Err(format!("{turn}: no {wanted} in {text}").into());
            }
        }
        says(&["restart", "-t", "0", "i"], 0, "i\n")?;
    }
    nsctl(&["stop", "-t", "0", "i"]);
    let text = kept.inspected();
    if text.contains("\"privileges\":null") { Ok(()) } else { Err(text.into()) }
}
