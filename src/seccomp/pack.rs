//! For build.rs alone: packs the tables of names.rs from the source of linux-raw-sys, which has the kernel's own headers of every
//! architecture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::names::{Architecture, NO_NUMBER};

/// Where cargo has the source of linux-raw-sys: unpacked out of a registry, or vendored.
pub(crate) fn source() -> PathBuf {
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock");
    let (_, rest) = lock.split_once("name = \"linux-raw-sys\"\nversion = \"").expect("linux-raw-sys is locked");
    let name = format!("linux-raw-sys-{}", rest.split('"').next().unwrap_or_default());
    let home = std::env::home_dir().unwrap_or_default().join(".cargo");
    let home = std::env::var_os("CARGO_HOME").map_or(home, PathBuf::from);
    let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut unpacked = registries.map(|registry| registry.path().join(&name).join("src"));
    unpacked.find(|source| source.is_dir()).unwrap_or_else(vendored)
}

/// Asks cargo, who answers only if the packages of all systems are there: those of a registry are fetched one by one.
fn vendored() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("cargo runs build.rs");
    let words = ["metadata", "--offline", "--locked", "--format-version=1"];
    let output = Command::new(cargo).args(words).output().expect("cargo metadata");
    let text = String::from_utf8(output.stdout).expect("cargo metadata is JSON");
    let (_, package) = text.split_once("{\"name\":\"linux-raw-sys\"").unwrap_or_else(|| {
        panic!("cargo metadata names no linux-raw-sys: {}", String::from_utf8_lossy(&output.stderr))
    });
    let (_, rest) = package.split_once("\"manifest_path\":\"").expect("a package has a manifest");
    let manifest = rest.split('"').next().expect("a text ends").replace("\\\\", "\\");
    Path::new(&manifest).parent().expect("a manifest is in a directory").join("src")
}

/// What `Names::unpack` reads.
pub(crate) fn pack(source: &Path, architectures: &[Architecture]) -> Vec<u8> {
    let tables: Vec<_> = architectures.iter().map(|architecture| table(source, architecture)).collect();
    let mut names: Vec<&str> = tables.iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    // Neighbours have numbers that follow each other, which deflates best.
    let number = |table: &[(String, u32)], name: &str| {
        table.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    };
    names.sort_by_key(|name| tables.iter().map(|table| number(table, name).unwrap_or(u32::MAX)).collect::<Vec<_>>());
    let mut packed = names.join("\0").into_bytes();
    packed.extend([0, 0]);
    for table in &tables {
        let mut last = 0u16;
        for name in &names {
            let delta = match number(table, name) {
                None => NO_NUMBER,
                Some(number) => {
                    let short = if number < 0xf000 { number as u16 } else { 0xf000 | (number & 0xfff) as u16 };
                    let delta = short.wrapping_sub(last);
                    assert!(delta != NO_NUMBER, "{name} is too far from what is before it");
                    last = short;
                    delta
                }
            };
            packed.extend(delta.to_le_bytes());
        }
    }
    packed
}

/// Names and numbers.
fn table(source: &Path, architecture: &Architecture) -> Vec<(String, u32)> {
    let file = source.join(architecture.directory).join("general.rs");
    println!("cargo:rerun-if-changed={}", file.display());
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let call = |line: &str| {
        let line = line.strip_prefix("pub const __")?;
        let line = line.strip_prefix("NR_").or_else(|| line.strip_prefix("ARM_NR_"))?;
        let (name, number) = line.strip_suffix(';')?.split_once(": u32 = ")?;
        // Of ARM: where its ranges of numbers begin, which are no calls.
        let is_call = !name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        Some((name.to_string(), number.parse::<u32>().ok()? - architecture.base)).filter(|_| is_call)
    };
    let calls: Vec<_> = text.lines().filter_map(call).collect();
    assert!(calls.len() > 200, "{} has changed: {} system calls are known", file.display(), calls.len());
    for (name, number) in &calls {
        assert!(
            *number < 0xf000 || *number >> 12 == 0xf0,
            "{name} has the number {number}, for which names.rs has no room"
        );
    }
    calls
}
