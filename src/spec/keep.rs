//! What a container is that lives on without its starter.

use super::{Health, limits};
use crate::cli;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keep {
    /// Everything but the command's start: `start` does that.
    pub(crate) wait_for_start: bool,
    /// `--rm`.
    pub(crate) remove: bool,
    /// Bytes after which the log is begun anew (the one before is kept); None: there is no log.
    pub(crate) log: Option<u64>,
    pub(crate) restart: Restart,
    /// Somebody asks from time to time whether it is well.
    pub(crate) health: Option<Health>,
    /// Standard input stays open for `attach`.
    pub(crate) interactive: bool,
}

/// When the command is started again after its end (docker's policies).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Restart {
    No,
    /// When its code is not 0; at most so many times, 0 for no end.
    OnFailure(u32),
    Always,
    /// As always: there is no daemon that could start it after a boot.
    UnlessStopped,
}

/// What the log may take before it is begun anew.
const LOG_SIZE: u64 = 1 << 20;

impl Keep {
    /// None: it ends with its starter.
    pub(super) fn new(run: &cli::Run, own_pids: bool) -> Result<Option<Self>> {
        let restart = run.restart.as_deref().map_or(Ok(Restart::No), restart)?;
        if !run.detach && !run.create {
            let misplaced = [
                ("--restart", restart != Restart::No),
                ("--log", run.log.is_some()),
                ("--log-size", run.log_size.is_some()),
                ("--cidfile", run.cidfile.is_some()),
                ("--health-cmd", run.health.command.is_some()),
            ];
            return match misplaced.into_iter().find(|(_, given)| *given) {
                Some((option, _)) => Err(Error::new(format_args!("{option} is for a container that lives on"))
                    .hint("add --detach: in the foreground, the container ends with nsctl")),
                None => Ok(None),
            };
        }
        if !own_pids {
            return Err(Error::new("--detach and --pid contradict each other")
                .hint("nsctl inside can keep a container only as PID 1 of its own PID namespace"));
        }
        if run.no_init {
            return Err(Error::new(
                "--no-init: nobody would keep the log and the exit status of a detached container",
            )
            .hint("leave it out: nsctl as PID 1 does that"));
        }
        if run.rm && restart != Restart::No {
            return Err(Error::new("--rm and --restart contradict each other"));
        }
        let health = Health::new(&run.health)?.map(|(times, _)| times);
        if health.is_some() && run.cgroup.delegate {
            return Err(Error::new("--health-cmd and --cgroup-delegate contradict each other")
                .hint("in a group that is handed over, only its owner starts commands"));
        }
        Ok(Some(Self {
            health,
            wait_for_start: run.create,
            remove: run.rm,
            log: log(run)?,
            restart,
            interactive: run.interactive,
        }))
    }
}

impl Restart {
    pub(crate) fn text(self) -> String {
        match self {
            Self::No => "no".into(),
            Self::OnFailure(0) => "on-failure".into(),
            Self::OnFailure(times) => format!("on-failure:{times}"),
            Self::Always => "always".into(),
            Self::UnlessStopped => "unless-stopped".into(),
        }
    }
}

fn restart(typed: &str) -> Result<Restart> {
    let wrong = || {
        Error::new(format_args!("--restart {typed} is unknown"))
            .hint("it is no, on-failure, on-failure:TIMES, always or unless-stopped")
    };
    match typed.split_once(':') {
        None => match typed {
            "no" => Ok(Restart::No),
            "on-failure" => Ok(Restart::OnFailure(0)),
            "always" => Ok(Restart::Always),
            "unless-stopped" => Ok(Restart::UnlessStopped),
            _ => Err(wrong()),
        },
        Some(("on-failure", times)) => times.parse().map(Restart::OnFailure).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

fn log(run: &cli::Run) -> Result<Option<u64>> {
    let size = run.log_size.as_deref().map(|typed| limits::size("--log-size", typed)).transpose()?;
    match (run.log.as_deref(), size) {
        (Some("none"), None) => Ok(None),
        (Some("none"), Some(_)) => Err(Error::new("--log none and --log-size contradict each other")),
        (Some("file") | None, size) => match size.unwrap_or(LOG_SIZE) {
            // A line and its head must fit.
            4096.. => Ok(size.or(Some(LOG_SIZE))),
            size => Err(Error::new(format_args!("--log-size {size} is too small")).hint("4k is the least")),
        },
        (Some(other), _) => Err(Error::new(format_args!("--log {other} is unknown")).hint("it is file or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(change: impl Fn(&mut cli::Run)) -> Result<Option<Keep>> {
        let mut run = cli::Run { detach: true, ..cli::Run::default() };
        change(&mut run);
        Keep::new(&run, true)
    }

    #[test]
    fn policies() {
        for (typed, wanted) in [
            ("no", Restart::No),
            ("on-failure", Restart::OnFailure(0)),
            ("on-failure:3", Restart::OnFailure(3)),
            ("always", Restart::Always),
            ("unless-stopped", Restart::UnlessStopped),
        ] {
            assert_eq!(restart(typed).unwrap(), wanted);
            assert_eq!(wanted.text(), typed);
        }
        for typed in ["", "yes", "on-failure:", "on-failure:-1", "always:3"] {
            assert!(restart(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn what_only_a_kept_one_has() {
        let plain = keep(|_| {}).unwrap().unwrap();
        assert_eq!((plain.log, plain.restart, plain.remove), (Some(1 << 20), Restart::No, false));
        assert_eq!(keep(|run| run.log = Some("none".into())).unwrap().unwrap().log, None);
        assert!(keep(|run| run.log_size = Some("1k".into())).is_err());
        assert!(keep(|run| run.no_init = true).is_err());
        assert!(keep(|run| (run.rm, run.restart) = (true, Some("always".into()))).is_err());
        assert!(keep(|run| (run.detach, run.restart) = (false, Some("always".into()))).is_err());
        assert!(keep(|run| run.detach = false).unwrap().is_none());
    }
}
