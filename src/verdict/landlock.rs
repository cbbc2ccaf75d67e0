//! A step of landlock's that failed, as a sentence.

use rustix::io::Errno;

use crate::error::Error;
use crate::linux::landlock::Act;
use crate::linux::text::shown;

pub(super) fn sentence(act: &Act, errno: Errno) -> Error {
    let doing = match act {
        Act::Create { .. } => "make a landlock ruleset".into(),
        Act::Beneath { path, .. } => format!("leave {} to the command by landlock", shown(path)),
        Act::Port { port, .. } => format!("leave port {port} to the command by landlock"),
        Act::Restrict => "confine the command by landlock".into(),
    };
    Error::os(doing, errno).hint(match (act, errno) {
        (Act::Beneath { .. }, Errno::NOENT | Errno::NOTDIR) => {
            "what is named by --landlock-ro and --landlock-rw has to be there"
        }
        (Act::Beneath { .. }, Errno::ACCESS) => "the command's user cannot get there",
        (Act::Beneath { .. }, Errno::LOOP) => "links of /proc that lead out of every path are not followed",
        (Act::Restrict, Errno::PERM) => {
            "the kernel wants no_new_privs for that, or CAP_SYS_ADMIN: leave no-new-privileges=false out"
        }
        (Act::Restrict, Errno::TOOBIG) => "the caller is confined 16 times already, which is the most",
        _ => "",
    })
}
