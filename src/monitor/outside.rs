//! What a container has outside of itself, reached by descriptors and without anything on the heap.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::linux::cgroup;
use crate::linux::text::Text;
use crate::reaper::{self, LeftBehind};
use crate::state;
use crate::state::events::{self, Event, Value};

/// What is outside of the container, without anything on the heap.
pub(super) struct Outside<'a> {
    state: Option<BorrowedFd<'a>>,
    id: Text<64>,
    link: Option<Text<160>>,
    left_behind: &'a LeftBehind,
    roots: [Option<BorrowedFd<'a>>; HIERARCHIES],
    group: Text<1024>,
}

/// As many as v1 has.
const HIERARCHIES: usize = 16;

impl<'a> Outside<'a> {
    /// ENAMETOOLONG: a name is longer than it can be.
    pub(super) fn new(left_behind: &'a LeftBehind) -> Result<Self, Errno> {
        let mut roots = [None; HIERARCHIES];
        for (place, root) in roots.iter_mut().zip(&left_behind.roots) {
            *place = Some(root.as_fd());
        }
        Ok(Self {
            state: left_behind.state.as_ref().map(|state| state.fd()),
            id: text(&left_behind.id)?,
            link: left_behind.link.as_deref().map(text).transpose()?,
            left_behind,
            roots,
            group: text(&left_behind.group)?,
        })
    }

    /// For `nsctl events`.
    pub(super) fn note(&self, event: &str, attributes: &[(&str, Value<'_>)]) {
        if let Some(state) = self.state {
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            let link = self.link.as_ref().map_or("", |link| text(link.as_bytes()));
            let (id, name) = (text(self.id.as_bytes()), link.trim_start_matches('@'));
            events::append(state, &Event { id, name, event, attributes });
        }
    }

    /// How often the kernel has killed something in the groups for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        let group = self.group.as_c_str();
        self.roots.iter().flatten().map(|root| cgroup::oom_kills(*root, group)).max().unwrap_or(0)
    }

    /// `dir` is the container's directory.
    pub(super) fn leave_network(&self, dir: BorrowedFd<'_>) {
        reaper::leave_network(self.left_behind, Some(dir));
    }

    pub(super) fn remove_groups(&self) {
        for root in self.roots.iter().flatten() {
            let _ = cgroup::remove(*root, self.group.as_c_str());
        }
    }

    /// The container's directory and its name.
    pub(super) fn remove(&self) {
        if let Some(state) = self.state {
            state::remove(state, self.id.as_c_str(), self.link.as_ref().map(Text::as_c_str));
        }
    }
}

fn text<const N: usize>(of: &CStr) -> Result<Text<N>, Errno> {
    let mut text = Text::new();
    text.push(of.to_bytes())?;
    Ok(text)
}
