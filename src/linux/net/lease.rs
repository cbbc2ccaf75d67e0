//! Which addresses of a network are taken. A lease is a lock of a range of bytes (F_OFD_SETLK): it is held by the open file that the
//! container's keeper has, and the kernel lets go of it however that ends. So no lease outlives its container, and none has to be
//! cleaned up.
//!
//! The file has one slot for each host number of the network; who has it writes there who it is, as `IP IP6 ID NAME ALIAS…` (an absent one is `-`). What is
//! written in a slot that is not locked is what somebody left.

use std::ffi::CStr;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::linux::sys::net::{RangeLock, range_lock};

const SLOT: usize = 512;
/// Behind all slots, a byte for each address of IPv6, by its last 62 bits: whoever has the address has the byte, and nothing is written.
const SIX: u64 = 1 << 62;

/// The open file of a network; what is leased by it is held until it is closed.
pub(crate) struct Leases {
    file: OwnedFd,
}

impl Leases {
    /// `dir` is the network's directory.
    pub(crate) fn open(dir: impl AsFd, name: &CStr) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { file: rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)? })
    }

    /// Takes the slot of a host number. False: somebody else has it.
    pub(crate) fn take(&self, number: u32) -> Result<bool, Errno> {
        self.lock(start(number), SLOT as u64)
    }

    fn lock(&self, at: u64, length: u64) -> Result<bool, Errno> {
        match range_lock(self.file.as_fd(), RangeLock::Take, at, length) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Gives a slot back that was taken.
    pub(crate) fn give_back(&self, number: u32) {
        let _ = range_lock(self.file.as_fd(), RangeLock::Release, start(number), SLOT as u64);
    }

    /// Takes an address of IPv6. False: somebody else has it.
    pub(crate) fn take6(&self, address: Ipv6Addr) -> Result<bool, Errno> {
        self.lock(SIX | u128::from(address) as u64 & (SIX - 1), 1)
    }

    /// Whether anybody else holds one. Does not allocate.
    pub(crate) fn others(&self) -> bool {
        range_lock(self.file.as_fd(), RangeLock::Ask, 0, 0).is_ok_and(|held| held.is_some())
    }

    /// Writes into the slot whose it is.
    pub(crate) fn write(&self, number: u32, text: &str) -> Result<(), Errno> {
        let mut slot = [0u8; SLOT];
        let length = text.len().min(SLOT - 1);
        slot[..length].copy_from_slice(&text.as_bytes()[..length]);
        rustix::io::pwrite(&self.file, &slot, start(number)).map(drop)
    }

    /// What those that others hold say, by their numbers, up to `last`.
    pub(crate) fn held(&self, last: u32) -> Result<Vec<(u32, String)>, Errno> {
        let mut found = Vec::new();
        // The kernel names one of the locks in a range, not the first: what is on either side of it is looked at as well.
        let mut ranges = vec![(0, start(last + 1))];
        while let Some((from, to)) = ranges.pop() {
            let Some((at, length)) = range_lock(self.file.as_fd(), RangeLock::Ask, from, to - from)? else {
                continue;
            };
            let end = if length == 0 { to } else { at + length };
            let number = |at: u64| (at / SLOT as u64) as u32;
            found.extend((number(at)..number(end).min(last + 1)).map(|number| (number, self.read(number))));
            ranges.extend([(from, at), (end, to)].into_iter().filter(|(from, to)| from < to));
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, number: u32) -> String {
        let mut slot = [0u8; SLOT];
        let length = rustix::io::pread(&self.file, &mut slot, start(number)).unwrap_or(0);
        let text = slot[..length].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

fn start(number: u32) -> u64 {
    u64::from(number) * SLOT as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(name: &CStr) -> [Leases; 3] {
        let dir = std::env::temp_dir().join(format!("nsctl-leases-{}", std::process::id()));
        let _ = std::fs::create_dir(&dir);
        let dir = std::fs::File::open(dir).unwrap();
        [0; 3].map(|_| Leases::open(&dir, name).unwrap())
    }

    #[test]
    fn a_lease_is_held_until_it_is_closed() {
        let [one, two, three] = leases(c"held");
        assert_eq!(one.take(2), Ok(true));
        assert_eq!((two.take(2), two.take(3)), (Ok(false), Ok(true)));
        assert!(two.others() && three.others());
        one.write(2, "10.0.0.2 - abc web").unwrap();
        two.write(3, "x").unwrap();
        assert_eq!(three.held(9), Ok(vec![(2, "10.0.0.2 - abc web".into()), (3, "x".into())]));
        // An address of IPv6 is nobody else's either, and no slot.
        let address: Ipv6Addr = "fd00::ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!([two.take6(address), three.take6(address)], [Ok(true), Ok(false)]);
        assert_eq!(three.held(9).unwrap().len(), 2);
        assert_eq!(three.take(7), Ok(true));
        three.give_back(7);
        assert_eq!(two.take(7), Ok(true));
        two.give_back(7);
        drop(one);
        assert_eq!(three.held(9), Ok(vec![(3, "x".into())]));
        assert_eq!((three.take(2), two.take(2)), (Ok(true), Ok(false)));
        let [fourth, ..] = leases(c"held");
        assert_eq!((fourth.take(2), fourth.take(3)), (Ok(false), Ok(false)));
        drop((two, three));
        assert!(!fourth.others());
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(format!("nsctl-leases-{}", std::process::id())));
    }
}
