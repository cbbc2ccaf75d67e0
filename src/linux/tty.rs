//! Terminals: the caller's, and pseudoterminals of our own (pty(7), ioctl_tty(2)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general as k;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, Winsize};

use super::mount::{self, Api, FileSystem, Maker};
use super::path::{self, Links};
use super::{file, sys};

/// A pseudoterminal.
pub(crate) struct Pty {
    /// Never blocks.
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// What a terminal without a size is taken for.
const USUAL: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A pseudoterminal out of the devpts of which this is the root directory. ENODEV: it is none.
pub(crate) fn open_in(pts: BorrowedFd<'_>) -> Result<Pty, Errno> {
    if rustix::fs::fstatfs(pts)?.f_type as u32 != k::DEVPTS_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = high(rustix::fs::openat(pts, c"ptmx", flags, Mode::empty())?)?;
    // Something else may be mounted over it.
    if rustix::fs::fstat(&master)?.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let slave = high(peer(master.as_fd())?)?;
    Ok(Pty { master, slave })
}

/// The same out of the devpts that is mounted on /dev/pts, or where there is none out of this one: it is put there, if there is
/// such a directory.
pub(crate) fn open_in_sight(devpts: &FileSystem) -> Result<Pty, Errno> {
    let root = file::handle(c"/")?;
    let place = path::open(root.as_fd(), c"dev/pts", Links::Inside);
    if let Ok(place) = &place {
        match open_in(place.as_fd()) {
            // No devpts, or one from before the kernel gave each its ptmx.
            Err(Errno::NODEV | Errno::NOENT | Errno::ACCESS) => {}
            other => return other,
        }
    }
    let made = match mount::detached(devpts) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let made = Maker { api: Api::default(), stage: None }.over_slash(devpts)?;
            rustix::mount::unmount(c"/..", UnmountFlags::DETACH)?;
            made
        }
        other => {
            let made = other?;
            if let Ok(place) = &place {
                let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                // Without a place it works as well, but has no name.
                let _ = rustix::mount::move_mount(&made, c"", place, c"", both);
            }
            made
        }
    };
    open_in(made.as_fd())
}

/// The other end of a master, by TIOCGPTPEER: no path leads to it.
pub(crate) fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
}

/// Where somebody closed the standard streams, a new descriptor gets such a number, on which it would be in the way.
fn high(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(fd, 3) }
}

/// Gives a new pseudoterminal the size of the caller's terminal, its keys, and whether characters are UTF-8.
pub(crate) fn prepare(master: BorrowedFd<'_>, slave: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::termios::tcsetwinsize(master, window().unwrap_or(USUAL))?;
    let Ok(callers) = rustix::termios::tcgetattr(rustix::stdio::stdin()) else { return Ok(()) };
    let mut modes = rustix::termios::tcgetattr(slave)?;
    modes.special_codes = callers.special_codes;
    modes.input_modes.set(InputModes::IUTF8, callers.input_modes.contains(InputModes::IUTF8));
    rustix::termios::tcsetattr(slave, OptionalActions::Now, &modes)
}

/// The size of the first of the standard streams that is a terminal with one.
pub(crate) fn window() -> Option<Winsize> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let sizes = streams.into_iter().filter_map(|stream| rustix::termios::tcgetwinsize(stream).ok());
    sizes.into_iter().find(|size| size.ws_row > 0 && size.ws_col > 0)
}

/// This process, no leader of a process group, begins a session of its own with this terminal, on its standard streams as well.
pub(crate) fn take(slave: OwnedFd) -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)
}

/// How far input has come, of which there is no more.
#[derive(Default)]
pub(crate) struct Line {
    /// It ends within a line.
    pub(crate) half: bool,
    /// The key for the end was typed. With line editing turned off before it was read, it became a NUL.
    ended: bool,
}

/// What to write next to a master so that who reads the slave sees the end of its input: keys, 0 for none. A program that has turned line
/// editing off, to edit lines itself, takes the same key for it, but on an empty line alone.
pub(crate) fn end_of_input(master: BorrowedFd<'_>, line: &mut Line) -> [u8; 2] {
    let Ok(modes) = rustix::termios::tcgetattr(master) else { return [0; 2] };
    let (end, kill) = (modes.special_codes[SpecialCodeIndex::VEOF], modes.special_codes[SpecialCodeIndex::VKILL]);
    if modes.local_modes.contains(LocalModes::ICANON) {
        // Half a line takes it twice.
        *line = Line { half: line.half && !line.ended, ended: true };
        return [end, 0];
    }
    match std::mem::take(line) {
        Line { half: true, .. } => [b'\r', 0],
        Line { ended: true, .. } => [kill, end],
        Line { ended: false, .. } => [end, 0],
    }
}

/// Whether a terminal's reader has not read all of what there is for it, be it an end.
pub(crate) fn is_unread(slave: BorrowedFd<'_>) -> bool {
    rustix::event::poll(&mut [PollFd::from_borrowed_fd(slave, PollFlags::IN)], Some(&Timespec::default())) == Ok(1)
}

/// How a terminal of the caller's was.
pub(crate) struct Modes(Termios);

impl Modes {
    /// None: it is no terminal.
    pub(crate) fn of(terminal: BorrowedFd<'_>) -> Option<Self> {
        rustix::termios::tcgetattr(terminal).ok().map(Self)
    }

    fn raw(&self) -> Termios {
        let mut raw = self.0.clone();
        raw.make_raw();
        raw
    }

    /// Every key comes as it is, nothing is echoed, and output is not touched.
    pub(crate) fn make_raw(&self, terminal: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::termios::tcsetattr(terminal, OptionalActions::Now, &self.raw())
    }

    /// EIO: the terminal has hung up.
    pub(crate) fn restore(&self, terminal: BorrowedFd<'_>) {
        let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, &self.0);
    }

    /// The same, but only if nobody has changed it since it was made raw.
    pub(crate) fn restore_raw(&self, terminal: BorrowedFd<'_>) {
        let raw = self.raw();
        let same = |now: &Termios| {
            (now.local_modes, now.input_modes, now.output_modes)
                == (raw.local_modes, raw.input_modes, raw.output_modes)
        };
        if rustix::termios::tcgetattr(terminal).is_ok_and(|now| same(&now)) {
            self.restore(terminal);
        }
    }
}

/// Whether this process is of the group that the terminal listens to; also where the terminal is not that of its session.
pub(crate) fn is_ours(terminal: BorrowedFd<'_>) -> bool {
    match rustix::termios::tcgetpgrp(terminal) {
        Ok(group) => group.as_raw_nonzero().get() == sys::process_group(),
        // 0: the group is not to be seen in this PID namespace.
        Err(Errno::OPNOTSUPP) => sys::process_group() == 0,
        Err(errno) => errno == Errno::NOTTY,
    }
}

/// Whether it is one of a window system, of a login over the network, or of the machine's own screen: not a line of wires, which
/// is often a machine's last way in.
pub(crate) fn has_keyboard(terminal: BorrowedFd<'_>) -> bool {
    let Ok(stat) = rustix::fs::fstat(terminal) else { return false };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    // Unix98 slaves, and virtual consoles but for the current one (Documentation/admin-guide/devices.txt).
    matches!((major, minor), (136..=143, _) | (4, 1..=63))
}
