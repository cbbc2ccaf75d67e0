//! Start to exit: the tables of times, and what a reaper adds.

use crate::calls;
use crate::contenders::{self, Contender};
use crate::kit::{self, Kit};
use crate::sys::Argv;
use crate::table::{Table, thousands};

const TOO_MANY_FAILURES: usize = 5;

/// The times of one contender over all rounds.
#[derive(Default)]
pub(crate) struct Times {
    micros: Vec<f64>,
    failed: Vec<String>,
}

impl Times {
    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// NaN without samples.
    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len().saturating_sub(1) as f64 * q).round() as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

/// An untimed start of the floor: it waits in the place of the next contender for what the last one
/// left the kernel to do. After runc's removal of its cgroups a floor's median was 6 ms instead of 0.6.
fn settle(kit: &Kit) {
    let floor = Argv::new(&[kit.path("floor"), kit.path("true")]);
    if let Ok(child) = kit.quiet.spawn(&floor) {
        // without rights for namespaces it fails at once, as the contenders then do
        let _ = child.reap();
    }
}

/// Every contender once per round, in a new order each time: what a container leaves the
/// kernel to tear down in the background must not always hit the same successor.
pub(crate) fn interleave(kit: &Kit, contenders: &[Contender], rounds: usize) -> Vec<Times> {
    let mut times: Vec<Times> = contenders.iter().map(|_| Times::default()).collect();
    let mut order: Vec<usize> = (0..contenders.len()).filter(|&i| contenders[i].out.is_none()).collect();
    let mut seed = 1;
    for _ in 0..rounds {
        // a peer that hangs would cost its time limit in every round
        order.retain(|&i| times[i].failed.len() < TOO_MANY_FAILURES);
        shuffle(&mut order, &mut seed);
        for &i in &order {
            settle(kit);
            match contenders[i].start(kit) {
                Ok(took) => times[i].micros.push(took.as_nanos() as f64 / 1e3),
                Err(why) => times[i].failed.push(why),
            }
        }
    }
    times
}

/// Fisher and Yates with a fixed linear congruential generator: every run has the same orders.
fn shuffle(order: &mut [usize], seed: &mut u64) {
    for i in (1..order.len()).rev() {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        order.swap(i, (*seed >> 33) as usize % (i + 1));
    }
}

pub(crate) fn table(kit: &Kit, rounds: usize) -> Table {
    let contenders = contenders::starters(kit);
    let mut table =
        figures(kit, &format!("Start to exit, µs ({rounds} rounds, interleaved)"), &contenders, rounds, "floor");
    table.note("namespaces uts, pid, mnt, ipc, cgroup; a fresh /proc; a host name; the payload is a static program of one system call");
    table.note("crun and runc besides change the root and make a cgroup for each container, as OCI asks");
    table
}

pub(crate) fn limits_table(kit: &Kit, rounds: usize) -> Table {
    let contenders = contenders::limited(kit);
    let title = format!("With a memory and a pids limit, µs ({rounds} rounds, interleaved)");
    figures(kit, &title, &contenders, rounds, "floor, no limits")
}

pub(crate) fn figures(kit: &Kit, title: &str, all: &[Contender], rounds: usize, base: &str) -> Table {
    let mut table = Table::new(
        title,
        &["program", "runs", "min", "median", "p99", "× min", "× median", "calls", "peak KiB", "size"],
    );
    let times = interleave(kit, all, rounds);
    let floor = all.iter().position(|c| c.name == base);
    let (floor_min, floor_median) = floor.map_or((f64::NAN, f64::NAN), |i| (times[i].min(), times[i].median()));
    let mut libc = 0;
    for (contender, times) in all.iter().zip(&times) {
        let size = kit::size(&contender.binary).ok();
        if let Some(why) = &contender.out {
            let size = size.map_or(String::new(), |s| format!(" (size: {})", s.text()));
            table.out(&contender.name, &format!("{why}{size}"));
            continue;
        }
        libc = libc.max(size.as_ref().map_or(0, |s| s.libc));
        table.row(vec![
            contender.name.clone(),
            times.micros.len().to_string(),
            thousands(times.min()),
            thousands(times.median()),
            thousands(times.quantile(0.99)),
            format!("{:.2}", times.min() / floor_min),
            format!("{:.2}", times.median() / floor_median),
            calls::total(kit, contender).map_or("-".into(), |n| n.to_string()),
            peak_rss(kit, contender),
            size.map_or("-".into(), |s| s.text()),
        ]);
        if let Some(why) = times.failed.first() {
            let n = times.failed.len();
            let dropped = if n == TOO_MANY_FAILURES { "; not started again" } else { "" };
            table.note(format!("{}: {n} starts failed ({why}){dropped}", contender.name));
        }
    }
    table.note("calls: all system calls of all its processes and threads, counted by strace in a run of their own");
    table.note(format!(
        "peak KiB: ru_maxrss, so that of its largest process; the kernel counts in batches, up to {} KiB are missing",
        rss_batch_kib()
    ));
    table.note("an untimed start of the floor precedes each timed one: it waits for what the last contender left to the kernel");
    table.note(format!(
        "size: program + libraries by ldd, without libc and ld.so ({} KB, with a dynamic program)",
        libc / 1000
    ));
    table
}

/// The kernel counts RSS per CPU and adds up every 32 pages (percpu_counter_batch, for few CPUs).
fn rss_batch_kib() -> usize {
    128 * std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// The largest of five runs under `peak`.
fn peak_rss(kit: &Kit, contender: &Contender) -> String {
    let one = || -> Option<f64> {
        let mut words = vec![kit.path("peak")];
        words.extend(contenders::fill(&contender.words, &kit.next_id()));
        let ended = kit.run(&Argv::new(&words)).ok()?;
        ended.stdout.trim().parse().ok()
    };
    match (0..5).filter_map(|_| one()).reduce(f64::max) {
        Some(kib) if kib > 0.0 => thousands(kib),
        Some(_) => format!("<{}", rss_batch_kib()),
        None => "-".into(),
    }
}

/// What each PID 1 program adds to the same start without it.
pub(crate) fn added_table(kit: &Kit, rounds: usize) -> Table {
    let mut table = Table::new(
        format!("Start that a reaper adds, µs ({rounds} rounds, interleaved)"),
        &["reaper", "min without", "min with", "added", "median without", "median with", "added"],
    );
    let target = kit.path("true");
    let unshare = kit::find("unshare", "util-linux");
    let bare = ["-p", "-f", "--mount-proc", &target];
    let mut all = vec![
        Contender::new("floor", &kit.ours("floor"), &[&target]),
        Contender::new("nsctl", &kit.nsctl, &["run", "--no-init", "--", &target]),
        Contender::new("unshare", &unshare, &bare),
    ];
    let reapers = contenders::reapers(kit);
    all.extend(reapers.iter().map(|r| r.with(&[&target])));
    let all = contenders::vet_all(kit, all);
    let times = interleave(kit, &all, rounds);
    let (without, with) = times.split_at(3);
    for (i, reaper) in reapers.iter().enumerate() {
        // the floor and nsctl have their own start without a reaper; the others share unshare's
        let (base, own) = (i.min(2), i + 3);
        if let Some(why) = all[own].out.as_ref().or(all[base].out.as_ref()) {
            table.out(&reaper.name, why);
            continue;
        }
        let (a, b) = (&without[base], &with[i]);
        table.row(vec![
            reaper.name.clone(),
            thousands(a.min()),
            thousands(b.min()),
            thousands(b.min() - a.min()),
            thousands(a.median()),
            thousands(b.median()),
            thousands(b.median() - a.median()),
        ]);
    }
    table.note("floor: without and with --reaper; nsctl: run --no-init and run; the others: unshare -p -f --mount-proc [REAPER --]");
    table
}
