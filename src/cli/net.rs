//! The options about a container's network, as typed.

use lexopt::Parser;

use super::{once_text, text};
use crate::error::Result;

#[derive(Default)]
pub(crate) struct Net {
    pub(crate) network: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) ip6: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) alias: Vec<String>,
    pub(crate) add_host: Vec<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) dns_option: Vec<String>,
    pub(crate) publish: Vec<String>,
}

impl Net {
    /// False: it is none of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool> {
        match name {
            "net" | "network" => once_text(&mut self.network, "--network", parser)?,
            "ip" => once_text(&mut self.ip, "--ip", parser)?,
            "ip6" => once_text(&mut self.ip6, "--ip6", parser)?,
            "mac-address" => once_text(&mut self.mac, "--mac-address", parser)?,
            "network-alias" | "net-alias" => self.alias.push(text(parser)?),
            "add-host" => self.add_host.push(text(parser)?),
            "dns" => self.dns.push(text(parser)?),
            "dns-search" => self.dns_search.push(text(parser)?),
            "dns-option" | "dns-opt" => self.dns_option.push(text(parser)?),
            "publish" => self.publish.push(text(parser)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}
