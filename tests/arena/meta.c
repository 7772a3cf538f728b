/* SPDX-License-Identifier: MIT */
/* Metadata where the kernel gives no memory for it: what was refused is not used up. */
#include "arena/child.h"
#include "unit/os/fake_sys.h"

#include <limits.h>

enum { STEP = 256 << 10, PIECES = 16, TIMES = 100 };

/* Once what every process has at once, a mebibyte and a bit at most, is used up: one piece follows the other. */
static char *beyond_the_first(void)
{
	char *p = NULL, *before = NULL;

	for (unsigned i = 0; i < PIECES; i++) {
		before = p;
		p = ash_meta_alloc(STEP);
		EXPECT(p != NULL);
	}
	EXPECT(p == before + STEP);
	return p;
}

CHILD_TEST(what_cannot_be_committed_is_not_used_up)
{
	const struct ash_arena_config config = test_config();
	char *p;

	fake_on();
	EXPECT_EQ(ash_arena_init(&config), 0);
	p = beyond_the_first();
	fake_fail(__NR_mprotect, NULL, 0, UINT_MAX, -ENOMEM);
	for (unsigned i = 0; i < TIMES; i++)
		EXPECT(ash_meta_alloc(STEP) == NULL);
	fake.nr_rules = 0;
	EXPECT(ash_meta_alloc(STEP) == p + STEP);
}
