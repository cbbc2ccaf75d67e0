//! What reads bytes that others wrote, by name: a fuzz target each, see fuzz/Cargo.toml and `make fuzz`. Whatever comes, it must come to
//! an end soon, within little memory and without a panic. The tests run the seeds of the targets alone.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::Mode;

use crate::cli::{self, Command};
use crate::explain::golden;
use crate::linux::{self, cgroup, elf, file, kconfig, mounts, net, processes, tree, userns, users};
use crate::spec::{Defaults, Exec, Limits, Spec};
use crate::{commands, copy, explain, ground, image, monitor, network, relay, seccomp, spec, state, sync, verdict};

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("archive", archive),
    ("cli", |bytes| if bytes.contains(&0) { words(bytes) } else { value(bytes) }),
    ("documents", documents),
    ("netlink", net::survives),
    ("proc", proc),
    ("seccomp", seccomp::survives),
    ("state", state),
    ("streams", image::survives::stream),
    ("users", users),
];

/// One run of the target of this name.
#[cfg(fuzzing)]
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(bytes);
}

/// An archive that is brought in as an image or as a layer of one, or copied into a container.
fn archive(bytes: &[u8]) {
    let bytes = image::survives::expanded(bytes);
    within(|work| image::survives::archive(&bytes, work.as_fd()));
    within(|root| copy::survives(&bytes, root));
}

/// A command line, as /proc/PID/cmdline has it, but for the first word: up to the text of `--explain`.
fn words(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let command = cli::parse(std::iter::once("nsctl".into()).chain(words).collect());
    match command.map(|invocation| invocation.command) {
        Ok(Command::Run(mut run)) => {
            // The rest is but for these pure.
            run.env_file.clear();
            run.privileges.security_opt.retain(|typed| !typed.starts_with("seccomp"));
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
        let _ = Exec::new(cli::Exec { argv: vec!["sh".into()], ..cli::Exec::default() }, &record, None);
    }
}

/// Documents of an image, and what its wishes mean for a container.
fn documents(bytes: &[u8]) {
    let Some(config) = image::survives::documents(bytes) else { return };
    let Ok(Command::Run(run)) =
        cli::parse(["nsctl", "run", "--image", "x"].map(OsString::from).into()).map(|i| i.command)
    else {
        return;
    };
    let root = Spec::root(&run).unwrap_or_default();
    let _ = Spec::new(*run, root, &ground::defaults(config)).and_then(|spec| golden::plan(spec, "v2", "new"));
}

/// In a new directory, of which nothing stays.
fn within(act: impl FnOnce(OwnedFd)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("nsctl-fuzz-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let name = CString::new(name).unwrap_or_default();
    let parent = std::fs::File::open(std::env::temp_dir()).unwrap();
    rustix::fs::mkdirat(&parent, &name, Mode::RWXU).unwrap();
    let work = file::open_dir(&parent, &name).unwrap();
    act(work);
    tree::remove(&parent, &name).unwrap();
}

/// Who is who, and which ids are whose.
fn users(bytes: &[u8]) {
    users::survives(bytes);
    userns::survives(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        spec::survives_map(text);
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
