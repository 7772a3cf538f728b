/* SPDX-License-Identifier: MIT */
/*
 * Making a pageblock zero. With what else a mapping costs being some system calls, this is nearly all of it.
 *
 * A processor reads what is in its cache faster than it writes there, and what was only read need not be written back.
 * So where it has AVX2, memory is looked at first and only what is not zero is written: much memory that comes back was
 * touched here and there, or to a half. What is found full is written without a look, but for one page in each stretch.
 *
 * The last stretch is first and the first last: what went away was nearly always written upwards, so that its end is
 * what the caches still hold, and what comes will be, so that its start is what they should. Up to some times the size
 * of the cache that is a fourth to a tenth of the time of wiping and writing.
 *
 * What is more than the caches hold is wiped past them: it would be gone from there before the program came to it, and
 * stores that do not fetch what they overwrite take half the time. (docs/benchmarks.md, "Mappings")
 */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "map/internal.h"

enum { WIPE_PAST_CACHES = 128 << 20, STRETCH = 128 << 10 };

#if defined(__x86_64__)

/* Pieces are written whole. A page with so many that are not zero is full, and so is taken to be the rest of its
 * stretch. */
enum { PIECE = 256, FULL = 6 };

enum { AVX2_UNKNOWN, AVX2_NO, AVX2_YES };
static _Atomic int avx2;

/* The instruction is there, and the system saves its registers. Asking is slow in a virtual machine: once. */
static int find_avx2(void)
{
	unsigned a, b, c, d;
	uint32_t low, high;

	if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0)
		return AVX2_NO;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & 6) != 6 || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_AVX2) == 0)
		return AVX2_NO;
	return AVX2_YES;
}

static bool has_avx2(void)
{
	int known = atomic_load_explicit(&avx2, memory_order_relaxed);

	if (ASH_UNLIKELY(known == AVX2_UNKNOWN)) {
		known = find_avx2();
		atomic_store_explicit(&avx2, known, memory_order_relaxed);
	}
	return known == AVX2_YES;
}

ASH_TARGET("avx2") static bool is_zero(const __m256i *p)
{
	const __m256i a = _mm256_or_si256(_mm256_load_si256(p), _mm256_load_si256(p + 1));
	const __m256i b = _mm256_or_si256(_mm256_load_si256(p + 2), _mm256_load_si256(p + 3));
	const __m256i c = _mm256_or_si256(_mm256_load_si256(p + 4), _mm256_load_si256(p + 5));
	const __m256i d = _mm256_or_si256(_mm256_load_si256(p + 6), _mm256_load_si256(p + 7));
	const __m256i all = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));

	return _mm256_testz_si256(all, all) != 0;
}

ASH_TARGET("avx2") static void wipe_piece(__m256i *p)
{
	const __m256i zero = _mm256_setzero_si256();

	for (unsigned i = 0; i < PIECE / sizeof(zero); i++)
		_mm256_store_si256(p + i, zero);
}

/* Returns how far it came: to the end of the page, or until it was found full. */
ASH_TARGET("avx2") static char *wipe_page(char *p)
{
	char *const end = p + ASH_PAGE_SIZE;
	unsigned found = 0;

	/* What is not in memory comes by a write: to a read the kernel would give its page of zeroes. */
	*(volatile __m256i *)(void *)p = _mm256_setzero_si256();
	for (; p < end && found < FULL; p += PIECE) {
		if (is_zero((const __m256i *)(void *)p))
			continue;
		wipe_piece((__m256i *)(void *)p);
		found++;
	}
	return p;
}

/* From p on, which a stretch begins at. */
static void wipe_stretch_looking(char *p)
{
	char *const end = p + STRETCH;

	while (p < end) {
		char *const page_end = p + ASH_PAGE_SIZE;

		p = wipe_page(p);
		if (p < page_end) {
			memset(p, 0, (size_t)(end - p));
			break;
		}
	}
}

static void wipe_past_caches(char *p)
{
	const __m128i zero = _mm_setzero_si128();

	for (char *end = p + PB_BYTES; p < end; p += 64) {
		_mm_stream_si128((__m128i *)(void *)p, zero);
		_mm_stream_si128((__m128i *)(void *)(p + 16), zero);
		_mm_stream_si128((__m128i *)(void *)(p + 32), zero);
		_mm_stream_si128((__m128i *)(void *)(p + 48), zero);
	}
	/* Such stores are in no order with others: before anybody hears of the mapping. */
	_mm_sfence();
}

#else

static bool has_avx2(void)
{
	return false;
}

static void wipe_stretch_looking(char *p)
{
	memset(p, 0, STRETCH);
}

static void wipe_past_caches(char *p)
{
	memset(p, 0, PB_BYTES);
}

#endif

void ash_wipe(void *pageblock, size_t mapping_bytes)
{
	char *const start = pageblock;
	const bool look = has_avx2();

	if (mapping_bytes >= WIPE_PAST_CACHES) {
		wipe_past_caches(start);
		return;
	}
	for (char *p = start + PB_BYTES; p > start;) {
		p -= STRETCH;
		if (look)
			wipe_stretch_looking(p);
		else
			memset(p, 0, STRETCH);
	}
}
