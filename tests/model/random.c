/* SPDX-License-Identifier: MIT */
/*
 * Random operations on the core and the model together (T53 of docs on the page core: [K] random operations over
 * geometries, invariants after each, fixed seeds, differential against a model).
 *
 * 10^6 operations over all geometries in every run, 10^8 in the long mode. A failure prints the seed and the shortest
 * list of operations that still fails.
 */
#include "harness/test.h"
#include "model/hosted.h"

#define QUICK_OPS 1000000u
#define LONG_OPS 100000000u
#define OPS_PER_SEED 20000u

/* Whole zones, zones whose edges cut a pageblock at either end, and a zone that comes online in pieces. */
static const struct model_config configs[] = {
	{ .geometry = { 3, 3 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 2 },
	{ .geometry = { 4, 6 }, .nr_frames = 192, .online_nr = 192, .nr_cpus = 2, .pcp_batch = 7, .pcp_owned = true },
	{ .geometry = { 5, 6 }, .nr_frames = 190, .online_start = 1, .online_nr = 180, .nr_cpus = 1, .pcp_batch = 5 },
	{ .geometry = { 3, 4 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 2 },
	{ .geometry = { 3, 6 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 4, 4 }, .nr_frames = 60, .online_start = 4, .online_nr = 56, .nr_cpus = 1 },
	{ .geometry = { 4, 5 }, .nr_frames = 125, .online_start = 3, .online_nr = 119, .nr_cpus = 2, .zeroed = true },
	{ .geometry = { 2, 4 }, .nr_frames = 61, .online_start = 1, .online_nr = 60, .nr_cpus = 0 },
	{ .geometry = { 2, 5 }, .nr_frames = 127, .online_start = 6, .online_nr = 100, .nr_cpus = 1 },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_start = 32, .online_nr = 32, .nr_cpus = 1, .zeroed = true },
	{ .geometry = { 0, 3 }, .nr_frames = 32, .online_nr = 32, .nr_cpus = 0 },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 1, .movable = true },
	{ .geometry = { 4, 6 }, .nr_frames = 190, .online_start = 10, .online_nr = 180, .nr_cpus = 2, .movable = true },
	{ .geometry = { 2, 4 }, .nr_frames = 512, .online_nr = 512, .nr_cpus = 1, .movable = true },
	{ .geometry = { 3, 5 }, .nr_frames = 125, .online_nr = 125, .nr_cpus = 1, .shrinks = true },
	{ .geometry = { 3, 4 }, .nr_frames = 80, .online_nr = 80, .nr_cpus = 1, .types = "MMCCHMUCMR" },
	{ .geometry = { 2, 5 }, .nr_frames = 64, .online_nr = 64, .nr_cpus = 2, .types = "CCCCHHMMMMUURRCM" },
	{ .geometry = { 4, 6 }, .nr_frames = 256, .online_nr = 256, .nr_cpus = 2, .pcp_batch = 7, .pcp_tuned = true,
	  .pcp_owned = true },
	{ .geometry = { 3, 5 }, .nr_frames = 256, .online_nr = 256, .nr_cpus = 1, .pcp_batch = 3, .pcp_tuned = true,
	  .movable = true },
	{ .geometry = { 3, 5 }, .nr_frames = 128, .online_nr = 128, .nr_cpus = 1, .guard_order = 2 },
	{ .geometry = { 3, 4 }, .nr_frames = 125, .online_nr = 125, .nr_cpus = 2, .guard_order = 3, .movable = true },
	{ .geometry = { 2, 4 }, .nr_frames = 125, .online_nr = 120, .nr_cpus = 1, .tainted_first = true },
	{ .geometry = { 9, 10 }, .nr_frames = 4096, .online_nr = 4096, .nr_cpus = 2, .check_every = 64 },
	{ .geometry = { 9, 12 }, .nr_frames = 8192, .online_start = 100, .online_nr = 8000, .nr_cpus = 2, 
	  .check_every = 64 },
};
#define NR_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static void run_seed(struct hosted_world *w, uint64_t seed, size_t n, struct model_op *ops)
{
	uint64_t rng = seed;
	size_t i = 0;
	bool good = hosted_reset(w);

	EXPECT(good);
	for (; good && i < n; i++) {
		ops[i] = model_random_op(w->m, &rng);
		good = hosted_step(w, &ops[i]);
	}
	if (good && hosted_finish(w))
		return;
	printf("# seed %llu\n", (unsigned long long)seed);
	hosted_print_error(w->m);
	i = hosted_shrink(w, ops, i);
	hosted_print_error(w->m);
	hosted_print_ops(w, ops, i);
	TEST_FAIL("the core and the model disagree");
}

/* Over all zones. */
static struct model_counts total_counts;

static void run_config(const struct model_config *config, size_t total)
{
	static struct model_op ops[OPS_PER_SEED];
	struct hosted_world w;
	struct model_counts sum = { 0 };
	uint64_t seed = test_seed;
	const double start = hosted_now();

	hosted_open(&w, config);
	for (size_t left = total; left > 0; left -= left < OPS_PER_SEED ? left : OPS_PER_SEED) {
		run_seed(&w, test_random(&seed), left < OPS_PER_SEED ? left : OPS_PER_SEED, ops);
		sum.steps += w.m->counts.steps;
		sum.checks += w.m->counts.checks;
		sum.claims += w.m->counts.claims;
		sum.steals += w.m->counts.steals;
		sum.merges += w.m->counts.merges;
		sum.moves += w.m->counts.moves;
		total_counts.reserves += w.m->counts.reserves;
		sum.putbacks += w.m->counts.putbacks;
		sum.drops += w.m->counts.drops;
		for (unsigned code = 0; code < MODEL_NR_CODES; code++) {
			sum.done[code] += w.m->counts.done[code];
			sum.refused[code] += w.m->counts.refused[code];
			total_counts.done[code] += w.m->counts.done[code];
			total_counts.refused[code] += w.m->counts.refused[code];
		}
	}
	printf("# (%u,%u) %u frames: %llu operations, %llu checks, %llu claims, %llu steals, %llu retyping merges, "
	       "%llu moves, %.2f Mops/s\n",
	       config->geometry.pageblock_order, config->geometry.max_order, config->nr_frames,
	       (unsigned long long)sum.steps, (unsigned long long)sum.checks, (unsigned long long)sum.claims,
	       (unsigned long long)sum.steals, (unsigned long long)sum.merges, (unsigned long long)sum.moves,
	       (double)sum.steps / (hosted_now() - start) / 1e6);
	hosted_close(&w);
	/* A run that met no success or no refusal of some operation examined too little to count. */
	EXPECT_GT(sum.checks, 0);
	EXPECT_GT(sum.done[MODEL_ALLOC], total / 16);
	EXPECT_GT(sum.refused[MODEL_ALLOC], 0);
	EXPECT_GT(sum.done[MODEL_ALLOC_RUN], 0);
	EXPECT_GT(sum.refused[MODEL_ALLOC_RUN], 0);
	EXPECT_GT(sum.done[MODEL_FREE], total / 16);
	EXPECT_GT(sum.done[MODEL_FREE_PART], 0);
	EXPECT_GT(sum.done[MODEL_EXTEND], 0);
	EXPECT_GT(sum.refused[MODEL_EXTEND], 0);
	EXPECT_GT(sum.done[MODEL_REPORT_END], 0);
	EXPECT_GT(sum.refused[MODEL_ONLINE], 0);
	for (unsigned code = MODEL_ISOLATE; code <= MODEL_CONTIG_FIND; code++) {
		EXPECT_GT(sum.done[code], 0);
		EXPECT(code == MODEL_UNISOLATE || sum.refused[code] > 0);
	}
	EXPECT_GT(sum.moves, 0);
	EXPECT_GT(sum.putbacks, 0);
	EXPECT_EQ(sum.drops > 0, config->shrinks);
}

TEST(T53_random_operations_agree_with_the_model)
{
	const size_t total = hosted_long() ? LONG_OPS : QUICK_OPS;

	for (size_t i = 0; i < NR_CONFIGS; i++)
		run_config(&configs[i], total / NR_CONFIGS + 1);
	for (unsigned code = 0; code < MODEL_NR_CODES; code++)
		EXPECT_GT(total_counts.done[code], 100);
	EXPECT_GT(total_counts.refused[MODEL_GO_OFFLINE], 0);
	EXPECT_GT(total_counts.refused[MODEL_ALLOC_COMPACT], 0);
	EXPECT_GT(total_counts.reserves, 0);
}
