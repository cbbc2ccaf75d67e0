//! The command's variables. A container that sees the host's files inherits the caller's; one with a root of its own begins anew,
//! since what the caller has (paths, sockets, secrets) is about other files.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStringExt;

use crate::spec::{Principal, Spec, Variable};

/// Where commands are looked for when nothing else says so: the same as a login shell of Debian's root.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Environ = Vec<(OsString, OsString)>;

/// The variables as execve(2) wants them, and whether HOME is left to be set when the user was looked up.
pub(super) fn environment(spec: &Spec, caller: Environ) -> (Vec<CString>, bool) {
    let own = spec.root.is_some();
    let mut environ = if own { fresh(spec, &caller) } else { caller.clone() };
    let set = |name: &str| spec.env.iter().any(|(known, _)| known == name);
    let look_up = spec.user.is_some() && !set("HOME");
    if look_up {
        environ.retain(|(name, _)| name != "HOME");
    }
    change(&mut environ, &spec.env, &caller);
    let strings = environ.into_iter().filter_map(|(name, value)| CString::new(assignment(&name, &value)).ok());
    (strings.collect(), look_up)
}

/// What every container with a root of its own finds.
fn fresh(spec: &Spec, caller: &Environ) -> Environ {
    let mut environ: Environ = vec![("PATH".into(), DEFAULT_PATH.into())];
    if let Some(name) = &spec.hostname {
        environ.push(("HOSTNAME".into(), OsString::from_vec(name.to_bytes().to_vec())));
    }
    if matches!(&spec.user, None | Some(crate::spec::User { user: Principal::Id(0), .. })) {
        environ.push(("HOME".into(), "/root".into()));
    }
    // What a terminal understands is the terminal's, not the root's.
    environ.extend(caller.iter().filter(|(name, _)| name == "TERM").cloned());
    environ
}

/// Changes replace in place and are added at the end.
fn change(environ: &mut Environ, changes: &[Variable], caller: &Environ) {
    for (name, value) in changes {
        // "-e NAME" takes the caller's value, or nothing.
        let value =
            value.clone().or_else(|| caller.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()));
        let at = environ.iter().position(|(known, _)| known == name);
        match (at, value) {
            (Some(at), Some(value)) => environ[at].1 = value,
            (None, Some(value)) => environ.push((name.clone(), value)),
            (_, None) => {}
        }
    }
}

fn assignment(name: &OsStr, value: &OsStr) -> Vec<u8> {
    let mut text = name.to_os_string();
    text.push("=");
    text.push(value);
    text.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_replace_in_place_and_add_at_the_end() {
        let caller = vec![("A".into(), "1".into()), ("B".into(), "2".into())];
        let mut environ = caller.clone();
        let changes: Vec<Variable> = vec![
            ("A".into(), Some("x".into())),
            ("C".into(), Some("3".into())),
            ("B".into(), None),
            ("D".into(), None),
        ];
        change(&mut environ, &changes, &caller);
        let wanted: Environ = vec![("A".into(), "x".into()), ("B".into(), "2".into()), ("C".into(), "3".into())];
        assert_eq!(environ, wanted);
    }
}
