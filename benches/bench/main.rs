//! `make bench`: nsctl beside a floor program and its peers, all interleaved in one run.
//!
//! It prints times and never judges them: on a shared machine only the ratio to the floor of the same
//! run means anything. Sections, each one table: start, rooted, limits, network, throughput, exec, kept, memory, orphans, added, parallel, calls,
//! confinement, inside.
//!
//! The road: options → kit (temporary directory, C programs) → sections → tables.

mod calls;
mod confinement;
mod contenders;
mod kept;
mod kit;
mod network;
mod oci;
mod parallel;
mod proc;
mod reaper;
mod rooted;
mod start;
#[allow(unsafe_code)] // the only file with unsafe
mod sys;
mod table;

use kit::Kit;
use std::fs;
use std::io::Write;
use std::process::{Command, ExitCode};
use table::Table;

const USAGE: &str = "\
usage: bench [--runs N] [--quick] [--markdown] [--only SECTION,...]
  --runs N     rounds of the start tables (300)
  --quick      30 rounds, and shorter other sections
  --markdown   tables for the README
  --only LIST  of start,rooted,limits,network,throughput,exec,kept,memory,orphans,added,parallel,calls,confinement,inside
environment: NSCTL, the binary to measure (target/x86_64-unknown-linux-musl/release/nsctl); CC (cc)
";

const SECTIONS: [&str; 14] = [
    "start",
    "rooted",
    "limits",
    "network",
    "throughput",
    "exec",
    "kept",
    "memory",
    "orphans",
    "added",
    "parallel",
    "calls",
    "confinement",
    "inside",
];

struct Options {
    runs: usize,
    quick: bool,
    markdown: bool,
    only: Vec<String>,
}

fn main() -> ExitCode {
    sys::catch_signals();
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint!("bench: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let kit = match Kit::new() {
        Ok(kit) => kit,
        Err(e) => {
            eprintln!("bench: {e}");
            return ExitCode::FAILURE;
        }
    };
    head(&kit, options.markdown);
    for section in SECTIONS {
        if options.only.is_empty() || options.only.iter().any(|s| s == section) {
            let table = run(section, &kit, &options);
            if sys::interrupted() {
                return ExitCode::from(130);
            }
            say(&table.render(options.markdown));
        }
    }
    say(&format!("\nload average at the end: {}\n", load()));
    ExitCode::SUCCESS
}

fn parse(words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { runs: 0, quick: false, markdown: false, only: Vec::new() };
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--runs" => {
                let n = value()?;
                options.runs = n.parse().ok().filter(|&n| n > 0).ok_or(format!("--runs {n}"))?;
            }
            "--quick" => options.quick = true,
            "--markdown" => options.markdown = true,
            "--only" => options.only = value()?.split(',').map(String::from).collect(),
            "--bench" => {} // cargo bench says so
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if let Some(s) = options.only.iter().find(|s| !SECTIONS.contains(&s.as_str())) {
        return Err(format!("no section {s}"));
    }
    if options.runs == 0 {
        options.runs = if options.quick { 30 } else { 300 };
    }
    Ok(Some(options))
}

fn run(section: &str, kit: &Kit, options: &Options) -> Table {
    match section {
        "start" => start::table(kit, options.runs),
        "rooted" => rooted::table(kit, options.runs),
        "limits" => start::limits_table(kit, options.runs),
        "network" => network::table(kit, options.runs),
        "throughput" => network::throughput_table(kit, options.quick),
        "exec" => kept::exec_table(kit, options.runs),
        "kept" => kept::many_table(kit, options.quick),
        "memory" => reaper::memory_table(kit),
        "orphans" => reaper::orphans_table(kit, options.quick),
        "added" => start::added_table(kit, options.runs),
        "parallel" => parallel::table(kit, options.quick),
        "calls" => calls::table(kit),
        "confinement" => confinement::start_table(kit, options.runs),
        "inside" => confinement::calls_table(kit),
        other => unreachable!("section {other} is checked in parse"),
    }
}

/// print! would panic at a closed pipe; here the signal's flag ends the run.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What the figures depend on: machine, its load, versions.
fn head(kit: &Kit, markdown: bool) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let date = Command::new("date").args(["-u", "+%F %R UTC"]).output();
    let date = date.map_or(String::new(), |o| String::from_utf8_lossy(&o.stdout).into_owned());
    say(&format!(
        "kernel {}, {cpus} CPUs, load average {}, {}{}\n",
        kernel.trim_end(),
        load(),
        date.trim_end(),
        if markdown { "  " } else { "" } // two blanks break the line in Markdown
    ));
    let mut versions = Vec::new();
    if let Ok(path) = &kit.nsctl {
        let text = kit::version(path, Some("--version"));
        versions.push(format!("nsctl {}", text.unwrap_or("(no version)".into())));
    }
    for name in ["unshare", "busybox", "bwrap", "crun", "runc", "tini", "dumb-init", "catatonit"] {
        let option = (name != "busybox").then_some("--version"); // busybox says it without
        if let Ok(path) = kit::find(name, name)
            && let Some(text) = kit::version(&path, option)
        {
            versions.push(format!("{name} {text}"));
        }
    }
    say(&format!("{}\n", versions.join(", ")));
    if !sys::is_root() {
        say("not root: most contenders will refuse\n");
    }
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}
