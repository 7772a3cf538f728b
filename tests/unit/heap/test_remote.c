/* SPDX-License-Identifier: MIT */
/* Objects on their way home: which of them are touched, and that each comes home once, whatever it is carried by. */
#include "harness/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"
#include "run_thread.h"

#define MOST 4096
#define FILL 0xa5

struct batch {
	unsigned char *object[MOST];
	size_t size[MOST];
	unsigned nr;
};

static struct batch batch, again;

static void allocate(struct batch *b, unsigned i, size_t size)
{
	b->object[i] = ash_heap_malloc(size);
	b->size[i] = size;
	EXPECT(b->object[i] != NULL);
	memset(b->object[i], FILL, size);
}

static void allocate_many(struct batch *b, unsigned nr, size_t size)
{
	b->nr = nr;
	for (unsigned i = 0; i < nr; i++)
		allocate(b, i, size);
}

/* Of every class, small ones more often: so that each carries each. */
static void allocate_mixed(struct batch *b, uint64_t seed)
{
	b->nr = MOST;
	for (unsigned i = 0; i < b->nr; i++) {
		const unsigned cls = test_random(&seed) % (1 + test_random(&seed) % ASH_NR_CLASSES);

		allocate(b, i, ash_classes[cls].size);
	}
}

static void free_batch(struct batch *b)
{
	for (unsigned i = 0; i < b->nr; i++)
		ash_heap_free(b->object[i]);
}

static void *thread_frees(void *arg)
{
	free_batch(arg);
	ash_heap_thread_exit();
	return arg;
}

static void *thread_allocates(void *arg)
{
	allocate_mixed(&batch, *(const uint64_t *)arg);
	ash_heap_thread_exit();
	return arg;
}

static unsigned touched(const struct batch *b)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < b->nr; i++) {
		size_t same = 0;

		while (same < b->size[i] && b->object[i][same] == FILL)
			same++;
		nr += same != b->size[i];
	}
	return nr;
}

static int by_address(const void *a, const void *b)
{
	const unsigned char *p = *(unsigned char *const *)a, *q = *(unsigned char *const *)b;

	return (p > q) - (p < q);
}

static void expect_distinct(struct batch *b)
{
	qsort(b->object, b->nr, sizeof(*b->object), by_address);
	for (unsigned i = 1; i < b->nr; i++)
		EXPECT(b->object[i] != b->object[i - 1]);
}

static void one_batch(size_t size, unsigned expected)
{
	const unsigned cls = ash_class_of(size), nr = (unsigned)ash_min(ASH_OUTBOX_BYTES / size, ASH_OUTBOX_COUNT);
	uint32_t held;

	allocate_many(&batch, nr, size);
	held = ash_bin_held(ash_heap_self, cls);
	run_thread(thread_frees, &batch);
	EXPECT_EQ(touched(&batch), expected);
	EXPECT(ash_remote_drain(ash_heap_self));
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), held + nr);
	/* They are what is handed out next. */
	allocate_many(&again, nr, size);
	expect_distinct(&batch);
	expect_distinct(&again);
	for (unsigned i = 0; i < nr; i++)
		EXPECT(again.object[i] == batch.object[i]);
	free_batch(&again);
}

TEST(an_object_that_is_carried_is_not_touched)
{
	one_batch(16, 96);    /* no room for an address */
	one_batch(32, 32);    /* for two */
	one_batch(64, 14);    /* for six */
	one_batch(256, 6);    /* for more than the links count: 15 */
	one_batch(1024, 2);   /* twenty-four are a batch */
	one_batch(8192, 1);   /* three */
	expect_nothing_left();
}

TEST(classes_carry_what_they_have_room_for)
{
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const uint64_t carries = ash_class_carries[cls] >> ASH_CARRIED_SHIFT;
		const size_t end = offsetof(struct ash_object, carried[carries]);

		EXPECT_EQ(ash_class_carries[cls] & (((uint64_t)1 << ASH_CARRIED_SHIFT) - 1), 0);
		EXPECT(carries == 0 || end <= ash_classes[cls].size);
		EXPECT(carries == ASH_CARRIED_MAX || end + sizeof(void *) > ash_classes[cls].size);
	}
}

TEST(objects_of_all_classes_carry_each_other_home)
{
	uint64_t seed = test_seed;

	for (unsigned round = 0; round < 8; round++) {
		allocate_mixed(&batch, seed + round);
		run_thread(thread_frees, &batch);
		allocate_mixed(&again, seed + round);
		EXPECT_EQ(touched(&again), 0);
		expect_distinct(&again);
		free_batch(&again);
	}
	expect_nothing_left();
}

TEST(an_orphan_has_each_back_as_well)
{
	uint64_t seed = test_seed;

	for (unsigned round = 0; round < 4; round++) {
		run_thread(thread_allocates, &seed);
		free_batch(&batch);
	}
	expect_nothing_left();
}
