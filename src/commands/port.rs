//! `nsctl port`: where a container's ports are published.

use super::container::{self, REFUSED};
use super::print;
use crate::cli;
use crate::error::{Error, Result};

pub(super) fn port(typed: &cli::Verb) -> Result<u8> {
    let container = container::find(&typed.containers[0])?;
    // One that has ended has none.
    let network = container.record().network.as_ref().filter(|_| container.entry.alive);
    let ports = network.map(|network| &network.ports[..]).unwrap_or_default();
    let pairs = ports.iter().filter_map(|text| text.split_once("->"));
    let lines: Vec<String> = match typed.containers.get(1) {
        None => pairs.map(|(outer, inner)| format!("{inner} -> {outer}\n")).collect(),
        Some(wanted) => {
            let wanted = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
            let found: Vec<String> =
                pairs.filter(|(_, inner)| *inner == wanted).map(|(outer, _)| format!("{outer}\n")).collect();
            if found.is_empty() {
                return Err(Error::new(format!("container {} publishes no port {wanted}", container.shown()))
                    .hint(format!("nsctl port {} lists those that it does", container.shown()))
                    .code(REFUSED));
            }
            found
        }
    };
    print(&lines.concat())?;
    Ok(0)
}
