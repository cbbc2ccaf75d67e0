//! crun and runc: they want a bundle, an id per container and a place for their state.

use crate::contenders::{Contender, ID};
use crate::kit::{Kit, find};
use miniserde::json::{self, Object, Value};
use std::fs;
use std::io;

/// The same namespaces and mounts as the floor's, and nothing more: no masked paths, capability
/// list or seccomp filter. The host's /dev is bound, since runc would otherwise make a /dev by mknod.
/// Both runtimes make a cgroup for each container and change the root, which the floor does not.
const CONFIG: &str = r#"{
  "ociVersion": "1.0.2",
  "process": {
    "terminal": false, "user": {"uid": 0, "gid": 0},
    "args": ["/@PROGRAM@"], "env": ["PATH=/"], "cwd": "/"@CAPABILITIES@
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
    ]@LIMITS@@SECCOMP@
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
    /// Another program than true.
    Program(&'static str),
    /// The same with docker's capabilities, no_new_privs and podman's profile.
    Confined(&'static str),
}

/// `run` of a bundle by each runtime.
pub(crate) fn runtimes(kit: &Kit, with: With) -> Vec<Contender> {
    let bundle = kit.path(&match with {
        With::Nothing => "bundle".into(),
        With::Limits => "bundle-limited".into(),
        With::Network => "bundle-network".into(),
        With::Program(program) => format!("bundle-{program}"),
        With::Confined(program) => format!("bundle-confined-{program}"),
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
    let (program, confined) = match with {
        With::Nothing | With::Limits | With::Network => ("true", false),
        With::Program(program) => (program, false),
        With::Confined(program) => (program, true),
    };
    fs::copy(kit.path(program), format!("{bundle}/rootfs/{program}"))?;
    let seccomp = if confined { format!(r#", "seccomp": {}"#, profile()?) } else { String::new() };
    let list = CAPABILITIES.join(r#"", "CAP_"#);
    let sets = format!(r#""bounding": ["CAP_{list}"], "effective": ["CAP_{list}"], "permitted": ["CAP_{list}"]"#);
    let capabilities = format!(r#", "noNewPrivileges": true, "capabilities": {{{sets}}}"#);
    let config = CONFIG
        .replace("@PROGRAM@", program)
        .replace("@SECCOMP@", &seccomp)
        .replace("@CAPABILITIES@", if confined { &capabilities } else { "" })
        .replace("@LIMITS@", if with == With::Limits { LIMITS } else { "" })
        .replace("@NETWORK@", if with == With::Network { r#", {"type": "network"}"# } else { "" });
    fs::write(format!("{bundle}/config.json"), config)
}

/// docker's, which podman has but for some.
const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

pub(crate) const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// podman's profile as a runtime wants it: the rules that hold for these capabilities on this processor.
fn profile() -> io::Result<String> {
    let wrong = || io::Error::other(format!("{PROFILE} is not what it was"));
    let profile: Value = json::from_str(&fs::read_to_string(PROFILE)?).map_err(|_| wrong())?;
    let Value::Object(profile) = profile else { return Err(wrong()) };
    let Some(Value::Array(rules)) = profile.get("syscalls") else { return Err(wrong()) };
    let list = |rule: &Object, filter: &str, key: &str| match rule.get(filter) {
        Some(Value::Object(filter)) => match filter.get(key) {
            Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let mut kept = json::Array::new();
    for rule in rules {
        let Value::Object(rule) = rule else { return Err(wrong()) };
        let has = |name: &String| CAPABILITIES.iter().any(|known| name.strip_prefix("CAP_") == Some(known));
        let here = list(rule, "includes", "arches");
        let holds = list(rule, "includes", "caps").iter().all(has)
            && !list(rule, "excludes", "caps").iter().any(has)
            && (here.is_empty() || here.iter().any(|name| name == "amd64"));
        if holds {
            let mut copy = Object::new();
            for key in ["names", "action", "errnoRet", "args"] {
                // What is null is left out.
                if let Some(value) = rule.get(key).filter(|value| !matches!(value, Value::Null)) {
                    copy.insert(key.into(), json::from_str(&json::to_string(value)).map_err(|_| wrong())?);
                }
            }
            kept.push(Value::Object(copy));
        }
    }
    Ok(format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": {}}}"#,
        json::to_string(&kept)
    ))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}
