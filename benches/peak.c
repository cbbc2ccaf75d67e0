/*
 * peak PROGRAM [ARGUMENT...]: runs it on /dev/null and prints its peak RSS in KiB.
 *
 * Why a program of its own: at execve the kernel carries the peak of the *old* address space over
 * into ru_maxrss (exec_mmap, setmax_mm_hiwater_rss).  Spawned by the benchmark, every
 * contender would show at least the benchmark's own megabytes; here the old one is a few pages.
 */
#include "tiny.h"

#include <fcntl.h>
#include <sys/resource.h>

static struct rusage usage;

int main(int argc, char **argv, char **envp)
{
	long pid, null;

	if (argc < 2)
		die("peak: no program given; it");
	pid = must(fork_(), "peak: fork");
	if (pid == 0) {
		null = must(SYS(open, "/dev/null", O_RDWR), "peak: open /dev/null");
		for (int fd = 0; fd < 3; fd++)
			SYS(dup2, null, fd);
		SYS(execve, argv[1], argv + 1, envp);
		quit(127);
	}
	must(SYS(wait4, pid, 0, 0, &usage), "peak: wait4");
	print((unsigned long)usage.ru_maxrss, '\n');
	return 0;
}
