//! `nsctl attach` and `nsctl start --attach`: the streams of a container that lives on, here.

use std::os::fd::OwnedFd;

use super::container::{Container, find};
use super::start::{self, first_start};
use crate::cli;
use crate::error::{Error, Result, SIGNALED};
use crate::linux::tty::{self, Modes};
use crate::linux::{socket, sys};
use crate::monitor;
use crate::reaper::from_terminal;
use crate::relay::{Input, Keys, Over, Relay, Remote};
use crate::state::{self, Phase, Status};

#[inline(never)]
pub(crate) fn attach(typed: &cli::Verb) -> Result<u8> {
    let wanted = Wanted::new(typed, !typed.no_stdin)?;
    let container = find(&typed.containers[0])?;
    if container.phase() != Phase::Restarting {
        container.must_run()?;
    }
    if container.record().is_frozen() == Some(true) {
        return Err(container.refused("is paused").hint("nsctl unpause lets it go on"));
    }
    let socket = connect(&container)?;
    relay(&container, socket, wanted)
}

/// From the first byte of output on.
#[inline(never)]
pub(crate) fn start(typed: &cli::Verb) -> Result<u8> {
    let wanted = Wanted::new(typed, typed.interactive)?;
    let container = find(&typed.containers[0])?;
    if matches!(container.phase(), Phase::Running | Phase::Restarting) {
        let socket = connect(&container)?;
        return relay(&container, socket, wanted);
    }
    start::prepare(&container)?;
    let container = container.again().ok_or_else(|| container.refused("is gone"))?;
    let socket = connect(&container)?;
    first_start(&container)?;
    relay(&container, socket, wanted)
}

/// What was asked for, understood before anything is done.
struct Wanted {
    input: bool,
    proxy: bool,
    /// None: as the terminal is.
    keys: Option<Keys>,
}

impl Wanted {
    fn new(typed: &cli::Verb, input: bool) -> Result<Self> {
        let keys = typed.detach_keys.as_deref().map(Keys::parse).transpose()?;
        Ok(Self { input, proxy: !typed.no_proxy, keys })
    }
}

/// Its output comes from now on.
fn connect(container: &Container) -> Result<OwnedFd> {
    let socket = container.connect()?.ok_or_else(|| {
        container.refused("runs in the foreground of another nsctl").hint("its streams are those of that one")
    })?;
    socket::send(&socket, &[monitor::ATTACH], None)
        .map_err(|errno| Error::os(format_args!("attach to container {}", container.shown()), errno).code(1))?;
    Ok(socket)
}

fn relay(container: &Container, socket: OwnedFd, wanted: Wanted) -> Result<u8> {
    container.note("attach", &[]);
    let own_terminal = container.record().tty;
    let stdin = rustix::stdio::stdin();
    let modes = if own_terminal && wanted.input { Modes::of(stdin) } else { None };
    let off = modes.is_none() || !tty::has_keyboard(stdin);
    let keys = wanted.keys.unwrap_or_else(|| Keys::usual(off));
    if own_terminal && let Some(size) = tty::window() {
        // A size that it does not have, and then that which it has: it draws its screen anew.
        let other = [size.ws_row + 1, size.ws_col].map(u16::to_ne_bytes);
        let _ = socket::send(&socket, &[&[monitor::SIZE][..], other.as_flattened()].concat(), None);
    }
    sys::block_exactly(sys::ALL_SIGNALS).map_err(|errno| Error::os("set the signal mask", errno))?;
    // Opened before the end, it can be read even if the container is removed then.
    let status = state::open_status(container.dir()).ok();
    let mut relay = Relay::new(Remote::monitor(socket, own_terminal), Input::new(modes, wanted.input), keys);
    let ended = attend(container, &mut relay, wanted.proxy && !own_terminal);
    // The terminal is the caller's again.
    drop(relay);
    match ended {
        Ended::Over(Over::Ended(code)) => {
            // It says so before it leaves: who starts or removes it next is to find it gone.
            stays(container);
            Ok(code)
        }
        Ended::Over(Over::Detached) => {
            eprintln!("\nnsctl: detached from {}, which goes on", container.shown());
            Ok(0)
        }
        Ended::Over(Over::Closed) => closed(container, status),
        Ended::Told(signal) => Ok(SIGNALED + signal as u8),
    }
}

/// It was too late to be told, or did not read in time; or there is no place for one more.
#[cold]
fn closed(container: &Container, status: Option<OwnedFd>) -> Result<u8> {
    if stays(container) {
        return Err(container.refused("goes on: as many are attached as it can serve"));
    }
    match status.and_then(Status::of) {
        Some(status) if status.phase == Phase::Exited => Ok(status.code),
        _ => Err(container
            .refused("has ended, and nsctl inside could not tell how")
            .code(SIGNALED + libc::SIGKILL as u8)),
    }
}

/// Whether it does not end, given the time for it.
#[inline(never)]
fn stays(container: &Container) -> bool {
    container.process().is_ok_and(|process| !process.wait(Some(LEAVING)))
}

/// What nsctl inside needs at most for its own end, in milliseconds.
const LEAVING: u64 = 5000;

enum Ended {
    Over(Over),
    /// A signal told us to end.
    Told(i32),
}

fn attend(container: &Container, relay: &mut Relay, proxy: bool) -> Ended {
    loop {
        if let Some(over) = relay.turn(None) {
            return Ended::Over(over);
        }
        while let Some(taken) = sys::take_signal_within(Some(0)) {
            match taken.signal {
                libc::SIGWINCH => relay.resize(),
                libc::SIGCONT => relay.resume(),
                libc::SIGTSTP if from_terminal(taken) => {
                    let _ = sys::kill(rustix::process::getpid().as_raw_nonzero().get(), libc::SIGSTOP);
                }
                libc::SIGCHLD | libc::SIGPIPE | libc::SIGURG => {}
                // The window was closed: that is not the container's.
                libc::SIGHUP if taken.code == libc::SI_KERNEL => return Ended::Told(taken.signal),
                // It may end meanwhile: that is told soon.
                signal if proxy => drop(container.signal(signal)),
                libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGTERM => return Ended::Told(taken.signal),
                _ => {}
            }
        }
    }
}
