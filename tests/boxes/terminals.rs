//! Terminals of a container's own, driven through one of the test's.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, mounted, nsctl_with, plain, script};
use crate::life::{Kept, until};
use crate::nsctl::{Running, command, must, nsctl, outcome, own, with_input};
use crate::root::Root;
use crate::screen::Screen;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("a_terminal_is_the_containers_own", own_terminal),
    ("it_has_the_callers_size_before_the_start", first_size),
    ("its_user_owns_it", owner),
    ("without_devpts_there_is_one_all_the_same", no_devpts),
];

pub(crate) const UNMASKED: &[(&str, Case)] = &[
    ("keys_and_window_sizes_arrive", keys_and_sizes),
    ("vi_redraws_after_a_resize", vi),
    ("ctrl_c_ctrl_z_and_fg_work_inside", job_control),
    ("a_paste_of_2_mb_arrives_whole", paste),
    ("a_paste_of_lines_arrives_whole", paste_lines),
    ("a_burst_of_50_mb_arrives_whole", burst),
    ("what_is_written_last_arrives_at_a_slow_reader", last_words),
    ("the_terminal_is_as_before_however_the_command_ends", restored),
    ("the_terminal_is_as_before_when_nsctl_is_told_to_end", restored_after_signals),
    ("the_terminal_is_as_before_when_nsctl_is_killed", restored_after_kill),
    ("input_that_is_no_terminal", piped_input),
    ("without_i_input_that_is_no_terminal_is_left_alone", input_left_alone),
    ("output_that_is_no_terminal", piped_output),
    ("who_closes_the_output_hangs_up", closed_output),
    ("in_the_background_the_terminal_is_left_alone", background),
    ("a_hang_up_reaches_the_command", hang_up),
];

pub(crate) mod attached;
pub(crate) mod ended;
mod inside;
use inside::pattern;
pub(crate) use inside::{burst as burst_inside, type_on_all, which};

const SIZE: (u16, u16) = (33, 111);

/// `nsctl run -it --rootfs ROOT OPTIONS -- WORDS`, on a terminal.
fn on(root: &Root, options: &[&str], words: &[&str]) -> Screen {
    let args = [&["run", "-it", "--rootfs", root.path()], options, &["--"], words].concat();
    Screen::start(&mut command(&args), SIZE)
}

fn shell(options: &[&str], script: &str) -> Screen {
    on(plain(), options, &["sh", "-c", script])
}

fn check(right: bool, what: &str, screen: &Screen) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(format!("{what}; there is {:?}", screen.text()).into()) }
}

const LOOK: &str = "tty; stat -c '%F %t:%T' $(tty); stat -c '%t:%T' /dev/console; [ -t 0 -a -t 1 -a -t 2 ] && echo all; \
                    cut -d' ' -f6 /proc/$$/stat; echo $$; cat </dev/null >/dev/tty; exit 3";

fn own_terminal() -> Result<(), Failed> {
    for (options, pid) in [(&[][..], "2"), (&["--no-init"], "1")] {
        let mut screen = shell(options, LOOK);
        check(screen.end()? == 3, "the exit code", &screen)?;
        let text = screen.text();
        let lines: Vec<&str> = text.lines().collect();
        let right = ["/dev/pts/0", "character special file 88:0", "88:0", "all", pid, pid];
        check(lines == right, &format!("its name, its device on the console, and its session: {right:?}"), &screen)?;
    }
    // It is on the host's where the files are the host's.
    let mut screen = Screen::start(&mut command(&["run", "-it", "--", "sh", "-c", "tty; tty <&2"]), SIZE);
    check(screen.end()? == 0, "a terminal of the host's devpts", &screen)?;
    let text = screen.text();
    let names: Vec<&str> = text.lines().collect();
    let right = names.len() == 2 && names[0] == names[1] && names[0].starts_with("/dev/pts/");
    check(right, "it has a name", &screen)
}

fn first_size() -> Result<(), Failed> {
    let mut screen = on(plain(), &[], &["stty", "size"]);
    check(screen.end()? == 0 && screen.text() == "33 111\r\n", "the caller's", &screen)?;
    let outcome = nsctl(&["run", "-t", "--rootfs", plain().path(), "--", "stty", "size"]);
    must(outcome.out == "24 80\r\n", "without one, the usual", &outcome)
}

fn owner() -> Result<(), Failed> {
    let script = "stat -c %u:%g $(tty); stat -c %u /dev/console; echo out >/dev/stdout; echo err >/dev/stderr; echo tty >$(tty)";
    let mut screen = shell(&["--user", "user"], script);
    check(screen.end()? == 0, "it can open it", &screen)?;
    check(screen.text() == "1000:5\r\n1000\r\nout\r\nerr\r\ntty\r\n", "it is the user's", &screen)
}

fn no_devpts() -> Result<(), Failed> {
    let args = ["run", "-t", "--", "sh", "-c", "stty size; tty; exit 4"];
    let outcome = nsctl_with(vec![mounted("tmpfs", "/dev/pts")], &args);
    must(outcome.code == 4 && outcome.out == "24 80\r\n/dev/pts/0\r\n", "one is put there", &outcome).or_else(
        |failed| {
            // mount(2) has no place for it.
            let old =
                crate::masked::current().is_some_and(|(call, _)| call.contains("mount") || call.contains("tree"));
            if old && outcome.code == 4 && outcome.out.starts_with("24 80\r\n") { Ok(()) } else { Err(failed) }
        },
    )?;
    let outcome = nsctl_with(vec![mounted("tmpfs", "/dev")], &args);
    must(
        outcome.code == 4 && outcome.out.starts_with("24 80\r\n"),
        "without /dev/pts it has no name, and works",
        &outcome,
    )
}

fn keys_and_sizes() -> Result<(), Failed> {
    let mut screen = shell(
        &[],
        "trap 'stty size; exit 5' WINCH; echo ready; read line; echo \"<$line>\"; while :; do sleep 0.02; done",
    );
    screen.wait_for("ready\r\n")?;
    check(screen.is_raw(), "the caller's terminal is raw", &screen)?;
    check(screen.blocks(), "and its descriptor blocks as before", &screen)?;
    screen.keys("wört\x7f\x7fx\r");
    screen.wait_for("<wöx>")?;
    screen.resize((50, 60));
    screen.wait_for("50 60\r\n")?;
    check(screen.end()? == 5, "the exit code", &screen)
}

fn vi() -> Result<(), Failed> {
    let lines: String = (1..=100).map(|number| format!("line {number}.\n")).collect();
    let root = Root::plain("vi").file("text", &lines);
    let mut screen = on(&root, &["-e", "TERM=vt100"], &["vi", "/text"]);
    let before = screen.wait_for("line 32.")?;
    check(!before.contains("line 33."), "33 rows show 32 lines", &screen)?;
    screen.resize((50, 111));
    let before = screen.wait_for("line 49.")?;
    check(!before.contains("line 50."), "50 rows show 49 lines", &screen)?;
    screen.keys(":q!\r");
    check(screen.end()? == 0, "it ends", &screen)
}

fn job_control() -> Result<(), Failed> {
    // It says itself that it runs, and again: by then it has the foreground.
    let nap = "#!/bin/sh\ntrap 'echo goes on' CONT\necho begins\nwhile :; do sleep 0.02; done\n";
    let root = Root::plain("jobs").script("bin/nap", nap);
    let mut screen = on(&root, &["-e", "PS1=prompt", "-e", "TERM=dumb"], &["sh"]);
    screen.wait_for("prompt")?;
    screen.keys("nap\r");
    screen.wait_for("begins\r\n")?;
    screen.keys("\x03");
    screen.wait_for("prompt")?;
    // What is typed is echoed: the quotes tell it from what is printed.
    screen.keys("echo co\"\"de $?\r");
    screen.wait_for("code 130")?;
    screen.keys("nap\r");
    screen.wait_for("begins\r\n")?;
    screen.keys("\x1a");
    screen.wait_for("Stopped")?;
    screen.wait_for("prompt")?;
    screen.keys("jobs; fg\r");
    screen.wait_for("Stopped")?;
    screen.wait_for("goes on\r\n")?;
    screen.keys("\x03");
    screen.wait_for("prompt")?;
    screen.keys("exit 7\r");
    check(screen.end()? == 7, "the shell's code", &screen)?;
    check(!screen.text().contains("turned off"), "job control is on", &screen)
}

/// Until the command, somewhere below what was started on the screen, has become `sleep`: a shell loses what comes before it is that.
fn asleep(screen: &Screen) -> Result<(), Failed> {
    fn is(pid: i32) -> bool {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let children = of(&format!("task/{pid}/children"));
        of("comm") == "sleep\n" || children.split_whitespace().any(|child| child.parse().is_ok_and(is))
    }
    until("the command sleeps", || is(screen.pid()))
}

/// A while in which something could happen that must not, or that cannot be seen.
fn settle() {
    std::thread::sleep(Duration::from_millis(if in_guest() { 1000 } else { 200 }));
}

fn in_guest() -> bool {
    std::env::var_os("NSCTL_QEMU").is_some()
}

fn digest(bytes: &[u8]) -> Result<String, Failed> {
    let mut sum = std::process::Command::new(crate::root::busybox());
    let mut child = sum.arg("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().unwrap().write_all(bytes)?;
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().into())
}

fn paste() -> Result<(), Failed> {
    let bytes: Vec<u8> = [pattern(1), pattern(2)].concat();
    let mut screen =
        shell(&[], &format!("stty raw -echo; echo ready; sleep 0.5; head -c {} | sha256sum", bytes.len()));
    screen.wait_for("ready")?;
    screen.paste(&bytes)?;
    check(screen.end()? == 0 && screen.text().contains(&digest(&bytes)?), "every byte, in its place", &screen)
}

/// With line editing the kernel takes lines of less than 4096 bytes.
fn paste_lines() -> Result<(), Failed> {
    let lines: String = (0..20_000).map(|number| format!("{number:0>100}\n")).collect();
    let mut screen = shell(&[], "stty -echo; echo ready; sleep 0.5; sha256sum");
    screen.wait_for("ready")?;
    screen.paste(lines.as_bytes())?;
    screen.keys("\x04");
    check(screen.end()? == 0 && screen.text().contains(&digest(lines.as_bytes())?), "every line", &screen)
}

fn burst() -> Result<(), Failed> {
    let count = if in_guest() { 4 } else { 50 };
    let mut screen =
        Screen::start(&mut command(&["run", "-it", "--", &own(), "probe", "burst", &count.to_string()]), SIZE);
    let code = screen.end()?;
    let right = (0..count).all(|block| screen.seen.get(block << 20..(block + 1) << 20) == Some(&pattern(block)));
    if code == 0 && right && screen.seen.len() == count << 20 {
        return Ok(());
    }
    let (seen, text) = (screen.seen.len(), String::from_utf8_lossy(&screen.seen[..screen.seen.len().min(200)]));
    Err(format!("exit {code}, {seen} bytes of {count} MiB: {text:?}").into())
}

fn last_words() -> Result<(), Failed> {
    for _ in 0..5 {
        let mut screen = shell(&[], "stty -opost; head -c 50000 /dev/zero | tr '\\0' x; echo last");
        // Nobody looks for a while.
        std::thread::sleep(Duration::from_millis(300));
        check(screen.end()? == 0, "it ends", &screen)?;
        if screen.seen.len() != 50_005 || !screen.seen.ends_with(b"xlast\n") {
            return Err(format!("{} bytes came", screen.seen.len()).into());
        }
    }
    Ok(())
}

/// The modes before, from a terminal that nsctl has not seen yet.
fn marked(words: &[&str]) -> (Screen, String) {
    let args = [&["run", "-it", "--rootfs", plain().path(), "--"], words].concat();
    let mut waiting = script("read go; exec \"$@\"", &[]);
    waiting.args(&args);
    let mut screen = Screen::start(&mut waiting, SIZE);
    let modes = screen.mark();
    screen.keys("\n");
    (screen, modes)
}

fn restored() -> Result<(), Failed> {
    for (words, code) in [
        (&["sh", "-c", "echo ready; kill -9 $$"][..], 137),
        (&["sh", "-c", "stty raw; echo ready; exit 3"], 3),
        (&["sh", "-c", "echo ready; kill -SEGV $$"], 139),
        (&["no-such-command"], 127),
    ] {
        let (mut screen, modes) = marked(words);
        let ended = screen.end()?;
        check(ended == code, &format!("{words:?}: exit {code}, not {ended}"), &screen)?;
        check(screen.modes() == modes, &format!("{words:?}: the modes are as before"), &screen)?;
        check(screen.blocks(), "and it blocks as before", &screen)?;
    }
    // From outside, the command and all that is in the container.
    let (mut screen, modes) = marked(&["sh", "-c", "echo ready; sleep 1000"]);
    screen.wait_for("ready")?;
    check(screen.is_raw(), "raw meanwhile", &screen)?;
    let inside = format!("/proc/{0}/task/{0}/children", screen.pid());
    let init: i32 = std::fs::read_to_string(inside)?.trim().parse().map_err(|_| "one child")?;
    // SAFETY: a child of nsctl's, which is there as long as nsctl is.
    unsafe { libc::kill(init, libc::SIGKILL) };
    check(screen.end()? == 137 && screen.modes() == modes, "PID 1 was killed", &screen)
}

fn restored_after_signals() -> Result<(), Failed> {
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129), (libc::SIGQUIT, 131)] {
        let (mut screen, modes) = marked(&["sh", "-c", "echo ready; exec sleep 1000"]);
        screen.wait_for("ready")?;
        check(screen.is_raw(), "raw meanwhile", &screen)?;
        asleep(&screen)?;
        screen.signal(signal);
        let ended = screen.end()?;
        check(ended == code, &format!("signal {signal} ends the command: {ended}"), &screen)?;
        check(screen.modes() == modes, &format!("after signal {signal} the modes are as before"), &screen)?;
    }
    Ok(())
}

fn restored_after_kill() -> Result<(), Failed> {
    let (mut screen, modes) = marked(&["sh", "-c", "echo ready; sleep 1000"]);
    screen.wait_for("ready")?;
    screen.signal(libc::SIGKILL);
    check(screen.end()? == -libc::SIGKILL, "killed", &screen)?;
    // The hang-up may have ended the command before PID 1 heard of that end: then the next ps clears up.
    until("all of it is gone", || nsctl(&["ps", "-aq"]).out.is_empty())?;
    check(screen.modes() == modes, "PID 1 gives the terminal back", &screen)
}

/// CVE-2016-10124, CVE-2017-5226: with a terminal of its own the command types on no other.
pub(crate) fn typing() -> Result<(), Failed> {
    let root = Root::new("typing");
    let without = |options: &[&str]| {
        let words = [&["run", "--rootfs", root.path()], options, &["--", "/bin/probe", "probe", "type"]].concat();
        Screen::start(&mut command(&words), SIZE)
    };
    // Where dev.tty.legacy_tiocsti is 0 (Linux 6.2) it takes CAP_SYS_ADMIN.
    let mut screen = without(&["--security-opt", "seccomp=unconfined", "--cap-add", "SYS_ADMIN"]);
    check(screen.end()? == 0 && screen.typed() > 0, "without -t it is the caller's, and can be typed on", &screen)?;
    for options in [&[][..], &["--cap-add", "ALL"]] {
        let mut screen = without(options);
        check(
            screen.end()? == 0 && screen.typed() == 0,
            "unless the filter refuses it, whatever the upper half is",
            &screen,
        )?;
    }
    let free = ["--security-opt", "seccomp=unconfined", "--cap-add", "SYS_ADMIN"];
    for options in [&[][..], &["--user", "1000"], &["--no-init"], &free] {
        let mut screen = on(&root, options, &["/bin/probe", "probe", "type"]);
        check(screen.end()? == 0 && screen.text().contains("typed on 2"), "it tried", &screen)?;
        // What was typed there would be taken by nsctl, which relays it.
        let other = !screen.text().contains(&screen.terminal());
        check(screen.typed() == 0 && other, "nothing was typed on the caller's terminal", &screen)?;
    }
    typing_by_exec(&root, &free)
}

/// The same by exec: without -t the filter is what refuses it, with -t it is another terminal.
fn typing_by_exec(root: &Root, free: &[&str]) -> Result<(), Failed> {
    for (options, filtered) in [(&[][..], true), (&["--cap-add", "ALL"], true), (free, false)] {
        let kept = Kept::shell(&[&["--rootfs", root.path()], options].concat(), "sleep 600; true")?;
        for terminal in [&[][..], &["-it"], &["-it", "-u", "1000"]] {
            let words = [&["exec"], terminal, &[kept.id(), "/bin/probe", "probe", "type"]].concat();
            let mut screen = Screen::start(&mut command(&words), SIZE);
            let tried = screen.end()? == 0 && screen.text().contains("typed on 2");
            let (typed, callers) = (screen.typed() > 0, screen.text().contains(&screen.terminal()));
            let what = format!("exec {terminal:?}, {options:?}: has the caller's {callers}, typed on it {typed}");
            let right = callers == terminal.is_empty() && typed == (callers && !filtered);
            check(tried && right, &what, &screen)?;
        }
    }
    Ok(())
}

fn piped_input() -> Result<(), Failed> {
    let root = plain().path();
    for (text, out) in [("one\ntwo\n", "<one\r\ntwo\r\n>"), ("half", "<half>"), ("", "<>")] {
        let script = "x=$(cat; echo .); printf '<%s>' \"${x%.}\"";
        let outcome = with_input(&["run", "-it", "--rootfs", root, "--", "sh", "-c", script], text);
        // It is echoed as well, by the terminal.
        must(outcome.code == 0 && outcome.out.contains(out), "the lines, and an end", &outcome)?;
    }
    let outcome = with_input(&["run", "-i", "--rootfs", root, "--", "sh", "-c", "cat; echo end"], "text");
    must(outcome.out == "textend\n", "without -t the end comes by itself", &outcome)
}

fn input_left_alone() -> Result<(), Failed> {
    let text = "printf 'one\\ntwo\\n' | { \"$@\" run -t -- true; cat; }";
    let outcome = outcome(Running::start(&mut script(text, &[])));
    must(outcome.code == 0 && outcome.out == "one\ntwo\n", "the script's input is its own", &outcome)
}

fn piped_output() -> Result<(), Failed> {
    let root = plain().path();
    let outcome = nsctl(&["run", "-t", "--rootfs", root, "--", "sh", "-c", "echo out; echo err >&2; exit 6"]);
    let right = outcome.code == 6 && outcome.out == "out\r\nerr\r\n" && outcome.err.is_empty();
    must(right, "what it wrote to its terminal is on standard output", &outcome)?;
    // A pipe that is read slowly, and a file.
    let scratch = Scratch::new("output");
    let file = scratch.file("out", "before\n");
    let text = format!(
        "\"$@\" run -t -- sh -c 'stty -opost; head -c 300000 /dev/zero' | (sleep 0.3; wc -c); \
         \"$@\" run -t -- echo more >>{file}; cat {file}"
    );
    let outcome = outcome_of(&text);
    must(outcome.out == "300000\nbefore\nmore\r\n", "whole, and at the end of a file", &outcome)
}

fn outcome_of(text: &str) -> crate::nsctl::Outcome {
    outcome(Running::start(&mut script(text, &[])))
}

fn closed_output() -> Result<(), Failed> {
    let outcome = outcome_of("{ \"$@\" run -t -- sh -c 'trap \"\" PIPE; yes'; echo $? >&2; } | head -c 3");
    must(outcome.out == "y\r\n" && outcome.err == "129\n", "SIGHUP ended it", &outcome)
}

fn background() -> Result<(), Failed> {
    // A shell with job control, on the terminal, that starts nsctl.
    let mut outer = std::process::Command::new(crate::root::busybox());
    let nsctl = command(&[]);
    let words: Vec<String> =
        [nsctl.get_program()].into_iter().chain(nsctl.get_args()).map(|word| word.display().to_string()).collect();
    outer.args(["sh", "-i"]).env("PS1", "prompt").env("TERM", "dumb").env("NSCTL_ROOT", crate::nsctl::state());
    let mut screen = Screen::start(&mut outer, SIZE);
    screen.wait_for("prompt")?;
    let run = format!("{} run -it -- sh -c 'echo u\"\"p; cat; echo do\"\"ne' &\r", words.join(" "));
    screen.keys(&run);
    screen.wait_for("up")?;
    settle();
    screen.keys("echo st\"\"ill\r");
    screen.wait_for("still\r\n")?;
    screen.keys("fg\r");
    // That says what goes on. Until then it may be raw for the shell, which edits its line.
    screen.wait_for("run -it")?;
    until("in the foreground it is raw", || screen.is_raw())?;
    screen.keys("hel\"\"lo\r");
    screen.wait_for("hel\"\"lo\r\nhel\"\"lo\r\n")?;
    screen.keys("\x04");
    screen.wait_for("done")?;
    screen.wait_for("prompt")?;
    settle();
    screen.keys("echo $?; exit 9\r");
    check(screen.end()? == 9, "the shell has its terminal again", &screen)
}

fn hang_up() -> Result<(), Failed> {
    let scratch = Scratch::new("hang-up");
    let (dir, mark) = (scratch.dir("dir"), scratch.at("dir/hup"));
    let volume = format!("{dir}:/out");
    let mut screen =
        shell(&["-v", &volume], "trap 'echo hup >/out/hup; exit' HUP; echo ready; while :; do sleep 0.02; done");
    screen.wait_for("ready")?;
    // As the kernel does it when the window is closed: to the whole foreground.
    screen.signal(libc::SIGHUP);
    screen.end()?;
    check(mark.exists(), "the command heard of it", &screen)
}
