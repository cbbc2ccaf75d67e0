//! What went wrong, as a sentence: the act, the object, the kernel's word and the way out.
//! Also the table of nsctl's own exit codes, which are part of its interface.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// One word long, so that handing a result on is short code: there are hundreds of places that do.
#[derive(Debug)]
pub(crate) struct Error(Box<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) doing: String,
    pub(crate) errno: Option<Errno>,
    pub(crate) hint: String,
    pub(crate) code: u8,
}

impl std::ops::Deref for Error {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Error {
    /// A refusal of our own: no system call failed.
    pub(crate) fn new(doing: impl fmt::Display) -> Self {
        Self::of(&doing, None)
    }

    /// A system call that failed: `doing` names the act and its object.
    pub(crate) fn os(doing: impl fmt::Display, errno: Errno) -> Self {
        Self::of(&doing, Some(errno))
    }

    /// The text is made here and not where it went wrong, which are hundreds of places.
    #[cold]
    #[inline(never)]
    fn of(doing: &dyn fmt::Display, errno: Option<Errno>) -> Self {
        Self(Box::new(Parts { doing: doing.to_string(), errno, hint: String::new(), code: FAILED }))
    }

    /// Says in which larger act it happened.
    pub(crate) fn within(mut self, act: impl fmt::Display) -> Self {
        self.0.doing = format!("{act}: {}", self.0.doing);
        self
    }

    /// The way out, as half a sentence.
    pub(crate) fn hint(self, hint: impl fmt::Display) -> Self {
        self.hinted(&hint)
    }

    #[cold]
    #[inline(never)]
    fn hinted(mut self, hint: &dyn fmt::Display) -> Self {
        self.0.hint = hint.to_string();
        self
    }

    /// The kernel's own sentence, before what was to be said of the way out.
    #[cold]
    #[inline(never)]
    pub(crate) fn because(mut self, said: &str) -> Self {
        if !said.is_empty() {
            let rest = if self.0.hint.is_empty() { String::new() } else { format!("; {}", self.0.hint) };
            self.0.hint = format!("the kernel says: {said}{rest}");
        }
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.0.code = code;
        self
    }

    pub(crate) fn doing(&self) -> &str {
        &self.0.doing
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.0.code
    }
}

/// The beginning of a message that names a verb, and needs no name of the program before it.
pub(crate) const NAMED: &str = "nsctl ";

/// `--log-format json`.
static JSON: AtomicBool = AtomicBool::new(false);

pub(crate) fn set_json(json: bool) {
    JSON.store(json, Ordering::Relaxed);
}

/// Writes it to standard error.
#[cold]
#[inline(never)]
pub(crate) fn report(error: &Error) {
    if JSON.load(Ordering::Relaxed) {
        eprintln!("{}", error.json());
    } else {
        let who = if error.doing().starts_with(NAMED) { "" } else { "nsctl: " };
        let text = error.to_string();
        let (begin, end) = ends(&text);
        let between = if end.is_empty() { "" } else { " … " };
        eprintln!("{who}{begin}{between}{end}");
    }
}

/// Of a text that is too long for a terminal, since a word that was typed is in it, the beginning, and the end with the way out.
fn ends(text: &str) -> (&str, &str) {
    const MOST: usize = 1500;
    if text.len() <= MOST {
        return (text, "");
    }
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at += 1;
        }
        at
    };
    (&text[..boundary(MOST / 2)], &text[boundary(text.len() - MOST / 3)..])
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
            doing: self.0.doing.clone(),
            errno: self.0.errno.and_then(errno_name),
            hint: self.0.hint.clone(),
            code: self.0.code,
        })
    }
}

/// A text that may have words of an image in it: nothing of it moves the cursor of a terminal.
struct Clean<'a>(&'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            f.write_str(plain)?;
            if let Some(control) = part[plain.len()..].chars().next() {
                write!(f, "\\x{:02x}", control as u32)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Clean(&self.0.doing))?;
        if let Some(errno) = self.0.errno {
            write!(f, ": {}", kernel_word(errno))?;
        }
        if !self.0.hint.is_empty() {
            write!(f, " ({})", Clean(&self.0.hint))?;
        }
        Ok(())
    }
}

/// "no such file or directory, ENOENT": strerror's words with the name that man pages use.
pub(crate) fn kernel_word(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    // A damaged file system's word, which musl has no text for.
    let text = if errno == Errno::UCLEAN { "structure needs cleaning" } else { &text };
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
        NOTBLK "ENOTBLK", BADMSG "EBADMSG", UCLEAN "EUCLEAN", ADDRINUSE "EADDRINUSE",
        ADDRNOTAVAIL "EADDRNOTAVAIL", NETDOWN "ENETDOWN", NETUNREACH "ENETUNREACH", HOSTUNREACH "EHOSTUNREACH",
        NOBUFS "ENOBUFS", XFULL "EXFULL", PROTONOSUPPORT "EPROTONOSUPPORT", AFNOSUPPORT "EAFNOSUPPORT",
        MSGSIZE "EMSGSIZE",
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
    fn an_image_does_not_write_on_the_terminal() {
        let error = Error::new("a\x1b]0;x\x07b").hint("c\r");
        assert_eq!(error.to_string(), "a\\x1b]0;x\\x07b (c\\x0d)");
    }

    #[test]
    fn an_unnamed_errno_keeps_its_number() {
        assert!(kernel_word(Errno::from_raw_os_error(131)).ends_with("errno 131"));
    }
}
