/* SPDX-License-Identifier: MIT */
/*
 * Contiguous ranges out of a zone that is 75 % full of movable frames, all of order 0, lying anywhere.
 *
 *      bench_contig [frames-log2, 20] [copy, 0] [file or -] [pin, 0]
 *
 * CSV, a line per phase: requests, how many were granted, frames moved, processor time per moved frame and in all.
 * Built as bench_holds, with the distribution of the zone lock's holds; file keeps each hold's least time over all such
 * runs. copy 1: every move copies 4 KiB within 256 MiB of real memory. Exits with 1 when a request that could be
 * granted was not, or the zone is damaged. With pin, one frame in so many cannot be moved.
 */
#include "sim.h"

#include "page/compact.h"
#include "page/contig.h"
#include "page/zone_struct.h"

#ifdef BENCH_HOLD_H
#define HOLDS_MAX (1u << 24)

struct ash_lock *bench_hold_lock;
static double hold_start, hold_cost;
static uint32_t *hold, *sorted;
static size_t nr_holds, first_hold, nr_past;

void bench_hold_begin(void)
{
	hold_start = sim_now();
}

/* Every run holds the lock as often and for the same reasons: the least of each hold leaves out what interrupts add. */
void bench_hold_end(void)
{
	const double ns = sim_now() - hold_start - hold_cost;
	const uint32_t value = ns > 0 ? (uint32_t)ns : 0;

	if (nr_holds == HOLDS_MAX)
		sim_fail("more holds than there is room for");
	if (nr_holds >= nr_past || value < hold[nr_holds])
		hold[nr_holds] = value;
	nr_holds++;
}

static int ascending(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void holds_open(const char *path)
{
	FILE *f = path != NULL ? fopen(path, "r") : NULL;

	hold = sim_zalloc(HOLDS_MAX * sizeof(*hold));
	sorted = sim_zalloc(HOLDS_MAX * sizeof(*sorted));
	if (f != NULL) {
		nr_past = fread(hold, sizeof(*hold), HOLDS_MAX, f);
		fclose(f);
	}
	hold_cost = 1e9;
	for (unsigned i = 0; i < 1000; i++) {
		const double t = sim_now(), cost = sim_now() - t;

		if (cost < hold_cost)
			hold_cost = cost;
	}
	bench_hold_lock = &zone->lock;
}

static void holds_close(const char *path)
{
	FILE *f;

	if (path == NULL)
		return;
	f = fopen(path, "w");
	if (f == NULL || fwrite(hold, sizeof(*hold), nr_holds, f) != nr_holds || fclose(f) != 0)
		sim_fail("cannot write the file of holds");
}

static void holds_reset(void)
{
	first_hold = nr_holds;
}

static void holds_print(void)
{
	const size_t n = nr_holds - first_hold;

	if (n > 0) {
		memcpy(sorted, hold + first_hold, n * sizeof(*hold));
		qsort(sorted, n, sizeof(*sorted), ascending);
		printf(",%zu,%u,%u,%u,%u", n, sorted[n / 2], sorted[n * 99 / 100], sorted[n * 999 / 1000],
		       sorted[n - 1]);
	}
	holds_reset();
}
#define HOLDS_HEAD ",holds,p50_ns,p99_ns,p99.9_ns,p100_ns"
#else
static void holds_open(const char *path)
{
	(void)path;
}

static void holds_close(const char *path)
{
	(void)path;
}

static void holds_reset(void)
{
}

static void holds_print(void)
{
}
#define HOLDS_HEAD ""
#endif

static uint32_t nr_pieces;
static unsigned missed;

/* Three quarters of all frames, chosen at random: allocate all, free the others. */
static void fill(size_t frames, unsigned pin)
{
	const uint32_t keep = (uint32_t)(frames / 4 * 3);
	uint64_t rng = 88172645463325252u;
	struct ash_page_grant g;
	uint32_t kept = 0;

	for (nr_pieces = 0; nr_pieces < frames; nr_pieces++) {
		if (ash_zone_alloc(zone, 0, ASH_MT_MOVABLE, 0, 0, &g) != 0)
			sim_fail("the zone is not empty");
		sim_piece[nr_pieces].pfn = g.pfn;
	}
	for (uint32_t i = 0; i < nr_pieces; i++) {
		const ash_pfn_t pfn = sim_piece[i].pfn;

		/* As many as are still to be kept, among those that are still to be looked at. */
		if (sim_random(&rng) % (nr_pieces - i) < keep - kept)
			sim_own(kept, pfn, 0, pin == 0 || kept % pin != 0), kept++;
		else
			ash_zone_free(zone, pfn, 0, 0);
	}
	nr_pieces = kept;
	ash_zone_drain(zone);
}

static void empty(void)
{
	for (uint32_t i = 0; i < nr_pieces; i++)
		ash_zone_free(zone, sim_piece[i].pfn, 0, 0);
	ash_zone_drain(zone);
}

static void report(const char *phase, unsigned asked, unsigned granted, unsigned due, double ns)
{
	printf("%s,%u,%u,%llu,%.1f,%.1f", phase, asked, granted, (unsigned long long)sim_moved,
	       sim_moved > 0 ? ns / (double)sim_moved : 0, ns / 1e6);
	holds_print();
	printf("\n");
	missed += granted < due;
	sim_moved = 0;
}

/* As many ranges of 2^order frames as are free in sum, found by the core. */
static void by_search(const char *phase, size_t frames, unsigned order)
{
	const struct ash_contig_request r = { .nr = (ash_pfn_t)1 << order, .align_order = (uint8_t)order,
					      .mt = ASH_MT_UNMOVABLE };
	const unsigned due = (unsigned)(frames / 4 >> order);
	struct ash_page_grant g[1024];
	unsigned n = 0;
	double t;

	holds_reset();
	t = sim_now();
	while (n < due && n < 1024 && ash_zone_alloc_contig(zone, &r, &g[n], NULL) == 0)
		n++;
	report(phase, due, n, due, sim_now() - t);
	sim_check();
	holds_reset();
	t = sim_now();
	for (unsigned i = 0; i < n; i++)
		ash_zone_free_run(zone, g[i].pfn, r.nr);
	report("  their release", n, n, n, sim_now() - t);
}

/* Each range of that size in turn, wherever its frames can go: the place is asked for, not the size. */
static void by_place(const char *phase, size_t frames, unsigned order)
{
	unsigned n = 0, asked = 0;
	double t = sim_now();

	for (size_t pfn = 0; pfn < frames; pfn += (size_t)1 << order) {
		struct ash_page_grant g;

		asked++;
		if (ash_zone_alloc_contig_range(zone, (ash_pfn_t)pfn, (ash_pfn_t)1 << order, ASH_MT_UNMOVABLE,
						ASH_ISOLATE_OTHER, &g, NULL) != 0)
			continue;
		n++;
		ash_zone_free_run(zone, g.pfn, (ash_pfn_t)1 << order);
	}
	report(phase, asked, n, asked, sim_now() - t);
	sim_check();
}

/* Frames that were allocated one by one and are freed as one run. */
static void by_run(size_t frames)
{
	const ash_pfn_t nr = (ash_pfn_t)(frames / 4);
	double t;

	for (ash_pfn_t i = 0; i < nr; i++) {
		struct ash_page_grant g;

		if (ash_zone_alloc(zone, 0, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) != 0 || g.pfn >= frames)
			sim_fail("the zone is not empty");
		sim_piece[i].pfn = g.pfn;
	}
	holds_reset();
	t = sim_now();
	for (ash_pfn_t i = 0, n; i < nr; i += n) {
		for (n = 1; i + n < nr && sim_piece[i + n].pfn == sim_piece[i].pfn + n; n++)
			;
		ash_zone_free_run(zone, sim_piece[i].pfn, n);
	}
	report("single frames freed as runs", 1, 1, 1, sim_now() - t);
	sim_check();
}

int main(int argc, char **argv)
{
	const unsigned log2 = sim_argument(argc, argv, 1, 20);
	const unsigned pin = sim_argument(argc, argv, 4, 0);
	const char *path = argc > 3 && strcmp(argv[3], "-") != 0 ? argv[3] : NULL;
	const size_t frames = (size_t)1 << log2;
	struct ash_compact_stats stats = { 0 };
	double t;

	if (log2 < 16)
		sim_fail("too small a zone");
	sim_open(log2, 1, SIM_OWNERS);
	if (sim_argument(argc, argv, 2, 0) != 0)
		sim_memory = sim_zalloc(sim_memory_size);
	holds_open(path);
	printf("phase,requests,granted,moved_frames,ns_per_moved_frame,ms" HOLDS_HEAD "\n");
	fill(frames, pin);
	by_search("64 MiB by search", frames, 14);
	empty();
	fill(frames, pin);
	by_search("a quarter of the zone by search", frames, log2 - 2 < ASH_MAX_ORDER ? log2 - 2 : ASH_MAX_ORDER);
	by_place("every quarter in turn", frames, log2 - 2 < ASH_MAX_ORDER ? log2 - 2 : ASH_MAX_ORDER);
	empty();
	fill(frames, pin);
	holds_reset();
	t = sim_now();
	ash_zone_compact(zone, ASH_COMPACT_ALL, ASH_MT_MOVABLE, ASH_COMPACT_FULL, &stats);
	report("compaction of all", 1, 1, 1, sim_now() - t);
	empty();
	sim_check();
	by_run(frames);
	holds_close(path);
	return missed > 0;
}
