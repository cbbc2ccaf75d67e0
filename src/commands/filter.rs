//! `--filter KEY=VALUE`: which containers a listing has, or a removal takes.

use super::container::Container;
use super::ps;
use crate::error::{Error, Result};
use crate::linux::clock;
use crate::spec;
use crate::state::Phase;

pub(super) struct Filter<'a> {
    pub(super) key: &'static str,
    value: &'a str,
    /// The exit code of `exited`, the seconds since the epoch of `until`.
    number: u64,
}

const STATES: [&str; 5] = ["created", "running", "paused", "restarting", "exited"];

/// Those of `keys` that were typed.
pub(super) fn read<'a>(typed: &'a [String], keys: &[&'static str]) -> Result<Vec<Filter<'a>>> {
    let one = |typed: &'a String| {
        let found = typed.split_once('=').and_then(|(key, value)| {
            let key = *keys.iter().find(|known| **known == key)?;
            Some(Filter { key, value, number: 0 }).filter(|_| !value.is_empty())
        });
        let mut filter = found.ok_or_else(|| {
            Error::new(format_args!("--filter {typed} is unknown"))
                .hint(format_args!("it is KEY=VALUE, KEY one of {}", keys.join(", ")))
        })?;
        let wrong = |hint: &str| Error::new(format_args!("--filter {typed}: there is no such value")).hint(hint);
        match filter.key {
            "until" => filter.number = spec::moment("--filter until", filter.value, clock::epoch())?.0,
            "exited" => {
                filter.number = filter.value.parse::<u8>().map_err(|_| wrong("exit codes are 0 to 255"))?.into();
            }
            "status" if !STATES.contains(&filter.value) => return Err(wrong(&STATES.join(", "))),
            _ => {}
        }
        Ok(filter)
    };
    typed.iter().map(one).collect()
}

/// docker's way: of several of one key one is enough, but a container has all labels.
pub(super) fn fit(filters: &[Filter], container: &Container) -> bool {
    let like = |filter: &Filter| {
        filter.key != "label" && filters.iter().any(|other| other.key == filter.key && other.fits(container))
    };
    filters.iter().all(|filter| filter.fits(container) || like(filter))
}

impl Filter<'_> {
    fn fits(&self, container: &Container) -> bool {
        let record = container.record();
        match self.key {
            "status" => ps::state(container) == self.value,
            "exited" => {
                let code = container.entry.status.map(|status| u64::from(status.code));
                container.phase() == Phase::Exited && code == Some(self.number)
            }
            "until" => record.created < self.number,
            "name" => is_in(self.value, &record.name),
            "id" => is_in(self.value, &record.id),
            _ => {
                let (name, value) =
                    self.value.split_once('=').map_or((self.value, None), |(name, value)| (name, Some(value)));
                let found = record.labels.as_ref().and_then(|labels| labels.get(name));
                found.is_some_and(|found| value.is_none_or(|value| found == value))
            }
        }
    }
}

/// A part of it; of regular expressions, ^ at the beginning and $ at the end.
fn is_in(part: &str, whole: &str) -> bool {
    let (start, from) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
    let (end, part) = from.strip_suffix('$').map_or((false, from), |rest| (true, rest));
    match (start, end) {
        (true, true) => whole == part,
        (true, false) => whole.starts_with(part),
        (false, true) => whole.ends_with(part),
        (false, false) => whole.contains(part),
    }
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    let _ = read(&[text.to_string()], &["status", "exited", "until", "name", "label"]);
    let (part, whole) = text.split_once(' ').unwrap_or((text, text));
    let _ = is_in(part, whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_name() {
        for (part, fits) in
            [("e", true), ("^we", true), ("b$", true), ("^web$", true), ("^eb", false), ("we$", false)]
        {
            assert_eq!(is_in(part, "web"), fits, "{part}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let refused = |typed: &str| read(&[typed.to_string()], &["status", "exited"]).err().unwrap().to_string();
        assert_eq!(refused("size=1"), "--filter size=1 is unknown (it is KEY=VALUE, KEY one of status, exited)");
        assert_eq!(refused("exited=256"), "--filter exited=256: there is no such value (exit codes are 0 to 255)");
        assert!(refused("status=dead").ends_with("(created, running, paused, restarting, exited)"));
        assert!(refused("status=").contains("unknown"));
    }
}
