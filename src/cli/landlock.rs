//! The options about landlock.

use lexopt::Parser;

use super::{once_text, text};
use crate::error::Result;

/// As typed, in order.
#[derive(Default)]
pub(crate) struct Landlock {
    pub(crate) ro: Vec<String>,
    pub(crate) rw: Vec<String>,
    pub(crate) port: Vec<String>,
    pub(crate) isolate: Option<String>,
}

impl Landlock {
    /// Takes the option if it is one of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "landlock-ro" => self.ro.push(text(parser)?),
            "landlock-rw" => self.rw.push(text(parser)?),
            "landlock-port" => self.port.push(text(parser)?),
            "isolate" => once_text(&mut self.isolate, "--isolate", parser)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
