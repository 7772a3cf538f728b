/* SPDX-License-Identifier: MIT */
/*
 * Mappings: map size= MiB, touch every page (or write every byte: fill=1), unmap; rounds= times. pages=huge or base asks
 * the kernel for these, pages=any for nothing. Prints microseconds per gigabyte, of the rounds
 * after the first two: the fastest and the median.
 */
#include <sys/mman.h>

#include "bench.h"

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	enum { FIRST = 2, MOST = 10000 };
	static uint64_t took[MOST];
	const size_t bytes = bench_arg(argc, argv, "size", 2) << 20, rounds = bench_arg(argc, argv, "rounds", 20);
	const char *pages = bench_arg_string(argc, argv, "pages", "any");
	const bool fill = bench_arg(argc, argv, "fill", 0) != 0;

	if (rounds <= FIRST || rounds > MOST)
		bench_die("3 to 10000 rounds");
	free(malloc(1)); /* An allocator that reads its options at the first call has read them. */
	for (size_t i = 0; i < rounds; i++) {
		const uint64_t start = bench_now();
		char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			bench_die("no memory");
		if (strcmp(pages, "any") != 0)
			(void)madvise(p, bytes, pages[0] == 'h' ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		for (size_t at = 0; at < bytes; at += 4096) {
			if (p[at] != 0)
				bench_die("byte %zu is not zero", at);
			p[at] = 1;
		}
		if (fill)
			memset(p, 3, bytes);
		if (munmap(p, bytes) != 0)
			bench_die("munmap failed");
		took[i] = bench_now() - start;
	}
	qsort(took + FIRST, rounds - FIRST, sizeof(took[0]), by_value);
	printf("%.0f %.0f\n", (double)took[FIRST] / 1e3 * (1 << 30) / (double)bytes,
	       (double)took[FIRST + (rounds - FIRST) / 2] / 1e3 * (1 << 30) / (double)bytes);
	return 0;
}
