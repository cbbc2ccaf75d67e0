//! `--user` on a root whose files about users are hostile.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use libtest_mimic::Failed;

use super::{Canary, each_way, inside};
use crate::life::Kept;
use crate::nsctl::{Outcome, Running, binary, must, nsctl, outcome, patience, state};
use crate::root::{Root, busybox};

const IDS: &str = "grep -e ^Uid -e ^Gid /proc/self/status | cut -f 2,4";

/// User and group as they are inside, or the error's first words.
fn ids(outcome: &Outcome) -> String {
    match outcome.code {
        0 => outcome.out.replace(['\n', '\t'], " ").trim().to_string(),
        125 => "refused".into(),
        other => format!("exit {other}"),
    }
}

pub(super) fn forms() -> Result<(), Failed> {
    let passwd = "4294967297:x:0:0::/:\n1:x:0:0::/:\n0000001000:x:0:0::/:\nwrapped:x:4294967296:0::/:\nhuge:x:18446744073709551616:0::/:\n\
                  minus:x:-1:0::/:\nplus:x:+0:+0::/:\nspace:x: 0: 0::/:\nhex:x:0x0:0::/:\nnone:x:::::\nmost:x:4294967295:4294967295::/:\n\
                  bad-group:x:7:4294967296::/:\nroot:x:5:6:no root:/:\nroot:x:0:0:root:/root:\nuser:x:1000:1001::/:\n12ab:x:12:13::/:\n:x:0:0::/:\n";
    let group = "2:x:0:\n4294967298:x:0:\nwheel:x:4294967296:user\nmany:x:2000:user\nbad:x:-0:\nroot:x:9:\n";
    let table = [
        ("0", "0 0 0 0"),
        ("00", "0 0 0 0"),
        // A number is the user of that number: the first line that has it says its group.
        ("1", "1 1 0 0"),
        ("1:2", "1 1 2 2"),
        ("1000", "1000 1000 1001 1001"),
        ("0000001000", "1000 1000 1001 1001"),
        ("4294967294", "4294967294 4294967294 0 0"),
        ("4294967295", "refused"),
        ("4294967296", "refused"),
        ("4294967297", "refused"),
        ("18446744073709551616", "refused"),
        ("1:4294967298", "refused"),
        ("user:4294967295", "refused"),
        ("-1", "refused"),
        ("+0", "refused"),
        (" 0", "refused"),
        ("0x0", "refused"),
        ("", "refused"),
        (":", "refused"),
        (":0", "refused"),
        ("0:", "refused"),
        ("0:0:0", "refused"),
        ("../root", "refused"),
        ("root\n", "refused"),
        ("wrapped", "refused"),
        ("huge", "refused"),
        ("minus", "refused"),
        ("plus", "refused"),
        ("space", "refused"),
        ("hex", "refused"),
        ("none", "refused"),
        ("most", "refused"),
        ("bad-group", "refused"),
        ("nobody-here", "refused"),
        ("root", "5 5 6 6"),
        ("user", "1000 1000 1001 1001"),
        ("user:many", "1000 1000 2000 2000"),
        ("user:7", "1000 1000 7 7"),
        ("user:wheel", "refused"),
        ("user:bad", "refused"),
        ("user:root", "1000 1000 9 9"),
        ("12ab", "12 12 13 13"),
    ];
    each_way(|| {
        let root = Root::plain("users").file("etc/passwd", passwd).file("etc/group", group);
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        for (form, wanted) in table {
            let user = format!("--user={form}");
            let run = inside(&root, &[&user], IDS);
            let exec = nsctl(&["exec", &user, kept.id(), "/bin/sh", "-c", IDS]);
            for (how, outcome) in [("run", &run), ("exec", &exec)] {
                let found = ids(outcome);
                must(found == wanted, &format!("{how} --user '{form}' is {wanted}, not {found}"), outcome)?;
            }
        }
        Ok(())
    })
}

/// Files that have no end, block, or are not files. Each must be answered, and soon.
pub(super) fn files() -> Result<(), Failed> {
    let canary = Canary::new("users");
    let secret = format!("{}/passwd", canary.path());
    let root = Root::plain("user-files");
    // Straight, so that it sees what becomes of the files.
    let kept = Kept::shell(&["--rootfs", root.path(), "--rw"], "sleep 600; true")?;
    for (kind, by_name) in [
        ("fifo", "refused"),
        ("socket", "refused"),
        ("device", "refused"),
        ("directory", "refused"),
        ("missing", "refused"),
        ("link to the host", "refused"),
        ("link up to the host", "refused"),
        ("link to a descriptor", "refused"),
        ("link to itself", "refused"),
        ("link to a device", "refused"),
        ("link inside", "1000 1000 1000 1000"),
        ("sparse", "refused"),
        ("one line", "refused"),
    ] {
        for name in ["passwd", "group"] {
            let place = root.at("etc").join(name);
            let line = if name == "passwd" { "user:x:1000:1000::/:\n" } else { "user:x:1000:\n" };
            let _ = fs::remove_file(&place);
            let _ = fs::remove_dir(&place);
            let path = std::ffi::CString::new(place.to_str().unwrap()).unwrap();
            let node = |mode: u32, device: u64| {
                // SAFETY: the path lives through the call.
                let made = unsafe { libc::mknod(path.as_ptr(), mode | 0o666, device) };
                assert_eq!(made, 0, "mknod: {}", std::io::Error::last_os_error());
            };
            match kind {
                "fifo" => node(libc::S_IFIFO, 0),
                "socket" => node(libc::S_IFSOCK, 0),
                "device" => node(libc::S_IFCHR, libc::makedev(1, 5)),
                "directory" => fs::create_dir(&place)?,
                "missing" => {}
                "link to the host" => symlink(&secret, &place)?,
                "link up to the host" => symlink(format!("{}/passwd", canary.relative()), &place)?,
                "link to a descriptor" => symlink("/proc/self/fd/0", &place)?,
                "link to itself" => symlink(name, &place)?,
                "link to a device" => symlink("/dev/zero", &place)?,
                "link inside" => {
                    fs::write(root.at(&format!("honest-{name}")), line)?;
                    symlink(format!("../honest-{name}"), &place)?;
                }
                "sparse" => fs::File::create(&place)?.set_len(1 << 40)?,
                _ => fs::write(&place, vec![b'x'; 4 << 20])?,
            }
        }
        for (user, wanted) in [("user", by_name), ("root:user", "refused"), ("7:8", "7 7 8 8"), ("7", "7 7 0 0")] {
            // The sparse and endless are told, and not taken for empty.
            let told = kind == "sparse" && user.starts_with('7');
            let (run, exec) = (["run", "--rootfs", root.path(), "-u", user, "--"], ["exec", "-u", user, kept.id()]);
            for words in [&run[..], &exec] {
                let outcome = in_time(words)?;
                let right = ids(&outcome) == wanted || told && outcome.code == 125;
                let found = ids(&outcome);
                must(right, &format!("{kind}: {} --user {user} is {wanted}, not {found}", words[0]), &outcome)?;
                canary.unseen(&outcome)?;
            }
        }
    }
    Ok(())
}

/// Ends what hangs.
fn in_time(words: &[&str]) -> Result<Outcome, Failed> {
    let mut command = Command::new(busybox());
    let most = patience().as_secs().to_string();
    command.args(["timeout", "-s", "KILL", &most, &binary()]).args(words).args(["/bin/sh", "-c", IDS]);
    command.env("NSCTL_ROOT", state()).stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Ok(outcome(Running::start(&mut command)))
}

/// A map of more ranges and more bytes than any kernel takes (340 lines, a page before 4.15) is refused, and not cut to what fits.
pub(super) fn long_map() -> Result<(), Failed> {
    let canary = Canary::new("map");
    let root = Root::plain("map").dir("m");
    let ranges: Vec<String> = (0..8000u32).map(|range| format!("{}-{}-1", range * 2, range * 2 + 1)).collect();
    let text = ranges.join("#");
    assert!(text.len() > 64 << 10);
    let volume = format!("{}:/m:idmap=uids={text};gids=0-0-1", canary.path());
    let outcome = inside(&root, &["-v", &volume], "ls /m");
    must(outcome.code == 125 && outcome.err.lines().count() == 1 && outcome.err.len() < 2048, "refused", &outcome)?;
    canary.check()
}

/// What is typed goes into no shell, wherever it is used.
pub(super) fn no_shell() -> Result<(), Failed> {
    let canary = Canary::new("shell");
    let root = Root::plain("shell");
    let word = format!("$(touch {0}/new);`touch {0}/new`", canary.path());
    for options in [
        ["--name", &word],
        ["--hostname", &word],
        ["--label", &word],
        ["--cidfile", &word],
        ["--pidfile", &word],
        ["--env", &word],
        ["--user", &word],
        ["--log", &word],
        ["--network", &word],
        ["--security-opt", &word],
    ] {
        let outcome = inside(&root, &options, "true");
        must(outcome.code == 0 || outcome.code == 125, options[0], &outcome)?;
        canary.check()?;
    }
    let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
    let dir = format!("/{word}");
    for words in [
        &["-e", &word, kept.id(), "true"][..],
        &["-u", &word, kept.id(), "true"],
        &["-w", &dir, kept.id(), "true"],
        &[kept.id(), &word],
        &[kept.id(), "true", &word],
        &[&word, "true"],
    ] {
        let outcome = nsctl(&[&["exec"], words].concat());
        must([0, 1, 125, 126, 127].contains(&outcome.code), &format!("exec {words:?}"), &outcome)?;
        canary.check()?;
    }
    Ok(())
}
