//! `nsctl ps`: the running containers.

use std::collections::BTreeMap;

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::print;
use crate::commands::table::{self, Column, Kind, column};
use crate::error::{Error, Result};
use crate::linux::clock;
use crate::state::{self, Record, State};

/// One row, as `--format json` shows it.
#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    pid: i32,
    command: Vec<String>,
    /// Seconds since the epoch.
    created: u64,
    age_seconds: u64,
    state: String,
    labels: BTreeMap<String, String>,
    /// The signal's number; null where neither the image nor the user named one.
    stop_signal: Option<i32>,
}

const COLUMNS: &[Column] = &[
    column("ID", Kind::Left),
    column("NAME", Kind::Left),
    column("PID", Kind::Right),
    column("AGE", Kind::Right),
    column("STATE", Kind::Left),
    column("COMMAND", Kind::Cut(40)),
    column("CREATED", Kind::Hidden),
    column("LABELS", Kind::Hidden),
];

#[inline(never)]
pub(crate) fn ps(typed: &cli::Ps) -> Result<u8> {
    let form = table::form("ps", &typed.listing, COLUMNS)?;
    let mut records = Vec::new();
    for place in state::places() {
        match State::open(&place) {
            Ok(state) => records.extend(state.running().map_err(|errno| {
                Error::os(format!("list the state directory {}", place.to_string_lossy()), errno)
            })?),
            // Not there, or somebody else's: no container of ours is in it.
            Err(_) => continue,
        }
    }
    let now = clock::epoch_seconds();
    let rows: Vec<Row> = records.into_iter().map(|record| row(record, now)).collect();
    print(&match form.is_json() {
        true => json::to_string(&rows) + "\n",
        false => form.text(COLUMNS, rows.into_iter().map(cells).collect()),
    })?;
    Ok(0)
}

fn row(record: Record, now: u64) -> Row {
    Row {
        id: record.id,
        name: record.name,
        pid: record.pid,
        command: record.command,
        created: record.created,
        age_seconds: now.saturating_sub(record.created),
        state: "running".into(),
        labels: record.labels.unwrap_or_default(),
        stop_signal: record.stop_signal,
    }
}

fn cells(row: Row) -> Vec<String> {
    let labels: Vec<String> = row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        row.id,
        row.name,
        row.pid.to_string(),
        age(row.age_seconds),
        row.state,
        row.command.join(" "),
        clock::rfc3339(row.created),
        labels.join(","),
    ]
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        assert_eq!([age(0), age(61), age(7260), age(90000)], ["0s", "1m01s", "2h01m", "1d01h"]);
    }
}
