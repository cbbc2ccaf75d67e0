//! `--sysctl`.

use std::ffi::CString;

use super::c_string;
use crate::error::{Error, Result};

/// What `--sysctl` may set: those that belong to a namespace of the container (kernel/sysctl docs, docker's list).
pub(super) fn sysctl(typed: &str, private_net: bool, private_ipc: bool) -> Result<(CString, CString)> {
    let wrong = |why: &str, hint: &str| Error::new(format_args!("--sysctl {typed}: {why}")).hint(hint);
    let (name, value) = typed.split_once('=').ok_or_else(|| wrong("there is no value", "it is NAME=VALUE"))?;
    let clean = name.split(['.', '/']).all(|part| !part.is_empty() && part != "..");
    if !clean {
        return Err(wrong("that is no name of a sysctl", "such as net.ipv4.ip_forward"));
    }
    let ipc = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    // With a slash, dots are part of a name (an interface's), as sysctl(8) has it.
    let slashes = if name.contains('/') { name.to_string() } else { name.replace('.', "/") };
    let dots = slashes.replace('/', ".");
    match () {
        () if dots.starts_with("net.") && !private_net => {
            return Err(wrong("that is the host's network", "--net private"));
        }
        () if (ipc.contains(&dots.as_str()) || dots.starts_with("fs.mqueue.")) && !private_ipc => {
            return Err(wrong("that is the host's IPC namespace", "leave --ipc out"));
        }
        () if dots.starts_with("net.") || dots.starts_with("fs.mqueue.") || ipc.contains(&dots.as_str()) => {}
        () => {
            return Err(wrong(
                "that is not the container's alone",
                "net.*, fs.mqueue.* and kernel.{msg*,sem,shm*} are",
            ));
        }
    }
    Ok((c_string("--sysctl", format!("sys/{slashes}").into())?, c_string("sysctl", value.to_string().into())?))
}

#[cfg(test)]
mod tests {
    use super::sysctl;

    #[test]
    fn what_is_the_containers_alone() {
        let set = sysctl("net.ipv4.ip_forward=1", true, true).unwrap();
        assert_eq!((set.0.as_c_str(), set.1.as_c_str()), (c"sys/net/ipv4/ip_forward", c"1"));
        assert_eq!(
            sysctl("net/ipv4/conf/eth0.1/forwarding=1", true, true).unwrap().0.as_c_str(),
            c"sys/net/ipv4/conf/eth0.1/forwarding"
        );
        assert!(sysctl("kernel.shmmax=1", false, true).is_ok());
        for typed in [
            "net.ipv4.ip_forward",
            "kernel.core_pattern=x",
            "net...x=1",
            "../x=1",
            "net/../kernel/core_pattern=x",
            "=1",
        ] {
            assert!(sysctl(typed, true, true).is_err(), "{typed}");
        }
        assert!(sysctl("net.x=1", false, true).is_err() && sysctl("kernel.sem=1", true, false).is_err());
    }
}
