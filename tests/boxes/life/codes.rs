//! One table: how a command ends, and what run, a detached run with wait and inspect, and exec make of it.

use std::fs;

use libtest_mimic::Failed;

use super::{Kept, says};
use crate::Case;
use crate::host::Scratch;
use crate::nsctl::{must, nsctl, own};

pub(super) const CASES: &[(&str, Case)] = &[
    ("exit_codes_are_the_same_for_run_wait_inspect_and_exec", codes),
    ("reasons_are_the_same_for_run_and_exec", reasons),
];

/// These do not end a process by themselves.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
    libc::SIGWINCH,
];

struct Row {
    words: Vec<String>,
    code: i32,
    signal: i32,
}

fn table() -> Vec<Row> {
    let few = std::env::var_os("NSCTL_QEMU").is_some();
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_string()).collect();
    let exits = (0..=255).step_by(if few { 17 } else { 1 });
    let exits = exits.map(|code| Row { words: words(&["sh", "-c", &format!("exit {code}")]), code, signal: 0 });
    let deadly = (1..=31).chain(34..=64).filter(|signal| !HARMLESS.contains(signal));
    let killed = deadly.map(|signal| Row {
        words: words(&[&own(), "probe", "kill-self", &signal.to_string()]),
        code: 128 + signal,
        signal,
    });
    exits.chain(killed).collect()
}

fn codes() -> Result<(), Failed> {
    let stays = Kept::shell(&["--name", "stays"], "sleep 6000")?;
    let table = table();
    for Row { words, code, signal } in &table {
        let command: Vec<&str> = words.iter().map(String::as_str).collect();
        says(&[&["run", "--"], &command[..]].concat(), *code, "")?;
        says(&[&["exec", "stays"], &command[..]].concat(), *code, "")?;
        let kept = Kept::made("run", &[&["-d", "--"], &command[..]].concat())?;
        says(&["wait", kept.id()], 0, &format!("{code}\n"))?;
        let inspected = nsctl(&["inspect", kept.id()]);
        let signal = if *signal == 0 { "null".to_string() } else { signal.to_string() };
        let wanted = format!(r#""exit_code":{code},"signal":{signal},"oom_killed":false,"cause":null"#);
        must(inspected.out.contains(&wanted), &wanted, &inspected)?;
        says(&["rm", kept.id()], 0, &format!("{}\n", kept.id()))?;
        // It is gone already.
        std::mem::forget(kept);
    }
    println!("{} ends, each by run, exec, and run -d with wait and inspect", table.len());
    must(stays.shown("state") == "running", "what others did is nothing to it", &nsctl(&["ps", "-a"]))
}

/// 125 to 127, and the sentence names the object.
fn reasons() -> Result<(), Failed> {
    let scratch = Scratch::new("reasons");
    let executable = |name: &str, bytes: &[u8]| {
        let file = scratch.file(name, "");
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        file
    };
    let odd = executable("odd", b"#!/no/such/interpreter\n");
    let mut elf = fs::read(own())?;
    elf.truncate(4096);
    let native = cfg!(target_arch = "aarch64");
    elf[18..20].copy_from_slice(&if native { 62u16 } else { 183 }.to_le_bytes());
    let foreign = executable("foreign", &elf);
    let text = scratch.file("text", "text");
    let _stays = Kept::shell(&["--name", "stays"], "sleep 6000")?;
    for (program, code, words) in [
        ("/no/such", 127, "/no/such: no such file or directory, ENOENT"),
        ("no-such-command", 127, "no-such-command: no such file in PATH"),
        (odd.as_str(), 127, "interpreter /no/such/interpreter is missing"),
        (foreign.as_str(), 126, if native { "x86" } else { "AArch64" }),
        (text.as_str(), 126, "it is not executable"),
        ("/", 126, "it is a directory"),
    ] {
        for verb in [&["run", "--"][..], &["run", "-d", "--"], &["exec", "stays"], &["exec", "-d", "stays"]] {
            let outcome = nsctl(&[verb, &[program]].concat());
            let right = outcome.code == code && outcome.out.is_empty() && outcome.err.contains(words);
            must(right, &format!("{verb:?} {program}: {code}, '{words}'"), &outcome)?;
        }
    }
    for verb in [&["run"][..], &["run", "-d"], &["exec"], &["exec", "-d"]] {
        let target: &[&str] = if verb[0] == "exec" { &["stays"] } else { &["--"] };
        let outcome = nsctl(&[verb, &["-w", "/nowhere"], target, &["true"]].concat());
        must(outcome.code == 125 && outcome.err.contains("/nowhere"), "125 and the directory", &outcome)?;
    }
    Ok(())
}
