//! System calls, counted by strace in runs of their own.

use crate::contenders::{Contender, complaint, fill};
use crate::kit::{Kit, find};
use crate::rooted;
use crate::sys::Argv;
use crate::table::Table;
use std::collections::BTreeMap;
use std::fs;

/// The calls of one process or thread, in the order they were made.
struct Trace {
    began: f64,
    calls: Vec<String>,
}

/// One Trace per process or thread, the oldest first. The error is a text.
fn traces(kit: &Kit, contender: &Contender) -> Result<Vec<Trace>, String> {
    let strace = find("strace", "strace")?.display().to_string();
    let id = kit.next_id();
    let dir = kit.path(&format!("strace-{id}"));
    fs::create_dir(&dir).map_err(|e| e.to_string())?;
    // -ff: a file per process, so that no call is split in two lines; -ttt tells who began first
    let mut words: Vec<String> =
        [&strace, "-ff", "-ttt", "-qq", "-o", &format!("{dir}/t")].map(String::from).to_vec();
    words.extend(fill(&contender.words, &id));
    let ended = kit.run(&Argv::new(&words)).map_err(|e| e.to_string())?;
    let mut traces: Vec<Trace> = fs::read_dir(&dir)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| parse(&fs::read_to_string(entry.ok()?.path()).ok()?))
        .collect();
    fs::remove_dir_all(&dir).map_err(|e| e.to_string())?;
    if let Some(why) = complaint(&ended) {
        contender.clean(kit, &id);
        return Err(why);
    }
    traces.sort_by(|a, b| a.began.total_cmp(&b.began));
    Ok(traces)
}

/// Lines are "1700000000.123456 name(arguments) = answer"; signals and exits begin with --- and +++.
fn parse(text: &str) -> Option<Trace> {
    let began = text.split_whitespace().next()?.parse().ok()?;
    let calls = text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.split_once('('))
        .map(|(name, _)| name.to_string())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    Some(Trace { began, calls })
}

/// All calls of all processes, the execve of the program itself included.
pub(crate) fn total(kit: &Kit, contender: &Contender) -> Option<usize> {
    let traces = traces(kit, contender).ok()?;
    Some(traces.iter().map(|t| t.calls.len()).sum())
}

/// The calls of `nsctl run` of a static true, process by process; beside it the floor's.
pub(crate) fn table(kit: &Kit) -> Table {
    let mut table = Table::new("System calls by process", &["program", "process", "calls", "which"]).left(&[1, 3]);
    let target = kit.path("true");
    let floor = kit.ours("floor");
    let plain = [
        (Contender::new("floor --reaper", &floor, &["--reaper", &target]), ["outer", "PID 1", "payload"].as_slice()),
        (Contender::new("nsctl run", &kit.nsctl, &["run", "--", &target]), &["supervisor", "init", "payload"]),
        (
            Contender::new("nsctl run --no-init", &kit.nsctl, &["run", "--no-init", "--", &target]),
            &["supervisor", "payload"],
        ),
    ];
    plain.iter().for_each(|(contender, roles)| traced(kit, &mut table, contender, roles));
    match rooted::namespace(kit) {
        Ok(_mounts) => rooted::with_roles(kit).iter().for_each(|(contender, roles)| {
            traced(kit, &mut table, contender, roles);
        }),
        Err(why) => table.out("with a root", &why),
    }
    table.note("the payload's calls are those of nsctl's child up to execve, execve itself, and its own exit");
    table
}

fn traced(kit: &Kit, table: &mut Table, contender: &Contender, roles: &[&str]) {
    if let Some(why) = &contender.out {
        return table.out(&contender.name, why);
    }
    match traces(kit, contender) {
        Ok(traces) => rows(table, &contender.name, roles, &traces),
        Err(why) => table.out(&contender.name, &why),
    }
}

fn rows(table: &mut Table, name: &str, roles: &[&str], traces: &[Trace]) {
    for (i, trace) in traces.iter().enumerate() {
        // more processes than roles: shown as what they are, not hidden
        let role = roles.get(i).copied().unwrap_or("a further one");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &trace.calls {
            *counts.entry(call).or_default() += 1;
        }
        let mut which: Vec<String> = Vec::new();
        for call in &trace.calls {
            // in the order of first use; taken out of the map, so each is named once
            match counts.remove(call.as_str()) {
                Some(1) => which.push(call.clone()),
                Some(n) => which.push(format!("{call} ×{n}")),
                None => {}
            }
        }
        table.row(vec![name.into(), role.into(), trace.calls.len().to_string(), which.join(", ")]);
    }
    let sum: usize = traces.iter().map(|t| t.calls.len()).sum();
    table.row(vec![name.into(), "all".into(), sum.to_string(), String::new()]);
}
