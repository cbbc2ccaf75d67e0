//! What is written down of a container, and what is left to do when it has ended.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::CWD;
use rustix::io::Errno;

use super::{Container, net};
use crate::linux::{cgroup, file};
use crate::plan::{Confine, Op, Plan, Step};
use crate::{reaper, state, verdict};

impl Container {
    #[inline(never)]
    pub(super) fn record(&self, plan: &Plan) -> std::result::Result<(), Errno> {
        let (Some(claim), Some(process)) = (&self.claim, &self.process) else { return Ok(()) };
        let mut record = super::keep::record(plan, process, &self.inherited);
        let profile = plan.steps.iter().find_map(|step| match &step.op {
            Op::Confine(Confine::Seccomp { filter, profile: true }) => Some(filter),
            _ => None,
        });
        if let Some(filter) = profile {
            claim.write_filter(&filter.save())?;
        }
        match &self.left_behind.state {
            Some(state) if self.left_behind.stays => state.write_again(claim, &mut record)?,
            _ => claim.write(&record)?,
        }
        if plan.words.is_some() && !self.left_behind.stays {
            self.note(plan, "create", &[]);
        }
        match &plan.words {
            Some(words) => words.write(claim.dir.as_fd()),
            None => Ok(()),
        }
    }

    /// `--pidfile` and `--cidfile`.
    #[inline(never)]
    pub(super) fn note_in_file(&self, path: &CString, text: &str) -> std::result::Result<(), Errno> {
        let mut temporary = path.to_bytes().to_vec();
        temporary.extend_from_slice(b".new");
        let temporary = CString::new(temporary).map_err(|_| Errno::INVAL)?;
        file::replace(CWD, &temporary, path, text.as_bytes())
    }

    /// What the memory controller saw, where there was a limit.
    pub(crate) fn memory(&self, plan: &Plan) -> Option<cgroup::Memory> {
        let limit = plan.groups.iter().position(|group| group.names.iter().any(|name| name == "memory"))?;
        Some(cgroup::memory(plan.groups[limit].version, self.inherited.groups.get(limit)?))
    }

    /// Takes the steps after the wait.
    pub(crate) fn clear_up(&self, plan: &Plan) {
        for (index, Step { op, .. }) in plan.steps.iter().enumerate() {
            match op {
                Op::LeaveNetwork => {
                    self.announce(plan, index);
                    let dir = self.claim.as_ref().map(|claim| claim.dir.as_fd());
                    reaper::leave_network(&self.left_behind, dir);
                    if let Some(network) = &self.left_behind.network {
                        net::seat(plan).iter().for_each(|seat| network.say_farewell(seat));
                    }
                }
                Op::RemoveGroup { group } if *group < self.left_behind.roots.len() => {
                    self.announce(plan, index);
                    let dir = &plan.groups[*group].dir;
                    if let Err(errno) = cgroup::remove(self.left_behind.roots[*group].as_fd(), dir) {
                        eprintln!("nsctl: warning: {}", verdict::sentence(plan, index, errno, None));
                    }
                }
                Op::RemoveOtherGroups => {
                    self.announce(plan, index);
                    // Ignored: that there is none, and that one of another container's is above it.
                    for root in self.left_behind.roots.iter().skip(plan.groups.len()) {
                        let _ = cgroup::remove(root.as_fd(), &self.left_behind.group);
                    }
                }
                Op::RemoveState if self.claim.is_some() && plan.keep.is_none() => {
                    self.announce(plan, index);
                    if let Some(state) = &self.left_behind.state {
                        state::remove(state.fd(), &self.left_behind.id, self.left_behind.link.as_deref());
                    }
                }
                _ => {}
            }
        }
        if plan.keep.is_some()
            && !self.left_behind.stays
            && self.claim.is_some()
            && let Some(state) = &self.left_behind.state
        {
            state::remove(state.fd(), &self.left_behind.id, self.left_behind.link.as_deref());
        }
    }
}
