//! Where the container's files come from, and where its changes to them go.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::c_string;
use super::limits::size;
use crate::cli;
use crate::error::{Error, Result};

#[derive(Debug, PartialEq)]
pub(crate) struct Root {
    pub(crate) from: From,
    pub(crate) changes: Changes,
    /// Nothing can be changed.
    pub(crate) read_only: bool,
}

impl Root {
    /// What it is made of, as it was typed.
    pub(crate) fn shown(&self) -> String {
        match &self.from {
            From::Directory(path) => path.to_string_lossy().into_owned(),
            From::Image { what, .. } => what.display().to_string(),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum From {
    Directory(CString),
    /// A file, a directory, or the name of an image of the store.
    Image {
        what: OsString,
        store: Option<OsString>,
        max_unpacked: u64,
    },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Changes {
    /// Into memory, over the root, and gone at the end. Bytes; None: a quarter of the machine's memory.
    Memory { size: Option<u64>, asked: bool },
    /// Into a directory over the root, and kept.
    Kept(CString),
    /// Straight into the root.
    Direct,
}

/// What the names and texts that nsctl provides take, and some pages for changes.
const LEAST_OVERLAY: u64 = 64 << 10;

/// What an image may unpack to, unless `--max-unpacked` says otherwise: 8 GiB.
pub(crate) const MAX_UNPACKED: u64 = 8 << 30;

pub(super) fn root(run: &cli::Run) -> Result<Option<Root>> {
    refuse_contradictions(run)?;
    let from = match (&run.rootfs, &run.image) {
        (Some(dir), _) => From::Directory(c_string("--rootfs", dir.clone())?),
        (None, Some(image)) => From::Image {
            what: image.clone(),
            store: run.store.clone(),
            max_unpacked: match &run.max_unpacked {
                Some(typed) => size("--max-unpacked", typed)?,
                None => MAX_UNPACKED,
            },
        },
        (None, None) => return Ok(None),
    };
    let changes = match &run.overlay_upper {
        Some(dir) => Changes::Kept(upper(dir)?),
        None if run.rw => Changes::Direct,
        None => {
            let bytes = run.overlay_size.as_deref().map(|typed| size("--overlay-size", typed)).transpose()?;
            if bytes.is_some_and(|bytes| bytes < LEAST_OVERLAY) {
                return Err(Error::new("--overlay-size: 64k is the least"));
            }
            Changes::Memory { size: bytes, asked: run.overlay || bytes.is_some() }
        }
    };
    Ok(Some(Root { from, changes, read_only: run.read_only }))
}

/// Without slashes at its end, as completion leaves them: DIR.work lies beside it.
fn upper(dir: &OsStr) -> Result<CString> {
    let mut bytes = dir.as_bytes();
    while let Some(rest) = bytes.strip_suffix(b"/") {
        bytes = rest;
    }
    match bytes.rsplit(|byte| *byte == b'/').next() {
        Some(b"." | b"..") | Some(b"") if !dir.is_empty() => {
            Err(Error::new(format_args!("--overlay-upper {} does not end in a name", dir.display()))
                .hint("the directory DIR.work lies beside DIR"))
        }
        _ => c_string("--overlay-upper", OsString::from_vec(bytes.to_vec())),
    }
}

fn refuse_contradictions(run: &cli::Run) -> Result<()> {
    let contradict = |a: &str, b: &str| Err(Error::new(format_args!("{a} and {b} contradict each other")));
    let overlay = run.overlay || run.overlay_size.is_some() || run.overlay_upper.is_some();
    match (&run.rootfs, &run.image) {
        (Some(_), Some(_)) => return contradict("--rootfs", "--image"),
        (None, None) => return without_root(run, overlay),
        _ => {}
    }
    if run.image.is_none() {
        for (option, given) in [("--store", run.store.is_some()), ("--max-unpacked", run.max_unpacked.is_some())] {
            if given {
                return Err(
                    Error::new(format_args!("{option} is about images, and there is none")).hint("--image FILE")
                );
            }
        }
    }
    if run.rw && run.image.is_some() {
        return Err(
            Error::new("--rw: an image cannot be written to").hint("--overlay-upper DIR keeps the changes beside it")
        );
    }
    if run.rw && overlay {
        return contradict("--rw", "an overlay");
    }
    if run.read_only && (run.overlay || run.overlay_size.is_some()) {
        return contradict("--read-only", "an overlay in memory");
    }
    if run.rw && run.read_only {
        return contradict("--rw", "--read-only");
    }
    if run.overlay_upper.is_some() && run.overlay_size.is_some() {
        return Err(Error::new("--overlay-size is for an overlay in memory, --overlay-upper is a directory"));
    }
    Ok(())
}

fn without_root(run: &cli::Run, overlay: bool) -> Result<()> {
    for (option, given) in [
        ("--overlay, --overlay-size and --overlay-upper", overlay),
        ("--rw", run.rw),
        ("--read-only", run.read_only),
        ("--store", run.store.is_some()),
        ("--max-unpacked", run.max_unpacked.is_some()),
        ("--device", !run.device.is_empty()),
    ] {
        if given {
            return Err(Error::new(format_args!(
                "{option}: the container has no root of its own, it sees the host's files"
            ))
            .hint("with --rootfs / it sees them through an overlay"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Option<Root>> {
        let words = ["nsctl", "run"].into_iter().chain(words.split_whitespace()).chain(["sh"]);
        match cli::parse(words.map(OsString::from).collect())?.command {
            cli::Command::Run(run) => root(&run),
            _ => unreachable!("run"),
        }
    }

    #[test]
    fn changes_go_where_they_are_told_to() {
        let changes = |words: &str| parse(words).unwrap().unwrap().changes;
        assert_eq!(changes("--rootfs d"), Changes::Memory { size: None, asked: false });
        assert_eq!(changes("--rootfs d --overlay"), Changes::Memory { size: None, asked: true });
        assert_eq!(changes("--image i --overlay-size 1m"), Changes::Memory { size: Some(1 << 20), asked: true });
        assert_eq!(changes("--image i --overlay-upper u"), Changes::Kept(c"u".into()));
        assert_eq!(changes("--rootfs d --overlay-upper /a/u//"), Changes::Kept(c"/a/u".into()));
        assert_eq!(changes("--rootfs d --rw"), Changes::Direct);
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn contradictions_are_refused() {
        for words in [
            "--rootfs d --image i",
            "--image i --rw",
            "--rootfs d --rw --read-only",
            "--rootfs d --rw --overlay",
            "--rootfs d --overlay-upper u --overlay-size 1m",
            "--rootfs d --overlay-upper .",
            "--rootfs d --overlay-upper a/../",
            "--rootfs d --overlay-upper /",
            "--rootfs d --store s",
            "--rootfs d --overlay-upper .",
            "--rootfs d --overlay-upper a/../",
            "--rootfs d --overlay-upper /",
            "--rootfs d --overlay-size 4k",
            "--rootfs d --read-only --overlay",
            "--read-only",
            "--overlay",
            "--rw",
            "--device /dev/null",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
