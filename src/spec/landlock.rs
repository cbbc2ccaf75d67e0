//! What landlock shall leave to the command: paths, ports, or all that a container without namespaces has.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Namespace, Namespaces, Spec};
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::landlock::{Abi, KNOWS, SIGNALS, SOCKETS, net};
use crate::state::Landlock;

/// What programs are made of, and where they look for names, on the usual systems; home directories, disks and what belongs to other
/// programs are not among them.
const READ: [&str; 14] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr",
    "/etc",
    "/etc/resolv.conf",
    "/opt",
    "/nix",
    "/rom",
    "/proc",
    "/sys",
];
/// What belongs to nobody. /dev itself is not here: disks are in it.
const WRITE: [&str; 11] = [
    "/tmp",
    "/var/tmp",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

impl Landlock {
    /// None: nothing is confined. `isolated`: there are no namespaces. `rooted`: it has a root of its own.
    pub(super) fn new(
        typed: &cli::Landlock,
        isolated: bool,
        rooted: bool,
        workdir: Option<&OsStr>,
        namespaces: &Namespaces,
    ) -> Result<Option<Self>> {
        if !isolated && typed.ro.is_empty() && typed.rw.is_empty() && typed.port.is_empty() {
            return Ok(None);
        }
        let all = |option, paths: &[String]| {
            paths.iter().map(|path| absolute(option, path, rooted)).collect::<Result<Vec<_>>>()
        };
        let mut landlock = Self {
            read: all("--landlock-ro", &typed.ro)?,
            write: all("--landlock-rw", &typed.rw)?,
            ports: typed.port.clone(),
            scoped: scoped(namespaces),
            usual: false,
        };
        if isolated && landlock.read.is_empty() && landlock.write.is_empty() {
            landlock.usual = true;
            landlock.read = READ.map(String::from).to_vec();
            landlock.write = WRITE.map(String::from).to_vec();
            let here = absolute("--workdir", &workdir.unwrap_or(OsStr::new(".")).to_string_lossy(), false)?;
            // Whoever starts in the root directory does not mean all that there is.
            if !here.trim_matches('/').is_empty() {
                landlock.write.push(here);
            }
        }
        landlock.ports()?;
        Ok(Some(landlock))
    }

    /// The rights over ports that are given up, and to which ports they are left.
    pub(crate) fn ports(&self) -> Result<(u64, Vec<(u16, u64)>)> {
        let (mut confined, mut left) = (0, Vec::new());
        for typed in &self.ports {
            match port(typed)? {
                None => confined |= net::TCP | net::UDP,
                Some((port, access)) if access & net::TCP != 0 => {
                    confined |= net::TCP;
                    left.push((port, access));
                }
                Some((port, access)) => {
                    confined |= net::UDP;
                    left.push((port, access));
                    if access & net::CONNECT_TCP << net::TCP_TO_UDP != 0 {
                        // Who sends without a port of his own is given any.
                        left.push((0, net::BIND_TCP << net::TCP_TO_UDP));
                    }
                }
            }
        }
        Ok((confined, left))
    }

    pub(crate) fn confines_files(&self) -> bool {
        !self.read.is_empty() || !self.write.is_empty()
    }

    /// What this kernel cannot do of it: an error where that was asked for by name, else a sentence. `own_root`:
    /// nothing of the host's is in sight.
    pub(crate) fn lacks(&self, abi: Abi, own_root: bool) -> Result<Option<String>> {
        if abi == Abi(0) {
            return Err(Error::new("landlock: this kernel has none").hint(
                "CONFIG_SECURITY_LANDLOCK builds it in, and lsm=landlock,… at boot turns it on; see nsctl check",
            ));
        }
        let (confined, ports) = self.ports()?;
        let by_name = ports.iter().any(|(_, access)| access & net::UDP != 0);
        for (asked, since, linux) in [(confined & net::TCP != 0, Abi::TCP, "6.7"), (by_name, Abi::UDP, "7.2")] {
            if asked && abi < since {
                return Err(Error::new(format_args!(
                    "--landlock-port: this kernel's landlock (ABI {}) does not know such ports",
                    abi.0
                ))
                .hint(format_args!("Linux {linux} does; --network none has no ports at all")));
            }
        }
        let files = self.confines_files();
        let missing: Vec<&str> = KNOWS
            .iter()
            .filter(|(since, _)| {
                abi < *since
                    && match *since {
                        Abi::TRUNCATE | Abi::IOCTL => files,
                        Abi::UNIX => files && !own_root,
                        Abi::SCOPES => self.scoped != 0,
                        Abi::UDP => confined & net::UDP != 0,
                        _ => false,
                    }
            })
            .map(|(_, what)| *what)
            .collect();
        let moves = if files && abi < Abi::REFER { "; no file can be moved to another directory" } else { "" };
        Ok((!missing.is_empty() || !moves.is_empty()).then(|| {
            format!("landlock of this kernel (ABI {}) does not confine {}{moves}", abi.0, missing.join(", "))
        }))
    }
}

/// Who comes into the same namespaces later has rules of his own, and would be out of reach, too: namespaces go before.
fn scoped(namespaces: &Namespaces) -> u64 {
    let own = |namespace: &Namespace, scope| if *namespace == Namespace::Private { 0 } else { scope };
    own(&namespaces.pid, SIGNALS) | own(&namespaces.net, SOCKETS)
}

/// `[connect:|bind:]PORT[/tcp|/udp]`: the port, and the rights over it. None: `none`.
fn port(typed: &str) -> Result<Option<(u16, u64)>> {
    if typed == "none" {
        return Ok(None);
    }
    let (way, rest) = typed.split_once(':').unwrap_or(("both", typed));
    let (port, kind) = rest.split_once('/').unwrap_or((rest, "tcp"));
    let access = match way {
        "both" if !typed.contains(':') => net::TCP,
        "connect" => net::CONNECT_TCP,
        "bind" => net::BIND_TCP,
        _ => 0,
    };
    let access = match kind {
        "tcp" => access,
        "udp" => access << net::TCP_TO_UDP,
        _ => 0,
    };
    match port.parse() {
        Ok(number) if access != 0 && port.starts_with(|c: char| c.is_ascii_digit()) => Ok(Some((number, access))),
        _ => Err(Error::new(format_args!("--landlock-port {typed} is no port"))
            .hint("it is [connect:|bind:]PORT[/tcp|/udp], or none for no port at all")),
    }
}

fn absolute(option: &str, path: &str, rooted: bool) -> Result<String> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::new(format_args!("{option} is empty")));
    }
    if rooted && !path.starts_with('/') {
        return Err(Error::new(format_args!("{option} {path} is not absolute"))
            .hint("it is a path in the container's root, and begins with /"));
    }
    let absolute = std::path::absolute(Path::new(path))
        .map_err(|_| Error::new(format_args!("{option} {path}: the current directory has no path")))?;
    Ok(String::from_utf8_lossy(absolute.as_os_str().as_bytes()).into_owned())
}

/// `--isolate`: whether namespaces are done without; what needs one is refused then.
pub(super) fn isolated(run: &cli::Run) -> Result<bool> {
    match run.landlock.isolate.as_deref() {
        None | Some("namespaces") => return Ok(false),
        Some("landlock") => {}
        Some(other) => {
            return Err(Error::new(format_args!("--isolate {other} is unknown"))
                .hint("it is namespaces, the default, or landlock"));
        }
    }
    let own = |typed: &Option<String>| typed.as_deref().is_some_and(|typed| typed != "host");
    let given = [
        ("--rootfs", run.rootfs.is_some()),
        ("--image", run.image.is_some()),
        ("--volume", !run.volume.is_empty()),
        ("--mount", !run.mount.is_empty()),
        ("--tmpfs", !run.tmpfs.is_empty()),
        ("--shm-size", run.shm_size.is_some()),
        ("--sysctl", !run.sysctl.is_empty()),
        ("--hostname", run.hostname.is_some()),
        ("--domainname", run.domainname.is_some()),
        ("--uts", own(&run.uts)),
        ("--pid", own(&run.pid)),
        ("--ipc", own(&run.ipc)),
        ("--cgroupns", own(&run.cgroupns)),
        ("--network", own(&run.net.network)),
        ("--cgroup-delegate", run.cgroup.delegate),
    ];
    if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
        return Err(Error::new(format_args!("{option} needs a namespace, and --isolate=landlock makes none"))
            .hint("leave one of the two out"));
    }
    if run.detach || run.create {
        return Err(Error::new("--isolate=landlock is for the foreground")
            .hint("a container that lives on is kept by nsctl as PID 1 of a PID namespace, of which it has none"));
    }
    if run.init {
        return Err(Error::new("--init needs a PID namespace, and --isolate=landlock makes none"));
    }
    Ok(true)
}

impl Spec {
    /// What landlock cannot do here; see [`Landlock::lacks`].
    pub(crate) fn landlock_lacks(&self, abi: Abi) -> Result<Option<String>> {
        self.privileges.landlock.as_ref().map_or(Ok(None), |landlock| landlock.lacks(abi, self.root.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(namespace: Namespace) -> Namespaces {
        let [uts, pid, ipc, cgroup, net] = std::array::from_fn(|_| namespace.clone());
        Namespaces { uts, pid, ipc, cgroup, net }
    }

    fn of(words: &[&str]) -> Result<Option<Landlock>> {
        let text = |word: &&str| (*word).to_string();
        let mut typed = cli::Landlock::default();
        for pair in words.chunks(2) {
            match pair[0] {
                "ro" => typed.ro.push(text(&pair[1])),
                "rw" => typed.rw.push(text(&pair[1])),
                _ => typed.port.push(text(&pair[1])),
            }
        }
        Landlock::new(&typed, false, true, None, &all(Namespace::Private))
    }

    #[test]
    fn ports() {
        for (typed, confined, ports) in [
            ("443", 3, vec![(443, 3)]),
            ("connect:443", 3, vec![(443, 2)]),
            ("bind:0/tcp", 3, vec![(0, 1)]),
            ("bind:53/udp", 12, vec![(53, 4)]),
            ("connect:53/udp", 12, vec![(53, 8), (0, 4)]),
            ("none", 15, vec![]),
        ] {
            let landlock = of(&["port", typed]).unwrap().unwrap();
            assert_eq!(landlock.ports().unwrap(), (confined, ports), "{typed}");
        }
        for typed in
            ["", ":1", "both:1", "65536", "-1", "+1", "connect:", "listen:1", "1/sctp", "1/", "http", "None", "1-2"]
        {
            assert!(of(&["port", typed]).is_err(), "{typed}");
        }
    }

    #[test]
    fn paths_are_absolute() {
        assert_eq!(of(&[]).unwrap(), None);
        let landlock = of(&["ro", "/usr", "rw", "/a/../b"]).unwrap().unwrap();
        assert_eq!((landlock.read, landlock.write), (vec!["/usr".to_string()], vec!["/a/../b".to_string()]));
        assert!(of(&["ro", "usr"]).is_err() && of(&["rw", ""]).is_err());
    }

    #[test]
    fn without_namespaces_there_is_a_usual_set() {
        let usual = |workdir: &str| {
            let typed = cli::Landlock::default();
            Landlock::new(&typed, true, false, Some(OsStr::new(workdir)), &all(Namespace::Host)).unwrap().unwrap()
        };
        assert!(usual("/srv").write.iter().any(|path| path == "/srv"));
        assert!(usual("/").write.iter().all(|path| path.len() > 1), "not all that there is");
        assert!(usual("/srv").usual && usual("/srv").confines_files() && usual("/srv").ports.is_empty());
    }

    #[test]
    fn what_a_kernel_cannot_do_is_said() {
        let files = of(&["ro", "/"]).unwrap().unwrap();
        let lacks = |abi, own: bool| {
            let rules = Landlock { scoped: if own { 0 } else { SIGNALS | SOCKETS }, ..files.clone() };
            rules.lacks(Abi(abi), own).unwrap().unwrap_or_default()
        };
        assert_eq!(lacks(10, false), "");
        assert_eq!(lacks(5, true), "");
        assert_eq!(lacks(4, true), "landlock of this kernel (ABI 4) does not confine ioctls of devices");
        assert!(lacks(1, true).ends_with("; no file can be moved to another directory"));
        assert!(lacks(5, false).ends_with("does not confine signals and abstract sockets, sockets with a path"));
        assert!(files.lacks(Abi(0), true).is_err());
        let port = of(&["port", "443"]).unwrap().unwrap();
        assert!(port.lacks(Abi(3), true).is_err() && port.lacks(Abi(4), true).is_ok());
        let none = of(&["port", "none"]).unwrap().unwrap();
        assert!(none.lacks(Abi(9), true).unwrap().unwrap().ends_with("does not confine UDP ports"));
    }
}
