//! Starts with a root of its own: nsctl's pivoted overlay beside bubblewrap's and the OCI runtimes' roots.
//!
//! All of them run in a mount namespace of the benchmark's own, in which /sys/fs/cgroup is nothing but a
//! cgroup2: crun refuses a machine whose cgroups are of both versions, and all shall see the same.

use crate::contenders::{Contender, ID, vet_all};
use crate::kit::{Kit, Tool, find};
use crate::start;
use crate::sys::PrivateMounts;
use crate::table::Table;
use std::fs;
use std::io;
use std::process::Command;

pub(crate) fn table(kit: &Kit, rounds: usize) -> Table {
    let title = format!("Start to exit with a root of its own, µs ({rounds} rounds, interleaved)");
    let _mounts = match namespace(kit) {
        Ok(mounts) => mounts,
        Err(why) => return only(&title, &why),
    };
    let mut all = own(kit);
    all.push(bubblewrap(kit));
    for name in ["crun", "runc"] {
        all.extend(runtime(kit, name));
    }
    let all = vet_all(kit, all);
    let mut table = start::figures(kit, &title, &all, rounds, "root floor");
    table.note("root: a directory with a static true and empty /proc, /sys, /dev, /etc; namespaces uts, pid, mnt, ipc, cgroup");
    table.note("floor and nsctl: an overlay over it in memory, /dev with nodes, devpts, shm, mqueue, cgroup2, /etc files, masked and read-only paths; the floor makes them by mount(2), by path");
    table.note("crun and runc: `spec`'s configuration without its network namespace: the directory itself, read-only; a capability list; runc also makes a cgroup");
    table.note("/sys/fs/cgroup is a cgroup2 alone for all of them, in a mount namespace of the benchmark's");
    table
}

/// The floor and nsctl, each with its processes' names: the rows of the table of system calls.
pub(crate) fn with_roles(kit: &Kit) -> Vec<(Contender, &'static [&'static str])> {
    let roles: [&[&str]; 5] = [
        &["outer", "payload"],
        &["outer", "PID 1", "payload"],
        &["supervisor", "init", "payload"],
        &["supervisor", "payload"],
        &["supervisor", "init", "payload"],
    ];
    own(kit).into_iter().zip(roles).collect()
}

/// Makes the root directory, and the mount namespace that it is measured in.
pub(crate) fn namespace(kit: &Kit) -> Result<PrivateMounts, String> {
    make_root(kit).map_err(|e| format!("no root directory: {e}"))?;
    PrivateMounts::with_cgroup2().map_err(|e| format!("no mount namespace with a cgroup2: {e}"))
}

pub(crate) fn only(title: &str, why: &str) -> Table {
    let mut table = Table::new(title, &["program", ""]);
    table.out("all", why);
    table
}

fn make_root(kit: &Kit) -> io::Result<()> {
    for dir in ["stage", "root/proc", "root/sys", "root/dev", "root/etc"] {
        fs::create_dir_all(kit.path(dir))?;
    }
    fs::copy(kit.path("true"), kit.path("root/true")).map(drop)
}

fn own(kit: &Kit) -> Vec<Contender> {
    let (root, stage) = (kit.path("root"), kit.path("stage"));
    let floor = kit.ours("rootfloor");
    let nsctl = |name: &str, options: &[&str]| {
        Contender::new(name, &kit.nsctl, &["run", "--rootfs", &root]).with(options).with(&["--", "/true"])
    };
    vec![
        Contender::new("root floor", &floor, &[&root, &stage, "/true"]),
        Contender::new("root floor --reaper", &floor, &["--reaper", &root, &stage, "/true"]),
        nsctl("nsctl run --rootfs", &[]),
        nsctl("nsctl run --rootfs --no-init", &["--no-init"]),
        nsctl("nsctl run --rootfs --rw (no overlay)", &["--rw"]),
    ]
}

/// Its own overlay, where its version has one (0.11).
fn bubblewrap(kit: &Kit) -> Contender {
    let tool = find("bwrap", "bubblewrap");
    let root = kit.path("root");
    let overlay = tool.as_ref().is_ok_and(|path| says(path.as_os_str(), "--help", "--tmp-overlay"));
    let (name, base): (_, &[&str]) = match overlay {
        true => ("bubblewrap", &["--overlay-src", &root, "--tmp-overlay", "/"]),
        false => ("bubblewrap (no overlay: a read-only bind)", &["--ro-bind", &root, "/"]),
    };
    let namespaces =
        ["--unshare-uts", "--unshare-pid", "--unshare-ipc", "--unshare-cgroup", "--hostname", "container"];
    let kernel = ["--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue", "--ro-bind", "/sys", "/sys"];
    Contender::new(name, &tool, &namespaces).with(base).with(&kernel).with(&["/true"])
}

fn says(program: &std::ffi::OsStr, option: &str, word: &str) -> bool {
    let output = Command::new(program).arg(option).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&[o.stdout, o.stderr].concat()).contains(word))
}

/// `run` of its default configuration; crun without a cgroup too, as it may fail to limit the devices of one.
fn runtime(kit: &Kit, name: &str) -> Vec<Contender> {
    let tool = find(name, name);
    let state = kit.path(&format!("{name}-state"));
    let bundle = kit.path(&format!("{name}-rooted"));
    let made = tool.as_ref().ok().map(|path| make_bundle(path, &bundle, &kit.path("root")));
    let variants: &[(&str, &[&str])] = match name {
        "crun" => &[("crun run", &[]), ("crun run, no cgroup", &["--cgroup-manager=disabled"])],
        _ => &[("runc run", &[])],
    };
    let contender = |(name, options): &(&str, &[&str])| {
        let run = ["run", "--bundle", &bundle, ID];
        let mut contender = Contender::new(name, &tool, &["--root", &state]).with(options).with(&run);
        if let Some(Err(e)) = &made {
            contender.out = Some(format!("no bundle: {e}"));
        }
        contender.delete = deleting(&tool, &state);
        contender
    };
    variants.iter().map(contender).collect()
}

fn deleting(tool: &Tool, state: &str) -> Option<Vec<String>> {
    let path = tool.as_ref().ok()?.display().to_string();
    Some([path.as_str(), "--root", state, "delete", "-f", ID].map(String::from).to_vec())
}

/// What the runtime's own `spec` writes, but for the payload, the root's place and the network, which is the host's.
fn make_bundle(tool: &std::path::Path, bundle: &str, root: &str) -> io::Result<()> {
    fs::create_dir_all(bundle)?;
    let made = Command::new(tool).arg("spec").current_dir(bundle).output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).trim().to_string()));
    }
    let path = format!("{bundle}/config.json");
    // without blanks, so that one spelling fits both runtimes; no string of a `spec` has one
    let mut text = fs::read_to_string(&path)?;
    text.retain(|c| !c.is_ascii_whitespace());
    for (from, to) in [
        (r#""terminal":true"#, r#""terminal":false"#),
        (r#""args":["sh"]"#, r#""args":["/true"]"#),
        (r#""path":"rootfs""#, &format!(r#""path":"{root}""#)),
        (r#"{"type":"network"}"#, r#"{"type":"cgroup"}"#),
    ] {
        if !text.contains(from) {
            return Err(io::Error::other(format!("its spec has no {from}")));
        }
        text = text.replacen(from, to, 1);
    }
    // runc's has one already
    let twice = r#"{"type":"cgroup"}"#;
    if text.matches(twice).count() > 1 {
        text = text.replacen(&format!("{twice},"), "", 1);
    }
    fs::write(path, text)
}
