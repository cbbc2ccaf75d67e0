//! Directories that a layer needs but does not describe: some tools put `var/tmp/file` into a layer without `var/tmp/`. overlayfs
//! shows the topmost layer's directory, so such a one gets what the layers beneath it have, or /var/tmp would lose its mode.
//! A layer with such directories fits only those beneath it, and is named by all of them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::fault::{Checked, kernel};
use super::tree::{Attributes, Ids, components, is_opaque};
use crate::linux::tree;

/// Gives the places in the layer what they have in the lower layers, topmost first.
pub(super) fn inherit(layer: BorrowedFd<'_>, places: &[Vec<u8>], lower: &[OwnedFd], ids: Ids) -> Checked<()> {
    for place in places {
        let names = components(place)?;
        let Some(attributes) = beneath(&names, lower)? else { continue };
        let mut dir = tree::enter(layer, c".").map_err(kernel("enter a layer"))?;
        for name in &names {
            dir = tree::enter(&dir, name).map_err(kernel("enter a directory"))?;
        }
        attributes.settle(dir.as_fd(), ids)?;
    }
    Ok(())
}

/// What the topmost of these layers that shows the directory has. None: they show no such directory.
fn beneath(names: &[CString], lower: &[OwnedFd]) -> Checked<Option<Attributes>> {
    for layer in lower {
        let mut dir = tree::enter(layer, c".").map_err(kernel("enter a layer"))?;
        let mut ends_here = false;
        let mut found = true;
        for name in names {
            match tree::look(&dir, name) {
                Ok((FileType::Directory, _)) => {}
                Err(Errno::NOENT) => {
                    found = false;
                    break;
                }
                // A whiteout, or what is no directory, hides what is lower.
                Ok(_) => return Ok(None),
                Err(errno) => return Err(super::fault::Fault::kernel("look into a lower layer", errno)),
            }
            dir = tree::enter(&dir, name).map_err(kernel("enter a lower layer"))?;
            ends_here |= is_opaque(dir.as_fd());
        }
        if found {
            let stat =
                rustix::fs::statat(&dir, c"", AtFlags::EMPTY_PATH).map_err(kernel("look into a lower layer"))?;
            return Ok(Some(Attributes::of_stat(&stat)));
        }
        if ends_here {
            return Ok(None);
        }
    }
    Ok(None)
}
