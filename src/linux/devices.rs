//! Which devices the processes of a cgroup may use: on v2 a BPF program attached to the group (BPF_PROG_TYPE_CGROUP_DEVICE, Linux
//! 4.15), on v1 the devices controller. Both hold for opening and for mknod(2), whatever the file's own permissions say.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::cgroup::Version;
use super::{file, sys};

/// What may be done, as the kernel numbers it (BPF_DEVCG_ACC_*).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// BPF_DEVCG_DEV_*.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    Any = 0,
    Block = 1,
    Character = 2,
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    kind: Kind,
    /// None: every one.
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

const fn character(major: u32, minor: Option<u32>) -> Rule {
    Rule { kind: Kind::Character, major: Some(major), minor, access: ALL }
}

const fn mknod(kind: Kind) -> Rule {
    Rule { kind, major: None, minor: None, access: MKNOD }
}

/// The devices of every container, docker's and runc's list: null, zero, full, random, urandom, tty, console, ptmx and terminals; and
/// any node may be made, since to make is not to use.
pub(crate) const DEFAULTS: &[Rule] = &[
    mknod(Kind::Character),
    mknod(Kind::Block),
    character(1, Some(3)),
    character(1, Some(5)),
    character(1, Some(7)),
    character(1, Some(8)),
    character(1, Some(9)),
    character(5, Some(0)),
    character(5, Some(1)),
    character(5, Some(2)),
    character(136, None),
];

impl Rule {
    /// docker's and the v1 controller's notation: `c 10:229 rwm`.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        let mut words = typed.split(' ');
        let (kind, numbers, letters) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let kind = match kind {
            "a" => Kind::Any,
            "b" => Kind::Block,
            "c" => Kind::Character,
            _ => return None,
        };
        let number = |text: &str| match text {
            "*" => Some(None),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|n| *n < 1 << 20).map(Some)
            }
            _ => None,
        };
        let mut access = 0;
        for letter in letters.bytes() {
            let bit = match letter {
                b'r' => READ,
                b'w' => WRITE,
                b'm' => MKNOD,
                _ => return None,
            };
            if access & bit != 0 {
                return None;
            }
            access |= bit;
        }
        let rule = Self { kind, major: number(major)?, minor: number(minor)?, access };
        (access != 0 && words.next().is_none()).then_some(rule)
    }

    /// Everything with this device.
    pub(crate) fn device(character: bool, number: u64) -> Self {
        let kind = if character { Kind::Character } else { Kind::Block };
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Self { kind, major: Some(major), minor: Some(minor), access: ALL }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from(match self.kind {
            Kind::Any => "a",
            Kind::Block => "b",
            Kind::Character => "c",
        });
        for (separator, number) in [(' ', self.major), (':', self.minor)] {
            text.push(separator);
            match number {
                Some(number) => drop(write!(text, "{number}")),
                None => text.push('*'),
            }
        }
        text.push(' ');
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                text.push(letter);
            }
        }
        text
    }

    fn is_all(&self) -> bool {
        self.kind == Kind::Any && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

/// Lets the processes of the group use these and no others.
pub(crate) fn allow(version: Version, group: BorrowedFd<'_>, rules: &[Rule]) -> Result<(), Errno> {
    match version {
        Version::V2 => {
            let program = sys::bpf::load_device_program(&program(rules))?;
            sys::bpf::attach_device_program(group, &program)
        }
        Version::V1 => {
            file::write(group, c"devices.deny", b"a")?;
            let allow = |rule: &Rule| file::write(group, DEVICES_ALLOW, rule.text().as_bytes());
            rules.iter().try_for_each(allow)
        }
    }
}

/// Loads the program of every container, for no group.
pub(crate) fn probe() -> Result<(), Errno> {
    sys::bpf::load_device_program(&program(DEFAULTS)).map(|_| ())
}

const DEVICES_ALLOW: &CStr = c"devices.allow";

/// Instructions as the kernel numbers them (include/uapi/linux/bpf.h): code, registers, a jump's distance, a number.
const fn instruction(code: u8, to: u8, from: u8, jump: i16, number: u32) -> u64 {
    u64::from_ne_bytes({
        let (jump, number) = (jump.to_ne_bytes(), number.to_ne_bytes());
        let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
        [code, registers, jump[0], jump[1], number[0], number[1], number[2], number[3]]
    })
}

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const UNLESS_NUMBER: u8 = 0x55;
const UNLESS: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Registers.
const RESULT: u8 = 0;
/// In the beginning; later a scratch pad.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program for a group: 1 allows, 0 refuses. It ends at a rule that allows everything, since the kernel's verifier takes no
/// program with instructions that are never reached (lxc #3473).
fn program(rules: &[Rule]) -> Vec<u64> {
    let last = |result: u32| [instruction(MOVE_NUMBER, RESULT, 0, 0, result), instruction(EXIT, 0, 0, 0, 0)];
    if rules.iter().any(Rule::is_all) {
        return last(1).to_vec();
    }
    // struct bpf_cgroup_dev_ctx: access << 16 | kind, major, minor.
    let mut program = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, ACCESS, CONTEXT, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules {
        let kind = (rule.kind != Kind::Any).then_some(rule.kind as u32);
        let numbers = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
        // Each condition is one instruction that jumps to the next rule, but for that of the access, which is three.
        let mut left = numbers.iter().filter(|(_, number)| number.is_some()).count() as i16 + 2;
        if rule.access != ALL {
            left += 3;
            program.push(instruction(MOVE, CONTEXT, ACCESS, 0, 0));
            program.push(instruction(AND, CONTEXT, 0, 0, u32::from(rule.access)));
            program.push(instruction(UNLESS, CONTEXT, ACCESS, left - 3, 0));
            left -= 3;
        }
        for (register, number) in numbers {
            let Some(number) = number else { continue };
            left -= 1;
            program.push(instruction(UNLESS_NUMBER, register, 0, left, number));
        }
        program.extend(last(1));
    }
    program.extend(last(0));
    program
}

#[cfg(test)]
mod tests;
