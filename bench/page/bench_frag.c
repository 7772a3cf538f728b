/* SPDX-License-Identifier: MIT */
/*
 * Fragmentation.
 *
 *      bench_frag quarter [frames-log2, 20] [pin, 0]
 * Every frame is allocated, three quarters of each pageblock's are freed at random, and pageblocks are asked for until
 * there is none. Perfect compaction would give three quarters of all pageblocks. Exits with 1 below 98 % of that. With
 * pin, one frame in so many cannot be moved.
 *
 *      bench_frag mix on|off|defrag|tainted [frames-log2, 20] [rounds, 50] [more movable, 0 %]
 * Memory is 90 % full, at first nearly all of it movable, as of a page cache. In ten rounds other kinds of owners grow
 * to a quarter of it, and then stay a little below that. A third of all pieces, of all orders, is replaced in every
 * round. on: every request says its migratetype. off: all say the same, as in a kernel whose mobility grouping is
 * disabled. defrag: on, in defrag mode. tainted: on, and what cannot move goes to spans of 2^18 frames first that have
 * such memory already. What must stay where it is, stays in all of them. One CSV line per round; exits with 1 when
 * a pageblock and a list disagree or, when grouping, fallbacks have not come to an end by the last fifth.
 */
#include "sim.h"

#include "page/compact.h"

#define PAGEBLOCK ((ash_pfn_t)1 << ASH_PAGEBLOCK_ORDER)

static uint64_t rng = 88172645463325252u;

static void quarter(unsigned log2, unsigned pin)
{
	const size_t frames = (size_t)1 << log2, perfect = (frames >> ASH_PAGEBLOCK_ORDER) / 4 * 3;
	struct ash_compact_stats stats = { 0 };
	struct ash_page_grant g;
	uint32_t nr = 0;
	size_t got = 0;
	double t;

	sim_open(log2, 1, SIM_OWNERS);
	while (ash_zone_alloc(zone, 0, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) == 0) {
		sim_own(nr, g.pfn, 0, pin == 0 || nr % pin != 0);
		nr++;
	}
	/* As many as are still to go, among those of the block that are still to be looked at. */
	for (ash_pfn_t pfn = 0, go = 0; pfn < frames; pfn++) {
		if (pfn % PAGEBLOCK == 0)
			go = PAGEBLOCK / 4 * 3;
		if (sim_random(&rng) % (PAGEBLOCK - pfn % PAGEBLOCK) < go) {
			ash_zone_free(zone, pfn, 0, ASH_CPU_NONE);
			go--;
		}
	}
	t = sim_now();
	while (ash_zone_alloc_compact(zone, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, 0, &g) == 0) {
		sim_own(nr++ % (uint32_t)frames, g.pfn, ASH_PAGEBLOCK_ORDER, false);
		got++;
	}
	ash_zone_compact(zone, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, ASH_COMPACT_FULL, &stats);
	while (ash_zone_alloc(zone, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) == 0)
		got++;
	t = sim_now() - t;
	printf("pageblocks,perfect,got,percent,moved_frames,ms\n%zu,%zu,%zu,%.2f,%llu,%.1f\n",
	       frames >> ASH_PAGEBLOCK_ORDER, perfect, got, 100.0 * (double)got / (double)perfect,
	       (unsigned long long)sim_moved, t / 1e6);
	sim_check();
	if (got * 100 < perfect * 98)
		sim_fail("less than 98 % of what perfect compaction could give");
}

/* The owners. */
static struct kind {
	enum ash_migratetype mt;
	/* share of all frames, in percent: in the first round, in round WARM_UP, from then on */
	double first, peak, last;
	unsigned weight[10];  /* of 1000 requests, how many are of each order */
} kinds[] = {
	{ ASH_MT_UNMOVABLE, 3, 15, 14, { 600, 200, 100, 90, 5, 5, 0, 0, 0, 0 } },
	{ ASH_MT_RECLAIMABLE, 2, 10, 9.5, { 700, 150, 100, 50, 0, 0, 0, 0, 0, 0 } },
	{ ASH_MT_MOVABLE, 85, 65, 65, { 900, 40, 30, 20, 3, 2, 1, 1, 1, 2 } },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define WARM_UP 10

/* Every kind's pieces by name, and the names that are free. */
static struct {
	uint32_t *id;
	uint32_t nr;
	uint64_t frames;
} held[KINDS];
static uint32_t *spare, nr_spare;

struct round {
	uint64_t huge_asked, huge_got, refused, requests;
	double ns;
};

static unsigned choose_order(const struct kind *k)
{
	unsigned at = (unsigned)(sim_random(&rng) % 1000), order = 0;

	while (order < 9 && at >= k->weight[order])
		at -= k->weight[order++];
	return order;
}

/* Large requests that fail are for the owner to make in single frames. */
static void ask(unsigned kind, bool grouping, struct round *r)
{
	const struct kind *k = &kinds[kind];
	const enum ash_migratetype mt = grouping ? k->mt : ASH_MT_MOVABLE;
	unsigned order = choose_order(k);
	struct ash_page_grant g;
	uint32_t id;

	r->requests++;
	r->huge_asked += order == ASH_PAGEBLOCK_ORDER;
	if (ash_zone_alloc_compact(zone, order, mt, 0, &g) == 0) {
		r->huge_got += order == ASH_PAGEBLOCK_ORDER;
	} else {
		r->refused++;
		order = 0;
		if (ash_zone_alloc_compact(zone, 0, mt, 0, &g) != 0)
			sim_fail("no frame left");
	}
	id = spare[--nr_spare];
	sim_own(id, g.pfn, order, k->mt == ASH_MT_MOVABLE);
	held[kind].id[held[kind].nr++] = id;
	held[kind].frames += 1u << order;
}

static void release(unsigned kind)
{
	const uint32_t at = (uint32_t)(sim_random(&rng) % held[kind].nr), id = held[kind].id[at];

	ash_zone_free(zone, sim_piece[id].pfn, sim_piece[id].order, ASH_CPU_NONE);
	held[kind].frames -= 1u << sim_piece[id].order;
	held[kind].id[at] = held[kind].id[--held[kind].nr];
	spare[nr_spare++] = id;
}

static uint64_t share(const struct kind *k, size_t frames, unsigned round)
{
	double percent = k->last;

	if (round <= WARM_UP)
		percent = k->first + (k->peak - k->first) * (round - 1) / (WARM_UP - 1);
	return (uint64_t)(percent / 100 * (double)frames);
}

static void play(size_t frames, bool grouping, unsigned round, struct round *r)
{
	double t = sim_now();

	for (unsigned k = 0; k < KINDS; k++) {
		for (uint32_t n = held[k].nr / 3; n > 0 || held[k].frames > share(&kinds[k], frames, round); n -= n > 0)
			release(k);
	}
	/* In turn, so that neighbours in time are of different kinds. */
	for (bool more = true; more;) {
		more = false;
		for (unsigned k = 0; k < KINDS; k++) {
			if (held[k].frames >= share(&kinds[k], frames, round))
				continue;
			ask(k, grouping, r);
			more = true;
		}
	}
	r->ns = sim_now() - t;
}

/* Spans of 2^order frames that hold something that cannot be moved: no compaction makes them free. */
static unsigned tainted(size_t frames, unsigned order)
{
	bool *block = calloc((frames >> order) + 1, sizeof(*block));
	unsigned n = 0;

	if (block == NULL)
		sim_fail("no memory");
	for (unsigned k = 0; k < KINDS; k++) {
		for (uint32_t i = 0; kinds[k].mt != ASH_MT_MOVABLE && i < held[k].nr; i++)
			block[sim_piece[held[k].id[i]].pfn >> order] = true;
	}
	for (size_t b = 0; b <= frames >> order; b++)
		n += block[b];
	free(block);
	return n;
}

static void mix(const char *mode, unsigned log2, unsigned rounds, unsigned more)
{
	const size_t frames = (size_t)1 << log2;
	const bool grouping = strcmp(mode, "off") != 0;
	uint64_t before = 0, late = 0;

	kinds[KINDS - 1].first += more, kinds[KINDS - 1].peak += more, kinds[KINDS - 1].last += more;
	sim_open(log2, 1, SIM_OWNERS | (strcmp(mode, "defrag") == 0 ? SIM_DEFRAG : 0) |
				  (strcmp(mode, "tainted") == 0 ? SIM_TAINTED : 0));
	spare = sim_zalloc(frames * sizeof(*spare));
	for (nr_spare = 0; nr_spare < frames; nr_spare++)
		spare[nr_spare] = (uint32_t)frames - 1 - nr_spare;
	for (unsigned k = 0; k < KINDS; k++)
		held[k].id = sim_zalloc(frames * sizeof(uint32_t));
	printf("round,mode,fallbacks,claims,steals,tainted_pageblocks,tainted_spans,mixed_pageblocks,"
	       "huge_asked,huge_got,moved_frames,ns_per_request\n");
	for (unsigned n = 1; n <= rounds; n++) {
		struct round r = { 0 };
		uint64_t mixed[ASH_MT_NR], all = 0;
		struct ash_zone_stats s;

		play(frames, grouping, n, &r);
		sim_check();
		ash_zone_stats(zone, &s);
		ash_zone_count_mixed(zone, mixed);
		for (unsigned mt = 0; mt < ASH_MT_NR; mt++)
			all += mixed[mt];
		printf("%u,%s,%llu,%llu,%llu,%u,%u,%llu,%llu,%llu,%llu,%.1f\n", n, mode,
		       (unsigned long long)(s.extfrag_claim + s.extfrag_steal - before),
		       (unsigned long long)s.extfrag_claim, (unsigned long long)s.extfrag_steal,
		       tainted(frames, ASH_PAGEBLOCK_ORDER), tainted(frames, ASH_MAX_ORDER), (unsigned long long)all,
		       (unsigned long long)r.huge_asked, (unsigned long long)r.huge_got, (unsigned long long)sim_moved,
		       r.ns / (double)r.requests);
		if (n > rounds - rounds / 5)
			late += s.extfrag_claim + s.extfrag_steal - before;
		before = s.extfrag_claim + s.extfrag_steal;
	}
	if (grouping && late > 0)
		sim_fail("there are fallbacks after the warm-up");
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "quarter") == 0)
		quarter(sim_argument(argc, argv, 2, 20), sim_argument(argc, argv, 3, 0));
	else if (argc > 2 && strcmp(argv[1], "mix") == 0)
		mix(argv[2], sim_argument(argc, argv, 3, 20), sim_argument(argc, argv, 4, 50),
		    sim_argument(argc, argv, 5, 0));
	else
		sim_fail("usage: bench_frag quarter [log2] [pin] | mix on|off|defrag|tainted [log2] [rounds] [more]");
	return 0;
}
