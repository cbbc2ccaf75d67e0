//! The options of `nsctl run`.

use std::ffi::OsString;

use lexopt::{Arg, Parser};

use super::{Command, Run, log_format, once_text, once_word, text, unexpected, word, wrong};
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
        return Err(Error::new("--detach-keys: a container in the foreground ends with nsctl")
            .hint("start it with --detach, then nsctl attach --detach-keys"));
    }
    // An image may name the command.
    if run.argv.is_empty() && run.image.is_none() && run.entrypoint.is_none() {
        let hint = if run.rootfs.is_some() { "for a shell, add /bin/sh" } else { "for a shell: nsctl run /bin/sh" };
        return Err(Error::new("no command was given").hint(hint));
    }
    if create && run.detach {
        return Err(Error::new("--detach is for run").hint("nsctl start starts it, and does not wait"));
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
        'a' => "attach",
        'p' => "publish",
        'P' => "publish-all",
        _ => return Err(unexpected(Arg::Short(letter))),
    };
    long(name, run, parser)
}

fn long(name: &str, run: &mut Run, parser: &mut Parser) -> Result<()> {
    if run.limits.take(name, parser)?
        || run.cgroup.take(name, parser)?
        || run.health.take(name, parser)?
        || run.net.take(name, parser)?
        || run.privileges.take(name, parser)?
        || run.landlock.take(name, parser)?
    {
        return Ok(());
    }
    match name {
        "uts" => once_text(&mut run.uts, "--uts", parser),
        "userns" => once_text(&mut run.userns, "--userns", parser),
        "uidmap" => more_text(&mut run.uidmap, parser),
        "gidmap" => more_text(&mut run.gidmap, parser),
        "pid" => once_text(&mut run.pid, "--pid", parser),
        "ipc" => once_text(&mut run.ipc, "--ipc", parser),
        "cgroupns" => once_text(&mut run.cgroupns, "--cgroupns", parser),
        "hostname" => once_text(&mut run.hostname, "--hostname", parser),
        "domainname" => once_text(&mut run.domainname, "--domainname", parser),
        "no-init" => flag(&mut run.no_init, parser),
        // That is so unless --no-init is there, too.
        "init" => flag(&mut run.init, parser),
        "env" => more_words(&mut run.env, parser),
        "env-file" => more_words(&mut run.env_file, parser),
        "workdir" => once_word(&mut run.workdir, "--workdir", parser),
        "interactive" => flag(&mut run.interactive, parser),
        "tty" => flag(&mut run.tty, parser),
        "detach-keys" => once_text(&mut run.detach_keys, "--detach-keys", parser),
        "user" => once_text(&mut run.user, "--user", parser),
        "group-add" => more_text(&mut run.group_add, parser),
        "entrypoint" => once_word(&mut run.entrypoint, "--entrypoint", parser),
        "stop-signal" => once_text(&mut run.stop_signal, "--stop-signal", parser),
        "preserve-fds" => once_text(&mut run.preserve_fds, "--preserve-fds", parser),
        "name" => once_text(&mut run.name, "--name", parser),
        "label" => more_text(&mut run.label, parser),
        "rm" => flag(&mut run.rm, parser),
        "cidfile" => once_word(&mut run.cidfile, "--cidfile", parser),
        "detach" => flag(&mut run.detach, parser),
        "log" => once_text(&mut run.log, "--log", parser),
        "log-size" => once_text(&mut run.log_size, "--log-size", parser),
        "restart" => once_text(&mut run.restart, "--restart", parser),
        "stop-timeout" => once_text(&mut run.stop_timeout, "--stop-timeout", parser),
        "pidfile" => once_word(&mut run.pidfile, "--pidfile", parser),
        "explain" => flag(&mut run.explain, parser),
        "verbose" => flag(&mut run.verbose, parser),
        _ => files(name, run, parser),
    }
}

/// What is about roots and mounts.
fn files(name: &str, run: &mut Run, parser: &mut Parser) -> Result<()> {
    match name {
        "rootfs" => once_word(&mut run.rootfs, "--rootfs", parser),
        "image" => once_word(&mut run.image, "--image", parser),
        "store" => once_word(&mut run.store, "--store", parser),
        "max-unpacked" => once_text(&mut run.max_unpacked, "--max-unpacked", parser),
        "overlay" => flag(&mut run.overlay, parser),
        "overlay-size" => once_text(&mut run.overlay_size, "--overlay-size", parser),
        "overlay-upper" => once_word(&mut run.overlay_upper, "--overlay-upper", parser),
        "rw" => flag(&mut run.rw, parser),
        "read-only" => flag(&mut run.read_only, parser),
        "volume" => more_words(&mut run.volume, parser),
        "mount" => more_words(&mut run.mount, parser),
        "tmpfs" => more_words(&mut run.tmpfs, parser),
        "device" => more_words(&mut run.device, parser),
        "shm-size" => once_text(&mut run.shm_size, "--shm-size", parser),
        "sysctl" => more_text(&mut run.sysctl, parser),
        _ => Err(not_here(name)),
    }
}

/// What users of other engines type and nsctl does not do is refused with a reason.
fn not_here(name: &str) -> Error {
    let why = match name {
        "publish-all" | "expose" => "-p PORT publishes a port; what an image says of its ports is not read",
        "kernel-memory" | "memory-swappiness" | "oom-kill-disable" | "cpu-rt-period" | "cpu-rt-runtime" => {
            "kernels have dropped it, or do so with cgroup v2"
        }
        "blkio-weight-device" => "there is --device-read-bps and its like for one device",
        "readonly" => "it is --read-only",
        "workingdir" | "cwd" => "it is --workdir",
        "root" => "it is --rootfs DIR",
        "attach" => "in the foreground all streams are the caller's; after --detach there is nsctl attach",
        "gpus" => "--device for each of its devices in /dev, and -v for the driver's libraries",
        "link" => "containers on one --network find each other by their names",
        "log-driver" | "log-opt" => "it is --log file or none, and --log-size",
        "label-file" | "annotation" => "it is --label NAME=VALUE",
        "sig-proxy" => "in the foreground the command gets every signal; after --detach there is nsctl attach",
        "subuidname" | "subgidname" => "--uidmap and --gidmap say which ids",
        "storage-opt" => "it is --overlay-size",
        "runtime" | "isolation" => "nsctl is all there is",
        "platform" | "pull" | "quiet" | "disable-content-trust" => {
            "nsctl downloads nothing; of an image for several machines it takes this one's part"
        }
        "verity" | "dm-verity" | "root-hash" => {
            "nsctl does not check images with dm-verity: mount the image yourself, then --rootfs"
        }
        "volumes-from" | "volume-driver" => "nsctl has no named volumes: -v /DIR:/DST",
        _ => return unexpected(Arg::Long(name)),
    };
    Error::new(format_args!("--{name} is not supported")).hint(why)
}

/// A switch, also as `--name=true` and `--name=false`.
pub(super) fn flag(slot: &mut bool, parser: &mut Parser) -> Result<()> {
    let value = parser.optional_value();
    *slot = match value.as_ref().map(|value| value.to_str()) {
        None | Some(Some("true" | "1")) => true,
        Some(Some("false" | "0")) => false,
        _ => {
            let value = value.unwrap_or_default();
            return Err(Error::new(format_args!("{} is neither true nor false", value.display())));
        }
    };
    Ok(())
}

fn more_text(list: &mut Vec<String>, parser: &mut Parser) -> Result<()> {
    list.push(text(parser)?);
    Ok(())
}

fn more_words(list: &mut Vec<OsString>, parser: &mut Parser) -> Result<()> {
    list.push(word(parser)?);
    Ok(())
}

#[cfg(test)]
mod tests {
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
        for words in [
            ["--verity", "sh"],
            ["-P", "sh"],
            ["-astdout", "sh"],
            ["--gpus=all", "sh"],
            ["--log-driver=none", "sh"],
            ["--pull=never", "sh"],
            ["--sig-proxy=false", "sh"],
            ["--subuidname=me", "sh"],
        ] {
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
