//! Containers that live on: one more command in one, and many of them at once.

use crate::contenders::{Contender, vet_all};
use crate::kit::{Kit, find};
use crate::proc::{self, Memory};
use crate::start;
use crate::table::{Table, thousands};
use std::process::Command;
use std::time::{Duration, Instant};

/// A container of nsctl's; removed at the end, with all that were made beside it.
struct Kept<'a> {
    kit: &'a Kit,
    state: String,
}

impl<'a> Kept<'a> {
    fn new(kit: &'a Kit) -> Result<Self, String> {
        let state = kit.path("kept");
        std::fs::create_dir_all(&state).map_err(|e| e.to_string())?;
        Ok(Self { kit, state })
    }

    fn nsctl(&self, words: &[&str]) -> Result<String, String> {
        let nsctl = self.kit.nsctl.as_ref().map_err(Clone::clone)?;
        let output = Command::new(nsctl).args(["--root", &self.state]).args(words).output();
        let output = output.map_err(|e| e.to_string())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
    }

    fn start(&self) -> Result<String, String> {
        self.nsctl(&["run", "-d", "--log", "none", &self.kit.path("pause")])
    }

    /// As the host numbers them.
    fn pids(&self) -> Result<Vec<i32>, String> {
        Ok(self.nsctl(&["ps", "--format", "pid"])?.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let _ = self.nsctl(&["rm", "--force", "--all"]);
    }
}

pub(crate) fn exec_table(kit: &Kit, rounds: usize) -> Table {
    let title = format!("One more command in a container that runs, µs ({rounds} rounds, interleaved)");
    let made = Kept::new(kit).and_then(|kept| {
        let id = kept.start()?;
        let pid = kept.pids()?.first().copied().ok_or("it does not run")?;
        Ok((kept, id, pid.to_string()))
    });
    let (kept, id, pid) = match made {
        Ok(made) => made,
        Err(why) => {
            let mut table = Table::new(title, &["program", ""]);
            table.out("all", &why);
            return table;
        }
    };
    let (yes, all) = (kit.path("true"), ["-t", &pid, "-m", "-u", "-i", "-p"]);
    let busybox = find("busybox", "busybox-static");
    let contenders = vec![
        Contender::new("exec floor", &kit.ours("execfloor"), &[&pid, &yes]),
        Contender::new("nsctl exec", &kit.nsctl, &["--root", &kept.state, "exec", &id, &yes]),
        Contender::new("busybox nsenter", &busybox, &["nsenter"]).with(&all).with(&["-r", "--", &yes]),
        Contender::new("util-linux nsenter", &find("nsenter", "util-linux"), &all).with(&["-r", "--", &yes]),
    ];
    let mut table = start::figures(kit, &title, &vet_all(kit, contenders), rounds, "exec floor");
    table.note("nsctl besides compares the namespaces with those of the start, enters the cgroup and makes a view of it, and sets user, groups and signals");
    table
}

pub(crate) fn many_table(kit: &Kit, quick: bool) -> Table {
    let count = if quick { 50 } else { 500 };
    let title = format!("{count} containers that live on (nsctl run -d)");
    let mut table = Table::new(
        title,
        &[
            "program",
            "start ms each",
            "ps ms",
            "PSS KiB each",
            "private dirty KiB",
            "stop all ms",
            "start ms each, on top",
            "rm -f all ms",
        ],
    );
    match many(kit, count) {
        Ok(cells) => table.row(cells),
        Err(why) => table.out("nsctl", &why),
    }
    table.note("stop: SIGTERM to a command that ends by it; rm -f: of as many that run");
    table
}

fn many(kit: &Kit, count: usize) -> Result<Vec<String>, String> {
    let kept = Kept::new(kit)?;
    let fill = || (0..count).try_for_each(|_| kept.start().map(drop));
    let first = timed(fill)?;
    let list = (0..5).map(|_| timed(|| kept.pids().map(drop))).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<Memory> = kept.pids()?.into_iter().filter_map(proc::memory).collect();
    let memory = proc::mean(&all).ok_or("no process of it is there")?;
    let on_top = timed(|| kept.start().map(drop))?;
    let stop = timed(|| kept.nsctl(&["stop", "--all"]).map(drop))?;
    kept.nsctl(&["rm", "--all"])?;
    fill()?;
    let remove = timed(|| kept.nsctl(&["rm", "--force", "--all"]).map(drop))?;
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    Ok(vec![
        "nsctl run -d".into(),
        ms(first / count as u32),
        ms(list.into_iter().min().unwrap_or_default()),
        thousands(memory.pss),
        thousands(memory.private_dirty),
        ms(stop),
        ms(on_top),
        ms(remove),
    ])
}

fn timed(act: impl FnOnce() -> Result<(), String>) -> Result<Duration, String> {
    let start = Instant::now();
    act()?;
    Ok(start.elapsed())
}
