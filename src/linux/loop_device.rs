//! A file as a block device (loop(4)), read-only, gone with its last user.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::loop_device as l;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::sys;
use super::text::Text;

const CONTROL: &CStr = c"/dev/loop-control";
/// Of two who are told the same free number one gets EBUSY, and asks again.
const MOST_TRIES: u32 = 64;

/// A loop device of the file. It frees itself when the descriptor and whatever mounted it are gone (LO_FLAGS_AUTOCLEAR), however
/// we end. `direct`: not by way of the page cache of the file's own file system, where that can do it, so that nothing is in memory
/// twice.
pub(crate) fn attach(file: BorrowedFd<'_>, direct: bool) -> Result<(Text<32>, OwnedFd), Errno> {
    let read_write = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    let control = rustix::fs::openat(CWD, CONTROL, read_write, Mode::empty())?;
    for _ in 0..MOST_TRIES {
        let number = sys::ioctl_number(control.as_fd(), l::LOOP_CTL_GET_FREE)?;
        let mut path = Text::new();
        path.push(b"/dev/loop")?;
        path.push_number(number.into())?;
        let device = rustix::fs::openat(CWD, path.as_c_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        match configure(device.as_fd(), file, direct) {
            Ok(()) => return Ok((path, device)),
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::BUSY)
}

/// LOOP_CONFIGURE, Linux 5.8.
fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, direct: bool) -> Result<(), Errno> {
    let always = l::LO_FLAGS_READ_ONLY as u32 | l::LO_FLAGS_AUTOCLEAR as u32;
    let with = |flags: u32| {
        let config = sys::loop_config(file.as_raw_fd() as u32, flags);
        sys::configure_loop(device, &config)
    };
    if direct {
        match with(always | l::LO_FLAGS_DIRECT_IO as u32) {
            // The file's file system cannot do it.
            Err(Errno::INVAL) => {}
            other => return other,
        }
    }
    with(always)
}
