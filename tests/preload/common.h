/* SPDX-License-Identifier: MIT */
/*
 * For programs that run three times: under the C library's own malloc, under the preload, and under the preload with
 * hugetlb pages. tests/preload/under tells them which by ASH_TEST_UNDER; a program run by hand takes LD_PRELOAD's word.
 */
#ifndef ASH_TESTS_PRELOAD_COMMON_H
#define ASH_TESTS_PRELOAD_COMMON_H

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Hides a value from the optimiser, which would otherwise fold allocations it can see through. */
#define OPAQUE(x)                                                                                                      \
	({                                                                                                             \
		__typeof__((x) + 0) opaque_ = (x);                                                                     \
		__asm__ volatile("" : "+r"(opaque_) : : "memory");                                                     \
		opaque_;                                                                                               \
	})

static inline bool under_ashlar(void)
{
	const char *under = getenv("ASH_TEST_UNDER"), *preload = getenv("LD_PRELOAD");

	if (under != NULL)
		return strcmp(under, "glibc") != 0;
	return preload != NULL && strstr(preload, "ashlar") != NULL;
}

static inline bool under_hugetlb(void)
{
	const char *under = getenv("ASH_TEST_UNDER");

	return under != NULL && strcmp(under, "h") == 0;
}

/* A byte that depends on where it stands and on the seed, so that moved, stale or foreign content is noticed. */
static inline unsigned char pattern(size_t i, unsigned seed)
{
	return (unsigned char)((i * 167 + (i >> 8) * 59 + seed * 101) ^ 0x5a);
}

static inline void fill(void *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)p)[i] = pattern(i, seed);
}

/* Index of the first byte that is not as filled, or n. */
static inline size_t differs(const void *p, size_t n, unsigned seed)
{
	size_t i = 0;

	while (i < n && ((const unsigned char *)p)[i] == pattern(i, seed))
		i++;
	return i;
}

/* Index of the first byte that is not zero, or n. */
static inline size_t nonzero(const void *p, size_t n)
{
	size_t i = 0;

	while (i < n && ((const unsigned char *)p)[i] == 0)
		i++;
	return i;
}

#endif
