/* SPDX-License-Identifier: MIT */
/*
 * Growth by realloc, every byte it moves checked at one place a page.
 *
 *   mode=double  from 16 bytes to max= by doubling: vectors
 *   mode=half    by one and a half
 *   mode=page    by one page at a time: logs, arenas of naive programs
 *   mode=string  from empty to max= by 1..64 bytes: string building; small blocks
 *
 * rounds= times; between= small blocks allocated between two steps and kept until the round ends, so that the growing
 * one is rarely the last in the heap.
 */
#include "bench.h"

static size_t next_size(const char *mode, size_t size, size_t max, uint64_t *state)
{
	size_t next = size;

	if (strcmp(mode, "double") == 0)
		next = size * 2;
	else if (strcmp(mode, "half") == 0)
		next = size + size / 2;
	else if (strcmp(mode, "page") == 0)
		next = size + 4096;
	else if (strcmp(mode, "string") == 0)
		next = size + 1 + bench_random(state) % 64;
	else
		bench_die("mode is double, half, page or string, not %s", mode);
	return next < max ? next : max;
}

/* The byte that belongs at offset i: one per page, and the last. */
static unsigned char expected(size_t i)
{
	return (unsigned char)(i / 4096 * 31 + i % 251);
}

static uint64_t grow(const char *mode, size_t max, unsigned between, uint64_t *state)
{
	void **kept = NULL;
	size_t size = 16, nr_kept = 0, room = 0;
	unsigned char *p = malloc(size);
	uint64_t steps = 0;

	if (p == NULL)
		bench_die("malloc failed");
	p[0] = expected(0);
	while (size < max) {
		const size_t next = next_size(mode, size, max, state);
		unsigned char *q = realloc(p, next);

		if (q == NULL)
			bench_die("realloc(%zu) failed", next);
		p = q;
		/* A few of the moved bytes at each step; all of them once, at the end. */
		if (p[0] != expected(0) || p[(size - 1) / 4096 * 4096] != expected((size - 1) / 4096 * 4096))
			bench_die("realloc to %zu lost contents", next);
		for (size_t i = (size - 1) / 4096 * 4096 + 4096; i < next; i += 4096)
			p[i] = expected(i);
		size = next;
		steps++;
		for (unsigned i = 0; i < between; i++) {
			if (nr_kept == room) {
				room = room != 0 ? room * 2 : 1024;
				kept = realloc(kept, room * sizeof(*kept));
				if (kept == NULL)
					bench_die("realloc failed");
			}
			kept[nr_kept] = bench_malloc(64);
			nr_kept++;
		}
	}
	for (size_t i = 0; i < size; i += 4096)
		if (p[i] != expected(i))
			bench_die("byte %zu of %zu was lost", i, size);
	free(p);
	for (size_t i = 0; i < nr_kept; i++)
		bench_free(kept[i], 64);
	free(kept);
	return steps;
}

int main(int argc, char **argv)
{
	const char *mode = bench_arg_string(argc, argv, "mode", "double");
	const size_t max = bench_arg(argc, argv, "max", 64u << 20);
	const unsigned rounds = (unsigned)bench_arg(argc, argv, "rounds", 20);
	const unsigned between = (unsigned)bench_arg(argc, argv, "between", 1);
	const uint64_t start = bench_now();
	uint64_t state = bench_arg(argc, argv, "seed", 1), steps = 0;

	for (unsigned i = 0; i < rounds; i++)
		steps += grow(mode, max, between, &state);
	bench_report("grow", steps, start);
	return 0;
}
