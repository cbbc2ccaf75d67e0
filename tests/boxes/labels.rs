//! Labels of AppArmor and SELinux: by run and exec, and refused where there are none.

use libtest_mimic::Failed;

use crate::Case;
use crate::life::Kept;
use crate::nsctl::{must, nsctl, shell};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("labels_without_an_lsm_are_refused", refused),
    ("a_profile_is_that_of_run_and_exec", profile),
    ("labels_are_written_past_what_lies_over_proc", over_proc),
];

/// Debian's kernels have it, without a profile.
fn apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

fn selinux() -> bool {
    std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("\tselinuxfs\n"))
}

fn refused() -> Result<(), Failed> {
    for (typed, on, config) in [
        ("apparmor=docker-default", apparmor(), "CONFIG_SECURITY_APPARMOR"),
        ("label=type:container_t", selinux(), "CONFIG_SECURITY_SELINUX"),
        ("label=level:s0:c1,c2", selinux(), "CONFIG_SECURITY_SELINUX"),
    ] {
        let got = shell(&["--security-opt", typed], "true");
        let said = on || got.err.contains("is not on in this kernel") && got.err.contains(config);
        must(got.code == 125 && said, typed, &got)?;
    }
    // These ask for nothing.
    let got = shell(&["--security-opt", "label=disable", "--security-opt", "apparmor=unconfined"], "echo fine");
    must(got.code == 0 && got.out == "fine\n" && got.err.is_empty(), "no label", &got)?;
    let got = shell(&["--security-opt", "label=file:x"], "true");
    must(got.code == 125 && got.err.contains("is no part of a label"), "nonsense", &got)
}

fn profile() -> Result<(), Failed> {
    if !apparmor() {
        println!("skipped: AppArmor is not on; it is in guests");
        return Ok(());
    }
    let look = "cat /proc/self/attr/apparmor/current";
    let got = shell(&["--security-opt", "apparmor=unconfined"], look);
    must(got.code == 0 && got.out == "unconfined\n", "run", &got)?;
    let got = shell(&["--security-opt", "apparmor=nsctl-none"], look);
    let said = got.err.contains("label the command 'exec nsctl-none'")
        && got.err.contains("no profile of that name is loaded");
    must(got.code == 125 && said, "a profile that is not loaded", &got)?;
    let kept = Kept::shell(&["--security-opt", "apparmor=unconfined"], "sleep 600")?;
    let got = nsctl(&["exec", kept.id(), "sh", "-c", look]);
    must(got.code == 0 && got.out == "unconfined\n", "exec", &got)
}

/// CVE-2019-16884 (runc): a file of the image's took the label.
fn over_proc() -> Result<(), Failed> {
    if !apparmor() {
        println!("skipped: AppArmor is not on; it is in guests");
        return Ok(());
    }
    let script = "mkdir -p /tmp/attr/thread-self/attr/apparmor && : >/tmp/attr/thread-self/attr/apparmor/exec && \
        mount -o bind /tmp/attr /proc && echo over; sleep 600";
    let options = ["--privileged", "--tmpfs", "/tmp", "--security-opt", "apparmor=unconfined"];
    let kept = Kept::shell(&options, script)?;
    kept.said("over")?;
    let got = nsctl(&["exec", kept.id(), "cat", "/tmp/attr/thread-self/attr/apparmor/exec"]);
    must(got.code == 0 && got.out.is_empty(), "the kernel's own file took it", &got)
}
