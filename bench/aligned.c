/* SPDX-License-Identifier: MIT */
/*
 * Aligned allocation: posix_memalign of alignments from 16 bytes to max_align= and mixed sizes, replaced at random.
 */
#include "bench.h"

int main(int argc, char **argv)
{
	const size_t live = bench_arg(argc, argv, "live", 5000);
	const size_t max_align = bench_arg(argc, argv, "max_align", 4096);
	const uint64_t ops = bench_arg(argc, argv, "ops", 8000000);
	const uint64_t start = bench_now();
	uint64_t state = bench_arg(argc, argv, "seed", 1);
	unsigned alignments = 1;
	struct {
		void *p;
		size_t size;
	} *blocks = calloc(live, sizeof(*blocks));

	if (blocks == NULL || live == 0)
		bench_die("live=%zu cannot be had", live);
	while ((size_t)16 << alignments <= max_align)
		alignments++;
	for (uint64_t n = 0; n < ops; n++) {
		const size_t i = bench_random(&state) % live;
		const size_t align = (size_t)16 << (bench_random(&state) >> 32) % alignments;
		const size_t size = bench_size(&state);

		if (blocks[i].p != NULL)
			bench_free(blocks[i].p, blocks[i].size);
		if (posix_memalign(&blocks[i].p, align, size) != 0)
			bench_die("posix_memalign(%zu, %zu) failed", align, size);
		if ((uintptr_t)blocks[i].p % align != 0)
			bench_die("posix_memalign(%zu, %zu) gave %p", align, size, blocks[i].p);
		blocks[i].size = size;
		bench_fill(blocks[i].p, size);
		bench_touch(blocks[i].p, size);
	}
	for (size_t i = 0; i < live; i++)
		if (blocks[i].p != NULL)
			bench_free(blocks[i].p, blocks[i].size);
	free(blocks);
	bench_report("aligned", ops, start);
	return 0;
}
