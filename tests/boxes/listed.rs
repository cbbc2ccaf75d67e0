//! What `nsctl ps` lists, and what it says where it cannot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::Scratch;
use crate::life::{refused, says};
use crate::nsctl::{must, nsctl};

pub(crate) const CASES: &[(&str, Case)] = &[("an_unusable_state_directory_is_said", unusable)];

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
