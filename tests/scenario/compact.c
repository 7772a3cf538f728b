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

/*
 * [K page_alloc.c:zone_pcp_disable] nothing is cached until the matching enable; refills fetch the one piece asked for.
 */
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
	/* Sixteen frames are used: the last pageblock is full, and what is free is one run. */
	EXPECT_STATE(&s, "0:5 M, 32:4 M", "MMMM");
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

/*
 * [K page_alloc.c:compaction_capture] The buddy that a compacting request waits for goes to it as it forms: here while
 * the mover, asked for the next piece, tries to take it away.
 */
static ash_pfn_t thief;

static int steal_and_refuse(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	struct ash_page_grant grant;

	(void)order;
	if (pfn < 16 && ash_zone_alloc(z, 2, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &grant) == 0)
		thief = grant.pfn;
	return 0;
}

static void open_capture(const char *types, bool defrag)
{
	static const struct ash_mover_ops mover = { steal_and_refuse, owner_migrate, owner_putback };

	thief = ASH_PFN_NONE;
	owner_moves = 0;
	scene_mover = &mover;
	scene_config = NULL;
	scene_open(&s, 4, 5, types);
	scene_mover = NULL;
	s.z->defrag_mode = defrag;
}

TEST(T43_capture_of_what_forms)
{
	struct ash_page_grant grant;

	open_capture("MMMM", false);
	/* Three of four frames of each group free: the first move completes frames 0 to 3. */
	scene_free(&s, "1:0, 2:1, 5:0, 6:1, 9:0, 10:1, 13:0, 14:1, 48:1, 51:0, 52:1, 55:0, 56:1, 58:0, 60:1, 62:0");
	EXPECT_EQ(ash_zone_alloc_compact(s.z, 2, ASH_MT_MOVABLE, 0, &grant), 0);
	EXPECT_EQ(grant.pfn, 0);
	EXPECT_EQ(owner_moves, 1);
	/* T51 [reply 38217884145]: what is captured is never counted as free; one frame went to the other end. */
	EXPECT_EQ(scene_stats(&s).free, s.before.free - 4);
	EXPECT_EQ(scene_stats(&s).compact_success, 1);
	EXPECT(scene_fault(&s) == NULL);
	ash_zone_free(s.z, grant.pfn, 2, ASH_CPU_NONE);
	EXPECT_EQ(scene_stats(&s).free, s.before.free);
}

/* A free while the request waits that completes its buddy does not count as one. */
TEST(T51_a_captured_free_leaves_the_counters)
{
	struct ash_capture capture = { .order = 2, .mt = ASH_MT_MOVABLE, .pfn = ASH_PFN_NONE };

	scene_open(&s, 4, 5, "MMUU");
	scene_free(&s, "1:0, 2:1");
	s.z->capture = &capture;
	ash_zone_free(s.z, 0, 0, ASH_CPU_NONE);
	EXPECT_EQ(capture.pfn, 0);
	/* The three that had been counted are free no more, the fourth never was. */
	EXPECT_EQ(scene_stats(&s).free, s.before.free - 3);
	EXPECT_STATE(&s, "", "MMUU");
	/* One is enough, and what is larger or smaller is not wanted. */
	ash_zone_free(s.z, 16, 0, ASH_CPU_NONE);
	capture.pfn = ASH_PFN_NONE;
	ash_zone_free(s.z, 17, 0, ASH_CPU_NONE);
	EXPECT_EQ(capture.pfn, ASH_PFN_NONE);
	s.z->capture = NULL;
	EXPECT_STATE(&s, "16:1 M", "MMUU");
}

static ash_pfn_t captured_from(const char *types, enum ash_migratetype mt, unsigned order)
{
	struct ash_capture capture = { .order = order, .mt = mt, .pfn = ASH_PFN_NONE };

	scene_open(&s, 4, 5, types);
	s.z->capture = &capture;
	for (ash_pfn_t pfn = 0; pfn < 1u << order; pfn++)
		ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
	s.z->capture = NULL;
	return capture.pfn;
}

/* A row of pieces that is freed at once is not put together behind the back of who waits for a part of it. */
TEST(T43_capture_out_of_a_row)
{
	struct ash_capture capture = { .order = 2, .mt = ASH_MT_MOVABLE, .pfn = ASH_PFN_NONE };

	scene_open(&s, 4, 5, "MM");
	for (ash_pfn_t pfn = 0; pfn < 12; pfn++)
		scene_used(&s, pfn, 0, ASH_MT_MOVABLE);
	s.z->capture = &capture;
	ash_zone_free_run(s.z, 0, 12);
	s.z->capture = NULL;
	EXPECT_EQ(capture.pfn, 0);
	EXPECT_EQ(scene_stats(&s).free, 8);
	EXPECT_STATE(&s, "4:2 M, 8:2 M", "MM");
}

/* Never from CMA, the reserve or isolated blocks; less than a pageblock only of the own type. */
TEST(T43_what_is_not_captured)
{
	struct ash_capture capture = { .order = 0, .mt = ASH_MT_MOVABLE, .pfn = ASH_PFN_NONE };

	EXPECT_EQ(captured_from("MM", ASH_MT_MOVABLE, 2), 0);
	EXPECT_EQ(captured_from("CM", ASH_MT_MOVABLE, 2), ASH_PFN_NONE);
	EXPECT_EQ(captured_from("HM", ASH_MT_MOVABLE, 2), ASH_PFN_NONE);
	EXPECT_EQ(captured_from("CM", ASH_MT_MOVABLE, 4), ASH_PFN_NONE);
	EXPECT_EQ(captured_from("HM", ASH_MT_MOVABLE, 4), ASH_PFN_NONE);
	EXPECT_EQ(captured_from("MM", ASH_MT_UNMOVABLE, 2), ASH_PFN_NONE);
	/* A whole one is taken, and becomes what is wanted. */
	EXPECT_EQ(captured_from("MM", ASH_MT_UNMOVABLE, 4), 0);
	EXPECT_STREQ(scene_types(&s), "UM");
	EXPECT(scene_fault(&s) == NULL);
	scene_open(&s, 4, 5, "MM");
	for (ash_pfn_t pfn = 0; pfn < 32; pfn++)
		scene_used(&s, pfn, 0, ASH_MT_MOVABLE);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 0, 16, ASH_ISOLATE_OTHER, NULL), 0);
	s.z->capture = &capture;
	ash_zone_free(s.z, 3, 0, ASH_CPU_NONE);
	s.z->capture = NULL;
	EXPECT_EQ(capture.pfn, ASH_PFN_NONE);
}

/*
 * [C a1f0220f3319 and before] defrag mode: no steal before compaction has run for the request; then exactly one attempt
 * may. Nothing here can be moved.
 */
TEST(T71_defrag_mode_steals_last)
{
	struct ash_page_grant grant;
	struct ash_zone_stats now;

	owner_open(&s, 4, 5, "UU", 0);
	s.z->defrag_mode = true;
	scene_free(&s, "3:0, 7:0");
	EXPECT_EQ(ash_zone_alloc(s.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_NOFRAGMENT, ASH_CPU_NONE, &grant), -ASH_ENOMEM);
	EXPECT_EQ(scene_stats(&s).extfrag_steal, s.before.extfrag_steal);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(ash_zone_alloc_compact(s.z, 0, ASH_MT_MOVABLE, 0, &grant), 0);
		now = scene_stats(&s);
		EXPECT_EQ(now.extfrag_steal, s.before.extfrag_steal + i + 1);
		EXPECT_EQ(now.extfrag_claim, s.before.extfrag_claim);
	}
	EXPECT_EQ(ash_zone_alloc_compact(s.z, 0, ASH_MT_MOVABLE, 0, &grant), -ASH_ENOMEM);

	/*
	 * Where compaction can make a whole pageblock there is no steal: MOVABLE frames are packed, the block is
	 * claimed.
	 */
	owner_open(&s, 2, 4, "MMMMMMMM", 0);
	s.z->defrag_mode = true;
	scene_free(&s, "1:0, 2:1, 5:0, 6:1, 9:0, 10:1, 13:0, 14:1, 17:0, 18:1, 21:0, 22:1, 25:0, 26:1, 29:0, 30:1");
	EXPECT_EQ(ash_zone_alloc_compact(s.z, 0, ASH_MT_UNMOVABLE, 0, &grant), 0);
	now = scene_stats(&s);
	EXPECT_GT(owner_moves, 0);
	EXPECT_EQ(now.extfrag_steal, s.before.extfrag_steal);
	EXPECT_EQ(now.extfrag_claim, s.before.extfrag_claim + 1);
	EXPECT_EQ(now.compact_stall, 1);
	EXPECT(scene_fault(&s) == NULL);
}

/* [C a1f0220f3319] enough frames but not in whole blocks: compaction is due, trimming would only overshoot. */
TEST(T72_background_counts_whole_blocks)
{
	owner_open(&s, 4, 5, "MMMM", 0);
	s.z->defrag_mode = true;
	scene_free(&s, "0:3, 16:3, 32:3");
	ash_zone_set_watermarks(s.z, 8, 0);
	EXPECT_EQ(ash_zone_background(s.z), ASH_BACKGROUND_COMPACT);
	ash_zone_free_run(s.z, 8, 8);
	EXPECT_EQ(scene_stats(&s).free_blocks, 16);
	EXPECT_EQ(ash_zone_background(s.z), ASH_BACKGROUND_NOTHING);
	ash_zone_set_watermarks(s.z, 24, 0);
	EXPECT_EQ(ash_zone_background(s.z), ASH_BACKGROUND_TRIM);
	/* Without defrag mode base pages are enough. */
	owner_open(&s, 4, 5, "MMMM", 0);
	scene_free(&s, "0:3, 16:3, 32:3");
	ash_zone_set_watermarks(s.z, 8, 0);
	EXPECT_EQ(ash_zone_background(s.z), ASH_BACKGROUND_NOTHING);
}

/* [K compaction.c:fragmentation_score_zone, should_proactive_compact_node] */
TEST(T73_scores)
{
	struct ash_zone *zones[1];

	/* 100 free frames, 40 of them in buddies of pageblock order. */
	owner_open(&s, 3, 5, "MMMMMMMMMMMMMMMMMMMM", 0);
	for (ash_pfn_t block = 0; block < 5; block++)
		ash_zone_free_run(s.z, block * 16, 8);
	for (ash_pfn_t block = 0; block < 15; block++)
		ash_zone_free_run(s.z, 8 + (block < 5 ? block * 16 : 72 + (block - 5) * 8), 4);
	EXPECT_EQ(scene_stats(&s).free, 100);
	EXPECT_EQ(scene_stats(&s).free_blocks, 40);
	EXPECT_EQ(ash_zone_fragmentation_score(s.z, 3), 60);
	EXPECT_EQ(ash_zone_fragmentation_score(s.z, 0), 0);
	zones[0] = s.z;
	EXPECT_EQ(ash_zones_fragmentation_score(zones, 1, 3), 60);
}

/* p = 20: starts above 90, stops at 80, and is left alone for 63 turns after a run that gained nothing. */
TEST(T73_proactive_starts_stops_and_backs_off)
{
	struct ash_proactive p = { .proactiveness = 20 };
	struct ash_zone *zones[1];

	owner_open(&s, 3, 6, "MMMMMMMMMMMMMMMM", 0);
	for (ash_pfn_t pfn = 0; pfn < 128; pfn++) {
		if (pfn % 4 != 0)
			ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
	}
	zones[0] = s.z;
	EXPECT_EQ(ash_zone_fragmentation_score(s.z, 3), 100);
	EXPECT(ash_zones_compact_proactively(&p, zones, 1, 3));
	EXPECT_LE(ash_zone_fragmentation_score(s.z, 3), 80);
	EXPECT_EQ(scene_stats(&s).compact_daemon_migrate_scanned, scene_stats(&s).compact_migrate_scanned);
	EXPECT_EQ(scene_stats(&s).compact_daemon_free_scanned, scene_stats(&s).compact_free_scanned);
	EXPECT_GT(scene_stats(&s).compact_daemon_free_scanned, 0);
	EXPECT_EQ(ash_zone_compact(s.z, 0, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_SUCCESS);
	EXPECT_GT(scene_stats(&s).compact_migrate_scanned, scene_stats(&s).compact_daemon_migrate_scanned);
	/* It stopped there: not everything has been packed. */
	EXPECT_GT(ash_zone_fragmentation_score(s.z, 3), 40);
	EXPECT_EQ(p.skip, 0);
	EXPECT(!ash_zones_compact_proactively(&p, zones, 1, 3));
	EXPECT(scene_fault(&s) == NULL);

	owner_open(&s, 3, 6, "MMMMMMMMMMMMMMMM", 0);
	for (ash_pfn_t pfn = 0; pfn < 128; pfn++) {
		if (pfn % 4 != 0)
			ash_zone_free(s.z, pfn, 0, ASH_CPU_NONE);
		else
			scene_used(&s, pfn, 0, ASH_MT_UNMOVABLE);
	}
	zones[0] = s.z;
	EXPECT(ash_zones_compact_proactively(&p, zones, 1, 3));
	for (unsigned i = 0; i < 63; i++)
		EXPECT(!ash_zones_compact_proactively(&p, zones, 1, 3));
	EXPECT(ash_zones_compact_proactively(&p, zones, 1, 3));
	p = (struct ash_proactive){ .proactiveness = 0 };
	EXPECT(!ash_zones_compact_proactively(&p, zones, 1, 3));
}

/* The threshold itself, with a node of two zones: 91 starts, 90 does not. */
TEST(T73_the_score_of_a_node_is_weighted)
{
	struct ash_proactive p = { .proactiveness = 20 };
	struct ash_zone *zones[2];

	owner_open(&s, 2, 4, "MMMMMMMMMMMMMMMMMMMMMMMMM", 0);
	for (ash_pfn_t block = 0; block < 25; block++)
		ash_zone_free_run(s.z, block * 4, 2);
	ash_zone_free_run(s.z, 2, 2);
	/* 52 free frames, 4 of them in a whole block: 92. */
	EXPECT_EQ(ash_zone_fragmentation_score(s.z, 2), 92);
	zones[0] = zones[1] = s.z;
	EXPECT_EQ(ash_zones_fragmentation_score(zones, 2, 2), 92);
	p.proactiveness = 10;
	/* 90 + 10: never. */
	EXPECT(!ash_zones_compact_proactively(&p, zones, 2, 2));
	p.proactiveness = 20;
	EXPECT(ash_zones_compact_proactively(&p, zones, 2, 2));
	EXPECT_LE(ash_zone_fragmentation_score(s.z, 2), 80);
}

/* [K compaction.c:compaction_restarting] after the longest pause the blocks that gave nothing are looked at again. */
TEST(T44_the_longest_pause_ends_with_open_eyes)
{
	owner_open(&s, 4, 6, "MMMM", 0);
	scene_free(&s, "17:0, 19:0, 33:0, 35:0, 49:0, 51:0, 53:0, 55:0");
	for (unsigned n = 0; n < 6; n++)
		ash_zone_compact_defer(s.z, 1);
	ash_zone_lock(s.z);
	ash_pageblock_set_skip(s.z, 0, true);
	ash_zone_unlock(s.z);
	for (unsigned i = 0; i < 63; i++)
		EXPECT(ash_zone_compact_deferred(s.z, 1));
	EXPECT(!ash_zone_compact_deferred(s.z, 1));
	(void)ash_zone_compact(s.z, 1, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL);
	/* Its own skip bit was cleared before the run came to the first block. */
	EXPECT_NE(ash_word_state(ash_frame_load(s.z->frames, 0)), ASH_FRAME_USED);
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

/* [K memory_hotplug.c:online_pages, undo_isolate_page_range] nothing of the range can be had before isolation ends. */
TEST(T96_online_is_invisible_until_it_is_complete)
{
	bool zeroed;

	owner_open(&s, 3, 5, "MMMMMMMM", 0);
	scene_free(&s, "0:4, 32:5");
	EXPECT_EQ(ash_zone_offline(s.z, 32, 32, &zeroed, NULL), 0);
	EXPECT_EQ(ash_zone_online_isolated(s.z, 28 + 4, 30, false), 0);
	/* Six frames of a pageblock that is not filled are visible. */
	EXPECT_STATE(&s, "0:4 M, 32:4 I, 48:3 I, 56:2 M, 60:1 M", "MMMMM*M*M*M");
	EXPECT_EQ(scene_stats(&s).present, 62);
	EXPECT_EQ(scene_stats(&s).free, 22);
	EXPECT_EQ(scene_stats(&s).isolated, 3);
	EXPECT_EQ(scene_alloc(&s, 4, ASH_MT_MOVABLE, 0), 0);
	EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_MOVABLE, 0), ASH_PFN_NONE);
	EXPECT_EQ(ash_zone_isolate_range(s.z, 32, 8, ASH_ISOLATE_OTHER, NULL), -ASH_EBUSY);
	ash_zone_unisolate_range(s.z, 32, 30);
	EXPECT_STATE(&s, "32:4 M, 48:3 M, 56:2 M, 60:1 M", "MMMMMMMM");
	EXPECT_EQ(scene_stats(&s).free, 30);
	EXPECT_EQ(scene_stats(&s).isolated, 0);
	EXPECT_EQ(scene_alloc(&s, 3, ASH_MT_MOVABLE, 0), 48);
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

/* [K memory_hotplug.c:offline_pages] a signal while the range is being emptied: -EINTR, and everything as it was. */
static unsigned asked, interrupted_at;

static bool interrupt(struct ash_zone *z)
{
	EXPECT(!ash_lock_is_held(&z->lock));
	return asked++ == interrupted_at;
}

static void interruptible(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	(void)config;
	ops->interrupted = interrupt;
}

TEST(T97_an_interrupted_offline_is_undone)
{
	bool zeroed;

	for (interrupted_at = 0; interrupted_at <= 4; interrupted_at++) {
		scene_config = interruptible;
		owner_open(&s, 3, 5, "MMMMMMMM", 1);
		scene_config = NULL;
		asked = 0;
		scene_free(&s, "0:4, 16:2, 24:3, 32:5");
		if (interrupted_at == 4) {
			EXPECT_EQ(ash_zone_offline(s.z, 16, 16, &zeroed, NULL), 0);
			EXPECT_EQ(scene_stats(&s).present, 48);
			continue;
		}
		EXPECT_EQ(ash_zone_offline(s.z, 16, 16, &zeroed, NULL), -ASH_EINTR);
		EXPECT_EQ(owner_moves, interrupted_at);
		EXPECT_EQ(asked, interrupted_at + 1);
		EXPECT_EQ(scene_stats(&s).present, 64);
		EXPECT_EQ(scene_stats(&s).isolated, 0);
		EXPECT_EQ(scene_stats(&s).free, s.before.free);
		EXPECT(interrupted_at > 0 || scene_same(&s));
		/* The pcps are back in service. */
		ash_zone_free(s.z, 20 + interrupted_at, 0, 0);
		EXPECT_EQ(scene_stats(&s).pcp, 1);
		EXPECT(scene_fault(&s) == NULL);
	}
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
