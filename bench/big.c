/* SPDX-License-Identifier: MIT */
/*
 * Big blocks: 256 KiB to 32 MiB, allocated, a byte of every page written, freed in random order. Buffers of image,
 * network and database programs; where allocators give memory back and pay for it again.
 *
 * live= blocks at once (their sum stays below bytes=), ops= allocations, min= and max= sizes.
 */
#include "bench.h"

int main(int argc, char **argv)
{
	const size_t live = bench_arg(argc, argv, "live", 16);
	const uint64_t ops = bench_arg(argc, argv, "ops", 4000);
	const size_t min = bench_arg(argc, argv, "min", 256u << 10), max = bench_arg(argc, argv, "max", 32u << 20);
	const size_t limit = bench_arg(argc, argv, "bytes", 192u << 20);
	const uint64_t start = bench_now();
	struct {
		void *p;
		size_t size;
	} *blocks = calloc(live, sizeof(*blocks));
	uint64_t state = bench_arg(argc, argv, "seed", 1);
	size_t total = 0;
	unsigned doublings = 0;

	if (blocks == NULL || live == 0 || min == 0 || max < min || limit < max)
		bench_die("these sizes make no sense");
	while (min << (doublings + 1) <= max)
		doublings++;
	for (uint64_t done = 0; done < ops;) {
		const size_t i = bench_random(&state) % live;
		/* As many of each doubling: sizes are spread evenly over their logarithm. */
		const size_t low = min << (bench_random(&state) >> 32) % (doublings + 1);
		size_t size = low + bench_random(&state) % low;

		size = size < max ? size : max;
		if (blocks[i].p != NULL) {
			bench_free(blocks[i].p, blocks[i].size);
			total -= blocks[i].size;
			blocks[i].p = NULL;
		}
		if (total + size > limit)
			continue;
		blocks[i].p = bench_malloc(size);
		blocks[i].size = size;
		total += size;
		done++;
	}
	for (size_t i = 0; i < live; i++)
		if (blocks[i].p != NULL)
			bench_free(blocks[i].p, blocks[i].size);
	free(blocks);
	bench_report("big", ops, start);
	return 0;
}
