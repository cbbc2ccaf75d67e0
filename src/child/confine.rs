//! The steps by which a process comes down to what its command may do.

use rustix::fs::Mode;
use rustix::io::Errno;

use crate::linux::text::Text;
use crate::linux::{caps, file, lsm, procfs, sys};
use crate::plan::Confine;

#[inline(never)]
pub(super) fn step(step: &Confine, withheld: u64) -> Result<(), Errno> {
    match step {
        Confine::OomScore(score) => set_oom_score(*score),
        Confine::Nice(priority) => rustix::process::setpriority_process(None, *priority),
        Confine::Limit { resource, limit, .. } => rustix::process::setrlimit(*resource, *limit),
        Confine::Umask(mask) => {
            rustix::process::umask(Mode::from_raw_mode(*mask));
            Ok(())
        }
        Confine::Label(which, label) => lsm::label_next(*which, label),
        Confine::Keyring => {
            // A kernel may have no keys, and a user no room for more of them (keyrings(7)): then it is the caller's.
            let _ = sys::new_session_keyring();
            Ok(())
        }
        Confine::Bound { mask, closed } => caps::bound(mask & !withheld, *closed),
        Confine::KeepCapabilities => rustix::thread::set_keep_capabilities(true),
        Confine::Capabilities { root, given } => caps::keep(root & !withheld, *given),
        Confine::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
        Confine::Seccomp { .. } | Confine::UserNamespace => unreachable!("the child's own: it has what they take"),
    }
}

/// From -1000, never killed for want of memory, to 1000, always first. EACCES: to go below what one has takes CAP_SYS_RESOURCE.
fn set_oom_score(score: i32) -> Result<(), Errno> {
    let mut text: Text<8> = Text::new();
    if score < 0 {
        text.push(b"-")?;
    }
    text.push_number(score.unsigned_abs().into())?;
    file::write_all(procfs::own_file(&procfs::untouched()?, c"self/oom_score_adj")?, text.as_bytes())
}
