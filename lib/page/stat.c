/* SPDX-License-Identifier: MIT */
/* Fragmentation indices. */
#include "page/stat.h"

struct free_info {
	uint64_t frames, buddies, suitable; /* suitable: how many pieces of the order the larger buddies make */
};

static struct free_info count_free(const struct ash_zone_stats *s, unsigned order)
{
	struct free_info n = { 0, 0, 0 };

	for (unsigned o = 0; o < ASH_NR_ORDERS; o++) {
		uint64_t nr = 0;

		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			nr += s->nr_free[o][mt];
		n.buddies += nr;
		n.frames += nr << o;
		if (o >= order)
			n.suitable += nr << (o - order);
	}
	return n;
}

int ash_unusable_index(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	return n.frames == 0 ? 1000 : (int)((n.frames - (n.suitable << order)) * 1000 / n.frames);
}

int ash_fragmentation_index(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	if (n.buddies == 0)
		return 0;
	if (n.suitable > 0)
		return -1000;
	return 1000 - (int)((1000 + (n.frames * 1000 >> order)) / n.buddies);
}

unsigned ash_extfrag_for_order(const struct ash_zone_stats *s, unsigned order)
{
	const struct free_info n = count_free(s, order);

	return n.frames == 0 ? 0 : (unsigned)((n.frames - (n.suitable << order)) * 100 / n.frames);
}

const char *ash_migratetype_name(enum ash_migratetype mt)
{
	switch (mt) {
	case ASH_MT_UNMOVABLE:
		return "Unmovable";
	case ASH_MT_MOVABLE:
		return "Movable";
	case ASH_MT_RECLAIMABLE:
		return "Reclaimable";
	case ASH_MT_HIGHATOMIC:
		return "HighAtomic";
	case ASH_MT_CMA:
		return "CMA";
	case ASH_MT_ISOLATE:
		return "Isolate";
	default:
		return "?";
	}
}
