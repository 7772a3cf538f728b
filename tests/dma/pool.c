/* SPDX-License-Identifier: MIT */
/* Buffers over a real pool of huge pages: physical order, long runs, segments, limits, and an exact account of
 * pages. */
#include "dma/own_pool.h"
#include "dma/witness.h"

#include <sys/mman.h>

enum { PAGES = 48 };

static void need_sight(void)
{
	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
}

/* The runs of the pool's pages that a process can get, longest first, in pages: what contiguity there is to be had. */
static size_t pool_runs[PAGES];

static int by_number(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_length(const void *a, const void *b)
{
	return by_number(b, a);
}

static void find_pool_runs(void)
{
	uint64_t phys[PAGES];
	size_t nr = 0;
	char *p = mmap(NULL, MIB(2) * PAGES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);

	EXPECT(p != MAP_FAILED);
	for (unsigned i = 0; i < PAGES; i++)
		phys[i] = witness_phys(p + i * MIB(2));
	munmap(p, MIB(2) * PAGES);
	qsort(phys, PAGES, sizeof(phys[0]), by_number);
	for (unsigned i = 0; i < PAGES; i++) {
		if (i == 0 || phys[i] != phys[i - 1] + MIB(2))
			nr++;
		pool_runs[nr - 1]++;
	}
	qsort(pool_runs, PAGES, sizeof(pool_runs[0]), by_length);
}

DMA_POOL_TEST(a_pool_serves_and_gets_back_every_page, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	char *p = ash_dma_alloc(KIB(4), &attr), *q;

	EXPECT(p != NULL);
	EXPECT_EQ(describe(p).pages, ASH_DMA_PAGES_2M);
	EXPECT(real_pool_settles(PAGES - 1));
	q = ash_dma_alloc(MIB(2), &attr);
	EXPECT(q != NULL);
	EXPECT(real_pool_settles(PAGES - 2));
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_trim(), MIB(2));
	EXPECT(real_pool_settles(PAGES - 1));
	EXPECT_EQ(ash_dma_free(q), 0);
	EXPECT_EQ(ash_dma_trim(), MIB(2));
	EXPECT(real_pool_settles(PAGES));
	EXPECT_EQ(ash_dma_trim(), 0);
}

DMA_POOL_TEST(the_longest_run_of_the_pool_is_found_and_the_rest_goes_back, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	struct ash_dma_error error = { .size = sizeof(error) };
	size_t most;
	char *p;

	need_sight();
	find_pool_runs();
	most = pool_runs[0];
	p = ash_dma_alloc(most * MIB(2), &attr);
	EXPECT(p != NULL);
	printf("# longest run of the pool: %zu pages\n", most);
	EXPECT_EQ(describe(p).level, ASH_DMA_PHYSICAL);
	EXPECT_EQ(describe(p).nr_segments, 1);
	witness_agrees(p, most * MIB(2));
	EXPECT(real_pool_settles(PAGES - (long)most));
	EXPECT_EQ(ash_dma_free(p), 0);
	/* Longer than any: refused, nothing kept, and the reason is contiguity. */
	(void)ash_dma_trim();
	EXPECT(real_pool_settles(PAGES));
	attr.error = &error;
	attr.pages = ASH_DMA_PAGES_2M;
	attr.flags = ASH_DMA_PAGES_STRICT;
	if (most < PAGES) {
		EXPECT(ash_dma_alloc((most + 1) * MIB(2), &attr) == NULL);
		EXPECT_EQ(error.reason, ASH_DMA_NOT_CONTIGUOUS);
		EXPECT_EQ(error.pool_free, PAGES);
	}
	EXPECT(real_pool_settles(PAGES));
}

DMA_POOL_TEST(segments_are_as_few_as_asked_for, PAGES)
{
	struct ash_dma_segment segments[PAGES];
	struct ash_dma_attr attr = wish(ASH_DMA_SEGMENTS);

	attr.pages = ASH_DMA_PAGES_2M;
	attr.flags = ASH_DMA_PAGES_STRICT;
	need_sight();
	find_pool_runs();
	for (unsigned most = PAGES; most > 1; most -= 1 + most / 4) {
		const size_t want = PAGES / 3;
		size_t n = 0;
		char *p;

		attr.max_segments = most;
		p = ash_dma_alloc(MIB(2) * want, &attr);
		for (unsigned i = 0; i < most; i++)
			n += pool_runs[i];
		/* The longest runs together hold it, or nothing could. */
		EXPECT_EQ(p != NULL, n >= want);
		if (p == NULL)
			continue;
		n = ash_dma_segments(p, MIB(2) * want, segments, PAGES);
		EXPECT_LE(n, most);
		witness_agrees(p, MIB(2) * want);
		EXPECT(segments[0].va == p);
		EXPECT_EQ(ash_dma_free(p), 0);
		(void)ash_dma_trim();
		EXPECT(real_pool_settles(PAGES));
	}
	EXPECT(real_pool_settles(PAGES));
}

DMA_POOL_TEST(virtual_contiguity_spans_what_is_scattered, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_VIRTUAL);
	char *p = ash_dma_alloc(MIB(2) * PAGES, &attr);

	EXPECT(p != NULL);
	EXPECT(real_pool_settles(0));
	memset(p, 1, MIB(2) * PAGES);
	if (witness_sees())
		witness_agrees(p, MIB(2) * PAGES);
	EXPECT_EQ(ash_dma_verify() > 0, 0);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_trim(), MIB(2) * PAGES);
}

DMA_POOL_TEST(an_address_limit_is_kept_or_refused, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	struct ash_dma_error error = { .size = sizeof(error) };
	uint64_t lowest = ASH_DMA_UNKNOWN;
	char *all, *p;

	need_sight();
	attr.flags = ASH_DMA_PAGES_STRICT;
	attr.pages = ASH_DMA_PAGES_2M;
	attr.error = &error;
	/* What the pool has, to know which limits it can keep. */
	attr.level = ASH_DMA_VIRTUAL;
	all = ash_dma_alloc(MIB(2) * PAGES, &attr);
	EXPECT(all != NULL);
	for (unsigned i = 0; i < PAGES; i++) {
		const uint64_t phys = ash_dma_translate(all + i * MIB(2), NULL);

		lowest = phys < lowest ? phys : lowest;
	}
	EXPECT_EQ(ash_dma_free(all), 0);
	(void)ash_dma_trim();
	EXPECT(real_pool_settles(PAGES));
	attr.level = ASH_DMA_PHYSICAL;
	for (attr.address_bits = 20; attr.address_bits <= 40; attr.address_bits++) {
		p = ash_dma_alloc(KIB(64), &attr);
		EXPECT_EQ(p != NULL, lowest + MIB(2) <= 1ull << attr.address_bits);
		if (p == NULL)
			continue;
		EXPECT_LE(witness_phys(p) + KIB(64), 1ull << attr.address_bits);
		EXPECT_EQ(ash_dma_free(p), 0);
		(void)ash_dma_trim();
		EXPECT(real_pool_settles(PAGES));
	}
	EXPECT(real_pool_settles(PAGES));
}

DMA_POOL_TEST(without_rights_a_huge_page_is_contiguous_and_no_more_is_promised, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_info info;
	char *p;

	EXPECT_EQ(setresuid(65534, 65534, 65534), 0);
	attr.error = &error;
	p = ash_dma_alloc(MIB(2), &attr);
	EXPECT(p != NULL);
	info = describe(p);
	EXPECT_EQ(info.level, ASH_DMA_PHYSICAL);
	EXPECT_EQ(info.nr_segments, 1);
	EXPECT_EQ(info.phys_known, 0);
	EXPECT(ash_dma_alloc(MIB(4), &attr) == NULL);
	EXPECT_EQ(errno, ENODATA);
	EXPECT_EQ(error.reason, ASH_DMA_HIDDEN);
	attr.level = ASH_DMA_VIRTUAL;
	EXPECT(ash_dma_alloc(MIB(4), &attr) != NULL);
}

static size_t walked;

static int on_run(const struct ash_dma_run *run, void *arg)
{
	const struct ash_dma_run *before = arg;

	EXPECT_GT(run->len, 0);
	EXPECT_EQ(run->len % MIB(2), 0);
	if (before->va != NULL && run->phys != ASH_DMA_UNKNOWN && before->phys != ASH_DMA_UNKNOWN)
		EXPECT_EQ(run->va > before->va, run->phys > before->phys);
	walked += run->len;
	*(struct ash_dma_run *)arg = *run;
	return 0;
}

DMA_POOL_TEST(the_run_map_is_in_physical_order_and_complete, PAGES)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	struct ash_dma_run last = { .va = NULL };

	need_sight();
	for (unsigned i = 0; i < PAGES; i++) {
		char *p = ash_dma_alloc(MIB(2), &attr);

		EXPECT(p != NULL);
		EXPECT_EQ(witness_phys(p), ash_dma_translate(p, NULL));
	}
	EXPECT(real_pool_settles(0));
	EXPECT_EQ(ash_dma_walk_runs(on_run, &last), 0);
	EXPECT_EQ(walked, MIB(2) * PAGES);
	EXPECT_EQ(ash_dma_verify(), 0);
}
