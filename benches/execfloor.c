/*
 * The floor of exec: one more process in the namespaces of another one, with only the system calls
 * which that needs.
 *
 *	execfloor PID PROGRAM [ARGUMENT...]
 *
 * outer:  pidfd_open → setns (PID) → clone → waitid → exit with the same code
 * inner:  setns of the others at once, chroot to the root of PID, execve of PROGRAM
 */
#define _GNU_SOURCE /* O_PATH */
#include "tiny.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <signal.h>

static char path[64];

static const char *root_of(const char *pid)
{
	char *to = path;
	const char *parts[] = {"/proc/", pid, "/root"};

	for (unsigned i = 0; i < 3; i++)
		for (const char *from = parts[i]; *from;)
			*to++ = *from++;
	return path;
}

int main(int argc, char **argv, char **envp)
{
	static siginfo_t info;
	long pidfd, root, pid;

	if (argc < 3)
		die("execfloor: wants a pid and a program; it");
	pidfd = must(SYS(pidfd_open, number(argv[1]), 0), "execfloor: pidfd_open");
	root = must(SYS(openat, AT_FDCWD, root_of(argv[1]), O_PATH | O_CLOEXEC), "execfloor: open the root");
	must(SYS(setns, pidfd, CLONE_NEWPID), "execfloor: setns");
	pid = must(fork_(), "execfloor: fork");
	if (pid == 0) {
		must(SYS(setns, pidfd, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC), "execfloor: setns");
		must(SYS(fchdir, root), "execfloor: fchdir");
		must(SYS(chroot, "."), "execfloor: chroot");
		SYS(execve, argv[2], argv + 2, envp);
		die("execfloor: execve");
	}
	must(SYS(waitid, P_PID, pid, &info, WEXITED, 0), "execfloor: waitid");
	return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}
