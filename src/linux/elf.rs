//! Why an existing file could not be executed: its interpreter is missing, it is for another architecture, it is no program.
//! execve(2) says only ENOENT, ENOEXEC or EACCES.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use linux_raw_sys::elf::{EM_CURRENT, PT_INTERP};
use rustix::fs::{AtFlags, FileType};

use super::file;

#[derive(Debug, PartialEq)]
pub(crate) enum Trouble {
    /// The file itself is not there.
    Missing,
    /// What `#!` or PT_INTERP names is not there.
    NoInterpreter(String),
    /// An ELF file for this machine (an EM_* number, or its name where we know it).
    OtherMachine(String),
    /// Neither ELF nor `#!`.
    NoFormat,
    Directory,
    /// A device, a FIFO or a socket: nothing that may be opened to look.
    Special,
    /// No execute bit in the file's mode.
    NotExecutable,
}

/// Looks at the file that execve refused. None: nothing wrong to be seen from here.
#[cold]
#[inline(never)]
pub(crate) fn trouble(dir: impl AsFd, path: &CStr) -> Option<Trouble> {
    let dir = dir.as_fd();
    let Ok(stat) = rustix::fs::statat(dir, path, AtFlags::empty()) else { return Some(Trouble::Missing) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Some(Trouble::Directory),
        FileType::RegularFile => {}
        _ => return Some(Trouble::Special),
    }
    if stat.st_mode & 0o111 == 0 {
        return Some(Trouble::NotExecutable);
    }
    let fd = file::open(dir, path).ok()?;
    let mut bytes = vec![0; 64 << 10];
    let length = rustix::io::pread(&fd, &mut bytes, 0).ok()?;
    bytes.truncate(length);
    let interpreter = match bytes.get(..4) {
        Some([b'#', b'!', ..]) => shebang(&bytes)?,
        Some(b"\x7fELF") => {
            let machine = number(&bytes, 18, 2)?;
            if machine != u64::from(EM_CURRENT) {
                return Some(Trouble::OtherMachine(machine_name(machine)));
            }
            program_interpreter(&bytes)?
        }
        _ => return Some(Trouble::NoFormat),
    };
    let c_path = CString::new(interpreter.as_bytes()).ok()?;
    rustix::fs::statat(dir, &c_path, AtFlags::empty()).is_err().then_some(Trouble::NoInterpreter(interpreter))
}

impl Trouble {
    /// For the way from the process that saw it to the one that says it: a number and a text.
    pub(crate) fn parts(&self) -> (u8, &str) {
        match self {
            Self::Missing => (1, ""),
            Self::NoInterpreter(path) => (2, path),
            Self::OtherMachine(name) => (3, name),
            Self::NoFormat => (4, ""),
            Self::Directory => (5, ""),
            Self::Special => (6, ""),
            Self::NotExecutable => (7, ""),
        }
    }

    pub(crate) fn from_parts(number: u8, text: String) -> Option<Self> {
        Some(match number {
            1 => Self::Missing,
            2 => Self::NoInterpreter(text),
            3 => Self::OtherMachine(text),
            4 => Self::NoFormat,
            5 => Self::Directory,
            6 => Self::Special,
            7 => Self::NotExecutable,
            _ => return None,
        })
    }
}

fn shebang(bytes: &[u8]) -> Option<String> {
    let line = bytes[2..].split(|byte| *byte == b'\n').next()?.trim_ascii();
    let path = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    Some(String::from_utf8_lossy(path).into_owned())
}

/// PT_INTERP of an ELF file (elf(5)); None for a static one.
fn program_interpreter(bytes: &[u8]) -> Option<String> {
    let wide = bytes[4] == 2;
    let (table, entry, count) = if wide {
        (number(bytes, 32, 8)?, number(bytes, 54, 2)?, number(bytes, 56, 2)?)
    } else {
        (number(bytes, 28, 4)?, number(bytes, 42, 2)?, number(bytes, 44, 2)?)
    };
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * entry)?).ok()?;
        if number(bytes, at, 4)? == u64::from(PT_INTERP) {
            let (offset, size) = if wide {
                (number(bytes, at + 8, 8)?, number(bytes, at + 32, 8)?)
            } else {
                (number(bytes, at + 4, 4)?, number(bytes, at + 16, 4)?)
            };
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            let path = bytes.get(start..end)?.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    None
}

/// An integer of the ELF file in its own byte order.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    let big_endian = bytes[5] == 2;
    let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    Some(if big_endian { field.iter().fold(0, fold) } else { field.iter().rev().fold(0, fold) })
}

fn machine_name(machine: u64) -> String {
    let known = [
        (3, "i386"),
        (8, "MIPS"),
        (20, "PowerPC"),
        (21, "PowerPC 64"),
        (22, "S/390"),
        (40, "ARM (32 bit)"),
        (62, "x86-64"),
        (183, "AArch64"),
        (243, "RISC-V"),
        (258, "LoongArch"),
    ];
    known
        .iter()
        .find(|(number, _)| *number == machine)
        .map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).to_string())
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    use std::os::fd::AsRawFd;
    let file = file::unnamed(bytes);
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default();
    if let Some(trouble) = trouble(rustix::fs::CWD, &path) {
        let (number, text) = trouble.parts();
        assert!(Trouble::from_parts(number, text.into()) == Some(trouble));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_of_scripts() {
        assert_eq!(shebang(b"#!/bin/sh -e\nexit").as_deref(), Some("/bin/sh"));
        assert_eq!(shebang(b"#! /usr/bin/env python\n").as_deref(), Some("/usr/bin/env"));
    }

    #[test]
    fn truncated_elf_files_are_no_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        for length in (4..200).chain([1000, 4096]) {
            let cut = &own[..length];
            if length > 20 {
                let _ = program_interpreter(cut);
            }
            let _ = number(cut, length, 2);
        }
        assert!(number(&own, usize::MAX, 8).is_none());
    }
}
