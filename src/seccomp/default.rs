//! The profile that holds where nobody named another one, for build.rs alone: `default.txt` says who may make which call; here is what
//! the arguments must be, and how that becomes a program for everybody. What a call needs capabilities for is left open in it, and
//! [`program::decide`](super::program::decide)d at the start: nothing is compiled then.

use super::names::{Architecture, Names};
use super::numbers::by_audit;
use super::program::{
    ALLOW, Compare, Condition, ENOSYS, EPERM, ERRNO, Instruction, OPEN, Rule, Rules, bytes, compile,
};

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Class {
    /// Whoever has one of these capabilities, as bits; all bits: everybody.
    pub(crate) capabilities: u64,
    /// What everybody else gets.
    pub(crate) errno: u8,
}

/// CAP_SYS_ADMIN, whose owner may make namespaces: the first that is open.
const NAMESPACES: Class = Class { capabilities: 1 << 21, errno: EPERM as u8 };

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

/// What holds for a call that everybody may make. `namespaces` is the verdict on those who want some.
fn arguments(name: &str, namespaces: u32) -> Rules {
    let deny = Rule::always(ERRNO | EPERM);
    match name {
        "clone" => {
            let flags = Condition { argument: 0, mask: NEW_NAMESPACES, compare: Compare::Equal, value: 0 };
            vec![allow(vec![flags]), Rule::always(namespaces)]
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

/// The program, and the classes that it leaves open, in the order of their numbers. `classes` are those of [`classes`]. A number that
/// is not in the tables is a call that is newer than they are, or none: ENOSYS.
pub(crate) fn program(
    architectures: &[Architecture],
    names: &Names,
    classes: &[(&str, Class)],
) -> Option<(Vec<Instruction>, Vec<Class>)> {
    let mut open = vec![NAMESPACES];
    let all: Vec<Rules> = (0..names.count())
        .map(|call| {
            let name = names.name(call);
            match classes.iter().find(|(known, _)| *known == name).map(|(_, class)| *class) {
                Some(Class { capabilities: u64::MAX, .. }) => arguments(name, OPEN),
                Some(class) if class.capabilities != 0 => {
                    let number = open.iter().position(|known| *known == class).unwrap_or_else(|| {
                        open.push(class);
                        open.len() - 1
                    });
                    vec![Rule::always(OPEN | number as u32)]
                }
                refused => vec![Rule::always(ERRNO | refused.map_or(EPERM, |class| u32::from(class.errno)))],
            }
        })
        .collect();
    let gaps = |architecture: usize| vec![(architectures[architecture].base, ERRNO | ENOSYS)];
    let ranges = by_audit(architectures, names, |_| true, gaps, |call, _| Some(all[call].clone()));
    Some((compile(&ranges)?, open))
}

/// What `Filter::default` reads: how many classes are open; of each its capabilities and its errno; the program.
pub(crate) fn packed(program: &[Instruction], open: &[Class]) -> Vec<u8> {
    let mut packed = vec![open.len() as u8];
    for class in open {
        packed.extend(class.capabilities.to_le_bytes());
        packed.push(class.errno);
    }
    packed.extend(bytes(program));
    packed
}

/// What `default.txt` says of each name. `capabilities` are the names of all, in the order of their numbers.
pub(crate) fn classes<'a>(defaults: &'a str, capabilities: &[&str]) -> Vec<(&'a str, Class)> {
    let mut classes: Vec<(&'a str, Class)> = Vec::new();
    for line in defaults.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (who, names) = line.split_once(": ").expect("a line of default.txt says who may");
        for name in names.split(' ') {
            let at = classes.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                classes.push((name, Class { capabilities: 0, errno: 1 }));
                classes.len() - 1
            });
            let class = &mut classes[at].1;
            match who {
                "all" => class.capabilities = u64::MAX,
                "ENOSYS" => class.errno = 38,
                who => {
                    let bit = capabilities
                        .iter()
                        .position(|name| *name == who)
                        .unwrap_or_else(|| panic!("no capability {who}"));
                    class.capabilities |= 1 << bit;
                }
            }
        }
    }
    classes
}
