/* SPDX-License-Identifier: MIT */
/*
 * Scenarios T90 to T95 and T100: contiguous ranges out of a zone in use, and the movers that empty them. Sources are
 * marked as in buddy.c.
 */
#include "harness/test.h"
#include "page/contig.h"
#include "page/migrate.h"
#include "page/mover.h"
#include "scenario/scene.h"

static struct scene s;

/* The owner of MOVABLE frames: one content per frame, which moves with it. */
static struct {
	uint32_t content[256];
	ash_pfn_t pinned; /* refuses to be isolated */
	ash_pfn_t fails;  /* fails to migrate */
	ash_pfn_t freed;  /* is freed by its owner while it moves */
	unsigned isolates, migrates, putbacks;
	ash_pfn_t last_dst;
} owner;

static int mover_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)order;
	owner.isolates++;
	return pfn == owner.pinned ? -ASH_EBUSY : 0;
}

static int mover_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	owner.migrates++;
	if (src == owner.fails)
		return -ASH_EBUSY;
	if (src == owner.freed) {
		owner.freed = ASH_PFN_NONE;
		ash_zone_free(z, src, order, ASH_CPU_NONE);
		return 0;
	}
	memcpy(&owner.content[dst], &owner.content[src], sizeof(owner.content[0]) << order);
	memset(&owner.content[src], 0, sizeof(owner.content[0]) << order);
	owner.last_dst = dst;
	return 0;
}

static void mover_putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)pfn;
	(void)order;
	owner.putbacks++;
}

static void open_with_mover(unsigned pageblock_order, unsigned max_order, const char *types)
{
	static const struct ash_mover_ops mover = { mover_isolate, mover_migrate, mover_putback };

	memset(&owner, 0, sizeof(owner));
	owner.pinned = owner.fails = owner.freed = owner.last_dst = ASH_PFN_NONE;
	scene_mover = &mover;
	scene_open(&s, pageblock_order, max_order, types);
	scene_mover = NULL;
}

static struct ash_busy entries[4];
static struct ash_busy_list busy;

static int contig(ash_pfn_t start, ash_pfn_t nr)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	int result;

	busy = (struct ash_busy_list){ entries, 4, 0 };
	result = ash_zone_alloc_contig_range(s.z, start, nr, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &grant, &busy);
	if (result == 0)
		EXPECT_EQ(grant.pfn, start);
	return result;
}

/* Two free buddies of two pageblocks each; frame 30, if wanted, is allocated as this type. */
static void four_pageblocks(bool used, enum ash_migratetype mt)
{
	open_with_mover(4, 5, "MMMM");
	if (used) {
		scene_free(&s, "0:4, 16:3, 24:2, 28:1, 31:0, 32:5");
		scene_used(&s, 30, 0, mt);
	} else {
		scene_free(&s, "0:5, 32:5");
	}
	scene_mark(&s);
}

/* [K page_alloc.c:alloc_contig_range]; SIM. */
TEST(T90_unaligned_range)
{
	four_pageblocks(false, ASH_MT_MOVABLE);
	/* What the range sees while it is taken. */
	EXPECT_EQ(ash_zone_isolate_range(s.z, 20, 24, ASH_ISOLATE_OTHER, NULL), 0);
	EXPECT_STATE(&s, "0:4 M, 16:4 I, 32:4 I, 48:4 M", "MM*M*M");
	ash_zone_unisolate_range(s.z, 20, 24);
	EXPECT(scene_same(&s));
	EXPECT_EQ(contig(20, 24), 0);
	EXPECT_STATE(&s, "0:4 M, 16:2 M, 44:2 M, 48:4 M", "MMMM");
	EXPECT_EQ(scene_stats(&s).free, 40);
	EXPECT_EQ(scene_stats(&s).isolated, 0);
	/* In any parts, in any order. */
	ash_zone_free_run(s.z, 31, 2);
	ash_zone_free_run(s.z, 20, 11);
	ash_zone_free_run(s.z, 33, 11);
	EXPECT_STATE(&s, "0:5 M, 32:5 M", "MMMM");
	EXPECT_EQ(scene_stats(&s).free, 64);
}

/* [K page_isolation.c:has_unmovable_pages] an unmovable frame in the range: refused, and nothing has changed. */
TEST(T91_unmovable_frame_in_the_range)
{
	four_pageblocks(true, ASH_MT_UNMOVABLE);
	EXPECT_EQ(contig(20, 24), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entries[0].pfn, 30);
	EXPECT_EQ(entries[0].nr, 1);
	EXPECT_EQ(entries[0].why, ASH_BUSY_UNMOVABLE);
	EXPECT_EQ(owner.isolates, 0);
}

/* An unmovable frame of a touched pageblock, but outside of the range, is no obstacle. */
TEST(T91_unmovable_frame_beside_the_range)
{
	open_with_mover(4, 5, "MMMM");
	scene_free(&s, "16:4, 32:5");
	scene_used(&s, 16 - 1, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(contig(16, 24), 0);
	EXPECT_STATE(&s, "40:3 M, 48:4 M", "MMMM");
}

TEST(T91_pinned_and_failing_frames_are_put_back)
{
	four_pageblocks(true, ASH_MT_MOVABLE);
	owner.pinned = 30;
	EXPECT_EQ(contig(20, 24), -ASH_EBUSY);
	EXPECT(scene_same(&s));
	EXPECT_GE(busy.nr, 1);
	EXPECT_EQ(entries[0].pfn, 30);
	EXPECT_EQ(entries[0].why, ASH_BUSY_PINNED);
	EXPECT_EQ(owner.putbacks, 0);

	four_pageblocks(true, ASH_MT_MOVABLE);
	owner.fails = 30;
	EXPECT_EQ(contig(20, 24), -ASH_EBUSY);
	EXPECT_STATE(&s, "0:4 M, 16:3 M, 24:2 M, 28:1 M, 31:0 M, 32:5 M", "MMMM");
	EXPECT_EQ(scene_stats(&s).free, s.before.free);
	EXPECT_GE(owner.putbacks, 1);
	EXPECT_EQ(owner.putbacks, owner.isolates);
	EXPECT_EQ(entries[0].pfn, 30);
}

/* [K page_alloc.c:__alloc_contig_migrate_range] a pending signal ends a contiguous request, and a search for one. */
static bool interrupt(struct ash_zone *z)
{
	(void)z;
	return true;
}

static void interruptible(struct ash_zone_config *config, struct ash_zone_ops *ops)
{
	(void)config;
	ops->interrupted = interrupt;
}

TEST(T91_an_interrupted_request_is_undone)
{
	struct ash_contig_request request = { .nr = 24, .low = 20, .mt = ASH_MT_UNMOVABLE };
	struct ash_page_grant grant;

	scene_config = interruptible;
	four_pageblocks(true, ASH_MT_MOVABLE);
	scene_config = NULL;
	EXPECT_EQ(contig(20, 24), -ASH_EINTR);
	EXPECT(scene_same(&s));
	request.high = 60;
	/* Nothing needs to be moved: nobody asks. */
	EXPECT_EQ(ash_zone_alloc_contig(s.z, &request, &grant, NULL), 0);
	EXPECT_EQ(grant.pfn, 31);
	ash_zone_free_run(s.z, 31, 24);
	request.high = 44;
	EXPECT_EQ(ash_zone_alloc_contig(s.z, &request, &grant, NULL), -ASH_EINTR);
	EXPECT(scene_same(&s));
	EXPECT_EQ(owner.isolates, 0);
}

/* [K page_alloc.c:__alloc_contig_migrate_range] a movable frame leaves with its content. */
TEST(T92_movable_frame_in_the_range)
{
	four_pageblocks(true, ASH_MT_MOVABLE);
	owner.content[30] = 0xc0ffee;
	ash_zone_set_private(s.z, 30, 77);
	EXPECT_EQ(contig(20, 24), 0);
	EXPECT_EQ(owner.migrates, 1);
	EXPECT_EQ(owner.putbacks, 0);
	EXPECT(owner.last_dst < 16 || owner.last_dst >= 48);
	EXPECT_EQ(owner.content[owner.last_dst], 0xc0ffee);
	EXPECT_EQ(ash_zone_private(s.z, owner.last_dst), 77);
	EXPECT_EQ(scene_stats(&s).free, 39);
	EXPECT_EQ(scene_stats(&s).isolated, 0);
	EXPECT_STREQ(scene_types(&s), "MMMM");
	EXPECT_EQ(scene_stats(&s).pgmigrate_success, 1);
	ash_zone_free(s.z, owner.last_dst, 0, ASH_CPU_NONE);
	ash_zone_free_run(s.z, 20, 24);
	EXPECT_STATE(&s, "0:5 M, 32:5 M", "MMMM");
}

TEST(T92_no_room_to_move_to)
{
	open_with_mover(4, 5, "MM");
	scene_free(&s, "16:3, 24:2, 28:1, 31:0");
	scene_used(&s, 30, 0, ASH_MT_MOVABLE);
	scene_mark(&s);
	EXPECT_EQ(contig(16, 16), -ASH_ENOMEM);
	EXPECT(scene_same(&s));
	EXPECT_EQ(entries[0].pfn, 30);
	EXPECT_EQ(entries[0].why, ASH_BUSY_NO_MEMORY);
}

/* T94 ([id 61692317677], open upstream): whatever cannot be, no frame is lost over it. */
TEST(T94_no_frame_is_lost_by_an_impossible_request)
{
	struct ash_page_grant grant;

	four_pageblocks(false, ASH_MT_MOVABLE);
	EXPECT_EQ(contig(60, 8), -ASH_EINVAL);
	EXPECT_EQ(contig(64, 1), -ASH_EINVAL);
	EXPECT_EQ(contig(0, 0), -ASH_EINVAL);
	EXPECT_EQ(contig(ASH_PFN_NONE, 2), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_alloc_contig_range(s.z, 0, 8, ASH_MT_CMA, ASH_ISOLATE_OTHER, &grant, NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_alloc_contig_range(s.z, 0, 8, ASH_MT_ISOLATE, ASH_ISOLATE_OTHER, &grant, NULL),
		  -ASH_EINVAL);
	EXPECT(scene_same(&s));
	EXPECT_STATE(&s, "0:5 M, 32:5 M", "MMMM");
}

/* [K migrate.c: movable_operations] a piece freed by its owner while it moves is freed once, when the move is over. */
TEST(T95_free_while_moving)
{
	four_pageblocks(true, ASH_MT_MOVABLE);
	owner.freed = 30;
	EXPECT_EQ(contig(20, 24), 0);
	EXPECT_EQ(scene_stats(&s).free, 40);
	EXPECT_EQ(owner.putbacks, 0);
	ash_zone_free_run(s.z, 20, 24);
	EXPECT_STATE(&s, "0:5 M, 32:5 M", "MMMM");
}

static void *free_twice(struct ash_zone *z, ash_pfn_t pfn)
{
	ash_zone_free(z, pfn, 0, ASH_CPU_NONE);
	ash_zone_free(z, pfn, 0, ASH_CPU_NONE);
	return NULL;
}

static int mover_frees_twice(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	(void)dst;
	(void)order;
	free_twice(z, src);
	return 0;
}

static void open_with_migrate(int (*migrate)(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order))
{
	static struct ash_mover_ops mover;

	mover = (struct ash_mover_ops){ mover_isolate, migrate, mover_putback };
	memset(&owner, 0, sizeof(owner));
	owner.pinned = ASH_PFN_NONE;
	scene_mover = &mover;
	scene_open(&s, 4, 5, "MM");
	scene_mover = NULL;
	scene_free(&s, "0:4, 16:3");
	scene_used(&s, 24, 0, ASH_MT_MOVABLE);
}

/*
 * [K migrate.c:isolate_movable_ops_page, putback_movable_ops_page] A second isolate of a piece is refused without
 * asking its owner again; a failed migrate leaves it isolated for the next try; put back, it is an ordinary piece.
 */
static int second_isolate, tries;
static unsigned isolates_then;

static int asks_again_and_fails(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	enum ash_busy_reason why;

	(void)dst;
	(void)order;
	isolates_then = owner.isolates;
	second_isolate = ash_migrate_piece(z, src, ash_migrate_target_any, NULL, &why);
	return ++tries < 3 ? -ASH_EAGAIN : -ASH_EBUSY;
}

TEST(T95_isolated_once_until_put_back)
{
	open_with_migrate(asks_again_and_fails);
	tries = 0;
	scene_mark(&s);
	EXPECT_EQ(contig(20, 5), -ASH_EBUSY);
	EXPECT_EQ(second_isolate, -ASH_EBUSY);
	/* Each pass over the range isolated the piece once; three tries were one isolation. */
	EXPECT_EQ(owner.isolates, isolates_then);
	EXPECT_EQ(owner.putbacks, owner.isolates);
	EXPECT_EQ(tries, (int)owner.isolates + 2);
	EXPECT(scene_same(&s));
	ash_zone_free(s.z, 24, 0, ASH_CPU_NONE);
	EXPECT_EQ(scene_stats(&s).free, s.before.free + 1);
}

/* A free that may not wait is no less allowed while the piece moves, whether the zone lock can be had or not. */
static bool lock_held;

static int mover_frees_without_waiting(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	(void)dst;
	if (lock_held)
		ash_zone_lock(z);
	ash_zone_free_trylock(z, src, order, ASH_CPU_NONE);
	if (lock_held)
		ash_zone_unlock(z);
	return -ASH_EBUSY;
}

TEST(T95_free_without_waiting_while_moving)
{
	for (int held = 0; held < 2; held++) {
		open_with_migrate(mover_frees_without_waiting);
		lock_held = held != 0;
		scene_mark(&s);
		EXPECT_EQ(contig(20, 5), 0);
		EXPECT_EQ(owner.putbacks, 0);
		EXPECT_EQ(scene_stats(&s).free, 16 + 4);
		/* The piece, and the frame it was to be moved to. */
	EXPECT_EQ(scene_stats(&s).pgfree - s.before.pgfree, 2);
		EXPECT(scene_fault(&s) == NULL);
	}
}

static int mover_frees_twice_without_waiting(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	mover_frees_without_waiting(z, dst, src, order);
	return mover_frees_without_waiting(z, dst, src, order);
}

TEST(T95_double_free_without_waiting_is_reported)
{
	open_with_migrate(mover_frees_twice_without_waiting);
	lock_held = false;
	EXPECT_BUG((void)!contig(20, 5));
}

TEST(T95_double_free_while_moving_is_reported)
{
	open_with_migrate(mover_frees_twice);
	EXPECT_BUG((void)!contig(20, 5));
}

/* --- T100: [K page_alloc.c:alloc_contig_pages] searching --- */

static int find(struct ash_contig_request request, ash_pfn_t *pfn)
{
	struct ash_page_grant grant = { .pfn = ASH_PFN_NONE };
	const int result = ash_zone_alloc_contig(s.z, &request, &grant, NULL);

	*pfn = grant.pfn;
	return result;
}

TEST(T100_aligned_ranges_are_found)
{
	ash_pfn_t pfn;

	open_with_mover(3, 4, "MMMMMMMM");
	scene_free(&s, "5:0, 6:1, 8:3, 16:3, 24:3, 32:3, 40:2");
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 16, .align_order = 4, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 16);
	EXPECT_STATE(&s, "5:0 M, 6:1 M, 8:3 M, 32:3 M, 40:2 M", "MMMMMMMM");
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 11, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 5);
	EXPECT_EQ(owner.isolates, 0);
}

TEST(T100_limits_and_boundary)
{
	ash_pfn_t pfn;

	open_with_mover(3, 6, "MMMMMMMM");
	scene_free(&s, "0:6");
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 10, .low = 21, .high = 40, .mt = ASH_MT_UNMOVABLE }, &pfn),
		  0);
	EXPECT_EQ(pfn, 21);
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 10, .low = 21, .high = 40, .mt = ASH_MT_UNMOVABLE }, &pfn),
		  -ASH_ENOMEM);
	/* [31, 41) would cross 32. */
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 10, .low = 31, .boundary_order = 4, .mt = ASH_MT_UNMOVABLE },
		       &pfn), 0);
	EXPECT_EQ(pfn, 32);
	/* Alignment above the boundary is no contradiction, length above it is. */
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 2, .align_order = 3, .boundary_order = 1,
						    .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 0);
	scene_mark(&s);
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 9, .boundary_order = 3, .mt = ASH_MT_UNMOVABLE }, &pfn),
		  -ASH_EINVAL);
	EXPECT(scene_same(&s));
}

/* What is free already is taken before anything is moved; what can be moved is moved before giving up. */
TEST(T100_free_ranges_before_ranges_to_be_emptied)
{
	ash_pfn_t pfn;

	open_with_mover(3, 4, "MMMMMM");
	scene_free(&s, "0:2, 8:3, 24:3, 32:3");
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 16, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 24);
	EXPECT_EQ(owner.isolates, 0);
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 10, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_GT(owner.migrates, 0);
	EXPECT_EQ(scene_stats(&s).free, 2);
	EXPECT_EQ(scene_stats(&s).isolated, 0);
}

/* [K page_alloc.c:pfn_range_valid_contig, alloc_contig_pages] ranges with pageblocks to be moved come last. */
TEST(T100_small_pieces_are_moved_before_large_ones)
{
	ash_pfn_t pfn;

	open_with_mover(3, 5, "MMMMMMMM");
	/* The first two pageblocks and the fourth are one piece each; the third and the rest single frames. */
	scene_used(&s, 0, 4, ASH_MT_MOVABLE);
	scene_used(&s, 24, 3, ASH_MT_MOVABLE);
	scene_free(&s, "32:4, 48:3");
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 8, .high = 32, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 16);
	EXPECT_EQ(owner.migrates, 8);
	/* No range without a large piece is left below: then one of those is moved. */
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 8, .high = 16, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 0);
	EXPECT_EQ(owner.migrates, 9);
}

TEST(T100_unmovable_frames_are_gone_around)
{
	ash_pfn_t pfn;

	open_with_mover(3, 4, "MUMMMM");
	for (ash_pfn_t i = 8; i < 16; i++)
		scene_used(&s, i, 0, ASH_MT_UNMOVABLE);
	scene_free(&s, "0:3, 40:3, 32:3");
	/* No 10 free frames in a row below 32 but for block 1, which cannot move. */
	EXPECT_EQ(find((struct ash_contig_request){ .nr = 10, .high = 32, .mt = ASH_MT_UNMOVABLE }, &pfn), 0);
	EXPECT_EQ(pfn, 16);
	EXPECT_EQ(owner.migrates, 10);
}
