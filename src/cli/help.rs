//! The texts of `--help`: one file per verb in `help/`, which build.rs packs, since the inflate of image layers is there anyway.

use miniz_oxide::inflate::decompress_to_vec;

pub(crate) const VERSION: &str = concat!("nsctl ", env!("CARGO_PKG_VERSION"), " (", env!("NSCTL_COMMIT"), ")");

/// The verbs that have a help text.
pub(super) const VERBS: &[&str] = &[
    "run", "simple", "ps", "image", "check", "create", "start", "stop", "restart", "kill", "wait", "rm", "pause",
    "unpause", "attach", "logs", "inspect", "exec", "events", "cp", "update", "top", "stats", "rename", "prune",
    "network", "port",
];

/// NAME, NUL, text, NUL and so on, deflated (RFC 1951).
const TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/help.deflate"));

/// The text on a verb, or on nsctl itself.
pub(crate) fn text(verb: &str) -> String {
    let name = if verb == "unpause" { "pause" } else { verb };
    let texts = String::from_utf8(decompress_to_vec(TEXTS).unwrap_or_default()).unwrap_or_default();
    let mut parts = texts.split('\0');
    while let (Some(found), Some(text)) = (parts.next(), parts.next()) {
        if found == name {
            return text.to_string();
        }
    }
    String::new()
}
