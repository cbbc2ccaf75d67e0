//! A terminal for nsctl to run on: the test is the window, the user at the keys, and who looks at the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use libtest_mimic::Failed;

use crate::nsctl::patience;
use crate::terminals::which;

pub(crate) struct Screen {
    master: File,
    /// Kept open: the terminal stays, with its modes, when nsctl has ended.
    slave: OwnedFd,
    child: Option<Child>,
    /// [`Screen::modes`] before the start.
    pub(crate) before: String,
    /// What has been written on it and was not looked at yet.
    pub(crate) seen: Vec<u8>,
}

/// rows, columns
type Size = (u16, u16);

impl Screen {
    /// Starts the command as a login would: it leads a session whose terminal this is.
    pub(crate) fn start(command: &mut Command, size: Size) -> Self {
        let (master, slave) = pair();
        let mut screen = Self { master, slave, child: None, before: String::new(), seen: Vec::new() };
        screen.resize(size);
        screen.before = screen.modes();
        let stream = || Stdio::from(screen.slave.try_clone().unwrap());
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: system calls alone.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
        };
        screen.child = Some(command.spawn().expect("start nsctl"));
        // The command keeps copies of the streams otherwise.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        screen
    }

    pub(crate) fn resize(&self, (rows, columns): Size) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the kernel reads one such structure.
        unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.id() as i32)
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the pid is our unreaped child's.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Pastes: writes as fast as it is taken, and looks at what comes meanwhile.
    pub(crate) fn paste(&mut self, mut bytes: &[u8]) -> Result<(), Failed> {
        let until = Instant::now() + patience();
        while !bytes.is_empty() {
            if Instant::now() > until {
                return Err(format!("{} bytes of a paste were not taken", bytes.len()).into());
            }
            let ready = self.poll(libc::POLLIN | libc::POLLOUT, 1000);
            if ready & libc::POLLIN != 0 {
                self.read();
            }
            if ready & libc::POLLOUT != 0 {
                // A terminal takes less than that without waiting, or all.
                let count = self.master.write(&bytes[..bytes.len().min(512)])?;
                bytes = &bytes[count..];
            }
        }
        Ok(())
    }

    fn poll(&self, events: i16, milliseconds: i32) -> i16 {
        let mut fd = libc::pollfd { fd: self.master.as_raw_fd(), events, revents: 0 };
        // SAFETY: one structure.
        unsafe { libc::poll(&raw mut fd, 1, milliseconds) };
        fd.revents
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0u8; 65536];
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.extend_from_slice(&bytes[..count]);
        count
    }

    /// Waits until this is on the screen, and looks past it.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<String, Failed> {
        let until = Instant::now() + patience();
        loop {
            if let Some(at) = self.seen.windows(text.len()).position(|bytes| bytes == text.as_bytes()) {
                let before: Vec<u8> = self.seen.drain(..at + text.len()).collect();
                return Ok(String::from_utf8_lossy(&before).into_owned());
            }
            if Instant::now() > until {
                return Err(format!("'{text}' does not come; there is {:?}", self.text()).into());
            }
            if self.poll(libc::POLLIN, 100) & libc::POLLIN != 0 {
                self.read();
            }
        }
    }

    /// What is on it now, or the first of that.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen[..self.seen.len().min(2000)]).into_owned()
    }

    /// Waits for the end, and reads all that came: the exit code (the signal is negative).
    pub(crate) fn end(&mut self) -> Result<i32, Failed> {
        let until = Instant::now() + patience();
        loop {
            let some = self.poll(libc::POLLIN, 50) & libc::POLLIN != 0 && self.read() > 0;
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            match ended {
                Some(status) if !some => {
                    while self.poll(libc::POLLIN, 0) & libc::POLLIN != 0 && self.read() > 0 {}
                    self.child = None;
                    return Ok(status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)));
                }
                None if Instant::now() > until => {
                    return Err(format!("it does not end; there is {:?}", self.text()).into());
                }
                _ => {}
            }
        }
    }

    /// Input, output and local modes, and the special keys.
    pub(crate) fn modes(&self) -> String {
        // SAFETY: termios is plain data, and the kernel fills it.
        let modes = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            libc::tcgetattr(self.slave.as_raw_fd(), &raw mut modes);
            modes
        };
        format!("{:o} {:o} {:o} {:o} {:?}", modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag, modes.c_cc)
    }

    pub(crate) fn is_raw(&self) -> bool {
        // SAFETY: likewise.
        let modes = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            libc::tcgetattr(self.slave.as_raw_fd(), &raw mut modes);
            modes
        };
        modes.c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG) == 0
    }

    /// Changes something that nobody has by default, to know one's own modes again.
    pub(crate) fn mark(&self) -> String {
        // SAFETY: likewise.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            libc::tcgetattr(self.slave.as_raw_fd(), &raw mut modes);
            modes.c_cc[libc::VINTR] = 7;
            modes.c_lflag &= !libc::ECHOK;
            libc::tcsetattr(self.slave.as_raw_fd(), libc::TCSANOW, &raw const modes);
        }
        self.modes()
    }

    /// Which terminal it is, as [`which`] says it.
    pub(crate) fn terminal(&self) -> String {
        which(self.slave.as_raw_fd())
    }

    /// How many bytes a reader of the terminal would find.
    pub(crate) fn typed(&self) -> i32 {
        let mut count = 0;
        // SAFETY: the kernel writes one number.
        unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        count
    }

    /// Whether the descriptor that nsctl shares with us blocks still.
    pub(crate) fn blocks(&self) -> bool {
        // SAFETY: only looks.
        unsafe { libc::fcntl(self.slave.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK == 0 }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn pair() -> (File, OwnedFd) {
    // SAFETY: new descriptors, which nobody else owns.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0, "a pseudoterminal for the test");
        libc::grantpt(master);
        libc::unlockpt(master);
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let slave = libc::ioctl(master, 0x5441, flags); // TIOCGPTPEER
        assert!(slave >= 0, "its other end");
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}
