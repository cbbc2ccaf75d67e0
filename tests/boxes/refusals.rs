//! Mounts that are refused, or cannot be made, and how that is said.

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, mounted, plain, prepare, script};
use crate::nsctl::{Outcome, Running, must, nsctl, outcome, shell};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_missing_source_is_an_error_and_not_made", missing_source),
    ("a_directory_does_not_go_on_a_file_nor_the_other_way_round", of_another_kind),
    ("without_a_root_destinations_have_to_be_there", without_root_missing),
    ("mount_says_what_is_wrong_with_it", mount_errors),
    ("volume_and_tmpfs_say_what_is_wrong_with_them", other_errors),
    ("two_mounts_on_one_destination_are_refused", twice),
    ("a_read_only_state_directory_is_named_with_the_way_out", state_read_only),
];

fn inside(options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", plain().path()], options].concat(), script)
}

fn missing_source() -> Result<(), Failed> {
    let scratch = Scratch::new("missing");
    let missing = scratch.path("missing");
    let outcome = inside(&["-v", &format!("{missing}:/data")], "true");
    let wanted = format!(
        "nsctl: open {missing}: no such file or directory, ENOENT (there is no such file or directory; nsctl makes none on the host)\n"
    );
    must(outcome.code == 125 && outcome.err == wanted, "ENOENT", &outcome)?;
    must(!scratch.at("missing").exists(), "it is not made", &outcome)
}

fn of_another_kind() -> Result<(), Failed> {
    let scratch = Scratch::new("kind");
    let (file, dir) = (scratch.file("file", ""), scratch.dir("dir"));
    for (volume, wanted) in [
        (
            format!("{file}:/etc"),
            "mount on /etc: is a directory, EISDIR (a file is to be seen there, but in the root it is a directory)",
        ),
        (
            format!("{dir}:/etc/passwd"),
            "mount on /etc/passwd: not a directory, ENOTDIR (a directory is to be seen there, but in the root it is a file",
        ),
        (
            format!("{dir}:/etc/passwd/x"),
            "mount on /etc/passwd/x: not a directory, ENOTDIR (a directory is to be seen there, but in the root it is a file, or has a file above it)",
        ),
    ] {
        let outcome = inside(&["-v", &volume], "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), wanted, &outcome)?;
    }
    Ok(())
}

fn without_root_missing() -> Result<(), Failed> {
    let scratch = Scratch::new("host-missing");
    let (source, target) = (scratch.dir("source"), scratch.path("target"));
    let outcome = shell(&["-v", &format!("{source}:{target}")], "true");
    let wanted = format!(
        "nsctl: mount on {target}: no such file or directory, ENOENT (without a root of its own, the container's mount points have to be there)\n"
    );
    must(outcome.code == 125 && outcome.err == wanted, "a volume", &outcome)?;
    let outcome = shell(&["--tmpfs", &target], "true");
    must(
        outcome.code == 125 && outcome.err.contains("mount tmpfs on ") && outcome.err.contains("have to be there"),
        "a tmpfs",
        &outcome,
    )?;
    must(!scratch.at("target").exists(), "it is not made", &outcome)
}

fn state_read_only() -> Result<(), Failed> {
    let scratch = Scratch::new("state-read-only");
    let dir = scratch.dir("state");
    let text =
        "dir=$1; shift; chmod 700 $dir && mount -o remount,ro $dir && exec \"$@\" --root $dir run --name x true";
    let mut script = script(text, &[&dir]);
    prepare(&mut script, vec![mounted("tmpfs", &dir)]);
    let outcome = outcome(Running::start(&mut script));
    let wanted = format!("nsctl: make the directory {dir}/");
    must(outcome.code == 125 && outcome.err.starts_with(&wanted), "what, and where", &outcome)?;
    must(outcome.err.ends_with("names another directory)\n"), "the way out", &outcome)
}

fn mount_errors() -> Result<(), Failed> {
    for (text, wanted) in [
        (
            "type=nfs,dst=/x",
            "there is no type nfs (there are bind, tmpfs, overlay, proc, sysfs, mqueue, devpts and cgroup)",
        ),
        ("type=tmpfs", "dst= is missing (where it is to be seen)"),
        ("type=bind,dst=/x", "src= is missing (the file or directory to show)"),
        ("type=tmpfs,src=/a,dst=/x", "src is for type=bind (leave it out)"),
        ("type=bind,src=/,dst=/x,tmpfs-size=1m", "size=1m is for type=tmpfs"),
        ("type=tmpfs,dst=/x,bind-propagation=rslave", "bind-… is for type=bind"),
        ("type=overlay,dst=/x", "lowerdir= is missing"),
        ("type=overlay,dst=/x,lowerdir=/a,upperdir=/b", "upperdir and workdir go together"),
        ("type=bind,src=/,dst=/x,idmap=1", "no map of ids (such as idmap=uids="),
        ("type=bind,src=/,dst=/x,colour=red", "colour is unknown or has a wrong value"),
        ("type=bind,src=/,dst=x", "the destination x is not absolute"),
        ("type=bind,src=/,dst=/a/../b", "has .. in it"),
        ("type=bind,src=/,dst=/", "is the root itself"),
        (
            "type=tmpfs,dst=/x,tmpfs-size=many",
            "mount tmpfs on /x: invalid argument, EINVAL (the kernel does not take these options",
        ),
        (
            "type=tmpfs,dst=/proc/sys",
            "mount tmpfs on /proc/sys: operation not permitted, EPERM (it leads into /proc or /sys",
        ),
    ] {
        let outcome = inside(&["--mount", text], "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), text, &outcome)?;
    }
    Ok(())
}

fn other_errors() -> Result<(), Failed> {
    for (option, text, wanted) in [
        ("-v", "/data", "nsctl has no anonymous volumes (--tmpfs DST, or SRC:DST)"),
        ("-v", "data:/data", "the source is no path (nsctl has no named volumes"),
        ("-v", "/a:/b:ro:z", "too many colons"),
        ("-v", "/a:/b:z", "nsctl does not relabel files for SELinux"),
        ("-v", "/a:/b:U", "nsctl changes no owners (idmap"),
        ("-v", "/a:/b:fast", "there is no option fast (there are ro, rw,"),
        ("-v", "/a:/b:idmap", "idmap without ranges is the container's own map, and it has none (--userns auto"),
        ("-v", "/a:/proc/x", "the destination /proc/x belongs to the kernel's own tables"),
        ("--tmpfs", "/sys/x", "the destination /sys/x belongs to the kernel's own tables"),
        ("--tmpfs", "/x:fast", "there is no option fast (there are size=,"),
        ("--tmpfs", "x", "the destination x is not absolute"),
    ] {
        let outcome = inside(&[option, text], "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), text, &outcome)?;
    }
    Ok(())
}

fn twice() -> Result<(), Failed> {
    for (options, wanted) in [
        (["-v", "/a:/x", "--tmpfs", "/x"], "nsctl: --volume and --tmpfs both go to /x\n"),
        (["-v", "/a:/x/", "--mount", "type=tmpfs,dst=/./x"], "nsctl: --volume and --mount both go to /x\n"),
    ] {
        let outcome = nsctl(&[&["run", "--rootfs", plain().path()], &options[..], &["true"]].concat());
        must(outcome.code == 125 && outcome.err == wanted, wanted, &outcome)?;
    }
    Ok(())
}
