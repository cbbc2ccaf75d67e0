//! Who the command is, where it starts, what it is called with and what it is labelled as.

use std::fs;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, Tree, plain, without};
use crate::nsctl::{Outcome, Running, command, must, nsctl, outcome, shell, spawn};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("without_user_it_is_root_with_no_other_group", nobody),
    ("user_takes_names_and_numbers", users),
    ("home_is_the_users", home),
    ("groups_are_those_of_the_containers_files", memberships),
    ("group_add_takes_names_and_numbers", group_add),
    ("without_a_root_group_add_keeps_the_callers_groups", group_add_without_root),
    ("without_a_root_the_hosts_files_are_asked", user_without_root),
    ("numbers_need_no_files", no_files),
    ("digits_are_never_a_name", digits),
    ("missing_names_are_said", missing),
    ("what_is_no_user_is_said", no_user),
    ("ids_are_set_for_good", for_good),
    ("a_command_must_be_the_users_to_execute", not_the_users),
    ("workdir_is_made_if_it_is_missing", workdir_made),
    ("workdir_follows_links_inside", workdir_links),
    ("workdir_that_is_a_file_is_said", workdir_file),
    ("workdir_on_a_read_only_root_is_said", workdir_read_only),
    ("entrypoint_comes_before_the_command", entrypoint),
    ("the_environment_is_fresh_in_a_root", environment),
    ("env_takes_from_the_caller_only_what_is_named", from_caller),
    ("env_files_are_read_in_order", env_file),
    ("an_env_file_that_is_wrong_is_said", wrong_env_file),
    ("labels_and_stop_signal_are_in_ps", labels),
    ("labels_and_signals_that_are_none_are_said", wrong_labels),
];

fn inside(options: &[&str], script: &str) -> Outcome {
    within(plain(), options, script)
}

fn within(root: &Root, options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", root.path()], options].concat(), script)
}

/// `uid gid groups`
const WHO: &str = "sed -nE 's/^(Uid|Gid|Groups):[[:space:]]*//p' /proc/self/status | tr '\\t\\n' '  ' | sed 's/  */ /g; s/ $//'; echo";

/// All of the four ids that a process has are `uid` and `gid`.
fn ids(uid: u32, gid: u32, groups: &str) -> String {
    let four = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join(" ");
    format!("{} {} {groups}\n", four(uid), four(gid))
}

/// For a caller with the groups 7 and 8.
fn of_two_groups(args: &[&str]) -> Outcome {
    let mut nsctl = command(args);
    // SAFETY: setgroups(2) is one system call; the list has two ids.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut nsctl, || {
            let groups: [libc::gid_t; 2] = [7, 8];
            libc::setgroups(2, groups.as_ptr());
            Ok(())
        })
    };
    outcome(Running::start(&mut nsctl))
}

fn nobody() -> Result<(), Failed> {
    let outcome = of_two_groups(&["run", "--rootfs", plain().path(), "sh", "-c", WHO]);
    must(outcome.out == ids(0, 0, "0"), "the caller's groups are gone", &outcome)
}

fn users() -> Result<(), Failed> {
    for (user, wanted) in [
        ("user", ids(1000, 1000, "1000 2000")),
        ("1000", ids(1000, 1000, "1000 2000")),
        ("user:more", ids(1000, 2000, "2000")),
        ("user:7", ids(1000, 7, "7")),
        ("1000:more", ids(1000, 2000, "2000")),
        ("5:6", ids(5, 6, "6")),
        ("5", ids(5, 0, "0")),
        ("root", ids(0, 0, "0")),
        ("0:0", ids(0, 0, "0")),
        ("4294967294:4294967294", ids(u32::MAX - 1, u32::MAX - 1, "4294967294")),
    ] {
        for more in [&[][..], &["--no-init"]] {
            let outcome = inside(&[&["-u", user], more].concat(), WHO);
            must(outcome.out == wanted, &format!("{user} {more:?}: {wanted}"), &outcome)?;
        }
    }
    Ok(())
}

fn home() -> Result<(), Failed> {
    let root = Root::plain("home").file("etc/passwd", "root:x:0:0::/root:\nann:x:5:5::/home/ann:\nbob:x:6:6:::\n");
    for (options, wanted) in [
        (&[][..], "/root"),
        (&["-u", "0"], "/root"),
        (&["-u", "ann"], "/home/ann"),
        (&["-u", "5"], "/home/ann"),
        (&["-u", "bob"], "/"),
        (&["-u", "7"], "/"),
        (&["-u", "ann", "-e", "HOME=/asked"], "/asked"),
    ] {
        let outcome = within(&root, options, "echo $HOME");
        must(outcome.out.trim() == wanted, &format!("{options:?}: {wanted}"), &outcome)?;
    }
    Ok(())
}

fn memberships() -> Result<(), Failed> {
    let root = Root::plain("groups")
        .file("etc/passwd", "ann:x:5:50::/:\n")
        .file("etc/group", "a:x:10:ann\nb:x:20:bob,ann\nc:x:30:annabel\nown:x:50:ann\nlast:x:40:ann");
    let outcome = within(&root, &["-u", "ann"], WHO);
    must(outcome.out == ids(5, 50, "10 20 40 50"), "every line that names the user", &outcome)
}

fn group_add() -> Result<(), Failed> {
    for (options, wanted) in [
        (&["--group-add", "more", "--group-add", "7"][..], ids(0, 0, "0 7 2000")),
        (&["-u", "user", "--group-add", "7", "--group-add", "user"], ids(1000, 1000, "7 1000 2000")),
        (&["-u", "5:6", "--group-add", "root"], ids(5, 6, "0 6")),
    ] {
        let outcome = inside(options, WHO);
        must(outcome.out == wanted, &format!("{options:?}: {wanted}"), &outcome)?;
    }
    Ok(())
}

fn group_add_without_root() -> Result<(), Failed> {
    let outcome = of_two_groups(&["run", "--group-add", "9", "sh", "-c", WHO]);
    must(outcome.out == ids(0, 0, "7 8 9"), "one more", &outcome)
}

fn user_without_root() -> Result<(), Failed> {
    let outcome = shell(&["-u", "12345:54321"], &format!("{WHO}; echo $HOME"));
    must(outcome.out == format!("{}/\n", ids(12345, 54321, "54321")), "a number", &outcome)?;
    let outcome = shell(&["-u", "nobody"], "id -u; echo $HOME");
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap_or_default();
    let fields: Vec<&str> = line.split(':').collect();
    must(outcome.out == format!("{}\n{}\n", fields[2], fields[5]), "a name of the host's", &outcome)
}

fn no_files() -> Result<(), Failed> {
    let root = without(without(Root::plain("no-files"), "etc/passwd"), "etc/group");
    for (user, wanted) in [("5", ids(5, 0, "0")), ("5:6", ids(5, 6, "6")), ("0", ids(0, 0, "0"))] {
        let outcome = within(&root, &["-u", user, "--group-add", "9"], &format!("{WHO}; echo $HOME"));
        let mut groups: Vec<u32> = wanted.split_whitespace().skip(8).map(|id| id.parse().unwrap()).collect();
        groups.push(9);
        let wanted = wanted.split_whitespace().take(8).collect::<Vec<_>>().join(" ");
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        must(outcome.out == format!("{wanted} {}\n/\n", groups.join(" ")), user, &outcome)?;
    }
    for (options, wanted) in [
        (["-u", "ann"], "nsctl: there is no user ann in the container's /etc/passwd (a number needs no entry)\n"),
        (
            ["--group-add", "g"],
            "nsctl: there is no group g in the container's /etc/group (a number needs no entry)\n",
        ),
    ] {
        let outcome = within(&root, &options, "true");
        must(outcome.code == 125 && outcome.err == wanted, wanted, &outcome)?;
    }
    Ok(())
}

fn digits() -> Result<(), Failed> {
    let root = Root::plain("digits").file("etc/passwd", "5:x:0:0::/trap:\n").file("etc/group", "6:x:0:\n");
    let outcome = within(&root, &["-u", "5:6"], &format!("{WHO}; echo $HOME"));
    must(outcome.out == format!("{}/\n", ids(5, 6, "6")), "a line cannot make it root", &outcome)
}

fn missing() -> Result<(), Failed> {
    for (options, wanted) in [
        (&["-u", "ann"][..], "there is no user ann in the container's /etc/passwd"),
        (&["-u", "user:wheel"], "there is no group wheel in the container's /etc/group"),
        (&["-u", "5:wheel"], "there is no group wheel in the container's /etc/group"),
        (&["--group-add", "wheel"], "there is no group wheel in the container's /etc/group"),
        (&["-u", "user:more", "--group-add", "7", "--group-add", "wheel"], "there is no group more or wheel in"),
    ] {
        let outcome = inside(options, "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), wanted, &outcome)?;
        must(outcome.err.contains("(a number needs no entry)"), "the way out", &outcome)?;
    }
    Ok(())
}

fn no_user() -> Result<(), Failed> {
    for (user, wanted) in [
        ("", "'' is no user or group (it is UID or NAME, and after a colon GID or GROUP)"),
        (":5", "'' is no user or group"),
        ("5:", "'' is no user or group"),
        ("a/b", "'a/b' is no user or group"),
        ("4294967295", "--user 4294967295 is no id (ids go from 0 to 4294967294)"),
        ("5:4294967296", "--user 4294967296 is no id"),
    ] {
        let outcome = inside(&["-u", user], "true");
        must(outcome.code == 125 && outcome.err.contains(wanted), wanted, &outcome)?;
    }
    Ok(())
}

/// No capability is left to a user, and nothing can be had back.
fn for_good() -> Result<(), Failed> {
    let outcome = inside(
        &["-u", "user"],
        "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status; touch /root/x; echo > /etc/passwd",
    );
    must(outcome.out.matches("0000000000000000").count() == 4, "none", &outcome)?;
    must(outcome.err.matches("Permission denied").count() == 2, "nor the files of root", &outcome)
}

fn not_the_users() -> Result<(), Failed> {
    use std::os::unix::fs::PermissionsExt;
    let root = Root::plain("users").script("bin/roots", "#!/bin/sh\n").script("root/run", "#!/bin/sh\n");
    fs::set_permissions(root.at("bin/roots"), fs::Permissions::from_mode(0o700))?;
    fs::set_permissions(root.at("root"), fs::Permissions::from_mode(0o700))?;
    for program in ["/bin/roots", "roots", "/root/run"] {
        let outcome = nsctl(&["run", "--rootfs", root.path(), "-u", "user", program]);
        must(outcome.code == 126 && outcome.err.contains("EACCES ("), program, &outcome)?;
    }
    Ok(())
}

fn workdir_made() -> Result<(), Failed> {
    let before = Tree::of(plain().path());
    let outcome = inside(&["-w", "/a/b/c"], "pwd; stat -c '%a %u' /a/b/c");
    must(outcome.out == "/a/b/c\n755 0\n", "made", &outcome)?;
    let outcome = inside(&["-w", "relative"], "pwd");
    let wanted = "nsctl: --workdir relative is not absolute (in a root of its own it begins with /)\n";
    must(outcome.code == 125 && outcome.err == wanted, "relative to what", &outcome)?;
    let outcome = inside(&["-u", "user", "-w", "/mine"], "pwd; touch x");
    must(outcome.out == "/mine\n" && outcome.err.contains("Permission denied"), "made by root", &outcome)?;
    let outcome = inside(&[], "pwd");
    must(outcome.out == "/\n", "the default", &outcome)?;
    Tree::of(plain().path()).must_be(&before)
}

fn workdir_links() -> Result<(), Failed> {
    let root = Root::plain("workdir").dir("real/deep").symlink("/real", "link").symlink("/missing/dir", "dangling");
    for (dir, wanted) in
        [("/link/deep", "/real/deep\n"), ("/link/new", "/real/new\n"), ("/dangling", "/missing/dir\n")]
    {
        let outcome = within(&root, &["-w", dir], "pwd -P");
        must(outcome.out == wanted, dir, &outcome)?;
    }
    let outcome = within(&root, &["-w", "/proc/self/cwd"], "pwd");
    let wanted = "nsctl: change to the directory /proc/self/cwd: symbolic link loop, ELOOP (links of /proc that lead \
                  out of every path are not followed)\n";
    must(outcome.code == 125 && outcome.err == wanted, "not through /proc", &outcome)
}

fn workdir_file() -> Result<(), Failed> {
    for dir in ["/etc/passwd", "/etc/passwd/x"] {
        let outcome = inside(&["-w", dir], "true");
        let wanted = format!("nsctl: change to the directory {dir}: not a directory, ENOTDIR (it is a file");
        must(outcome.code == 125 && outcome.err.starts_with(&wanted), dir, &outcome)?;
    }
    Ok(())
}

fn workdir_read_only() -> Result<(), Failed> {
    let outcome = inside(&["--read-only", "-w", "/new"], "true");
    let wanted = "nsctl: change to the directory /new: read-only file system, EROFS (it is not there, and the root is read-only)\n";
    must(outcome.code == 125 && outcome.err == wanted, "EROFS", &outcome)?;
    let outcome = inside(&["--read-only", "-w", "/etc"], "pwd");
    must(outcome.out == "/etc\n", "one that is there", &outcome)
}

fn entrypoint() -> Result<(), Failed> {
    let words = |more: &[&str]| nsctl(&[&["run", "--rootfs", plain().path()], more].concat());
    let outcome = words(&["--entrypoint", "/bin/echo", "a", "b"]);
    must(outcome.out == "a b\n", "before the words", &outcome)?;
    let outcome = words(&["--entrypoint", "pwd"]);
    must(outcome.out == "/\n", "alone", &outcome)?;
    let outcome = words(&["--entrypoint", "", "echo", "a"]);
    must(outcome.out == "a\n", "none", &outcome)?;
    let outcome = words(&["--entrypoint", ""]);
    must(outcome.code == 125 && outcome.err.contains("no command was given"), "nothing is left", &outcome)?;
    let outcome = nsctl(&["run", "--entrypoint", "echo", "host"]);
    must(outcome.out == "host\n", "without a root", &outcome)
}

/// What nsctl finds when it starts.
fn with_variables(args: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut nsctl = command(args);
    nsctl.env_clear().env("NSCTL_ROOT", crate::nsctl::state()).envs(variables.iter().copied());
    outcome(Running::start(&mut nsctl))
}

fn environment() -> Result<(), Failed> {
    let probe = ["run", "--rootfs", plain().path(), "-h", "box", "env"];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let caller = [("TERM", "vt100"), ("PATH", "/nowhere"), ("HOME", "/home/me"), ("SECRET", "1")];
    let outcome = with_variables(&probe, &caller);
    let wanted = format!("{path}\nHOSTNAME=box\nHOME=/root\nTERM=vt100\n");
    must(outcome.out == wanted, &wanted, &outcome)?;
    let outcome = with_variables(&probe, &[("SECRET", "1")]);
    must(outcome.out == format!("{path}\nHOSTNAME=box\nHOME=/root\n"), "no terminal", &outcome)?;
    let outcome = with_variables(&["run", "--rootfs", plain().path(), "--uts", "host", "-u", "5", "env"], &caller);
    must(outcome.out == format!("{path}\nTERM=vt100\nHOME=/\n"), "the host's name, a user", &outcome)
}

fn from_caller() -> Result<(), Failed> {
    let words = ["run", "--rootfs", plain().path(), "-e", "A", "-e", "B=own", "-e", "C", "-e", "TERM=dumb", "env"];
    let outcome = with_variables(&words, &[("A", "1"), ("B", "2"), ("D", "3"), ("TERM", "vt100")]);
    let lines: Vec<&str> = outcome.out.lines().skip(3).collect();
    must(lines == ["TERM=dumb", "A=1", "B=own"], "A of the caller, B as typed, C is nowhere", &outcome)
}

fn env_file() -> Result<(), Failed> {
    let scratch = Scratch::new("env");
    let one = scratch.file("one", "# a comment\n\n  A=1\nB=x=y\nC\nQ=\"as it is\"\n#D=4\n");
    let two = scratch.file("two", "A=2\nE=");
    let words = ["run", "--rootfs", plain().path(), "--env-file", &one, "-e", "B=typed", "--env-file", &two, "env"];
    let outcome = with_variables(&words, &[("C", "caller"), ("D", "caller")]);
    let lines: Vec<&str> = outcome.out.lines().skip(3).collect();
    must(
        lines == ["A=2", "B=typed", "C=caller", "Q=\"as it is\"", "E="],
        "the later counts, the typed most",
        &outcome,
    )
}

fn wrong_env_file() -> Result<(), Failed> {
    let scratch = Scratch::new("env");
    let (wrong, missing) = (scratch.file("wrong", "A=1\n=2\n"), scratch.path("missing"));
    for (file, wanted) in [
        (&wrong, format!("nsctl: --env-file {wrong}, line 2: not a variable (it is NAME=VALUE or NAME)\n")),
        (&missing, format!("nsctl: read --env-file {missing}: no such file or directory, ENOENT\n")),
    ] {
        let outcome = inside(&["--env-file", file], "true");
        must(outcome.code == 125 && outcome.err == wanted, &wanted, &outcome)?;
    }
    Ok(())
}

fn labels() -> Result<(), Failed> {
    let options = ["--name", "labelled", "-l", "a=1", "-l", "b", "-l", "a=2", "--stop-signal", "RTMIN+3"];
    let words =
        [&["run", "--rootfs", plain().path()], &options[..], &["sh", "-c", "echo ready; exec sleep 30"]].concat();
    let mut running = spawn(&words);
    std::io::Read::read_exact(&mut running.stdout(), &mut [0; 6])?;
    let json = nsctl(&["ps", "--format", "json"]);
    running.signal(libc::SIGTERM);
    outcome(running);
    must(json.out.contains(r#""labels":{"a":"2","b":""}"#), "labels", &json)?;
    must(json.out.contains(r#""stop_signal":37"#), "the signal", &json)
}

fn wrong_labels() -> Result<(), Failed> {
    for (options, wanted) in [
        (["-l", "=1"], "nsctl: --label =1 has no name (it is NAME=VALUE or NAME)\n"),
        (
            ["--stop-signal", "LOUD"],
            "nsctl: --stop-signal LOUD is no signal (such as TERM, SIGQUIT, RTMIN+3 or 15)\n",
        ),
    ] {
        let outcome = inside(&options, "true");
        must(outcome.code == 125 && outcome.err == wanted, wanted, &outcome)?;
    }
    Ok(())
}
