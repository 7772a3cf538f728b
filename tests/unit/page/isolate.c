/* SPDX-License-Identifier: MIT */
/* Isolation as a module: refusals, busy lists, undo. The scenarios T01 to T09 are in tests/scenario. */
#include "fixture.h"

#include "page/isolate.h"
#include "page/pageblock.h"

TEST(isolate_refuses_bad_ranges)
{
	struct fixture f;

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 0, 0, ASH_ISOLATE_OTHER, NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 60, 5, ASH_ISOLATE_OTHER, NULL), -ASH_EINVAL);
	fixture_end(&f);
}

TEST(isolate_says_what_is_in_the_way)
{
	struct fixture f;
	struct ash_busy entry[2];
	struct ash_busy_list busy = { entry, 2, 0 };
	uint64_t digest;

	fixture_init(&f, 61, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 61, false), 0);
	EXPECT_EQ(alloc_pages(&f, 1, ASH_MT_UNMOVABLE), 0); /* claims {0:5} */
	digest = ash_zone_digest(f.z);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 0, 24, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 0);
	EXPECT_EQ(entry[0].nr, 2);
	EXPECT_EQ(entry[0].why, ASH_BUSY_UNMOVABLE);
	busy.nr = 0;
	EXPECT_EQ(ash_zone_isolate_range(f.z, 57, 1, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].why, ASH_BUSY_OFFLINE); /* the last block is short */
	EXPECT(ash_zone_digest(f.z) == digest);

	EXPECT_EQ(ash_zone_isolate_range(f.z, 8, 8, ASH_ISOLATE_OTHER, NULL), 0);
	digest = ash_zone_digest(f.z);
	busy.nr = 0;
	EXPECT_EQ(ash_zone_isolate_range(f.z, 2, 22, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(entry[0].why, ASH_BUSY_ISOLATED);
	EXPECT_EQ(entry[0].pfn, 8);
	EXPECT(ash_zone_digest(f.z) == digest);
	ash_zone_unisolate_range(f.z, 8, 1);
	EXPECT_EQ(stats(&f).isolated, 0);
	fixture_end(&f);
}

/* All of it in ascending order behind what refused first; for a list that is full no more is looked at. */
TEST(isolate_says_all_that_is_in_the_way)
{
	static const struct ash_busy expected[] = {
		{ 5, 1, ASH_BUSY_UNMOVABLE }, { 7, 1, ASH_BUSY_UNMOVABLE },  { 24, 8, ASH_BUSY_RESERVED },
		{ 32, 1, ASH_BUSY_UNMOVABLE }, { 56, 8, ASH_BUSY_ISOLATED },
	};
	struct ash_busy entry[8];
	struct ash_busy_list busy = { entry, 8, 0 };
	struct fixture f;
	uint64_t digest;

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (ash_pfn_t pfn = 0; pfn < 64; pfn++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), pfn);
	for (unsigned i = 0; i < 4; i++) {
		if (expected[i].why != ASH_BUSY_UNMOVABLE)
			continue;
		ash_zone_free(f.z, expected[i].pfn, 0, CPU_NONE);
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), expected[i].pfn);
	}
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, 24, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 56, 8, ASH_ISOLATE_OTHER, NULL), 0);
	digest = ash_zone_digest(f.z);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 4, 56, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 5);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(entry[i].pfn, expected[i].pfn);
		EXPECT_EQ(entry[i].nr, expected[i].nr);
		EXPECT_EQ(entry[i].why, expected[i].why);
	}
	/* The last pageblock is asked before those between. */
	busy = (struct ash_busy_list){ entry, 8, 0 };
	EXPECT_EQ(ash_zone_isolate_range(f.z, 8, 52, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 3);
	EXPECT_EQ(entry[0].pfn, 56);
	EXPECT_EQ(entry[1].pfn, 24);
	EXPECT_EQ(entry[2].pfn, 32);
	/* Pageblock by pageblock: of the first, what there is no room for is counted too. */
	busy = (struct ash_busy_list){ entry, 1, 0 };
	EXPECT_EQ(ash_zone_isolate_range(f.z, 4, 56, ASH_ISOLATE_OTHER, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 2);
	EXPECT_EQ(entry[0].pfn, 5);
	EXPECT(ash_zone_digest(f.z) == digest);
	ash_zone_unisolate_range(f.z, 56, 8);
	fixture_end(&f);
}

TEST(isolate_only_the_range_inside_the_block_must_be_movable)
{
	struct fixture f;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 0);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 0, 8, ASH_ISOLATE_OTHER, NULL), -ASH_EBUSY);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 1, 8, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_EQ(ash_zone_test_range_isolated(f.z, 1, 8, NULL), 0);
	EXPECT_EQ(ash_zone_test_range_isolated(f.z, 0, 8, NULL), -ASH_EBUSY);
	EXPECT_EQ(ash_zone_test_range_isolated(f.z, 8, 16, NULL), -ASH_EBUSY);
	ash_zone_unisolate_range(f.z, 1, 8);
	fixture_end(&f);
}

TEST(isolate_keeps_zeroed)
{
	struct fixture f;
	uint64_t digest;

	fixture_init(&f, 64, 3, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, true), 0);
	digest = ash_zone_digest(f.z);
	for (ash_pfn_t b = 0; b < 64; b += 8) {
		EXPECT_EQ(ash_zone_isolate_range(f.z, b, 8, ASH_ISOLATE_OTHER, NULL), 0);
		fixture_check(&f);
		EXPECT_EQ(stats(&f).free, 56);
		EXPECT_EQ(stats(&f).free_zeroed, 56);
		ash_zone_unisolate_range(f.z, b, 8);
		EXPECT(ash_zone_digest(f.z) == digest);
	}
	fixture_end(&f);
}
