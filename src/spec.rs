//! What was asked for, in the user's words but checked: sizes are numbers, names are valid, contradictions are
//! gone. Defaults live here and only here.

use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::OsStringExt;

use crate::cli;
use crate::error::{Error, Result};
use crate::linux::text::shown;
use crate::seccomp::Filter;
use crate::state::{Landlock, Privileges};

mod cgroup;
mod exec;
mod health;
mod keep;
mod label;
mod landlock;
mod limits;
mod mounts;
mod names;
mod network;
mod privileges;
mod process;
mod publish;
mod root;
mod sysctl;
mod time;
mod userns;
pub(crate) use cgroup::Cgroup;
pub(crate) use exec::Exec;
pub(crate) use health::Health;
pub(crate) use keep::{Keep, Restart};
pub(crate) use limits::{CPU_PERIOD, Limits, Throttle, UNLIMITED, size, weight_of_shares};
pub(crate) use mounts::{Device, IdMap, Mount, What};
pub(crate) use names::Names;
pub(crate) use network::{Kind, Network};
pub(crate) use privileges::resource;
pub(crate) use process::{Defaults, MOST_GROUPS, Principal, User, Variable, signal};
pub(crate) use root::{Changes, From, MAX_UNPACKED, Root};
pub(crate) use time::moment;
pub(crate) use userns::Ids;

/// What a container is called that nobody gave a host name.
pub(crate) const DEFAULT_HOSTNAME: &CStr = c"container";

/// Where one of the container's namespaces comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Namespace {
    /// The caller's own.
    Host,
    /// A new one.
    Private,
    /// An existing one, by its file.
    Path(CString),
}

#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) uts: Namespace,
    pub(crate) pid: Namespace,
    pub(crate) ipc: Namespace,
    pub(crate) cgroup: Namespace,
    pub(crate) net: Namespace,
}

#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) namespaces: Namespaces,
    pub(crate) network: Network,
    pub(crate) names: Names,
    pub(crate) hostname: Option<CString>,
    pub(crate) domainname: Option<CString>,
    /// nsctl itself is PID 1 and the command its child.
    pub(crate) init: bool,
    /// None: the container sees the host's files.
    pub(crate) root: Option<Root>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    /// Bytes of /dev/shm.
    pub(crate) shm_size: Option<u64>,
    /// Files below /proc, and what is to be written into them.
    pub(crate) sysctls: Vec<(CString, CString)>,
    /// None: as the caller, or with a root of its own 0:0.
    pub(crate) user: Option<User>,
    pub(crate) groups: Vec<Principal>,
    /// Changes to the environment, in order.
    pub(crate) env: Vec<Variable>,
    pub(crate) workdir: Option<CString>,
    pub(crate) name: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) stop_signal: Option<i32>,
    /// Seconds from that to SIGKILL.
    pub(crate) stop_timeout: Option<u32>,
    pub(crate) pidfile: Option<CString>,
    pub(crate) cidfile: Option<CString>,
    /// How many descriptors from 3 on the command keeps.
    pub(crate) preserve_fds: u32,
    /// A terminal of its own.
    pub(crate) terminal: bool,
    /// `--interactive` was said.
    pub(crate) interactive: bool,
    pub(crate) limits: Limits,
    pub(crate) cgroup: Cgroup,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) privileges: Privileges,
    /// Of the command's system calls.
    pub(crate) seccomp: Option<Filter>,
    /// None: it ends with nsctl, and nothing of it stays. Otherwise it has a group in any case, to be paused, counted and ended by.
    pub(crate) keep: Option<Keep>,
    /// The words of the command that asks whether it is well; none: nobody asks.
    pub(crate) health: Vec<CString>,
    /// Whether `ps` shall list it.
    pub(crate) listed: bool,
    /// It has no namespace of its own.
    pub(crate) isolated: bool,
    pub(crate) argv: Vec<CString>,
}

impl Spec {
    /// Whether the machine's cgroups matter.
    pub(crate) fn wants_groups(&self) -> bool {
        !self.cgroup.none && (self.keep.is_some() || self.cgroup.asks() || self.limits != Limits::default())
    }

    /// A container of which nothing is wanted but its files.
    pub(crate) fn want_only_files(&mut self) {
        (self.keep, self.listed, self.terminal) = (None, false, false);
        (self.pidfile, self.limits.throttle, self.cgroup.none) = (None, Vec::new(), true);
        // What is set in its network namespace is set in an empty one.
        if self.namespaces.net != Namespace::Host {
            (self.network.kind, self.namespaces.net) = (Kind::None, Namespace::Private);
        }
        // There is no command to be looked for.
        self.argv = vec![c"/".into()];
    }

    /// Where the files of the container come from; looked at first, since an image says more.
    pub(crate) fn root(run: &cli::Run) -> Result<Option<Root>> {
        // What needs a namespace is not looked for in vain.
        landlock::isolated(run)?;
        root::root(run)
    }

    /// `root` is what [`Spec::root`] gave, `image` what its image says.
    pub(crate) fn new(run: cli::Run, root: Option<Root>, image: &Defaults) -> Result<Self> {
        let network = Network::new(&run.net)?;
        let isolated = landlock::isolated(&run)?;
        let usual = || if isolated { Namespace::Host } else { Namespace::Private };
        let namespaces = Namespaces {
            uts: namespace("--uts", run.uts.clone(), usual())?,
            pid: namespace("--pid", run.pid.clone(), usual())?,
            ipc: namespace("--ipc", run.ipc.clone(), usual())?,
            cgroup: namespace("--cgroupns", run.cgroupns.clone(), usual())?,
            net: network.namespace(),
        };
        let private = |namespace: &Namespace| *namespace == Namespace::Private;
        let hostname = uts_name("--hostname", run.hostname.clone(), &namespaces.uts)?;
        // With the network of another container goes its name.
        let named = matches!(network.kind, Kind::Container(_));
        let default = (private(&namespaces.uts) && !named).then(|| DEFAULT_HOSTNAME.into());
        let workdir = run.workdir.clone().map(|dir| c_string("--workdir", dir)).transpose()?;
        if let Some(dir) = workdir.as_ref().filter(|dir| root.is_some() && !dir.to_bytes().starts_with(b"/")) {
            return Err(Error::new(format_args!("--workdir {} is not absolute", shown(dir)))
                .hint("in a root of its own it begins with /"));
        }
        let limits = Limits::new(&run.limits)?.at_start()?;
        if run.cgroup.delegate && !private(&namespaces.cgroup) {
            return Err(Error::new("--cgroup-delegate with --cgroupns")
                .hint("only in a cgroup namespace of its own is the group that it gets the root of what it sees"));
        }
        let privileges = Privileges::new(&run.privileges)?;
        let seccomp = privileges::seccomp(&run.privileges, &privileges)?;
        let again =
            run.restart.as_deref().is_some_and(|policy| policy != "no") || Health::new(&run.health)?.is_some();
        if again && seccomp.as_ref().is_some_and(|filter| filter.listener().is_some()) {
            return Err(Error::new("a seccomp profile with SCMP_ACT_NOTIFY, and --restart or --health-cmd")
                .hint("of what nsctl inside starts later nobody would tell the listener"));
        }
        let image_workdir = Some(&image.working_dir).filter(|dir| !dir.is_empty());
        Ok(Self {
            hostname: hostname.or(default),
            domainname: uts_name("--domainname", run.domainname.clone(), &namespaces.uts)?,
            // Only PID 1 of a namespace can be its init.
            init: !run.no_init && private(&namespaces.pid),
            mounts: all_mounts(&run)?,
            devices: run.device.iter().map(|typed| mounts::device(typed)).collect::<Result<_>>()?,
            shm_size: run.shm_size.as_deref().map(|typed| limits::size("--shm-size", typed)).transpose()?,
            sysctls: run
                .sysctl
                .iter()
                .map(|typed| sysctl::sysctl(typed, private(&namespaces.net), private(&namespaces.ipc)))
                .collect::<Result<_>>()?,
            user: process::user(run.user.clone(), &image.user)?,
            groups: process::groups(&run.group_add)?,
            env: process::environment(&run.env, &run.env_file, &image.env)?,
            workdir: match (workdir, image_workdir) {
                (None, Some(dir)) => Some(c_string("WorkingDir of the image", dir.into())?),
                (typed, _) => typed,
            },
            name: run.name.clone().map(|name| container_name("--name", name)).transpose()?,
            labels: process::labels(&run.label, &image.labels)?,
            stop_signal: process::stop_signal(&run, &image.stop_signal)?,
            stop_timeout: number("--stop-timeout", run.stop_timeout.as_deref(), i32::MAX as u32)?,
            cidfile: run.cidfile.clone().map(|file| c_string("--cidfile", file)).transpose()?,
            health: Health::new(&run.health)?.map(|(_, words)| words).unwrap_or_default(),
            keep: Keep::new(&run, private(&namespaces.pid))?,
            pidfile: run.pidfile.clone().map(|file| c_string("--pidfile", file)).transpose()?,
            preserve_fds: number("--preserve-fds", run.preserve_fds.as_deref(), 1024)?.unwrap_or(0),
            terminal: run.tty,
            interactive: run.interactive,
            cgroup: Cgroup::new(&run.cgroup, &limits)?,
            oom_score_adj: cgroup::oom_score_adj(run.cgroup.oom_score_adj.as_deref())?,
            seccomp,
            privileges: Privileges {
                landlock: Landlock::new(
                    &run.landlock,
                    isolated,
                    root.is_some(),
                    run.workdir.as_deref(),
                    &namespaces,
                )?,
                ..privileges
            },
            limits,
            listed: true,
            isolated,
            names: Names::new(&run.net, &network.kind, root.is_some())?,
            argv: process::words(run.argv, run.entrypoint, image)?,
            namespaces,
            network,
            root,
        })
    }

    /// `nsctl simple`: UTS, PID and mount namespaces and nothing else.
    pub(crate) fn simple(shell: &str) -> Result<Self> {
        let host = || Some("host".to_string());
        let run = cli::Run {
            ipc: host(),
            cgroupns: host(),
            no_init: true,
            argv: vec![shell.into()],
            ..cli::Run::default()
        };
        let privileges = Privileges::of_the_caller();
        Ok(Self { listed: false, privileges, seccomp: None, ..Self::new(run, None, &Defaults::default())? })
    }
}

/// Those of `--volume`, `--mount` and `--tmpfs`, a directory before what is mounted below it.
fn all_mounts(run: &cli::Run) -> Result<Vec<Mount>> {
    let volumes = run.volume.iter().map(|typed| mounts::volume(typed));
    let others = run.mount.iter().map(|typed| mounts::mount(typed));
    let memory = run.tmpfs.iter().map(|typed| mounts::tmpfs(typed));
    let mut all: Vec<Mount> = volumes.chain(others).chain(memory).collect::<Result<_>>()?;
    all.sort_by_key(|mount| mount.target.to_bytes().iter().filter(|byte| **byte == b'/').count());
    for (index, mount) in all.iter().enumerate() {
        if let Some(other) = all[..index].iter().find(|other| other.target == mount.target) {
            let target = shown(&mount.target);
            return Err(Error::new(format_args!("{} and {} both go to {target}", other.option, mount.option)));
        }
    }
    Ok(all)
}

fn namespace(option: &str, typed: Option<String>, default: Namespace) -> Result<Namespace> {
    match typed.as_deref() {
        None => Ok(default),
        Some("host") => Ok(Namespace::Host),
        Some("private") => Ok(Namespace::Private),
        Some(path) if path.starts_with('/') => Ok(Namespace::Path(c_string(option, path.into())?)),
        Some(other) => Err(Error::new(format_args!("{option} {other} is no namespace"))
            .hint("it is host, private, or the path of a namespace such as /proc/1/ns/net")),
    }
}

/// A host or domain name as sethostname(2) takes it: 1 to 64 bytes.
fn uts_name(option: &str, typed: Option<String>, uts: &Namespace) -> Result<Option<CString>> {
    let Some(name) = typed else { return Ok(None) };
    if *uts != Namespace::Private {
        return Err(Error::new(format_args!(
            "{option} {name} would rename a UTS namespace that is not the container's"
        ))
        .hint("leave --uts out"));
    }
    if name.is_empty() || name.len() > 64 {
        return Err(Error::new(format_args!("{option} must have 1 to 64 bytes, not {}", name.len())));
    }
    c_string(option, name.into()).map(Some)
}

fn c_string(what: &str, text: OsString) -> Result<CString> {
    if text.is_empty() && what.starts_with("--") {
        return Err(Error::new(format_args!("{what} is empty")));
    }
    CString::new(text.into_vec()).map_err(|_| Error::new(format_args!("{what} has a NUL byte in it")))
}

/// Container names: what docker allows, so that no name is a path or an option.
pub(crate) fn container_name(option: &str, name: String) -> Result<String> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 128 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)) {
        return Ok(name);
    }
    Err(Error::new(format_args!("{option} {name} is not a name"))
        .hint("a letter or digit, then letters, digits, '_', '.' or '-', 128 at most"))
}

fn number(option: &str, typed: Option<&str>, max: u32) -> Result<Option<u32>> {
    let Some(typed) = typed else { return Ok(None) };
    match typed.parse() {
        Ok(value) if value <= max => Ok(Some(value)),
        _ => Err(Error::new(format_args!("{option} {typed} is not a number from 0 to {max}"))),
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) use mounts::survives as survives_map;

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    let os = std::ffi::OsStr::new(text);
    let _ = (mounts::volume(os), mounts::mount(os), mounts::tmpfs(os), mounts::device(os));
    let _ = (sysctl::sysctl(text, true, true), sysctl::sysctl(text, false, false), signal(text));
    let _ = (process::user(Some(text.into()), ""), process::labels(&[text.into()], &[]));
    let _ = (process::environment(&[text.into()], &[], &[text.into()]), container_name("", text.into()));
    let _ = (time::duration("", text), time::moment("", text, (1_767_225_600, 5)), time::moment("", text, (0, 0)));
    let _ = publish::parse(text).map(|publish| crate::network::foreseen(&[publish]));
    let _ = (
        limits::size("", text),
        cgroup::oom_score_adj(Some(text)),
        namespace("", Some(text.into()), Namespace::Host),
    );
    limits::survives(text);
    privileges::survives(text);
    let some = || Some(text.to_string());
    let net = cli::Net { network: some(), ip: some(), ip6: some(), mac: some(), ..cli::Net::default() };
    let one = cli::Net { network: some(), ..cli::Net::default() };
    for net in [net, one] {
        let _ = Network::new(&net);
    }
    let net = || cli::Net { network: Some("bridge".into()), ..cli::Net::default() };
    for net in [
        cli::Net { ip: some(), ..net() },
        cli::Net { ip6: some(), ..net() },
        cli::Net { mac: some(), ..net() },
        cli::Net { alias: vec![text.into()], ..net() },
        cli::Net { add_host: vec![text.into()], ..net() },
        cli::Net { dns: vec![text.into()], ..net() },
        cli::Net { dns_search: vec![text.into()], dns_option: vec![text.into()], ..net() },
    ] {
        let _ = Network::new(&net).map(|network| Names::new(&net, &network.kind, true));
    }
    let health = cli::Health { command: Some("true".into()), interval: some(), ..cli::Health::default() };
    let _ = (Health::new(&health), Health::new(&cli::Health { retries: some(), interval: None, ..health }));
    let run = cli::Run { detach: true, restart: some(), ..cli::Run::default() };
    let _ = (Keep::new(&run, true), Keep::new(&cli::Run { log_size: some(), restart: None, ..run }, true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        assert!(container_name("--name", "web-1.a_B".into()).is_ok());
        for wrong in ["", ".", "..", "-x", "a/b", "@web", "a b", "ä", &"x".repeat(129)] {
            assert!(container_name("--name", wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn namespaces_are_host_private_or_a_path() {
        assert_eq!(
            namespace("--uts", Some("/proc/1/ns/uts".into()), Namespace::Private).unwrap(),
            Namespace::Path(c"/proc/1/ns/uts".into())
        );
        assert!(namespace("--uts", Some("none".into()), Namespace::Private).is_err());
        assert!(uts_name("--hostname", Some("x".into()), &Namespace::Host).is_err());
        assert!(uts_name("--hostname", Some("x".repeat(65)), &Namespace::Private).is_err());
    }
}
