/* SPDX-License-Identifier: MIT */
/*
 * A few real huge pages for the time of a test. The pool is the machine's: tests that change it take turns (a lock file),
 * add to what is there and take away what they added. Needs root, or the test skips.
 */
#ifndef ASH_TESTS_ARENA_REAL_POOL_H
#define ASH_TESTS_ARENA_REAL_POOL_H

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "harness/test.h"

#define REAL_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static struct {
	int lock;
	long before;
} real_pool = { -1, 0 };

static long real_pool_read(const char *path)
{
	FILE *f = fopen(path, "r");
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
	return real_pool_read(REAL_POOL "free_hugepages");
}

/*
 * Whether the pool comes to have so many free pages within a minute: those of a process come back a moment after its end
 * where the kernel has pinned them, or while somebody looks at the process in /proc.
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
	FILE *f = fopen(REAL_POOL "nr_hugepages", "w");
	bool ok;

	if (f == NULL)
		return false;
	ok = fprintf(f, "%ld", n) > 0;
	return fclose(f) == 0 && ok;
}

static void real_pool_give_back(void)
{
	real_pool_write(real_pool.before);
	close(real_pool.lock);
	real_pool.lock = -1;
}

/* NULL: exactly `pages` free huge pages are there, until real_pool_give_back(). Else why not. */
static const char *real_pool_get(long pages)
{
	if (access(REAL_POOL "nr_hugepages", W_OK) != 0)
		return "no right to reserve huge pages";
	real_pool.lock = open("/var/lock/ashlar-test-pool", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (real_pool.lock < 0 || flock(real_pool.lock, LOCK_EX) != 0)
		return "no lock file for the pool";
	real_pool.before = real_pool_read(REAL_POOL "nr_hugepages");
	if (real_pool_free() != 0 || real_pool_read(REAL_POOL "nr_overcommit_hugepages") != 0) {
		close(real_pool.lock);
		return "the machine has huge pages of its own to give";
	}
	if (!real_pool_write(real_pool.before + pages) || real_pool_free() != pages) {
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
