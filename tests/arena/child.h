/* SPDX-License-Identifier: MIT */
/*
 * Tests of things a process does once: each body runs in a forked child with arenas of its own, configured as the test
 * says. An EXPECT that fails in the child fails the test; a death by signal is told.
 */
#ifndef ASH_TESTS_ARENA_CHILD_H
#define ASH_TESTS_ARENA_CHILD_H

#include "harness/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/arena.h"

/* Exit status of fn in a child: 0, 1 failed, 77 skipped; minus the signal that killed it. */
static inline int child_status(void (*fn)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		switch (setjmp(test_abort)) {
		case 0:
			fn();
			fflush(stdout);
			_exit(0);
		case 1:
			fflush(stdout);
			_exit(1);
		default:
			printf("# %s\n", test_skip_reason);
			fflush(stdout);
			_exit(77);
		}
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void child_passes(void (*fn)(void))
{
	int status = child_status(fn);

	if (status == 77)
		SKIP("the reason is on the line above");
	if (status < 0)
		TEST_FAIL("killed by signal %d", -status);
	if (status != 0)
		TEST_FAIL("failed in the child, see above");
}

/* TEST whose body runs in a child. */
#define CHILD_TEST(id)                                                                                                 \
	static void child_##id(void);                                                                                  \
	TEST(id)                                                                                                       \
	{                                                                                                              \
		child_passes(child_##id);                                                                              \
	}                                                                                                              \
	static void child_##id(void)

/* Touching p kills with this signal (in a grandchild); 0: it does not. */
static const volatile void *child_touch_at;

static inline void child_do_touch(void)
{
	(void)*(const volatile char *)child_touch_at;
}

static inline int touch_signal(const volatile void *p)
{
	int status;

	child_touch_at = p;
	status = child_status(child_do_touch);
	return status < 0 ? -status : 0;
}

/* Writing the byte at p, what it reads as, kills with this signal; 0: it does not. */
static inline void child_do_write(void)
{
	volatile char *p = (volatile char *)(uintptr_t)child_touch_at;

	*p = *p;
}

static inline int write_signal(const volatile void *p)
{
	int status;

	child_touch_at = p;
	status = child_status(child_do_write);
	return status < 0 ? -status : 0;
}

static inline struct ash_arena_config test_config(void)
{
	struct ash_arena_config config;

	ash_arena_config_default(&config);
	/* One pageblock, whatever the default is: these tests count pages of a pool. */
	config.small_start = ASH_MIB(2);
	return config;
}

/* Every arena's page core agrees with itself. */
static inline void check_zones(void)
{
	unsigned checked = 0;

	for (unsigned i = 0; i < ash_arena_count(); i++) {
		struct ash_zone *z = ash_arena_zone(i);
		struct ash_zone_fault fault = { 0, 0, "", 0, 0 };

		if (z == NULL)
			continue;
		checked++;
		if (ash_zone_check(z, &fault) != 0)
			TEST_FAIL("arena %u: invariant %d broken at pfn %u: %s (%lu, %lu)", i, fault.invariant,
				  fault.pfn, fault.what, fault.a, fault.b);
	}
	EXPECT_GT(checked, 0);
}

#endif
