/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T10 to T17: merging, splitting, and where a freed piece goes.
 *
 * Each test names its number in the specification of the page core and its source: [K file:function] is Linux, [C hash]
 * a commit, [L id] a mail, SIM the outcome of an independent model of the rules.
 */
#include "harness/test.h"
#include "scenario/scene.h"

static struct scene s;

/* [C e6cf9e1c4cde] fix up block types when merging compatible blocks; SIM. */
TEST(T10_merging_retypes_the_absorbed_block)
{
	scene_open(&s, 3, 4, "UM");
	scene_free(&s, "8:3 M");
	scene_used(&s, 0, 3, ASH_MT_UNMOVABLE);
	ash_zone_free(s.z, 0, 3, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:4 U", "UU");
}

/* [C 7838a4eb8a1d] every pageblock of the absorbed buddy, not only its first; SIM. */
TEST(T11_merging_retypes_every_absorbed_block)
{
	scene_open(&s, 3, 5, "UUMM");
	scene_free(&s, "16:4 M");
	scene_used(&s, 0, 4, ASH_MT_UNMOVABLE);
	ash_zone_free(s.z, 0, 4, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:5 U", "UUUU");
	for (ash_pfn_t pfn = 0; pfn < 32; pfn += 8)
		EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_UNMOVABLE, 0), pfn);
	EXPECT_STATE(&s, "", "UUUU");
}

TEST(T11_merging_retypes_eight_blocks)
{
	scene_open(&s, 3, 6, "UUUUMMMM");
	scene_free(&s, "32:5 M");
	scene_used(&s, 0, 5, ASH_MT_UNMOVABLE);
	ash_zone_free(s.z, 0, 5, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:6 U", "UUUUUUUU");
	for (ash_pfn_t pfn = 0; pfn < 64; pfn += 8)
		EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_UNMOVABLE, 0), pfn);
}

/* [K page_alloc.c:__free_one_page] C, H and isolated blocks merge with nobody else; SIM. */
TEST(T12_cma_does_not_merge_with_movable)
{
	scene_open(&s, 3, 4, "CM");
	scene_free(&s, "8:3 M, 0:3 C");
	EXPECT_STATE(&s, "0:3 C, 8:3 M", "CM");
	EXPECT_EQ(scene_stats(&s).free_cma, 8);
	EXPECT_EQ(scene_stats(&s).free, 16);
}

TEST(T12_highatomic_does_not_merge_with_movable)
{
	scene_open(&s, 3, 4, "HM");
	scene_free(&s, "8:3 M, 0:3 H");
	EXPECT_STATE(&s, "0:3 H, 8:3 M", "HM");
	EXPECT_EQ(scene_stats(&s).free_cma, 0);
}

TEST(T12_equal_unmergeable_types_do_merge)
{
	scene_open(&s, 3, 4, "CC");
	scene_free(&s, "8:3 C, 0:3 C");
	EXPECT_STATE(&s, "0:4 C", "CC");
	EXPECT_EQ(scene_stats(&s).free_cma, 16);
}

TEST(T12_isolated_does_not_merge_with_movable)
{
	scene_open(&s, 3, 4, "MM");
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 0, true);
	ash_zone_unlock(s.z);
	scene_free(&s, "8:3 M, 0:3 I");
	EXPECT_STATE(&s, "0:3 I, 8:3 M", "M*M");
	EXPECT_EQ(scene_stats(&s).free, 8);
}

/* [C 2dd482ba627d], [C c0cd6f557b90] a block cut by the zone's edge is never converted; SIM. */
TEST(T13_block_on_the_zone_edge_is_not_claimed)
{
	scene_open_edge(&s, 4, 4, "MM", 4, 32, 0);
	scene_free(&s, "4:2 M, 8:3 M");
	EXPECT_STATE(&s, "4:2 M, 8:3 M", "MM");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 4);
	EXPECT_STATE(&s, "5:0 M, 6:1 M, 8:3 M", "MM");
	EXPECT_EQ(scene_stats(&s).extfrag_claim, s.before.extfrag_claim);
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal + 1);
}

/* [C c0cd6f557b90] a claim that is refused moves nothing; SIM. */
TEST(T14_refused_claim_changes_nothing)
{
	scene_open(&s, 3, 3, "M");
	scene_free(&s, "5:0 M, 6:1 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_UNMOVABLE, 0), 5);
	EXPECT_STATE(&s, "6:1 M", "M");
	EXPECT_EQ(scene_stats(&s).extfrag_claim, s.before.extfrag_claim);
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal + 1);
}

/* [K page_alloc.c:expand] upper halves go to the head, so addresses ascend; SIM. */
TEST(T15_small_allocations_ascend)
{
	scene_open(&s, 4, 4, "M");
	scene_free(&s, "0:4 M");
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), 0);
	EXPECT_STATE(&s, "1:0 M, 2:1 M, 4:2 M, 8:3 M", "M");
	for (ash_pfn_t pfn = 1; pfn < 16; pfn++)
		EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), pfn);
	EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), ASH_PFN_NONE);
}

/* [K page_alloc.c:__free_one_page, buddy_merge_likely]. */
TEST(T16_a_freed_piece_goes_to_the_head)
{
	scene_open(&s, 4, 4, "MM");
	scene_free(&s, "0:1, 8:1, 16:1");
	EXPECT_STREQ(scene_list(&s, 1, ASH_MT_MOVABLE), "16 8 0");
}

TEST(T16_a_piece_about_to_merge_goes_to_the_tail)
{
	scene_open(&s, 4, 4, "MM");
	/* 8:1's pair is [8,12), whose buddy [12,16) is free as a whole: a merge is likely. */
	scene_free(&s, "0:1, 12:2, 8:1");
	EXPECT_STREQ(scene_list(&s, 1, ASH_MT_MOVABLE), "0 8");
}

/* [K page_alloc.c:buddy_merge_likely] the look-ahead ends one order below the largest. */
TEST(T16_no_look_ahead_at_the_top_orders)
{
	scene_open(&s, 2, 3, "MMMMMM");
	/* 4:2's pair is [0,8), of the largest order: that its buddy [8,16) is free promises no merge. */
	scene_free(&s, "8:3, 16:2, 4:2");
	EXPECT_STREQ(scene_list(&s, 2, ASH_MT_MOVABLE), "4 16");
}

/* [K page_alloc.c:move_to_free_list] converted blocks go to the tail of the new list. */
TEST(T16_moved_buddies_go_to_the_tail)
{
	scene_open(&s, 4, 4, "UM");
	scene_free(&s, "0:1 U, 16:1 M, 20:1 M, 24:3 M");
	/* 24:3 makes the block claimable; its smaller buddies follow the one that was there. */
	EXPECT_EQ(scene_alloc(&s, 2, ASH_MT_UNMOVABLE, 0), 24);
	EXPECT_STATE(&s, "0:1 U, 16:1 U, 20:1 U, 28:2 U", "UU");
	EXPECT_STREQ(scene_list(&s, 1, ASH_MT_UNMOVABLE), "0 16 20");
}

/* [K page_alloc.c:free_one_page, split_large_buddy] a large piece is freed block by block when the blocks differ. */
TEST(T17_large_piece_over_an_isolated_block)
{
	scene_open(&s, 3, 5, "MMMM");
	scene_used(&s, 0, 4, ASH_MT_MOVABLE);
	ash_zone_lock(s.z);
	ash_pageblock_set_isolated(s.z, 8, true);
	ash_zone_unlock(s.z);
	scene_mark(&s);
	EXPECT_EQ(s.before.free, 0);
	EXPECT_EQ(s.before.isolated, 1);
	ash_zone_free(s.z, 0, 4, ASH_CPU_NONE);
	EXPECT_STATE(&s, "0:3 M, 8:3 I", "MM*MM");
	EXPECT_EQ(scene_stats(&s).free, 8);
	EXPECT_EQ(scene_stats(&s).free_blocks, 8);
}

/* [K page_alloc.c:buddy_merge_likely] the same of whole pageblocks: to the tail where the next merge is likely. */
TEST(T16_a_pageblock_whose_next_merge_is_likely_goes_to_the_tail)
{
	scene_open(&s, 2, 5, "MMMMMMMM");
	scene_free(&s, "16:2, 8:3, 0:2");
	EXPECT_STREQ(scene_list(&s, 2, ASH_MT_MOVABLE), "16 0");
	EXPECT_STATE(&s, "0:2 M, 8:3 M, 16:2 M", "MMMMMMMM");
}
