/* SPDX-License-Identifier: MIT */
/* Mappings of one size, BYTES, which the program that includes this defines: what is unmapped may come back in the
 * next. */
#ifndef ASH_TESTS_MAP_WARM_H
#define ASH_TESTS_MAP_WARM_H

#include "harness/test.h"

#include <sys/mman.h>

static void *map(void)
{
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(p != MAP_FAILED);
	return p;
}

/* Memory that a next mapping might get. */
static void warm_up(void)
{
	for (unsigned i = 0; i < 3; i++) {
		char *p = map();

		memset(p, 1, BYTES);
		EXPECT_EQ(munmap(p, BYTES), 0);
	}
}

#endif
