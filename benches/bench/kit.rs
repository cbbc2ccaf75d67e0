//! What every section needs: the temporary directory, the compiled C programs, a way to run one
//! program under a time limit, and the cleaning after it.

use crate::proc;
use crate::sys::{Argv, Spawner};
use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Nothing here needs more than a second or two; what is not done by then hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

const HEADER: &str = include_str!("../tiny.h");
const SOURCES: [(&str, &str); 8] = [
    ("true", include_str!("../true.c")),
    ("pause", include_str!("../pause.c")),
    ("floor", include_str!("../floor.c")),
    ("rootfloor", include_str!("../rootfloor.c")),
    ("execfloor", include_str!("../execfloor.c")),
    ("orphans", include_str!("../orphans.c")),
    ("asks", include_str!("../asks.c")),
    ("peak", include_str!("../peak.c")),
];

/// -ffreestanding and the loop flag keep gcc from putting calls to strlen and memset where no libc is;
/// the linker flags leave out what the programs have no use for, so that they are one or two pages.
const CFLAGS: [&str; 11] = [
    "-O2",
    "-Wall",
    "-Wextra",
    "-static",
    "-nostdlib",
    "-ffreestanding",
    "-fno-tree-loop-distribute-patterns",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-Wl,--build-id=none,-z,noseparate-code,-z,norelro",
    "-s",
];

/// A path, or the text that the table shows instead of figures.
pub(crate) type Tool = Result<PathBuf, String>;

pub(crate) struct Kit {
    dir: PathBuf,
    /// Every container id begins with it, so that what a peer leaves behind is known as ours.
    prefix: String,
    ids: Cell<u32>,
    pub(crate) nsctl: Tool,
    pub(crate) quiet: Spawner,
}

/// How a program ended; no code: it was killed at the time limit.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Kit {
    pub(crate) fn new() -> io::Result<Kit> {
        let prefix = format!("nsctl-bench-{}", std::process::id());
        let dir = env::temp_dir().join(&prefix);
        fs::create_dir(&dir)?;
        let kit = Kit { dir, prefix, ids: Cell::new(0), nsctl: find_nsctl(), quiet: Spawner::new(None, None)? };
        kit.compile()?; // on failure `kit` is dropped and takes the directory along
        Ok(kit)
    }

    fn compile(&self) -> io::Result<()> {
        fs::write(self.dir.join("tiny.h"), HEADER)?;
        let cc = env::var("CC").unwrap_or_else(|_| "cc".into());
        for (name, text) in SOURCES {
            let source = self.dir.join(name).with_extension("c");
            fs::write(&source, text)?;
            let status = Command::new(&cc)
                .args(CFLAGS)
                .arg("-o")
                .arg(self.dir.join(name))
                .arg(&source)
                .status()
                .map_err(|e| io::Error::new(e.kind(), format!("{cc}: {e}")))?;
            if !status.success() {
                return Err(io::Error::other(format!("{cc} cannot build {name}.c")));
            }
        }
        Ok(())
    }

    /// A file or directory of ours, as text for a command line.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(crate) fn ours(&self, name: &str) -> Tool {
        Ok(self.dir.join(name))
    }

    pub(crate) fn next_id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("{}-{}", self.prefix, self.ids.get())
    }

    /// Runs a program to its end, its output kept.
    pub(crate) fn run(&self, argv: &Argv) -> io::Result<Ended> {
        let (out, err) = (self.dir.join("stdout"), self.dir.join("stderr"));
        let spawner = Spawner::new(Some(File::create(&out)?), Some(File::create(&err)?))?;
        let child = spawner.spawn(argv)?;
        let code = child.wait(LIMIT)?;
        if code.is_none() {
            proc::kill_tree(child.pid);
            child.reap()?;
        }
        let text = |path| -> io::Result<String> { Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()) };
        Ok(Ended { code, stdout: text(out)?, stderr: text(err)? })
    }

    /// Removes the cgroups that a failed runtime left: crun 1.8.1 leaks one per refused start.
    pub(crate) fn remove_cgroups(&self) {
        self.remove_cgroups_below(Path::new("/sys/fs/cgroup"), 4);
    }

    fn remove_cgroups_below(&self, dir: &Path, depth: u32) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if depth > 0 {
                self.remove_cgroups_below(&entry.path(), depth - 1);
            }
            if entry.file_name().to_string_lossy().contains(&self.prefix) {
                // EBUSY: a process of a killed container still ends; the kernel then keeps an empty group
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.remove_cgroups();
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("bench: remove {}: {e}", self.dir.display());
        }
    }
}

fn find_nsctl() -> Tool {
    let given = env::var_os("NSCTL").map(PathBuf::from);
    let path = given.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/x86_64-unknown-linux-musl/release/nsctl")
    });
    fs::canonicalize(&path).map_err(|_| format!("not built: no {}", path.display()))
}

/// Looks a program up in PATH and the sbin directories (a user's PATH often lacks them).
pub(crate) fn find(name: &str, package: &str) -> Tool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .ok_or_else(|| format!("not installed (apt-get install {package})"))
}

/// Sizes in bytes of a program and of the libraries that ldd names.
pub(crate) struct Size {
    pub(crate) binary: u64,
    pub(crate) libraries: u64,
    /// libc and the loader: there anyway on most systems, so apart.
    pub(crate) libc: u64,
}

pub(crate) fn size(binary: &Path) -> io::Result<Size> {
    let mut size = Size { binary: fs::metadata(binary)?.len(), libraries: 0, libc: 0 };
    let ldd = Command::new("ldd").arg(binary).output()?;
    for line in String::from_utf8_lossy(&ldd.stdout).lines() {
        // "libcap.so.2 => /lib/…/libcap.so.2 (0x…)", or "/lib64/ld-linux-x86-64.so.2 (0x…)"
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let file = path.rsplit('/').next().unwrap_or_default();
        let bytes = fs::metadata(path).map_or(0, |m| m.len());
        if file.starts_with("libc.so") || file.starts_with("ld-") {
            size.libc += bytes;
        } else {
            size.libraries += bytes;
        }
    }
    Ok(size)
}

impl Size {
    /// "72 + 871 KB", "0.49 + 3.66 MB", "1.9 KB"
    pub(crate) fn text(&self) -> String {
        let mega = self.binary.max(self.libraries) >= 1_000_000;
        let number = |n: u64| match mega {
            true => format!("{:.2}", n as f64 / 1e6),
            false if n < 10_000 => format!("{:.1}", n as f64 / 1e3),
            false => format!("{:.0}", n as f64 / 1e3),
        };
        let unit = if mega { "MB" } else { "KB" };
        match self.libraries {
            0 => format!("{} {unit}", number(self.binary)),
            n => format!("{} + {} {unit}", number(self.binary), number(n)),
        }
    }
}

/// The first words of `program --version` that hold a digit, for the head of the report.
pub(crate) fn version(program: &Path, option: Option<&str>) -> Option<String> {
    let output = Command::new(program).args(option).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(|word| word.split('_').next().unwrap_or(word).to_owned()) // 0.1.7_catatonit
}
