/* SPDX-License-Identifier: MIT */
/* How long something took, very many times: percentiles out of counts by size, to within a sixteenth. */
#ifndef ASH_BENCH_STALLS_H
#define ASH_BENCH_STALLS_H

#include <stdint.h>
#include <stdio.h>

enum { STALLS_SUB = 4, STALLS_BUCKETS = 64 << STALLS_SUB };

struct stalls {
	uint64_t count[STALLS_BUCKETS], all, longest;
};

static inline unsigned stalls_bucket(uint64_t ns)
{
	const unsigned log2 = ns >= 1 << STALLS_SUB ? 63 - (unsigned)__builtin_clzll(ns) : STALLS_SUB;

	return ((log2 - STALLS_SUB) << STALLS_SUB) + (unsigned)(ns >> (log2 - STALLS_SUB));
}

static inline void stalls_add(struct stalls *s, uint64_t ns)
{
	s->count[stalls_bucket(ns)]++;
	s->all++;
	s->longest = ns > s->longest ? ns : s->longest;
}

/* The least that so many parts of a million did not exceed, rounded down to its bucket. */
static inline double stalls_us(const struct stalls *s, uint64_t millionths)
{
	uint64_t left = s->all / 1000000 * millionths + s->all % 1000000 * millionths / 1000000;
	unsigned b = 0, high;

	while (b + 1 < STALLS_BUCKETS && s->count[b] <= left)
		left -= s->count[b++];
	high = b >> STALLS_SUB;
	return (double)(high == 0 ? b : (uint64_t)((b & ((1 << STALLS_SUB) - 1)) + (1 << STALLS_SUB)) << (high - 1)) /
	       1e3;
}

static inline void stalls_print(const char *what, const struct stalls *s)
{
	if (s->all == 0) {
		printf("%s: none\n", what);
		return;
	}
	printf("%s: %llu, microseconds: half within %.2f, 99 %% %.2f, 99.99 %% %.2f, all %.1f\n", what,
	       (unsigned long long)s->all, stalls_us(s, 500000), stalls_us(s, 990000), stalls_us(s, 999900),
	       (double)s->longest / 1e3);
}

#endif
