//! Starts per second with several in flight at once.

use crate::contenders::{self, Contender};
use crate::kit::{Kit, LIMIT};
use crate::proc;
use crate::sys::{Child, first_ended};
use crate::table::{Table, thousands};
use std::time::{Duration, Instant};

const WIDTHS: [usize; 2] = [8, 32];
const ROUNDS: usize = 3;

/// Starts per second; the error is a text.
type Rate = Result<f64, String>;

pub(crate) fn table(kit: &Kit, quick: bool) -> Table {
    let window = Duration::from_millis(if quick { 300 } else { 1000 });
    let all = contenders::crowd(kit);
    let mut best: Vec<[Rate; 2]> = all.iter().map(|_| [Ok(0.0), Ok(0.0)]).collect();
    for _ in 0..ROUNDS {
        for (contender, best) in all.iter().zip(&mut best) {
            for (width, best) in WIDTHS.into_iter().zip(best) {
                if contender.out.is_none()
                    && let Ok(old) = *best
                {
                    *best = burst(kit, contender, width, window).map(|new| new.max(old));
                }
            }
        }
    }
    let mut table = Table::new(
        format!("Starts per second, 8 and 32 at once (best of {ROUNDS}, interleaved)"),
        &["program", "8 at once", "× floor", "32 at once", "× floor"],
    );
    let floor = best[0].clone().map(|rate| rate.unwrap_or(f64::NAN));
    for (contender, best) in all.iter().zip(best) {
        if let Some(why) = &contender.out {
            table.out(&contender.name, why);
            continue;
        }
        let mut cells = vec![contender.name.clone()];
        for (rate, floor) in best.into_iter().zip(floor) {
            match rate {
                Ok(rate) => cells.extend([thousands(rate), format!("{:.2}", rate / floor)]),
                Err(why) => cells.extend([why, "-".into()]),
            }
        }
        table.row(cells);
    }
    table
}

/// Keeps `width` starts in flight for the time of `window`; starts per second until the last has ended.
fn burst(kit: &Kit, who: &Contender, width: usize, window: Duration) -> Rate {
    let begin = Instant::now();
    let mut running: Vec<(Child, String)> = Vec::new();
    let mut ended = 0;
    loop {
        while running.len() < width && begin.elapsed() < window {
            let id = kit.next_id();
            let child = kit.quiet.spawn(&who.argv(&id)).map_err(|e| e.to_string())?;
            running.push((child, id));
        }
        if running.is_empty() {
            return Ok(f64::from(ended) / begin.elapsed().as_secs_f64());
        }
        if let Err(why) = end_one(&mut running) {
            for (child, id) in running {
                proc::kill_tree(child.pid);
                let _ = child.reap();
                who.clean(kit, &id);
            }
            return Err(why);
        }
        ended += 1;
    }
}

/// Waits for one of them and takes it out. The failed one stays in, for the caller to clean.
fn end_one(running: &mut Vec<(Child, String)>) -> Result<(), String> {
    let children: Vec<&Child> = running.iter().map(|(child, _)| child).collect();
    let at = first_ended(&children, LIMIT).map_err(|e| e.to_string())?.ok_or("hung")?;
    let (child, _) = running.swap_remove(at);
    match child.reap().map_err(|e| e.to_string())? {
        0 => Ok(()),
        code => Err(format!("exit code {code}")),
    }
}
