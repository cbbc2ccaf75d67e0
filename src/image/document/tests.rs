use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn index(entries: &[String]) -> Document {
    Document::parse("index.json", format!(r#"{{"manifests":[{}]}}"#, entries.join(",")).as_bytes()).unwrap()
}

fn entry(size: u32, more: &str) -> String {
    let digest = Digest::of(&size.to_le_bytes());
    format!(r#"{{"mediaType":"{}","digest":"{digest}","size":{size}{more}}}"#, MANIFESTS[0])
}

fn named(size: u32, name: &str) -> String {
    entry(size, &format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#))
}

fn for_platform(size: u32, os: &str, architecture: &str, variant: &str) -> String {
    let platform = format!(r#"{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#);
    entry(size, &format!(r#","platform":{platform}"#))
}

fn chosen(entries: &[String], tag: Option<&str>) -> Result<(Option<String>, u64)> {
    choose(&index(entries), tag).map(|(name, found)| match found {
        Found::Manifest(one) | Found::Index(one) => (name, one.size),
    })
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &str) {
    let error = result.err().expect(words).to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn one_image_needs_no_tag_and_several_do() {
    assert_eq!(chosen(&[entry(1, "")], None).unwrap(), (None, 1));
    assert_eq!(chosen(&[named(1, "a")], None).unwrap(), (Some("a".into()), 1));
    let both = [named(1, "a"), named(2, "example.org/x:b"), named(3, "b")];
    assert_eq!(chosen(&both, Some("a")).unwrap().1, 1);
    assert_eq!(chosen(&both, Some("b")).unwrap().1, 3);
    assert_eq!(chosen(&both[..2], Some("b")).unwrap().1, 2);
    refused(chosen(&both, None), "several images in it: a, b, example.org/x:b (choose one with PATH:TAG)");
    refused(chosen(&[entry(1, ""), named(2, "a")], None), "(one without a tag), a");
    refused(chosen(&both, Some("c")), "there is no image c in it (there is a, example.org/x:b, b)");
    refused(chosen(&[entry(1, "")], Some("c")), "leave the tag away");
    refused(chosen(&[], None), "there is no image in it");
}

#[test]
fn the_platform_is_this_machines() {
    let own = architecture();
    let all = [
        for_platform(1, "linux", "s390x", ""),
        for_platform(2, "linux", own, ""),
        for_platform(3, "windows", own, ""),
    ];
    assert_eq!(chosen(&all, None).unwrap().1, 2);
    let attested = [for_platform(1, "unknown", "unknown", ""), for_platform(2, "linux", own, "")];
    assert_eq!(chosen(&attested, None).unwrap().1, 2);
    refused(chosen(&all[..1], None), &format!("no image for linux/{own} in it (there is linux/s390x)"));
    refused(
        chosen(&[all[1].clone(), for_platform(4, "linux", own, "")], None),
        "several images for this machine's platform",
    );
    assert_eq!(chosen(&[all[1].clone(), all[1].clone()], None).unwrap().1, 2);
}

#[test]
fn documents_that_are_none() {
    for text in [
        "",
        "[]",
        "{",
        "nul",
        r#"{"manifests":{}}"#,
        r#"{"manifests":[1]}"#,
        r#"{"manifests":[{"size":1.5}]}"#,
        "\u{feff}{}",
    ] {
        refused(Document::parse("index.json", text.as_bytes()), "index.json: ");
    }
    let negative = format!(r#"{{"manifests":[{{"digest":"{DIGEST}","size":-1}}]}}"#);
    refused(Document::parse("index.json", negative.as_bytes()), "size is not a number");
    let deep = "[".repeat(1 << 20);
    refused(Document::parse("index.json", deep.as_bytes()), "is not JSON");
    refused(Document::parse("index.json", b"{}").unwrap().manifest(), "the image's manifest has no configuration");
}

#[test]
fn saved_images_by_tag() {
    let text = br#"[{"Config":"a.json","RepoTags":["x:1","x:2"],"Layers":["l"]},{"Config":"b.json","RepoTags":null},
        {"Config":"c.json","RepoTags":["y:1"]}]"#;
    let images = Saved::parse(text).unwrap();
    let chosen = |tag| choose_saved(&images, tag).map(|(name, saved)| (name, saved.config));
    assert_eq!(chosen(Some("x:2")).unwrap(), (Some("x:2".into()), "a.json".into()));
    assert_eq!(chosen(Some("2")).unwrap(), (Some("x:2".into()), "a.json".into()));
    refused(chosen(Some("1")), "several images in it: x:1, y:1");
    refused(chosen(Some("3")), "there is no image 3 in it (there is x:1, x:2, y:1)");
    refused(chosen(None), "several images in it: x:1, x:2, y:1");
    assert_eq!(choose_saved(&images[1..2], None).unwrap().0, None);
    refused(Saved::parse(b"{}"), "manifest.json: it is not a list");
}
