//! Programs are run by an interpreter of their own, and their verdicts compared with what the profile says.

use super::default;
use super::names::{Architecture, Names};
use super::oci::{World, filter};
use super::program::*;
use super::{ARCHITECTURES, DEFAULT, Filter, Listener, names};
use crate::linux::caps;

mod profiles;

/// struct seccomp_data, but for the instruction pointer.
#[derive(Clone, Copy)]
struct Call {
    number: u32,
    audit: u32,
    arguments: [u64; 6],
}

impl Call {
    fn load(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            _ => {
                let word = (offset - 16) as usize / 4;
                let argument = self.arguments[word / 2];
                if (word % 2 == 1) == cfg!(target_endian = "little") {
                    (argument >> 32) as u32
                } else {
                    argument as u32
                }
            }
        }
    }
}

/// What the kernel would return, and after how many instructions.
fn run(program: &[u8], call: Call) -> (u32, usize) {
    let (mut accumulator, mut at) = (0u32, 0);
    for count in 1.. {
        let one = &program[8 * at..][..8];
        let (code, k) = (u16::from_ne_bytes([one[0], one[1]]), u32::from_ne_bytes([one[4], one[5], one[6], one[7]]));
        let jump = |holds: bool| usize::from(if holds { one[2] } else { one[3] });
        at += 1;
        match code {
            0x20 => accumulator = call.load(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return (k, count),
            other => panic!("an instruction {other:#x}"),
        }
    }
    unreachable!()
}

fn verdict(filter: &Filter, architecture: usize, name: &str, arguments: [u64; 6]) -> u32 {
    let names = names();
    let number = names.number(names.find(name).unwrap(), architecture).unwrap();
    let Architecture { audit, base, .. } = ARCHITECTURES[architecture];
    run(&filter.program, Call { number: number + base, audit, arguments }).0
}

const REFUSED: u32 = ERRNO | EPERM;
const ABSENT: u32 = ERRNO | ENOSYS;

/// Every call of every architecture, for nobody's capabilities, the usual ones, all, and each that matters: alone, with the usual
/// ones, and taken out of all.
#[test]
fn the_default_profile_says_what_its_text_says() {
    let classes = default::classes(include_str!("default.txt"), &caps::NAMES);
    let names = names();
    let needed = classes.iter().map(|(_, class)| class.capabilities).filter(|mask| *mask != u64::MAX);
    let matter = needed.fold(0, |all, one| all | one);
    assert_eq!(matter.count_ones(), 14, "{matter:x}");
    let each = (0..64).map(|bit| 1 << bit).filter(|bit| matter & bit != 0);
    let each = each.flat_map(|bit| [bit, caps::DEFAULT | bit, caps::DEFAULT & !bit, caps::KNOWN & !bit]);
    for (index, Architecture { audit, base, name: architecture, .. }) in ARCHITECTURES.iter().enumerate() {
        let class_of = |call| classes.iter().find(|(known, _)| *known == names.name(call)).map(|(_, class)| *class);
        let of_number = |number| (0..names.count()).find(|call| names.number(*call, index) == Some(number));
        let calls: Vec<_> = (0..2000).map(|number| (number, of_number(number))).collect();
        for capabilities in [caps::DEFAULT, 0, caps::KNOWN, u64::MAX].into_iter().chain(each.clone()) {
            let filter = Filter::default(capabilities);
            for (number, call) in &calls {
                let wanted = match call.map(class_of) {
                    None => ABSENT,
                    Some(None) => REFUSED,
                    Some(Some(class)) if class.capabilities == u64::MAX => ALLOW,
                    Some(Some(class)) if class.capabilities & capabilities != 0 => ALLOW,
                    Some(Some(class)) => ERRNO | u32::from(class.errno),
                };
                // Such as those whose arguments matter allow.
                let first = u64::from(call.is_some_and(|call| names.name(call) == "socket"));
                let call = Call { number: base + number, audit: *audit, arguments: [first, 0, 0, 0, 0, 0] };
                assert_eq!(run(&filter.program, call).0, wanted, "{architecture} {number} {capabilities:x}");
            }
        }
    }
}

/// It is what build.rs would make again, a start leaves no verdict open, and what most programs call is found soon.
#[test]
fn what_is_built_in() {
    let classes = default::classes(include_str!("default.txt"), &caps::NAMES);
    let (program, open) = default::program(ARCHITECTURES, &names(), &classes).unwrap();
    assert!(default::packed(&program, &open) == DEFAULT);
    let usual = Filter::default(caps::DEFAULT).program;
    for one in usual.chunks_exact(8) {
        let k = u32::from_ne_bytes([one[4], one[5], one[6], one[7]]);
        assert!(one[0] != 6 || [ALLOW, KILL_PROCESS, REFUSED, ABSENT].contains(&k), "{k:x}");
    }
    assert!(is_sound(&usual));
    for name in ["read", "futex", "statx", "close_range", "ioctl"] {
        let names = names();
        let number = names.number(names.find(name).unwrap(), 0).unwrap();
        let audit = ARCHITECTURES[0].audit;
        let (verdict, steps) = run(&usual, Call { number, audit, arguments: [0; 6] });
        assert!(verdict == ALLOW && steps < 20, "{name}: {steps}");
    }
}

#[test]
fn arguments_that_the_default_profile_refuses() {
    let usual = Filter::default(caps::DEFAULT);
    let admin = Filter::default(caps::DEFAULT | caps::by_name("SYS_ADMIN").unwrap());
    let high = 0xdead_beef_0000_0000;
    for architecture in 0..ARCHITECTURES.len() {
        let of = |name, arguments| verdict(&usual, architecture, name, arguments);
        let first = |name, argument: u64| {
            let verdict = of(name, [argument, 0, 0, 0, 0, 0]);
            assert_eq!(of(name, [argument | high, 0, 0, 0, 0, 0]), verdict);
            verdict
        };
        for flag in [0x2_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(first("clone", flag | 17), REFUSED);
            assert_eq!(verdict(&admin, architecture, "clone", [flag, 0, 0, 0, 0, 0]), ALLOW);
        }
        assert_eq!(first("clone", 0x3d_0f00), ALLOW);
        assert_eq!((of("clone3", [0; 6]), verdict(&admin, architecture, "clone3", [0; 6])), (ABSENT, ALLOW));
        for (family, wanted) in
            [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (17, ALLOW), (38, REFUSED), (40, REFUSED), (44, ALLOW)]
        {
            assert_eq!(first("socket", family), wanted, "{family}");
        }
        for family in [0, 12, 19, 20, 23, 25, 34, 37, 46, 0x8000_0000] {
            assert_eq!(first("socket", family), REFUSED, "{family}");
        }
        for personality in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
            assert_eq!(first("personality", personality), ALLOW);
        }
        assert_eq!((first("personality", 0x4_0000), first("personality", 1)), (REFUSED, REFUSED));
        for (request, wanted) in [(0x5412, REFUSED), (0x541c, REFUSED), (0x5413, ALLOW), (0x5401, ALLOW)] {
            for request in [request, request | 1 << 32, request | high] {
                assert_eq!(of("ioctl", [0, request, 0, 0, 0, 0]), wanted);
                assert_eq!(verdict(&admin, architecture, "ioctl", [0, request, 0, 0, 0, 0]), wanted);
            }
        }
    }
}

#[test]
fn calls_of_no_architecture() {
    let usual = Filter::default(caps::DEFAULT);
    for audit in [0, 0x4000_0009, ARCHITECTURES[0].audit ^ 1] {
        let call = Call { number: 0, audit, arguments: [0; 6] };
        assert_eq!(run(&usual.program, call).0, KILL_PROCESS);
    }
    for number in [1 << 29, u32::MAX, 0xf_0007] {
        let call = Call { number, audit: ARCHITECTURES[0].audit, arguments: [0; 6] };
        assert_eq!(run(&usual.program, call).0, ABSENT);
    }
}

/// Where numbers of time are 64 bits wide on machines of 32 (docker-alpine #142, moby #40734).
#[test]
fn times_of_64_bits() {
    let usual = Filter::default(caps::DEFAULT);
    let names = names();
    for architecture in 0..ARCHITECTURES.len() {
        let new = |name: &str| (name.ends_with("_time64") || name.ends_with("time64")) && name != "clock_settime64";
        let calls = (0..names.count()).filter(|call| names.number(*call, architecture).is_some());
        for name in calls.map(|call| names.name(call)).filter(|name| new(name)) {
            assert_eq!(verdict(&usual, architecture, name, [0; 6]), ALLOW, "{name}");
        }
    }
}

/// Every operator, on both halves, against plain arithmetic.
#[test]
fn operators() {
    let interesting = [0, 1, 2, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (5 << 32) + 7, u64::MAX - 1, u64::MAX];
    type Holds = fn(u64, u64) -> bool;
    let operators: [(Compare, Holds); 6] = [
        (Compare::Equal, |a, b| a == b),
        (Compare::NotEqual, |a, b| a != b),
        (Compare::Less, |a, b| a < b),
        (Compare::LessOrEqual, |a, b| a <= b),
        (Compare::Greater, |a, b| a > b),
        (Compare::GreaterOrEqual, |a, b| a >= b),
    ];
    for (compare, holds) in operators {
        for mask in [u64::MAX, 0xffff_ffff, 0xffff_ffff_0000_0000, 0x7e02_0000, 0] {
            for value in interesting {
                let condition = Condition { argument: 3, mask, compare, value };
                let rules = vec![Rule { conditions: vec![condition], verdict: 7 }, Rule::always(9)];
                let program = bytes(&compile(&[(1, vec![(0, rules)])]).unwrap());
                for argument in interesting {
                    let call = Call { number: 5, audit: 1, arguments: [9, 9, 9, argument, 9, 9] };
                    let wanted = if holds(argument & mask, value) { 7 } else { 9 };
                    assert_eq!(run(&program, call).0, wanted, "{argument:x} & {mask:x} {compare:?} {value:x}");
                }
            }
        }
    }
}

/// So many rules that no conditional jump reaches from one end to the other.
#[test]
fn far_jumps() {
    let rules = |number: u32| -> Rules {
        let condition = |argument, value| Condition { argument, mask: u64::MAX, compare: Compare::Equal, value };
        let both = vec![condition(0, u64::from(number)), condition(5, 1 << 40)];
        let other = vec![condition(1, 3)];
        vec![
            Rule { conditions: both, verdict: ERRNO | number },
            Rule { conditions: other, verdict: ERRNO | 1000 },
            Rule::always(if number.is_multiple_of(3) { ALLOW } else { REFUSED }),
        ]
    };
    let calls: Vec<_> = (0..100).map(|number| (2 * number, rules(number))).collect();
    let program = bytes(&compile(&[(1, ranges(&[(0, 4)], calls.clone())), (2, ranges(&[(0, 5)], calls))]).unwrap());
    assert!(program.len() > 8 * 2000, "{}", program.len() / 8);
    for audit in [1, 2] {
        for number in 0..220 {
            let of = |arguments| run(&program, Call { number, audit, arguments }).0;
            let half = number / 2;
            if number % 2 == 1 || half >= 100 {
                assert_eq!(of([0; 6]), 3 + audit);
                continue;
            }
            assert_eq!(of([u64::from(half), 0, 0, 0, 0, 1 << 40]), ERRNO | half);
            assert_eq!(of([u64::from(half), 3, 0, 0, 0, 1]), ERRNO | 1000);
            assert_eq!(of([u64::from(half), 4, 0, 0, 0, 0]), if half.is_multiple_of(3) { ALLOW } else { REFUSED });
        }
    }
    let many = (0..1000).map(|number| (number, rules(number))).collect();
    assert!(compile(&[(1, ranges(&[(0, 4)], many))]).is_none());
}

#[test]
fn ranges_are_merged() {
    let always = |verdict| vec![Rule::always(verdict)];
    let calls = vec![(3, always(1)), (2, always(1)), (4, always(0)), (u32::MAX, always(2))];
    let wanted = vec![(0, always(0)), (2, always(1)), (4, always(0)), (10, always(7)), (u32::MAX, always(2))];
    assert_eq!(ranges(&[(0, 0), (10, 7)], calls), wanted);
    assert_eq!(ranges(&[(0, 1)], Vec::new()), vec![(0, always(1))]);
}

/// What exec reads is what run wrote.
#[test]
fn saved_and_restored() {
    let listener = Some(Listener { path: "/run/l".into(), metadata: "m".into() });
    for filter in [Filter::default(0), Filter { listener, ..Filter::default(u64::MAX) }] {
        assert_eq!(Filter::restore(&filter.save()), Some(filter));
    }
    assert_eq!(Filter::restore(b"123"), None);
}
