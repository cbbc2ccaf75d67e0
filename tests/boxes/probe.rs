//! What runs inside a container: `boxes probe WHAT …`.

use std::io::Write;

pub(crate) fn run(args: &[String]) -> ! {
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("kill-self") => kill_self(number(1)),
        Some("signals") => signals(),
        Some("orphans") => orphans(number(1)),
        Some("burst") => crate::terminals::burst_inside(number(1) as usize),
        Some("type") => crate::terminals::type_on_all(),
        Some("hog") => hog(number(1) as usize),
        Some("bomb") => bomb(number(1), args.get(2)),
        Some("spin") => spin(number(1)),
        Some("read") => read(&args[1], number(2) as usize),
        Some("landlock") => crate::landlock::probe(&args[1..]),
        Some("open") => open(&args[1..]),
        Some("serve") => crate::net::world::serve(number(1) as u16),
        Some("call" | "try") => crate::net::world::callers(args),
        Some("tried") => crate::seccomp::probe(),
        Some("escape") => crate::hostile::escape(&args[1..]),
        Some("privileges") => crate::privileges::probe(),
        Some("marker") => {
            println!("a program of the host's");
            std::process::exit(0)
        }
        other => {
            crate::hostile::probe(args);
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
    for _ in 0..6000 {
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

/// Forks until that fails; says how often it did not, and what a file then says.
fn bomb(most: i32, file: Option<&String>) -> ! {
    let mut children = Vec::new();
    for _ in 0..most {
        // SAFETY: this process has one thread; the children only wait.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => break,
            pid => children.push(pid),
        }
    }
    let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    println!("{} {}", children.len(), text.trim());
    for pid in children {
        // SAFETY: our own children, not waited for yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    std::process::exit(0)
}

/// Keeps two processors busy for so many milliseconds; prints how many milliseconds of processor time that got, and how many passed.
fn spin(milliseconds: i32) -> ! {
    let start = std::time::Instant::now();
    let end = start + std::time::Duration::from_millis(milliseconds as u64);
    let spin = move || while std::time::Instant::now() < end {};
    let other = std::thread::spawn(spin);
    spin();
    let _ = other.join();
    // SAFETY: a structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the call fills it in.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let of = |time: libc::timeval| time.tv_sec * 1000 + time.tv_usec / 1000;
    println!("{} {}", of(usage.ru_utime) + of(usage.ru_stime), start.elapsed().as_millis());
    std::process::exit(0)
}

/// Reads so many KiB past the page cache; prints how many milliseconds that took.
fn read(path: &str, kibibytes: usize) -> ! {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let start = std::time::Instant::now();
    let block = vec![0u8; 128 << 10];
    // As direct reads want it.
    let at = block.as_ptr().align_offset(4096);
    for number in 0..kibibytes / 64 {
        let to = block[at..].as_ptr().cast_mut().cast();
        // SAFETY: the buffer has room for 64 KiB after its first page boundary, and nobody else looks at it.
        let length = unsafe {
            libc::pread(std::os::fd::AsRawFd::as_raw_fd(&file), to, 64 << 10, (number * (64 << 10)) as libc::off_t)
        };
        assert_eq!(length, 64 << 10, "{}", std::io::Error::last_os_error());
    }
    println!("{}", start.elapsed().as_millis());
    std::process::exit(0)
}

/// Says for each file whether it can be opened.
fn open(paths: &[String]) -> ! {
    for path in paths {
        match std::fs::File::open(path) {
            Ok(_) => println!("{path} opened"),
            Err(error) => println!("{path} {}", error.raw_os_error().unwrap_or(0)),
        }
    }
    std::process::exit(0)
}
