/* SPDX-License-Identifier: MIT */
/* Scenario T99: CMA areas. Sources are marked as in buddy.c. */
#include "harness/test.h"
#include "page/cma.h"
#include "scenario/owner.h"

static struct scene s;
static struct ash_cma area;
static unsigned long bitmaps[2][4], saved[2][4];

/* Two ranges, [24, 72) and [80, 96), of a zone of twelve free pageblocks of eight frames. */
static void two_ranges(void)
{
	owner_open(&s, 3, 5, "MMMMMMMMMMMM", 0);
	scene_free(&s, "0:5, 32:5, 64:5");
	memset(bitmaps, 0, sizeof(bitmaps));
	EXPECT_EQ(ash_cma_init(&area, s.z, "two", 0), 0);
	EXPECT_EQ(ash_cma_add_range(&area, 24, 48, bitmaps[0], NULL), 0);
	EXPECT_EQ(ash_cma_add_range(&area, 80, 16, bitmaps[1], NULL), 0);
	EXPECT_STREQ(scene_types(&s), "MMMCCCCCCMCC");
	EXPECT_EQ(scene_stats(&s).free_cma, 64);
	EXPECT_EQ(scene_stats(&s).free, 96);
	EXPECT(scene_fault(&s) == NULL);
	EXPECT_EQ(area.available, 64);
	scene_mark(&s);
}

static ash_pfn_t take(ash_pfn_t nr, unsigned align_order)
{
	ash_pfn_t pfn;

	return ash_cma_alloc(&area, nr, align_order, &pfn, NULL) == 0 ? pfn : ASH_PFN_NONE;
}

/* [K cma.c:cma_alloc] alignment is of the frame, not of the offset in the range. */
TEST(T99_alignment_with_a_base_that_is_not_aligned)
{
	two_ranges();
	EXPECT_EQ(take(4, 5), 32);
	EXPECT_EQ(take(4, 5), 64);
	EXPECT_EQ(take(4, 5), ASH_PFN_NONE);
	EXPECT_EQ(area.available, 56);
	EXPECT_EQ(take(4, 4), 48);
	EXPECT_EQ(take(4, 0), 24);
	EXPECT(ash_cma_release(&area, 32, 4));
	EXPECT_EQ(take(2, 5), 32);
	EXPECT_EQ(scene_stats(&s).free_cma, 64 - 14);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(T99_available_is_exact)
{
	two_ranges();
	EXPECT_EQ(take(40, 0), 24);
	EXPECT_EQ(area.available, 24);
	EXPECT_EQ(take(16, 0), 80);
	EXPECT_EQ(take(8, 0), 64);
	EXPECT_EQ(area.available, 0);
	EXPECT_EQ(take(1, 0), ASH_PFN_NONE);
	EXPECT_EQ(area.available, 0);
	EXPECT(ash_cma_release(&area, 24, 40));
	EXPECT(ash_cma_release(&area, 80, 16));
	EXPECT(ash_cma_release(&area, 64, 8));
	EXPECT_EQ(area.available, 64);
	EXPECT(scene_same(&s));
}

/* A request that fits the area but no range fails and leaves nothing behind. */
TEST(T99_no_buffer_across_two_ranges)
{
	two_ranges();
	memcpy(saved, bitmaps, sizeof(saved));
	EXPECT_EQ(take(50, 0), ASH_PFN_NONE);
	EXPECT_EQ(memcmp(saved, bitmaps, sizeof(saved)), 0);
	EXPECT_EQ(area.available, 64);
	EXPECT_EQ(area.alloc_fail, 1);
	EXPECT(scene_same(&s));
}

TEST(T99_release_of_foreign_frames)
{
	two_ranges();
	EXPECT_EQ(take(16, 0), 24);
	scene_mark(&s);
	EXPECT(!ash_cma_release(&area, 16, 8));
	EXPECT(!ash_cma_release(&area, 64, 24));
	EXPECT(!ash_cma_release(&area, 90, 8));
	EXPECT(!ash_cma_release(&area, ASH_PFN_NONE, 1));
	EXPECT(scene_same(&s));
	EXPECT_EQ(area.available, 48);
	EXPECT(ash_cma_release(&area, 24, 16));
}

/* [K cma.c:cma_range_alloc] -EBUSY of a place: its bits are given back and the next aligned place is tried. */
TEST(T99_a_busy_place_is_passed_over)
{
	ash_pfn_t borrowed;

	two_ranges();
	/* Most of what is free is CMA, so that is lent first; the borrower stays where it is. */
	borrowed = scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_CMA);
	EXPECT(borrowed >= 24 && borrowed < 72);
	owner_pinned = borrowed;
	memcpy(saved, bitmaps, sizeof(saved));
	EXPECT_EQ(take(48, 0), ASH_PFN_NONE);
	EXPECT_EQ(memcmp(saved, bitmaps, sizeof(saved)), 0);
	EXPECT_EQ(area.available, 64);
	/* Around it there is room enough, and nobody's frame is given away. */
	for (unsigned i = 0; i < 5; i++) {
		const ash_pfn_t pfn = take(8, 3);

		EXPECT_NE(pfn, ASH_PFN_NONE);
		EXPECT(borrowed < pfn || borrowed >= pfn + 8);
	}
	EXPECT(scene_fault(&s) == NULL);
}

/* What was lent is moved out when the buffer is wanted. */
TEST(T99_borrowers_are_moved_out)
{
	unsigned lent = 0;

	two_ranges();
	while (scene_stats(&s).free_cma > 40)
		lent += ash_pageblock_type(s.z, scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_CMA)) == ASH_MT_CMA;
	EXPECT_EQ(lent, 24);
	EXPECT_EQ(take(48, 0), 24);
	EXPECT_EQ(take(16, 0), 80);
	EXPECT_GE(owner_moves, 24);
	EXPECT_EQ(area.available, 0);
	EXPECT_EQ(scene_stats(&s).free_cma, 0);
	EXPECT(scene_fault(&s) == NULL);
}
