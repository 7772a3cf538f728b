/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T26, T40 to T44, T96 to T98: compaction and its helpers, going on- and offline, reporting. Sources are
 * marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/compact.h"
#include "page/offline.h"
#include "page/watermark.h"
#include "scenario/owner.h"

static struct scene s;

/* [K page_alloc.c:zone_pcp_disable] nothing is cached until the matching enable; refills fetch the one piece asked for. */
TEST(T26_pcps_switched_off)
{
	struct ash_page_grant grant;

	owner_open(&s, 4, 5, "MM", 1);
	scene_free(&s, "0:4");
	ash_zone_free(s.z, 20, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 1);
	ash_zone_pcp_disable(s.z);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	ash_zone_free(s.z, 21, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, 0, 0, &grant), 0);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	ash_zone_pcp_disable(s.z);
	ash_zone_pcp_enable(s.z);
	ash_zone_free(s.z, 22, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 0);
	ash_zone_pcp_enable(s.z);
	ash_zone_free(s.z, 23, 0, 0);
	EXPECT_EQ(scene_stats(&s).pcp, 1);
	EXPECT(scene_fault(&s) == NULL);
}

/* [C b54ccd3c6bac] taking at least half a pageblock makes it MOVABLE, with its other free frames. */
TEST(T40_isolating_a_free_piece_moves_the_rest_of_its_block)
{
	owner_open(&s, 4, 4, "U", 0);
	scene_free(&s, "0:3 U, 12:1 U");
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 0), 3);
	EXPECT_STATE(&s, "12:1 M", "M");
	ash_zone_putback_free_page(s.z, 0, 3);
	EXPECT_STATE(&s, "0:3 M, 12:1 M", "M");
}

TEST(T40_reserved_blocks_keep_their_type)
{
	owner_open(&s, 4, 4, "HC", 0);
	scene_free(&s, "0:3 H, 16:3 C");
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 0), 3);
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 16), 3);
	EXPECT_STATE(&s, "", "HC");
	EXPECT_EQ(scene_stats(&s).free_cma, 0);
	ash_zone_putback_free_page(s.z, 0, 3);
	ash_zone_putback_free_page(s.z, 16, 3);
	EXPECT(scene_same(&s));
}

/* Less than half a pageblock says nothing about the block. */
TEST(T40_a_small_piece_leaves_the_type)
{
	owner_open(&s, 4, 4, "U", 0);
	scene_free(&s, "0:2 U, 12:1 U");
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 0), 2);
	EXPECT_STATE(&s, "12:1 U", "U");
}

/* [K page_alloc.c:__isolate_free_page] the min watermark forbids it, but not in an isolated block. */
TEST(T41_the_watermark_stops_it)
{
	owner_open(&s, 4, 4, "MM", 0);
	scene_free(&s, "0:3, 16:2");
	ash_zone_set_watermarks(s.z, 8, 0);
	scene_mark(&s);
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 0), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_EQ(ash_zone_isolate_range(s.z, 0, 16, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 0), 3);
	EXPECT_EQ(ash_zone_isolate_free_page(s.z, 5), -ASH_EBUSY);
}

/* [K compaction.c] a checkerboard is packed at the high end; UNMOVABLE frames stay where they are. */
TEST(T42_a_checkerboard_is_packed)
{
	owner_open(&s, 4, 6, "MMMM", 0);
	for (ash_pfn_t pfn = 0; pfn < 64; pfn++) {
		if (pfn % 4 != 0)
			ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
	}
	EXPECT_EQ(scene_stats(&s).free, 48);
	EXPECT_EQ(ash_zone_compact(s.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, NULL), ASH_COMPACT_COMPLETE);
	EXPECT(scene_fault(&s) == NULL);
	EXPECT_EQ(scene_stats(&s).free, 48);
	EXPECT_GT(owner_moves, 8);
	/* All that is used stands in the upper half, so that the lower half is one buddy. */
	EXPECT_EQ(scene_stats(&s).nr_free[5][ASH_MT_MOVABLE], 1);
}

TEST(T42_the_unmovable_stays)
{
	owner_open(&s, 4, 6, "MMMM", 0);
	for (ash_pfn_t pfn = 0; pfn < 64; pfn++) {
		if (pfn % 4 != 0)
			ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
		else
			scene_used(&s, pfn, 0, ASH_MT_UNMOVABLE);
	}
	EXPECT_NE(ash_zone_compact(s.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, NULL), ASH_COMPACT_SUCCESS);
	EXPECT_EQ(owner_moves, 0);
	for (ash_pfn_t pfn = 0; pfn < 64; pfn += 4)
		EXPECT_EQ(ash_word_state(ash_frame_load(s.z->frames, pfn)), ASH_FRAME_USED);
}

/* [K compaction.c:compaction_deferred, defer_compaction] after n failures 2^n - 1 attempts are skipped, n up to 6. */
TEST(T44_deferral)
{
	owner_open(&s, 4, 6, "MMMM", 0);
	EXPECT(!ash_zone_compact_deferred(s.z, 4));
	for (unsigned n = 1; n <= 8; n++) {
		const unsigned skipped = (1u << (n < 6 ? n : 6)) - 1;

		ash_zone_compact_defer(s.z, 4);
		for (unsigned i = 0; i < skipped; i++)
			EXPECT(ash_zone_compact_deferred(s.z, 4));
		EXPECT(!ash_zone_compact_deferred(s.z, 4));
		/* Orders below the lowest that failed never wait. */
		EXPECT(!ash_zone_compact_deferred(s.z, 3));
	}
	ash_zone_compact_defer_reset(s.z, 4, true);
	EXPECT(!ash_zone_compact_deferred(s.z, 4));
}

/* [K memory_hotplug.c:online_pages] a range comes online beside a free neighbour: exact counts, and to the tail. */
TEST(T96_online_beside_a_free_neighbour)
{
	bool zeroed;

	owner_open(&s, 3, 5, "MMMMMMMM", 0);
	scene_free(&s, "0:5, 32:5");
	EXPECT_EQ(ash_zone_offline(s.z, 32, 32, &zeroed, NULL), 0);
	EXPECT_EQ(scene_stats(&s).present, 32);
	EXPECT_EQ(scene_stats(&s).free, 32);
	EXPECT_STREQ(scene_freelist(&s), "0:5 M");
	EXPECT_EQ(ash_zone_online(s.z, 40, 24, false), 0);
	EXPECT_EQ(scene_stats(&s).present, 56);
	EXPECT_EQ(scene_stats(&s).free, 56);
	EXPECT_STREQ(scene_freelist(&s), "0:5 M, 40:3 M, 48:4 M");
	EXPECT_EQ(ash_zone_online(s.z, 32, 8, false), 0);
	EXPECT_STATE(&s, "0:5 M, 32:5 M", "MMMMMMMM");
	EXPECT_STREQ(scene_list(&s, 5, ASH_MT_MOVABLE), "0 32");
}

/* [K memory_hotplug.c:offline_pages] movable only: gone; something pinned: -EBUSY and everything as it was. */
TEST(T97_offline)
{
	struct ash_busy entry;
	struct ash_busy_list busy = { &entry, 1, 0 };
	bool zeroed;

	owner_open(&s, 3, 5, "MMMMMMMM", 1);
	scene_free(&s, "0:4, 16:2, 24:3, 32:5");
	EXPECT_EQ(ash_zone_offline(s.z, 16, 16, &zeroed, NULL), 0);
	EXPECT_EQ(owner_moves, 4);
	EXPECT_EQ(scene_stats(&s).present, 48);
	EXPECT_EQ(scene_stats(&s).free, 44);
	EXPECT(scene_fault(&s) == NULL);
	EXPECT_EQ(ash_zone_offline(s.z, 16, 16, &zeroed, NULL), -ASH_EBUSY);

	owner_open(&s, 3, 5, "MMMMMMMM", 1);
	scene_free(&s, "0:4, 16:2, 20:1, 23:0, 24:3, 32:5");
	owner_pinned = 22;
	scene_mark(&s);
	EXPECT_EQ(ash_zone_offline(s.z, 16, 16, &zeroed, &busy), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_EQ(entry.pfn, 22);
	EXPECT_EQ(ash_zone_offline(s.z, 17, 16, &zeroed, NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_offline(s.z, 16, 12, &zeroed, NULL), -ASH_EINVAL);
	EXPECT(scene_same(&s));
}

/* [K page_reporting.c] from a given order up, never twice unless used in between, never isolated memory. */
TEST(T98_reporting)
{
	ash_pfn_t pfn;
	unsigned order;
	bool zeroed;

	owner_open(&s, 3, 5, "MMMMMMMM", 0);
	scene_free(&s, "0:3, 16:2, 32:3, 48:3");
	EXPECT_EQ(ash_zone_isolate_range(s.z, 48, 8, ASH_ISOLATE_OTHER, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(ash_zone_report_begin(s.z, 3, &pfn, &order), 0);
		EXPECT(pfn == 0 || pfn == 32);
		EXPECT_EQ(order, 3);
		ash_zone_report_end(s.z, pfn, order, true);
	}
	EXPECT_EQ(ash_zone_report_begin(s.z, 3, &pfn, &order), -ASH_ENOSPC);
	EXPECT_EQ(scene_stats(&s).free_zeroed, 16);
	/* Used and freed, it can be reported again. */
	EXPECT_EQ(ash_zone_extend_run(s.z, 32, 8, ASH_MT_MOVABLE, &zeroed), 0);
	EXPECT(zeroed);
	ash_zone_free_run(s.z, 32, 8);
	EXPECT_EQ(ash_zone_report_begin(s.z, 3, &pfn, &order), 0);
	EXPECT_EQ(pfn, 32);
	ash_zone_report_end(s.z, pfn, order, false);
	ash_zone_unisolate_range(s.z, 48, 8);
	EXPECT(scene_fault(&s) == NULL);
}
