/* SPDX-License-Identifier: MIT */
/*
 * A real pool for a test of DMA buffers. As POOL_TEST of tests/arena/real_pool.h, except that pages which the kernel has
 * pinned for a process come back a moment after its end: they are waited for.
 */
#ifndef ASH_TESTS_DMA_OWN_POOL_H
#define ASH_TESTS_DMA_OWN_POOL_H

#include "arena/child.h"
#include "arena/real_pool.h"

#include <time.h>

/* Whether the pool comes to have so many free pages within ten seconds. */
static inline bool own_pool_settles(long pages)
{
	const struct timespec pause = { 0, 10000000 };

	for (unsigned i = 0; i < 1000 && real_pool_free() != pages; i++)
		nanosleep(&pause, NULL);
	return real_pool_free() == pages;
}

#define DMA_POOL_TEST(id, pages)                                                                                       \
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
		whole = own_pool_settles(pages);                                                                       \
		real_pool_give_back();                                                                                 \
		if (status < 0)                                                                                        \
			TEST_FAIL("killed by signal %d", -status);                                                     \
		if (status == 77)                                                                                      \
			SKIP("the reason is on the line above");                                                       \
		EXPECT_EQ(status, 0);                                                                                  \
		EXPECT(whole);                                                                                         \
	}                                                                                                              \
	static void child_##id(void)

#endif
