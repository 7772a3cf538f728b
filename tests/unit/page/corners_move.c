/* SPDX-License-Identifier: MIT */
/* Corners: movers that misbehave, pieces freed while they move, compaction's own calls. */
#include "corners.h"

#include "page/compact.h"
#include "page/migrate.h"
#include "page/run.h"

/* --- Movers that misbehave, and what came out of a pcp --- */

static unsigned asked;

static int agree(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn ASH_UNUSED, unsigned order ASH_UNUSED)
{
	return 0;
}

static int ask_again(struct ash_zone *z ASH_UNUSED, ash_pfn_t dst ASH_UNUSED, ash_pfn_t src ASH_UNUSED,
		     unsigned order ASH_UNUSED)
{
	asked++;
	return -ASH_EAGAIN;
}

static void leave(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn ASH_UNUSED, unsigned order ASH_UNUSED)
{
}

TEST(a_mover_that_always_asks_for_another_try)
{
	static const struct ash_mover_ops mover = { agree, ask_again, leave };
	enum ash_busy_reason why;
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	f.ops.mover = &mover;
	pfn = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	asked = 0;
	REFUSED(&f, ASH_EBUSY, ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why));
	EXPECT_EQ(why, ASH_BUSY_PINNED);
	EXPECT(asked > 1 && asked < 100);
	EXPECT_EQ(stats(&f).pgmigrate_fail, 1);
	/* One that is being moved already is not anybody else's to move. */
	ash_frame_store(f.frames, pfn, ash_frame_word(ASH_FRAME_USED, 0, ASH_MT_MOVABLE, ASH_FRAME_MOVING));
	asked = 0;
	REFUSED(&f, ASH_EBUSY, ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why));
	EXPECT_EQ(asked, 0);
	ash_frame_store(f.frames, pfn, ash_frame_word(ASH_FRAME_USED, 0, ASH_MT_MOVABLE, 0));
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	fixture_end(&f);
}

/* Freed in the middle of a run: its own free waits until the move is over, and those around it do not. */
TEST(a_piece_that_is_being_moved_in_a_run)
{
	const uint32_t used = ash_frame_word(ASH_FRAME_USED, 0, ASH_MT_MOVABLE, 0);
	const uint32_t moving = used | ash_frame_word(0, 0, 0, ASH_FRAME_MOVING);
	struct fixture f;
	uint64_t before;
	ash_pfn_t pfn;

	open_zone(&f);
	before = ash_zone_digest(f.z);
	for (ash_pfn_t i = 0; i < 8; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE) & 7, i);
	pfn = 2;
	while (ash_frame_load(f.frames, pfn) != used || (pfn & 7) != 2)
		pfn++;
	ash_frame_store(f.frames, pfn, moving);
	ash_zone_free_run(f.z, pfn - 2, 8);
	EXPECT_EQ(ash_frame_load(f.frames, pfn), moving | ash_frame_word(0, 0, 0, ASH_FRAME_FREE_PENDING));
	EXPECT_EQ(stats(&f).free, stats(&f).present - 1);
	EXPECT_BUG(ash_zone_free_run(f.z, pfn, 1));
	ash_frame_store(f.frames, pfn, used);
	ash_zone_free_run(f.z, pfn, 1);
	EXPECT_EQ(ash_zone_digest(f.z), before);
	fixture_end(&f);
}

/* A zone that has no ops at all, or no mover. */
TEST(nothing_moves_without_a_mover)
{
	enum ash_busy_reason why;
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	pfn = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	REFUSED(&f, ASH_EBUSY, ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why));
	EXPECT(!ash_migrate_possible(f.z, ASH_MT_RECLAIMABLE));
	f.z->ops = NULL;
	REFUSED(&f, ASH_EBUSY, ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why));
	EXPECT(!ash_migrate_possible(f.z, ASH_MT_RECLAIMABLE));
	f.z->ops = &f.ops;
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	fixture_end(&f);
}

/* Isolation is not synchronised with the pcps: what was cached can be allocated once more, as what does not move. */
TEST(a_frame_that_came_out_of_a_pcp_since)
{
	struct ash_busy busy;
	struct ash_busy_list list = { &busy, 1, 0 };
	struct ash_page_grant g;
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, 0, &g), 0);
	pfn = g.pfn;
	ash_zone_free(f.z, pfn, 0, 0);
	EXPECT_EQ(ash_zone_isolate_range(f.z, pfn & ~7u, 8, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, 0, &g), 0);
	EXPECT_EQ(g.pfn, pfn);
	EXPECT_EQ(ash_migrate_range(f.z, pfn & ~7u, (pfn & ~7u) + 8, &list), -ASH_EBUSY);
	EXPECT_EQ(list.nr, 1);
	EXPECT_EQ(busy.pfn, pfn);
	EXPECT_EQ(busy.why, ASH_BUSY_UNMOVABLE);
	ash_zone_unisolate_range(f.z, pfn & ~7u, 8);
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	/* The range is takeable for its new owner only while it is isolated. */
	ash_zone_lock(f.z);
	EXPECT(!ash_run_takeable(f.z, 64, 72, ASH_MT_ISOLATE, 0));
	ash_zone_unlock(f.z);
	fixture_end(&f);
}

static void free_as_a_run(struct ash_zone *z, ash_pfn_t src, unsigned order)
{
	/* Half of it can go only when the move is over. */
	EXPECT_BUG(ash_zone_free_run(z, src, 1));
	EXPECT_BUG(ash_zone_free_run(z, src + 1, 1));
	ash_zone_free_run(z, src, 1u << order);
	EXPECT_BUG(ash_zone_free_run(z, src, 1u << order));
}

static void free_without_the_lock_twice(struct ash_zone *z, ash_pfn_t src, unsigned order)
{
	ash_zone_lock(z);
	ash_zone_free_trylock(z, src, order, CPU_NONE);
	EXPECT_BUG(ash_zone_free_trylock(z, src, order, CPU_NONE));
	ash_zone_unlock(z);
}

/* The same by a signal handler that finds the zone lock taken. */
TEST(a_piece_freed_twice_while_it_moves)
{
	enum ash_busy_reason why;
	struct fixture f;
	ash_pfn_t pfn;

	owner_init(&f, 128, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
	pfn = owner.handle[owner_alloc(&f, 1)].pfn;
	owner.during = free_without_the_lock_twice;
	owner.fail_migrate = true;
	EXPECT_EQ(ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why), 0);
	EXPECT_EQ(stats(&f).free, 128);
	/* What was never MOVABLE is not even asked for. */
	owner.during = NULL;
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(ash_migrate_piece(f.z, pfn, ash_migrate_target_any, NULL, &why), -ASH_EBUSY);
	EXPECT_EQ(owner.refused, 0);
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	fixture_end(&f);
}

TEST(a_run_freed_while_it_moves)
{
	struct ash_page_grant g;
	struct fixture f;
	unsigned i;

	owner_init(&f, 128, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
	i = owner_alloc(&f, 1);
	owner.during = free_as_a_run;
	owner.fail_migrate = true;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 0, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), 0);
	owner.handle[i].pfn = ASH_PFN_NONE;
	ash_zone_free_run(f.z, 0, 8);
	EXPECT_EQ(stats(&f).free, 128);
	EXPECT_EQ(stats(&f).pgfree, stats(&f).pgalloc);
	fixture_end(&f);
}

/* More pieces than are freed in one lock hold. */
TEST(a_long_run_of_small_pieces_is_freed_in_batches)
{
	struct fixture f;

	open_zone(&f);
	for (ash_pfn_t i = 0; i < 128; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	ash_zone_free_run(f.z, 0, 127);
	fixture_check(&f);
	EXPECT_EQ(stats(&f).free, 127);
	ash_zone_free_run(f.z, 127, 1);
	EXPECT_EQ(stats(&f).nr_free[5][ASH_MT_MOVABLE], 4);
	fixture_end(&f);
}

/* A run above max_order: the search gives up after so many buddies, whatever stands behind them. */
TEST(a_search_for_neighbours_gives_up)
{
	struct ash_page_grant g;
	struct fixture f;

	fixture_init(&f, 4100, 0, 0, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 4100, false), 0);
	for (ash_pfn_t i = 0; i < 4100; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	ash_zone_free(f.z, 4098, 0, CPU_NONE);
	ash_zone_free(f.z, 4099, 0, CPU_NONE);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 2, 0, ASH_MT_MOVABLE, 0, &g), 0);
	EXPECT_EQ(g.pfn, 4098);
	ash_zone_free_run(f.z, 4098, 2);
	for (ash_pfn_t i = 0; i < 4098; i += 2)
		ash_zone_free(f.z, i, 0, CPU_NONE);
	REFUSED(&f, ASH_ENOMEM, ash_zone_alloc_run(f.z, 2, 0, ASH_MT_MOVABLE, 0, &g));
	fixture_end(&f);
}

/* --- Compaction's own calls --- */

TEST(a_free_page_of_whole_blocks_becomes_movable)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	pfn = alloc_pages(&f, 4, ASH_MT_UNMOVABLE);
	ash_zone_free(f.z, pfn, 4, CPU_NONE);
	EXPECT(stats(&f).pageblocks[ASH_MT_UNMOVABLE] > 0);
	EXPECT(ash_zone_isolate_free_page(f.z, pfn) >= 4);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_UNMOVABLE], 0);
	ash_zone_putback_free_page(f.z, pfn, ash_word_order(ash_frame_load(f.frames, pfn)));
	fixture_check(&f);
	/* Less than half a pageblock: it stays what it is. */
	pfn = alloc_pages(&f, 1, ASH_MT_RECLAIMABLE);
	EXPECT_EQ(ash_zone_isolate_free_page(f.z, pfn ^ 2), 1);
	EXPECT_EQ(ash_pageblock_type(f.z, pfn), ASH_MT_RECLAIMABLE);
	ash_zone_putback_free_page(f.z, pfn ^ 2, 1);
	ash_zone_free(f.z, pfn, 1, CPU_NONE);
	/* A whole one that is MOVABLE already, and one of a type that is no request's. */
	EXPECT_EQ(ash_zone_isolate_free_page(f.z, 96), 5);
	ash_zone_putback_free_page(f.z, 96, 5);
	pfn = alloc_pages(&f, 3, ASH_MT_MOVABLE);
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, pfn, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	ash_zone_free(f.z, pfn, 3, CPU_NONE);
	EXPECT_EQ(ash_zone_isolate_free_page(f.z, pfn), 3);
	EXPECT_EQ(ash_pageblock_type(f.z, pfn), ASH_MT_CMA);
	ash_zone_putback_free_page(f.z, pfn, 3);
	/* Half of one. */
	pfn = alloc_pages(&f, 2, ASH_MT_RECLAIMABLE);
	EXPECT_EQ(ash_zone_isolate_free_page(f.z, pfn ^ 4), 2);
	EXPECT_EQ(ash_pageblock_type(f.z, pfn), ASH_MT_MOVABLE);
	ash_zone_putback_free_page(f.z, pfn ^ 4, 2);
	ash_zone_free(f.z, pfn, 2, CPU_NONE);
	fixture_end(&f);
}

TEST(deferral_outlives_a_success_that_allocated_nothing)
{
	struct fixture f;

	open_zone(&f);
	ash_zone_compact_defer(f.z, 2);
	ash_zone_compact_defer(f.z, 2);
	ash_zone_compact_defer_reset(f.z, 3, false);
	EXPECT(!ash_zone_compact_deferred(f.z, 3));
	EXPECT(ash_zone_compact_deferred(f.z, 4));
	ash_zone_compact_defer_reset(f.z, 4, true);
	EXPECT(!ash_zone_compact_deferred(f.z, 5));
	fixture_end(&f);
}

/* The mode that gives up a range at its first failure does so only where there is a range. */
TEST(compaction_of_everything_passes_over_what_stays)
{
	static const struct ash_mover_ops mover = { agree, ask_again, leave };
	struct ash_compact_stats all = { 0 }, one = { 0 };
	struct fixture f;

	open_zone(&f);
	f.ops.mover = &mover;
	for (ash_pfn_t i = 0; i < 128; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	for (ash_pfn_t i = 0; i < 128; i += i < 64 ? 8 : 2)
		ash_zone_free(f.z, i, 0, CPU_NONE);
	EXPECT_EQ(ash_zone_compact(f.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_ASYNC, &all),
		  ASH_COMPACT_COMPLETE);
	EXPECT_EQ(all.moved, 0);
	f.z->compact.restart = true;
	EXPECT_EQ(ash_zone_compact(f.z, 3, ASH_MT_MOVABLE, ASH_COMPACT_ASYNC, &one), ASH_COMPACT_COMPLETE);
	EXPECT_EQ(one.moved, 0);
	EXPECT_GT(one.failed, 1);
	EXPECT_GT(all.failed, 2 * one.failed);
	fixture_end(&f);
}

/* The caller's list has no room: what is in the way is still found, to go on behind it. */
TEST(a_busy_list_without_room)
{
	struct ash_busy_list list = { NULL, 0, 0 };
	const struct ash_contig_request any = { .nr = 96, .mt = ASH_MT_UNMOVABLE, .high = 127 };
	struct ash_busy busy;
	const struct ash_contig_request r = { .nr = 64, .mt = ASH_MT_UNMOVABLE, .align_order = 6 };
	struct ash_page_grant g;
	struct fixture f;

	open_zone(&f);
	EXPECT_EQ(alloc_pages(&f, 5, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &list), 0);
	EXPECT_EQ(g.pfn, 64);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &list), -ASH_ENOMEM);
	EXPECT_EQ(list.nr, 1);
	list = (struct ash_busy_list){ &busy, 1, 0 };
	EXPECT_EQ(alloc_pages(&f, 2, ASH_MT_MOVABLE), 32);
	ash_zone_free_run(f.z, 64, 63);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &any, &g, &list), -ASH_ENOMEM);
	EXPECT_EQ(list.nr, 2);
	EXPECT_EQ(busy.why, ASH_BUSY_PINNED);
	fixture_end(&f);
}
