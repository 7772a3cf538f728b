/* SPDX-License-Identifier: MIT */
/* Scenarios T50 to T53: the counters are the sums of the lists. Sources are marked as in buddy.c. */
#include "harness/test.h"
#include "scenario/scene.h"

static struct scene s;

/* I6, recomputed here from the frames and not from the zone's own lists. */
static void expect_counters(void)
{
	const struct ash_zone_stats stats = scene_stats(&s);
	uint64_t free = 0, blocks = 0, cma = 0, nr_free[ASH_NR_ORDERS][ASH_MT_NR] = { { 0 } };

	for (ash_pfn_t pfn = 0; pfn < s.nr_frames;) {
		const uint32_t word = ash_frame_load(s.z->frames, pfn);
		const unsigned order = ash_word_order(word);
		const uint64_t frames = 1u << order;

		pfn += 1u << order;
		if (ash_word_state(word) != ASH_FRAME_BUDDY)
			continue;
		nr_free[order][ash_word_type(word)]++;
		if (ash_word_type(word) == ASH_MT_ISOLATE)
			continue;
		free += frames;
		blocks += order >= s.z->pageblock_order ? frames : 0;
		cma += ash_word_type(word) == ASH_MT_CMA ? frames : 0;
	}
	EXPECT_EQ(stats.free, free);
	EXPECT_EQ(stats.free_blocks, blocks);
	EXPECT_EQ(stats.free_cma, cma);
	EXPECT_EQ(memcmp(nr_free, stats.nr_free, sizeof(nr_free)), 0);
}

/* [C e0932b6c1f94], [C 883dd161e9a8] counting at the lists' door, split and merged from end to end. */
TEST(T50_counters_through_split_and_merge)
{
	scene_open(&s, 3, 5, "MMMM");
	scene_free(&s, "0:5");
	expect_counters();
	EXPECT_EQ(s.before.free_blocks, 32);
	for (ash_pfn_t pfn = 0; pfn < 32; pfn++) {
		EXPECT_EQ(scene_alloc(&s, 0, ASH_MT_MOVABLE, 0), pfn);
		expect_counters();
	}
	EXPECT_EQ(scene_stats(&s).free, 0);
	for (ash_pfn_t i = 0; i < 32; i++) {
		ash_zone_free(s.z, i * 5 % 32, 0, ASH_CPU_NONE);
		expect_counters();
	}
	EXPECT_STATE(&s, "0:5 M", "MMMM");
	EXPECT(scene_same(&s));
}

TEST(T50_counters_through_claim_and_steal)
{
	scene_open(&s, 3, 4, "MRUC");
	scene_free(&s, "0:3, 8:1, 12:0, 18:1, 24:3");
	expect_counters();
	while (scene_alloc(&s, 0, ASH_MT_RECLAIMABLE, 0) != ASH_PFN_NONE)
		expect_counters();
	EXPECT_STREQ(scene_freelist(&s), "24:3 C");
	EXPECT_GT(scene_stats(&s).extfrag_claim, s.before.extfrag_claim);
	EXPECT_GT(scene_stats(&s).extfrag_steal, s.before.extfrag_steal);
}
