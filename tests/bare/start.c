/* SPDX-License-Identifier: MIT */
/* The whole run-time of the static program: an entry point, two system calls, and the four functions a compiler may
 * call of its own accord in a freestanding program. */
#include "bare/start.h"

#if defined(__x86_64__)
#define NR_WRITE 1
#define NR_EXIT_GROUP 231

static long raw_syscall(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

/*
 * The kernel enters with the stack aligned to 16; a C function expects it so before its call pushed a return address.
 */
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall bare_entry\n\thlt\n");
#elif defined(__aarch64__)
#define NR_WRITE 64
#define NR_EXIT_GROUP 94

static long raw_syscall(long nr, long a, long b, long c)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl bare_entry\n\tbrk #0\n");
#else
#error "tests/bare has no entry point for this machine"
#endif

void bare_exit(int status)
{
	for (;;)
		raw_syscall(NR_EXIT_GROUP, status, 0, 0);
}

void bare_write(const char *text)
{
	size_t n = 0;

	while (text[n] != '\0')
		n++;
	while (n > 0) {
		const long done = raw_syscall(NR_WRITE, 1, (long)(uintptr_t)text, (long)n);

		if (done <= 0)
			return;
		text += done;
		n -= (size_t)done;
	}
}

void bare_write_number(uint64_t value)
{
	char text[24];
	size_t at = sizeof(text) - 1;

	text[at] = '\0';
	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	bare_write(text + at);
}

void bare_entry(const long *stack)
{
	bare_exit(bare_main((int)stack[0], (const char *const *)(stack + 1)));
}

void *memset(void *to, int byte, size_t n)
{
	unsigned char *p = to;

	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)byte;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	unsigned char *p = to;
	const unsigned char *q = from;

	for (size_t i = 0; i < n; i++)
		p[i] = q[i];
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	unsigned char *p = to;
	const unsigned char *q = from;

	if ((uintptr_t)to < (uintptr_t)from)
		return memcpy(to, from, n);
	for (size_t i = n; i > 0; i--)
		p[i - 1] = q[i - 1];
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != q[i])
			return p[i] < q[i] ? -1 : 1;
	}
	return 0;
}
