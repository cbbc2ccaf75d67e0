//! `nsctl stats`: what containers use.

use std::ffi::CString;

use miniserde::{Serialize, json};
use rustix::event::Timespec;
use rustix::fs::CWD;

use crate::cli;
use crate::commands::container::{self, Container};
use crate::commands::run::amount;
use crate::commands::table::{self, Column, Form, Kind, column};
use crate::commands::{print, top};
use crate::error::Result;
use crate::linux::cgroup::Usage;
use crate::linux::{clock, file};
use crate::state::{Entry, Record};

/// One line, as `--format json` shows it. null: nothing counts it, or there is no limit.
#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    /// Of one processor, in tenths.
    cpu_percent: Option<String>,
    cpu_microseconds: Option<u64>,
    /// Bytes, as all amounts.
    memory: Option<u64>,
    memory_limit: Option<u64>,
    memory_peak: Option<u64>,
    oom_kills: Option<u64>,
    tasks: Option<u64>,
    tasks_limit: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    /// null: it has the host's network, too.
    net_received: Option<u64>,
    net_sent: Option<u64>,
}

const COLUMNS: &[Column] = &[
    column("ID", Kind::Left),
    column("NAME", Kind::Left),
    column("CPU%", Kind::Right),
    column("MEM", Kind::Right),
    column("LIMIT", Kind::Right),
    column("MEM%", Kind::Right),
    column("READ", Kind::Right),
    column("WRITTEN", Kind::Right),
    column("NET I/O", Kind::Right),
    column("TASKS", Kind::Right),
    column("PEAK", Kind::Hidden),
    column("OOM", Kind::Hidden),
];

/// Between two looks; of a single picture, between the two that it takes.
const SECOND: i64 = 1_000_000_000;
const MOMENT: i64 = SECOND / 4;

/// Of each container: the processor time that it had used, and when that was, both in microseconds.
type Before = Vec<(String, u64, u64)>;

#[inline(never)]
pub(crate) fn stats(typed: &cli::Stats) -> Result<u8> {
    let form = table::form("stats", &typed.listing, COLUMNS)?;
    let screen =
        !typed.once && matches!(form, Form::Table { .. }) && rustix::termios::isatty(rustix::stdio::stdout());
    let mut before = None;
    look(typed, &mut before)?;
    pause(MOMENT);
    loop {
        let rows = look(typed, &mut before)?;
        let over = !typed.containers.is_empty() && rows.is_empty();
        let text = match form.is_json() {
            true => rows.iter().map(|row| json::to_string(row) + "\n").collect(),
            false => form.text(COLUMNS, rows.into_iter().map(cells).collect()),
        };
        print(&if screen { format!("\x1b[H\x1b[J{text}") } else { text })?;
        if typed.once || over {
            return Ok(0);
        }
        pause(SECOND);
    }
}

fn pause(nanoseconds: i64) {
    let time = Timespec { tv_sec: nanoseconds / SECOND, tv_nsec: (nanoseconds % SECOND) as _ };
    let _ = rustix::event::poll(&mut [], Some(&time));
}

/// The containers that are asked for. Those that were named must be there at first; then they may end.
fn wanted(typed: &cli::Stats, first: bool) -> Result<Vec<Container>> {
    if typed.containers.is_empty() {
        container::allow_many();
        let all = container::all()?.into_iter();
        return Ok(all.filter(|container| typed.all || container.entry.alive).collect());
    }
    let mut found = Vec::new();
    for word in &typed.containers {
        match container::find(word) {
            Ok(container) => found.push(container),
            Err(error) if first => return Err(error),
            Err(_) => {}
        }
    }
    Ok(found)
}

fn look(typed: &cli::Stats, before: &mut Option<Before>) -> Result<Vec<Row>> {
    let containers = wanted(typed, before.is_none())?;
    let now = clock::micros();
    let mut after = Before::new();
    let mut rows = Vec::new();
    for container in containers {
        let Container { entry: Entry { record, alive, .. }, .. } = container;
        let usage = if alive { counted(&record) } else { Usage::default() };
        let net = if alive { traffic(&record) } else { None };
        let percent = usage.cpu.and_then(|used| {
            after.push((record.id.clone(), used, now));
            let (_, old, then) = before.iter().flatten().find(|(id, _, _)| *id == record.id)?;
            Some(tenths(used.saturating_sub(*old), now.saturating_sub(*then)))
        });
        rows.push(row(record, percent, usage, net));
    }
    *before = Some(after);
    Ok(rows)
}

/// What no group counts is counted by its processes.
fn counted(record: &Record) -> Usage {
    let mut usage = record.groups().usage();
    if usage.memory.is_none() || usage.cpu.is_none() || usage.pids.is_none() {
        let processes = top::of(record).unwrap_or_default();
        let sum = |figure: fn(&crate::linux::processes::Process) -> u64| processes.iter().map(figure).sum();
        usage.memory = usage.memory.or(Some(sum(|process| process.rss)));
        usage.cpu = usage.cpu.or(Some(sum(|process| process.cpu * 1000)));
        usage.pids = usage.pids.or(Some(sum(|process| process.tasks)));
    }
    // docker's way: pages of files that nobody used lately can be had at once.
    usage.memory = usage.memory.map(|bytes| bytes.saturating_sub(usage.memory_inactive_file.unwrap_or(0)));
    usage
}

/// Bytes that came and went over the interfaces of its own network; what it says to itself is none.
fn traffic(record: &Record) -> Option<(u64, u64)> {
    record.namespaces.get("net")?;
    let path = CString::new(format!("/proc/{}/net/dev", record.pid)).ok()?;
    Some(sums(&file::read_text(CWD, &path).ok()?))
}

/// Two lines of a head, then `NAME: ` and 16 numbers: bytes that came are the first, those that went the ninth (proc_pid_net(5)).
fn sums(text: &str) -> (u64, u64) {
    let interfaces = text.lines().filter_map(|line| line.trim_start().split_once(':'));
    let others = interfaces.filter(|(name, _)| *name != "lo");
    others.fold((0, 0), |(came, went), (_, figures)| {
        let mut figures = figures.split_whitespace().map(|figure| figure.parse().unwrap_or(0));
        let (more, gone) = (figures.next().unwrap_or(0), figures.nth(7).unwrap_or(0));
        (u64::saturating_add(came, more), u64::saturating_add(went, gone))
    })
}

fn row(record: Record, cpu_percent: Option<String>, usage: Usage, net: Option<(u64, u64)>) -> Row {
    Row {
        id: record.id,
        name: record.name,
        cpu_percent,
        cpu_microseconds: usage.cpu,
        memory: usage.memory,
        memory_limit: usage.memory_limit,
        memory_peak: usage.memory_peak,
        oom_kills: usage.oom_kills,
        tasks: usage.pids,
        tasks_limit: usage.pids_limit,
        read: usage.io_read,
        written: usage.io_write,
        net_received: net.map(|(came, _)| came),
        net_sent: net.map(|(_, went)| went),
    }
}

fn cells(row: Row) -> Vec<String> {
    let size = |bytes: Option<u64>| bytes.map(amount).unwrap_or_default();
    let count = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let part = match (row.memory, row.memory_limit) {
        (Some(used), Some(limit)) => tenths(used, limit),
        _ => String::new(),
    };
    vec![
        row.id,
        row.name,
        row.cpu_percent.unwrap_or_default(),
        size(row.memory),
        size(row.memory_limit),
        part,
        size(row.read),
        size(row.written),
        row.net_received
            .zip(row.net_sent)
            .map_or("-".into(), |(came, went)| format!("{} / {}", amount(came), amount(went))),
        count(row.tasks),
        size(row.memory_peak),
        count(row.oom_kills),
    ]
}

/// A hundred times the quotient.
fn tenths(part: u64, whole: u64) -> String {
    let tenths = part.saturating_mul(1000) / whole.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    let (came, went) = sums(text);
    let _ = (amount(came), amount(went), tenths(came, went));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_summed_up_without_the_loopback() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     900      1    0    0    0     0          0         0      900       1    0    0    0     0       0          0
  eth0:    1200     10    0    0    0     0          0         0      340       4    0    0    0     0       0          0
eth1:1 2 3 4 5 6 7 8 9
  odd:
";
        assert_eq!(sums(text), (1201, 349));
        let most = u64::MAX;
        assert_eq!(sums(&format!("{text}eth2: {most}\n")), (most, 349));
    }
}
