//! Profiles as files: the JSON of docker and podman (`includes`, `excludes`, `archMap`), of which that of the OCI runtime
//! specification (config-linux.md, "Seccomp") is a part.

use miniserde::json::Value;

use super::names::{Architecture, Names};
use super::numbers::by_audit;
use super::program::{ALLOW, Compare, Condition, ENOSYS, EPERM, ERRNO, KILL_PROCESS, MOST, Rule, Rules, compile};
use super::{Filter, Listener};
use crate::error::{Error, Result};
use crate::json;
use crate::linux::sys::seccomp::{LOG, NEW_LISTENER, SPEC_ALLOW, TSYNC, WAIT_KILLABLE_RECV};

/// What conditions of a profile are about.
pub(super) struct World<'a> {
    pub(super) architectures: &'a [Architecture],
    pub(super) names: &'a Names,
    /// Those that the container may have, as bits.
    pub(super) capabilities: u64,
    /// Linux 6.1 is (6, 1).
    pub(super) kernel: (u32, u32),
}

/// A name that a profile uses, with a meaning.
type Word<T> = (&'static str, T);

const ACTIONS: [Word<u32>; 9] = [
    ("ALLOW", ALLOW),
    ("ERRNO", ERRNO),
    ("KILL", 0),
    ("KILL_THREAD", 0),
    ("KILL_PROCESS", KILL_PROCESS),
    ("TRAP", 0x0003_0000),
    ("NOTIFY", NOTIFY),
    ("TRACE", TRACE),
    ("LOG", LOGGED),
];
/// The half of an argument that a program of 32 bits has.
const LOW: u64 = 0xffff_ffff;

const LOGGED: u32 = 0x7ffc_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;

const OPERATORS: [Word<Option<Compare>>; 7] = [
    ("EQ", Some(Compare::Equal)),
    ("NE", Some(Compare::NotEqual)),
    ("LT", Some(Compare::Less)),
    ("LE", Some(Compare::LessOrEqual)),
    ("GT", Some(Compare::Greater)),
    ("GE", Some(Compare::GreaterOrEqual)),
    ("MASKED_EQ", None),
];

const FLAGS: [Word<u32>; 4] =
    [("TSYNC", TSYNC), ("LOG", LOG), ("SPEC_ALLOW", SPEC_ALLOW), ("WAIT_KILLABLE_RECV", WAIT_KILLABLE_RECV)];

fn word<T: Copy>(what: &str, prefix: &str, word: &str, words: &[Word<T>]) -> Result<T> {
    let known = |name: &str| words.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning);
    word.strip_prefix(prefix).and_then(known).ok_or_else(|| {
        let names: Vec<String> = words.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        Error::new(format_args!("{} is no {what}", json::shown(word.as_bytes())))
            .hint(format_args!("there are {}", names.join(", ")))
    })
}

/// `errno` is the key of what an error has, or a tracer gets.
fn action(value: &Value, action: &str, errno: &str) -> Result<u32> {
    let action = word(action, "SCMP_ACT_", &json::text(value, action)?, &ACTIONS)?;
    if action != ERRNO && action != TRACE {
        return Ok(action);
    }
    match json::get(value, errno)?.map_or(Ok(EPERM.into()), |_| json::number(value, errno))? {
        errno if errno < 4096 => Ok(action | errno as u32),
        errno => Err(Error::new(format_args!("{errno} is no error number: they are below 4096"))),
    }
}

fn condition(value: &Value) -> Result<Condition> {
    let number = |key| json::number(value, key);
    let index = number("index")?;
    if index > 5 {
        return Err(Error::new(format_args!("a system call has no argument {index}: they are 0 to 5")));
    }
    let (argument, operand) = (index as u8, number("value")?);
    Ok(match word("operator", "SCMP_CMP_", &json::text(value, "op")?, &OPERATORS)? {
        Some(compare) => Condition { argument, mask: u64::MAX, compare, value: operand },
        None => {
            let wanted = json::get(value, "valueTwo")?.map_or(Ok(0), |_| number("valueTwo"))?;
            Condition { argument, mask: operand, compare: Compare::Equal, value: wanted & operand }
        }
    })
}

/// Several conditions on one argument are a rule each, as runc and crun have it: libseccomp takes no two of them in one rule.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let arguments = conditions.iter().fold(0u8, |all, condition| all | 1 << condition.argument);
    if arguments.count_ones() as usize == conditions.len() {
        return vec![conditions];
    }
    conditions.into_iter().map(|condition| vec![condition]).collect()
}

/// How the kernel orders verdicts: of two that hold the lower one is what happens (seccomp(2)).
fn strictness(verdict: u32) -> i32 {
    (verdict & 0xffff_0000) as i32
}

/// What i386 has in one call each, by the number that is its first argument, from 1 on (linux/net.h, linux/ipc.h). send and recv, which
/// have no number of their own, are sendto and recvfrom without an address.
const SOCKETCALL: &str = "socket bind connect listen accept getsockname getpeername socketpair sendto recvfrom sendto recvfrom \
    shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
const IPC: &str =
    "semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget shmctl";

/// What is said of a call holds where it is part of another one, too, as libseccomp has it. Its arguments cannot be seen there: a rule
/// with conditions that lets more pass than the default does not hold, one that lets less pass always does.
fn inner_calls(names: &Names, default: u32, rules: &mut [Rules]) {
    for (outer, inner, mask) in [("socketcall", SOCKETCALL, LOW), ("ipc", IPC, 0xffff)] {
        let Some(outer) = names.find(outer) else { continue };
        if rules[outer].last().is_some_and(|rule| rule.conditions.is_empty()) {
            continue;
        }
        for (index, call) in inner.split(' ').enumerate().filter_map(|(index, name)| Some((index, names.find(name)?)))
        {
            let holds = |rule: &&Rule| rule.conditions.is_empty() || strictness(rule.verdict) <= strictness(default);
            let verdict =
                rules[call].iter().filter(holds).map(|rule| rule.verdict).min_by_key(|one| strictness(*one));
            let value = index as u64 + 1;
            let number = Condition { argument: 0, mask, compare: Compare::Equal, value };
            rules[outer].extend(verdict.map(|verdict| Rule { conditions: vec![number], verdict }));
        }
    }
}

/// As a program with arguments of 32 bits has them: a number that is negative there has no upper half. That of an x32 program's registers
/// says nothing.
fn narrow(rules: &mut Rules) {
    for condition in rules.iter_mut().flat_map(|rule| &mut rule.conditions) {
        (condition.mask, condition.value) = (condition.mask & LOW, condition.value & LOW);
    }
}

/// `6.1`, and whatever follows.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..end].parse().ok()?))
}

impl World<'_> {
    /// Which lists of `includes` or `excludes` hold, of those that are there: all its capabilities, one of them, the processor, the
    /// kernel.
    fn holds(&self, filter: &Value) -> Result<[Option<bool>; 4]> {
        let has = |name: &String| crate::linux::caps::by_name(name).is_some_and(|bit| self.capabilities & bit != 0);
        let caps = Some(json::texts(filter, "caps")?).filter(|caps| !caps.is_empty());
        let arches = Some(json::texts(filter, "arches")?).filter(|arches| !arches.is_empty());
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            same => same,
        };
        let kernel = Some(json::text(filter, "minKernel")?).filter(|version| !version.is_empty());
        let kernel = kernel.map(|text| {
            version(&text).map(|wanted| self.kernel >= wanted).ok_or_else(|| {
                Error::new(format_args!("minKernel {text} is no version of a kernel")).hint("such as 4.8")
            })
        });
        Ok([
            caps.as_ref().map(|caps| caps.iter().all(has)),
            caps.map(|caps| caps.iter().any(has)),
            arches.map(|arches| arches.iter().any(|name| name == here)),
            kernel.transpose()?,
        ])
    }

    fn matters(&self, calls: &Value) -> Result<bool> {
        if let Some(excludes) = json::get(calls, "excludes")? {
            let [_, caps, arches, kernel] = self.holds(excludes)?;
            if [caps, arches, kernel].contains(&Some(true)) {
                return Ok(false);
            }
        }
        let Some(includes) = json::get(calls, "includes")? else { return Ok(true) };
        let [caps, _, arches, kernel] = self.holds(includes)?;
        Ok(![caps, arches, kernel].contains(&Some(false)))
    }

    /// Adds what it says to the rules of each call that it names. A name that is unknown here is another processor's, or newer than
    /// this program.
    fn add(&self, calls: &Value, default: u32, rules: &mut [Rules]) -> Result<()> {
        let (name, mut names) = (json::text(calls, "name")?, json::texts(calls, "names")?);
        if !name.is_empty() && !names.is_empty() {
            return Err(Error::new("it has both name and names").hint("one of them is enough"));
        }
        names.push(name);
        let verdict = action(calls, "action", "errnoRet")?;
        let conditions = json::list(calls, "args")?.iter().map(condition).collect::<Result<Vec<_>>>()?;
        let alternatives = alternatives(conditions);
        // As libseccomp has it for the engines: what is so anyway is no rule, and one without conditions takes the call whole.
        if verdict == default || !self.matters(calls)? {
            return Ok(());
        }
        for call in names.iter().filter_map(|name| self.names.find(name)) {
            let known = &mut rules[call];
            if known.last().is_some_and(|rule| rule.conditions.is_empty()) {
                continue;
            }
            if alternatives[0].is_empty() {
                known.clear();
            }
            // Whoever names one call again and again must not take all memory before it is known to be too long.
            let added: usize = alternatives.iter().map(Vec::len).sum();
            if known.iter().map(|rule| rule.conditions.len()).sum::<usize>() + added > MOST {
                return Err(too_long());
            }
            known.extend(alternatives.iter().map(|conditions| Rule { conditions: conditions.clone(), verdict }));
        }
        Ok(())
    }

    /// Whether programs of this architecture may run. This processor's own always may.
    fn runs(&self, profile: &Value) -> Result<Vec<bool>> {
        let mut names = json::texts(profile, "architectures")?;
        let families = json::list(profile, "archMap")?;
        if !names.is_empty() && !families.is_empty() {
            return Err(Error::new("it has both architectures and archMap").hint("one of them is enough"));
        }
        for family in families {
            if json::text(family, "architecture")? == self.architectures[0].name {
                names = json::texts(family, "subArchitectures")?;
            }
        }
        names.push(self.architectures[0].name.into());
        Ok(self.architectures.iter().map(|architecture| names.iter().any(|name| name == architecture.name)).collect())
    }

    /// What holds where no call is. A call that is newer than all that the profile names is one that its author could not know: where
    /// he wants an error, it is that of a kernel that has it not, by which programs take an older call (as runc has it).
    fn gaps(&self, rules: &[Rules], default: u32, architecture: usize) -> Vec<(u32, u32)> {
        let base = self.architectures[architecture].base;
        let named = (0..rules.len()).filter(|call| !rules[*call].is_empty());
        let newest = named.filter_map(|call| self.names.number(call, architecture)).max();
        let mut gaps = vec![(base, default)];
        if default & 0xffff_0000 == ERRNO && default != ERRNO | ENOSYS {
            gaps.extend(newest.map(|newest| (base + newest + 1, ERRNO | ENOSYS)));
        }
        gaps
    }
}

fn too_long() -> Error {
    Error::new("it takes more than the 4096 instructions that the kernel allows")
        .hint("fewer rules, or fewer conditions")
}

/// What a profile's text means here.
pub(super) fn filter(text: &[u8], world: &World<'_>) -> Result<Filter> {
    let profile = json::parse("it", text)?;
    let default = action(&profile, "defaultAction", "defaultErrnoRet")?;
    let mut rules: Vec<Rules> = vec![Vec::new(); world.names.count()];
    for (index, calls) in json::list(&profile, "syscalls")?.iter().enumerate() {
        world.add(calls, default, &mut rules).map_err(|error| error.within(format_args!("syscalls[{index}]")))?;
    }
    inner_calls(world.names, default, &mut rules);
    // Of several rules that hold the strictest counts, wherever it stands.
    rules.iter_mut().for_each(|rules| rules.sort_by_key(|rule| strictness(rule.verdict)));
    let mut flags = SPEC_ALLOW;
    if json::get(&profile, "flags")?.is_some() {
        let all = json::texts(&profile, "flags")?;
        let flag = |all, flag: &String| Ok(all | word("flag", "SECCOMP_FILTER_FLAG_", flag, &FLAGS)?);
        flags = all.iter().try_fold(0, flag)?;
    }
    // And what holds where none of its rules does.
    let of = |name| {
        let rules = world.names.find(name).map_or(&[][..], |call| &rules[call]);
        (rules, rules.last().filter(|rule| rule.conditions.is_empty()).map_or(default, |rule| rule.verdict))
    };
    let (execve, otherwise) = of("execve");
    if strictness(otherwise) < strictness(NOTIFY)
        && execve.iter().all(|rule| strictness(rule.verdict) < strictness(NOTIFY))
    {
        return Err(Error::new("it never allows execve").hint("without that no command can be started"));
    }
    let listener = listener(&profile, default, &rules)?;
    if listener.is_some() {
        // One thread is all there is to synchronise, and the kernel takes not both.
        flags = flags & !TSYNC | NEW_LISTENER;
        let passes = |verdict: u32| matches!(verdict, ALLOW | LOGGED);
        let (sendmsg, otherwise) = of("sendmsg");
        if !passes(otherwise) || sendmsg.iter().any(|rule| !passes(rule.verdict)) {
            return Err(Error::new("SCMP_ACT_NOTIFY, and sendmsg is not allowed")
                .hint("by sendmsg the listener gets the descriptor at which the kernel asks"));
        }
    } else {
        // EINVAL: nobody waits.
        flags &= !WAIT_KILLABLE_RECV;
    }
    let runs = world.runs(&profile)?;
    let gaps = |architecture| world.gaps(&rules, default, architecture);
    let of_call = |call: usize, architecture: usize| {
        let complete = rules[call].last()?.conditions.is_empty();
        let otherwise = Some(Rule::always(default)).filter(|_| !complete);
        let mut all = rules[call].iter().cloned().chain(otherwise).collect();
        if world.architectures[architecture].is_narrow() {
            narrow(&mut all);
        }
        Some(all)
    };
    let ranges = by_audit(world.architectures, world.names, |architecture| runs[architecture], gaps, of_call);
    let program = compile(&ranges).ok_or_else(too_long)?;
    Ok(Filter { program: super::program::bytes(&program), flags, listener })
}

/// Who is asked, if anybody is.
fn listener(profile: &Value, default: u32, rules: &[Rules]) -> Result<Option<Listener>> {
    if default != NOTIFY && !rules.iter().flatten().any(|rule| rule.verdict == NOTIFY) {
        return Ok(None);
    }
    let [path, metadata] = [json::text(profile, "listenerPath")?, json::text(profile, "listenerMetadata")?];
    if path.is_empty() {
        return Err(Error::new("SCMP_ACT_NOTIFY is of no use without listenerPath"));
    }
    // Each ends with one where they are saved.
    if path.contains('\0') || metadata.contains('\0') {
        return Err(Error::new("listenerPath or listenerMetadata has a NUL in it"));
    }
    Ok(Some(Listener { path, metadata }))
}
