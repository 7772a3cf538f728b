/* SPDX-License-Identifier: MIT */
/* The simplest owner of movable pieces: it agrees to every move and counts; frames have no content. */
#ifndef ASH_TESTS_SCENARIO_OWNER_H
#define ASH_TESTS_SCENARIO_OWNER_H

#include "scenario/scene.h"

static ash_pfn_t owner_pinned; /* refuses to be isolated */
static unsigned owner_moves;

static int owner_isolate(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)order;
	return pfn == owner_pinned ? -ASH_EBUSY : 0;
}

static int owner_migrate(struct ash_zone *z, ash_pfn_t dst, ash_pfn_t src, unsigned order)
{
	(void)z;
	(void)dst;
	(void)src;
	(void)order;
	owner_moves++;
	return 0;
}

static void owner_putback(struct ash_zone *z, ash_pfn_t pfn, unsigned order)
{
	(void)z;
	(void)pfn;
	(void)order;
}

static inline void owner_open(struct scene *s, unsigned pageblock_order, unsigned max_order, const char *types,
			      unsigned nr_cpus)
{
	static const struct ash_mover_ops mover = { owner_isolate, owner_migrate, owner_putback };

	owner_pinned = ASH_PFN_NONE;
	owner_moves = 0;
	scene_mover = &mover;
	scene_open_edge(s, pageblock_order, max_order, types, 0, 0, nr_cpus);
	scene_mover = NULL;
}

#endif
