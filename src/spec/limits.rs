//! How much the container may use.

use std::ffi::CString;

use crate::cli;
use crate::error::{Error, Result};

mod weight;
pub(crate) use weight::{IoWeight, weight_of_shares};

/// Resource limits; what is None is not limited.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Bytes of memory and swap together.
    pub(crate) memory_swap: Option<u64>,
    /// What is left to it when memory is short.
    pub(crate) memory_reservation: Option<u64>,
    /// From where on its processes have to give back.
    pub(crate) memory_high: Option<u64>,
    /// The kernel kills all of it, or one process.
    pub(crate) oom_group: Option<bool>,
    /// Microseconds of processor time per period.
    pub(crate) cpu_quota: Option<u64>,
    /// Microseconds.
    pub(crate) cpu_period: Option<u64>,
    /// Microseconds that may be saved up for later.
    pub(crate) cpu_burst: Option<u64>,
    /// As cgroup v1 counts, 1024 for one that nobody asked about.
    pub(crate) cpu_shares: Option<u64>,
    /// As cgroup v2 does, 100 for such a one.
    pub(crate) cpu_weight: Option<u64>,
    /// Lists as cpuset(7) writes them.
    pub(crate) cpuset_cpus: Option<String>,
    pub(crate) cpuset_mems: Option<String>,
    /// Tasks (processes and threads).
    pub(crate) pids: Option<u64>,
    pub(crate) io_weight: Option<IoWeight>,
    pub(crate) throttle: Vec<Throttle>,
    /// Page size as the names of the files have it, such as 2MB, and bytes.
    pub(crate) hugetlb: Vec<(String, u64)>,
}

/// So much a second of a block device.
#[derive(Debug, PartialEq)]
pub(crate) struct Throttle {
    pub(crate) option: &'static str,
    pub(crate) device: CString,
    pub(crate) rate: u64,
}

/// The period of the processor limit in microseconds: the kernel's own default.
pub(crate) const CPU_PERIOD: u64 = 100_000;

/// A limit that says that there is none.
pub(crate) const UNLIMITED: u64 = u64::MAX;

impl Limits {
    /// As typed, and what contradicts itself refused.
    pub(crate) fn new(typed: &cli::Limits) -> Result<Self> {
        let mut limits = Self::default();
        let mut cpus_typed = false;
        for (option, value) in &typed.0 {
            cpus_typed |= *option == "--cpus";
            limits.set(option, value)?;
        }
        if cpus_typed && typed.0.iter().any(|(option, _)| matches!(*option, "--cpu-quota" | "--cpu-period")) {
            return Err(Error::new("--cpus says both --cpu-quota and --cpu-period").hint("leave it out, or them"));
        }
        if limits.cpu_shares.is_some() && limits.cpu_weight.is_some() {
            return Err(Error::new("--cpu-shares and --cpu-weight say the same on different scales"));
        }
        for (option, least) in
            [("--memory-reservation", limits.memory_reservation), ("--memory-high", limits.memory_high)]
        {
            if least.zip(limits.memory).is_some_and(|(least, most)| least > most && least != UNLIMITED) {
                return Err(Error::new(format_args!("{option} is more than --memory")));
            }
        }
        if limits.memory_swap.zip(limits.memory).is_some_and(|(both, memory)| both < memory) {
            return Err(Error::new("--memory-swap is less than --memory")
                .hint("it is memory and swap together: as much as --memory is no swap, -1 any amount"));
        }
        let quota = limits.cpu_quota.filter(|quota| *quota != UNLIMITED);
        if limits.cpu_burst.zip(quota).is_some_and(|(burst, quota)| burst > quota) {
            return Err(Error::new("--cpu-burst is more than the quota that it adds to"));
        }
        Ok(limits)
    }

    /// For a start: what is not limited needs no group, and swap is counted on top of memory.
    pub(super) fn at_start(mut self) -> Result<Self> {
        if self.memory_swap.is_some() && self.memory.is_none() {
            return Err(Error::new("--memory-swap without --memory").hint("it is memory and swap together"));
        }
        if self.cpu_burst.is_some() && self.cpu_quota.is_none() {
            return Err(Error::new("--cpu-burst without --cpus or --cpu-quota").hint("it adds to the quota"));
        }
        for limit in [&mut self.cpu_quota, &mut self.pids, &mut self.memory_high] {
            *limit = limit.filter(|value| *value != UNLIMITED);
        }
        self.oom_group = self.oom_group.filter(|all| *all);
        Ok(self)
    }

    fn set(&mut self, option: &'static str, typed: &str) -> Result<()> {
        let number = |least: u64, most: u64| number(option, typed, least, most);
        match option {
            "--memory" => self.memory = Some(size(option, typed)?),
            "--memory-swap" => self.memory_swap = Some(size_or_none(option, typed)?),
            "--memory-reservation" => self.memory_reservation = Some(size(option, typed)?),
            "--memory-high" => self.memory_high = Some(size_or_none(option, typed)?),
            "--oom-group" => match typed {
                "true" | "1" => self.oom_group = Some(true),
                "false" | "0" => self.oom_group = Some(false),
                _ => return Err(Error::new(format_args!("--oom-group {typed} is neither true nor false"))),
            },
            "--cpus" => {
                self.cpu_quota = Some(cpus(typed)?);
                self.cpu_period = Some(CPU_PERIOD);
            }
            "--cpu-quota" if typed == "-1" => self.cpu_quota = Some(UNLIMITED),
            "--cpu-quota" => self.cpu_quota = Some(number(1_000, u64::from(u32::MAX) * 1_000)?),
            "--cpu-period" => self.cpu_period = Some(number(1_000, 1_000_000)?),
            "--cpu-burst" => self.cpu_burst = Some(number(0, u64::from(u32::MAX) * 1_000)?),
            "--cpu-shares" => self.cpu_shares = Some(number(2, 262_144)?),
            "--cpu-weight" => self.cpu_weight = Some(number(1, 10_000)?),
            "--cpuset-cpus" => self.cpuset_cpus = Some(list(option, "processors", typed)?),
            "--cpuset-mems" => self.cpuset_mems = Some(list(option, "memory nodes", typed)?),
            "--pids-limit" => self.pids = Some(pids(typed)?),
            "--blkio-weight" | "--io-weight" if self.io_weight.is_some() => {
                return Err(Error::new("--blkio-weight and --io-weight say the same on different scales"));
            }
            "--blkio-weight" => self.io_weight = Some(IoWeight::Blkio(number(10, 1_000)?)),
            "--io-weight" => self.io_weight = Some(IoWeight::Io(number(1, 10_000)?)),
            "--hugetlb-limit" => self.hugetlb.push(hugetlb(typed)?),
            _ => self.throttle.push(throttle(option, typed)?),
        }
        Ok(())
    }
}

/// Bytes, with an optional unit of 1024: b, k, m, g or t in either case (docker's rule).
pub(crate) fn size(option: &str, typed: &str) -> Result<u64> {
    let wrong = || Error::new(format_args!("{option} {typed} is not a size")).hint("such as 64m, 1g or 67108864");
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

fn size_or_none(option: &str, typed: &str) -> Result<u64> {
    if typed == "-1" { Ok(UNLIMITED) } else { size(option, typed) }
}

fn number(option: &str, typed: &str, least: u64, most: u64) -> Result<u64> {
    let digits = !typed.is_empty() && typed.bytes().all(|byte| byte.is_ascii_digit());
    match typed.parse() {
        Ok(value) if digits && (least..=most).contains(&value) => Ok(value),
        _ => Err(Error::new(format_args!("{option} {typed} is not a number from {least} to {most}"))),
    }
}

/// A number of processors with up to three decimals → microseconds per period. The kernel's least quota is 1 ms.
fn cpus(typed: &str) -> Result<u64> {
    let wrong =
        || Error::new(format_args!("--cpus {typed} is not a number of processors")).hint("0.01 or more, such as 0.5");
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
fn pids(typed: &str) -> Result<u64> {
    match typed.parse::<i64>() {
        Ok(-1) => Ok(UNLIMITED),
        Ok(limit) if limit > 0 => Ok(limit as u64),
        _ => Err(Error::new(format_args!("--pids-limit {typed} is not a number of tasks"))
            .hint("1 or more, or -1 for none")),
    }
}

fn list(option: &str, what: &str, typed: &str) -> Result<String> {
    let item = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
    };
    if typed.split(',').all(item) && !typed.contains('+') {
        return Ok(typed.into());
    }
    Err(Error::new(format_args!("{option} {typed} is not a list of {what}")).hint("such as 0-2,7"))
}

/// DEVICE:RATE. What a device is called is looked at later.
fn throttle(option: &'static str, typed: &str) -> Result<Throttle> {
    let (device, rate) = typed.rsplit_once(':').filter(|(device, _)| device.starts_with('/')).ok_or_else(|| {
        Error::new(format_args!("{option} {typed} is not DEVICE:RATE"))
            .hint("such as /dev/sda:1m, and so much a second")
    })?;
    let device = CString::new(device).map_err(|_| Error::new(format_args!("{option} has a NUL byte in it")))?;
    let rate = if option.ends_with("bps") { size(option, rate)? } else { number(option, rate, 1, i64::MAX as u64)? };
    Ok(Throttle { option, device, rate })
}

/// SIZE:LIMIT; the kernel's names of page sizes are 64KB, 2MB, 1GB (mem_fmt() in mm/hugetlb_cgroup.c).
fn hugetlb(typed: &str) -> Result<(String, u64)> {
    let option = "--hugetlb-limit";
    let (page, limit) = typed.split_once(':').ok_or_else(|| {
        Error::new(format_args!("{option} {typed} is not SIZE:LIMIT"))
            .hint("the size of a page and bytes, such as 2m:64m")
    })?;
    let bytes = size(option, page)?;
    let (shift, unit) = match bytes {
        1_073_741_824.. => (30, "GB"),
        1_048_576.. => (20, "MB"),
        _ => (10, "KB"),
    };
    if !bytes.is_power_of_two() || bytes < 1 << 12 {
        return Err(Error::new(format_args!("{option} {typed}: no page has that size")).hint("such as 2m or 1g"));
    }
    Ok((format!("{}{unit}", bytes >> shift), if limit == "0" { 0 } else { size(option, limit)? }))
}

#[cfg(any(test, fuzzing))]
pub(super) fn survives(text: &str) {
    for option in [
        "--memory",
        "--memory-swap",
        "--cpus",
        "--cpu-shares",
        "--cpu-quota",
        "--cpuset-cpus",
        "--pids-limit",
        "--io-weight",
        "--device-read-bps",
        "--device-read-iops",
        "--hugetlb-limit",
    ] {
        let _ = Limits::new(&cli::Limits(vec![(option, text.into())])).and_then(Limits::at_start);
    }
}

#[cfg(test)]
mod tests;
