/*
 * orphans storm|backlog N: makes N orphans for PID 1 of its pid namespace to reap, and prints
 * two numbers on stdout: nanoseconds of wall time, nanoseconds of CPU that PID 1 used.
 *
 * It must be the only child of PID 1.  Processes: main (this one); middle, whose death makes the
 * orphans; the orphans, which exit at once.
 *
 * storm    one middle per orphan (the daemon's double fork).  The wall time includes making
 *          them; PID 1 is woken for nearly each.
 * backlog  middle collects BATCH zombies, then exits: all fall to PID 1 at once.  Only the time
 *          from there until all are gone counts, so the rate is the reaper's own.
 *
 * CPU time of PID 1 is its process clock, readable from inside the namespace with nanosecond
 * resolution; /proc/PID/stat has 10 ms.
 */
#include "tiny.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <linux/wait.h>

#define BATCH 1000
#define GIVE_UP_NS 60000000000UL /* PID 1 does not reap: end with 3 instead of hanging */
#define CPU_OF_PID_1 ((clockid_t)((~1U << 3) | 2)) /* CPUCLOCK_SCHED of process 1 */

/* What middle tells main. */
struct shared {
	unsigned long wall, cpu; /* clocks just before middle's end (backlog) */
	long last;               /* pid of the youngest orphan */
};

static struct shared *shared;

static unsigned long now(clockid_t clock)
{
	struct timespec t;

	must(SYS(clock_gettime, clock, &t), "orphans: clock_gettime");
	return (unsigned long)t.tv_sec * 1000000000UL + (unsigned long)t.tv_nsec;
}

/* Returns when PID 1 has reaped everything: the youngest first, for it costs less to ask. */
static void await_reaped(void)
{
	unsigned long start = now(CLOCK_MONOTONIC);

	while (SYS(kill, shared->last, 0) == 0 || SYS(kill, -1, 0) == 0) {
		if (now(CLOCK_MONOTONIC) - start > GIVE_UP_NS)
			quit(3);
		SYS(sched_yield);
	}
}

static void middle_storm(void)
{
	long pid = must(fork_(), "orphans: fork");

	if (pid != 0)
		shared->last = pid;
	quit(0);
}

static void middle_backlog(unsigned long count)
{
	static int pids[BATCH];

	for (unsigned long i = 0; i < count; i++) {
		pids[i] = (int)must(fork_(), "orphans: fork");
		if (pids[i] == 0)
			quit(0);
	}
	for (unsigned long i = 0; i < count; i++)
		must(SYS(waitid, P_PID, pids[i], 0, WEXITED | WNOWAIT, 0), "orphans: waitid");
	shared->last = pids[count - 1];
	shared->wall = now(CLOCK_MONOTONIC);
	shared->cpu = now(CPU_OF_PID_1);
	quit(0);
}

static void run_middle(int backlog, unsigned long count)
{
	long pid = must(fork_(), "orphans: fork of middle");

	if (pid == 0 && backlog)
		middle_backlog(count);
	else if (pid == 0)
		middle_storm();
	must(SYS(wait4, pid, 0, 0, 0), "orphans: wait4");
}

static void storm(unsigned long count, unsigned long *wall, unsigned long *cpu)
{
	*wall = now(CLOCK_MONOTONIC);
	*cpu = now(CPU_OF_PID_1);
	for (unsigned long i = 0; i < count; i++)
		run_middle(0, 1);
	await_reaped();
	*wall = now(CLOCK_MONOTONIC) - *wall;
	*cpu = now(CPU_OF_PID_1) - *cpu;
}

static void backlog(unsigned long count, unsigned long *wall, unsigned long *cpu)
{
	*wall = *cpu = 0;
	for (unsigned long done = 0; done < count; done += BATCH) {
		run_middle(1, count - done < BATCH ? count - done : BATCH);
		await_reaped();
		*wall += now(CLOCK_MONOTONIC) - shared->wall;
		*cpu += now(CPU_OF_PID_1) - shared->cpu;
	}
}

int main(int argc, char **argv, char **envp)
{
	unsigned long wall, cpu, count;

	(void)envp;
	if (argc != 3 || SYS(getppid) != 1)
		die("orphans: wants storm|backlog, N, and PID 1 as its parent; it");
	shared = (struct shared *)must(SYS(mmap, 0, 4096, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0),
				       "orphans: mmap");
	count = number(argv[2]);
	if (same(argv[1], "backlog"))
		backlog(count, &wall, &cpu);
	else
		storm(count, &wall, &cpu);
	print(wall, ' ');
	print(cpu, '\n');
	return 0;
}
