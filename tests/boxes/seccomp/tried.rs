//! Tries system calls without making them. A filter is put before the container's, by which the kernel asks us about each call
//! that the container's allows, and we say no. What the container's refuses is answered by it: of two filters the stricter one holds
//! (seccomp(2), SECCOMP_RET_USER_NOTIF is below SECCOMP_RET_ERRNO). So nothing happens, whatever is called.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// What a call gets that the container's filter allows: no error number of the kernel's.
pub(crate) const ANSWERED: i32 = 4000;

/// A call, and with what.
pub(crate) struct Try {
    pub(crate) architecture: String,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

impl Try {
    pub(crate) fn line(&self) -> String {
        format!("{} {} {:?}\n", self.architecture, self.number, self.arguments)
    }

    fn read(line: &str) -> Self {
        let (architecture, rest) = line.split_once(' ').unwrap();
        let (number, arguments) = rest.split_once(' ').unwrap();
        let list: Vec<u64> = arguments.trim_matches(['[', ']']).split(", ").map(|one| one.parse().unwrap()).collect();
        Self {
            architecture: architecture.into(),
            number: number.parse().unwrap(),
            arguments: list.try_into().unwrap(),
        }
    }
}

/// `boxes probe tried`: one line for each line that comes in, with the error number that came; `-`: it cannot be tried.
pub(crate) fn probe() -> ! {
    let tries: Vec<Try> = std::io::stdin().lines().map(|line| Try::read(&line.unwrap())).collect();
    let foreign = runs_32_bit();
    let possible =
        |one: &Try| !["SCMP_ARCH_X86", "SCMP_ARCH_ARM"].contains(&&*one.architecture) || native_32() || foreign;
    let mine: Vec<&Try> = tries.iter().filter(|one| possible(one)).collect();
    let mut answers = all(&mine).into_iter();
    let lines: Vec<String> = tries
        .iter()
        .map(|one| if possible(one) { answers.next().unwrap().to_string() } else { "-".to_string() })
        .collect();
    println!("{}", lines.join("\n"));
    std::process::exit(0)
}

const fn native_32() -> bool {
    cfg!(target_arch = "arm")
}

/// What the two processes share.
struct Shared {
    /// The descriptor by which the kernel asks; 0: not yet, below: an error number.
    listener: AtomicI32,
    done: AtomicU32,
    answers: [AtomicI32; 16384],
}

/// The error numbers of all of them, in order.
fn all(tries: &[&Try]) -> Vec<i32> {
    // SAFETY: plain memory for both processes, zero at first.
    let shared: &Shared = unsafe {
        let (size, access) = (size_of::<Shared>(), libc::PROT_READ | libc::PROT_WRITE);
        let memory = libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0);
        assert!(memory != libc::MAP_FAILED);
        &*memory.cast()
    };
    assert!(tries.len() <= shared.answers.len());
    // SAFETY: a fork, but for one table of descriptors; the child makes nothing but system calls.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_FILES | libc::SIGCHLD, 0, 0, 0, 0) } as i32;
    if pid == 0 {
        child(shared, tries);
    }
    assert!(pid > 0, "clone: {}", std::io::Error::last_os_error());
    while shared.listener.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    let listener = shared.listener.load(Ordering::Acquire);
    assert!(listener > 0, "no listener: {}", std::io::Error::from_raw_os_error(-listener));
    // SAFETY: the child made it in our common table, and leaves it to us.
    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
    while shared.done.load(Ordering::Acquire) == 0 && answer(&listener, pid) {}
    // SAFETY: our own child, which waits for that.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
    shared.answers[..tries.len()].iter().map(|one| one.load(Ordering::Relaxed)).collect()
}

/// Answers one question with this error. False: there is none yet.
pub(super) fn answer_one(listener: &OwnedFd, errno: i32) -> bool {
    let fd = listener.as_raw_fd();
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: structures of plain numbers, which the kernel fills or reads.
    unsafe {
        if libc::poll(&raw mut poll, 1, 20) != 1 || poll.revents & libc::POLLIN == 0 {
            return false;
        }
        let mut question: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(fd, RECEIVE as _, &raw mut question) != 0 {
            return false;
        }
        let mut no = libc::seccomp_notif_resp { id: question.id, val: 0, error: -errno, flags: 0 };
        libc::ioctl(fd, SEND as _, &raw mut no) == 0
    }
}

/// The same for all that the child calls. False: it is gone.
fn answer(listener: &OwnedFd, pid: i32) -> bool {
    // SAFETY: our own child; a look.
    answer_one(listener, ANSWERED) || unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } == 0
}

// SECCOMP_IOCTL_NOTIF_RECV and _SEND
const RECEIVE: u64 = 0xc050_2100;
const SEND: u64 = 0xc018_2101;

/// Loads the filter, makes all calls, and waits for its end without one.
fn child(shared: &Shared, tries: &[&Try]) -> ! {
    let mut ask = [libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    }];
    let program = libc::sock_fprog { len: 1, filter: ask.as_mut_ptr() };
    // SAFETY: words alone. Whoever has not CAP_SYS_ADMIN may load a filter only so; and nobody waits for this process but its parent.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    // SAFETY: one instruction; from here on every system call is asked about.
    let fd = unsafe {
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) as i32
    };
    // SAFETY: a word of this thread's memory.
    shared.listener.store(if fd < 0 { -unsafe { *libc::__errno_location() } } else { fd }, Ordering::Release);
    for (one, answer) in tries.iter().zip(&shared.answers) {
        let number = i64::from(one.number);
        let came = match &*one.architecture {
            "SCMP_ARCH_X86" | "SCMP_ARCH_ARM" if !native_32() => call_32(number, &one.arguments),
            _ => call(number, &one.arguments),
        };
        answer.store(came as i32, Ordering::Relaxed);
    }
    shared.done.store(1, Ordering::Release);
    loop {
        std::hint::spin_loop();
    }
}

/// The error number, or 0.
fn call(number: i64, arguments: &[u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments.map(|argument| argument as libc::c_long);
    // SAFETY: it is not made, see above.
    let came = unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) };
    // SAFETY: a word of this thread's memory.
    if came == -1 { i64::from(unsafe { *libc::__errno_location() }) } else { 0 }
}

/// As a program of 32 bits would.
#[cfg(target_arch = "x86_64")]
fn call_32(number: i64, arguments: &[u64; 6]) -> i64 {
    let [a, b, c, d, e, _] = *arguments;
    let came: i64;
    // SAFETY: as above. rbx is not ours to name, and the sixth argument, in ebp, does not matter to any filter here. The kernel of a
    // 64-bit program's int 0x80 clears r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {a}", "int 0x80", "xchg rbx, {a}",
            a = inout(reg) a => _, inlateout("rax") number => came,
            in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(-(came as i32)).max(0)
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: i64, _: &[u64; 6]) -> i64 {
    unreachable!("there is no way from here")
}

/// Whether a program of 64 bits may make calls of 32: a kernel without CONFIG_IA32_EMULATION ends it.
fn runs_32_bit() -> bool {
    if !cfg!(target_arch = "x86_64") {
        return false;
    }
    // SAFETY: this process has one thread; the child asks for its number (getpid, 20), and leaves.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            call_32(20, &[0; 6]);
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        libc::WIFEXITED(status)
    }
}
