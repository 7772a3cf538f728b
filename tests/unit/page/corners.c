/* SPDX-License-Identifier: MIT */
/* Corners: refused arguments, reports, who is inside and what waits, reserves. */
#include "corners.h"

#include "page/compact.h"
#include "page/freelist.h"
#include "page/migrate.h"
#include "page/reserve.h"
#include "page/watermark.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* What lies in a pcp has left the lists: below the mark it may be had, hit or not, and nothing is refilled. */
TEST(what_is_cached_is_served_below_the_watermark)
{
	enum { FRAMES = 65536, CACHED = 40 }; /* more than a magazine */
	ash_pfn_t pfn[CACHED];
	struct ash_page_grant g;
	struct ash_zone_stats s;
	struct fixture f;

	fixture_init(&f, FRAMES, 9, 10, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, FRAMES, false), 0);
	for (unsigned i = 0; i < CACHED; i++)
		pfn[i] = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	for (unsigned i = 0; i < CACHED; i++)
		ash_zone_free(f.z, pfn[i], 0, 0);
	ash_zone_stats(f.z, &s);
	EXPECT_EQ(s.free, FRAMES - CACHED);
	ash_zone_set_watermarks(f.z, s.free, 0);
	for (unsigned i = 0; i < CACHED; i++) {
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), 0);
		ash_zone_stats(f.z, &s);
		EXPECT_EQ(s.free, FRAMES - CACHED);
		EXPECT_EQ(s.pcp, CACHED - 1 - i);
	}
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), -ASH_ENOMEM);
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
