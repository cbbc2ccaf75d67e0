//! The options of `nsctl run`.

use lexopt::{Arg, Parser};

use super::{Command, Run, log_format, once, text, unexpected, word, wrong};
use crate::error::{Error, Result};

/// `run`, or `create`: the same but for the start.
pub(super) fn run(parser: &mut Parser, log_json: &mut bool, create: bool) -> Result<Command> {
    let mut run = Run { create, ..Run::default() };
    let verb = if create { "create" } else { "run" };
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("log-format") => *log_json = log_format(parser)?,
            Arg::Long("help") => return Ok(Command::Help(verb)),
            // Options end at the command's name: what follows belongs to the command.
            Arg::Value(program) => {
                run.argv.push(program);
                run.argv.extend(parser.raw_args().map_err(wrong)?);
            }
            Arg::Short(letter) => short(letter, &mut run, parser)?,
            Arg::Long(name) => {
                let name = name.to_string();
                long(&name, &mut run, parser)?;
            }
        }
    }
    if run.init && run.no_init {
        return Err(Error::new("--init and --no-init contradict each other"));
    }
    if run.detach_keys.as_ref().is_some_and(|keys| !keys.is_empty()) {
        return Err(Error::new("nsctl run: --detach-keys: a container in the foreground ends with nsctl")
            .hint("start it with --detach, then nsctl attach --detach-keys"));
    }
    // An image may name the command.
    if run.argv.is_empty() && run.image.is_none() && run.entrypoint.is_none() {
        let hint = if run.rootfs.is_some() { "for a shell, add /bin/sh" } else { "for a shell: nsctl run /bin/sh" };
        return Err(Error::new(format!("nsctl {verb}: no command was given")).hint(hint));
    }
    if create && run.detach {
        return Err(Error::new("nsctl create: --detach is for run").hint("nsctl start starts it, and does not wait"));
    }
    Ok(Command::Run(Box::new(run)))
}

/// Every short option is a long one's.
fn short(letter: char, run: &mut Run, parser: &mut Parser) -> Result<()> {
    let name = match letter {
        'c' => "cpu-shares",
        'e' => "env",
        'h' => "hostname",
        // Letters may follow, which are no value of it.
        'i' => {
            run.interactive = true;
            return Ok(());
        }
        't' => {
            run.tty = true;
            return Ok(());
        }
        'l' => "label",
        'm' => "memory",
        'u' => "user",
        'v' => "volume",
        'w' => "workdir",
        'd' => {
            run.detach = true;
            return Ok(());
        }
        'p' => "publish",
        'P' => "publish-all",
        _ => return Err(unexpected(Arg::Short(letter), "run")),
    };
    long(name, run, parser)
}

fn long(name: &str, run: &mut Run, parser: &mut Parser) -> Result<()> {
    if run.limits.take(name, parser)? || run.cgroup.take(name, parser)? || run.health.take(name, parser)? {
        return Ok(());
    }
    match name {
        "uts" => once(&mut run.uts, "--uts", text(parser)?),
        "pid" => once(&mut run.pid, "--pid", text(parser)?),
        "ipc" => once(&mut run.ipc, "--ipc", text(parser)?),
        "cgroupns" => once(&mut run.cgroupns, "--cgroupns", text(parser)?),
        "net" | "network" => once(&mut run.net, "--net", text(parser)?),
        "hostname" => once(&mut run.hostname, "--hostname", text(parser)?),
        "domainname" => once(&mut run.domainname, "--domainname", text(parser)?),
        "no-init" => flag(&mut run.no_init, parser),
        // That is so unless --no-init is there, too.
        "init" => flag(&mut run.init, parser),
        "env" => list(&mut run.env, word(parser)?),
        "env-file" => list(&mut run.env_file, word(parser)?),
        "workdir" => once(&mut run.workdir, "--workdir", word(parser)?),
        "interactive" => flag(&mut run.interactive, parser),
        "tty" => flag(&mut run.tty, parser),
        "detach-keys" => once(&mut run.detach_keys, "--detach-keys", text(parser)?),
        "user" => once(&mut run.user, "--user", text(parser)?),
        "group-add" => list(&mut run.group_add, text(parser)?),
        "entrypoint" => once(&mut run.entrypoint, "--entrypoint", word(parser)?),
        "stop-signal" => once(&mut run.stop_signal, "--stop-signal", text(parser)?),
        "preserve-fds" => once(&mut run.preserve_fds, "--preserve-fds", text(parser)?),
        "name" => once(&mut run.name, "--name", text(parser)?),
        "label" => list(&mut run.label, text(parser)?),
        "rm" => flag(&mut run.rm, parser),
        "cidfile" => once(&mut run.cidfile, "--cidfile", word(parser)?),
        "detach" => flag(&mut run.detach, parser),
        "log" => once(&mut run.log, "--log", text(parser)?),
        "log-size" => once(&mut run.log_size, "--log-size", text(parser)?),
        "restart" => once(&mut run.restart, "--restart", text(parser)?),
        "stop-timeout" => once(&mut run.stop_timeout, "--stop-timeout", text(parser)?),
        "pidfile" => once(&mut run.pidfile, "--pidfile", word(parser)?),
        "explain" => flag(&mut run.explain, parser),
        "verbose" => flag(&mut run.verbose, parser),
        _ => files(name, run, parser),
    }
}

/// What is about roots and mounts.
fn files(name: &str, run: &mut Run, parser: &mut Parser) -> Result<()> {
    match name {
        "rootfs" => once(&mut run.rootfs, "--rootfs", word(parser)?),
        "image" => once(&mut run.image, "--image", word(parser)?),
        "store" => once(&mut run.store, "--store", word(parser)?),
        "max-unpacked" => once(&mut run.max_unpacked, "--max-unpacked", text(parser)?),
        "overlay" => flag(&mut run.overlay, parser),
        "overlay-size" => once(&mut run.overlay_size, "--overlay-size", text(parser)?),
        "overlay-upper" => once(&mut run.overlay_upper, "--overlay-upper", word(parser)?),
        "rw" => flag(&mut run.rw, parser),
        "read-only" => flag(&mut run.read_only, parser),
        "volume" => list(&mut run.volume, word(parser)?),
        "mount" => list(&mut run.mount, word(parser)?),
        "tmpfs" => list(&mut run.tmpfs, word(parser)?),
        "device" => list(&mut run.device, word(parser)?),
        "shm-size" => once(&mut run.shm_size, "--shm-size", text(parser)?),
        "sysctl" => list(&mut run.sysctl, text(parser)?),
        _ => Err(not_here(name)),
    }
}

/// What users of other engines type and nsctl does not do is refused with a reason.
fn not_here(name: &str) -> Error {
    let why = match name {
        "publish" | "publish-all" | "expose" => "the network is the host's, so that every port is there already",
        "privileged" | "cap-add" | "cap-drop" | "security-opt" | "userns" => {
            "the command keeps the caller's capabilities; --user makes it an ordinary user"
        }
        "dns" | "dns-search" | "dns-option" | "add-host" => "-v FILE:/etc/resolv.conf, or -v FILE:/etc/hosts",
        "kernel-memory" | "memory-swappiness" | "oom-kill-disable" | "cpu-rt-period" | "cpu-rt-runtime" => {
            "kernels have dropped it, or do so with cgroup v2"
        }
        "blkio-weight-device" => "there is --device-read-bps and its like for one device",
        "readonly" => "it is --read-only",
        "workingdir" | "cwd" => "it is --workdir",
        "root" => "it is --rootfs DIR",
        "ulimit" => "set it before nsctl with the shell's ulimit: limits are inherited",
        "platform" | "pull" => "nsctl downloads nothing; of an image for several machines it takes this one's part",
        "verity" | "dm-verity" | "root-hash" => {
            "nsctl does not check images with dm-verity: mount the image yourself, then --rootfs"
        }
        "volumes-from" | "volume-driver" => "nsctl has no named volumes: -v /DIR:/DST",
        _ => return unexpected(Arg::Long(name), "run"),
    };
    Error::new(format!("nsctl run: --{name} is not supported")).hint(why)
}

/// A switch, also as `--name=true` and `--name=false`.
pub(super) fn flag(slot: &mut bool, parser: &mut Parser) -> Result<()> {
    let value = parser.optional_value();
    *slot = match value.as_ref().map(|value| value.to_str()) {
        None | Some(Some("true" | "1")) => true,
        Some(Some("false" | "0")) => false,
        _ => {
            let value = value.unwrap_or_default();
            return Err(Error::new(format!("{} is neither true nor false", value.display())));
        }
    };
    Ok(())
}

fn list<T>(list: &mut Vec<T>, value: T) -> Result<()> {
    list.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn run_of(words: &[&str]) -> Result<Run> {
        let words = ["nsctl", "run"].iter().chain(words).map(OsString::from).collect();
        match super::super::parse(words)?.command {
            Command::Run(run) => Ok(*run),
            _ => unreachable!("run"),
        }
    }

    #[test]
    fn short_options_are_the_long_ones() {
        let run =
            run_of(&["-v/a:/b", "-v", "/c:/d", "-u", "1", "-w/x", "-hname", "-lk=v", "-eA=b", "sh", "-v"]).unwrap();
        assert_eq!(run.volume, ["/a:/b", "/c:/d"]);
        assert_eq!((run.user.as_deref(), run.hostname.as_deref()), (Some("1"), Some("name")));
        assert_eq!(run.argv, ["sh", "-v"]);
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for words in [["--verity", "sh"], ["-p80:80", "sh"], ["--privileged", "sh"]] {
            let error = run_of(&words).err().unwrap().to_string();
            assert!(error.contains("is not supported"), "{error}");
        }
        assert!(run_of(&["--rootfs=/x"]).is_err());
        assert!(run_of(&["--image=/x"]).is_ok());
        assert!(run_of(&["--explain=yes", "sh"]).is_err());
        assert!(run_of(&["--rm=true", "sh"]).unwrap().rm && !run_of(&["--rm=false", "sh"]).unwrap().rm);
        assert!(run_of(&["--init", "sh"]).is_ok() && run_of(&["--init", "--no-init", "sh"]).is_err());
    }
}
