//! What is mounted where, from /proc/self/mountinfo (proc_pid_mountinfo(5)).

use rustix::io::Errno;

use super::file;

#[derive(Debug, PartialEq)]
pub(crate) struct Mount {
    /// Which directory of the file system is the root of this mount.
    pub(crate) root: String,
    pub(crate) target: String,
    pub(crate) fs: String,
    /// Options of the file system itself, such as the controllers of a cgroup v1 hierarchy.
    pub(crate) options: String,
}

/// All mounts of this mount namespace, oldest first: of two on one target the last is the visible one.
pub(crate) fn all() -> Result<Vec<Mount>, Errno> {
    let text = file::read_text(rustix::fs::CWD, c"/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    // The number of optional fields before " - " varies.
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut kind = kind.split(' ');
    Some(Mount {
        root: unescape(place.next()?),
        target: unescape(place.next()?),
        fs: kind.next()?.to_string(),
        options: kind.nth(1)?.to_string(),
    })
}

/// mountinfo writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) if byte == b'\\' => {
                out.push(code);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes() {
        let line = r"36 35 98:0 /a\040b /mnt\134x rw,noatime master:1 shared:7 - cgroup cgroup rw,memory";
        let mount = parse(line).unwrap();
        assert_eq!(mount.root, "/a b");
        assert_eq!(mount.target, r"/mnt\x");
        assert_eq!((mount.fs.as_str(), mount.options.as_str()), ("cgroup", "rw,memory"));
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in ["", "36 35 98:0 / /x rw", "36 - cgroup", r"1 2 3 /\9 /\ rw - a b"] {
            let _ = parse(line);
        }
        assert!(parse("36 35 98:0 / /x rw").is_none());
    }
}
