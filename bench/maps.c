/* SPDX-License-Identifier: MIT */
/*
 * Mappings: map size= MiB, touch every page (or write every byte: fill=1), unmap; rounds= times, with pause=
 * milliseconds between that do not count. pages=huge or base asks the kernel for these, pages=any for nothing;
 * populate=1 has it bring them all before they are touched. pages=floor maps nothing but once, and wipes instead: what
 * nobody gets below who writes all of it. Prints microseconds per gigabyte, of the rounds after the first two: the
 * fastest and the median.
 */
#include <emmintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static size_t bytes;
static bool populate;
static const char *pages;

static char *map(void)
{
	const bool base = pages[0] == 'b';
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | (populate && base ? MAP_POPULATE : 0), -1, 0);

	if (p == MAP_FAILED)
		bench_die("no memory");
	if (pages[0] != 'a')
		(void)madvise(p, bytes, base ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	if (populate && !base && madvise(p, bytes, MADV_POPULATE_WRITE) != 0)
		bench_die("not populated");
	return p;
}

static void touch(char *p, bool fill)
{
	for (size_t at = 0; at < bytes; at += 4096) {
		if (p[at] != 0)
			bench_die("byte %zu is not zero", at);
		p[at] = 1;
	}
	if (fill)
		memset(p, 3, bytes);
}

/* By whichever way is the quicker at this size. */
static void wipe(char *p)
{
	if (bytes < (size_t)128 << 20) {
		memset(p, 0, bytes);
		return;
	}
	for (size_t i = 0; i < bytes; i += 16)
		_mm_stream_si128((__m128i *)(void *)(p + i), _mm_setzero_si128());
	_mm_sfence();
}

int main(int argc, char **argv)
{
	enum { FIRST = 2, MOST = 10000 };
	static uint64_t took[MOST];
	const size_t rounds = bench_arg(argc, argv, "rounds", 20), pause = bench_arg(argc, argv, "pause", 0);
	const bool fill = bench_arg(argc, argv, "fill", 0) != 0;
	bool floor;
	char *p = NULL;

	bytes = bench_arg(argc, argv, "size", 2) << 20;
	pages = bench_arg_string(argc, argv, "pages", "any");
	populate = bench_arg(argc, argv, "populate", 0) != 0;
	floor = strcmp(pages, "floor") == 0;
	if (rounds <= FIRST || rounds > MOST)
		bench_die("3 to 10000 rounds");
	free(malloc(1)); /* An allocator that reads its options at the first call has read them. */
	if (floor)
		p = map();
	for (size_t i = 0; i < rounds; i++) {
		const uint64_t start = bench_now();

		if (floor)
			wipe(p);
		else
			p = map();
		touch(p, fill);
		if (!floor && munmap(p, bytes) != 0)
			bench_die("munmap failed");
		took[i] = bench_now() - start;
		if (pause != 0)
			usleep((useconds_t)pause * 1000);
	}
	qsort(took + FIRST, rounds - FIRST, sizeof(took[0]), by_value);
	printf("%.0f %.0f\n", (double)took[FIRST] / 1e3 * (1 << 30) / (double)bytes,
	       (double)took[FIRST + (rounds - FIRST) / 2] / 1e3 * (1 << 30) / (double)bytes);
	return 0;
}
