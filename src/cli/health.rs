//! The options about a container's health, as typed.

use lexopt::Parser;

use super::{once, text};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Health {
    pub(crate) command: Option<String>,
    pub(crate) interval: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) retries: Option<String>,
    pub(crate) start_period: Option<String>,
    pub(crate) none: bool,
}

impl Health {
    /// Takes the option if it is one of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "health-cmd" => once(&mut self.command, "--health-cmd", text(parser)?)?,
            "health-interval" => once(&mut self.interval, "--health-interval", text(parser)?)?,
            "health-timeout" => once(&mut self.timeout, "--health-timeout", text(parser)?)?,
            "health-retries" => once(&mut self.retries, "--health-retries", text(parser)?)?,
            "health-start-period" => once(&mut self.start_period, "--health-start-period", text(parser)?)?,
            "no-healthcheck" => self.none = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
