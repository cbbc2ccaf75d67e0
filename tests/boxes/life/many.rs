//! Five hundred at once.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::Case;
use crate::nsctl::{must, nsctl, outcome, spawn};

pub(super) const CASES: &[(&str, Case)] = &[("hundreds_of_detached_containers", hundreds)];

/// KiB of PID 1 of one that is kept: the first step of the targets.
const MOST_PSS: u64 = 100;
const MOST_PRIVATE_DIRTY: u64 = 60;

/// NSCTL_MANY says how many others than 500, or than 60 in a guest.
fn number() -> usize {
    let typed = std::env::var("NSCTL_MANY").ok().and_then(|text| text.parse().ok());
    typed.unwrap_or(if std::env::var_os("NSCTL_QEMU").is_some() { 60 } else { 500 })
}

fn hundreds() -> Result<(), Failed> {
    let number = number();
    let begun = Instant::now();
    for _ in 0..number / 10 {
        let ten: Vec<_> = (0..10).map(|_| spawn(&["run", "-d", "--", "sleep", "100000"])).collect();
        for one in ten {
            let started = outcome(one);
            must(started.code == 0 && started.out.len() == 13, "one of many", &started)?;
        }
    }
    let started = begun.elapsed();
    let listed = (0..5).map(|_| timed(&["ps"])).min_by_key(|(_, time)| *time);
    let (listed, list_time) = listed.ok_or("not listed")?;
    must(listed.out.lines().count() == number / 10 * 10 + 1, &format!("{number} are listed"), &listed)?;
    let pids = nsctl(&["ps", "--format", "pid"]);
    let sizes: Vec<(u64, u64)> = pids.out.lines().map(memory).collect();
    let ids = nsctl(&["ps", "-q"]).out;
    let mut words = vec!["rm", "-f"];
    words.extend(ids.lines());
    let (removed, remove_time) = timed(&words);
    must(removed.code == 0 && removed.out == ids, "all are removed", &removed)?;
    let left = nsctl(&["ps", "-aq"]);
    must(left.out.is_empty(), "and none is left", &left)?;
    let mean = |pick: fn(&(u64, u64)) -> u64| sizes.iter().map(pick).sum::<u64>() / sizes.len().max(1) as u64;
    let most = |pick: fn(&(u64, u64)) -> u64| sizes.iter().map(pick).max().unwrap_or(0);
    println!(
        "{} containers: started in {} ms, listed in {:.1} ms, removed in {} ms; of PID 1 PSS {} KiB (most {}), private dirty {} KiB (most {})",
        sizes.len(),
        started.as_millis(),
        list_time.as_secs_f64() * 1000.0,
        remove_time.as_millis(),
        mean(|size| size.0),
        most(|size| size.0),
        mean(|size| size.1),
        most(|size| size.1),
    );
    // A file of more than one page that is shared by few is counted whole: a guest has fewer of them.
    if number >= 500 {
        assert!(mean(|size| size.0) <= MOST_PSS, "PSS {} KiB, not {MOST_PSS}", mean(|size| size.0));
    }
    assert!(
        mean(|size| size.1) <= MOST_PRIVATE_DIRTY,
        "private dirty {} KiB, not {MOST_PRIVATE_DIRTY}",
        mean(|size| size.1)
    );
    Ok(())
}

fn timed(words: &[&str]) -> (crate::nsctl::Outcome, Duration) {
    let begun = Instant::now();
    let outcome = nsctl(words);
    (outcome, begun.elapsed())
}

/// PSS and private dirty memory of a process, in KiB.
fn memory(pid: &str) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(9999)
    };
    (value("Pss"), value("Private_Dirty"))
}
