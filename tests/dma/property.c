/* SPDX-License-Identifier: MIT */
/*
 * Random requests, one after the other, against what they promise: alignment, boundary, limit, segments, level, contents,
 * no overlap, an exact account of free memory. The kernel's page map is the witness where it may be read.
 */
#include "arena/child.h"
#include "dma/witness.h"

enum { LIVE = 64, STEPS = 1500 };

struct live {
	unsigned char *p;
	size_t bytes;
	unsigned char fill;
};

static uint64_t random_state;
static struct live live[LIVE];
static size_t smallest = 1; /* bytes of a request */

static uint64_t rnd(uint64_t n)
{
	return test_random(&random_state) % n;
}

static struct ash_dma_attr random_attr(size_t *bytes)
{
	struct ash_dma_attr attr = wish((enum ash_dma_level)rnd(3));

	*bytes = smallest + rnd(rnd(8) == 0 ? MIB(3) : rnd(4) == 0 ? KIB(256) : KIB(16));
	attr.align = rnd(3) == 0 ? (size_t)1 << rnd(22) : 0;
	if (rnd(3) == 0) {
		attr.boundary = (size_t)1 << rnd(24);
		while (attr.boundary < *bytes)
			attr.boundary *= 2;
	}
	if (rnd(6) == 0)
		attr.address_bits = 30 + (uint32_t)rnd(8);
	if (attr.level == ASH_DMA_SEGMENTS)
		attr.max_segments = (uint32_t)rnd(5);
	attr.flags = rnd(4) == 0 ? ASH_DMA_ZERO : 0;
	attr.pages = rnd(4) == 0 ? ASH_DMA_PAGES_BASE : ASH_DMA_PAGES_ANY;
	return attr;
}

static void check_addresses(const struct ash_dma_attr *attr, const unsigned char *p, size_t bytes)
{
	const struct ash_dma_info info = describe(p);
	const uint64_t phys = ash_dma_translate(p, NULL);
	/* Above a huge page only the level physical says something of the physical address. */
	const bool both = info.level == ASH_DMA_PHYSICAL && phys != ASH_DMA_UNKNOWN;

	EXPECT_GE(info.bytes, bytes);
	EXPECT_GE(info.level, attr->level == ASH_DMA_SEGMENTS ? ASH_DMA_VIRTUAL : attr->level);
	if (attr->align != 0)
		EXPECT_EQ(((uintptr_t)p | (both ? phys : 0)) % attr->align, 0);
	if (attr->boundary != 0) {
		EXPECT_EQ((uintptr_t)p / attr->boundary, ((uintptr_t)p + bytes - 1) / attr->boundary);
		if (both)
			EXPECT_EQ(phys / attr->boundary, (phys + bytes - 1) / attr->boundary);
	}
	if (attr->address_bits != 0)
		EXPECT_LE(phys + info.bytes, 1ull << attr->address_bits);
	if (attr->level == ASH_DMA_SEGMENTS && attr->max_segments != 0)
		EXPECT_LE(info.nr_segments, attr->max_segments);
	if (info.phys_known)
		witness_agrees(p, info.bytes);
}

static void check_contents(const struct live *l)
{
	for (size_t i = 0; i < l->bytes; i += 61)
		EXPECT_EQ(l->p[i], l->fill);
	EXPECT_EQ(l->p[l->bytes - 1], l->fill);
}

static void fill(struct live *l)
{
	l->fill = (unsigned char)(1 + rnd(255));
	memset(l->p, l->fill, l->bytes);
}

static void come(struct live *l)
{
	struct ash_dma_error error = { .size = sizeof(error) };
	struct ash_dma_attr attr = random_attr(&l->bytes);

	attr.error = &error;
	l->p = ash_dma_alloc(l->bytes, &attr);
	if (l->p == NULL) {
		char text[512];

		EXPECT(errno == ENOMEM || errno == ENODATA);
		EXPECT_EQ(error.error, errno);
		EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
		return;
	}
	check_addresses(&attr, l->p, l->bytes);
	if ((attr.flags & ASH_DMA_ZERO) != 0) {
		for (size_t i = 0; i < l->bytes; i++)
			EXPECT_EQ(l->p[i], 0);
	}
	fill(l);
}

static void go(struct live *l)
{
	check_contents(l);
	EXPECT_EQ(rnd(4) == 0 ? ash_dma_free_sensitive(l->p) : ash_dma_free(l->p), 0);
	l->p = NULL;
}

static void grow(struct live *l)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	const size_t bytes = smallest + rnd(KIB(128)), kept = bytes < l->bytes ? bytes : l->bytes;
	unsigned char *p = ash_dma_realloc(l->p, bytes, &attr);

	EXPECT(p != NULL);
	for (size_t i = 0; i < kept; i++)
		EXPECT_EQ(p[i], l->fill);
	l->p = p;
	l->bytes = bytes;
	fill(l);
}

static void some_steps(uint64_t seed, unsigned steps)
{
	random_state = seed * 2654435761u + 1;
	for (unsigned i = 0; i < steps; i++) {
		struct live *l = &live[rnd(LIVE)];

		if (l->p == NULL)
			come(l);
		else if (rnd(5) == 0)
			grow(l);
		else
			go(l);
		if (i % 256 == 255)
			(void)ash_dma_trim();
	}
	EXPECT_LE(ash_dma_verify(), 0);
	for (unsigned i = 0; i < LIVE; i++) {
		if (live[i].p != NULL)
			go(&live[i]);
	}
	(void)ash_dma_trim();
}

static int count_bytes(const struct ash_dma_run *run, void *arg)
{
	*(size_t *)arg += run->len;
	return 0;
}

/* What is in the arenas once every buffer has ended. */
static size_t left_after(unsigned seed)
{
	size_t left = 0;

	some_steps(test_seed + seed, STEPS);
	EXPECT_EQ(ash_dma_walk_runs(count_bytes, &left), 0);
	return left;
}

static unsigned seeds(void)
{
	return getenv("ASH_TEST_LONG") != NULL ? 20 : 1;
}

CHILD_TEST(random_requests_get_what_they_ask_for_and_all_of_it_comes_back)
{
	smallest = 4096;
	for (unsigned s = 0; s < seeds(); s++)
		EXPECT_EQ(left_after(s), 0);
}

CHILD_TEST(random_requests_of_any_size_get_what_they_ask_for)
{
	size_t first = left_after(0);

	/* The pools behind small buffers keep their slabs, and are used again: what is left does not add up. */
	EXPECT_LE(first, MIB(16));
	for (unsigned s = 1; s < 1 + seeds(); s++)
		EXPECT_LE(left_after(0), first + MIB(2));
}
