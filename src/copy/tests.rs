use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::{Entries, EntryKind as Kind, Input};

/// A directory of its own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-copy-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn side(&self) -> Side {
        Side::Container(fs::File::open(&self.0).unwrap().into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn host(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// What `nsctl cp SOURCE CONTAINER:DEST` does.
fn copy(source: &[u8], to: &Side, dest: &str) -> Result<()> {
    let end = Side::Host.end(source, false).unwrap();
    let target = target(to, dest.as_bytes(), source, end.kind == Some(FileType::Directory))?;
    let mut plant = Plant::new(target.base, false, false);
    walk(&end, &target.top, None, &mut plant)?;
    plant.finish()
}

#[test]
fn dockers_rules() {
    let (from, to) = (Place::new("rules-from"), Place::new("rules-to"));
    fs::create_dir_all(from.at("d/sub")).unwrap();
    fs::write(from.at("d/f"), "1").unwrap();
    fs::write(from.at("file"), "2").unwrap();
    fs::create_dir(to.at("dir")).unwrap();
    fs::write(to.at("old"), "old").unwrap();
    let side = to.side();
    let run = |source: &str, dest: &str| copy(host(&from.at(source)), &side, dest).map_err(|error| error.to_string());
    let is = |path: &str, text: &str| assert_eq!(fs::read_to_string(to.at(path)).unwrap(), text, "{path}");
    run("file", "/new").unwrap();
    is("new", "2");
    assert!(run("file", "/missing/").unwrap_err().contains("no such directory"));
    assert!(run("file", "/missing/x").unwrap_err().contains("ENOENT"));
    run("file", "old").unwrap();
    is("old", "2");
    run("file", "dir").unwrap();
    is("dir/file", "2");
    assert!(run("file", "old/").unwrap_err().contains("ENOTDIR"));
    // A directory becomes what is missing, or goes into what is there.
    run("d", "made").unwrap();
    is("made/f", "1");
    run("d", "made").unwrap();
    is("made/d/f", "1");
    run("d/.", "dir/").unwrap();
    is("dir/f", "1");
    assert!(to.at("dir/sub").is_dir() && !to.at("dir/d").exists());
    assert!(run("d", "old").unwrap_err().contains("no directory"));
    // Nothing takes the place of a directory, and a directory takes nothing's.
    fs::create_dir(to.at("dir/x")).unwrap();
    fs::write(from.at("x"), "").unwrap();
    assert!(run("x", "dir").unwrap_err().contains("a directory is there"));
    fs::write(to.at("dir/d"), "").unwrap();
    assert!(run("d", "dir").unwrap_err().contains("no directory"));
}

#[test]
fn links_do_not_lead_out() {
    let (inside, outside) = (Place::new("links-in"), Place::new("links-out"));
    fs::write(outside.at("secret"), "secret").unwrap();
    fs::create_dir(inside.at("dir")).unwrap();
    fs::write(inside.at("secret"), "inner").unwrap();
    let name = outside.0.to_str().unwrap();
    symlink(name, inside.at("out")).unwrap();
    symlink(format!("../../../../../..{name}"), inside.at("dir/up")).unwrap();
    symlink("/secret", inside.at("dir/inner")).unwrap();
    let side = inside.side();
    assert!(side.end(b"/out/secret", true).is_err());
    assert!(side.end(b"/dir/up/secret", true).is_err());
    assert!(side.end(b"/out", true).is_err_and(|errno| errno == Errno::NOENT));
    assert_eq!(side.end(b"/dir/inner", true).unwrap().name.as_c_str(), c"secret");
    assert_eq!(side.end(b"/dir/inner", false).unwrap().kind, Some(FileType::Symlink));
    // A file that is put over a link replaces the link.
    let file = Place::new("links-file");
    fs::write(file.at("up"), "new").unwrap();
    copy(host(&file.at("up")), &side, "dir").unwrap();
    assert!(inside.at("dir/up").symlink_metadata().unwrap().is_file());
    // A directory is not put through one.
    fs::create_dir(file.at("out")).unwrap();
    fs::write(file.at("out/secret"), "gone").unwrap();
    assert!(copy(host(&file.at("out")), &side, "/").is_err());
    assert_eq!(fs::read_to_string(outside.at("secret")).unwrap(), "secret");
}

#[test]
fn what_a_tree_has() {
    let (from, to) = (Place::new("tree-from"), Place::new("tree-to"));
    fs::create_dir(from.at("d")).unwrap();
    fs::write(from.at("d/one"), vec![7; 100_000]).unwrap();
    fs::hard_link(from.at("d/one"), from.at("d/two")).unwrap();
    symlink("nowhere", from.at("d/link")).unwrap();
    fs::set_permissions(from.at("d/one"), fs::Permissions::from_mode(0o1640)).unwrap();
    fs::set_permissions(from.at("d"), fs::Permissions::from_mode(0o2551)).unwrap();
    copy(host(&from.at("d")), &to.side(), "d").unwrap();
    let stat = |path: &str| fs::symlink_metadata(to.at(path)).unwrap();
    assert_eq!((stat("d/one").mode() & 0o7777, stat("d").mode() & 0o7777), (0o1640, 0o2551));
    assert_eq!(stat("d/one").ino(), stat("d/two").ino());
    assert_eq!(stat("d/one").mtime_nsec(), fs::metadata(from.at("d/one")).unwrap().mtime_nsec());
    assert_eq!(fs::read(to.at("d/two")).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::read_link(to.at("d/link")).unwrap(), Path::new("nowhere"));
    for place in [&from, &to] {
        fs::set_permissions(place.at("d"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn what_is_written_as_tar_is_read_as_it_was() {
    let entry = |name: &str, kind| Entry {
        name: name.into(),
        link: Vec::new(),
        kind,
        mode: 0o4755,
        uid: 1000,
        gid: 2_097_152,
        size: 0,
        mtime: (1_700_000_000, 0),
        device: (0, 0),
        xattrs: Vec::new(),
    };
    let long = "x/".repeat(80) + "end";
    let mut entries = vec![entry("dir", Kind::Directory), entry(&long, Kind::File), entry("null", Kind::Character)];
    entries[2].device = (1, 3);
    entries[2].mtime.0 = -5;
    entries.push(Entry { link: long.clone().into(), ..entry("link", Kind::Symlink) });
    entries.push(Entry { link: b"null".to_vec(), uid: u32::MAX - 1, ..entry("hard", Kind::HardLink) });
    entries[1].xattrs.push((b"security.capability".to_vec(), b"a\n=\0b".to_vec()));
    let bytes: Vec<u8> = entries.iter().flat_map(stream::headers).collect();
    let mut source = bytes.as_slice();
    let mut read = Entries::new(Input::Stream(&mut source));
    for wanted in entries {
        let found = read.next().unwrap().unwrap();
        assert_eq!(found.name.strip_suffix(b"/").unwrap_or(&found.name), wanted.name);
        assert_eq!((found.kind, &found.link, found.mode), (wanted.kind, &wanted.link, wanted.mode));
        assert_eq!((found.uid, found.gid, found.mtime), (wanted.uid, wanted.gid, wanted.mtime));
        assert_eq!((found.device, &found.xattrs), (wanted.device, &wanted.xattrs));
    }
    assert!(read.next().unwrap().is_none());
}

#[test]
fn a_tree_copied_into_itself_ends() {
    let place = Place::new("itself");
    fs::create_dir_all(place.at("a/b")).unwrap();
    fs::write(place.at("a/f"), "1").unwrap();
    let side = place.side();
    copy(host(&place.at("a")), &side, "a/b/copy").unwrap();
    assert!(place.at("a/b/copy/f").exists() && place.at("a/b/copy/b").exists());
    assert!(!place.at("a/b/copy/b/copy").exists());
    // Into one that is there, under its own name or as its contents.
    copy(host(&place.at("a")), &side, "a/b").unwrap();
    assert!(place.at("a/b/a/b/copy/f").exists() && !place.at("a/b/a/b/a").exists());
    copy(&[host(&place.at("a")), b"/."].concat(), &side, "a/b/copy").unwrap();
    assert!(place.at("a/b/copy/b/a/f").exists() && !place.at("a/b/copy/b/copy").exists());
}
