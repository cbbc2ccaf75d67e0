//! The words and the environment of this process as /proc shows them to others.

use std::sync::atomic::{AtomicPtr, Ordering};

use libc::c_char;

/// The words that the program was started with, after its own name, for [`wipe_words`].
pub(super) static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Overwrites our arguments but the first, and our environment. For a process that looks at none of them any more, but whose
/// /proc/PID/cmdline and environ others look at: everybody sees the one, and undumpable does not keep CAP_PERFMON (since 6.16) or
/// CAP_SYS_ADMIN from the other.
pub(crate) fn wipe_words() {
    wipe_environment();
    let arguments = ARGUMENTS.load(Ordering::Relaxed).cast_const();
    // SAFETY: a program that has arguments has a first one; see [`wipe`].
    unsafe {
        if !arguments.is_null() && !(*arguments).is_null() {
            wipe(arguments.add(1));
        }
    }
}

/// The environment alone, of a process that goes among those of a container.
pub(crate) fn wipe_environment() {
    unsafe extern "C" {
        static environ: *const *mut c_char;
    }
    // SAFETY: reads one pointer that the C library set; see [`wipe`].
    unsafe {
        if !environ.is_null() {
            wipe(environ);
        }
    }
}

/// # Safety
/// It is a list of the C library's or of the kernel's, which ends with a null pointer; the strings are on the stack that the kernel
/// made, and writable. There is one thread, and nobody reads them any more.
unsafe fn wipe(mut at: *const *mut c_char) {
    // SAFETY: by the contract above.
    unsafe {
        while !(*at).is_null() {
            std::ptr::write_bytes(*at, 0, libc::strlen(*at));
            at = at.add(1);
        }
    }
}
