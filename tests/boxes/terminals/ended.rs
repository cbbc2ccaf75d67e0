//! Shells that somebody types to, and who has nothing more to say to them.

use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;

use super::{check, on};
use crate::Case;
use crate::host::plain;
use crate::nsctl::patience;
use crate::nsctl::{Outcome, Running, command, must, outcome};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("shells_see_the_end_of_input", shells),
    ("everyone_sees_the_end_of_input", readers),
    ("a_shell_that_ignores_sigterm_is_hung_up_on", ignored),
];

/// `run -it OPTIONS -- WORDS`, with this typed.
fn typed(options: &[&str], words: &[&str], text: &str) -> Result<Outcome, Failed> {
    use std::io::Write;
    let args = [&["run", "-it", "-e", "TERM=dumb"], options, &["--"], words].concat();
    let mut running = Running::start(command(&args).stdin(Stdio::piped()));
    running.stdin().write_all(text.as_bytes())?;
    running.end_within(patience()).map_err(|still| format!("{words:?} after '{text}': {still}"))?;
    Ok(outcome(running))
}

fn shells() -> Result<(), Failed> {
    let root = ["--rootfs", plain().path()];
    for (options, words) in [(&root[..], &["sh"][..]), (&[], &["bash", "--norc"]), (&[], &["dash"])] {
        let there = |dir: &str| std::path::Path::new(dir).join(words[0]).exists();
        // Those of the host, if there are any.
        if options.is_empty() && !["/bin", "/usr/bin"].into_iter().any(there) {
            continue;
        }
        for text in ["", "echo on\"\"e\n", "echo on\"\"e", "sleep 0.3; echo on\"\"e; cat\n"] {
            let done = typed(options, words, text)?;
            let right = done.code == 0 && (text.is_empty() || done.out.contains("one\r\n"));
            must(right, &format!("{words:?} ends after '{text}'"), &done)?;
        }
    }
    Ok(())
}

fn readers() -> Result<(), Failed> {
    let root = ["--rootfs", plain().path()];
    let done = typed(
        &root,
        &["sh", "-c", "cat >/dev/null; cat; read x || echo none; stty raw -echo; head -c1 | od -tx1"],
        "text\n",
    )?;
    must(done.code == 0 && done.out.contains("none\r\n") && done.out.contains(" 15"), "each of them", &done)
}

fn ignored() -> Result<(), Failed> {
    for signals in [1, 2] {
        let mut screen = on(plain(), &["-e", "TERM=dumb", "-e", "PS1=prompt"], &["sh"]);
        screen.wait_for("prompt")?;
        let begun = std::time::Instant::now();
        for _ in 0..signals {
            screen.signal(libc::SIGTERM);
            // One that is pending still and a second one are one.
            crate::life::until("nsctl takes it", || !pending(screen.pid(), libc::SIGTERM))?;
        }
        check(screen.end()? == 129, "the terminal hung up", &screen)?;
        let late = begun.elapsed() > Duration::from_secs(9);
        check(late == (signals == 1), "after a while, or when it was told twice", &screen)?;
        check(screen.modes() == screen.before, "the terminal is as before", &screen)?;
    }
    Ok(())
}

/// Whether a signal waits for a process (proc_pid_status(5), ShdPnd).
fn pending(pid: i32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let set = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("ShdPnd:")?.trim(), 16).ok());
    set.is_some_and(|set| set & 1 << (signal - 1) != 0)
}
