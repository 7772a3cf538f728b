/* SPDX-License-Identifier: MIT */
/*
 * Small-object churn: a set of live objects of mixed sizes, freed in one of three orders.
 *
 *   order=lifo    a stack that grows and shrinks by random amounts: call trees, parsers
 *   order=fifo    a queue of fixed length: request handling, logs
 *   order=random  a table whose random entries are replaced: caches, object graphs
 *
 * live= objects at most, ops= allocations in all, size= fixed size (0: mixed).
 */
#include "bench.h"

struct object {
	void *p;
	size_t size;
};

static struct object *objects;
static uint64_t state;
static size_t fixed;

static void make(struct object *o)
{
	o->size = fixed != 0 ? fixed : bench_size(&state);
	o->p = bench_malloc(o->size);
}

static void lifo(size_t live, uint64_t ops)
{
	size_t depth = 0;

	while (ops > 0) {
		uint64_t up = bench_random(&state) % (live - depth + 1), down;

		for (; up > 0 && ops > 0; up--, ops--)
			make(&objects[depth++]);
		for (down = bench_random(&state) % (depth + 1); down > 0; down--) {
			depth--;
			bench_free(objects[depth].p, objects[depth].size);
		}
	}
	while (depth-- > 0)
		bench_free(objects[depth].p, objects[depth].size);
}

static void replace(size_t live, uint64_t ops, bool random)
{
	for (uint64_t i = 0; i < ops; i++) {
		struct object *o = &objects[random ? bench_random(&state) % live : i % live];

		if (o->p != NULL)
			bench_free(o->p, o->size);
		make(o);
	}
	for (size_t i = 0; i < live; i++)
		if (objects[i].p != NULL)
			bench_free(objects[i].p, objects[i].size);
}

int main(int argc, char **argv)
{
	const char *order = bench_arg_string(argc, argv, "order", "random");
	const size_t live = bench_arg(argc, argv, "live", 20000);
	const uint64_t ops = bench_arg(argc, argv, "ops", 20000000);
	const uint64_t start = bench_now();

	state = bench_arg(argc, argv, "seed", 1);
	fixed = bench_arg(argc, argv, "size", 0);
	objects = calloc(live, sizeof(*objects));
	if (objects == NULL || live == 0)
		bench_die("live=%zu cannot be had", live);
	if (strcmp(order, "lifo") == 0)
		lifo(live, ops);
	else if (strcmp(order, "fifo") == 0)
		replace(live, ops, false);
	else if (strcmp(order, "random") == 0)
		replace(live, ops, true);
	else
		bench_die("order is lifo, fifo or random, not %s", order);
	free(objects);
	bench_report("churn", ops, start);
	return 0;
}
