use std::io::Write;

use super::*;
use crate::image::entries::testing::Tar;
use crate::image::source::Source;

/// The archive as a file without a name.
fn opened(bytes: &[u8]) -> Result<Archive> {
    let dir = std::env::temp_dir();
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
    let fd = rustix::fs::open(&dir, flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut file = File::from(fd);
    file.write_all(bytes).unwrap();
    Archive::open(file, 1 << 20)
}

#[test]
fn documents_are_found_through_links_and_under_any_spelling() {
    let mut tar = Tar::default();
    tar.directory("d/").file("./d//a.json", b"{}").file("binary", b"\0\0").symlink("link", "d/../d/a.json");
    tar.symlink("d/up", "../link").link("hard", "d/a.json").file("twice", b"[1]").file("twice", b"[2]");
    let archive = opened(&tar.bytes()).unwrap_or_else(|error| panic!("{error}"));
    for name in ["d/a.json", "link", "d/up", "hard", "./link"] {
        assert_eq!(archive.document(name.as_bytes()).unwrap().as_deref(), Some(&b"{}"[..]), "{name}");
    }
    assert_eq!(archive.document(b"twice").unwrap().as_deref(), Some(&b"[2]"[..]));
    assert_eq!(archive.document(b"missing").unwrap(), None);
    assert!(archive.document(b"binary").err().unwrap().to_string().contains("is not JSON"));
    assert_eq!(archive.find(b"d/up").unwrap(), (b"d/a.json".to_vec(), 2));
}

#[test]
fn links_in_circles_and_out_of_it() {
    let mut tar = Tar::default();
    tar.symlink("a", "b").symlink("b", "a");
    assert_eq!(opened(&tar.bytes()).unwrap().document(b"a").unwrap(), None);
    for link in ["../x", "../../etc/passwd", "d/../../x"] {
        let mut tar = Tar::default();
        tar.symlink("a", link);
        assert!(opened(&tar.bytes()).err().unwrap().to_string().contains("leads out of it"), "{link}");
    }
}

#[test]
fn what_is_kept_is_limited() {
    let mut tar = Tar::default();
    let document = [b"{".as_slice(), &vec![b' '; 3 << 20]].concat();
    for number in 0..6 {
        tar.file(&format!("{number}.json"), &document);
    }
    assert!(opened(&tar.bytes()).err().unwrap().to_string().contains("more than 16 MiB"));
    let mut tar = Tar::default();
    tar.file("large.json", &[b'{'; (4 << 20) + 1]);
    assert!(
        opened(&tar.bytes())
            .unwrap()
            .document(b"large.json")
            .err()
            .unwrap()
            .to_string()
            .contains("larger than 4 MiB")
    );
}

#[test]
fn an_archive_that_ends_early() {
    let mut tar = Tar::default();
    tar.file("big", &[1; 5000]);
    let bytes = tar.bytes();
    for length in [300, 600, 5000] {
        assert!(opened(&bytes[..length]).err().unwrap().to_string().contains("the archive ends within"), "{length}");
    }
}

#[test]
fn no_more_layers_than_can_be_mounted() {
    let contents = |count: usize| {
        let list = |one: &str| vec![format!("\"{one}\""); count].join(",");
        let ids = list(&format!("sha256:{}", "0".repeat(64)));
        let mut tar = Tar::default();
        tar.file("c", format!("{{\"rootfs\":{{\"diff_ids\":[{ids}]}}}}").as_bytes());
        tar.file("manifest.json", format!("[{{\"Config\":\"c\",\"Layers\":[{}]}}]", list("l")).as_bytes())
            .file("l", b"");
        Source::Archive(opened(&tar.bytes()).unwrap()).contents(None).map(|contents| contents.layers.len())
    };
    assert_eq!(contents(500).unwrap(), 500);
    assert!(contents(501).err().unwrap().to_string().contains("it has 501 layers"));
}
