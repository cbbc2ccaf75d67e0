//! Small files, whole, by directory descriptor.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// What every open here has in common: nothing leaks into the payload, no terminal becomes ours.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY);

/// Opens for reading. Follows symbolic links: for the host's own files and what the user named.
pub(crate) fn open(dir: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, ALWAYS | OFlags::RDONLY, Mode::empty())
}

/// Opens for reading what is no symbolic link itself.
pub(crate) fn open_no_link(dir: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, ALWAYS | OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())
}

/// A handle (O_PATH) of whatever a path of the host's leads to: nothing of it is read or woken.
pub(crate) fn handle(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(rustix::fs::CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// The same of a single name in a directory, itself if it is a link.
pub(crate) fn handle_in(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Opens a directory that is no symbolic link itself.
pub(crate) fn open_dir(dir: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = ALWAYS | OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

/// The whole file, as far as it can be read.
pub(crate) fn read(dir: impl AsFd, path: &CStr) -> Result<Vec<u8>, Errno> {
    read_all(open(dir, path)?, usize::MAX)
}

/// The whole open file. EFBIG: it has more than so many bytes.
pub(crate) fn read_all(fd: OwnedFd, most: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    loop {
        if bytes.len() > most {
            return Err(Errno::FBIG);
        }
        if bytes.capacity() - bytes.len() < 1024 {
            bytes.reserve(4096);
        }
        match rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// What one read gives of a small file: the whole, if it is shorter than `bytes`. Does not allocate.
pub(crate) fn read_short<'a>(dir: impl AsFd, path: &CStr, bytes: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let length = rustix::io::read(open(dir, path)?, &mut *bytes)?;
    Ok(&bytes[..length])
}

/// The whole file as text; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn read_text(dir: impl AsFd, path: &CStr) -> Result<String, Errno> {
    let bytes = read(dir, path)?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into_owned()))
}

/// One write into an existing file, as control files of cgroupfs and procfs want it.
pub(crate) fn write(dir: impl AsFd, path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let fd = rustix::fs::openat(dir, path, ALWAYS | OFlags::WRONLY, Mode::empty())?;
    write_all(fd, text)
}

/// A file without a name, open at its start, that has these bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn unnamed(bytes: &[u8]) -> OwnedFd {
    let fd = rustix::fs::memfd_create(c"nsctl", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    write_all(&fd, bytes).unwrap();
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0)).unwrap();
    fd
}

/// Makes the file or replaces it as a whole: a reader sees the old text or the new, never a part.
/// `temporary` is a name in the same directory.
pub(crate) fn replace(dir: impl AsFd, temporary: &CStr, path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let dir = dir.as_fd();
    let flags = ALWAYS | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(dir, temporary, flags, Mode::from_raw_mode(0o644))?;
    let done = write_all(fd, text).and_then(|()| rustix::fs::renameat(dir, temporary, dir, path));
    if done.is_err() {
        let _ = rustix::fs::unlinkat(dir, temporary, AtFlags::empty());
    }
    done
}

pub(crate) fn write_all(fd: impl AsFd, mut text: &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        match rustix::io::write(&fd, text) {
            Ok(written) => text = &text[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
