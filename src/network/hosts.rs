//! How the containers of a network find each other by name, without anybody who runs all the time: each with a root of its own has a
//! file `hosts` in its directory, which it sees as /etc/hosts and cannot write to. Whoever joins writes into all of them who is there,
//! and so does nsctl outside when one has left. A line of one that is gone does no harm: its address is given to another one only by a
//! join. Where the file is mounted it is the same one always, so that it is written in place.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{LEASES, Leases, Member, Networks};
use crate::linux::file;

pub(crate) const HOSTS: &CStr = c"hosts";
/// What is before it is the container's alone, what is behind it everybody's.
pub(crate) const MARK: &str = "# The containers on the network, as nsctl knows them:\n";
/// The most that is read of a file. Its container may have come to write to it, and then it is its own doing that it has no names.
const MOST: usize = 64 << 10;

/// Tells all on a network who is there: those who hold leases, and who is just joining. To be called under the lock.
pub(super) fn tell(networks: BorrowedFd<'_>, leases: &Leases, last: u32, own: Option<&str>) {
    let held = leases.held(last).unwrap_or_default();
    let slots = held.iter().map(|(_, slot)| slot.as_str()).chain(own);
    let members: Vec<Member> = slots.filter_map(Member::read).collect();
    let text = lines(&members);
    let Ok(state) = file::open_dir(networks, c"..") else { return };
    let mut old = vec![0; MOST];
    for member in members {
        // Ignored: that it sees the host's files and has none, or is being removed.
        let _ = rewrite(state.as_fd(), &CString::new(member.id).unwrap_or_default(), text.as_bytes(), &mut old);
    }
}

fn lines(members: &[Member]) -> String {
    let mut text = String::new();
    for member in members {
        let named = Some(&member.name).filter(|name| *name != "-");
        let names: Vec<&str> =
            named.into_iter().chain([&member.id]).chain(&member.aliases).map(String::as_str).collect();
        for address in [&member.ip, &member.ip6].into_iter().filter(|address| *address != "-") {
            text += &format!("{address}\t{}\n", names.join(" "));
        }
    }
    text
}

/// `old`: room for what there is.
fn rewrite(state: BorrowedFd<'_>, id: &CStr, text: &[u8], old: &mut [u8]) -> Result<(), Errno> {
    let dir = file::open_dir(state, id)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let hosts = rustix::fs::openat(dir, HOSTS, flags, Mode::empty())?;
    let length = rustix::io::pread(&hosts, &mut *old, 0)?;
    let mark = MARK.as_bytes();
    let Some(at) = old[..length].windows(mark.len()).position(|part| part == mark) else { return Ok(()) };
    let at = at + mark.len();
    if length < old.len() && &old[at..length] == text {
        return Ok(());
    }
    rustix::io::pwrite(&hosts, text, at as u64)?;
    rustix::fs::ftruncate(&hosts, (at + text.len()) as u64)
}

impl Networks {
    /// A container that is on a network has another name now.
    pub(crate) fn rename(&self, network: &str, id: &str, name: &str) {
        let Some(network) = self.get(network) else { return };
        let Ok(leases) = self.dir_of(&network.name).and_then(|dir| Leases::open(dir, LEASES)) else { return };
        if self.lock().is_err() {
            return;
        }
        for (number, slot) in leases.held(network.last()).unwrap_or_default() {
            if let Some(member) = Member::read(&slot).filter(|member| member.id == id) {
                let _ = leases.write(number, &Member { name: name.into(), ..member }.slot());
            }
        }
        tell(self.dir.as_fd(), &leases, network.last(), None);
        self.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_the_names() {
        let member = |slot| Member::read(slot).unwrap();
        let members = [member("10.91.0.2 fd00::2 0123456789ab web www"), member("10.91.0.3 - ab -")];
        assert_eq!(
            lines(&members),
            "10.91.0.2\tweb 0123456789ab www\nfd00::2\tweb 0123456789ab www\n10.91.0.3\tab\n"
        );
    }

    #[test]
    fn only_what_is_behind_the_mark_is_rewritten() {
        let dir = std::env::temp_dir().join(format!("nsctl-hosts-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("ab")).unwrap();
        let (file, state) = (dir.join("ab/hosts"), std::fs::File::open(&dir).unwrap());
        let write = |text: &str| rewrite(state.as_fd(), c"ab", text.as_bytes(), &mut [0; MOST]);
        assert_eq!(write("x\n"), Err(Errno::NOENT));
        std::fs::write(&file, format!("own\n{MARK}old and long\n")).unwrap();
        for text in ["a\nb\n", "", "c\n"] {
            write(text).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("own\n{MARK}{text}"));
        }
        std::fs::write(&file, "its own\n").unwrap();
        write("x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "its own\n");
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        assert_eq!(write("x\n"), Err(Errno::LOOP));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
