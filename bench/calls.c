/* SPDX-License-Identifier: MIT */
/*
 * The calls that bench/instructions counts: measured() and nothing else is what callgrind collects. Each operation is
 * warmed up first, so that what is counted is the hit path; the burst ones count refill and flush with it.
 *
 *      calls OPERATION SIZE COUNT
 *
 *   pair     malloc and free of one object, over and over
 *   burst    COUNT mallocs, then COUNT frees in the same order
 *   remote   frees of what another thread allocated
 *   calloc, aligned   pairs with free
 *   realloc  between SIZE and one byte less, which must stay in place
 *
 * Compiled with -fno-plt: the count starts at the exported symbol.
 */
#include <pthread.h>

#include "bench.h"

#define COUNT_MAX 65536

static void *objects[COUNT_MAX];
static size_t size;
static unsigned count;

static pthread_barrier_t turn;

/* The other thread: allocates, lets the objects be freed, and again; it lives as long as they do. */
static void *fill(void *unused)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < count; i++)
			objects[i] = bench_malloc(size);
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

static __attribute__((noinline)) void pairs(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void *p = malloc(size);

		*(volatile char *)p = 1;
		free(p);
	}
}

static __attribute__((noinline)) void burst(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		objects[i] = malloc(size);
	for (unsigned i = 0; i < n; i++)
		free(objects[i]);
}

static __attribute__((noinline)) void callocs(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void *p = calloc(1, size);

		*(volatile char *)p = 1;
		free(p);
	}
}

static __attribute__((noinline)) void aligned(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void *p = aligned_alloc(64, size);

		*(volatile char *)p = 1;
		free(p);
	}
}

static __attribute__((noinline)) void reallocs(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void *q = realloc(objects[0], size - (i & 1));

		if (q != objects[0])
			bench_die("realloc by a byte moved the block");
	}
}

static __attribute__((noinline)) void frees(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(objects[i]);
}

static const struct operation {
	const char *name;
	void (*run)(unsigned n);
} operations[] = {
	{ "pair", pairs },	 { "burst", burst },	 { "remote", frees },
	{ "calloc", callocs }, { "aligned", aligned }, { "realloc", reallocs },
};

__attribute__((noinline)) void measured(const struct operation *op, unsigned n);
__attribute__((noinline)) void measured(const struct operation *op, unsigned n)
{
	op->run(n);
	__asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
	const struct operation *op = NULL;

	if (argc != 4)
		bench_die("usage: calls OPERATION SIZE COUNT");
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		if (strcmp(operations[i].name, argv[1]) == 0)
			op = &operations[i];
	size = strtoull(argv[2], NULL, 0);
	count = (unsigned)strtoul(argv[3], NULL, 0);
	if (op == NULL || size == 0 || count == 0 || count > COUNT_MAX)
		bench_die("unknown operation, or sizes that make no sense");
	if (op->run == frees) {
		pthread_t thread;

		pthread_barrier_init(&turn, NULL, 2);
		if (pthread_create(&thread, NULL, fill, NULL) != 0)
			bench_die("no thread");
		/* Once to warm both sides up, once to count. */
		pthread_barrier_wait(&turn);
		frees(count);
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		measured(op, count);
		pthread_barrier_wait(&turn);
		pthread_join(thread, NULL);
		return 0;
	}
	if (op->run == reallocs)
		objects[0] = bench_malloc(size);
	op->run(count);
	measured(op, count);
	return 0;
}
