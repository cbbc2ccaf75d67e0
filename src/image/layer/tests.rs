//! Archives made by hand, byte by byte where they are to be wrong, unpacked beside a canary that must stay as it is.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use rustix::fs::CWD;

use super::*;
use crate::image::entries::testing::{Tar, pax};

/// A directory for one layer, with the canary beside it.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::beneath(&std::env::temp_dir())
    }

    fn beneath(parent: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("nsctl-layer-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let dir = parent.join(name);
        fs::create_dir_all(dir.join("work")).unwrap();
        fs::create_dir(dir.join("canary")).unwrap();
        fs::write(dir.join("canary/file"), "untouched").unwrap();
        Self { dir }
    }

    fn canary(&self) -> String {
        self.dir.join("canary").to_str().unwrap().into()
    }

    fn root(&self) -> PathBuf {
        self.dir.join("work/root")
    }

    fn unpack_within(&self, archive: &[u8], max: u64) -> Result<Unpacked> {
        let work = self.work();
        let expected = Expected { diff_id: Digest::of(archive), blob: None };
        let done = unpack(&mut &archive[..], &expected, work.as_fd(), &Budget::new(max));
        assert_eq!(fs::read_dir(&self.dir).unwrap().count(), 2, "something new lies beside the layer");
        assert_eq!(fs::read_dir(self.dir.join("canary")).unwrap().count(), 1, "something new lies in the canary");
        assert_eq!(fs::read_to_string(self.dir.join("canary/file")).unwrap(), "untouched");
        assert_eq!(fs::metadata(self.dir.join("canary/file")).unwrap().nlink(), 1, "the canary was linked");
        done
    }

    fn work(&self) -> OwnedFd {
        let path = CString::new(self.dir.join("work").to_str().unwrap()).unwrap();
        file::open_dir(CWD, &path).unwrap()
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        self.unpack_within(archive, 1 << 30)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let path = CString::new(self.dir.to_str().unwrap()).unwrap();
        tree::remove(CWD, &path).unwrap();
    }
}

fn unpacked(tar: &Tar) -> Place {
    let place = Place::new();
    place.unpack(&tar.bytes()).unwrap_or_else(|error| panic!("{error}"));
    place
}

/// The sentence of the refusal, which must name the layer and this part.
#[track_caller]
fn refused(make: impl for<'a> Fn(&'a mut Tar, &str) -> &'a mut Tar, words: &str) {
    let place = Place::new();
    let mut tar = Tar::default();
    make(&mut tar, &place.canary());
    let error = place.unpack(&tar.bytes()).err().expect(words).to_string();
    assert!(error.starts_with("layer sha256:") && error.contains(words), "{error}\nlacks: {words}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 4];
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::lgetxattr(path, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"y"))
}

#[test]
fn files_links_modes_and_times() {
    let mut tar = Tar::default();
    tar.directory("./").mode(0o711).mtime(5);
    tar.directory("d/").mode(0o1777).mtime(1);
    tar.file("d/set-uid", b"#!").mode(0o4755).mtime(-7);
    tar.file("/absolute//x", b"x");
    tar.link("d/hard", "d/set-uid");
    tar.symlink("d/soft", "/nowhere").mtime(2);
    tar.fifo("d/fifo").mode(0o640);
    let place = unpacked(&tar);
    let of = |name: &str| fs::symlink_metadata(place.root().join(name)).unwrap();
    assert_eq!((of("").mode() & 0o7777, of("").mtime()), (0o711, 5));
    assert_eq!((of("d").mode() & 0o7777, of("d").mtime()), (0o1777, 1));
    assert_eq!((of("d/set-uid").mode() & 0o7777, of("d/set-uid").mtime()), (0o4755, -7));
    assert_eq!((of("d/hard").ino(), of("d/hard").nlink()), (of("d/set-uid").ino(), 2));
    assert_eq!(fs::read_link(place.root().join("d/soft")).unwrap(), Path::new("/nowhere"));
    assert_eq!((of("d/soft").mtime(), of("d/fifo").mode() & 0o777), (2, 0o640));
    assert_eq!(fs::read_to_string(place.root().join("absolute/x")).unwrap(), "x");
    assert_eq!(of("absolute").mode() & 0o7777, 0o755);
}

#[test]
fn owners_devices_and_attributes() {
    if !is_root() {
        return;
    }
    let mut tar = Tar::default();
    // A capability whose bytes have a newline among them, which must not end the record.
    let capability = b"\x01\0\0\x02\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    tar.pax(&[
        pax(b"SCHILY.xattr.security.capability", capability),
        pax(b"uid", b"3000000000"),
        pax(b"mtime", b"7.25"),
    ]);
    tar.file("ping", b"x").mode(0o4755);
    tar.device("null", b'3', (1, 3)).mode(0o666).owner(5, 6);
    tar.symlink("s", "x").owner(7, 8);
    tar.directory("d").mode(0o2755).owner(0, 50);
    tar.file("d/f", b"").owner(1, 2);
    let place = unpacked(&tar);
    let of = |name: &str| fs::symlink_metadata(place.root().join(name)).unwrap();
    assert_eq!((of("ping").uid(), of("ping").mode() & 0o7777), (3_000_000_000, 0o4755));
    assert_eq!((of("ping").mtime(), of("ping").mtime_nsec()), (7, 250_000_000));
    assert_eq!((of("null").uid(), of("null").gid(), of("null").rdev()), (5, 6, rustix::fs::makedev(1, 3)));
    assert_eq!((of("s").uid(), of("s").gid()), (7, 8));
    assert_eq!((of("d").mode() & 0o7777, of("d/f").gid()), (0o2755, 2));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(place.root().join("ping"), c"security.capability", &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability);
}

#[test]
fn names_do_not_leave_the_layer() {
    refused(|tar, _| tar.file("../x", b""), "entry ../x: the name has a \"..\" in it");
    refused(|tar, _| tar.file("a/../../../canary/x", b""), "has a \"..\"");
    refused(|tar, _| tar.directory(".."), "has a \"..\"");
    refused(|tar, _| tar.file("", b""), "it has no name");
    refused(|tar, _| tar.file(".", b""), "only a directory can be the root");
    refused(|tar, _| tar.file("///", b""), "only a directory can be the root");
    let long = "x".repeat(256);
    refused(|tar, _| tar.pax(&[pax(b"path", long.as_bytes())]).file("p", b""), "longer than 255 bytes");
    let long = "x/".repeat(2100);
    refused(|tar, _| tar.pax(&[pax(b"path", long.as_bytes())]).file("p", b""), "longer than 4095 bytes");
    let deep = "x/".repeat(600);
    refused(|tar, _| tar.pax(&[pax(b"path", deep.as_bytes())]).directory("p"), "deeper than 512 levels");
    refused(|tar, _| tar.pax(&[pax(b"path", b"a\0b")]).file("p", b""), "has a NUL");
    refused(|tar, _| tar.pax(&[pax(b"linkpath", b"a\0b")]).symlink("p", "x"), "has a NUL");
}

#[test]
fn symbolic_links_among_the_parents() {
    refused(|tar, canary| tar.symlink("s", canary).file("s/x", b""), "leads to what is not in this layer");
    refused(|tar, _| tar.symlink("s", "../../canary").file("s/x", b""), "leads above the root");
    refused(|tar, _| tar.symlink("a", "b").symlink("b", "a").file("a/x", b""), "in a circle");
    refused(|tar, canary| tar.symlink("s", canary).directory("s/d"), "leads to what is not in this layer");
    refused(|tar, canary| tar.symlink("s", canary).link("x", "s/file"), "is not in this layer");
    refused(|tar, _| tar.file("f", b"").file("f/x", b""), "one of its parents is not a directory");

    let mut tar = Tar::default();
    tar.directory("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/lib/../lib/");
    tar.file("lib/a/b", b"1").file("abs/c", b"2");
    let place = unpacked(&tar);
    assert_eq!(fs::read_to_string(place.root().join("usr/lib/a/b")).unwrap(), "1");
    assert_eq!(fs::read_to_string(place.root().join("usr/lib/c")).unwrap(), "2");
}

#[test]
fn the_later_entry_wins_and_nothing_is_followed() {
    let place = Place::new();
    let (file, dir) = (place.canary() + "/file", place.canary());
    let mut tar = Tar::default();
    tar.symlink("a", &file).file("a", b"new");
    tar.symlink("b", &dir).directory("b").file("b/x", b"");
    tar.directory("c").file("c/in", b"").symlink("c/out", &dir).file("c", b"file");
    tar.file("d", b"").directory("d").mode(0o700);
    tar.symlink("e", &dir).fifo("e");
    tar.directory("f").mode(0o711).directory("f/g").directory("f").mode(0o722).mtime(9);
    tar.link("h", "a").link("h", "a").file("i", b"").link("i", "a");
    tar.file("j", b"long contents").file("j", b"short");
    place.unpack(&tar.bytes()).unwrap();
    let of = |name: &str| fs::symlink_metadata(place.root().join(name)).unwrap();
    let read = |name: &str| fs::read_to_string(place.root().join(name)).unwrap();
    assert_eq!((read("a"), read("c"), read("j")), ("new".into(), "file".into(), "short".into()));
    assert!(of("b").is_dir() && of("d").is_dir() && of("e").file_type().is_fifo());
    assert_eq!((of("f").permissions().mode() & 0o7777, of("f").mtime()), (0o722, 9));
    assert_eq!(of("a").nlink(), 3);
    // What a directory replaced hid the lower layers' directory.
    assert_eq!(["b", "d", "f"].map(|name| is_opaque(&place.root().join(name))), [true, true, false]);
}

#[test]
fn attributes_of_replaced_directories_reach_nobody() {
    let place = Place::new();
    let mut tar = Tar::default();
    tar.directory("a").directory("a/b").mode(0o777).mtime(1);
    tar.symlink("a", &place.dir.to_string_lossy());
    tar.directory("c").mode(0o700).directory("c/canary").mode(0o777).symlink("c", &place.dir.to_string_lossy());
    let before = fs::metadata(place.canary()).unwrap();
    place.unpack(&tar.bytes()).unwrap();
    let after = fs::metadata(place.canary()).unwrap();
    assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
}

#[test]
fn hard_links_stay_in_the_layer() {
    refused(|tar, canary| tar.link("x", &format!("{canary}/file")), "is not in this layer");
    refused(|tar, _| tar.link("x", "../canary/file"), "it is a hard link to ../canary/file, which cannot be");
    refused(|tar, _| tar.link("x", "missing"), "it is a hard link to missing, which is not in this layer");
    refused(|tar, _| tar.directory("d").link("x", "d"), "a hard link to a directory");
    refused(|tar, _| tar.link("x", "/"), "a hard link to the root");
    refused(|tar, _| tar.link("x", ""), "a link without a target");
    // A link to a symbolic link is one to itself, not to where it leads.
    let place = Place::new();
    let mut tar = Tar::default();
    tar.symlink("s", &format!("{}/file", place.canary())).link("x", "s");
    place.unpack(&tar.bytes()).unwrap();
    assert!(fs::symlink_metadata(place.root().join("x")).unwrap().is_symlink());
}

#[test]
fn whiteouts() {
    for name in [".wh.", "a/.wh.", ".wh..", ".wh..."] {
        refused(|tar, _| tar.file(name, b""), "names nothing that could be hidden");
    }
    refused(|tar, _| tar.file(".wh./x", b""), "a whiteout (.wh.) has no contents");
    refused(|tar, _| tar.file(".wh.a/../x", b""), "has a \"..\"");
    refused(|tar, _| tar.file(".wh..wh.plnk", b""), "aufs's own");
    refused(|tar, _| tar.directory(".wh.x"), "a whiteout (.wh.) is a file");
    let mut tar = Tar::default();
    tar.file(".wh.gone", b"").file("d/.wh..wh..opq", b"").file("d/x", b"").file("e/.wh.x", b"");
    // In either order an entry of the same layer stays, and hides what is lower.
    tar.file("f", b"").file(".wh.f", b"").file(".wh.g", b"").file("g", b"");
    // Beneath what is no directory any more there is nothing to hide, and nothing is followed.
    tar.file("n", b"").file("n/.wh.x", b"").symlink("o", "d").file("o/.wh.x", b"").file("o/.wh..wh..opq", b"");
    tar.symlink("p", "/canary").file("p/.wh.file", b"").file("gone/.wh.x", b"").file("q/.wh.x", b"").file("q", b"");
    tar.directory("h").file(".wh.h", b"").file(".wh.i", b"").directory("i").file(".wh.j", b"").file("j/k", b"");
    let place = unpacked(&tar);
    let at = |name: &str| place.root().join(name);
    assert!(is_whiteout(&at("gone")) && is_whiteout(&at("e/x")));
    assert!(at("n").is_file() && at("q").is_file() && at("d/x").is_file());
    assert!(at("f").is_file() && at("g").is_file() && at("d/x").is_file() && at("j/k").is_file());
    let opaque = ["d", "e", "h", "i", "j"].map(|name| is_opaque(&at(name)));
    assert_eq!(opaque, [true, false, true, true, true]);
    assert!(!at(".wh.gone").exists() && !at("d/.wh..wh..opq").exists());
}

#[test]
fn overlays_own_attributes_are_refused() {
    for name in ["trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.opaque"] {
        let record = pax(format!("SCHILY.xattr.{name}").as_bytes(), b"/etc");
        refused(|tar, _| tar.pax(std::slice::from_ref(&record)).file("f", b""), "overlayfs's own attribute");
        refused(|tar, _| tar.pax(std::slice::from_ref(&record)).directory("d"), "overlayfs's own attribute");
    }
    refused(|tar, _| tar.pax(&[pax(b"SCHILY.xattr.", b"x")]).file("f", b""), "is empty or has a NUL");
    let value = vec![b'x'; 65537];
    refused(|tar, _| tar.pax(&[pax(b"SCHILY.xattr.user.x", &value)]).file("f", b""), "is too long");
}

#[test]
fn bombs_meet_the_limit() {
    let place = Place::new();
    let mut tar = Tar::default();
    tar.file("big", &[0; 100_000]);
    let error = place.unpack_within(&tar.bytes(), 50_000).err().unwrap().to_string();
    assert!(error.contains("entry big: the image unpacks to more than 50000 bytes (--max-unpacked"), "{error}");
    let place = Place::new();
    let mut tar = Tar::default();
    for number in 0..100 {
        tar.file(&format!("{number}"), b"");
    }
    let error = place.unpack_within(&tar.bytes(), 200_000).err().unwrap().to_string();
    assert!(error.contains("unpacks to more than 200000 bytes"), "{error}");
    let place = Place::new();
    let mut archive = Tar::default().bytes();
    archive.extend(vec![0; 100_000]);
    assert!(place.unpack_within(&archive, 50_000).err().unwrap().to_string().contains("more than 50000 bytes"));
}

#[test]
fn the_digest_is_of_all_bytes() {
    let place = Place::new();
    let mut tar = Tar::default();
    tar.file("f", b"");
    let mut archive = tar.bytes();
    let expected = Expected { diff_id: Digest::of(&archive), blob: None };
    archive.extend([0; 512]);
    let error = unpack(&mut &archive[..], &expected, place.work().as_fd(), &Budget::new(1 << 20)).err().unwrap();
    assert!(error.to_string().contains("its archive has the digest sha256:"), "{error}");

    let archive = tar.bytes();
    let diff_id = Digest::of(&archive);
    let (damaged, short) = ((Digest::of(b""), 1536), (diff_id, 7));
    for (blob, words) in [(damaged, "its blob has the digest"), (short, "1536 bytes, and the image says 7")] {
        let place = Place::new();
        let expected = Expected { diff_id, blob: Some(blob) };
        let error = unpack(&mut &archive[..], &expected, place.work().as_fd(), &Budget::new(1 << 20)).err().unwrap();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn mutations_neither_panic_nor_escape() {
    let mut tar = Tar::default();
    tar.directory("d").file("d/f", b"contents").symlink("s", "../canary").file("s2", b"x").link("d/h", "d/f");
    tar.pax(&[pax(b"path", b"long/name"), pax(b"SCHILY.xattr.security.selinux", b"b"), pax(b"size", b"3")])
        .file("p", b"abc");
    tar.gnu_name("gnu/name").file("g", b"g").file("d/.wh.x", b"").device("null", b'3', (1, 3)).fifo("fifo");
    let archive = tar.bytes();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    // Thousands of small trees are a matter of a second in memory, and of a minute on a disk with a journal.
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory } else { &std::env::temp_dir() };
    let mut accepted = 0;
    for _ in 0..4000 {
        let mut bytes = archive.clone();
        for _ in 0..=next(4) {
            let block = next(bytes.len() / 512) * 512;
            // Most of what is interesting is in the first 160 bytes of a header and in its link.
            let at = block + if next(4) == 0 { next(512) } else { next(270) };
            let interesting = b"./\0\xff\x80 0179LKxgS3\n";
            bytes[at] = if next(2) == 0 { interesting[next(interesting.len())] } else { next(256) as u8 };
            if next(5) > 0 {
                Tar::sum(&mut bytes[block..block + 512]);
            }
        }
        if next(8) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        let work = Place::beneath(memory);
        accepted += u32::from(work.unpack_within(&bytes, 1 << 20).is_ok());
    }
    assert!(
        (100..3900).contains(&accepted),
        "{accepted} of 4000 were accepted: the mutations are too tame or too wild"
    );
}
