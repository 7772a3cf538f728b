/* SPDX-License-Identifier: MIT */
/*
 * What a piece costs: the page core alone, by the patterns of patterns.h.
 *
 *      bench_page [frames-log2, 20] [threads, 1] [lowest order, 0] [highest, 18] [rounds, 7]
 */
#include "sim.h"

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
	bench_patterns((size_t)1 << log2, sim_zalloc(((size_t)1 << log2) / 2 * sizeof(uint64_t)),
		       sim_argument(argc, argv, 3, 0), sim_argument(argc, argv, 4, ASH_MAX_ORDER), threads,
		       sim_argument(argc, argv, 5, 7));
	sim_check();
	return 0;
}
