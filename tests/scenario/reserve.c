/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T31 to T35, T66, T80 and T81: the HIGHATOMIC reserve, watermarks and their boost, frees that never wait.
 * Sources are marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/pcp.h"
#include "page/watermark.h"
#include "scenario/scene.h"

static struct scene s;

static ash_pfn_t atomic_alloc(unsigned order)
{
	return scene_alloc(&s, order, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC);
}

static uint64_t reserved(void)
{
	struct ash_watermarks w;

	ash_zone_watermarks(s.z, &w);
	return w.reserved_highatomic;
}

/* A zone of n pageblocks, all free but what the test allocates. */
static void free_zone(unsigned pageblock_order, unsigned max_order, size_t n)
{
	static char types[512];

	memset(types, 'M', n);
	types[n] = '\0';
	scene_open(&s, pageblock_order, max_order, types);
	for (ash_pfn_t block = 0; block < n; block++)
		ash_zone_free_run(s.z, block << pageblock_order, 1u << pageblock_order);
	scene_mark(&s);
}

/* [K page_alloc.c:reserve_highatomic_pageblock] the block of such an allocation joins the reserve. */
TEST(T31_a_block_joins_the_reserve)
{
	ash_pfn_t pfn;

	free_zone(3, 4, 120);
	pfn = atomic_alloc(2);
	EXPECT_NE(pfn, ASH_PFN_NONE);
	EXPECT_EQ(ash_pageblock_type(s.z, pfn), ASH_MT_HIGHATOMIC);
	EXPECT_EQ(reserved(), 8);
	EXPECT_EQ(scene_stats(&s).free_highatomic, 4);
	/* At most one percent, rounded up to a pageblock: 9.6 frames become 16, which is two. */
	for (unsigned i = 0; i < 8; i++)
		EXPECT_NE(atomic_alloc(3), ASH_PFN_NONE);
	EXPECT_EQ(reserved(), 16);
	EXPECT_EQ(scene_stats(&s).pageblocks[ASH_MT_HIGHATOMIC], 2);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(T31_a_small_zone_has_no_reserve)
{
	free_zone(3, 4, 99);
	EXPECT_NE(atomic_alloc(2), ASH_PFN_NONE);
	EXPECT_EQ(reserved(), 0);
	EXPECT_EQ(scene_stats(&s).pageblocks[ASH_MT_HIGHATOMIC], 0);
}

/* Who does not ask for it does not join it, and neither does order 0. */
TEST(T31_ordinary_requests_reserve_nothing)
{
	free_zone(3, 4, 120);
	EXPECT_NE(scene_alloc(&s, 2, ASH_MT_UNMOVABLE, 0), ASH_PFN_NONE);
	EXPECT_NE(atomic_alloc(0), ASH_PFN_NONE);
	EXPECT_EQ(reserved(), 0);
}

/* [C 7cc5a5d65011] a request above a pageblock reserves all the blocks it covers. */
TEST(T32_every_block_of_a_large_piece_is_reserved)
{
	ash_pfn_t pfn;

	free_zone(3, 5, 204);
	pfn = atomic_alloc(4);
	EXPECT_EQ(pfn % 16, 0);
	EXPECT_EQ(ash_pageblock_type(s.z, pfn), ASH_MT_HIGHATOMIC);
	EXPECT_EQ(ash_pageblock_type(s.z, pfn + 8), ASH_MT_HIGHATOMIC);
	EXPECT_EQ(reserved(), 16);
	ash_zone_free(s.z, pfn, 4, ASH_CPU_NONE);
	EXPECT_EQ(scene_stats(&s).free_highatomic, 16);
	EXPECT_EQ(scene_stats(&s).nr_free[4][ASH_MT_HIGHATOMIC], 1);
	EXPECT(scene_fault(&s) == NULL);
}

/* [K page_alloc.c:unreserve_highatomic_pageblock] back to the requester's type, all blocks of a buddy. */
TEST(T33_unreserve_gives_all_blocks_back)
{
	const char *before;
	ash_pfn_t pfn;

	free_zone(3, 5, 204);
	pfn = atomic_alloc(4);
	ash_zone_free(s.z, pfn, 4, ASH_CPU_NONE);
	EXPECT(ash_zone_unreserve_highatomic(s.z, ASH_MT_MOVABLE, false));
	EXPECT_EQ(reserved(), 0);
	EXPECT_EQ(scene_stats(&s).free_highatomic, 0);
	EXPECT_EQ(scene_stats(&s).pageblocks[ASH_MT_HIGHATOMIC], 0);
	EXPECT_EQ(ash_pageblock_type(s.z, pfn), ASH_MT_MOVABLE);
	EXPECT_EQ(ash_pageblock_type(s.z, pfn + 8), ASH_MT_MOVABLE);
	before = scene_fault(&s);
	EXPECT(before == NULL);
	EXPECT(!ash_zone_unreserve_highatomic(s.z, ASH_MT_MOVABLE, true));
}

/*
 * [K page_alloc.c:__free_one_page] what was unreserved merges with what it has come to stand beside; SIM. Linux leaves
 * that to the next free in each half; left unmerged here, a refused isolation of either half would not be undone
 * exactly.
 */
TEST(T35_what_was_unreserved_merges)
{
	ash_pfn_t pfn;

	free_zone(3, 5, 204);
	pfn = atomic_alloc(4);
	ash_zone_free(s.z, pfn, 4, ASH_CPU_NONE);
	EXPECT(ash_zone_unreserve_highatomic(s.z, ASH_MT_MOVABLE, false));
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, (pfn & ~31u) + 16), pfn & ~31u);
	EXPECT(scene_fault(&s) == NULL);
	for (ash_pfn_t half = pfn & ~31u; half < (pfn & ~31u) + 32; half += 16) {
		bool zeroed;

		EXPECT_EQ(ash_zone_extend_run(s.z, half, 1, ASH_MT_MOVABLE, &zeroed), 0);
		ash_zone_free_run(s.z, half, 1);
	}
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, pfn + 15), pfn & ~31u);
}

TEST(T33_the_last_block_is_kept)
{
	free_zone(3, 4, 120);
	EXPECT_NE(atomic_alloc(2), ASH_PFN_NONE);
	EXPECT_EQ(reserved(), 8);
	scene_mark(&s);
	EXPECT(!ash_zone_unreserve_highatomic(s.z, ASH_MT_MOVABLE, false));
	EXPECT(scene_same(&s));
	EXPECT(ash_zone_unreserve_highatomic(s.z, ASH_MT_RECLAIMABLE, true));
	EXPECT_EQ(reserved(), 0);
	EXPECT_EQ(scene_stats(&s).pageblocks[ASH_MT_RECLAIMABLE], 1);
}

/* [C c928807f6f6b] what is reserved but in use does not count against an ordinary request a second time. */
TEST(T34_only_free_reserve_is_withheld)
{
	struct ash_zone_stats now;

	free_zone(3, 4, 120);
	EXPECT_NE(atomic_alloc(3), ASH_PFN_NONE);
	EXPECT_EQ(reserved(), 8);
	now = scene_stats(&s);
	EXPECT_EQ(now.free_highatomic, 0);
	ash_zone_set_watermarks(s.z, now.free - 4, 0);
	/* With the whole reserve withheld, four frames above the mark would not have been enough. */
	EXPECT(ash_zone_watermark_ok(s.z, 0, ASH_WMARK_MIN, 0, 0, now.free));
	EXPECT(!ash_zone_watermark_ok(s.z, 0, ASH_WMARK_MIN, 0, 0, now.free - 4));
}

/* [K page_alloc.c:boost_watermark] a claim attempt below a pageblock raises the marks, up to a bound. */
TEST(T66_fragmentation_boosts_the_watermarks)
{
	struct ash_watermarks w;

	scene_open(&s, 4, 4, "MMMMMMMM");
	scene_free(&s, "8:3, 24:3, 40:3");
	ash_zone_set_watermarks(s.z, 2, 0);
	EXPECT_NE(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), ASH_PFN_NONE);
	ash_zone_watermarks(s.z, &w);
	EXPECT_EQ(w.boost, 16);
	/* The bound is the larger of a pageblock and 1.5 times the high mark. */
	EXPECT_NE(scene_alloc(&s, 0, ASH_MT_RECLAIMABLE, 0), ASH_PFN_NONE);
	ash_zone_watermarks(s.z, &w);
	EXPECT_EQ(w.boost, 16);
	EXPECT_EQ(ash_zone_end_boost(s.z), 16);
	ash_zone_watermarks(s.z, &w);
	EXPECT_EQ(w.boost, 0);
	EXPECT_EQ(ash_zone_end_boost(s.z), 0);
}

TEST(T66_small_zones_and_zones_without_marks_are_not_boosted)
{
	struct ash_watermarks w;

	scene_open(&s, 4, 4, "MMM");
	scene_free(&s, "8:3");
	ash_zone_set_watermarks(s.z, 2, 0);
	EXPECT_NE(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), ASH_PFN_NONE);
	ash_zone_watermarks(s.z, &w);
	EXPECT_EQ(w.boost, 0);
	scene_open(&s, 4, 4, "MMMMMMMM");
	scene_free(&s, "8:3");
	EXPECT_NE(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), ASH_PFN_NONE);
	ash_zone_watermarks(s.z, &w);
	EXPECT_EQ(w.boost, 0);
}

/*
 * [K page_alloc.c:free_one_page, add_page_to_zone_llist] a free under a held lock is finished by the next ordinary one.
 */
TEST(T80_trylock_free_under_a_held_lock_is_deferred)
{
	scene_open(&s, 4, 4, "MMM");
	scene_used(&s, 0, 2, ASH_MT_MOVABLE);
	ash_zone_lock(s.z);
	ash_zone_free_trylock(s.z, 0, 2, ASH_CPU_NONE);
	ash_zone_free_trylock(s.z, 9, 0, ASH_CPU_NONE);
	/* The block is converted before the frames arrive: they go where the block then belongs. */
	ash_pageblock_set_type(s.z, 0, ASH_MT_RECLAIMABLE);
	ash_zone_unlock(s.z);
	EXPECT_EQ(scene_stats(&s).free, 0);
	EXPECT(scene_fault(&s) == NULL);
	ash_zone_free(s.z, 32, 0, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:2 R, 9:0 R, 32:0 M", "RMM");
}

TEST(T80_a_deferred_frame_freed_twice_is_reported)
{
	scene_open(&s, 4, 4, "M");
	ash_zone_lock(s.z);
	ash_zone_free_trylock(s.z, 3, 0, ASH_CPU_NONE);
	EXPECT_BUG(ash_zone_free_trylock(s.z, 3, 0, ASH_CPU_NONE));
}

/*
 * [K page_alloc.c:free_frozen_page_commit, FPI_TRYLOCK] a full pcp may be overfilled; the next ordinary free trims it.
 */
TEST(T81_trylock_free_into_a_full_pcp)
{
	const uint32_t high = 6;

	scene_open_edge(&s, 4, 4, "MM", 0, 0, 1);
	scene_pcp_marks(&s, 3, high, high);
	for (ash_pfn_t pfn = 0; pfn < high; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, high);
	ash_zone_lock(s.z);
	ash_zone_free_trylock(s.z, 20, 0, 0);
	ash_zone_free_trylock(s.z, 21, 0, 0);
	ash_zone_unlock(s.z);
	EXPECT_EQ(scene_stats(&s).free, 0);
	EXPECT_EQ(scene_stats(&s).pcp, high + 2);
	EXPECT(scene_fault(&s) == NULL);
	ash_zone_free(s.z, 22, 0, 0);
	EXPECT_LE(scene_stats(&s).pcp, high);
	ash_zone_drain(s.z);
	EXPECT_EQ(scene_stats(&s).free, high + 3);
}
