//! `nsctl ps`: the containers.

use std::collections::BTreeMap;

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::container::{self, Container};
use crate::commands::table::{self, Column, Kind, column};
use crate::commands::{filter, print};
use crate::error::{Error, Result};
use crate::linux::clock;
use crate::state::Phase;

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
    state: &'static str,
    /// starting, healthy or unhealthy; null where nobody looks.
    health: Option<String>,
    /// null: it has not ended.
    exit_code: Option<u8>,
    image: String,
    labels: BTreeMap<String, String>,
    /// The signal's number; null where neither the image nor the user named one.
    stop_signal: Option<i32>,
    /// `0.0.0.0:8080->80/tcp`
    ports: Vec<String>,
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
    column("IMAGE", Kind::Hidden),
    column("PORTS", Kind::Hidden),
];

#[inline(never)]
pub(crate) fn ps(typed: &cli::Ps) -> Result<u8> {
    let form = table::form("ps", &typed.listing, COLUMNS)?;
    let filters = filter::read(&typed.filter, &["status", "exited", "name", "id", "label"])?;
    let last = match typed.last.as_deref().map(|last| (last, last.parse())) {
        None => usize::MAX,
        Some((_, Ok(last))) => last,
        Some((last, _)) => return Err(Error::new(format_args!("nsctl ps: --last {last} is not a number"))),
    };
    let all =
        typed.all || typed.last.is_some() || filters.iter().any(|filter| ["status", "exited"].contains(&filter.key));
    let now = clock::epoch_seconds();
    container::allow_many();
    let mut found = container::all()?;
    found.retain(|container| {
        (all || container.entry.alive && container.phase() != Phase::Created) && filter::fit(&filters, container)
    });
    let before = found.len().saturating_sub(last);
    let rows: Vec<Row> = found.into_iter().skip(before).map(|container| row(container, now)).collect();
    print(&match form.is_json() {
        true => json::to_string(&rows) + "\n",
        false => form.text(COLUMNS, rows.into_iter().map(cells).collect()),
    })?;
    Ok(0)
}

fn row(container: Container, now: u64) -> Row {
    let (pid, state, exit_code) = condition(&container);
    let health = (state == "running").then(|| container.health()).flatten().map(|(word, _)| word);
    let record = container.entry.record;
    Row {
        id: record.id,
        name: record.name,
        pid,
        command: record.command,
        created: record.created,
        age_seconds: now.saturating_sub(record.created),
        state,
        health,
        exit_code,
        image: record.image,
        labels: record.labels.unwrap_or_default(),
        stop_signal: record.stop_signal,
        ports: record.network.filter(|_| pid != 0).map(|network| network.ports).unwrap_or_default(),
    }
}

/// Its pid, how it is, and its exit code if it has one.
fn condition(container: &Container) -> (i32, &'static str, Option<u8>) {
    let phase = container.phase();
    let code = container.entry.status.filter(|_| matches!(phase, Phase::Exited | Phase::Restarting));
    let pid = if container.entry.alive { container.record().pid } else { 0 };
    (pid, state(container), code.map(|status| status.code))
}

pub(super) fn state(container: &Container) -> &'static str {
    let phase = container.phase();
    let paused = phase == Phase::Running && container.record().is_frozen() == Some(true);
    if paused { "paused" } else { phase.name() }
}

fn cells(row: Row) -> Vec<String> {
    let labels: Vec<String> = row.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    vec![
        row.id,
        row.name,
        if row.pid == 0 { String::new() } else { row.pid.to_string() },
        age(row.age_seconds),
        match (row.exit_code, row.health) {
            (Some(code), _) => format!("{} ({code})", row.state),
            (None, Some(health)) => format!("{} ({health})", row.state),
            (None, None) => row.state.into(),
        },
        row.command.join(" "),
        clock::rfc3339(row.created),
        labels.join(","),
        row.image,
        row.ports.join(", "),
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
