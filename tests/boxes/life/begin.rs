//! run --detach, create and start: ids, names, files, input.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use super::{Kept, refused, says, until};
use crate::Case;
use crate::host::{Scratch, mounted, nsctl_with, plain, prepare, script};
use crate::nsctl::{Running, command, must, nsctl, outcome, state};

pub(super) const CASES: &[(&str, Case)] = &[
    ("detached_from_start_to_removal", whole_life),
    ("a_detached_run_returns_at_once_and_writes_only_the_id", returns_at_once),
    ("names_are_made_taken_and_free_again", names),
    ("the_beginning_of_an_id_is_enough_if_it_is_one_containers", beginnings),
    ("rm_leaves_nothing_of_one_that_ended", removed_at_its_end),
    ("id_and_pid_are_in_files", files),
    ("labels_are_listed_and_inspected", labels),
    ("state_is_where_root_says", places),
    ("state_is_kept_without_a_run_directory", without_run),
    ("detached_input_is_empty_or_kept_open", input),
    ("created_ones_wait_for_their_start", created),
    ("what_cannot_be_executed_is_told_at_the_start", not_executable),
    ("an_ended_one_starts_again_as_it_was", again),
    ("detached_needs_its_own_pid_namespace", pid_namespace),
];

pub(super) fn whole_life() -> Result<(), Failed> {
    let kept = Kept::shell(
        &["--name", "whole"],
        "echo out; echo err >&2; trap 'exit 5' TERM; while :; do sleep 0.02; done",
    )?;
    kept.said("out")?;
    says(&["ps", "--format", "name,state"], 0, "whole\trunning\n")?;
    says(&["exec", "whole", "sh", "-c", "exit 3"], 3, "")?;
    says(&["pause", "whole"], 0, "whole\n")?;
    says(&["ps", "--format", "name,state"], 0, "whole\tpaused\n")?;
    says(&["unpause", "whole"], 0, "whole\n")?;
    says(&["stop", "whole"], 0, "whole\n")?;
    says(&["wait", "whole"], 0, "5\n")?;
    let logged = says(&["logs", "whole"], 0, "out\n")?;
    must(logged.err == "err\n", "errors apart", &logged)?;
    says(&["start", "whole"], 0, "whole\n")?;
    says(&["kill", "whole"], 0, "whole\n")?;
    says(&["wait", "whole"], 0, "137\n")?;
    says(&["rm", "whole"], 0, "whole\n")?;
    says(&["ps", "-aq"], 0, "")?;
    Ok(())
}

/// The pipe of `$(…)` comes to its end, though the container goes on writing.
fn returns_at_once() -> Result<(), Failed> {
    let begun = Instant::now();
    let text =
        "id=$(\"$@\" run -d -- sh -c 'while :; do echo more; echo errors >&2; sleep 0.1; done' 2>&1); echo \"[$id]\"";
    let mut started = outcome(Running::start(&mut script(text, &[])));
    let kept = Kept(started.out.trim_matches(['[', ']', '\n']).into());
    started.code = i32::from(kept.id().len() != 12 || begun.elapsed() > crate::nsctl::patience());
    must(started.code == 0, "the id at once", &started)?;
    until("it still runs", || kept.shown("state") == "running")
}

fn names() -> Result<(), Failed> {
    let one = Kept::shell(&["--name", "first"], "sleep 60")?;
    refused(&["run", "-d", "--name", "first", "--", "true"], 125, "has the name first already")?;
    refused(&["create", "--name", "first", "--", "true"], 125, "has the name first already")?;
    refused(&["run", "-d", "--name", "a/b", "--", "true"], 125, "--name a/b")?;
    let (two, three) = (Kept::shell(&[], "sleep 60")?, Kept::shell(&[], "sleep 60")?);
    let (second, third) = (two.shown("name"), three.shown("name"));
    let made = |name: &str| {
        name.len() > 4
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
    };
    if !made(&second) || !made(&third) || second == third {
        return Err(format!("generated: '{second}' and '{third}'").into());
    }
    says(&["exec", &second, "true"], 0, "")?;
    // Of one that has ended, the name is still its own; of a removed one it is free.
    says(&["stop", "-t", "0", "first"], 0, "first\n")?;
    refused(&["run", "-d", "--name", "first", "--", "true"], 125, "has the name first already")?;
    says(&["rm", "first"], 0, "first\n")?;
    drop(one);
    drop(Kept::shell(&["--name", "first"], "true")?);
    for verb in ["stop", "kill", "start", "restart", "wait", "rm", "pause", "unpause", "logs", "inspect"] {
        let outcome = nsctl(&[verb, "nobody"]);
        must(outcome.code == 1 && outcome.err.contains("nobody"), &format!("{verb} of none"), &outcome)?;
    }
    refused(&["exec", "nobody", "true"], 1, "nobody")?;
    for odd in ["../first", "@first", ".", "..", "", "/", "first/"] {
        refused(&["stop", odd], 1, "")?;
        refused(&["exec", odd, "true"], if odd.is_empty() { 125 } else { 1 }, "")?;
    }
    says(&["rm", "-f", "nobody"], 0, "")?;
    Ok(())
}

/// With seventeen, two begin with the same digit.
fn beginnings() -> Result<(), Failed> {
    let all: Vec<Kept> = (0..17).map(|_| Kept::made("create", &["--", "true"])).collect::<Result<_, _>>()?;
    let count = |begin: &str| all.iter().filter(|kept| kept.id().starts_with(begin)).count();
    let first = all.iter().find(|kept| count(&kept.id()[..1]) > 1).ok_or("seventeen ids, and no two alike")?;
    let begin = &first.id()[..1];
    refused(&["rm", begin], 1, "is the beginning of several ids")?;
    refused(&["exec", begin, "true"], 1, "is the beginning of several ids")?;
    let length = (2..=12).find(|length| count(&first.id()[..*length]) == 1).ok_or("two ids are the same")?;
    let begin = &first.id()[..length];
    says(&["rm", begin], 0, &format!("{begin}\n"))?;
    refused(&["rm", first.id()], 1, first.id())?;
    // A name goes before an id.
    let other = &all[if first.id() == all[0].id() { 1 } else { 0 }];
    let named = Kept::made("create", &["--name", other.id(), "--", "true"])?;
    says(&["rm", other.id()], 0, &format!("{}\n", other.id()))?;
    must(named.shown("id,state") == "nothing", "the named one is gone", &nsctl(&["ps", "-a"]))?;
    Ok(())
}

fn removed_at_its_end() -> Result<(), Failed> {
    let scratch = Scratch::new("brief");
    let script = format!("until test -e {}; do sleep 0.02; done; exit 9", scratch.path("go"));
    let kept = Kept::shell(&["--rm", "--name", "brief"], &script)?;
    let waiting: Vec<Running> = (0..4).map(|_| crate::nsctl::spawn(&["wait", "brief"])).collect();
    until("all wait", || waiting.iter().all(|one| one.has_open("pidfd")))?;
    scratch.file("go", "");
    for one in waiting {
        let waited = outcome(one);
        must(waited.code == 0 && waited.out == "9\n", "each of four hears of it", &waited)?;
    }
    until("it is gone", || nsctl(&["ps", "-aq"]).out.is_empty())?;
    refused(&["logs", kept.id()], 1, "")?;
    let kept = Kept::shell(&["--rm", "--name", "brief"], "sleep 60")?;
    says(&["stop", "-t", "0", kept.id()], 0, &format!("{}\n", kept.id()))?;
    until("it is gone", || nsctl(&["ps", "-aq"]).out.is_empty())
}

fn files() -> Result<(), Failed> {
    let scratch = Scratch::new("ids");
    let (cid, pid) = (scratch.path("cid"), scratch.path("pid"));
    fs::create_dir_all(scratch.path(""))?;
    let options = ["--cidfile", &cid, "--pidfile", &pid];
    let kept = Kept::shell(&options, "sleep 60")?;
    assert_eq!(fs::read_to_string(&cid)?, kept.id());
    assert_eq!(fs::read_to_string(&pid)?.trim(), kept.shown("pid"));
    // One file is one container's, as docker has it.
    refused(&["run", "-d", "--cidfile", &cid, "--", "true"], 125, "--cidfile")?;
    says(&["restart", "-t", "0", kept.id()], 0, &format!("{}\n", kept.id()))?;
    assert_eq!(fs::read_to_string(&pid)?.trim(), kept.shown("pid"));
    refused(&["run", "-d", "--cidfile", &scratch.path("none/cid"), "--", "true"], 125, "--cidfile")?;
    refused(
        &["run", "--cidfile", &scratch.path("x"), "--", "true"],
        125,
        "--cidfile is for a container that lives on",
    )?;
    says(&["ps", "-aq"], 0, &format!("{}\n", kept.id()))?;
    Ok(())
}

fn labels() -> Result<(), Failed> {
    let kept = Kept::shell(&["--label", "a=1", "--label", "b", "--label", "c=x=y"], "sleep 60")?;
    assert_eq!(kept.shown("labels"), "a=1,b=,c=x=y");
    let json = kept.inspected();
    let right =
        json.contains(r#""labels":{"a":"1","b":"","c":"x=y"}"#) && json.starts_with('[') && json.ends_with("]\n");
    if right { Ok(()) } else { Err(format!("inspect says {json}").into()) }
}

fn places() -> Result<(), Failed> {
    let scratch = Scratch::new("places");
    let one = scratch.path("one");
    fs::create_dir_all(scratch.path(""))?;
    let id = nsctl(&["--root", &one, "run", "-d", "--name", "there", "--", "sleep", "60"]);
    must(id.code == 0, "in a place of its own", &id)?;
    must(nsctl(&["ps", "-aq"]).out.is_empty(), "and in no other", &id)?;
    says(&["--root", &one, "ps", "-q"], 0, &id.out)?;
    says(&["--root", &one, "exec", "there", "true"], 0, "")?;
    refused(&["exec", "there", "true"], 1, "there")?;
    says(&["--root", &one, "rm", "-f", "there"], 0, "there\n")?;
    // Not ours to use: somebody else's, open to others, no directory, or below nothing.
    let odd = scratch.dir("odd");
    std::os::unix::fs::chown(&odd, Some(12345), None)?;
    refused(&["--root", &odd, "run", "-d", "--", "true"], 125, "use the state directory")?;
    refused(&["--root", &odd, "run", "--", "true"], 125, "use the state directory")?;
    std::os::unix::fs::chown(&odd, Some(0), None)?;
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o777))?;
    refused(&["--root", &odd, "run", "-d", "--", "true"], 125, "use the state directory")?;
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&one, &link)?;
    refused(&["--root", &link, "run", "-d", "--", "true"], 125, "use the state directory")?;
    refused(&["--root", &scratch.path("no/such"), "run", "-d", "--", "true"], 125, "use the state directory")
}

/// Without NSCTL_ROOT, in a mount namespace where /run cannot be written to.
fn without_run() -> Result<(), Failed> {
    let read_only = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
    let text = "unset NSCTL_ROOT; \"$@\" run -d --name here -- sleep 60 && ls -d /dev/shm/nsctl /tmp/nsctl 2>/dev/null; \"$@\" exec here true; \
                echo $?; \"$@\" rm -f here; \"$@\" ps -aq";
    for (shm, wanted) in [(false, "/dev/shm/nsctl\n0\nhere\n"), (true, "/tmp/nsctl\n0\nhere\n")] {
        let mut prepared = vec![mounted("tmpfs", "/tmp"), mounted("tmpfs", "/dev/shm"), mounted("tmpfs", "/run")];
        prepared.push(crate::host::spread("/run", read_only));
        if shm {
            prepared.push(crate::host::spread("/dev/shm", read_only));
        }
        // The binary may be in what is covered.
        let binary = crate::nsctl::binary();
        let program = if binary.starts_with("/tmp/") { continue } else { binary };
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", text, "sh", &program]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut shell, prepared);
        let done = outcome(Running::start(&mut shell));
        must(done.out.get(13..) == Some(wanted), &format!("an id and {wanted}"), &done)?;
    }
    let _ = nsctl_with;
    Ok(())
}

fn input() -> Result<(), Failed> {
    let kept = Kept::shell(&[], "cat; echo end; sleep 60")?;
    kept.said("end\n")?;
    drop(kept);
    // Nobody writes, and nobody closes it: it is not at its end. What nsctl itself could read is not the container's.
    let mut running = command(&["run", "-d", "-i", "--name", "open", "--", "sh", "-c", "cat; echo end; sleep 60"]);
    let mut child = running.stdin(Stdio::piped()).spawn()?;
    child.stdin.take().ok_or("no pipe")?.write_all(b"the caller's\n")?;
    let output = child.wait_with_output()?;
    let kept = Kept(String::from_utf8_lossy(&output.stdout).trim().into());
    std::thread::sleep(Duration::from_millis(200));
    says(&["logs", "open"], 0, "")?;
    must(kept.shown("state") == "running", "it waits for input", &nsctl(&["ps", "-a"]))
}

fn created() -> Result<(), Failed> {
    let root = plain();
    let kept =
        Kept::made("create", &["--name", "later", "--rootfs", root.path(), "--", "sh", "-c", "echo begun; exit 4"])?;
    says(&["ps", "-q"], 0, "")?;
    assert_eq!(kept.shown("state"), "created");
    refused(&["exec", "later", "true"], 1, "is not started")?;
    refused(&["pause", "later"], 1, "is not started")?;
    refused(&["kill", "later"], 1, "is not started")?;
    says(&["logs", "later"], 0, "")?;
    let waiting = crate::nsctl::spawn(&["wait", "later"]);
    std::thread::sleep(Duration::from_millis(50));
    says(&["start", "later"], 0, "later\n")?;
    let waited = outcome(waiting);
    must(waited.out == "4\n", "who waited before the start hears of the end", &waited)?;
    says(&["logs", "later"], 0, "begun\n")?;
    drop(kept);
    let kept = Kept::made("create", &["--name", "never", "--", "true"])?;
    says(&["stop", "never"], 0, "never\n")?;
    assert_eq!(kept.shown("state"), "exited (137)");
    says(&["start", "never"], 0, "never\n")?;
    says(&["wait", "never"], 0, "0\n")?;
    drop(kept);
    let _kept = Kept::made("create", &["--name", "never", "--", "true"])?;
    says(&["rm", "never"], 0, "never\n")?;
    Ok(())
}

fn not_executable() -> Result<(), Failed> {
    let scratch = Scratch::new("scripts");
    let odd = scratch.file("odd", "#!/no/such/interpreter\n");
    fs::set_permissions(&odd, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for (program, code, words) in [
        ("/no/such", 127, "ENOENT"),
        ("/", 126, "it is a directory"),
        (odd.as_str(), 127, "interpreter /no/such/interpreter is missing"),
    ] {
        refused(&["run", "-d", "--name", "odd", "--", program], code, words)?;
        says(&["ps", "-aq"], 0, "")?;
        let kept = Kept::made("create", &["--name", "odd", "--", program])?;
        for _ in 0..2 {
            let started = nsctl(&["start", "odd"]);
            must(
                started.code == 1 && started.err.contains(words) && started.out.is_empty(),
                "start says why",
                &started,
            )?;
            assert_eq!(kept.shown("state"), format!("exited ({code})"));
        }
        says(&["wait", "odd"], 0, &format!("{code}\n"))?;
    }
    refused(&["run", "-d", "--", "no-such-command"], 127, "no such file in PATH")?;
    refused(&["run", "-d", "--rootfs", plain().path(), "--", "no-such-command"], 127, "no such file in PATH")?;
    refused(&["run", "-d", "-w", "/nowhere", "--", "true"], 125, "/nowhere")?;
    says(&["ps", "-aq"], 0, "")?;
    Ok(())
}

/// The same id, name, variables, directory; what the words said of the caller's directory is still meant so.
fn again() -> Result<(), Failed> {
    let scratch = Scratch::new("again");
    scratch.file("sub/marker", "found\n");
    let mut made = command(&[
        "run",
        "-d",
        "--name",
        "same",
        "--rootfs",
        plain().path(),
        "-e",
        "GIVEN",
        "-e",
        "SET=1",
        "-w",
        "/tmp",
        "-v",
        "./sub:/mnt:ro",
        "--",
        "sh",
        "-c",
        "echo $GIVEN $SET $HOME $(pwd) $(cat /mnt/marker) $(hostname)",
    ]);
    made.current_dir(scratch.path("")).env("GIVEN", "first");
    let made = outcome(Running::start(&mut made));
    let kept = Kept(made.out.trim().into());
    let line = "first 1 /root /tmp found container\n";
    says(&["wait", "same"], 0, "0\n")?;
    says(&["logs", "same"], 0, line)?;
    let before = kept.inspected();
    // From another directory, with another value.
    let mut started = command(&["start", "same"]);
    started.current_dir("/").env("GIVEN", "second");
    let started = outcome(Running::start(&mut started));
    must(started.code == 0 && started.out == "same\n", "it starts again", &started)?;
    says(&["wait", "same"], 0, "0\n")?;
    says(&["logs", "same"], 0, &line.repeat(2))?;
    says(&["restart", "same"], 0, "same\n")?;
    says(&["wait", "same"], 0, "0\n")?;
    says(&["logs", "same"], 0, &line.repeat(3))?;
    let after = kept.inspected();
    let part = |json: &str, key: &str| {
        json.split(&format!("\"{key}\":")).nth(1).unwrap_or_default().split_inclusive(',').next().map(str::to_string)
    };
    for key in ["id", "name", "command", "env", "workdir"] {
        assert_eq!(part(&before, key), part(&after, key), "{key}");
    }
    // What is not there any more is a reason, and the container stays.
    fs::remove_dir_all(scratch.path("sub"))?;
    refused(&["start", "same"], 1, "sub")?;
    says(&["ps", "-aq"], 0, &format!("{}\n", kept.id()))?;
    scratch.file("sub/marker", "found\n");
    says(&["start", "same"], 0, "same\n")?;
    says(&["wait", "same"], 0, "0\n")?;
    Ok(())
}

fn pid_namespace() -> Result<(), Failed> {
    for options in [["--pid", "host"], ["--pid", "/proc/1/ns/pid"]] {
        refused(&[&["run", "-d"], &options[..], &["--", "true"]].concat(), 125, "--pid contradict")?;
        refused(&[&["create"], &options[..], &["--", "true"]].concat(), 125, "--pid contradict")?;
    }
    refused(&["run", "-d", "--no-init", "--", "true"], 125, "--no-init")?;
    refused(&["run", "-d", "--rm", "--restart", "always", "--", "true"], 125, "contradict each other")?;
    assert!(state().exists());
    Ok(())
}
