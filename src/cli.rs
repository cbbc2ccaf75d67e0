//! argv → [`Command`]: what was typed, one structure per verb. What is left over or contradicts itself is an
//! error; what the words mean is decided in `spec`. No system calls.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser, ValueExt};

use crate::error::{Error, NAMED, Result};

mod copy;
mod events;
mod health;
mod help;
mod image;
mod landlock;
mod limits;
mod listing;
mod manage;
mod net;
mod network;
mod privileges;
mod run;
mod watch;
pub(crate) use copy::Copy;
mod update;
pub(crate) use events::Events;
mod verbs;
pub(crate) use health::Health;
pub(crate) use help::{VERSION, text as help};
pub(crate) use image::Image;
pub(crate) use landlock::Landlock;
pub(crate) use limits::{Cgroup, Limits};
pub(crate) use listing::Listing;
pub(crate) use manage::{Prune, Rename};
pub(crate) use net::Net;
pub(crate) use network::{Create, Networks};
pub(crate) use privileges::Privileges;
pub(crate) use update::Update;
pub(crate) use verbs::{Exec, Verb, no_container};
pub(crate) use watch::{Stats, Top};

/// Options before the verb, and the verb.
pub(crate) struct Invocation {
    pub(crate) log_json: bool,
    /// `--root`: where state is kept.
    pub(crate) root: Option<OsString>,
    pub(crate) command: Command,
}

pub(crate) enum Command {
    Help(&'static str),
    Version,
    Run(Box<Run>),
    Simple(Simple),
    Ps(Ps),
    Exec(Box<Exec>),
    Verb(Box<Verb>),
    Check(Check),
    Image(Image),
    Network(Networks),
    Events(Events),
    Copy(Copy),
    Update(Box<Update>),
    Top(Top),
    Rename(Rename),
    Prune(Prune),
    Stats(Stats),
}

/// `nsctl run`, as typed.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) uts: Option<String>,
    pub(crate) userns: Option<String>,
    pub(crate) uidmap: Vec<String>,
    pub(crate) gidmap: Vec<String>,
    pub(crate) pid: Option<String>,
    pub(crate) ipc: Option<String>,
    pub(crate) cgroupns: Option<String>,
    pub(crate) net: Net,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) init: bool,
    pub(crate) no_init: bool,
    pub(crate) env: Vec<OsString>,
    pub(crate) env_file: Vec<OsString>,
    pub(crate) workdir: Option<OsString>,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
    pub(crate) detach_keys: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) rm: bool,
    pub(crate) pidfile: Option<OsString>,
    pub(crate) preserve_fds: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) cgroup: Cgroup,
    pub(crate) privileges: Privileges,
    pub(crate) rootfs: Option<OsString>,
    pub(crate) image: Option<OsString>,
    pub(crate) store: Option<OsString>,
    pub(crate) max_unpacked: Option<String>,
    pub(crate) overlay: bool,
    pub(crate) overlay_size: Option<String>,
    pub(crate) overlay_upper: Option<OsString>,
    pub(crate) rw: bool,
    pub(crate) read_only: bool,
    pub(crate) volume: Vec<OsString>,
    pub(crate) mount: Vec<OsString>,
    pub(crate) tmpfs: Vec<OsString>,
    pub(crate) device: Vec<OsString>,
    pub(crate) shm_size: Option<String>,
    pub(crate) sysctl: Vec<String>,
    pub(crate) landlock: Landlock,
    pub(crate) user: Option<String>,
    pub(crate) group_add: Vec<String>,
    pub(crate) entrypoint: Option<OsString>,
    pub(crate) label: Vec<String>,
    pub(crate) stop_signal: Option<String>,
    /// `--detach`, or the verb `create`.
    pub(crate) detach: bool,
    pub(crate) create: bool,
    pub(crate) cidfile: Option<OsString>,
    pub(crate) log: Option<String>,
    pub(crate) log_size: Option<String>,
    pub(crate) restart: Option<String>,
    pub(crate) health: Health,
    pub(crate) stop_timeout: Option<String>,
    /// The whole command line, of one that lives on.
    pub(crate) words: Vec<OsString>,
    pub(crate) explain: bool,
    pub(crate) verbose: bool,
    pub(crate) argv: Vec<OsString>,
}

#[derive(Default)]
pub(crate) struct Simple {
    pub(crate) explain: bool,
    pub(crate) verbose: bool,
}

#[derive(Default)]
pub(crate) struct Ps {
    /// Those that do not run, too.
    pub(crate) all: bool,
    pub(crate) filter: Vec<String>,
    /// So many that were made last, whether they run or not.
    pub(crate) last: Option<String>,
    pub(crate) listing: Listing,
}

#[derive(Default)]
pub(crate) struct Check {
    pub(crate) json: bool,
    pub(crate) kconfig: bool,
}

/// Reads the whole command line; `args` starts with the program's own name.
#[inline(never)]
pub(crate) fn parse(args: Vec<OsString>) -> Result<Invocation> {
    let mut parser = Parser::from_iter(&args);
    let (mut log_json, mut root) = (false, None);
    let mut command = loop {
        match parser.next().map_err(wrong)? {
            Some(Arg::Long("log-format")) => log_json = log_format(&mut parser)?,
            Some(Arg::Long("root")) => once(&mut root, "--root", word(&mut parser)?)?,
            Some(Arg::Long("help") | Arg::Short('h')) => break Command::Help("nsctl"),
            Some(Arg::Long("version") | Arg::Short('V')) => break Command::Version,
            Some(Arg::Value(verb)) => {
                break command(&verb, &mut parser, &mut log_json).map_err(|error| of_verb(error, &verb))?;
            }
            Some(other) => return Err(wrong(other.unexpected()).hint("see nsctl --help")),
            None => return Err(Error::new("no command was given").hint("try nsctl run /bin/sh, or nsctl --help")),
        }
    };
    if let Command::Run(run) = &mut command
        && (run.detach || run.create)
    {
        run.words = args;
    }
    Ok(Invocation { log_json, root, command })
}

/// What is wrong with the words of a verb names it, and where there is more about it.
fn of_verb(error: Error, verb: &OsStr) -> Error {
    if error.doing().starts_with(NAMED) {
        return error;
    }
    let error = error.within(format_args!("nsctl {}", verb.display()));
    if error.hint.is_empty() { error.hint(format_args!("see nsctl {} --help", verb.display())) } else { error }
}

fn command(verb: &OsStr, parser: &mut Parser, log_json: &mut bool) -> Result<Command> {
    match verb.to_str() {
        Some("run") => run::run(parser, log_json, false),
        Some("create") => run::run(parser, log_json, true),
        Some("exec") => verbs::exec(parser, log_json),
        Some("resume") => verbs::verb("unpause", parser, log_json),
        Some("simple") => simple(parser),
        Some("ps") => ps(parser),
        Some("check") => check(parser),
        Some("image") => image::image(parser),
        Some("network") => network::network(parser),
        Some("events") => events::events(parser),
        Some("cp") => copy::copy(parser),
        Some("update") => update::update(parser, log_json),
        Some("top") => watch::top(parser),
        Some("rename") => manage::rename(parser),
        Some("prune") => manage::prune(parser),
        Some("stats") => watch::stats(parser),
        Some("version") => Ok(Command::Version),
        Some("help") => match parser.next().map_err(wrong)? {
            None => Ok(Command::Help("nsctl")),
            Some(Arg::Value(topic)) => match help::VERBS.iter().find(|verb| topic == **verb) {
                Some(verb) => Ok(Command::Help(verb)),
                None => {
                    Err(Error::new(format_args!("there is no help on {}", topic.display())).hint("see nsctl --help"))
                }
            },
            Some(other) => Err(wrong(other.unexpected())),
        },
        word => match verbs::NAMES.iter().find(|name| word == Some(**name)) {
            Some(name) => verbs::verb(name, parser, log_json),
            None => Err(Error::new(format_args!("nsctl has no command {}", verb.display())).hint(elsewhere(word))),
        },
    }
}

/// What users of other engines type, by its name here.
fn elsewhere(word: Option<&str>) -> &'static str {
    match word {
        Some("images") => "it is nsctl image ls",
        Some("rmi") => "it is nsctl image rm",
        Some("pull" | "load") => "nsctl downloads nothing; nsctl image import PATH brings one in",
        Some("ls" | "list" | "container") => "it is nsctl ps",
        Some("info") => "it is nsctl check",
        _ => "see nsctl --help",
    }
}

fn simple(parser: &mut Parser) -> Result<Command> {
    let mut simple = Simple::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("explain") => simple.explain = true,
            Arg::Long("verbose") => simple.verbose = true,
            Arg::Long("help") => return Ok(Command::Help("simple")),
            other => return Err(unexpected(other)),
        }
    }
    Ok(Command::Simple(simple))
}

fn ps(parser: &mut Parser) -> Result<Command> {
    let mut ps = Ps::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("all") | Arg::Short('a') => ps.all = true,
            Arg::Long("filter") | Arg::Short('f') => ps.filter.push(text(parser)?),
            Arg::Long("last") | Arg::Short('n') => once_text(&mut ps.last, "--last", parser)?,
            Arg::Long("latest") | Arg::Short('l') => once(&mut ps.last, "--last", "1".into())?,
            Arg::Long("format") => ps.listing.format(parser)?,
            Arg::Long("json") => ps.listing.json()?,
            Arg::Long("quiet") | Arg::Short('q') => ps.listing.quiet = true,
            Arg::Long("no-trunc") => ps.listing.no_trunc = true,
            Arg::Long("help") => return Ok(Command::Help("ps")),
            other => return Err(unexpected(other)),
        }
    }
    ps.listing = ps.listing.checked()?;
    Ok(Command::Ps(ps))
}

fn check(parser: &mut Parser) -> Result<Command> {
    let mut check = Check::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("json") => check.json = true,
            Arg::Long("kconfig") => check.kconfig = true,
            Arg::Long("help") => return Ok(Command::Help("check")),
            other => return Err(unexpected(other)),
        }
    }
    if check.json && check.kconfig {
        return Err(Error::new("--json and --kconfig contradict each other"));
    }
    Ok(Command::Check(check))
}

fn once<T>(slot: &mut Option<T>, option: &str, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(format_args!("{option} was given twice"))),
    }
}

/// The value of an option that is given once at most; `once` with the reading in it, since there are dozens.
fn once_text(slot: &mut Option<String>, option: &str, parser: &mut Parser) -> Result<()> {
    once(slot, option, text(parser)?)
}

fn once_word(slot: &mut Option<OsString>, option: &str, parser: &mut Parser) -> Result<()> {
    once(slot, option, word(parser)?)
}

fn word(parser: &mut Parser) -> Result<OsString> {
    parser.value().map_err(wrong)
}

fn text(parser: &mut Parser) -> Result<String> {
    parser.value().and_then(|value| value.string()).map_err(wrong)
}

fn log_format(parser: &mut Parser) -> Result<bool> {
    Ok(choice(parser, "--log-format", ["text", "json"])? == 1)
}

fn choice(parser: &mut Parser, option: &str, choices: [&str; 2]) -> Result<usize> {
    let value = text(parser)?;
    choices.iter().position(|choice| *choice == value).ok_or_else(|| {
        Error::new(format_args!("{option} {value} is unknown")).hint(format_args!("it is {}", choices.join(" or ")))
    })
}

fn unexpected(arg: Arg<'_>) -> Error {
    wrong(arg.unexpected())
}

/// lexopt's sentences, but for its Debug formats of what was typed: a release has none, see tools/cargo-musl.
fn wrong(error: lexopt::Error) -> Error {
    use lexopt::Error::*;
    Error::new(match error {
        MissingValue { option: Some(option) } => format!("missing argument for option '{option}'"),
        MissingValue { option: None } => "missing argument".into(),
        UnexpectedOption(option) => format!("invalid option '{option}'"),
        UnexpectedArgument(value) => format!("unexpected argument \"{}\"", value.display()),
        UnexpectedValue { option, value } => {
            format!("unexpected argument for option '{option}': \"{}\"", value.display())
        }
        NonUnicodeValue(value) => format!("argument is invalid unicode: \"{}\"", value.display()),
        ParsingFailed { error, .. } | Custom(error) => error.to_string(),
    })
}

#[cfg(test)]
mod tests;
