//! `-v`, `--mount` and `--tmpfs`: what is seen where, what of it is the host's, and what is refused.

use std::fs;
use std::os::unix::fs::chown;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, Tree, bound, mounted, nsctl_with, plain, prepare, script, seen, spread};
use crate::masked;
use crate::nsctl::{Outcome, Running, must, outcome, shell};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_volume_is_a_file_or_a_directory_of_the_hosts", volumes),
    ("a_read_only_volume_is_so_all_the_way_down", read_only_recursive),
    ("bind_leaves_out_what_is_mounted_below", not_recursive),
    ("flags_of_a_volume_are_those_of_its_mount", flags),
    ("a_read_only_source_stays_read_only", read_only_source),
    ("rslave_hears_of_the_hosts_mounts", slave),
    ("rshared_hears_and_tells", shared),
    ("a_volume_is_private_unless_asked", private),
    ("a_missing_destination_is_made_but_not_on_the_host", missing_destination),
    ("a_destination_behind_a_link_stays_in_the_root", behind_links),
    ("without_a_root_mounts_are_the_containers_alone", without_root),
    ("mount_knows_every_type", types),
    ("an_overlay_is_of_directories_of_the_hosts", overlay),
    ("an_overlay_may_have_many_layers", many_layers),
    ("tmpfs_has_its_size_mode_and_owner", tmpfs),
    ("tmpfs_flags_can_be_taken_back", tmpfs_flags),
    ("idmap_shows_files_as_anothers", idmap),
    ("a_directory_is_mounted_before_what_is_below_it", sorted),
    ("the_hosts_root_as_a_volume_is_the_hosts_root", whole_host),
];

fn inside(options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", plain().path()], options].concat(), script)
}

/// The same with this mounted before, in a mount namespace that only nsctl sees.
fn inside_with(below: &str, options: &[&str], script: &str) -> Outcome {
    let words = [&["run", "--rootfs", plain().path()], options, &["sh", "-c", script]].concat();
    nsctl_with(vec![mounted("tmpfs", below)], &words)
}

/// Not the container's own root under construction, nor the stage that it stands on.
fn whole_host() -> Result<(), Failed> {
    let mut names: Vec<_> =
        fs::read_dir("/")?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    let wanted: String = names.iter().map(|name| format!("{}\n", name.display())).collect();
    for volume in ["/:/x", "/:/x:ro", "/:/x:bind"] {
        let outcome = inside(&["-v", volume], "ls -A /x; ls /x/proc | grep -c '^[0-9]*$'");
        let (files, processes) = outcome.out.trim_end().rsplit_once('\n').unwrap_or_default();
        let mounted = processes.parse::<u32>().is_ok_and(|count| count > 2);
        must(format!("{files}\n") == wanted && mounted != volume.contains("bind"), volume, &outcome)?;
    }
    Ok(())
}

fn volumes() -> Result<(), Failed> {
    let scratch = Scratch::new("volumes");
    let (file, dir) = (scratch.file("file", "text\n"), scratch.dir("dir"));
    let (file, dir) = (format!("{file}:/etc/file"), format!("{dir}:/data"));
    let outcome = inside(&["-v", &file, "-v", &dir], "cat /etc/file; echo new > /data/x; echo more >> /etc/file");
    must(outcome.out == "text\n" && outcome.err.is_empty(), "inside", &outcome)?;
    must(fs::read_to_string(scratch.at("dir/x"))? == "new\n", "the directory is the host's", &outcome)?;
    must(fs::read_to_string(scratch.at("file"))? == "text\nmore\n", "and so is the file", &outcome)
}

fn read_only_recursive() -> Result<(), Failed> {
    let scratch = Scratch::new("recursive");
    let below = scratch.dir("data/below");
    for option in ["-v", "--mount"] {
        let data = scratch.path("data");
        let volume = if option == "-v" {
            format!("{data}:/data:ro")
        } else {
            format!("type=bind,src={data},dst=/data,readonly")
        };
        let script = "touch /data/x /data/below/x; cat /proc/self/mountinfo";
        let outcome = inside_with(&below, &[option, &volume], script);
        must(outcome.err.matches("Read-only file system").count() == 2, "EROFS, twice", &outcome)?;
        let lines = seen(&outcome.out, "/data");
        let right = lines.len() == 2 && lines.iter().all(|line| line.contains(" ro,"));
        must(right, &format!("two mounts, both ro: {lines:?}"), &outcome)?;
    }
    Ok(())
}

fn not_recursive() -> Result<(), Failed> {
    let scratch = Scratch::new("bind");
    let (data, below) = (scratch.dir("data"), scratch.dir("data/below"));
    let mount = |more: &str| format!("type=bind,src={data},dst=/data{more}");
    for (option, text, count) in [
        ("-v", format!("{data}:/data"), 2),
        ("-v", format!("{data}:/data:rbind"), 2),
        ("-v", format!("{data}:/data:bind"), 1),
        ("--mount", mount(""), 2),
        ("--mount", mount(",bind-nonrecursive"), 1),
        ("--mount", mount(",bind-recursive=disabled"), 1),
    ] {
        let outcome = inside_with(&below, &[option, &text], "cat /proc/self/mountinfo");
        must(seen(&outcome.out, "/data").len() == count, &format!("{text}: {count}"), &outcome)?;
    }
    Ok(())
}

fn flags() -> Result<(), Failed> {
    let scratch = Scratch::new("flags");
    let data = scratch.dir("data");
    // The machine's own flags are not ours to know: a fresh file system has none.
    let options = |asked: &str| -> Result<String, Failed> {
        let volume = format!("{data}:/data:{asked}");
        let outcome = inside_with(&data, &["-v", &volume], "cat /proc/self/mountinfo");
        let lines = seen(&outcome.out, "/data");
        must(lines.len() == 1, "one mount", &outcome)?;
        Ok(lines[0].split(' ').nth(1).unwrap_or_default().to_string())
    };
    for (asked, wanted) in [
        ("rw", "rw,relatime"),
        ("nosuid", "rw,nosuid,relatime"),
        ("nodev,noexec", "rw,nodev,noexec,relatime"),
        ("ro,nosuid,nodev,noexec", "ro,nosuid,nodev,noexec,relatime"),
        ("noatime,nocopy", "rw,noatime"),
        ("ro,rw,nosuid,suid", "rw,relatime"),
    ] {
        let got = options(asked)?;
        if got != wanted {
            return Err(format!("{asked}: {got} instead of {wanted}").into());
        }
    }
    Ok(())
}

fn read_only_source() -> Result<(), Failed> {
    let scratch = Scratch::new("source");
    let data = scratch.dir("data");
    for option in ["", ":rw", ":nosuid"] {
        let volume = format!("{data}:/data{option}");
        let words = ["run", "--rootfs", plain().path(), "-v", &volume, "touch", "/data/x"];
        let outcome = nsctl_with(vec![spread(&data, libc::MS_RDONLY).of("tmpfs")], &words);
        must(outcome.err.contains("Read-only file system"), option, &outcome)?;
    }
    Ok(())
}

/// What the container and then the host see of a mount that the other one made after the start.
fn propagation(option: &str) -> Outcome {
    const SCRIPT: &str = "
        until_there() { i=0; until test -e $1 || [ $((i += 1)) -gt 3000 ]; do sleep 0.02; done; }
        src=$1 root=$2 option=$3; shift 3
        \"$@\" run --cap-add SYS_ADMIN --rootfs $root -v $src:/data$option -- sh -c '
            until_there() { i=0; until test -e $1 || [ $((i += 1)) -gt 3000 ]; do sleep 0.02; done; }
            echo > /data/ready; until_there /data/go
            if test -e /data/host/mark; then echo inside: seen; else echo inside: unseen; fi
            mount -t tmpfs x /data/inside; echo > /data/inside/mark; echo > /data/done; until_there /data/end' &
        until_there $src/ready; mount -t tmpfs x $src/host; echo > $src/host/mark; echo > $src/go
        until_there $src/done
        if test -e $src/inside/mark; then echo host: seen; else echo host: unseen; fi
        echo > $src/end; wait $!";
    let scratch = Scratch::new("propagation");
    let src = scratch.dir("src");
    scratch.dir("src/host");
    scratch.dir("src/inside");
    let mut host = script(SCRIPT, &[&src, plain().path(), option]);
    prepare(&mut host, vec![bound(&src), spread(&src, libc::MS_SHARED)]);
    outcome(Running::start(&mut host))
}

/// open_tree(2) alone can take a mount's propagation along.
fn old_kernel() -> bool {
    matches!(masked::current(), Some(("mount_api" | "open_tree", _)))
}

fn refused_by_old_kernels(option: &str) -> Result<(), Failed> {
    let volume = format!("/tmp:/data:{option}");
    let outcome = inside(&["-v", &volume], "true");
    let wanted = "nsctl: --volume: this kernel cannot take a mount's propagation along (it takes open_tree(2), Linux 5.2; \
                  leave shared and slave out)\n";
    must(outcome.code == 125 && outcome.err == wanted, option, &outcome)
}

fn slave() -> Result<(), Failed> {
    for option in ["rslave", "slave"] {
        if old_kernel() {
            refused_by_old_kernels(option)?;
            continue;
        }
        let outcome = propagation(&format!(":{option}"));
        must(outcome.out == "inside: seen\nhost: unseen\n", option, &outcome)?;
    }
    Ok(())
}

fn shared() -> Result<(), Failed> {
    for option in ["rshared", "shared"] {
        if old_kernel() {
            refused_by_old_kernels(option)?;
            continue;
        }
        let outcome = propagation(&format!(":{option}"));
        must(outcome.out == "inside: seen\nhost: seen\n", option, &outcome)?;
    }
    Ok(())
}

fn private() -> Result<(), Failed> {
    for option in ["", ":rprivate", ":private"] {
        let outcome = propagation(option);
        must(outcome.out == "inside: unseen\nhost: unseen\n", option, &outcome)?;
    }
    Ok(())
}

fn missing_destination() -> Result<(), Failed> {
    let scratch = Scratch::new("destination");
    let (file, dir) = (scratch.file("file", "text\n"), scratch.dir("dir"));
    let (file, dir) = (format!("{file}:/new/etc/file"), format!("{dir}:/new/dir"));
    let before = Tree::of(plain().path());
    let outcome = inside(&["-v", &file, "-v", &dir], "cat /new/etc/file; stat -c '%a %F' /new /new/etc; umask");
    must(outcome.out == "text\n755 directory\n755 directory\n0022\n", "made", &outcome)?;
    Tree::of(plain().path()).must_be(&before)
}

fn behind_links() -> Result<(), Failed> {
    let root = Root::plain("links")
        .symlink("/real", "absolute")
        .symlink("../../../../real", "deep")
        .symlink("missing/below", "dangling")
        .dir("real");
    let scratch = Scratch::new("links");
    let file = scratch.file("file", "text\n");
    for (target, place) in [
        ("/absolute/x", "/real/x"),
        ("/deep/x", "/real/x"),
        ("/dangling/x", "/missing/below/x"),
        ("/dangling", "/missing/below"),
    ] {
        let before = Tree::of(root.path());
        let volume = format!("{file}:{target}");
        let outcome = shell(&["--rootfs", root.path(), "-v", &volume], &format!("cat {target} {place}"));
        must(outcome.out == "text\ntext\n", target, &outcome)?;
        Tree::of(root.path()).must_be(&before)?;
    }
    Ok(())
}

fn without_root() -> Result<(), Failed> {
    let scratch = Scratch::new("host");
    let (source, target, memory) = (scratch.dir("source"), scratch.dir("target"), scratch.dir("memory"));
    scratch.file("source/x", "text\n");
    let volume = format!("{source}:{target}:ro");
    let script = format!(
        "cat {target}/x; touch {target}/y; echo > {memory}/x; ls {memory}; grep -c {} /proc/self/mountinfo",
        scratch.path("")
    );
    let outcome = shell(&["-v", &volume, "--tmpfs", &memory], &script);
    must(outcome.out == "text\nx\n2\n" && outcome.err.contains("Read-only"), "two mounts inside", &outcome)?;
    let empty = |name: &str| fs::read_dir(scratch.at(name)).unwrap().next().is_none();
    must(empty("target") && empty("memory"), "and none outside", &outcome)
}

fn types() -> Result<(), Failed> {
    let known = fs::read_to_string("/proc/filesystems")?;
    for (text, wanted) in [
        ("type=tmpfs", "rw,nosuid,nodev,noexec,relatime tmpfs"),
        ("type=tmpfs,exec,dev,suid,ro", "ro,relatime tmpfs"),
        ("type=proc", "rw,nosuid,nodev,noexec,relatime proc"),
        ("type=sysfs", "ro,nosuid,nodev,noexec,relatime sysfs"),
        ("type=mqueue", "rw,nosuid,nodev,noexec,relatime mqueue"),
        ("type=devpts", "rw,nosuid,noexec,relatime devpts"),
        ("type=cgroup", "ro,nosuid,nodev,noexec,relatime cgroup2"),
    ] {
        let fs = wanted.rsplit(' ').next().unwrap();
        if !known.contains(fs) {
            eprintln!("not tried: this kernel has no {fs}");
            continue;
        }
        let outcome = inside(&["--mount", &format!("{text},dst=/x/y")], "cat /proc/self/mountinfo");
        must(seen(&outcome.out, "/x/y") == [format!("/x/y {wanted}")], text, &outcome)?;
    }
    Ok(())
}

fn overlay() -> Result<(), Failed> {
    let scratch = Scratch::new("overlay");
    let names = ["a", "b", "up", "work"].map(|name| scratch.dir(name));
    scratch.file("a/both", "a\n");
    scratch.file("b/both", "b\n");
    scratch.file("b/only", "b\n");
    let [a, b, up, work] = names;
    let text = format!("type=overlay,dst=/x,lowerdir={a}:{b},upperdir={up},workdir={work}");
    let outcome =
        inside(&["--mount", &text], "cat /x/both /x/only; echo new > /x/new; grep ' /x ' /proc/self/mountinfo");
    must(outcome.out.starts_with("a\nb\n") && outcome.out.contains(" - overlay "), "the first is on top", &outcome)?;
    must(fs::read_to_string(scratch.at("up/new"))? == "new\n", "changes are on the host", &outcome)?;
    let text = format!("type=overlay,dst=/x,lowerdir={a}:{b}");
    let outcome = inside(&["--mount", &text], "touch /x/y");
    must(outcome.err.contains("Read-only file system"), "without an upper one it is read-only", &outcome)
}

/// More than fit into the 255 bytes of an option's value.
fn many_layers() -> Result<(), Failed> {
    let scratch = Scratch::new("layers");
    let layers: Vec<String> = (0..40).map(|number| scratch.dir(&number.to_string())).collect();
    for number in 0..40 {
        scratch.file(&format!("{number}/{number}"), "");
        scratch.file(&format!("{number}/all"), &format!("{number}\n"));
    }
    let text = format!("type=overlay,dst=/x,lowerdir={}", layers.join(":"));
    let outcome = inside(&["--mount", &text], "ls /x | wc -l; cat /x/all");
    must(outcome.out == "41\n0\n", "each is in it, and the first on top", &outcome)
}

fn tmpfs() -> Result<(), Failed> {
    let options = [
        "--tmpfs",
        "/a:size=64k,mode=1750,uid=7,gid=8",
        "--mount",
        "type=tmpfs,dst=/b,tmpfs-size=64k,tmpfs-mode=700",
    ];
    let script = "stat -c '%a %u:%g' /a /b; for d in /a /b; do dd if=/dev/zero of=$d/x bs=4k count=100 2>/dev/null; wc -c < $d/x; done";
    let outcome = inside(&options, script);
    must(outcome.out == "1750 7:8\n700 0:0\n65536\n65536\n", "as asked", &outcome)?;
    let outcome = inside(&["--tmpfs", "/a"], "stat -c %a /a; cat /proc/self/mountinfo");
    must(outcome.out.starts_with("1777\n"), "the kernel's default", &outcome)?;
    must(seen(&outcome.out, "/a") == ["/a rw,nosuid,nodev,noexec,relatime tmpfs"], "and docker's flags", &outcome)
}

fn tmpfs_flags() -> Result<(), Failed> {
    let outcome = inside(
        &["--tmpfs", "/a:exec,suid,dev", "--tmpfs", "/b:ro"],
        "cp /bin/busybox /a/true; /a/true && echo ran; cat /proc/self/mountinfo",
    );
    must(outcome.out.starts_with("ran\n"), "exec", &outcome)?;
    let lines = [seen(&outcome.out, "/a"), seen(&outcome.out, "/b")].concat();
    must(lines == ["/a rw,relatime tmpfs", "/b ro,nosuid,nodev,noexec,relatime tmpfs"], "flags", &outcome)
}

fn idmap() -> Result<(), Failed> {
    let scratch = Scratch::new("idmap");
    let data = scratch.dir("data");
    for (name, owner) in [("data/root", 0), ("data/user", 7)] {
        scratch.file(name, "");
        chown(scratch.at(name), Some(owner), Some(owner))?;
    }
    let volume = format!("{data}:/data:idmap=uids=0-1000-1#7-2000-1;gids=0-3000-8");
    let outcome = inside(&["-v", &volume], "stat -c '%u:%g' /data/root /data/user");
    if matches!(masked::current(), Some(("mount_api" | "open_tree" | "mount_setattr", _))) {
        let wanted = "nsctl: --volume: this kernel cannot map a mount's owners (idmap takes open_tree(2) and \
                      mount_setattr(2), Linux 5.12)\n";
        return must(outcome.code == 125 && outcome.err == wanted, "refused", &outcome);
    }
    if outcome.err.contains("this kernel cannot map ") {
        eprintln!("not tried: {}", outcome.err.trim());
        return must(outcome.code == 125, "refused", &outcome);
    }
    must(outcome.out == "1000:3000\n2000:3007\n", "as they are to be seen", &outcome)
}

fn sorted() -> Result<(), Failed> {
    let scratch = Scratch::new("sorted");
    let (outer, inner) = (scratch.dir("outer"), scratch.dir("inner"));
    scratch.dir("outer/y/z");
    scratch.file("inner/f", "inner\n");
    let (inner, outer) = (format!("{inner}:/x/y"), format!("{outer}:/x"));
    let script = "cat /x/y/f; ls /x; touch /x/y/z/m; ls /x/y/z";
    scratch.dir("inner/z");
    let outcome = inside(&["--tmpfs", "/x/y/z", "-v", &inner, "-v", &outer], script);
    must(outcome.out == "inner\ny\nm\n", "all three are seen", &outcome)?;
    must(fs::read_dir(scratch.at("inner/z"))?.next().is_none(), "the deepest is memory", &outcome)
}
