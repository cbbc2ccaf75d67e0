//! The keys that leave a container running: `--detach-keys`.

use super::buffer::Buffer;
use crate::error::{Error, Result};

const MOST: usize = 16;
/// Docker's.
const USUAL: &[u8] = &[0x10, 0x11];

/// A sequence of keys, and how many of it were pressed just now. Those are held back until it is clear what they are.
#[derive(Debug, PartialEq)]
pub(crate) struct Keys {
    keys: [u8; MOST],
    count: usize,
    pressed: usize,
}

impl Keys {
    pub(crate) fn none() -> Self {
        Self { keys: [0; MOST], count: 0, pressed: 0 }
    }

    /// `ctrl-p,ctrl-q`, unless this is a terminal on which somebody may need them for something else.
    pub(crate) fn usual(off: bool) -> Self {
        if off { Self::none() } else { Self::of(USUAL) }
    }

    fn of(keys: &[u8]) -> Self {
        let mut own = Self::none();
        own.keys[..keys.len()].copy_from_slice(keys);
        Self { count: keys.len(), ..own }
    }

    /// As docker writes them: keys and `ctrl-KEY` with commas between; nothing for none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::none());
        }
        let key = |word: &str| match word.as_bytes() {
            [key @ 0x20..=0x7e] => Some(*key),
            [b'c', b't', b'r', b'l', b'-', key @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => Some(key & 0x1f),
            _ => None,
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) if keys.len() <= MOST => Ok(Self::of(&keys)),
            Some(_) => Err(Error::new(format_args!("--detach-keys: {MOST} keys at most"))),
            None => Err(Error::new(format_args!("--detach-keys {text}: there are no such keys"))
                .hint("keys with commas between, such as ctrl-p,ctrl-q or a,b; ctrl- goes with a to z, @, [, \\, ], ^ and _")),
        }
    }

    /// Passes on what was typed, but for what may be the sequence. True: it was the whole sequence, and what came after it is dropped.
    pub(super) fn pass<const N: usize>(&mut self, typed: &[u8], on: &mut Buffer<N>) -> bool {
        for byte in typed {
            if self.count == 0 {
                on.push(*byte);
                continue;
            }
            // The longest beginning of the sequence that what was pressed last ends in.
            while self.pressed > 0 && self.keys[self.pressed] != *byte {
                let held = &self.keys[..self.pressed];
                let next = (0..self.pressed).rev().find(|keep| held.ends_with(&held[..*keep])).unwrap_or(0);
                held[..self.pressed - next].iter().for_each(|key| on.push(*key));
                self.pressed = next;
            }
            if self.keys[self.pressed] != *byte {
                on.push(*byte);
                continue;
            }
            self.pressed += 1;
            if self.pressed == self.count {
                return true;
            }
        }
        false
    }
}

#[cfg(any(test, fuzzing))]
/// Keys as they are named, and what is typed, with a blank between.
pub(crate) fn survives(text: &str) {
    let (keys, typed) = text.split_once(' ').unwrap_or((text, text));
    if let Ok(mut keys) = Keys::parse(keys) {
        let _ = keys.pass(typed.as_bytes(), &mut Buffer::<64>::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_docker_does() {
        assert_eq!(Keys::parse("ctrl-p,ctrl-q").unwrap(), Keys::usual(false));
        assert_eq!(Keys::parse("").unwrap(), Keys::usual(true));
        assert_eq!(Keys::parse("a,b").unwrap(), Keys::of(b"ab"));
        assert_eq!(
            Keys::parse("ctrl-a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_").unwrap().keys[..7],
            [1, 0, 27, 28, 29, 30, 31]
        );
        for wrong in ["ctrl", "ctrl-", "ctrl-A", "ctrl-1", "ctrl-pp", "a,", ",", "ä", "ab", "alt-a"] {
            assert!(Keys::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Keys::parse(&["a"; 17].join(",")).is_err());
    }

    /// What comes through of these pieces, and whether the sequence was among them.
    fn passed(keys: &str, pieces: &[&str]) -> (String, bool) {
        let mut keys = Keys::parse(keys).unwrap();
        let mut text = String::new();
        for piece in pieces {
            let mut on = Buffer::<64>::new();
            let found = keys.pass(piece.as_bytes(), &mut on);
            text.push_str(std::str::from_utf8(on.left()).unwrap());
            if found {
                return (text, true);
            }
        }
        (text, false)
    }

    #[test]
    fn only_the_whole_sequence_is_held_back() {
        for (keys, pieces, text, found) in [
            ("", &["abc"][..], "abc", false),
            ("a,b", &["xaby"], "x", true),
            ("a,b", &["xa", "by"], "x", true),
            ("a,b", &["xa", "cy"], "xacy", false),
            ("a,b", &["xa"], "x", false),
            ("a,a,b", &["aaab"], "a", true),
            ("a,a,b", &["aacaab"], "aac", true),
            ("a,b,a,c", &["ababac"], "ab", true),
            ("a,b,a,c", &["aba", "d"], "abad", false),
            ("ctrl-p,ctrl-q", &["\x10", "\x10", "\x11"], "\x10", true),
        ] {
            assert_eq!(passed(keys, pieces), (text.to_string(), found), "{keys} {pieces:?}");
        }
    }
}
