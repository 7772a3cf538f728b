/* SPDX-License-Identifier: MIT */
/* Offlining: isolate, empty, and take what is then free off the lists for good. */
#include "page/offline.h"

#include "page/migrate.h"
#include "page/pcp.h"
#include "page/reserve.h"
#include "page/run.h"

void ash_zone_pcp_disable(struct ash_zone *z)
{
	ash_zone_lock(z);
	z->pcp_disabled++;
	ash_pcp_resize(z);
	ash_zone_unlock(z);
	/* Every pcp, also those that look empty: whoever is inside now has read the old mark. */
	for (unsigned i = 0; i < z->nr_cpus; i++)
		ash_pcp_drain(z, &z->pcps[i]);
}

void ash_zone_pcp_enable(struct ash_zone *z)
{
	ash_zone_lock(z);
	z->pcp_disabled--;
	ash_pcp_resize(z);
	ash_zone_unlock(z);
}

/* The isolated range leaves the zone, if all of it is free. The frames' words are 0 afterwards, as if never online. */
static bool remove_isolated(struct ash_zone *z, ash_pfn_t start, ash_pfn_t end, bool *zeroed)
{
	bool ok;

	ash_zone_lock(z);
	ok = !ASH_FAULT(z->fault, "offline remove") && ash_run_takeable(z, start, end, ASH_MT_ISOLATE, 0);
	if (ok) {
		*zeroed = ash_run_take(z, start, end, ASH_MT_ISOLATE);
		for (ash_pfn_t b = start; b < end; b += ash_pageblock_frames(z)) {
			if (ash_pageblock_stored_type(z, b) == ASH_MT_HIGHATOMIC)
				z->reserved_highatomic -= ash_pageblock_frames(z);
			ash_pageblock_set_offline(z, b);
		}
		ash_counter_add(&z->present, -(uint64_t)(end - start));
		ash_pcp_resize(z);
		ash_reserve_resize(z);
	}
	ash_zone_unlock(z);
	return ok;
}

int ash_zone_offline(struct ash_zone *z, ash_pfn_t start, ash_pfn_t nr, bool *zeroed, struct ash_busy_list *busy)
{
	const ash_pfn_t mask = ash_pageblock_frames(z) - 1;
	int err;

	if (((start | nr) & mask) != 0)
		return -ASH_EINVAL;
	ash_zone_pcp_disable(z);
	err = ash_zone_isolate_range(z, start, nr, ASH_ISOLATE_OFFLINE, busy);
	if (err == 0) {
		err = ash_migrate_range(z, start, start + nr, busy);
		if (err == 0 && !remove_isolated(z, start, start + nr, zeroed)) {
			err = -ASH_EBUSY;
			if (ash_zone_test_range_isolated(z, start, nr, busy) == 0)
				ash_busy_add(busy, start, nr, ASH_BUSY_TRANSIENT);
		}
		if (err != 0)
			ash_zone_unisolate_range(z, start, nr);
	}
	ash_zone_pcp_enable(z);
	return err;
}
