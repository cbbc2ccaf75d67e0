//! Times and durations, as docker takes them.

use crate::error::{Error, Result};

const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of a duration as Go writes it: numbers with units, such as 1h30m, 1.5s or 200ms.
pub(crate) fn duration(option: &str, typed: &str) -> Result<u64> {
    span(typed).ok_or_else(|| {
        Error::new(format_args!("{option} {typed} is not a duration")).hint("such as 30s, 1m30s or 500ms")
    })
}

/// A point in time: seconds since the epoch with an optional fraction, RFC 3339, or how long ago. `now` and the result are seconds
/// and nanoseconds.
pub(crate) fn moment(option: &str, typed: &str, now: (u64, u32)) -> Result<(u64, u32)> {
    let since_epoch = || {
        let (seconds, fraction) = typed.split_once('.').unwrap_or((typed, "0"));
        Some((number(seconds)?, fraction_nanos(fraction)?))
    };
    let ago = || {
        let then = (now.0 * SECOND + u64::from(now.1)).saturating_sub(span(typed)?);
        Some((then / SECOND, (then % SECOND) as u32))
    };
    since_epoch().or_else(ago).or_else(|| date(typed)).ok_or_else(|| {
        Error::new(format_args!("{option} {typed} is not a time"))
            .hint("such as 10m (ago), 2026-01-31T12:00:00Z or 1767225600")
    })
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.len() < 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The digits behind a point, in billionths.
fn fraction_nanos(digits: &str) -> Option<u32> {
    number(digits)?;
    let kept = &digits[..digits.len().min(9)];
    Some(number(kept)? as u32 * 10u32.pow(9 - kept.len() as u32))
}

fn span(typed: &str) -> Option<u64> {
    let mut rest = typed;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], "0"));
        let length = match &rest[digits..unit] {
            "h" => 3600 * SECOND,
            "m" => 60 * SECOND,
            "s" => SECOND,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        // Of less than a microsecond there are no parts.
        let part = length / 1_000 * u64::from(fraction_nanos(fraction)?) / 1_000_000;
        total = total.checked_add(number(whole)?.checked_mul(length)?)?.checked_add(part)?;
        rest = &rest[unit..];
    }
    (!typed.is_empty()).then_some(total)
}

/// RFC 3339, of which the time, its fraction and the zone (else it is UTC) may be missing.
fn date(typed: &str) -> Option<(u64, u32)> {
    let (day, time) = typed.split_once('T').unwrap_or((typed, "00:00:00Z"));
    let (time, offset) = zone(time)?;
    let mut parts = day.split('-');
    let mut next = |digits: usize| parts.next().filter(|part| part.len() == digits).and_then(number);
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = time.split(':');
    let mut next = |most: u64| match clock.next() {
        Some(part) => number(part).filter(|value| part.len() == 2 && *value <= most),
        None => Some(0),
    };
    let (hour, minute, second) = (next(23)?, next(59)?, next(60)?);
    if parts.next().is_some() || clock.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // As in clock::stamp: a year that begins in March has its leap day at the end.
    let (year, shifted) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * shifted + 2) / 5 + day - 1;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds.checked_add_signed(-offset)?, fraction_nanos(fraction)?))
}

/// The time without its zone, and how many seconds that is ahead of UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.find(['+', '-']) else { return Some((time, 0)) };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let seconds = (number(hours).filter(|hours| *hours < 24)? * 3600 + number(minutes)? * 60) as i64;
    Some((&time[..at], if time[at..].starts_with('-') { -seconds } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (typed, nanos) in [
            ("1s", SECOND),
            ("1h1m1s", 3661 * SECOND),
            ("1.5s", SECOND * 3 / 2),
            ("500ms", SECOND / 2),
            ("1m30s", 90 * SECOND),
            ("3us", 3000),
            ("0s", 0),
        ] {
            assert_eq!(duration("--x", typed).unwrap(), nanos, "{typed}");
        }
        for typed in ["", "1", "s", "1x", "-1s", "1.s", "1..2s", "99999999999999999h", "1s2"] {
            assert!(duration("--x", typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn moments() {
        let now = (1_000, 5);
        for (typed, then) in [
            ("0", (0, 0)),
            ("12.25", (12, 250_000_000)),
            ("10s", (990, 5)),
            ("1h", (0, 0)),
            ("1970-01-02", (86_400, 0)),
            ("2000-02-29T00:00:01Z", (951_782_401, 0)),
            ("2024-03-01T01:00:00.5+01:00", (1_709_251_200, 500_000_000)),
            ("2024-02-29T23:00-01:00", (1_709_251_200, 0)),
        ] {
            assert_eq!(moment("--since", typed, now).unwrap(), then, "{typed}");
        }
        for typed in
            ["", "x", "1970-13-01", "1970-1-01", "1970-01-01T25:00:00Z", "1969-12-31", "1970-01-01T00:00:00+1"]
        {
            assert!(moment("--since", typed, now).is_err(), "{typed}");
        }
        for typed in ["0.12345678ü", "1.ü", "2024-01-01T00:00:00+99999999999999999:00", "2024-01-01T00:00:00+24:00"]
        {
            assert!(moment("--since", typed, now).is_err(), "{typed}");
        }
    }
}
