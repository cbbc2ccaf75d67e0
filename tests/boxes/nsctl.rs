//! Runs nsctl, masked or not, and hands back what came of it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::masked;

pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary under test.
pub(crate) fn binary() -> String {
    std::env::var("NSCTL").unwrap_or_else(|_| "target/x86_64-unknown-linux-musl/release/nsctl".into())
}

/// This program, for probes.
pub(crate) fn own() -> String {
    std::env::current_exe().unwrap().to_string_lossy().into_owned()
}

/// State of these tests, apart from that of the machine's own containers.
pub(crate) fn state() -> &'static PathBuf {
    static STATE: OnceLock<PathBuf> = OnceLock::new();
    STATE.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    })
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = match masked::current() {
        None => Command::new(binary()),
        Some((call, errno)) => {
            let mut command = Command::new(own());
            command.args(["masked", call, errno, &binary()]);
            command
        }
    };
    command.args(args).env("NSCTL_ROOT", state()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How long a test waits for what must come: no target for anybody. Emulation is slow.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if std::env::var_os("NSCTL_QEMU").is_some() { 400 } else { 60 })
}

/// An nsctl that runs; a test that gives up early ends and reaps it.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("start nsctl")))
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.0.as_mut().and_then(|child| child.stdout.take()).expect("a pipe, taken once")
    }

    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.0.as_mut().and_then(|child| child.stdin.take()).expect("a pipe, taken once")
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = self.0.as_ref().map_or(0, Child::id);
        // SAFETY: the pid is our unreaped child's. The raw call takes the numbers that the C library reserves, too.
        unsafe { libc::syscall(libc::SYS_kill, pid, signal) };
    }

    /// Whether a descriptor of it leads to something of this kind: by that one sees what it waits for.
    pub(crate) fn has_open(&self, kind: &str) -> bool {
        let pid = self.0.as_ref().map_or(0, Child::id);
        let leads = |entry: std::fs::DirEntry| std::fs::read_link(entry.path());
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(leads);
        links.flatten().any(|link| link.to_string_lossy().contains(kind))
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Err: it still runs then.
    pub(crate) fn end_within(&mut self, time: Duration) -> Result<(), String> {
        let end = std::time::Instant::now() + time;
        while self.runs() {
            if std::time::Instant::now() > end {
                return Err(format!("nsctl still runs after {time:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn spawn(args: &[&str]) -> Running {
    Running::start(&mut command(args))
}

pub(crate) fn outcome(mut running: Running) -> Outcome {
    let output = running.0.take().unwrap().wait_with_output().unwrap();
    use std::os::unix::process::ExitStatusExt;
    Outcome {
        code: output.status.code().unwrap_or_else(|| -output.status.signal().unwrap_or(0)),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn nsctl(args: &[&str]) -> Outcome {
    outcome(spawn(args))
}

/// `nsctl run OPTIONS -- sh -c SCRIPT`.
pub(crate) fn shell(options: &[&str], script: &str) -> Outcome {
    let mut args = vec!["run"];
    args.extend(options);
    args.extend(["--", "sh", "-c", script]);
    nsctl(&args)
}

pub(crate) fn with_input(args: &[&str], input: &str) -> Outcome {
    let mut running = Running::start(command(args).stdin(Stdio::piped()));
    let stdin = running.0.as_mut().and_then(|child| child.stdin.take());
    stdin.unwrap().write_all(input.as_bytes()).unwrap();
    outcome(running)
}

/// Fails with all that nsctl said, unless `right`.
pub(crate) fn must(right: bool, what: &str, outcome: &Outcome) -> Result<(), Failed> {
    if right {
        return Ok(());
    }
    Err(format!("{what}\nexit {}\nstdout: {}\nstderr: {}", outcome.code, outcome.out, outcome.err).into())
}
