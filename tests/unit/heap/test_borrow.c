/* SPDX-License-Identifier: MIT */
/* The first objects of a class, which come from the class of the next power of two. */
#include "harness/test.h"

#include "fake_arena.h"
#include "heap/fast.h"

enum { MOST = 2048 };

static unsigned class_of_object(const void *p)
{
	return ash_tag_load(ash_frame_index(p)) & ASH_TAG_CLASS_MASK;
}

static unsigned power_above(unsigned cls)
{
	return ash_class_of((size_t)1 << ash_log2_ceil(ash_classes[cls].size));
}

static void *take(struct ash_heap *h, size_t size)
{
	void *p = ash_heap_alloc_from(h, 1, size, false);

	memset(p, 0x5a, size);
	return p;
}

/* What a page would hold, and no more than that however often it is freed. */
static void expect_borrowed(struct ash_heap *h, unsigned cls)
{
	const struct ash_class *c = &ash_classes[cls];

	for (unsigned i = 0; i < c->carve; i++) {
		void *p = take(h, c->size);

		EXPECT_EQ(class_of_object(p), power_above(cls));
		EXPECT_EQ((uintptr_t)p % (c->size & -c->size), 0);
		if (i % 2 != 0)
			ash_heap_free(p);
	}
	EXPECT_EQ(class_of_object(take(h, c->size)), cls);
}

TEST(as_many_as_a_page_holds_come_from_the_next_power_of_two)
{
	struct ash_heap *h = ash_heap_new(ASH_NODE_CURRENT);

	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		EXPECT_EQ(class_of_object(take(h, ash_classes[cls].size)),
			  ash_classes[cls].size <= MOST ? power_above(cls) : cls);
	ash_heap_new_reset(h);
	for (unsigned cls = 0; ash_classes[cls].size <= MOST; cls++)
		if (power_above(cls) != cls)
			expect_borrowed(h, cls);
	/* A heap that is as new does it again. */
	ash_heap_new_reset(h);
	EXPECT_EQ(class_of_object(take(h, 48)), ash_class_of(64));
	ash_heap_new_destroy(h);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(a_few_objects_of_every_size_touch_a_page_for_each_power_of_two)
{
	struct ash_heap *h = ash_heap_new(ASH_NODE_CURRENT);
	uintptr_t pages[64];
	unsigned nr = 0, powers = 0;

	for (unsigned cls = 0; ash_classes[cls].size <= MOST / 2; cls++) {
		const uintptr_t page = (uintptr_t)take(h, ash_classes[cls].size) >> ASH_PAGE_SHIFT;
		unsigned i = 0;

		powers += power_above(cls) == cls;
		while (i < nr && pages[i] != page)
			i++;
		if (i == nr)
			pages[nr++] = page;
	}
	EXPECT_EQ(nr, powers);
	ash_heap_new_destroy(h);
}

TEST(where_there_is_no_memory_for_another_slab_what_there_is_is_used)
{
	struct ash_heap *h = ash_heap_new(ASH_NODE_CURRENT);
	void *p = NULL;

	for (unsigned i = 0; i <= ash_classes[ash_class_of(48)].carve; i++)
		p = take(h, 48);
	EXPECT_EQ(class_of_object(p), ash_class_of(48));
	fake_arena_fail_at(1);
	EXPECT_EQ(class_of_object(take(h, 48)), ash_class_of(48));
	EXPECT_EQ(class_of_object(take(h, 64)), ash_class_of(64));
	EXPECT(ash_heap_alloc_from(h, 1, 96, false) == NULL);
	fake_arena_fail_at(0);
	EXPECT_EQ(class_of_object(take(h, 96)), ash_class_of(128));
	ash_heap_new_destroy(h);
	EXPECT_EQ(fake_arena_used_frames(), 0);
}
