//! Golden plans: for each `tests/plans/NAME.cmd`, the text of `--explain` is `tests/plans/NAME.plan`.
//! The machine is made up, so that the texts are the same everywhere. `make bless` writes them anew.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::cli::{self, Command};
use crate::linux::cgroup::{Hierarchy, Version};
use crate::plan::{Host, Plan};
use crate::spec::Spec;

fn hierarchy(version: Version, mount: &std::ffi::CStr, controllers: &[&str]) -> Hierarchy {
    let controllers = controllers.iter().map(|name| (*name).to_string()).collect();
    Hierarchy { version, mount: mount.into(), mounted: true, controllers }
}

/// `v2`: one tree; `v1`: a tree each; `none`: nothing is mounted yet.
fn hierarchies(kind: &str) -> Vec<Hierarchy> {
    let unified = hierarchy(Version::V2, c"/sys/fs/cgroup", &["cpuset", "cpu", "io", "memory", "pids"]);
    match kind {
        "v2" => vec![unified],
        "none" => vec![Hierarchy { mounted: false, ..unified }],
        "v1" => vec![
            hierarchy(Version::V1, c"/sys/fs/cgroup/memory", &["rw", "memory"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/cpu,cpuacct", &["rw", "cpu", "cpuacct"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/pids", &["rw", "pids"]),
            hierarchy(Version::V1, c"/sys/fs/cgroup/cpuset", &["rw", "cpuset"]),
        ],
        other => panic!("no such machine: {other}"),
    }
}

/// The first line is the command line; a second one may name the machine's cgroups.
fn plan_of(text: &str) -> String {
    let mut lines = text.lines();
    let words: Vec<OsString> = lines.next().unwrap().split_whitespace().map(OsString::from).collect();
    let spec = match cli::parse(words).unwrap_or_else(|error| panic!("{text}: {error}")).command {
        Command::Run(run) => Spec::new(*run),
        Command::Simple(_) => Spec::simple("bash"),
        _ => panic!("{text} has no plan"),
    };
    let spec = spec.unwrap_or_else(|error| panic!("{text}: {error}"));
    let limited = spec.limits != crate::spec::Limits::default();
    let program = format!("/usr/bin/{}", spec.argv[0].to_string_lossy());
    let host = Host {
        id: "0123456789ab".into(),
        environ: vec![("HOME".into(), "/root".into()), ("PATH".into(), "/usr/bin".into())],
        program: std::ffi::CString::new(program).unwrap(),
        hierarchies: if limited { hierarchies(lines.next().unwrap_or("v2")) } else { Vec::new() },
        state: Some(c"/run/nsctl".into()),
    };
    super::explain(&Plan::new(spec, host).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn golden_plans() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let command = entry.unwrap().path();
        if command.extension().is_none_or(|extension| extension != "cmd") {
            continue;
        }
        let golden = command.with_extension("plan");
        let plan = plan_of(&fs::read_to_string(&command).unwrap());
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &plan).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert!(plan == expected, "{} differs; what it is now (make bless accepts it):\n{plan}", golden.display());
        seen += 1;
    }
    assert!(seen >= 15, "only {seen} plans");
}
