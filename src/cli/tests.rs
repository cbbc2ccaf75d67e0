use super::*;

fn parsed(line: &str) -> Result<Invocation> {
    parse(std::iter::once("nsctl").chain(line.split_whitespace()).map(OsString::from).collect())
}

fn run_of(line: &str) -> Run {
    match parsed(line).unwrap_or_else(|e| panic!("{line}: {e}")).command {
        Command::Run(run) => *run,
        _ => panic!("{line} is no run"),
    }
}

fn refusal(line: &str) -> String {
    parsed(line).err().unwrap_or_else(|| panic!("{line} was accepted")).to_string()
}

#[test]
fn options_end_at_the_command() {
    let run = run_of("run -m 64m --name web sh -c -m --name");
    assert_eq!(run.limits.0, [("--memory", "64m".to_string())]);
    assert_eq!(run.name.as_deref(), Some("web"));
    assert_eq!(run.argv, ["sh", "-c", "-m", "--name"]);
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(run_of("run --rm -- --odd -x").argv, ["--odd", "-x"]);
}

#[test]
fn values_stand_apart_or_after_equals() {
    assert_eq!(run_of("run --memory=1g true").limits.0, [("--memory", "1g".to_string())]);
    assert_eq!(run_of("run -m1g true").limits.0, [("--memory", "1g".to_string())]);
    assert_eq!(run_of("run -c 512 --oom-group true").limits.0[1], ("--oom-group", "true".to_string()));
    assert_eq!(run_of("run --network host true").net.network.as_deref(), Some("host"));
    assert_eq!(run_of("run -h box true").hostname.as_deref(), Some("box"));
}

#[test]
fn global_options_stand_before_the_verb_too() {
    assert!(parsed("--log-format=json run true").unwrap().log_json);
    assert!(parsed("run --log-format json true").unwrap().log_json);
    assert!(!parsed("run true").unwrap().log_json);
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(refusal(""), "no command was given (try nsctl run /bin/sh, or nsctl --help)");
    assert_eq!(refusal("rum"), "nsctl has no command rum (see nsctl --help)");
    assert_eq!(refusal("images"), "nsctl has no command images (it is nsctl image ls)");
    assert!(refusal("inspect -f {{.State.Pid}} web").contains("--format is not supported (it prints JSON"));
    assert_eq!(refusal("run"), "nsctl run: no command was given (for a shell: nsctl run /bin/sh)");
    assert_eq!(refusal("run --memroy 1 true"), "nsctl run: invalid option '--memroy' (see nsctl run --help)");
    assert_eq!(refusal("run -m 1m -m 2m true"), "nsctl run: --memory was given twice (see nsctl run --help)");
    assert_eq!(refusal("ps extra"), "nsctl ps: unexpected argument \"extra\" (see nsctl ps --help)");
    assert_eq!(refusal("ps --json --format table"), "nsctl ps: --format was given twice (see nsctl ps --help)");
    assert_eq!(refusal("run -e"), "nsctl run: missing argument for option '-e' (see nsctl run --help)");
    assert_eq!(refusal("ps -l --last 3"), "nsctl ps: --last was given twice (see nsctl ps --help)");
    assert!(refusal("ps -q --json").contains("contradict"));
    assert!(refusal("check --json --kconfig").contains("contradict"));
    assert!(refusal("help nothing").contains("no help on nothing"));
}

#[test]
fn every_verb_has_a_text_of_its_own() {
    for verb in help::VERBS {
        let text = help(verb);
        assert!(text.starts_with("nsctl ") && text.contains(verb) && text.ends_with('\n'), "{verb}: {text}");
    }
    assert!(help("nsctl").starts_with("nsctl runs a command"));
}

mod words;
