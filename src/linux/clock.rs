//! The monotonic clock, in the unit in which nsctl's own steps are told apart.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds since some fixed point; the same for all processes of the machine.
pub(crate) fn micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Seconds since the epoch.
pub(crate) fn epoch_seconds() -> u64 {
    clock_gettime(ClockId::Realtime).tv_sec as u64
}

/// Seconds and nanoseconds since the epoch.
pub(crate) fn epoch() -> (u64, u32) {
    let now = clock_gettime(ClockId::Realtime);
    (now.tv_sec as u64, now.tv_nsec as u32)
}

/// Seconds since the epoch as a date and time of RFC 3339 in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let stamp = stamp((seconds, 0));
    String::from_utf8_lossy(&stamp[..19]).into_owned() + "Z"
}

/// The same with nanoseconds. As bytes they compare as the times do. Does not allocate.
pub(crate) fn stamp((seconds, nanos): (u64, u32)) -> [u8; 30] {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // A year that begins in March has its leap day at the end; 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    let mut put = |end: usize, digits: usize, mut number: u64| {
        for place in text[end - digits..end].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    for (end, number) in
        [(7, month as u64), (10, day as u64), (13, rest / 3600), (16, rest / 60 % 60), (19, rest % 60)]
    {
        put(end, 2, number);
    }
    put(4, 4, year as u64);
    put(29, 9, nanos.into());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_709_251_200), "2024-03-01T00:00:00Z");
        assert_eq!(&stamp((86_399, 1_002_003)), b"1970-01-01T23:59:59.001002003Z");
    }
}
