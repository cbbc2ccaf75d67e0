//! Containers that live on, and who looks in: attach, start --attach, exec --tty.

use std::process::Stdio;

use libtest_mimic::Failed;

use super::inside::pattern;
use super::{SIZE, asleep, check, in_guest, settle, shell};
use crate::Case;
use crate::host::plain;
use crate::life::until;
use crate::nsctl::{Outcome, Running, command, must, nsctl, outcome, own, spawn};
use crate::screen::Screen;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("attach_types_detaches_and_comes_again", attach),
    ("attach_follows_the_window", sizes),
    ("attach_is_ended_and_the_container_goes_on", told),
    ("attach_to_pipes_hands_signals_and_streams_on", pipes),
    ("attach_refuses_what_it_cannot_have", refusals),
    ("those_who_are_attached_leave_room_for_signals", many),
    ("input_that_is_not_read_of_one_who_left_costs_nothing", left_input),
    ("who_attaches_too_late_has_its_code", late),
    ("detach_keys_are_for_what_lives_on", detach_keys),
    ("start_attached_shows_all_from_the_first_byte", start),
    ("a_burst_through_nsctl_inside_arrives_whole", burst),
    ("exec_with_a_terminal_of_its_own", exec),
];

/// A container that lives on until the test ends.
struct Kept(&'static str);

impl Kept {
    fn new(verb: &str, name: &'static str, options: &[&str], words: &[&str]) -> Result<Self, Failed> {
        let verb: Vec<&str> = verb.split(' ').collect();
        let head = ["--name", name, "--rootfs", plain().path(), "-e", "TERM=dumb", "-e", "PS1=prompt"];
        let outcome = nsctl(&[&verb[..], &head, options, &["--"], words].concat());
        must(outcome.code == 0, "it is made", &outcome)?;
        Ok(Self(name))
    }

    fn phase(&self) -> String {
        let outcome = nsctl(&["ps", "-a", "--format", "name,state"]);
        let line = outcome.out.lines().find(|line| line.starts_with(self.0)).unwrap_or_default().to_string();
        line.split_whitespace().nth(1).unwrap_or_default().into()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        nsctl(&["rm", "-f", self.0]);
    }
}

fn attached(args: &[&str]) -> Screen {
    Screen::start(&mut command(args), SIZE)
}

fn attach() -> Result<(), Failed> {
    let kept = Kept::new("run -dit", "attach-1", &[], &["sh"])?;
    let mut screen = attached(&["attach", "attach-1"]);
    screen.keys("echo on\"\"ce; x=kept\r");
    screen.wait_for("once\r\n")?;
    check(screen.is_raw(), "raw meanwhile", &screen)?;
    // The first key of the sequence is held back, and comes with what it was not followed by.
    screen.keys("\x10\x15echo tw\"\"ice\r");
    screen.wait_for("twice\r\n")?;
    settle();
    screen.keys("\x10\x11");
    check(screen.end()? == 0 && screen.text().contains("detached from attach-1"), "detached", &screen)?;
    check(screen.modes() == screen.before && kept.phase() == "running", "as before, and it goes on", &screen)?;

    let mut screen = attached(&["attach", "--detach-keys", "x,y", "attach-1"]);
    // One of them alone comes through.
    screen.keys("\x15echo \"x\"\"y\"$HOME\r");
    screen.wait_for("xy/root\r\n")?;
    screen.keys("xy");
    check(screen.end()? == 0, "other keys detach", &screen)?;

    let mut screen = attached(&["attach", "--detach-keys", "", "attach-1"]);
    screen.keys("\x15exit 7\r");
    check(screen.end()? == 7 && screen.modes() == screen.before, "its code when it ends", &screen)
}

fn sizes() -> Result<(), Failed> {
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done";
    let _kept = Kept::new("run -dt", "attach-2", &[], &["sh", "-c", script])?;
    until("it is ready", || nsctl(&["logs", "attach-2"]).out.contains("ready"))?;
    let mut screen = attached(&["attach", "attach-2"]);
    screen.wait_for("33 111\r\n")?;
    screen.resize((40, 70));
    screen.wait_for("40 70\r\n")?;
    settle();
    screen.keys("\x10\x11");
    check(screen.end()? == 0, "detached", &screen)?;
    // It is asked to draw itself anew, though nothing has changed.
    let mut again = Screen::start(&mut command(&["attach", "attach-2"]), (40, 70));
    again.wait_for("40 70\r\n")?;
    Ok(())
}

fn told() -> Result<(), Failed> {
    let kept = Kept::new("run -dit", "attach-3", &[], &["sh"])?;
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129), (libc::SIGINT, 130)] {
        let mut screen = attached(&["attach", "attach-3"]);
        screen.keys("echo on\"\"ce\r");
        screen.wait_for("once\r\n")?;
        screen.signal(signal);
        check(screen.end()? == code, &format!("signal {signal} is for nsctl attach"), &screen)?;
        check(screen.modes() == screen.before && kept.phase() == "running", "as before, and it goes on", &screen)?;
    }
    Ok(())
}

fn pipes() -> Result<(), Failed> {
    let script = "trap 'echo term; exit 8' TERM; echo ready; echo error >&2; while read -r x; do echo \"<$x>\"; done; \
                  echo end; while :; do sleep 0.02; done";
    let _kept = Kept::new("create -i", "attach-4", &[], &["sh", "-c", script])?;
    let mut starting = command(&["start", "-ai", "attach-4"]);
    let mut running = Running::start(starting.stdin(Stdio::piped()));
    let mut input = running.stdin();
    std::io::Write::write_all(&mut input, b"one\ntwo\n")?;
    drop(input);
    until("it has read all", || nsctl(&["logs", "attach-4"]).out.contains("end\n"))?;
    running.signal(libc::SIGTERM);
    let outcome = outcome(running);
    let out = "ready\n<one>\n<two>\nend\nterm\n";
    must(outcome.code == 8 && outcome.out == out && outcome.err == "error\n", "streams, end and signal", &outcome)
}

fn many() -> Result<(), Failed> {
    let script = "trap 'exit 7' HUP; while :; do echo; sleep 0.1; done";
    let kept = Kept::new("run -di", "attach-7", &[], &["sh", "-c", script])?;
    let one = || Running::start(command(&["attach", "attach-7"]).stdin(Stdio::piped()));
    let mut attached: Vec<Running> = (0..6).map(|_| one()).collect();
    // Who gets what it writes is attached. The pipes stay open, and have room for all of that.
    let mut outputs: Vec<_> = attached.iter_mut().map(Running::stdout).collect();
    outputs.iter_mut().try_for_each(|output| std::io::Read::read_exact(output, &mut [0]))?;
    must(attached.iter_mut().all(Running::runs), "six are attached", &nsctl(&["ps", "-a"]))?;
    let more = outcome(one());
    must(more.code == 1 && more.err.contains("as many are attached"), "one too many", &more)?;
    let signal = nsctl(&["kill", "-s", "HUP", "attach-7"]);
    must(signal.code == 0, "a signal all the same", &signal)?;
    for one in attached {
        let ended = outcome(one);
        must(ended.code == 7, "it came to the command", &ended)?;
    }
    must(kept.phase() == "exited", "its end", &nsctl(&["ps", "-a"]))
}

fn left_input() -> Result<(), Failed> {
    let _kept = Kept::new("run -di", "attach-8", &[], &["sleep", "1000"])?;
    let mut attached = Running::start(command(&["attach", "attach-8"]).stdin(std::fs::File::open("/dev/zero")?));
    for _ in 0..5 {
        settle();
    }
    attached.signal(libc::SIGKILL);
    attached.end_within(crate::nsctl::patience())?;
    let pid = nsctl(&["ps", "--format", "name,pid"]).out;
    let pid = pid.lines().find_map(|line| line.strip_prefix("attach-8\t")).unwrap_or_default().to_string();
    let ticks = || -> Result<u64, Failed> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("no stat")?.1.split(' ').collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    };
    settle();
    let before = ticks()?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let used = ticks()? - before;
    must(used < 5, &format!("nsctl inside sleeps, and does not use {used} ticks"), &nsctl(&["ps", "-a"]))
}

/// Too late to be told by nsctl inside, it looks.
fn late() -> Result<(), Failed> {
    for round in 0..40 {
        let _kept = Kept::new("run -d", "attach-9", &[], &["sh", "-c", "sleep 0.02; exit 3"])?;
        std::thread::sleep(std::time::Duration::from_millis(round));
        let attached = nsctl(&["attach", "attach-9"]);
        must(attached.code == 3 || attached.code == 1, "its code, or that it does not run", &attached)?;
    }
    Ok(())
}

fn refusals() -> Result<(), Failed> {
    let said = |args: &[&str], code: i32, text: &str| -> Result<(), Failed> {
        let outcome = nsctl(args);
        must(outcome.code == code && outcome.err.contains(text), text, &outcome)
    };
    said(&["attach", "no-such"], 1, "there is no container no-such")?;
    said(&["attach", "--detach-keys", "ctrl-1", "no-such"], 125, "there are no such keys")?;
    said(&["start", "-i", "no-such"], 125, "go with --attach")?;
    said(&["exec", "-dt", "no-such", "sh"], 125, "--detach and --tty contradict")?;
    let _ended = Kept::new("run -d", "attach-5", &[], &["true"])?;
    nsctl(&["wait", "attach-5"]);
    said(&["attach", "attach-5"], 1, "does not run")?;
    let foreground = spawn(&["run", "--name", "attach-6", "--", "sleep", "1000"]);
    let mut last = Outcome { code: 0, out: String::new(), err: String::new() };
    until("one in the foreground", || {
        last = nsctl(&["attach", "attach-6"]);
        last.err.contains("in the foreground")
    })?;
    foreground.signal(libc::SIGTERM);
    outcome(foreground);
    must(last.code == 1 && last.err.contains("in the foreground"), "one in the foreground", &last)
}

fn start() -> Result<(), Failed> {
    let kept = Kept::new("create", "attach-7", &[], &["sh", "-c", "echo out; echo err >&2; exit 3"])?;
    for _ in 0..3 {
        let outcome = nsctl(&["start", "-a", "attach-7"]);
        must(outcome.code == 3 && outcome.out == "out\n" && outcome.err == "err\n", "all of it", &outcome)?;
        must(kept.phase() == "exited", "and it has ended", &outcome)?;
    }
    let _none = Kept::new("create", "attach-8", &[], &["no-such-command"])?;
    let outcome = nsctl(&["start", "-a", "attach-8"]);
    must(outcome.code == 127 && outcome.err.contains("no-such-command"), "why it does not start", &outcome)
}

fn burst() -> Result<(), Failed> {
    let count = if in_guest() { 4 } else { 20 };
    for (name, options) in [("attach-9", &["-t"][..]), ("attach-10", &[])] {
        let own = own();
        let probe = ["--", &own, "probe", "burst", &count.to_string()].map(String::from);
        let words: Vec<&str> = probe.iter().map(String::as_str).collect();
        let made = nsctl(&[&["create", "--log", "none", "--name", name], options, &words].concat());
        must(made.code == 0, "it is made", &made)?;
        let kept = Kept(name);
        let mut starting = command(&["start", "-a", name]);
        let output = starting.stdout(Stdio::piped()).spawn()?.wait_with_output()?;
        let right = (0..count).all(|at| output.stdout.get(at << 20..(at + 1) << 20) == Some(&pattern(at)));
        if !right || output.stdout.len() != count << 20 || !output.status.success() {
            let seen = output.stdout.len();
            return Err(format!("{name} {options:?}: {seen} bytes of {count} MiB, {}", output.status).into());
        }
        drop(kept);
    }
    Ok(())
}

fn exec() -> Result<(), Failed> {
    let _kept = Kept::new("run -d", "attach-11", &[], &["sleep", "1000"])?;
    let script = "tty; stty size; echo $PPID; read x; echo \"<$x>\"; exit 5";
    let mut screen = attached(&["exec", "-it", "attach-11", "sh", "-c", script]);
    screen.wait_for("/dev/pts/0\r\n33 111\r\n0\r\n")?;
    screen.keys("line\r");
    screen.wait_for("<line>\r\n")?;
    check(screen.end()? == 5 && screen.modes() == screen.before, "its code, and the terminal as before", &screen)?;

    let mut screen = attached(&[
        "exec",
        "-it",
        "-u",
        "user",
        "attach-11",
        "sh",
        "-c",
        "stat -c %u $(tty); echo re\"\"ady; exec sleep 1000",
    ]);
    screen.wait_for("1000\r\nready")?;
    asleep(&screen)?;
    screen.keys("\x03");
    check(screen.end()? == 130 && screen.modes() == screen.before, "Ctrl-C", &screen)?;

    let mut screen = attached(&["exec", "-it", "attach-11", "sh", "-c", "echo ready; kill -9 $$"]);
    check(screen.end()? == 137 && screen.modes() == screen.before, "killed", &screen)?;
    let outcome = nsctl(&["exec", "-t", "attach-11", "stty", "size"]);
    must(outcome.code == 0 && outcome.out == "24 80\r\n", "without a terminal outside", &outcome)
}

fn detach_keys() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--detach-keys", "ctrl-p,ctrl-q", "--", "true"]);
    must(outcome.code == 125 && outcome.err.contains("nsctl attach"), "refused with a sentence", &outcome)?;
    let outcome = nsctl(&["run", "--detach-keys", "", "--", "true"]);
    must(outcome.code == 0, "none are none", &outcome)?;
    let mut screen = shell(&[], "stty raw -echo; echo ready; head -c 3 | od -An -tx1");
    screen.wait_for("ready")?;
    screen.keys("\x10\x11x");
    screen.wait_for("10 11 78")?;
    check(screen.end()? == 0, "in the foreground they are keys like others", &screen)
}
