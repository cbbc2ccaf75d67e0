use super::*;

fn limits(typed: &[(&'static str, &str)]) -> Result<Limits> {
    Limits::new(&cli::Limits(typed.iter().map(|(option, value)| (*option, (*value).to_string())).collect()))
}

#[test]
fn sizes() {
    for (typed, bytes) in [("1", 1), ("512k", 512 << 10), ("64m", 64 << 20), ("64MB", 64 << 20), ("2G", 2 << 30)] {
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
    assert_eq!(pids("20").unwrap(), 20);
    assert_eq!(pids("-1").unwrap(), UNLIMITED);
    assert!(pids("0").is_err() && pids("x").is_err() && pids("-2").is_err());
    assert_eq!(list("--cpuset-cpus", "processors", "0-2,7").unwrap(), "0-2,7");
    for typed in ["", "2-1", "a", "1,", "0 1", "0\n1", "0-", "+1"] {
        assert!(list("--cpuset-cpus", "processors", typed).is_err(), "{typed}");
    }
}

#[test]
fn each_option_has_its_range() {
    for (option, right, wrong) in [
        ("--memory-swap", &["64m", "-1"][..], &["0", "-2", "max"][..]),
        ("--memory-high", &["64m", "-1"], &["", "x"]),
        ("--memory-reservation", &["64m"], &["-1"]),
        ("--oom-group", &["true", "false"], &["yes", ""]),
        ("--cpu-shares", &["2", "1024", "262144"], &["1", "262145", "-1", "+2", ""]),
        ("--cpu-weight", &["1", "10000"], &["0", "10001"]),
        ("--cpu-quota", &["1000", "-1"], &["999", "-2", "1.5"]),
        ("--cpu-period", &["1000", "1000000"], &["999", "1000001"]),
        ("--cpu-burst", &["0", "5000"], &["-1"]),
        ("--cpuset-mems", &["0", "0-1"], &["x"]),
        ("--blkio-weight", &["10", "1000"], &["9", "1001"]),
        ("--io-weight", &["1", "10000"], &["0", "10001"]),
        ("--device-read-bps", &["/dev/sda:1m", "/dev/a:b:5"], &["sda:1m", "/dev/sda", "/dev/sda:", "/dev/sda:0"]),
        ("--device-write-iops", &["/dev/sda:100"], &["/dev/sda:1m", "/dev/sda:0", "/dev/sda:-1"]),
        ("--hugetlb-limit", &["2m:64m", "2MB:0", "1g:1g", "64k:1m"], &["2m", "3m:1m", "1:1m", "2m:"]),
    ] {
        for typed in right {
            assert!(limits(&[(option, typed)]).is_ok(), "{option} {typed}");
        }
        for typed in wrong {
            let refused = limits(&[(option, typed)]).err().unwrap_or_else(|| panic!("{option} {typed}")).to_string();
            assert!(refused.starts_with(option), "{refused}");
        }
    }
    assert_eq!(limits(&[("--hugetlb-limit", "2048k:64m")]).unwrap().hugetlb, [("2MB".to_string(), 64 << 20)]);
}

#[test]
fn contradictions() {
    for typed in [
        &[("--cpus", "1"), ("--cpu-quota", "5000")][..],
        &[("--cpu-period", "5000"), ("--cpus", "1")],
        &[("--cpu-shares", "2"), ("--cpu-weight", "1")],
        &[("--blkio-weight", "10"), ("--io-weight", "1")],
        &[("--memory", "64m"), ("--memory-swap", "63m")],
        &[("--memory", "64m"), ("--memory-reservation", "65m")],
        &[("--memory-high", "65m"), ("--memory", "64m")],
        &[("--cpu-quota", "5000"), ("--cpu-burst", "5001")],
    ] {
        assert!(limits(typed).is_err(), "{typed:?}");
    }
    // Of a container that has the other limit already.
    for typed in [&[("--memory-swap", "64m")][..], &[("--cpu-burst", "1000")]] {
        assert!(limits(typed).unwrap().at_start().is_err(), "{typed:?}");
    }
    assert_eq!(
        limits(&[("--pids-limit", "-1"), ("--oom-group", "false")]).unwrap().at_start().unwrap(),
        Limits::default()
    );
}
