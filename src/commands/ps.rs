//! `nsctl ps`: the running containers.

use std::collections::BTreeMap;

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::print;
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

#[inline(never)]
pub(crate) fn ps(typed: &cli::Ps) -> Result<u8> {
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
    if typed.json {
        print(&(json::to_string(&rows) + "\n"))?;
    } else if typed.quiet {
        print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>())?;
    } else {
        print(&table(&rows, typed.no_trunc))?;
    }
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

fn table(rows: &[Row], whole: bool) -> String {
    let width = rows.iter().map(|row| row.name.len()).chain([4]).max().unwrap_or(4);
    let mut text = format!("{:<12}  {:<width$}  {:>7}  {:>8}  {:<7}  COMMAND\n", "ID", "NAME", "PID", "AGE", "STATE");
    for row in rows {
        let name = if row.name.is_empty() { "-" } else { &row.name };
        let command = shown(&row.command.join(" "), whole);
        text += &format!(
            "{:<12}  {name:<width$}  {:>7}  {:>8}  {:<7}  {command}\n",
            row.id,
            row.pid,
            age(row.age_seconds),
            row.state
        );
    }
    text
}

/// A command may hold anything, also what would move the cursor of a terminal.
fn shown(command: &str, whole: bool) -> String {
    let clean: String = command.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if whole || clean.chars().count() <= 40 {
        return clean;
    }
    clean.chars().take(39).chain(['…']).collect()
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

    #[test]
    fn a_command_cannot_move_the_cursor() {
        assert_eq!(shown("a\x1b[2Jb\n", false), "a?[2Jb?");
        assert_eq!(shown(&"x".repeat(50), false).chars().count(), 40);
    }
}
