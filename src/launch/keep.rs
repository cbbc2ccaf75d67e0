//! What is made outside for a container that lives on, and what is written down of any container.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::child::Inherited;
use crate::linux::cgroup::Version;
use crate::linux::join::NAMESPACES;
use crate::linux::process::{self, Process};
use crate::linux::userns::Maps;
use crate::linux::{clock, file, text, userns};
use crate::monitor::{self, Files};
use crate::network::{Own, Seat};
use crate::plan::{Confine, Group, Op, Plan};
use crate::state::{self, Attachment, Cgroup, Namespaces, Privileges, Record, Status, UserNamespace};

/// Status, log, control socket and streams, in the container's directory.
pub(super) fn make(
    dir: BorrowedFd<'_>,
    interactive: bool,
    log: bool,
    inherited: &mut Inherited,
) -> Result<(), Errno> {
    // What ended the last time, if there was one.
    let _ = rustix::fs::unlinkat(dir, state::STOPPING, AtFlags::empty());
    let status = state::make_status(dir)?;
    Status::created().write(&status)?;
    let log = if log { Some(monitor::make_log(dir)?) } else { None };
    let (input, give) = input(interactive)?;
    let (take, output) = pipe()?;
    let (take_errors, errors) = pipe()?;
    for end in give.iter().chain([&take, &take_errors]) {
        rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK)?;
    }
    inherited.streams = vec![input, output, errors];
    inherited.files = Some(Files {
        dir: dir.try_clone_to_owned().map_err(|_| Errno::MFILE)?,
        status,
        control: control(dir)?,
        log,
        streams: [give, Some(take), Some(take_errors)],
        terminal: false,
    });
    Ok(())
}

/// What the command reads, and where its input is written to: nothing, unless somebody may attach and write.
fn input(interactive: bool) -> Result<(OwnedFd, Option<OwnedFd>), Errno> {
    if interactive {
        return pipe().map(|(input, give)| (input, Some(give)));
    }
    match file::open(CWD, c"/dev/null") {
        Ok(nothing) => Ok((nothing, None)),
        // A pipe that nobody writes to ends at once, too.
        Err(_) => pipe().map(|(input, _)| (input, None)),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
}

/// The socket at which the container can be talked to. The directory is closed to others.
fn control(dir: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let _ = rustix::fs::unlinkat(dir, state::CONTROL, AtFlags::empty());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::bind(&socket, &control_address(dir)?)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// By the directory's descriptor: an address has room for 107 bytes, which is less than a path may have.
pub(crate) fn control_address(dir: BorrowedFd<'_>) -> Result<SocketAddrUnix, Errno> {
    let path = [text::fd_path(dir).as_bytes(), b"/", state::CONTROL.to_bytes()].concat();
    SocketAddrUnix::new(path)
}

pub(super) fn record(plan: &Plan, process: &Process, inherited: &Inherited) -> Record {
    let strings = |list: &[CString]| list.iter().map(|text| text.to_string_lossy().into_owned()).collect();
    Record {
        id: plan.id.clone(),
        name: plan.name.clone().unwrap_or_default(),
        pid: process.pid,
        ticks: process::started(process.pid).unwrap_or(0),
        created: clock::epoch_seconds(),
        command: strings(plan.argv.strings()),
        image: plan.image.clone(),
        labels: Some(plan.labels.iter().cloned().collect()),
        stop_signal: plan.stop_signal,
        stop_timeout: plan.stop_timeout.map(u64::from),
        kept: plan.keep.is_some(),
        remove: plan.keep.as_ref().is_none_or(|keep| keep.remove),
        tty: plan.terminal,
        restart: plan.keep.as_ref().map_or("no".into(), |keep| keep.restart.text()),
        namespaces: namespaces(plan, process, inherited),
        user_namespace: user_namespace(plan, inherited),
        init: plan.init,
        rooted: plan.rooted,
        new_cgroupns: plan.steps.iter().any(|step| matches!(step.op, Op::NewCgroupNamespace)),
        user: plan.user.clone(),
        groups: plan.more_groups.clone(),
        workdir: workdir(plan),
        env: strings(plan.envp.strings()),
        oom_score_adj: plan.steps.iter().find_map(|step| match step.op {
            Op::Confine(Confine::OomScore(score)) => Some(score),
            _ => None,
        }),
        privileges: Privileges {
            capabilities: plan.privileges.capabilities & !inherited.withheld,
            ..plan.privileges.clone()
        },
        delegated: plan.steps.iter().any(|step| matches!(step.op, Op::MakeLeaf { .. })),
        network: super::net::seat(plan).map(attachment).or_else(|| plan.own.as_ref().map(alone)),
        cgroups: plan.groups.iter().map(cgroup).collect(),
    }
}

fn attachment(seat: &Seat) -> Attachment {
    Attachment {
        network: seat.network.name.clone(),
        ip: seat.address.0.to_string(),
        ip6: seat.address6.map(|(address, _)| address.to_string()).unwrap_or_default(),
        prefix: seat.address.1,
        prefix6: seat.address6.map_or(0, |(_, prefix)| prefix),
        gateway: seat.gateway.to_string(),
        gateway6: seat.gateway6.map(|address| address.to_string()).unwrap_or_default(),
        mac: seat.mac.map(|byte| format!("{byte:02x}")).join(":"),
        ports: seat.shown_ports(),
    }
}

/// What goes by no network's name.
fn alone(own: &Own) -> Attachment {
    let of = |v4: bool| own.addresses.iter().find(|(address, ..)| address.is_ipv4() == v4);
    let text = |v4: bool| of(v4).map(|(address, ..)| address.to_string()).unwrap_or_default();
    let prefix = |v4: bool| of(v4).map_or(0, |(_, prefix, _)| *prefix);
    let gateway = |v4: bool| of(v4).and_then(|of| of.2).map(|address| address.to_string()).unwrap_or_default();
    Attachment {
        network: own.shown(),
        ip: text(true),
        ip6: text(false),
        prefix: prefix(true),
        prefix6: prefix(false),
        gateway: gateway(true),
        gateway6: gateway(false),
        mac: own.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")).unwrap_or_default(),
        ports: Vec::new(),
    }
}

/// Where the command begins: with the host's files, that is where nsctl is.
fn workdir(plan: &Plan) -> String {
    match std::env::current_dir() {
        Ok(dir) if plan.workdir.is_empty() && !plan.rooted => dir.to_string_lossy().into_owned(),
        _ => plan.workdir.clone(),
    }
}

fn cgroup(group: &Group) -> Cgroup {
    Cgroup {
        mount: group.mount.to_string_lossy().into_owned(),
        dir: group.dir.to_string_lossy().into_owned(),
        v2: group.version == Version::V2,
        controllers: group.names.clone(),
    }
}

fn user_namespace(plan: &Plan, inherited: &Inherited) -> Option<UserNamespace> {
    let (maps, own) = (plan.userns.as_ref()?, inherited.userns.as_ref()?);
    Some(UserNamespace {
        inode: rustix::fs::fstat(own).ok()?.st_ino,
        uid_map: Maps::text(&maps.users),
        gid_map: Maps::text(&maps.groups),
    })
}

/// Those that the clone made are the process's from its first moment on; it still has to join the others, but they are open here.
fn namespaces(plan: &Plan, process: &Process, inherited: &Inherited) -> Namespaces {
    let mut found = Namespaces::new();
    let own_network = plan.steps.iter().any(|step| matches!(step.op, Op::NewNetwork));
    for (kind, name) in NAMESPACES {
        let joined = plan.joined.iter().zip(&inherited.namespaces).find(|(known, _)| **known == kind);
        let inode = match joined {
            Some((_, fd)) => rustix::fs::fstat(fd).map(|stat| stat.st_ino),
            None if plan.clone_flags as u32 & kind != 0 || kind == k::CLONE_NEWNET && own_network => {
                rustix::fs::statat(CWD, format!("/proc/{}/ns/{name}", process.pid), AtFlags::empty())
                    .map(|stat| stat.st_ino)
            }
            None => continue,
        };
        if let Ok(inode) = inode {
            found.insert(name.into(), inode);
        }
    }
    // Where this process is, too.
    if userns::own().is_some()
        && let Ok(stat) = rustix::fs::statat(CWD, c"/proc/self/ns/user", AtFlags::empty())
    {
        found.insert("user".into(), stat.st_ino);
    }
    found
}
