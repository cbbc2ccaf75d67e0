//! Every try of [`super::tries`], each in a container of its own.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libtest_mimic::Failed;

use super::{Canary, Source, tries};
use crate::life::Kept;
use crate::nsctl::{Running, binary, must, nsctl, outcome, own};
use crate::root::Root;

/// With --rw, CAP_SYS_ADMIN can make the host's file system read-only (umount(2) of "/" without MNT_DETACH), unless somebody is
/// writing to it. That is known, and would stop the tests.
fn writer(root: &Root) -> std::io::Result<std::fs::File> {
    std::fs::File::create(root.at("written"))
}

/// What a root inside can be given without being given the host (run --help).
const STRONG: &[&str] =
    &["--cap-add", "ALL", "--cap-drop", "SYS_PTRACE,DAC_READ_SEARCH", "--security-opt", "no-new-privileges=false"];

fn all(name: &str, options: &[&str], words: &[&str]) -> Result<(), Failed> {
    let canary = Canary::new(name);
    let source = Source::new(name);
    let root = Root::new(name).file("inside", "").dir("volume");
    let _written = writer(&root)?;
    // On an initramfs /tmp is mounted on what would come into sight: the programs are in the root itself.
    let nsctl_path = std::fs::canonicalize(binary())?.to_string_lossy().into_owned();
    let own = own();
    let secret = format!("{}/secret", canary.path());
    let handle = handle(canary.path());
    let mut escaped = Vec::new();
    for (try_name, _) in tries::TRIES {
        let volume = source.to("/volume");
        let mut args = vec!["run", "--rootfs", root.path(), "-v", &volume];
        args.extend(options);
        args.extend(["--", "/bin/probe", "probe", "escape", *try_name, &own, &nsctl_path, &secret, &handle]);
        args.extend(words);
        let outcome = nsctl(&args);
        if outcome.code != 0 || !outcome.out.contains("held ") {
            escaped.push(format!("{try_name}: exit {} {}{}", outcome.code, outcome.out, outcome.err));
        }
    }
    canary.check()?;
    if escaped.is_empty() { Ok(()) } else { Err(escaped.join("\n").into()) }
}

/// As everybody has it.
pub(super) fn as_usual() -> Result<(), Failed> {
    all("escapes-as-usual", &[], &[])?;
    all("escapes-as-usual-rw", &["--rw", "--no-init"], &[])?;
    by_exec("escapes-by-exec")
}

/// All in one container, which none of them can harm.
fn by_exec(name: &str) -> Result<(), Failed> {
    let canary = Canary::new(name);
    let root = Root::new(name).file("inside", "");
    let _written = writer(&root)?;
    let kept = Kept::shell(&["--rootfs", root.path(), "--rw"], "sleep 600; true")?;
    let nsctl_path = std::fs::canonicalize(binary())?.to_string_lossy().into_owned();
    let (own, secret, handle) = (own(), format!("{}/secret", canary.path()), handle(canary.path()));
    for (try_name, _) in tries::TRIES {
        let words =
            ["exec", kept.id(), "/bin/probe", "probe", "escape", try_name, &own, &nsctl_path, &secret, &handle];
        let outcome = nsctl(&words);
        must(outcome.code == 0 && outcome.out.contains("held "), &format!("{try_name} by exec"), &outcome)?;
    }
    must(kept.shown("state") == "running", "it runs still", &nsctl(&["ps", "-a"]))?;
    canary.check()
}

pub(super) fn overlay() -> Result<(), Failed> {
    all("escapes", STRONG, &[])
}

pub(super) fn direct() -> Result<(), Failed> {
    all("escapes-rw", &[STRONG, &["--rw"]].concat(), &[])
}

/// All capabilities, over a user namespace of its own.
pub(super) fn own_ids() -> Result<(), Failed> {
    if !crate::userns::rootable() {
        return Ok(());
    }
    let words = ["--userns", "auto", "--cap-add", "ALL", "--security-opt", "no-new-privileges=false"];
    all("escapes-userns", &words, &[])?;
    let more = ["--security-opt", "seccomp=unconfined", "--rw", "--no-init"];
    all("escapes-userns-rw", &[&words[..], &more].concat(), &[])
}

pub(super) fn no_init() -> Result<(), Failed> {
    all("escapes-no-init", &[STRONG, &["--no-init"]].concat(), &[])
}

/// By mount(2). Without the new calls nothing is locked: what the host's root stands on, which should be empty, comes into sight, and on
/// an initramfs that is the host's root itself. It is the price of CAP_SYS_ADMIN where the calls are missing.
pub(super) fn masked() -> Result<(), Failed> {
    if std::env::var_os("NSCTL_QEMU").is_some() {
        println!("skipped: what a guest's root stands on is the host's");
        return Ok(());
    }
    crate::masked::set(Some(("mounts", "ENOSYS")));
    all("escapes-masked", &[STRONG, &["--rw"]].concat(), &["named-only"])
}

/// user.max_user_namespaces, put back at the end. Only in a guest: it is the machine's.
struct NoUserNamespaces(String);

const MOST: &str = "/proc/sys/user/max_user_namespaces";

impl NoUserNamespaces {
    fn new() -> std::io::Result<Self> {
        let before = std::fs::read_to_string(MOST)?;
        std::fs::write(MOST, "0")?;
        Ok(Self(before))
    }
}

impl Drop for NoUserNamespaces {
    fn drop(&mut self) {
        std::fs::write(MOST, &self.0).unwrap();
    }
}

/// Without user namespaces nothing is locked: on an initramfs before Linux 7.0 a root inside that unmounts its root and joins its mount
/// namespace anew sees the host's files. Nobody else does, and nowhere else.
pub(super) fn boundary() -> Result<(), Failed> {
    let Ok(case) = std::env::var("NSCTL_QEMU_CASE") else {
        println!("skipped: the setting is the whole machine's; guests try it");
        return Ok(());
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let major: u32 = release.split('.').next().and_then(|text| text.parse().ok()).ok_or("no version")?;
    let open = case == "initramfs" && major < 7;
    let canary = Canary::new("boundary");
    let root = Root::new("boundary").file("inside", "").dir("volume").dir("tmp");
    let nsctl_path = std::fs::canonicalize(binary())?.to_string_lossy().into_owned();
    let own = own();
    let tail = ["--", "/bin/probe", "probe", "escape", "umount", &own, &nsctl_path, canary.path(), "named-only"];
    let _none = NoUserNamespaces::new()?;
    for (user, strength, escapes) in [("0", STRONG, open), ("0", &[][..], false), ("1000:1000", &[][..], false)] {
        let outcome = nsctl(&[&["run", "--rootfs", root.path(), "--rw", "-u", user], strength, &tail[..]].concat());
        let word = if escapes { "ESCAPED" } else { "held " };
        must(outcome.out.contains(word), &format!("{case} {major}, user {user}: {word}"), &outcome)?;
    }
    canary.check()
}

/// nsctl is called in a chroot: neither that nor what is around it may come into sight.
pub(super) fn from_a_chroot() -> Result<(), Failed> {
    let cell = Root::new("cell").file("cell-secret", "");
    let inner = Root::new("cell-inner").file("inside", "").dir("volume");
    std::fs::rename(inner.path(), cell.at("inner"))?;
    std::fs::copy(binary(), cell.at("bin/nsctl"))?;
    let own = own();
    let _written = writer(&cell)?;
    let mut escaped = Vec::new();
    for (try_name, _) in tries::TRIES {
        let mut command = std::process::Command::new("/bin/nsctl");
        command.arg("run").args(STRONG).args([
            "--rootfs",
            "/inner",
            "--rw",
            "-v",
            "/etc:/volume",
            "--",
            "/bin/probe",
            "probe",
            "escape",
        ]);
        command.args([try_name, own.as_str(), "/cell-secret"]).env("NSCTL_ROOT", "/tmp/state").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let path = std::ffi::CString::new(cell.path()).unwrap();
        // SAFETY: two system calls on a path that was made before the fork.
        unsafe {
            command.pre_exec(move || {
                if libc::chroot(path.as_ptr()) < 0 || libc::chdir(c"/".as_ptr()) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let outcome = outcome(Running::start(&mut command));
        if outcome.code != 0 || !outcome.out.contains("held ") {
            escaped.push(format!("{try_name}: exit {} {}{}", outcome.code, outcome.out, outcome.err));
        }
    }
    if escaped.is_empty() { Ok(()) } else { Err(escaped.join("\n").into()) }
}

/// name_to_handle_at(2): `handle:` and the numbers of struct file_handle, or what stands for none.
fn handle(path: &str) -> String {
    let path = std::ffi::CString::new(path).unwrap();
    let (mut file, mut mount) = ([0u32; 34], 0i32);
    file[0] = 128;
    // SAFETY: the kernel writes no more than the 128 bytes that the structure says it has room for, and one number.
    let done = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            file.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    };
    if done < 0 {
        return "no-handle".into();
    }
    let words = 2 + (file[0] as usize).div_ceil(4);
    let numbers: Vec<String> = file[..words].iter().map(u32::to_string).collect();
    format!("handle:{}", numbers.join(","))
}
