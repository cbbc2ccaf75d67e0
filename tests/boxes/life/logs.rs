//! logs: byte for byte, each stream apart, what is asked for, and all of it for who follows.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use libtest_mimic::Failed;

use super::{Kept, refused, says, until};
use crate::Case;
use crate::host::Scratch;
use crate::nsctl::{Running, command, must, nsctl, outcome, spawn, state};

pub(super) const CASES: &[(&str, Case)] = &[
    ("logs_are_byte_for_byte_and_apart", bytes),
    ("logs_shows_the_end_or_what_is_younger", parts),
    ("logs_follows_to_the_end", follow),
    ("logs_of_two_files_are_counted_as_one", two_files),
    ("the_log_is_bounded_and_begun_anew_by_rename", rotation),
    ("who_follows_loses_no_line_to_rotation", follow_rotation),
    ("without_a_log_there_is_none", none),
    ("a_log_that_is_a_link_is_not_followed", link),
];

/// Both streams of `logs WORDS` as they are.
fn logged(words: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let output = command(&[&["logs"], words].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.stdout, output.stderr)
}

fn bytes() -> Result<(), Failed> {
    let scratch = Scratch::new("bytes");
    // NUL, every byte, long lines, an empty line, no newline at the end.
    let mut text: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    text.extend_from_slice(b"\n\n\r\n");
    text.extend(std::iter::repeat_n(b'a', 70_000));
    text.extend_from_slice(b"\n2026-01-01T00:00:00.000000000Z stdout F no head\n\0\0");
    text.extend(std::iter::repeat_n(b'b', 4095));
    fs::create_dir_all(scratch.path(""))?;
    fs::write(scratch.at("out"), &text)?;
    let other: Vec<u8> = text.iter().rev().copied().collect();
    fs::write(scratch.at("err"), &other)?;
    let script = format!("cat {} & cat {} >&2; wait; echo end", scratch.path("out"), scratch.path("err"));
    let kept = Kept::shell(&["--name", "b"], &script)?;
    says(&["wait", "b"], 0, "0\n")?;
    text.extend_from_slice(b"end\n");
    let (out, err) = logged(&["b"]);
    assert!(out == text, "{} bytes of {}", out.len(), text.len());
    assert!(err == other, "{} bytes of {}", err.len(), other.len());
    // Once more at the same file's end, and what followed it all is the same.
    assert!(logged(&["-f", "b"]) == (out, err));
    drop(kept);
    let kept = Kept::shell(&["--name", "b"], "printf one; printf two >&2")?;
    says(&["wait", "b"], 0, "0\n")?;
    assert_eq!(logged(&["b"]), (b"one".to_vec(), b"two".to_vec()));
    // Gone on with at the next start.
    says(&["start", "b"], 0, "b\n")?;
    says(&["wait", "b"], 0, "0\n")?;
    assert_eq!(logged(&["b"]), (b"oneone".to_vec(), b"twotwo".to_vec()));
    drop(kept);
    // In the order in which it was written, where one stream is all.
    let kept = Kept::shell(&["--name", "b"], "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done")?;
    says(&["wait", "b"], 0, "0\n")?;
    let all: String = (0..3000).map(|number| format!("{number}\n")).collect();
    assert!(logged(&["b"]).0 == all.as_bytes());
    drop(kept);
    Ok(())
}

fn parts() -> Result<(), Failed> {
    let scratch = Scratch::new("parts");
    let next = scratch.path("next");
    // Each line is written when the one before is in the log, so that no two have one time.
    let script = format!(
        "for i in 1 2 3 4; do echo $i; until test -e {next}$i; do sleep 0.02; done; sleep 0.1; done; printf 5; sleep 600"
    );
    let kept = Kept::shell(&["--name", "p"], &script)?;
    for number in 1..5 {
        kept.said(&format!("{number}\n"))?;
        scratch.file(&format!("next{number}"), "");
    }
    kept.said("5")?;
    for (number, wanted) in [
        ("0", ""),
        ("1", "5"),
        ("2", "4\n5"),
        ("4", "2\n3\n4\n5"),
        ("99", "1\n2\n3\n4\n5"),
        ("-1", "1\n2\n3\n4\n5"),
        ("all", "1\n2\n3\n4\n5"),
    ] {
        says(&["logs", "--tail", number, "p"], 0, wanted)?;
        says(&["logs", "-n", number, "p"], 0, wanted)?;
    }
    let stamped = nsctl(&["logs", "-t", "p"]);
    let heads: Vec<&str> = stamped.out.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let right =
        heads.len() == 5 && heads.iter().all(|head| head.len() == 30 && head.ends_with('Z')) && heads.is_sorted();
    must(
        right && stamped.out.lines().next().is_some_and(|line| line.ends_with(" 1")),
        "a time before each",
        &stamped,
    )?;
    says(&["logs", "--since", heads[2], "p"], 0, "3\n4\n5")?;
    says(&["logs", "--until", heads[1], "p"], 0, "1\n2\n")?;
    says(&["logs", "--since", heads[1], "--until", heads[2], "p"], 0, "2\n3\n")?;
    says(&["logs", "--since", heads[1], "--tail", "1", "p"], 0, "5")?;
    says(&["logs", "--since", "1h", "p"], 0, "1\n2\n3\n4\n5")?;
    says(&["logs", "--until", "1h", "p"], 0, "")?;
    drop(kept);
    // A line of many parts has one time.
    let kept = Kept::shell(&["--name", "p"], "head -c 20000 /dev/zero | tr '\\0' a; echo; echo x")?;
    says(&["wait", "p"], 0, "0\n")?;
    let stamped = nsctl(&["logs", "-t", "p"]);
    let lengths: Vec<usize> = stamped.out.lines().map(str::len).collect();
    must(lengths == [20031, 32], &format!("{lengths:?}"), &nsctl(&["ps", "-a"]))?;
    says(&["logs", "-n", "1", "p"], 0, "x\n")?;
    drop(kept);
    Ok(())
}

fn follow() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "f"], "echo a; echo b >&2; sleep 0.4; echo c; sleep 0.4; printf d")?;
    let all = outcome(spawn(&["logs", "-f", "f"]));
    must(all.code == 0 && all.out == "a\nc\nd" && all.err == "b\n", "to the end", &all)?;
    let last = outcome(spawn(&["logs", "-f", "-n", "1", "f"]));
    must(last.out == "d", "of one that has ended", &last)?;
    drop(kept);
    // As it comes, and not when there is a lot of it.
    let kept = Kept::shell(&["--name", "f"], "while :; do echo tick; sleep 0.1; done")?;
    let mut following = spawn(&["logs", "-f", "f"]);
    let mut lines = BufReader::new(following.stdout()).lines().map_while(Result::ok);
    for _ in 0..5 {
        assert_eq!(lines.next().as_deref(), Some("tick"));
    }
    // Also where its PID 1 is killed, or all of it removed.
    // SAFETY: PID 1 of our own container.
    unsafe { libc::kill(kept.pid(), libc::SIGKILL) };
    until("it ends", || lines.next().is_none())?;
    assert_eq!(outcome(following).code, 0);
    says(&["start", "f"], 0, "f\n")?;
    let mut following = spawn(&["logs", "-f", "-n", "0", "f"]);
    let mut lines = BufReader::new(following.stdout()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("tick"));
    says(&["rm", "-f", "f"], 0, "f\n")?;
    until("it ends", || lines.next().is_none())?;
    let ended = outcome(following);
    must(ended.code == 0, "the end of one that is removed", &ended)?;
    drop(kept);
    // A reader who leaves is not in the way.
    let _kept = Kept::shell(&["--name", "f"], "while :; do echo tick; sleep 0.02; done")?;
    let mut following = spawn(&["logs", "-f", "f"]);
    drop(following.stdout());
    let ended = outcome(following);
    must(ended.code != 0, "nobody reads", &ended)
}

fn two_files() -> Result<(), Failed> {
    let kept = Kept::shell(
        &["--name", "t", "--log-size", "4k"],
        "i=0; while [ $i -lt 60 ]; do printf %060d $i; sleep 0.005; printf '%040d\\n' $i; i=$((i+1)); done",
    )?;
    says(&["wait", "t"], 0, "0\n")?;
    assert!(state().join(kept.id()).join("log.1").exists());
    let all = nsctl(&["logs", "t"]);
    let lines: Vec<&str> = all.out.lines().collect();
    for tail in 1..lines.len() {
        let wanted: String = lines[lines.len() - tail..].iter().map(|line| format!("{line}\n")).collect();
        says(&["logs", "-n", &tail.to_string(), "t"], 0, &wanted)?;
    }
    Ok(())
}

fn rotation() -> Result<(), Failed> {
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let kept = Kept::shell(&["--name", "r", "--log-size", "64k"], script)?;
    says(&["wait", "r"], 0, "0\n")?;
    let size = |name: &str| fs::metadata(state().join(kept.id()).join(name)).map_or(0, |meta| meta.len());
    let (now, old) = (size("log"), size("log.1"));
    let chunk = 64 * 1024 + 40 * 4096;
    assert!(now <= chunk && old >= 64 * 1024 && old <= chunk, "{now} and {old} bytes");
    // What is left of it is whole.
    let all = nsctl(&["logs", "r"]);
    let mut numbers =
        all.out.lines().map(|line| line.strip_prefix("line ").and_then(|number| number.parse::<u32>().ok()));
    // The first may have begun in the log before that.
    numbers.next();
    let first = numbers.next().flatten().ok_or("no number")?;
    let right = (first + 1..20000).all(|wanted| numbers.next().flatten() == Some(wanted)) && numbers.next().is_none();
    if right { Ok(()) } else { Err(format!("from {first} on, something is missing").into()) }
}

/// Forty times the log's size, as fast as it goes, to a reader who takes a nap now and then.
fn follow_rotation() -> Result<(), Failed> {
    let scratch = Scratch::new("follow");
    let script = format!(
        "until test -e {}; do sleep 0.02; done; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
        scratch.path("go")
    );
    let _kept = Kept::shell(&["--name", "r", "--log-size", "16k"], &script)?;
    let mut following = spawn(&["logs", "-f", "r"]);
    until("it follows", || following.has_open("inotify"))?;
    scratch.file("go", "");
    let mut text = Vec::new();
    let mut stream = following.stdout();
    let mut bytes = vec![0; 16384];
    loop {
        match stream.read(&mut bytes)? {
            0 => break,
            length => text.extend_from_slice(&bytes[..length]),
        }
        if text.len() % 7 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(outcome(following).code, 0);
    let text = String::from_utf8_lossy(&text).into_owned();
    let wanted = (0..20000).map(|number| format!("line {number}"));
    let wrong = text
        .lines()
        .map(str::to_string)
        .chain(std::iter::once("end".into()))
        .zip(wanted.chain(std::iter::once("end".into())));
    if let Some((is, wanted)) = wrong.into_iter().find(|(is, wanted)| is != wanted) {
        return Err(format!("'{is}' instead of '{wanted}'").into());
    }
    Ok(())
}

fn none() -> Result<(), Failed> {
    let kept = Kept::shell(
        &["--name", "n", "--log", "none"],
        "i=0; while [ $i -lt 2000 ]; do echo $i; echo $i >&2; i=$((i+1)); done; exit 2",
    )?;
    says(&["wait", "n"], 0, "2\n")?;
    refused(&["logs", "n"], 1, "has no log")?;
    assert!(!state().join(kept.id()).join("log").exists());
    Ok(())
}

/// CVE-2026-53489: what a name in the container's directory leads to is not read.
fn link() -> Result<(), Failed> {
    let scratch = Scratch::new("link");
    let secret = scratch.file("secret", "2026-01-01T00:00:00.000000000Z stdout F secret\n");
    let kept = Kept::shell(&["--name", "l"], "echo mine")?;
    says(&["wait", "l"], 0, "0\n")?;
    let dir = state().join(kept.id());
    fs::remove_file(dir.join("log"))?;
    std::os::unix::fs::symlink(&secret, dir.join("log"))?;
    let read = outcome(Running::start(command(&["logs", "l"]).stdin(Stdio::null())));
    must(read.code == 1 && read.out.is_empty() && read.err.contains("ELOOP"), "a link as the log", &read)?;
    let before = fs::read(&secret)?;
    let started = nsctl(&["start", "l"]);
    must(started.code != 0, "nor is it written to", &started)?;
    assert_eq!(before, fs::read(&secret)?);
    Ok(())
}
