//! The options that say what a container's processes may do.

use lexopt::Parser;

use super::{once_text, text};
use crate::error::Result;

/// As typed, in order.
#[derive(Default)]
pub(crate) struct Privileges {
    pub(crate) privileged: bool,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) security_opt: Vec<String>,
    pub(crate) ulimit: Vec<String>,
    pub(crate) nice: Option<String>,
    pub(crate) umask: Option<String>,
}

impl Privileges {
    /// Takes the option if it is one of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "privileged" => super::run::flag(&mut self.privileged, parser)?,
            "cap-add" => self.cap_add.push(text(parser)?),
            "cap-drop" => self.cap_drop.push(text(parser)?),
            "security-opt" => self.security_opt.push(text(parser)?),
            "ulimit" => self.ulimit.push(text(parser)?),
            "nice" => once_text(&mut self.nice, "--nice", parser)?,
            "umask" => once_text(&mut self.umask, "--umask", parser)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
