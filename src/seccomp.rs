//! Which system calls a container's processes may make: the filters of seccomp(2).
//!
//!     default.txt, default.rs: build.rs ─▶ a program with verdicts that capabilities decide at the start ─┐
//!                                                                                                        ├─▶ seccomp(2)
//!     a profile's JSON (oci) ─▶ rules ─▶ program (a tree over ranges of numbers, per architecture) ───────┘
//!                   names: numbers per architecture, packed by build.rs from the kernel's headers

use std::os::fd::OwnedFd;

use miniz_oxide::inflate::decompress_to_vec;
use rustix::io::Errno;

use crate::error::Result;
use crate::linux::sys::seccomp as sys;
use names::{Architecture, Names};
use program::{ALLOW, ERRNO, KILL_PROCESS};

mod names;
mod numbers;
mod oci;
mod program;

/// A program, and how it is loaded.
#[derive(Debug, PartialEq)]
pub(crate) struct Filter {
    /// struct sock_filter, one after the other.
    program: Vec<u8>,
    /// SECCOMP_FILTER_FLAG_*
    flags: u32,
    listener: Option<Listener>,
}

/// Who decides about calls of SCMP_ACT_NOTIFY: a unix socket of the host's, and what is to be told there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listener {
    pub(crate) path: String,
    pub(crate) metadata: String,
}

/// What to do where filters cannot be loaded.
pub(crate) const NEEDS: &str = "seccomp filters need a kernel with CONFIG_SECCOMP_FILTER";

const ARCHITECTURES: &[Architecture] = names::architectures(std::env::consts::ARCH);

/// What default.rs packed.
static DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.bpf"));

fn names() -> Names {
    let packed = decompress_to_vec(include_bytes!(concat!(env!("OUT_DIR"), "/seccomp.names")));
    Names::unpack(&packed.unwrap_or_default()).expect("build.rs packed it")
}

impl Filter {
    /// What holds if nobody says otherwise. `capabilities` are those that the container may have, as bits.
    pub(crate) fn default(capabilities: u64) -> Self {
        let (open, program) = DEFAULT[1..].split_at(9 * usize::from(DEFAULT[0]));
        let mut program = program.to_vec();
        program::decide(&mut program, |number| {
            match open.get(9 * number..).and_then(|rest| rest.first_chunk::<9>()) {
                Some([needed @ .., _]) if u64::from_le_bytes(*needed) & capabilities != 0 => ALLOW,
                Some([.., errno]) => ERRNO | u32::from(*errno),
                None => KILL_PROCESS,
            }
        });
        Self { program, flags: sys::SPEC_ALLOW, listener: None }
    }

    /// Out of a profile's text.
    pub(crate) fn profile(text: &[u8], capabilities: u64) -> Result<Self> {
        let uname = rustix::system::uname();
        let kernel = uname.release().to_str().ok().and_then(oci::version).unwrap_or_default();
        oci::filter(text, &oci::World { architectures: ARCHITECTURES, names: &names(), capabilities, kernel })
    }

    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// As strace shows them.
    pub(crate) fn flags(&self) -> String {
        let names = [
            (sys::TSYNC, "TSYNC"),
            (sys::LOG, "LOG"),
            (sys::SPEC_ALLOW, "SPEC_ALLOW"),
            (sys::NEW_LISTENER, "NEW_LISTENER"),
            (sys::WAIT_KILLABLE_RECV, "WAIT_KILLABLE_RECV"),
        ];
        let set = names.iter().filter(|(bit, _)| self.flags & bit != 0);
        let set: Vec<_> = set.map(|(_, name)| ["SECCOMP_FILTER_FLAG_", name].concat()).collect();
        if set.is_empty() { "0".into() } else { set.join("|") }
    }

    /// Loads it into this process; with a listener, it is returned.
    pub(crate) fn load(&self) -> std::result::Result<Option<OwnedFd>, Errno> {
        sys::load(&self.program, self.flags)
    }

    /// What [`Filter::restore`] reads.
    pub(crate) fn save(&self) -> Vec<u8> {
        let [path, metadata] =
            self.listener.as_ref().map_or(["", ""], |listener| [&*listener.path, &*listener.metadata]);
        let texts = [path.as_bytes(), b"\0", metadata.as_bytes(), b"\0"];
        [&self.flags.to_le_bytes(), &*texts.concat(), &self.program].concat()
    }

    /// None: it was not saved by this program.
    pub(crate) fn restore(bytes: &[u8]) -> Option<Self> {
        let (flags, rest) = bytes.split_first_chunk()?;
        let mut parts = rest.splitn(3, |byte| *byte == 0);
        let mut text = || String::from_utf8(parts.next()?.to_vec()).ok();
        let (path, metadata) = (text()?, text()?);
        let listener = Some(Listener { path, metadata }).filter(|listener| !listener.path.is_empty());
        Some(Self { program: parts.next()?.to_vec(), flags: u32::from_le_bytes(*flags), listener })
    }
}

/// A profile, for a command with few capabilities and with all; or what was saved of one.
#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    for capabilities in [0, crate::linux::caps::DEFAULT, u64::MAX] {
        let Ok(filter) = Filter::profile(bytes, capabilities) else { continue };
        assert!(program::is_sound(&filter.program) && Filter::restore(&filter.save()).as_ref() == Some(&filter));
    }
    if let Some(filter) = Filter::restore(bytes) {
        let _ = (filter.flags(), Filter::restore(&filter.save()).unwrap());
    }
}

#[cfg(test)]
mod default;
#[cfg(test)]
#[allow(dead_code)] // build.rs needs the rest
mod pack;
#[cfg(test)]
mod tests;
