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
			EXPECT(worst <= 0.204);
	}
}

/* What ash_fast_aligned() relies on. */
TEST(the_class_of_a_multiple_is_aligned)
{
	for (size_t align = 1; align <= ASH_FAST_MAX; align *= 2)
		for (size_t size = align; size <= ASH_FAST_MAX; size += align)
			EXPECT(ash_class_aligned(&ash_classes[ash_class_of(size)], align));
}

/* Where objects of more than a cache line lie, and all that a class says of it. */
TEST(slabs_in_a_row_have_all_places_that_their_end_leaves)
{
	unsigned most = 0;

	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const struct ash_class *c = &ash_classes[cls];
		const size_t unused = ((size_t)4096 << c->slab_order) - (size_t)c->capacity * c->size;

		EXPECT_GE(c->colours, 1);
		EXPECT(c->step % 64 == 0 && (c->size <= ASH_FAST_MAX || c->step <= 64));
		EXPECT((c->step == 0) == (c->colours == 1));
		EXPECT((size_t)(c->colours - 1) * c->step <= unused);
		most = ash_max(most, c->colours);
		for (size_t first = 0; first < 1 << 20; first += 4099) {
			uint64_t seen = 0;

			for (size_t number = first; number < first + 2 * c->colours; number++) {
				const size_t colour = ash_class_colour(c, number);

				EXPECT_LE(colour, unused);
				EXPECT(c->step == 0 ? colour == 0 : colour % c->step == 0);
				seen |= (uint64_t)1 << colour / ash_max(c->step, 1);
			}
			EXPECT_EQ((unsigned)__builtin_popcountll(seen), c->colours);
		}
	}
	EXPECT_GE(most, 8);
}

/* 96 objects of the smallest, one of the largest; a credit never ends between two objects' worth. */
TEST(an_outbox_is_full_at_its_bytes_or_its_count)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		int64_t credit = (int64_t)ASH_OUTBOX_BYTES << 32;
		uint32_t nr = 0;

		for (; credit - ash_class_cost[cls] >= 0; nr++)
			credit -= ash_class_cost[cls];
		EXPECT_EQ((uint32_t)credit, nr);
		EXPECT(nr >= 1 && nr <= ASH_OUTBOX_COUNT);
		EXPECT(nr * (uint64_t)ash_classes[cls].size <= ash_max(ASH_OUTBOX_BYTES, ash_classes[cls].size));
		EXPECT(nr == ASH_OUTBOX_COUNT || (nr + 1) * (uint64_t)ash_classes[cls].size > ASH_OUTBOX_BYTES);
	}
}

TEST(slabs_hold_four_objects_and_lose_little_at_the_end)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const struct ash_class *c = &ash_classes[cls];
		const size_t bytes = (size_t)4096 << c->slab_order;

		EXPECT_EQ(c->capacity, bytes / c->size);
		EXPECT_GE(c->capacity, 4);
		EXPECT_LE((bytes - (size_t)c->capacity * c->size) * 100, bytes * 4);
		EXPECT_GE(c->cache_max, 4);
		EXPECT_GE(c->carve, 1);
		EXPECT(c->size % 16 == 0 || c->size == 8);
	}
}
