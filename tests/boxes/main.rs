//! Real containers, one fact a test. The program is static and is its own probe: `boxes probe …` runs inside.
//! After every test the machine is compared with before: a leak fails the test that made it.

#![allow(unsafe_code)] // the tests send signals, fork and load seccomp filters

mod cases;
mod copies;
mod handmade;
mod host;
mod hostile;
mod identity;
mod images;
mod kernel;
mod kills;
mod kinds;
mod labels;
mod landlock;
mod leaks;
mod life;
mod limits;
mod listed;
mod masked;
mod mounts;
mod names;
mod nat;
mod net;
mod nsctl;
mod oci;
mod places;
mod privileges;
mod probe;
mod refusals;
mod root;
mod rootless;
mod roots;
mod screen;
mod seccomp;
mod signals;
mod store;
mod tables;
#[allow(dead_code)] // the unit tests need the rest
#[path = "../../src/image/entries/testing.rs"]
mod tar;
mod terminals;
mod update;
mod userns;
mod verbs;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test: Err says what was expected and what came.
type Case = fn() -> Result<(), Failed>;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("probe") => probe::run(&args[2..]),
        Some("masked") => masked::exec(&args[2..]),
        _ => {}
    }
    // Whoever started the tests may ignore them (nohup, or & of a script), and what is ignored at its start no shell can trap.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGCHLD] {
        // SAFETY: the action is the kernel's own.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut arguments = Arguments::from_args();
    // The leak check compares the whole machine, so one at a time.
    arguments.test_threads = Some(1);
    let mut trials: Vec<Trial> = Vec::new();
    let plain = || cases::CASES.iter().chain(signals::CASES);
    for (name, case) in plain().chain(kills::CASES) {
        trials.push(trial((*name).to_string(), *case, None));
    }
    for (call, errno) in masked::MASKS {
        for (name, case) in plain() {
            trials.push(trial(format!("masked::{call}-{errno}::{name}"), *case, Some((call, errno))));
        }
    }
    // The old calls are made before the tree is, the new ones only for it: neither list needs the other's masks.
    for (group, cases) in TREES {
        for (name, case) in *cases {
            trials.push(trial(format!("{group}::{name}"), *case, None));
            for (call, errno) in masked::TREE_MASKS.iter().filter(|(call, _)| matters(group, call)) {
                trials.push(trial(format!("masked::{call}-{errno}::{group}::{name}"), *case, Some((call, errno))));
            }
        }
    }
    for (group, cases) in UNMASKED_TREES {
        trials.extend(cases.iter().map(|(name, case)| trial(format!("{group}::{name}"), *case, None)));
    }
    for (name, case) in life::CASES.iter().flat_map(|cases| cases.iter()) {
        trials.push(trial(format!("life::{name}"), *case, None));
    }
    for (call, errno) in masked::MASKS.iter().chain(&masked::TREE_MASKS[..2]) {
        for (name, case) in life::MASKED {
            trials.push(trial(format!("masked::{call}-{errno}::life::{name}"), *case, Some((call, errno))));
        }
    }
    for (name, case) in hostile::CASES {
        trials.push(trial((*name).to_string(), *case, None));
    }
    // The processor of a guest is emulated: of the life of containers it has only the long session, unless more is asked for by name.
    if std::env::var_os("NSCTL_QEMU").is_some() && arguments.filter.is_none() {
        let patient = |name: &str| ["life::", "terminals::", "verbs::"].iter().any(|group| name.contains(group));
        trials.retain(|trial| !patient(trial.name()) || trial.name().contains("session"));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    host::clear();
    conclusion.exit();
}

/// Tests of what a container sees and who it is.
const TREES: &[(&str, &[(&str, Case)])] = &[
    ("roots", tables::CASES),
    ("roots", roots::CASES),
    ("roots", places::CASES),
    ("roots", images::CASES),
    ("mounts", mounts::CASES),
    ("mounts", refusals::CASES),
    ("mounts", kernel::CASES),
    ("identity", identity::CASES),
    ("privileges", privileges::CASES),
    ("terminals", terminals::CASES),
    ("names", names::TREES),
    ("rootless", rootless::CASES),
    ("userns", userns::CASES),
];

/// Who the command is depends on how files are found, not on how they were mounted.
fn matters(group: &str, call: &str) -> bool {
    !["identity", "privileges"].contains(&group) || call == "openat2"
}

/// Those that would learn nothing from a mask, or set their own.
const UNMASKED_TREES: &[(&str, &[(&str, Case)])] = &[
    ("limits", limits::CASES),
    ("privileges", privileges::UNMASKED),
    ("seccomp", seccomp::CASES),
    ("update", update::CASES),
    ("labels", labels::CASES),
    ("landlock", landlock::CASES),
    ("landlock", landlock::isolated::CASES),
    ("roots", tables::UNMASKED),
    ("roots", kills::ROOTED),
    ("images", oci::CASES),
    ("images", store::CASES),
    ("nat", nat::CASES),
    ("nat", net::crowd::CASES),
    ("nat", net::refused::CASES),
    ("verbs", verbs::CASES),
    ("verbs", copies::CASES),
    ("verbs", listed::CASES),
    ("names", names::CASES),
    ("kinds", kinds::CASES),
    ("rootless", rootless::UNMASKED),
    ("userns", userns::UNMASKED),
    ("terminals", terminals::UNMASKED),
    ("terminals", terminals::attached::CASES),
    ("terminals", terminals::ended::CASES),
];

fn trial(name: String, case: Case, mask: Option<(&'static str, &'static str)>) -> Trial {
    Trial::test(name, move || {
        let before = leaks::Snapshot::take();
        masked::set(mask);
        let done = case();
        masked::set(None);
        done?;
        before.compare()
    })
}
