//! What runs inside a container: `boxes probe WHAT …`.

use std::io::Write;

pub(crate) fn run(args: &[String]) -> ! {
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("kill-self") => kill_self(number(1)),
        Some("signals") => signals(),
        Some("orphans") => orphans(number(1)),
        Some("hog") => hog(number(1) as usize),
        Some("escape") => crate::hostile::escape(&args[1..]),
        Some("marker") => {
            println!("a program of the host's");
            std::process::exit(0)
        }
        other => {
            eprintln!("no probe {other:?}");
            std::process::exit(99)
        }
    }
}

/// Ends by this signal's default action.
fn kill_self(signal: i32) -> ! {
    // SAFETY: plain system calls of this single thread.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    std::process::exit(0)
}

/// Prints the number of each signal that comes, until SIGTERM.
fn signals() -> ! {
    let all = !0u64;
    // SAFETY: the kernel's own calls with 8-byte sets, since the C library's leave signals out.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8);
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    loop {
        // SAFETY: as above; no siginfo and no timeout are asked for.
        let signal = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, 0, 0, 8) };
        if signal > 0 {
            println!("{signal}");
            std::io::stdout().flush().unwrap();
        }
        if signal == i64::from(libc::SIGTERM) {
            std::process::exit(0);
        }
    }
}

/// Makes orphans that end at once, and waits until none of them is left as a zombie.
fn orphans(count: i32) -> ! {
    for _ in 0..count {
        // SAFETY: this process has one thread; the children only fork or leave.
        unsafe {
            match libc::fork() {
                0 => {
                    if libc::fork() == 0 {
                        libc::_exit(0);
                    }
                    libc::_exit(0);
                }
                -1 => std::process::exit(98),
                pid => {
                    libc::waitpid(pid, std::ptr::null_mut(), 0);
                }
            }
        }
    }
    for _ in 0..500 {
        if zombies() == 0 {
            std::process::exit(0);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    println!("{} zombies", zombies());
    std::process::exit(1)
}

fn zombies() -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
        .count()
}

/// Touches this many MiB.
fn hog(mebibytes: usize) -> ! {
    let mut kept = Vec::new();
    for _ in 0..mebibytes {
        kept.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
    println!("{} MiB", kept.len());
    std::process::exit(0)
}
