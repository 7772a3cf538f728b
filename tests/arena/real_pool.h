/* SPDX-License-Identifier: MIT */
/*
 * A few real huge pages for the time of a test. The pool is the machine's: tests that change it take turns (a lock
 * file), add to what is there and take away what they added: a process beside the test's does that, also when the test
 * is killed. Needs root, or the test skips. tests/harness/hugepool.py is the same for programs in Python.
 */
#ifndef ASH_TESTS_ARENA_REAL_POOL_H
#define ASH_TESTS_ARENA_REAL_POOL_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/test.h"

static struct {
	int lock;
	int end;      /* closed: the keeper does its work */
	pid_t keeper;
} real_pool = { -1, -1, 0 };

/* ASH_TEST_POOL: another folder with the same files, and the lock in it. */
static const char *real_pool_path(const char *name)
{
	static char path[4096];
	const char *folder = getenv("ASH_TEST_POOL");

	if (folder == NULL && strcmp(name, "lock") == 0)
		return "/var/lock/ashlar-test-pool";
	snprintf(path, sizeof(path), "%s/%s", folder != NULL ? folder : "/sys/kernel/mm/hugepages/hugepages-2048kB",
		 name);
	return path;
}

static long real_pool_read(const char *name)
{
	FILE *f = fopen(real_pool_path(name), "r");
	long n = -1;

	if (f == NULL)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

static long real_pool_free(void)
{
	return real_pool_read("free_hugepages");
}

/*
 * Whether the pool comes to have so many free pages within a minute: those of a process come back a moment after its
 * end where the kernel has pinned them, or while somebody looks at the process in /proc.
 */
static inline bool real_pool_settles(long pages)
{
	const struct timespec pause = { 0, 10000000 };

	for (unsigned i = 0; i < 6000 && real_pool_free() != pages; i++)
		nanosleep(&pause, NULL);
	return real_pool_free() == pages;
}

static bool real_pool_write(long n)
{
	FILE *f = fopen(real_pool_path("nr_hugepages"), "w");
	bool ok;

	if (f == NULL)
		return false;
	ok = fprintf(f, "%ld", n) > 0;
	return fclose(f) == 0 && ok;
}

/* Makes the pool what it was when it is asked to or the test's process has ended, however that was. Not to return. */
static void real_pool_keep(int here, int us, long before)
{
	struct pollfd ends[] = { { .fd = here }, { .fd = us, .events = POLLIN } };

	/* Whoever waits for the end of the test's output does not mean this process. */
	for (int fd = 0; fd <= 2; fd++)
		close(fd);
	close(real_pool.end);
	while (poll(ends, 2, -1) < 0)
		;
	real_pool_write(before);
	_exit(0);
}

/* It has the lock, too, until it is done. Children of this process may live on with the pipe's other end: hence the
 * pidfd. */
static bool real_pool_start_keeper(long before)
{
	const int us = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	real_pool.end = ends[1];
	fflush(stdout);
	real_pool.keeper = fork();
	if (real_pool.keeper == 0)
		real_pool_keep(ends[0], us, before);
	close(ends[0]);
	if (us >= 0)
		close(us);
	/* Nor does whoever ends the test's whole group; from here on, so that no page is taken before. */
	if (real_pool.keeper > 0 && setpgid(real_pool.keeper, real_pool.keeper) == 0)
		return true;
	close(real_pool.end);
	return false;
}

static void real_pool_give_back(void)
{
	close(real_pool.end);
	while (waitpid(real_pool.keeper, NULL, 0) < 0 && errno == EINTR)
		;
	close(real_pool.lock);
	real_pool.lock = -1;
}

/* NULL: exactly `pages` free huge pages are there, until real_pool_give_back(). Else why not. */
static const char *real_pool_get(long pages)
{
	long before;

	if (access(real_pool_path("nr_hugepages"), W_OK) != 0)
		return "no right to reserve huge pages";
	real_pool.lock = open(real_pool_path("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (real_pool.lock < 0 || flock(real_pool.lock, LOCK_EX) != 0)
		return "no lock file for the pool";
	before = real_pool_read("nr_hugepages");
	if (real_pool_free() != 0 || real_pool_read("nr_overcommit_hugepages") != 0) {
		close(real_pool.lock);
		return "the machine has huge pages of its own to give";
	}
	if (!real_pool_start_keeper(before)) {
		close(real_pool.lock);
		return "no process to give the huge pages back";
	}
	if (!real_pool_write(before + pages) || real_pool_free() != pages) {
		real_pool_give_back();
		return "the kernel does not give the huge pages";
	}
	return NULL;
}

/* Runs body in a child with a real pool of so many pages; the pool is given back whatever becomes of it. */
#define POOL_TEST(id, pages)                                                                                           \
	static void child_##id(void);                                                                                  \
	TEST(id)                                                                                                       \
	{                                                                                                              \
		const char *why = real_pool_get(pages);                                                                \
		int status;                                                                                            \
		bool whole;                                                                                            \
                                                                                                                       \
		if (why != NULL)                                                                                       \
			SKIP(why);                                                                                     \
		status = child_status(child_##id);                                                                     \
		whole = real_pool_settles(pages);                                                                      \
		real_pool_give_back();                                                                                 \
		if (status < 0)                                                                                        \
			TEST_FAIL("killed by signal %d", -status);                                                     \
		EXPECT_EQ(status, 0);                                                                                  \
		EXPECT(whole);                                                                                         \
	}                                                                                                              \
	static void child_##id(void)

#endif
