//! The parts that a container's tree is made of.

use std::ffi::{CStr, CString};

use crate::linux::mount::{Change, FileSystem};

/// Whose directory a path is relative to. What is mounted on /proc, /sys and /dev is reached by the descriptor that came of
/// mounting it, so that nobody who can write to the root leads us elsewhere by renaming.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Base {
    Root,
    Proc,
    Sys,
    Dev,
    /// /sys/fs/cgroup, where that is a directory for several hierarchies.
    Cgroup,
    /// /dev/pts.
    Pts,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) base: Base,
    pub(crate) path: CString,
    /// No symbolic link on the way: an image must not choose where the kernel's own file systems go.
    pub(crate) strict: bool,
    /// What is missing is made.
    pub(crate) make: bool,
}

impl Place {
    pub(super) fn new(base: Base, path: &CStr, strict: bool) -> Self {
        Self { base, path: path.into(), strict, make: true }
    }

    /// As it is seen inside.
    pub(crate) fn shown(&self) -> String {
        let top = match self.base {
            Base::Root => "",
            Base::Proc => "/proc",
            Base::Sys => "/sys",
            Base::Dev => "/dev",
            Base::Cgroup => "/sys/fs/cgroup",
            Base::Pts => "/dev/pts",
        };
        format!("{top}/{}", self.path.to_string_lossy().trim_start_matches('/'))
    }
}

/// One thing in the tree. Numbers are indexes of sources in the order in which they were opened.
#[derive(Debug, PartialEq)]
pub(crate) enum Mount {
    /// `keep`: what is done below it later goes by its descriptor. `optional`: a kernel may lack it.
    Fs {
        fs: FileSystem,
        at: Place,
        keep: Option<Base>,
        optional: bool,
    },
    /// `cloned`: the source is a mount of its own already.
    Bind {
        source: usize,
        cloned: bool,
        recursive: bool,
        map: Option<usize>,
        change: Change,
        spread: Change,
        at: Place,
    },
    /// The host's own /proc or /sys, with all that is mounted below.
    Tree {
        source: usize,
        change: Change,
        at: Place,
        keep: Base,
    },
    Overlay {
        lowers: Vec<usize>,
        upper: Option<[usize; 2]>,
        change: Change,
        at: Place,
    },
    /// Made unreadable, if it is there.
    Mask(Place),
    /// Made read-only, if it is there.
    ReadOnly(Place),
    /// A device, in /dev.
    Node {
        name: CString,
        mode: u32,
        device: u64,
        /// None: who makes it.
        owner: Option<[u32; 2]>,
    },
    Link {
        name: CString,
        target: CString,
    },
    /// A file of ours; `name` is that in the stage.
    Text {
        at: Place,
        name: CString,
        what: Provided,
        read_only: bool,
        over: Over,
    },
    Sysctl {
        path: CString,
        value: CString,
    },
    /// The root itself.
    ReadOnlyRoot,
}

/// What a file of ours has in it.
#[derive(Debug, PartialEq)]
pub(crate) enum Provided {
    Text(Vec<u8>),
    /// It is one that is changed later, outside.
    Source(usize),
}

/// What a file of ours may be put over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Over {
    /// Only where there is none or an empty one.
    Nothing,
    /// Whatever there is. A root that has no place for it does without.
    Anything,
    /// The same, but it was asked for.
    Must,
}

/// Where the lowest files come from.
#[derive(Debug, PartialEq)]
pub(crate) enum Lower {
    /// Directories, the first on top.
    Directories(Vec<CString>),
    /// A file with a file system of this type in it.
    File { path: CString, fs: &'static CStr },
}

/// A cgroup hierarchy to be seen below /sys/fs/cgroup; the name is empty for the only one.
#[derive(Debug, PartialEq)]
pub(crate) struct CgroupView {
    pub(crate) name: CString,
    pub(crate) fs: FileSystem,
}

/// What the root stands on.
#[derive(Debug, PartialEq)]
pub(crate) enum Lowers {
    /// Sources, the first on top.
    Sources(Vec<usize>),
    /// What [`Op::MountImage`] mounted, or without that an empty directory.
    Image,
}
