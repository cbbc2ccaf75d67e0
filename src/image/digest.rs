//! SHA-256 digests, the names of everything in an image.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::fault::shown;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of_hash(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The name of a layer on top of others: OCI's chain id.
    pub(super) fn on_top_of(self, lower: Option<Self>) -> Self {
        match lower {
            None => self,
            Some(lower) => Self::of(format!("{lower} {self}").as_bytes()),
        }
    }

    /// "sha256:" and 64 lower-case hexadecimal digits; nothing else becomes a part of a path.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(format_args!(
                "the digest {} is not sha256: with 64 hexadecimal digits",
                shown(text.as_bytes())
            ))
            .hint("other algorithms, such as sha512, are not supported")
        };
        text.strip_prefix("sha256:").and_then(Self::of_hex).ok_or_else(wrong)
    }

    pub(super) fn of_hex(hex: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        if hex.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    pub(super) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_in_one_spelling() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b""), Digest::parse(empty).unwrap());
        assert_eq!(Digest::of(b"").to_string(), empty);
        let long = format!("sha512:{}", "0".repeat(128));
        let upper = empty.to_uppercase().replace("SHA256", "sha256");
        for wrong in [&long, &upper, "sha256:", "", "e3b0", &empty[..70], "sha256:../../../etc/passwd", "sha256:é"] {
            assert!(Digest::parse(wrong).is_err(), "{wrong}");
        }
    }
}
