/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T60 to T70: which free memory a request of another type gets, and what becomes of its pageblock. Sources
 * are marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/fallback.h"
#include "page/zone_struct.h"
#include "scenario/scene.h"

static struct scene s;

/* Several requests in one hold of the zone lock, as a pcp refill makes them. */
static void bulk(unsigned n, enum ash_migratetype mt, unsigned flags, ash_pfn_t *pfns, enum ash_rmqueue_mode *modes)
{
	enum ash_rmqueue_mode mode = ASH_RMQUEUE_NORMAL;

	ash_zone_lock(s.z);
	for (unsigned i = 0; i < n; i++) {
		pfns[i] = ash_rmqueue(s.z, 0, mt, flags, &mode).pfn;
		modes[i] = mode;
		if (pfns[i] != ASH_PFN_NONE)
			ash_frame_store(s.z->frames, pfns[i], ash_frame_word(ASH_FRAME_USED, 0, mt, 0));
	}
	ash_zone_unlock(s.z);
}

/* [C c2f6ea38fc1b] steal from the smallest fallback buddy; SIM. */
TEST(T60_a_steal_takes_the_smallest)
{
	scene_open(&s, 4, 4, "UU");
	scene_free(&s, "12:2 U, 31:0 U");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 31);
	EXPECT_STATE(&s, "12:2 U", "UU");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 12);
	EXPECT_STATE(&s, "13:0 U, 14:1 U", "UU");
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal + 2);
	EXPECT_EQ(scene_stats(&s).extfrag_claim, s.before.extfrag_claim);
}

/* [C 90abee6d7895] the mode returns to normal after a claim; SIM. */
TEST(T61_claim_once_then_normal)
{
	ash_pfn_t pfns[4];
	enum ash_rmqueue_mode modes[4];

	scene_open(&s, 4, 4, "M");
	scene_free(&s, "8:3 M");
	bulk(4, ASH_MT_UNMOVABLE, 0, pfns, modes);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(pfns[i], 8 + i);
		EXPECT_EQ(modes[i], ASH_RMQUEUE_NORMAL);
	}
	EXPECT_STATE(&s, "12:2 U", "U");
	EXPECT_EQ(scene_stats(&s).extfrag_claim, s.before.extfrag_claim + 1);
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal);
}

/* [C 90abee6d7895] a steal is remembered for the rest of the lock hold. */
TEST(T61_steal_is_remembered)
{
	ash_pfn_t pfns[2];
	enum ash_rmqueue_mode modes[2];

	scene_open(&s, 4, 4, "UU");
	scene_free(&s, "12:1 U, 31:0 U");
	bulk(2, ASH_MT_MOVABLE, 0, pfns, modes);
	EXPECT_EQ(pfns[0], 31);
	EXPECT_EQ(modes[0], ASH_RMQUEUE_STEAL);
	EXPECT_EQ(pfns[1], 12);
	EXPECT_EQ(modes[1], ASH_RMQUEUE_STEAL);
}

/* [L 20240320180429.678181-7-hannes, as merged] CMA first, and a fallback when CMA has run dry; SIM. */
TEST(T62_cma_then_fallback)
{
	static const ash_pfn_t expected[5] = { 29, 30, 31, 40, 41 };
	ash_pfn_t pfns[5];
	enum ash_rmqueue_mode modes[5];

	scene_open(&s, 4, 4, "MCR");
	scene_free(&s, "29:0 C, 30:1 C, 40:3 R");
	bulk(5, ASH_MT_MOVABLE, ASH_ALLOC_CMA, pfns, modes);
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(pfns[i], expected[i]);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(modes[i], ASH_RMQUEUE_CMA);
	EXPECT_EQ(modes[3], ASH_RMQUEUE_NORMAL);
	EXPECT_STATE(&s, "42:1 M, 44:2 M", "MCM");
}

/* [L 20250407180154.63348] a MOVABLE request looks for no claim below half the pageblock order: the lists stay. */
TEST(T63_claim_search_stops_early)
{
	scene_open(&s, 4, 4, "UU");
	scene_free(&s, "0:1 U, 4:1 U, 8:1 U, 12:1 U, 16:1 U, 24:0 U");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_NOFRAGMENT), ASH_PFN_NONE);
	EXPECT(scene_same(&s));
	/* Eight of sixteen frames are free: by the half rule the block would have been claimed, had it been asked. */
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 24);
	EXPECT_STATE(&s, "0:1 U, 4:1 U, 8:1 U, 12:1 U, 16:1 U", "UU");
}

/* [K page_alloc.c:should_try_claim_block] from half the pageblock *order* on, not from half a pageblock. */
TEST(T63_half_the_order_is_worth_a_claim)
{
	scene_open(&s, 4, 4, "UU");
	scene_free(&s, "0:2 U, 4:1 U, 8:2 U, 16:1 U, 24:0 U");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 4);
	EXPECT_STATE(&s, "0:2 M, 5:0 M, 8:2 M, 16:1 U, 24:0 U", "MU");
}

/* [K page_alloc.c:__rmqueue_claim] the largest order wins over the preferred type; SIM. */
TEST(T64_order_beats_preference)
{
	scene_open(&s, 4, 4, "RM");
	scene_free(&s, "8:3 R, 16:4 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 16);
	EXPECT_STATE(&s, "8:3 R, 17:0 U, 18:1 U, 20:2 U, 24:3 U", "RU");
}

TEST(T64_same_order_prefers_reclaimable)
{
	scene_open(&s, 4, 4, "RM");
	scene_free(&s, "8:3 R, 24:3 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 8);
	EXPECT_STATE(&s, "9:0 U, 10:1 U, 12:2 U, 24:3 M", "UM");
}

/* [K page_alloc.c:try_to_claim_block] the frame handed out need not be the one that led to the claim; SIM. */
TEST(T65_the_frame_may_differ)
{
	scene_open(&s, 4, 4, "U");
	scene_free(&s, "1:0 U, 3:0 U, 4:2 U, 8:3 U");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 1);
	EXPECT_STREQ(scene_types(&s), "M");
	EXPECT_STATE(&s, "3:0 M, 4:2 M, 8:3 M", "M");
}

/* [K page_alloc.c:__rmqueue_claim, ALLOC_NOFRAGMENT]; SIM. */
TEST(T67_nofragment_refuses_a_used_block)
{
	scene_open(&s, 4, 4, "M");
	scene_free(&s, "8:3 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_NOFRAGMENT), ASH_PFN_NONE);
	EXPECT(scene_same(&s));
	EXPECT_STATE(&s, "8:3 M", "M");
}

TEST(T67_nofragment_takes_a_free_block)
{
	scene_open(&s, 4, 4, "M");
	scene_free(&s, "0:4 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_NOFRAGMENT), 0);
	EXPECT_STREQ(scene_types(&s), "U");
}

/* SIM: MOVABLE steals from a checkerboard, UNMOVABLE claims one. */
TEST(T68_movable_steals_from_a_checkerboard)
{
	scene_open(&s, 4, 4, "U");
	scene_free(&s, "15:0, 13:0, 11:0, 9:0, 7:0, 5:0, 3:0, 1:0");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 1);
	EXPECT_STREQ(scene_types(&s), "U");
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal + 1);
}

TEST(T68_unmovable_claims_a_checkerboard)
{
	scene_open(&s, 4, 4, "M");
	scene_free(&s, "1:0, 3:0, 5:0, 7:0, 9:0, 11:0, 13:0, 15:0");
	/* The list is last in, first out: 15 leads to the claim, and moving the block in address order puts 1 first. */
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 1);
	EXPECT_STREQ(scene_types(&s), "U");
	EXPECT_EQ(scene_stats(&s).extfrag_claim, s.before.extfrag_claim + 1);
}

/* [K page_alloc.c:try_to_claim_block] free + alike frames must be half of the block; SIM. */
TEST(T69_half_free_is_claimed)
{
	scene_open(&s, 3, 3, "M");
	scene_free(&s, "4:2 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 4);
	EXPECT_STATE(&s, "5:0 U, 6:1 U", "U");
}

TEST(T69_less_than_half_is_not_claimed)
{
	scene_open(&s, 3, 3, "M");
	scene_free(&s, "5:0 M, 6:1 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 5);
	EXPECT_STREQ(scene_types(&s), "M");
}

TEST(T69_alike_frames_count)
{
	scene_open(&s, 3, 3, "M");
	for (ash_pfn_t pfn = 0; pfn < 4; pfn++)
		scene_used(&s, pfn, 0, ASH_MT_UNMOVABLE);
	scene_free(&s, "6:1 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 6);
	EXPECT_STATE(&s, "7:0 U", "U");
}

/* UNMOVABLE and RECLAIMABLE cannot be told apart: nothing counts as alike between them. */
TEST(T69_unmovable_and_reclaimable_are_not_alike)
{
	scene_open(&s, 3, 3, "R");
	for (ash_pfn_t pfn = 0; pfn < 5; pfn++)
		scene_used(&s, pfn, 0, ASH_MT_UNMOVABLE);
	scene_free(&s, "5:0 R, 6:1 R");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 5);
	EXPECT_STREQ(scene_types(&s), "R");
}

/* [K page_alloc.c:__rmqueue] CMA is lent first only when it is more than half of what is free; SIM. */
TEST(T70_cma_first_when_most_of_the_free)
{
	scene_open(&s, 4, 5, "MCC");
	scene_free(&s, "0:4 M, 16:4 C, 32:4 C");
	EXPECT_EQ(s.before.free_cma, 32);
	EXPECT_EQ(s.before.free, 48);
	EXPECT_GE(scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_CMA), 16);
}

TEST(T70_exact_half_takes_movable)
{
	scene_open(&s, 4, 5, "MC");
	scene_free(&s, "0:4 M, 16:4 C");
	EXPECT_EQ(s.before.free_cma, 16);
	EXPECT_EQ(s.before.free, 32);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_CMA), 0);
}

TEST(T70_cma_only_on_request)
{
	scene_open(&s, 4, 5, "MC");
	scene_free(&s, "16:4 C");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), ASH_PFN_NONE);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_CMA), ASH_PFN_NONE);
	EXPECT(scene_same(&s));
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, ASH_ALLOC_CMA), 16);
}

TEST(T70_nothing_falls_back_to_highatomic_cma_or_isolated)
{
	scene_open(&s, 4, 4, "CHM");
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 32, true);
	ash_zone_unlock(s.z);
	scene_free(&s, "0:4 C, 16:4 H, 32:4 I");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), ASH_PFN_NONE);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_RECLAIMABLE, 0), ASH_PFN_NONE);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), ASH_PFN_NONE);
	EXPECT(scene_same(&s));
	EXPECT_STATE(&s, "0:4 C, 16:4 H, 32:4 I", "CHM*");
}

/* --- Superblocks ([lkml 2604.3/12755], not merged): what cannot move goes where such memory is already. --- */

static uint32_t tainted[3];

static void count_tainted(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	(void)ops;
	memset(tainted, 0, sizeof(tainted));
	config->tainted = tainted;
}

static void two_superblocks(bool counted)
{
	scene_config = counted ? count_tainted : NULL;
	scene_open(&s, 3, 5, "MMMMMUMM");
	scene_config = NULL;
	scene_free(&s, "0:4 M, 32:3 M, 48:3 M");
}

TEST(superblocks_unmovable_claims_beside_unmovable)
{
	two_superblocks(false);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 0);
	two_superblocks(true);
	EXPECT_EQ(scene_stats(&s).tainted, 1);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 48);
	EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_RECLAIMABLE, ASH_ALLOC_NOFRAGMENT), 32);
	EXPECT_STREQ(scene_types(&s), "MMMMRUUM");
	EXPECT_EQ(tainted[1], 3);
	EXPECT_EQ(scene_stats(&s).tainted, 1);
	/* Only where the tainted ones have nothing left a clean one is spoilt. */
	EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_RECLAIMABLE, 0), 0);
	EXPECT_EQ(scene_stats(&s).tainted, 2);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(superblocks_movable_goes_where_it_went)
{
	two_superblocks(true);
	EXPECT_EQ(scene_alloc(&s, 4, ASH_MT_MOVABLE, 0), 0);
	EXPECT_EQ(scene_stats(&s).tainted, 1);
	/* The taint is in the pageblock's type, which isolation does not change. */
	EXPECT_EQ(ash_zone_isolate_range(s.z, 32, 8, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_EQ(tainted[1], 1);
	ash_zone_unisolate_range(s.z, 32, 8);
	EXPECT(scene_fault(&s) == NULL);
}
