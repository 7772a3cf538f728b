/* SPDX-License-Identifier: MIT */
/* An owner of MOVABLE pieces that can be moved: each has a handle, and each frame a content that must travel. */
#ifndef ASH_TESTS_UNIT_PAGE_OWNER_H
#define ASH_TESTS_UNIT_PAGE_OWNER_H

#include "fixture.h"

#include "base/fault.h"
#include "page/contig.h"
#include "page/mover.h"

#define OWNER_MAX 1024

struct owner {
	struct { ash_pfn_t pfn; unsigned order; bool isolated, pinned; } handle[OWNER_MAX];
	unsigned nr;
	uint32_t content[4096]; /* per frame */
	unsigned migrated, refused, putback;
	bool fail_migrate;
	void (*during)(struct ash_zone *z, ash_pfn_t src, unsigned order); /* called in the middle of a migration */
	void (*after)(struct ash_zone *z, ash_pfn_t dst, unsigned order);  /* and at its end */
};

static struct owner owner;

static unsigned owner_find(ash_pfn_t pfn)
{
	unsigned i = 0;

	while (i < owner.nr && owner.handle[i].pfn != pfn)
		i++;
	return i;
}

static int owner_isolate(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn, unsigned order)
{
	const unsigned i = owner_find(pfn);

	if (i == owner.nr || owner.handle[i].order != order || owner.handle[i].isolated || owner.handle[i].pinned) {
		owner.refused++;
		return -ASH_EBUSY;
	}
	owner.handle[i].isolated = true;
	return 0;
}

static int owner_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	const unsigned i = owner_find(src);

	if (owner.during != NULL)
		owner.during(z, src, order);
	if (owner.fail_migrate)
		return -ASH_EBUSY;
	for (ash_pfn_t f = 0; f < 1u << order; f++)
		owner.content[dst + f] = owner.content[src + f];
	owner.handle[i].pfn = dst;
	owner.handle[i].isolated = false;
	owner.migrated++;
	if (owner.after != NULL) {
		owner.handle[i].pfn = ASH_PFN_NONE;
		owner.after(z, dst, order);
	}
	return 0;
}

static void owner_putback(struct ash_zone *z ASH_UNUSED, ash_pfn_t pfn, unsigned order ASH_UNUSED)
{
	owner.handle[owner_find(pfn)].isolated = false;
	owner.putback++;
}

static const struct ash_mover_ops owner_ops = { owner_isolate, owner_migrate, owner_putback };

static inline void owner_init(struct fixture *f, ash_pfn_t nr_frames, unsigned pageblock_order, unsigned max_order)
{
	memset(&owner, 0, sizeof(owner));
	fixture_init(f, nr_frames, pageblock_order, max_order, 0);
	f->ops.mover = &owner_ops;
}

/* A piece with content; returns its handle. */
static inline unsigned owner_alloc(struct fixture *f, unsigned order)
{
	const ash_pfn_t pfn = alloc_pages(f, order, ASH_MT_MOVABLE);
	const unsigned i = owner.nr++;

	EXPECT_NE(pfn, ASH_PFN_NONE);
	owner.handle[i].pfn = pfn;
	owner.handle[i].order = order;
	for (ash_pfn_t k = 0; k < 1u << order; k++)
		owner.content[pfn + k] = i * 16 + k + 1;
	ash_zone_set_private(f->z, pfn, i);
	return i;
}

static inline void owner_free(struct fixture *f, unsigned i)
{
	ash_zone_free(f->z, owner.handle[i].pfn, owner.handle[i].order, CPU_NONE);
	owner.handle[i].pfn = ASH_PFN_NONE;
}

/* Every live piece still has its content, and its private word. */
static inline void owner_check(struct fixture *f)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < owner.nr; i++) {
		const ash_pfn_t pfn = owner.handle[i].pfn;

		if (pfn == ASH_PFN_NONE)
			continue;
		seen++;
		EXPECT_EQ(ash_zone_private(f->z, pfn), i);
		for (ash_pfn_t k = 0; k < 1u << owner.handle[i].order; k++)
			EXPECT_EQ(owner.content[pfn + k], i * 16 + k + 1);
	}
	EXPECT_GT(seen, 0);
}

#endif
