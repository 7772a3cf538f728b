/* SPDX-License-Identifier: MIT */
/*
 * The interface used wrongly: sizes that overflow, combinations that mean nothing, pointers that are none. Each is
 * refused with an errno and changes nothing.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <stddef.h>

static const size_t sizes[] = {
	0, SIZE_MAX, SIZE_MAX - 4094, SIZE_MAX - 4095, SIZE_MAX - MIB(2) + 1, (size_t)PTRDIFF_MAX,
	(size_t)PTRDIFF_MAX + 1, (size_t)1 << 63, ((size_t)1 << 44) + 1, (size_t)1 << 44, ((size_t)1 << 44) + MIB(2),
	((size_t)1 << 45) + 4096, (size_t)1 << 50,
};
#define NR_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void expect_none(void *p, const char *what, size_t i)
{
	if (p != NULL)
		TEST_FAIL("%s: %zu bytes were had", what, sizes[i]);
	if (errno != EINVAL && errno != ENOMEM)
		TEST_FAIL("%s: %zu bytes: errno %d", what, sizes[i], errno);
}

static int never(void *to, void *from, size_t bytes, void *arg)
{
	(void)to;
	(void)from;
	(void)bytes;
	(void)arg;
	return 1;
}

CHILD_TEST(no_size_that_there_cannot_be_is_had)
{
	const struct ash_dma_object_ops ops = { never, NULL };
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT, reserved = ASH_DMA_ATTR_INIT;
	char *p = ash_dma_alloc(KIB(8), NULL);

	EXPECT(p != NULL);
	p[0] = 1;
	reserved.reserve = "small";
	EXPECT_EQ(ash_dma_reserve("small", MIB(2), NULL), 0);
	for (size_t i = 0; i < NR_SIZES; i++) {
		struct ash_dma_attr a = attr;

		expect_none(ash_dma_alloc(sizes[i], NULL), "alloc", i);
		for (a.level = 0; a.level <= ASH_DMA_PHYSICAL; a.level++)
			expect_none(ash_dma_alloc(sizes[i], &a), "alloc of a level", i);
		a = attr;
		a.flags = ASH_DMA_SHARED;
		expect_none(ash_dma_alloc(sizes[i], &a), "shared", i);
		expect_none(ash_dma_alloc(sizes[i], &reserved), "from a reserve", i);
		expect_none(ash_dma_realloc(p, sizes[i], NULL), "realloc", i);
		expect_none(ash_dma_alloc_object(sizes[i], &ops, NULL, ASH_NODE_LOCAL, 0), "object", i);
		expect_none(ash_dma_pool_create("p", sizes[i], 0, 0, NULL), "pool", i);
		if (sizes[i] != 0)
			expect_none(ash_dma_pool_create("p", 64, sizes[i], 0, NULL), "pool of so many", i);
		EXPECT_LT(ash_dma_reserve("much", sizes[i], NULL), 0);
		EXPECT_LT(ash_dma_register(p, sizes[i]), 0);
		EXPECT_EQ(ash_dma_segments(p, sizes[i], NULL, 0), 0);
		EXPECT_EQ(ash_dma_iovec(p, sizes[i], NULL, 0), 0);
		EXPECT_EQ(ash_dma_sg_fill(NULL, p, sizes[i], 1 << 30, NULL, 0), 0);
	}
	EXPECT_EQ(p[0], 1);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_unreserve("small"), 0);
}

static void expect_refused(const struct ash_dma_attr *attr, const char *what)
{
	errno = 0;
	if (ash_dma_alloc(KIB(8), attr) != NULL || errno != EINVAL)
		TEST_FAIL("%s: had, or errno %d", what, errno);
}

CHILD_TEST(what_contradicts_itself_is_refused_in_every_combination)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_policy policy = { .mode = 99, .nodes = 1 };

	EXPECT_EQ(ash_dma_reserve("mine", MIB(2), NULL), 0);
	for (uint32_t flag = 64; flag != 0; flag <<= 1) {
		attr.flags = flag;
		expect_refused(&attr, "a flag that there is not");
	}
	attr.flags = ASH_DMA_INHERIT;
	expect_refused(&attr, "inherited, not shared");
	attr.flags = ASH_DMA_SHARED;
	attr.reserve = "mine";
	expect_refused(&attr, "shared, from a reserve");
	attr.reserve = NULL;
	attr.flags = ASH_DMA_SHARED | ASH_DMA_NO_GROW;
	expect_refused(&attr, "shared, from what there is");
	attr.flags = 0;
	attr.reserve = "";
	expect_refused(&attr, "a reserve without a name");
	attr.reserve = "a name that is longer than any reserve could have, by far";
	expect_refused(&attr, "a reserve of such a name");
	attr.reserve = NULL;
	attr.policy = &policy;
	expect_refused(&attr, "a policy that there is not");
	attr.policy = NULL;
	for (unsigned i = 0; i < 3; i++) {
		attr.node = (int[]){ -2, INT32_MIN, INT32_MAX }[i];
		expect_refused(&attr, "a node that there cannot be");
	}
	attr.node = ASH_NODE_LOCAL;
	for (unsigned i = 0; i < 3; i++) {
		attr.size = (unsigned[]){ 0, 4, 7 }[i];
		expect_refused(&attr, "a structure of no size");
	}
	EXPECT_EQ(ash_dma_unreserve("mine"), 0);
}

CHILD_TEST(addresses_below_a_limit_that_nothing_lies_under)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;

	for (attr.address_bits = 1; attr.address_bits <= 12; attr.address_bits++) {
		EXPECT(ash_dma_alloc(KIB(4), &attr) == NULL);
		EXPECT(errno == ENOMEM || errno == ENODATA);
		EXPECT(ash_dma_alloc(64, &attr) == NULL);
	}
	attr.address_bits = 65;
	expect_refused(&attr, "beyond all addresses");
}

CHILD_TEST(pointers_that_are_no_buffers_end_nothing)
{
	static char own[8192];
	char *p = ash_dma_alloc(KIB(64), NULL), *small = ash_dma_alloc(100, NULL), *heap = malloc(100000);
	struct ash_dma_info info = { .size = sizeof(info) };
	void *bad[] = { own, heap, p + 1, p + 4096, p + KIB(60), small + 8, small + 128, &bad, (void *)8, (void *)-4096,
			(void *)-1, (void *)(uintptr_t)expect_none };
	uint64_t offset;
	size_t bytes;

	EXPECT(p != NULL && small != NULL);
	memset(p, 7, KIB(64));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *const one[] = { bad[i] };

		if (ash_dma_free(bad[i]) != -EINVAL)
			TEST_FAIL("pointer %zu was ended", i);
		EXPECT_EQ(ash_dma_free_sensitive(bad[i]), -EINVAL);
		EXPECT(ash_dma_realloc(bad[i], 100, NULL) == NULL);
		EXPECT_EQ(ash_dma_info_read(bad[i], &info), -EINVAL);
		EXPECT_EQ(ash_dma_export(bad[i], &offset, &bytes), -EINVAL);
		EXPECT_EQ(ash_dma_export_udmabuf(bad[i]), -EINVAL);
		EXPECT_EQ(ash_dma_send(0, bad[i]), -EINVAL);
		EXPECT_EQ(ash_dma_uring_register(-1, one, 1), -EINVAL);
		EXPECT_LT(ash_dma_unregister(bad[i], 0), 0);
	}
	for (size_t i = 0; i < KIB(64); i++)
		EXPECT_EQ(p[i], 7);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_free(p), -EINVAL);
	EXPECT_EQ(ash_dma_free_sensitive(p), -EINVAL);
	EXPECT(ash_dma_realloc(p, 100, NULL) == NULL);
	EXPECT_EQ(ash_dma_free(small), 0);
	free(heap);
}

/* An object may be moved by the very allocation that realloc makes. */
CHILD_TEST(an_object_does_not_change_its_size)
{
	const struct ash_dma_object_ops ops = { never, NULL };
	char *p = ash_dma_alloc_object(KIB(8), &ops, NULL, ASH_NODE_LOCAL, 0);

	EXPECT(p != NULL);
	EXPECT(ash_dma_realloc(p, KIB(64), NULL) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(describe(p).bytes, KIB(8));
	EXPECT_EQ(ash_dma_free(p), 0);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(ash_dma_alloc_object(KIB(8), &ops, NULL, (int[]){ 64, 1000, INT32_MAX, INT32_MIN }[i], 0) ==
		       NULL);
		EXPECT_EQ(errno, EINVAL);
	}
}

static int keeps(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	(void)va;
	(void)bytes;
	(void)arg;
	return event == ASH_DMA_EVENT_UNMAPPING;
}

CHILD_TEST(what_a_listener_keeps_does_not_change_its_size)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_stats before = { .size = sizeof(before) }, after = before;
	char *p;

	attr.flags = ASH_DMA_SHARED;
	p = ash_dma_alloc(MIB(2), &attr);
	EXPECT(p != NULL);
	p[5] = 5;
	EXPECT_EQ(ash_dma_events_register(keeps, NULL), 0);
	EXPECT_EQ(ash_dma_stats_read(&before), 0);
	EXPECT(ash_dma_realloc(p, KIB(64), NULL) == NULL);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(p[5], 5);
	EXPECT_EQ(ash_dma_stats_read(&after), 0);
	EXPECT_EQ(after.buffers[0] + after.buffers[1] + after.buffers[2],
		  before.buffers[0] + before.buffers[1] + before.buffers[2]);
	EXPECT_EQ(ash_dma_events_unregister(keeps, NULL), 0);
	p = ash_dma_realloc(p, KIB(64), NULL);
	EXPECT(p != NULL);
	EXPECT_EQ(p[5], 5);
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_EQ(ash_dma_events_register(NULL, NULL), -EINVAL);
	EXPECT_EQ(ash_dma_events_unregister(NULL, NULL), -ENOENT);
}

CHILD_TEST(pools_refuse_what_their_slabs_cannot_be)
{
	struct ash_dma_attr attr = ASH_DMA_ATTR_INIT;
	struct ash_dma_pool *pool;

	attr.flags = ASH_DMA_SHARED;
	EXPECT(ash_dma_pool_create("shared", 64, 0, 0, &attr) == NULL);
	EXPECT_EQ(errno, EINVAL);
	attr.flags = 0;
	attr.reserve = "nowhere";
	EXPECT(ash_dma_pool_create("reserved", 64, 0, 0, &attr) == NULL);
	EXPECT_EQ(errno, EINVAL);
	attr.reserve = NULL;
	attr.size = 0;
	EXPECT(ash_dma_pool_create("of no size", 64, 0, 0, &attr) == NULL);
	EXPECT_EQ(errno, EINVAL);
	for (unsigned flag = 4; flag != 0; flag <<= 1) {
		EXPECT(ash_dma_pool_create("flags", 64, 0, flag, NULL) == NULL);
		EXPECT_EQ(errno, EINVAL);
	}
	pool = ash_dma_pool_create("fine", 64, 10, 0, NULL);
	EXPECT(pool != NULL);
	{
		void *objects[11];

		errno = 0;
		EXPECT_EQ(ash_dma_pool_get_bulk(pool, objects, 11), -ENOMEM);
		EXPECT_EQ(errno, 0);
		EXPECT_EQ(ash_dma_pool_get_bulk(pool, objects, 10), 0);
		EXPECT(ash_dma_pool_get(pool) == NULL);
		ash_dma_pool_put_bulk(pool, objects, 10);
		ash_dma_pool_put_bulk(pool, objects, 0);
		EXPECT_EQ(ash_dma_pool_get_bulk(pool, objects, 0), 0);
	}
	EXPECT_EQ(ash_dma_pool_destroy(pool), 0);
}

static struct ash_dma_pool *parents_pool;

static void end_the_parents_pool(void)
{
	EXPECT(ash_dma_alloc(64, NULL) != NULL);
	EXPECT_EQ(ash_dma_pool_destroy(parents_pool), 0);
}

/* What is out is out in the parent; nobody in the child could put it back. */
CHILD_TEST(a_child_ends_its_parents_pool_whatever_is_out)
{
	void *object;

	parents_pool = ash_dma_pool_create("the parent's", 64, 0, 0, NULL);
	EXPECT(parents_pool != NULL);
	object = ash_dma_pool_get(parents_pool);
	EXPECT(object != NULL);
	child_passes(end_the_parents_pool);
	EXPECT_EQ(ash_dma_pool_destroy(parents_pool), -EBUSY);
	ash_dma_pool_put(parents_pool, object);
	EXPECT_EQ(ash_dma_pool_destroy(parents_pool), 0);
}
