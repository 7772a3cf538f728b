/* SPDX-License-Identifier: MIT */
/*
 * realloc of a large block that cannot grow where it is: a neighbour is put behind it first.
 *
 * A block of size= bytes, all written, grows by by= bytes, rounds= times anew. Only the call is timed; then every page
 * is checked and the new part written. Prints the fastest and the median call, in microseconds.
 */
#include "bench.h"

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static unsigned char expected(size_t i)
{
	return (unsigned char)(i / 4096 * 31 + 7);
}

enum { BEHIND = 64, BEHIND_BYTES = 2 << 20 };

/* Blocks until one lies right behind p, or enough are spent: where an allocator puts them is its business. */
static unsigned hem_in(const char *p, size_t size, void **behind)
{
	unsigned n = 0;

	for (bool there = false; n < BEHIND && !there; n++) {
		const char *b = behind[n] = bench_malloc(BEHIND_BYTES);

		there = b >= p + size && b < p + size + (64 << 10);
	}
	return n;
}

static uint64_t once(size_t size, size_t by, bool *moved)
{
	unsigned char *p = malloc(size), *q;
	const uintptr_t old = (uintptr_t)p;
	void *behind[BEHIND];
	uint64_t start, took;
	unsigned n;

	if (p == NULL)
		bench_die("malloc(%zu) failed", size);
	for (size_t i = 0; i < size; i += 4096)
		p[i] = expected(i);
	n = hem_in((char *)p, size, behind);
	start = bench_now();
	q = realloc(p, size + by);
	took = bench_now() - start;
	if (q == NULL)
		bench_die("realloc(%zu) failed", size + by);
	*moved = (uintptr_t)q != old;
	for (size_t i = 0; i < size; i += 4096)
		if (q[i] != expected(i))
			bench_die("byte %zu of %zu was lost", i, size);
	bench_touch(q + size, by);
	free(q);
	while (n-- > 0)
		bench_free(behind[n], BEHIND_BYTES);
	return took;
}

int main(int argc, char **argv)
{
	const size_t size = bench_arg(argc, argv, "size", 64u << 20), by = bench_arg(argc, argv, "by", 1u << 20);
	const unsigned rounds = (unsigned)bench_arg(argc, argv, "rounds", 21);
	const uint64_t start = bench_now();
	uint64_t took[1000];
	unsigned nr_moved = 0;

	if (rounds == 0 || rounds > 1000 || size == 0)
		bench_die("rounds is at most 1000");
	for (unsigned i = 0; i < rounds; i++) {
		bool moved;

		took[i] = once(size, by, &moved);
		nr_moved += moved;
	}
	qsort(took, rounds, sizeof(took[0]), compare);
	printf("moved %u of %u, fastest %.1f us, median %.1f us\n", nr_moved, rounds, (double)took[0] * 1e-3,
	       (double)took[rounds / 2] * 1e-3);
	bench_report("move", rounds, start);
	return 0;
}
