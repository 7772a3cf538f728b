/* SPDX-License-Identifier: MIT */
/* The size class tables: every request finds the smallest class that holds it. */
#include "harness/test.h"

#include "heap/sizeclass.h"

TEST(every_size_gets_the_smallest_class_that_holds_it)
{
	for (size_t size = 0; size <= ASH_SMALL_MAX; size++) {
		const unsigned cls = ash_class_of(size);

		EXPECT_LT(cls, ASH_NR_CLASSES);
		EXPECT_GE(ash_classes[cls].size, size);
		if (cls > 0)
			EXPECT_LT(ash_classes[cls - 1].size, size);
	}
}

TEST(fast_table_agrees_with_the_full_one)
{
	for (size_t size = 0; size <= ASH_FAST_MAX; size++)
		EXPECT_EQ(ash_class_fast(size), ash_class_of(size));
}

TEST(classes_waste_no_more_than_they_promise)
{
	for (unsigned cls = 1; cls < ASH_NR_CLASSES; cls++) {
		const double below = ash_classes[cls - 1].size, size = ash_classes[cls].size;
		const double worst = (size - (below + 1)) / size;

		if (size > 128)
			EXPECT(worst <= (size <= 4096 ? 0.20 : 0.118));
	}
}

TEST(slabs_hold_eight_objects_and_lose_little_at_the_end)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const struct ash_class *c = &ash_classes[cls];
		const size_t bytes = (size_t)4096 << c->slab_order;

		EXPECT_EQ(c->capacity, bytes / c->size);
		EXPECT_GE(c->capacity, 8);
		EXPECT_LE((bytes - (size_t)c->capacity * c->size) * 100, bytes * 4);
		EXPECT_GE(c->cache_max, 4);
		EXPECT_GE(c->carve, 1);
		EXPECT_EQ(c->size % 16, 0);
	}
}
