//! The labels of other LSMs that the command shall have: SELinux's context, AppArmor's profile.

use crate::error::{Error, Result};
use crate::linux::lsm::{self, Lsm};

/// `label=FIELD:VALUE` or `label=disable`, on top of what was said before; the rest is as the caller's.
pub(super) fn selinux(before: Option<String>, value: &str) -> Result<Option<String>> {
    if value == "disable" {
        return Ok(None);
    }
    let (field, value) = value.split_once(':').unwrap_or((value, ""));
    let at = ["user", "role", "type", "level"].iter().position(|known| *known == field);
    let right = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    let (Some(at), true) = (at, right) else {
        return Err(Error::new(format_args!("--security-opt label={field}:{value} is no part of a label"))
            .hint("it is label=disable, user:USER, role:ROLE, type:TYPE or level:LEVEL"));
    };
    if !Lsm::SeLinux.is_on() {
        return Err(missing("label", "SELinux", "CONFIG_SECURITY_SELINUX, and selinux=1 at boot"));
    }
    let base = match before {
        Some(context) => context,
        None => lsm::current().map_err(|errno| Error::os("read the caller's SELinux context", errno))?,
    };
    Ok(Some(with(&base, at, value)))
}

/// `USER:ROLE:TYPE[:LEVEL]` with one of the four replaced.
fn with(context: &str, at: usize, value: &str) -> String {
    let mut parts: Vec<&str> = context.splitn(4, ':').collect();
    parts.resize(parts.len().max(at + 1), "");
    parts[at] = value;
    parts.join(":")
}

/// `apparmor=PROFILE` or `apparmor=unconfined`.
pub(super) fn apparmor(profile: &str) -> Result<Option<String>> {
    if profile.is_empty() || profile.len() > 1024 || profile.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Error::new("--security-opt apparmor= names no profile").hint("such as apparmor=unconfined"));
    }
    match Lsm::AppArmor.is_on() {
        true => Ok(Some(profile.into())),
        // Who is confined by nothing is that already.
        false if profile == "unconfined" => Ok(None),
        false => Err(missing("apparmor", "AppArmor", "CONFIG_SECURITY_APPARMOR, and lsm=…,apparmor at boot")),
    }
}

fn missing(option: &str, name: &str, way_out: &str) -> Error {
    Error::new(format_args!("--security-opt {option}: {name} is not on in this kernel")).hint(way_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_changed_part_by_part() {
        let base = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023";
        assert_eq!(with(base, 2, "container_t"), "unconfined_u:unconfined_r:container_t:s0-s0:c0.c1023");
        assert_eq!(with(base, 3, "s0:c1,c2"), "unconfined_u:unconfined_r:unconfined_t:s0:c1,c2");
        assert_eq!(with("u:r:t", 3, "s0"), "u:r:t:s0");
        assert_eq!(with("kernel", 2, "t"), "kernel::t");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for wrong in ["", "type", "type:", "file:x", "type:a b", "type:\0", "disable:x"] {
            assert!(selinux(None, wrong).is_err(), "{wrong}");
        }
        assert!(selinux(Some("u:r:t:s0".into()), "disable").is_ok_and(|label| label.is_none()));
        assert!(apparmor("").is_err() && apparmor("a\nb").is_err());
    }

    #[test]
    fn a_kernel_without_them_says_so() {
        if !Lsm::SeLinux.is_on() {
            assert!(selinux(None, "type:container_t").unwrap_err().to_string().contains("CONFIG_SECURITY_SELINUX"));
        }
        if !Lsm::AppArmor.is_on() {
            assert!(apparmor("unconfined").unwrap().is_none());
            assert!(apparmor("docker-default").unwrap_err().to_string().contains("CONFIG_SECURITY_APPARMOR"));
        }
    }
}
