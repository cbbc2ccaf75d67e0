//! What a container was made of, to make it again: the directory that nsctl was in, its words, and its variables, each followed by
//! a NUL byte as in /proc/PID/cmdline, so that any bytes come back as they were.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;

use super::NEW;
use crate::linux::file;

pub(super) const WORDS: &CStr = c"words";
pub(super) const ENVIRON: &CStr = c"environ";

pub(crate) struct Words {
    pub(crate) directory: OsString,
    pub(crate) words: Vec<OsString>,
    pub(crate) environ: Vec<(OsString, OsString)>,
}

impl Words {
    pub(crate) fn write(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut bytes = Vec::new();
        for word in std::iter::once(&self.directory).chain(&self.words) {
            bytes.extend_from_slice(word.as_bytes());
            bytes.push(0);
        }
        file::replace(dir, NEW, WORDS, &bytes)?;
        bytes.clear();
        for (name, value) in &self.environ {
            bytes.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
        }
        file::replace(dir, NEW, ENVIRON, &bytes)
    }

    pub(crate) fn read(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        Self::of(file::read(dir, WORDS)?, file::read(dir, ENVIRON)?)
    }

    /// What the two files say. EINVAL: not even a directory.
    pub(super) fn of(words: Vec<u8>, environ: Vec<u8>) -> Result<Self, Errno> {
        let split = |bytes: Vec<u8>| -> Vec<OsString> {
            let mut parts: Vec<_> =
                bytes.split(|byte| *byte == 0).map(|part| OsStr::from_bytes(part).into()).collect();
            // What follows the last NUL.
            parts.pop();
            parts
        };
        let mut words = split(words);
        if words.is_empty() {
            return Err(Errno::INVAL);
        }
        let pair = |variable: OsString| {
            let bytes = variable.into_vec();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
        };
        let environ = split(environ).into_iter().filter_map(pair).collect();
        Ok(Self { directory: words.remove(0), words, environ })
    }
}
