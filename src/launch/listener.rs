//! Who decides about system calls: a program of the host's, at a unix socket that the profile names (OCI runtime specification,
//! config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use miniserde::json;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Result};
use crate::linux::socket;
use crate::plan::Plan;
use crate::seccomp::Listener;

/// How long it may be busy with others.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends it the descriptor by which the kernel asks, and whose it is. What the command calls before that waits.
pub(super) fn hand_over(plan: &Plan, pid: i32, fd: OwnedFd) -> Result<()> {
    let Some(Listener { path, metadata }) = plan.listener() else { return Ok(()) };
    let (id, metadata) = (json::to_string(&plan.id), json::to_string(metadata));
    let state = format!(r#"{{"ociVersion":"1.0.2","id":{id},"status":"creating","pid":{pid},"bundle":""}}"#);
    let text =
        format!(r#"{{"ociVersion":"1.0.2","fds":["seccompFd"],"pid":{pid},"metadata":{metadata},"state":{state}}}"#);
    let send = || {
        let kind = SocketType::STREAM;
        let to = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // Until then signals wait.
        set_socket_timeout(&to, Timeout::Send, Some(PATIENCE))?;
        rustix::net::connect(&to, &SocketAddrUnix::new(path.as_str())?)?;
        socket::send(&to, text.as_bytes(), Some(fd.as_fd()))
    };
    send().map_err(|errno: Errno| {
        Error::os(format_args!("hand the seccomp listener to {path}"), errno)
            .hint("a program must listen there, at a stream socket, that accepts and answers what the kernel asks: listenerPath in the profile")
    })
}
