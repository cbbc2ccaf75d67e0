//! The texts of the verbs about containers that are there.

pub(super) const CREATE: &str = "\
nsctl create [OPTIONS] [--] COMMAND [ARG...]

Makes a container as nsctl run --detach does, all but the start of its command, and prints its id. nsctl start
starts it. The options are those of nsctl run.
";

pub(super) const START: &str = "\
nsctl start CONTAINER...
nsctl start -a [-i] [--sig-proxy[=false]] [--detach-keys KEYS] CONTAINER

Starts the command of containers that were created, and starts those again that have ended: with the words, the
variables and the directory of the first time, and from the same image or root. What the last run changed in
memory is gone; --overlay-upper keeps changes. One that runs is left alone.

  -a, --attach           attach to it, from its first output on
  -i, --interactive      and hand standard input on
  --sig-proxy[=false], --detach-keys KEYS    as nsctl attach has them
";

pub(super) const STOP: &str = "\
nsctl stop [-t SECONDS] [-s SIGNAL] CONTAINER... | --all

Sends the container's stop signal (TERM, unless it or its image says otherwise), and SIGKILL when it has not ended
in time. It is not started again, whatever its --restart says.

  -t, --time SECONDS     how long it has; default: its --stop-timeout, or 10; 0 kills at once, -1 waits for ever
  -s, --signal SIGNAL    instead of its stop signal
  -a, --all              every container
";

pub(super) const RESTART: &str = "\
nsctl restart [-t SECONDS] [-s SIGNAL] CONTAINER...

nsctl stop, then nsctl start.
";

pub(super) const KILL: &str = "\
nsctl kill [-s SIGNAL] CONTAINER... | --all

Sends a signal to the command of a container that runs; default: KILL.

  -s, --signal SIGNAL    a name, with or without SIG, or a number
  -a, --all              every container
";

pub(super) const WAIT: &str = "\
nsctl wait CONTAINER...

Waits until the containers have ended and prints their exit codes, a line each: 128+n if signal n ended it; 137,
too, if nsctl inside was killed and could not tell.
";

pub(super) const RM: &str = "\
nsctl rm [-f] CONTAINER... | --all

Removes containers that have ended, with their logs.

  -f, --force            kills them first; one that is not there is no error
  -a, --all              every container
";

pub(super) const PAUSE: &str = "\
nsctl pause CONTAINER... | --all
nsctl unpause CONTAINER... | --all    (resume is the same)

All processes of a container stand still, or go on. That takes a cgroup: every detached container has one.
";

pub(super) const ATTACH: &str = "\
nsctl attach [OPTIONS] CONTAINER

What a detached container writes comes out here from now on, and what is typed here goes to it (to its terminal, if
it was made with -t; otherwise if it was made with -i). Several may be attached to one container. Exit status: the
container's, when it ends; 0 after detaching, and it goes on.

  --no-stdin             only look
  --sig-proxy[=false]    signals are for the container's command (default), but for a hang-up of this terminal;
                         with a terminal of its own they are not, since its keys are
  --detach-keys KEYS     what to press to leave it running: keys with commas between, ctrl-KEY for one with Ctrl;
                         default: ctrl-p,ctrl-q, but none ('') on a console or a serial line
";

pub(super) const LOGS: &str = "\
nsctl logs [-f] [-t] [-n N] [--since TIME] [--until TIME] CONTAINER

What a detached container wrote: its output to standard output, its errors to standard error, byte for byte. The
log is kept in the container's directory, the newest --log-size twice over.

  -f, --follow           go on until the container has ended
  -t, --timestamps       the time (UTC) before each line
  -n, --tail N           only the last N lines; all: all of them
  --since, --until TIME  10m or 1h30m ago, 2026-01-31, 2026-01-31T12:30:00Z (UTC), seconds since the epoch
";

pub(super) const INSPECT: &str = "\
nsctl inspect CONTAINER...

All that is known of containers, as a JSON array: state and exit code, command, environment, namespaces, cgroups,
and the directory in which it is kept.
";

pub(super) const EXEC: &str = "\
nsctl exec [OPTIONS] CONTAINER COMMAND [ARG...]

Runs one more command in a container that runs: in all its namespaces, its root and its cgroup, as its user, with
its variables and its working directory, and with no more rights than its own command has. It ends when nsctl exec
is killed.

  -u, --user USER[:GROUP]    names are looked up in the container; digits are always a number
  -e, --env NAME=VALUE | NAME    set a variable, or take the caller's
  --env-file FILE            lines of NAME=VALUE or NAME
  -w, --workdir DIR          default: the container's
  -i, --interactive          keep standard input: the default, since input is handed through as it is;
                             with -t and an input that is no terminal, type that in
  -t, --tty                  a terminal of its own, of the container's devpts, relayed as by nsctl run -t
  -d, --detach               do not wait for it; its streams are /dev/null
  --explain                  print every step, run nothing
  --verbose                  print the same lines as they happen, with microseconds

Exit status: the command's; 128+n if signal n ended it; 127 not found, 126 found but not executable, 125 nsctl
itself failed, 1 there is no such container, or it does not run.
";

pub(super) const NETWORK: &str = "\
nsctl network create [OPTIONS] NAME
nsctl network ls [-q] [--format table|json|COLUMN,...]
nsctl network inspect NAME...
nsctl network rm [-f] NAME...
nsctl network prune [-f]

Networks that containers share: nsctl run --network NAME. The default one, bridge, is made when it is first used, or by create
bridge, if it shall be another one. A network's bridge is an interface (nsctl0, nsctl1, ...) that exists only while a container is
on the network.

  --subnet ADDRESS/PREFIX    of IPv4, of IPv6, or one of each; default: a free one below 10.91.0.0, and a random one of fd00::/8
  --gateway ADDRESS          the bridge's own address, of IPv4 or IPv6; default: the first
  --ipv6[=false]             with IPv6; default: if the kernel has it
  --internal                 it leads nowhere else
  --mtu N, -o mtu=N          bytes; default: as the interface that leads to the world
  --label NAME=VALUE         shown by ls and inspect
  -q, --quiet                ls: names only
  --format table|json        ls: json is an array of objects
  --format COLUMN,...        ls: name, interface, subnet, subnet6, containers, internal, labels
  -f, --force                rm: one that is not there is no error; prune: without asking

A range that meets an address or a route of the host's, or another network, is refused. rm refuses a network that a running
container is on. prune removes those that none is on, but for bridge, and what containers left behind that were killed.

Containers on one network that have a root of their own (--rootfs, --image) find each other by name, id, --hostname and
--network-alias: their /etc/hosts has those that run, and is kept up to date. Without a root of its own a container sees the host's
/etc/hosts, and is found, but finds nobody by name.
";

pub(super) const PORT: &str = "\
nsctl port CONTAINER [PORT[/PROTOCOL]]

Where the ports of a container that runs are published, as PORT/PROTOCOL -> ADDRESS:PORT of the host; of one port,
the latter alone. Exit status: 1 if it is not published.
";
