//! What reads bytes that others wrote, by name: a fuzz target each, see fuzz/Cargo.toml and `make fuzz`. Whatever comes, it must come to
//! an end soon, within little memory and without a panic. The tests run the seeds of the targets alone.

use crate::linux;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[("netlink", linux::net::survives)];

/// One run of the target of this name.
#[cfg(fuzzing)]
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("there is no target {name}")).1(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_survived() {
        for (name, target) in TARGETS {
            let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let seeds: Vec<_> = std::fs::read_dir(&seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name} has no seeds");
            seeds.iter().for_each(|seed| target(&std::fs::read(seed).unwrap()));
        }
    }
}
