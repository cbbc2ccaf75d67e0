//! Who the command is, as text.

use crate::linux::text::shown;
use crate::plan::{Op, Plan};
use crate::spec::{Principal, User};

/// Where an ordinary user is root, and where root's container has its ids.
pub(super) fn namespace(op: &Op) -> (String, &'static str) {
    let (maps, kinds) = match op {
        Op::OwnUserNamespace(maps) => (maps, None),
        Op::NewUserNamespace { maps, kinds } => (maps, Some(*kinds)),
        _ => {
            let why = "nsctl is root of the container's user namespace";
            return ("setns(/proc/PID/ns/user, CLONE_NEWUSER)".into(), why);
        }
    };
    let text = |map: &[[u32; 3]]| {
        let lines: Vec<String> =
            map.iter().map(|[inside, outside, count]| format!("{inside} {outside} {count}")).collect();
        lines.join("\\n")
    };
    let (users, groups) = (text(&maps.users), text(&maps.groups));
    if let Some(kinds) = kinds {
        return (
            format!(
                "clone3({{flags=CLONE_NEWUSER{}{}}}); write(/proc/PID/{{uid,gid}}_map, \"{users}\", \"{groups}\"); openat(/proc/PID/ns/…)",
                if kinds == 0 { "" } else { "|" },
                super::flags(u64::from(kinds))
            ),
            "a process that only holds them until they are open: ids of the container's own, and what its root has rights over",
        );
    }
    let write = if maps.users.len() + maps.groups.len() == 2 {
        format!(
            "write(/proc/self/setgroups, \"deny\"); write(/proc/self/gid_map, \"{groups}\"); write(/proc/self/uid_map, \"{users}\")"
        )
    } else {
        format!("newuidmap PID \"{users}\"; newgidmap PID \"{groups}\"")
    };
    (
        format!("unshare(CLONE_NEWUSER|CLONE_NEWNS); {write}"),
        "an ordinary user becomes root of a namespace of its own: of what it makes there, and of nothing else",
    )
}

/// What becomes the user: numbers as they are, names as what looks them up. With a root of its own it is root without a user.
pub(super) fn text(user: Option<&User>, groups: &[Principal], plan: &Plan) -> (String, &'static str) {
    let rooted = plan.rooted || plan.userns.is_some();
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
    let becomes = change.map_or(String::new(), |(uid, gid)| format!("setresgid({gid}, …); setresuid({uid}, …)"));
    if plan.groups_denied {
        return (
            format!("{look_up}{becomes}"),
            "who the command is; the caller's groups cannot be given up (setgroups(2))",
        );
    }
    let becomes = if becomes.is_empty() { becomes } else { format!("; {becomes}") };
    let why = match user {
        Some(User { group: None, .. }) => "who the command is, with the groups that the container's files give it",
        Some(_) => "who the command is",
        None if rooted => "root, and none of the caller's groups",
        None => "--group-add",
    };
    (format!("{look_up}setgroups([{list}]){becomes}"), why)
}
