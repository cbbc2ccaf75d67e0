//! Capabilities by name, as masks of bits (capabilities(7), linux/capability.h), and how a process comes down to some of them.

mod names;

pub(crate) use names::NAMES;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::sys;

/// All that the process may have.
pub(crate) const ALL: u64 = u64::MAX;

/// With it a device of any number can be made, the host's disks among them.
pub(crate) const MKNOD: u64 = CapabilitySet::MKNOD.bits();

/// Those that have a name here.
pub(crate) const KNOWN: u64 = (1 << NAMES.len()) - 1;

/// What docker gives to a container (its documentation, "Runtime privilege and Linux capabilities").
pub(crate) const DEFAULT: u64 = bits(&[
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::KILL,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SETPCAP,
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::NET_RAW,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::MKNOD,
    CapabilitySet::AUDIT_WRITE,
    CapabilitySet::SETFCAP,
]);

const fn bits(list: &[CapabilitySet]) -> u64 {
    let (mut mask, mut index) = (0, 0);
    while index < list.len() {
        mask |= list[index].bits();
        index += 1;
    }
    mask
}

/// With or without "CAP_", in letters of any case.
pub(crate) fn by_name(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == name).map(|number| 1 << number)
}

/// The names of a mask, lowest first, with "CAP_" before each.
pub(crate) fn names(mask: u64) -> impl Iterator<Item = String> {
    let has = move |number: &usize| mask >> number & 1 == 1;
    (0..NAMES.len()).filter(has).map(|number| ["CAP_", NAMES[number]].concat())
}

/// What the caller can use now.
pub(crate) fn own() -> Result<u64, Errno> {
    Ok(rustix::thread::capabilities(None)?.effective.bits())
}

/// Nothing that is executed from here on gets others than these. That takes CAP_SETPCAP: whoever has it not, and whose
/// commands gain nothing by what they execute (`closed`, by no_new_privs), need not. Does not allocate.
pub(crate) fn bound(mask: u64, closed: bool) -> Result<(), Errno> {
    for number in (0..64).filter(|number| mask >> number & 1 == 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            // The kernel's last one was the one before.
            Err(Errno::INVAL) => return Ok(()),
            Err(Errno::PERM) if closed => return Ok(()),
            Err(Errno::PERM) if !rustix::thread::capability_is_in_bounding_set(one)? => {}
            other => other?,
        }
    }
    Ok(())
}

/// Files are made as this user's and group's from here on; the rights over the files of all others stay, which go with root's own
/// number otherwise (capabilities(7), "Effect of user ID changes on capabilities"). Does not allocate.
pub(crate) fn make_files_as([user, group]: [u32; 2]) -> Result<(), Errno> {
    sys::set_file_ids(user, group)?;
    let sets = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })
}

/// Root keeps those of `mask` that it has. Another user has those of `given`, which execve(2) leaves alone only when they are
/// ambient, and for that inheritable. Whoever else has inheritable ones has them from a file that says so (CVE-2022-29162).
pub(crate) fn keep(mask: u64, given: u64) -> Result<(), Errno> {
    let root = rustix::process::geteuid().is_root();
    let had = rustix::thread::capabilities(None)?.permitted.bits();
    let kept = CapabilitySet::from_bits_retain(had & if root { mask } else { given });
    let ambient = if root { CapabilitySet::empty() } else { kept };
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: ambient },
    )?;
    match rustix::thread::clear_ambient_capability_set() {
        // Kernels before 4.3 have none.
        Err(Errno::INVAL) if ambient.is_empty() => {}
        other => other?,
    }
    for number in (0..64).filter(|number| ambient.bits() >> number & 1 == 1) {
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        assert_eq!(by_name("CAP_CHOWN"), Some(1));
        assert_eq!(by_name("sys_admin"), Some(CapabilitySet::SYS_ADMIN.bits()));
        assert_eq!(by_name("cap_Checkpoint_restore"), Some(CapabilitySet::CHECKPOINT_RESTORE.bits()));
        for wrong in ["", "CAP_", "CAP_CAP_CHOWN", "ALL", "21", "SYS ADMIN"] {
            assert_eq!(by_name(wrong), None, "{wrong}");
        }
    }

    /// What `grep Cap /proc/1/status` says in a container of docker's.
    #[test]
    fn the_default_is_dockers() {
        assert_eq!(DEFAULT, 0x0000_0000_a804_25fb);
        assert_eq!(names(DEFAULT).count(), 14);
    }
}
