//! What `nsctl ps` lists, and what it says where it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::Scratch;
use crate::life::{Kept, refused, says};
use crate::nsctl::{must, nsctl};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("ps_filters_and_the_last_ones", filters),
    ("an_unusable_state_directory_is_said", unusable),
    ("json_is_short_for_format_json", json),
    ("rm_takes_the_volumes_of_others_scripts", volumes),
];

fn filters() -> Result<(), Failed> {
    let kept = |name: &str, label: &str, script: &str| {
        // They are told apart by ticks of a clock.
        std::thread::sleep(std::time::Duration::from_millis(30));
        Kept::shell(&["--name", name, "-l", label], script)
    };
    let one = kept("web-1", "tier=front", "sleep 60; true")?;
    let _two = kept("web-2", "tier=back", "exit 3")?;
    let _three = kept("db", "tier=back", "exit 0")?;
    nsctl(&["wait", "web-2", "db"]);
    for (options, names) in [
        (&["-f", "name=web"][..], "web-1\n"),
        (&["-a", "-f", "name=web"], "web-1\nweb-2\n"),
        (&["-a", "-f", "name=^b$"], ""),
        (&["-a", "-f", "name=^db$", "-f", "name=2$"], "web-2\ndb\n"),
        (&["--filter", "status=exited"], "web-2\ndb\n"),
        (&["-f", "status=exited", "-f", "status=running", "-f", "name=web"], "web-1\nweb-2\n"),
        (&["-f", "status=paused"], ""),
        (&["-f", "exited=3"], "web-2\n"),
        (&["-a", "-f", "label=tier=back", "-f", "label=tier"], "web-2\ndb\n"),
        (&["-a", "-f", "label=tier=back", "-f", "label=tier=front"], ""),
        (&["-f", &format!("id={}", &one.id()[..11])], "web-1\n"),
        (&["-l"], "db\n"),
        (&["-n", "2"], "web-2\ndb\n"),
        (&["--last", "9", "-f", "exited=0"], "db\n"),
        (&["-n1", "-f", "name=web"], "web-2\n"),
    ] {
        says(&[&["ps", "--format", "name"], options].concat(), 0, names)?;
    }
    for (options, words) in [
        (["-f", "size=1"], "--filter size=1 is unknown"),
        (["-f", "status=dead"], "paused"),
        (["-n", "x"], "--last x"),
    ] {
        refused(&["ps", options[0], options[1]], 125, words)?;
    }
    Ok(())
}

fn unusable() -> Result<(), Failed> {
    let scratch = Scratch::new("unusable");
    let (file, open) = (scratch.file("file", ""), scratch.dir("open"));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
    for (root, word) in [(&file, "ENOTDIR"), (&open, "EPERM")] {
        for (verb, code) in [("ps", 125), ("inspect x", 1), ("stop x", 1), ("logs x", 125), ("rm -f x", 1)] {
            let words: Vec<&str> = ["--root", root].into_iter().chain(verb.split(' ')).collect();
            let outcome = nsctl(&words);
            let right = outcome.code == code && outcome.err.contains("use the state directory");
            must(right && outcome.err.contains(word), &format!("{words:?}: {code}"), &outcome)?;
        }
    }
    let missing = scratch.path("missing");
    says(&["--root", &missing, "ps"], 0, "ID  NAME  PID  AGE  STATE  COMMAND\n")?;
    refused(&["--root", &missing, "stop", "x"], 1, "there is no container x")
}

fn json() -> Result<(), Failed> {
    let kept = Kept::shell(&[], "sleep 60; true")?;
    for words in [&["top", kept.id()][..], &["stats", "--no-stream", kept.id()], &["ps"]] {
        let outcome = nsctl(&[words, &["--json"]].concat());
        must(outcome.code == 0 && outcome.out.starts_with(['[', '{']), &format!("{words:?}"), &outcome)?;
    }
    let scratch = Scratch::new("json");
    let store = scratch.dir("store");
    says(&["image", "--store", &store, "ls", "--json"], 0, "[]\n")?;
    refused(&["image", "--store", &store], 125, "nothing was asked for")?;
    let outcome = nsctl(&["ps", "--jsn"]);
    must(outcome.err.starts_with("nsctl ps: invalid option"), "the program is named once", &outcome)
}

fn volumes() -> Result<(), Failed> {
    let kept = Kept::shell(&["--name", "gone"], "true")?;
    says(&["wait", kept.id()], 0, "0\n")?;
    says(&["rm", "-fv", "gone"], 0, "gone\n").map(drop)
}
