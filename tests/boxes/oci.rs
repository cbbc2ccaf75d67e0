//! Containers out of OCI and docker images, which tools/root-images made with other people's tools.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;

use crate::Case;
use crate::life::until;
use crate::nsctl::{Outcome, must, nsctl, outcome, spawn};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("every_format_runs_the_images_own_command", own_command),
    ("what_is_typed_goes_before_the_image", overridden),
    ("a_stored_image_runs_by_name_and_id", by_name),
    ("an_image_in_use_is_not_removed", in_use),
    ("labels_and_stop_signal_of_the_image_are_listed", listed),
    ("explain_unpacks_nothing", explained),
    ("an_image_cannot_be_written_to", read_only),
];

/// In the guest, or where `make boxes` put them.
fn image(name: &str) -> String {
    let dir = if std::env::var_os("NSCTL_QEMU").is_some() {
        PathBuf::from("/images")
    } else {
        std::env::var_os("NSCTL_IMAGES").map_or_else(|| "target/images".into(), PathBuf::from)
    };
    let path = fs::canonicalize(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}; make boxes makes it"));
    path.to_string_lossy().into_owned()
}

const FORMATS: [&str; 3] = ["busybox.oci", "busybox.oci.tar", "busybox.docker.tar"];

/// A store of its own; removed at the end.
struct Store(PathBuf);

impl Store {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nsctl-oci-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn run(&self, image: &str, more: &[&str]) -> Outcome {
        let store = self.0.to_string_lossy();
        let mut args = vec!["run", "--store", &store, "--image", image];
        args.extend(more);
        nsctl(&args)
    }

    fn image(&self, args: &[&str]) -> Outcome {
        let store = self.0.to_string_lossy();
        let mut all = vec!["image", args[0], "--store", &store];
        all.extend(&args[1..]);
        nsctl(&all)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn own_command() -> Result<(), Failed> {
    let store = Store::new("own");
    for format in FORMATS {
        let outcome = store.run(&image(format), &[]);
        must(outcome.code == 0 && outcome.out == "hello from /srv as 1000\n", format, &outcome)?;
    }
    let listed = store.image(&["ls", "--format", "json"]);
    must(listed.out.contains("\"names\":[]"), "a run gives no names away", &listed)?;
    let layers = fs::read_dir(store.0.join("layers"))?.count();
    if layers == 2 || layers == 1 { Ok(()) } else { Err(format!("{layers} layers for one image").into()) }
}

fn overridden() -> Result<(), Failed> {
    let store = Store::new("overridden");
    let oci = image("busybox.oci");
    let outcome = store.run(&oci, &["-e", "GREETING=bye", "-w", "/tmp", "-u", "0"]);
    must(outcome.out == "bye from /tmp as 0\n", "variable, directory and user", &outcome)?;
    let outcome = store.run(&oci, &["echo $HOME $GREETING"]);
    must(outcome.out == "/home/user hello\n", "the command, with the image's entrypoint", &outcome)?;
    let outcome = store.run(&oci, &["--entrypoint", "/bin/busybox", "echo", "x"]);
    must(outcome.out == "x\n", "the entrypoint", &outcome)?;
    let outcome = store.run(&oci, &["--entrypoint", ""]);
    must(outcome.code == 125 && outcome.err.contains("no command was given"), "neither of them", &outcome)?;
    let script = "touch /new && ls /new && id -G user";
    let outcome = store.run(&oci, &["-u", "0", "--entrypoint", "", "sh", "-c", script]);
    must(outcome.out == "/new\n1000 10\n", "changes go over the layers", &outcome)?;
    let outcome = store.run(&oci, &["-u", "0", "--entrypoint", "", "ls", "/new"]);
    must(outcome.code != 0, "and are gone", &outcome)
}

fn by_name() -> Result<(), Failed> {
    let store = Store::new("name");
    let outcome = store.image(&["import", &image("busybox.docker.tar"), "--name", "box"]);
    let id = outcome.out.trim().to_string();
    must(outcome.code == 0 && id.len() == 64, "the id", &outcome)?;
    for name in ["box", &id[..8], &id] {
        let outcome = store.run(name, &[]);
        must(outcome.out == "hello from /srv as 1000\n", name, &outcome)?;
    }
    let outcome = store.run("no-such-image", &[]);
    must(outcome.code == 125 && outcome.err.contains("there is no image no-such-image"), "by name", &outcome)
}

fn in_use() -> Result<(), Failed> {
    let store = Store::new("in-use");
    let id = store.image(&["import", &image("busybox.oci"), "--name", "box"]).out.trim().to_string();
    let path = store.0.to_string_lossy().into_owned();
    let pidfile = format!("{path}-pid");
    let words = ["run", "--store", &path, "--image", "box", "--pidfile", &pidfile, "sleep 30"];
    let running = spawn(&words);
    until("it has a pidfile", || fs::exists(&pidfile).is_ok_and(|there| there))?;
    let refused = store.image(&["rm", "box"]);
    running.signal(libc::SIGTERM);
    outcome(running);
    fs::remove_file(&pidfile)?;
    must(refused.code != 0 && refused.err.contains("in use"), "while it runs", &refused)?;
    let removed = store.image(&["rm", &id]);
    must(removed.code == 0, "afterwards", &removed)?;
    let left = fs::read_dir(store.0.join("layers"))?.count();
    if left == 0 { Ok(()) } else { Err(format!("{left} layers stayed").into()) }
}

fn listed() -> Result<(), Failed> {
    let store = Store::new("listed");
    let path = store.0.to_string_lossy().into_owned();
    let pidfile = format!("{path}-pid");
    let oci = image("busybox.oci");
    let running =
        spawn(&["run", "--store", &path, "--image", &oci, "--pidfile", &pidfile, "-l", "more=1", "sleep 30"]);
    until("it has a pidfile", || fs::exists(&pidfile).is_ok_and(|there| there))?;
    let json = nsctl(&["ps", "--format", "json"]);
    running.signal(libc::SIGTERM);
    outcome(running);
    fs::remove_file(&pidfile)?;
    let both = json.out.contains("\"made.by\":\"tools\"") && json.out.contains("\"more\":\"1\"");
    must(both && json.out.contains("\"stop_signal\":3"), "labels and SIGQUIT", &json)
}

fn explained() -> Result<(), Failed> {
    let store = Store::new("explained");
    let outcome = store.run(&image("busybox.oci"), &["--explain"]);
    must(outcome.code == 125 && outcome.err.contains("nsctl image import"), "the way out is said", &outcome)?;
    if store.0.exists() {
        return Err("a store was made".into());
    }
    store.image(&["import", &image("busybox.oci"), "--name", "box"]);
    let outcome = store.run("box", &["--explain"]);
    must(outcome.code == 0 && outcome.out.contains("setresuid"), "once it is there", &outcome)
}

fn read_only() -> Result<(), Failed> {
    let store = Store::new("read-only");
    let outcome = store.run(&image("busybox.oci"), &["--rw"]);
    must(outcome.code == 125 && outcome.err.contains("--overlay-upper"), "--rw is refused", &outcome)?;
    let kept = format!("{}-kept", store.0.display());
    for expected in ["1\n", "2\n"] {
        let script = "echo x >>/count; grep -c x /count";
        let words = ["--overlay-upper", &kept, "-u", "0", "--entrypoint", "", "sh", "-c", script];
        let outcome = store.run(&image("busybox.oci"), &words);
        must(outcome.out == expected, "changes are kept beside it", &outcome)?;
    }
    fs::remove_dir_all(&kept)?;
    fs::remove_dir_all(format!("{kept}.work"))?;
    Ok(())
}
