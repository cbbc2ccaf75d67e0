//! From rules to a program of classic BPF (seccomp(2), bpf(2) of BSD): the processor architecture first, then a balanced decision
//! tree over ranges of system call numbers, then what the arguments must be. It only uses instructions that the kernel's look-ahead
//! for calls that are always allowed understands (seccomp_is_const_allow, Linux 5.11): those then cost nothing at all.
//! build.rs uses this file, too.

/// struct sock_filter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) k: u32,
}

/// SECCOMP_RET_*, the lower half is data: an errno, or what a tracer gets.
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const ALLOW: u32 = 0x7fff_0000;

/// What [`decide`] has to put a verdict in the place of; the lower half says which one. It is none of the kernel's, which would kill.
pub(crate) const OPEN: u32 = 0x0006_0000;

pub(crate) const EPERM: u32 = 1;
pub(crate) const ENOSYS: u32 = 38;

/// The most instructions that the kernel takes (BPF_MAXINSNS).
pub(crate) const MOST: usize = 4096;

/// Numbers are compared without a sign, as the kernel has them: 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What one argument, after an AND with the mask, must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) argument: u8,
    pub(crate) mask: u64,
    pub(crate) compare: Compare,
    pub(crate) value: u64,
}

/// What happens if all conditions hold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    /// SECCOMP_RET_* and its data.
    pub(crate) verdict: u32,
}

impl Rule {
    pub(crate) fn always(verdict: u32) -> Self {
        Self { conditions: Vec::new(), verdict }
    }
}

/// The first of the rules that holds; the last one always does.
pub(crate) type Rules = Vec<Rule>;

/// All numbers from the first one on, up to the next range.
pub(crate) type Range = (u32, Rules);

/// From a number on this verdict, where no call is.
pub(crate) type Gap = (u32, u32);

/// The numbers of an architecture as ranges. `gaps`: what holds from a number on where `calls` says nothing, from 0 up; `calls` in
/// any order.
pub(crate) fn ranges(gaps: &[Gap], mut calls: Vec<(u32, Rules)>) -> Vec<Range> {
    calls.sort_by_key(|(number, _)| *number);
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |from: u32, rules: Rules| match ranges.last_mut() {
        Some((_, last)) if *last == rules => {}
        Some((start, last)) if *start == from => *last = rules,
        _ => ranges.push((from, rules)),
    };
    let mut calls = calls.into_iter().peekable();
    for (index, (from, verdict)) in gaps.iter().enumerate() {
        let end = gaps.get(index + 1).map_or(u64::from(u32::MAX) + 1, |(next, _)| u64::from(*next));
        let mut at = u64::from(*from);
        while let Some((number, rules)) = calls.next_if(|(number, _)| u64::from(*number) < end) {
            if at < u64::from(number) {
                add(at as u32, vec![Rule::always(*verdict)]);
            }
            at = u64::from(number) + 1;
            add(number, rules);
        }
        if at < end {
            add(at as u32, vec![Rule::always(*verdict)]);
        }
    }
    ranges
}

/// The program for the architectures (AUDIT_ARCH_*) that are known; whoever uses another one is killed. None: it is too long.
pub(crate) fn compile(architectures: &[(u32, Vec<Range>)]) -> Option<Vec<Instruction>> {
    let mut program = Assembler::default();
    // From the end to the start, since jumps only go forwards.
    let mut next = program.verdict(KILL_PROCESS);
    for (audit, ranges) in architectures.iter().rev() {
        let mut leaves = Vec::new();
        let tree = program.tree(ranges, &mut leaves);
        let numbered = program.load(NUMBER, tree);
        next = program.branch(JUMP_EQUAL, *audit, numbered, next);
    }
    program.load(ARCHITECTURE, next);
    program.backwards.reverse();
    (program.backwards.len() <= MOST).then_some(program.backwards)
}

/// As the kernel reads it.
pub(crate) fn bytes(program: &[Instruction]) -> Vec<u8> {
    let bytes = |one: &Instruction| {
        let ([a, b], [c, d, e, f]) = (one.code.to_ne_bytes(), one.k.to_ne_bytes());
        [a, b, one.jump_true, one.jump_false, c, d, e, f]
    };
    program.iter().flat_map(bytes).collect()
}

/// Puts the verdicts into a program, as the kernel reads it, that were left open: `verdict` says them by their number.
#[allow(dead_code)] // not build.rs's
pub(crate) fn decide(program: &mut [u8], verdict: impl Fn(usize) -> u32) {
    for one in program.chunks_exact_mut(8) {
        let [a, b, _, _, k @ ..] = one else { continue };
        let Ok(old) = <[u8; 4]>::try_from(&*k).map(u32::from_ne_bytes) else { continue };
        if u16::from_ne_bytes([*a, *b]) == RETURN && old & 0xffff_0000 == OPEN {
            k.copy_from_slice(&verdict((old & 0xffff) as usize).to_ne_bytes());
        }
    }
}

// BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_JMP|BPF_J*|BPF_K, BPF_RET|BPF_K.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

// Where struct seccomp_data has them.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// An instruction, counted from the end of the program.
type Label = usize;

#[derive(Default)]
struct Assembler {
    backwards: Vec<Instruction>,
    /// Where a verdict was last put.
    verdicts: Vec<(u32, Label)>,
}

impl Assembler {
    fn put(&mut self, code: u16, jumps: [u8; 2], k: u32) -> Label {
        self.backwards.push(Instruction { code, jump_true: jumps[0], jump_false: jumps[1], k });
        self.backwards.len() - 1
    }

    /// How many instructions the next one would have to skip.
    fn distance(&self, to: Label) -> usize {
        self.backwards.len() - 1 - to
    }

    /// One that returns this, near enough for most jumps.
    fn verdict(&mut self, verdict: u32) -> Label {
        let near = |(value, at): &&(u32, Label)| *value == verdict && self.backwards.len() - at < 200;
        if let Some((_, at)) = self.verdicts.iter().rev().find(near) {
            return *at;
        }
        let at = self.put(RETURN, [0, 0], verdict);
        self.verdicts.push((verdict, at));
        at
    }

    /// The same, within the reach of a conditional jump that is put after at most one more instruction.
    fn near(&mut self, to: Label) -> Label {
        if self.distance(to) < 255 {
            return to;
        }
        let target = self.backwards[to];
        if target.code == RETURN {
            return self.put(RETURN, [0, 0], target.k);
        }
        let skip = self.distance(to) as u32;
        self.put(JUMP, [0, 0], skip)
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let jumps = [yes, no].map(|to| self.distance(to) as u8);
        self.put(code, jumps, k)
    }

    /// A load, and on to this.
    fn load(&mut self, offset: u32, then: Label) -> Label {
        let skip = self.distance(then);
        if skip > 0 {
            self.put(JUMP, [0, 0], skip as u32);
        }
        self.put(LOAD, [0, 0], offset)
    }

    /// Half of the ranges to each side. `leaves`: the rules with conditions that are there already.
    fn tree<'a>(&mut self, ranges: &'a [Range], leaves: &mut Vec<(&'a Rules, Label)>) -> Label {
        if let [(_, rules)] = ranges {
            return self.leaf(rules, leaves);
        }
        let (left, right) = ranges.split_at(ranges.len() / 2);
        let high = self.tree(right, leaves);
        let low = self.tree(left, leaves);
        self.branch(JUMP_GREATER_OR_EQUAL, right[0].0, high, low)
    }

    fn leaf<'a>(&mut self, rules: &'a Rules, leaves: &mut Vec<(&'a Rules, Label)>) -> Label {
        if let Some(Rule { conditions, verdict }) = rules.first()
            && conditions.is_empty()
        {
            return self.verdict(*verdict);
        }
        if let Some((_, at)) = leaves.iter().find(|(known, _)| *known == rules) {
            return *at;
        }
        let [rest @ .., last] = &rules[..] else { return self.verdict(KILL_PROCESS) };
        let mut at = self.verdict(last.verdict);
        for Rule { conditions, verdict } in rest.iter().rev() {
            let otherwise = at;
            at = self.verdict(*verdict);
            for condition in conditions.iter().rev() {
                at = self.condition(condition, at, otherwise);
            }
        }
        leaves.push((rules, at));
        at
    }

    /// Both halves of an argument, the upper one first.
    fn condition(&mut self, condition: &Condition, yes: Label, no: Label) -> Label {
        let Condition { argument, mask, compare, value } = *condition;
        let (yes, no) = match compare {
            Compare::Equal | Compare::Greater | Compare::GreaterOrEqual => (yes, no),
            Compare::NotEqual | Compare::Less | Compare::LessOrEqual => (no, yes),
        };
        let last = match compare {
            Compare::Equal | Compare::NotEqual => JUMP_EQUAL,
            Compare::Greater | Compare::LessOrEqual => JUMP_GREATER,
            Compare::GreaterOrEqual | Compare::Less => JUMP_GREATER_OR_EQUAL,
        };
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let ([mask_low, mask_high], [low, high]) = (halves(mask), halves(value));
        let at = ARGUMENTS + 8 * u32::from(argument);
        let [low_at, high_at] = if cfg!(target_endian = "big") { [at + 4, at] } else { [at, at + 4] };
        let lower = self.branch(last, low, yes, no);
        let lower = self.masked(low_at, mask_low, lower);
        if mask_high == 0 {
            return if high == 0 { lower } else { no };
        }
        let unequal = if last == JUMP_EQUAL { no } else { self.branch(JUMP_GREATER, high, yes, no) };
        let upper = self.branch(JUMP_EQUAL, high, lower, unequal);
        self.masked(high_at, mask_high, upper)
    }

    fn masked(&mut self, offset: u32, mask: u32, mut then: Label) -> Label {
        if mask != u32::MAX {
            let skip = self.distance(then);
            if skip > 0 {
                self.put(JUMP, [0, 0], skip as u32);
            }
            then = self.put(AND, [0, 0], mask);
        }
        self.load(offset, then)
    }
}

/// Whether the kernel would take it (bpf_check_classic(), seccomp_check_filter()).
#[cfg(any(test, fuzzing))]
pub(super) fn is_sound(program: &[u8]) -> bool {
    let count = program.len() / 8;
    let sound = |(at, bytes): (usize, &[u8])| {
        let k = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        match u16::from_ne_bytes([bytes[0], bytes[1]]) {
            LOAD => k.is_multiple_of(4) && k < 64,
            JUMP => at + 1 + k < count,
            code if code & 7 == 5 => at + 1 + usize::from(bytes[2].max(bytes[3])) < count,
            _ => true,
        }
    };
    let ends = program.chunks_exact(8).next_back().is_some_and(|last| last[0] == 6);
    ends && count <= MOST && program.chunks_exact(8).enumerate().all(sound)
}
