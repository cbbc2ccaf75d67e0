//! The process that becomes the monitor of a container that lives on.

use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::Child;
use crate::error::FAILED;
use crate::linux::process::{self, Spawned};
use crate::linux::{cgroup, sys};
use crate::monitor::{self, What};
use crate::plan::{Op, Who};
use crate::reaper;
use crate::sync::Message;

impl Child<'_> {
    /// End-of-file on the pair means that the starter was killed before it had recorded the container.
    pub(super) fn await_record(&self) {
        let Some(theirs) = &self.inherited.theirs else { return };
        let mut message = [0u8; 8];
        loop {
            match rustix::net::recv(theirs, &mut message[..], RecvFlags::empty()) {
                Ok((0, _)) | Err(_) => {
                    reaper::clear_up(self.left_behind);
                    sys::exit(FAILED);
                }
                Ok(_) if Message::from_bytes(message) == Some(Message::Go) => return,
                Ok(_) => {}
            }
        }
    }

    /// PID 1 stays, and starts the command when it is time.
    pub(super) fn monitor(&mut self, group: Option<usize>) -> Result<(), Errno> {
        let mut files = self.inherited.files.take().ok_or(Errno::BADF)?;
        let keep = self.plan.keep.ok_or(Errno::INVAL)?;
        let (starter, left_behind) = (self.inherited.theirs.take(), self.left_behind);
        if let Some(master) = self.terminal.master.take() {
            rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
            files.streams = [Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?), Some(master), None];
            files.terminal = true;
        }
        sys::wipe_words();
        // Nothing of the starter's stays open; what it waits for on a pipe comes to its end.
        self.streams()?;
        monitor::run(&mut files, left_behind, keep, starter, &mut |what| {
            let check = matches!(what, What::Check);
            self.inherited.theirs = if let What::Command(tell) = what { Some(tell) } else { None };
            if self.again && !check {
                self.renew_groups()?;
            }
            let cgroup = group.map(|group| self.inherited.groups[group].as_fd());
            let spawned = process::spawn(0, cgroup);
            match spawned? {
                Spawned::Child { placed } => {
                    self.placed = placed;
                    if check {
                        self.check();
                    }
                    self.follow(Who::Payload);
                    sys::exit(FAILED)
                }
                Spawned::Parent(payload) => {
                    self.again = true;
                    self.inherited.theirs = None;
                    Ok(payload)
                }
            }
        })
    }

    /// Of a group that was handed over the command may have made what lets no process into it any more.
    fn renew_groups(&self) -> Result<(), Errno> {
        self.plan.steps.iter().try_for_each(|step| match step.op {
            Op::MakeLeaf { group } => {
                cgroup::renew(self.left_behind.roots[group].as_fd(), &self.plan.groups[group].dir)
            }
            _ => Ok(()),
        })
    }

    /// Not close-on-exec, as the three are.
    pub(super) fn streams(&self) -> Result<(), Errno> {
        let [input, output, errors] = &self.inherited.streams[..] else { return Err(Errno::BADF) };
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(errors)
    }
}
