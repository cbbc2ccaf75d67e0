use super::*;

#[test]
fn files_are_known_by_their_first_bytes() {
    let at = |place: usize, magic: &[u8]| {
        let mut start = vec![0; 2048];
        start[place..place + magic.len()].copy_from_slice(magic);
        kind_of(&start)
    };
    assert_eq!(at(0, b"hsqs"), Kind::FileSystem("squashfs"));
    assert_eq!(at(1024, b"\xe2\xe1\xf5\xe0"), Kind::FileSystem("erofs"));
    assert_eq!(at(1080, b"\x53\xef"), Kind::FileSystem("ext4"));
    assert_eq!(at(257, b"ustar"), Kind::Archive);
    assert_eq!(at(0, b"\x1f\x8b"), Kind::Archive);
    assert_eq!(at(0, b"\x28\xb5\x2f\xfd"), Kind::Archive);
    assert_eq!(at(1, b"hsqs"), Kind::Unknown);
    for start in [&b""[..], b"h", b"hsq", b"\x1f"] {
        assert_eq!(kind_of(start), Kind::Unknown);
    }
}

#[test]
fn a_tag_alone_is_no_name() {
    for (path, name, whole) in [
        ("images/debian", "12", "debian:12"),
        ("debian.oci.tar.gz", "latest", "debian:latest"),
        ("x.tar", "example.org/a:1", "example.org/a:1"),
        ("x.tar", "a/b", "a/b"),
        (".tar", "one", "one"),
        ("/", "one", "one"),
    ] {
        assert_eq!(whole_name(OsStr::new(path), name), whole);
    }
}

#[test]
fn names_are_fit_for_terminals_and_options() {
    for name in ["debian:12", "docker.io/library/debian@sha256:00", "a_b-c.d+e"] {
        assert!(check_name(name).is_ok(), "{name}");
    }
    let long = "x".repeat(256);
    for name in ["", "-f", "/etc", "a b", "a\x1b[2J", "ü", &long] {
        let error = check_name(name).err().unwrap().to_string();
        assert!(error.contains("cannot be the name of an image") && !error.contains('\x1b'), "{error}");
    }
}
