//! Bakes in the commit, so that `nsctl --version` names the source it was made from, and the help texts, packed.

use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=NSCTL_COMMIT");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    // A packager's own word first: a source archive has no .git.
    let commit = std::env::var("NSCTL_COMMIT").ok().or_else(commit).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NSCTL_COMMIT={commit}");

    println!("cargo:rerun-if-changed=src/cli/help");
    let packed = miniz_oxide::deflate::compress_to_vec(&help(), 10);
    fs::write(Path::new(&std::env::var("OUT_DIR").unwrap()).join("help.deflate"), packed).unwrap();
}

fn commit() -> Option<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string()).filter(|text| !text.is_empty())
}

/// As src/cli/help.rs reads them: NAME, NUL, text, NUL and so on, by name.
fn help() -> Vec<u8> {
    let mut files: Vec<_> = fs::read_dir("src/cli/help").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let name = file.file_stem().unwrap().to_str().unwrap();
            format!("{name}\0{}\0", fs::read_to_string(file).unwrap()).into_bytes()
        })
        .collect()
}
