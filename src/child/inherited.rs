//! What the container's side has from the supervisor.

use std::os::fd::OwnedFd;

use crate::linux::join::Target;
use crate::monitor::Files;

/// What the supervisor had open and knew at the clone; the child has a copy of all of it.
#[derive(Default)]
pub(crate) struct Inherited {
    /// The supervisor's end of the pair of sockets, and the container's.
    pub(crate) ours: Option<OwnedFd>,
    pub(crate) theirs: Option<OwnedFd>,
    /// The container's group in each hierarchy of `Plan::groups`.
    pub(crate) groups: Vec<OwnedFd>,
    pub(crate) namespaces: Vec<OwnedFd>,
    /// User namespaces that hold maps of ids; the container's own, if root gave it one, is the first.
    pub(crate) maps: Vec<OwnedFd>,
    /// The container's own, as long as anybody may be to go there.
    pub(crate) userns: Option<OwnedFd>,
    /// Nobody else gets the same ids while it is open.
    pub(crate) _ids: Option<OwnedFd>,
    /// The directories of `--overlay-upper`: they are locked.
    pub(crate) upper: Vec<OwnedFd>,
    /// Room for what the container opens of the host's.
    pub(crate) sources: Vec<OwnedFd>,
    /// The container that is joined.
    pub(crate) target: Option<Target>,
    /// Of a container that lives on: what nsctl inside keeps, and what the command has as 0, 1 and 2.
    pub(crate) files: Option<Files>,
    pub(crate) streams: Vec<OwnedFd>,
    /// /dev/null of the host's, for commands that nobody hears.
    pub(crate) nothing: Option<OwnedFd>,
    /// The caller's signal mask, and whether it ignored SIGCHLD.
    pub(crate) mask: u64,
    pub(crate) sigchld_ignored: bool,
    /// Capabilities that the command does not get, since what would make them harmless is missing here.
    pub(crate) withheld: u64,
    /// Send a message for every step (`-v`).
    pub(crate) verbose: bool,
    /// When the supervisor began, in microseconds of the monotonic clock.
    pub(crate) began: u64,
}

impl Inherited {
    /// What leads to files of the host.
    pub(super) fn close_sources(&mut self) {
        self.sources.clear();
        self.maps.clear();
        self.upper.clear();
    }
}
