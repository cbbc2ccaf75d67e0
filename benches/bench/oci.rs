//! crun and runc: they want a bundle, an id per container and a place for their state.

use crate::contenders::{Contender, ID};
use crate::kit::{Kit, find};
use std::fs;
use std::io;

/// The same namespaces and mounts as the floor's, and nothing more: no masked paths, capability
/// list or seccomp filter. The host's /dev is bound, since runc would otherwise make a /dev by mknod.
/// Both runtimes make a cgroup for each container and change the root, which the floor does not.
const CONFIG: &str = r#"{
  "ociVersion": "1.0.2",
  "process": {
    "terminal": false, "user": {"uid": 0, "gid": 0},
    "args": ["/true"], "env": ["PATH=/"], "cwd": "/"
  },
  "root": {"path": "rootfs"},
  "hostname": "container",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "nodev", "noexec"]},
    {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}
  ],
  "linux": {
    "namespaces": [
      {"type": "uts"}, {"type": "pid"}, {"type": "ipc"}, {"type": "mount"}, {"type": "cgroup"}@NETWORK@
    ]@LIMITS@
  }
}
"#;

const LIMITS: &str = r#", "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 50}}"#;

/// What a bundle asks for beside the namespaces.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum With {
    Nothing,
    /// -m 64m --pids-limit 50
    Limits,
    /// A network namespace.
    Network,
}

/// `run` of a bundle by each runtime.
pub(crate) fn runtimes(kit: &Kit, with: With) -> Vec<Contender> {
    let bundle = kit.path(match with {
        With::Nothing => "bundle",
        With::Limits => "bundle-limited",
        With::Network => "bundle-network",
    });
    let made = make_bundle(kit, &bundle, with);
    ["crun", "runc"]
        .into_iter()
        .map(|name| {
            let state = kit.path(&format!("{name}-state"));
            let words = ["--root", &state, "run", "--bundle", &bundle, ID];
            let tool = find(name, name);
            let mut contender = Contender::new(&format!("{name} run"), &tool, &words);
            if let Err(e) = &made {
                contender.out = Some(format!("no bundle: {e}"));
            }
            if let Ok(path) = tool {
                let path = path.display().to_string();
                let words = [path.as_str(), "--root", &state, "delete", "-f", ID];
                contender.delete = Some(words.map(String::from).to_vec());
            }
            contender
        })
        .collect()
}

fn make_bundle(kit: &Kit, bundle: &str, with: With) -> io::Result<()> {
    for dir in ["proc", "dev"] {
        fs::create_dir_all(format!("{bundle}/rootfs/{dir}"))?;
    }
    fs::copy(kit.path("true"), format!("{bundle}/rootfs/true"))?;
    let config = CONFIG
        .replace("@LIMITS@", if with == With::Limits { LIMITS } else { "" })
        .replace("@NETWORK@", if with == With::Network { r#", {"type": "network"}"# } else { "" });
    fs::write(format!("{bundle}/config.json"), config)
}
