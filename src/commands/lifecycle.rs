//! The verbs that start and end containers: start, stop, restart, kill, wait, rm, pause, unpause.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::container::{self, Container, REFUSED, done, each, each_of};
use super::{print, start};
use crate::cli;
use crate::error::{Error, Result};
use crate::linux::process;
use crate::network;
use crate::spec;
use crate::state::events::Value;
use crate::state::{self, Phase, State, Status};

/// docker's.
pub(super) const STOP_SECONDS: u64 = 10;
/// What SIGKILL needs, with the clearing up after it.
const KILL_MILLISECONDS: u64 = 10_000;
/// Between two looks.
const STEP_MILLISECONDS: u64 = 5;

#[inline(never)]
pub(crate) fn verb(typed: &cli::Verb) -> Result<u8> {
    if !["start", "restart"].contains(&typed.name) {
        container::allow_many();
    }
    match typed.name {
        "start" => each(typed, |container, word| {
            start::start(container)?;
            done(word)
        }),
        "stop" => stop(typed),
        "restart" => {
            let (seconds, signal) = limits(typed)?;
            each(typed, |container, word| {
                end(container, seconds, signal)?;
                let ended = container.again().ok_or_else(|| container.refused("is gone: it was made with --rm"))?;
                start::start(&ended)?;
                container.note("restart", &[]);
                done(word)
            })
        }
        "kill" => kill(typed),
        "wait" => each(typed, |container, _| wait(container)),
        "rm" => rm(typed),
        "pause" => each(typed, |container, word| pause(container, true).and_then(|()| done(word))),
        _ => each(typed, |container, word| pause(container, false).and_then(|()| done(word))),
    }
}

/// `--time` and `--signal`.
fn limits(typed: &cli::Verb) -> Result<(Option<u64>, Option<i32>)> {
    let seconds = typed.time.as_deref().map(|text| {
        text.parse::<i64>().map_err(|_| {
            Error::new(format_args!("--time {text} is not a number of seconds"))
                .hint("-1 waits for ever, 0 kills at once")
        })
    });
    let seconds = seconds.transpose()?.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX));
    Ok((seconds, signal(typed)?))
}

fn signal(typed: &cli::Verb) -> Result<Option<i32>> {
    let known = |text: &String| {
        spec::signal(text).ok_or_else(|| {
            Error::new(format_args!("--signal {text} is no signal")).hint("such as TERM, SIGQUIT, RTMIN+3 or 15")
        })
    };
    typed.signal.as_ref().map(known).transpose()
}

/// All are asked to end before the first is waited for.
fn stop(typed: &cli::Verb) -> Result<u8> {
    let (seconds, signal) = limits(typed)?;
    let containers = container::named(typed)?;
    let asked: Vec<_> = containers
        .into_iter()
        .map(|(word, found)| (word, found.and_then(|container| ask_to_end(&container, signal).map(|()| container))))
        .collect();
    let code = each_of(asked, |container, word| {
        await_end(container, seconds)?;
        container.note("stop", &[]);
        done(word)
    });
    tell_who_is_left();
    Ok(code)
}

/// Its signal, some time, SIGKILL. One that has ended stays as it is.
fn end(container: &Container, seconds: Option<u64>, signal: Option<i32>) -> Result<()> {
    ask_to_end(container, signal)?;
    await_end(container, seconds)
}

fn ask_to_end(container: &Container, signal: Option<i32>) -> Result<()> {
    let phase = container.phase();
    if phase == Phase::Exited {
        return Ok(());
    }
    not_again(container)?;
    if phase == Phase::Created {
        // There is no command yet.
        give_back(container);
        return container.process().map_or(Ok(()), |process| {
            let _ = process.kill(libc::SIGKILL);
            Ok(())
        });
    }
    let signal = signal.or(container.record().stop_signal).unwrap_or(libc::SIGTERM);
    // If it cannot be sent, the container has just ended, or SIGKILL comes in the end.
    let _ = container.signal(signal);
    // What stands still takes no signal.
    thaw(container);
    Ok(())
}

fn await_end(container: &Container, seconds: Option<u64>) -> Result<()> {
    if container.phase() == Phase::Exited {
        return Ok(());
    }
    let Ok(process) = container.process() else { return Ok(()) };
    let seconds = seconds.or(container.record().stop_timeout).unwrap_or(STOP_SECONDS);
    if !process.wait(seconds.checked_mul(1000)) {
        let _ = container.signal(libc::SIGKILL);
        thaw(container);
    }
    if !process.wait(Some(KILL_MILLISECONDS)) {
        // nsctl inside does not answer: with it all others end.
        let _ = process.kill(libc::SIGKILL);
        if !process.wait(Some(KILL_MILLISECONDS)) {
            return Err(container.refused("does not end, not even by SIGKILL").hint("it is stuck in the kernel"));
        }
    }
    Ok(())
}

/// Those that are left on networks are told who is gone, once for all of them.
fn tell_who_is_left() {
    for state in state::places().iter().filter_map(|place| State::open(place).ok()) {
        network::sweep(state.fd(), true);
    }
}

fn thaw(container: &Container) {
    if container.record().is_frozen() == Some(true) {
        let _ = container.record().groups().freeze(false);
    }
}

/// What is ended on purpose is not started again.
fn not_again(container: &Container) -> Result<()> {
    if !container.record().kept {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(container.dir(), state::STOPPING, flags, Mode::from_raw_mode(0o600)) {
        // ENOENT: somebody has just removed it.
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => {
            Err(Error::os(format_args!("note that container {} is to stop", container.shown()), errno).code(REFUSED))
        }
    }
}

fn kill(typed: &cli::Verb) -> Result<u8> {
    let signal = signal(typed)?.unwrap_or(libc::SIGKILL);
    each(typed, |container, word| {
        container.must_run()?;
        if signal == libc::SIGKILL {
            not_again(container)?;
        }
        container.signal(signal)?;
        container.note("kill", &[("signal", Value::Number(signal as u32))]);
        if signal == libc::SIGKILL {
            thaw(container);
        }
        done(word)
    })
}

/// Prints the exit code, when there is one.
fn wait(container: &Container) -> Result<()> {
    if !container.record().kept {
        return Err(container.refused("runs in the foreground").hint("its exit status goes to whoever started it"));
    }
    // Opened before the end, it can be read even if the container is removed then.
    let status = state::open_status(container.dir())
        .map_err(|errno| Error::os(format_args!("read the status of container {}", container.shown()), errno))?;
    if container.entry.alive
        && let Ok(process) = container.process()
    {
        process.wait(None);
    }
    let code = match Status::of(&status) {
        Some(status) if status.phase == Phase::Exited => status.code,
        // Its PID 1 was killed: to look at it is to settle it.
        _ => container.again().and_then(|container| container.entry.status).map_or(137, |status| status.code),
    };
    print(&format!("{code}\n"))
}

fn rm(typed: &cli::Verb) -> Result<u8> {
    let containers = container::named(typed)?;
    if typed.force {
        // All of them before the first is waited for.
        containers.iter().filter_map(|(_, found)| found.as_ref().ok()).for_each(kill_all_of);
    }
    let mut code = each_of(containers, |container, word| {
        remove(container, typed.force)?;
        done(word)
    });
    tell_who_is_left();
    // docker's rm -f of what is not there is content.
    if typed.force && !typed.all && code != 0 {
        let gone = |word: &String| container::find(word).is_err_and(|error| error.exit_code() == REFUSED);
        code = if typed.containers.iter().all(gone) { 0 } else { code };
    }
    Ok(code)
}

/// With its PID 1 all others end.
fn kill_all_of(container: &Container) {
    if container.entry.alive
        && not_again(container).is_ok()
        && let Ok(process) = container.process()
    {
        if container.record().lent().is_none() {
            let _ = process.kill(libc::SIGKILL);
        } else {
            let _ = container.signal(libc::SIGKILL);
        }
        thaw(container);
    }
}

/// What a container has of the host's comes back by nsctl inside, which is asked to end it, and only then killed.
fn give_back(container: &Container) {
    if container.record().lent().is_some()
        && container.signal(libc::SIGKILL).is_ok()
        && let Ok(process) = container.process()
    {
        thaw(container);
        process.wait(Some(KILL_MILLISECONDS));
    }
}

/// Ends it, if it may, and removes all of it.
pub(crate) fn remove(container: &Container, force: bool) -> Result<()> {
    if container.entry.alive && !force && container.phase() != Phase::Created {
        return Err(container.refused("runs").hint("stop it first, or rm --force"));
    }
    end_now(container)?;
    // Somebody who is just starting it, or clearing up after it, has it for a moment.
    for _ in 0..KILL_MILLISECONDS / STEP_MILLISECONDS {
        match container.state.reclaim(&container.record().id) {
            Ok(Some(claim)) => {
                // Its PID 1 may have been killed before it had cleared up; and update may have made groups since we looked.
                let latest = claim.record();
                let record = latest.as_ref().unwrap_or(container.record());
                container.state.remove_groups(record);
                container.state.remove(record);
                container.note("destroy", &[]);
                return Ok(());
            }
            Ok(None) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                let what = format!("remove container {}", container.shown());
                return Err(Error::os(what, errno).code(REFUSED));
            }
        }
        // None: what its end left is settled, and it was made with --rm, or somebody else has removed it.
        let Some(now) = container.again() else { return Ok(()) };
        if now.entry.alive && now.record().kept && !force {
            return Err(now.refused("was started again meanwhile"));
        }
        end_now(&now)?;
        process::pause(STEP_MILLISECONDS);
    }
    Err(container.refused("is held by somebody who starts or removes it"))
}

/// Kills it, if it lives, and waits until it is gone.
fn end_now(container: &Container) -> Result<()> {
    if container.entry.alive
        && let Ok(process) = container.process()
        // With its PID 1 gone, the lock is, too.
        && !process.wait(Some(0))
    {
        // Who starts it anew has made a new record, and hears of its end by itself.
        not_again(container)?;
        give_back(container);
        let _ = process.kill(libc::SIGKILL);
        thaw(container);
        if !process.wait(Some(KILL_MILLISECONDS)) {
            return Err(container.refused("does not end, not even by SIGKILL").hint("it is stuck in the kernel"));
        }
    }
    Ok(())
}

fn pause(container: &Container, still: bool) -> Result<()> {
    container.must_run()?;
    if container.record().is_frozen() == Some(still) {
        return Err(container.refused(if still { "is paused already" } else { "is not paused" }));
    }
    let act = if still { "pause" } else { "unpause" };
    container.record().groups().freeze(still).map_err(|errno| {
        let error = Error::os(format_args!("{act} container {}", container.shown()), errno).code(REFUSED);
        match errno {
            Errno::NOTSUP => error.hint(
                "it has no cgroup that can be frozen: it runs in the foreground without limits, an ordinary user started it without one of his own, or the kernel lacks CONFIG_CGROUP_FREEZER",
            ),
            Errno::TIMEDOUT => error.hint("a process of it is stuck in the kernel"),
            _ => error,
        }
    })?;
    container.note(act, &[]);
    Ok(())
}
