//! Who the command is, as text.

use crate::linux::text::shown;
use crate::spec::{Principal, User};

/// What becomes the user: numbers as they are, names as what looks them up. `rooted`: without a user it is root.
pub(super) fn text(user: Option<&User>, groups: &[Principal], rooted: bool) -> (String, &'static str) {
    let (mut passwd, mut group) = (false, false);
    let mut named = |principal: &Principal| match principal {
        Principal::Id(id) => id.to_string(),
        Principal::Name(name) => {
            group = true;
            format!("\"{}\"", shown(name))
        }
    };
    let more: Vec<String> = groups.iter().map(&mut named).collect();
    let (first, change) = match user {
        None if rooted => ("0".to_string(), Some(("0".to_string(), "0".to_string()))),
        None => ("as before".into(), None),
        Some(user) => {
            let gid = user.group.as_ref().map(&mut named);
            passwd = true;
            let uid = match &user.user {
                Principal::Id(id) => id.to_string(),
                Principal::Name(name) => format!("\"{}\"", shown(name)),
            };
            match gid {
                Some(gid) => (gid.clone(), Some((uid, gid))),
                // What it is a member of is added.
                None => {
                    group = true;
                    ("GID, …".into(), Some((uid, "GID".into())))
                }
            }
        }
    };
    let look_up = match (passwd, group) {
        (true, true) => "read /etc/{passwd,group}; ",
        (true, false) => "read /etc/passwd; ",
        (false, true) => "read /etc/group; ",
        (false, false) => "",
    };
    let list = std::iter::once(first).chain(more).collect::<Vec<_>>().join(", ");
    let becomes = change.map_or(String::new(), |(uid, gid)| format!("; setresgid({gid}, …); setresuid({uid}, …)"));
    let why = match user {
        Some(User { group: None, .. }) => "who the command is, with the groups that the container's files give it",
        Some(_) => "who the command is",
        None if rooted => "root, and none of the caller's groups",
        None => "--group-add",
    };
    (format!("{look_up}setgroups([{list}]){becomes}"), why)
}
