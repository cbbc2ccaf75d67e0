//! The steps that a plan is made of, and who takes them.

use std::ffi::{CStr, CString};

use super::{Confine, Lowers, Mount};
use crate::linux::cgroup::{Setting, Version};
use crate::linux::devices::Rule;
use crate::linux::landlock::Act;
use crate::linux::mount::FileSystem;
use crate::linux::net::Request;
use crate::linux::net::conf::Switch;
use crate::linux::net::nft::{Change, Mapping};
use crate::linux::userns::Maps;
use crate::network::{Own, Seat};
use crate::spec::{IdMap, Principal, User};

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Who {
    /// nsctl outside.
    Supervisor,
    /// The cloned process: PID 1 of a private PID namespace.
    Init,
    /// What will be the command; the same process as Init when there is no reaper.
    Payload,
}

/// Which of the two ends of a network is asked for something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Side {
    /// The host's namespace.
    Outside,
    /// The container's.
    Inside,
}

/// The signal by which the kernel tells the reaper that the supervisor is gone. The C library keeps it for
/// itself, so that nobody else uses it; it is the one signal that is not forwarded.
pub(crate) const SUPERVISOR_ENDED: i32 = 32;

/// How long a container must have run before it is recorded, in milliseconds.
pub(crate) const MOMENT: u16 = 3;

/// One step. Numbers are indexes: of a hierarchy in [`Plan::groups`], of a namespace file in the order opened.
#[derive(Debug, PartialEq)]
pub(crate) enum Op {
    /// A user namespace in which an ordinary user is root. It had to be entered to look at what it offers.
    OwnUserNamespace(Maps),
    /// That of a container.
    JoinUserNamespaceOf {
        pid: i32,
    },
    /// A user namespace for the container, and those of its others that are to belong to it: the first of [`Plan::joined`].
    NewUserNamespace {
        maps: Maps,
        kinds: u32,
    },
    /// What is made from here on belongs to this user and group of the host's.
    MakeFilesAs([u32; 2]),
    DefaultSigchld,
    BlockSignals,
    Pair,
    OpenState {
        dir: CString,
    },
    Claim,
    MountHierarchy {
        group: usize,
    },
    OpenHierarchy {
        group: usize,
    },
    /// The v1 hierarchies in which it has no group, and may get one later: whoever clears up looks there, too.
    OpenOtherHierarchies {
        mounts: Vec<CString>,
    },
    /// One of the directories in [`Group::above`].
    MakeParent {
        group: usize,
        level: usize,
    },
    /// 0: of the root's children; else of those of [`Group::above`].
    Enable {
        group: usize,
        level: usize,
    },
    MakeGroup {
        group: usize,
    },
    /// One that is there.
    OpenGroup {
        group: usize,
    },
    /// A place on a network.
    TakeAddress(Box<Seat>),
    /// A network namespace of its own; the supervisor is in it from now on.
    NewNetwork,
    Ask {
        side: Side,
        request: Request,
        /// It is so already. The step is there all the same, so that a plan made again has the same numbers.
        done: bool,
    },
    /// How to remove the bridge, written down.
    UndoNetwork {
        interface: CString,
        done: bool,
    },
    /// What the container sees as /etc/hosts, but for the names of others.
    Hosts(Vec<u8>),
    /// Who has the address, written down, and told to others with its name and these.
    Member {
        aliases: Vec<String>,
    },
    /// What the network has in nsctl's table. `optional`: the container can do without.
    Rules {
        interface: CString,
        changes: Vec<Change>,
        optional: bool,
        done: bool,
    },
    /// Where packets are passed on. `back`: it is set back with the last user of any network.
    Switch {
        switches: Vec<Switch>,
        back: bool,
        done: bool,
    },
    /// The ports that lead to the container.
    Publish(Vec<Mapping>),
    /// Out of the container's network namespace.
    BackHome,
    /// An interface of the host's goes into the container.
    Lend(Box<Own>),
    /// The network namespace of another container.
    OpenNetworkOf {
        container: String,
    },
    /// The program that passes packets on; `netns` is where it finds the namespace, and when it is gone its end.
    Pasta {
        netns: CString,
        program: CString,
        words: Vec<CString>,
    },
    /// At the end.
    LeaveNetwork,
    /// /dev/null three times.
    OpenNothing,
    /// For the processes that are cloned from now on.
    JoinPidOfContainer {
        pid: i32,
    },
    /// All other namespaces, and the root.
    JoinContainer {
        pid: i32,
        kinds: u32,
    },
    /// From the one above it, for one of [`Group::above`] or in the end the group itself.
    InheritCpuset {
        group: usize,
        level: usize,
    },
    Limit {
        group: usize,
        setting: Setting,
    },
    AllowDevices {
        group: usize,
        rules: Vec<Rule>,
        optional: bool,
    },
    /// The modes of the caller's terminal, to give them back at the end.
    SaveTerminal,
    /// A group in the group, where the command is; what is beside it is the command's to make.
    MakeLeaf {
        group: usize,
    },
    /// The directories of `--overlay-upper`, made if they are not there, looked at and locked.
    MakeUpper {
        upper: CString,
        work: CString,
    },
    /// A user namespace that only holds a map of ids.
    MakeIdMap(IdMap),
    /// A source as the container's user namespace numbers the owners in it: a mount of its own from here on, attached to the stage.
    MapSource {
        source: usize,
    },
    /// The same for `--overlay-upper`, whose two directories, of these names, must be in one mount: `above` is the source that they are in.
    MapUpper {
        above: usize,
        sources: [usize; 2],
        names: [CString; 2],
    },
    OpenNamespace {
        path: CString,
        kind: u32,
    },
    JoinPid {
        namespace: usize,
    },
    /// Status, log, control socket and streams of a container that lives on.
    KeepFiles {
        interactive: bool,
        log: bool,
    },
    Clone {
        group: Option<usize>,
    },
    CloseSupervisorsEnd,
    /// Away from the starter's terminal.
    NewSession,
    DieWithSupervisor {
        signal: i32,
    },
    CheckSupervisor,
    Join {
        namespace: usize,
        kind: u32,
    },
    /// A handle of something of the host's, for later.
    OpenSource {
        path: CString,
    },
    /// Replaces a source by a clone of its mount, made before anything of ours is mounted, and while it is in its peer group.
    CloneSource {
        source: usize,
        recursive: bool,
    },
    PrivateMounts,
    Hostname(CString),
    Domainname(CString),
    MountProc,
    /// The mount namespace's own root directory becomes the process's: out of a chroot.
    TopOfMounts,
    /// Where the host has no procfs on /proc.
    ProcOfHost,
    /// Where the root stands on nothing.
    NewParent,
    Stage(FileSystem),
    HostTree {
        stage: bool,
    },
    /// `mapped`: as the container's user namespace numbers the owners.
    MountImage {
        source: usize,
        fs: &'static CStr,
        mapped: bool,
    },
    BindRoot {
        lowers: Lowers,
        attr: u32,
    },
    OverlayRoot {
        lowers: Lowers,
        upper: Option<[usize; 2]>,
        attr: u32,
    },
    Mount(Mount),
    LeaveStage {
        stage: bool,
    },
    /// A pseudoterminal. `devpts`: out of the one in sight, or where there is none out of this; None: out of the container's own.
    OpenTerminal {
        devpts: Option<FileSystem>,
    },
    MountConsole,
    Enter,
    /// The master goes to the supervisor.
    SendTerminal,
    /// The slave becomes the controlling terminal and the standard streams.
    TakeTerminal,
    Undumpable,
    Spawn {
        group: Option<usize>,
    },
    /// Until it is recorded: what nobody can find does not start.
    AwaitRecord,
    /// Waits until nsctl outside is done with the container's files.
    Hold,
    /// The reaper of a container that lives on.
    Monitor {
        group: Option<usize>,
    },
    CloseOwnEnd,
    Reap,
    /// The pipes or /dev/null become 0, 1 and 2.
    Streams,
    EnterGroup {
        group: usize,
    },
    NewCgroupNamespace,
    MountGroup {
        group: usize,
        writable: bool,
    },
    /// Hands the group to the command's user.
    Delegate {
        group: usize,
        user: Option<User>,
    },
    /// Where a standard stream is the host's /dev/null, it becomes the container's.
    OwnNull,
    Chdir(CString),
    BeUser {
        user: Option<User>,
        groups: Vec<Principal>,
    },
    Confine(Confine),
    RestoreSignals,
    CloseOnExec {
        first: u32,
    },
    Landlock(Act),
    Exec,
    /// The master comes, and the caller's terminal goes raw.
    Relay,
    GiveTime,
    Record,
    PidFile(CString),
    CidFile(CString),
    /// The other side of `AwaitRecord`.
    Release,
    AwaitStart,
    /// Who decides about system calls gets the descriptor by which the kernel asks.
    Listen,
    Wait,
    RemoveGroup {
        group: usize,
    },
    RemoveOtherGroups,
    RemoveState,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) who: Who,
    pub(crate) op: Op,
}

/// A cgroup that will be made for the container.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) version: Version,
    pub(crate) mount: CString,
    /// `nsctl/ID`.
    pub(crate) dir: CString,
    /// The directories above it, from the root down.
    pub(crate) above: Vec<CString>,
    pub(crate) names: Vec<String>,
    /// v1: the controllers as mount(2) wants them; v2: what cgroup.subtree_control gets.
    pub(crate) controllers: CString,
}
