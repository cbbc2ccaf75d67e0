//! The steps by which the command is left with what landlock allows.

use std::ffi::CString;

use super::Op;
use crate::linux::landlock::{self, Abi, Act};
use crate::state::Landlock;

/// The rights are those that the kernel knows. `programs`: what the command may be.
pub(super) fn steps(rules: &Landlock, abi: Abi, programs: &[CString], steps: &mut Vec<Op>) {
    let files = if rules.confines_files() { abi.files() } else { 0 };
    // What is written down was read before.
    let (confined, left) = rules.ports().unwrap_or((u64::MAX, Vec::new()));
    let ports = confined & abi.ports();
    let mut add = |act| steps.push(Op::Landlock(act));
    add(Act::Create { files, ports, scoped: rules.scoped & abi.scopes() });
    for (paths, access) in [(&rules.read, landlock::READ), (&rules.write, files)] {
        for path in paths {
            if let Ok(path) = CString::new(path.as_str()) {
                add(Act::Beneath { path, access, optional: rules.usual });
            }
        }
    }
    for program in programs.iter().filter(|program| rules.usual && program.to_bytes().starts_with(b"/")) {
        add(Act::Beneath { path: program.clone(), access: landlock::READ, optional: true });
    }
    for (port, access) in left {
        if access & ports != 0 {
            add(Act::Port { port, access });
        }
    }
    add(Act::Restrict);
}
