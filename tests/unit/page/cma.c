/* SPDX-License-Identifier: MIT */
/* CMA areas, offlining, pcps switched off. */
#include "owner.h"

#include "page/cma.h"
#include "page/offline.h"

static unsigned long bitmap[2][16];

static ash_pfn_t alloc_flags(struct fixture *f, unsigned flags)
{
	struct ash_page_grant g;

	return ash_zone_alloc(f->z, 0, ASH_MT_MOVABLE, flags, 0, &g) == 0 ? g.pfn : ASH_PFN_NONE;
}

TEST(cma_lends_and_takes_back)
{
	struct fixture f;
	struct ash_cma cma;
	ash_pfn_t pfn;

	memset(bitmap, 0, sizeof(bitmap));
	owner_init(&f, 128, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 128, false), 0);
	EXPECT_EQ(ash_cma_init(&cma, f.z, "test", 4), -ASH_EINVAL); /* more than a pageblock per bit */
	EXPECT_EQ(ash_cma_init(&cma, f.z, "test", 0), 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 8, 12, bitmap[0], NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_cma_add_range(&cma, 8, 24, bitmap[0], NULL), 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 64, 16, bitmap[1], NULL), 0);
	fixture_check(&f);
	EXPECT_EQ(stats(&f).free_cma, 40);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_CMA], 5);
	EXPECT_EQ(cma.available, 40);

	/* Without the flag nothing of it is touched. */
	for (unsigned i = 0; i < 128 - 40; i++) {
		pfn = alloc_flags(&f, 0);
		EXPECT(pfn < 8 || (pfn >= 32 && pfn < 64) || (pfn >= 80 && pfn < 128));
	}
	EXPECT_EQ(alloc_flags(&f, 0), ASH_PFN_NONE);
	EXPECT_EQ(ash_cma_alloc(&cma, 12, 2, &pfn, NULL), 0);
	EXPECT_EQ(pfn, 8);
	EXPECT_EQ(cma.available, 28);
	EXPECT_EQ(ash_cma_alloc(&cma, 28, 0, &pfn, NULL), -ASH_ENOMEM); /* as much as is free, in two ranges */
	EXPECT_EQ(ash_cma_alloc(&cma, 16, 5, &pfn, NULL), 0);
	EXPECT_EQ(pfn, 64);
	EXPECT_EQ(cma.available, 12);
	EXPECT_EQ(ash_cma_destroy(&cma, NULL), -ASH_EBUSY);
	EXPECT(!ash_cma_release(&cma, 0, 4));
	EXPECT(!ash_cma_release(&cma, 72, 16));
	EXPECT(ash_cma_release(&cma, 64, 16));
	EXPECT(ash_cma_release(&cma, 8, 12));
	EXPECT_EQ(cma.available, 40);
	EXPECT_EQ(stats(&f).free_cma, 40);
	EXPECT_EQ(ash_cma_destroy(&cma, NULL), 0);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_CMA], 0);
	EXPECT_EQ(stats(&f).free_cma, 0);
	fixture_end(&f);
}

/* A zone of 128 frames and an area without ranges. */
static void open_area(struct fixture *f, struct ash_cma *cma, unsigned order_per_bit)
{
	memset(bitmap, 0, sizeof(bitmap));
	owner_init(f, 128, 3, 5);
	EXPECT_EQ(ash_zone_online(f->z, 0, 128, false), 0);
	EXPECT_EQ(ash_cma_init(cma, f->z, "test", order_per_bit), 0);
}

/* [K cma_sysfs.c, cma_debug.c, vm_event_item.h] what there is of an area, and what became of requests. */
TEST(cma_statistics)
{
	struct ash_cma_stats n;
	struct ash_cma cma;
	struct fixture f;
	ash_pfn_t pfn;

	open_area(&f, &cma, 1);
	EXPECT_EQ(stats(&f).cma, 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 8, 24, bitmap[0], NULL), 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 64, 16, bitmap[1], NULL), 0);
	EXPECT_EQ(stats(&f).cma, 40);
	ash_cma_stats(&cma, &n);
	EXPECT_EQ(n.total_pages, 40);
	EXPECT_EQ(n.available_pages, 40);
	EXPECT_EQ(n.maxchunk, 24);
	EXPECT_EQ(ash_cma_alloc(&cma, 6, 3, &pfn, NULL), 0);
	EXPECT_EQ(ash_cma_alloc(&cma, 4, 4, &pfn, NULL), 0);
	EXPECT_EQ(pfn, 16);
	EXPECT_EQ(ash_cma_alloc(&cma, 17, 0, &pfn, NULL), -ASH_ENOMEM);
	ash_cma_stats(&cma, &n);
	EXPECT_EQ(n.available_pages, 30);
	EXPECT_EQ(n.maxchunk, 16); /* the other range */
	EXPECT_EQ(n.alloc_success, 2);
	EXPECT_EQ(n.alloc_fail, 1);
	EXPECT_EQ(n.alloc_pages_success, 10);
	EXPECT_EQ(n.alloc_pages_fail, 17);
	EXPECT_EQ(n.release_pages_success, 0);
	EXPECT_EQ(ash_cma_alloc(&cma, 16, 6, &pfn, NULL), 0);
	ash_cma_stats(&cma, &n);
	EXPECT_EQ(n.maxchunk, 12);
	EXPECT(ash_cma_release(&cma, 16, 4));
	EXPECT(ash_cma_release(&cma, 64, 16));
	EXPECT(!ash_cma_release(&cma, 0, 8));
	ash_cma_stats(&cma, &n);
	EXPECT_EQ(n.release_pages_success, 20);
	EXPECT_EQ(n.available_pages, 34);
	EXPECT_EQ(stats(&f).cma_alloc_success, 3);
	EXPECT_EQ(stats(&f).cma_alloc_fail, 1);
	EXPECT_EQ(stats(&f).cma, 40);
	EXPECT(ash_cma_release(&cma, 8, 6));
	EXPECT_EQ(ash_cma_destroy(&cma, NULL), 0);
	EXPECT_EQ(stats(&f).cma, 0);
	fixture_end(&f);
}

static bool always(struct ash_zone *z ASH_UNUSED)
{
	return true;
}

/* Unlike a busy place, an interruption is not answered by trying the next one. */
TEST(cma_interrupted)
{
	struct ash_cma_stats n;
	struct ash_cma cma;
	struct fixture f;
	ash_pfn_t pfn;

	open_area(&f, &cma, 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 0, 16, bitmap[0], NULL), 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 64, 16, bitmap[1], NULL), 0);
	/* Everything is lent; then the second range is free again, and would serve. */
	while (alloc_flags(&f, ASH_ALLOC_CMA) != ASH_PFN_NONE)
		;
	ash_zone_free_run(f.z, 64, 16);
	f.ops.interrupted = always;
	EXPECT_EQ(ash_cma_alloc(&cma, 4, 0, &pfn, NULL), -ASH_EINTR);
	ash_cma_stats(&cma, &n);
	EXPECT_EQ(n.available_pages, 32);
	EXPECT_EQ(n.maxchunk, 16);
	EXPECT_EQ(n.alloc_fail, 1);
	EXPECT_EQ(stats(&f).isolated, 0);
	EXPECT_EQ(ash_cma_destroy(&cma, NULL), -ASH_EINTR);
	EXPECT_EQ(stats(&f).pageblocks[ASH_MT_CMA], 4);
	fixture_end(&f);
}

TEST(cma_moves_borrowers_out_and_passes_the_pinned)
{
	struct fixture f;
	struct ash_cma cma;
	struct ash_busy entry[4];
	struct ash_busy_list busy = { entry, 4, 0 };
	ash_pfn_t pfn;
	unsigned long before;

	memset(bitmap, 0, sizeof(bitmap));
	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	EXPECT_EQ(ash_cma_init(&cma, f.z, "test", 0), 0);
	EXPECT_EQ(ash_cma_add_range(&cma, 0, 32, bitmap[0], NULL), 0);
	for (unsigned i = 0; i < 32; i++)
		EXPECT_GE(alloc_pages(&f, 0, ASH_MT_MOVABLE), 32);
	EXPECT_EQ(alloc_flags(&f, 0), ASH_PFN_NONE);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT_EQ(alloc_flags(&f, ASH_ALLOC_CMA), i); /* borrowed */
		owner.handle[i].pfn = i;
		owner.content[i] = i * 16 + 1;
		ash_zone_set_private(f.z, i, i);
		owner.nr++;
	}
	ash_zone_free_run(f.z, 40, 8); /* room to move to */
	owner.handle[2].pinned = true;
	before = bitmap[0][0];
	EXPECT_EQ(ash_cma_alloc(&cma, 32, 0, &pfn, &busy), -ASH_EBUSY);
	EXPECT_EQ(entry[0].why, ASH_BUSY_PINNED);
	EXPECT_EQ(bitmap[0][0], before);
	EXPECT_EQ(cma.available, 32);
	EXPECT_EQ(cma.alloc_fail, 1);
	fixture_check(&f);
	/* A smaller buffer finds the next aligned place behind the pinned frame. */
	EXPECT_EQ(ash_cma_alloc(&cma, 16, 4, &pfn, NULL), 0);
	EXPECT_EQ(pfn, 16);
	owner.handle[2].pinned = false;
	EXPECT_EQ(ash_cma_alloc(&cma, 16, 4, &pfn, NULL), 0);
	EXPECT_EQ(pfn, 0);
	owner_check(&f);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_GE(owner.handle[i].pfn, 32);
	EXPECT(ash_cma_release(&cma, 0, 16));
	EXPECT(ash_cma_release(&cma, 16, 16));
	fixture_end(&f);
}

TEST(offline_empties_and_removes)
{
	struct fixture f;
	bool zeroed = true;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 10; i++)
		owner_alloc(&f, 0);
	EXPECT_EQ(ash_zone_offline(f.z, 0, 12, &zeroed, NULL), -ASH_EINVAL);
	EXPECT_EQ(ash_zone_offline(f.z, 0, 16, &zeroed, NULL), 0);
	EXPECT(!zeroed);
	EXPECT_EQ(stats(&f).present, 48);
	EXPECT_EQ(stats(&f).free, 38);
	EXPECT_EQ(stats(&f).isolated, 0);
	owner_check(&f);
	fixture_check(&f);
	EXPECT_EQ(ash_zone_offline(f.z, 0, 16, &zeroed, NULL), -ASH_EBUSY); /* it is not there */
	EXPECT_EQ(ash_zone_online(f.z, 0, 16, true), 0);
	EXPECT_EQ(stats(&f).present, 64);
	EXPECT_EQ(ash_zone_offline(f.z, 0, 16, &zeroed, NULL), 0);
	EXPECT(zeroed);
	fixture_end(&f);
}

TEST(offline_refused_leaves_everything)
{
	struct fixture f;
	struct ash_busy entry[2];
	struct ash_busy_list busy = { entry, 2, 0 };
	bool zeroed;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 10; i++)
		owner_alloc(&f, 0);
	owner.handle[9].pinned = true;
	EXPECT_EQ(ash_zone_offline(f.z, 8, 8, &zeroed, &busy), -ASH_EBUSY);
	EXPECT_EQ(entry[0].pfn, 9);
	EXPECT_EQ(entry[0].why, ASH_BUSY_PINNED);
	EXPECT_EQ(stats(&f).present, 64);
	EXPECT_EQ(stats(&f).free, 54);
	owner_check(&f);
	fixture_end(&f);
}

TEST(pcp_disabled_keeps_nothing)
{
	struct fixture f;
	struct ash_page_grant g;

	fixture_init(&f, 1u << 14, 9, 10, 2);
	EXPECT_EQ(ash_zone_online(f.z, 0, 1u << 14, false), 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 1, &g), 0);
	EXPECT_GT(stats(&f).pcp, 0);
	ash_zone_pcp_disable(f.z);
	ash_zone_pcp_disable(f.z);
	EXPECT_EQ(stats(&f).pcp, 0);
	ash_zone_free(f.z, g.pfn, 0, 1);
	EXPECT_EQ(stats(&f).pcp, 0);
	EXPECT_EQ(ash_zone_alloc(f.z, 9, ASH_MT_MOVABLE, 0, 0, &g), 0);
	EXPECT_EQ(stats(&f).pcp, 0);
	ash_zone_free_trylock(f.z, g.pfn, 9, 0);
	EXPECT_EQ(stats(&f).pcp, 0);
	ash_zone_pcp_enable(f.z);
	EXPECT_EQ(ash_zone_alloc(f.z, 0, ASH_MT_MOVABLE, 0, 1, &g), 0);
	EXPECT_EQ(stats(&f).pcp, 0);
	ash_zone_pcp_enable(f.z);
	ash_zone_free(f.z, g.pfn, 0, 1);
	EXPECT_EQ(stats(&f).pcp, 1);
	fixture_end(&f);
}
