//! Containers with a root of their own: what they see, what becomes of their changes, and how it is said if there is nothing to run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, Tree, mounted, nsctl_with, plain, without};
use crate::nsctl::{Outcome, binary, must, nsctl, outcome, own, shell, spawn};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("nothing_of_the_hosts_tree_is_in_sight", nothing_else),
    ("the_directory_stays_as_it_is", unchanged),
    ("the_directory_needs_no_mount_points", no_mount_points),
    ("rw_writes_into_the_directory", read_write),
    ("read_only_refuses_every_change", read_only),
    ("read_only_makes_no_mount_points_in_the_directory", read_only_bare),
    ("overlay_upper_keeps_changes_over_two_runs", upper),
    ("overlay_upper_is_one_containers_at_a_time", upper_in_use),
    ("overlay_upper_on_ramfs_is_refused_by_name", upper_on_ramfs),
    ("overlay_upper_on_an_overlay_is_refused_by_name", upper_on_overlay),
    ("overlay_upper_is_a_directory_with_a_name", upper_names),
    ("overlay_size_stops_a_writer", overlay_size),
    ("overlay_size_that_is_too_small_is_said", too_small),
    ("any_name_of_a_directory_will_do", odd_names),
    ("the_root_directory_has_its_own_mode_and_owner", mode_and_owner),
    ("no_descriptor_reaches_the_command", descriptors),
    ("hundreds_of_starts_leave_nothing", hundreds),
    ("a_usr_merged_root_works", usr_merged),
    ("hosts_hostname_and_resolv_conf_are_provided_where_missing", texts),
    ("what_the_root_says_of_hosts_stays", own_texts),
    ("no_such_command_lists_the_containers_path", no_such_command),
    ("the_search_goes_on_past_what_cannot_be_executed", path_search),
    ("a_missing_interpreter_is_named", missing_interpreter),
    ("a_foreign_program_is_named", foreign),
    ("what_cannot_be_executed_is_126", not_executable),
    ("a_root_that_is_none_is_said", no_root),
    ("options_of_a_root_want_one", without_root),
];

/// `sh -c SCRIPT` in the plain root.
fn inside(options: &[&str], script: &str) -> Outcome {
    within(plain(), options, script)
}

fn within(root: &Root, options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", root.path()], options].concat(), script)
}

fn nothing_else() -> Result<(), Failed> {
    let outcome = inside(&[], "echo /*; echo /.[a-z]*; ls /proc | grep -c '^[0-9]'; pwd; readlink /proc/1/root");
    let lines: Vec<&str> = outcome.out.lines().collect();
    must(lines.first() == Some(&"/bin /dev /etc /proc /root /sys /tmp"), "the root's own names", &outcome)?;
    must(lines.get(1) == Some(&"/.[a-z]*"), "no hidden ones", &outcome)?;
    let processes = lines.get(2).and_then(|count| count.parse().ok()).unwrap_or(99);
    must(processes <= 4, "a handful of processes", &outcome)?;
    must(lines.get(3) == Some(&"/"), "the current directory", &outcome)
}

/// Every kind of change: made, removed, written, renamed, chmod, chown.
const CHANGES: &str = "echo x > /new; mkdir -p /a/b; rm /etc/passwd; echo x >> /etc/group; mv /tmp /moved; \
                       chmod 700 /bin; chown 7:7 /root; ln -sf x /bin/cat; rm -r /var; touch -d '2001-01-01' /etc; rm /bin/ls";

fn unchanged() -> Result<(), Failed> {
    let root = Root::plain("unchanged").file("var/lib/data", "data").symlink("nowhere", "etc/link");
    let name = std::ffi::CString::new(root.at("var/lib/data").to_str().unwrap()).unwrap();
    // SAFETY: strings with an end and a value with its length. A file system without attributes has none to lose.
    unsafe { libc::lsetxattr(name.as_ptr(), c"trusted.test".as_ptr(), c"value".as_ptr().cast(), 5, 0) };
    let before = Tree::of(root.path());
    let outcome = within(&root, &[], CHANGES);
    must(outcome.code == 0 && outcome.err.is_empty(), "inside all of it is possible", &outcome)?;
    Tree::of(root.path()).must_be(&before)
}

fn bare(name: &str) -> Root {
    ["dev", "proc", "sys", "tmp", "root"].into_iter().fold(Root::plain(name), without)
}

fn no_mount_points() -> Result<(), Failed> {
    let root = without(bare("bare"), "etc");
    let before = Tree::of(root.path());
    let outcome = within(&root, &["--tmpfs", "/a/b", "-w", "/c/d"], "echo /* /etc/*; pwd");
    let wanted = "/a /bin /c /dev /etc /proc /sys /etc/hostname /etc/hosts /etc/resolv.conf\n/c/d\n";
    must(outcome.out == wanted, "they are made in the overlay", &outcome)?;
    Tree::of(root.path()).must_be(&before)
}

fn read_write() -> Result<(), Failed> {
    let root = bare("rw");
    let names = |root: &Root| {
        let entries = fs::read_dir(root.path()).unwrap().chain(fs::read_dir(root.at("etc")).unwrap());
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let before = names(&root);
    let outcome = within(&root, &["--rw", "--tmpfs", "/a/b"], "echo hello > /etc/new; rm /etc/group; umask");
    must(outcome.code == 0 && outcome.err.is_empty(), "it is written", &outcome)?;
    let more: Vec<String> = names(&root).difference(&before).cloned().collect();
    let wanted = ["a", "dev", "hostname", "hosts", "new", "proc", "resolv.conf", "sys"];
    must(more == wanted, &format!("the file and mount points: {more:?}"), &outcome)?;
    must(!root.at("etc/group").exists(), "a file is removed", &outcome)?;
    let empty = |name: &str| fs::metadata(root.at(name)).unwrap().len() == 0;
    must(["etc/hosts", "etc/resolv.conf"].into_iter().all(empty), "mount points are empty files", &outcome)?;
    for name in ["dev", "proc", "sys", "a", "a/b"] {
        let mode = fs::metadata(root.at(name))?.permissions().mode() & 0o7777;
        must(mode == 0o755, &format!("{name}: {mode:o}"), &outcome)?;
    }
    must(fs::read_to_string(root.at("etc/new"))? == "hello\n", "its contents", &outcome)
}

fn read_only() -> Result<(), Failed> {
    let before = Tree::of(plain().path());
    let outcome = inside(
        &["--read-only"],
        "echo x > /new; mkdir /etc/x; rm /etc/passwd; chmod 700 /bin; cat /etc/hosts > /dev/null && echo x > /dev/shm/x && echo fine",
    );
    let errors = outcome.err.matches("Read-only file system").count();
    must(errors == 4 && outcome.out == "fine\n", "EROFS, four times; memory can be written to", &outcome)?;
    let outcome =
        inside(&["--read-only"], "mount -o remount,rw,bind / 2>/dev/null; grep ' / / ' /proc/self/mountinfo");
    must(outcome.out.contains(" / / r"), "the root", &outcome)?;
    Tree::of(plain().path()).must_be(&before)
}

fn read_only_bare() -> Result<(), Failed> {
    let root = bare("read-only");
    let before = Tree::of(root.path());
    let outcome = within(&root, &["--read-only", "--tmpfs", "/scratch"], "echo /*; echo x > /scratch/x; echo x > /x");
    must(outcome.out == "/bin /dev /etc /proc /scratch /sys\n", "mount points are there", &outcome)?;
    must(outcome.err.contains("Read-only file system"), "EROFS", &outcome)?;
    Tree::of(root.path()).must_be(&before)
}

fn upper() -> Result<(), Failed> {
    let (root, scratch) = (Root::plain("upper"), Scratch::new("upper"));
    let (before, up) = (Tree::of(root.path()), scratch.path("changes"));
    let outcome = within(&root, &["--overlay-upper", &up], "echo one > /kept; rm /etc/group");
    must(outcome.code == 0, "the first", &outcome)?;
    let outcome = within(&root, &["--overlay-upper", &up], "cat /kept; test ! -e /etc/group && echo gone");
    must(outcome.out == "one\ngone\n", "the second sees what the first changed", &outcome)?;
    must(fs::read_to_string(scratch.at("changes/kept"))? == "one\n", "it is in the directory", &outcome)?;
    must(scratch.at("changes.work").is_dir(), "overlayfs's own is beside it", &outcome)?;
    let names = fs::read_dir(scratch.at(""))?.count();
    must(names == 2, "and nothing else", &outcome)?;
    Tree::of(root.path()).must_be(&before)
}

fn upper_in_use() -> Result<(), Failed> {
    let scratch = Scratch::new("in-use");
    let up = scratch.path("changes");
    let args = ["run", "--rootfs", plain().path(), "--overlay-upper", &up, "--"];
    let mut first = spawn(&[&args[..], &["sh", "-c", "echo ready; exec sleep 600"]].concat());
    std::io::Read::read_exact(&mut first.stdout(), &mut [0; 6])?;
    let second = nsctl(&[&args[..], &["true"]].concat());
    first.signal(libc::SIGTERM);
    outcome(first);
    let wanted = format!("nsctl: --overlay-upper {up} is in use by a running container");
    must(second.code == 125 && second.err.starts_with(&wanted), "refused by name", &second)?;
    let third = nsctl(&[&args[..], &["true"]].concat());
    must(third.code == 0, "and free again", &third)
}

fn upper_on_ramfs() -> Result<(), Failed> {
    let scratch = Scratch::new("ramfs");
    let (dir, up) = (scratch.dir("ram"), scratch.path("ram/changes"));
    let args = ["run", "--rootfs", plain().path(), "--overlay-upper", &up, "true"];
    let outcome = nsctl_with(vec![mounted("ramfs", &dir)], &args);
    let wanted = format!(
        "nsctl: --overlay-upper {up} is on ramfs, which cannot keep an overlay's changes: it has no extended attributes"
    );
    must(outcome.code == 125 && outcome.err.starts_with(&wanted), "refused by name", &outcome)?;
    must(outcome.err.contains("(choose a directory on ext4, xfs, btrfs or tmpfs"), "the way out", &outcome)
}

/// One container in another, whose root is an overlay.
fn upper_on_overlay() -> Result<(), Failed> {
    let volume = format!("{}:/bin/nsctl", fs::canonicalize(binary())?.display());
    let options = ["-v", &volume, "-e", "NSCTL_ROOT=/tmp/state", "--cap-add", "ALL"];
    let outcome = inside(&options, "nsctl run --rootfs / --overlay-upper /up -- true");
    let wanted = "nsctl: --overlay-upper /up is on overlay, which cannot keep an overlay's changes: ";
    must(outcome.code == 125 && outcome.err.starts_with(wanted), "refused by name", &outcome)?;
    let outcome =
        inside(&options, "nsctl run --rootfs / --overlay-upper /dev/shm/up -- touch /kept; echo /dev/shm/up/*");
    must(outcome.out == "/dev/shm/up/kept\n", "on its tmpfs it can", &outcome)
}

fn upper_names() -> Result<(), Failed> {
    let scratch = Scratch::new("names");
    let slash = scratch.path("up/");
    for _ in 0..2 {
        let outcome = inside(&["--overlay-upper", &slash], "echo x > /x");
        must(outcome.code == 0 && scratch.at("up.work").is_dir(), "a slash at the end", &outcome)?;
    }
    for (up, wanted) in [
        (
            "/",
            "nsctl: --overlay-upper / does not end in a name (the directory DIR.work lies beside DIR)\n".to_string(),
        ),
        (&scratch.path("up/.."), "does not end in a name".into()),
        (&scratch.path("no/up"), "no such file or directory, ENOENT (the directory above it must be there)\n".into()),
        (&scratch.file("file", ""), "not a directory, ENOTDIR (it, or the .work beside it, is no directory".into()),
    ] {
        let outcome = inside(&["--overlay-upper", up], "true");
        must(outcome.code == 125 && outcome.err.contains(&wanted), &wanted, &outcome)?;
    }
    Ok(())
}

fn too_small() -> Result<(), Failed> {
    let outcome = inside(&["--overlay-size", "1"], "true");
    let wanted = "nsctl: --overlay-size: 64k is the least\n";
    must(outcome.code == 125 && outcome.err == wanted, "too little for mount points", &outcome)?;
    let outcome = inside(&["--overlay-size", "64k"], "head -c 100000 /dev/zero 2>/dev/null >/full; stat -c %s /full");
    must(outcome.out.trim().parse().is_ok_and(|size: u32| size < 65536), "it is the bound", &outcome)
}

/// What would be special in an option of overlayfs, in mountinfo, or to a shell.
fn odd_names() -> Result<(), Failed> {
    let root = Root::plain("a:b,c d\\e\"f\ng\u{fc}");
    let scratch = Scratch::new("u:p,=\\ ");
    for option in ["--overlay", "--rw", "--read-only"] {
        let outcome = within(&root, &[option], "echo /etc/g*");
        must(outcome.out == "/etc/group\n", option, &outcome)?;
    }
    let outcome = within(&root, &["--overlay-upper", &scratch.path("u:p")], "echo x > /x; cat /x");
    must(outcome.out == "x\n", "changes", &outcome)?;
    let link = scratch.at("link");
    std::os::unix::fs::symlink(root.path(), &link)?;
    let outcome = shell(&["--rootfs", link.to_str().unwrap()], "echo /etc/g*");
    must(outcome.out == "/etc/group\n", "a link to it", &outcome)
}

fn overlay_size() -> Result<(), Failed> {
    let outcome = inside(&["--overlay-size", "1m"], "dd if=/dev/zero of=/large bs=64k count=64; wc -c < /large");
    must(outcome.err.contains("No space left on device"), "ENOSPC", &outcome)?;
    let written: u64 = outcome.out.trim().parse().unwrap_or(0);
    must((500_000..=1 << 20).contains(&written), "most of a MiB", &outcome)
}

fn mode_and_owner() -> Result<(), Failed> {
    for (mode, owner) in [(0o711, 1000), (0o1777, 7), (0o755, 0)] {
        let root = Root::plain("mode");
        chown(root.path(), Some(owner), Some(owner))?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(mode))?;
        for option in ["--overlay", "--read-only", "--rw"] {
            let outcome = within(&root, &[option], "stat -c '%a %u:%g' /");
            must(outcome.out == format!("{mode:o} {owner}:{owner}\n"), &format!("{mode:o} {option}"), &outcome)?;
        }
    }
    Ok(())
}

/// One of the host's tree would lead out of the root.
fn descriptors() -> Result<(), Failed> {
    let scratch = Scratch::new("descriptors");
    let (up, volume) = (scratch.path("up"), format!("{}:/data:idmap=uids=0-1-1", scratch.dir("data")));
    let more: [&[&str]; 6] =
        [&[], &["--no-init"], &["--read-only"], &["--overlay-upper", &up], &["-v", &volume], &["-m", "64m"]];
    for options in more {
        let list = "for f in /proc/self/fd/*; do test -e $f && echo ${f##*/}; done";
        let outcome = inside(options, list);
        let refused = options.first() == Some(&"-v") && outcome.code == 125;
        must(outcome.out == "0\n1\n2\n" || refused, &format!("{options:?}"), &outcome)?;
    }
    Ok(())
}

fn hundreds() -> Result<(), Failed> {
    let count = if crate::masked::current().is_some() { 20 } else { 300 };
    for number in 0..count {
        let outcome = nsctl(&["run", "--rootfs", plain().path(), "true"]);
        must(outcome.code == 0, &format!("start {number}"), &outcome)?;
    }
    Ok(())
}

/// /bin, /sbin and /lib are links into /usr.
fn usr_merged() -> Result<(), Failed> {
    let root = Root::plain("usr").dir("usr/lib");
    fs::rename(root.at("bin"), root.at("usr/bin"))?;
    let root = root.symlink("usr/bin", "bin").symlink("usr/bin", "sbin").symlink("/usr/lib", "lib");
    let scratch = Scratch::new("usr");
    let volume = format!("{}:/lib/x", scratch.file("x", "volume\n"));
    let before = Tree::of(root.path());
    let outcome = within(&root, &["-v", &volume], "cat /usr/lib/x /lib/x; readlink /lib");
    must(outcome.out == "volume\nvolume\n/usr/lib\n", "the volume is behind the link", &outcome)?;
    Tree::of(root.path()).must_be(&before)
}

fn texts() -> Result<(), Failed> {
    let root = Root::plain("texts").file("etc/hosts", "");
    let outcome = within(&root, &["-h", "box"], "cat /etc/hostname; tail -n 1 /etc/hosts; cat /etc/resolv.conf");
    let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    must(outcome.out == format!("box\n127.0.1.1\tbox\n{resolv}"), "also over an empty file", &outcome)?;
    let outcome = within(&root, &[], "echo 127.0.0.2 more >>/etc/hosts && grep -c more /etc/hosts");
    must(outcome.out == "1\n", "the container may change them", &outcome)?;
    let outcome = within(&root, &["--read-only"], "echo more >>/etc/hosts");
    must(outcome.err.contains("Read-only file system"), "but not with a read-only root", &outcome)
}

fn own_texts() -> Result<(), Failed> {
    let root = Root::plain("own-texts").file("etc/hosts", "mine\n").symlink("/run/elsewhere", "etc/resolv.conf");
    let outcome =
        within(&root, &[], "cat /etc/hosts; readlink /etc/resolv.conf; grep -c '/etc/hosts ' /proc/self/mountinfo");
    must(outcome.out == "mine\n/run/elsewhere\n0\n", "as they are", &outcome)
}

fn no_such_command() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--rootfs", plain().path(), "no-such"]);
    let wanted = "nsctl: execute no-such: no such file in PATH (in the container PATH is \
                  /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)\n";
    must(outcome.code == 127 && outcome.err == wanted, "the default", &outcome)?;
    let outcome = nsctl(&["run", "--rootfs", plain().path(), "-e", "PATH=/opt/a:/opt/b", "sh"]);
    must(outcome.code == 127 && outcome.err.contains("PATH is /opt/a:/opt/b)"), "as asked", &outcome)?;
    let outcome = nsctl(&["run", "--rootfs", plain().path(), "/no/such"]);
    let wanted = "nsctl: execute /no/such: no such file or directory, ENOENT (there is no such file in the container's root)\n";
    must(outcome.code == 127 && outcome.err == wanted, "by path", &outcome)
}

/// As execvp(3): a directory of that name, and a file that is not executable, are passed over.
fn path_search() -> Result<(), Failed> {
    let root = Root::plain("path").dir("a/tool").file("b/tool", "no").script("c/tool", "#!/bin/sh\necho found $0\n");
    let outcome = nsctl(&["run", "--rootfs", root.path(), "-e", "PATH=/none:/a:/b:/c", "tool"]);
    must(outcome.out == "found /c/tool\n", "the third", &outcome)?;
    let outcome = nsctl(&["run", "--rootfs", root.path(), "-e", "PATH=/none:/b", "tool"]);
    let wanted = "nsctl: execute /b/tool: permission denied, EACCES (it is not executable: chmod +x)\n";
    must(outcome.code == 126 && outcome.err == wanted, "the last that was there", &outcome)
}

fn missing_interpreter() -> Result<(), Failed> {
    let root = Root::plain("interpreter").script("bin/run", "#!/no/such -x\n");
    for name in ["/bin/run", "run"] {
        let outcome = nsctl(&["run", "--rootfs", root.path(), name]);
        let wanted = "nsctl: execute /bin/run: no such file or directory, ENOENT (the file is there, but its interpreter \
                      /no/such is missing in the container)\n";
        must(outcome.code == 127 && outcome.err == wanted, name, &outcome)?;
    }
    Ok(())
}

fn foreign() -> Result<(), Failed> {
    let root = Root::plain("foreign").script("bin/run", "");
    let mut elf = fs::read(own())?;
    let (machine, name) = if cfg!(target_arch = "aarch64") { (62u16, "x86-64") } else { (183u16, "AArch64") };
    elf[18..20].copy_from_slice(&machine.to_le_bytes());
    fs::write(root.at("bin/run"), &elf)?;
    let outcome = nsctl(&["run", "--rootfs", root.path(), "run"]);
    let wanted = format!("it is for another architecture, {name}; ");
    must(outcome.code == 126 && outcome.err.contains(&wanted), "ENOEXEC", &outcome)
}

fn not_executable() -> Result<(), Failed> {
    let root = Root::plain("126").file("bin/text", "text").script("bin/none", "neither\n");
    for (name, wanted) in [
        ("/bin/text", "EACCES (it is not executable: chmod +x)"),
        ("/bin", "EACCES (it is a directory)"),
        ("/dev/null", "EACCES (it is a device, a FIFO or a socket)"),
        ("/bin/none", "ENOEXEC (it is neither an ELF file nor a script that begins with #!)"),
    ] {
        let outcome = nsctl(&["run", "--rootfs", root.path(), name]);
        must(outcome.code == 126 && outcome.err.contains(wanted), name, &outcome)?;
    }
    Ok(())
}

fn no_root() -> Result<(), Failed> {
    let scratch = Scratch::new("none");
    let (file, missing) = (scratch.file("file", ""), scratch.path("missing"));
    for (dir, wanted) in [
        (
            missing.as_str(),
            format!(
                "nsctl: open --rootfs {missing}: no such file or directory, ENOENT (the container's root is to be there)\n"
            ),
        ),
        (&file, format!("nsctl: --rootfs {file} is a file (if it is an image: --image {file})\n")),
        ("/dev/null", "nsctl: --rootfs /dev/null is no directory\n".into()),
    ] {
        let outcome = nsctl(&["run", "--rootfs", dir, "true"]);
        must(outcome.code == 125 && outcome.err == wanted, dir, &outcome)?;
    }
    Ok(())
}

fn without_root() -> Result<(), Failed> {
    for option in
        [&["--rw"][..], &["--read-only"], &["--overlay"], &["--overlay-size", "1m"], &["--device", "/dev/null"]]
    {
        let outcome = nsctl(&[&["run"], option, &["true"]].concat());
        let right = outcome.err.contains("has no root of its own") && outcome.err.contains("with --rootfs /");
        must(outcome.code == 125 && right, option[0], &outcome)?;
    }
    Ok(())
}
