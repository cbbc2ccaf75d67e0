//! Bakes in the commit, so that `nsctl --version` names the source it was made from.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=NSCTL_COMMIT");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    // A packager's own word first: a source archive has no .git.
    let commit = std::env::var("NSCTL_COMMIT").ok().or_else(commit).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NSCTL_COMMIT={commit}");
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string()).filter(|text| !text.is_empty())
}
