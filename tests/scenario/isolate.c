/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T01 to T09: isolating pageblocks, alone or inside larger free buddies, and undoing it. [SEED] is the mail
 * that started the kernel's present design; T02 and T04 are where the patch in it was wrong. Other sources are marked
 * as in buddy.c.
 */
#include "harness/test.h"
#include "page/isolate.h"
#include "scenario/scene.h"

static struct scene s;

static int isolate(ash_pfn_t block)
{
	return ash_zone_isolate_range(s.z, block << s.z->pageblock_order, 1, ASH_ISOLATE_OTHER, NULL);
}

static void unisolate(ash_pfn_t block)
{
	ash_zone_unisolate_range(s.z, block << s.z->pageblock_order, 1);
}

static void one_free_buddy(unsigned pageblock_order, unsigned max_order)
{
	static const char types[] = "MMMMMMMM";
	char item[16];

	scene_open(&s, pageblock_order, max_order, types + 8 - (1u << (max_order - pageblock_order)));
	snprintf(item, sizeof(item), "0:%u", max_order);
	scene_free(&s, item);
}

/* [SEED] "We're a tail"; SIM. */
TEST(T01_isolate_the_tail_of_a_buddy)
{
	one_free_buddy(3, 4);
	EXPECT_EQ(isolate(1), 0);
	EXPECT_STATE(&s, "0:3 M, 8:3 I", "MM*");
	EXPECT_EQ(scene_stats(&s).free, 8);
	EXPECT_EQ(scene_stats(&s).free_blocks, 8);
	EXPECT_EQ(scene_stats(&s).isolated, 1);
	unisolate(1);
	EXPECT_STATE(&s, "0:4 M", "MM");
	EXPECT(scene_same(&s));
}

/* [SEED] "We're a head", where setting the type first made the removal look on the wrong list; SIM. */
TEST(T02_isolate_the_head_of_a_buddy)
{
	one_free_buddy(3, 4);
	EXPECT_EQ(isolate(0), 0);
	EXPECT_STATE(&s, "0:3 I, 8:3 M", "M*M");
	unisolate(0);
	EXPECT_STATE(&s, "0:4 M", "MM");
	EXPECT(scene_same(&s));
}

/* [SEED] the comment on 2^n pageblocks; SIM. */
TEST(T03_isolate_inside_a_buddy_of_four_pageblocks)
{
	static const char *const expected[4] = {
		"0:3 I, 8:3 M, 16:4 M",
		"0:3 M, 8:3 I, 16:4 M",
		"0:4 M, 16:3 I, 24:3 M",
		"0:4 M, 16:3 M, 24:3 I",
	};
	static const char *const types[4] = { "M*MMM", "MM*MM", "MMM*M", "MMMM*" };

	for (ash_pfn_t block = 0; block < 4; block++) {
		one_free_buddy(3, 5);
		EXPECT_EQ(isolate(block), 0);
		EXPECT_STATE(&s, expected[block], types[block]);
		EXPECT_EQ(scene_stats(&s).free, 24);
		unisolate(block);
		EXPECT_STATE(&s, "0:5 M", "MMMM");
		EXPECT(scene_same(&s));
	}
}

/* [SEED] a cut in two pieces took the neighbour along, or merged the isolation away; SIM of that patch. */
TEST(T04_neither_neighbour_captured_nor_isolation_lost)
{
	for (ash_pfn_t block = 0; block < 8; block++) {
		one_free_buddy(3, 6);
		EXPECT_EQ(isolate(block), 0);
		EXPECT_EQ(scene_stats(&s).nr_free[3][ASH_MT_ISOLATE], 1);
		EXPECT_EQ(scene_stats(&s).free, 56);
		EXPECT_EQ(scene_stats(&s).isolated, 1);
		/* Every other frame can be had, none of the isolated block. */
		for (unsigned i = 0; i < 56; i++)
			EXPECT_NE(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0) >> 3, block);
		EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), ASH_PFN_NONE);
		unisolate(block);
		EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), block << 3);
	}
}

/* [K page_isolation.c] "check the correct buddy if it is a starting block" (6.18): any frame of the block will do. */
TEST(T05_cursor_inside_the_block)
{
	one_free_buddy(3, 4);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 5, 1, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_STATE(&s, "0:3 I, 8:3 M", "M*M");
	ash_zone_unisolate_range(s.z, 6, 2);
	EXPECT_STATE(&s, "0:4 M", "MM");
}

/* [SEED] find_straddling_buddy and the comment on outer_start; [K page_isolation.c:find_large_buddy]. */
TEST(T06_find_the_covering_buddy)
{
	scene_open(&s, 3, 5, "MMMM");
	scene_free(&s, "8:2");
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 16), 16);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 11), 8);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 12), 12);
	scene_free(&s, "0:3, 12:2");
	EXPECT_STREQ(scene_freelist(&s), "0:4 M");
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 8), 0);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 0), 0);
	scene_open(&s, 3, 5, "MMMM");
	scene_free(&s, "16:4");
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 20), 16);
	scene_open(&s, 3, 5, "MMMM");
	scene_free(&s, "20:2");
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 20), 20);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 24), 24);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 0), 0);
	EXPECT_EQ(ash_zone_find_large_buddy(s.z, 31), 31);
}

/* [L 20250617021115.2331563-1-ziy] the type survives isolation without being told. */
TEST(T07_types_come_back)
{
	static const char *const during[5] = {
		"4:2 I, 12:2 R, 20:2 M, 28:2 C, 36:2 H", "4:2 U, 12:2 I, 20:2 M, 28:2 C, 36:2 H",
		"4:2 U, 12:2 R, 20:2 I, 28:2 C, 36:2 H", "4:2 U, 12:2 R, 20:2 M, 28:2 I, 36:2 H",
		"4:2 U, 12:2 R, 20:2 M, 28:2 C, 36:2 I",
	};
	static const char *const types[5] = { "U*RMCH", "UR*MCH", "URM*CH", "URMC*H", "URMCH*" };

	for (ash_pfn_t block = 0; block < 5; block++) {
		scene_open(&s, 3, 3, "URMCH");
		/* What is used is movable, so that isolation is possible at all. */
		for (ash_pfn_t pfn = 0; pfn < 40; pfn++)
			scene_used(&s, pfn, 0, ASH_MT_MOVABLE);
		scene_free(&s, "4:2, 12:2, 20:2, 28:2, 36:2");
		EXPECT_EQ(ash_zone_isolate_range(s.z, block * 8, 8, ASH_ISOLATE_CMA, NULL), 0);
		EXPECT_STATE(&s, during[block], types[block]);
		EXPECT_EQ(scene_stats(&s).free, 16);
		EXPECT_EQ(scene_stats(&s).free_cma, block == 3 ? 0 : 4);
		EXPECT_EQ(scene_stats(&s).pageblocks[ASH_MT_ISOLATE], 1);
		/* A second isolate is refused and changes nothing. */
		EXPECT_EQ(ash_zone_isolate_range(s.z, block * 8, 8, ASH_ISOLATE_CMA, NULL), -ASH_EBUSY);
		EXPECT_STATE(&s, during[block], types[block]);
		unisolate(block);
		EXPECT_STATE(&s, "4:2 U, 12:2 R, 20:2 M, 28:2 C, 36:2 H", "URMCH");
		EXPECT(scene_same(&s));
		/* A second un-isolate does nothing. */
		unisolate(block);
		EXPECT(scene_same(&s));
	}
}

/* SIM: neighbours isolated one after the other do not disturb one another. */
TEST(T08_neighbours)
{
	one_free_buddy(3, 5);
	EXPECT_EQ(isolate(1), 0);
	EXPECT_EQ(isolate(2), 0);
	EXPECT_STATE(&s, "0:3 M, 8:3 I, 16:3 I, 24:3 M", "MM*M*M");
	unisolate(1);
	EXPECT_STATE(&s, "0:4 M, 16:3 I, 24:3 M", "MMM*M");
	unisolate(2);
	EXPECT_STATE(&s, "0:5 M", "MMMM");
	EXPECT(scene_same(&s));
}

/* What is freed into an isolated block joins its free frames, and bypasses the pcp. */
TEST(T09_free_while_isolated)
{
	scene_open_edge(&s, 4, 4, "M", 0, 0, 1);
	scene_free(&s, "12:2");
	EXPECT_EQ(isolate(0), 0);
	EXPECT_STATE(&s, "12:2 I", "M*");
	EXPECT_EQ(scene_stats(&s).free, 0);
	for (ash_pfn_t pfn = 0; pfn < 12; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_STATE(&s, "0:4 I", "M*");
	EXPECT_EQ(scene_stats(&s).free, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	unisolate(0);
	EXPECT_STATE(&s, "0:4 M", "M");
	EXPECT_EQ(scene_stats(&s).free, 16);
}

/* [K page_isolation.c:start_isolate_page_range] a refusal in the middle undoes exactly what was done. */
TEST(T07_a_refused_range_is_undone)
{
	scene_open(&s, 3, 5, "UMMRMM");
	scene_free(&s, "0:3, 8:3, 16:3, 32:4");
	for (ash_pfn_t pfn = 24; pfn < 32; pfn++)
		scene_used(&s, pfn, 0, ASH_MT_RECLAIMABLE);
	scene_mark(&s);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 2, 40, ASH_ISOLATE_OTHER, NULL), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	/* Somebody else's isolated block in the range stays isolated. */
	EXPECT_EQ(isolate(4), 0);
	scene_mark(&s);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 8, 40, ASH_ISOLATE_OTHER, NULL), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_EQ(scene_stats(&s).isolated, 1);
}

/* [C 2dd482ba627d] a block cut by the zone's edge cannot be isolated. */
TEST(T13_block_on_the_zone_edge_is_not_isolated)
{
	scene_open_edge(&s, 4, 4, "MM", 4, 32, 0);
	scene_free(&s, "4:2, 8:3");
	EXPECT_EQ(isolate(0), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_EQ(isolate(1), 0);
}

/* [L 20240320180429.678181-2-hannes] a frame cached before its block was isolated is drained into isolation. */
TEST(T21_a_cached_frame_follows_its_isolated_block)
{
	scene_open_edge(&s, 4, 4, "M", 0, 0, 1);
	scene_free(&s, "8:3");
	ash_zone_free(s.z, 0, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 1);
	EXPECT_EQ(isolate(0), 0);
	EXPECT_EQ(scene_stats(&s).free, 0);
	scene_mark(&s);
	ash_zone_drain(s.z);
	EXPECT_STATE(&s, "0:0 I, 8:3 I", "M*");
	EXPECT_EQ(scene_stats(&s).free, 0);
	unisolate(0);
	EXPECT_STATE(&s, "0:0 M, 8:3 M", "M");
}

/*
 * [K page_alloc.c:account_freepages] isolating takes exactly the block's free frames out of every counter; the lists'
 * lengths still count them.
 */
TEST(T52_counters_of_an_isolated_block)
{
	scene_open(&s, 3, 5, "MMMMCH");
	scene_free(&s, "0:2, 5:0, 16:4, 32:2, 44:1");
	EXPECT_EQ(s.before.free, 4 + 1 + 16 + 4 + 2);
	EXPECT_EQ(s.before.free_blocks, 16);
	EXPECT_EQ(isolate(0), 0);
	EXPECT_EQ(scene_stats(&s).free, s.before.free - 5);
	EXPECT_EQ(scene_stats(&s).free_blocks, 16);
	EXPECT_EQ(scene_stats(&s).nr_free[2][ASH_MT_ISOLATE], 1);
	EXPECT_EQ(scene_stats(&s).nr_free[0][ASH_MT_ISOLATE], 1);
	EXPECT_EQ(isolate(3), 0);
	EXPECT_EQ(scene_stats(&s).free, s.before.free - 5 - 8);
	EXPECT_EQ(scene_stats(&s).free_blocks, 8);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 32, 16, ASH_ISOLATE_CMA, NULL), 0);
	EXPECT_EQ(scene_stats(&s).free, 8);
	EXPECT_EQ(scene_stats(&s).free_cma, 0);
	EXPECT_EQ(scene_stats(&s).isolated, 4);
	ash_zone_unisolate_range(s.z, 0, 48);
	EXPECT_EQ(scene_stats(&s).isolated, 0);
	EXPECT(scene_same(&s));
}

/* [K page_isolation.c:test_pages_isolated] */
TEST(T06_the_range_is_tested)
{
	struct ash_busy entry[4];
	struct ash_busy_list busy = { entry, 4, 0 };

	scene_open(&s, 3, 4, "MM");
	for (ash_pfn_t pfn = 0; pfn < 16; pfn++) {
		if (pfn != 5)
			ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
	}
	EXPECT_EQ(ash_zone_test_range_isolated(s.z, 6, 10, NULL), -ASH_EBUSY);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 0, 16, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_EQ(ash_zone_test_range_isolated(s.z, 6, 10, NULL), 0);
	EXPECT_EQ(ash_zone_test_range_isolated(s.z, 0, 16, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 5);
	EXPECT_EQ(entry[0].nr, 1);
}
