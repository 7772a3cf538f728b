/* SPDX-License-Identifier: MIT */
/* Watermarks, the HIGHATOMIC reserve, frees that may not wait. */
#include "fixture.h"

#include "page/compact.h"
#include "page/offline.h"
#include "page/watermark.h"
#include "page/zone_struct.h"

TEST(watermark_default_min_is_the_kernels)
{
	EXPECT_EQ(ash_watermark_default_min((uint64_t)1 << 18) * 4, 4096);     /* 1 GiB */
	EXPECT_EQ(ash_watermark_default_min((uint64_t)16 << 18) * 4, 16384);   /* 16 GiB */
	EXPECT_EQ(ash_watermark_default_min(256) * 4, 128);                    /* the least */
	EXPECT_EQ(ash_watermark_default_min((uint64_t)1 << 34) * 4, 262144);   /* the most */
}

TEST(watermark_gaps)
{
	struct fixture f;
	struct ash_watermarks w;

	fixture_init(&f, 100000, 9, 10, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 100000, false), 0);
	ash_zone_set_watermarks(f.z, 1000, 10);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.mark[ASH_WMARK_MIN], 1000);
	EXPECT_EQ(w.mark[ASH_WMARK_LOW], 1250);
	EXPECT_EQ(w.mark[ASH_WMARK_HIGH], 1500);
	ash_zone_set_watermarks(f.z, 100, 100);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.mark[ASH_WMARK_LOW], 1100);
	fixture_end(&f);
}

TEST(watermark_stops_ordinary_requests_first)
{
	struct fixture f;
	struct ash_page_grant g;
	unsigned ordinary = 0, urgent = 0;

	fixture_init(&f, 256, 4, 6, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 256, false), 0);
	ash_zone_set_watermarks(f.z, 64, 10);
	while (ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, CPU_NONE, &g) == 0)
		ordinary++;
	EXPECT_EQ(ordinary, 256 - 64); /* free must stay above the mark for the request to be served: 64 remain */
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 0, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 2, 0, ASH_MT_MOVABLE, 0, &g), -ASH_ENOMEM);
	while (ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE, &g) == 0)
		urgent++;
	EXPECT_EQ(urgent, 64 - 24); /* down to 3/8 */
	ash_zone_set_watermarks(f.z, 0, 10);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, CPU_NONE, &g), 0);
	fixture_end(&f);
}

/* [K setup_per_zone_lowmem_reserve] A machine of 16 GiB: DMA, DMA32, NORMAL, MOVABLE, in frames. */
TEST(lowmem_reserve_is_the_kernels)
{
	static const uint64_t managed[] = { 3840, 748544, 3276800, 65536 };
	static const unsigned ratio[] = { 256, 256, 32, 0 };
	struct fixture f;

	EXPECT_EQ(ash_lowmem_reserve(managed, 0, 0, ratio[0]), 0); /* its own requests */
	EXPECT_EQ(ash_lowmem_reserve(managed, 0, 1, ratio[0]), 748544 / 256);
	EXPECT_EQ(ash_lowmem_reserve(managed, 0, 2, ratio[0]), (748544 + 3276800) / 256);
	EXPECT_EQ(ash_lowmem_reserve(managed, 1, 2, ratio[1]), 3276800 / 256);
	EXPECT_EQ(ash_lowmem_reserve(managed, 1, 3, ratio[1]), (3276800 + 65536) / 256);
	EXPECT_EQ(ash_lowmem_reserve(managed, 2, 3, ratio[2]), 65536 / 32);
	EXPECT_EQ(ash_lowmem_reserve(managed, 2, 1, ratio[2]), 0); /* from below, it was never a choice */
	EXPECT_EQ(ash_lowmem_reserve(managed, 1, 3, 0), 0);
	/* The low zone is open to those who have no other, and closed to those who had the one above. */
	fixture_init(&f, 3840, 9, 10, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 3840, false), 0);
	ash_zone_set_watermarks(f.z, 32, 10);
	for (unsigned j = 0; j < 2; j++) {
		const uint64_t reserve = ash_lowmem_reserve(managed, 0, j, ratio[0]);

		EXPECT(ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, 0, reserve, 32 + reserve + 1));
		EXPECT(!ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, 0, reserve, 32 + reserve));
	}
	fixture_end(&f);
}

/* The same in the zone itself: who had zones above to go to leaves their reserve alone, whatever the way. */
TEST(lowmem_reserve_is_kept_by_allocations)
{
	static const uint64_t reserve[ASH_LOWMEM_ZONES] = { 0, 40, 80, 120 };
	struct ash_watermarks w;
	struct ash_page_grant g;
	struct fixture f;

	for (unsigned marks = 0; marks < 2; marks++) {
		uint64_t left = marks * 64;

		fixture_init(&f, 256, 4, 6, 1);
		EXPECT_EQ(ash_zone_online(f.z, 0, 256, false), 0);
		ash_zone_set_watermarks(f.z, left, 10);
		ash_zone_set_lowmem_reserve(f.z, reserve);
		ash_zone_watermarks(f.z, &w);
		EXPECT_EQ(w.lowmem_reserve[2], 80);
		for (unsigned n = ASH_LOWMEM_ZONES; n-- > 0;) {
			const unsigned flags = ASH_ALLOC_FROM_ABOVE(n);

			while (ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, flags, n % 2 == 0 ? 0 : CPU_NONE, &g) == 0)
				;
			ash_zone_drain(f.z);
			EXPECT_EQ(stats(&f).free, left + reserve[n]);
			EXPECT_EQ(ash_zone_alloc_run(f.z, 3, 0, ASH_MT_MOVABLE, flags, &g), -ASH_ENOMEM);
			EXPECT_EQ(ash_zone_alloc_compact(f.z, 0, ASH_MT_MOVABLE, flags, &g), -ASH_ENOMEM);
			EXPECT_EQ(stats(&f).free, left + reserve[n]);
		}
		/* Taken back, and for those whom the marks do not stop. */
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_FROM_ABOVE(3), CPU_NONE, &g), -ASH_ENOMEM);
		ash_zone_set_lowmem_reserve(f.z, NULL);
		EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_FROM_ABOVE(3) | ASH_ALLOC_HIGHATOMIC,
					 CPU_NONE,
					 &g), marks == 1 ? 0 : -ASH_ENOMEM);
		fixture_end(&f);
	}
}

/* T96: [K memory_hotplug.c:online_pages, offline_pages] the marks follow what is present; a boost ends. */
TEST(watermarks_follow_what_is_present)
{
	struct ash_watermarks w;
	struct fixture f;
	bool zeroed;

	fixture_init(&f, 4096, 4, 6, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1024, false), 0);
	ash_zone_set_watermarks(f.z, 40, 1000);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.mark[ASH_WMARK_LOW], 40 + 102);
	atomic_store(&f.z->wmark_boost, 16);
	EXPECT_EQ(ash_zone_online(f.z, 1024, 1024, false), 0);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.mark[ASH_WMARK_MIN], 40);
	EXPECT_EQ(w.mark[ASH_WMARK_LOW], 40 + 204);
	EXPECT_EQ(w.mark[ASH_WMARK_HIGH], 40 + 2 * 204);
	EXPECT_EQ(w.boost, 0);
	EXPECT_EQ(ash_zone_offline(f.z, 0, 1536, &zeroed, NULL), 0);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.mark[ASH_WMARK_LOW], 40 + 51);
	fixture_end(&f);
}

TEST(watermark_order_needs_a_buddy)
{
	struct fixture f;

	fixture_init(&f, 64, 4, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (ash_pfn_t p = 0; p < 64; p++)
		EXPECT_EQ(alloc_pages(&f, 0, ASH_MT_MOVABLE), p);
	for (ash_pfn_t p = 0; p < 64; p += 2)
		ash_zone_free(f.z, p, 0, CPU_NONE);
	EXPECT(ash_zone_watermark_ok(f.z, 0, ASH_WMARK_MIN, 0, 0, 32));
	EXPECT(!ash_zone_watermark_ok(f.z, 1, ASH_WMARK_MIN, 0, 0, 32));
	ash_zone_free(f.z, 1, 0, CPU_NONE);
	EXPECT(ash_zone_watermark_ok(f.z, 1, ASH_WMARK_MIN, 0, 0, 33));
	EXPECT(!ash_zone_watermark_ok(f.z, 1, ASH_WMARK_MIN, 0, 32, 33)); /* kept for others */
	fixture_end(&f);
}

TEST(highatomic_joins_and_leaves)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_watermarks w;
	struct ash_zone_stats s;

	fixture_init(&f, 1600, 3, 5, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1600, false), 0); /* 1 %: two blocks */
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, 0, &g), 0);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.reserved_highatomic, 0); /* order 0 reserves nothing */
	EXPECT_EQ(ash_zone_alloc(f.z, 1, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, 0, &g), 0);
	ash_zone_watermarks(f.z, &w);
	EXPECT_EQ(w.reserved_highatomic, 8);
	s = stats(&f);
	EXPECT_EQ(s.pageblocks[ASH_MT_HIGHATOMIC], 1);
	EXPECT_GT(s.free_highatomic, 0);
	EXPECT(!ash_zone_unreserve_highatomic(f.z, ASH_MT_MOVABLE, false)); /* the last one stays */
	EXPECT(ash_zone_unreserve_highatomic(f.z, ASH_MT_MOVABLE, true));
	EXPECT(!ash_zone_unreserve_highatomic(f.z, ASH_MT_MOVABLE, true));
	s = stats(&f);
	EXPECT_EQ(s.pageblocks[ASH_MT_HIGHATOMIC], 0);
	EXPECT_EQ(s.free_highatomic, 0);
	fixture_end(&f);
}

TEST(highatomic_ordinary_requests_get_nothing_of_it)
{
	struct fixture f;
	struct ash_page_grant g;
	unsigned n = 0;

	fixture_init(&f, 1600, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1600, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 1, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE, &g), 0);
	while (ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, 0, CPU_NONE, &g) == 0)
		n++;
	EXPECT_EQ(n, 1600 - 8); /* all but the reserved block, which is down to one and stays */
	EXPECT_EQ(stats(&f).free, 6);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_HIGHATOMIC, CPU_NONE, &g), 0);
	EXPECT_EQ(stats(&f).free_highatomic, 5);
	fixture_end(&f);
}

TEST(deferred_free_is_finished_by_the_next)
{
	struct fixture f;
	ash_pfn_t a, b, c;

	fixture_init(&f, 64, 3, 5, 0);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	a = alloc_pages(&f, 2, ASH_MT_MOVABLE);
	b = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	c = alloc_pages(&f, 0, ASH_MT_MOVABLE);
	ash_zone_lock_all(f.z);
	ash_zone_free_trylock(f.z, a, 2, CPU_NONE);
	ash_zone_free_trylock(f.z, b, 0, CPU_NONE);
	ash_zone_unlock_all(f.z);
	EXPECT_EQ(stats(&f).free, 58);
	EXPECT_EQ(stats(&f).pgfree, 0);
	fixture_check(&f);
	EXPECT_BUG(ash_zone_free(f.z, a, 2, CPU_NONE));
	ash_zone_free(f.z, c, 0, CPU_NONE);
	EXPECT_EQ(stats(&f).free, 64);
	EXPECT_EQ(stats(&f).pgfree, 6);
	EXPECT_EQ(stats(&f).nr_free[5][ASH_MT_MOVABLE], 2);
	fixture_end(&f);
}

TEST(trylock_alloc_never_waits)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 64, 3, 5, 1);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	ash_zone_lock_all(f.z);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, 0, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc(f.z, 2, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, CPU_NONE, &g), -ASH_ENOMEM);
	EXPECT_EQ(ash_zone_alloc_run(f.z, 5, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, &g), -ASH_ENOMEM);
	ash_zone_unlock_all(f.z);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, ASH_ALLOC_TRYLOCK, 0, &g), 0);
	fixture_end(&f);
}
