//! Text of a fixed capacity, for what is put together after a clone, where nothing is allocated.

use std::ffi::os_str::Display;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

/// What the kernel is given as a part of a sentence; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn shown(text: &CStr) -> Display<'_> {
    OsStr::from_bytes(text.to_bytes()).display()
}

/// Up to `N` - 1 bytes, always followed by a NUL.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

/// The longest path that the kernel takes (PATH_MAX), and the most that mount(2) reads of its options (a page).
pub(crate) type Path = Text<4096>;

impl<const N: usize> Text<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Ends at the first NUL byte, should one have been pushed.
    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes[..=self.length]).unwrap_or_default()
    }

    /// ENAMETOOLONG: no room.
    pub(crate) fn push(&mut self, more: &[u8]) -> Result<(), Errno> {
        let end = self.length + more.len();
        if end >= N {
            return Err(Errno::NAMETOOLONG);
        }
        self.bytes[self.length..end].copy_from_slice(more);
        self.bytes[end] = 0;
        self.length = end;
        Ok(())
    }

    /// Appends a number in decimal.
    pub(crate) fn push_number(&mut self, number: u64) -> Result<(), Errno> {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return self.push(&digits[at..]);
            }
        }
    }

    /// Fills it up with blanks and ends the line: what is written over in place always has one length, N - 1.
    pub(crate) fn fill(&mut self) -> Result<(), Errno> {
        while self.length + 2 < N {
            self.push(b" ")?;
        }
        self.push(b"\n")
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        if length < self.length {
            self.length = length;
            self.bytes[length] = 0;
        }
    }
}

/// `/proc/self/fd/N`: a descriptor for the system calls that take only paths. It leads to exactly what the descriptor is,
/// whatever names have become.
pub(crate) fn fd_path(fd: BorrowedFd<'_>) -> Text<32> {
    let mut text = Text::new();
    // 14 bytes and at most 10 digits always fit.
    let _ = text.push(b"/proc/self/fd/").and_then(|()| text.push_number(fd.as_raw_fd() as u64));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_does_not_is_refused() {
        let mut text: Text<8> = Text::new();
        text.push(b"abc").unwrap();
        text.push_number(407).unwrap();
        assert_eq!(text.as_c_str(), c"abc407");
        assert_eq!(text.push(b"xy"), Err(Errno::NAMETOOLONG));
        assert_eq!(text.as_bytes(), b"abc407");
        text.truncate(2);
        assert_eq!(text.as_c_str(), c"ab");
        text.push_number(0).unwrap();
        assert_eq!(text.as_c_str(), c"ab0");
    }
}
