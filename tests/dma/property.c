/* SPDX-License-Identifier: MIT */
/*
 * Random requests, one after the other, against what they promise: alignment, boundary, limit, segments, level,
 * contents, no overlap, an exact account of free memory. The kernel's page map is the witness where it may be read.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>

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
	/* Beyond a huge page only who asks for the level physical is promised something of the physical address. */
	const size_t both = phys == ASH_DMA_UNKNOWN ? 0 : attr->level == ASH_DMA_PHYSICAL ? SIZE_MAX : MIB(2);

	EXPECT_GE(info.bytes, bytes);
	EXPECT_GE(info.level, attr->level == ASH_DMA_SEGMENTS ? ASH_DMA_VIRTUAL : attr->level);
	if (attr->align != 0)
		EXPECT_EQ(((uintptr_t)p | (attr->align <= both ? phys : 0)) % attr->align, 0);
	if (attr->boundary != 0) {
		EXPECT_EQ((uintptr_t)p / attr->boundary, ((uintptr_t)p + bytes - 1) / attr->boundary);
		if (attr->boundary <= both)
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

/* What is in the arenas once every buffer has ended. */
static size_t left_after(unsigned seed)
{
	some_steps(test_seed + seed, STEPS);
	return present();
}

static unsigned seeds(void)
{
	return getenv("ASH_TEST_LONG") != NULL ? 120 : 3;
}

CHILD_TEST(random_requests_get_what_they_ask_for_and_all_of_it_comes_back)
{
	smallest = 4096;
	for (unsigned s = 0; s < seeds(); s++)
		EXPECT_EQ(left_after(s), 0);
}

CHILD_TEST(random_requests_of_any_size_get_what_they_ask_for_and_all_of_it_comes_back)
{
	for (unsigned s = 0; s < seeds(); s++)
		EXPECT_EQ(left_after(s), 0);
}

/* The account can fail: what a buffer is on stays, no more, and goes when the buffer has gone. */
CHILD_TEST(a_forgotten_buffer_keeps_its_own_page_and_nothing_else)
{
	for (size_t bytes = 64; bytes <= MIB(1); bytes *= 16) {
		struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
		struct ash_dma_info info;
		void *forgotten;
		size_t left;

		some_steps(test_seed, STEPS / 3);
		forgotten = ash_dma_alloc(bytes, &attr);
		EXPECT(forgotten != NULL);
		info = describe(forgotten);
		left = left_after(0);
		EXPECT_EQ(left, info.pages == ASH_DMA_PAGES_1G ? MIB(1024) : MIB(2));
		EXPECT_EQ(ash_dma_free(forgotten), 0);
		(void)ash_dma_trim();
		EXPECT_EQ(present(), 0);
	}
}

struct other {
	pthread_barrier_t barrier;
};

static void *rounds_in_a_thread(void *arg)
{
	struct other *o = arg;
	void *small[32];

	for (unsigned i = 0; i < 32; i++) {
		small[i] = ash_dma_alloc(64 << (i % 6), NULL);
		EXPECT(small[i] != NULL);
	}
	for (unsigned i = 0; i < 32; i++)
		EXPECT_EQ(ash_dma_free(small[i]), 0);
	/* Free objects are in this thread's caches while the other one gives back. */
	pthread_barrier_wait(&o->barrier);
	pthread_barrier_wait(&o->barrier);
	return NULL;
}

/*
 * Nobody can take from another thread's cache: of the six sizes below a frame one slab each stays on its account, in as
 * many pages at most, and it does not add up. (The next thread has the number, and so the caches, of the last.)
 */
CHILD_TEST(what_another_threads_cache_keeps_is_a_slab_per_size_however_often)
{
	struct other o;
	pthread_t t;

	EXPECT_EQ(pthread_barrier_init(&o.barrier, NULL, 2), 0);
	for (unsigned round = 0; round < 8; round++) {
		size_t left;

		EXPECT_EQ(pthread_create(&t, NULL, rounds_in_a_thread, &o), 0);
		pthread_barrier_wait(&o.barrier);
		left = left_after(round);
		EXPECT_LE(left, 6 * MIB(2));
		pthread_barrier_wait(&o.barrier);
		EXPECT_EQ(pthread_join(t, NULL), 0);
	}
}
