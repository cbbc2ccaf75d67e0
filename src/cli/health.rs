//! The options about a container's health, as typed.

use lexopt::Parser;

use super::once_text;
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
            "health-cmd" => once_text(&mut self.command, "--health-cmd", parser)?,
            "health-interval" => once_text(&mut self.interval, "--health-interval", parser)?,
            "health-timeout" => once_text(&mut self.timeout, "--health-timeout", parser)?,
            "health-retries" => once_text(&mut self.retries, "--health-retries", parser)?,
            "health-start-period" => once_text(&mut self.start_period, "--health-start-period", parser)?,
            "no-healthcheck" => self.none = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
