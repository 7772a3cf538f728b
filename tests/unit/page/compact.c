/* SPDX-License-Identifier: MIT */
/* Compaction, its deferral, and the figures it goes by. */
#include "owner.h"

#include "page/buddy.h"
#include "page/compact.h"
#include "page/stat.h"

/* Every frame allocated as movable, then all but every 4th freed. */
static void checkerboard(struct fixture *f, ash_pfn_t nr)
{
	EXPECT_EQ(ash_zone_online(f->z, 0, nr, false), 0);
	for (ash_pfn_t i = 0; i < nr; i++)
		owner_alloc(f, 0);
	for (ash_pfn_t i = 0; i < nr; i++) {
		if (i % 4 != 0)
			owner_free(f, i);
	}
}

TEST(compact_packs_the_high_end)
{
	struct fixture f;
	struct ash_compact_stats n = { 0 };
	struct ash_zone_stats s;

	owner_init(&f, 64, 3, 5);
	checkerboard(&f, 64);
	s = stats(&f);
	EXPECT_EQ(ash_fragmentation_index(&s, 3), 1000 - (1000 + 48 * 1000 / 8) / 32);
	EXPECT_EQ(ash_unusable_index(&s, 3), 1000);
	EXPECT_EQ(ash_zone_compact(f.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, &n), ASH_COMPACT_COMPLETE);
	owner_check(&f);
	fixture_check(&f);
	s = stats(&f);
	EXPECT_EQ(n.moved, 12); /* 16 frames in use, 4 of which were in the last two blocks */
	EXPECT_EQ(s.free, 48);
	EXPECT_EQ(s.nr_free[5][ASH_MT_MOVABLE], 1);
	EXPECT_EQ(s.nr_free[4][ASH_MT_MOVABLE], 1); /* 0 to 47 are free, as one run */
	EXPECT_EQ(ash_unusable_index(&s, 3), 0);
	EXPECT_EQ(ash_fragmentation_index(&s, 3), -1000);
	EXPECT_EQ(ash_extfrag_for_order(&s, 5), 33);
	fixture_end(&f);
}

TEST(compact_stops_at_the_first_buddy)
{
	struct fixture f;
	struct ash_page_grant g;

	owner_init(&f, 64, 3, 5);
	checkerboard(&f, 64);
	EXPECT_EQ(ash_zone_alloc(f.z, 3, ASH_MT_MOVABLE, 0, CPU_NONE, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc_compact(f.z, 3, ASH_MT_MOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 0);
	EXPECT_EQ(owner.migrated, 2);
	owner_check(&f);
	fixture_end(&f);
}

TEST(compact_never_moves_the_unmovable)
{
	struct fixture f;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (ash_pfn_t i = 0; i < 8; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), i);
	ash_zone_free(f.z, 3, 0, CPU_NONE);
	EXPECT_EQ(ash_zone_compact(f.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, NULL), ASH_COMPACT_COMPLETE);
	EXPECT_EQ(owner.migrated + owner.refused, 0);
	fixture_end(&f);
}

TEST(compact_pinned_pieces_fail_and_defer)
{
	struct fixture f;
	struct ash_page_grant g;
	unsigned refused;

	owner_init(&f, 64, 3, 5);
	checkerboard(&f, 64);
	for (unsigned i = 0; i < 64; i++)
		owner.handle[i].pinned = true;
	EXPECT_EQ(ash_zone_alloc_compact(f.z, 3, ASH_MT_MOVABLE, 0, &g), -ASH_ENOMEM);
	EXPECT_GT(owner.refused, 0);
	refused = owner.refused;
	EXPECT_EQ(ash_zone_alloc_compact(f.z, 3, ASH_MT_MOVABLE, 0, &g), -ASH_ENOMEM);
	EXPECT_EQ(owner.refused, refused); /* deferred: nobody was asked */
	owner_check(&f);
	fixture_end(&f);
}

TEST(compact_unsuitable_without_free_frames)
{
	struct fixture f;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (ash_pfn_t i = 0; i < 60; i++)
		owner_alloc(&f, 0);
	EXPECT_EQ(ash_zone_compact(f.z, 3, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	fixture_end(&f);
}

/* [K compaction.c:compaction_suitable] above the min mark, for costly orders above the low one; a boost counts. */
TEST(compact_needs_room_above_the_marks)
{
	struct ash_page_grant g;
	struct fixture f;

	owner_init(&f, 128, 5, 6);
	EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
	for (unsigned i = 0; i < 128; i++)
		owner_alloc(&f, 0);
	for (unsigned i = 0; i < 128; i += 2)
		owner_free(&f, i);
	/* 64 frames are free. Order 1 wants 4 of room, order 4 wants 32. */
	ash_zone_set_watermarks(f.z, 60, 0);
	EXPECT_EQ(ash_zone_compact(f.z, 1, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	ash_zone_set_watermarks(f.z, 59, 0);
	EXPECT_NE(ash_zone_compact(f.z, 1, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	atomic_store(&f.z->wmark_boost, 1);
	EXPECT_EQ(ash_zone_compact(f.z, 1, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	ash_zone_set_watermarks(f.z, 26, 0);
	EXPECT_EQ(ash_zone_compact(f.z, 5, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	EXPECT_EQ(ash_zone_compact(f.z, 4, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	ash_zone_set_watermarks(f.z, 25, 0);
	EXPECT_NE(ash_zone_compact(f.z, 4, ASH_MT_MOVABLE, ASH_COMPACT_SYNC, NULL), ASH_COMPACT_UNSUITABLE);
	/* What is kept from who had zones above is no room for him. */
	ash_zone_set_watermarks(f.z, 0, 0);
	ash_zone_set_lowmem_reserve(f.z, (const uint64_t[ASH_LOWMEM_ZONES]){ 0, 64 });
	EXPECT_EQ(ash_zone_alloc_compact(f.z, 6, ASH_MT_MOVABLE, ASH_ALLOC_FROM_ABOVE(1), &g), -ASH_ENOMEM);
	EXPECT_EQ(stats(&f).compact_stall, 0);
	fixture_end(&f);
}

/* [K compaction.c:compaction_suit_allocation_order] an asynchronous run must find its room outside CMA. */
TEST(compact_async_wants_room_outside_cma)
{
	struct ash_page_grant g;
	struct fixture f;
	uint64_t scanned[2];

	for (unsigned cma = 0; cma < 2; cma++) {
		owner_init(&f, 128, 5, 6);
		EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
		/* Nothing can be moved, so that a run goes over all of the first half and changes nothing. */
		for (unsigned i = 0; i < 128; i++)
			owner.handle[owner_alloc(&f, 0)].pinned = true;
		for (unsigned i = 65; i < 128; i += 2)
			owner_free(&f, i);
		for (unsigned i = 0; i < 16; i += 2)
			owner_free(&f, i);
		ash_zone_lock(f.z);
		for (ash_pfn_t b = 64; b < 128; b += 32) {
			ash_buddy_move_block(f.z, b, ASH_MT_MOVABLE, ASH_MT_CMA);
			ash_pageblock_set_type(f.z, b, ASH_MT_CMA);
		}
		ash_zone_unlock(f.z);
		EXPECT_EQ(stats(&f).free, 40);
		EXPECT_EQ(stats(&f).free_cma, 32);
		EXPECT_EQ(ash_zone_alloc_compact(f.z, 4, ASH_MT_MOVABLE, cma ? ASH_ALLOC_CMA : 0, &g), -ASH_ENOMEM);
		EXPECT_EQ(stats(&f).compact_stall, 1);
		scanned[cma] = stats(&f).compact_migrate_scanned;
		fixture_end(&f);
	}
	/* A synchronous run only, and one of each. */
	EXPECT_GT(scanned[0], 0);
	EXPECT_GT(scanned[1], scanned[0]);
}

TEST(compact_defrag_mode_steals_last)
{
	for (int defrag = 0; defrag < 2; defrag++) {
		struct fixture f;
		struct ash_page_grant g;
		struct ash_zone_config c = { .nr_frames = 64, .geometry = { 3, 5 }, .defrag_mode = defrag };

		owner_init(&f, 64, 3, 5);
		c.frames = f.frames;
		c.pageblocks = f.pageblocks;
		c.ops = &f.ops;
		EXPECT_EQ(ash_zone_init(f.z, &c), 0);
		checkerboard(&f, 64);
		/* Three quarters of every block are free: without defrag mode the block is simply claimed. */
		EXPECT_EQ(ash_zone_alloc_compact(f.z, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
		EXPECT_EQ(owner.migrated > 0, defrag);
		owner_check(&f);
		fixture_end(&f);

		/* Nothing can be moved: the one relaxed try serves. */
		owner_init(&f, 64, 3, 5);
		c.frames = f.frames;
		c.pageblocks = f.pageblocks;
		c.ops = &f.ops;
		EXPECT_EQ(ash_zone_init(f.z, &c), 0);
		checkerboard(&f, 64);
		for (unsigned i = 0; i < 64; i++)
			owner.handle[i].pinned = true;
		EXPECT_EQ(ash_zone_alloc_compact(f.z, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_NOFRAGMENT, &g), -ASH_ENOMEM);
		EXPECT_EQ(ash_zone_alloc_compact(f.z, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
		fixture_end(&f);
	}
}

TEST(stat_text_has_the_kernels_shape)
{
	struct fixture f;
	struct ash_zone_stats s;
	char text[4096], small[8];
	size_t length;

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 0);
	s = stats(&f);
	length = ash_stat_buddyinfo(&s, 5, 0, "Normal", text, sizeof(text));
	EXPECT_STREQ(text, "Node 0, zone   Normal      1      1      1      1      1      1 \n");
	EXPECT_EQ(length, strlen(text));
	EXPECT_EQ(ash_stat_buddyinfo(&s, 5, 0, "Normal", small, sizeof(small)), length);
	EXPECT_STREQ(small, "Node 0,");
	EXPECT_EQ(ash_stat_buddyinfo(&s, 5, 0, "Normal", NULL, 0), length);
	ash_stat_pagetypeinfo(&s, 3, 5, 0, "Normal", text, sizeof(text));
	EXPECT(strstr(text, "Page block order: 3\nPages per block:  8\n\n") == text);
	EXPECT(strstr(text,
		      "\nNode    0, zone   Normal, type    Unmovable      1      1      1      1      1      0 \n"));
	EXPECT(strstr(text,
		      "\nNode    0, zone   Normal, type      Movable      0      0      0      0      0      1 \n"));
	EXPECT(strstr(text, "\nNumber of blocks type     Unmovable      Movable  Reclaimable   HighAtomic          CMA"
			    "      Isolate \nNode 0, zone   Normal            4            4            0"));
	fixture_end(&f);
}

/* What a name is followed by in the text, or -1. */
static long value_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at == NULL ? -1 : atol(at + strlen(name));
}

TEST(stat_zoneinfo_and_vmstat_have_the_kernels_shape)
{
	struct ash_watermarks w;
	struct ash_pcp_stats pcp;
	struct ash_zone_stats s;
	struct fixture f;
	char text[2048];
	FILE *kernel;
	char line[256];
	unsigned known = 0;

	fixture_init(&f, 64, 3, 5, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 60, false), 0);
	ash_zone_set_watermarks(f.z, 8, 0);
	ash_zone_set_lowmem_reserve(f.z, (const uint64_t[ASH_LOWMEM_ZONES]){ 0, 5, 6, 7 });
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 0);
	s = stats(&f);
	ash_zone_watermarks(f.z, &w);
	ash_zone_pcp_stats(f.z, 0, &pcp);
	EXPECT_NE(pcp.high_min, pcp.high_max);
	EXPECT_EQ(ash_stat_zoneinfo(&s, &w, &pcp, 1, 3, "Normal", text, sizeof(text)), strlen(text));
	EXPECT(strstr(text, "Node 3, zone   Normal\n  pages free     59\n        boost    0\n        min      8\n"
			    "        low      10\n        high     12\n        spanned  64\n"
			    "        present  60\n") == text);
	EXPECT(strstr(text, "\n      nr_free_pages 59\n") != NULL);
	EXPECT(strstr(text, "\n  pagesets\n    cpu: 0\n              count:    0\n              high:     4\n"
			    "              batch:    1\n              high_min: 4\n"
			    "              high_max: 7\n") != NULL);
	EXPECT(strstr(text, "        cma      0\n        protection: (0, 5, 6, 7)\n") != NULL);
	EXPECT_EQ(value_of(text, "nr_free_pages_blocks"), s.free_blocks);
	EXPECT_EQ(value_of(text, "start_pfn:"), 0);
	/* Every line but the numbers is one that the kernel writes, where there is one to ask. */
	kernel = fopen("/proc/zoneinfo", "r");
	for (const char *at = text; kernel != NULL && *at != '\0'; at = strchr(at, '\n') + 1) {
		const size_t label = strcspn(at, "0123456789\n");
		bool found = strncmp(at, "Node", 4) == 0 || strncmp(at, "      nr_free_pages_blocks", 26) == 0;

		rewind(kernel);
		while (!found && fgets(line, sizeof(line), kernel) != NULL)
			found = strncmp(line, at, label) == 0;
		if (!found)
			TEST_FAIL("the kernel has no line like \"%.*s\"", (int)label, at);
		known++;
	}
	if (kernel != NULL)
		fclose(kernel);
	EXPECT(kernel == NULL || known > 15);
	EXPECT_EQ(ash_stat_vmstat(&s, text, sizeof(text)), strlen(text));
	EXPECT(strstr(text, "nr_free_pages 59\nnr_free_pages_blocks ") == text);
	EXPECT_EQ(value_of(text, "pgalloc_normal"), 1);
	EXPECT_EQ(value_of(text, "\ncompact_success"), 0);
	fixture_end(&f);
}

/* [K vmstat.c:pagetypeinfo_showmixedcount] in the shape of the counts of pageblocks, which it follows. */
TEST(stat_mixed_blocks_have_the_kernels_shape)
{
	uint64_t mixed[ASH_MT_NR];
	struct fixture f;
	char text[256];

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 64; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	ash_zone_free(f.z, 9, 0, CPU_NONE);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 9);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(ash_stat_mixed(NULL, 0, NULL, text, sizeof(text)), strlen(text));
	EXPECT_STREQ(text, "\nNumber of mixed blocks    Unmovable      Movable  Reclaimable   HighAtomic          CMA"
			   "      Isolate \n");
	EXPECT_EQ(ash_stat_mixed(mixed, 2, "Normal", text, sizeof(text)), strlen(text));
	EXPECT_STREQ(text, "Node 2, zone   Normal            0            1            0            0            0"
			   "            0 \n");
	fixture_end(&f);
}
