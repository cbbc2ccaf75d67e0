//! User namespaces that root gives to containers: root inside is nobody on the host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, kernel, nsctl_with, over, plain, skip};
use crate::life::{Kept, refused, says, until};
use crate::masked;
use crate::nsctl::{Outcome, must, nsctl, shell};
use crate::root::Root;

/// Who the host knows the command as does not depend on how files are found.
pub(crate) const CASES: &[(&str, Case)] = &[
    ("root_inside_is_nobody_outside", nobody),
    ("its_root_is_its_own_and_stays_the_hosts", rooted),
    ("what_it_writes_to_the_directory_has_its_numbers", direct),
    ("changes_are_kept_by_its_own_numbers", kept_changes),
    ("images", images),
    ("devices_terminals_and_memory_are_its_roots", owners),
];

pub(crate) const UNMASKED: &[(&str, Case)] = &[
    ("volumes_stay_those_of_the_host", volumes),
    ("volumes_by_its_own_map", mapped_volumes),
    ("no_two_have_the_same_ids", apart),
    ("ids_are_those_of_subuid_and_come_back", ranges),
    ("the_same_for_exec_and_the_next_start", life),
    ("maps_that_are_asked_for", maps),
    ("what_does_not_fit_is_refused", refusals),
    ("it_is_root_of_its_own_network_alone", network),
    ("copies_have_its_numbers", copies),
    ("a_group_that_was_handed_over_is_its_roots", delegated),
    ("who_comes_in_is_out_of_the_commands_reach", reach),
    ("privileged_is_so_in_its_namespace_alone", privileged),
];

/// Whether roots can be mapped here: that takes Linux 5.12, 5.19 for an overlay, and of the file system that the root is in.
pub(crate) fn rootable() -> bool {
    let outcome = nsctl(&["run", "--userns", "auto", "--rootfs", plain().path(), "true"]);
    if outcome.code == 125 && (outcome.err.contains("5.12") || outcome.err.contains("5.19")) {
        match masked::current() {
            Some(_) => println!("refused, as the mask has it: {}", outcome.err.trim()),
            None => skip(outcome.err.trim()),
        }
        return false;
    }
    true
}

fn inside(options: &[&str], script: &str) -> Outcome {
    shell(&[&["--userns", "auto", "--rootfs", plain().path()], options].concat(), script)
}

fn lines(outcome: &Outcome, right: &[&str]) -> Result<(), Failed> {
    let text: Vec<&str> = outcome.out.lines().collect();
    must(outcome.code == 0 && text == right, &format!("{right:?}"), outcome)
}

/// The first line of a map: (inside, outside, how many).
fn map(text: &str) -> (u32, u32, u32) {
    let numbers: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1], numbers[2])
}

fn nobody() -> Result<(), Failed> {
    let scratch = Scratch::new("nobody");
    let secret = scratch.file("secret", "secret\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let script = format!(
        "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; cat {secret}; (: >>{secret}); kill -0 1; echo $?"
    );
    let here = shell(&["--userns", "auto"], &script);
    let text: Vec<&str> = here.out.lines().collect();
    must(text.len() == 5 && text[0] == "0" && text[1] == "0" && text[4] == "1", "root, and nobody", &here)?;
    let (first, outside, count) = map(text[2]);
    must(first == 0 && outside >= 65536 && count == 65536 && map(text[3]) == (0, outside, count), "ids", &here)?;
    // And so the host sees it.
    let kept = Kept::shell(&["--userns", "auto"], "cat /proc/self/uid_map; exec sleep 600")?;
    let said = kept.said("65536")?;
    let (_, outside, _) = map(&said.out);
    let children = format!("/proc/{0}/task/{0}/children", kept.pid());
    until("its command is that user's", || {
        let child = fs::read_to_string(&children).unwrap_or_default();
        fs::metadata(format!("/proc/{}", child.trim())).is_ok_and(|proc| proc.uid() == outside)
    })
}

fn rooted() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let root = Root::plain("mapped").file("mine", "").file("yours", "");
    chown(root.at("yours"), Some(7), Some(8))?;
    fs::set_permissions(root.at("mine"), fs::Permissions::from_mode(0o600))?;
    let script = "stat -c '%u:%g %a' / /mine /yours /etc/hosts; echo x >/mine; mkdir /made; chown 5:6 /made; \
                  stat -c '%u:%g' /made; rm /yours; stat -c '%u:%g' /newly; pwd";
    let words = ["run", "--userns", "auto", "--rootfs", root.path(), "-w", "/newly", "--", "sh", "-c", script];
    let mode = fs::metadata(root.at(""))?.mode() & 0o7777;
    let first = format!("0:0 {mode:o}");
    lines(&nsctl(&words), &[&first, "0:0 600", "7:8 644", "0:0 644", "5:6", "0:0", "/newly"])?;
    let mine = fs::metadata(root.at("mine"))?;
    let untouched = (mine.uid(), mine.len()) == (0, 0) && root.at("yours").exists() && !root.at("made").exists();
    must(untouched, "the directory is as it was", &inside(&[], "true"))
}

fn direct() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let root = Root::plain("mapped-rw").dir("tmp");
    let script = "echo x >/made; chown 5:6 /made; cp /bin/sh /strong; chmod 4755 /strong; cd /newly && touch in";
    let words =
        ["run", "--userns", "auto", "--rootfs", root.path(), "--rw", "-w", "/newly", "--", "sh", "-c", script];
    let here = nsctl(&words);
    lines(&here, &[])?;
    let owner = |name: &str| fs::metadata(root.at(name)).map(|made| (made.uid(), made.gid()));
    must(owner("made")? == (5, 6) && owner("newly/in")? == (0, 0), "numbers of its own", &here)
}

/// The same changes with other ids: on the disk they have the numbers of the container.
fn kept_changes() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let scratch = Scratch::new("userns-upper");
    let upper = scratch.path("upper");
    let with = |map: &str, script: &str| {
        shell(&["--userns", map, "--rootfs", plain().path(), "--overlay-upper", &upper], script)
    };
    let made = with("0:300000:65536", "echo x >/kept; chown 5:6 /kept; rm /bin/ls; stat -c '%u:%g' /");
    if made.code == 125 && made.err.contains("file system") {
        skip(made.err.trim());
        return Ok(());
    }
    lines(&made, &["0:0"])?;
    let script = "stat -c '%u:%g' / /kept; cat /kept; test -e /bin/ls; echo $?; cat /proc/self/uid_map";
    let here = with("0:900000:1000", script);
    let text: Vec<&str> = here.out.lines().collect();
    must(here.code == 0 && text[..4] == ["0:0", "5:6", "x", "1"], "the same", &here)?;
    must(map(text[4]) == (0, 900_000, 1000), "with other ids", &here)?;
    let kept = fs::metadata(scratch.at("upper/kept"))?;
    must((kept.uid(), kept.gid()) == (5, 6), "on the disk", &here)
}

fn images() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let Some(images) = std::env::var_os("NSCTL_IMAGES").map(std::path::PathBuf::from) else {
        skip("NSCTL_IMAGES names no images");
        return Ok(());
    };
    for (name, since) in [("busybox.ext4", (5, 12)), ("busybox.erofs", (5, 19)), ("busybox.squashfs", (6, 2))] {
        let image = images.join(name);
        let image = image.to_string_lossy();
        let script = "stat -c '%u:%g' / /bin/busybox; touch /made && stat -c '%u:%g' /made";
        let plain = nsctl(&["run", "--image", &image, "--", "sh", "-c", "true"]);
        if plain.code == 125 {
            println!("{name} is not to be had here: {}", plain.err.trim());
            continue;
        }
        let here = nsctl(&["run", "--userns", "auto", "--image", &image, "--", "sh", "-c", script]);
        if kernel() < since {
            must(here.code == 125 && here.err.contains("cannot map owners"), "refused", &here)?;
            continue;
        }
        lines(&here, &["0:0", "0:0", "0:0"])?;
    }
    Ok(())
}

fn owners() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let script = "stat -c '%n %u:%g' /dev /dev/null /dev/shm /t /u; echo x >/dev/shm/x; stat -c %u /dev/shm/x";
    let here = inside(&["--tmpfs", "/t", "--tmpfs", "/u:uid=7,gid=8"], script);
    lines(&here, &["/dev 0:0", "/dev/null 0:0", "/dev/shm 0:0", "/t 0:0", "/u 7:8", "0"])?;
    let here = inside(&["-t"], "stat -c '%u:%g' /dev/console $(tty)");
    let text: Vec<&str> = here.out.lines().map(str::trim_end).collect();
    must(here.code == 0 && text == ["0:5", "0:5"], "the terminal is its root's", &here)?;
    let here = inside(&["-t", "-u", "9"], "stat -c '%u:%g' $(tty); : <>$(tty)");
    must(here.code == 0 && here.out.trim_end() == "9:5", "or the user's", &here)
}

/// A volume is not mapped: what is root's there stays the host's root's, and nothing that root inside makes becomes that.
fn volumes() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let scratch = Scratch::new("userns-volume");
    let (secret, open) = (scratch.file("secret", "secret"), scratch.dir("open"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
    let volume = format!("{}:/v", scratch.path(""));
    let script = "stat -c '%u:%g' /v/secret; cat /v/secret; chown 0 /v/secret; chmod 777 /v/secret; rm -f /v/secret; \
                  cp /bin/sh /v/open/sh && chmod 4755 /v/open/sh; chown 65534 /v/open/sh; mknod /v/open/null c 1 3; \
                  stat -c '%u:%g' /v/open/sh";
    let words = ["--cap-add", "ALL", "--security-opt", "no-new-privileges=false", "-v", &volume];
    let here = inside(&words, script);
    lines(&here, &["65534:65534", "65534:0"])?;
    let made = fs::metadata(scratch.at("open/sh"))?;
    must(made.uid() >= 65536 && made.mode() & 0o4000 == 0, "its program is its own, and not root's", &here)?;
    let left = fs::metadata(&secret)?;
    let right = (left.uid(), left.mode() & 0o7777) == (0, 0o600) && fs::read_to_string(&secret)? == "secret";
    must(right && !scratch.at("open/null").exists(), "what is the host's is as it was", &here)
}

fn mapped_volumes() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let scratch = Scratch::new("userns-mapped");
    let data = scratch.dir("data");
    chown(scratch.file("data/user", ""), Some(7), Some(8))?;
    for how in ["-v", "--mount"] {
        let volume = match how {
            "-v" => format!("{data}:/v:idmap"),
            _ => format!("type=bind,src={data},dst=/v,idmap"),
        };
        let here = inside(&[how, &volume], "stat -c '%u:%g' /v /v/user; touch /v/made && chown 5:6 /v/made");
        lines(&here, &["0:0", "7:8"])?;
        let made = fs::metadata(scratch.at("data/made"))?;
        must((made.uid(), made.gid()) == (5, 6), "as the container has it", &here)?;
        fs::remove_file(scratch.at("data/made"))?;
    }
    let volume = format!("{data}:/v:idmap");
    refused(&["run", "--rootfs", plain().path(), "-v", &volume, "true"], 125, "--userns auto gives it one")
}

/// nsctl where /etc has these ranges, and nothing else.
fn with_ranges(text: &str, args: &[&str]) -> Outcome {
    let scratch = Scratch::new("ranges");
    scratch.file("subuid", text);
    scratch.file("subgid", text);
    nsctl_with(vec![over(&scratch.path(""), "/etc")], args)
}

fn apart() -> Result<(), Failed> {
    let mut firsts = BTreeSet::new();
    let mut kept = Vec::new();
    for _ in 0..8 {
        let one = Kept::shell(&["--userns", "auto:size=1000"], "cat /proc/self/uid_map; exec sleep 600")?;
        let said = one.said("1000")?;
        let (_, first, count) = map(&said.out);
        must(count == 1000 && firsts.insert(first), "other ids than the others", &said)?;
        kept.push(one);
    }
    let all: Vec<u32> = firsts.into_iter().collect();
    let far = all.windows(2).all(|pair| pair[1] - pair[0] >= 1000);
    if far { Ok(()) } else { Err(format!("they overlap: {all:?}").into()) }
}

fn ranges() -> Result<(), Failed> {
    if fs::metadata("/etc").is_err() {
        skip("there is no /etc");
        return Ok(());
    }
    let text = "nobody:5:70000\ncontainers:300000:131072\n";
    let start = |name: &str| {
        let script = "cat /proc/self/uid_map; exec sleep 600";
        with_ranges(text, &["run", "-d", "--name", name, "--userns", "auto", "sh", "-c", script])
    };
    let (one, two) = (start("one"), start("two"));
    let kept = [&one, &two].map(|started| Kept(started.out.trim().to_string()));
    must(one.code == 0 && two.code == 0, "both start", &two)?;
    let firsts = [map(&kept[0].said("65536")?.out).1, map(&kept[1].said("65536")?.out).1];
    let right = firsts == [300_000, 365_536] || firsts == [365_536, 300_000];
    must(right, &format!("they are the two that there are, not {firsts:?}"), &two)?;
    let third = start("three");
    must(third.code == 125 && third.err.contains("all ids for containers are taken"), "no third", &third)?;
    // However a container ends, its ids come back.
    // SAFETY: PID 1 of a container of ours.
    unsafe { libc::kill(kept[0].pid(), libc::SIGKILL) };
    until("the first has ended", || kept[0].shown("state").starts_with("exited"))?;
    // What tells that it has ended, and its ids, are locks: the kernel closes the files of one that was killed in turn.
    let mut fourth = start("four");
    until("a place is free again", || {
        if fourth.code != 0 {
            fourth = start("four");
        }
        fourth.code == 0
    })?;
    let kept_fourth = Kept(fourth.out.trim().to_string());
    let first = map(&kept_fourth.said("65536")?.out).1;
    must(first == firsts[0], "that of the first", &fourth)?;
    // Without such a line they are none of those that users have.
    let others = "bob:524288:1000000000\nann:1000524288:878392832\n";
    let last = with_ranges(others, &["run", "--userns", "auto", "cat", "/proc/self/uid_map"]);
    must(last.code == 0 && map(&last.out) == (0, 1_878_917_120, 65536), "the only ones left", &last)?;
    let small = with_ranges("containers:1:9\n", &["run", "--userns", "auto", "true"]);
    must(small.code == 125 && small.err.contains("there are no 65536 ids in a row"), "too few", &small)
}

fn life() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let script = "cat /proc/self/uid_map; exec sleep 600";
    let kept = Kept::shell(&["--userns", "auto", "--rootfs", plain().path()], script)?;
    let first = kept.said("65536")?;
    let (_, outside, _) = map(&first.out);
    let here = nsctl(&[
        "exec",
        kept.id(),
        "sh",
        "-c",
        "cat /proc/self/uid_map; id -u; cat /proc/1/environ || kill -9 1; echo $?",
    ]);
    let text: Vec<&str> = here.out.lines().collect();
    must(map(text[0]).1 == outside && text[1..] == ["0", "1"], "exec is in the same namespace", &here)?;
    let same = "test $(stat -Lc %i /proc/self/ns/user) = $(stat -Lc %i /proc/2/ns/user)";
    says(&["exec", kept.id(), "sh", "-c", same], 0, "")?;
    let there = nsctl(&["exec", "-u", "9:9", "-w", "/made", kept.id(), "sh", "-c", "stat -c '%u' . ; id -u"]);
    lines(&there, &["0", "9"])?;
    let terminal = nsctl(&["exec", "-t", kept.id(), "sh", "-c", "stat -c '%u:%g' $(tty)"]);
    must(terminal.out.trim_end() == "0:5", "a terminal of its root's", &terminal)?;
    let inspected = kept.inspected();
    let (has_map, has_inode) = (format!("\"uid_map\":[\"0 {outside} 65536\"]"), "\"user\":40");
    if !inspected.contains(&has_map) || !inspected.contains(has_inode) {
        return Err(format!("inspect tells nothing of it: {inspected}").into());
    }
    says(&["restart", "-t", "0", kept.id()], 0, &format!("{}\n", kept.id()))?;
    until("it is started again", || nsctl(&["logs", kept.id()]).out.matches("65536").count() >= 2)?;
    let second = nsctl(&["logs", kept.id()]);
    let last = second.out.lines().last().unwrap_or_default();
    must(map(last).1 == outside, "with the ids that it had", &second)
}

fn maps() -> Result<(), Failed> {
    for (options, users, groups) in [
        (&["--userns", "0:300000:10,10:400000:5"][..], "0 300000 10 10 400000 5", "0 300000 10 10 400000 5"),
        (&["--uidmap", "0:300000:10", "--gidmap", "0:400000:10"], "0 300000 10", "0 400000 10"),
        (&["--uidmap", "0:300000:10"], "0 300000 10", "0 300000 10"),
    ] {
        let here = shell(options, "echo $(cat /proc/self/uid_map); echo $(cat /proc/self/gid_map); id -u");
        lines(&here, &[users, groups, "0"])?;
    }
    lines(&shell(&["--userns", "host"], "echo $(cat /proc/self/uid_map)"), &["0 0 4294967295"])?;
    lines(&shell(&["--userns", "0:300000:10", "-u", "9:3"], "id -u; id -g"), &["9", "3"])
}

fn refusals() -> Result<(), Failed> {
    for (options, words) in [
        (&["--userns", "keep-id"][..], "root is root inside, too"),
        (&["--userns", "1:300000:9"], "has no root, 0, inside"),
        (&["--userns", "0:300000:9", "-u", "9"], "there is no user 9 in the container"),
        (&["--userns", "0:300000:9", "-u", "1:9"], "there is no group 9 in the container"),
        (&["--userns", "0:300000:9", "--group-add", "10"], "there is no group 10 in the container"),
        (&["--userns", "auto", "--isolate=landlock"], "--isolate=landlock makes no namespaces"),
        (&["--userns", "auto:size=0"], "that is no number of ids"),
        (&["--userns", "auto", "--uidmap", "0:1:1"], "contradict each other"),
    ] {
        refused(&[&["run"], options, &["true"]].concat(), 125, words)?;
    }
    // A name that its files give a number which it has not.
    let root = Root::plain("far").file("etc/passwd", "far:x:70000:70000::/:/bin/sh\n");
    if !rootable() {
        return Ok(());
    }
    refused(
        &["run", "--userns", "auto", "--rootfs", root.path(), "-u", "far", "true"],
        125,
        "is not in the container's map of ids",
    )?;
    let tmpfs = ["run", "--userns", "auto", "--rootfs", plain().path(), "--tmpfs", "/t:uid=65536", "true"];
    refused(&tmpfs, 125, "the container has no such number")
}

/// What its root may change is its own.
fn network() -> Result<(), Failed> {
    let script = "ip link set lo down; echo $?; ip link set lo mtu 1400; echo $?";
    let with = |network: &str| shell(&["--userns", "auto", "--network", network, "--cap-add", "NET_ADMIN"], script);
    lines(&with("none"), &["0", "0"])?;
    let host = with("host");
    let failed = host.out.lines().all(|code| code != "0");
    must(host.out.lines().count() == 2 && failed, "the host's network is not", &host)?;
    let name =
        shell(&["--userns", "auto", "--cap-add", "SYS_ADMIN", "--hostname", "a"], "hostname; hostname b && hostname");
    must(name.out.ends_with("a\nb\n"), "its name is", &name)
}

fn copies() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let scratch = Scratch::new("userns-cp");
    let file = scratch.file("file", "text");
    chown(&file, Some(7), Some(8))?;
    let root = Root::plain("userns-cp").dir("there");
    for options in [&[][..], &["--rw"]] {
        let words = [&["--userns", "auto", "--rootfs", root.path()], options].concat();
        let kept = Kept::shell(&words, "exec sleep 600")?;
        let to = |name: &str| format!("{}:/there/{name}", kept.id());
        says(&["cp", &file, &to("plain")], 0, "")?;
        says(&["cp", "-a", &file, &to("kept")], 0, "")?;
        let script = "stat -c '%u:%g' /there/plain /there/kept; echo x >/there/own; chown 5:6 /there/own";
        lines(&nsctl(&["exec", kept.id(), "sh", "-c", script]), &["0:0", "7:8"])?;
        says(&["cp", "-a", &to("own"), &scratch.path("back")], 0, "")?;
        let back = fs::metadata(scratch.at("back"))?;
        must((back.uid(), back.gid()) == (5, 6), "and back", &inside(&[], "true"))?;
        fs::remove_file(scratch.at("back"))?;
    }
    set_ids()?;
    // One that has ended.
    let kept = Kept::shell(&["--userns", "auto", "--rootfs", root.path(), "--rw"], "true")?;
    until("it has ended", || kept.shown("state").starts_with("exited"))?;
    says(&["cp", &file, &format!("{}:/there/late", kept.id())], 0, "")?;
    let late = fs::metadata(root.at("there/late"))?;
    must(late.uid() == 0, "as its root's", &inside(&[], "true"))
}

/// They are not of whoever a file becomes.
fn set_ids() -> Result<(), Failed> {
    let scratch = Scratch::new("userns-set-ids");
    let root = Root::plain("userns-set-ids").dir("there");
    let set = |path: std::path::PathBuf, id: u32| -> Result<(), Failed> {
        fs::write(&path, "")?;
        chown(&path, Some(id), Some(id))?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o6755))?)
    };
    set(root.at("there/far"), 70_000)?;
    set(scratch.at("far"), 70_000)?;
    set(scratch.at("near"), 7)?;
    let script = "cp /bin/sh /there/own && chmod 6755 /there/own; exec sleep 600";
    let kept = Kept::shell(&["--userns", "auto", "--rootfs", root.path()], script)?;
    let there = |name: &str| format!("{}:/there/{name}", kept.id());
    until("it has made its file", || nsctl(&["exec", kept.id(), "test", "-u", "/there/own"]).code == 0)?;
    let copied = |options: &[&str], name: &str| -> Result<(u32, u32), Failed> {
        says(&[&["cp"], options, &[&there(name), &scratch.path("back")]].concat(), 0, "")?;
        let back = fs::metadata(scratch.at("back"))?;
        fs::remove_file(scratch.at("back"))?;
        Ok((back.uid(), back.mode() & 0o7777))
    };
    // Its root is not the host's, unless that is what was asked for.
    let found = [copied(&[], "own")?, copied(&["-a"], "own")?, copied(&["-a"], "far")?];
    if found != [(0, 0o755), (0, 0o6755), (65534, 0o755)] {
        return Err(format!("out of it: {found:?}").into());
    }
    for name in ["far", "near"] {
        says(&["cp", "-a", &scratch.path(name), &there(&["new-", name].concat())], 0, "")?;
    }
    let script = "stat -c '%u %a' /there/new-far /there/new-near";
    lines(&nsctl(&["exec", kept.id(), "sh", "-c", script]), &["0 755", "7 6755"])
}

fn delegated() -> Result<(), Failed> {
    let script = "d=$(ls -d /sys/fs/cgroup/unified 2>/dev/null || echo /sys/fs/cgroup); stat -c %u $d; mkdir $d/made && echo made";
    let plain = shell(&["--cgroup-delegate", "--pids-limit", "9"], script);
    if plain.code == 125 || !plain.out.ends_with("made\n") {
        println!("not tried, there is nothing to hand over: {}{}", plain.out.trim(), plain.err.trim());
        return Ok(());
    }
    lines(&shell(&["--userns", "auto", "--cgroup-delegate", "--pids-limit", "9"], script), &["0", "made"])
}

/// Between its entry into the namespace and the execution of its command whoever comes in is root of the host by number.
fn reach() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let outside = Scratch::new("userns-reach");
    let script = format!(
        "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe 2>/dev/null) in */nsctl*) echo reached;; esac; \
         ls -d $p/root{0} $p/cwd{0} 2>/dev/null; done; done",
        outside.path("")
    );
    let words = ["--userns", "auto", "--rootfs", plain().path(), "--cap-add", "ALL"];
    let kept = Kept::shell(&words, &script)?;
    for _ in 0..20 {
        says(&["exec", kept.id(), "echo", "in"], 0, "in\n")?;
    }
    let said = nsctl(&["logs", kept.id()]);
    must(said.out.is_empty(), "nothing of nsctl's is ever reached", &said)
}

fn privileged() -> Result<(), Failed> {
    if !rootable() {
        return Ok(());
    }
    let canary = Scratch::new("userns-privileged");
    // What every user of the host may open a container may, too.
    let closed: Vec<String> = fs::read_dir("/dev")?
        .flatten()
        .filter(|entry| entry.metadata().is_ok_and(|node| !node.is_dir() && node.mode() & 0o007 == 0))
        .map(|entry| entry.path().to_string_lossy().into_owned())
        .collect();
    let script = format!(
        "grep -c 'CapEff.*1ff' /proc/self/status; mount -t tmpfs none /tmp; echo $?; \
         (: >/proc/sys/kernel/core_pattern); echo $?; mknod /tmp/null c 1 3; echo $?; \
         for d in {}; do (: <$d) 2>/dev/null && echo opened $d; done; true",
        closed.join(" ")
    );
    let here = inside(&["--privileged", "-v", &format!("{}:/v", canary.path(""))], &script);
    let text: Vec<&str> = here.out.lines().collect();
    let kept = text.len() == 4 && text[0] == "1" && text[1..].iter().all(|code| *code != "0");
    must(kept && !closed.is_empty(), "nothing of the host's", &here)
}
