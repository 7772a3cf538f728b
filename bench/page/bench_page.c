/* SPDX-License-Identifier: MIT */
/*
 * What a piece costs: the page core alone, by the patterns of patterns.h. bench_page has the hit inline, as an
 * embedder's allocation loop would; bench_page_called calls ash_zone_alloc() and ash_zone_free().
 *
 *      bench_page [frames-log2, 20] [threads, 1] [lowest order, 0] [highest, 18] [rounds, 7]
 */
#include "page/hit.h"
#include "sim.h"

#ifdef BENCH_CALLED
static uint64_t bench_get(unsigned order, unsigned cpu)
{
	struct ash_page_grant g;

	if (ash_zone_alloc(zone, order, ASH_MT_UNMOVABLE, 0, cpu, &g) != 0)
		sim_fail("out of frames");
	return g.pfn;
}

static void bench_put(uint64_t pfn, unsigned order, unsigned cpu)
{
	ash_zone_free(zone, (ash_pfn_t)pfn, order, cpu);
}
#else
static struct ash_pcp *bench_pcp[64];

ASH_INLINE uint64_t bench_get(unsigned order, unsigned cpu)
{
	struct ash_page_grant hit, miss; /* two, for that of a hit is then in registers */

	if (ash_hit_alloc(zone, bench_pcp[cpu], order, ASH_MT_UNMOVABLE, &hit))
		return hit.pfn;
	if (ash_zone_alloc(zone, order, ASH_MT_UNMOVABLE, 0, cpu, &miss) != 0)
		sim_fail("out of frames");
	return miss.pfn;
}

ASH_INLINE void bench_put(uint64_t pfn, unsigned order, unsigned cpu)
{
	if (!ash_hit_free(zone, bench_pcp[cpu], (ash_pfn_t)pfn, order))
		ash_zone_free(zone, (ash_pfn_t)pfn, order, cpu);
}
#endif

static void bench_settle(void)
{
	ash_zone_drain(zone);
}

#include "patterns.h"

int main(int argc, char **argv)
{
	const unsigned log2 = sim_argument(argc, argv, 1, 20), threads = sim_argument(argc, argv, 2, 1);

	if (threads == 0 || threads > BENCH_MAX_THREADS)
		sim_fail("too many threads, or none");
	sim_open(log2, threads, 0);
#ifndef BENCH_CALLED
	ASH_BUILD_ASSERT(BENCH_MAX_THREADS <= ASH_ARRAY_LEN(bench_pcp), "a pcp for each");
	for (unsigned cpu = 0; cpu < threads; cpu++) {
		bench_pcp[cpu] = ash_hit_pcp(zone, cpu);
		if (bench_pcp[cpu] == NULL)
			sim_fail("no barrier across processors: only bench_page_called can be measured here");
	}
#endif
	bench_patterns((size_t)1 << log2, sim_zalloc(((size_t)1 << log2) / 2 * sizeof(uint64_t)),
		       sim_argument(argc, argv, 3, 0), sim_argument(argc, argv, 4, ASH_MAX_ORDER), threads,
		       sim_argument(argc, argv, 5, 7));
	sim_check();
	return 0;
}
