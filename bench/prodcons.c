/* SPDX-License-Identifier: MIT */
/*
 * Producer and consumers: one thread allocates, others free. Objects travel in batches through bounded rings, one per
 * consumer, so that the measured thing is the remote free and not the queue.
 *
 * consumers= 1 for one to one, more for fan-out; ops= objects in all; size= fixed size (0: mixed).
 */
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

#define BATCH 128
#define RING 64

struct batch {
	unsigned nr;
	struct {
		void *p;
		size_t size;
	} object[BATCH];
};

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t filled, drained;
	unsigned head, tail; /* filled up to head, drained up to tail */
	bool closed;
	uint64_t freed;
	struct batch batch[RING];
	pthread_t thread;
};

static void *consume(void *arg)
{
	struct ring *r = arg;

	for (;;) {
		struct batch *b;

		pthread_mutex_lock(&r->lock);
		while (r->head == r->tail && !r->closed)
			pthread_cond_wait(&r->filled, &r->lock);
		if (r->head == r->tail) {
			pthread_mutex_unlock(&r->lock);
			return NULL;
		}
		b = &r->batch[r->tail % RING];
		pthread_mutex_unlock(&r->lock);

		for (unsigned i = 0; i < b->nr; i++)
			bench_free(b->object[i].p, b->object[i].size);
		r->freed += b->nr;

		pthread_mutex_lock(&r->lock);
		r->tail++;
		pthread_cond_signal(&r->drained);
		pthread_mutex_unlock(&r->lock);
	}
}

static void produce(struct ring *rings, unsigned consumers, uint64_t ops, size_t fixed, uint64_t state)
{
	for (uint64_t sent = 0, turn = 0; sent < ops; turn++) {
		struct ring *r = &rings[turn % consumers];
		struct batch *b;

		pthread_mutex_lock(&r->lock);
		while (r->head - r->tail == RING)
			pthread_cond_wait(&r->drained, &r->lock);
		b = &r->batch[r->head % RING];
		pthread_mutex_unlock(&r->lock);

		for (b->nr = 0; b->nr < BATCH && sent < ops; b->nr++, sent++) {
			const size_t size = fixed != 0 ? fixed : bench_size(&state);

			b->object[b->nr].size = size;
			b->object[b->nr].p = bench_malloc(size);
		}
		pthread_mutex_lock(&r->lock);
		r->head++;
		pthread_cond_signal(&r->filled);
		pthread_mutex_unlock(&r->lock);
	}
}

int main(int argc, char **argv)
{
	const unsigned consumers = (unsigned)bench_arg(argc, argv, "consumers", 1);
	const uint64_t ops = bench_arg(argc, argv, "ops", 6000000);
	const uint64_t start = bench_now();
	struct ring *rings = calloc(consumers, sizeof(*rings));
	uint64_t freed = 0;

	if (rings == NULL || consumers == 0)
		bench_die("no consumers");
	for (unsigned i = 0; i < consumers; i++) {
		pthread_mutex_init(&rings[i].lock, NULL);
		pthread_cond_init(&rings[i].filled, NULL);
		pthread_cond_init(&rings[i].drained, NULL);
		if (pthread_create(&rings[i].thread, NULL, consume, &rings[i]) != 0)
			bench_die("no thread");
	}
	produce(rings, consumers, ops, bench_arg(argc, argv, "size", 0), bench_arg(argc, argv, "seed", 1));
	for (unsigned i = 0; i < consumers; i++) {
		pthread_mutex_lock(&rings[i].lock);
		rings[i].closed = true;
		pthread_cond_signal(&rings[i].filled);
		pthread_mutex_unlock(&rings[i].lock);
		pthread_join(rings[i].thread, NULL);
		freed += rings[i].freed;
	}
	free(rings);
	if (freed != ops)
		bench_die("%llu objects sent, %llu freed", (unsigned long long)ops, (unsigned long long)freed);
	bench_report("prodcons", ops, start);
	return 0;
}
