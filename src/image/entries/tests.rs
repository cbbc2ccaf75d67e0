use super::testing::{Tar, pax};
use super::*;

fn read(tar: &Tar) -> Checked<Vec<Entry>> {
    let bytes = tar.bytes();
    let mut input = &bytes[..];
    let mut entries = Entries::new(Input::Stream(&mut input));
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        found.push(entry);
    }
    Ok(found)
}

#[track_caller]
fn refused(tar: &Tar, words: &str) {
    let error = read(tar).expect_err(words).at("layer").to_string();
    assert!(error.contains(words), "{error}\nlacks: {words}");
}

fn one(change: impl FnOnce(&mut [u8])) -> Tar {
    let mut tar = Tar::default();
    tar.file("f", b"text").change(change);
    tar
}

#[test]
fn numbers_in_both_spellings() {
    assert_eq!(number(b"0000644\0"), Some(0o644));
    assert_eq!(number(b"   644 \0"), Some(0o644));
    assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
    assert_eq!(number(b"77777777777\0"), Some(0o77_777_777_777));
    assert_eq!(number(b"\x80\0\0\0\0\0\0\x05"), Some(5));
    assert_eq!(number(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i64::MAX));
    assert_eq!(number(&[0xff; 12]), Some(-1));
    assert_eq!(number(b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), Some(i64::MIN));
    for wrong in
        [&b"0000x44\0"[..], b"-1", b"8", b"0 7", b"\x80\0\0\x01\0\0\0\0\0\0\0\0", b"\xc0\0\0\0\0\0\0\0\0\0\0\0", b""]
    {
        assert_eq!(number(wrong), None, "{wrong:?}");
    }
}

#[test]
fn sizes_that_lie() {
    refused(&one(|header| header[124..136].copy_from_slice(b"00000010000\0")), "ends within the contents");
    refused(&one(|header| header[124..136].fill(0xff)), "size is not a number");
    refused(&one(|header| header[124..136].copy_from_slice(b"\x80\0\0\x01\0\0\0\0\0\0\0\0")), "size is not a number");
    refused(
        &one(|header| header[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")),
        "beyond every",
    );
    refused(&one(|header| header[124..136].copy_from_slice(b"00000zz0000\0")), "size is not a number");
    for (size, words) in [
        ("9999999999", "ends within the contents"),
        ("18446744073709551615", "beyond every"),
        ("18446744073709551616", "size is not right"),
        ("-1", "size is not right"),
        ("1e3", "size is not right"),
        ("+4", "size is not right"),
    ] {
        let mut tar = Tar::default();
        tar.pax(&[pax(b"size", size.as_bytes())]).file("f", b"text");
        refused(&tar, words);
    }
    let mut tar = Tar::default();
    tar.entry(b"d", b'5', b"", 512, &[0; 512]);
    refused(&tar, "entry d: it says that it has contents");
}

#[test]
fn the_extended_size_is_the_one_that_counts() {
    let mut tar = Tar::default();
    tar.pax(&[pax(b"size", b"5")]).entry(b"f", b'0', b"", 0, b"hello").file("g", b"");
    let found = read(&tar).unwrap();
    assert_eq!((found.len(), found[0].size), (2, 5));
}

#[test]
fn headers_that_are_none() {
    refused(&one(|header| header[156] = b'S'), "entry f: it is a sparse file");
    refused(&one(|header| header[156] = b'V'), "entry f: entries of type 'V' are unknown");
    refused(
        &one(|header| header[108..116].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff")),
        "entry f: the owner is not",
    );
    refused(&one(|header| header[108..116].fill(0xff)), "the owner is not");
    refused(&one(|header| header[116..124].copy_from_slice(b"\x80\0\0\x01\0\0\0\0")), "the group is not");
    refused(&one(|header| header[100..108].copy_from_slice(b"rw-r--r-")), "the mode is not");
    refused(&one(|header| header[136..148].copy_from_slice(b"yesterday   ")), "the time is not");
    let mut tar = Tar::default();
    tar.device("null", b'3', (1, 3)).change(|header| header[329..337].copy_from_slice(b"one\0\0\0\0\0"));
    refused(&tar, "the device number is not");
    let mut bytes = one(|_| {}).bytes();
    bytes[0] = b'g';
    let mut input = &bytes[..];
    let fault = Entries::new(Input::Stream(&mut input)).next().unwrap_err();
    assert!(fault.at("layer").to_string().contains("wrong checksum"));
    let mut input = &one(|_| {}).bytes()[..300];
    let fault = Entries::new(Input::Stream(&mut input)).next().unwrap_err();
    assert!(fault.at("layer").to_string().contains("ends within a header"));
}

#[test]
fn extended_headers() {
    let long = "n".repeat(200);
    let mut tar = Tar::default();
    tar.pax(&[pax(b"path", long.as_bytes()), pax(b"comment", b"a\nb"), pax(b"SCHILY.xattr.user.x", b"1\n2\0")]);
    tar.file("short", b"").gnu_name("by gnu\0").file("x", b"");
    tar.entry(b"pax_global_header", b'g', b"", 18, b"18 comment=abcdef\n").file("last", b"");
    let found = read(&tar).unwrap();
    assert_eq!(found[0].name, long.as_bytes());
    assert_eq!(found[0].xattrs, [(b"user.x".to_vec(), b"1\n2\0".to_vec())]);
    assert_eq!((found[1].name.as_slice(), found[2].name.as_slice()), (&b"by gnu"[..], &b"last"[..]));

    for text in [
        &b"12 path=abc\n"[..],
        b"99 path=abc\n",
        b"path=abc\n",
        b"12 path abc\n",
        b"11 path=abc",
        b"-1 a=b\n",
        b"4 =\n",
        b" ",
    ] {
        let mut tar = Tar::default();
        tar.entry(b"x", b'x', b"", text.len() as u64, text).file("f", b"");
        let fault = read(&tar).err();
        // One of them is right: an empty key, which means nothing.
        assert_eq!(fault.is_none(), text == b"4 =\n" || text == b"12 path=abc\n", "{text:?}");
    }
    let mut tar = Tar::default();
    tar.pax(&[pax(b"path", b"a")]).pax(&[pax(b"path", b"b")]).file("f", b"");
    refused(&tar, "two extended headers belong to one entry");
    let mut tar = Tar::default();
    tar.gnu_name("a").pax(&[pax(b"path", b"b")]).file("f", b"");
    refused(&tar, "two names");
    let mut tar = Tar::default();
    tar.gnu_name("a\0b").file("f", b"");
    refused(&tar, "has a NUL in it");
    let mut tar = Tar::default();
    tar.pax(&[pax(b"path", b"a")]);
    refused(&tar, "ends after an extended header");
    let mut tar = Tar::default();
    tar.entry(b"x", b'L', b"", 2 << 20, &vec![b'a'; 2 << 20]).file("f", b"");
    refused(&tar, "larger than 1 MiB");
    let mut tar = Tar::default();
    tar.pax(&[pax(b"GNU.sparse.major", b"1")]).file("f", b"");
    refused(&tar, "sparse");
}

#[test]
fn times_before_and_after_the_epoch() {
    for (text, time) in [("1.5", (1, 500_000_000)), ("-1.5", (-2, 500_000_000)), ("-3", (-3, 0)), ("7.", (7, 0))] {
        let mut tar = Tar::default();
        tar.pax(&[pax(b"mtime", text.as_bytes())]).file("f", b"");
        assert_eq!(read(&tar).unwrap()[0].mtime, time, "{text}");
    }
    for text in ["x", "1.x", "--1", "1e9", ".", "99999999999999999999"] {
        let mut tar = Tar::default();
        tar.pax(&[pax(b"mtime", text.as_bytes())]).file("f", b"");
        refused(&tar, "time is not right");
    }
}

/// Each is looked for among those before it: without an end to them, a header of 1 MiB would be seconds of work.
#[test]
fn there_is_an_end_to_extended_attributes() {
    let records = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|number| pax(format!("SCHILY.xattr.user.{number}").as_bytes(), b"")).collect()
    };
    let mut tar = Tar::default();
    tar.pax(&records(1024)).file("f", b"");
    assert_eq!(read(&tar).unwrap_or_default()[0].xattrs.len(), 1024);
    let mut tar = Tar::default();
    tar.pax(&records(36_000)).file("f", b"");
    refused(&tar, "more than 1024 extended attributes");
}
