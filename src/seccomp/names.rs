//! The names of system calls, and their numbers on this processor and on those whose programs it runs, too. build.rs uses this file as
//! well, and packs the tables from the constants of linux-raw-sys.

/// One of the architectures whose system calls a kernel takes.
pub(crate) struct Architecture {
    /// As profiles name it.
    pub(crate) name: &'static str,
    /// AUDIT_ARCH_*
    pub(crate) audit: u32,
    /// What is added to its numbers: __X32_SYSCALL_BIT.
    pub(crate) base: u32,
    /// Where linux-raw-sys has it.
    #[allow(dead_code)] // build.rs's
    pub(crate) directory: &'static str,
}

const fn architecture(name: &'static str, audit: u32, base: u32, directory: &'static str) -> Architecture {
    Architecture { name, audit, base, directory }
}

impl Architecture {
    /// Its programs have arguments of 32 bits: it has no __AUDIT_ARCH_64BIT, or only in the number of its kernel's.
    #[allow(dead_code)] // not build.rs's
    pub(crate) fn is_narrow(&self) -> bool {
        self.audit & 0x8000_0000 == 0 || self.base != 0
    }
}

static X86_64: [Architecture; 3] = [
    architecture("SCMP_ARCH_X86_64", 0xc000_003e, 0, "x86_64"),
    architecture("SCMP_ARCH_X32", 0xc000_003e, 0x4000_0000, "x32"),
    architecture("SCMP_ARCH_X86", 0x4000_0003, 0, "x86"),
];
static AARCH64: [Architecture; 2] = [
    architecture("SCMP_ARCH_AARCH64", 0xc000_00b7, 0, "aarch64"),
    architecture("SCMP_ARCH_ARM", 0x4000_0028, 0, "arm"),
];
static RISCV64: [Architecture; 1] = [architecture("SCMP_ARCH_RISCV64", 0xc000_00f3, 0, "riscv64")];

/// By Rust's name of a processor: itself, and whose programs it runs, too. Those of one AUDIT_ARCH_* stand together.
pub(crate) const fn architectures(processor: &str) -> &'static [Architecture] {
    match processor.as_bytes() {
        b"x86_64" => &X86_64,
        b"aarch64" => &AARCH64,
        b"arm" => AARCH64.split_at(1).1,
        b"riscv64" => &RISCV64,
        _ => &[],
    }
}

pub(crate) struct Names {
    text: String,
    calls: Vec<Call>,
    /// The first call with this hash.
    first: [u16; 256],
}

struct Call {
    /// Its name's place in the text.
    start: u16,
    length: u16,
    /// One per architecture.
    numbers: [u32; 3],
    /// The next call with the same hash.
    next: u16,
}

/// No call.
const NONE: u16 = u16::MAX;
/// The call is not there: no two numbers are so far from each other.
pub(crate) const NO_NUMBER: u16 = 0x8000;
/// Numbers of more than 16 bits, all of them ARM's own, from __ARM_NR_BASE on.
const PRIVATE: u32 = 0xf_0000;

fn hash(name: &[u8]) -> usize {
    name.iter().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(*byte))) % 256
}

impl Names {
    /// As [`pack`] made them.
    pub(crate) fn unpack(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|pair| pair == [0, 0])?;
        let text = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let columns = &bytes[end + 2..];
        let count = text.split('\0').count();
        let mut names = Self { calls: Vec::with_capacity(count), first: [NONE; 256], text: String::new() };
        let mut start = 0;
        for name in text.split('\0') {
            let slot = &mut names.first[hash(name.as_bytes())];
            let length = name.len() as u16;
            let call = Call { start, length, numbers: [u32::MAX; 3], next: *slot };
            *slot = names.calls.len() as u16;
            names.calls.push(call);
            start += length + 1;
        }
        for (architecture, column) in columns.chunks(2 * count).enumerate() {
            let mut last = 0u16;
            for (call, delta) in names.calls.iter_mut().zip(column.chunks_exact(2)) {
                let delta = u16::from_le_bytes([delta[0], delta[1]]);
                if delta != NO_NUMBER {
                    last = last.wrapping_add(delta);
                    let number = u32::from(last);
                    *call.numbers.get_mut(architecture)? =
                        if last >= 0xf000 { PRIVATE + (number & 0xfff) } else { number };
                }
            }
        }
        names.text = text;
        Some(names)
    }

    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn name(&self, call: usize) -> &str {
        let Call { start, length, .. } = self.calls[call];
        &self.text[usize::from(start)..][..usize::from(length)]
    }

    /// Its number on the architecture that stands here in the list.
    pub(crate) fn number(&self, call: usize, architecture: usize) -> Option<u32> {
        Some(self.calls[call].numbers[architecture]).filter(|number| *number != u32::MAX)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        let mut at = self.first[hash(name.as_bytes())];
        while at != NONE && self.name(usize::from(at)) != name {
            at = self.calls[usize::from(at)].next;
        }
        (at != NONE).then_some(usize::from(at))
    }
}
