//! Links in a root that lead elsewhere, still while they are looked at.

use std::fs;

use libtest_mimic::Failed;

use super::{Canary, Source, each_way, inside, snapshot};
use crate::life::Kept;
use crate::nsctl::{must, nsctl};
use crate::root::Root;

/// Nothing starts on a root that has a link, or a file, there.
fn refused(name: &str, targets: &[&str], canary: &Canary) -> Result<(), Failed> {
    each_way(|| {
        for target in targets {
            let root = Root::plain("link").symlink(target, name).file("tmp/x/file", "").file("etc/target", "");
            let before = snapshot(&root.at("etc"));
            for options in [&[][..], &["--rw"], &["--read-only"]] {
                let outcome = inside(&root, options, &format!("echo started; ls /{name}"));
                let why = outcome.code == 125 && outcome.err.contains(&format!("/{name}"));
                must(why && outcome.out.is_empty(), &format!("{name} -> {target} {options:?} is refused"), &outcome)?;
                canary.unseen(&outcome)?;
            }
            if snapshot(&root.at("etc")) != before {
                return Err(format!("{name} -> {target} changed the root's /etc").into());
            }
        }
        Ok(())
    })
}

pub(super) fn proc_and_sys() -> Result<(), Failed> {
    let canary = Canary::new("proc-and-sys");
    refused("proc", &["/tmp/x", canary.path(), &canary.relative()], &canary)?;
    refused("sys", &["../../..", "/", ".", canary.path()], &canary)
}

pub(super) fn proc_is_a_link() -> Result<(), Failed> {
    let canary = Canary::new("proc-is-a-link");
    refused("proc", &["/etc", "etc", "proc", "/proc", "/dangling", "/proc/self/fd/7"], &canary)?;
    refused("sys", &["/etc", "proc", "/proc/self/root"], &canary)?;
    each_way(|| {
        for name in ["proc", "sys", "dev"] {
            let root = Root::plain("file").file(name, "no directory");
            let outcome = inside(&root, &[], "echo started");
            must(outcome.code == 125 && outcome.out.is_empty(), &format!("/{name} is a file"), &outcome)?;
        }
        Ok(())
    })
}

pub(super) fn dev_is_a_link() -> Result<(), Failed> {
    let canary = Canary::new("dev-is-a-link");
    let victim = format!("{}/empty", canary.path());
    let relative = format!("{}/empty", canary.relative());
    refused("dev", &[&victim, &relative, "/etc", "tmp", "/"], &canary)?;
    each_way(|| {
        // What is in the image's /dev is covered, not followed.
        let mut root = Root::plain("dev");
        for name in ["null", "zero", "ptmx", "pts", "shm", "mqueue", "fd", "stdin", "console"] {
            root = root.symlink(&victim, &format!("dev/{name}"));
        }
        let outcome =
            inside(&root, &["--rw", "--device", "/dev/null:/dev/extra/null"], "echo x > /dev/null; ls -d /dev/shm");
        must(outcome.code == 0, "it starts", &outcome)?;
        canary.unseen(&outcome)
    })
}

pub(super) fn out_of_the_root() -> Result<(), Failed> {
    let canary = Canary::new("out");
    let source = Source::new("out");
    each_way(|| {
        let root = Root::plain("out").symlink("/../../..", "up").symlink("../../../../../..", "tmp/up");
        for link in ["up", "tmp/up"] {
            let script = format!("pwd; cat /{link}{0}/secret; cat .{0}/secret; ls /vol", canary.path());
            let (workdir, volume) = (format!("/{link}"), source.to(&format!("/{link}/vol")));
            let outcome = inside(&root, &["-w", &workdir, "-v", &volume], &script);
            must(outcome.out == "/\nmarker\n", "a link above the root is the root", &outcome)?;
            canary.unseen(&outcome)?;
        }
        let kept = Kept::shell(&["--rootfs", root.path()], "sleep 600; true")?;
        for link in ["up", "tmp/up"] {
            let script = format!("pwd; cat /{link}{0}/secret; cat .{0}/secret", canary.path());
            let outcome = nsctl(&["exec", "-w", &format!("/{link}"), kept.id(), "/bin/sh", "-c", &script]);
            must(outcome.out == "/\n", "to exec as well", &outcome)?;
            canary.unseen(&outcome)?;
            let made = format!("/{link}{}/new/dir", canary.path());
            let outcome = nsctl(&["exec", "-w", &made, kept.id(), "/bin/pwd"]);
            must(outcome.out == format!("{}/new/dir\n", canary.path()), "what is made is inside", &outcome)?;
            canary.check()?;
        }
        drop(kept);
        // Without any "..": the host's directory of that path is not the one inside.
        let root = Root::plain("absolute").symlink(canary.path(), "abs");
        let volumes = [source.to("/abs/vol"), source.to("/abs/new/vol")];
        let script = "pwd; ls /abs/vol /abs/new/vol; cat /abs/secret secret";
        let outcome = inside(&root, &["-w", "/abs", "-v", &volumes[0], "-v", &volumes[1]], script);
        let wanted = format!("{}\n/abs/new/vol:\nmarker\n\n/abs/vol:\nmarker\n", canary.path());
        must(outcome.out == wanted, "an absolute link begins at the root", &outcome)?;
        canary.unseen(&outcome)?;
        let root = Root::plain("bin");
        fs::rename(root.at("bin"), root.at("programs"))?;
        let root = root.symlink(&format!("/../../..{}", canary.path()), "bin");
        let outcome = inside(&root, &[], "true");
        must(outcome.code == 127, "the host's files are no programs inside", &outcome)?;
        canary.unseen(&outcome)
    })
}

pub(super) fn destinations() -> Result<(), Failed> {
    let canary = Canary::new("destinations");
    let source = Source::new("destinations");
    each_way(|| {
        let made = || {
            Root::plain("destinations")
                .symlink("/", "usr/share/x")
                .symlink(canary.path(), "usr/share/c")
                .symlink(&canary.relative(), "usr/share/r")
                .symlink("c", "usr/share/cc")
        };
        for rw in [false, true] {
            let root = made();
            for link in ["x", "c", "r", "cc"] {
                let (volume, memory) =
                    (source.to(&format!("/usr/share/{link}/empty")), format!("/usr/share/{link}/sub/deep:mode=711"));
                let one = format!("type=bind,src={0}/marker,dst=/usr/share/{link}/secret", source.path());
                let mut options = vec!["-v", &volume, "--tmpfs", &memory, "--mount", &one];
                options.extend(rw.then_some("--rw"));
                let script = format!(
                    "cd /usr/share/{link}; cat empty/marker secret; echo x > sub/deep/x; stat -c %a sub/deep"
                );
                let outcome = inside(&root, &options, &script);
                must(outcome.out == "marker\nmarker\n711\n", &format!("{link} leads inside, rw {rw}"), &outcome)?;
                canary.unseen(&outcome)?;
            }
        }
        Ok(())
    })
}

pub(super) fn texts() -> Result<(), Failed> {
    let canary = Canary::new("texts");
    let host = fs::read("/etc/passwd").unwrap_or_default();
    let absolute = format!("{}/secret", canary.path());
    let new = format!("{}/new", canary.path());
    let relative = format!("{}/sub/file", canary.relative());
    each_way(|| {
        for target in ["/etc/passwd", "passwd", &absolute, &new, &relative, "/etc", "hosts", "/proc/self/fd/1"] {
            for options in [&[][..], &["--rw"]] {
                let mut root = Root::plain("texts");
                for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
                    root = root.symlink(target, name);
                }
                let passwd = fs::read(root.at("etc/passwd"))?;
                let outcome = inside(&root, options, "cat /etc/passwd; test -f /etc/hosts && head -n 1 /etc/hosts");
                must(outcome.out.starts_with("root:x:0:0:"), &format!("-> {target} {options:?}"), &outcome)?;
                // What is not there inside is made there.
                let made = outcome.out.ends_with("127.0.0.1\tlocalhost\n") || !target.contains(canary.path());
                must(made, &format!("-> {target} {options:?} is a file of the container's"), &outcome)?;
                canary.unseen(&outcome)?;
                let same = fs::read(root.at("etc/passwd"))? == passwd;
                must(same, &format!("-> {target} leaves the root's passwd alone"), &outcome)?;
            }
        }
        Ok(())
    })?;
    if fs::read("/etc/passwd").unwrap_or_default() == host { Ok(()) } else { Err("the host's passwd changed".into()) }
}

pub(super) fn old_root() -> Result<(), Failed> {
    let canary = Canary::new("old-root");
    let source = Source::new("old-root");
    each_way(|| {
        let old = format!("/oldroot{}", canary.path());
        let up = format!("../..{}", canary.path());
        // The last is where the host's root still is while the container's is made.
        for target in [&old, &up, canary.path()] {
            for rw in [false, true] {
                let root = Root::plain("old-root").symlink(target, "var");
                let volumes = [source.to("/var/made/by/volume"), source.to("/var/one")];
                let mut options = vec!["-v", &volumes[0], "-v", &volumes[1]];
                options.extend([
                    "--tmpfs",
                    "/var/made/by/tmpfs",
                    "--tmpfs",
                    "/var/two",
                    "-w",
                    "/var/made/by/workdir",
                ]);
                options.extend(rw.then_some("--rw"));
                let script = "cat /var/made/by/volume/marker /var/one/marker; cat /var/secret";
                let outcome = inside(&root, &options, script);
                must(outcome.out == "marker\nmarker\n", &format!("/var -> {target}, rw {rw}"), &outcome)?;
                canary.unseen(&outcome)?;
            }
        }
        Ok(())
    })
}

/// Nothing of the user's goes over /proc, /sys or the cgroups, whatever the way there is called.
pub(super) fn kernel_tables() -> Result<(), Failed> {
    let source = Source::new("tables");
    let src = source.path();
    let cgroup = |place| ["/c", "/sys/fs/cgroup"].contains(&place);
    let places = [
        "/proc/sys",
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
        "/proc/self/attr",
        "/p/sys",
        "/p",
        "/s/kernel",
        "/deep/p/sys",
        "/c",
    ];
    each_way(|| {
        let root = Root::plain("tables")
            .symlink("/proc", "p")
            .symlink("sys", "s")
            .symlink("../p", "deep/p")
            .symlink("/sys/fs/cgroup", "c");
        for place in places {
            for options in [
                ["-v".to_string(), format!("{src}:{place}")],
                ["-v".to_string(), format!("{src}:{place}:ro")],
                ["--tmpfs".to_string(), place.to_string()],
                ["--mount".to_string(), format!("type=bind,src={src},dst={place}")],
                ["--mount".to_string(), format!("type=tmpfs,dst={place}")],
                ["--mount".to_string(), format!("type=proc,dst={place}")],
                ["--mount".to_string(), format!("type=overlay,lowerdir={src},dst={place}")],
            ] {
                // Beside the hierarchies of v1 there is only a tmpfs of nsctl's own.
                if cgroup(place) && !fs::exists("/sys/fs/cgroup/cgroup.procs")? {
                    continue;
                }
                let outcome = inside(&root, &[&options[0], &options[1]], "echo started");
                must(outcome.code == 125, &format!("{options:?} is refused"), &outcome)?;
            }
        }
        Ok(())
    })
}
