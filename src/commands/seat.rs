//! A container's place on a network, found before the plan.

use crate::error::{Error, Result};
use crate::linux::net::Socket;
use crate::network::{self, Networks, Seat, Stay, Wanted};
use crate::spec::{Kind, Spec};
use crate::state::State;

/// Takes it; `explain`: only looks which it would be. What is held keeps others from changing a network, until the start has
/// come so far that it lets go.
pub(super) fn seat(
    spec: &Spec,
    state: Option<&State>,
    id: &str,
    explain: bool,
) -> Result<(Option<Seat>, Option<Stay>)> {
    let Kind::Bridge(name) = &spec.network.kind else { return Ok((None, None)) };
    let wanted = Wanted { id, ip: spec.network.ip, ip6: spec.network.ip6, mac: spec.network.mac };
    let route = Socket::route().map_err(|errno| {
        Error::os("open a netlink socket", errno).hint("this kernel has no network (CONFIG_NET): --network host")
    })?;
    if explain {
        return network::foresee(state.map(State::fd), name, &wanted, &route).map(|seat| (Some(seat), None));
    }
    let state = state.ok_or_else(|| {
        Error::new("there is no place to write down who is on the network")
            .hint("--root DIR names one; otherwise it is in /run, /dev/shm or /tmp")
    })?;
    let networks = Networks::open(state.fd())?;
    networks.lock()?;
    let (seat, stay) = networks.join(name, &wanted, route)?;
    Ok((Some(seat), Some(stay)))
}
