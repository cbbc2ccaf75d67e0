//! SCMP_ACT_NOTIFY: somebody outside decides.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use libtest_mimic::Failed;

use super::Note;
use super::tried::answer_one;
use crate::life::until;
use crate::nsctl::{must, nsctl, outcome, spawn};

/// A socket at which somebody listens.
struct Agent {
    path: std::path::PathBuf,
    socket: UnixListener,
}

impl Agent {
    fn new() -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("nsctl-agent-{}", std::process::id()));
        let socket = UnixListener::bind(&path)?;
        Ok(Self { path, socket })
    }

    fn profile(&self) -> Result<Note, Failed> {
        Note::new(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"{}","listenerMetadata":"a \"word\"",
                "syscalls":[{{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_NOTIFY"}}]}}"#,
            self.path.display()
        ))
    }

    /// What is told, and the descriptor that comes with it.
    fn told(&self) -> Result<(String, OwnedFd), Failed> {
        let (stream, _) = self.socket.accept()?;
        receive(&stream)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn receive(stream: &UnixStream) -> Result<(String, OwnedFd), Failed> {
    let mut bytes = [0u8; 4096];
    let mut part = IoSliceMut::new(&mut bytes);
    let mut control = [0u64; 8];
    // SAFETY: plain numbers and pointers to what is there until the call has returned.
    let (length, fd) = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = (&raw mut part).cast();
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        let length = libc::recvmsg(stream.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if length <= 0 || first.is_null() {
            return Err("no descriptor came".into());
        }
        (length as usize, OwnedFd::from_raw_fd(std::ptr::read_unaligned(libc::CMSG_DATA(first).cast::<i32>())))
    };
    Ok((String::from_utf8_lossy(&bytes[..length]).into_owned(), fd))
}

/// In the foreground, in the background, and for what is started later.
pub(super) fn asked() -> Result<(), Failed> {
    let agent = Agent::new()?;
    let profile = agent.profile()?;
    let option = profile.option();
    let running = spawn(&["run", "--security-opt", &option, "--", "mkdir", "/tmp/nsctl-asked"]);
    let (text, listener) = agent.told()?;
    until("mkdir asks", || answer_one(&listener, libc::EXDEV))?;
    let done = outcome(running);
    must(done.code == 1 && done.err.contains("ross-device link"), "the answer is the agent's", &done)?;
    for wanted in [r#""fds":["seccompFd"]"#, r#""metadata":"a \"word\"""#, r#""status":"creating""#, r#""pid":"#] {
        must(text.contains(wanted), &format!("{wanted} in {text}"), &done)?;
    }
    let name = format!("asked-{}", std::process::id());
    let running = spawn(&["run", "-d", "--rm", "--name", &name, "--security-opt", &option, "--", "sleep", "1000"]);
    let (_, kept) = agent.told()?;
    let started = outcome(running);
    must(started.code == 0, "it starts", &started)?;
    let running = spawn(&["exec", &name, "mkdir", "/tmp/nsctl-asked"]);
    let (_, listener) = agent.told()?;
    until("mkdir asks by exec", || answer_one(&listener, libc::EXDEV))?;
    let done = outcome(running);
    drop(kept);
    let stopped = nsctl(&["stop", "-t", "0", &name]);
    must(stopped.code == 0, "it ends", &stopped)?;
    must(done.code == 1 && done.err.contains("ross-device link"), "that of exec, too", &done)?;
    // Its queue is full, and it takes nobody.
    // SAFETY: a descriptor and a number.
    unsafe { libc::listen(agent.socket.as_raw_fd(), 0) };
    let _waits = UnixStream::connect(&agent.path)?;
    let done = nsctl(&["run", "--security-opt", &option, "--", "mkdir", "/tmp/nsctl-asked"]);
    must(done.code == 125 && done.err.contains("EAGAIN"), "nobody is waited for without end", &done)?;
    drop(agent);
    let done = nsctl(&["run", "--security-opt", &option, "--", "mkdir", "/tmp/nsctl-asked"]);
    must(done.code == 125 && done.err.contains("hand the seccomp listener to"), "nobody listens", &done)?;
    let done =
        nsctl(&["run", "-d", "--restart", "always", "--security-opt", &option, "--", "mkdir", "/tmp/nsctl-asked"]);
    must(done.code == 125 && done.err.contains("--restart"), "nobody would be told", &done)
}
