//! Who is measured, and how each is called.

use crate::kit::{Ended, Kit, LIMIT, Tool, find};
use crate::oci;
use crate::proc;
use crate::sys::Argv;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const ID: &str = "{id}";

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    /// The program's words; `{id}` becomes a fresh container id at each start.
    pub(crate) words: Vec<String>,
    /// The words that remove a container after a failed start, where the program keeps state.
    pub(crate) delete: Option<Vec<String>>,
    /// Why it is not measured, if so.
    pub(crate) out: Option<String>,
}

impl Contender {
    pub(crate) fn new(name: &str, tool: &Tool, words: &[&str]) -> Contender {
        let mut contender =
            Contender { name: name.into(), binary: PathBuf::new(), words: Vec::new(), delete: None, out: None };
        match tool {
            Ok(path) => {
                contender.binary.clone_from(path);
                contender.words.push(path.display().to_string());
                contender.words.extend(words.iter().map(|&w| w.into()));
            }
            Err(why) => contender.out = Some(why.clone()),
        }
        contender
    }

    pub(crate) fn argv(&self, id: &str) -> Argv {
        Argv::new(&fill(&self.words, id))
    }

    /// The same contender, its words followed by more.
    pub(crate) fn with(&self, more: &[&str]) -> Contender {
        let mut words = self.words.clone();
        words.extend(more.iter().map(|&w| w.into()));
        Contender { name: self.name.clone(), binary: self.binary.clone(), words, delete: None, out: self.out.clone() }
    }

    /// Runs it once, untimed: what does not exit with 0 is out, with its own words as the reason.
    pub(crate) fn vet(mut self, kit: &Kit) -> Contender {
        if self.out.is_none() {
            let id = kit.next_id();
            self.out = match kit.run(&self.argv(&id)) {
                Ok(ended) => complaint(&ended),
                Err(e) => Some(format!("cannot be started: {e}")),
            };
            if self.out.is_some() {
                self.clean(kit, &id);
            }
        }
        self
    }

    /// One start to its exit, with stdio on /dev/null. The error is a text.
    pub(crate) fn start(&self, kit: &Kit) -> Result<Duration, String> {
        let id = kit.next_id();
        let argv = self.argv(&id);
        let begin = Instant::now();
        let child = kit.quiet.spawn(&argv).map_err(|e| e.to_string())?;
        let code = child.wait(LIMIT).map_err(|e| e.to_string())?;
        let took = begin.elapsed();
        if code == Some(0) {
            return Ok(took);
        }
        if code.is_none() {
            proc::kill_tree(child.pid);
            child.reap().map_err(|e| e.to_string())?;
        }
        self.clean(kit, &id);
        Err(code.map_or("hung".into(), |code| format!("exit code {code}")))
    }

    /// After a failed start: the container's state and cgroups.
    pub(crate) fn clean(&self, kit: &Kit, id: &str) {
        if let Some(words) = &self.delete {
            // Fails where nothing was left: the good case. By std, since it must work after a signal too.
            let words = fill(words, id);
            let _ = Command::new(&words[0]).args(&words[1..]).output();
            kit.remove_cgroups();
        }
    }
}

pub(crate) fn fill(words: &[String], id: &str) -> Vec<String> {
    words.iter().map(|w| w.replace(ID, id)).collect()
}

/// Why a first run counts as a failure; None if it does not.
pub(crate) fn complaint(ended: &Ended) -> Option<String> {
    let code = match ended.code {
        Some(0) => return None,
        Some(code) => code,
        None => return Some(format!("hangs: killed after {} s", LIMIT.as_secs())),
    };
    let line = ended.stderr.lines().find(|l| !l.trim().is_empty());
    Some(match line {
        // runc logs time="…" level=error msg="what it is"
        Some(line) => {
            let text = line.split_once("msg=\"").map_or(line, |(_, text)| text);
            format!("refuses: {}", text.trim_end_matches('"'))
        }
        None => format!("exits with {code} and says nothing"),
    })
}

/// Everybody of the start table, with the same five namespaces unless the name says otherwise.
pub(crate) fn starters(kit: &Kit) -> Vec<Contender> {
    let target = kit.path("true");
    let own = |name: &str, words: &[&str]| Contender::new(name, &kit.ours("floor"), words).with(&[&target]);
    let mut all = vec![
        Contender::new("spawn, no isolation", &kit.ours("true"), &[]),
        own("floor", &[]),
        own("floor, uts+pid+mnt only", &["--ns", "basic"]),
        own("floor --reaper", &["--reaper"]),
        Contender::new("nsctl run", &kit.nsctl, &["run", "--", &target]),
        Contender::new("nsctl run --no-init", &kit.nsctl, &["run", "--no-init", "--", &target]),
        busybox(&target),
        unshare(&target),
        bubblewrap(&target),
    ];
    all.extend(oci::runtimes(kit, oci::With::Nothing));
    vet_all(kit, all)
}

/// The same work with cgroup limits; the floor stays as the measure.
pub(crate) fn limited(kit: &Kit) -> Vec<Contender> {
    let target = kit.path("true");
    let limits = ["run", "-m", "64m", "--pids-limit", "50", "--", &target];
    let mut all = vec![
        Contender::new("floor, no limits", &kit.ours("floor"), &[&target]),
        Contender::new("nsctl run -m 64m --pids-limit 50", &kit.nsctl, &limits),
    ];
    all.extend(oci::runtimes(kit, oci::With::Limits));
    vet_all(kit, all)
}

/// Those of the parallel table.
pub(crate) fn crowd(kit: &Kit) -> Vec<Contender> {
    let target = kit.path("true");
    let mut all = vec![
        Contender::new("floor", &kit.ours("floor"), &[&target]),
        Contender::new("nsctl run", &kit.nsctl, &["run", "--", &target]),
        Contender::new("nsctl run --no-init", &kit.nsctl, &["run", "--no-init", "--", &target]),
        busybox(&target),
        unshare(&target),
        bubblewrap(&target),
    ];
    all.extend(oci::runtimes(kit, oci::With::Nothing));
    vet_all(kit, all)
}

/// PID 1 programs in a pid namespace, each without its payload's words.
pub(crate) fn reapers(kit: &Kit) -> Vec<Contender> {
    let mut all = vec![
        Contender::new("floor --reaper", &kit.ours("floor"), &["--reaper"]),
        Contender::new("nsctl run", &kit.nsctl, &["run", "--"]),
    ];
    let unshare = find("unshare", "util-linux");
    for name in ["tini", "dumb-init", "catatonit"] {
        let inner = find(name, name);
        let path = inner.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        let words = ["-p", "-f", "--mount-proc", &path, "--"];
        let mut contender = Contender::new(name, &unshare, &words);
        contender.out = contender.out.or_else(|| inner.err());
        all.push(contender);
    }
    all
}

pub(crate) fn vet_all(kit: &Kit, all: Vec<Contender>) -> Vec<Contender> {
    all.into_iter().map(|c| c.vet(kit)).collect()
}

fn busybox(target: &str) -> Contender {
    let words = ["unshare", "-u", "-p", "-m", "-i", "-f", "--mount-proc", target];
    let tool = find("busybox", "busybox-static");
    Contender::new("busybox unshare (no cgroup ns)", &tool, &words)
}

fn unshare(target: &str) -> Contender {
    let words = ["-u", "-p", "-m", "-i", "-C", "-f", "--mount-proc", target];
    let tool = find("unshare", "util-linux");
    Contender::new("util-linux unshare", &tool, &words)
}

pub(crate) fn bubblewrap(target: &str) -> Contender {
    let words = [
        "--unshare-uts",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-cgroup",
        "--hostname",
        "container",
        "--dev-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        target,
    ];
    Contender::new("bubblewrap", &find("bwrap", "bubblewrap"), &words)
}
