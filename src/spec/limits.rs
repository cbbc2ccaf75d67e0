//! How much the container may use.

use crate::cli;
use crate::error::{Error, Result};

/// Resource limits; what is None is not limited.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Microseconds of processor time per [`CPU_PERIOD`].
    pub(crate) cpu_quota: Option<u64>,
    /// Tasks (processes and threads).
    pub(crate) pids: Option<u64>,
    /// A cpulist as cpuset(7) writes it.
    pub(crate) cpuset: Option<String>,
}

/// The period of the processor limit in microseconds: the kernel's own default.
pub(crate) const CPU_PERIOD: u64 = 100_000;

impl Limits {
    pub(super) fn new(run: &cli::Run) -> Result<Self> {
        Ok(Self {
            memory: run.memory.as_deref().map(|typed| size("--memory", typed)).transpose()?,
            cpu_quota: run.cpus.as_deref().map(cpus).transpose()?,
            pids: run.pids_limit.as_deref().map(pids).transpose()?.flatten(),
            cpuset: run.cpuset_cpus.clone().map(cpulist).transpose()?,
        })
    }
}

/// Bytes, with an optional unit of 1024: b, k, m, g or t in either case (docker's rule).
pub(crate) fn size(option: &str, typed: &str) -> Result<u64> {
    let wrong = || Error::new(format!("{option} {typed} is not a size")).hint("such as 64m, 1g or 67108864");
    let lower = typed.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        Some(b't') => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = if plain { digits.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    value.checked_mul(1 << shift).filter(|bytes| (1..=i64::MAX as u64).contains(bytes)).ok_or_else(wrong)
}

/// A number of processors with up to three decimals → microseconds per period. The kernel's least quota is 1 ms.
fn cpus(typed: &str) -> Result<u64> {
    let wrong =
        || Error::new(format!("--cpus {typed} is not a number of processors")).hint("0.01 or more, such as 0.5");
    let (whole, fraction) = typed.split_once('.').unwrap_or((typed, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole)
        || !digits(fraction)
        || fraction.len() > 5
        || typed.is_empty()
        || typed == "."
        || whole.len() > 5
    {
        return Err(wrong());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let fraction: u64 = format!("{fraction:0<5}").parse().map_err(|_| wrong())?;
    let quota = whole * CPU_PERIOD + fraction;
    if quota < 1_000 { Err(wrong()) } else { Ok(quota) }
}

/// -1 is docker's word for no limit.
fn pids(typed: &str) -> Result<Option<u64>> {
    match typed.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(limit) if limit > 0 => Ok(Some(limit as u64)),
        _ => {
            Err(Error::new(format!("--pids-limit {typed} is not a number of tasks"))
                .hint("1 or more, or -1 for none"))
        }
    }
}

fn cpulist(typed: String) -> Result<String> {
    let item = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
    };
    if typed.split(',').all(item) {
        return Ok(typed);
    }
    Err(Error::new(format!("--cpuset-cpus {typed} is not a list of processors")).hint("such as 0-2,7"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (typed, bytes) in [("1", 1), ("512k", 512 << 10), ("64m", 64 << 20), ("64MB", 64 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(size("--memory", typed).unwrap(), bytes, "{typed}");
        }
        for typed in ["", "m", "0", "-1", "+1", "1.5g", "1x", "0x10", "99999999t", "18446744073709551616"] {
            assert!(size("--memory", typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn processors() {
        for (typed, quota) in [("1", 100_000), ("0.5", 50_000), (".25", 25_000), ("2.", 200_000), ("0.01", 1_000)] {
            assert_eq!(cpus(typed).unwrap(), quota, "{typed}");
        }
        for typed in ["", ".", "0", "-1", "1e3", "0.001", "1,5", "0.1234567"] {
            assert!(cpus(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn tasks_and_lists() {
        assert_eq!(pids("20").unwrap(), Some(20));
        assert_eq!(pids("-1").unwrap(), None);
        assert!(pids("0").is_err() && pids("x").is_err() && pids("-2").is_err());
        assert_eq!(cpulist("0-2,7".into()).unwrap(), "0-2,7");
        for typed in ["", "2-1", "a", "1,", "0 1", "0\n1", "0-"] {
            assert!(cpulist(typed.into()).is_err(), "{typed}");
        }
    }
}
