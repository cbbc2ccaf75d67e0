use super::*;

/// Runs a program as the kernel would, and refuses what its verifier does: instructions that no path reaches, jumps out of it.
struct Machine {
    program: Vec<u64>,
    reached: Vec<bool>,
}

impl Machine {
    fn new(rules: &[Rule]) -> Self {
        let program = program(rules);
        Self { reached: vec![false; program.len()], program }
    }

    fn run(&mut self, kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        let context = [u32::from(access) << 16 | kind as u32, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let bytes = self.program[at].to_le_bytes();
            let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let jump = i16::from_le_bytes([bytes[2], bytes[3]]);
            let number = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            self.reached[at] = true;
            at += 1;
            let mut go =
                |condition: bool| at = if condition { at.checked_add_signed(jump.into()).unwrap() } else { at };
            match bytes[0] {
                LOAD_WORD => registers[to] = context[usize::try_from(jump).unwrap() / 4].into(),
                AND => registers[to] &= u64::from(number),
                SHIFT_RIGHT => registers[to] >>= number,
                MOVE => registers[to] = registers[from],
                MOVE_NUMBER => registers[to] = number.into(),
                UNLESS_NUMBER => go(registers[to] != u64::from(number)),
                UNLESS => go(registers[to] != registers[from]),
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }
}

fn rules(typed: &[&str]) -> Vec<Rule> {
    typed.iter().map(|typed| Rule::parse(typed).unwrap_or_else(|| panic!("{typed}"))).collect()
}

#[test]
fn rules_as_docker_writes_them() {
    for typed in ["c 10:229 rwm", "b *:* m", "a *:* rwm", "c 136:* rw", "b 8:16 r"] {
        assert_eq!(Rule::parse(typed).unwrap().text(), typed);
    }
    assert_eq!(Rule::parse("c 1:3 mr").unwrap().text(), "c 1:3 rm");
    for typed in [
        "",
        "c",
        "c 1:3",
        "d 1:3 r",
        "c 1 r",
        "c 1:3 x",
        "c 1:3 rr",
        "c 1:3 r w",
        "c -1:3 r",
        "c 1:9999999 r",
        "c 1: r",
        "c  1:3 r",
    ] {
        assert_eq!(Rule::parse(typed), None, "{typed}");
    }
}

#[test]
fn the_default_devices() {
    let mut machine = Machine::new(DEFAULTS);
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 0), (136, 77)] {
        for access in 1..=ALL {
            assert!(machine.run(Kind::Character, access, major, minor), "{major}:{minor} {access}");
        }
    }
    for (kind, major, minor) in [
        (Kind::Character, 1, 1),
        (Kind::Character, 1, 11),
        (Kind::Character, 10, 229),
        (Kind::Block, 1, 3),
        (Kind::Block, 8, 0),
    ] {
        assert!(machine.run(kind, MKNOD, major, minor), "any node may be made");
        for access in [READ, WRITE, READ | WRITE, READ | MKNOD, ALL] {
            assert!(!machine.run(kind, access, major, minor), "{kind:?} {major}:{minor} {access}");
        }
    }
}

#[test]
fn asked_for() {
    let mut machine = Machine::new(&rules(&["c 10:229 rw", "b 8:* r", "a 7:1 m"]));
    for (kind, access, major, minor, allowed) in [
        (Kind::Character, READ, 10, 229, true),
        (Kind::Character, READ | WRITE, 10, 229, true),
        (Kind::Character, MKNOD, 10, 229, false),
        (Kind::Character, READ | MKNOD, 10, 229, false),
        (Kind::Block, READ, 10, 229, false),
        (Kind::Block, READ, 8, 0, true),
        (Kind::Block, READ, 8, 33, true),
        (Kind::Block, WRITE, 8, 33, false),
        (Kind::Block, MKNOD, 7, 1, true),
        (Kind::Character, MKNOD, 7, 1, true),
        (Kind::Character, MKNOD, 7, 2, false),
    ] {
        assert_eq!(machine.run(kind, access, major, minor), allowed, "{kind:?} {access} {major}:{minor}");
    }
}

#[test]
fn the_verifier_finds_nothing_unreachable() {
    for typed in
        [&[][..], &["c 1:3 rwm"], &["a *:* rwm"], &["c 1:3 r", "a *:* rwm", "c 1:5 w"], &["c *:* m", "b 7:* rw"]]
    {
        let rules = rules(typed);
        let mut machine = Machine::new(&rules);
        for kind in [Kind::Block, Kind::Character] {
            for access in 1..=ALL {
                for major in [1, 7, 8] {
                    for minor in [3, 5, 6] {
                        machine.run(kind, access, major, minor);
                    }
                }
            }
        }
        assert!(machine.reached.iter().all(|reached| *reached), "{typed:?}: {:?}", machine.reached);
    }
    assert_eq!(Machine::new(&rules(&["c 1:3 r", "a *:* rwm"])).program.len(), 2);
}
