/* SPDX-License-Identifier: MIT */
/* What is in the memory: alignment, calloc's zeroes, realloc's bytes, nobody's overlap, for every size and
 * alignment. */
#include "harness/test.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>

#include "common.h"

/* C++'s, where there are any: the preload has them. */
void *_ZnwmSt11align_val_t(size_t size, size_t align) __attribute__((weak));
void *_ZnamSt11align_val_t(size_t size, size_t align) __attribute__((weak));
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag) __attribute__((weak));
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *tag) __attribute__((weak));
void *__libc_memalign(size_t align, size_t size);

/* Every size up to 1 KiB, then around every power of two and in between. */
static size_t next_size(size_t size)
{
	if (size < 1024)
		return size + 1;
	for (size_t p = 1024;; p *= 2) {
		const size_t stops[] = { p, p + 1, p + p / 4, p + p / 2, p + p / 2 + 17, 2 * p - 16, 2 * p - 1 };

		for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
			if (stops[i] > size)
				return stops[i];
	}
}

/* C17 7.22.3: as any object is that has room in it. glibc aligns all to 16. */
static size_t alignment(size_t size)
{
	return size > 8 ? 16 : 8;
}

TEST(every_size_is_aligned_to_16_or_to_8)
{
	for (size_t size = 0; size < (8u << 20); size = next_size(size)) {
		void *p = malloc(OPAQUE(size)), *q = malloc(OPAQUE(size)), *z = calloc(1, OPAQUE(size));

		EXPECT_EQ((uintptr_t)p % alignment(size), 0);
		EXPECT_EQ((uintptr_t)q % alignment(size), 0);
		EXPECT_EQ((uintptr_t)z % alignment(size), 0);
		p = realloc(p, size + 1);
		EXPECT_EQ((uintptr_t)p % alignment(size + 1), 0);
		free(p);
		free(q);
		free(z);
	}
}

TEST(every_alignment_is_met_and_usable)
{
	for (size_t align = sizeof(void *); align <= (4u << 20); align *= 2) {
		for (size_t size = 0; size <= (3u << 20); size = size < 8 ? size + 1 : size * 5 + 1) {
			void *p = NULL, *q = memalign(align, OPAQUE(size)), *r = aligned_alloc(align, OPAQUE(size));

			EXPECT_EQ(posix_memalign(&p, align, OPAQUE(size)), 0);
			EXPECT(p != NULL && q != NULL && r != NULL);
			EXPECT_EQ((uintptr_t)p % align, 0);
			EXPECT_EQ((uintptr_t)q % align, 0);
			EXPECT_EQ((uintptr_t)r % align, 0);
			EXPECT_GE(malloc_usable_size(p), size);
			fill(p, size, 1);
			fill(q, size, 2);
			fill(r, size, 3);
			EXPECT_EQ(differs(p, size, 1), size);
			EXPECT_EQ(differs(q, size, 2), size);
			EXPECT_EQ(differs(r, size, 3), size);
			q = realloc(q, size + 1000);
			EXPECT_EQ(differs(q, size, 2), size);
			free(p);
			free(q);
			free(r);
		}
	}
}

/* So many of each that none is aligned by chance. */
TEST(small_sizes_are_aligned_as_asked_by_every_name)
{
	enum { OF_EACH = 5, NAMES = 8 };
	void *p[OF_EACH][NAMES];

	for (size_t align = 8; align <= 64; align *= 2) {
		for (size_t size = 0; size <= 65; size++) {
			for (unsigned i = 0; i < OF_EACH; i++) {
				unsigned n = 0;

				p[i][n++] = memalign(align, OPAQUE(size));
				p[i][n++] = aligned_alloc(align, OPAQUE(size));
				EXPECT_EQ(posix_memalign(&p[i][n++], align, OPAQUE(size)), 0);
				p[i][n++] = __libc_memalign(align, OPAQUE(size));
				if (_ZnwmSt11align_val_t != NULL) {
					p[i][n++] = _ZnwmSt11align_val_t(OPAQUE(size), align);
					p[i][n++] = _ZnamSt11align_val_t(OPAQUE(size), align);
					p[i][n++] = _ZnwmSt11align_val_tRKSt9nothrow_t(OPAQUE(size), align, "");
					p[i][n++] = _ZnamSt11align_val_tRKSt9nothrow_t(OPAQUE(size), align, "");
				}
				while (n < NAMES)
					p[i][n++] = NULL;
				for (n = 0; n < NAMES; n++) {
					EXPECT_EQ((uintptr_t)p[i][n] % align, 0);
					if (p[i][n] != NULL)
						fill(p[i][n], size, (unsigned char)(i * NAMES + n));
				}
			}
			for (unsigned i = 0; i < OF_EACH; i++) {
				for (unsigned n = 0; n < NAMES; n++) {
					if (p[i][n] != NULL)
						EXPECT_EQ(differs(p[i][n], size, (unsigned char)(i * NAMES + n)), size);
					free(p[i][n]);
				}
			}
		}
	}
}

/* Between neighbours that keep what is in them. */
TEST(calloc_of_few_bytes_clears_them_alone)
{
	enum { NR = 600 };
	unsigned char *p[NR];
	size_t usable[NR];

	for (size_t size = 0; size <= 64; size++) {
		for (unsigned i = 0; i < NR; i++) {
			p[i] = malloc(OPAQUE(size));
			usable[i] = malloc_usable_size(p[i]);
			memset(p[i], 0xa5, usable[i]);
		}
		for (unsigned i = 1; i < NR; i += 2) {
			free(p[i]);
			p[i] = calloc(1, OPAQUE(size));
			for (size_t n = 0; n < size; n++)
				EXPECT_EQ(p[i][n], 0);
		}
		for (unsigned i = 0; i < NR; i += 2)
			for (size_t n = 0; n < usable[i]; n++)
				EXPECT_EQ(p[i][n], 0xa5);
		for (unsigned i = 0; i < NR; i++)
			free(p[i]);
	}
}

/* Dirty memory of every size is freed, then asked for again as zero. */
TEST(calloc_is_zero_after_dirty_frees)
{
	for (size_t size = 1; size < (6u << 20); size = next_size(size)) {
		enum { N = 6 };
		unsigned char *dirty[N];
		unsigned char *z;
		size_t usable;
		const int n = size > (1u << 20) ? 2 : N;

		for (int i = 0; i < n; i++) {
			dirty[i] = malloc(size);
			EXPECT(dirty[i] != NULL);
			usable = malloc_usable_size(dirty[i]);
			memset(dirty[i], 0xdb, usable);
		}
		for (int i = 0; i < n; i++)
			free(dirty[i]);
		for (int i = 0; i < n; i++) {
			dirty[i] = z = calloc(i % 2 == 0 ? 1 : size, i % 2 == 0 ? size : 1);
			EXPECT(z != NULL);
			EXPECT_EQ(nonzero(z, size), size);
			memset(z, 0xbd, size);
		}
		for (int i = 0; i < n; i++)
			free(dirty[i]);
	}
}

/* As above with sizes at random, so that runs are split, merged, cut and extended between being dirty and zero. */
TEST(calloc_is_zero_among_random_neighbours)
{
	enum { N = 128, STEPS = 6000, MOST = 600000 };
	static unsigned char *p[N];
	uint64_t random = test_seed;

	for (int step = 0; step < STEPS; step++) {
		const int i = (int)(test_random(&random) % N);
		const unsigned kind = (unsigned)(test_random(&random) % 4);
		const size_t size = test_random(&random) % (kind == 0 ? MOST : kind == 1 ? 40000 : 600);

		if (p[i] != NULL && kind == 3) {
			p[i] = realloc(p[i], size + 1);
			EXPECT(p[i] != NULL);
		} else {
			free(p[i]);
			p[i] = calloc(1, size);
			EXPECT(p[i] != NULL);
			EXPECT_EQ(nonzero(p[i], size), size);
		}
		memset(p[i], 0xee, malloc_usable_size(p[i]));
	}
	for (int i = 0; i < N; i++) {
		free(p[i]);
		p[i] = NULL;
	}
}

TEST(realloc_keeps_the_bytes_growing_and_shrinking)
{
	static const size_t steps[] = { 1, 8, 24, 100, 700, 1000, 5000, 20000, 33000, 70000, 140000, 300000, 1100000,
					2100000, 4300000, 9000000 };
	const size_t n = sizeof(steps) / sizeof(steps[0]);

	for (size_t from = 0; from < n; from++) {
		for (size_t to = 0; to < n; to++) {
			const size_t keep = steps[from] < steps[to] ? steps[from] : steps[to];
			unsigned char *p = malloc(steps[from]), *neighbour = malloc(steps[from]);

			EXPECT(p != NULL && neighbour != NULL);
			fill(p, steps[from], (unsigned)from);
			fill(neighbour, steps[from], 77);
			p = realloc(p, steps[to]);
			EXPECT(p != NULL);
			EXPECT_EQ(differs(p, keep, (unsigned)from), keep);
			fill(p, steps[to], 5);
			EXPECT_EQ(differs(neighbour, steps[from], 77), steps[from]);
			EXPECT_EQ(differs(p, steps[to], 5), steps[to]);
			free(p);
			free(neighbour);
		}
	}
}

TEST(realloc_grows_bit_by_bit)
{
	unsigned char *p = NULL;
	size_t size = 0;

	while (size < (24u << 20)) {
		const size_t more = size / 7 + 13;

		p = realloc(p, size + more);
		EXPECT(p != NULL);
		EXPECT_EQ(differs(p, size < 4096 ? size : 4096, 9), size < 4096 ? size : 4096);
		for (size_t i = size; i < size + more; i++)
			p[i] = pattern(i, 9);
		size += more;
	}
	EXPECT_EQ(differs(p, size, 9), size);
	free(p);
}

/* A random life of many objects, each filled to its last usable byte and checked before it changes or ends. */
static void churn(uint64_t seed, int steps, size_t most)
{
	enum { N = 512 };
	unsigned char **p = calloc(N, sizeof(*p));
	size_t *size = calloc(N, sizeof(*size));
	uint64_t random = seed;

	EXPECT(p != NULL && size != NULL);
	for (int step = 0; step < steps; step++) {
		const unsigned i = (unsigned)(test_random(&random) % N);
		const uint64_t dice = test_random(&random);
		const size_t wish = (dice >> 8) % ((dice & 31) == 0 ? most : (dice & 3) == 0 ? 5000 : 300) + 1;

		if (p[i] != NULL)
			EXPECT_EQ(differs(p[i], size[i], i), size[i]);
		switch (p[i] == NULL ? 0 : dice % 5) {
		case 0:
			free(p[i]);
			p[i] = (dice & 64) != 0 ? malloc(wish) : memalign((size_t)16 << (dice >> 40) % 10, wish);
			break;
		case 1: {
			const size_t keep = wish < size[i] ? wish : size[i];

			p[i] = realloc(p[i], wish);
			EXPECT(p[i] != NULL);
			EXPECT_EQ(differs(p[i], keep, i), keep);
			break;
		}
		case 2:
			free(p[i]);
			p[i] = calloc(1, wish);
			EXPECT(p[i] != NULL);
			EXPECT_EQ(nonzero(p[i], wish), wish);
			break;
		default:
			free(p[i]);
			p[i] = NULL;
			continue;
		}
		EXPECT(p[i] != NULL);
		size[i] = malloc_usable_size(p[i]);
		EXPECT_GE(size[i], wish);
		fill(p[i], size[i], i);
	}
	for (unsigned i = 0; i < N; i++) {
		if (p[i] != NULL)
			EXPECT_EQ(differs(p[i], size[i], i), size[i]);
		free(p[i]);
	}
	free(p);
	free(size);
}

TEST(random_lives_never_overlap)
{
	churn(test_seed, 60000, 200000);
	churn(test_seed + 1, 4000, 3000000);
}
