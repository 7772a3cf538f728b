/* SPDX-License-Identifier: MIT */
/* Pools: every object once, where it should be; limits, threads, and what debug pools catch. */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>

enum { MANY = 5000, THREADS = 4, ROUNDS = 20000 };

static struct ash_dma_pool *make(size_t bytes, size_t limit, unsigned flags, size_t align, size_t boundary)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool;

	attr.align = align;
	attr.boundary = boundary;
	pool = ash_dma_pool_create("test", bytes, limit, flags, &attr);
	EXPECT(pool != NULL);
	return pool;
}

static struct ash_dma_pool_info info_of(struct ash_dma_pool *pool)
{
	struct ash_dma_pool_info info = { .size = sizeof(info) };

	EXPECT_EQ(ash_dma_pool_info_read(pool, &info), 0);
	return info;
}

static int by_address(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

/* n objects, none of which overlaps another, each on its alignment and between boundaries. */
static void check_objects(void **objects, size_t n, size_t bytes, size_t align, size_t boundary)
{
	qsort(objects, n, sizeof(void *), by_address);
	for (size_t i = 0; i < n; i++) {
		const uintptr_t p = (uintptr_t)objects[i];

		EXPECT_EQ(p % align, 0);
		if (boundary != 0)
			EXPECT_EQ(p / boundary, (p + bytes - 1) / boundary);
		if (i > 0)
			EXPECT_GE(p, (uintptr_t)objects[i - 1] + bytes);
		memset(objects[i], (int)i, bytes);
	}
}

CHILD_TEST(objects_are_apart_aligned_and_between_boundaries)
{
	static const struct { size_t bytes, align, boundary; } shapes[] = {
		{ 1, 1, 0 }, { 64, 64, 0 }, { 100, 32, 4096 }, { 1500, 64, 0 }, { 2048, 64, 65536 },
		{ 4097, 4096, 8192 }, { 9000, 64, 0 }, { KIB(100), 64, KIB(128) },
	};
	static void *objects[MANY];

	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct ash_dma_pool *pool = make(shapes[i].bytes, 0, 0, shapes[i].align, shapes[i].boundary);
		const size_t n = shapes[i].bytes > 4096 ? 100 : MANY;

		for (size_t k = 0; k < n; k++) {
			objects[k] = ash_dma_pool_get(pool);
			EXPECT(objects[k] != NULL);
		}
		check_objects(objects, n, shapes[i].bytes, shapes[i].align, shapes[i].boundary);
		EXPECT_EQ(ash_dma_pool_destroy(pool), -EBUSY);
		EXPECT_EQ(info_of(pool).objects - info_of(pool).free, n);
		ash_dma_pool_put_bulk(pool, objects, n);
		EXPECT_EQ(info_of(pool).objects, info_of(pool).free);
		EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
	}
	EXPECT_GT(ash_dma_trim(), 0);
}

CHILD_TEST(a_limit_is_exact_and_there_from_the_start)
{
	struct ash_dma_pool *pool = make(2000, 300, ASH_DMA_POOL_NO_CACHE, 64, 0);
	void *objects[300], *more[2] = { NULL, NULL };

	EXPECT_EQ(info_of(pool).objects, 300);
	EXPECT_EQ(ash_dma_pool_get_bulk(pool, objects, 300), 0);
	EXPECT(ash_dma_pool_get(pool) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	ash_dma_pool_put(pool, objects[7]);
	/* All or none. */
	EXPECT_EQ(ash_dma_pool_get_bulk(pool, more, 2), -ENOMEM);
	EXPECT_EQ(info_of(pool).free, 1);
	EXPECT(ash_dma_pool_get(pool) == objects[7]);
	check_objects(objects, 300, 2000, 64, 0);
	ash_dma_pool_put_bulk(pool, objects, 300);
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
}

/* What the header inlines and what the library does are the same pool, also where a cache runs empty and full. */
CHILD_TEST(inlined_and_called_it_is_one_pool)
{
	static void *objects[MANY];
	struct ash_dma_pool *pool = make(64, 0, 0, 64, 0);

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			objects[i] = i % 2 == round ? ash_dma_pool_get(pool) : (ash_dma_pool_get)(pool);
			EXPECT(objects[i] != NULL);
		}
		check_objects(objects, MANY, 64, 64, 0);
		EXPECT_EQ(info_of(pool).objects - info_of(pool).free, MANY);
		for (unsigned i = 0; i < MANY; i++) {
			if (i % 3 == 0)
				ash_dma_pool_put(pool, objects[i]);
			else
				(ash_dma_pool_put)(pool, objects[i]);
		}
		EXPECT_EQ(info_of(pool).objects, info_of(pool).free);
	}
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
}

CHILD_TEST(objects_of_a_physical_pool_are_physically_contiguous)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	struct ash_dma_pool *pool;
	char *p;

	if (!witness_sees())
		SKIP("physical addresses are hidden from this process");
	pool = ash_dma_pool_create("physical", 9000, 0, 0, &attr);
	if (pool == NULL)
		SKIP("no huge pages to be had");
	for (unsigned i = 0; i < 400; i++) {
		p = ash_dma_pool_get(pool);
		/* For the next slab the kernel may have no huge page any more. */
		if (p == NULL && i > 0)
			break;
		EXPECT(p != NULL);
		EXPECT_EQ(witness_phys(p + 8999), witness_phys(p) + 8999);
		EXPECT_EQ(witness_phys(p), ash_dma_translate(p, NULL));
	}
}

static struct ash_dma_pool *shared;

/* Each object that a thread holds carries its mark, and still does when it goes. */
static void *churn(void *arg)
{
	const uint64_t mark = (uintptr_t)arg;
	uint64_t *held[64] = { NULL }, state = mark;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t **h = &held[test_random(&state) % 64];

		if (*h == NULL) {
			*h = ash_dma_pool_get(shared);
			(*h)[0] = (*h)[15] = mark;
			continue;
		}
		if ((*h)[0] != mark || (*h)[15] != mark)
			return (void *)1;
		ash_dma_pool_put(shared, *h);
		*h = NULL;
	}
	for (unsigned i = 0; i < 64; i++) {
		if (held[i] != NULL)
			ash_dma_pool_put(shared, held[i]);
	}
	return NULL;
}

CHILD_TEST(threads_share_a_pool_and_nothing_is_lost_when_they_end)
{
	pthread_t threads[THREADS];

	shared = make(128, 0, 0, 64, 0);
	/* Twice: the second generation finds the caches of the first. */
	for (unsigned round = 0; round < 2; round++) {
		for (uintptr_t i = 0; i < THREADS; i++)
			EXPECT_EQ(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
		for (unsigned i = 0; i < THREADS; i++) {
			void *failed;

			EXPECT_EQ(pthread_join(threads[i], &failed), 0);
			EXPECT(failed == NULL);
		}
		EXPECT_EQ(info_of(shared).free, info_of(shared).objects);
	}
	EXPECT_LE(info_of(shared).objects, 4096);
	EXPECT_EQ(ash_dma_pool_destroy(shared), 0);
}

static unsigned count_out;

static int on_object(void *object, int out, void *arg)
{
	EXPECT(object != NULL);
	count_out += out == 1;
	(*(unsigned *)arg)++;
	return 0;
}

CHILD_TEST(a_debug_pool_knows_what_is_out)
{
	struct ash_dma_pool *pool = make(100, 50, ASH_DMA_POOL_DEBUG, 64, 0);
	void *a = ash_dma_pool_get(pool), *b = ash_dma_pool_get(pool);
	unsigned objects = 0;

	memset(a, 1, 100);
	ash_dma_pool_put(pool, a);
	EXPECT_EQ(ash_dma_pool_walk(pool, on_object, &objects), 0);
	EXPECT_EQ(objects, 50);
	EXPECT_EQ(count_out, 1);
	EXPECT_EQ(ash_dma_pool_destroy(pool), -EBUSY);
	ash_dma_pool_put(pool, b);
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
}

static void put_twice(void)
{
	struct ash_dma_pool *pool = make(100, 50, ASH_DMA_POOL_DEBUG, 64, 0);
	void *p = ash_dma_pool_get(pool);

	ash_dma_pool_put(pool, p);
	ash_dma_pool_put(pool, p);
}

static void put_inside(void)
{
	struct ash_dma_pool *pool = make(100, 50, ASH_DMA_POOL_DEBUG, 64, 0);

	ash_dma_pool_put(pool, (char *)ash_dma_pool_get(pool) + 64);
}

static void write_behind(void)
{
	struct ash_dma_pool *pool = make(100, 50, ASH_DMA_POOL_DEBUG, 64, 0);
	char *p = ash_dma_pool_get(pool);

	p[100] = 1;
	ash_dma_pool_put(pool, p);
}

static void write_after(void)
{
	struct ash_dma_pool *pool = make(100, 50, ASH_DMA_POOL_DEBUG, 64, 0);
	char *p = ash_dma_pool_get(pool);

	ash_dma_pool_put(pool, p);
	p[99] = 1;
	for (unsigned i = 0; i < 50; i++)
		(void)!ash_dma_pool_get(pool);
}

TEST(a_debug_pool_stops_a_process_that_breaks_its_rules)
{
	static void (*const wrongs[])(void) = { put_twice, put_inside, write_behind, write_after };

	for (unsigned i = 0; i < 4; i++)
		EXPECT_LT(child_status(wrongs[i]), 0);
}

CHILD_TEST(a_pool_that_contradicts_itself_is_refused)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	EXPECT(ash_dma_pool_create("x", 0, 0, 0, NULL) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT(ash_dma_pool_create("x", 64, 0, 64, NULL) == NULL);
	attr.align = 3;
	EXPECT(ash_dma_pool_create("x", 64, 0, 0, &attr) == NULL);
	attr.align = 0;
	attr.boundary = 64;
	EXPECT(ash_dma_pool_create("x", 65, 0, 0, &attr) == NULL);
	EXPECT_EQ(ash_dma_pool_destroy(NULL), 0);
}

CHILD_TEST(small_buffers_are_objects_and_end_as_buffers)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	static void *p[2000];

	attr.boundary = 4096;
	for (unsigned i = 0; i < 2000; i++) {
		p[i] = ash_dma_alloc(1 + i % 2048, &attr);
		EXPECT(p[i] != NULL);
		EXPECT_GE(describe(p[i]).bytes, 1 + i % 2048);
		memset(p[i], 1, 1 + i % 2048);
	}
	for (unsigned i = 0; i < 2000; i++)
		EXPECT_EQ(i % 3 == 0 ? ash_dma_free_sensitive(p[i]) : ash_dma_free(p[i]), 0);
	/* Not an object, and not a buffer: an address inside one. */
	p[0] = ash_dma_alloc(1000, &attr);
	EXPECT_EQ(ash_dma_free((char *)p[0] + 64), -EINVAL);
	EXPECT_EQ(ash_dma_free(p[0]), 0);
}
