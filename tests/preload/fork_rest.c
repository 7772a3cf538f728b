/* SPDX-License-Identifier: MIT */
/* fork of a process that has rested: what its bins hold is the child's to use, not the child's to put away. */
#include "harness/test.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

/* Of a size that nobody else asks for, and of which they fill no slab. */
enum { SIZE = 5000, NR = 8, LAST = 5 };

static time_t rested;

/* The library's clock, too: a program comes before libc. */
int clock_gettime(clockid_t id, struct timespec *t)
{
	const int ret = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += rested;
	return ret;
}

/* Where the heap looks at its clock. */
static void free_a_long_run(void)
{
	free(OPAQUE(malloc(1 << 20)));
}

/* The slab is nobody's any more, and what was freed last is not where a new one begins. */
static void *fill_a_bin(void)
{
	void *p[NR];

	for (int i = 0; i < NR; i++)
		p[i] = OPAQUE(malloc(SIZE));
	for (int i = 0; i < NR; i++)
		if (i != LAST)
			free(p[i]);
	free(p[LAST]);
	return p[LAST];
}

static bool has_the_last(const void *last)
{
	void *p = OPAQUE(malloc(SIZE));
	const bool has = p == last;

	free(p);
	return has;
}

/* For longer than a decay time, of ten seconds. */
static void rest(void)
{
	rested += 1000;
}

static void check_the_bin_after_fork(void)
{
	void *last;
	int status;
	pid_t child;

	free_a_long_run();
	last = fill_a_bin();
	rest();
	child = fork();
	if (child == 0) {
		free_a_long_run();
		_exit(has_the_last(last) ? 0 : 1);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
	/* In the parent all of it was due. */
	free_a_long_run();
	EXPECT(!has_the_last(last));
}

TEST(a_child_begins_with_what_its_parent_had_at_hand)
{
	check_the_bin_after_fork();
}

/* A child that rests is a process like any. */
TEST(a_child_that_rests_puts_it_away)
{
	void *last;
	int status;
	pid_t child;

	last = fill_a_bin();
	child = fork();
	if (child == 0) {
		free_a_long_run();
		rest();
		free_a_long_run();
		_exit(has_the_last(last) ? 1 : 0);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT_EQ(status, 0);
}

static int never[2];

static void *wait_for_ever(void *unused)
{
	char byte;

	(void)!read(never[0], &byte, 1);
	return unused;
}

TEST(so_does_the_child_of_a_process_with_threads)
{
	pthread_t thread;

	EXPECT_EQ(pipe(never), 0);
	EXPECT_EQ(pthread_create(&thread, NULL, wait_for_ever, NULL), 0);
	check_the_bin_after_fork();
	EXPECT_EQ(write(never[1], "", 1), 1);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
}
