//! The processes of a container, as the host's /proc shows them. Nothing of the container's is run or asked.

use std::ffi::CString;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::file;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// As the host numbers it, and as its own PID namespace does.
    pub(crate) pid: i32,
    pub(crate) inside: i32,
    pub(crate) parent: i32,
    /// The effective user, as the host numbers it.
    pub(crate) uid: u32,
    /// R, S, D, Z, T, …: proc_pid_stat(5).
    pub(crate) state: char,
    /// Milliseconds of processor time.
    pub(crate) cpu: u64,
    /// Bytes in memory.
    pub(crate) rss: u64,
    /// Threads.
    pub(crate) tasks: u64,
    /// Its words, or in brackets its name where there are none.
    pub(crate) command: String,
}

/// What proc(5) counts time in, on every architecture that nsctl runs on: a hundredth of a second.
const TICK_MILLISECONDS: u64 = 10;

/// Those of these pids that are there still.
pub(crate) fn of(pids: &[i32]) -> Vec<Process> {
    pids.iter().filter_map(|pid| read(*pid)).collect()
}

/// All that are in the PID namespace of `first`, or, if that is the caller's own, that descend from it.
pub(crate) fn around(first: i32) -> Result<Vec<Process>, Errno> {
    let namespace = |pid: &str| namespace(&format!("/proc/{pid}/ns/pid"));
    let wanted = namespace(&first.to_string()).ok_or(Errno::SRCH)?;
    let shared = namespace("self") == Some(wanted);
    let mut pids = Vec::new();
    for entry in rustix::fs::Dir::read_from(file::open_dir(CWD, c"/proc")?)? {
        let name = entry?.file_name().to_str().unwrap_or_default().to_string();
        if let Ok(pid) = name.parse::<i32>()
            && (shared || namespace(&name) == Some(wanted))
        {
            pids.push(pid);
        }
    }
    let all = of(&pids);
    if !shared {
        return Ok(all);
    }
    // A parent has a lower number, unless numbers have begun again: then it takes another round.
    let mut family = vec![first];
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|process| family.contains(&process.parent) && !family.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        family.extend(more);
    }
    Ok(all.into_iter().filter(|process| family.contains(&process.pid)).collect())
}

fn namespace(path: &str) -> Option<u64> {
    let path = CString::new(path).ok()?;
    rustix::fs::statat(CWD, &path, rustix::fs::AtFlags::empty()).ok().map(|stat| stat.st_ino)
}

fn read(pid: i32) -> Option<Process> {
    let dir = file::open_dir(CWD, &CString::new(format!("/proc/{pid}")).ok()?).ok()?;
    let mut process = Process { pid, inside: pid, tasks: 1, ..Process::default() };
    let name = process.status(&file::read_text(&dir, c"status").ok()?);
    process.stat(&file::read_text(&dir, c"stat").ok()?)?;
    let words = file::read(&dir, c"cmdline").unwrap_or_default();
    let words: Vec<_> = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word)).collect();
    process.command = words.join(" ").trim_end().to_string();
    if process.command.is_empty() {
        process.command = format!("[{name}]");
    }
    Some(process)
}

impl Process {
    /// proc_pid_status(5). Returns its name.
    fn status(&mut self, text: &str) -> String {
        let mut name = String::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let mut words = value.split_ascii_whitespace();
            match key {
                "Name" => name = value.trim().into(),
                "PPid" => self.parent = number(words.next()) as i32,
                // Real, effective, saved, of the file system.
                "Uid" => self.uid = number(words.nth(1)) as u32,
                // Of the caller's namespace first, the process's own last.
                "NSpid" => self.inside = number(words.next_back()) as i32,
                "VmRSS" => self.rss = number(words.next()) << 10,
                "Threads" => self.tasks = number(words.next()),
                _ => {}
            }
        }
        name
    }

    /// proc_pid_stat(5): what follows the name, which may have anything in it.
    fn stat(&mut self, text: &str) -> Option<()> {
        let mut words = text.rsplit_once(')')?.1.split_ascii_whitespace();
        self.state = words.next()?.chars().next()?;
        let (user, system) = (number(words.nth(10)), number(words.next()));
        self.cpu = user.saturating_add(system).saturating_mul(TICK_MILLISECONDS);
        Some(())
    }
}

fn number(word: Option<&str>) -> u64 {
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(any(test, fuzzing))]
pub(crate) fn survives(text: &str) {
    let mut process = Process::default();
    process.status(text);
    let _ = process.stat(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_kernel() {
        let mut process = Process::default();
        let name =
            process.status("Name:\ta) b\nPPid:\t7\nUid:\t1\t2\t3\t4\nNSpid:\t70\t5\nVmRSS:\t   12 kB\nThreads:\t3\n");
        process.stat("70 (a) b) S 7 1 1 0 -1 4 0 0 0 0 150 25 0 0 20 0 3 0 99 0 0").unwrap();
        assert_eq!((name.as_str(), process.parent, process.uid, process.inside), ("a) b", 7, 2, 5));
        assert_eq!((process.rss, process.tasks, process.state, process.cpu), (12 << 10, 3, 'S', 1750));
        assert_eq!(process.stat("70 (cut"), None);
        process.stat("70 (a) S 7 1 1 0 -1 4 0 0 0 0 18446744073709551615 1 0 0").unwrap();
        assert_eq!(process.cpu, u64::MAX);
    }

    #[test]
    fn this_process() {
        let own = std::process::id() as i32;
        let found = around(own).unwrap();
        let this = found.iter().find(|process| process.pid == own).unwrap();
        assert!(this.command.contains("nsctl") && this.rss > 0, "{this:?}");
        assert_eq!(of(&[own, -1, i32::MAX]).len(), 1);
    }
}
