/* SPDX-License-Identifier: MIT */
/*
 * For the tests of corners: what no run of operations leads to, or only by chance. corners.c has refused arguments,
 * reports and reserves, corners_move.c what moves, corners_layers.c what lies on top. tests/coverage says what is left
 * after them.
 */
#ifndef ASH_TESTS_UNIT_PAGE_CORNERS_H
#define ASH_TESTS_UNIT_PAGE_CORNERS_H

#include "owner.h"

#include "page/pcp.h"

/* 128 free frames in pageblocks of eight, with one pcp. */
ASH_UNUSED static void open_zone(struct fixture *f)
{
	fixture_init(f, 128, 3, 5, 1);
	EXPECT_EQ(ash_zone_online(f->z, 0, 128, false), 0);
}

/* The same, its pcp with one owner at a time, and with a count of what spoils each span of 2^5 frames. */
static uint32_t tainted[4];

static void no_barrier(void)
{
}

/* With one slot, owned; all of it online. */
ASH_UNUSED static void open_owned_zone(struct fixture *f, ash_pfn_t nr_frames, bool zeroed)
{
	struct ash_zone_config c = { .nr_frames = nr_frames, .geometry = { 3, 5 }, .nr_cpus = 1, .pcp_owned = true,
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
	EXPECT_EQ(ash_zone_online(f->z, 0, nr_frames, zeroed), 0);
}

ASH_UNUSED static void open_owned(struct fixture *f)
{
	open_owned_zone(f, 116, false);
}

ASH_UNUSED static int alloc_how(struct fixture *f, unsigned order, enum ash_migratetype mt, unsigned flags,
				unsigned cpu)
{
	struct ash_page_grant g;

	return ash_zone_alloc(f->z, order, mt, flags, cpu, &g);
}

ASH_UNUSED static int alloc_run(struct fixture *f, ash_pfn_t nr, unsigned align_order, enum ash_migratetype mt)
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

#endif
