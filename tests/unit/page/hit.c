/* SPDX-License-Identifier: MIT */
/* Magazines: what is a hit and what must not be one, how much room they are lent, and that nothing is lost. */
#include "corners.h"

#include "page/hit.h"
#include "page/mover.h"
#include "page/offline.h"
#include "page/watermark.h"

static void set_marks(struct ash_zone *z, uint32_t batch, uint32_t high_min, uint32_t high_max)
{
	atomic_store(&z->pcp_batch, batch);
	atomic_store(&z->pcp_high_min, high_min);
	atomic_store(&z->pcp_high_max, high_max);
}

static void open_marked(struct fixture *f, uint32_t batch, uint32_t high)
{
	open_owned(f);
	set_marks(f->z, batch, high, high);
}

static ash_pfn_t take(struct fixture *f, unsigned order, enum ash_migratetype mt)
{
	struct ash_page_grant g = { .pfn = ASH_PFN_NONE };

	EXPECT_EQ(ash_zone_alloc(f->z, order, mt, 0, 0, &g), 0);
	return g.pfn;
}

static bool hit_alloc(struct fixture *f, unsigned order, enum ash_migratetype mt, ash_pfn_t *pfn)
{
	struct ash_page_grant g = { .pfn = ASH_PFN_NONE };
	const bool hit = ash_hit_alloc(f->z, ash_hit_pcp(f->z, 0), order, mt, &g);

	*pfn = g.pfn;
	return hit;
}

static bool hit_free(struct fixture *f, ash_pfn_t pfn, unsigned order)
{
	return ash_hit_free(f->z, ash_hit_pcp(f->z, 0), pfn, order);
}

/* Single frames, allocated past the pcp; the first of them are then freed into it. */
static void cache(struct fixture *f, ash_pfn_t *pfn, unsigned nr, unsigned freed)
{
	for (unsigned i = 0; i < nr; i++)
		pfn[i] = alloc_pages(f, 0, ASH_MT_MOVABLE);
	for (unsigned i = 0; i < freed; i++)
		ash_zone_free(f->z, pfn[i], 0, 0);
}

TEST(a_pair_is_a_hit)
{
	struct fixture f;
	ash_pfn_t pfn, again;

	open_marked(&f, 3, 32);
	pfn = take(&f, 0, ASH_MT_MOVABLE);
	EXPECT(hit_free(&f, pfn, 0));
	EXPECT(hit_alloc(&f, 0, ASH_MT_MOVABLE, &again));
	EXPECT_EQ(again, pfn);
	/* What is free, of another order, foreign or inside a piece is none, and is left for the slow way to report. */
	EXPECT(hit_free(&f, pfn, 0));
	EXPECT(!hit_free(&f, pfn, 0));
	EXPECT(!hit_free(&f, f.z->nr_frames, 0));
	EXPECT(!hit_free(&f, ASH_PFN_NONE, 0));
	pfn = take(&f, 2, ASH_MT_MOVABLE);
	EXPECT(!hit_free(&f, pfn, 1));
	EXPECT(!hit_free(&f, pfn + 1, 0));
	EXPECT(!hit_free(&f, pfn, 40));
	EXPECT(!hit_alloc(&f, 40, ASH_MT_MOVABLE, &again));
	EXPECT(!hit_alloc(&f, 0, ASH_MT_UNMOVABLE, &again));
	fixture_end(&f);
}

/* Marks of one piece, as a disabled pcp has them, and as whoever wants one at a time. */
TEST(a_batch_of_one_fetches_one)
{
	struct fixture f;

	open_marked(&f, 1, 32);
	EXPECT_NE(take(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
	EXPECT_EQ(stats(&f).pcp, 0);
	set_marks(f.z, 4, 32, 32);
	EXPECT_NE(take(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
	EXPECT_EQ(stats(&f).pcp, 3);
	fixture_end(&f);
}

/* Who only allocates gets twice as much each time, up to what one lock hold may take. */
TEST(refills_double_up_to_a_bound)
{
	static const unsigned expected[] = { 63, 126, 252, 256, 256 };
	struct fixture f;

	fixture_init(&f, 4096, 9, 10, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 4096, false), 0);
	set_marks(f.z, 63, 252, 4000);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(expected); i++) {
		EXPECT_EQ(stats(&f).pcp, 0);
		for (unsigned n = expected[i]; n > 0; n--) {
			EXPECT_NE(take(&f, 0, ASH_MT_MOVABLE), ASH_PFN_NONE);
			EXPECT_EQ(stats(&f).pcp, n - 1);
		}
	}
	fixture_end(&f);
}

/* Where the mark is not much above a batch, a full pcp gives a batch and no more. */
TEST(a_low_mark_gives_a_batch)
{
	struct fixture f;
	ash_pfn_t pfn[40];
	uint64_t before = 0;

	open_owned(&f);
	set_marks(f.z, 8, 4, 12);
	cache(&f, pfn, 40, 0);
	for (unsigned i = 0; i < 40; i++) {
		ash_zone_free(f.z, pfn[i], 0, 0);
		EXPECT(stats(&f).pcp == before + 1 || stats(&f).pcp + 8 == before + 1);
		before = stats(&f).pcp;
		EXPECT_LE(before, 12);
	}
	EXPECT_GT(before, 4);
	fixture_end(&f);
}

/* By batches, each in a lock hold of its own, down to what may stay. */
TEST(a_trim_goes_on_until_it_is_low_enough)
{
	struct fixture f;
	ash_pfn_t pfn[24];

	open_marked(&f, 4, 40);
	cache(&f, pfn, 24, 24);
	EXPECT_EQ(stats(&f).pcp, 24);
	ash_pcp_trim(f.z, &f.z->pcps[0], 6);
	EXPECT_EQ(stats(&f).pcp, 4);
	ash_pcp_trim(f.z, &f.z->pcps[0], 6);
	EXPECT_EQ(stats(&f).pcp, 4);
	fixture_end(&f);
}

/* Hot first, over the border between a magazine and its list. */
TEST(last_in_first_out_over_many_magazines)
{
	struct fixture f;
	ash_pfn_t pfn[60];

	open_marked(&f, 60, 100);
	for (unsigned i = 0; i < 60; i++)
		pfn[i] = take(&f, 0, ASH_MT_MOVABLE);
	for (unsigned i = 0; i < 60; i++) {
		ash_zone_free(f.z, pfn[i], 0, 0);
		fixture_check(&f);
	}
	for (unsigned i = 60; i-- > 0;) {
		EXPECT_EQ(take(&f, 0, ASH_MT_MOVABLE), pfn[i]);
		fixture_check(&f);
	}
	fixture_end(&f);
}

/* What goes to the zone when a pcp is full is what was freed first. */
TEST(the_coldest_leave_first)
{
	struct fixture f;
	ash_pfn_t pfn[40];

	open_marked(&f, 4, 30);
	cache(&f, pfn, 40, 31);
	EXPECT_EQ(stats(&f).pcp, 27);
	for (unsigned i = 0; i < 40; i++) {
		const enum ash_frame_state state = ash_word_state(ash_frame_load(f.z->frames, pfn[i]));

		EXPECT_EQ(state == ASH_FRAME_PCP, i >= 4 && i < 31);
		EXPECT_EQ(state == ASH_FRAME_USED, i >= 31);
	}
	fixture_end(&f);
}

/* How a list is walked from its cold end: each piece says which comes seven later, for all that were spilled so far. */
TEST(the_cold_end_names_what_comes_later)
{
	static const struct ash_shrinker_ops shrinker;
	ash_pfn_t pfn[60];
	struct fixture f;

	open_marked(&f, 60, 100);
	for (unsigned i = 0; i < 60; i++)
		pfn[i] = take(&f, 0, ASH_MT_MOVABLE);
	for (unsigned i = 0; i < 60; i++)
		ash_zone_free(f.z, pfn[i], 0, 0);
	for (unsigned i = 0; i < 42; i++)
		EXPECT_EQ(ash_frame_at(f.z->frames, pfn[i])->private, pfn[i + 7]);
	/* Where somebody may be asked about what he has just freed, his word is left alone. */
	f.ops.shrinker = &shrinker;
	for (unsigned i = 0; i < 60; i++) {
		pfn[i] = take(&f, 0, ASH_MT_MOVABLE);
		ash_zone_set_private(f.z, pfn[i], 1000 + i);
	}
	for (unsigned i = 0; i < 60; i++)
		ash_zone_free(f.z, pfn[i], 0, 0);
	for (unsigned i = 0; i < 60; i++)
		EXPECT_EQ(ash_zone_private(f.z, pfn[i]), 1000 + i);
	fixture_end(&f);
}

/* Also out of a magazine that has no list behind it: the others move up, and come out hot first. */
TEST(the_coldest_of_a_magazine_leave_first)
{
	struct fixture f;
	ash_pfn_t pfn[9];

	open_marked(&f, 4, 8);
	cache(&f, pfn, 9, 9);
	EXPECT_EQ(stats(&f).pcp, 5);
	for (unsigned i = 9; i-- > 4;)
		EXPECT_EQ(take(&f, 0, ASH_MT_MOVABLE), pfn[i]);
	EXPECT_EQ(stats(&f).pcp, 0);
	fixture_end(&f);
}

/* What one magazine has been lent is not filled by a refill of another. */
TEST(a_refill_reckons_with_what_is_lent)
{
	struct fixture f;
	unsigned nr = 0;

	open_owned(&f);
	set_marks(f.z, 4, 16, 24);
	for (unsigned i = 0; i < 8; i++)
		take(&f, 0, ASH_MT_UNMOVABLE);
	for (struct ash_page_grant g; ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g) == 0; nr++) {
		EXPECT_LE(ash_pcp_charged(f.pcps), 24);
		if (nr % 16 == 0)
			take(&f, 0, ASH_MT_UNMOVABLE);
	}
	EXPECT_GE(nr, 64);
	fixture_end(&f);
}

/* More at once than is looked ahead, and none of them buddies: every other frame. */
TEST(a_long_batch_leaves_whole)
{
	struct fixture f;
	unsigned nr = 0;

	open_marked(&f, 63, 100);
	while (alloc_pages(&f, 0, ASH_MT_MOVABLE) != ASH_PFN_NONE)
		nr++;
	EXPECT_EQ(nr, 116);
	for (ash_pfn_t pfn = 0; pfn < 116; pfn += 2)
		ash_zone_free(f.z, pfn, 0, 0);
	EXPECT_EQ(stats(&f).pcp, 58);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(stats(&f).nr_free[0][ASH_MT_MOVABLE], 58);
	fixture_check(&f);
	for (ash_pfn_t pfn = 1; pfn < 116; pfn += 2)
		ash_zone_free(f.z, pfn, 0, 0);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).free, 116);
	EXPECT_EQ(stats(&f).nr_free[0][ASH_MT_MOVABLE], 0);
	fixture_end(&f);
}

/* Room is lent out of what is below the high mark, and only so: frees that are hits cannot carry a pcp beyond it. */
TEST(room_is_lent_below_the_high_mark)
{
	struct fixture f;
	ash_pfn_t pfn[2][128];
	unsigned nr[2] = { 0, 0 };
	uint32_t rng = 1;

	open_marked(&f, 4, 24);
	for (unsigned i = 0; i < 20000; i++) {
		const unsigned order = (rng = rng * 1664525 + 1013904223) >> 30 & 1;
		const uint32_t before = ash_pcp_charged(f.pcps);
		struct ash_page_grant g;

		if ((rng >> 20 & 7) < (i >> 8 & 7) && nr[order] > 0) {
			ash_zone_free(f.z, pfn[order][--nr[order]], order, 0);
			EXPECT_LE(ash_pcp_charged(f.pcps), before > 24 + 1 ? before : 24 + 1);
		} else if (ash_zone_alloc(f.z, order, (enum ash_migratetype)(rng >> 18 & 1), 0, 0, &g) == 0) {
			pfn[order][nr[order]++] = g.pfn;
		}
		EXPECT_LE(ash_pcp_frames(f.pcps), ash_pcp_charged(f.pcps));
		if (i % 64 == 0)
			fixture_check(&f);
	}
	fixture_end(&f);
}

/* A pcp grows with what is asked of it, but not where the zone is short of its high mark. */
TEST(a_pcp_does_not_grow_below_the_high_mark)
{
	static const struct {
		uint64_t min;
		unsigned scale;
		bool grows;
	} marks[] = { { 0, 0, true }, { 1, 100, true }, { 1, 10000, false } };

	for (unsigned i = 0; i < ASH_ARRAY_LEN(marks); i++) {
		struct fixture f;

		open_owned(&f);
		set_marks(f.z, 4, 4, 64);
		ash_zone_set_watermarks(f.z, marks[i].min, marks[i].scale);
		for (unsigned n = 0; n < 40; n++)
			(void)take(&f, 0, ASH_MT_MOVABLE);
		EXPECT_EQ(ash_pcp_high(f.z, f.pcps) > 4, marks[i].grows);
		fixture_end(&f);
	}
}

/* I6: what users took and gave is counted, by hits and otherwise, whatever becomes of the magazines. */
TEST(hits_are_counted)
{
	struct fixture f;
	uint64_t taken = 0;
	ash_pfn_t pfn[50];

	open_marked(&f, 4, 30);
	for (unsigned round = 0; round < 20; round++) {
		const unsigned order = round % 3, nr = 50 >> order;

		for (unsigned i = 0; i < nr; i++)
			pfn[i] = take(&f, order, ASH_MT_MOVABLE);
		taken += (uint64_t)nr << order;
		EXPECT_EQ(stats(&f).pgalloc, taken);
		for (unsigned i = 0; i < nr; i++)
			ash_zone_free(f.z, pfn[i], order, 0);
		EXPECT_EQ(stats(&f).pgfree, taken);
		if (round % 4 == 0)
			ash_zone_drain(f.z);
		EXPECT_EQ(stats(&f).pgfree, taken);
		EXPECT_EQ(stats(&f).pgalloc, taken);
	}
	fixture_end(&f);
}

/* T26: a drain takes the room with it, and while pcps are off nobody gets any, whoever refills. */
TEST(T26_no_hit_after_a_drain_nor_while_pcps_are_off)
{
	struct fixture f;
	ash_pfn_t a, b, c;

	open_marked(&f, 4, 32);
	a = take(&f, 0, ASH_MT_MOVABLE);
	b = take(&f, 0, ASH_MT_MOVABLE);
	c = take(&f, 0, ASH_MT_MOVABLE);
	ash_zone_drain(f.z);
	EXPECT_EQ(ash_pcp_charged(f.pcps), 0);
	EXPECT(!hit_free(&f, a, 0));
	ash_zone_free(f.z, a, 0, 0);
	ash_zone_free(f.z, b, 0, 0);
	EXPECT_EQ(stats(&f).pcp, 2);
	EXPECT(hit_free(&f, c, 0));
	ash_zone_pcp_disable(f.z);
	EXPECT_EQ(stats(&f).pcp, 0);
	a = take(&f, 0, ASH_MT_MOVABLE);
	EXPECT(!hit_free(&f, a, 0));
	ash_zone_free(f.z, a, 0, 0);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(ash_pcp_charged(f.pcps), 0);
	ash_zone_pcp_enable(f.z);
	fixture_end(&f);
}

/* Somebody else inside, or the owner itself below a signal handler. */
TEST(no_hit_while_somebody_is_inside)
{
	struct fixture f;
	ash_pfn_t pfn, got;

	open_marked(&f, 4, 32);
	pfn = take(&f, 0, ASH_MT_MOVABLE);
	ash_lock(&f.pcps[0].lock, NULL);
	EXPECT(!hit_free(&f, pfn, 0));
	EXPECT(!hit_alloc(&f, 0, ASH_MT_MOVABLE, &got));
	ash_unlock(&f.pcps[0].lock, NULL);
	atomic_store(&f.pcps[0].busy, 1);
	EXPECT(!hit_free(&f, pfn, 0));
	EXPECT(!hit_alloc(&f, 0, ASH_MT_MOVABLE, &got));
	EXPECT_EQ(atomic_load(&f.pcps[0].busy), 1);
	atomic_store(&f.pcps[0].busy, 0);
	EXPECT(hit_free(&f, pfn, 0));
	fixture_end(&f);
}

/* A piece of two pageblocks may have two types: it is looked at before it is cached. */
TEST(two_pageblocks_are_no_hit_on_the_way_in)
{
	struct fixture f;
	ash_pfn_t pfn, got;

	open_marked(&f, 16, 64);
	pfn = take(&f, 4, ASH_MT_MOVABLE);
	ash_zone_free(f.z, pfn, 4, 0);
	EXPECT(hit_alloc(&f, 4, ASH_MT_MOVABLE, &got));
	EXPECT_EQ(got, pfn);
	EXPECT(!hit_free(&f, pfn, 4));
	ash_zone_free(f.z, pfn, 4, 0);
	EXPECT_GE(stats(&f).pcp, 16);
	fixture_end(&f);
}

/* T24: CMA frames ride the MOVABLE lists, and are for those only who may have them; nobody else is in their way. */
TEST(T24_cma_is_no_hit_for_movable_requests)
{
	struct fixture f;
	ash_pfn_t movable, unmovable, got;

	open_marked(&f, 4, 32);
	movable = take(&f, 0, ASH_MT_MOVABLE);
	unmovable = take(&f, 0, ASH_MT_UNMOVABLE);
	ash_zone_free(f.z, movable, 0, 0);
	ash_zone_free(f.z, unmovable, 0, 0);
	atomic_store(&f.z->cma_borrower, ASH_MT_MOVABLE);
	EXPECT(!hit_alloc(&f, 0, ASH_MT_MOVABLE, &got));
	EXPECT(hit_alloc(&f, 0, ASH_MT_UNMOVABLE, &got));
	EXPECT_EQ(got, unmovable);
	atomic_store(&f.z->cma_borrower, ASH_MT_NR);
	EXPECT(hit_alloc(&f, 0, ASH_MT_MOVABLE, &got));
	EXPECT_EQ(got, movable);
	fixture_end(&f);
}

/* [K isolate_freepages] frees into isolated pageblocks are for the isolator. */
TEST(T22_isolated_frames_are_no_hit)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_marked(&f, 4, 32);
	pfn = take(&f, 0, ASH_MT_MOVABLE);
	ash_zone_lock(f.z);
	ash_pageblock_set_isolated(f.z, ash_pageblock_start(f.z, pfn), true);
	ash_zone_unlock(f.z);
	EXPECT(!hit_free(&f, pfn, 0));
	ash_zone_lock(f.z);
	ash_pageblock_set_isolated(f.z, ash_pageblock_start(f.z, pfn), false);
	ash_zone_unlock(f.z);
	EXPECT(hit_free(&f, pfn, 0));
	/* The blocks of what is free were told as isolated meanwhile: that is mended by now. */
	ash_zone_drain(f.z);
	fixture_end(&f);
}

/* Where every operation has more to do, or slots have several users, there are no hits to be had. */
TEST(zones_without_hits)
{
	struct fixture f;

	open_zone(&f);
	EXPECT(ash_hit_pcp(f.z, 0) == NULL);
	fixture_end(&f);
	open_owned(&f);
	EXPECT(ash_hit_pcp(f.z, 0) == &f.pcps[0]);
	EXPECT(ash_hit_pcp(f.z, 1) == NULL);
	EXPECT(ash_hit_pcp(f.z, ASH_CPU_NONE) == NULL);
	fixture_end(&f);
}

/* What is known to be zeroed is so once. */
TEST(a_hit_knows_what_is_zeroed)
{
	struct ash_page_grant g[3], again;
	struct fixture f;

	open_owned_zone(&f, 128, true);
	set_marks(f.z, 8, 32, 32);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g[i]), 0);
		EXPECT(g[i].zeroed);
	}
	ash_zone_free(f.z, g[1].pfn, 0, 0);
	EXPECT(ash_hit_alloc(f.z, f.pcps, 0, ASH_MT_MOVABLE, &again));
	EXPECT_EQ(again.pfn, g[1].pfn);
	EXPECT(!again.zeroed);
	EXPECT(ash_hit_alloc(f.z, f.pcps, 0, ASH_MT_MOVABLE, &again));
	EXPECT(again.zeroed);
	fixture_end(&f);
}
