/* SPDX-License-Identifier: MIT */
/* A real pool for a test of DMA buffers: as POOL_TEST of tests/arena/real_pool.h, but the test may find that it must
 * skip. */
#ifndef ASH_TESTS_DMA_OWN_POOL_H
#define ASH_TESTS_DMA_OWN_POOL_H

#include "arena/child.h"
#include "arena/real_pool.h"

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
		whole = real_pool_settles(pages);                                                                      \
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
