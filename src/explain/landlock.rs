//! What landlock leaves to the command, as text.

use super::quoted;
use crate::linux::landlock::{Act, READ, net};

pub(super) fn text(act: &Act) -> (String, String) {
    match act {
        Act::Create { files, ports, scoped } => (
            format!("landlock_create_ruleset({{fs={files:#x}, net={ports:#x}, scoped={scoped:#x}}}, 24, 0)"),
            "all of these rights will be gone, but for what the next lines allow".into(),
        ),
        Act::Beneath { path, access, optional } => (
            format!(
                "landlock_add_rule(ruleset, LANDLOCK_RULE_PATH_BENEATH, {{{}, openat2(\"/\", {}, RESOLVE_IN_ROOT)}})",
                if *access == READ { "READ_FILE|READ_DIR|EXECUTE".into() } else { format!("{access:#x}") },
                quoted(path),
            ),
            match (*access == READ, optional) {
                (true, false) => "--landlock-ro",
                (false, false) => "--landlock-rw",
                (true, true) => "what programs are made of and read; it need not be there",
                (false, true) => "what they write; it need not be there",
            }
            .into(),
        ),
        Act::Port { port, access } => {
            let (kind, way) =
                if access & net::UDP == 0 { ("TCP", *access) } else { ("UDP", access >> net::TCP_TO_UDP) };
            let way = match way {
                net::TCP => "bind and connect",
                net::BIND_TCP => "bind",
                _ => "connect",
            };
            (
                format!("landlock_add_rule(ruleset, LANDLOCK_RULE_NET_PORT, {{{kind}, {way}, {port}}})"),
                "--landlock-port".into(),
            )
        }
        Act::Restrict => (
            "landlock_restrict_self(ruleset, 0)".into(),
            "for good, and for all that the command starts; no mount can be made or removed any more".into(),
        ),
    }
}
