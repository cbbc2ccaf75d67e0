//! The profile that holds where nobody named another one. `default.txt` says who may make which call; here is what the arguments
//! must be, and how that becomes a program. build.rs uses this file, too: a start with the usual capabilities compiles nothing.

use super::names::{Architecture, Names};
use super::program::{
    ALLOW, Compare, Condition, ENOSYS, EPERM, ERRNO, Gap, Instruction, KILL_PROCESS, Range, Rule, Rules, compile,
    ranges,
};

/// The capabilities that a command has if nobody says otherwise, as bits: those of docker.
pub(crate) const USUAL: u64 = {
    // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP
    let numbers = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
    let (mut bits, mut at) = (0, 0);
    while at < numbers.len() {
        bits |= 1 << numbers[at];
        at += 1;
    }
    bits
};

/// Those of which default.txt speaks.
pub(crate) const MATTER: u64 = 0xc4_06ff_0004;

/// CAP_SYS_ADMIN, whose owner may make namespaces.
const SYS_ADMIN: u64 = 1 << 21;

/// CLONE_NEW* of clone(2): mount, cgroup, UTS, IPC, user, PID and network namespaces. The bit of a new time namespace is one of the
/// exit signal there.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Address families from the first to before the second: all that kernels have but DECnet, Econet, ATM SVCs, IrDA, WANPIPE, ISDN and
/// CAIF, which they had, and AF_ALG (CVE-2026-31431) and AF_VSOCK (which knows no namespaces before Linux 7.0).
const FAMILIES: [(u64, u64); 8] = [(1, 12), (13, 19), (21, 23), (24, 25), (26, 34), (35, 37), (39, 40), (41, 46)];

/// PER_LINUX, PER_LINUX32, UNAME26 and both, and the question for what it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// TIOCSTI and TIOCLINUX, which type for somebody else.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// The lower half of an argument: the kernel takes all of these as 32 bits, and looks at nothing else (CVE-2019-7303).
fn low(argument: u8, compare: Compare, value: u64) -> Condition {
    Condition { argument, mask: 0xffff_ffff, compare, value }
}

fn allow(conditions: Vec<Condition>) -> Rule {
    Rule { conditions, verdict: ALLOW }
}

/// What holds for a call that everybody may make.
fn arguments(name: &str, capabilities: u64) -> Rules {
    let deny = Rule::always(ERRNO | EPERM);
    match name {
        "clone" if capabilities & SYS_ADMIN == 0 => {
            let flags = Condition { argument: 0, mask: NEW_NAMESPACES, compare: Compare::Equal, value: 0 };
            vec![allow(vec![flags]), deny]
        }
        "socket" => {
            let range = |(from, end)| allow(vec![low(0, Compare::GreaterOrEqual, from), low(0, Compare::Less, end)]);
            FAMILIES.into_iter().map(range).chain([deny]).collect()
        }
        "personality" => {
            let equal = |value| allow(vec![low(0, Compare::Equal, value)]);
            PERSONALITIES.into_iter().map(equal).chain([deny]).collect()
        }
        "ioctl" => {
            let equal = |value| Rule { conditions: vec![low(1, Compare::Equal, value)], ..deny.clone() };
            TYPING.into_iter().map(equal).chain([Rule::always(ALLOW)]).collect()
        }
        _ => vec![Rule::always(ALLOW)],
    }
}

/// What holds for a call.
pub(crate) fn rules(names: &Names, call: usize, capabilities: u64) -> Rules {
    let class = names.class(call);
    if class.capabilities & capabilities == 0 && class.capabilities != u64::MAX {
        return vec![Rule::always(ERRNO | u32::from(class.errno))];
    }
    arguments(names.name(call), capabilities)
}

/// The program for whoever may have these capabilities. A number that is not in the tables is a call that is newer than they are, or
/// none: ENOSYS.
pub(crate) fn program(architectures: &[Architecture], names: &Names, capabilities: u64) -> Option<Vec<Instruction>> {
    let gaps = |architecture: usize| vec![(architectures[architecture].base, ERRNO | ENOSYS)];
    compile(&by_audit(architectures, names, |_| true, gaps, |call, _| Some(rules(names, call, capabilities))))
}

/// All numbers of one AUDIT_ARCH_*.
struct Numbers {
    audit: u32,
    gaps: Vec<Gap>,
    calls: Vec<(u32, Rules)>,
}

/// The ranges of each AUDIT_ARCH_*. `runs`: whether programs of this architecture may run; `gaps`: what holds for its numbers where
/// no call is, from its base up; `rules` are those of a call there, which may be none: as if it were not there.
pub(crate) fn by_audit(
    architectures: &[Architecture],
    names: &Names,
    runs: impl Fn(usize) -> bool,
    gaps: impl Fn(usize) -> Vec<Gap>,
    rules: impl Fn(usize, usize) -> Option<Rules>,
) -> Vec<(u32, Vec<Range>)> {
    let mut all: Vec<Numbers> = Vec::new();
    for (index, architecture) in architectures.iter().enumerate() {
        if all.last().is_none_or(|one| one.audit != architecture.audit) {
            if !runs(index) {
                continue;
            }
            all.push(Numbers { audit: architecture.audit, gaps: Vec::new(), calls: Vec::new() });
        }
        let Some(Numbers { gaps: all_gaps, calls, .. }) = all.last_mut() else { continue };
        if runs(index) {
            all_gaps.extend(gaps(index));
            for call in 0..names.count() {
                let Some(number) = names.number(call, index) else { continue };
                calls.extend(rules(call, index).map(|rules| (number + architecture.base, rules)));
            }
        } else {
            // -1 is what a tracer sets to skip a call.
            let skipped = all_gaps.last().map_or(KILL_PROCESS, |(_, verdict)| *verdict);
            all_gaps.extend([(architecture.base, KILL_PROCESS), (u32::MAX, skipped)]);
        }
    }
    all.into_iter().map(|one| (one.audit, ranges(&one.gaps, one.calls))).collect()
}
