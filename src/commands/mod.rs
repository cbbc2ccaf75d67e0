//! The verbs that a person types.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod events;
pub(crate) mod image;
pub(crate) mod machine;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod table;
#[allow(dead_code)] // until there is a verb
pub(crate) mod update;

use crate::error::{Error, Result};

/// Writes to standard output. A closed pipe ends us by SIGPIPE, as users of `head` expect; a full disk is an error.
pub(crate) fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::os("write to standard output", errno)
    })
}
