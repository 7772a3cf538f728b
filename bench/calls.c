/* SPDX-License-Identifier: MIT */
/*
 * The calls that bench/instructions counts: measured() and nothing else is what callgrind collects. Each operation is
 * warmed up first, so that what is counted is the hit path; the burst ones count refill and flush with it.
 *
 *      calls COUNT OPERATION:SIZE...
 *
 *   pair     malloc and free of one object, over and over
 *   burst    COUNT mallocs, then COUNT frees in the same order
 *   remote   frees of what another thread allocated
 *   calloc, aligned, memalign, null (realloc of NULL), sized   pairs with free, or C23's free_sized if there is one
 *   realloc, reallocarray   between SIZE and one byte less, which must stay in place
 *
 * Compiled with -fno-plt: the count starts at the exported symbol.
 */
#include <malloc.h>
#include <pthread.h>

#include "bench.h"

#define COUNT_MAX 65536

/* C23; the C library of the day may not have it. */
void free_sized(void *p, size_t bytes) __attribute__((weak));

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

/* One object after the other; and one that stays where it is while its size changes by a byte. */
#define PAIRS(name, allocate, give_back)                                                                               \
	static __attribute__((noinline)) void name(unsigned n)                                                         \
	{                                                                                                              \
		for (unsigned i = 0; i < n; i++) {                                                                     \
			void *p = allocate;                                                                            \
                                                                                                                       \
			*(volatile char *)p = 1;                                                                       \
			give_back;                                                                                     \
		}                                                                                                      \
	}
#define IN_PLACE(name, resize)                                                                                         \
	static __attribute__((noinline)) void name(unsigned n)                                                         \
	{                                                                                                              \
		for (unsigned i = 0; i < n; i++)                                                                       \
			if (resize != objects[0])                                                                      \
				bench_die(#name ": a byte less or more moved the block");                              \
	}
PAIRS(pairs, malloc(size), free(p))
PAIRS(callocs, calloc(1, size), free(p))
PAIRS(aligned, aligned_alloc(64, size), free(p))
PAIRS(memaligns, memalign(64, size), free(p))
PAIRS(nulls, realloc(NULL, size), free(p))
PAIRS(sized, malloc(size), free_sized(p, size))
IN_PLACE(reallocs, realloc(objects[0], size - (i & 1)))
IN_PLACE(reallocarrays, reallocarray(objects[0], size - (i & 1), 1))

static __attribute__((noinline)) void burst(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		objects[i] = malloc(size);
	for (unsigned i = 0; i < n; i++)
		free(objects[i]);
}

static __attribute__((noinline)) void frees(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(objects[i]);
}

static const struct operation {
	const char *name;
	void (*run)(unsigned n);
	bool of_one; /* object, which is there before and after */
} operations[] = {
	{ .name = "pair", .run = pairs },
	{ .name = "burst", .run = burst },
	{ .name = "remote", .run = frees },
	{ .name = "calloc", .run = callocs },
	{ .name = "aligned", .run = aligned },
	{ .name = "memalign", .run = memaligns },
	{ .name = "null", .run = nulls },
	{ .name = "sized", .run = sized },
	{ .name = "realloc", .run = reallocs, .of_one = true },
	{ .name = "reallocarray", .run = reallocarrays, .of_one = true },
};

__attribute__((noinline)) void measured(const struct operation *op, unsigned n);
__attribute__((noinline)) void measured(const struct operation *op, unsigned n)
{
	op->run(n);
	__asm__ volatile("" ::: "memory");
}

/* Once to warm both sides up, once to count. */
static void remote(const struct operation *op)
{
	pthread_t thread;

	pthread_barrier_init(&turn, NULL, 2);
	if (pthread_create(&thread, NULL, fill, NULL) != 0)
		bench_die("no thread");
	pthread_barrier_wait(&turn);
	frees(count);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	measured(op, count);
	pthread_barrier_wait(&turn);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&turn);
}

static void local(const struct operation *op)
{
	if (op->of_one)
		objects[0] = bench_malloc(size);
	op->run(count);
	measured(op, count);
	if (op->of_one)
		free(objects[0]);
}

/* "OPERATION:SIZE". One whose function is not there is still measured, as nothing: its part of the output stays. */
static void run(const char *what)
{
	const char *colon = strchr(what, ':');
	const struct operation *op = NULL;

	for (size_t i = 0; colon != NULL && i < sizeof(operations) / sizeof(*operations); i++)
		if (strlen(operations[i].name) == (size_t)(colon - what) &&
		    memcmp(operations[i].name, what, (size_t)(colon - what)) == 0)
			op = &operations[i];
	size = colon != NULL ? strtoull(colon + 1, NULL, 0) : 0;
	if (op == NULL || size == 0)
		bench_die("unknown operation, or a size that makes no sense");
	if (op->run == sized && free_sized == NULL)
		measured(&operations[0], 0);
	else if (op->run == frees)
		remote(op);
	else
		local(op);
}

int main(int argc, char **argv)
{
	count = argc > 2 ? (unsigned)strtoul(argv[1], NULL, 0) : 0;
	if (count == 0 || count > COUNT_MAX)
		bench_die("usage: calls COUNT OPERATION:SIZE...");
	for (int i = 2; i < argc; i++)
		run(argv[i]);
	return 0;
}
