/* SPDX-License-Identifier: MIT */
/*
 * calloc: blocks of min= to max= bytes, found zero at sampled places, dirtied, freed. Small sizes measure the clearing
 * itself; large ones whether the allocator knows that fresh pages are zero already.
 */
#include "bench.h"

int main(int argc, char **argv)
{
	const size_t live = bench_arg(argc, argv, "live", 1000);
	const size_t min = bench_arg(argc, argv, "min", 16), max = bench_arg(argc, argv, "max", 2048);
	const uint64_t ops = bench_arg(argc, argv, "ops", 10000000);
	const uint64_t start = bench_now();
	uint64_t state = bench_arg(argc, argv, "seed", 1);
	struct {
		unsigned char *p;
		size_t size;
	} *blocks = calloc(live, sizeof(*blocks));

	if (blocks == NULL || live == 0 || max < min || min == 0)
		bench_die("these sizes make no sense");
	for (uint64_t n = 0; n < ops; n++) {
		const size_t i = bench_random(&state) % live;
		const size_t size = min + bench_random(&state) % (max - min + 1);
		const size_t step = size < 4096 ? 61 : 4096;

		free(blocks[i].p);
		blocks[i].p = calloc(1, size);
		if (blocks[i].p == NULL)
			bench_die("calloc(%zu) failed", size);
		for (size_t at = 0; at < size; at += step) {
			if (blocks[i].p[at] != 0)
				bench_die("byte %zu of calloc(%zu) is not zero", at, size);
			blocks[i].p[at] = 0xa5;
		}
		if (blocks[i].p[size - 1] != 0 && (size - 1) % step != 0)
			bench_die("the last byte of calloc(%zu) is not zero", size);
		blocks[i].p[size - 1] = 0x5a;
	}
	for (size_t i = 0; i < live; i++)
		free(blocks[i].p);
	free(blocks);
	bench_report("zeroed", ops, start);
	return 0;
}
