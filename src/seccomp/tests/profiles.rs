//! Profiles in the format of OCI and docker.

use super::*;

const KERNEL: (u32, u32) = (6, 1);

fn read(json: &str) -> crate::error::Result<Filter> {
    let names: Names = names();
    let world = World { architectures: ARCHITECTURES, names: &names, capabilities: caps::DEFAULT, kernel: KERNEL };
    filter(json.as_bytes(), &world)
}

/// A profile without it is refused.
const EXECVE: &str = r#"{"names":["execve"],"action":"SCMP_ACT_ALLOW"}"#;

/// A profile of these rules, by default EPERM.
fn rules(rules: &str) -> Filter {
    read(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{EXECVE},{rules}]}}"#)).unwrap()
}

fn first(filter: &Filter, name: &str, argument: u64) -> u32 {
    verdict(filter, 0, name, [argument, 0, 0, 0, 0, 0])
}

#[test]
fn actions() {
    for (action, wanted) in [
        ("ALLOW", ALLOW),
        ("ERRNO", ERRNO | 1),
        ("KILL", 0),
        ("KILL_THREAD", 0),
        ("KILL_PROCESS", KILL_PROCESS),
        ("TRAP", 0x3_0000),
        ("TRACE", 0x7ff0_0001),
        ("LOG", 0x7ffc_0000),
        ("NOTIFY", 0x7fc0_0000),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_TRAP","listenerPath":"/l","syscalls":[{{"names":["execve","sendmsg"],"action":"SCMP_ACT_ALLOW"}},{{"names":["read"],"action":"SCMP_ACT_{action}"}}]}}"#
        );
        let filter = read(&json).unwrap();
        assert_eq!(first(&filter, "read", 0), wanted);
        assert_eq!(first(&filter, "write", 0), 0x3_0000);
        assert_eq!(filter.listener.is_some(), action == "NOTIFY");
    }
    let filter = rules(
        r#"{"name":"read","action":"SCMP_ACT_ERRNO","errnoRet":4095},{"names":["write"],"action":"SCMP_ACT_TRACE","errnoRet":9}"#,
    );
    assert_eq!((first(&filter, "read", 0), first(&filter, "write", 0)), (ERRNO | 4095, 0x7ff0_0009));
}

/// Of arguments that have 64 bits; what has 32 is below.
#[cfg(target_pointer_width = "64")]
#[test]
fn conditions_of_a_rule_and_rules_of_a_call() {
    let rule = |args: &str| format!(r#"{{"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#);
    let arg = |index, op, value: u64, two: u64| {
        format!(r#"{{"index":{index},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{op}"}}"#)
    };
    let both = rule(&format!("{},{}", arg(0, "GT", 5, 0), arg(1, "LE", 1 << 40, 0)));
    // What the mask leaves nothing of does not count.
    let masked = rule(&arg(0, "MASKED_EQ", 0xf0, 0x3f));
    let filter = rules(&format!("{both},{masked}"));
    let first = |filter: &Filter, name, argument| verdict(filter, 0, name, [argument, argument, 0, 0, 0, 0]);
    for (value, wanted) in [
        (5, REFUSED),
        (6, ALLOW),
        (1 << 40, ALLOW),
        ((1 << 40) + 1, REFUSED),
        ((1 << 40) + 0x31, ALLOW),
        (u64::MAX, REFUSED),
    ] {
        assert_eq!(first(&filter, "write", value), wanted, "{value:x}");
    }
    // Without a condition it is whole, wherever that stands; what is so anyway is no rule.
    for order in [[&both, ""], ["", &both]] {
        let list = order
            .map(|rule| format!("{rule}{}", if rule.is_empty() { "" } else { "," }))
            .join(&format!("{},", rule("")));
        assert_eq!(first(&rules(list.trim_end_matches(',')), "write", 5), ALLOW);
    }
    let denied = format!(r#"{{"names":["write"],"action":"SCMP_ACT_ERRNO"}},{both}"#);
    assert_eq!(first(&rules(&denied), "write", 6), ALLOW);
}

fn refusing(call: &str, op: &str, values: &[u64]) -> String {
    let arg = |value| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_{op}"}}"#);
    let args: Vec<_> = values.iter().map(arg).collect();
    format!(r#"{{"names":["{call}"],"action":"SCMP_ACT_ERRNO","errnoRet":9,"args":[{}]}}"#, args.join(","))
}

/// As runc and crun do: libseccomp takes no two of one argument in one rule.
#[test]
fn conditions_on_one_argument_are_a_rule_each() {
    let json =
        format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#, refusing("socket", "EQ", &[38, 40]));
    let filter = read(&json).unwrap();
    let of = [38, 39, 40].map(|family| first(&filter, "socket", family));
    assert_eq!(of, [ERRNO | 9, ALLOW, ERRNO | 9]);
}

#[test]
fn of_rules_that_hold_the_strictest_counts() {
    let below = r#"{"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":10,"op":"SCMP_CMP_LT"}]}"#;
    let five = refusing("write", "EQ", &[5]);
    for list in [format!("{below},{five}"), format!("{five},{below}")] {
        let filter = rules(&list);
        assert_eq!([4, 5, 10].map(|value| first(&filter, "write", value)), [ALLOW, ERRNO | 9, REFUSED]);
    }
}

/// What a program of 32 bits cannot have does not let it through.
#[cfg(target_arch = "x86_64")]
#[test]
fn arguments_of_32_bits() {
    let list = refusing("personality", "EQ", &[u64::MAX]);
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[{list}]}}"#
    );
    let filter = read(&json).unwrap();
    let of = |architecture, argument| verdict(&filter, architecture, "personality", [argument, 0, 0, 0, 0, 0]);
    assert_eq!([0, 1, 2].map(|architecture| of(architecture, 0xffff_ffff)), [ALLOW, ERRNO | 9, ERRNO | 9]);
    assert_eq!((of(0, u64::MAX), of(1, 5 << 32 | 0xffff_ffff)), (ERRNO | 9, ERRNO | 9));
}

/// By socketcall and ipc of i386 no call is had that is refused, and each that is allowed.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_within_others() {
    let of = |default: &str, list: &str| {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_{default}","architectures":["SCMP_ARCH_X86"],"syscalls":[{EXECVE},{list}]}}"#
        );
        let filter = read(&json).unwrap();
        [("socketcall", 1), ("socketcall", 3), ("socketcall", 9), ("ipc", 23), ("ipc", 23 | 1 << 16)]
            .map(|(call, number)| verdict(&filter, 2, call, [number, 7, 7, 0, 0, 0]))
    };
    let all = |names: &str, action: &str| format!(r#"{{"names":[{names}],"action":"SCMP_ACT_{action}"}}"#);
    let three = r#""socket","sendto","shmget""#;
    let no = ERRNO | EPERM;
    assert_eq!(of("ALLOW", &all(three, "ERRNO")), [no, ALLOW, no, no, no]);
    assert_eq!(of("ERRNO", &all(three, "ALLOW")), [ALLOW, no, ALLOW, ALLOW, ALLOW]);
    // What is said of all of them holds.
    let allowed = all(r#""socketcall","ipc""#, "ALLOW");
    assert_eq!(of("ERRNO", &format!("{allowed},{}", refusing("socket", "EQ", &[38]))), [ALLOW; 5]);
    // Arguments are out of sight.
    assert_eq!(of("ALLOW", &refusing("socket", "EQ", &[38])), [ERRNO | 9, ALLOW, ALLOW, ALLOW, ALLOW]);
    let some = r#"{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":38,"op":"SCMP_CMP_NE"}]}"#;
    assert_eq!(of("ERRNO", some), [no; 5]);
}

#[test]
fn where_rules_hold() {
    let holds = |filter: &str| {
        let rule = format!(r#"{{"names":["write"],"action":"SCMP_ACT_ALLOW",{filter}}}"#);
        first(&rules(&rule), "write", 0) == ALLOW
    };
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        same => same,
    };
    assert!(holds(r#""includes":{},"excludes":null,"args":null,"comment":"x""#));
    assert!(holds(r#""includes":{"caps":["CAP_CHOWN","CAP_KILL"]}"#));
    assert!(!holds(r#""includes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#));
    assert!(!holds(r#""excludes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#));
    assert!(holds(r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#));
    assert!(
        holds(&format!(r#""includes":{{"arches":["s390x","{here}"]}}"#))
            && !holds(r#""includes":{"arches":["s390x"]}"#)
    );
    assert!(!holds(&format!(r#""excludes":{{"arches":["{here}"]}}"#)));
    assert!(holds(r#""includes":{"minKernel":"4.8"}"#) && holds(r#""includes":{"minKernel":"6.1"}"#));
    assert!(!holds(r#""includes":{"minKernel":"6.2"}"#) && !holds(r#""excludes":{"minKernel":"5.19"}"#));
}

#[test]
fn newer_calls_than_the_profile_s() {
    let names = names();
    let number = names.number(names.find("close_range").unwrap(), 0).unwrap();
    let rule = r#"{"names":["execve","close_range"],"action":"SCMP_ACT_ALLOW"}"#;
    let at = |default: &str, number| {
        let filter = read(&format!(r#"{{"defaultAction":"SCMP_ACT_{default},"syscalls":[{rule}]}}"#)).unwrap();
        run(&filter.program, Call { number, audit: ARCHITECTURES[0].audit, arguments: [0; 6] }).0
    };
    assert_eq!(
        (at(r#"ERRNO""#, number), at(r#"ERRNO""#, number - 1), at(r#"ERRNO""#, number + 1)),
        (ALLOW, REFUSED, ABSENT)
    );
    assert_eq!(at(r#"ERRNO","defaultErrnoRet":13"#, number - 1), ERRNO | 13);
    assert_eq!(at(r#"KILL_PROCESS""#, number + 1), KILL_PROCESS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn other_architectures_are_killed_unless_listed() {
    let of = |more: &str| {
        let filter = read(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{more}}}"#)).unwrap();
        [(0xc000_003e, 1), (0xc000_003e, 0x4000_0001), (0xc000_003e, u32::MAX), (0x4000_0003, 1), (0xc000_00b7, 1)]
            .map(|(audit, number)| run(&filter.program, Call { number, audit, arguments: [0; 6] }).0 == ALLOW)
    };
    let family = |subs: &str| {
        format!(
            r#","archMap":[{{"architecture":"SCMP_ARCH_AARCH64"}},{{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[{subs}]}}]"#
        )
    };
    assert_eq!(of(""), [true, false, true, false, false]);
    assert_eq!(of(r#","architectures":["SCMP_ARCH_X86","SCMP_ARCH_ARM"]"#), [true, false, true, true, false]);
    assert_eq!(of(&family(r#""SCMP_ARCH_X32""#)), [true, true, true, false, false]);
    assert_eq!(of(&family(r#""SCMP_ARCH_X86","SCMP_ARCH_X32""#)), [true, true, true, true, false]);
    assert_eq!(of(&family("")), [true, false, true, false, false]);
}

#[test]
fn flags() {
    let of = |flags: &str| read(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{flags}}}"#)).unwrap().flags;
    assert_eq!((of(""), of(r#","flags":[]"#)), (4, 0));
    let all = r#","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#;
    let listens =
        format!(r#"{all},"listenerPath":"/l","syscalls":[{{"names":["read"],"action":"SCMP_ACT_NOTIFY"}}]"#);
    assert_eq!((of(all), of(&listens)), (3, 42));
}

#[test]
fn a_call_named_again_and_again() {
    let names = vec![r#""read""#; 100_000].join(",");
    let args = vec![r#"{"index":0,"value":1,"op":"SCMP_CMP_EQ"}"#; 1000].join(",");
    let rule = format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#);
    let refused = read(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#)).err().unwrap();
    assert!(refused.to_string().starts_with("syscalls[0]: it takes more than the 4096 instructions"), "{refused}");
}

#[test]
fn what_is_refused() {
    let rule =
        |rest: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],{rest}}}]}}"#);
    let arg = |arg: &str| rule(&format!(r#""action":"SCMP_ACT_LOG","args":[{{{arg}}}]"#));
    for (json, wanted) in [
        ("".into(), "it is not JSON"),
        ("[]".into(), "defaultAction is not in an object"),
        ("{}".into(), "(without a name) is no defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_NONE"}"#.into(), "SCMP_ACT_NONE is no defaultAction"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_X"]}"#.into(),
            "SECCOMP_FILTER_FLAG_X is no flag",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.into(), "it never allows execve"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["execve"],"action":"SCMP_ACT_TRAP"}]}"#.into(),
            "it never allows execve",
        ),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.into(), "SCMP_ACT_NOTIFY is of no use without listenerPath"),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x","listenerMetadata":"\u0000"}"#.into(),
            "listenerPath or listenerMetadata has a NUL in it",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY","listenerPath":"/x"}"#.into(),
            "SCMP_ACT_NOTIFY, and sendmsg is not allowed",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}}"#.into(), "syscalls is not a list"),
        (rule(r#""action":"ALLOW""#), "syscalls[0]: ALLOW is no action"),
        (
            rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":4096"#),
            "syscalls[0]: 4096 is no error number: they are below 4096",
        ),
        (rule(r#""action":"SCMP_ACT_ERRNO","errnoRet":-1"#), "syscalls[0]: errnoRet is not a number from 0 on"),
        (rule(r#""name":"x","action":"SCMP_ACT_LOG""#), "syscalls[0]: it has both name and names"),
        (
            arg(r#""index":6,"value":1,"op":"SCMP_CMP_EQ""#),
            "syscalls[0]: a system call has no argument 6: they are 0 to 5",
        ),
        (arg(r#""index":0,"value":1,"op":"EQ""#), "syscalls[0]: EQ is no operator"),
        (arg(r#""index":0,"op":"SCMP_CMP_EQ""#), "syscalls[0]: value is not a number from 0 on"),
        (
            rule(r#""action":"SCMP_ACT_LOG","includes":{"minKernel":"new"}"#),
            "syscalls[0]: minKernel new is no version of a kernel",
        ),
    ] {
        let error = read(&json).unwrap_err();
        assert_eq!(error.doing, wanted, "{json}");
    }
}
