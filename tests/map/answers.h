/* SPDX-License-Identifier: MIT */
/*
 * For programs that print what came of every call, each corner in a child of its own: corners.py runs them with and
 * without served mappings, and both have to say the same.
 */
#ifndef ASH_TESTS_MAP_ANSWERS_H
#define ASH_TESTS_MAP_ANSWERS_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PB ((size_t)2 << 20)
enum { RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS, PAGE = 4096 };

static void say(const char *what, long ret)
{
	printf("%s: %ld, errno %d\n", what, ret, ret == -1 ? errno : 0);
}

/* Where it is, is the kernel's affair. */
static inline char *say_map(const char *what, void *p)
{
	say(what, p == MAP_FAILED ? -1 : 0);
	return p;
}

static inline void say_sum(const char *what, const char *p, size_t bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < bytes; i += 512)
		sum = sum * 31 + (unsigned char)p[i];
	say(what, (long)(sum % 1000003));
}

static sigjmp_buf after_fault;

static void on_fault(int signal)
{
	siglongjmp(after_fault, signal);
}

static inline void say_fault(const char *what, const char *p)
{
	const int got = sigsetjmp(after_fault, 1);

	if (got == 0) {
		(void)signal(SIGSEGV, on_fault);
		(void)*(const volatile char *)p;
	}
	(void)signal(SIGSEGV, SIG_DFL);
	say(what, got);
}

/* Memory that a next mapping may get, where mappings are served. */
static void warm(void)
{
	for (unsigned i = 0; i < 2; i++) {
		char *p = mmap(NULL, 8 * PB, RW, ANON, -1, 0);

		if (p == MAP_FAILED)
			exit(2);
		memset(p, 0x5a, 8 * PB);
		(void)munmap(p, 8 * PB);
	}
}

/* It reads as zero, and then is not. */
static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, RW, ANON, -1, 0);

	say("map", p == MAP_FAILED ? -1 : 0);
	if (p == MAP_FAILED)
		exit(2);
	for (size_t i = 0; i < bytes; i += 64) {
		if (p[i] != 0) {
			say("not zero at", (long)i);
			break;
		}
	}
	memset(p, 7, bytes);
	return p;
}

/* Each in a child of its own, with memory that is warm. */
static int run_corners(void (*const corners[])(void), unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		int status = 0;
		pid_t pid;

		(void)fflush(stdout);
		pid = fork();
		if (pid == 0) {
			printf("corner %u\n", i);
			warm();
			corners[i]();
			(void)fflush(stdout);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 2;
		say("status", status);
	}
	return 0;
}

#endif
