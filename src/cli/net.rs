//! The options about a container's network, as typed.

use lexopt::Parser;

use super::once_text;
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Net {
    pub(crate) network: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) ip6: Option<String>,
    pub(crate) mac: Option<String>,
}

impl Net {
    /// False: it is none of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "net" | "network" => once_text(&mut self.network, "--network", parser)?,
            "ip" => once_text(&mut self.ip, "--ip", parser)?,
            "ip6" => once_text(&mut self.ip6, "--ip6", parser)?,
            "mac-address" => once_text(&mut self.mac, "--mac-address", parser)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
