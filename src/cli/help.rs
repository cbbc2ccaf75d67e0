//! The texts of `--help`.

pub(crate) const VERSION: &str = concat!("nsctl ", env!("CARGO_PKG_VERSION"), " (", env!("NSCTL_COMMIT"), ")");

/// The verbs that have a help text.
pub(super) const VERBS: &[&str] = &["run", "simple", "ps", "check"];

pub(crate) fn text(verb: &str) -> &'static str {
    match verb {
        "run" => RUN,
        "simple" => SIMPLE,
        "ps" => PS,
        "check" => CHECK,
        _ => NSCTL,
    }
}

const NSCTL: &str = "\
nsctl runs a command in its own Linux namespaces and cgroups. One static binary, no daemon.

  nsctl run [OPTIONS] [--] COMMAND [ARG...]   run a command isolated
  nsctl simple                                the smallest container there is, for learning
  nsctl ps                                    list the running containers
  nsctl check                                 what this kernel and this user can do
  nsctl help VERB, nsctl VERB --help          more on a verb
  nsctl --version

  --log-format text|json   (before the verb) how errors are written to standard error

Try: nsctl run /bin/sh, and nsctl run --explain /bin/sh to see every step it takes.
";

const RUN: &str = "\
nsctl run [OPTIONS] [--] COMMAND [ARG...]

Runs COMMAND in new UTS, PID, mount, IPC and cgroup namespaces, with a fresh /proc and the host name
'container'. It sees the host's files and network. nsctl is PID 1 inside: it forwards signals, reaps orphans,
and leaves with the command's exit code; what is left of the container then ends, too.

Namespaces (host: stay in the caller's; private: a new one; /proc/PID/ns/NAME or any such file: join that one)
  --uts, --ipc, --cgroupns host|private|PATH     default: private
  --pid host|private|PATH                        default: private; otherwise there is no nsctl inside
  --net, --network host|private|PATH             default: host; private has a loopback device that is down
  -h, --hostname NAME                            default: container (in a private UTS namespace)
  --domainname NAME                              NIS domain name

Process
  -e, --env NAME=VALUE | NAME     set a variable, or take the caller's; the rest is inherited
  --env-file FILE                 lines of NAME=VALUE or NAME; # starts a comment line
  -w, --workdir DIR               default: the caller's
  -i, --interactive               keep standard input: the default, since input is handed through as it is
  --no-init                       COMMAND itself is PID 1 (no reaper, no forwarding inside)
  --preserve-fds N                hand descriptors 3 to N+2 on; all others are closed

Limits (a cgroup /nsctl/ID is made for them and removed at the end; v1, v2 or both)
  -m, --memory SIZE        bytes, or with k, m, g; beyond it the kernel kills
  --cpus N                 processor time, as a number of processors: 0.5, 2
  --pids-limit N           tasks; -1: none
  --cpuset-cpus LIST       0-2,7

Bookkeeping
  --name NAME              for nsctl ps; unique among the running
  --rm                     leave nothing behind: always so for a container in the foreground
  --pidfile FILE           write the process id (as the caller sees it) of the container's PID 1
  --explain                print every step, numbered, with its system call; run nothing
  -v, --verbose            print the same lines as they happen, with microseconds
  --log-format text|json   how errors are written to standard error
  --help

Exit status: the command's; 128+n if signal n ended it; 127 not found, 126 found but not executable,
125 nsctl itself failed.
";

const SIMPLE: &str = "\
nsctl simple [--explain | -v]

The smallest container there is: bash (or sh) as PID 1 of new UTS, PID and mount namespaces, with the host
name 'container' and a fresh /proc, so that ps shows only what runs inside. --explain prints the steps
without taking them; -v prints them as they are taken.
";

const PS: &str = "\
nsctl ps [-q] [--no-trunc] [--format table|json]

Lists the running containers of this user. A container whose nsctl was killed is not listed; what such a one
left behind is cleared away.

  -q, --quiet            ids only
  --no-trunc             the whole command line
  --format table|json    json is an array of objects; --json is short for it
";

const CHECK: &str = "\
nsctl check [--json | --kconfig]

Tries out what this kernel and this user can do, and says for each feature since which kernel it exists,
whether nsctl needs it or does without, and which CONFIG or sysctl would change the answer. Exit status 1 if
something that nsctl needs is missing.

  --json       an array of objects
  --kconfig    a kernel configuration fragment with all that nsctl can use
";
