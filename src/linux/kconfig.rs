//! The configuration of the running kernel, where the system has it: /proc/config.gz (CONFIG_IKCONFIG_PROC) or
//! /boot/config-RELEASE.

use std::ffi::CString;

use rustix::fs::CWD;

use super::file;

pub(crate) struct Kconfig(String);

impl Kconfig {
    pub(crate) fn of_running_kernel() -> Option<Self> {
        if let Some(text) = file::read(CWD, c"/proc/config.gz").ok().and_then(|bytes| gunzip(&bytes)) {
            return Some(Self(text));
        }
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let path = CString::new(format!("/boot/config-{release}")).ok()?;
        file::read_text(CWD, &path).ok().map(Self)
    }

    /// Built in or a module.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.0.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest == "=y" || rest == "=m"))
    }
}

/// One gzip member (RFC 1952). The kernel's has none of the optional fields, so only their absence is accepted.
fn gunzip(bytes: &[u8]) -> Option<String> {
    const LIMIT: usize = 16 << 20;
    let body = match bytes.get(..10)? {
        [0x1f, 0x8b, 8, 0, ..] => bytes.get(10..bytes.len().checked_sub(8)?)?,
        _ => return None,
    };
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(body, LIMIT).ok()?;
    String::from_utf8(text).ok()
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(bytes: &[u8]) {
    let _ = Kconfig(gunzip(bytes).unwrap_or_default()).is_set("CONFIG_A");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_found_whole() {
        let kconfig = Kconfig("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_DD=y\n".into());
        assert!(kconfig.is_set("CONFIG_A") && kconfig.is_set("CONFIG_B"));
        assert!(!kconfig.is_set("CONFIG_C") && !kconfig.is_set("CONFIG_D"));
    }

    #[test]
    fn what_is_no_gzip_is_refused() {
        for bytes in [&b""[..], b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\0short", b"plain text, and long enough"] {
            assert!(gunzip(bytes).is_none());
        }
    }
}
