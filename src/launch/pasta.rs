//! The program pasta (of passt), which hands the packets of a network namespace to sockets of its own in the host's: a network
//! without any right over the host's.
//!
//! It is told of the namespace by a symbolic link, `netns` in the container's directory, which leads to what is its standard input,
//! and it ends when that link is removed (`--no-netns-quit` of pasta(1)), by whoever clears up. By the path of /proc/PID/ns/net it
//! could not open it, for it gives up CAP_SYS_PTRACE first; and for the same reason it stays root, without any capability but that
//! of low ports: nobody else may enter the directory.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::linux::file;
use crate::linux::net::Refusal;
use crate::linux::process::{self, Ended, Process, Spawned};
use crate::linux::sys::{self, StringArray};

/// What it says is a few lines.
const MOST: usize = 4096;

/// Starts it for the namespace of the container, and waits until it is at work.
#[inline(never)]
pub(super) fn start(
    container: &Process,
    netns: &CString,
    program: &CString,
    words: &[CString],
    mask: u64,
) -> Result<(), Refusal> {
    let namespace = CString::new(format!("/proc/{}/ns/net", container.pid)).unwrap_or_default();
    let namespace = file::open(CWD, &namespace)?;
    // One of an earlier start that was killed.
    let _ = rustix::fs::unlinkat(CWD, netns, AtFlags::empty());
    rustix::fs::symlinkat(c"/proc/self/fd/0", CWD, netns)?;
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let argv = StringArray::new(words.to_vec());
    let envp = StringArray::new(Vec::new());
    let child = match process::spawn(0, None)? {
        Spawned::Child { .. } => {
            let _ = execute(&namespace, &write, mask).map(|()| sys::execve(program, &argv, &envp, None));
            sys::exit(127)
        }
        Spawned::Parent(child) => child,
    };
    drop(write);
    let said = listen(&read);
    match child.wait()? {
        Ended::Exited(0) => Ok(()),
        Ended::Exited(127) => Err(Refusal { errno: Errno::NOEXEC, said }),
        _ => Err(Refusal { errno: Errno::IO, said }),
    }
}

fn execute(namespace: &OwnedFd, write: &OwnedFd, mask: u64) -> Result<(), Errno> {
    rustix::stdio::dup2_stdin(namespace)?;
    rustix::stdio::dup2_stdout(write)?;
    rustix::stdio::dup2_stderr(write)?;
    sys::block_exactly(mask).map(drop)
}

/// The first thing it says until it goes into the background, without its complaints that there is no syslog.
fn listen(read: &OwnedFd) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 512];
    loop {
        match rustix::io::read(read, &mut buffer) {
            Err(Errno::INTR) => {}
            Ok(0) | Err(_) => break,
            Ok(length) if bytes.len() < MOST => bytes.extend_from_slice(&buffer[..length]),
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let word = |line: &&str| !line.is_empty() && !line.contains("syslog");
    // What follows is how it is to be called.
    let line = text.lines().find(word).unwrap_or_default();
    line.strip_prefix("pasta: ").unwrap_or(line).into()
}
