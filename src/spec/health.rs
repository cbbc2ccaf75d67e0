//! How it is found out whether a container is healthy.

use std::ffi::CString;

use super::time::duration;
use crate::cli;
use crate::error::{Error, Result};

/// Milliseconds; docker's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Health {
    pub(crate) interval: u64,
    pub(crate) timeout: u64,
    /// Failures before that count only once it was healthy.
    pub(crate) start_period: u64,
    /// So many failures one after the other are unhealthy.
    pub(crate) retries: u32,
}

impl Health {
    /// The times, and the words of the command. None: nobody looks.
    pub(super) fn new(typed: &cli::Health) -> Result<Option<(Self, Vec<CString>)>> {
        let others = [&typed.interval, &typed.timeout, &typed.retries, &typed.start_period];
        let Some(command) = &typed.command else {
            return match others.iter().any(|option| option.is_some()) {
                true => Err(Error::new("--health-interval and the like need --health-cmd")),
                false => Ok(None),
            };
        };
        if typed.none {
            return Err(Error::new("--health-cmd and --no-healthcheck contradict each other"));
        }
        let time = |option: &str, typed: &Option<String>, default: u64| match typed {
            Some(typed) => duration(option, typed).map(|nanoseconds| nanoseconds / 1_000_000),
            None => Ok(default),
        };
        let health = Self {
            interval: time("--health-interval", &typed.interval, 30_000)?,
            timeout: time("--health-timeout", &typed.timeout, 30_000)?,
            start_period: time("--health-start-period", &typed.start_period, 0)?,
            retries: super::number("--health-retries", typed.retries.as_deref(), 1_000_000)?.unwrap_or(3),
        };
        if health.interval == 0 || health.timeout == 0 || health.retries == 0 {
            return Err(Error::new("--health-interval and --health-timeout are 1ms at least, --health-retries is 1"));
        }
        let words = ["/bin/sh", "-c", command].map(CString::new);
        let words: std::result::Result<Vec<_>, _> = words.into_iter().collect();
        Ok(Some((health, words.map_err(|_| Error::new("--health-cmd has a NUL byte in it"))?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_times() {
        let typed = |interval: Option<&str>, command: Option<&str>| cli::Health {
            command: command.map(String::from),
            interval: interval.map(String::from),
            ..cli::Health::default()
        };
        let (health, words) = Health::new(&typed(Some("1m500ms"), Some("test -e /x"))).unwrap().unwrap();
        assert_eq!((health.interval, health.timeout, health.start_period, health.retries), (60_500, 30_000, 0, 3));
        assert_eq!(words, [c"/bin/sh".to_owned(), c"-c".to_owned(), c"test -e /x".to_owned()]);
        assert!(Health::new(&typed(None, None)).unwrap().is_none());
        for (interval, command) in [(Some("1s"), None), (Some("0s"), Some("x")), (Some("1"), Some("x"))] {
            assert!(Health::new(&typed(interval, command)).is_err());
        }
        assert!(Health::new(&cli::Health { none: true, ..typed(None, Some("x")) }).is_err());
    }
}
