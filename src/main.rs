//! nsctl runs a command in its own Linux namespaces and cgroups.
//!
//! The road through these files, each stage a type, each type a file:
//! `cli` (what was typed) → `spec` (what it means) → `plan` (what will be done, step by step) → `launch` and `child`
//! (doing it, outside and inside) → `supervise` and `reaper` (waiting, outside and inside) → the exit code.
//! `explain` prints a plan, `verdict` says which step of it failed and why, `state` is what `ps` reads, `image` makes directories
//! of container images.

#![cfg_attr(all(target_os = "linux", not(any(test, fuzzing))), no_main)]

#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod cli;
#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod copy;
#[cfg(target_os = "linux")]
mod error;
#[cfg(target_os = "linux")]
mod explain;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(target_os = "linux")]
mod ground;
#[cfg(target_os = "linux")]
mod image;
#[cfg(target_os = "linux")]
mod json;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod monitor;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod reaper;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod spec;
#[cfg(target_os = "linux")]
mod state;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(target_os = "linux")]
mod sync;
#[cfg(target_os = "linux")]
mod verdict;

#[cfg(target_os = "linux")]
mod entry {
    use std::ffi::OsString;

    use crate::cli::{self, Command};
    use crate::commands::{self, check, copy, events, exec, image, manage, print, ps, run, stats, top, update};
    use crate::error::{self, Error, Result};

    crate::linux::sys::entry!(crate::entry::start);

    /// Does what the arguments ask for; the exit code.
    pub(crate) fn start(args: Vec<OsString>) -> u8 {
        crate::linux::sys::open_standard_streams();
        hide_executable();
        error::set_json(args.iter().any(|arg| arg == "--log-format=json"));
        let done = not_set_uid().and_then(|()| cli::parse(args)).and_then(|invocation| {
            error::set_json(invocation.log_json);
            crate::state::set_place(invocation.root);
            if has_company(&invocation.command) {
                crate::linux::sealed::execute_sealed();
            }
            perform(invocation.command)
        });
        done.unwrap_or_else(|error| {
            error::report(&error);
            error.exit_code()
        })
    }

    /// With somebody else's rights than the caller's own, each option would be a hole (CVE-2016-8659, 2020-5291, 2026-41163).
    fn not_set_uid() -> Result<()> {
        if !crate::linux::sys::has_lent_rights() {
            return Ok(());
        }
        Err(Error::new("nsctl does not run set-user-id, set-group-id or with capabilities of its file")
            .hint("chmod u-s,g-s, setcap -r; ordinary users need no such rights"))
    }

    /// Root's own file, which root inside could change, is not to be had by way of our /proc/PID/exe, should a container's command be
    /// /proc/self/exe: then it is nsctl that runs inside, with others of the container beside it (CVE-2019-5736).
    fn hide_executable() {
        if rustix::process::geteuid().is_root() {
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        }
    }

    /// Whether a process of nsctl's executes a command where others of the container's may be by then.
    fn has_company(command: &Command) -> bool {
        match command {
            Command::Run(typed) => typed.detach || typed.pid.is_some(),
            Command::Exec(_) => true,
            Command::Verb(typed) => matches!(typed.name, "start" | "restart"),
            _ => false,
        }
    }

    fn perform(command: Command) -> Result<u8> {
        match command {
            Command::Help(verb) => print(&cli::help(verb))?,
            Command::Version => print(&format!("{}\n", cli::VERSION))?,
            Command::Run(typed) => return run::run(typed),
            Command::Simple(typed) => return run::simple(typed),
            Command::Ps(typed) => return ps::ps(&typed),
            Command::Exec(typed) => return exec::exec(*typed),
            Command::Verb(typed) => return commands::verb(&typed),
            Command::Check(typed) => return check::check(&typed),
            Command::Image(typed) => return image::image(typed),
            Command::Network(typed) => return commands::network(typed),
            Command::Rename(typed) => return manage::rename(&typed),
            Command::Prune(typed) => return manage::prune(&typed),
            Command::Top(typed) => return top::top(&typed),
            Command::Stats(typed) => return stats::stats(&typed),
            Command::Copy(typed) => return copy::copy(&typed),
            Command::Update(typed) => return update::update(&typed),
            Command::Events(typed) => return events::events(&typed),
        }
        Ok(0)
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("nsctl needs Linux namespaces; this is {}", std::env::consts::OS);
    std::process::ExitCode::from(125)
}

/// Keeps the road alive where the tests' own main takes its place.
#[cfg(all(target_os = "linux", test))]
fn main() {
    entry::start(std::env::args_os().collect());
}
