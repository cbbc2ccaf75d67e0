//! What runs on a terminal inside.

use std::io::Write;
use std::os::fd::IntoRawFd;

/// This many MiB of [`pattern`], as it is, and then the end at once.
pub(crate) fn burst(mebibytes: usize) -> ! {
    // SAFETY: termios is plain data.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        libc::tcgetattr(1, &raw mut modes);
        libc::cfmakeraw(&raw mut modes);
        libc::tcsetattr(1, libc::TCSANOW, &raw const modes);
    }
    let mut out = std::io::stdout().lock();
    for block in 0..mebibytes {
        out.write_all(&pattern(block)).unwrap();
    }
    out.flush().unwrap();
    std::process::exit(0)
}

/// A MiB that is unlike its neighbours.
pub(crate) fn pattern(block: usize) -> Vec<u8> {
    let mut state = block as u32 + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1 << 20).map(|_| next()).collect()
}

/// A terminal has the same number in each devpts, which is another device.
pub(crate) fn which(fd: i32) -> String {
    // SAFETY: a structure of integers, and a call that fills it.
    let stat = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat);
        stat
    };
    format!("device {} inode {}", stat.st_dev, stat.st_ino)
}

/// Types on every terminal that it has, as TIOCSTI does it, also with the bits set that a filter of 32 of them does not see
/// (CVE-2019-7303). Prints which they are, and how that went.
pub(crate) fn type_on_all() -> ! {
    let own = std::fs::File::open("/dev/tty").map(IntoRawFd::into_raw_fd).unwrap_or(-1);
    for fd in [0, 1, 2, own] {
        println!("{fd} is {}", which(fd));
        for request in [0x5412i64, 0x1_0000_5412, i64::MIN | 0x5412] {
            // SAFETY: the kernel reads one byte.
            let done = unsafe { libc::syscall(libc::SYS_ioctl, fd, request, c"\n".as_ptr()) };
            println!("typed on {fd} with {request:#x}: {done}");
        }
    }
    std::process::exit(0)
}
