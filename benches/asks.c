/*
 * asks: how long a system call takes that does nothing, in picoseconds: getppid, which no filter looks into, and an ioctl of no
 * descriptor, whose request one may look at. The best of many short rounds, for others have the processor, too.
 */
#include "tiny.h"

#include <time.h>

#define CALLS 2000
#define ROUNDS 1000

static struct timespec now;

static unsigned long nanoseconds(void)
{
	must(SYS(clock_gettime, CLOCK_MONOTONIC, &now), "asks: clock_gettime");
	return (unsigned long)now.tv_sec * 1000000000 + (unsigned long)now.tv_nsec;
}

static unsigned long best(int looks)
{
	unsigned long least = ~0UL;

	for (int round = 0; round < ROUNDS; round++) {
		unsigned long begin = nanoseconds(), took;

		for (int call = 0; call < CALLS; call++) {
			if (looks)
				SYS(ioctl, -1, 0x5401);
			else
				SYS(getppid);
		}
		took = nanoseconds() - begin;
		if (took < least)
			least = took;
	}
	return least * 1000 / CALLS;
}

int main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	print(best(0), ' ');
	print(best(1), '\n');
	return 0;
}
