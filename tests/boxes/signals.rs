//! Signals go in, exit codes come out, orphans are reaped.

use std::io::{BufRead, BufReader};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{Running, must, nsctl, outcome, own, shell, spawn};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("every_forwardable_signal_arrives", every_forwardable_signal_arrives),
    ("exit_codes_come_back", exit_codes_come_back),
    ("deaths_by_signal_are_128_and_the_number", deaths_by_signal),
    ("deaths_by_signal_without_init", deaths_by_signal_without_init),
    ("orphans_are_reaped", orphans_are_reaped),
    ("an_ignored_sigchld_is_handed_on_and_harms_nobody", ignored_sigchld),
];

fn every_forwardable_signal_arrives() -> Result<(), Failed> {
    let own = own();
    let mut child = spawn(&["run", "--", &own, "probe", "signals"]);
    let mut lines = BufReader::new(child.stdout()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    // Left out: KILL and STOP cannot be caught, CHLD is nsctl's own news, 32 and 33 are the C library's, and
    // TERM comes last, since it ends the probe.
    let skip = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGTERM, 32, 33];
    for signal in (1..=64).filter(|signal| !skip.contains(signal)).chain([libc::SIGTERM]) {
        child.signal(signal);
        let line = lines.next().unwrap_or_default();
        if line != signal.to_string() {
            return Err(format!("sent {signal}, the probe got '{line}'").into());
        }
    }
    let outcome = outcome(child);
    must(outcome.code == 0, "the probe leaves with 0 after SIGTERM", &outcome)
}

fn exit_codes_come_back() -> Result<(), Failed> {
    for code in (0..=255).step_by(if crate::masked::current().is_some() { 51 } else { 1 }) {
        let outcome = shell(&[], &format!("exit {code}"));
        must(outcome.code == code, &format!("exit {code}"), &outcome)?;
    }
    Ok(())
}

const DEADLY: [i32; 12] = [1, 2, 3, 4, 6, 8, 9, 11, 13, 14, 15, 34];

fn deaths_by_signal() -> Result<(), Failed> {
    let own = own();
    for signal in DEADLY {
        let outcome = nsctl(&["run", "--", &own, "probe", "kill-self", &signal.to_string()]);
        must(outcome.code == 128 + signal, &format!("signal {signal}"), &outcome)?;
    }
    Ok(())
}

/// PID 1 itself cannot be killed from inside, but from outside: nsctl's own forwarding does that with SIGKILL's help.
fn deaths_by_signal_without_init() -> Result<(), Failed> {
    let mut child = spawn(&[
        "run",
        "--no-init",
        "--",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done",
    ]);
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout());
    reader.read_line(&mut line)?;
    child.signal(libc::SIGTERM);
    let outcome = outcome(child);
    must(outcome.code == 3, "PID 1's own handler ran", &outcome)
}

fn orphans_are_reaped() -> Result<(), Failed> {
    let count =
        if crate::masked::current().is_some() || std::env::var_os("NSCTL_QEMU").is_some() { "500" } else { "20000" };
    let outcome = nsctl(&["run", "--", &own(), "probe", "orphans", count]);
    must(outcome.code == 0, "no zombie is left", &outcome)
}

fn ignored_sigchld() -> Result<(), Failed> {
    use std::os::unix::process::CommandExt;
    let mut command = crate::nsctl::command(&["run", "--", "grep", "SigIgn", "/proc/self/status"]);
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            Ok(())
        })
    };
    let outcome = outcome(Running::start(&mut command));
    let ignored =
        outcome.out.split_whitespace().nth(1).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    must(outcome.code == 0 && ignored & (1 << (libc::SIGCHLD - 1)) != 0, "its bit is set in the command", &outcome)
}
