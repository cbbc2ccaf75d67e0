//! The texts of `--help`.

mod verbs;

pub(crate) const VERSION: &str = concat!("nsctl ", env!("CARGO_PKG_VERSION"), " (", env!("NSCTL_COMMIT"), ")");

/// The verbs that have a help text.
pub(super) const VERBS: &[&str] = &[
    "run", "simple", "ps", "image", "check", "create", "start", "stop", "restart", "kill", "wait", "rm", "pause",
    "unpause", "attach", "logs", "inspect", "exec", "events", "cp", "update", "top", "stats", "rename", "prune",
    "network", "port",
];

pub(crate) fn text(verb: &str) -> &'static str {
    match verb {
        "run" => RUN,
        "simple" => SIMPLE,
        "ps" => PS,
        "check" => CHECK,
        "image" => IMAGE,
        "network" => verbs::NETWORK,
        "events" => EVENTS,
        "cp" => CP,
        "create" => verbs::CREATE,
        "start" => verbs::START,
        "stop" => verbs::STOP,
        "restart" => verbs::RESTART,
        "kill" => verbs::KILL,
        "wait" => verbs::WAIT,
        "rm" => verbs::RM,
        "pause" | "unpause" => verbs::PAUSE,
        "attach" => verbs::ATTACH,
        "logs" => verbs::LOGS,
        "inspect" => verbs::INSPECT,
        "exec" => verbs::EXEC,
        "port" => verbs::PORT,
        "update" => super::update::HELP,
        "top" => TOP,
        "rename" => RENAME,
        "prune" => PRUNE,
        "stats" => STATS,
        _ => NSCTL,
    }
}

const NSCTL: &str = "\
nsctl runs a command in its own Linux namespaces and cgroups. One static binary, no daemon.

  nsctl run [OPTIONS] [--] COMMAND [ARG...]   run a command isolated; with --detach it lives on
  nsctl simple                                the smallest container there is, for learning
  nsctl ps                                    list the containers
  nsctl exec CONTAINER COMMAND [ARG...]       one more command in a container that runs
  nsctl create|start|stop|restart CONTAINER   (create: the options of run) the life of detached ones
  nsctl kill|pause|unpause|wait|rm CONTAINER  signals, standing still, the end
  nsctl attach CONTAINER                      its streams, or its terminal, here
  nsctl logs|inspect CONTAINER                what it wrote, and all that is known of it
  nsctl top CONTAINER                         its processes
  nsctl port CONTAINER [PORT[/PROTOCOL]]      where its ports are published
  nsctl stats [CONTAINER...]                  what containers use, every second
  nsctl update LIMIT... CONTAINER             other limits while it runs
  nsctl rename CONTAINER NAME; nsctl prune    another name; remove all that have ended
  nsctl cp SRC DEST                           files between the host and a running container
  nsctl events                                what happened to containers, and what happens
  nsctl image import|ls|rm|inspect            container images as directories to run in
  nsctl network create|ls|rm|inspect|prune    networks that containers share
  nsctl check                                 what this kernel and this user can do
  nsctl help VERB, nsctl VERB --help          more on a verb
  nsctl --version

  --log-format text|json   (before the verb) how errors are written to standard error
  --root DIR               (before the verb) where containers are recorded; default: $NSCTL_ROOT, else /run/nsctl
                           (users: $XDG_RUNTIME_DIR/nsctl), or where /run cannot be written /dev/shm or /tmp

Try: nsctl run /bin/sh, and nsctl run --explain /bin/sh to see every step it takes.
";

const RUN: &str = "\
nsctl run [OPTIONS] [--] COMMAND [ARG...]

Runs COMMAND in new UTS, PID, mount, IPC and cgroup namespaces, with a fresh /proc and the host name
'container'. Without --rootfs or --image it sees the host's files; the network is the host's. nsctl is PID 1
inside: it forwards signals, reaps orphans, and leaves with the command's exit code; what is left of the
container then ends, too.

Files (its own root: nothing of the host's is left in sight)
  --rootfs DIR             a directory as the root; it stays as it is, changes go into memory
  --image FILE             a squashfs, erofs or ext4 file system (found by its content, not its name)
  --image PATH[:TAG]       an OCI image layout (directory or archive) or a docker save archive, unpacked once
                           into the store; or the name or id of an image there (nsctl image ls)
  --overlay                insist on changes in memory (else, on a kernel that cannot, the root is read-only)
  --overlay-size SIZE      how much memory they may take; default: a quarter of the machine's
  --overlay-upper DIR      changes go into DIR and stay there (DIR.work beside it is overlayfs's)
  --rw                     changes go straight into --rootfs DIR
  --read-only              nothing can be changed
  --store DIR              where images are unpacked; default: /var/lib/nsctl, or NSCTL_STORE
  --max-unpacked SIZE      the most that an image may unpack to; default: 8g
An image is not checked by dm-verity; to have that, mount it yourself and use --rootfs.

Mounts
  -v, --volume SRC:DST[:OPTIONS]   a file or directory of the host's, with what is mounted below it. OPTIONS:
                           ro, rw, nosuid, nodev, noexec, noatime, [r]private (default), [r]slave, [r]shared,
                           bind (without what is below), rbind, nocopy,
                           idmap=uids=ONDISK-SEEN-COUNT[#...][;gids=...] (owners as they are to be seen)
  --mount type=TYPE,dst=DST[,...]  bind (src=, ro, bind-propagation=, bind-nonrecursive, idmap=),
                           tmpfs (tmpfs-size=, tmpfs-mode=, uid=, gid=), overlay (lowerdir=, upperdir=, workdir=),
                           proc, sysfs, mqueue, devpts, cgroup
  --tmpfs DST[:OPTIONS]    memory: size=, mode=, uid=, gid=, nr_inodes=, ro, exec; default nosuid,nodev,noexec
  --device SRC[:DST]       a device of the host's, below /dev
  --shm-size SIZE          of /dev/shm; default: 64m
  --sysctl NAME=VALUE      of the container's own namespaces: net.*, fs.mqueue.*, kernel.{msg*,sem,shm*}

Namespaces (host: stay in the caller's; private: a new one; /proc/PID/ns/NAME or any such file: join that one)
  --uts, --ipc, --cgroupns host|private|PATH     default: private
  --pid host|private|PATH                        default: private; otherwise there is no nsctl inside
  -h, --hostname NAME                            default: container (in a private UTS namespace), or as the
                                                 container is called whose network it joins
  --domainname NAME                              NIS domain name
  --network-alias NAME                           one more name by which others on its network find it
  --add-host NAME:ADDRESS                        a line of /etc/hosts; host-gateway is the host itself
  --dns ADDRESS                                  a server for resolv.conf; default: the host's that are in reach
  --dns-search DOMAIN, --dns-option OPTION       likewise; --dns-search . is none
                                                 (these three: with a root of its own)

Network (--net is the same as --network)
  --network host           the caller's: the default
  --network none           one of its own with nothing but lo, which is up; private is the same
  --network container:NAME that of a container that runs; with it its host name and, where both have a root of
                           their own, its /etc/hosts and /etc/resolv.conf as they are then
  --network ns:PATH        that of a file such as /proc/PID/ns/net
  --network macvlan:IFACE  an interface eth0 on the host's IFACE, with an address of its own on the wire;
                           it and the host do not reach each other over IFACE
  --network ipvlan:IFACE   the same with IFACE's address on the wire (for those who allow but one)
  --network phys:IFACE     IFACE itself, which the host does without until the container's end; then it has its
                           name, addresses and static routes again
  --network pasta[:OPTION,...]  what the program pasta hands on to sockets of the host's; see pasta(1)
  --ip ADDRESS[/PREFIX], --ip6 ADDRESS[/PREFIX]
                           of that interface; without PREFIX it is in a subnet of IFACE and has IFACE's gateway.
                           Without --ip the interface is up and has none: for a DHCP client inside
  --mac-address MAC        of that interface, but for ipvlan and phys
  -p, --publish [IP:][PORT:]PORT[/tcp|udp]       with --network bridge: a port of the host's (of all its addresses, or of
                           IP alone) leads to one of the container's. Either may be a range, FROM-TO; without one of
                           the host's, one that is free is taken: nsctl port shows which

Process
  -u, --user USER[:GROUP]         names are looked up in the container; digits are always a number
  --group-add GROUP               one more group
  -e, --env NAME=VALUE | NAME     set a variable, or take the caller's; without a root of its own, the rest is
                                  inherited, with one it is PATH, HOME, HOSTNAME, TERM and what the image says
  --env-file FILE                 lines of NAME=VALUE or NAME; # starts a comment line
  -w, --workdir DIR               default: the caller's, or with a root of its own the image's or /
  --entrypoint PROGRAM            instead of the image's, and without its Cmd; '' for none
  -i, --interactive               keep standard input: the default, since input is handed through as it is; with -t
                                  and an input that is no terminal, type that in, and then the key for its end
  -t, --tty                       a terminal of its own for COMMAND: of the size of the caller's, which is raw
                                  meanwhile; without it COMMAND has the caller's, and can type on it (TIOCSTI)
  --detach-keys ''                there are none: a container in the foreground ends with nsctl
  --init                          nsctl is PID 1: the default
  --no-init                       COMMAND itself is PID 1 (no reaper, no forwarding inside)
  --preserve-fds N                hand descriptors 3 to N+2 on; all others are closed

Limits (a cgroup nsctl/ID is made for them and removed at the end; v1, v2 or both)
  -m, --memory SIZE                bytes, or with k, m, g; beyond it the kernel kills
  --memory-swap SIZE               memory and swap together; as much as --memory: no swap; -1: any amount;
                                   default: twice --memory
  --memory-reservation SIZE        what is left to it when memory is short
  --memory-high SIZE               from here on its processes are slowed down and have to give back (v2)
  --oom-group                      the kernel kills all of its processes, not one (v2)
  --oom-score-adj N                -1000 to 1000: how soon the kernel kills it when the machine has no more memory
  --cpus N                         processor time, as a number of processors: 0.5, 2
  --cpu-quota N, --cpu-period N    the same in microseconds, so much in each period (default: 100000)
  --cpu-burst N                    microseconds of unused quota that may be used later
  -c, --cpu-shares N               share among those who want to run: 2 to 262144, others have 1024
  --cpu-weight N                   the same on the scale of v2: 1 to 10000, others have 100
  --cpuset-cpus LIST, --cpuset-mems LIST
                                   processors and memory nodes: 0-2,7
  --pids-limit N                   tasks; -1: none
  --blkio-weight N, --io-weight N  share of disks: 10 to 1000, or on the scale of v2 1 to 10000; others have 100
  --device-read-bps DEV:SIZE, --device-write-bps DEV:SIZE
  --device-read-iops DEV:N, --device-write-iops DEV:N
                                   bytes, or operations, a second of one disk
  --hugetlb-limit SIZE:SIZE        huge pages of the first size, bytes
  --device-cgroup-rule RULE        one more device that can be opened: 'c 10:229 rwm', 'b *:* r', 'a *:* rwm';
                                   a container with a root of its own and a cgroup opens only those of every
                                   container (null, zero, full, random, urandom, tty, console, terminals)
                                   and those of --device
  --cgroup-parent PATH             make the group there; what is missing of PATH is made, and stays
  --cgroup-delegate                the command may make cgroups of its own; on v2 it starts in /payload
  --cgroup none                    no group at all

Living on
  -d, --detach             print the id and leave; nsctl inside keeps the log and the exit status. It stays after its
                           end, for nsctl logs, wait, inspect and start, until nsctl rm
  --rm                     with --detach: it is removed at its end. In the foreground always so: a container leaves
                           nothing behind (what --overlay-upper, --pidfile and the image store keep is kept)
  --restart POLICY         no, on-failure[:TIMES], always, unless-stopped: the command is started again in the same
                           namespaces, after 100 ms, doubling to a minute. nsctl stop ends that; so does a boot
  --log file|none, --log-size SIZE  the output is kept twice that much; default: 1m
  --cidfile FILE           write the id; the file must not be there yet
  --stop-timeout SECONDS   from its stop signal to SIGKILL; default: 10

Health (of one that lives on; shown by nsctl ps)
  --health-cmd COMMAND            asks how it is, by /bin/sh -c inside, as the command's user: 0 is healthy
  --health-interval DURATION      between two questions; default: 30s
  --health-timeout DURATION       what takes longer is killed and a failure; default: 30s
  --health-retries N              so many failures one after the other are unhealthy; default: 3
  --health-start-period DURATION  failures until then do not count; default: 0s
  --no-healthcheck                nobody asks: the default, since an image's own health check is not used

Bookkeeping
  --name NAME              unique; a detached one has a made-up name otherwise
  -l, --label NAME=VALUE   shown by nsctl ps --format json
  --stop-signal SIGNAL     likewise: what it wants to be stopped by (default: the image's)
  --pidfile FILE           write the process id (as the caller sees it) of the container's PID 1
  --explain                print every step, numbered, with its system call; run nothing
  --verbose                print the same lines as they happen, with microseconds
  --log-format text|json   how errors are written to standard error
  --help

Exit status: the command's; 128+n if signal n ended it; 127 not found, 126 found but not executable,
125 nsctl itself failed.
";

const SIMPLE: &str = "\
nsctl simple [--explain | --verbose]

The smallest container there is: bash (or sh) as PID 1 of new UTS, PID and mount namespaces, with the host
name 'container' and a fresh /proc, so that ps shows only what runs inside. --explain prints the steps
without taking them; --verbose prints them as they are taken.
";

const PS: &str = "\
nsctl ps [-a] [-q] [--no-trunc] [--format table|json|COLUMN,...]

Lists the containers of this user that run. What a killed nsctl left behind is cleared away.

  -a, --all              also those that are created and not started, and those that have ended
  -q, --quiet            ids only
  --no-trunc             the whole command line
  --format table|json    json is an array of objects; --json is short for it
  --format COLUMN,...    these columns, a tab between them, without a head: id, name, pid, age, state, command,
                         created, labels
";

const IMAGE: &str = "\
nsctl image import [--name NAME] [--max-unpacked SIZE] PATH[:TAG]
nsctl image ls [-q] [--no-trunc] [--format table|json|COLUMN,...]
nsctl image rm [-f] IMAGE...
nsctl image inspect IMAGE

Keeps container images unpacked, each layer once. PATH is an OCI image layout (a directory, or that as a tar archive) or
what docker save writes; archives may be compressed with gzip or zstd. An image of several platforms is taken for this
machine's. import prints the image's id and verifies all digests. IMAGE is a name, or the unique beginning of an id.

  --name NAME           import: the image's name; default: the one that it has in PATH
  --max-unpacked SIZE   import: what it may unpack to, with 4 KiB for each file; default: 8g
  -q, --quiet           ls: ids only
  --no-trunc            ls: the whole ids
  --format table|json   ls: json is an array of objects
  --format COLUMN,...   ls: these columns, a tab between them, without a head: id, name, layers, size, imported
  -f, --force           rm: an image with several names by its id, too; one that is not there is no error
  --store DIR           default: $NSCTL_STORE; else /var/lib/nsctl, for users $XDG_DATA_HOME/nsctl or
                        ~/.local/share/nsctl

rm with one of several names removes only the name. Layers that no other image has go with the image. An image that a
container runs on is not removed. For users all files become their own, and device nodes are left out.
";

const TOP: &str = "\
nsctl top [-q] [--no-trunc] [--format table|json|COLUMN,...] CONTAINER

Lists the processes of a container: as the host and as the container numbers them, the effective user, the state (R runs, S sleeps,
D waits for a device, T stopped, Z has ended), processor time, memory, command. They are read from the host's /proc: no program of
the container's is asked. Options of ps(1) are not taken.

  -q, --quiet            process ids only
  --no-trunc             whole command lines
  --format table|json    json is an array of objects
  --format COLUMN,...    pid, inside, uid, state, time, mem, command, ppid, tasks
";

const STATS: &str = "\
nsctl stats [-a | CONTAINER...] [--no-stream] [--no-trunc] [--format table|json|COLUMN,...]

What the containers use, or those that are named, every second until it is interrupted or they have ended: processor time in per
cent of one processor, memory (without pages of files that nobody used lately) and its limit, what went from and to disks, and over a network of its own, tasks. It
is what their cgroups count; where there is none, it is the sum of their processes'.

  -a, --all              those that do not run, too
  --no-stream            once
  --format table|json    json is an object a line
  --format COLUMN,...    id, name, cpu%, mem, limit, mem%, read, written, net i/o, tasks, peak, oom
";

const RENAME: &str = "\
nsctl rename CONTAINER NAME

Gives a container another name, whether it runs or not.
";

const PRUNE: &str = "\
nsctl prune [-f] [--filter label=NAME[=VALUE]]...

Removes the containers that have ended, and prints their ids. On a terminal it asks first.

  -f, --force                    without asking
  --filter label=NAME[=VALUE]    only those that have all of these labels
";

const CP: &str = "\
nsctl cp [-a] [-L] CONTAINER:PATH DEST|-
nsctl cp [-a] [-L] SRC|- CONTAINER:PATH

Copies files and directories between the host and a running container, which needs no program for it. CONTAINER is a name, an
id or its unique beginning; PATH begins at the container's root. With - it is a tar archive from standard input (unpacked
compressed with gzip or zstd, too) or to standard output.

A file goes to the name DEST, or into the directory DEST if there is one. A directory goes into the directory DEST, or becomes
DEST if there is none; SRC/. copies what is in it. What is there is replaced, but no directory by a file or the reverse.

  -a, --archive        as root: keep owners, capabilities and set-id bits, copy devices and FIFOs. Else files are the
                       caller's (in a container: root's). An archive's owners are kept always
  -L, --follow-link    copy what the link SRC leads to, not the link

Links are never followed on the way in the host's tree that is copied, nor out of the container. Sockets and what the kernel has
in /proc and /sys are not copied. A local name with a colon is written ./NAME or as an absolute path.
";

const EVENTS: &str = "\
nsctl events [--since TIME] [--until TIME] [-f KEY=VALUE]... [--format text|json]

Prints what happens to the containers of this user, a line each, until it is interrupted.

  --since TIME              what happened since then, first
  --until TIME              no longer than until then
  -f, --filter KEY=VALUE    only these: container=NAME, container=ID, event=NAME; several of one key are alternatives
  --format text|json        json is an object each line; --json is short for it

TIME is how long ago (10m, 1h30m), a date and time of RFC 3339 (UTC unless it says otherwise), or seconds since the epoch.
What is kept is the last 256 KiB or more, in /run/nsctl/events and events.1.
";

const CHECK: &str = "\
nsctl check [--json | --kconfig]

Tries out what this kernel and this user can do, and says for each feature since which kernel it exists,
whether nsctl needs it or does without, and which CONFIG or sysctl would change the answer. Exit status 1 if
something that nsctl needs is missing.

  --json       an array of objects
  --kconfig    a kernel configuration fragment with all that nsctl can use
";
