//! What the seccomp filters let through: every number of every architecture is tried inside, and compared with what the profile's
//! text says, without a look at the program that was made of it.

use std::fs;

use libtest_mimic::Failed;

use crate::Case;
use crate::life::Kept;
use crate::nsctl::{must, nsctl, own, with_input};

mod asked;
#[allow(dead_code)] // nsctl needs the rest
#[path = "../../src/seccomp/names.rs"]
mod names;
mod tried;

use names::Names;
pub(crate) use tried::probe;
use tried::{ANSWERED, Try};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("every_call_of_the_default_profile", every_call),
    ("every_call_with_other_capabilities", other_capabilities),
    ("every_call_of_a_profile", every_call_of_a_profile),
    ("arguments", arguments),
    ("actions", actions),
    ("exec_has_the_same", exec),
    ("somebody_outside_is_asked", asked::asked),
    ("unconfined", unconfined),
    ("profiles_that_are_refused", refused),
    ("check_knows_them", check),
];

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;

/// Numbers beyond what any kernel has are tried, too.
const LAST: u32 = 700;

/// CAP_* by the names that default.txt uses, of docker's fourteen only what it speaks of.
const USUAL: &[&str] = &["SYS_CHROOT"];

fn tables() -> Names {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.names"));
    Names::unpack(&miniz_oxide::inflate::decompress_to_vec(packed).unwrap()).unwrap()
}

/// What the text of the default profile says of a call whose arguments are all zero.
fn expected(name: &str, capabilities: &[&str]) -> i32 {
    let mut answer = EPERM;
    for line in include_str!("../../src/seccomp/default.txt").lines().filter(|line| !line.starts_with('#')) {
        let Some((who, list)) = line.split_once(": ") else { continue };
        if list.split(' ').any(|one| one == name) {
            match who {
                "all" => answer = ANSWERED,
                "ENOSYS" if answer == EPERM => answer = ENOSYS,
                _ if capabilities.contains(&who) => answer = ANSWERED,
                _ => {}
            }
        }
    }
    // There is no address family 0.
    if name == "socket" { EPERM } else { answer }
}

/// All numbers of all architectures with arguments of zero; `expected` says what a call by this name gets, and what none by any.
fn compare(options: &[&str], expected: impl Fn(usize, Option<&str>, u32) -> i32) -> Result<(), Failed> {
    let names = tables();
    let mut tries = Vec::new();
    let mut wanted = Vec::new();
    for (index, architecture) in names::architectures(std::env::consts::ARCH).iter().enumerate() {
        for number in 0..LAST {
            let call = (0..names.count()).find(|call| names.number(*call, index) == Some(number));
            let name = call.map(|call| names.name(call));
            // The kernel lets these pass, whatever a filter says (kernel/seccomp.c, "seccomp_uprobe_exception").
            if cfg!(target_arch = "x86_64") && index == 0 && [335, 336].contains(&number) {
                continue;
            }
            tries.push(Try {
                architecture: architecture.name.into(),
                number: number + architecture.base,
                arguments: [0; 6],
            });
            wanted.push((name, expected(index, name, number)));
        }
    }
    let answers = tried(options, &tries)?;
    let mut wrong = Vec::new();
    for ((one, (name, wanted)), came) in tries.iter().zip(&wanted).zip(&answers) {
        if came.is_some_and(|came| came != *wanted) {
            let name = name.unwrap_or("(none)");
            wrong.push(format!("{} {} {name}: {} and not {wanted}", one.architecture, one.number, came.unwrap_or(0)));
        }
    }
    let native = answers.iter().take(LAST as usize - 2).all(Option::is_some);
    if wrong.is_empty() && native { Ok(()) } else { Err(format!("{native}\n{}", wrong.join("\n")).into()) }
}

/// A file that the tests write, and its name.
struct Note(String);

impl Note {
    fn new(text: &str) -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("nsctl-seccomp-{}.json", std::process::id()));
        fs::write(&path, text)?;
        Ok(Self(path.display().to_string()))
    }

    fn option(&self) -> String {
        format!("seccomp={}", self.0)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What came of each; None: this kernel does not run such programs.
fn tried(options: &[&str], tries: &[Try]) -> Result<Vec<Option<i32>>, Failed> {
    let lines: String = tries.iter().map(Try::line).collect();
    let own = own();
    let args = [&["run", "-i"], options, &["--", &own, "probe", "tried"]].concat();
    let done = with_input(&args, &lines);
    must(done.code == 0, "the probe says what came of each", &done)?;
    let answers: Vec<Option<i32>> = done.out.lines().map(|line| line.parse().ok()).collect();
    must(answers.len() == tries.len(), "one line each", &done)?;
    let kept = Kept::shell(options, "sleep 600; true")?;
    let exec = with_input(&["exec", "-i", kept.id(), &own, "probe", "tried"], &lines);
    must(exec.code == 0 && exec.out == done.out, "the same comes of each by exec", &exec)?;
    Ok(answers)
}

/// What must never be in the profile's text for everybody: namespaces, mounts and keys, programs for the kernel, and what else led to
/// root (CVE-2022-0185, CVE-2016-0728, CVE-2021-31440, CVE-2022-29582, CVE-2021-22555's userfaultfd).
const NEVER: &[&str] = &[
    "unshare",
    "setns",
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "mount_setattr",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "open_by_handle_at",
    "reboot",
    "swapon",
    "swapoff",
    "iopl",
    "ioperm",
    "syslog",
    "acct",
    "quotactl",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "lookup_dcookie",
    "nfsservctl",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "fanotify_init",
];

fn every_call() -> Result<(), Failed> {
    compare(&[], |_, name, _| match name {
        Some(name) if NEVER.contains(&name) => EPERM,
        Some(name) => expected(name, USUAL),
        None => ENOSYS,
    })
}

fn other_capabilities() -> Result<(), Failed> {
    compare(&["--cap-drop", "ALL"], |_, name, _| name.map_or(ENOSYS, |name| expected(name, &[])))?;
    let more = ["SYS_ADMIN", "SYS_TIME", "SYS_CHROOT"];
    compare(&["--cap-add", "SYS_ADMIN,SYS_TIME"], |_, name, _| name.map_or(ENOSYS, |name| expected(name, &more)))
}

/// A profile in docker's format, which allows what the default one allows to everybody, but for what it names.
fn every_call_of_a_profile() -> Result<(), Failed> {
    let names = tables();
    let all: Vec<&str> = (0..names.count()).map(|call| names.name(call)).collect();
    let allowed: Vec<&str> =
        all.iter().copied().filter(|name| expected(name, &[]) == ANSWERED && *name != "uname").collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,
        "archMap":[{{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}},
                   {{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}}],
        "syscalls":[{{"names":{allowed:?},"action":"SCMP_ACT_ALLOW"}},
                    {{"names":["chroot","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":77,"includes":{{"caps":["CAP_SYS_CHROOT"]}}}},
                    {{"names":["kexec_load"],"action":"SCMP_ACT_ERRNO","errnoRet":78,"includes":{{"caps":["CAP_SYS_BOOT"]}}}},
                    {{"name":"uname","action":"SCMP_ACT_ERRNO","errnoRet":79}}]}}"#
    );
    let newest: Vec<u32> = (0..names::architectures(std::env::consts::ARCH).len())
        .map(|index| {
            let named = (0..names.count()).filter(|call| {
                ["chroot", "uname"].contains(&names.name(*call)) || allowed.contains(&names.name(*call))
            });
            named.filter_map(|call| names.number(call, index)).max().unwrap()
        })
        .collect();
    let note = Note::new(&json)?;
    compare(&["--security-opt", &note.option()], |index, name, number| match name {
        Some("chroot") => 77,
        Some("uname") => 79,
        Some(name) if allowed.contains(&name) => ANSWERED,
        _ if number > newest[index] => ENOSYS,
        _ => 13,
    })
}

/// Arguments that the default profile looks at, with and without something in their upper half.
fn arguments() -> Result<(), Failed> {
    let names = tables();
    let mut tries = Vec::new();
    let mut wanted = Vec::new();
    for (index, architecture) in names::architectures(std::env::consts::ARCH).iter().enumerate() {
        let mut add = |name: &str, at: usize, value: u64, answer: i32| {
            let number = names.number(names.find(name).unwrap(), index).unwrap() + architecture.base;
            for high in [0, 1 << 32, 0xffff_ffff << 32] {
                let mut arguments = [0; 6];
                arguments[at] = value | high;
                tries.push(Try { architecture: architecture.name.into(), number, arguments });
                wanted.push((name.to_string(), answer));
            }
        };
        // TIOCSTI, TIOCLINUX and TCGETS.
        for request in [0x5412, 0x541c] {
            add("ioctl", 1, request, EPERM);
        }
        add("ioctl", 1, 0x5401, ANSWERED);
        for flag in
            [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWNET, libc::CLONE_NEWCGROUP, libc::CLONE_NEWPID]
        {
            add("clone", 0, flag as u64 | 17, EPERM);
        }
        add("clone", 0, (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_FILES) as u64, ANSWERED);
        for family in 1..50 {
            let none = [12, 19, 20, 23, 25, 34, 37, 38, 40].contains(&family) || family > 45;
            add("socket", 0, family, if none { EPERM } else { ANSWERED });
        }
        for personality in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            add("personality", 0, personality, ANSWERED);
        }
        // ADDR_NO_RANDOMIZE
        add("personality", 0, 0x4_0000, EPERM);
        add("clone3", 0, 0, ENOSYS);
        add("unshare", 0, libc::CLONE_NEWUSER as u64, EPERM);
    }
    let answers = tried(&[], &tries)?;
    for ((one, (name, wanted)), came) in tries.iter().zip(&wanted).zip(answers) {
        if came.is_some_and(|came| came != *wanted) {
            let Try { architecture, arguments, .. } = one;
            return Err(format!("{architecture} {name} {arguments:x?}: {came:?} and not {wanted}").into());
        }
    }
    Ok(())
}

/// A profile that allows all but one call.
fn but(call: &str, action: &str) -> Result<Note, Failed> {
    Note::new(&format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["{call}"],"action":"{action}"}}]}}"#
    ))
}

/// What the kernel does to a program that calls uname(2).
fn actions() -> Result<(), Failed> {
    for (action, code) in [
        ("SCMP_ACT_KILL", 128 + libc::SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", 128 + libc::SIGSYS),
        ("SCMP_ACT_TRAP", 128 + libc::SIGSYS),
        ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ALLOW", 0),
    ] {
        let note = but("uname", action)?;
        let done = nsctl(&["run", "--security-opt", &note.option(), "--", "uname"]);
        must(done.code == code, action, &done)?;
    }
    Ok(())
}

/// What is started in a container later has the filter of its command, even if the profile is another one by now.
fn exec() -> Result<(), Failed> {
    let native = names::architectures(std::env::consts::ARCH)[0].name;
    let number = |name: &str| tables().number(tables().find(name).unwrap(), 0).unwrap();
    let asked: String = ["uname", "read", "keyctl", "chroot"]
        .map(|name| Try { architecture: native.into(), number: number(name), arguments: [0; 6] }.line())
        .concat();
    let own = own();
    let name = format!("seccomp-{}", std::process::id());
    for (options, wanted) in [
        (&[][..], [ANSWERED, ANSWERED, EPERM, ANSWERED]),
        (&["--cap-drop", "ALL"], [ANSWERED, ANSWERED, EPERM, EPERM]),
        (&["--security-opt", "PROFILE"], [78, ANSWERED, ANSWERED, ANSWERED]),
        (
            &["--security-opt", "PROFILE", "--security-opt", "no-new-privileges=false"],
            [78, ANSWERED, ANSWERED, ANSWERED],
        ),
    ] {
        let note = Note::new(
            r#"{"defaultAction":"SCMP_ACT_ALLOW",
                "syscalls":[{"names":["uname"],"action":"SCMP_ACT_ERRNO","errnoRet":78}]}"#,
        )?;
        let profile = note.option();
        let options: Vec<&str> =
            options.iter().map(|word| if *word == "PROFILE" { &*profile } else { word }).collect();
        let started = nsctl(&[&["run", "-d", "--rm", "--name", &name], &*options, &["--", "sleep", "1000"]].concat());
        must(started.code == 0, "it starts", &started)?;
        drop(note);
        let done = with_input(&["exec", "-i", &name, &own, "probe", "tried"], &asked);
        let stopped = nsctl(&["stop", "-t", "0", &name]);
        must(stopped.code == 0, "it ends", &stopped)?;
        let wanted = wanted.map(|errno| format!("{errno}\n")).concat();
        must(done.out == wanted, &format!("{options:?}: {wanted:?}"), &done)?;
    }
    Ok(())
}

fn unconfined() -> Result<(), Failed> {
    let mode = |options: &[&str]| {
        let args = [&["run"], options, &["--", "grep", "^Seccomp:", "/proc/self/status"]].concat();
        nsctl(&args)
    };
    for (options, wanted) in [
        (&[][..], "2"),
        (&["--security-opt", "seccomp=builtin"], "2"),
        (&["--security-opt", "seccomp=unconfined"], "0"),
        (&["--privileged"], "0"),
        (&["--security-opt", "no-new-privileges=false"], "2"),
        (&["--security-opt", "no-new-privileges=false", "-u", "65534", "--cap-drop", "ALL"], "2"),
    ] {
        let done = mode(options);
        must(done.code == 0 && done.out.trim().ends_with(wanted), &format!("{options:?}"), &done)?;
    }
    Ok(())
}

/// What a kernel needs for it is told.
fn check() -> Result<(), Failed> {
    let table = nsctl(&["check"]);
    let line = table.out.lines().find(|line| line.starts_with("seccomp filters ")).unwrap_or_default();
    must(line.contains(" yes "), "the table", &table)?;
    let fragment = nsctl(&["check", "--kconfig"]);
    must(fragment.out.contains("CONFIG_SECCOMP_FILTER=y\n"), "the fragment", &fragment)
}

fn refused() -> Result<(), Failed> {
    for (text, wanted) in [
        ("{", "is not JSON"),
        (r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#, "SCMP_ACT_MAYBE is no defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#, "X is no flag"),
    ] {
        let note = Note::new(text)?;
        let done = nsctl(&["run", "--security-opt", &note.option(), "--", "true"]);
        must(done.code == 125 && done.err.contains(wanted) && done.err.contains(&note.0), wanted, &done)?;
    }
    // By which nsctl inside can neither say what failed nor exit.
    let few =
        Note::new(r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"execve","action":"SCMP_ACT_ALLOW"}]}"#)?;
    let option = few.option();
    for options in [&[][..], &["--no-init"], &["--security-opt", "no-new-privileges=false"]] {
        let args = [&["run", "--security-opt", &option], options, &["/no/such/program"]].concat();
        let mut running = crate::nsctl::spawn(&args);
        running.end_within(crate::nsctl::patience())?;
    }
    // And it takes nobody along that has the number in the host's PID namespace by which the C library knows it.
    let done = nsctl(&["run", "--pid", "host", "--security-opt", &option, "/no/such/program"]);
    must(done.code == 128 + libc::SIGILL, "only itself", &done)?;
    let done = nsctl(&["run", "--security-opt", "seccomp=/dev/zero", "--", "true"]);
    must(done.code == 125 && done.err.contains("EFBIG"), "a file without an end", &done)?;
    let done = nsctl(&["run", "--security-opt", "seccomp=/no/such/file", "--", "true"]);
    must(done.code == 125 && done.err.contains("/no/such/file"), "a file that is not there", &done)
}
