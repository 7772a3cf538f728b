/* SPDX-License-Identifier: MIT */
/* Takes two huge pages for the time of a test, says so, and is then killed by tests/arena/pool_killed.py. */
#include "arena/real_pool.h"

TEST(holds_pages)
{
	const char *why = real_pool_get(2);
	pid_t child;

	if (why != NULL)
		SKIP(why);
	/* One that lives on, with every descriptor. */
	child = fork();
	if (child == 0) {
		sleep(HANG_SECONDS);
		_exit(0);
	}
	printf("held %d\n", (int)child);
	sleep(HANG_SECONDS);
	real_pool_give_back();
	EXPECT(real_pool_settles(2));
}
