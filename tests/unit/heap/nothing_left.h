/* SPDX-License-Identifier: MIT */
/* All that the heap took of the fake arena has come back to it. */
#ifndef ASH_TESTS_UNIT_HEAP_NOTHING_LEFT_H
#define ASH_TESTS_UNIT_HEAP_NOTHING_LEFT_H

#include "harness/test.h"

#include "fake_arena.h"
#include "heap/heap.h"

static inline void expect_nothing_left(void)
{
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

#endif
