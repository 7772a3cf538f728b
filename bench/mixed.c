/* SPDX-License-Identifier: MIT */
/*
 * A synthetic trace of a whole program: it loads (long-lived objects and a few tables that grow), then serves requests
 * in phases. A request allocates a burst of short-lived objects, grows a buffer or two by realloc, keeps a few objects
 * in a cache that replaces its oldest, and ends by freeing the burst, mostly in reverse. Every phase leans to other
 * sizes, so that memory must move between size classes; between phases half the cache is dropped.
 *
 * phases=, requests= of each phase, cache= objects; threads= do the same beside one another, each with its own state.
 */
#include <pthread.h>
#include <stdalign.h>
#include <string.h>

#include "bench.h"

struct object {
	void *p;
	size_t size;
};

/* Of two workers in one cache line each would wait for the other, under one allocator and not under the next. */
struct worker {
	alignas(128) pthread_t thread;
	uint64_t state, ops;
	struct object *cache;
	size_t oldest;
	struct object *loaded;
};

#define LOADED 20000
#define BURST_MAX 96

static unsigned phases;
static uint64_t requests;
static size_t cache_len;

static size_t phase_size(struct worker *w, unsigned phase)
{
	size_t size = bench_size(&w->state);

	/* Phases lean: as measured, half that again, the next a multiple of one odd record size. */
	switch (phase % 3) {
	case 1:
		return size + size / 2;
	case 2:
		return size < 512 ? 88 + size / 128 * 88 : size;
	default:
		return size;
	}
}

static void object_make(struct worker *w, struct object *o, size_t size)
{
	o->size = size;
	o->p = bench_malloc(size);
	w->ops++;
}

static void object_drop(struct object *o)
{
	if (o->p != NULL)
		bench_free(o->p, o->size);
	o->p = NULL;
}

static void request(struct worker *w, unsigned phase)
{
	struct object burst[BURST_MAX];
	const unsigned nr = 8 + bench_random(&w->state) % (BURST_MAX - 8);
	size_t room = 64;
	char *buffer = malloc(room);

	for (unsigned i = 0; i < nr; i++) {
		object_make(w, &burst[i], phase_size(w, phase));
		if (bench_random(&w->state) % 8 == 0 && room < 65536) {
			room += room / 2 + 16;
			buffer = realloc(buffer, room);
			if (buffer == NULL)
				bench_die("realloc(%zu) failed", room);
			buffer[room - 1] = (char)room;
			w->ops++;
		}
		if (bench_random(&w->state) % 16 == 0) {
			struct object *o = &w->cache[w->oldest++ % cache_len];

			object_drop(o);
			object_make(w, o, phase_size(w, phase));
		}
	}
	/* A few leave out of order, the rest as a stack. */
	for (unsigned i = 0; i < nr / 8; i++)
		object_drop(&burst[bench_random(&w->state) % nr]);
	for (unsigned i = nr; i-- > 0;)
		object_drop(&burst[i]);
	free(buffer);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (size_t i = 0; i < LOADED; i++)
		object_make(w, &w->loaded[i], bench_size(&w->state));
	for (unsigned phase = 0; phase < phases; phase++) {
		for (uint64_t i = 0; i < requests; i++)
			request(w, phase);
		for (size_t i = 0; i < cache_len; i += 2)
			object_drop(&w->cache[i]);
	}
	for (size_t i = 0; i < cache_len; i++)
		object_drop(&w->cache[i]);
	for (size_t i = 0; i < LOADED; i++)
		object_drop(&w->loaded[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	const unsigned threads = (unsigned)bench_arg(argc, argv, "threads", 1);
	const uint64_t start = bench_now();
	struct worker *workers = aligned_alloc(alignof(struct worker), threads * sizeof(*workers));
	uint64_t ops = 0;

	phases = (unsigned)bench_arg(argc, argv, "phases", 6);
	requests = bench_arg(argc, argv, "requests", 30000);
	cache_len = bench_arg(argc, argv, "cache", 50000);
	if (workers == NULL || cache_len == 0)
		bench_die("nothing to do");
	memset(workers, 0, threads * sizeof(*workers));
	for (unsigned i = 0; i < threads; i++) {
		struct worker *w = &workers[i];

		w->state = bench_arg(argc, argv, "seed", 1) + i;
		w->cache = calloc(cache_len, sizeof(*w->cache));
		w->loaded = calloc(LOADED, sizeof(*w->loaded));
		if (w->cache == NULL || w->loaded == NULL || pthread_create(&w->thread, NULL, work, w) != 0)
			bench_die("no worker");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		ops += workers[i].ops;
		free(workers[i].cache);
		free(workers[i].loaded);
	}
	free(workers);
	bench_report("mixed", ops, start);
	return 0;
}
