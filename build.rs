//! Bakes in the commit, so that `nsctl --version` names the source it was made from, the help texts, packed, and what the default
//! seccomp filter is made of, and itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use miniz_oxide::deflate::compress_to_vec;

#[path = "src/linux/caps/names.rs"]
mod capabilities;
#[path = "src/seccomp/default.rs"]
mod default;
#[allow(dead_code)] // The program has more use for it than this one.
#[path = "src/seccomp/names.rs"]
mod names;
#[path = "src/seccomp/numbers.rs"]
mod numbers;
#[path = "src/seccomp/pack.rs"]
mod pack;
#[allow(dead_code)]
#[path = "src/seccomp/program.rs"]
mod program;

fn main() {
    println!("cargo:rerun-if-env-changed=NSCTL_COMMIT");
    // A packager's own word first: a source archive has no .git.
    let commit = std::env::var("NSCTL_COMMIT").ok().or_else(commit).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=NSCTL_COMMIT={commit}");

    println!("cargo:rerun-if-changed=src/cli/help");
    output("help.deflate", &compress_to_vec(&help(), 10));
    seccomp();
}

fn output(name: &str, bytes: &[u8]) {
    fs::write(Path::new(&std::env::var("OUT_DIR").unwrap()).join(name), bytes).unwrap();
}

/// The names of system calls, and the default filter.
fn seccomp() {
    println!("cargo:rerun-if-changed=src/seccomp");
    println!("cargo:rerun-if-changed=Cargo.lock");
    let architectures = names::architectures(&std::env::var("CARGO_CFG_TARGET_ARCH").unwrap());
    let defaults = fs::read_to_string("src/seccomp/default.txt").unwrap();
    let packed = pack::pack(&pack::source(), architectures);
    let names = names::Names::unpack(&packed).expect("it reads what it wrote");
    let classes = default::classes(&defaults, &capabilities::NAMES);
    let (program, open) = default::program(architectures, &names, &classes).expect("it is short enough");
    output("seccomp.names", &compress_to_vec(&packed, 10));
    output("seccomp.bpf", &default::packed(&program, &open));
}

fn commit() -> Option<String> {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
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
