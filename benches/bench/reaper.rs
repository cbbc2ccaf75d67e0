//! The reaper's memory while containers run, and the orphans it reaps per second.

use crate::contenders::{self, Contender, complaint};
use crate::kit::{Kit, LIMIT};
use crate::proc::{self, Memory};
use crate::sys::{self, Child};
use crate::table::{Table, thousands};
use std::thread::sleep;
use std::time::{Duration, Instant};

const CROWD: usize = 20;
const ROUNDS: usize = 3;

/// What stays while a container runs: the process outside, and PID 1 inside if it is not the payload.
struct Kept {
    outside: Option<Memory>,
    inside: Option<Memory>,
}

pub(crate) fn memory_table(kit: &Kit) -> Table {
    let mut table = Table::new(
        format!("Memory of what stays while a container runs, KiB (of 1 container; \"20:\" the mean of {CROWD})"),
        &["process", "PSS", "private", "dirty", "RSS", "peak RSS", "20: PSS", "20: private", "20: dirty", "20: RSS"],
    );
    let pause = kit.path("pause");
    let mut all = contenders::reapers(kit);
    all.push(contenders::bubblewrap(&pause));
    for (i, contender) in all.iter().enumerate() {
        let contender = match contender.name.as_str() {
            "bubblewrap" => contender.with(&[]),
            _ => contender.with(&[&pause]),
        };
        // tini and the like: what is outside is unshare, the same for all, so it is shown once
        let show_outside = i <= 2 || contender.name == "bubblewrap";
        let outside = match contender.name.as_str() {
            "floor --reaper" => "floor, outside",
            "nsctl run" => "nsctl, supervisor",
            "tini" => "unshare, outside",
            _ => "bubblewrap, outside",
        };
        match hold(kit, &contender, 1).and_then(|one| Ok((one, hold(kit, &contender, CROWD)?))) {
            Ok((one, crowd)) => {
                if show_outside {
                    memory_row(&mut table, outside, one.outside, crowd.outside);
                }
                let inside = format!("{}, PID 1", contender.name);
                memory_row(&mut table, &inside, one.inside, crowd.inside);
            }
            Err(why) => table.out(&contender.name, &why),
        }
    }
    table.note("private: Private_Clean + Private_Dirty of smaps_rollup; dirty: Private_Dirty alone; peak RSS: VmHWM of that process");
    table.note(
        "PSS shares libc with every other program of the machine, so on a small board the dynamic ones show more",
    );
    table
}

fn memory_row(table: &mut Table, name: &str, one: Option<Memory>, crowd: Option<Memory>) {
    let (Some(one), Some(crowd)) = (one, crowd) else {
        table.out(name, "no such process: the payload itself is PID 1");
        return;
    };
    let four = |m: Memory| [m.pss, m.private_clean + m.private_dirty, m.private_dirty, m.rss];
    let mut cells = vec![name.to_string()];
    cells.extend(four(one).map(thousands));
    cells.push(thousands(one.peak_rss));
    cells.extend(four(crowd).map(thousands));
    table.row(cells);
}

/// Starts `count` containers that wait, reads the memory, ends them. The error is a text.
fn hold(kit: &Kit, contender: &Contender, count: usize) -> Result<Kept, String> {
    if let Some(why) = &contender.out {
        return Err(why.clone());
    }
    let mut tops = Vec::new();
    for _ in 0..count {
        let argv = contender.argv(&kit.next_id());
        match kit.quiet.spawn(&argv) {
            Ok(child) => tops.push(child),
            Err(e) => {
                end_all(tops, &[]);
                return Err(e.to_string());
            }
        }
    }
    let chains = await_payloads(&tops);
    sleep(Duration::from_millis(100)); // the reaper's first instructions after its fork
    let read = |pick: fn(&[i32]) -> Option<&i32>| {
        let all: Vec<Memory> = chains.iter().filter_map(|chain| proc::memory(*pick(chain)?)).collect();
        proc::mean(&all)
    };
    // outside → … → PID 1 → pause; with only two the payload is PID 1
    let kept = Kept { outside: read(|chain| chain.first()), inside: read(|chain| chain[1..].iter().rev().nth(1)) };
    let complete = chains.len() == count;
    end_all(tops, &chains);
    match complete {
        true => Ok(kept),
        false => Err("its payload did not come up".into()),
    }
}

/// The processes of each container from the outer one to the payload, once all payloads run.
fn await_payloads(tops: &[Child]) -> Vec<Vec<i32>> {
    let deadline = Instant::now() + LIMIT / 2;
    loop {
        let chains: Vec<Vec<i32>> = tops.iter().filter_map(|top| proc::chain_to(top.pid, "pause")).collect();
        if chains.len() == tops.len() || Instant::now() > deadline {
            return chains;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Kills PID 1 of each container (the kernel then ends all inside), so that the outer process ends by
/// itself and removes its state; what does not end by then is killed.
fn end_all(tops: Vec<Child>, chains: &[Vec<i32>]) {
    for chain in chains {
        // the last but one is PID 1 of the container, or its payload is
        if let Some(&pid) = chain[1..].iter().rev().nth(1).or(chain[1..].last()) {
            sys::kill(pid);
        }
    }
    for top in tops {
        if !matches!(top.wait(LIMIT / 10), Ok(Some(_))) {
            proc::kill_tree(top.pid);
            let _ = top.reap();
        }
    }
}

/// The better of each figure over the rounds.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_micros: f64,
}

pub(crate) fn orphans_table(kit: &Kit, quick: bool) -> Table {
    let count = if quick { 4000 } else { 20_000 };
    let all = contenders::reapers(kit);
    let mut best: Vec<[Result<Rate, String>; 2]> = all.iter().map(|_| none_yet()).collect();
    for _ in 0..ROUNDS {
        for (contender, best) in all.iter().zip(&mut best) {
            for (mode, best) in ["storm", "backlog"].into_iter().zip(best) {
                if let Ok(old) = best {
                    *best = orphans(kit, contender, mode, count).map(|new| better(*old, new));
                }
            }
        }
    }
    let mut table = Table::new(
        format!("{} orphans reaped (best of {ROUNDS}, interleaved)", thousands(f64::from(count))),
        &["reaper", "storm /s", "CPU µs each", "backlog /s", "CPU µs each"],
    );
    for (contender, best) in all.iter().zip(best) {
        let mut cells = vec![contender.name.clone()];
        for rate in &best {
            match rate {
                Ok(rate) => cells.extend([thousands(rate.per_second), format!("{:.2}", rate.cpu_micros)]),
                Err(why) => cells.extend([why.clone(), "-".into()]),
            }
        }
        match &best[0] {
            Err(why) => table.out(&contender.name, why),
            Ok(_) => table.row(cells),
        }
    }
    table.note("storm: double forks one after the other, the time includes making them; backlog: 1,000 zombies at a time fall to PID 1, only the reaping counts");
    table.note("CPU: what PID 1 itself used, by its process clock");
    table
}

fn none_yet() -> [Result<Rate, String>; 2] {
    let worst = Rate { per_second: 0.0, cpu_micros: f64::INFINITY };
    [Ok(worst), Ok(worst)]
}

fn better(a: Rate, b: Rate) -> Rate {
    Rate { per_second: a.per_second.max(b.per_second), cpu_micros: a.cpu_micros.min(b.cpu_micros) }
}

fn orphans(kit: &Kit, contender: &Contender, mode: &str, count: u32) -> Result<Rate, String> {
    if let Some(why) = &contender.out {
        return Err(why.clone());
    }
    let words = [&kit.path("orphans"), mode, &count.to_string()];
    let argv = contender.with(&words).argv(&kit.next_id());
    let ended = kit.run(&argv).map_err(|e| e.to_string())?;
    if let Some(why) = complaint(&ended) {
        return Err(why);
    }
    let mut numbers = ended.stdout.split_whitespace().map(str::parse::<f64>);
    let (Some(Ok(wall)), Some(Ok(cpu))) = (numbers.next(), numbers.next()) else {
        return Err(format!("unexpected output: {}", ended.stdout.trim_end()));
    };
    Ok(Rate { per_second: f64::from(count) / wall * 1e9, cpu_micros: cpu / f64::from(count) / 1e3 })
}
