//! Many at once on one bridge, and what is left of them when all are killed.

use std::collections::BTreeSet;

use libtest_mimic::Failed;

use super::world::{self, World, has_interface};
use crate::Case;
use crate::nsctl::{Outcome, must, nsctl, outcome, spawn};

pub(crate) const CASES: &[(&str, Case)] = &[("a_crowd_has_an_address_each", || world::with(crowd))];

/// In a guest, whose processor is emulated, fewer.
fn number() -> usize {
    if std::env::var_os("NSCTL_QEMU").is_some() { 40 } else { 200 }
}

fn crowd(_: &World) -> Result<(), Failed> {
    let number = number();
    let cleared = Cleared;
    let words = ["run", "-d", "--log", "none", "--network", "bridge", "--", "sleep", "100000"];
    let all: Vec<_> = (0..number).map(|_| spawn(&words)).collect();
    for one in all {
        let started = outcome(one);
        must(started.code == 0, "one of many", &started)?;
    }
    let shown = nsctl(&["network", "inspect", "bridge"]);
    let addresses = addresses(&shown);
    must(addresses.len() == number, &format!("{number} addresses, not {}", addresses.len()), &shown)?;
    let pids = nsctl(&["ps", "--format", "pid"]);
    world::kill(&pids.out.lines().filter_map(|line| line.trim().parse().ok()).collect::<Vec<i32>>())?;
    // The first of what comes next, with nobody else's name, in nobody else's way.
    let next = nsctl(&[
        "run",
        "--network",
        "bridge",
        "-p",
        "8080:80",
        "--",
        "sh",
        "-c",
        "ip -4 addr show dev eth0; ip -4 route",
    ]);
    must(next.code == 0 && next.out.contains("10.91.0.2/22"), "the next one has the first address", &next)?;
    let shown = nsctl(&["network", "inspect", "bridge"]);
    must(self::addresses(&shown).is_empty(), "nobody is on the network", &shown)?;
    drop(cleared);
    let left = nsctl(&["ps", "-aq"]);
    must(left.out.is_empty() && !has_interface("nsctl0"), "nothing is left", &left)
}

/// Of IPv4, each once.
fn addresses(shown: &Outcome) -> BTreeSet<String> {
    let fields = shown.out.split('"').filter(|text| text.starts_with("10.91."));
    fields.filter(|text| !text.contains('/') && *text != "10.91.0.1").map(String::from).collect()
}

struct Cleared;

impl Drop for Cleared {
    fn drop(&mut self) {
        nsctl(&["rm", "--force", "--all"]);
    }
}
