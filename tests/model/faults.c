/* SPDX-License-Identifier: MIT */
/*
 * Failure at every step of every operation.
 *
 * From a random state, each operation of the language is run again and again from the same snapshot, with the first,
 * the second, the n-th fault point it passes made to fail, until none is left to fail. Whatever happens then must be
 * what the model allows: a success, or a failure that left everything as it was; and the zone can still be emptied.
 */
#include "harness/test.h"
#include "model/hosted.h"

/* Every fault point of the core; one that is not met by the test, or not in the table, fails it. */
static struct {
	const char *name;
	uint64_t fired;
} points[] = {
	{ "isolate block", 0 }, { "contig take", 0 }, { "mover isolate", 0 }, { "migration target", 0 },
	{ "migrate", 0 }, { "offline remove", 0 }, { "shrinker drop", 0 },
};
#define NR_POINTS (sizeof(points) / sizeof(points[0]))

static const struct model_config configs[] = {
	{ .geometry = { 3, 5 }, .nr_frames = 96, .online_nr = 96, .nr_cpus = 1, .movable = true },
	{ .geometry = { 3, 3 }, .nr_frames = 64, .online_start = 3, .online_nr = 60, .nr_cpus = 1, .movable = true },
	{ .geometry = { 2, 5 }, .nr_frames = 64, .online_nr = 64, .types = "MMCCHMUMMMMRMMMM", .movable = true },
	{ .geometry = { 3, 4 }, .nr_frames = 80, .online_nr = 80, .nr_cpus = 1, .shrinks = true },
};

static uint64_t steps_failed, refusals;

static void note(const char *name)
{
	for (size_t i = 0; i < NR_POINTS; i++) {
		if (strcmp(points[i].name, name) == 0) {
			points[i].fired++;
			return;
		}
	}
	TEST_FAIL("the core has a fault point \"%s\" that this test does not know", name);
}

/* Returns false when the operation passed fewer than at + 1 fault points. */
static bool fail_one_step(struct hosted_world *w, const struct model_op *op, uint64_t at)
{
	const uint64_t refused = w->m->counts.refused[op->code];
	bool fired;

	model_arm(w->m, at);
	if (!hosted_step(w, op)) {
		printf("# failing step %llu (\"%s\") of\n", (unsigned long long)at, w->m->fault.point);
		hosted_print_error(w->m);
		TEST_FAIL("a failed step was not undone");
	}
	fired = w->m->fault.fired;
	if (!fired)
		return false;
	note(w->m->fault.point);
	steps_failed++;
	refusals += w->m->counts.refused[op->code] > refused;
	model_arm(w->m, UINT64_MAX);
	if (!hosted_finish(w)) {
		hosted_print_error(w->m);
		TEST_FAIL("the zone cannot be emptied after a failed step");
	}
	return true;
}

static void fail_every_step(struct hosted_world *w, const struct model_op *op, void *snapshot)
{
	memcpy(snapshot, w->mem, w->size);
	for (uint64_t at = 0; fail_one_step(w, op, at); at++)
		memcpy(w->mem, snapshot, w->size);
	memcpy(w->mem, snapshot, w->size);
}

TEST(a_failed_step_undoes_those_before_it)
{
	const unsigned states = hosted_long() ? 20000 : 600;

	for (size_t c = 0; c < sizeof(configs) / sizeof(configs[0]); c++) {
		struct hosted_world w;
		uint64_t rng = test_seed + c;
		void *snapshot;

		hosted_open(&w, &configs[c]);
		snapshot = malloc(w.size);
		EXPECT(snapshot != NULL);
		EXPECT(hosted_reset(&w));
		for (unsigned i = 0; i < states; i++) {
			for (unsigned n = 0; n < 20; n++) {
				const struct model_op op = model_random_op(w.m, &rng);

				EXPECT(hosted_step(&w, &op));
			}
			for (uint8_t code = 0; code < MODEL_NR_CODES; code++) {
				struct model_op op = model_random_op(w.m, &rng);

				op.code = code;
				op.flags %= MODEL_MOVER_MODES;
				fail_every_step(&w, &op, snapshot);
			}
		}
		free(snapshot);
		hosted_close(&w);
	}
	printf("# %llu steps failed, %llu operations refused for it\n", (unsigned long long)steps_failed,
	       (unsigned long long)refusals);
	for (size_t i = 0; i < NR_POINTS; i++) {
		printf("# \"%s\" failed %llu times\n", points[i].name, (unsigned long long)points[i].fired);
		EXPECT_GT(points[i].fired, 0);
	}
	EXPECT_GT(refusals, 0);
}
