//! The steps by which the command is left with what landlock allows.

use std::ffi::CString;

use super::Op;
use crate::linux::landlock::{self, Abi, Act, net};
use crate::state::Landlock;

/// The rights are those that the kernel knows. `programs`: what the command may be.
pub(super) fn steps(rules: &Landlock, abi: Abi, programs: &[CString]) -> impl Iterator<Item = Op> {
    let files = if rules.confines_files() { abi.files() } else { 0 };
    let ports = (if rules.tcp { net::TCP } else { 0 } | if rules.udp { net::UDP } else { 0 }) & abi.ports();
    let mut acts = vec![Act::Create { files, ports, scoped: rules.scoped & abi.scopes() }];
    let beneath = |path: CString, access| Act::Beneath { path, access, optional: rules.usual };
    for (paths, access) in [(&rules.read, landlock::READ), (&rules.write, files)] {
        let paths = paths.iter().filter_map(|path| CString::new(path.as_str()).ok());
        acts.extend(paths.map(|path| beneath(path, access)));
    }
    if rules.usual {
        let own = programs.iter().filter(|program| program.to_bytes().starts_with(b"/"));
        acts.extend(own.map(|program| beneath(program.clone(), landlock::READ)));
    }
    let known = rules.ports.iter().filter(|port| port.access & ports != 0);
    acts.extend(known.map(|port| Act::Port { port: port.port, access: port.access & ports }));
    acts.push(Act::Restrict);
    acts.into_iter().map(Op::Landlock)
}
