/* SPDX-License-Identifier: MIT */
/* Contiguous ranges with a mover: content travels, every step can fail, frees in the middle of a move. */
#include "owner.h"

#include "page/offline.h"
#include "page/pageblock.h"

/* Fails at the n-th point asked, once. */
struct step_fault {
	struct ash_fault fault;
	unsigned at, asked;
};

static bool fail_at(struct ash_fault *fault, const char *point ASH_UNUSED)
{
	struct step_fault *s = ASH_CONTAINER_OF(fault, struct step_fault, fault);

	return s->asked++ == s->at;
}

/* A zone of 8 blocks of 8, three quarters full of movable pieces of orders 0 to 2, holes everywhere. */
static void scatter(struct fixture *f)
{
	uint64_t rng = test_seed;
	unsigned first;

	EXPECT_EQ(ash_zone_online(f->z, 0, 64, false), 0);
	for (unsigned i = 0; i < 64; i++)
		owner_alloc(f, 0);
	first = owner.nr;
	for (unsigned i = 0; i < first; i++) {
		if (test_random(&rng) % 8 < 5)
			owner_free(f, i);
	}
}

TEST(contig_moves_content)
{
	struct fixture f;
	struct ash_page_grant g;

	owner_init(&f, 64, 3, 5);
	scatter(&f);
	for (ash_pfn_t start = 0; start < 40; start += 3) {
		const uint64_t free_before = stats(&f).free;

		EXPECT_EQ(ash_zone_alloc_contig_range(f.z, start, 13, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL),
			  0);
		EXPECT_EQ(g.pfn, start);
		EXPECT_EQ(stats(&f).free, free_before - 13);
		EXPECT_EQ(stats(&f).isolated, 0);
		fixture_check(&f);
		owner_check(&f);
		for (unsigned i = 0; i < owner.nr; i++)
			EXPECT(owner.handle[i].pfn < start || owner.handle[i].pfn >= start + 13);
		ash_zone_free_run(f.z, start, 5);
		ash_zone_free_run(f.z, start + 5, 8);
	}
	EXPECT_GT(owner.migrated, 5);
	fixture_end(&f);
}

/* As soon as migrate has made it known: another thread may be the one that frees it. */
static void free_destination(struct ash_zone *z, ash_pfn_t dst, unsigned order)
{
	ash_zone_free_run_zeroed(z, dst, 1u << order);
}

TEST(contig_destination_may_be_freed_at_once)
{
	struct fixture f;
	struct ash_page_grant g;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 3; i++)
		owner_alloc(&f, 3);
	owner.after = free_destination;
	/* Each piece had been a whole pageblock: its word must not be left in the books of a free one. */
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, owner.handle[0].pfn & ~7u, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER,
					      &g, NULL), 0);
	EXPECT_EQ(owner.migrated, 1);
	fixture_check(&f);
	EXPECT_EQ(stats(&f).free, 64 - 24);
	fixture_end(&f);
}

TEST(contig_no_room)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_busy entry[1];
	struct ash_busy_list busy = { entry, 1, 0 };

	owner_init(&f, 32, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 32, false), 0);
	for (unsigned i = 0; i < 32; i++)
		owner_alloc(&f, 0);
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 8, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].why, ASH_BUSY_NO_MEMORY);
	EXPECT_EQ(owner.putback, 1);
	EXPECT_EQ(stats(&f).isolated, 0);
	owner_check(&f);
	fixture_end(&f);
}

TEST(contig_pinned_is_reported)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_busy entry[4];
	struct ash_busy_list busy = { entry, 4, 0 };

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 16; i++)
		owner_alloc(&f, 0);
	owner.handle[11].pinned = true;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 8, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, &busy), -ASH_EBUSY);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 11);
	EXPECT_EQ(entry[0].why, ASH_BUSY_PINNED);
	EXPECT_EQ(stats(&f).isolated, 0);
	EXPECT_EQ(stats(&f).free, 48);
	owner.handle[11].pinned = false;
	owner.fail_migrate = true;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 8, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), -ASH_EBUSY);
	owner.fail_migrate = false;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 8, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), 0);
	owner_check(&f);
	fixture_end(&f);
}

static unsigned freed_during;

static void free_source(struct ash_zone *z, ash_pfn_t src, unsigned order)
{
	ash_zone_free(z, src, order, ASH_CPU_NONE);
	freed_during++;
	owner.during = NULL;
	bug_what = NULL;
	if (setjmp(bug_return) == 0)
		ash_zone_free(z, src, order, ASH_CPU_NONE);
	EXPECT(bug_what != NULL); /* freeing it twice is still seen */
}

TEST(contig_free_while_moving_is_completed)
{
	struct fixture f;
	struct ash_page_grant g;

	for (int failing = 0; failing < 2; failing++) {
		freed_during = 0;
		owner_init(&f, 64, 3, 5);
		EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
		for (unsigned i = 0; i < 9; i++)
			owner_alloc(&f, 0);
		owner.during = free_source;
		owner.fail_migrate = failing;
		EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 8, 4, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), 0);
		EXPECT_EQ(freed_during, 1);
		EXPECT_EQ(owner.putback, 0);
		EXPECT_EQ(stats(&f).free, 64 - 8 - 4); /* neither source nor destination remain */
		ash_zone_free_run(f.z, 8, 4);
		fixture_end(&f);
	}
}

TEST(contig_every_step_can_fail)
{
	unsigned steps = 0;

	if (!ASH_CHECKS)
		SKIP("fault points are compiled out (build with -Dchecks=true)");
	for (unsigned at = 0;; at++) {
		struct step_fault s = { { fail_at }, at, 0 };
		struct fixture f;
		struct ash_page_grant g;
		struct ash_zone_config c = { .nr_frames = 64, .geometry = { 3, 5 } };
		uint64_t free_before;
		int err;

		owner_init(&f, 64, 3, 5);
		f.ops.fault = &s.fault;
		c.frames = f.frames;
		c.pageblocks = f.pageblocks;
		c.ops = &f.ops;
		EXPECT_EQ(ash_zone_init(f.z, &c), 0);
		scatter(&f);
		/* A neighbour that somebody else has isolated stays so, whatever fails here. */
		s.at = UINT32_MAX;
		EXPECT_EQ(ash_zone_isolate_range(f.z, 56, 8, ASH_ISOLATE_OTHER, NULL), 0);
		s.at = at;
		s.asked = 0;
		free_before = stats(&f).free;
		err = ash_zone_alloc_contig_range(f.z, 5, 20, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL);
		fixture_check(&f);
		owner_check(&f);
		EXPECT_EQ(stats(&f).isolated, 1);
		if (err != 0) {
			EXPECT_EQ(stats(&f).free, free_before);
			steps++;
		} else {
			EXPECT_EQ(stats(&f).free, free_before - 20);
		}
		if (s.asked <= at) {
			EXPECT_EQ(err, 0);
			fixture_end(&f);
			break;
		}
		fixture_end(&f);
	}
	EXPECT_GE(steps, 6);
}

static ash_pfn_t cache[16];
static bool cache_busy;

static int drop(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	for (unsigned i = 0; i < 16; i++) {
		if (cache[i] == pfn && !cache_busy) {
			ash_zone_free(z, pfn, order, ASH_CPU_NONE);
			cache[i] = ASH_PFN_NONE;
			return 0;
		}
	}
	return -ASH_EBUSY;
}

static int drop_nothing(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn ASH_UNUSED, unsigned order ASH_UNUSED)
{
	return 0; /* a lie */
}

TEST(contig_reclaimable_is_dropped)
{
	static const struct ash_shrinker_ops shrinker = { drop }, liar = { drop_nothing };
	struct fixture f;
	struct ash_page_grant g;
	struct ash_busy entry[4];
	struct ash_busy_list busy = { entry, 4, 0 };

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 16; i++)
		cache[i] = alloc_pages(&f, 0, ASH_MT_RECLAIMABLE);
	EXPECT_EQ(cache[15], 15);
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 4, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, &busy), -ASH_EBUSY);
	EXPECT_EQ(entry[0].why, ASH_BUSY_UNMOVABLE); /* nobody to drop it */
	f.ops.shrinker = &liar;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 4, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), -ASH_EBUSY);
	f.ops.shrinker = &shrinker;
	cache_busy = true;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 4, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), -ASH_EBUSY);
	EXPECT_EQ(stats(&f).free, 48);
	cache_busy = false;
	EXPECT_EQ(ash_zone_alloc_contig_range(f.z, 4, 8, ASH_MT_UNMOVABLE, ASH_ISOLATE_OTHER, &g, NULL), 0);
	EXPECT_EQ(cache[4], ASH_PFN_NONE);
	EXPECT_EQ(cache[3], 3);
	EXPECT_EQ(cache[12], 12);
	fixture_end(&f);
}

TEST(contig_search_respects_alignment_boundary_limits)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_contig_request r = { .nr = 12, .align_order = 2, .boundary_order = 4, .low = 6,
					.mt = ASH_MT_UNMOVABLE };

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (unsigned i = 0; i < 20; i++)
		owner_alloc(&f, 0);
	/* Free memory first: 16 would be the first start, but frames 16-19 are taken; 20 + 12 ends at 32. */
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, NULL), 0);
	EXPECT_EQ(g.pfn, 20);
	EXPECT_EQ(owner.migrated, 0);
	r.high = 16;
	r.low = 0;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, NULL), 0); /* only by moving */
	EXPECT_EQ(g.pfn, 0);
	EXPECT_GE(owner.migrated, 12);
	owner_check(&f);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, NULL), -ASH_ENOMEM);
	r.nr = 17;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, NULL), -ASH_EINVAL);
	fixture_end(&f);
}

/* A search that finds nothing says what was in the way of the last range that it looked at. */
TEST(contig_search_says_what_is_in_the_way)
{
	struct fixture f;
	struct ash_page_grant g;
	struct ash_busy entry[4];
	struct ash_busy_list busy = { entry, 4, 0 };
	struct ash_contig_request r = { .nr = 8, .align_order = 3, .mt = ASH_MT_UNMOVABLE };
	enum ash_migratetype was;
	ash_pfn_t held;
	unsigned order;
	bool zeroed;

	owner_init(&f, 64, 3, 5);
	EXPECT_EQ(ash_zone_online(f.z, 0, 64, false), 0);
	for (ash_pfn_t pfn = 0; pfn < 16; pfn += 8)
		EXPECT_EQ(alloc_pages(&f, 3, ASH_MT_UNMOVABLE), pfn);
	EXPECT_EQ(ash_zone_isolate_range(f.z, 16, 8, ASH_ISOLATE_OTHER, NULL), 0);
	r.high = 16;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 15);
	EXPECT_EQ(entry[0].why, ASH_BUSY_UNMOVABLE);
	r.high = 24;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 16);
	EXPECT_EQ(entry[0].why, ASH_BUSY_ISOLATED);
	EXPECT_EQ(ash_zone_report_begin_max(f.z, 3, 3, &held, &order), 0);
	r.low = held;
	r.high = held + 8;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(entry[0].pfn, held);
	EXPECT_EQ(entry[0].why, ASH_BUSY_TRANSIENT);
	ash_zone_report_end(f.z, held, order, false);
	/* Movable, but pinned: found out by trying. */
	r = (struct ash_contig_request){ .nr = 8, .align_order = 3, .low = 24, .high = 32, .mt = ASH_MT_UNMOVABLE };
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), 0);
	ash_zone_free_run(f.z, 24, 8);
	while (owner.nr == 0 || owner.handle[owner.nr - 1].pfn != 31)
		owner_alloc(&f, 0);
	/* Room to move to. */
	for (unsigned i = 0; i < 16; i++)
		owner_free(&f, i);
	owner.handle[owner.nr - 1].pinned = owner.handle[owner.nr - 4].pinned = true;
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(busy.nr, 2);
	EXPECT_EQ(entry[0].pfn, 28);
	EXPECT_EQ(entry[1].pfn, 31);
	EXPECT_EQ(entry[1].why, ASH_BUSY_PINNED);
	/* An area (of which only the type is here), and what is not there. */
	was = ash_pageblock_type(f.z, 24);
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, 24, ASH_MT_CMA);
	ash_zone_unlock(f.z);
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(busy.nr, 1);
	EXPECT_EQ(entry[0].pfn, 24);
	EXPECT_EQ(entry[0].why, ASH_BUSY_RESERVED);
	ash_zone_lock(f.z);
	ash_pageblock_set_type(f.z, 24, was);
	ash_zone_unlock(f.z);
	ash_zone_unisolate_range(f.z, 16, 8);
	EXPECT_EQ(ash_zone_offline(f.z, 16, 8, &zeroed, NULL), 0);
	r = (struct ash_contig_request){ .nr = 8, .low = 16, .high = 24, .mt = ASH_MT_UNMOVABLE };
	EXPECT_EQ(ash_zone_alloc_contig(f.z, &r, &g, &busy), -ASH_ENOMEM);
	EXPECT_EQ(entry[0].pfn, 16);
	EXPECT_EQ(entry[0].why, ASH_BUSY_OFFLINE);
	fixture_end(&f);
}
