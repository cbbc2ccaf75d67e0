//! `nsctl cp` against what docker's documentation says, with the machine's own tar at the other end.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;

use crate::Case;
use crate::host;
use crate::life::{Kept, says, until};
use crate::nsctl::{Outcome, Running, binary, must, nsctl, outcome, state};
use crate::root::{self, Root};
use crate::verbs::Box;

pub(crate) const CASES: &[(&str, Case)] = &[
    ("cp_out_and_in", trees),
    ("cp_owners_and_modes", owners),
    ("cp_speaks_tar", tar),
    ("cp_leaves_nodes_and_the_kernels_files", nodes),
    ("cp_writes_over_what_is_mounted", mounted),
    ("cp_keeps_extended_attributes", attributes),
    ("cp_of_one_that_is_created", created),
    ("cp_of_one_that_has_ended", ended),
    ("cp_of_one_that_has_ended_is_killed", killed),
    ("cp_says_what_is_wrong", wrong),
];

/// A directory of the host's, removed with it.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-boxes-{}-copy-{name}", std::process::id()));
        root::remove(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        root::remove(&self.0);
    }
}

pub(crate) fn cp(args: &[&str]) -> Outcome {
    nsctl(&[&["cp"], args].concat())
}

/// A container with a few files of its own, once they are there.
fn started(root: &Root, script: &str) -> Box {
    let script = format!("{script}; touch /tmp/ready; sleep 60; true");
    let container = Box::new("files", &["--cap-add", "MKNOD", "--rootfs", root.path(), "--rw"], &script);
    crate::cases::wait_for(&root.at("tmp/ready").to_string_lossy());
    container
}

fn trees() -> Result<(), Failed> {
    let root = Root::plain("trees");
    let container =
        started(&root, "mkdir -p /d/sub; echo one > /d/f; ln -s f /d/l; ln /d/f /d/sub/g; ln -s /d /away");
    let place = Place::new("trees");
    let out = cp(&["files:/d", &place.path("")]);
    must(out.code == 0 && out.err.is_empty(), "a directory comes out", &out)?;
    let linked = fs::metadata(place.path("d/f"))?.ino() == fs::metadata(place.path("d/sub/g"))?.ino();
    must(place.text("d/f") == "one\n" && linked, "its files", &out)?;
    must(fs::read_link(place.path("d/l"))?.to_str() == Some("f"), "its links", &out)?;
    let out = cp(&["files:d/sub/.", &place.path("new")]);
    must(out.code == 0 && place.text("new/g") == "one\n", "what is in it, without a slash in front", &out)?;
    let out = cp(&["files:/away", &place.path("away")]);
    must(out.code == 0 && fs::symlink_metadata(place.path("away"))?.is_symlink(), "a link as a link", &out)?;
    let out = cp(&["-L", "files:/away", &place.path("followed")]);
    must(out.code == 0 && place.text("followed/f") == "one\n", "-L follows it, inside", &out)?;
    fs::write(place.path("file"), "two\n")?;
    let out = cp(&[&place.path("file"), "files:/d/f"]);
    must(out.code == 0 && fs::read_to_string(root.at("d/f"))? == "two\n", "a file over a file", &out)?;
    let out = cp(&[&place.path("d"), "files:/away/"]);
    must(out.code == 0 && root.at("d/d/sub/g").exists(), "into the directory that a link leads to", &out)?;
    container.end();
    Ok(())
}

fn owners() -> Result<(), Failed> {
    let root = Root::plain("owners");
    let script = "mkdir /d; echo x > /d/f; chmod 4755 /d/f; chmod 2770 /d; chown 5:6 /d/f /d; chmod u+s /d/f; touch -d '2001-02-03' /d/f /d";
    let container = started(&root, script);
    let place = Place::new("owners");
    let seen = |path: &str| {
        let stat = fs::symlink_metadata(path).unwrap();
        (stat.uid(), stat.gid(), stat.permissions().mode() & 0o7777, stat.mtime())
    };
    let inside = seen(&root.at("d/f").to_string_lossy());
    let out = cp(&["files:/d", &place.path("own")]);
    must(
        out.code == 0 && seen(&place.path("own/f")) == (0, 0, 0o755, inside.3),
        "the caller's, without set-id",
        &out,
    )?;
    must(seen(&place.path("own")).2 == 0o770 && seen(&place.path("own")).3 == inside.3, "the directory", &out)?;
    let out = cp(&["-a", "files:/d", &place.path("kept")]);
    must(out.code == 0 && seen(&place.path("kept/f")) == inside && inside.2 == 0o4755, "-a keeps them", &out)?;
    let out = cp(&[&place.path("kept"), "files:/back"]);
    must(
        out.code == 0 && seen(&root.at("back/f").to_string_lossy()) == (0, 0, 0o755, inside.3),
        "root's inside",
        &out,
    )?;
    container.end();
    Ok(())
}

fn tar() -> Result<(), Failed> {
    let root = Root::plain("tar").dir("usr/lib").symlink("usr/lib", "lib");
    let long = "n".repeat(150);
    let container = started(&root, &format!("mkdir /d; echo x > /d/{long}; chown 70000:5 /d; seq 100000 > /d/seq"));
    let place = Place::new("tar");
    let shell = |script: &str| -> Result<Outcome, Failed> {
        let script = format!("n() {{ {} \"$@\"; }}; cd {}; {script}", binary(), place.path(""));
        let output =
            Command::new("sh").args(["-c", &script]).env("NSCTL_ROOT", state()).stdin(Stdio::null()).output()?;
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    };
    let out = shell("n cp files:/d - | tar xp && stat -c '%u %g' d && seq 100000 | cmp - d/seq && ls d")?;
    must(out.code == 0 && out.out == format!("70000 5\n{long}\nseq\n"), "tar unpacks it", &out)?;
    let gnu = shell("tar --version")?.out.contains("GNU");
    if !gnu {
        host::skip("this tar cannot make an archive of another owner's files");
        container.end();
        return Ok(());
    }
    let out = shell(
        "mkdir -p t/lib && echo y > t/lib/y && tar cz --owner=7 -C t lib/y | n cp - files:/ && n cp files:/usr/lib/y -|tar tv",
    )?;
    must(out.code == 0 && out.out.contains(" 7/0 ") && root.at("usr/lib/y").exists(), "it unpacks tar's", &out)?;
    let out = shell("echo no tar at all, and long enough for a header | n cp - files:/")?;
    must(out.code == 1 && out.err.contains("standard input"), "no archive", &out)?;
    let out = shell("tar c t | n cp - files:/nowhere")?;
    must(out.code == 1 && out.err.contains("an archive goes into a directory"), "no directory", &out)?;
    container.end();
    Ok(())
}

fn nodes() -> Result<(), Failed> {
    let root = Root::plain("nodes");
    let container = started(&root, "mkdir /d; mkfifo /d/p; mknod /d/null c 1 3; echo x > /d/f");
    let place = Place::new("nodes");
    let out = cp(&["files:/d", &place.path("plain")]);
    let left_out = |name: &str| out.err.contains(&format!("plain/{name} is left out"));
    must(out.code == 0 && left_out("p") && left_out("null"), "nodes are left out and named", &out)?;
    must(fs::read_dir(place.path("plain"))?.count() == 1, "nothing but the file", &out)?;
    let out = cp(&["-a", "files:/d", &place.path("all")]);
    let null = fs::metadata(place.path("all/null"))?;
    must(out.code == 0 && null.rdev() == libc::makedev(1, 3), "-a makes them", &out)?;
    let out = cp(&["files:/proc/sys", &place.path("sys")]);
    must(out.code == 1 && out.err.contains("is the kernel's and not copied"), "not the kernel's", &out)?;
    let out = cp(&["files:/", &place.path("root")]);
    must(out.code == 0 && fs::read_dir(place.path("root/proc"))?.count() == 0, "an empty /proc", &out)?;
    container.end();
    Ok(())
}

fn mounted() -> Result<(), Failed> {
    let (root, place) = (Root::plain("mounted").file("f", "below"), Place::new("mounted"));
    fs::write(place.path("shared"), "old")?;
    fs::write(place.path("new"), "new")?;
    let share = format!("{}:/f", place.path("shared"));
    let container = Box::new("files", &["--rootfs", root.path(), "--rw", "-v", &share], "sleep 60; true");
    let out = cp(&[&place.path("new"), "files:/f"]);
    must(out.code == 0 && place.text("shared") == "new", "written where it is", &out)?;
    must(fs::read_to_string(root.at("f"))? == "below", "and not below", &out)?;
    container.end();
    Ok(())
}

/// False: the file system has none of that kind, as tmpfs before 6.6.
fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    let (path, name) = (CString::new(path.as_os_str().as_bytes()).unwrap(), CString::new(name).unwrap());
    // SAFETY: texts that end in NUL, and a buffer as long as we say.
    let set = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    let error = std::io::Error::last_os_error();
    assert!(set == 0 || error.raw_os_error() == Some(libc::ENOTSUP), "{name:?}: {error}");
    set == 0
}

/// With -a and in archives: the users' own and capabilities, and none that means something to somebody else.
fn attributes() -> Result<(), Failed> {
    // cap_net_raw, permitted and effective (linux/capability.h, VFS_CAP_REVISION_2).
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let root = Root::plain("attributes").file("d/f", "x").file("d/many", "").dir("t");
    let here = || host::attributes(&root.at("d/f")).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    if !set_attribute(&root.at("d/f"), "user.colour", b"red\0\n=") {
        host::skip("the file system of the temporary files has no attributes of users");
        return Ok(());
    }
    set_attribute(&root.at("d/f"), "security.capability", &capability);
    for name in ["user.overlay.opaque", "user.a=b", "trusted.secret"] {
        set_attribute(&root.at("d/f"), name, b"y");
    }
    set_attribute(&root.at("d"), "user.kind", b"directory");
    (0..12).for_each(|number| _ = set_attribute(&root.at("d/many"), &format!("user.{number:0200}"), b"v"));
    let (all, own) = (here(), host::attributes(&root.at("d/f")));
    must(all.len() == 5, &format!("{all:?}"), &nsctl(&["version"]))?;
    let kept: Vec<_> =
        own.into_iter().filter(|(name, _)| ["user.colour", "security.capability"].contains(&name.as_str())).collect();
    let container = started(&root, "true");
    let place = Place::new("attributes");
    let of = |path: &str| host::attributes(&place.0.join(path));
    let out = cp(&["files:/d", &place.path("plain")]);
    must(out.code == 0 && of("plain/f").is_empty() && of("plain").is_empty(), "none without -a", &out)?;
    let out = cp(&["-a", "files:/d", &place.path("kept")]);
    must(out.code == 0 && out.err.is_empty() && of("kept/f") == kept && of("kept/many").len() == 12, "-a", &out)?;
    must(of("kept") == [("user.kind".to_string(), b"directory".to_vec())], "of a directory", &out)?;
    let out = cp(&["-a", &place.path("kept"), "files:/t"]);
    must(out.code == 0 && host::attributes(&root.at("t/kept/f")) == kept, "and back", &out)?;
    let script = format!("{0} cp files:/d/. - | {0} cp - files:/t", binary());
    let output = Command::new("sh").args(["-c", &script]).env("NSCTL_ROOT", state()).output()?;
    let there = host::attributes(&root.at("t/f")) == kept && host::attributes(&root.at("t/many")).len() == 12;
    must(output.status.success() && there, "by way of an archive", &out)?;
    container.end();
    Ok(())
}

/// Its files are there, and are those that it will have.
fn created() -> Result<(), Failed> {
    let root = Root::plain("created").file("f", "of the root");
    let place = Place::new("created");
    fs::write(place.path("new"), "new")?;
    let kept = Kept::made("create", &["--name", "files", "--rootfs", root.path(), "--", "cat", "/new"])?;
    let out = cp(&["files:/f", &place.path("f")]);
    must(out.code == 0 && place.text("f") == "of the root", "out", &out)?;
    let out = cp(&[&place.path("new"), "files:/"]);
    must(out.code == 0 && !root.at("new").exists(), "in, to memory", &out)?;
    nsctl(&["start", "files"]);
    let waited = nsctl(&["wait", "files"]);
    must(nsctl(&["logs", "files"]).out == "new", "its command finds it", &waited)?;
    drop(kept);
    Ok(())
}

fn ended() -> Result<(), Failed> {
    let (root, place) = (Root::plain("ended").file("f", "of the root"), Place::new("ended"));
    let (upper, shared) = (place.path("upper"), place.path("shared"));
    fs::create_dir(&shared)?;
    fs::write(place.path("new"), "new")?;
    let new = place.path("new");
    let share = format!("{shared}:/shared");
    let all = ["--rootfs", root.path(), "-v", &share, "-m", "64m", "--pidfile", &place.path("pid")];
    for (options, stays) in
        [(&["--overlay"][..], false), (&["--overlay-upper", &upper], true), (&["-t"], false), (&["--rw"], true)]
    {
        let words = ["--", "sh", "-c", "echo changed > /f; echo made > /made; echo said; exit 3"];
        let kept = Kept::made("run", &[&["-d", "--name", "files"], &all[..], options, &words].concat())?;
        says(&["wait", "files"], 0, "3\n")?;
        let before = kept.inspected();
        fs::remove_file(place.path("pid"))?;
        let out = cp(&["files:/f", &place.path("f")]);
        let text = place.text("f");
        must(out.code == 0 && (text == "changed\n") == stays, &format!("{options:?}: {text}"), &out)?;
        let warned = out.err.contains("files has ended, and with it what it changed in memory");
        must(warned != stays && (stays || text == "of the root"), "it says so", &out)?;
        let out = cp(&["files:/made", &place.path("made")]);
        must((out.code == 0) == stays, "what it made", &out)?;
        let out = cp(&[&new, "files:/etc/new"]);
        let refused = out.code == 1 && out.err.contains("has that in memory, made anew at each start");
        must(if stays { out.code == 0 } else { refused }, &format!("{options:?}: into its root"), &out)?;
        let out = cp(&[&new, "files:/shared"]);
        must(out.code == 0 && place.text("shared/new") == "new", "into a volume", &out)?;
        let out = cp(&[&new, "files:/dev/shm"]);
        must(out.code == 1 && out.err.contains("has that in memory"), "not into what goes at once", &out)?;
        // From where one is, and as an archive.
        let mut out = crate::nsctl::command(&["cp", "files:etc/passwd", "here"]);
        let out = outcome(Running::start(out.current_dir(&place.0)));
        must(out.code == 0 && place.text("here").contains("root:x:0"), "to a relative path", &out)?;
        let out = cp(&["files:/etc", "-"]);
        must(out.code == 0 && out.out.contains("ustar"), "as an archive", &out)?;
        assert_eq!(before, kept.inspected());
        assert!(!fs::exists(place.path("pid"))?, "it was not started");
        says(&["logs", "files"], 0, if options == ["-t"] { "said\r\n" } else { "said\n" })?;
        says(&["start", "files"], 0, "files\n")?;
        says(&["wait", "files"], 0, "3\n")?;
        fs::remove_file(place.path("shared/new"))?;
    }
    // What a start needs and is not there is what cp says, too.
    let kept = Kept::made("run", &[&["-d", "--name", "files"], &all[..], &["--", "true"]].concat())?;
    says(&["wait", "files"], 0, "0\n")?;
    fs::remove_dir(&shared)?;
    let out = cp(&["files:/f", &place.path("f")]);
    must(out.code == 1 && out.err.contains("make the files of container files"), "why not", &out)?;
    assert_eq!(kept.shown("state"), "exited (0)");
    Ok(())
}

/// Nothing of the short-lived files stays, and it can be started.
fn killed() -> Result<(), Failed> {
    let (root, place) = (Root::plain("killed"), Place::new("killed-cp"));
    let kept = Kept::made(
        "run",
        &["-d", "--name", "files", "--rootfs", root.path(), "--overlay-upper", &place.path("up"), "--", "true"],
    )?;
    says(&["wait", "files"], 0, "0\n")?;
    let before = kept.inspected();
    for moment in 0..40u64 {
        let running = crate::nsctl::spawn(&["cp", "files:/", &place.path("out")]);
        std::thread::sleep(Duration::from_micros(moment * 300));
        drop(running);
    }
    until("it is as it was", || before == kept.inspected())?;
    // What the last of them made is its own until it has heard of the end.
    until("it can be started", || nsctl(&["start", "files"]).out == "files\n")?;
    says(&["wait", "files"], 0, "0\n")?;
    Ok(())
}

fn wrong() -> Result<(), Failed> {
    let root = Root::plain("wrong");
    let container = started(&root, "mkdir /d");
    let place = Place::new("wrong");
    fs::write(place.path("f"), "")?;
    let file = place.path("f");
    for (args, said) in [
        (&["files:/none", "."][..], "in container files: copy /none: no such file"),
        (&[&file, "files:/none/"], "a file is not put into a missing one"),
        (&[&file, "files:/none/f"], "in container files: copy to /none/f: no such file"),
        (&["/none", "files:/d"], "on the host: copy /none: no such file"),
        (&["files:/d", "/none/d"], "on the host: copy to /none/d: no such file"),
        (&["files:/d", &file], "it is no directory"),
        (&[&file, &file], "neither is in a container"),
        (&["files:/d", "files:/e"], "both are in containers"),
        (&["nobody:/d", "."], "nobody"),
        (&["files:/d"], "takes a source and a destination"),
    ] {
        let out = cp(args);
        must(out.code == if args.len() == 2 { 1 } else { 125 } && out.err.contains(said), said, &out)?;
    }
    container.end();
    Ok(())
}
