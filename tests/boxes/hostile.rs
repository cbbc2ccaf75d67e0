//! Roots, images, users and neighbours that mean ill: what other runtimes fell for, one test each, and what a root with nearly all
//! capabilities can try from inside. Every test has a canary: a tree of the host's that must be as before.
//!
//! | what happened to whom | test |
//! |---|---|
//! | CVE-2015-1335, 1334 (LXC): mounts followed links of the root | `cve_2015_1335_links_at_proc_and_sys` |
//! | CVE-2018-15664 (docker cp): a link takes the place of a directory | `cve_2018_15664_copies`, `…_kernel_files` |
//! | CVE-2019-14271 (docker cp): a helper loaded the container's libraries | `cve_2019_14271_no_library_of_the_root` |
//! | CVE-2016-10124 (LXC), 2017-5226 (bwrap), 2019-7303 (snapd): keys typed on the caller's terminal (TIOCSTI) | `cve_2016_10124_tiocsti` |
//! | CVE-2019-5736 (runc): the payload reached the runtime's executable | `cve_2019_5736_own_executable`, `…_who_enters`, `…_who_becomes_nsctl` |
//! | CVE-2019-16884, 19921 (runc): /proc is the image's own | `cve_2019_16884_proc_of_the_image`, `…_files_over_proc` |
//! | CVE-2019-18837 (crun): a link out of the root | `cve_2019_18837_links_out_of_the_root` |
//! | CVE-2020-15257 (containerd): a socket in the host's abstract namespace | `cve_2020_15257_control_socket` |
//! | CVE-2022-31214 (firejail): joins what only looks like a container | `cve_2022_31214_forged_record` |
//! | CVE-2026-53489 (containerd): a log that is a link | `life::a_log_that_is_a_link_is_not_followed` |
//! | CVE-2026-109569 (nsenter): inside, but with the host's root | `life::exec_is_where_the_command_is` |
//! | CVE-2021-26910 (firejail): overlay directories swapped for links | `cve_2021_26910_upper_swapped` |
//! | CVE-2021-30465 (runc): the destination of a mount swapped for a link | `cve_2021_30465_mount_destination_race` |
//! | CVE-2022-0492, 2023-25809: cgroups could be written | `cve_2022_0492_cgroups_are_read_only` |
//! | CVE-2022-1227 (podman top): the container's ps was run on the host | `cve_2022_1227_top` |
//! | CVE-2022-29162, 27650, 2025-27612: inheritable capabilities | `cve_2022_29162_inheritable_capabilities` |
//! | CVE-2023-27561, 28642 (runc), 2025-54867 (youki): /proc or /sys is a link | `cve_2023_27561_proc_is_a_link` |
//! | CVE-2024-21626 (runc): a directory by way of a descriptor | `cve_2024_21626_workdir`, `…_program` |
//! | CVE-2024-40635, 2026-46680, 2026-30892: numbers of users that become others | `cve_2024_40635_users`, `…_user_files` |
//! | CVE-2024-45310 (runc): a race makes directories on the host | `cve_2024_45310_mkdir_race` |
//! | CVE-2024-9341, 9407, 1753 (podman): links at the destination of a mount | `cve_2024_9341_destinations_through_links` |
//! | CVE-2025-24965 (krun): a file of the runtime's written through a link | `cve_2025_24965_hosts_is_a_link` |
//! | CVE-2025-31133, 62161: masks made of the container's /dev/null | `cve_2025_31133_masks`, `…_masks_race` |
//! | CVE-2025-52565: /dev/console and /dev/pts are links | `cve_2025_52565_console` |
//! | CVE-2025-52881, 62596: writes to /proc go where a neighbour wants | `cve_2025_52881_sysctl_race`, `…_proc_of_who_enters` |
//! | CVE-2026-40226 (nspawn): settings beside the image | `cve_2026_40226_no_settings_of_the_image` |
//! | CVE-2026-47766, 41579: /dev is a link to a directory of the host's | `cve_2026_47766_dev_is_a_link` |
//! | CVE-2026-87766 (bwrap): a link to the old root | `cve_2026_87766_the_old_root` |
//! | procd f85a629 (ujail): mounts over /proc and /sys | `procd_f85a629_mounts_over_the_kernels_tables` |
//! | PID 1 has the caller's environment | `environment_of_the_caller` |
//! | the host's /dev/null by a standard stream | `null_of_the_host` |
//! | a root inside, as it is and with nearly all capabilities | `escapes_as_usual`, `escapes_own_ids`, `escapes`, `escapes_rw`, `escapes_no_init`, `escapes_from_a_chroot`, `escapes_masked`, `boundary_…` |
//!
//! Not here, for want of what they are about: setuid helpers (CVE-2017-5985, 2018-6556, 2022-47952,
//! 2026-39402): there are none, and nsctl is none (`rootless`). Deletion inside a root (CVE-2024-23651), netlink (CVE-2021-43784): nsctl does no such
//! thing. Devices (GHSA-g54h-m393-cpwq) are in `limits`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::nsctl::{Outcome, must, shell};
use crate::root::{self, Root};
use crate::{Case, masked};

mod calls;
mod copies;
mod escapes;
mod files;
mod kept;
mod links;
mod process;
mod races;
mod reach;
mod tries;
mod users;

pub(crate) use tries::run as escape;

/// What of this runs inside.
pub(crate) fn probe(args: &[String]) {
    match args.first().map(String::as_str) {
        Some("grab") => kept::grab(args.get(1).map_or("", String::as_str)),
        Some("pid1") => kept::attack_pid_1(),
        Some("change") => kept::change(),
        Some("connect") => kept::connect(&args[1..]),
        _ => {}
    }
}

pub(crate) const CASES: &[(&str, Case)] = &[
    ("hostile::cve_2015_1335_links_at_proc_and_sys", links::proc_and_sys),
    ("hostile::cve_2018_15664_copies", copies::links),
    ("hostile::cve_2018_15664_kernel_files", copies::kernel_files),
    ("hostile::cve_2016_10124_tiocsti", crate::terminals::typing),
    ("hostile::cve_2019_14271_no_library_of_the_root", files::libraries),
    ("hostile::cve_2019_5736_own_executable", process::own_executable),
    ("hostile::cve_2019_5736_who_enters", kept::entered),
    ("hostile::cve_2019_5736_who_becomes_nsctl", kept::becomes),
    ("hostile::pid_1_of_a_detached_container", kept::pid_1),
    ("hostile::cve_2020_15257_control_socket", kept::control),
    ("hostile::cve_2022_31214_forged_record", kept::forged),
    ("hostile::cve_2019_16884_proc_of_the_image", files::proc_of_the_image),
    ("hostile::cve_2019_16884_files_over_proc", files::texts_over_proc),
    ("hostile::cve_2019_18837_links_out_of_the_root", links::out_of_the_root),
    ("hostile::cve_2021_26910_upper_swapped", races::upper_swapped),
    ("hostile::cve_2021_30465_mount_destination_race", races::mount_destination),
    ("hostile::cve_2022_0492_cgroups_are_read_only", files::cgroups),
    ("hostile::cve_2022_1227_top", copies::tools),
    ("hostile::cve_2022_29162_inheritable_capabilities", process::inheritable),
    ("hostile::cve_2023_27561_proc_is_a_link", links::proc_is_a_link),
    ("hostile::cve_2024_21626_workdir", process::workdir),
    ("hostile::cve_2024_21626_program", process::program),
    ("hostile::cve_2024_40635_users", users::forms),
    ("hostile::cve_2024_40635_user_files", users::files),
    ("hostile::cve_2021_43784_long_id_map", users::long_map),
    ("hostile::cve_2020_17367_no_shell", users::no_shell),
    ("hostile::cve_2024_45310_mkdir_race", races::mkdir),
    ("hostile::cve_2024_9341_destinations_through_links", links::destinations),
    ("hostile::cve_2025_24965_hosts_is_a_link", links::texts),
    ("hostile::cve_2025_31133_masks", files::masks),
    ("hostile::cve_2025_31133_masks_race", races::masks),
    ("hostile::cve_2025_52565_console", files::console),
    ("hostile::cve_2025_52881_sysctl_race", races::sysctl),
    ("hostile::cve_2025_52881_proc_of_who_enters", process::proc_of_who_enters),
    ("hostile::cve_2026_40226_no_settings_of_the_image", files::settings),
    ("hostile::cve_2026_47766_dev_is_a_link", links::dev_is_a_link),
    ("hostile::cve_2026_87766_the_old_root", links::old_root),
    ("hostile::procd_f85a629_mounts_over_the_kernels_tables", links::kernel_tables),
    ("hostile::environment_of_the_caller", process::environment),
    ("hostile::null_of_the_host", process::null),
    ("hostile::boundary_without_user_namespaces", escapes::boundary),
    ("hostile::escapes_as_usual", escapes::as_usual),
    ("hostile::escapes_own_ids", escapes::own_ids),
    ("hostile::escapes", escapes::overlay),
    ("hostile::escapes_rw", escapes::direct),
    ("hostile::escapes_no_init", escapes::no_init),
    ("hostile::escapes_from_a_chroot", escapes::from_a_chroot),
    ("hostile::escapes_masked", escapes::masked),
];

/// Kernels without openat2, and without the new mount calls, go other ways through the same trees.
const WAYS: &[Option<(&str, &str)>] = &[None, Some(("openat2", "ENOSYS")), Some(("mounts", "ENOSYS"))];

/// Does it with nothing masked, and with each of [`WAYS`].
fn each_way(act: impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
    for way in WAYS {
        masked::set(*way);
        let done = act();
        masked::set(None);
        done.map_err(|failed| format!("masked {way:?}: {}", failed.message().unwrap_or_default()))?;
    }
    Ok(())
}

/// A tree of the host's, with what it looked like at first.
struct Canary {
    dir: PathBuf,
    before: Vec<String>,
}

const SECRET: &str = "a secret of the host's\n";

impl Canary {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}-canary-{name}", std::process::id()));
        root::remove(&dir);
        fs::create_dir_all(dir.join("sub/deep")).unwrap();
        fs::create_dir(dir.join("empty")).unwrap();
        fs::write(dir.join("secret"), SECRET).unwrap();
        fs::write(dir.join("sub/file"), "").unwrap();
        std::os::unix::fs::symlink("secret", dir.join("link")).unwrap();
        let before = snapshot(&dir);
        Self { dir, before }
    }

    fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// From somewhere deep in a root.
    fn relative(&self) -> String {
        format!("../../../../../../../../../..{}", self.path())
    }

    /// The tree is as it was: a directory's time of change tells also what was made and removed again.
    fn check(&self) -> Result<(), Failed> {
        let after = snapshot(&self.dir);
        if after == self.before {
            return Ok(());
        }
        let new: Vec<_> = after.iter().filter(|line| !self.before.contains(line)).collect();
        Err(format!("the canary has changed: {new:#?} of {after:#?}").into())
    }

    /// Nothing of it is in what a container printed.
    fn unseen(&self, outcome: &Outcome) -> Result<(), Failed> {
        must(!outcome.out.contains(SECRET.trim()), "the host's secret is not seen inside", outcome)?;
        self.check()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        root::remove(&self.dir);
    }
}

/// Every file: path, mode, owner, size, time of change, device, contents.
fn snapshot(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let contents = match stat.file_type() {
            kind if kind.is_dir() => {
                left.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
                Vec::new()
            }
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        let (mode, owner, device) = (stat.mode(), (stat.uid(), stat.gid()), (stat.dev(), stat.rdev()));
        let time = (stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec());
        let text = String::from_utf8_lossy(&contents);
        lines.push(format!("{} {mode:o} {owner:?} {} {time:?} {device:?} {text:?}", path.display(), stat.len()));
    }
    lines.sort();
    lines
}

/// A directory of the host's to be mounted, with the file marker in it. Removed with the root.
struct Source(PathBuf);

impl Source {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}-source-{name}", std::process::id()));
        root::remove(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("marker"), "marker\n").unwrap();
        Self(dir)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// `SRC:DST`
    fn to(&self, target: &str) -> String {
        format!("{}:{target}", self.path())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        root::remove(&self.0);
    }
}

/// `nsctl run --rootfs ROOT OPTIONS -- sh -c SCRIPT`
fn inside(root: &Root, options: &[&str], script: &str) -> Outcome {
    shell(&[&["--rootfs", root.path()], options].concat(), script)
}
