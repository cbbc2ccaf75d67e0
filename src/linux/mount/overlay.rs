//! overlayfs: the layers by descriptors, one by one where the kernel takes them so, else in one string.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags};

use super::{Api, FileSystem, Maker, Slot, fsmount, mount2};
use crate::linux::text::{Path, fd_path};

/// Whether the kernel has overlayfs, or a module of it that loads; and lets the root of a user namespace mount it (Linux 5.11).
pub(crate) fn has_overlay(api: Api) -> bool {
    if api.fds && !api.userxattr {
        return rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).is_ok();
    }
    // It cannot succeed, as no directories are named; ENODEV and EPERM are said before that. Without a word in the kernel's log.
    let made = rustix::mount::mount(c"overlay", c"/", c"overlay", MountFlags::SILENT, None);
    made != Err(Errno::NODEV) && !(api.userxattr && made == Err(Errno::PERM))
}

impl Maker {
    /// Makes an overlay of these directories, the first on top. `upper` is a directory with the two named ones in it.
    #[inline(never)]
    pub(crate) fn overlay<'a>(
        &self,
        lowers: impl Iterator<Item = BorrowedFd<'a>> + Clone,
        upper: Option<[BorrowedFd<'_>; 2]>,
        attr: u32,
    ) -> Result<OwnedFd, Errno> {
        let fs = FileSystem::new(c"overlay", "", attr);
        if self.api.fds {
            match overlay_by_names(&fs, lowers.clone(), upper, self.api.userxattr) {
                // "lowerdir+" came with 6.7. A kernel without it says so at once, or before 6.5 only when all is put together.
                Err(Errno::INVAL) => {}
                other => return other,
            }
        }
        self.overlay_by_string(&fs, lowers, upper)
    }

    /// Apart for its page of stack, which a start by the new calls does without.
    #[inline(never)]
    fn overlay_by_string<'a>(
        &self,
        fs: &FileSystem,
        lowers: impl Iterator<Item = BorrowedFd<'a>>,
        upper: Option<[BorrowedFd<'_>; 2]>,
    ) -> Result<OwnedFd, Errno> {
        let all = all_lowers(lowers)?;
        if self.api.fds && all.as_bytes().len() <= LONGEST_STRING {
            let context = overlay_context(fs, upper, self.api.userxattr)?;
            rustix::mount::fsconfig_set_string(&context, c"lowerdir", all.as_c_str())?;
            rustix::mount::fsconfig_create(&context)?;
            return fsmount(&context, fs.attr);
        }
        let data = overlay_data(&all, upper, self.api.userxattr)?;
        let slot = self.slot(Slot::Directory)?;
        mount2(fs, fd_path(slot.as_fd()).as_c_str(), data.as_c_str())?;
        let made = self.slot(Slot::Directory)?;
        self.finish(made.as_fd(), fs.attr)?;
        Ok(made)
    }
}

/// What fsconfig(2) takes as a value, about fifteen layers; mount(2) takes a page.
const LONGEST_STRING: usize = 255;

/// An overlay's context with all but its lower directories.
fn overlay_context(fs: &FileSystem, upper: Option<[BorrowedFd<'_>; 2]>, userxattr: bool) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(&fs.name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", &fs.source)?;
    if userxattr {
        rustix::mount::fsconfig_set_flag(&context, c"userxattr")?;
    }
    if let Some([upper, work]) = upper {
        rustix::mount::fsconfig_set_string(&context, c"upperdir", fd_path(upper).as_c_str())?;
        rustix::mount::fsconfig_set_string(&context, c"workdir", fd_path(work).as_c_str())?;
    }
    Ok(context)
}

fn overlay_by_names<'a>(
    fs: &FileSystem,
    mut lowers: impl Iterator<Item = BorrowedFd<'a>>,
    upper: Option<[BorrowedFd<'_>; 2]>,
    userxattr: bool,
) -> Result<OwnedFd, Errno> {
    let context = overlay_context(fs, upper, userxattr)?;
    lowers.try_for_each(|lower| {
        rustix::mount::fsconfig_set_string(&context, c"lowerdir+", fd_path(lower).as_c_str())
    })?;
    rustix::mount::fsconfig_create(&context)?;
    fsmount(&context, fs.attr)
}

fn all_lowers<'a>(lowers: impl Iterator<Item = BorrowedFd<'a>>) -> Result<Path, Errno> {
    let mut all = Path::new();
    for (index, lower) in lowers.enumerate() {
        if index > 0 {
            all.push(b":")?;
        }
        all.push(fd_path(lower).as_bytes())?;
    }
    Ok(all)
}

/// ENAMETOOLONG: more layers than fit into the page that mount(2) reads, about 200.
fn overlay_data(lowers: &Path, upper: Option<[BorrowedFd<'_>; 2]>, userxattr: bool) -> Result<Path, Errno> {
    let mut data = Path::new();
    data.push(if userxattr { b"userxattr,lowerdir=" } else { &b"lowerdir="[..] })?;
    data.push(lowers.as_bytes())?;
    if let Some([upper, work]) = upper {
        data.push(b",upperdir=")?;
        data.push(fd_path(upper).as_bytes())?;
        data.push(b",workdir=")?;
        data.push(fd_path(work).as_bytes())?;
    }
    Ok(data)
}
