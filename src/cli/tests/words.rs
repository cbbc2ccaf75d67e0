//! Help texts and the man page name the options that the parser takes, and no others. What it takes is found by asking it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::super::help::VERBS;
use super::*;

type Words = BTreeSet<String>;

/// In the text of nsctl itself, for all verbs that take them.
const COMMON: [&str; 2] = ["--help", "--log-format"];

const IMAGES: [&str; 4] = ["image import", "image ls", "image rm", "image inspect"];
const NETWORKS: [&str; 5] = ["network create", "network ls", "network rm", "network inspect", "network prune"];

const MAN: &str = include_str!("../../../docs/nsctl.1");

fn quoted(dir: &Path, found: &mut Words) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            quoted(&path, found);
            continue;
        }
        for word in fs::read_to_string(path).unwrap().split('"') {
            let word = word.strip_prefix("--").unwrap_or(word);
            if word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            {
                found.insert(format!("--{word}"));
            }
        }
    }
}

/// All that could be an option: each word in quotes in the parser, each that a text names, each letter.
fn candidates() -> Words {
    let mut found: Words =
        ('0'..='z').filter(char::is_ascii_alphanumeric).map(|letter| format!("-{letter}")).collect();
    quoted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"), &mut found);
    let texts = VERBS.iter().map(|verb| named(&help(verb)));
    found.extend(texts.flatten().chain(named(&help("nsctl"))).chain(named(&man())));
    found
}

fn takes(verb: &str, option: &str) -> bool {
    let error = parsed(&format!("{verb} {option}")).err().map(|error| error.to_string()).unwrap_or_default();
    !error.contains("invalid option") && !error.contains("is not supported")
}

fn taken(verb: &str) -> Words {
    let forms = match verb {
        "nsctl" => vec![""],
        "image" => IMAGES.to_vec(),
        "network" => NETWORKS.to_vec(),
        _ => vec![verb],
    };
    candidates().into_iter().filter(|option| forms.iter().any(|form| takes(form, option))).collect()
}

/// The options in a text: `-x` and `--xyz`, where a word begins.
fn named(text: &str) -> Words {
    let starts = text.match_indices('-').map(|(at, _)| at);
    let begins = |at: &usize| text[..*at].chars().next_back().is_none_or(|c| " \n[(|,'".contains(c));
    let word = |at: usize| {
        let end =
            text[at..].find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).map_or(text.len(), |end| at + end);
        text[at..end].trim_end_matches('-').to_string()
    };
    starts.filter(begins).map(word).filter(|word| word.starts_with("--") || is_short(word)).collect()
}

fn is_short(option: &str) -> bool {
    option.len() == 2 && option.as_bytes()[1].is_ascii_alphabetic()
}

/// What a help text says there is: the lines of usage, and the beginnings of the lines about an option.
fn promised(help: &str) -> Words {
    let usage = help.split("\n\n").next().unwrap_or_default();
    let heads =
        help.lines().filter(|line| line.starts_with("  -")).map(|line| line.trim().split("  ").next().unwrap());
    std::iter::once(usage).chain(heads).flat_map(named).collect()
}

/// The man page without the marks of roff.
fn man() -> String {
    let mut text = MAN.replace("\\-", "-").replace('"', "");
    for font in ["\\fI", "\\fB", "\\fR"] {
        text = text.replace(font, "");
    }
    text
}

#[test]
fn help_names_the_options_there_are() {
    for verb in VERBS.iter().copied().chain(["nsctl"]) {
        let (text, taken) = (help(if verb == "create" { "run" } else { verb }), taken(verb));
        let named = named(&text);
        for option in taken.iter().filter(|option| !COMMON.contains(&option.as_str())) {
            assert!(named.contains(option), "{option} is not in nsctl {verb} --help");
        }
        // What `create` is refused for starting at once is in the text that it has in common with `run`.
        for option in promised(&text) {
            assert!(
                taken.contains(&option) || verb == "create",
                "nsctl {verb} --help has {option}, which there is not"
            );
        }
    }
}

#[test]
fn the_man_page_names_the_options_there_are() {
    let man = man();
    let (there, all) = (named(&man), VERBS.iter().copied().chain(["nsctl"]).flat_map(taken).collect::<Words>());
    let list = |these: &Words, those: &Words| these.difference(those).cloned().collect::<Vec<_>>().join(" ");
    let (lost, made_up) = (list(&all, &there), list(&there, &all));
    assert!(lost.is_empty() && made_up.is_empty(), "not in the man page: {lost}; only there: {made_up}");
}

/// What the synopsis of the man page has: verbs, each with a form. One of several verbs (`wait|inspect`) is there for each.
fn forms(man: &str) -> Vec<(String, String)> {
    let synopsis = man.split("\n.SH ").find_map(|section| section.strip_prefix("SYNOPSIS\n")).unwrap();
    let form = |form: &str| {
        let words = form.split_whitespace().filter(|word| !word.starts_with('.')).skip(1);
        let verbs = words.take_while(|word| word.starts_with(|c: char| c == '|' || c.is_ascii_lowercase()));
        let verbs: String = verbs.collect::<Vec<_>>().join(" ");
        let form = form.replace("[ ", "[");
        verbs.split(" | ").map(|verb| (verb.to_string(), form.clone())).collect::<Vec<_>>()
    };
    synopsis.split("\n.br\n").flat_map(form).collect()
}

#[test]
fn the_man_page_has_a_synopsis_of_every_verb() {
    let forms = forms(&man());
    for (verb, form) in &forms {
        for option in named(form) {
            assert!(takes(verb, &option), "the synopsis of nsctl {verb} has {option}, which there is not");
        }
    }
    let plain = VERBS.iter().copied().filter(|verb| !["image", "network"].contains(verb));
    for verb in plain.chain(IMAGES).chain(NETWORKS) {
        let form: String = forms.iter().filter(|(of, _)| of == verb).map(|(_, form)| form.as_str()).collect();
        assert!(!form.is_empty(), "nsctl {verb} has no synopsis");
        let (told, whole) = (named(&form), form.contains("OPTIONS") || form.contains("LIMIT"));
        for option in taken(verb).iter().filter(|option| is_short(option) && !whole) {
            assert!(told.contains(option), "{option} is not in the synopsis of nsctl {verb}");
        }
    }
}
