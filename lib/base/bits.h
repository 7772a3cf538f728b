/* SPDX-License-Identifier: MIT */
/* Powers of two, alignment and logarithms, with their domains asserted by the callers' types. */
#ifndef ASH_BASE_BITS_H
#define ASH_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define ASH_KIB(n) ((size_t)(n) << 10)
#define ASH_MIB(n) ((size_t)(n) << 20)
#define ASH_GIB(n) ((size_t)(n) << 30)

/* The base page ("frame") is 4 KiB everywhere in ashlar; kernels with larger pages are refused at start. */
#define ASH_PAGE_SHIFT 12
#define ASH_PAGE_SIZE ((size_t)1 << ASH_PAGE_SHIFT)

ASH_INLINE bool ash_is_pow2(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* n must not be 0: index of the highest set bit. */
ASH_INLINE unsigned ash_log2_floor(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

/* n must not be 0: smallest k with 2^k >= n. */
ASH_INLINE unsigned ash_log2_ceil(uint64_t n)
{
	return n == 1 ? 0 : ash_log2_floor(n - 1) + 1;
}

/* n must not be 0: index of the lowest set bit, i.e. the alignment order of n. */
ASH_INLINE unsigned ash_ctz(uint64_t n)
{
	return (unsigned)__builtin_ctzll(n);
}

/* align is a power of two. ash_align_up wraps when n is within align of SIZE_MAX: the caller has checked n. */
ASH_INLINE size_t ash_align_up(size_t n, size_t align)
{
	return (n + align - 1) & ~(align - 1);
}

ASH_INLINE size_t ash_align_down(size_t n, size_t align)
{
	return n & ~(align - 1);
}

ASH_INLINE size_t ash_bytes_to_pages(size_t bytes)
{
	return (bytes >> ASH_PAGE_SHIFT) + ((bytes & (ASH_PAGE_SIZE - 1)) != 0);
}

ASH_INLINE size_t ash_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

ASH_INLINE size_t ash_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

#endif
