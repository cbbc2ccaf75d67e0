//! `--image`: a file system in a file as the root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::Failed;

use crate::Case;
use crate::host::{Scratch, seen};
use crate::nsctl::{Outcome, must, nsctl, shell};
use crate::root::Root;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("image_of_each_kind_is_a_root", each_kind),
    ("image_is_found_by_its_content", by_content),
    ("image_stays_as_it_is", unchanged),
    ("image_read_only_refuses_every_change", read_only),
    ("image_changes_are_kept_in_overlay_upper", upper),
    ("image_can_be_used_by_two_at_once", twice),
    ("image_that_is_cut_short_is_said", cut_short),
    ("image_that_is_damaged_is_said", damaged),
    ("image_that_is_none_is_said", none),
    ("image_cannot_be_written_to", rw),
];

const KINDS: [&str; 3] = ["squashfs", "erofs", "ext4"];

/// An image of each kind of a root without the probe, or why there is none.
pub(crate) fn images() -> &'static BTreeMap<&'static str, String> {
    static IMAGES: OnceLock<BTreeMap<&str, String>> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let known = fs::read_to_string("/proc/filesystems").unwrap();
        let mut images = BTreeMap::new();
        for kind in KINDS {
            // Without the module no image of that kind can be mounted.
            if !known.contains(kind) {
                eprintln!("not tried: this kernel has no {kind}");
            } else if let Some(path) = made(kind) {
                images.insert(kind, path);
            } else {
                eprintln!("not tried: there is no image of {kind}, nor what makes one");
            }
        }
        images
    })
}

fn made(kind: &str) -> Option<String> {
    let ready = format!("/images/busybox.{kind}");
    if Path::new(&ready).exists() || std::env::var_os("NSCTL_QEMU").is_some() {
        return Path::new(&ready).exists().then_some(ready);
    }
    let (program, package) = match kind {
        "squashfs" => ("mksquashfs", "squashfs-tools"),
        "erofs" => ("mkfs.erofs", "erofs-utils"),
        _ => ("mke2fs", "e2fsprogs"),
    };
    // Removed with all else that has this prefix.
    let image = std::env::temp_dir().join(format!("nsctl-boxes-{}-image.{kind}", std::process::id()));
    let root = Root::plain("image");
    let (image, root) = (image.to_str()?, root.path());
    let words = match kind {
        "squashfs" => vec![root, image, "-no-progress", "-noappend", "-comp", "gzip"],
        "erofs" => vec![image, root],
        _ => vec!["-q", "-t", "ext4", "-d", root, image, "16M"],
    };
    if !has(program) {
        install(package);
    }
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let run = |program: &str, words: &[&str]| {
        Command::new(program).args(words).env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    run(program, &words).is_ok_and(|status| status.success()).then(|| image.to_string())
}

fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

fn install(package: &str) {
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).stderr(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let words = ["install", "-y", "--no-install-recommends", package];
    if !apt(&words) && apt(&["update"]) {
        apt(&words);
    }
}

fn inside(image: &str, options: &[&str], script: &str) -> Outcome {
    shell(&[&["--image", image], options].concat(), script)
}

fn each_kind() -> Result<(), Failed> {
    for (kind, image) in images() {
        let script = "sed -n 1p /etc/passwd; echo x > /new && rm /bin/ls && cat /new; cat /proc/self/mountinfo";
        let outcome = inside(image, &[], script);
        must(outcome.out.starts_with("root:x:0:0:root:/root:/bin/sh\nx\n"), kind, &outcome)?;
        must(seen(&outcome.out, "/").contains(&"/ rw,nodev,relatime overlay".into()), "the root", &outcome)?;
        must(!outcome.out.contains(&format!(" - {kind} ")), "the image itself is out of sight", &outcome)?;
    }
    Ok(())
}

fn by_content() -> Result<(), Failed> {
    let scratch = Scratch::new("extension");
    for (index, (kind, image)) in images().iter().enumerate() {
        let other = scratch.path(&format!("image.{}", KINDS[(index + 1) % 3]));
        fs::copy(image, &other)?;
        let outcome = inside(&other, &[], "echo fine");
        must(outcome.out == "fine\n", kind, &outcome)?;
        fs::remove_file(other)?;
    }
    Ok(())
}

fn unchanged() -> Result<(), Failed> {
    for (kind, image) in images() {
        let before = (fs::read(image)?, fs::metadata(image)?.mtime());
        let outcome = inside(image, &[], "echo x > /etc/passwd; rm -r /bin/[a-m]*; sync");
        must((fs::read(image)?, fs::metadata(image)?.mtime()) == before, kind, &outcome)?;
    }
    Ok(())
}

fn read_only() -> Result<(), Failed> {
    for (kind, image) in images() {
        let outcome = inside(image, &["--read-only"], "touch /x; rm /etc/passwd");
        must(outcome.err.matches("Read-only file system").count() == 2, kind, &outcome)?;
    }
    Ok(())
}

fn upper() -> Result<(), Failed> {
    let scratch = Scratch::new("image-upper");
    for (kind, image) in images() {
        let up = scratch.path(kind);
        let outcome = inside(image, &["--overlay-upper", &up], "echo x > /etc/kept; rm /etc/group");
        must(outcome.code == 0, kind, &outcome)?;
        let outcome = inside(image, &["--overlay-upper", &up], "cat /etc/kept; test -e /etc/group || echo gone");
        must(outcome.out == "x\ngone\n", kind, &outcome)?;
    }
    Ok(())
}

fn twice() -> Result<(), Failed> {
    for (kind, image) in images() {
        let started: Vec<_> =
            (0..6).map(|_| crate::nsctl::spawn(&["run", "--image", image, "sh", "-c", "echo ran"])).collect();
        for one in started {
            let outcome = crate::nsctl::outcome(one);
            must(outcome.out == "ran\n", kind, &outcome)?;
        }
    }
    Ok(())
}

/// Whatever the kernel makes of it: an error of nsctl's with a reason, or a command that cannot be read.
fn must_fail(what: &str, outcome: &Outcome) -> Result<(), Failed> {
    let known = match outcome.code {
        125 => outcome.err.contains("damaged"),
        126 | 127 => outcome.err.starts_with("nsctl: execute "),
        // The program was read up to where it is broken.
        code => code > 128 || outcome.err.contains("Input/output error"),
    };
    must(known, what, outcome)
}

fn cut_short() -> Result<(), Failed> {
    let scratch = Scratch::new("short");
    for (kind, image) in images() {
        let whole = fs::read(image)?;
        for length in [4096, whole.len() / 2] {
            let file = scratch.path("image");
            fs::write(&file, &whole[..length])?;
            let outcome = nsctl(&["run", "--image", &file, "true"]);
            must_fail(&format!("{length} bytes of {kind}"), &outcome)?;
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

/// All but the first sector: the kind is still to be seen.
fn damaged() -> Result<(), Failed> {
    let scratch = Scratch::new("damaged");
    for (kind, image) in images() {
        let mut bytes = fs::read(image)?;
        let after = if *kind == "squashfs" { 8 } else { 1024 + 64 };
        bytes[after..1 << 16].fill(0xa5);
        let file = scratch.path("image");
        fs::write(&file, &bytes)?;
        let outcome = nsctl(&["run", "--image", &file, "true"]);
        let wanted = format!("nsctl: mount the {kind} image: ");
        must(
            outcome.code == 125 && outcome.err.starts_with(&wanted) && outcome.err.contains("damaged"),
            kind,
            &outcome,
        )?;
        fs::remove_file(&file)?;
    }
    Ok(())
}

fn none() -> Result<(), Failed> {
    let scratch = Scratch::new("no-image");
    let (text, empty, dir) = (scratch.file("text", "no image\n"), scratch.file("empty", ""), scratch.dir("dir"));
    let unknown = |file: &str| {
        format!(
            "nsctl: --image {file} is of no known kind (there are squashfs, erofs and ext4 images, OCI layouts, and archives of docker save)\n"
        )
    };
    for (file, wanted) in [
        (&text, unknown(&text)),
        (&empty, unknown(&empty)),
        (&dir, format!("nsctl: --image {dir} is a directory, and no OCI layout (if it is a root: --rootfs)\n")),
    ] {
        let outcome = nsctl(&["run", "--image", file, "true"]);
        must(outcome.code == 125 && outcome.err == wanted, &wanted, &outcome)?;
    }
    Ok(())
}

fn rw() -> Result<(), Failed> {
    let outcome = nsctl(&["run", "--image", "x", "--rw", "true"]);
    let wanted = "nsctl: --rw: an image cannot be written to (--overlay-upper DIR keeps the changes beside it)\n";
    must(outcome.code == 125 && outcome.err == wanted, wanted, &outcome)
}
