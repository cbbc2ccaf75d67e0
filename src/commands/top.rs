//! `nsctl top`: the processes of a container.

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::container;
use crate::commands::print;
use crate::commands::run::amount;
use crate::commands::table::{self, Column, Kind, column};
use crate::error::{Error, Result};
use crate::linux::processes::{self, Process};
use crate::state::Record;

/// One row, as `--format json` shows it.
#[derive(Serialize)]
struct Row {
    pid: i32,
    pid_inside: i32,
    parent: i32,
    uid: u32,
    state: String,
    cpu_milliseconds: u64,
    rss: u64,
    tasks: u64,
    command: String,
}

const COLUMNS: &[Column] = &[
    column("PID", Kind::Right),
    column("INSIDE", Kind::Right),
    column("UID", Kind::Right),
    column("STATE", Kind::Left),
    column("TIME", Kind::Right),
    column("MEM", Kind::Right),
    column("COMMAND", Kind::Cut(60)),
    column("PPID", Kind::Hidden),
    column("TASKS", Kind::Hidden),
];

#[inline(never)]
pub(crate) fn top(typed: &cli::Top) -> Result<u8> {
    let form = table::form("top", &typed.listing, COLUMNS)?;
    let container = container::find(&typed.container)?;
    container.must_be_made()?;
    let found = of(container.record())?;
    print(&match form.is_json() {
        true => json::to_string(&found.into_iter().map(row).collect::<Vec<_>>()) + "\n",
        false => form.text(COLUMNS, found.into_iter().map(cells).collect()),
    })?;
    Ok(0)
}

/// By its cgroup; where it has none, by its PID namespace.
pub(super) fn of(record: &Record) -> Result<Vec<Process>> {
    let pids = record.groups().pids().unwrap_or_default();
    if !pids.is_empty() {
        return Ok(processes::of(&pids));
    }
    processes::around(record.pid).map_err(|errno| {
        Error::os(format_args!("list the processes of container {}", record.id), errno).hint("does it run still?")
    })
}

fn row(process: Process) -> Row {
    Row {
        pid: process.pid,
        pid_inside: process.inside,
        parent: process.parent,
        uid: process.uid,
        state: process.state.into(),
        cpu_milliseconds: process.cpu,
        rss: process.rss,
        tasks: process.tasks,
        command: process.command,
    }
}

fn cells(process: Process) -> Vec<String> {
    let hundredths = process.cpu / 10;
    vec![
        process.pid.to_string(),
        process.inside.to_string(),
        process.uid.to_string(),
        process.state.to_string(),
        format!("{}:{:02}.{:02}", hundredths / 6000, hundredths / 100 % 60, hundredths % 100),
        amount(process.rss),
        process.command,
        process.parent.to_string(),
        process.tasks.to_string(),
    ]
}
