//! What went wrong, as a sentence: the act, the object, the kernel's word and the way out.
//! Also the table of nsctl's own exit codes, which are part of its interface.

use std::fmt;

use miniserde::Serialize;
use rustix::io::Errno;

use crate::linux::clock;

/// nsctl itself failed, or was asked for something that makes no sense (docker's and podman's number).
pub(crate) const FAILED: u8 = 125;
/// The command exists but cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command does not exist.
pub(crate) const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended the command.
pub(crate) const SIGNALED: u8 = 128;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) doing: String,
    pub(crate) errno: Option<Errno>,
    pub(crate) hint: String,
    pub(crate) code: u8,
}

impl Error {
    /// A refusal of our own: no system call failed.
    pub(crate) fn new(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), errno: None, hint: String::new(), code: FAILED }
    }

    /// A system call that failed: `doing` names the act and its object.
    pub(crate) fn os(doing: impl Into<String>, errno: Errno) -> Self {
        Self { errno: Some(errno), ..Self::new(doing) }
    }

    /// The way out, as half a sentence.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

/// The error as a line of a JSON log: the fields that engines read (level, msg, time), and its parts.
#[derive(Serialize)]
struct Line {
    level: &'static str,
    msg: String,
    /// RFC 3339, UTC.
    time: String,
    doing: String,
    errno: Option<&'static str>,
    hint: String,
    code: u8,
}

impl Error {
    pub(crate) fn json(&self) -> String {
        miniserde::json::to_string(&Line {
            level: "error",
            msg: self.to_string(),
            time: clock::rfc3339(clock::epoch_seconds()),
            doing: self.doing.clone(),
            errno: self.errno.and_then(errno_name),
            hint: self.hint.clone(),
            code: self.code,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(errno) = self.errno {
            write!(f, ": {}", kernel_word(errno))?;
        }
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// "no such file or directory, ENOENT": strerror's words with the name that man pages use.
pub(crate) fn kernel_word(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut text = text.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    match errno_name(errno) {
        Some(name) => format!("{text}, {name}"),
        None => format!("{text}, errno {}", errno.raw_os_error()),
    }
}

/// The symbol of errno(3) for the errors that nsctl's system calls document.
pub(crate) fn errno_name(errno: Errno) -> Option<&'static str> {
    macro_rules! names {
        ($($rust:ident $c:literal),* $(,)?) => {
            match errno { $(Errno::$rust => Some($c),)* _ => None }
        };
    }
    names! {
        PERM "EPERM", NOENT "ENOENT", SRCH "ESRCH", INTR "EINTR", IO "EIO", NXIO "ENXIO", TOOBIG "E2BIG",
        NOEXEC "ENOEXEC", BADF "EBADF", CHILD "ECHILD", AGAIN "EAGAIN", NOMEM "ENOMEM", ACCESS "EACCES",
        FAULT "EFAULT", BUSY "EBUSY", EXIST "EEXIST", XDEV "EXDEV", NODEV "ENODEV", NOTDIR "ENOTDIR",
        ISDIR "EISDIR", INVAL "EINVAL", NFILE "ENFILE", MFILE "EMFILE", NOTTY "ENOTTY", TXTBSY "ETXTBSY",
        FBIG "EFBIG", NOSPC "ENOSPC", ROFS "EROFS", MLINK "EMLINK", PIPE "EPIPE", RANGE "ERANGE",
        NAMETOOLONG "ENAMETOOLONG", NOSYS "ENOSYS", NOTEMPTY "ENOTEMPTY", LOOP "ELOOP",
        OPNOTSUPP "EOPNOTSUPP", OVERFLOW "EOVERFLOW", LIBBAD "ELIBBAD", USERS "EUSERS", DQUOT "EDQUOT",
        NOTCONN "ENOTCONN", CONNREFUSED "ECONNREFUSED", STALE "ESTALE", TIMEDOUT "ETIMEDOUT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_act_object_word_and_way_out() {
        let error = Error::os("mount proc on /proc", Errno::PERM).hint("run it as root");
        assert_eq!(error.to_string(), "mount proc on /proc: operation not permitted, EPERM (run it as root)");
        assert_eq!(Error::new("no command was given").to_string(), "no command was given");
    }

    #[test]
    fn an_unnamed_errno_keeps_its_number() {
        assert!(kernel_word(Errno::from_raw_os_error(131)).ends_with("errno 131"));
    }
}
