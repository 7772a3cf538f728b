/* SPDX-License-Identifier: MIT */
/*
 * Exhaustive exploration: every operation from every reachable state of a tiny zone, on the real code.
 *
 * Breadth first. A state is the whole content of the zone that can influence what it does next: every piece with its
 * state, order and type, who owns it with whom, the order within every list, the pcps, the pageblock words, and the
 * digest's counters; event counters are left out. Two states are the same when a 128-bit hash of that says so: among
 * 10^7 states two different ones would share a hash with a probability of 10^-25. No symmetry is assumed: states that
 * differ only by an exchange of pageblocks are both visited.
 *
 * A state is remembered as its parent and the operation that led from there, so that it is rebuilt by running its path
 * again: 8 bytes a state, and a failure prints the shortest path to it. Transitions are checked at every edge, the
 * invariants once in every state.
 */
#include "base/bits.h"
#include "harness/test.h"
#include "model/hosted.h"
#include "page/pcp.h"

#include <limits.h>

struct hash {
	uint64_t a, b;
};

struct node {
	uint32_t parent;
	uint16_t op;
	uint16_t depth;
};

struct explorer {
	const char *name;
	struct hosted_world w;
	const struct model_op *ops;
	unsigned nr_ops;
	void *snapshot;
	struct node *nodes;
	uint32_t nr_nodes, max_nodes;
	struct hash *seen;
	uint32_t seen_mask;
	uint64_t edges;
};

/* --- What a state is --- */

static void absorb(struct hash *h, uint64_t x)
{
	h->a = (h->a ^ x) * 0x9e3779b97f4a7c15u;
	h->a ^= h->a >> 29;
	h->b = (h->b + x) * 0xc2b2ae3d27d4eb4fu;
	h->b ^= h->b >> 32;
}

static void absorb_list(struct hash *h, const struct ash_zone *z, ash_pfn_t pfn, uint64_t name)
{
	if (pfn == ASH_PFN_NONE)
		return;
	absorb(h, name << 32);
	for (; pfn != ASH_PFN_NONE; pfn = ash_frame_at(z->frames, pfn)->next)
		absorb(h, pfn);
}

static void absorb_pcp(struct hash *h, const struct ash_zone *z, const struct ash_pcp *pcp)
{
	for (unsigned i = 0; i < ASH_PCP_LISTS; i++) {
		const struct ash_magazine *m = &pcp->magazine[i];
		const uint64_t state = ash_magazine_state(m);

		/* How many were taken does not matter, nor does what stands in slots without a piece. */
		absorb(h, (uint64_t)1 << 32 | i << 16 | (uint16_t)state);
		for (unsigned slot = 0; slot < ash_magazine_nr(state); slot++)
			absorb(h, m->pfn[slot]);
		for (uint32_t link = pcp->list[i].first; link != 0; link = ash_frame_at(z->frames, link - 1)->next)
			absorb(h, link);
	}
}

static struct hash state_of(const struct model *m)
{
	const struct ash_zone *z = m->zone;
	struct hash h = { 1, 2 };

	for (ash_pfn_t pfn = 0; pfn < m->config.nr_frames;) {
		const uint32_t word = ash_frame_load(z->frames, pfn);

		absorb(&h, (uint64_t)m->owner[pfn] << 32 | word);
		pfn += ash_order_frames(ash_word_order(word));
	}
	for (ash_pfn_t pfn = 0; m->config.zeroed && pfn < m->config.nr_frames; pfn++)
		absorb(&h, m->dirty[pfn]);
	for (unsigned mt = 0; mt < ASH_MT_NR; mt++) {
		for (uint32_t orders = z->nonempty[mt]; orders != 0; orders &= orders - 1) {
			const unsigned order = (unsigned)__builtin_ctz(orders);

			for (unsigned zeroed = 0; zeroed < 2; zeroed++)
				absorb_list(&h, z, z->freelist[mt][order].first[zeroed],
					    mt << 16 | order << 8 | zeroed | 1u << 31);
		}
	}
	for (unsigned cpu = 0; cpu < z->nr_cpus; cpu++)
		absorb_pcp(&h, z, &z->pcps[cpu]);
	for (size_t block = 0; block < m->nr_pageblocks; block++)
		absorb(&h, (uint64_t)m->types[block] << 8 | m->pageblocks[block]);
	/* The counts decide when the failing mover fails. Grants of one buddy are freed by other calls than runs. */
	absorb(&h, (m->counts.moves + m->counts.putbacks) % 6);
	for (ash_pfn_t i = 0; i < m->nr_grants; i++)
		h.a += (m->grants[i].pfn + 1) * (m->grants[i].order + 1ull) * 0xd6e8feb86659fd93u;
	/* Where compaction goes on, and how long it waits; whom it passes over is in the pageblock words. */
	absorb(&h, (uint64_t)z->compact.migrate << 32 | z->compact.free_block);
	absorb(&h, (uint64_t)z->compact.considered << 32 | z->compact.defer_shift << 16 | z->compact.order_failed << 1 |
			   z->compact.restart);
	absorb(&h, m->digest);
	return h;
}

/* --- The search --- */

/* True when the state was not seen before. */
static bool remember(struct explorer *x, struct hash h)
{
	uint32_t slot = (uint32_t)h.a & x->seen_mask;

	while (x->seen[slot].a != 0 || x->seen[slot].b != 0) {
		if (x->seen[slot].a == h.a && x->seen[slot].b == h.b)
			return false;
		slot = (slot + 1) & x->seen_mask;
	}
	x->seen[slot] = h;
	return true;
}

/* An operation of the list as it is in this state; false: it has no meaning here. Grants are tried one by one. */
static bool operation(const struct explorer *x, uint16_t code, struct model_op *op)
{
	*op = x->ops[code % x->nr_ops];
	op->a += op->code == MODEL_FREE || op->code == MODEL_FREE_PART || op->code == MODEL_EXTEND ? code / x->nr_ops :
												    0;
	return true;
}

static unsigned nr_edges(const struct explorer *x, const struct model *m)
{
	return x->nr_ops * (unsigned)ash_max(m->nr_grants, 1);
}

/* Grant operations exist once per grant, the others once. */
static bool edge_exists(const struct explorer *x, const struct model *m, uint16_t code)
{
	const unsigned grant = code / x->nr_ops;

	switch (x->ops[code % x->nr_ops].code) {
	case MODEL_FREE:
	case MODEL_FREE_PART:
	case MODEL_EXTEND:
		return grant < m->nr_grants;
	case MODEL_REPORT_END:
		return grant == 0 && m->nr_reports > 0;
	case MODEL_REPORT_BEGIN:
		return grant == 0 && m->nr_reports == 0;
	default:
		return grant == 0;
	}
}

static void print_path(struct explorer *x, uint32_t at, uint16_t last)
{
	static struct model_op path[UINT16_MAX];
	const size_t n = x->nodes[at].depth + 1u;

	operation(x, last, &path[n - 1]);
	for (size_t i = n - 1; i-- > 0; at = x->nodes[at].parent)
		operation(x, x->nodes[at].op, &path[i]);
	hosted_print_ops(&x->w, path, n);
}

/* Bring the world into the state of a node by running its path. */
static void rebuild(struct explorer *x, uint32_t at)
{
	static uint16_t path[UINT16_MAX];
	const unsigned n = x->nodes[at].depth;
	struct model_op op;

	for (unsigned i = n; i-- > 0; at = x->nodes[at].parent)
		path[i] = x->nodes[at].op;
	EXPECT(hosted_reset(&x->w));
	for (unsigned i = 0; i < n; i++) {
		operation(x, path[i], &op);
		EXPECT(hosted_step(&x->w, &op));
	}
}

static void follow(struct explorer *x, uint32_t at, uint16_t code)
{
	struct model *m = x->w.m;
	struct model_op op;
	bool good;

	operation(x, code, &op);
	x->edges++;
	good = hosted_step(&x->w, &op);
	if (good && x->nr_nodes < x->max_nodes && remember(x, state_of(m))) {
		x->nodes[x->nr_nodes++] = (struct node){ at, code, (uint16_t)(x->nodes[at].depth + 1) };
		good = model_check(m);
	}
	if (good)
		return;
	hosted_print_error(m);
	print_path(x, at, code);
	TEST_FAIL("%s: a state or a step is wrong", x->name);
}

static void expand(struct explorer *x, uint32_t at)
{
	struct model *m;
	unsigned edges;

	rebuild(x, at);
	m = x->w.m;
	memcpy(x->snapshot, x->w.mem, x->w.size);
	edges = nr_edges(x, m);
	EXPECT_LT(edges, UINT16_MAX);
	for (unsigned code = 0; code < edges; code++) {
		if (!edge_exists(x, m, (uint16_t)code))
			continue;
		follow(x, at, (uint16_t)code);
		memcpy(x->w.mem, x->snapshot, x->w.size);
	}
}

/* Returns true when every reachable state was visited, false when the bound on states ended the search. */
static bool explore(const char *name, const struct model_config *config, const struct model_op *ops, unsigned nr_ops,
		    uint32_t max_nodes)
{
	struct explorer x = { .name = name, .ops = ops, .nr_ops = nr_ops, .max_nodes = max_nodes };
	struct model_config quiet = *config;
	const double start = hosted_now();
	uint32_t at = 0;
	bool complete;

	quiet.check_every = UINT_MAX;
	hosted_open(&x.w, &quiet);
	x.seen_mask = 1;
	while (x.seen_mask < max_nodes / 3 * 4)
		x.seen_mask = x.seen_mask << 1 | 1;
	x.snapshot = malloc(x.w.size);
	x.nodes = malloc(sizeof(*x.nodes) * max_nodes);
	x.seen = calloc((size_t)x.seen_mask + 1, sizeof(*x.seen));
	EXPECT(x.snapshot != NULL && x.nodes != NULL && x.seen != NULL);
	EXPECT(hosted_reset(&x.w));
	remember(&x, state_of(x.w.m));
	x.nodes[x.nr_nodes++] = (struct node){ 0, 0, 0 };
	for (; at < x.nr_nodes && x.nr_nodes < max_nodes; at++)
		expand(&x, at);
	complete = at == x.nr_nodes;
	printf("# %s: %u states%s, %u expanded, %llu edges, depth %u, %.1f s\n", name, x.nr_nodes,
	       complete ? " (all)" : "", at, (unsigned long long)x.edges, x.nodes[x.nr_nodes - 1].depth,
	       hosted_now() - start);
	EXPECT_GT(x.edges, x.nr_nodes);
	free(x.seen);
	free(x.nodes);
	free(x.snapshot);
	hosted_close(&x.w);
	return complete;
}

/* --- The operations and the zones --- */

#define NONE ASH_CPU_NONE
#define ALLOCS(order, cpu)                                                                                             \
	{ MODEL_ALLOC, order, ASH_MT_UNMOVABLE, 0, cpu, 0, 0 },                                                        \
	{ MODEL_ALLOC, order, ASH_MT_MOVABLE, 0, cpu, 0, 0 },                                                          \
	{ MODEL_ALLOC, order, ASH_MT_RECLAIMABLE, 0, cpu, 0, 0 }

/* Three types and isolation: pieces from one frame to two pageblocks, and each pageblock isolated and back. */
#define BLOCK_OPS(pb, block)                                                                                           \
	{ .code = MODEL_ISOLATE, .a = (block) << (pb) }, { .code = MODEL_UNISOLATE, .a = (block) << (pb) }
#define ISOLATE_OPS(pb)                                                                                                \
	ALLOCS(pb, NONE), ALLOCS(pb + 1, NONE), { MODEL_ALLOC, (pb)-1, ASH_MT_MOVABLE, 0, NONE, 0, 0 },                \
		{ .code = MODEL_FREE, .cpu = NONE }, BLOCK_OPS(pb, 0), BLOCK_OPS(pb, 1), BLOCK_OPS(pb, 2),             \
		BLOCK_OPS(pb, 3)
static const struct model_op isolate_ops[] = { ISOLATE_OPS(2) };
static const struct model_op isolate_tiny_ops[] = { ISOLATE_OPS(1) };

/* The widest: every order, three types, and every pageblock isolated and back. */
#define EVERY_OPS                                                                                                      \
	ALLOCS(0, NONE), ALLOCS(1, NONE), ALLOCS(2, NONE), { .code = MODEL_FREE, .cpu = NONE }, BLOCK_OPS(2, 0),       \
		BLOCK_OPS(2, 1), BLOCK_OPS(2, 2), BLOCK_OPS(2, 3)
static const struct model_op every_ops[] = { EVERY_OPS };
static const struct model_op every_ops_max_1[] = { EVERY_OPS, ALLOCS(3, NONE) };
static const struct model_op every_ops_max_2[] = { EVERY_OPS, ALLOCS(3, NONE), ALLOCS(4, NONE) };

/* Contiguous ranges over grants that move, hesitate, fail to move and are freed while they move. */
static const struct model_op contig_ops[] = {
	{ MODEL_ALLOC, 0, ASH_MT_MOVABLE, 0, NONE, 0, 0 },    { MODEL_ALLOC, 1, ASH_MT_MOVABLE, 0, NONE, 0, 0 },
	{ MODEL_ALLOC, 2, ASH_MT_UNMOVABLE, 0, NONE, 0, 0 },  { .code = MODEL_FREE, .cpu = NONE },
	{ MODEL_CONTIG, 0, ASH_MT_UNMOVABLE, MODEL_MOVER_WORKS, NONE, 3, 5 },
	{ MODEL_CONTIG, 0, ASH_MT_MOVABLE, MODEL_MOVER_FREES, NONE, 8, 3 },
	{ MODEL_CONTIG, 0, ASH_MT_RECLAIMABLE, MODEL_MOVER_FAILS, NONE, 4, 7 },
	{ MODEL_CONTIG_FIND, 1, ASH_MT_UNMOVABLE, MODEL_MOVER_HESITATES, NONE, 5, 63 },
};

/* Memory that comes and goes, and compaction of what is left. */
static const struct model_op offline_ops[] = {
	{ MODEL_ALLOC, 0, ASH_MT_MOVABLE, 0, NONE, 0, 0 },
	{ MODEL_ALLOC, 1, ASH_MT_UNMOVABLE, 0, NONE, 0, 0 },
	{ .code = MODEL_FREE, .cpu = NONE },
	{ .code = MODEL_FREE_TRYLOCK, .cpu = NONE },
	{ .code = MODEL_GO_OFFLINE, .a = 1 },
	{ .code = MODEL_GO_OFFLINE, .a = 2, .b = 1 },
	{ .code = MODEL_ONLINE, .a = 4, .b = 3, .flags = 1 },
	{ .code = MODEL_ONLINE, .a = 8, .b = 7 },
	{ MODEL_COMPACT, 2, ASH_MT_MOVABLE, 2, 0, 0, MODEL_MOVER_WORKS },
	{ MODEL_ALLOC_COMPACT, 3, ASH_MT_UNMOVABLE, 0, 0, 0, MODEL_MOVER_HESITATES },
};

/*
 * Compaction by itself. That all states are reached shows too that what counts events is no part of a state: it grows
 * with every run.
 */
static const struct model_op compact_ops[] = {
	{ MODEL_ALLOC, 0, ASH_MT_MOVABLE, 0, NONE, 0, 0 },
	{ MODEL_ALLOC, 0, ASH_MT_UNMOVABLE, 0, NONE, 0, 0 },
	{ .code = MODEL_FREE, .cpu = NONE },
	{ MODEL_COMPACT, 1, ASH_MT_MOVABLE, 1, 0, 0, MODEL_MOVER_WORKS },
	{ MODEL_COMPACT, 3, ASH_MT_MOVABLE, 2, 0, 0, MODEL_MOVER_FREES },
};

/* Buddies of order 0 to 2, three types. */
static const struct model_op small_ops[] = {
	ALLOCS(0, NONE), ALLOCS(1, NONE), ALLOCS(2, NONE), { .code = MODEL_FREE, .cpu = NONE },
	{ MODEL_ALLOC, 0, ASH_MT_UNMOVABLE, ASH_ALLOC_NOFRAGMENT, NONE, 0, 0 },
};

/* Pieces from half a pageblock to four pageblocks: pageblock order 2, orders 1 to 4. */
static const struct model_op large_ops[] = {
	ALLOCS(1, NONE), ALLOCS(2, NONE), ALLOCS(3, NONE), ALLOCS(4, NONE), { .code = MODEL_FREE, .cpu = NONE },
};

/* Runs: odd lengths, growth, and freeing of parts. */
static const struct model_op run_ops[] = {
	{ MODEL_ALLOC_RUN, 0, ASH_MT_UNMOVABLE, 0, NONE, 2, 0 },
	{ MODEL_ALLOC_RUN, 1, ASH_MT_MOVABLE, 0, NONE, 4, 0 },
	{ MODEL_ALLOC_RUN, 0, ASH_MT_MOVABLE, 0, NONE, 8, 0 },
	{ .code = MODEL_EXTEND, .b = 0 },
	{ .code = MODEL_EXTEND, .b = 2 },
	{ .code = MODEL_FREE, .cpu = NONE },
	{ .code = MODEL_FREE_PART, .b = 1 },
};

/* A pcp in front of the zone. */
static const struct model_op pcp_ops[] = {
	ALLOCS(0, 0), { MODEL_ALLOC, 1, ASH_MT_MOVABLE, 0, 0, 0, 0 },
	{ MODEL_ALLOC, 0, ASH_MT_UNMOVABLE, 0, NONE, 0, 0 },
	{ .code = MODEL_FREE, .cpu = 0 }, { .code = MODEL_FREE, .cpu = NONE }, { .code = MODEL_DRAIN },
};

/* Reporting, and memory known to be zero. */
static const struct model_op report_ops[] = {
	{ MODEL_ALLOC, 0, ASH_MT_UNMOVABLE, 0, NONE, 0, 0 }, { MODEL_ALLOC, 1, ASH_MT_MOVABLE, 0, NONE, 0, 0 },
	{ MODEL_ALLOC, 2, ASH_MT_MOVABLE, 0, NONE, 0, 0 }, { .code = MODEL_FREE, .cpu = NONE },
	{ .code = MODEL_REPORT_BEGIN, .order = 1 }, { .code = MODEL_REPORT_END, .flags = 1 },
	{ .code = MODEL_REPORT_END, .flags = 0 },
};

#define ZONE(pb, max, frames) { .geometry = { pb, max }, .nr_frames = frames, .online_nr = frames }

/* Beyond 10^7; a state takes 31 bytes of memory. */
#define MANY 12000000

static uint32_t bound(uint32_t quick, uint32_t full)
{
	return hosted_long() ? full : quick;
}

#define EXPLORE(id, config, ops, quick, full)                                                                          \
	TEST(id)                                                                                                       \
	{                                                                                                              \
		static const struct model_config c = config;                                                           \
                                                                                                                       \
		(void)explore(#id, &c, ops, ASH_ARRAY_LEN(ops), bound(quick, full));                                   \
	}
#define EXPLORE_ALL(id, config, ops)                                                                                   \
	TEST(id)                                                                                                       \
	{                                                                                                              \
		static const struct model_config c = config;                                                           \
                                                                                                                       \
		EXPECT(explore(#id, &c, ops, ASH_ARRAY_LEN(ops), 3000000));                                            \
	}

EXPLORE_ALL(all_states_of_4_frames_in_2_pageblocks, ZONE(1, 1, 4), small_ops)
EXPLORE_ALL(all_states_of_4_frames_in_2_pageblocks_max_1, ZONE(1, 2, 4), small_ops)
EXPLORE_ALL(all_states_of_4_frames_in_4_pageblocks_max_2, ZONE(0, 2, 4), small_ops)
EXPLORE_ALL(all_states_of_compaction, ZONE(1, 2, 4), compact_ops)
EXPLORE(states_of_16_frames_in_4_pageblocks, ZONE(2, 2, 16), large_ops, 40000, 2000000)
EXPLORE(states_of_16_frames_in_4_pageblocks_max_1, ZONE(2, 3, 16), large_ops, 40000, 2000000)
EXPLORE(states_of_16_frames_in_4_pageblocks_max_2, ZONE(2, 4, 16), large_ops, 40000, 2000000)
EXPLORE(states_of_16_frames_small_orders, ZONE(2, 4, 16), small_ops, 40000, 2000000)
EXPLORE(states_of_32_frames_in_8_pageblocks_max_3, ZONE(2, 5, 32), large_ops, 40000, 2000000)
EXPLORE(states_of_runs, ZONE(2, 4, 16), run_ops, 40000, 2000000)
EXPLORE(states_of_runs_one_pageblock_order, ZONE(2, 2, 16), run_ops, 40000, 1000000)

EXPLORE(states_of_isolation, ZONE(2, 2, 16), isolate_ops, 60000, 2000000)
EXPLORE(states_of_isolation_max_1, ZONE(2, 3, 16), isolate_ops, 60000, 2000000)
EXPLORE(states_of_isolation_max_2, ZONE(2, 4, 16), isolate_ops, 60000, 2000000)
EXPLORE(states_of_isolation_8_frames_max_2, ZONE(1, 3, 8), isolate_tiny_ops, 60000, 3000000)
EXPLORE(states_of_everything, ZONE(2, 2, 16), every_ops, 40000, MANY)
EXPLORE(states_of_everything_max_1, ZONE(2, 3, 16), every_ops_max_1, 40000, MANY)
EXPLORE(states_of_everything_max_2, ZONE(2, 4, 16), every_ops_max_2, 40000, MANY)
EXPLORE(states_of_contiguous_ranges, ZONE(2, 4, 16), contig_ops, 40000, 1500000)

EXPLORE(states_of_offlining_and_compaction, ZONE(2, 4, 16), offline_ops, 20000, 1000000)

#define MIXED_ZONE { .geometry = { 2, 4 }, .nr_frames = 16, .online_nr = 16, .types = "MCHM" }
EXPLORE(states_of_isolation_of_unmergeable_types, MIXED_ZONE, isolate_ops, 40000, 1000000)

#define PCP_ZONE { .geometry = { 2, 3 }, .nr_frames = 16, .online_nr = 16, .nr_cpus = 1 }
EXPLORE(states_with_a_pcp, PCP_ZONE, pcp_ops, 40000, 2000000)

#define BATCH_ZONE                                                                                                     \
	{ .geometry = { 2, 3 }, .nr_frames = 16, .online_nr = 16, .nr_cpus = 1, .pcp_batch = 3, .pcp_owned = true }
EXPLORE(states_with_a_pcp_filled_in_bulk, BATCH_ZONE, pcp_ops, 40000, 2000000)

#define REPORT_ZONE { .geometry = { 1, 3 }, .nr_frames = 8, .online_nr = 8, .zeroed = true }
EXPLORE(states_of_reporting, REPORT_ZONE, report_ops, 40000, 1000000)

#define EDGE_ZONE { .geometry = { 2, 4 }, .nr_frames = 15, .online_start = 1, .online_nr = 14 }
EXPLORE(states_of_a_zone_whose_edges_cut_pageblocks, EDGE_ZONE, small_ops, 40000, 1000000)
