//! The scales of cgroup v1 and v2 for shares of the processor and of disks.

/// A share of what disks can do, among those who want it at the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum IoWeight {
    /// 10 to 1000, as docker has it: the scale of cgroup v1 and of the BFQ scheduler.
    Blkio(u64),
    /// 1 to 10000, the scale of cgroup v2.
    Io(u64),
}

impl IoWeight {
    /// For blkio.weight, blkio.bfq.weight and io.bfq.weight: as systemd does it (BFQ_WEIGHT() in src/basic/cgroup-util.h), so that
    /// the default of the one scale, 100, is that of the other.
    pub(crate) fn bfq(self) -> u64 {
        match self {
            Self::Blkio(weight) => weight,
            Self::Io(weight) if weight <= 100 => weight,
            Self::Io(weight) => 100 + (weight - 100) / 11,
        }
    }

    /// For io.weight: as runc does it (ConvertBlkIOToIOWeightValue() in opencontainers/cgroups).
    pub(crate) fn io(self) -> u64 {
        match self {
            Self::Blkio(weight) => 1 + (weight - 10) * 9999 / 990,
            Self::Io(weight) => weight,
        }
    }
}

/// Binary digits after the point.
const POINT: u32 = 31;

/// cpu.shares of v1 (2 to 262144, default 1024) → cpu.weight of v2 (1 to 10000, default 100): 10 to the power of
/// (l² + 125 l) / 612 - 7/34 with l = log2(shares), rounded up. That is what runc since 1.3.1 and crun since 1.23 do
/// (ConvertCPUSharesToCgroupV2Value() in opencontainers/cgroups): a line through both defaults, where the linear formula of before
/// made 39 of 1024. In integers, since the C library's functions for that would be ten kilobytes of the binary.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let l = log2(shares);
    // 7/34 is 126/612; log2(10) is 3.32192809488736.
    let ten = 7_133_786_264;
    let exponent = (times(l, l) + 125 * l).saturating_sub(126 << POINT) / 612;
    let power = exp2(times(exponent, ten));
    // Rounded up, but not for the last digits of a whole number.
    (power + (1 << POINT) - (1 << (POINT - 19))) >> POINT
}

/// Of two numbers with POINT binary digits after the point.
fn times(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> POINT) as u64
}

/// Of a number from 1 to 2^31, with POINT binary digits after the point.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let mut mantissa = number << (POINT - whole);
    let mut log = u64::from(whole) << POINT;
    for digit in (0..POINT).rev() {
        mantissa = times(mantissa, mantissa);
        if mantissa >> (POINT + 1) != 0 {
            mantissa >>= 1;
            log |= 1 << digit;
        }
    }
    log
}

/// Of a number from 0 to 31, all with POINT binary digits after the point.
fn exp2(exponent: u64) -> u64 {
    let mut power = 1u64 << POINT;
    let mut root = 2u64 << POINT;
    for digit in (0..POINT).rev() {
        root = (root << POINT).isqrt();
        if exponent >> digit & 1 != 0 {
            power = times(power, root);
        }
    }
    power << (exponent >> POINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_other_runtimes_do_it() {
        let mut different = 0;
        for shares in 2..=262_144u64 {
            let l = (shares as f64).log2();
            let theirs = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64;
            let ours = weight_of_shares(shares);
            assert!(ours.abs_diff(theirs) <= 1, "{shares}: {ours}, {theirs}");
            different += u32::from(ours != theirs);
        }
        assert!(different <= 30, "{different}, each a whole number but for its last digits");
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 100, 10_000]);
    }

    #[test]
    fn disks() {
        assert_eq!([10, 100, 1000].map(|weight| IoWeight::Blkio(weight).io()), [1, 910, 10_000]);
        assert_eq!([1, 100, 10_000].map(|weight| IoWeight::Io(weight).bfq()), [1, 100, 1_000]);
        assert_eq!((IoWeight::Blkio(500).bfq(), IoWeight::Io(500).io()), (500, 500));
    }
}
