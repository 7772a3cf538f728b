/* SPDX-License-Identifier: MIT */
/*
 * How pcps adapt: what they ask the zone for, give to it and keep. [K nr_pcp_alloc, nr_pcp_free, nr_pcp_high,
 * decay_pcp_high; C c0a242394cb9, 6ccdcb6d3a74, 90b41691b988, 51a755c56dc0] and SIM. Sources are marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/pcp.h"
#include "page/watermark.h"
#include "scenario/scene.h"

#define BATCH 4
#define MIN 16
#define MAX 128

static struct scene s;
static const char blocks[] = "MMMMMMMMMMMMMMMM";

/* 512 frames, free but for `used`, which the caller lists. */
static void open_free(void)
{
	scene_open_edge(&s, 5, 6, blocks, 0, 0, 1);
	scene_free(&s, "0:6, 64:6, 128:6, 192:6, 256:6, 320:6, 384:6, 448:6");
	scene_pcp_marks(&s, BATCH, MIN, MAX);
}

static ash_pfn_t take(unsigned order)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };

	EXPECT_EQ(ash_zone_alloc(s.z, order, ASH_MT_MOVABLE, 0, 0, &grant), 0);
	return grant.pfn;
}

static struct ash_pcp_stats marks(void)
{
	struct ash_pcp_stats p;

	ash_zone_pcp_stats(s.z, 0, &p);
	return p;
}

/* How many frames the next refill brings: what is cached is taken first. */
static uint32_t next_refill(unsigned order)
{
	while (marks().count > 0)
		take(order);
	take(order);
	return marks().count + (1u << order);
}

TEST(refills_double_while_nothing_is_freed)
{
	open_free();
	EXPECT_EQ(marks().high, MIN);
	EXPECT_EQ(next_refill(0), BATCH);
	EXPECT_EQ(next_refill(0), 2 * BATCH);
	EXPECT_EQ(next_refill(0), 4 * BATCH);
	EXPECT_EQ(next_refill(0), 8 * BATCH);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(a_free_starts_refills_anew)
{
	open_free();
	EXPECT_EQ(next_refill(0), BATCH);
	EXPECT_EQ(next_refill(0), 2 * BATCH);
	while (marks().count > 0)
		take(0);
	ash_zone_free(s.z, take(0), 0, 0);
	EXPECT_EQ(next_refill(0), BATCH);
}

/* What was taken in a burst finds room when it comes back. */
TEST(refills_raise_the_high_mark_up_to_the_highest)
{
	ash_pfn_t pfn[200];

	open_free();
	for (unsigned i = 0; i < 200; i++) {
		pfn[i] = take(0);
		EXPECT_LE(marks().high, MAX);
		EXPECT_LE(marks().count, marks().high);
	}
	EXPECT_EQ(marks().high, MAX);
	EXPECT_EQ(s.z->pcps[0].tune.high, MAX);
	scene_mark(&s);
	for (unsigned i = 0; i < MAX - 64; i++)
		ash_zone_free(s.z, pfn[i], 0, 0);
	EXPECT_EQ(scene_stats(&s).free, s.before.free);
	EXPECT(scene_fault(&s) == NULL);
}

/* A burst of frees raises the mark by what was freed, and gives back more at a time. */
TEST(frees_raise_the_high_mark)
{
	scene_open_edge(&s, 5, 6, blocks, 0, 0, 1);
	scene_pcp_marks(&s, BATCH, MIN, MAX);
	for (ash_pfn_t pfn = 0; pfn < 256; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_EQ(marks().high, MAX);
	EXPECT_EQ(s.z->pcps[0].tune.high, MAX);
	EXPECT_LE(marks().count, MAX);
	EXPECT_EQ(scene_stats(&s).pcp + scene_stats(&s).free, 256);
	EXPECT(scene_fault(&s) == NULL);
}

/* Ours: what leaves first is at the end of a chain of frames, which is kept as long as the cache can hold. */
TEST(a_pcp_keeps_so_many_pieces)
{
	scene_open_edge(&s, 9, 10, "MMMMMMMMMMMMMMMM", 0, 0, 1);
	scene_pcp_marks(&s, 255, 1020, 8000);
	for (ash_pfn_t pfn = 0; pfn < 8000; pfn++)
		ash_zone_free(s.z, pfn, 0, 0);
	EXPECT_EQ(marks().high, 4096);
	EXPECT_LE(marks().count, 4096);
}

/* Where the highest mark is the lowest, it does not move. */
TEST(marks_without_room_stay)
{
	open_free();
	scene_pcp_marks(&s, BATCH, MIN, MIN);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(next_refill(0), BATCH);
	EXPECT_EQ(marks().high, MIN);
	while (marks().count > 0)
		take(0);
	for (ash_pfn_t pfn = 0; pfn < 100; pfn++) {
		if (ash_word_state(ash_frame_load(s.z->frames, pfn)) == ASH_FRAME_USED)
			ash_zone_free(s.z, pfn, 0, 0);
		EXPECT_LE(marks().count, MIN);
	}
}

/* [K ZONE_BELOW_HIGH] below the high watermark nothing more is kept than must be. */
TEST(a_zone_that_is_short_of_memory_lowers_the_mark)
{
	ash_pfn_t pfn[200];

	open_free();
	for (unsigned i = 0; i < 200; i++)
		pfn[i] = take(0);
	EXPECT_EQ(marks().high, MAX);
	ash_zone_set_watermarks(s.z, 400, 10);
	for (unsigned i = 0; i < 200; i++)
		ash_zone_free(s.z, pfn[i], 0, 0);
	EXPECT_EQ(marks().high, MIN);
	EXPECT_LE(marks().count, MIN);
	/* And does not raise it; one frame at a time where the watermark lets anything through at all. */
	ash_zone_set_watermarks(s.z, 0, 10);
	ash_zone_drain(s.z);
	atomic_store(&s.z->wmark[ASH_WMARK_HIGH], 600);
	for (unsigned i = 0; i < 50; i++)
		take(0);
	EXPECT_EQ(marks().high, MIN);
}

/* [K decay_pcp_high] what a burst has raised falls by an eighth at a time, and the cache with it. */
TEST(decay_lowers_the_mark_and_the_cache)
{
	ash_pfn_t pfn[200];

	open_free();
	for (unsigned i = 0; i < 200; i++)
		pfn[i] = take(0);
	for (unsigned i = 0; i < 200; i++)
		ash_zone_free(s.z, pfn[i], 0, 0);
	EXPECT_EQ(marks().high, MAX);
	ash_zone_pcp_decay(s.z);
	EXPECT_EQ(marks().high, MAX - MAX / 8);
	EXPECT_LE(marks().count, MAX - MAX / 8);
	for (unsigned i = 0; i < 100; i++)
		ash_zone_pcp_decay(s.z);
	EXPECT_LE(marks().high, MIN + 7);
	EXPECT_LE(marks().count, MIN + 7);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(a_drain_starts_the_mark_anew)
{
	open_free();
	for (unsigned i = 0; i < 200; i++)
		take(0);
	EXPECT_EQ(marks().high, MAX);
	ash_zone_drain(s.z);
	EXPECT_EQ(marks().high, MIN);
	EXPECT_EQ(next_refill(0), BATCH);
}

/* Large pieces come one by one first, and then in rows as well. */
TEST(large_pieces_come_in_rows)
{
	open_free();
	EXPECT_EQ(next_refill(4), 16);
	EXPECT_EQ(next_refill(4), 32);
	EXPECT_EQ(next_refill(4), 64);
	EXPECT(scene_fault(&s) == NULL);
}

/* A row out of one buddy leaves what taking one by one leaves: the same pieces, the same lists. */
static void row_like_one_by_one(unsigned order, unsigned nr)
{
	struct ash_taken row, one;
	char by_row[sizeof(s.text)];
	unsigned n = 0;

	for (unsigned way = 0; way < 2; way++) {
		scene_open_edge(&s, 3, 6, "MMMMMMMM", 0, 0, 0);
		scene_free(&s, "0:6");
		ash_zone_lock(s.z);
		if (way == 0) {
			n = ash_buddy_take_row(s.z, order, ASH_MT_MOVABLE, nr, &row);
			EXPECT_EQ(n, nr < 64u >> order ? nr : 64u >> order);
			EXPECT_EQ(row.pfn, 0);
			EXPECT_EQ(row.zeroed, 0);
			for (unsigned i = 0; i < n; i++)
				ash_frame_store(s.z->frames, row.pfn + (i << order),
						ash_frame_word(ASH_FRAME_USED, order, 0, 0));
		} else {
			for (unsigned i = 0; i < n; i++) {
				one = ash_buddy_take_smallest(s.z, order, ASH_MT_MOVABLE);
				EXPECT_EQ(one.pfn, i << order);
				ash_frame_store(s.z->frames, one.pfn, ash_frame_word(ASH_FRAME_USED, order, 0, 0));
			}
		}
		ash_zone_unlock(s.z);
		EXPECT(scene_fault(&s) == NULL);
		if (way == 0)
			strcpy(by_row, scene_freelist(&s));
		else
			EXPECT_STREQ(scene_freelist(&s), by_row);
	}
}

TEST(a_row_is_what_one_by_one_comes_to)
{
	for (unsigned order = 0; order <= 6; order++) {
		for (unsigned nr = 1; nr <= 70; nr++)
			row_like_one_by_one(order, nr);
	}
}

/* Some pageblocks zeroed and some not: each piece says of itself what is true, one at a time. */
TEST(a_row_out_of_mixed_pageblocks_is_one_piece)
{
	struct ash_taken row;

	scene_open_edge(&s, 3, 5, "MMMM", 0, 0, 0);
	scene_free(&s, "0:4");
	ash_zone_lock(s.z);
	for (ash_pfn_t pfn = 16; pfn < 32; pfn++)
		ash_frame_store(s.z->frames, pfn, 0);
	ash_buddy_free_range(s.z, 16, 32, ASH_FREE_ZEROED);
	EXPECT_EQ(ash_buddy_take_row(s.z, 1, ASH_MT_MOVABLE, 16, &row), 1);
	ash_frame_store(s.z->frames, row.pfn, ash_frame_word(ASH_FRAME_USED, 1, 0, 0));
	EXPECT_EQ(row.pfn, 0);
	EXPECT_EQ(row.zeroed, 0);
	ash_zone_unlock(s.z);
	EXPECT(scene_fault(&s) == NULL);
}

TEST(a_row_of_zeroed_pieces_says_so)
{
	struct ash_taken row;

	scene_open_edge(&s, 3, 5, "MMMM", 0, 0, 0);
	ash_zone_lock(s.z);
	for (ash_pfn_t pfn = 0; pfn < 32; pfn++)
		ash_frame_store(s.z->frames, pfn, 0);
	ash_buddy_free_range(s.z, 0, 32, ASH_FREE_ZEROED);
	EXPECT_EQ(ash_buddy_take_row(s.z, 4, ASH_MT_MOVABLE, 1, &row), 1);
	EXPECT_EQ(row.zeroed, 2);
	ash_frame_store(s.z->frames, row.pfn, ash_frame_word(ASH_FRAME_USED, 4, 0, 0));
	EXPECT_EQ(ash_buddy_take_row(s.z, 1, ASH_MT_MOVABLE, 3, &row), 3);
	EXPECT_EQ(row.zeroed, 1);
	for (unsigned i = 0; i < 3; i++)
		ash_frame_store(s.z->frames, row.pfn + 2 * i, ash_frame_word(ASH_FRAME_USED, 1, 0, 0));
	ash_zone_unlock(s.z);
	EXPECT(scene_fault(&s) == NULL);
	EXPECT_EQ(scene_stats(&s).free_zeroed, 8);
}
