//! The kernel's switches for each interface: the directories net/ipv4/conf and net/ipv6/conf of /proc/sys (ip-sysctl.rst).
//!
//! What is below them belongs to the network namespace in which the directory was opened, whoever writes to it later: so PID 1 of a
//! container can set back what was changed outside.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::linux::file;

/// The two directories. None: it cannot be opened.
pub(crate) struct Conf {
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
}

/// One switch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Switch {
    pub(crate) v6: bool,
    /// `INTERFACE/NAME`.
    pub(crate) file: CString,
    /// A digit.
    pub(crate) value: u8,
    /// What it was.
    pub(crate) was: u8,
}

pub(crate) const DIRECTORIES: [&CStr; 2] = [c"/proc/sys/net/ipv4/conf", c"/proc/sys/net/ipv6/conf"];

impl Conf {
    /// Of the namespace that the process is in.
    pub(crate) fn open() -> Self {
        let [v4, v6] = DIRECTORIES.map(|path| file::open_dir(CWD, path).ok());
        Self { v4, v6 }
    }

    fn dir(&self, v6: bool) -> Result<&OwnedFd, Errno> {
        if v6 { &self.v6 } else { &self.v4 }.as_ref().ok_or(Errno::NOENT)
    }

    /// None: there is no such switch. Does not allocate.
    pub(crate) fn get(&self, v6: bool, file: &CStr) -> Option<u8> {
        let mut text = [0u8; 1];
        let fd = file::open_no_link(self.dir(v6).ok()?.as_fd(), file).ok()?;
        (rustix::io::read(fd, &mut text) == Ok(1)).then_some(text[0])
    }

    /// Does not allocate.
    pub(crate) fn set(&self, v6: bool, file: &CStr, value: u8) -> Result<(), Errno> {
        file::write(self.dir(v6)?.as_fd(), file, &[value])
    }

    /// That one is to be switched; None: it is so already, or cannot be.
    pub(crate) fn wish(&self, v6: bool, interface: &CStr, name: &str, value: u8) -> Option<Switch> {
        let file = CString::new([interface.to_bytes(), b"/", name.as_bytes()].concat()).ok()?;
        let was = self.get(v6, &file)?;
        (was != value).then_some(Switch { v6, file, value, was })
    }
}
