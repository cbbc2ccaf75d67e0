/*
 * What the benchmark's C programs share instead of a libc: the entry point, raw
 * system calls and three string helpers.  A libc's own start-up (static glibc: 0.3 ms
 * and 600 KiB) would otherwise count as work of the floor.
 *
 * Built with cc -O2 -static -nostdlib; <asm/unistd.h> and the libc headers give
 * numbers and constants only.
 */
#ifndef TINY_H
#define TINY_H

#include <asm/unistd.h>

#ifndef __x86_64__
#error "tiny.h knows x86_64 only: give _start and sys6 of this architecture"
#endif

int main(int argc, char **argv, char **envp);

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov (%rsp), %rdi\n"
	"	lea 8(%rsp), %rsi\n"
	"	lea 16(%rsp,%rdi,8), %rdx\n"
	"	and $-16, %rsp\n"
	"	call main\n"
	"	mov %eax, %edi\n"
	"	mov $231, %eax\n" /* exit_group */
	"	syscall\n");

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* A system call by its name; the missing arguments are 0, the answer is -errno on failure. */
#define SYS_(nr, a, b, c, d, e, f, ...) \
	sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(name, ...) SYS_(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static inline void quit(int code)
{
	for (;;)
		SYS(exit_group, code);
}

static inline unsigned long length(const char *s)
{
	unsigned long n = 0;

	while (s[n])
		n++;
	return n;
}

static inline int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Says which step failed on stderr and ends with 125, as nsctl does for its own failures. */
static inline void die(const char *step)
{
	SYS(write, 2, step, length(step));
	SYS(write, 2, " failed\n", 8);
	quit(125);
}

static inline long must(long ret, const char *step)
{
	if (ret < 0)
		die(step);
	return ret;
}

static inline unsigned long number(const char *s)
{
	unsigned long n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (unsigned long)(*s++ - '0');
	return n;
}

static inline void print(unsigned long n, char end)
{
	char text[24];
	int at = sizeof text;

	text[--at] = end;
	do
		text[--at] = (char)('0' + n % 10);
	while (n /= 10);
	SYS(write, 1, text + at, sizeof text - (unsigned long)at);
}

static inline long fork_(void)
{
	return SYS(clone, 17 /* SIGCHLD */);
}

#endif
