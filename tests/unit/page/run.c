/* SPDX-License-Identifier: MIT */
/* Runs of any length: taken cheaply, freed in parts, grown in place. */
#include "fixture.h"

#include "base/bits.h"

TEST(run_exact_length_gives_tail_back)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_zone_stats s;

	fixture_init(&f, 64, 4, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, true), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 0);
	EXPECT(g.zeroed);
	s = stats(&f);
	EXPECT_EQ(s.free, 43);
	EXPECT_EQ(s.nr_free[0][ASH_MT_UNMOVABLE], 1); /* 21 */
	EXPECT_EQ(s.nr_free[1][ASH_MT_UNMOVABLE], 1); /* 22 */
	EXPECT_EQ(s.nr_free[3][ASH_MT_UNMOVABLE], 1); /* 24 */
	EXPECT_EQ(s.nr_free[5][ASH_MT_UNMOVABLE], 1); /* 32 */
	fixture_check(&f);
	ash_zone_free_run(f.z, 0, 21);
	EXPECT_EQ(stats(&f).nr_free[6][ASH_MT_UNMOVABLE], 1);
	fixture_end(&f);
}

TEST(run_freed_as_zeroed_is_granted_as_zeroed)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 64, 4, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 32, 0, ASH_MT_MOVABLE, 0, &g), 0);
	EXPECT(!g.zeroed);
	ash_zone_free_run_zeroed(f.z, g.pfn + 16, 16);
	EXPECT_EQ(stats(&f).free_zeroed, 16);
	fixture_check(&f);
	ash_zone_free_run(f.z, g.pfn, 16);
	EXPECT_EQ(stats(&f).free_zeroed, 16);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 64, 0, ASH_MT_MOVABLE, 0, &g), 0);
	EXPECT(!g.zeroed);
	ash_zone_free_run_zeroed(f.z, 0, 64);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 64, 0, ASH_MT_MOVABLE, 0, &g), 0);
	EXPECT(g.zeroed);
	fixture_check(&f);
	fixture_end(&f);
}

TEST(who_holds_the_lock_may_not_wait_for_it)
{
	struct fixture f;

	fixture_init(&f, 64, 4, 6, 0);
	EXPECT(ash_zone_may_wait(f.z));
	ash_zone_lock_all(f.z);
	EXPECT(!ash_zone_may_wait(f.z));
	ash_zone_unlock_all(f.z);
	EXPECT(ash_zone_may_wait(f.z));
	fixture_end(&f);
}

TEST(run_free_any_part)
{
	/* Every (start, length) of a run of 37, then the rest, must leave the zone as it began. */
	for (ash_pfn_t start = 0; start < 37; start++) {
		for (ash_pfn_t nr = 1; start + nr <= 37; nr++) {
			struct fixture f;
			struct ash_page_grant g;
			uint64_t before;

			fixture_init(&f, 128, 3, 6, 0);
			EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
			EXPECT_EQ(ash_zone_alloc_run(f.z, 64, 0, ASH_MT_MOVABLE, 0, &g), 0);
			ash_zone_free_run(f.z, 0, 64);
			before = ash_zone_digest(f.z);
			EXPECT_EQ(ash_zone_alloc_run(f.z, 37, 0, ASH_MT_MOVABLE, 0, &g), 0);
			ash_zone_free_run(f.z, g.pfn + start, nr);
			fixture_check(&f);
			EXPECT_EQ(stats(&f).free, 128 - 37 + nr);
			EXPECT_BUG(ash_zone_free_run(f.z, g.pfn + start, nr));
			if (start > 0)
				ash_zone_free_run(f.z, g.pfn, start);
			if (start + nr < 37)
				ash_zone_free_run(f.z, g.pfn + start + nr, 37 - start - nr);
			EXPECT(ash_zone_digest(f.z) == before);
			fixture_end(&f);
		}
	}
}

/* Looking at them all takes several holds of the lock: the frame that is not allocated is found before any has gone. */
TEST(run_of_many_pieces_goes_whole_or_not_at_all)
{
	struct fixture f;
	struct ash_page_grant g;
	uint64_t before;

	fixture_init(&f, 4096, 9, 11, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 4096, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 2, ASH_MT_UNMOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT_EQ(g.pfn, 0);
	for (ash_pfn_t pfn = 4; pfn < 4000; pfn++)
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, CPU_NONE, &g), 0);
	ash_zone_free(f.z, 3500, 0, CPU_NONE);
	before = ash_zone_digest(f.z);
	EXPECT_BUG(ash_zone_free_run(f.z, 2, 3998));
	EXPECT_EQ(ash_zone_digest(f.z), before);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT_EQ(g.pfn, 3500);
	ash_zone_free_run(f.z, 2, 3998);
	EXPECT_EQ(stats(&f).free, 4094);
	fixture_check(&f);
	ash_zone_free_run(f.z, 0, 2);
	EXPECT_EQ(stats(&f).free, 4096);
	fixture_check(&f);
	fixture_end(&f);
}

TEST(run_big_touches_few_heads)
{
	struct fixture f;
	struct ash_page_grant g;
	unsigned heads = 0;

	fixture_init(&f, 1u << 18, 9, 18, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1u << 18, true), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, (1u << 17) + 4097, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	for (size_t i = 0; i < 1u << 18; i++) {
		static const unsigned char zero[16];

		heads += memcmp((const char *)f.frames + i * 16, zero, 16) != 0;
	}
	EXPECT_LE(heads, 40);
	EXPECT_GE(heads, 3);
	ash_zone_free_run(f.z, g.pfn, (1u << 17) + 4097);
	fixture_end(&f);
}

TEST(run_above_max_order)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 256, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 256, false), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 100, 4, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn % 16, 0);
	EXPECT_EQ(stats(&f).free, 156);
	fixture_check(&f);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 256, 0, ASH_MT_UNMOVABLE, 0, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 257, 0, ASH_MT_UNMOVABLE, 0, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 0, 0, ASH_MT_UNMOVABLE, 0, &g), -ASH_EINVAL);
	fixture_end(&f);
}

TEST(run_from_neighbours_when_no_buddy_is_large_enough)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 64, 3, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 64, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	ash_zone_free_run(f.z, 24, 16); /* {24:3} and {32:3}: neighbours, not buddies */
	EXPECT_EQ(ash_zone_alloc_run(f.z, 12, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 24);
	EXPECT_EQ(stats(&f).free, 4);
	fixture_end(&f);
}

/* Two pageblocks of 64 frames, the first in use but for [start, end): a gap in memory that has been used. */
static void with_gap(struct fixture *f, ash_pfn_t start, ash_pfn_t end)
{
	struct ash_page_grant g;

	fixture_init(f, 128, 6, 6, 0);
	EXPECT_EQ(ash_zone_online(f->z, 0, 128, true), 0);
	EXPECT_EQ(ash_zone_alloc_run(f->z, 64, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 0);
	ash_zone_free_run(f->z, start, end - start);
}

/* Wherever a gap lies it holds every run that is not longer, and memory that was not used stays so. */
TEST(run_from_a_gap_that_is_no_buddy)
{
	for (ash_pfn_t start = 0; start < 64; start++) {
		for (ash_pfn_t end = start + 3; end <= 64 - (start == 0); end++) {
			struct fixture f;
			struct ash_page_grant g;

			with_gap(&f, start, end);
			EXPECT_EQ(ash_zone_alloc_run(f.z, end - start, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
			if (!ash_is_pow2(end - start)) {
				EXPECT_EQ(g.pfn, start);
				EXPECT(!g.zeroed);
				EXPECT_EQ(stats(&f).free_zeroed, 64);
			}
			ash_zone_free_run(f.z, g.pfn, end - start);
			EXPECT_EQ(stats(&f).free, 64 + end - start);
			fixture_end(&f);
		}
	}
}

TEST(run_takes_the_shortest_gap)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 1, 28); /* of 27 frames, */
	ash_zone_free_run(f.z, 40, 22); /* and of 22 */
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 40);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 1);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	fixture_end(&f);
}

/* A buddy that holds the run costs no search. One that is in memory, that is: new memory comes last. */
TEST(run_takes_a_buddy_in_memory_before_a_gap)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 1, 23);
	ash_zone_free_run(f.z, 32, 32);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 32);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 1);
	/* Of the second pageblock, now partly used, what is left is not in memory. */
	ash_zone_free_run(f.z, 1, 21);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 32, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 1);
	fixture_end(&f);
}

/* Which would leave much of the buddy, and no room in it for another run like it. */
TEST(run_that_half_fills_a_buddy_takes_a_gap_before)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 1, 23);
	ash_zone_free_run(f.z, 32, 32);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 20, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 1);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 20, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 32);
	fixture_end(&f);
}

/* Of 5 frames each, in 63 that were all used before: eleven. Nine, if each took a buddy where there is one. */
TEST(runs_that_half_fill_their_buddies_stand_side_by_side)
{
	struct fixture f;
	struct ash_page_grant g;
	unsigned nr = 0;

	with_gap(&f, 0, 63);
	do {
		EXPECT_EQ(ash_zone_alloc_run(f.z, 5, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
		nr += g.pfn < 64;
	} while (g.pfn < 64);
	EXPECT(nr >= 11);
	fixture_end(&f);
}

TEST(run_takes_a_gap_in_memory_before_a_shorter_one_that_is_not)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 1, 28); /* of 27 frames, */
	ash_zone_free_run_zeroed(f.z, 40, 22); /* and of 22 */
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 1);
	EXPECT(!g.zeroed);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 21, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 40);
	EXPECT(g.zeroed);
	fixture_end(&f);
}

TEST(run_in_a_gap_is_aligned)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 5, 31);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 23, 3, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 8);
	ash_zone_free_run(f.z, 8, 23);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 24, 3, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	fixture_end(&f);
}

/* Neither a gap of another type, nor one that only a whole free pageblock would make long enough. */
TEST(run_leaves_other_types_gaps_and_whole_pageblocks)
{
	struct fixture f;
	struct ash_page_grant g;

	with_gap(&f, 20, 44);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 23, 0, ASH_MT_MOVABLE, ASH_ALLOC_NOFRAGMENT, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	fixture_end(&f);
	with_gap(&f, 44, 64);
	/* The pageblock behind the gap is of the gap's type. */
	EXPECT_EQ(ash_zone_alloc_run(f.z, 64, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	ash_zone_free_run_zeroed(f.z, 64, 64);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 23, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 64);
	fixture_end(&f);
}

TEST(run_extend_all_or_nothing)
{
	struct fixture f;
	struct ash_page_grant g;
	uint64_t digest;
	bool zeroed = false;

	fixture_init(&f, 128, 4, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 128, true), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 5, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 0);
	EXPECT_EQ(ash_zone_extend_run(f.z, 5, 30, ASH_MT_UNMOVABLE, &zeroed), 0);
	EXPECT(zeroed);
	EXPECT_EQ(stats(&f).free, 128 - 35);
	fixture_check(&f);
	digest = ash_zone_digest(f.z);
	EXPECT_EQ(ash_zone_extend_run(f.z, 34, 2, ASH_MT_UNMOVABLE, &zeroed), -ASH_EBUSY);
	EXPECT_EQ(ash_zone_extend_run(f.z, 35, 94, ASH_MT_UNMOVABLE, &zeroed), -ASH_EBUSY);
	EXPECT(ash_zone_digest(f.z) == digest);
	EXPECT_EQ(ash_zone_extend_run(f.z, 35, 93, ASH_MT_UNMOVABLE, &zeroed), 0);
	EXPECT_EQ(stats(&f).free, 0);
	ash_zone_free_run(f.z, 0, 128);
	EXPECT_EQ(stats(&f).free, 128);
	fixture_end(&f);
}

TEST(run_extend_claims_by_the_half_rule_only)
{
	struct fixture f;
	struct ash_page_grant g;
	uint64_t digest;
	bool zeroed;

	fixture_init(&f, 32, 4, 4, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 32, false), 0);
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	EXPECT_EQ(ash_zone_alloc(f.z, 4, ASH_MT_UNMOVABLE, 0, CPU_NONE, &g), 0);
	EXPECT_EQ(g.pfn, 16);
	/* Frames 0-6 free, 9 movable frames left: a block that UNMOVABLE may not claim. */
	ash_zone_free_run(f.z, 0, 7);
	digest = ash_zone_digest(f.z);
	EXPECT_EQ(ash_zone_extend_run(f.z, 0, 4, ASH_MT_UNMOVABLE, &zeroed), -ASH_EBUSY);
	EXPECT(ash_zone_digest(f.z) == digest);
	ash_zone_free_run(f.z, 7, 1);
	EXPECT_EQ(ash_zone_extend_run(f.z, 0, 4, ASH_MT_UNMOVABLE, &zeroed), 0);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_UNMOVABLE], 2);
	EXPECT_EQ(stats(&f).nr_free[2][ASH_MT_UNMOVABLE], 1);
	fixture_end(&f);
}

TEST(report_shows_resident_once)
{
	struct fixture f;
	struct ash_zone_stats s;
	ash_pfn_t pfn;
	unsigned order;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_report_begin(f.z, 4, &pfn, &order), 0);
	EXPECT_EQ(order, 5);
	EXPECT_EQ(stats(&f).free, 32);
	fixture_check(&f);
	ash_zone_report_end(f.z, pfn, order, true);
	EXPECT_EQ(ash_zone_report_begin(f.z, 4, &pfn, &order), 0);
	ash_zone_report_end(f.z, pfn, order, true);
	EXPECT_EQ(ash_zone_report_begin(f.z, 4, &pfn, &order), -ASH_ENOSPC);
	s = stats(&f);
	EXPECT_EQ(s.free, 64);
	EXPECT_EQ(s.free_zeroed, 64);
	fixture_end(&f);
}

TEST(small_reports_are_of_partly_used_blocks_only)
{
	struct fixture f;
	struct ash_page_grant g;
	ash_pfn_t pfn;
	unsigned order;

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_report_begin_small(f.z, 0, &pfn, &order), -ASH_ENOSPC);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, ASH_CPU_NONE, &g), 0);
	for (unsigned want = 3; want-- > 1;) {
		EXPECT_EQ(ash_zone_report_begin_small(f.z, 1, &pfn, &order), 0);
		EXPECT_EQ(order, want);
		EXPECT_EQ(pfn >> 3, g.pfn >> 3);
		fixture_check(&f);
		ash_zone_report_end(f.z, pfn, order, true);
	}
	EXPECT_EQ(ash_zone_report_begin_small(f.z, 1, &pfn, &order), -ASH_ENOSPC);
	ash_zone_free(f.z, g.pfn, 0, ASH_CPU_NONE);
	EXPECT_EQ(stats(&f).free, 64);
	fixture_end(&f);
}

TEST(small_reports_need_blocks_of_several_frames)
{
	struct fixture f;
	ash_pfn_t pfn;
	unsigned order;

	fixture_init(&f, 64, 0, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_report_begin_small(f.z, 0, &pfn, &order), -ASH_ENOSPC);
	fixture_end(&f);
}

TEST(report_leaves_zeroed_neighbours_alone)
{
	struct fixture f;
	struct ash_page_grant g;
	ash_pfn_t pfn;
	unsigned order;

	fixture_init(&f, 256, 3, 8, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 256, true), 0);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 256, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT(g.zeroed);
	ash_zone_free_run(f.z, 0, 256);
	EXPECT_EQ(ash_zone_report_begin(f.z, 3, &pfn, &order), 0);
	EXPECT_EQ(order, 8);
	ash_zone_report_end(f.z, pfn, order, true);
	EXPECT_EQ(ash_zone_report_begin(f.z, 3, &pfn, &order), -ASH_ENOSPC);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 48, 0, ASH_MT_UNMOVABLE, 0, &g), 0);
	EXPECT(g.zeroed);
	ash_zone_free_run(f.z, 16, 32);
	ash_zone_free_run(f.z, 0, 16);
	EXPECT_EQ(stats(&f).nr_free[8][ASH_MT_UNMOVABLE], 1);
	EXPECT_EQ(stats(&f).free_zeroed, 256 - 48);
	fixture_check(&f);
	EXPECT_EQ(ash_zone_report_begin(f.z, 3, &pfn, &order), 0);
	EXPECT_EQ(pfn, 0);
	EXPECT_EQ(order, 5);
	fixture_check(&f);
	ash_zone_report_end(f.z, pfn, order, true);
	EXPECT_EQ(ash_zone_report_begin(f.z, 4, &pfn, &order), 0);
	EXPECT_EQ(pfn, 32);
	EXPECT_EQ(order, 4);
	ash_zone_report_end(f.z, pfn, order, true);
	EXPECT_EQ(ash_zone_report_begin(f.z, 3, &pfn, &order), -ASH_ENOSPC);
	EXPECT_EQ(stats(&f).free_zeroed, 256);
	fixture_end(&f);
}
