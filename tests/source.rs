//! Rules of the source that a compiler does not hold: who imports whom, where `unsafe` is, no threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A later module may use only earlier ones. `linux` modules stand on `linux::sys` and on each other.
const ORDER: &[&str] = &[
    "linux",
    "error",
    "json",
    "seccomp",
    "network",
    "state",
    "cli",
    "spec",
    "image",
    "copy",
    "plan",
    "ground",
    "explain",
    "sync",
    "verdict",
    "reaper",
    "monitor",
    "relay",
    "child",
    "launch",
    "supervise",
    "commands",
    "fuzz",
    "main",
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    found.into_iter().map(read).collect()
}

fn rank(module: &str) -> usize {
    ORDER.iter().position(|known| *known == module).unwrap_or_else(|| panic!("{module} has no place in ORDER"))
}

#[test]
fn imports_go_back_along_the_road() {
    for (file, text) in all() {
        let own = file.split(['/', '.']).next().unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for path in line.split("crate::").skip(1) {
                let used: String = path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                // A list of imports, a macro's `$crate`, or pub(crate).
                if used.is_empty() || used == "entry" {
                    continue;
                }
                assert!(rank(&used) <= rank(own), "{file} imports {used}, which comes later: {line}");
            }
        }
    }
}

/// A release is made without the code of `{:?}`: it would print nothing.
#[test]
fn no_message_has_a_debug_format() {
    for (file, text) in
        all().into_iter().filter(|(file, _)| !file.ends_with("tests.rs") && !file.ends_with("golden.rs"))
    {
        let own = text.split("#[cfg(test)]\nmod").next().unwrap();
        for line in own.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(!line.contains("?}"), "{file}: {line}");
        }
    }
}

#[test]
fn unsafe_is_in_one_module() {
    let others = |(file, _): &(String, String)| file != "linux/sys.rs" && !file.starts_with("linux/sys/");
    for (file, text) in all().into_iter().filter(others) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "unsafe");
            assert!(!word, "{file}: {line}");
        }
    }
}

/// What is fuzzed is what is built.
#[test]
fn fuzz_targets_stand_on_the_same_libraries() {
    let read = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let fuzzed = read("fuzz/Cargo.toml");
    let manifest = read("Cargo.toml");
    let libraries = manifest.split_once(".dependencies]\n").unwrap().1.split("\n\n").next().unwrap();
    for library in libraries.lines().filter(|line| !line.starts_with('#')) {
        assert!(fuzzed.lines().any(|line| line == library), "fuzz/Cargo.toml has no {library}");
    }
    // One package of each name: what its version is, and what it is made of.
    let packages = |lock: &str| -> BTreeMap<String, String> {
        let packages = lock.split("[[package]]\nname = ").skip(1).filter_map(|package| package.split_once('\n'));
        packages.map(|(name, rest)| (name.into(), rest.trim_end().into())).collect()
    };
    let fuzzed = packages(&read("fuzz/Cargo.lock"));
    for (name, what) in packages(&read("Cargo.lock")) {
        assert!(fuzzed.get(&name).is_none_or(|other| *other == what), "fuzz/Cargo.lock has another {name}");
    }
}

/// The child of a clone must be able to go on with what the only thread of its parent left.
#[test]
fn there_are_no_threads() {
    for (file, text) in all() {
        assert!(!text.contains("std::thread"), "{file} uses threads");
    }
}

/// README says which test tries what: each of them is there.
#[test]
fn tests_that_readme_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut boxes = Vec::new();
    sources(&root.join("tests/boxes"), &mut boxes);
    let boxes: String = boxes.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let table = readme.split("## Security").nth(1).unwrap().split("\n## ").next().unwrap();
    let names: Vec<&str> = table.split('`').filter(|word| word.contains("::") && !word.ends_with("::")).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let (group, short) = name.split_once("::").unwrap();
        let here = boxes.contains(&format!("\"{name}\"")) || boxes.contains(&format!("(\"{short}\""));
        assert!(here && boxes.contains(group), "no test {name}");
    }
}

/// Elsewhere than on Linux nsctl is a program that says so, and has no module.
#[test]
fn modules_are_of_linux_alone() {
    let (_, main) = all().into_iter().find(|(file, _)| file == "main.rs").unwrap();
    let lines: Vec<&str> = main.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].trim_start().starts_with("mod ") && pair[1].ends_with(';')) {
        assert_eq!(pair[0], "#[cfg(target_os = \"linux\")]", "before {}", pair[1]);
    }
}
