//! Inside a container: files of the host that are not on any path, but that something leads to.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::calls::{call, handle, p};
use super::tries::Try;

const HERE: usize = libc::AT_FDCWD as usize;

/// The entries of a directory, as paths.
fn entries(dir: &str) -> Vec<CString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| CString::new(entry.path().as_os_str().as_bytes()).ok()).collect()
}

/// Whether the host's files are below, or above, what this path leads to.
fn leads_out(t: &Try, path: &CString) -> bool {
    let path = path.to_str().unwrap_or_default();
    ["", "/..", "/../../../../../../../..", "/../../../../../../../../../../../../.."].iter().any(|up| {
        let fd = handle(&CString::new(format!("{path}{up}")).unwrap());
        let seen = fd != usize::MAX && t.sees_host(fd);
        let _ = call(libc::SYS_close, &[fd]);
        seen
    })
}

/// What was left open.
pub(super) fn descriptors(t: &mut Try) {
    for path in entries("/proc/self/fd") {
        if leads_out(t, &path) {
            t.escape(&format!("{} leads out", shown(&path)));
        }
    }
}

fn shown(path: &CString) -> String {
    path.to_string_lossy().into_owned()
}

/// /proc/PID/root, cwd, exe and fd/* of every other process: PID 1 is nsctl, with files of the host's open.
pub(super) fn processes(t: &mut Try) {
    for process in entries("/proc") {
        let process = shown(&process);
        let Ok(pid) = process.trim_start_matches("/proc/").parse::<u32>() else { continue };
        let links = ["root", "cwd"].map(|link| CString::new(format!("{process}/{link}")).unwrap());
        for link in links.iter().chain(&entries(&format!("{process}/fd"))) {
            if leads_out(t, link) {
                t.escape(&format!("{} leads out", shown(link)));
            }
        }
        if pid == 1 && pid != std::process::id() {
            ["exe", "root", "cwd"].iter().for_each(|link| closed(t, &format!("{process}/{link}")));
            entries(&format!("{process}/fd")).iter().for_each(|path| closed(t, &shown(path)));
            entries(&format!("{process}/map_files")).iter().for_each(|path| closed(t, &shown(path)));
            // A handle of a file of procfs itself is nothing.
            for flags in [libc::O_RDONLY, libc::O_RDWR] {
                let path = CString::new(format!("{process}/mem")).unwrap();
                if call(libc::SYS_openat, &[HERE, p(&path), flags as usize]).is_ok() {
                    t.escape("the memory of PID 1 can be opened");
                }
            }
        }
    }
}

/// Nothing behind this path can be opened, not even as a handle.
fn closed(t: &mut Try, path: &str) {
    let c_path = CString::new(path).unwrap();
    for flags in [libc::O_RDONLY, libc::O_PATH, libc::O_WRONLY] {
        let opened = call(libc::SYS_openat, &[HERE, p(&c_path), (flags | libc::O_NONBLOCK) as usize]);
        if opened.is_ok() {
            t.escape(&format!("{path} can be opened"));
        }
    }
}

/// With CAP_SYS_PTRACE one takes a descriptor out of PID 1, or lets it act.
pub(super) fn ptrace(t: &mut Try) {
    if std::process::id() == 1 {
        return;
    }
    let pidfd = call(libc::SYS_pidfd_open, &[1, 0]);
    for fd in 0..16 {
        let taken = pidfd.and_then(|pidfd| call(libc::SYS_pidfd_getfd, &[pidfd as usize, fd, 0]));
        if taken.is_ok() {
            t.escape(&format!("pidfd_getfd took descriptor {fd} of PID 1"));
        }
    }
    let seized = call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, 1, 0, 0]);
    if t.note("ptrace", seized).is_some() {
        t.escape("PID 1 can be traced");
    }
}

pub(super) fn decode(text: &str) -> Vec<u32> {
    text.split(',').map(|number| number.parse().unwrap()).collect()
}

/// The handle of a directory of the host's, and the numbers of ext4's, xfs's and btrfs's root directories and tmpfs's first files.
/// `first`: in the first user namespace, the privilege is for everything; in another one (Linux 6.11) for what can be reached anyway.
pub(super) fn file_handles(t: &mut Try, first: bool) {
    for mount in [c"/", c"/volume", c"/etc/hosts", c"/dev", c"/dev/shm"] {
        let directory = call(libc::SYS_openat, &[HERE, p(mount), 0]);
        let Ok(directory) = directory else { continue };
        // handle_bytes, handle_type, and for FILEID_INO32_GEN the inode's number and generation.
        let roots =
            [(1, 2u32), (1, 128), (1, 64), (1, 256), (0x81, 2)].map(|(kind, inode)| vec![8u32, kind, inode, 0]);
        for file in roots.into_iter().chain((!t.handle.is_empty()).then(|| t.handle.clone())) {
            for flags in [libc::O_RDONLY, libc::O_RDONLY | libc::O_DIRECTORY, libc::O_PATH] {
                let opened =
                    call(libc::SYS_open_by_handle_at, &[directory as usize, file.as_ptr() as usize, flags as usize]);
                match opened {
                    Ok(fd) if t.sees_host(fd as usize) || file == t.handle => {
                        t.escape("open_by_handle_at opened the host's root")
                    }
                    Ok(fd) => {
                        t.note("open_by_handle_at", Ok(fd));
                    }
                    // ESTALE: it may ask for handles, and this is none; then others are to be had.
                    Err(libc::ESTALE) if first => t.escape("open_by_handle_at is allowed"),
                    Err(_) => {}
                }
            }
        }
    }
}

/// nsfs has handles since 6.18; FD_NSFS_ROOT is -10003, FILEID_NSFS 0xf1: the first mount namespace by its well-known number.
pub(super) fn namespace_by_handle(t: &mut Try) {
    let file = [16u32, 0xf1, 8, 0, libc::CLONE_NEWNS as u32, 0xEFFF_FFF8];
    let opened = call(libc::SYS_open_by_handle_at, &[-10003_isize as usize, file.as_ptr() as usize, 0]);
    t.note("open_by_handle_at", opened);
    if let Ok(fd) = opened {
        let joined = call(libc::SYS_setns, &[fd as usize, libc::CLONE_NEWNS as usize]);
        t.note("setns", joined);
        t.look("the first namespace");
    }
}
