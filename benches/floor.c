/*
 * The floor: a container start that makes only the system calls which the job needs.
 *
 *	floor [--ns basic] [--reaper] PROGRAM [ARGUMENT...]
 *
 * outer:  clone3 → waitid → exit with the same code
 * inner:  sethostname, / made private, a fresh /proc, execve of PROGRAM.  PROGRAM is PID 1.
 *
 * --ns basic   uts, pid and mount namespaces; without it also ipc and cgroup, nsctl's default set
 * --reaper     inner does not exec: it stays PID 1, forks PROGRAM and waits in a loop until
 *              PROGRAM itself has ended.  No signal is forwarded: this is the least a reaper can be.
 */
#include "tiny.h"

#include <linux/sched.h>
#include <linux/wait.h>
#include <signal.h>
#include <sys/mount.h>

static struct clone_args args; /* static: zero without a memset */

/* The exit code of an ended child, 128 + n for a signal. */
static int code_of(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
}

static void become(char **argv, char **envp)
{
	SYS(execve, argv[0], argv, envp);
	die("floor: execve");
}

static int reap_until(long payload)
{
	static siginfo_t info;

	for (;;) {
		must(SYS(waitid, P_ALL, 0, &info, WEXITED, 0), "floor: waitid in PID 1");
		if (info.si_pid == payload)
			return code_of(&info);
	}
}

static void inner(int reaper, char **argv, char **envp)
{
	long payload;

	must(SYS(sethostname, "container", 9), "floor: sethostname");
	must(SYS(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0), "floor: mount / private");
	must(SYS(mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0),
	     "floor: mount /proc");
	if (!reaper)
		become(argv, envp);
	payload = must(fork_(), "floor: fork in PID 1");
	if (payload == 0)
		become(argv, envp);
	quit(reap_until(payload));
}

int main(int argc, char **argv, char **envp)
{
	static siginfo_t info;
	int reaper = 0;
	long pid;

	(void)argc;
	args.flags = CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWCGROUP;
	args.exit_signal = SIGCHLD;
	for (argv++; *argv && **argv == '-'; argv++) {
		if (same(*argv, "--reaper"))
			reaper = 1;
		else if (same(*argv, "--ns") && argv[1] && same(*++argv, "basic"))
			args.flags &= ~(unsigned long)(CLONE_NEWIPC | CLONE_NEWCGROUP);
		else
			die("floor: reading its options");
	}
	if (!*argv)
		die("floor: no program given; it");

	pid = must(SYS(clone3, &args, sizeof args), "floor: clone3");
	if (pid == 0)
		inner(reaper, argv, envp);
	must(SYS(waitid, P_PID, pid, &info, WEXITED, 0), "floor: waitid");
	return code_of(&info);
}
