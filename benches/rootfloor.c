/*
 * The floor of a start with a root of its own: what `nsctl run --rootfs` makes, by the fewest system calls.
 *
 *	rootfloor [--reaper] ROOT STAGE PROGRAM [ARGUMENT...]
 *
 * outer:  clone3 → waitid → exit with the same code
 * inner:  a tmpfs on STAGE, in it an overlay over ROOT, in that /proc, /sys (read-only), /dev with its nodes and
 *         links, devpts, shm, mqueue, a view of cgroup2, the three files of /etc, read-only and masked parts of
 *         /proc and /sys; pivot_root, the old root taken off, some capabilities dropped, execve of PROGRAM.
 *
 * It trusts ROOT, which nsctl must not: mount(2) by path, where a symbolic link of an image could lead anywhere.
 */
#include "tiny.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define QUIET (MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define CAP_BIT(cap) (1U << ((cap) & 31))
#define DEVICE(major, minor) ((major) << 8 | (minor))

static struct clone_args args; /* static: zero without a memset */

static const char *const read_only[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", 0 };
static const char *const hidden_directories[] = { "proc/acpi", "proc/asound", "proc/scsi", "sys/firmware",
						  "sys/devices/virtual/powercap", 0 };
static const char *const hidden_files[] = { "proc/interrupts",	"proc/kcore",	    "proc/keys",
					    "proc/latency_stats", "proc/sched_debug", "proc/timer_list",
					    "proc/timer_stats",	0 };

static void make_mount(const char *fs, const char *at, unsigned long flags, const char *options)
{
	must(SYS(mount, fs, at, fs, flags, options), fs);
}

static void directory(const char *path)
{
	must(SYS(mkdir, path, 0755), path);
}

static void node(const char *path, long device)
{
	must(SYS(mknod, path, S_IFCHR | 0666, device), path);
}

static void text(const char *path, const char *words)
{
	long fd = must(SYS(open, path, O_WRONLY | O_CREAT, 0644), path);

	must(SYS(write, fd, words, length(words)), path);
	SYS(close, fd);
}

/* What is not there needs nothing: every kernel has its own set. */
static int bound(const char *from, const char *at, unsigned long more)
{
	return SYS(mount, from, at, 0, MS_BIND | more, 0) == 0;
}

static void make_read_only(const char *at, unsigned long flags)
{
	must(SYS(mount, 0, at, 0, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, 0), at);
}

static void make_overlay(const char *root, const char *stage)
{
	static char data[5000];
	static const char before[] = "lowerdir=", after[] = ",upperdir=upper,workdir=work";
	unsigned long at = 0;

	if (length(root) > 4096)
		die("rootfloor: a root of this name");
	for (const char *s = before; *s; s++)
		data[at++] = *s;
	for (const char *s = root; *s; s++)
		data[at++] = *s;
	for (const char *s = after; *s; s++)
		data[at++] = *s;
	make_mount("tmpfs", stage, QUIET, "mode=755,size=25%");
	must(SYS(chdir, stage), "rootfloor: chdir to the stage");
	directory("upper");
	directory("work");
	directory("root");
	must(SYS(mount, "overlay", "root", "overlay", MS_NODEV, data), "rootfloor: mount the overlay");
	must(SYS(chdir, "root"), "rootfloor: chdir to the root");
}

static void make_devices(void)
{
	make_mount("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=64k");
	node("dev/null", DEVICE(1, 3));
	node("dev/zero", DEVICE(1, 5));
	node("dev/full", DEVICE(1, 7));
	node("dev/random", DEVICE(1, 8));
	node("dev/urandom", DEVICE(1, 9));
	node("dev/tty", DEVICE(5, 0));
	must(SYS(symlink, "/proc/self/fd", "dev/fd"), "rootfloor: symlink");
	must(SYS(symlink, "/proc/self/fd/0", "dev/stdin"), "rootfloor: symlink");
	must(SYS(symlink, "/proc/self/fd/1", "dev/stdout"), "rootfloor: symlink");
	must(SYS(symlink, "/proc/self/fd/2", "dev/stderr"), "rootfloor: symlink");
	must(SYS(symlink, "pts/ptmx", "dev/ptmx"), "rootfloor: symlink");
	directory("dev/pts");
	make_mount("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	directory("dev/shm");
	make_mount("tmpfs", "dev/shm", QUIET, "mode=1777,size=64m");
	directory("dev/mqueue");
	make_mount("mqueue", "dev/mqueue", QUIET, 0);
}

static void protect(void)
{
	for (const char *const *at = read_only; *at; at++)
		if (bound(*at, *at, MS_REC))
			make_read_only(*at, QUIET);
	directory("../no-directory");
	must(SYS(mknod, "../no-file", S_IFREG | 0400, 0), "rootfloor: make an empty file");
	bound("../no-directory", "../no-directory", 0);
	make_read_only("../no-directory", QUIET);
	bound("../no-file", "../no-file", 0);
	make_read_only("../no-file", QUIET);
	for (const char *const *at = hidden_directories; *at; at++)
		bound("../no-directory", *at, 0);
	for (const char *const *at = hidden_files; *at; at++)
		bound("../no-file", *at, 0);
}

static void enter(void)
{
	must(SYS(pivot_root, ".", "."), "rootfloor: pivot_root");
	must(SYS(umount2, ".", MNT_DETACH), "rootfloor: umount2");
	must(SYS(chdir, "/"), "rootfloor: chdir");
}

static void drop_capabilities(void)
{
	static struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	static struct __user_cap_data_struct sets[2];

	SYS(prctl, PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0);
	SYS(prctl, PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0);
	must(SYS(capget, &header, sets), "rootfloor: capget");
	sets[0].permitted &= ~(CAP_BIT(CAP_SYS_PTRACE) | CAP_BIT(CAP_DAC_READ_SEARCH));
	sets[0].effective &= sets[0].permitted;
	sets[0].inheritable = sets[1].inheritable = 0;
	must(SYS(capset, &header, sets), "rootfloor: capset");
}

static int code_of(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
}

static void become(char **argv, char **envp)
{
	SYS(execve, argv[0], argv, envp);
	die("rootfloor: execve");
}

static void inner(int reaper, char **argv, char **envp)
{
	static siginfo_t info;
	const char *root = argv[0], *stage = argv[1];
	long payload;

	argv += 2;
	must(SYS(sethostname, "container", 9), "rootfloor: sethostname");
	must(SYS(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0), "rootfloor: mount / private");
	make_overlay(root, stage);
	make_mount("proc", "proc", QUIET, 0);
	make_mount("sysfs", "sys", QUIET | MS_RDONLY, 0);
	make_devices();
	make_mount("cgroup2", "sys/fs/cgroup", QUIET | MS_RDONLY, 0);
	text("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	text("etc/hostname", "container\n");
	text("etc/resolv.conf", "nameserver 127.0.0.1\n");
	protect();
	enter();
	drop_capabilities();
	if (!reaper)
		become(argv, envp);
	payload = must(fork_(), "rootfloor: fork in PID 1");
	if (payload == 0)
		become(argv, envp);
	do
		must(SYS(waitid, P_ALL, 0, &info, WEXITED, 0), "rootfloor: waitid in PID 1");
	while (info.si_pid != payload);
	quit(code_of(&info));
}

int main(int argc, char **argv, char **envp)
{
	static siginfo_t info;
	int reaper = argc > 1 && same(argv[1], "--reaper");
	long pid;

	argv += 1 + reaper;
	if (argc - reaper < 4)
		die("rootfloor: wants ROOT, STAGE and a program; it");
	args.flags = CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWCGROUP;
	args.exit_signal = SIGCHLD;
	pid = must(SYS(clone3, &args, sizeof args), "rootfloor: clone3");
	if (pid == 0)
		inner(reaper, argv, envp);
	must(SYS(waitid, P_PID, pid, &info, WEXITED, 0), "rootfloor: waitid");
	return code_of(&info);
}
