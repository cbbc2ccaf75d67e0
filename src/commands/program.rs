//! Which file a command is, by PATH.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::error::{Error, NOT_EXECUTABLE, NOT_FOUND, Result};
use crate::linux::text::shown;
use crate::plan::DEFAULT_PATH;

pub(super) type Environ = Vec<(OsString, OsString)>;

pub(super) fn environ() -> Environ {
    std::env::vars_os().collect()
}

pub(super) fn search_path(environ: &[(OsString, OsString)]) -> OsString {
    environ.iter().find(|(name, _)| name == "PATH").map_or_else(|| DEFAULT_PATH.into(), |(_, path)| path.clone())
}

/// The files that a command may be, in the order of execvp(3).
pub(super) fn candidates(command: &OsStr, path: &OsStr) -> Result<Vec<CString>> {
    let bytes = command.as_bytes();
    let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Error::new("the command has a NUL byte in it"));
    let dirs = path.as_bytes().split(|byte| *byte == b':').filter(|dir| dir.first() == Some(&b'/'));
    let found: Vec<CString> = match bytes {
        _ if bytes.contains(&b'/') => vec![c_string(bytes.to_vec())?],
        b"" => Vec::new(),
        _ => dirs.map(|dir| c_string([dir, b"/", bytes].concat())).collect::<Result<_>>()?,
    };
    if found.is_empty() {
        return Err(Error::new(format_args!("execute {}: PATH names no directory", command.display()))
            .hint(format_args!("PATH is {}", path.display()))
            .code(NOT_FOUND));
    }
    Ok(found)
}

/// A program of the host's that nsctl itself needs.
pub(super) fn find_program(name: &str) -> Result<CString> {
    find(name, &search_path(&environ()))
}

/// execvp's search, before the clone: the first executable file of that name in PATH. A name with a slash is taken as
/// it is. Empty and relative entries of PATH are passed over: they would mean the directory one happens to be in.
pub(super) fn find(command: impl AsRef<OsStr>, path: &OsStr) -> Result<CString> {
    let command = command.as_ref();
    let c_string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Error::new("the command has a NUL byte in it"));
    let missing = |why: &str| Error::new(format_args!("execute {}: {why}", command.display())).code(NOT_FOUND);
    if command.is_empty() {
        return Err(missing("the command is empty"));
    }
    if command.as_bytes().contains(&b'/') {
        return c_string(command.as_bytes().to_vec());
    }
    let mut refused = None;
    for dir in path.as_bytes().split(|byte| *byte == b':').filter(|dir| dir.first() == Some(&b'/')) {
        let candidate = c_string([dir, b"/", command.as_bytes()].concat())?;
        let Ok(stat) = rustix::fs::statat(CWD, &candidate, AtFlags::empty()) else { continue };
        let file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if file && rustix::fs::accessat(CWD, &candidate, Access::EXEC_OK, AtFlags::empty()).is_ok() {
            return Ok(candidate);
        }
        refused.get_or_insert(candidate);
    }
    match refused {
        Some(file) => Err(Error::os(format_args!("execute {}", shown(&file)), Errno::ACCESS)
            .hint("it is a directory or not executable (chmod +x)")
            .code(NOT_EXECUTABLE)),
        None => Err(missing("no such file in PATH").hint(format_args!("PATH is {}", path.display()))),
    }
}
