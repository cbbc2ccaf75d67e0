//! What reads bytes that others wrote, by name: a fuzz target each, see fuzz/Cargo.toml and `make fuzz`. Whatever comes, it must come to
//! an end soon, within little memory and without a panic. The tests run the seeds of the targets alone.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::cli::{self, Command};
use crate::explain::golden;
use crate::linux::{self, cgroup, elf, kconfig, mounts, net, processes, users};
use crate::spec::{Defaults, Exec, Limits, Spec};
use crate::{commands, explain, ground, monitor, network, relay, spec, state, sync, verdict};

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("cli", |bytes| if bytes.contains(&0) { words(bytes) } else { value(bytes) }),
    ("netlink", net::survives),
    ("proc", proc),
    ("state", state),
    ("users", users::survives),
];

/// One run of the target of this name.
#[cfg(fuzzing)]
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(bytes);
}

/// A command line, as /proc/PID/cmdline has it, but for the first word: up to the text of `--explain`.
fn words(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let command = cli::parse(std::iter::once("nsctl".into()).chain(words).collect());
    match command.map(|invocation| invocation.command) {
        Ok(Command::Run(mut run)) => {
            // The rest is but for these pure.
            run.env_file.clear();
            let spec = Spec::root(&run).and_then(|root| Spec::new(*run, root, &Defaults::default()));
            match spec.and_then(|spec| golden::plan(spec, "v2", "new")) {
                Ok(plan) => drop(explain::explain(&plan)),
                Err(error) => drop(error.to_string()),
            }
        }
        Ok(Command::Update(update)) => drop(Limits::new(&update.limits)),
        Ok(_) => {}
        Err(error) => drop(error.to_string()),
    }
}

/// The value of an option, whichever it is of.
fn value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    spec::survives(text);
    relay::keys::survives(text);
    network::survives(text);
    commands::survives(bytes);
}

/// What a container's side says of a start, and one side of a control socket to the other.
fn messages(bytes: &[u8]) {
    relay::survives(bytes);
    monitor::clients::survives(bytes);
    let (message, detail) = sync::survives(bytes);
    if let Some(sync::Message::Failure { index, errno }) = message {
        let plan = Spec::simple("sh").and_then(|spec| golden::plan(spec, "v2", "new"));
        let error = verdict::sentence(&plan.unwrap(), index.into(), linux::errno(errno), detail.as_ref());
        drop(error.to_string());
    }
}

/// What the kernel says of itself, and files of the host and of a root, by which names and programs are found.
fn proc(bytes: &[u8]) {
    kconfig::survives(bytes);
    elf::survives(bytes);
    let text = String::from_utf8_lossy(bytes);
    ground::resolv::survives(&text);
    mounts::survives(&text);
    processes::survives(&text);
    cgroup::survives(&text);
    commands::survives(bytes);
}

/// Files of the state directory and what `exec` does with them, and what processes of nsctl's say to each other.
fn state(bytes: &[u8]) {
    messages(bytes);
    commands::survives(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        network::survives(text);
    }
    if let Some(record) = state::survives(bytes) {
        let _ = Exec::new(cli::Exec { argv: vec!["sh".into()], ..cli::Exec::default() }, &record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_survived() {
        for (name, target) in TARGETS {
            let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let seeds: Vec<_> = std::fs::read_dir(&seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            seeds.iter().for_each(|seed| target(&std::fs::read(seed).unwrap()));
        }
    }
}
