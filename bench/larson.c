/* SPDX-License-Identifier: MIT */
/*
 * A server as Larson and Krishnan describe it: each thread replaces random objects of its set for a while, then ends
 * and hands the set to a thread it starts, which goes on. So most frees are local, some are of memory of a thread
 * that no longer exists, and threads come and go.
 *
 * threads= sets at once, live= objects of each, ops= replacements of each thread, generations= threads after another.
 */
#include <pthread.h>

#include "bench.h"

struct object {
	void *p;
	size_t size;
};

struct set {
	pthread_t thread;
	struct object *objects;
	uint64_t state;
	unsigned generations;
};

static size_t live;
static uint64_t ops;
static size_t max_size;
static _Atomic unsigned running;

static void *serve(void *arg)
{
	struct set *set = arg;
	uint64_t state = set->state;

	for (uint64_t i = 0; i < ops; i++) {
		struct object *o = &set->objects[bench_random(&state) % live];

		if (o->p != NULL)
			bench_free(o->p, o->size);
		o->size = 8 + bench_random(&state) % max_size;
		o->p = bench_malloc(o->size);
	}
	set->state = state;
	if (--set->generations > 0) {
		pthread_t next;

		/* Detached: a chain of threads has no one to join its middle. */
		if (pthread_create(&next, NULL, serve, set) != 0)
			bench_die("no thread");
		pthread_detach(next);
	} else {
		running--;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const unsigned threads = (unsigned)bench_arg(argc, argv, "threads", 2);
	const unsigned generations = (unsigned)bench_arg(argc, argv, "generations", 50);
	const uint64_t start = bench_now();
	struct set *sets = calloc(threads, sizeof(*sets));

	live = bench_arg(argc, argv, "live", 5000);
	ops = bench_arg(argc, argv, "ops", 200000);
	max_size = bench_arg(argc, argv, "max", 1000);
	if (sets == NULL || live == 0 || generations == 0)
		bench_die("nothing to do");
	running = threads;
	for (unsigned i = 0; i < threads; i++) {
		sets[i] = (struct set){ .objects = calloc(live, sizeof(struct object)),
					.state = bench_arg(argc, argv, "seed", 1) + i,
					.generations = generations };
		if (sets[i].objects == NULL || pthread_create(&sets[i].thread, NULL, serve, &sets[i]) != 0)
			bench_die("no thread");
		pthread_detach(sets[i].thread);
	}
	while (running > 0)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	for (unsigned i = 0; i < threads; i++) {
		for (size_t j = 0; j < live; j++)
			if (sets[i].objects[j].p != NULL)
				bench_free(sets[i].objects[j].p, sets[i].objects[j].size);
		free(sets[i].objects);
	}
	free(sets);
	bench_report("larson", threads * generations * ops, start);
	return 0;
}
