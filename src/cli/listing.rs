//! How a listing is to be printed, as typed: the same options for every verb that lists.

use lexopt::Parser;

use super::{once, once_text};
use crate::error::{Error, Result};

#[derive(Default)]
pub(crate) struct Listing {
    /// `table`, `json`, or names of columns.
    pub(crate) format: Option<String>,
    pub(crate) quiet: bool,
    pub(crate) no_trunc: bool,
}

impl Listing {
    pub(super) fn format(&mut self, parser: &mut Parser) -> Result<()> {
        once_text(&mut self.format, "--format", parser)
    }

    /// `--json` is short for `--format json`.
    pub(super) fn json(&mut self) -> Result<()> {
        once(&mut self.format, "--format", "json".into())
    }

    /// What no listing can be at once.
    pub(super) fn checked(self) -> Result<Self> {
        match &self.format {
            Some(format) if self.quiet && format != "table" => {
                Err(Error::new(format_args!("--quiet and --format {format} contradict each other")))
            }
            _ => Ok(self),
        }
    }
}
