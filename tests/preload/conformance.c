/* SPDX-License-Identifier: MIT */
/* The malloc family's promises about arguments, errno and NULL: C17 7.22.3, C23 7.24.3, POSIX, glibc's manual. */
#include "harness/test.h"

#include <stdint.h>
#include <unistd.h>

#include "common.h"

void free_sized(void *p, size_t size) __attribute__((weak));
void free_aligned_sized(void *p, size_t align, size_t size) __attribute__((weak));
extern void cfree(void *p) __attribute__((weak));

/* Each is larger than any program can have; around the edges where padding or rounding overflows. */
static const size_t too_large[] = {
	(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 4095, SIZE_MAX - 4096,
	SIZE_MAX - (2u << 20), SIZE_MAX / 2 + 1, PTRDIFF_MAX, PTRDIFF_MAX - 4096,
};
#define NR_TOO_LARGE (sizeof(too_large) / sizeof(too_large[0]))

TEST(malloc_of_impossible_sizes_is_enomem)
{
	for (size_t i = 0; i < NR_TOO_LARGE; i++) {
		/* A free object of a small size must not be mistaken for the answer to an overflowed one. */
		free(OPAQUE(malloc(16)));
		errno = 0;
		EXPECT_EQ((intptr_t)malloc(OPAQUE(too_large[i])), 0);
		EXPECT_EQ(errno, ENOMEM);
	}
}

TEST(calloc_of_impossible_sizes_is_enomem)
{
	for (size_t i = 0; i < NR_TOO_LARGE; i++) {
		for (size_t n = 1; n <= 16; n *= 2) {
			const size_t each = (too_large[i] - 1) / n + 1;

			errno = 0;
			EXPECT_EQ((intptr_t)calloc(OPAQUE(n), each), 0);
			EXPECT_EQ(errno, ENOMEM);
			errno = 0;
			EXPECT_EQ((intptr_t)calloc(each, OPAQUE(n)), 0);
			EXPECT_EQ(errno, ENOMEM);
		}
	}
}

TEST(calloc_product_overflow_is_enomem)
{
	static const size_t pairs[][2] = { { SIZE_MAX, 2 }, { 2, SIZE_MAX }, { SIZE_MAX / 2 + 1, 2 },
					   { (size_t)1 << 32, (size_t)1 << 32 }, { SIZE_MAX / 3 + 1, 3 },
					   { (size_t)1 << 63, 2 }, { SIZE_MAX, SIZE_MAX } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		errno = 0;
		EXPECT_EQ((intptr_t)calloc(OPAQUE(pairs[i][0]), OPAQUE(pairs[i][1])), 0);
		EXPECT_EQ(errno, ENOMEM);
	}
}

TEST(failed_realloc_keeps_the_object)
{
	char *p = malloc(100);

	fill(p, 100, 1);
	for (size_t i = 0; i < NR_TOO_LARGE; i++) {
		errno = 0;
		EXPECT_EQ((intptr_t)realloc(OPAQUE(p), OPAQUE(too_large[i])), 0);
		EXPECT_EQ(errno, ENOMEM);
		EXPECT_EQ(differs(p, 100, 1), 100);
		EXPECT_GE(malloc_usable_size(p), 100);
	}
	free(p);
}

TEST(failed_reallocarray_keeps_the_object)
{
	char *p = malloc(100);

	fill(p, 100, 2);
	errno = 0;
	EXPECT_EQ((intptr_t)reallocarray(OPAQUE(p), SIZE_MAX / 2 + 1, OPAQUE(2)), 0);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT_EQ((intptr_t)reallocarray(OPAQUE(p), OPAQUE((size_t)PTRDIFF_MAX), 1), 0);
	EXPECT_EQ(errno, ENOMEM);
	EXPECT_EQ(differs(p, 100, 2), 100);
	free(p);
}

TEST(reallocarray_multiplies)
{
	char *p = reallocarray(NULL, OPAQUE(30), 10);

	EXPECT_GE(malloc_usable_size(p), 300);
	fill(p, 300, 3);
	p = reallocarray(p, OPAQUE(700), 10);
	EXPECT_GE(malloc_usable_size(p), 7000);
	EXPECT_EQ(differs(p, 300, 3), 300);
	EXPECT_EQ((intptr_t)reallocarray(p, OPAQUE(0), 10), 0);
}

TEST(realloc_of_null_is_malloc)
{
	void *p = realloc(OPAQUE(NULL), OPAQUE(40));

	EXPECT(p != NULL);
	EXPECT_GE(malloc_usable_size(p), 40);
	free(p);
	p = realloc(OPAQUE(NULL), OPAQUE(0));
	EXPECT(p != NULL);
	free(p);
}

TEST(realloc_to_zero_frees_and_is_null)
{
	errno = 4711;
	EXPECT_EQ((intptr_t)realloc(OPAQUE(malloc(10)), OPAQUE(0)), 0);
	EXPECT_EQ(errno, 4711);
	EXPECT_EQ((intptr_t)realloc(OPAQUE(malloc(1 << 20)), OPAQUE(0)), 0);
	EXPECT_EQ(errno, 4711);
}

TEST(zero_sizes_give_unique_pointers)
{
	void *p[64];

	for (int i = 0; i < 64; i++) {
		switch (i % 4) {
		case 0:
			p[i] = malloc(OPAQUE(0));
			break;
		case 1:
			p[i] = calloc(OPAQUE(0), 8);
			break;
		case 2:
			p[i] = memalign(64, OPAQUE(0));
			break;
		default:
			p[i] = valloc(OPAQUE(0));
		}
		EXPECT(p[i] != NULL);
		for (int j = 0; j < i; j++)
			EXPECT(p[i] != p[j]);
	}
	for (int i = 0; i < 64; i++)
		free(p[i]);
}

TEST(aligned_alloc_refuses_alignments_that_are_no_power_of_two)
{
	static const size_t bad[] = { 0, 3, 6, 24, 65, 4095, 4097, SIZE_MAX, SIZE_MAX - 1, ((size_t)1 << 63) + 1 };

	if (!under_ashlar())
		SKIP("the C library here may be older than the rule (glibc 2.38)");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		EXPECT_EQ((intptr_t)aligned_alloc(OPAQUE(bad[i]), OPAQUE(64)), 0);
		EXPECT_EQ(errno, EINVAL);
	}
}

TEST(aligned_alloc_takes_sizes_that_are_no_multiple)
{
	void *p = aligned_alloc(OPAQUE(256), OPAQUE(100));

	EXPECT(p != NULL);
	EXPECT_EQ((uintptr_t)p % 256, 0);
	free(p);
}

TEST(aligned_failures_are_enomem)
{
	static const size_t aligns[] = { 1, 8, 16, 64, 4096, 1u << 21, (size_t)1 << 40, (size_t)1 << 62 };

	for (size_t a = 0; a < sizeof(aligns) / sizeof(aligns[0]); a++) {
		for (size_t i = 0; i < NR_TOO_LARGE; i++) {
			errno = 0;
			EXPECT_EQ((intptr_t)memalign(OPAQUE(aligns[a]), OPAQUE(too_large[i])), 0);
			EXPECT_EQ(errno, ENOMEM);
			errno = 0;
			EXPECT_EQ((intptr_t)aligned_alloc(OPAQUE(aligns[a]), OPAQUE(too_large[i])), 0);
			EXPECT_EQ(errno, ENOMEM);
		}
	}
}

TEST(alignments_beyond_memory_fail_cleanly)
{
	void *p = (void *)-1;

	EXPECT_EQ((intptr_t)memalign(OPAQUE((size_t)1 << 62), OPAQUE(1)), 0);
	EXPECT_EQ(posix_memalign(&p, OPAQUE((size_t)1 << 62), OPAQUE(1)), ENOMEM);
	EXPECT_EQ((intptr_t)p, -1);
}

TEST(memalign_rounds_alignment_up)
{
	static const size_t pairs[][2] = { { 0, 1 }, { 1, 1 }, { 3, 4 }, { 24, 32 }, { 65, 128 }, { 4097, 8192 } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		void *p = memalign(OPAQUE(pairs[i][0]), OPAQUE(10));

		EXPECT(p != NULL);
		EXPECT_EQ((uintptr_t)p % pairs[i][1], 0);
		free(p);
	}
	errno = 0;
	EXPECT_EQ((intptr_t)memalign(OPAQUE(SIZE_MAX / 2 + 2), OPAQUE(1)), 0);
	EXPECT_EQ(errno, EINVAL);
}

TEST(posix_memalign_refuses_bad_alignments_and_leaves_the_pointer)
{
	static const size_t bad[] = { 0, 1, 2, 4, 3, 9, 12, 24, 65, SIZE_MAX };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *p = (void *)0x1234;

		errno = 4711;
		EXPECT_EQ(posix_memalign(&p, OPAQUE(bad[i]), OPAQUE(16)), EINVAL);
		EXPECT_EQ((intptr_t)p, 0x1234);
		EXPECT_EQ(errno, 4711);
	}
}

TEST(posix_memalign_without_memory_leaves_the_pointer)
{
	for (size_t i = 0; i < NR_TOO_LARGE; i++) {
		void *p = (void *)0x1234;

		EXPECT_EQ(posix_memalign(&p, OPAQUE(64), OPAQUE(too_large[i])), ENOMEM);
		EXPECT_EQ((intptr_t)p, 0x1234);
	}
}

TEST(valloc_and_pvalloc_are_page_aligned)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	static const size_t sizes[] = { 0, 1, 100, 4095, 4096, 4097, 100000, 3 << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *p = valloc(OPAQUE(sizes[i])), *q = pvalloc(OPAQUE(sizes[i]));
		const size_t rounded = (sizes[i] + page - 1) / page * page;

		EXPECT(p != NULL);
		EXPECT(q != NULL);
		EXPECT_EQ((uintptr_t)p % page, 0);
		EXPECT_EQ((uintptr_t)q % page, 0);
		EXPECT_GE(malloc_usable_size(q), rounded);
		memset(p, 1, sizes[i]);
		memset(q, 1, rounded);
		free(p);
		free(q);
	}
}

TEST(valloc_and_pvalloc_overflow_is_enomem)
{
	for (size_t i = 0; i < NR_TOO_LARGE; i++) {
		errno = 0;
		EXPECT_EQ((intptr_t)valloc(OPAQUE(too_large[i])), 0);
		EXPECT_EQ(errno, ENOMEM);
		errno = 0;
		EXPECT_EQ((intptr_t)pvalloc(OPAQUE(too_large[i])), 0);
		EXPECT_EQ(errno, ENOMEM);
	}
}

TEST(free_preserves_errno)
{
	static const size_t sizes[] = { 0, 1, 16, 1000, 5000, 40000, 100000, 300000, 1 << 20, 5 << 20, 40 << 20 };
	void *p[sizeof(sizes) / sizeof(sizes[0])];

	for (size_t round = 0; round < 4; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			p[i] = malloc(OPAQUE(sizes[i]));
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			errno = 4711;
			free(p[i]);
			EXPECT_EQ(errno, 4711);
		}
	}
	errno = 4711;
	free(OPAQUE(NULL));
	EXPECT_EQ(errno, 4711);
}

TEST(success_leaves_errno_alone)
{
	errno = 4711;
	for (size_t size = 1; size < (8u << 20); size = size * 3 / 2 + 1) {
		void *p = malloc(OPAQUE(size)), *q = calloc(1, OPAQUE(size));

		p = realloc(p, size + 100);
		free(p);
		free(q);
		EXPECT_EQ(errno, 4711);
	}
}

TEST(sized_frees_free)
{
	if (free_sized == NULL || free_aligned_sized == NULL)
		SKIP("the C library here has no free_sized (glibc 2.43)");
	for (size_t size = 0; size < (4u << 20); size = size * 2 + 3) {
		errno = 4711;
		free_sized(malloc(OPAQUE(size)), size);
		free_sized(calloc(1, OPAQUE(size)), size);
		free_sized(realloc(malloc(OPAQUE(size / 2 + 1)), size + 1), size + 1);
		free_aligned_sized(aligned_alloc(4096, OPAQUE(size)), 4096, size);
		free_aligned_sized(aligned_alloc(64, OPAQUE(size)), 64, size);
		EXPECT_EQ(errno, 4711);
	}
	free_sized(NULL, 10);
	free_aligned_sized(NULL, 16, 10);
}

TEST(usable_size_of_null_is_zero)
{
	EXPECT_EQ(malloc_usable_size(OPAQUE(NULL)), 0);
}

/* The whole of what malloc_usable_size says may be written, belongs to nobody else, and survives realloc. */
TEST(usable_size_is_really_usable)
{
	enum { N = 400 };
	static unsigned char *p[N];
	static size_t usable[N];
	uint64_t random = test_seed;

	for (int i = 0; i < N; i++) {
		const size_t size = test_random(&random) % (i % 20 == 0 ? 300000 : 3000);

		p[i] = malloc(size);
		EXPECT(p[i] != NULL);
		usable[i] = malloc_usable_size(p[i]);
		EXPECT_GE(usable[i], size);
		fill(p[i], usable[i], (unsigned)i);
	}
	for (int i = 0; i < N; i++)
		EXPECT_EQ(differs(p[i], usable[i], (unsigned)i), usable[i]);
	for (int i = 0; i < N; i++) {
		const size_t keep = usable[i];

		p[i] = realloc(p[i], keep * 2 + 1);
		EXPECT_EQ(differs(p[i], keep, (unsigned)i), keep);
		free(p[i]);
	}
}

TEST(realloc_within_usable_size_stays_in_place)
{
	for (size_t size = 1; size < (1u << 20); size = size * 2 + 7) {
		char *p = malloc(size);
		const size_t usable = malloc_usable_size(p);
		char *q = realloc(p, usable);

		EXPECT_EQ((intptr_t)q, (intptr_t)OPAQUE(p));
		free(q);
	}
}
