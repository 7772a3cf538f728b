/* SPDX-License-Identifier: MIT */
/* Zone set-up, online, single pieces, caller mistakes. */
#include "fixture.h"

#include <sys/mman.h>

TEST(zone_init_refuses_bad_geometry)
{
	struct fixture f;
	struct ash_zone_config c = { .nr_frames = 16, .geometry = { 4, 4 } };

	fixture_init(&f, 16, 4, 4, 0);
	c.frames = f.frames;
	c.pageblocks = f.pageblocks;
	EXPECT_EQ(ash_zone_init(f.z, &c), 0);
	c.geometry = (struct ash_geometry){ 5, 4 };
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	c.geometry = (struct ash_geometry){ 4, ASH_MAX_ORDER + 1 };
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	c.geometry = (struct ash_geometry){ 4, 4 };
	c.nr_cpus = 1;
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	fixture_end(&f);
}

TEST(zone_offline_gives_nothing)
{
	struct fixture f;

	fixture_init(&f, 64, 4, 4, 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
	EXPECT_EQ(stats(&f).present, 0);
	fixture_end(&f);
}

TEST(zone_online_edges_inside_blocks)
{
	struct fixture f;
	struct ash_zone_stats s;

	fixture_init(&f, 61, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 4, 57, true), 0);
	s = stats(&f);
	EXPECT_EQ(s.present, 57);
	EXPECT_EQ(s.free, 57);
	EXPECT_EQ(s.nr_free[2][ASH_MT_MOVABLE], 2); /* 4, 56 */
	EXPECT_EQ(s.nr_free[3][ASH_MT_MOVABLE], 2); /* 8, 48 */
	EXPECT_EQ(s.nr_free[5][ASH_MT_MOVABLE], 0);
	EXPECT_EQ(s.nr_free[4][ASH_MT_MOVABLE], 2); /* 16, 32 */
	EXPECT_EQ(s.nr_free[0][ASH_MT_MOVABLE], 1); /* 60 */
	EXPECT_EQ(s.free_zeroed, 32);
	EXPECT_EQ(s.pageblocks[ASH_MT_MOVABLE], 4);
	fixture_end(&f);
}

TEST(zone_online_refuses_overlap)
{
	struct fixture f;
	uint64_t digest;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 20, 20, false), 0);
	digest = ash_zone_digest(f.z);
	EXPECT_EQ(ash_zone_online(f.z, 20, 20, false), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_online(f.z, 0, 21, false), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_online(f.z, 39, 2, false), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_online(f.z, 60, 5, false), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_online(f.z, 0, 0, false), -ASH_EINVAL);
	EXPECT(ash_zone_digest(f.z) == digest);
	EXPECT_EQ(ash_zone_online(f.z, 0, 20, false), 0);
	EXPECT_EQ(ash_zone_online(f.z, 40, 24, false), 0);
	EXPECT_EQ(stats(&f).nr_free[5][ASH_MT_MOVABLE], 2);
	fixture_end(&f);
}

TEST(zone_lazy_init_of_a_terabyte_touches_little)
{
	/* 16 TiB span of metadata would be 64 GiB; what counts is that nothing but the online part is written. */
	struct fixture f;

	fixture_init(&f, 1u << 22, 9, 18, 0);
	EXPECT_EQ(ash_zone_online(f.z, 1u << 18, 1u << 18, true), 0);
	for (size_t i = 0, n = ash_frames_size(1u << 22); i < n; i++) {
		if (((const unsigned char *)f.frames)[i] != 0 && i - i % 16 != ash_frames_size(1u << 18))
			TEST_FAIL("byte %zu written", i);
	}
	fixture_end(&f);
}

/* Their entries may be on pages of the table that a small process never needs. */
TEST(zone_frames_never_online_are_not_looked_at)
{
	enum { HALF = 256, NR = 2048 };
	const size_t bytes = ash_frames_size(NR), half = ash_frames_size(HALF);
	struct fixture f;
	ash_pfn_t pfn[HALF / 16];

	fixture_init(&f, NR, 9, 10, 0);
	EXPECT_EQ(half % 4096, 0);
	free(f.frames);
	f.frames = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(f.frames != MAP_FAILED);
	EXPECT_EQ(ash_zone_init(f.z, &(struct ash_zone_config){ .nr_frames = NR, .geometry = { 9, 10 },
								.frames = f.frames, .pageblocks = f.pageblocks,
								.ops = &f.ops }), 0);
	EXPECT_EQ(mprotect((char *)f.frames + half, bytes - half, PROT_NONE), 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, HALF, true), 0);
	for (unsigned i = 0; i < HALF / 16; i++)
		pfn[i] = alloc_pages(&f, 4, ASH_MT_UNMOVABLE);
	EXPECT_NE(pfn[HALF / 16 - 1], ASH_PFN_NONE);
	EXPECT_EQ(alloc_pages(&f, 4, ASH_MT_UNMOVABLE), ASH_PFN_NONE);
	for (unsigned i = 0; i < HALF / 16; i++)
		ash_zone_free(f.z, pfn[i], 4, CPU_NONE);
	EXPECT_EQ(mprotect(f.frames, bytes, PROT_READ | PROT_WRITE), 0);
	EXPECT_EQ(ash_zone_online(f.z, HALF, NR - HALF, true), 0);
	EXPECT_EQ(stats(&f).free_blocks, NR);
	fixture_check(&f);
	munmap(f.frames, bytes);
	free(f.z);
	free((void *)(uintptr_t)f.pageblocks);
}

TEST(frames_have_an_entry_each)
{
	size_t end = 0;

	for (size_t pfn = 0; pfn < 1u << 20; pfn++) {
		if (ash_frames_size(pfn) < end)
			TEST_FAIL("frame %zu begins inside the one before", pfn);
		end = ash_frames_size(pfn) + 16;
	}
	/* Gaps cost little, and there are none in a zone of 32 MiB. */
	EXPECT_LE(end, (16u << 20) + (16u << 20) / 1024);
	EXPECT_EQ(ash_frames_size(1u << 13), ((size_t)16 << 13) + 64);
	EXPECT_EQ(ash_frames_size((1u << 13) - 1), ((size_t)16 << 13) - 16);
}

/* What the gaps are for: the heads of large pieces lie in many sets of a cache, here one of 2048 sets of 64 bytes. */
TEST(heads_of_large_pieces_are_spread_over_a_cache)
{
	for (unsigned order = 2; order <= 9; order++) {
		bool used[2048] = { false };
		unsigned sets = 0;

		for (size_t pfn = 0; pfn < 1u << 20; pfn += (size_t)1 << order)
			used[ash_frames_size(pfn) / 64 % 2048] = true;
		for (unsigned i = 0; i < 2048; i++)
			sets += used[i];
		EXPECT_EQ(sets, 2048);
	}
}

/* A zone whose table has gaps, worked by random requests of all orders, with a pcp and past it. */
TEST(zone_with_gaps_in_its_table)
{
	ash_pfn_t pfn[400];
	uint8_t order[400];
	uint32_t rng = 1;
	unsigned nr = 0;
	struct fixture f;

	fixture_init(&f, (1u << 15) + 300, 9, 12, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, (1u << 15) + 300, false), 0);
	for (unsigned i = 0; i < 20000; i++) {
		const unsigned cpu = (rng = rng * 1664525 + 1013904223) >> 31 ? 0 : CPU_NONE;
		struct ash_page_grant g;

		if (nr == 400 || (nr > 0 && (rng >> 12 & 3) == 0)) {
			const unsigned k = (rng >> 14) % nr;

			ash_zone_free(f.z, pfn[k], order[k], cpu);
			pfn[k] = pfn[--nr];
			order[k] = order[nr];
			continue;
		}
		order[nr] = (uint8_t)((rng >> 20 & 15) % 11);
		if (ash_zone_alloc(f.z, order[nr], (enum ash_migratetype)((rng >> 8) % 3), 0, cpu, &g) == 0)
			pfn[nr++] = g.pfn;
		if (i % 1000 == 0)
			fixture_check(&f);
	}
	while (nr-- > 0)
		ash_zone_free(f.z, pfn[nr], order[nr], CPU_NONE);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).free, (1u << 15) + 300);
	fixture_check(&f);
	fixture_end(&f);
}

TEST(zone_zeroed_travels)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 32, true), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT(g.zeroed);
	EXPECT_EQ(g.pfn, 0);
	ash_zone_free(f.z, 0, 0, CPU_NONE);
	EXPECT_EQ(stats(&f).free_zeroed, 16); /* the first block is no longer known to be zero, the second is */
	EXPECT_EQ(stats(&f).nr_free[5][ASH_MT_MOVABLE], 1);
	EXPECT_EQ(ash_zone_alloc(f.z, 5, ASH_MT_MOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT(!g.zeroed);
	ash_zone_free_run(f.z, 16, 16);
	EXPECT_EQ(stats(&f).free_zeroed, 0);
	fixture_end(&f);
}

TEST(zone_resident_before_zeroed)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 64, 4, 4, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 16, true), 0);
	EXPECT_EQ(ash_zone_online(f.z, 32, 16, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 4, ASH_MT_MOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT_EQ(g.pfn, 32);
	EXPECT(!g.zeroed);
	fixture_end(&f);
}

TEST(zone_alloc_refuses)
{
	struct fixture f;
	struct ash_page_grant g = { 7, true };

	fixture_init(&f, 32, 4, 4, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 32, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 5, ASH_MT_MOVABLE, 0, CPU_NONE, &g), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_HIGHATOMIC, 0, CPU_NONE, &g), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_ISOLATE, 0, CPU_NONE, &g), -ASH_EINVAL);
	EXPECT_EQ(g.pfn, 7);
	fixture_end(&f);
}

TEST(zone_bad_frees_change_nothing)
{
	struct fixture f;
	uint64_t digest;
	ash_pfn_t p;

	fixture_init(&f, 64, 4, 5, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	p = alloc_pages(&f, 2, ASH_MT_MOVABLE);
	EXPECT_EQ(p, 0);
	digest = ash_zone_digest(f.z);
	EXPECT_BUG(ash_zone_free(f.z, 0, 1, CPU_NONE));
	EXPECT_BUG(ash_zone_free(f.z, 0, 3, 0));
	EXPECT_BUG(ash_zone_free(f.z, 2, 1, 0));
	EXPECT_BUG(ash_zone_free(f.z, 1, 2, CPU_NONE));
	EXPECT_BUG(ash_zone_free(f.z, 32, 5, CPU_NONE));
	EXPECT_BUG(ash_zone_free(f.z, 64, 0, CPU_NONE));
	EXPECT_BUG(ash_zone_free(f.z, 0, 30, CPU_NONE));
	EXPECT_BUG(ash_zone_free_run(f.z, 0, 5));
	EXPECT_BUG(ash_zone_free_run(f.z, 60, 5));
	EXPECT_BUG(ash_zone_report_end(f.z, 0, 2, true));
	EXPECT(ash_zone_digest(f.z) == digest);
	ash_zone_free(f.z, 0, 2, 0);
	EXPECT_BUG(ash_zone_free(f.z, 0, 2, 0)); /* it is in the pcp now */
	ash_zone_drain(f.z);
	EXPECT_BUG(ash_zone_free(f.z, 0, 2, 0));
	fixture_end(&f);
}

TEST(zone_check_sees_damage)
{
	struct fixture f;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(ash_zone_check(f.z, NULL), 0);
	f.pageblocks[3] ^= 1; /* the type of a block inside the buddy at 32 */
	EXPECT_EQ(ash_zone_check(f.z, NULL), 1);
	f.pageblocks[3] ^= 1 ^ 4; /* MOVABLE -> not a mergeable type: 5 is never stored */
	EXPECT_EQ(ash_zone_check(f.z, NULL), 5);
	f.pageblocks[3] ^= 4;
	EXPECT_EQ(ash_zone_check(f.z, NULL), 0);
	f.pageblocks[0] ^= 0x10; /* an isolate bit nobody counted */
	EXPECT_NE(ash_zone_check(f.z, NULL), 0);
	f.pageblocks[0] ^= 0x10;
	fixture_end(&f);
}

TEST(zone_mixed_blocks)
{
	struct fixture f;
	uint64_t mixed[ASH_MT_NR];

	fixture_init(&f, 64, 3, 3, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 61, false), 0);
	/* Every block full of movable frames but for one frame each, too little to claim: UNMOVABLE must steal. */
	for (ash_pfn_t p = 0; p < 61; p++)
		EXPECT_NE(alloc_pages(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 0);
	ash_zone_free(f.z, 9, 0, CPU_NONE);
	ash_zone_free(f.z, 11, 0, CPU_NONE);
	ash_zone_free(f.z, 30, 0, CPU_NONE);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_NE(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), ASH_PFN_NONE);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 2); /* a block counts once */
	EXPECT_EQ(mixed[ASH_MT_UNMOVABLE], 0);
	EXPECT_EQ(stats(&f).extfrag_steal, 3);
	fixture_end(&f);
}

TEST(what_is_free_now_is_what_the_statistics_say)
{
	struct ash_zone_free now;
	struct fixture f;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 32, true), 0);
	EXPECT_EQ(ash_zone_online(f.z, 32, 32, false), 0);
	now = ash_zone_free_now(f.z);
	EXPECT_EQ(now.free, 64);
	EXPECT_EQ(now.blocks, 64);
	EXPECT_EQ(now.zeroed, 32);
	EXPECT_NE(alloc_pages(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
	now = ash_zone_free_now(f.z);
	EXPECT_EQ(now.free, 63);
	EXPECT_EQ(now.free, stats(&f).free);
	EXPECT_EQ(now.blocks, 48);
	fixture_end(&f);
}
