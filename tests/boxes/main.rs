//! Real containers, one fact a test. The program is static and is its own probe: `boxes probe …` runs inside.
//! After every test the machine is compared with before: a leak fails the test that made it.

#![allow(unsafe_code)] // the tests send signals, fork and load seccomp filters

mod cases;
mod kills;
mod leaks;
mod masked;
mod nsctl;
mod probe;
mod signals;

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
    let mut arguments = Arguments::from_args();
    // The leak check compares the whole machine, so one at a time.
    arguments.test_threads = Some(1);
    let mut trials: Vec<Trial> = Vec::new();
    let all = || cases::CASES.iter().chain(signals::CASES).chain(kills::CASES);
    for (name, case) in all() {
        trials.push(trial((*name).to_string(), *case, None));
    }
    for (call, errno) in masked::MASKS {
        for (name, case) in cases::CASES.iter().chain(signals::CASES) {
            trials.push(trial(format!("masked::{call}-{errno}::{name}"), *case, Some((call, errno))));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

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
