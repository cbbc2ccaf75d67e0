//! `nsctl inspect`: all that is known of a container.

use std::collections::BTreeMap;

use miniserde::{Serialize, json};

use super::container::{self, Container, REFUSED};
use super::effective::{self, Effective};
use super::print;
use crate::cli;
use crate::error::{self, Result};
use crate::linux::clock;
use crate::linux::text::shown;
use crate::state::{Attachment, Landlock, Phase, Record};

#[derive(Serialize)]
struct Inspected {
    id: String,
    name: String,
    created: String,
    state: Condition,
    command: Vec<String>,
    /// The image or directory of its root; empty: it sees the host's files.
    image: String,
    labels: BTreeMap<String, String>,
    user: String,
    groups: Vec<String>,
    workdir: String,
    env: Vec<String>,
    landlock: Option<Landlock>,
    restart: String,
    remove: bool,
    tty: bool,
    stop_signal: i32,
    stop_timeout: u64,
    /// While it runs, its place on a network of nsctl's.
    network_settings: Option<Attachment>,
    /// What its command may do, while it runs.
    privileges: Option<Effective>,
    /// By the kernel's names; the inode numbers are those of /proc/PID/ns.
    namespaces: BTreeMap<String, u64>,
    cgroups: Vec<String>,
    /// Where its record, status and log are.
    directory: String,
}

#[derive(Serialize)]
struct Condition {
    status: &'static str,
    running: bool,
    paused: bool,
    /// 0: it does not run.
    pid: i32,
    exit_code: Option<u8>,
    signal: Option<u8>,
    oom_killed: bool,
    /// What nsctl has to say of the end: oom, unknown, not-started.
    cause: Option<&'static str>,
    started_at: Option<String>,
    finished_at: Option<String>,
    restarts: u32,
    /// None: nobody asks.
    health: Option<Health>,
}

#[derive(Serialize)]
struct Health {
    status: String,
    failing_streak: u64,
    /// None: nobody has asked yet.
    exit_code: Option<u64>,
    checked_at: Option<String>,
}

pub(crate) fn inspect(typed: &cli::Verb) -> Result<u8> {
    let (mut all, mut code) = (Vec::new(), 0);
    for word in &typed.containers {
        match container::find(word) {
            Ok(container) => all.push(inspected(&container)),
            Err(error) => {
                error::report(&error);
                code = REFUSED;
            }
        }
    }
    print(&(json::to_string(&all) + "\n"))?;
    Ok(code)
}

fn inspected(container: &Container) -> Inspected {
    let record = container.record();
    Inspected {
        id: record.id.clone(),
        name: record.name.clone(),
        created: clock::rfc3339(record.created),
        state: condition(container),
        command: record.command.clone(),
        image: record.image.clone(),
        labels: record.labels.clone().unwrap_or_default(),
        user: record.user.clone(),
        groups: record.groups.clone(),
        workdir: record.workdir.clone(),
        env: record.env.clone(),
        landlock: record.privileges.landlock.clone(),
        restart: record.restart.clone(),
        remove: record.remove,
        tty: record.tty,
        stop_signal: record.stop_signal.unwrap_or(libc::SIGTERM),
        stop_timeout: record.stop_timeout.unwrap_or(super::lifecycle::STOP_SECONDS),
        network_settings: record.network.clone().filter(|_| container.entry.alive),
        privileges: effective::effective(container),
        namespaces: namespaces(record),
        cgroups: record.cgroups.iter().map(|group| format!("{}/{}", group.mount, group.dir)).collect(),
        directory: format!("{}/{}", shown(&container.place), record.id),
    }
}

/// With the user namespace of its commands.
fn namespaces(record: &Record) -> BTreeMap<String, u64> {
    let own = record.user_namespace.as_ref().map(|own| ("user".to_string(), own.inode));
    record.namespaces.clone().into_iter().chain(own).collect()
}

fn condition(container: &Container) -> Condition {
    let phase = container.phase();
    let paused = phase == Phase::Running && container.record().is_frozen() == Some(true);
    let status = container.entry.status.as_ref();
    let ended = status.filter(|status| matches!(status.phase, Phase::Exited | Phase::Restarting));
    let time = |seconds: Option<u64>| seconds.filter(|seconds| *seconds > 0).map(clock::rfc3339);
    Condition {
        status: if paused { "paused" } else { phase.name() },
        running: phase == Phase::Running,
        paused,
        pid: if container.entry.alive { container.record().pid } else { 0 },
        exit_code: ended.map(|status| status.code),
        signal: ended.map(|status| status.signal).filter(|signal| *signal > 0),
        oom_killed: ended.is_some_and(|status| status.cause == crate::state::Cause::OutOfMemory),
        cause: ended.map(|status| status.cause.name()).filter(|cause| *cause != "-"),
        started_at: time(status.map(|status| status.started)),
        finished_at: time(ended.map(|status| status.finished)),
        restarts: status.map_or(0, |status| status.restarts),
        health: container.health().map(|(status, [failing_streak, code, checked])| Health {
            status,
            failing_streak,
            exit_code: (checked > 0).then_some(code),
            checked_at: time(Some(checked)),
        }),
    }
}
