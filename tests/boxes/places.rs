//! nsctl started where it is not usual: at a terminal, in a chroot.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{plain, seen};
use crate::masked;
use crate::nsctl::{Outcome, Running, binary, command, must, outcome};
use crate::root::Root;
use crate::tables::table;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_terminal_on_standard_input_is_dev_console", console),
    ("in_a_chroot_a_root_works_and_shows_nothing_outside", chroot),
    ("in_a_chroot_the_directory_itself_can_be_the_root", chroot_itself),
    ("in_a_chroot_without_a_root_the_way_out_is_said", chroot_without_root),
];

fn console() -> Result<(), Failed> {
    let (mut ours, mut theirs) = (-1, -1);
    let nothing = std::ptr::null_mut();
    // SAFETY: room for two descriptors, which are ours alone.
    let (mut ours, theirs) = unsafe {
        assert_eq!(libc::openpty(&raw mut ours, &raw mut theirs, nothing, nothing.cast(), nothing.cast()), 0);
        (fs::File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    };
    let script = "stat -L -c '%d:%i' /proc/self/fd/0 /dev/console; echo hello > /dev/console; ls /dev/pts; \
                  grep ' /dev/console ' /proc/self/mountinfo";
    let mut nsctl = command(&["run", "--rootfs", plain().path(), "sh", "-c", script]);
    nsctl.stdin(Stdio::from(theirs));
    let outcome = outcome(Running::start(&mut nsctl));
    let lines: Vec<&str> = outcome.out.lines().collect();
    must(lines.len() == 4 && lines[0] == lines[1], "the same file", &outcome)?;
    must(lines[2] == "ptmx" && lines[3].contains(" - devpts "), "by a mount of it alone", &outcome)?;
    let mut text = [0; 64];
    // Without its descriptor, reading nothing would end and not wait.
    drop(nsctl);
    let length = ours.read(&mut text)?;
    must(text[..length].starts_with(b"hello"), "what is written there arrives", &outcome)
}

/// A directory with a system in it, and another one for a container in its /inner.
fn jail() -> Root {
    let (jail, inner) = (Root::new("jail").file("etc/mark", "jail\n"), Root::plain("inner"));
    fs::copy(binary(), jail.at("bin/nsctl")).unwrap();
    fs::rename(inner.path(), jail.at("inner")).unwrap();
    jail
}

/// nsctl in a chroot of that directory, with a procfs of the host's processes there and nothing else.
fn jailed(jail: &Root, args: &[&str]) -> Outcome {
    let mut nsctl = match masked::current() {
        None => Command::new("/bin/nsctl"),
        Some((call, errno)) => {
            let mut masked = Command::new("/bin/probe");
            masked.args(["masked", call, errno, "/bin/nsctl"]);
            masked
        }
    };
    nsctl.args(args).env_clear().env("NSCTL_ROOT", "/tmp/state").env("PATH", "/bin");
    nsctl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    crate::host::prepare(&mut nsctl, vec![crate::host::mounted("proc", jail.at("proc").to_str().unwrap())]);
    let dir = CString::new(jail.path()).unwrap();
    // SAFETY: system calls alone, between fork and exec; the string lives in the closure.
    unsafe {
        nsctl.pre_exec(move || {
            if libc::chroot(dir.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 {
                return Ok(());
            }
            Err(std::io::Error::last_os_error())
        })
    };
    outcome(Running::start(&mut nsctl))
}

fn chroot() -> Result<(), Failed> {
    let jail = jail();
    let script = "echo /*; cat /mark; cat /proc/self/mountinfo; ls -d /proc/1/root/*";
    let args = ["run", "--rootfs", "/inner", "-v", "/etc/mark:/mark", "sh", "-c", script];
    let outcome = jailed(&jail, &args);
    must(outcome.out.starts_with("/bin /dev /etc /mark /proc /root /sys /tmp\njail\n"), "the root", &outcome)?;
    let lines = seen(&outcome.out, "");
    // There are no cgroups to be seen in this chroot.
    let got: BTreeSet<&str> = lines.iter().map(String::as_str).filter(|line| !line.starts_with("/mark ")).collect();
    let table = table();
    let wanted: BTreeSet<&str> =
        table.iter().map(String::as_str).filter(|line| !line.starts_with("/sys/fs/cgroup")).collect();
    let (more, less): (Vec<_>, Vec<_>) = (got.difference(&wanted).collect(), wanted.difference(&got).collect());
    must(more.is_empty() && less.is_empty(), &format!("more: {more:#?}, less: {less:#?}"), &outcome)?;
    // A process that leaves its root, as it can with CAP_SYS_CHROOT, stays where it is.
    let script = "cd /; mkdir /x; exec 3</; chroot /x 2>/dev/null; echo /proc/self/fd/3/../../../*";
    let outcome = jailed(&jail, &["run", "--rootfs", "/inner", "sh", "-c", script]);
    must(!outcome.out.contains("inner"), "nothing is above", &outcome)
}

fn chroot_itself() -> Result<(), Failed> {
    let jail = jail();
    let outcome =
        jailed(&jail, &["run", "--rootfs", "/", "sh", "-c", "echo x > /new && cat /etc/mark && echo $$ /*"]);
    must(
        outcome.out == "jail\n2 /bin /dev /etc /inner /new /proc /root /sys /tmp\n",
        "the jail is the root",
        &outcome,
    )?;
    must(!jail.at("new").exists(), "through an overlay", &outcome)
}

fn chroot_without_root() -> Result<(), Failed> {
    let outcome = jailed(&jail(), &["run", "true"]);
    let wanted = "nsctl: make the mounts private: invalid argument, EINVAL (the root directory is no mount: nsctl runs in a chroot; \
                  with --rootfs / it works there)\n";
    must(outcome.code == 125 && outcome.err == wanted, "EINVAL", &outcome)
}
