/* SPDX-License-Identifier: MIT */
/*
 * Movable objects that give way: total= MiB of objects of size= KiB, half of them freed at random; then rounds= times a
 * range of want= MiB is taken and given back, and some objects come and go. Another thread writes to objects all the
 * time, each under its lock, which whoever moves one holds from isolation to the end. Run it with ASHLAR_LIMIT=TOTAL.
 *
 * Prints what moves took, from isolation to the end and the copying alone, and how long the writes took.
 */
#include <ashlar/contig.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "bench.h"
#include "stalls.h"

enum { MOST = 8000 };

static struct object {
	pthread_mutex_t lock;
	uint64_t *p; /* NULL: none. Under the lock. */
	uint64_t since;
} objects[MOST];
static size_t nr, size;
static uint64_t rng = 88172645463325252u;
static atomic_bool stop, taking, writing;
static struct stalls moves, copies, writes[2];

static int isolate(void *p, size_t bytes, void *arg)
{
	struct object *o = arg;

	(void)bytes;
	if (pthread_mutex_trylock(&o->lock) != 0)
		return 1;
	if (o->p != p) {
		pthread_mutex_unlock(&o->lock);
		return 1;
	}
	o->since = bench_now();
	return 0;
}

static int migrate(void *to, void *from, size_t bytes, void *arg)
{
	struct object *o = arg;
	const uint64_t start = bench_now();

	memcpy(to, from, bytes);
	stalls_add(&copies, bench_now() - start);
	o->p = to;
	stalls_add(&moves, bench_now() - o->since);
	pthread_mutex_unlock(&o->lock);
	return 0;
}

static void putback(void *p, size_t bytes, void *arg)
{
	(void)p, (void)bytes;
	pthread_mutex_unlock(&((struct object *)arg)->lock);
}

static const struct ash_movable_ops ops = { .isolate = isolate, .migrate = migrate, .putback = putback };

static uint64_t word_of(const struct object *o, size_t i)
{
	return ((uintptr_t)o + i) * 0x9e3779b97f4a7c15u;
}

static void make(struct object *o)
{
	pthread_mutex_lock(&o->lock);
	o->p = ash_movable_alloc(size, &ops, o);
	for (size_t i = 0; o->p != NULL && i < size / 8; i += 512)
		o->p[i] = word_of(o, i);
	pthread_mutex_unlock(&o->lock);
}

static void end(struct object *o)
{
	uint64_t *p;

	pthread_mutex_lock(&o->lock);
	p = o->p;
	for (size_t i = 0; p != NULL && i < size / 8; i += 512) {
		if (p[i] != word_of(o, i))
			bench_die("a word is wrong");
	}
	o->p = NULL;
	pthread_mutex_unlock(&o->lock);
	if (ash_movable_free(p) != 0)
		bench_die("an object that cannot be freed");
}

static void *writer(void *arg)
{
	uint64_t state = 5;

	(void)arg;
	while (!stop) {
		struct object *const o = &objects[bench_random(&state) % nr];
		const size_t i = bench_random(&state) % (size / 4096) * 512;
		const bool meanwhile = taking;
		const uint64_t start = bench_now();

		pthread_mutex_lock(&o->lock);
		if (o->p != NULL && o->p[i] != word_of(o, i))
			bench_die("a word is wrong");
		if (o->p != NULL)
			*(volatile uint64_t *)&o->p[i] = word_of(o, i);
		pthread_mutex_unlock(&o->lock);
		stalls_add(&writes[meanwhile], bench_now() - start);
		writing = true;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const size_t total = bench_arg(argc, argv, "total", 512) << 20, want = bench_arg(argc, argv, "want", 16) << 20;
	const size_t rounds = bench_arg(argc, argv, "rounds", 20);
	size_t had = 0;
	pthread_t thread;

	size = bench_arg(argc, argv, "size", 64) << 10;
	nr = total * 9 / 10 / size < MOST ? total * 9 / 10 / size : MOST;
	for (size_t i = 0; i < nr; i++) {
		pthread_mutex_init(&objects[i].lock, NULL);
		make(&objects[i]);
	}
	for (size_t i = 0; i < nr; i++) {
		if (bench_random(&rng) % 2 == 0)
			end(&objects[i]);
	}
	if (pthread_create(&thread, NULL, writer, NULL) != 0)
		bench_die("no thread");
	while (!writing)
		sched_yield();
	for (size_t i = 0; i < rounds; i++) {
		void *p;

		taking = true;
		p = ash_contig_alloc(want, 0, ASH_NODE_LOCAL);
		taking = false;
		had += p != NULL;
		for (size_t k = 0; k < nr / 8; k++) {
			struct object *o = &objects[bench_random(&rng) % nr];

			if (o->p != NULL)
				end(o);
			else
				make(o);
		}
		if (ash_contig_free(p) != 0)
			bench_die("a range that cannot be freed");
	}
	stop = true;
	pthread_join(thread, NULL);
	printf("%zu objects of %zu KiB, %zu MiB taken: %zu of %zu times\n", nr, size >> 10, want >> 20, had, rounds);
	stalls_print("moves", &moves);
	stalls_print("copies", &copies);
	stalls_print("writes while ranges were taken", &writes[1]);
	stalls_print("writes else", &writes[0]);
	return 0;
}
