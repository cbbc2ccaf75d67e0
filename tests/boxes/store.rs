//! Images: made by the tools that people use, imported by nsctl, and looked at in the store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Case;
use crate::handmade::{Layout, hex};
use crate::nsctl::{self, Outcome, Running, must, outcome};
use crate::tar::{Tar, pax};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("an_image_is_the_same_in_every_format", formats),
    ("layers_over_each_other_are_what_umoci_unpacks", overlaid),
    ("a_tag_picks_one_of_several_images", tags),
    ("an_index_picks_this_machines_platform", platforms),
    ("the_old_docker_archive_with_linked_layers", old_docker),
    ("damaged_images_are_refused_and_leave_nothing", damaged),
    ("what_is_no_image_is_named", no_images),
    ("media_types_and_digests_that_are_unknown", unknown),
    ("hostile_layers_touch_nothing_outside", hostile),
    ("bombs_are_stopped", bombs),
    ("a_layer_is_kept_once_and_goes_with_its_last_image", shared_layers),
    ("removing_follows_no_link", removal),
    ("an_image_in_use_stays", in_use),
    ("eight_imports_at_once", parallel),
    ("a_killed_import_leaves_nothing_at_60_moments", killed),
    ("a_store_of_somebody_else_is_refused", foreign_store),
];

/// A directory for one test: its images, its store and a canary.
pub(crate) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-images-{}-{name}", std::process::id()));
        fs::create_dir_all(dir.join("canary/inner")).unwrap();
        fs::write(dir.join("canary/inner/file"), "untouched").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let all: Vec<&str> = ["image"].iter().chain(args).copied().collect();
        let mut command = nsctl::command(&all);
        command.env("NSCTL_STORE", self.dir.join("store")).current_dir(&self.dir);
        command
    }

    fn image(&self, args: &[&str]) -> Outcome {
        outcome(Running::start(&mut self.command(args)))
    }

    /// Imports what must be right; its id.
    fn import(&self, what: &str) -> Result<String, Failed> {
        let outcome = self.image(&["import", what]);
        must(outcome.code == 0 && outcome.out.len() == 65, what, &outcome)?;
        self.settled(what)?;
        Ok(outcome.out.trim().to_string())
    }

    /// Imports what must be refused with these words, and leave nothing.
    fn refuse(&self, what: &str, words: &str) -> Result<(), Failed> {
        let outcome = self.image(&["import", what]);
        let right = outcome.code == 125 && outcome.err.contains(words) && outcome.err.lines().count() == 1;
        must(right, &format!("{what}: a refusal with: {words}"), &outcome)?;
        self.settled(what)
    }

    fn settled(&self, what: &str) -> Result<(), Failed> {
        let left = names(&self.dir.join("store/tmp"));
        if left.is_empty() { Ok(()) } else { Err(format!("{what}: left in the store's tmp: {left:?}").into()) }
    }

    fn shell(&self, script: &str) -> Result<String, Failed> {
        let output = Command::new("sh").args(["-ec", script]).current_dir(&self.dir).output()?;
        if !output.status.success() {
            return Err(format!("{script}\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn canary(&self) -> Result<String, Failed> {
        self.shell(
            "find canary -printf '%p %y %m %U %G %s %n %T@ %C@\\n' | sort; find canary -type f -exec sha256sum {} +",
        )
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether the programs are there; as root they are installed.
fn have(programs: &[&str]) -> bool {
    let missing = |program: &&&str| {
        !Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
    };
    let needed: Vec<&&str> = programs.iter().filter(missing).collect();
    if needed.is_empty() {
        return true;
    }
    if std::env::var_os("NSCTL_QEMU").is_none() {
        for update in [false, true] {
            let fetch = if update { "apt-get update -qq && " } else { "" };
            let script = format!(
                "{fetch}DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {}",
                needed.iter().map(|program| **program).collect::<Vec<_>>().join(" ")
            );
            let done = Command::new("sh").args(["-c", &script]).output();
            if done.is_ok_and(|output| output.status.success()) {
                return true;
            }
        }
    }
    crate::host::skip(&format!("{needed:?} are not there"));
    false
}

/// Whether find and its like are GNU's: a small guest has a busybox, and bombs take their time there.
fn have_gnu() -> bool {
    let find = Command::new("find")
        .args([".", "-maxdepth", "0", "-printf", ""])
        .stderr(std::process::Stdio::null())
        .status();
    let there = find.is_ok_and(|status| status.success()) && std::env::var_os("NSCTL_QEMU").is_none();
    if !there {
        crate::host::skip("it needs GNU find and its like, on a whole machine");
    }
    there
}

/// A layout `L` with three layers, by umoci: files of all kinds, then changes and removals, then a hundred more files.
const MAKE: &str = r"
umoci init --layout L
umoci new --image L:base
umoci unpack --image L:base bundle >/dev/null 2>&1
cd bundle/rootfs
mkdir -p etc usr/bin usr/lib var/tmp home/user dev gone replaced/deep
echo one > etc/one; echo two > etc/two; cp /bin/sh usr/bin/sh; ln usr/bin/sh usr/bin/hard; ln -s sh usr/bin/soft
chmod 4755 usr/bin/sh; chmod 1777 var/tmp; chmod 2750 home/user; chown 1000:1001 home/user; chown -h 7:8 usr/bin/soft
mknod dev/null c 1 3; mkfifo dev/fifo; touch gone/a gone/b replaced/deep/x
setfattr -n user.note -v 'with spaces' etc/one 2>/dev/null || true
setcap cap_net_raw+ep usr/bin/sh 2>/dev/null || true
touch -d '2001-02-03 04:05:06.789' etc/one usr/lib
cd ../..
umoci repack --image L:base bundle >/dev/null 2>&1
rm -rf bundle; umoci unpack --image L:base bundle >/dev/null 2>&1
cd bundle/rootfs; rm -r gone etc/two replaced; echo file > replaced; ln -s usr/lib lib; echo new > etc/one; mkdir etc/two; cd ../..
umoci repack --image L:base bundle >/dev/null 2>&1
rm -rf bundle; umoci unpack --image L:base bundle >/dev/null 2>&1
for i in $(seq 100); do echo $i > bundle/rootfs/var/tmp/$i; done; rm bundle/rootfs/replaced; mkdir bundle/rootfs/replaced
umoci repack --image L:base bundle >/dev/null 2>&1
umoci config --image L:base --config.env A=1 --config.cmd /bin/sh --config.user 5:6 --config.workingdir /var --config.volume /data
rm -rf bundle
umoci unpack --image L:base bundle >/dev/null 2>&1
";

const TREE: &str = "find . ! -type d ! -type c -printf '%p %y %m %U %G %s %T@ %l %n\\n' | sort; find . -type d -printf '%p %y %m %U %G\\n' | sort;\
    find . -type f -exec sha256sum {} + | sort -k 2; find . -type c -exec stat -c '%n %a %u %g %t %T' {} + | sort;\
    { command -v getfattr >/dev/null && getfattr -h -R -d -m '^(user|security)' . || true; } | sort";

fn formats() -> Result<(), Failed> {
    if !have(&["skopeo", "umoci", "zstd"]) {
        return Ok(());
    }
    let scratch = Scratch::new("formats");
    scratch.shell(MAKE)?;
    scratch.shell(
        "skopeo copy -q oci:L:base oci-archive:oci.tar:base; skopeo copy -q oci:L:base docker-archive:docker.tar:a/b:1
        skopeo copy -q --dest-compress --dest-compress-format zstd oci:L:base oci:Z:base
        skopeo copy -q --dest-decompress oci:L:base oci:P:base; gzip -k docker.tar; zstd -q oci.tar; zstd -q docker.tar
        cat oci.tar | gzip > oci.tar.gz",
    )?;
    let mut trees = Vec::new();
    for what in [
        "L",
        "L:base",
        "Z",
        "P",
        "oci.tar",
        "docker.tar",
        "docker.tar.gz",
        "docker.tar.zst",
        "oci.tar.gz",
        "oci.tar.zst",
    ] {
        let id = scratch.import(what)?;
        let tree = scratch.shell(&format!("cd store/layers; {TREE}"))?;
        trees.push((what, id, tree));
        let outcome = scratch.image(&["rm", "-f", &trees[0].1]);
        must(outcome.code == 0, "rm", &outcome)?;
        if !names(&scratch.dir.join("store/layers")).is_empty() {
            return Err("layers stayed after the image".into());
        }
    }
    for (what, id, tree) in &trees {
        if (id, tree) != (&trees[0].1, &trees[0].2) {
            return Err(format!("{what} gave {id} and\n{tree}\nand not {} and\n{}", trees[0].1, trees[0].2).into());
        }
    }
    Ok(())
}

fn overlaid() -> Result<(), Failed> {
    if !have(&["umoci"]) {
        return Ok(());
    }
    let scratch = Scratch::new("overlaid");
    scratch.shell(MAKE)?;
    let id = scratch.import("L:base")?;
    let outcome = scratch.image(&["inspect", "L:base"]);
    for part in [
        &id,
        "\"A=1\"",
        "\"user\":\"5:6\"",
        "\"working_dir\":\"/var\"",
        "\"volumes\":[\"/data\"]",
        "\"cmd\":[\"/bin/sh\"]",
    ] {
        must(outcome.out.contains(part), part, &outcome)?;
    }
    // Bottommost first, as in the record.
    let layers: Vec<&str> = outcome.out.split("\"directory\":\"").skip(1).map(|rest| &rest[..64]).collect();
    must(layers.len() == 3, "three layers", &outcome)?;
    let lower: Vec<String> =
        layers.iter().rev().map(|hex| scratch.path(&format!("store/layers/{hex}/root"))).collect();
    let mounted = scratch.shell(&format!(
        "mkdir merged; unshare -m sh -ec 'mount -t overlay overlay -o lowerdir={} merged; cd merged; {}'",
        lower.join(":"),
        TREE.replace('\'', "'\\''")
    ))?;
    let unpacked = scratch.shell(&format!("cd bundle/rootfs; {TREE}"))?;
    if mounted == unpacked && mounted.contains("./replaced d") && !mounted.contains("./gone") {
        return Ok(());
    }
    let differs = |line: &&str| !unpacked.lines().any(|other| other == *line);
    Err(format!("differs: {:#?}", mounted.lines().filter(differs).collect::<Vec<_>>()).into())
}

fn tags() -> Result<(), Failed> {
    let scratch = Scratch::new("tags");
    let mut layout = Layout::new();
    for tag in ["one", "two", "example.org/full:three"] {
        let layer = layout.layer(Tar::default().file(&tag.replace('/', "_"), b"x"));
        layout.image(&[layer], Some(tag), None);
    }
    layout.write(&scratch.dir.join("many"));
    scratch.refuse(
        "many",
        "there are several images in it: example.org/full:three, one, two (choose one with PATH:TAG)",
    )?;
    scratch.refuse("many:four", "there is no image four in it (there is one, two, example.org/full:three)")?;
    let (one, three) = (scratch.import("many:one")?, scratch.import("many:three")?);
    if one == three || scratch.import("many:example.org/full:three")? != three {
        return Err("the wrong image".into());
    }
    let outcome = scratch.image(&["ls", "--no-trunc"]);
    must(outcome.out.contains("many:one") && outcome.out.contains("example.org/full:three"), "names", &outcome)?;
    let outcome = scratch.image(&["ls", "-q"]);
    must(outcome.out.lines().all(|line| line.len() == 12), "short ids", &outcome)?;
    for words in ["many:one", &one[..10], &format!("sha256:{one}")] {
        let outcome = scratch.image(&["inspect", words]);
        must(outcome.out.starts_with(&format!("{{\"id\":\"{one}\"")), words, &outcome)?;
    }
    // A path that exists as it is goes before PATH:TAG.
    layout = Layout::new();
    let layer = layout.layer(Tar::default().file("literal", b"x"));
    layout.image(&[layer], None, None);
    layout.write(&scratch.dir.join("many:one"));
    let literal = scratch.import("many:one")?;
    if literal == one {
        return Err("the path with a colon was not taken".into());
    }
    let outcome = scratch.image(&["import", "many:two", "--name", "many:one"]);
    must(outcome.code == 0, "a name moves", &outcome)?;
    let outcome = scratch.image(&["inspect", &one]);
    must(outcome.out.contains("\"names\":[]"), "and the other lost it", &outcome)
}

fn platforms() -> Result<(), Failed> {
    let scratch = Scratch::new("platforms");
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut layout = Layout::new();
    for (architecture, variant) in [("s390x", ""), (own, ""), ("arm", "v9")] {
        let layer = layout.layer(Tar::default().file(architecture, b"x"));
        layout.image(&[layer], None, Some((architecture, variant)));
    }
    layout.nest();
    layout.write(&scratch.dir.join("nested"));
    let id = scratch.import("nested")?;
    let outcome = scratch.image(&["inspect", &id]);
    let hex = outcome.out.split("\"diff_id\":\"sha256:").nth(1).map(|rest| &rest[..64]).unwrap_or_default();
    let found = names(&scratch.dir.join("store/layers").join(hex).join("root"));
    must(found == [own], &format!("{found:?}"), &outcome)?;
    let mut layout = Layout::new();
    let layer = layout.layer(Tar::default().file("x", b"x"));
    layout.image(&[layer], None, Some(("s390x", "")));
    layout.write(&scratch.dir.join("other"));
    scratch.refuse("other", &format!("there is no image for linux/{own} in it (there is linux/s390x)"))?;
    for _ in 0..8 {
        layout.nest();
    }
    layout.write(&scratch.dir.join("deep"));
    scratch.refuse("deep", "its indexes are nested too deep")
}

fn old_docker() -> Result<(), Failed> {
    let scratch = Scratch::new("docker");
    let layer = Tar::default().file("hello", b"world").bytes();
    let config = format!(
        r#"{{"os":"linux","config":{{"Cmd":["x"]}},"rootfs":{{"diff_ids":["sha256:{0}","sha256:{0}"]}}}}"#,
        hex(&layer)
    );
    let name = format!("{}.json", hex(config.as_bytes()));
    let manifest =
        format!(r#"[{{"Config":"{name}","RepoTags":["old:1"],"Layers":["aa/layer.tar","bb/layer.tar"]}}]"#);
    let mut tar = Tar::default();
    tar.directory("aa/").file("aa/layer.tar", &layer).symlink("bb/layer.tar", "../aa/layer.tar");
    tar.file(&name, config.as_bytes()).file("manifest.json", manifest.as_bytes());
    fs::write(scratch.dir.join("old.tar"), tar.bytes())?;
    let id = scratch.import("old.tar")?;
    let outcome = scratch.image(&["ls", "--format", "json"]);
    must(outcome.out.contains("\"names\":[\"old:1\"]") && outcome.out.contains(&id), "its name", &outcome)?;
    let mut tar = Tar::default();
    tar.file("manifest.json", manifest.as_bytes()).file(&name, config.replace("\"x\"", "\"y\"").as_bytes());
    tar.file("aa/layer.tar", &layer).symlink("bb/layer.tar", "../aa/layer.tar");
    fs::write(scratch.dir.join("changed.tar"), tar.bytes())?;
    scratch.refuse("changed.tar", "has the digest sha256:")?;
    let mut tar = Tar::default();
    tar.file("manifest.json", manifest.as_bytes()).file(&name, config.as_bytes());
    tar.symlink("aa/layer.tar", "../../../../etc/passwd").symlink("bb/layer.tar", "aa/layer.tar");
    fs::write(scratch.dir.join("out.tar"), tar.bytes())?;
    scratch.refuse("out.tar", "a link in it leads out of it")
}

fn damaged() -> Result<(), Failed> {
    let scratch = Scratch::new("damaged");
    let mut layout = Layout::new();
    let bytes = Tar::default().file("hello", &[7; 5000]).bytes();
    let (digest, layer) = (hex(&bytes), layout.layer_bytes(&bytes));
    layout.image(&[layer], None, None);
    let blob = scratch.dir.join("L/blobs/sha256").join(&digest);
    let mut changed = bytes.clone();
    changed[600] ^= 1;
    for (contents, words) in
        [(Some(&changed[..]), "has the digest"), (Some(&bytes[..4000]), "ends within"), (None, "no such file")]
    {
        let _ = fs::remove_dir_all(scratch.dir.join("L"));
        layout.write(&scratch.dir.join("L"));
        match contents {
            Some(contents) => fs::write(&blob, contents)?,
            None => fs::remove_file(&blob)?,
        }
        scratch.refuse("L", words)?;
    }
    // A document in the place of which a device or a FIFO lies is not opened.
    Command::new("mkfifo").arg(&blob).status()?;
    scratch.refuse("L", "invalid argument")?;
    fs::remove_file(&blob)?;
    fs::write(&blob, &bytes)?;
    fs::write(scratch.dir.join("L/index.json"), vec![b' '; 5 << 20])?;
    scratch.refuse("L", "its document index.json is larger than 4 MiB")?;
    let outcome = scratch.image(&["ls", "-q"]);
    must(outcome.out.is_empty() && names(&scratch.dir.join("store/layers")).is_empty(), "nothing is there", &outcome)
}

fn no_images() -> Result<(), Failed> {
    let scratch = Scratch::new("none");
    scratch.refuse("missing", "open missing: no such file or directory, ENOENT")?;
    scratch.refuse("canary", "canary is a directory without the file oci-layout")?;
    fs::write(scratch.dir.join("text"), "text")?;
    scratch.refuse("text", "text is no image")?;
    fs::write(scratch.dir.join("empty"), "")?;
    scratch.refuse("empty", "empty is no image")?;
    fs::write(scratch.dir.join("squash"), "hsqs0123456789")?;
    scratch.refuse("squash", "a file system, squashfs")?;
    fs::write(scratch.dir.join("tar"), Tar::default().file("x", b"x").bytes())?;
    scratch.refuse("tar", "it has neither index.json nor manifest.json")?;
    fs::write(scratch.dir.join("gz"), b"\x1f\x8b\x08\0garbage")?;
    scratch.refuse("gz", "the archive:")?;
    let outcome = scratch.image(&["inspect", "nothing"]);
    must(outcome.code == 125 && outcome.err.contains("there is no image nothing"), "inspect", &outcome)?;
    let outcome = scratch.image(&["rm", "nothing"]);
    must(outcome.code == 125 && outcome.err.contains("there is no image nothing"), "rm", &outcome)?;
    let outcome = scratch.image(&["rm", "-f", "nothing"]);
    must(outcome.code == 0, "rm -f", &outcome)?;
    let outcome = scratch.image(&["import", "tar", "--max-unpacked", "lots"]);
    must(outcome.err.contains("--max-unpacked lots is not a size"), "a size", &outcome)
}

fn unknown() -> Result<(), Failed> {
    let scratch = Scratch::new("unknown");
    let mut layout = Layout::new();
    let layer = layout.layer(Tar::default().file("x", b"x"));
    layout.image(&[layer], None, None);
    let edits = [
        (
            "oci.image.layer.v1.tar\"",
            "oci.image.layer.v1.tar+gzip+encrypted\"",
            "tar+gzip+encrypted (nsctl cannot decrypt",
        ),
        ("oci.image.layer.v1.tar\"", "oci.image.layer.nondistributable.v1.tar\"", "nsctl downloads nothing"),
        (
            "oci.image.layer.v1.tar\"",
            "oci.image.layer.v1.tar+xz\"",
            "the media type application/vnd.oci.image.layer.v1.tar+xz",
        ),
        ("oci.image.config.v1+json", "helm.config", "configuration has the media type application/vnd.helm.config"),
        ("\"size\":", "\"urls\":[\"https://example.org\"],\"size\":", "a layer of the image is to be downloaded"),
        ("sha256:", "sha512:", "is not sha256: with 64 hexadecimal digits"),
    ];
    for (number, (from, to, words)) in edits.into_iter().enumerate() {
        let name = format!("L{number}");
        layout.write_edited(&scratch.dir.join(&name), |manifest| manifest.replace(from, to));
        scratch.refuse(&name, words)?;
    }
    Ok(())
}

fn hostile() -> Result<(), Failed> {
    if !have_gnu() {
        return Ok(());
    }
    let scratch = Scratch::new("hostile");
    let (canary, before) = (scratch.path("canary"), scratch.canary()?);
    let up = "../".repeat(12) + canary.trim_start_matches('/');
    type Hostile<'a> = (&'a dyn Fn(&mut Tar), &'a str);
    let cases: &[Hostile] = &[
        (&|tar| _ = tar.file("../escaped", b"x"), "entry ../escaped: the name has a \"..\""),
        (
            &|tar| _ = tar.symlink("s", &canary).file("s/escaped", b"x"),
            "entry s/escaped: a symbolic link among its parents",
        ),
        (&|tar| _ = tar.symlink("s", &up).file("s/escaped", b"x"), "leads above the root"),
        (&|tar| _ = tar.link("x", &format!("{canary}/inner/file")), "is not in this layer"),
        (&|tar| _ = tar.link("x", &format!("{up}/inner/file")), "which cannot be"),
        (&|tar| _ = tar.file(".wh...", b""), "names nothing that could be hidden"),
        (&|tar| _ = tar.file("f", b"x").change(|h| h[124..136].fill(0xff)), "the size is not a number"),
        (&|tar| _ = tar.pax(&[pax(b"path", b"a\0b")]).file("f", b"x"), "has a NUL"),
        (
            &|tar| _ = tar.pax(&[pax(b"SCHILY.xattr.trusted.overlay.redirect", b"/")]).directory("d"),
            "overlayfs's own",
        ),
    ];
    for (number, (make, words)) in cases.iter().enumerate() {
        let mut tar = Tar::default();
        make(&mut tar);
        let mut layout = Layout::new();
        let layer = layout.layer(&mut tar);
        layout.image(&[layer], None, None);
        let name = format!("hostile{number}");
        layout.write(&scratch.dir.join(&name));
        scratch.refuse(&name, words)?;
    }
    // What is allowed, but must not be followed either.
    let mut tar = Tar::default();
    tar.symlink("a", &format!("{canary}/inner/file"))
        .file("a", b"x")
        .symlink("b", &canary)
        .directory("b")
        .mode(0o700);
    tar.symlink("w", &canary).file("w/.wh.inner", b"").file("w/inner/.wh..wh..opq", b"");
    tar.directory("c").mode(0o777).symlink("c", &canary).directory("./").mode(0o755);
    let mut layout = Layout::new();
    let layer = layout.layer(&mut tar);
    layout.image(&[layer], None, None);
    layout.write(&scratch.dir.join("allowed"));
    scratch.import("allowed")?;
    let after = scratch.canary()?;
    if before == after { Ok(()) } else { Err(format!("the canary was\n{before}and is\n{after}").into()) }
}

fn bombs() -> Result<(), Failed> {
    if !have_gnu() {
        return Ok(());
    }
    let scratch = Scratch::new("bombs");
    let mut layout = Layout::new();
    let mut tar = Tar::default();
    for number in 0..600 {
        tar.file(&format!("{number}"), b"");
    }
    let layer = layout.layer(&mut tar);
    layout.image(&[layer], None, None);
    layout.write(&scratch.dir.join("many"));
    let outcome = scratch.image(&["import", "many", "--max-unpacked", "1m"]);
    must(outcome.code == 125 && outcome.err.contains("unpacks to more than 1048576 bytes"), "many files", &outcome)?;
    scratch.settled("many")?;
    scratch.import("many")?;
    // 20 GB of zeros in 20 MB, as an archive that never comes to a document.
    scratch
        .shell("head -c 1G /dev/zero | gzip > part; for i in 1 2 3 4 5 6 7 8 9 10; do cat part; done > bomb.gz")?;
    scratch.refuse("bomb.gz", "it has neither index.json nor manifest.json")?;
    let mut entry = Tar::default();
    entry.entry(b"blobs/big", b'0', b"", 60 << 30, b"");
    fs::write(scratch.dir.join("head"), &entry.bytes()[..512])?;
    scratch.shell("gzip -c head > bomb2.gz; cat bomb.gz >> bomb2.gz")?;
    let outcome = scratch.image(&["import", "bomb2.gz", "--max-unpacked", "256m"]);
    must(outcome.code == 125 && outcome.err.contains("unpacks to more than 268435456 bytes"), "a bomb", &outcome)?;
    scratch.settled("bomb2.gz")
}

fn shared_layers() -> Result<(), Failed> {
    let scratch = Scratch::new("shared");
    let mut layout = Layout::new();
    let (both, first, second) = (
        layout.layer(Tar::default().file("both", b"1")),
        layout.layer(Tar::default().file("first", b"2")),
        layout.layer(Tar::default().file("second", b"3")),
    );
    // One image has a layer twice, which the store does not mind.
    layout.image(&[both.clone(), first, both.clone()], Some("first"), None);
    layout.image(&[both, second], Some("second"), None);
    layout.write(&scratch.dir.join("L"));
    let layers = || names(&scratch.dir.join("store/layers")).len();
    scratch.import("L:first")?;
    scratch.import("L:second")?;
    let count = |expected: usize| {
        if layers() == expected { Ok(()) } else { Err(Failed::from(format!("{} layers, not {expected}", layers()))) }
    };
    count(3)?;
    let outcome = scratch.image(&["import", "L:first", "--name", "again"]);
    must(outcome.code == 0, "a second name", &outcome)?;
    let id = outcome.out.trim().to_string();
    let outcome = scratch.image(&["rm", &id]);
    must(outcome.code == 125 && outcome.err.contains("has several names: L:first, again"), "by id", &outcome)?;
    let outcome = scratch.image(&["rm", "again"]);
    must(outcome.code == 0 && outcome.out == "untagged again\n", "only the name", &outcome)?;
    count(3)?;
    let outcome = scratch.image(&["rm", "L:first"]);
    must(outcome.code == 0 && outcome.out == "removed L:first\n", "the image", &outcome)?;
    count(2)?;
    let outcome = scratch.image(&["rm", "L:second"]);
    must(outcome.code == 0, "the other", &outcome)?;
    count(0)?;
    scratch.settled("rm")
}

fn removal() -> Result<(), Failed> {
    if !have_gnu() {
        return Ok(());
    }
    let scratch = Scratch::new("removal");
    let (canary, before) = (scratch.path("canary"), scratch.canary()?);
    let mut tar = Tar::default();
    tar.directory("d").symlink("d/out", &canary).symlink("1", &canary).directory("2").mode(0).file("2/x", b"");
    // Deeper than any path may be long: each link leads to where the last one ended.
    let step = "d/".repeat(100);
    tar.pax(&[pax(b"path", step.as_bytes())])
        .directory("x")
        .pax(&[pax(b"linkpath", step.as_bytes())])
        .symlink("l1", "x");
    tar.pax(&[pax(b"path", format!("l1/{step}").as_bytes())])
        .directory("x")
        .pax(&[pax(b"linkpath", format!("l1/{step}").as_bytes())])
        .symlink("l2", "x");
    tar.pax(&[pax(b"path", format!("l2/{step}").as_bytes())]).directory("x");
    let mut layout = Layout::new();
    let layer = layout.layer(&mut tar);
    layout.image(&[layer], None, None);
    layout.write(&scratch.dir.join("L"));
    let id = scratch.import("L")?;
    let outcome = scratch.image(&["rm", &id]);
    must(outcome.code == 0, "rm", &outcome)?;
    scratch.settled("rm")?;
    let after = scratch.canary()?;
    if before == after { Ok(()) } else { Err(format!("the canary was\n{before}and is\n{after}").into()) }
}

fn in_use() -> Result<(), Failed> {
    let scratch = Scratch::new("use");
    let mut layout = Layout::new();
    let layer = layout.layer(Tar::default().file("x", b"x"));
    layout.image(&[layer], Some("used"), None);
    layout.write(&scratch.dir.join("L"));
    let id = scratch.import("L")?;
    let held = fs::File::open(scratch.dir.join("store/images").join(&id))?;
    // SAFETY: the descriptor is open.
    if unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(&held), libc::LOCK_SH) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let outcome = scratch.image(&["rm", "-f", "L:used"]);
    must(
        outcome.code == 125 && outcome.err.contains("L:used is in use by a running container"),
        "refused",
        &outcome,
    )?;
    scratch.import("L")?;
    drop(held);
    let outcome = scratch.image(&["rm", "L:used"]);
    must(outcome.code == 0, "free again", &outcome)
}

fn parallel() -> Result<(), Failed> {
    let scratch = Scratch::new("parallel");
    big_layout().write(&scratch.dir.join("L"));
    let all: Vec<Running> = (0..8).map(|_| Running::start(&mut scratch.command(&["import", "L"]))).collect();
    let ids: Vec<Outcome> = all.into_iter().map(outcome).collect();
    for outcome in &ids {
        must(outcome.code == 0 && outcome.out == ids[0].out, "all the same", outcome)?;
    }
    scratch.settled("parallel imports")?;
    // While some bring it in, others take it away: each says what it did, and none breaks.
    for _ in 0..6 {
        let imports: Vec<Running> = (0..3).map(|_| Running::start(&mut scratch.command(&["import", "L"]))).collect();
        let removals: Vec<Running> =
            (0..2).map(|_| Running::start(&mut scratch.command(&["rm", "-f", ids[0].out.trim()]))).collect();
        for outcome in imports.into_iter().map(outcome) {
            must(outcome.code == 0, "an import", &outcome)?;
        }
        for outcome in removals.into_iter().map(outcome) {
            must(
                outcome.code == 0 || outcome.err.contains("there is no image") || outcome.err.contains("in use"),
                "a removal",
                &outcome,
            )?;
        }
    }
    scratch.import("L")?;
    Ok(())
}

/// Two layers that take some tens of milliseconds to unpack.
fn big_layout() -> Layout {
    let mut layout = Layout::new();
    let layers: Vec<_> = (0..2)
        .map(|layer| {
            let mut tar = Tar::default();
            for number in 0..300 {
                tar.file(&format!("d{}/{number}", number % 10), &vec![layer; 4000]);
            }
            layout.layer(&mut tar)
        })
        .collect();
    layout.image(&layers, Some("big"), None);
    layout
}

fn killed() -> Result<(), Failed> {
    if !have_gnu() {
        return Ok(());
    }
    let scratch = Scratch::new("killed");
    big_layout().write(&scratch.dir.join("L"));
    let start = std::time::Instant::now();
    let id = scratch.import("L")?;
    let whole = start.elapsed();
    let tree = scratch.shell("cd store/layers; find . -type f -exec sha256sum {} + | sort")?;
    let mut seen = [0, 0];
    for moment in 0..60u32 {
        fs::remove_dir_all(scratch.dir.join("store"))?;
        let child = Running::start(&mut scratch.command(&["import", "L"]));
        std::thread::sleep(whole * moment / 55 + Duration::from_micros(u64::from(moment) * 37 % 500));
        drop(child);
        let outcome = scratch.image(&["ls", "-q", "--no-trunc"]);
        let there = outcome.out == format!("{id}\n");
        must(outcome.code == 0 && (there || outcome.out.is_empty()), &format!("moment {moment}"), &outcome)?;
        seen[usize::from(there)] += 1;
        for layer in names(&scratch.dir.join("store/layers")) {
            let files = scratch.shell(&format!("find store/layers/{layer}/root -type f | wc -l"))?;
            if files.trim() != "300" {
                return Err(format!("moment {moment}: {layer} has {files} files").into());
            }
        }
        scratch.import("L")?;
        let again = scratch.shell("cd store/layers; find . -type f -exec sha256sum {} + | sort")?;
        if again != tree {
            return Err(format!("moment {moment}: the layers differ").into());
        }
    }
    println!("killed before it was there {} times, after {} times", seen[0], seen[1]);
    Ok(())
}

fn foreign_store() -> Result<(), Failed> {
    let scratch = Scratch::new("foreign");
    fs::create_dir(scratch.dir.join("store"))?;
    fs::set_permissions(scratch.dir.join("store"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let outcome = scratch.image(&["ls"]);
    must(outcome.code == 125 && outcome.err.contains("others may write there"), "writable for all", &outcome)?;
    let outcome = scratch.image(&["ls", "--store", "/proc/nsctl"]);
    must(outcome.code == 125 && outcome.err.contains("nsctl image import makes it"), "not there", &outcome)?;
    big_layout().write(&scratch.dir.join("L"));
    let outcome = scratch.image(&["import", "--store", "/proc/nsctl", "L"]);
    must(outcome.code == 125 && outcome.err.contains("--store DIR"), "a place where nothing can be made", &outcome)?;
    let outcome = scratch.image(&["import", "--store", &scratch.path("deep/er/store"), "L"]);
    must(outcome.code == 0, "made with its parents", &outcome)?;
    let mode = fs::metadata(scratch.dir.join("deep/er/store"))?.mode() & 0o777;
    must(mode == 0o700, "for its owner alone", &outcome)
}
