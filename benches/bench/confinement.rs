//! What the default confinement costs, at the start and per system call: nsctl's beside that of others.

use crate::contenders::{Contender, bubblewrap, vet_all};
use crate::kit::{Kit, Tool};
use crate::oci::{self, With};
use crate::rooted;
use crate::start;
use crate::table::Table;

/// Whatever is not the kernel's default; `{}` is the program.
fn ours(kit: &Kit, target: &str) -> Vec<Contender> {
    let nsctl = |name: &str, options: &[&str]| {
        let words = [&["run"], options, &["--", target]].concat();
        Contender::new(name, &kit.nsctl, &words)
    };
    vec![
        nsctl("nsctl run --privileged", &["--privileged"]),
        nsctl("nsctl run, seccomp=unconfined", &["--security-opt", "seccomp=unconfined"]),
        nsctl("nsctl run", &[]),
        nsctl("nsctl run --userns auto", &["--userns", "auto"]),
        nsctl("nsctl run --cap-drop ALL", &["--cap-drop", "ALL"]),
        nsctl("nsctl run, podman's profile", &["--security-opt", &format!("seccomp={}", oci::PROFILE)]),
    ]
}

fn theirs(kit: &Kit, program: &'static str) -> Vec<Contender> {
    let all = |with, what: &str| {
        let renamed = |peer: Contender| Contender { name: format!("{}, {what}", peer.name), ..peer };
        oci::runtimes(kit, with).into_iter().map(renamed).collect::<Vec<_>>()
    };
    let mut peers = all(With::Program(program), "no profile");
    peers.extend(all(With::Confined(program), "podman's profile"));
    peers
}

/// crun refuses a machine whose cgroups are of both versions: all are measured where there is only cgroup2.
pub(crate) fn start_table(kit: &Kit, rounds: usize) -> Table {
    let title = format!("Start to exit with and without confinement, µs ({rounds} rounds, interleaved)");
    let _mounts = match rooted::namespace(kit) {
        Ok(mounts) => mounts,
        Err(why) => return rooted::only(&title, &why),
    };
    let target = kit.path("true");
    let mut all = vec![Contender::new("floor", &kit.ours("floor"), &[&target])];
    all.extend(ours(kit, &target));
    all.push(bubblewrap(&target));
    all.extend(theirs(kit, "true"));
    let mut table = start::figures(kit, &title, &vet_all(kit, all), rounds, "floor");
    table.note("nsctl run: 14 capabilities, no_new_privs, a keyring, a filter of system calls; bubblewrap has no filter of its own");
    table.note("podman's profile: /usr/share/containers/seccomp.json; for crun and runc it is translated, with the same capabilities");
    table
}

pub(crate) fn calls_table(kit: &Kit) -> Table {
    let title = "One system call inside, ns (the best of 1000 rounds of 2000)";
    let _mounts = match rooted::namespace(kit) {
        Ok(mounts) => mounts,
        Err(why) => return rooted::only(title, &why),
    };
    let mut table = Table::new(title, &["program", "getppid", "ioctl", "+ getppid", "+ ioctl"]);
    let target = kit.path("asks");
    let bare: Tool = kit.ours("asks");
    let mut all = vec![Contender::new("spawn, no isolation", &bare, &[])];
    all.extend(ours(kit, &target));
    all.push(bubblewrap(&target));
    all.extend(theirs(kit, "asks"));
    let mut first = None;
    for contender in all {
        let id = kit.next_id();
        let figures = match (&contender.out, kit.run(&contender.argv(&id))) {
            (Some(why), _) => Err(why.clone()),
            (None, Err(e)) => Err(e.to_string()),
            (None, Ok(ended)) => figures(&ended.stdout).ok_or(ended.stderr),
        };
        match figures {
            Ok(figures) => {
                let base = *first.get_or_insert(figures);
                let cell = |ns: f64| format!("{ns:.1}");
                let [ask, look] = figures;
                let cells = [ask, look, ask - base[0], look - base[1]].map(cell);
                table.row([vec![contender.name], cells.to_vec()].concat());
            }
            Err(why) => {
                contender.clean(kit, &id);
                table.out(&contender.name, why.lines().next().unwrap_or("says nothing"));
            }
        }
    }
    table.note("getppid is allowed whatever its arguments are: from Linux 5.11 on the kernel finds that out when a filter is loaded");
    table.note("of ioctl the filter of nsctl looks at the request");
    table
}

fn figures(text: &str) -> Option<[f64; 2]> {
    let (ask, look) = text.trim().split_once(' ')?;
    Some([ask.parse::<f64>().ok()? / 1000.0, look.parse::<f64>().ok()? / 1000.0])
}
