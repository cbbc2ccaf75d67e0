//! The same tests with a system call answered by seccomp, as old kernels and sandboxes do.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

pub(crate) const MASKS: &[(&str, &str)] = &[
    ("clone3", "ENOSYS"),
    ("clone3", "EPERM"),
    ("close_range", "ENOSYS"),
    ("close_range", "EPERM"),
    ("pidfd", "ENOSYS"),
    ("pidfd", "EPERM"),
];

/// What the container's files are made with.
pub(crate) const TREE_MASKS: &[(&str, &str)] = &[
    ("openat2", "ENOSYS"),
    ("openat2", "EPERM"),
    ("mount_api", "ENOSYS"),
    ("mount_api", "EPERM"),
    ("open_tree", "ENOSYS"),
    ("open_tree", "EPERM"),
    ("mount_setattr", "ENOSYS"),
    ("mount_setattr", "EPERM"),
];

static CURRENT: Mutex<Option<(&str, &str)>> = Mutex::new(None);

pub(crate) fn set(mask: Option<(&'static str, &'static str)>) {
    *CURRENT.lock().unwrap() = mask;
}

pub(crate) fn current() -> Option<(&'static str, &'static str)> {
    *CURRENT.lock().unwrap()
}

fn numbers(call: &str) -> Vec<i64> {
    match call {
        "clone3" => vec![libc::SYS_clone3],
        "close_range" => vec![libc::SYS_close_range],
        "pidfd" => vec![libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal],
        "openat2" => vec![libc::SYS_openat2],
        "mount_api" => vec![
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
        ],
        "open_tree" => vec![libc::SYS_open_tree],
        "mount_setattr" => vec![libc::SYS_mount_setattr],
        "landlock" => vec![libc::SYS_landlock_create_ruleset],
        "namespaces" => vec![
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_sethostname,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
        ],
        "mounts" => vec![
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
        ],
        _ => panic!("no mask for {call}"),
    }
}

/// `boxes masked CALL ERRNO PROGRAM …`: executes PROGRAM with CALL answered by ERRNO, or (KILL) as the last that it does.
pub(crate) fn exec(args: &[String]) -> ! {
    let answer = match args[1].as_str() {
        "KILL" => libc::SECCOMP_RET_KILL_PROCESS,
        "EPERM" => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        _ => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    };
    // Load the number, compare with each, answer with the errno or let it pass.
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for number in numbers(&args[0]) {
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, answer));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter and its program live through the call.
    let loaded = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    assert_eq!(loaded, 0, "load the seccomp filter: {}", std::io::Error::last_os_error());
    let error = Command::new(&args[2]).args(&args[3..]).exec();
    panic!("execute {}: {error}", args[2]);
}

fn instruction(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}
