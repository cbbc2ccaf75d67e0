//! By which names a container finds others, and is found.

use std::ffi::CStr;
use std::net::IpAddr;

use crate::network::{MARK, Seat};
use crate::spec::{DEFAULT_HOSTNAME, Spec};

/// hosts(5): what the container knows by itself. On a network, a mark behind which the others come.
pub(super) fn hosts(spec: &Spec, seat: Option<&Seat>) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let mut line = |address: &dyn std::fmt::Display, name: &str| text += &format!("{address}\t{name}\n");
    let name = plain(spec.hostname.as_deref().unwrap_or(c"localhost"));
    match (seat, name) {
        (_, None) => {}
        (None, Some(name)) => line(&"127.0.1.1", name),
        (Some(seat), Some(name)) => {
            line(&seat.address.0, name);
            seat.address6.iter().for_each(|(address, _)| line(address, name));
        }
    }
    for (name, address) in &spec.names.hosts {
        // Who shares the host's network reaches it as it does itself.
        let host = seat.map_or(IpAddr::from([127, 0, 0, 1]), |seat| seat.gateway.into());
        line(&address.unwrap_or(host), name);
    }
    if seat.is_some() {
        text += MARK;
    }
    text
}

/// What others find it by, besides its name and its id. The host name that every container has is none.
pub(super) fn aliases(spec: &Spec) -> Vec<String> {
    let hostname = spec.hostname.as_deref().filter(|name| *name != DEFAULT_HOSTNAME).and_then(plain);
    spec.names.aliases.iter().cloned().chain(hostname.map(String::from)).collect()
}

/// A host name may be anything; in a line of hosts(5) it ends at a space.
fn plain(name: &CStr) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    name.to_str().ok().filter(|name| name.bytes().all(plain))
}
