/* SPDX-License-Identifier: MIT */
/*
 * What no run of operations leads to, or only by chance: refused arguments, reports, races made to happen, limits that
 * take a large zone. tests/coverage says what is left after this.
 */
#include "owner.h"

#include "page/compact.h"
#include "page/deferred.h"
#include "page/freelist.h"
#include "page/migrate.h"
#include "page/pcp.h"
#include "page/reserve.h"
#include "page/run.h"
#include "page/stat.h"
#include "page/watermark.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* 128 free frames in pageblocks of eight, with one pcp. */
static void open_zone(struct fixture *f)
{
	fixture_init(f, 128, 3, 5, 1);
	EXPECT_EQ(ash_zone_online(f->z, 0, 128, false), 0);
}

/* The same, its pcp with one owner at a time, and with a count of what spoils each span of 2^5 frames. */
static uint32_t tainted[4];

static void no_barrier(void)
{
}

static void open_owned(struct fixture *f)
{
	struct ash_zone_config c = { .nr_frames = 116, .geometry = { 3, 5 }, .nr_cpus = 1, .pcp_owned = true,
				     .tainted = tainted };

	fixture_init(f, 128, 3, 5, 1);
	memset(tainted, 0, sizeof(tainted));
	f->ops.barrier = no_barrier;
	c.frames = f->frames;
	c.pageblocks = f->pageblocks;
	c.pcps = f->pcps;
	c.ops = &f->ops;
	EXPECT_EQ(ash_zone_init(f->z, &c), 0);
	EXPECT(f->z->pcp_biased);
	EXPECT_EQ(ash_zone_online(f->z, 0, 116, false), 0);
}

static int alloc_how(struct fixture *f, unsigned order, enum ash_migratetype mt, unsigned flags, unsigned cpu)
{
	struct ash_page_grant g;

	return ash_zone_alloc(f->z, order, mt, flags, cpu, &g);
}

static int alloc_run(struct fixture *f, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt)
{
	struct ash_page_grant g;

	return ash_zone_alloc_run(f->z, nr, align_order, mt, 0, &g);
}

/* A refused call leaves the zone as it was. */
#define REFUSED(f, error, call)                                                                                        \
	do {                                                                                                           \
		const uint64_t digest_ = ash_zone_digest((f)->z);                                                      \
                                                                                                                       \
		EXPECT_EQ(call, -(error));                                                                             \
		EXPECT_EQ(ash_zone_digest((f)->z), digest_);                                                           \
	} while (0)

TEST(arguments_that_are_refused)
{
	struct ash_contig_request r = { .nr = 8, .mt = ASH_MT_MOVABLE };
	struct ash_page_grant g;
	struct fixture f;
	bool zeroed;

	open_zone(&f);
	REFUSED(&f, ASH_EINVAL, alloc_how(&f, 0, ASH_MT_CMA, 0, 0));
	REFUSED(&f, ASH_EINVAL, alloc_how(&f, 6, ASH_MT_MOVABLE, 0, CPU_NONE));
	EXPECT(ash_zone_may_wait(f.z));
	f.z->ops = NULL;
	EXPECT(ash_zone_may_wait(f.z));
	f.z->ops = &f.ops;
	REFUSED(&f, ASH_EINVAL, alloc_run(&f, 0, 0, ASH_MT_MOVABLE));
	REFUSED(&f, ASH_EINVAL, alloc_run(&f, 1, 6, ASH_MT_MOVABLE));
	REFUSED(&f, ASH_EINVAL, alloc_run(&f, 1, 0, ASH_MT_HIGHATOMIC));
	REFUSED(&f, ASH_EINVAL, ash_zone_extend_run(f.z, 8, 0, ASH_MT_MOVABLE, &zeroed));
	REFUSED(&f, ASH_EINVAL, ash_zone_extend_run(f.z, 8, 1, ASH_MT_CMA, &zeroed));
	REFUSED(&f, ASH_EBUSY, ash_zone_extend_run(f.z, 127, 2, ASH_MT_MOVABLE, &zeroed));
	REFUSED(&f, ASH_EINVAL, ash_zone_test_range_isolated(f.z, 8, 0, NULL));
	REFUSED(&f, ASH_EINVAL, ash_zone_test_range_isolated(f.z, 120, 9, NULL));
	REFUSED(&f, ASH_EBUSY, ash_zone_isolate_free_page(f.z, 128));
	r.nr = 0;
	REFUSED(&f, ASH_EINVAL, ash_zone_alloc_contig(f.z, &r, &g, NULL));
	r = (struct ash_contig_request){ .nr = 8, .mt = ASH_MT_CMA };
	REFUSED(&f, ASH_EINVAL, ash_zone_alloc_contig(f.z, &r, &g, NULL));
	r = (struct ash_contig_request){ .nr = 8, .mt = ASH_MT_MOVABLE, .align_order = 32 };
	REFUSED(&f, ASH_EINVAL, ash_zone_alloc_contig(f.z, &r, &g, NULL));
	r = (struct ash_contig_request){ .nr = 8, .mt = ASH_MT_MOVABLE, .boundary_order = 32 };
	REFUSED(&f, ASH_EINVAL, ash_zone_alloc_contig(f.z, &r, &g, NULL));
	EXPECT(!ash_zone_unreserve_highatomic(f.z, ASH_MT_CMA, true));
	/* Ranges that name nothing: nothing is done. */
	EXPECT_EQ(ash_zone_isolate_range(f.z, 0, 16, ASH_ISOLATE_OTHER, NULL), 0);
	ash_zone_unisolate_range(f.z, 0, 0);
	ash_zone_unisolate_range(f.z, 8, 128);
	EXPECT_EQ(stats(&f).isolated, 2);
	EXPECT_EQ(ash_zone_find_large_buddy(f.z, 128), 128);
	ash_zone_unisolate_range(f.z, 0, 16);
	ash_zone_free_run(f.z, 8, 0);
	EXPECT_EQ(stats(&f).free, 128);
	fixture_end(&f);
}

TEST(zones_that_are_refused)
{
	static struct ash_zone_ops none;
	struct fixture f;
	struct ash_zone_config good, c;

	open_zone(&f);
	good = (struct ash_zone_config){ .nr_frames = 8, .geometry = { 3, 5 }, .frames = f.frames,
					 .pageblocks = f.pageblocks, .pcps = f.pcps, .nr_cpus = 1, .pcp_owned = true };
#define REFUSED_ZONE(change)                                                                                           \
	do {                                                                                                           \
		c = good;                                                                                              \
		c.change;                                                                                              \
		EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);                                                        \
	} while (0)
	REFUSED_ZONE(geometry.max_order = ASH_MAX_ORDER + 1);
	REFUSED_ZONE(geometry.pageblock_order = 6);
	REFUSED_ZONE(nr_frames = 0);
	REFUSED_ZONE(nr_frames = ASH_PFN_NONE);
	REFUSED_ZONE(frames = NULL);
	REFUSED_ZONE(pageblocks = NULL);
	REFUSED_ZONE(pcps = NULL);
	EXPECT_EQ(stats(&f).free, 128);
	fixture_end(&f);

	/* Owned slots need a barrier, a lock needs both a wait and a wake; without them the zone does without. */
	fixture_init(&f, 128, 3, 5, 1);
	good.frames = f.frames;
	good.pageblocks = f.pageblocks;
	good.pcps = f.pcps;
	EXPECT_EQ(ash_zone_init(f.z, &good), 0);
	EXPECT(!f.z->pcp_biased);
	good.ops = &none;
	EXPECT_EQ(ash_zone_init(f.z, &good), 0);
	EXPECT(!f.z->pcp_biased);
	none.lock.wait = (void (*)(_Atomic uint32_t *, uint32_t))(uintptr_t)1;
	EXPECT_EQ(ash_zone_init(f.z, &good), 0);
	EXPECT(f.z->lock_ops == NULL);
	none.lock.wait = NULL;
	fixture_end(&f);
}

/* --- Reports: with no lock held and nothing changed --- */

TEST(reports_of_broken_promises)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	pfn = alloc_pages(&f, 1, ASH_MT_MOVABLE);
	EXPECT_BUG(ash_zone_free_trylock(f.z, pfn + 1, 1, 0));
	EXPECT_BUG(ash_zone_free_trylock(f.z, 128, 0, 0));
	EXPECT_BUG(ash_zone_free_trylock(f.z, 0, 6, 0));
	EXPECT_BUG(ash_zone_free_trylock(f.z, pfn, 0, 0));
	EXPECT_BUG(ash_zone_free(f.z, 128, 0, 0));
	EXPECT_BUG(ash_zone_report_end(f.z, 128, 0, false));
	EXPECT_EQ(stats(&f).free, 126);
	ash_zone_free(f.z, pfn, 1, CPU_NONE);
	fixture_end(&f);
	/* Frames that are not there. */
	fixture_init(&f, 128, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_zone_find_large_buddy(f.z, 100), 100);
	EXPECT_BUG(ash_zone_free_run(f.z, 96, 4));
	EXPECT_BUG(ash_zone_free(f.z, 96, 0, CPU_NONE));
	fixture_end(&f);
}

/* The door itself, before the links of what is no buddy are followed. */
TEST(the_door_reports_what_is_no_buddy)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_zone(&f);
	pfn = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	ash_zone_lock(f.z);
	EXPECT_BUG((void)ash_freelist_del(f.z, pfn, 0, ASH_MT_MOVABLE));
	ash_zone_unlock(f.z);
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	fixture_end(&f);
}

/* Without a handler, or when it returns, the core stops the program. */
TEST(a_report_nobody_takes_is_a_trap)
{
	struct fixture f;
	int status;
	pid_t child;

	open_zone(&f);
	fflush(stdout);
	child = fork();
	EXPECT_GE(child, 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		f.ops.bug = NULL;
		ash_zone_free(f.z, 5, 0, CPU_NONE);
		_exit(0);
	}
	EXPECT_EQ(waitpid(child, &status, 0), child);
	EXPECT(WIFSIGNALED(status));
	fixture_end(&f);
}

/* --- Who is inside, and what waits --- */

/* A signal handler that interrupts the owner of a pcp slot, inside. */
TEST(an_owner_interrupted_inside_its_pcp)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_owned(&f);
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_MOVABLE, 0, 0), 0);
	atomic_store(&f.pcps[0].busy, 1);
	pfn = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, 0), 0);
	ash_zone_free_trylock(f.z, pfn, 0, 0);
	EXPECT_EQ(atomic_load(&f.pcps[0].busy), 1);
	atomic_store(&f.pcps[0].busy, 0);
	/* The owner's own way in refuses what the others do. */
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_CMA, 0, 0), -ASH_EINVAL);
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_ISOLATE, 0, 0), -ASH_EINVAL);
	EXPECT_BUG(ash_zone_free(f.z, 116, 0, 0));
	EXPECT_BUG(ash_zone_free(f.z, ASH_PFN_NONE, 0, 0));
	fixture_end(&f);
}

/* Frees that could not have the lock are out of reach until a drain, a failing allocation or another free. */
TEST(deferred_frees_come_back)
{
	struct fixture f;
	ash_pfn_t a, b, c;

	open_zone(&f);
	a = alloc_pages(&f, 4, ASH_MT_MOVABLE);
	b = alloc_pages(&f, 5, ASH_MT_MOVABLE);
	c = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	ash_zone_lock(f.z);
	ash_zone_free_trylock(f.z, a, 4, CPU_NONE);
	ash_zone_free_trylock(f.z, c, 0, CPU_NONE);
	ash_zone_unlock(f.z);
	fixture_check(&f);
	EXPECT_EQ(stats(&f).free, 128 - 16 - 32 - 1);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).free, 128 - 32);
	ash_zone_lock(f.z);
	ash_zone_free_trylock(f.z, b, 5, CPU_NONE);
	ash_zone_unlock(f.z);
	EXPECT_EQ(alloc_run(&f, 128, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(stats(&f).free, 0);
	fixture_end(&f);
}

/* --- Reserves --- */

TEST(a_cached_frame_is_not_for_urgent_requests_of_many)
{
	struct fixture f;

	open_zone(&f);
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, 0), 0);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(alloc_how(&f, 1, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, 0), 0);
	EXPECT_EQ(alloc_how(&f, 3, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE), 0);
	/* One percent of this zone is less than a pageblock: nothing was reserved. */
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_HIGHATOMIC], 0);
	fixture_end(&f);
}

/* A pageblock at the edge is never whole, so it joins no reserve. */
TEST(the_edge_joins_no_reserve)
{
	struct ash_page_grant g;
	struct fixture f;

	fixture_init(&f, 1024, 2, 4, 0);
	EXPECT_EQ(ash_zone_online(f.z, 2, 998, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 1, ASH_MT_MOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE, &g), 0);
	EXPECT_EQ(g.pfn, 2);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_HIGHATOMIC], 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 1, ASH_MT_MOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE, &g), 0);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_HIGHATOMIC], 1);
	/* Nor does what it gives back become what no request is for. */
	EXPECT(!ash_zone_unreserve_highatomic(f.z, ASH_MT_CMA, true));
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_HIGHATOMIC], 1);
	fixture_end(&f);
}

/* [K __zone_watermark_ok] order > 0 needs a buddy that this request may have. */
TEST(watermarks_look_at_the_buddies_a_request_may_have)
{
	struct fixture f;
	const unsigned both = ASH_ALLOC_CMA | ASH_ALLOC_HIGHATOMIC;

	open_zone(&f);
	EXPECT(ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, 0, 0, 128));
	for (ash_pfn_t b = 0; b < 128; b += 8) {
		const enum ash_migratetype mt = b < 64 ? ASH_MT_CMA : ASH_MT_HIGHATOMIC;

		EXPECT_EQ(alloc_pages(&f, 3, ASH_MT_MOVABLE), b);
		ash_zone_lock(f.z);
		ash_pageblock_set_type(f.z, b, mt);
		ash_zone_unlock(f.z);
	}
	ash_zone_free(f.z, 0, 3, CPU_NONE);
	EXPECT(!ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, 0, 0, 1000));
	EXPECT(!ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, ASH_ALLOC_HIGHATOMIC, 0, 1000));
	EXPECT(ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, ASH_ALLOC_CMA, 0, 1000));
	EXPECT_EQ(alloc_how(&f, 3, ASH_MT_MOVABLE, ASH_ALLOC_CMA, CPU_NONE), 0);
	ash_zone_free(f.z, 64, 3, CPU_NONE);
	EXPECT(!ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, ASH_ALLOC_CMA, 0, 1000));
	EXPECT(ash_zone_watermark_ok(f.z, 3, ASH_WMARK_LOW, both, 0, 1000));
	EXPECT(!ash_zone_watermark_ok(f.z, 4, ASH_WMARK_LOW, both, 0, 1000));
	f.z->reserved_highatomic = 64;
	fixture_end(&f);
}

/* A boost counts for everybody but an urgent single frame against the min mark. */
TEST(whom_a_boost_stops)
{
	struct fixture f;

	open_zone(&f);
	ash_zone_set_watermarks(f.z, 16, 0);
	atomic_store(&f.z->wmark_boost, 100);
	EXPECT(ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, ASH_ALLOC_HIGHATOMIC, 0, 20));
	EXPECT(!ash_zone_watermark_ok(f.z, 0, ASH_WMARK_LOW, ASH_ALLOC_HIGHATOMIC, 0, 20));
	EXPECT(!ash_zone_watermark_ok(f.z, 1, ASH_WMARK_MIN, ASH_ALLOC_HIGHATOMIC, 0, 20));
	EXPECT(!ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, 0, 0, 20));
	EXPECT_EQ(ash_zone_end_boost(f.z), 100);
	EXPECT(ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, 0, 0, 20));
	/* A zone whose high mark is less than a pageblock is still boosted by one; else up to half as much again. */
	ash_zone_set_watermarks(f.z, 1, 0);
	while (stats(&f).free > 4)
		EXPECT_EQ(alloc_how(&f, 2, ASH_MT_MOVABLE, 0, CPU_NONE), 0);
	EXPECT_EQ(alloc_how(&f, 0, ASH_MT_UNMOVABLE, 0, CPU_NONE), 0);
	EXPECT_EQ(ash_zone_end_boost(f.z), 8);
	ash_zone_set_watermarks(f.z, 8, 0);
	for (unsigned i = 0; i < 3; i++) {
		ash_zone_lock(f.z);
		ash_reserve_boost(f.z);
		ash_zone_unlock(f.z);
	}
	EXPECT_EQ(ash_zone_end_boost(f.z), 18);
	fixture_end(&f);
}

/* [K init_per_zone_wmark_min] the square root of sixteen times the memory in KiB, from 128 KiB to 256 MiB. */
TEST(the_default_watermark_has_bounds)
{
	EXPECT_EQ(ash_watermark_default_min(1), 32);
	EXPECT_EQ(ash_watermark_default_min(256), 32);
	EXPECT_EQ(ash_watermark_default_min(262144), 1024);
	EXPECT_EQ(ash_watermark_default_min((uint64_t)1 << 32), 65536);
}

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
	EXPECT_EQ(ash_zone_compact(f.z, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_ASYNC, &all), ASH_COMPACT_COMPLETE);
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
	EXPECT_EQ(list.nr, 0);
	list = (struct ash_busy_list){ &busy, 1, 0 };
	EXPECT_EQ(alloc_pages(&f, 2, ASH_MT_MOVABLE), 32);
	ash_zone_free_run(f.z, 64, 63);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &any, &g, &list), -ASH_ENOMEM);
	EXPECT_EQ(list.nr, 2);
	EXPECT_EQ(busy.why, ASH_BUSY_PINNED);
	fixture_end(&f);
}

/* --- Spans that something unmovable has tainted --- */

#define EXPECT_FAULT(f, invariant, text)                                                                               \
	do {                                                                                                           \
		struct ash_zone_fault fault_;                                                                          \
                                                                                                                       \
		EXPECT_EQ(ash_zone_check((f)->z, &fault_), invariant);                                                 \
		EXPECT(strstr(fault_.what, text) != NULL);                                                             \
	} while (0)

TEST(the_walker_counts_what_taints)
{
	struct fixture f;
	ash_pfn_t pfn;

	open_owned(&f);
	EXPECT_EQ(stats(&f).tainted, 0);
	pfn = alloc_pages(&f, 3, ASH_MT_UNMOVABLE);
	EXPECT_EQ(stats(&f).tainted, 1);
	EXPECT_GT(tainted[pfn >> 5], 0);
	/* CMA can be emptied, like MOVABLE. */
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, pfn, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	fixture_check(&f);
	tainted[pfn >> 5]++;
	EXPECT_FAULT(&f, 6, "tainting pageblocks of a superblock");
	tainted[pfn >> 5]--;
	f.z->nr_tainted++;
	EXPECT_FAULT(&f, 6, "tainted superblocks");
	f.z->nr_tainted--;
	ash_zone_free(f.z, pfn, 3, CPU_NONE);
	fixture_end(&f);
}

/* The search for a tainted span gives up after so many buddies; the claim is then made as without it. */
TEST(a_search_for_a_tainted_span_gives_up)
{
	static uint32_t counts[1024];
	struct ash_zone_config c = { .nr_frames = 2048, .geometry = { 0, 1 }, .tainted = counts };
	struct fixture f;
	ash_pfn_t pfn;

	memset(counts, 0, sizeof(counts));
	fixture_init(&f, 2048, 0, 1, 0);
	c.frames = f.frames;
	c.pageblocks = f.pageblocks;
	c.ops = &f.ops;
	EXPECT_EQ(ash_zone_init(f.z, &c), 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 2048, false), 0);
	for (ash_pfn_t i = 0; i < 2048; i++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), i);
	ash_zone_free(f.z, 2046, 0, CPU_NONE);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_UNMOVABLE), 2046);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	/* One buddy is in the way, and the one behind it is in the tainted span. */
	ash_zone_free(f.z, 0, 0, CPU_NONE);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(pfn, 2047);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 2047);
	ash_zone_free(f.z, 2047, 0, CPU_NONE);
	for (ash_pfn_t i = 0; i < 2040; i += 2)
		ash_zone_free(f.z, i, 0, CPU_NONE);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT(pfn < 2040);
	fixture_end(&f);
}

/* --- Hardening, one layer beside another --- */

static unsigned char payload[128][4096];

static void *payload_of(const struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn)
{
	return payload[pfn];
}

/* Fresh frames, which read as zero, with these layers. */
static int open_hardened(struct fixture *f, struct ash_hardening hardening)
{
	struct ash_zone_config c = { .nr_frames = 128, .geometry = { 3, 5 }, .hardening = hardening, .nr_cpus = 1,
				     .pcp_owned = true };
	int err;

	fixture_init(f, 128, 3, 5, 1);
	memset(payload, 0, sizeof(payload));
	f->ops.barrier = no_barrier;
	f->ops.frame_addr = payload_of;
	c.frames = f->frames;
	c.pageblocks = f->pageblocks;
	c.pcps = f->pcps;
	c.ops = &f->ops;
	err = ash_zone_init(f->z, &c);
	return err != 0 ? err : ash_zone_online(f->z, 0, 128, true);
}

TEST(layers_that_are_refused)
{
	struct ash_zone_config c = { .nr_frames = 128, .geometry = { 3, 5 }, .hardening.poison = true };
	struct fixture f;

	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .guard_order = 4 }), -ASH_EINVAL);
	fixture_end(&f);
	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .shuffle_order = 6 }), -ASH_EINVAL);
	fixture_end(&f);
	/* Nobody says where the bytes are. */
	fixture_init(&f, 128, 3, 5, 0);
	c.frames = f.frames;
	c.pageblocks = f.pageblocks;
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	c.ops = &f.ops;
	EXPECT_EQ(ash_zone_init(f.z, &c), -ASH_EINVAL);
	fixture_end(&f);
}

/* What is known to be zero bears no poison, and is not written again. */
TEST(zeroed_frames_under_poison_and_initialisation)
{
	const struct ash_hardening layers = { .poison = true, .init_on_alloc = true };
	struct ash_frame_owner owner;
	struct ash_page_grant g;
	struct fixture f;

	EXPECT_EQ(open_hardened(&f, layers), 0);
	EXPECT(f.z->pcp_biased);
	EXPECT_EQ(f.z->free_hit_cpus, 0); /* no way in past the layers */
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
	EXPECT(g.zeroed);
	payload[g.pfn][17] = 1;
	ash_zone_free(f.z, g.pfn, 0, 0);
	EXPECT_EQ(payload[g.pfn][17], 0xaa);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
	EXPECT(g.zeroed);
	EXPECT_EQ(payload[g.pfn][17], 0);
	ash_zone_free(f.z, g.pfn, 0, 0);
	EXPECT(!ash_zone_frame_owner(f.z, g.pfn, &owner));
	fixture_end(&f);
}

/* Guards are kept, and known, also where nobody protects them; and nobody owns what lies outside. */
TEST(guards_and_owners_without_ops)
{
	static struct ash_frame_owner owners[128];
	struct ash_frame_owner owner;
	struct fixture f;
	ash_pfn_t pfn;

	EXPECT_EQ(open_hardened(&f, (struct ash_hardening){ .guard_order = 1, .owners = owners }), 0);
	pfn = alloc_pages(&f, 0, ASH_MT_UNMOVABLE);
	EXPECT_EQ(ash_word_state(ash_frame_load(f.frames, pfn + 1)), ASH_FRAME_GUARD);
	EXPECT(ash_zone_frame_owner(f.z, pfn, &owner));
	EXPECT_EQ(owner.allocated_by, 0);
	EXPECT(!ash_zone_frame_owner(f.z, 128, &owner));
	ash_zone_free(f.z, pfn, 0, CPU_NONE);
	EXPECT_EQ(stats(&f).free, 128);
	fixture_end(&f);
}

/* For assertions of the layers above: not one lock is held, whichever kind. */
TEST(whether_any_lock_is_held)
{
	struct fixture f;

	open_owned(&f);
	EXPECT(!ash_zone_locks_held(f.z));
	ash_zone_lock(f.z);
	EXPECT(ash_zone_locks_held(f.z));
	ash_zone_unlock(f.z);
	ash_zone_lock_all(f.z);
	EXPECT(ash_zone_locks_held(f.z));
	ash_zone_unlock_all(f.z);
	atomic_store(&f.pcps[0].busy, 1);
	EXPECT(ash_zone_locks_held(f.z));
	atomic_store(&f.pcps[0].busy, 0);
	EXPECT(!ash_zone_locks_held(f.z));
	fixture_end(&f);
}

/* --- Statistics --- */

TEST(indices_of_a_zone_without_free_memory)
{
	const struct ash_zone_stats none = { 0 };

	EXPECT_EQ(ash_unusable_index(&none, 3), 1000);
	EXPECT_EQ(ash_fragmentation_index(&none, 3), 0);
	EXPECT_EQ(ash_extfrag_for_order(&none, 3), 0);
	EXPECT_STREQ(ash_migratetype_name(ASH_MT_ISOLATE), "Isolate");
	EXPECT_STREQ(ash_migratetype_name(ASH_MT_NR), "?");
}

/* The text is as long as it would be, and no more of it is written than there is room for. */
TEST(text_that_does_not_fit)
{
	struct ash_zone_stats s = { .nr_free[0][ASH_MT_MOVABLE] = UINT64_MAX };
	char buf[128];
	size_t length;

	s.nr_free[1][ASH_MT_UNMOVABLE] = 12345678;
	memset(buf, 'x', sizeof(buf));
	length = ash_stat_buddyinfo(&s, 1, 10, "T", buf, sizeof(buf));
	EXPECT_STREQ(buf, "Node 10, zone        T 18446744073709551615 12345678 \n");
	EXPECT_EQ(length, strlen(buf));
	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(ash_stat_buddyinfo(&s, 1, 10, "T", buf, 8), length);
	EXPECT_STREQ(buf, "Node 10");
	EXPECT_EQ(buf[8], 'x');
	EXPECT_EQ(ash_stat_buddyinfo(&s, 1, 10, "T", NULL, 0), length);
	length = ash_stat_pagetypeinfo(&s, 9, 1, 10, "T", NULL, 0);
	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(ash_stat_pagetypeinfo(&s, 9, 1, 10, "T", buf, 20), length);
	EXPECT_STREQ(buf, "Page block order: 9");
	EXPECT_EQ(buf[20], 'x');
}

/* Frames of a type that is not their pageblock's; in a CMA pageblock MOVABLE is at home. */
TEST(mixed_blocks_of_every_type)
{
	uint64_t mixed[ASH_MT_NR];
	struct fixture f;

	open_zone(&f);
	EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), 0);
	EXPECT_EQ(alloc_pages(&f, 3, ASH_MT_MOVABLE), 8);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 0);
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, 8, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_CMA], 0);
	ash_frame_store(f.frames, 8, ash_frame_word(ASH_FRAME_USED, 3, ASH_MT_UNMOVABLE, 0));
	ash_frame_store(f.frames, 0, ash_frame_word(ASH_FRAME_USED, 0, ASH_MT_RECLAIMABLE, 0));
	ash_zone_count_mixed(f.z, mixed);
	EXPECT_EQ(mixed[ASH_MT_CMA], 1);
	EXPECT_EQ(mixed[ASH_MT_MOVABLE], 1);
	fixture_end(&f);
}

/* --- Size --- */

/* [K zone_batchsize] a thousandth of the zone, at most 256 KiB, and then one less than a power of two. */
TEST(the_batch_of_a_large_zone_has_a_bound)
{
	struct ash_page_grant g;
	struct fixture f;
	ash_pfn_t pfn[200];

	fixture_init(&f, 1u << 19, 9, 18, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1u << 14, false), 0);
	EXPECT_EQ(f.z->pcp_batch, 3);
	EXPECT_EQ(ash_zone_online(f.z, 1u << 14, (1u << 19) - (1u << 14), false), 0);
	EXPECT_EQ(f.z->pcp_batch, 63);
	EXPECT_EQ(f.z->pcp_high_min, 252);
	EXPECT_EQ(f.z->pcp_high_max, 1u << 16);
	/* More than the zone takes in one lock hold. */
	for (ash_pfn_t i = 0; i < 200; i++) {
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
		pfn[i] = g.pfn;
	}
	for (ash_pfn_t i = 0; i < 200; i++)
		ash_zone_free(f.z, pfn[i], 0, 0);
	EXPECT_GT(stats(&f).pcp, 128);
	ash_zone_drain(f.z);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(stats(&f).free, 1u << 19);
	fixture_end(&f);
}
