/* SPDX-License-Identifier: MIT */
/*
 * Statistics of threads that run: what is read of them may be of different moments, or of two users of one descriptor.
 * Here such states are written by hand; the figures must stay within what there can be.
 */
#include "harness/test.h"

#include "borrow_no_more.h"
#include "fake_arena.h"
#include "heap/fast.h"

/* With room behind it, in which nothing may be written. */
static struct {
	struct ash_heap_stats s;
	unsigned char behind[16384];
} out;

static void read_stats(void)
{
	memset(&out, 0, sizeof(out));
	ash_heap_stats(&out.s);
	for (size_t i = 0; i < sizeof(out.behind); i++)
		EXPECT_EQ(out.behind[i], 0);
}

/* An object on its way from a slab to a bin may be counted in both. */
static void expect_sane(void)
{
	read_stats();
	for (unsigned cls = 0; cls < out.s.nr_classes; cls++)
		EXPECT_LE(out.s.classes[cls].objects_free, 2 * out.s.classes[cls].objects_total);
	EXPECT_LE(out.s.slab_free_bytes, 2 * out.s.slab_bytes);
}

/* A slab of the class, and an object of it that is in use. */
static struct ash_slab *a_slab(size_t size, void **p)
{
	borrow_no_more();
	*p = ash_heap_malloc(size);
	EXPECT(*p != NULL);
	return ash_slab_of(*p, ash_class_of(size));
}

TEST(a_descriptor_with_another_user_than_its_tag_says)
{
	static const uint8_t others[] = { ASH_SLAB_LARGE, ASH_NR_CLASSES, ASH_CLASS_OF_8 };
	void *p;
	struct ash_slab *s = a_slab(1024, &p), before = *s;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(others); i++) {
		s->cls = others[i];
		expect_sane();
		EXPECT_EQ(out.s.classes[ASH_CLASS_OF_1024].slabs, 1);
	}
	*s = before;
	ash_heap_free(p);
}

TEST(more_carved_or_free_than_a_slab_of_this_class_has)
{
	void *p;
	struct ash_slab *s = a_slab(1024, &p), before = *s;

	s->carved = 8192;
	expect_sane();
	s->carved = 0;
	s->nr_free = 8192;
	expect_sane();
	*s = before;
	ash_heap_free(p);
}

TEST(a_bin_in_the_middle_of_a_refill)
{
	void *p;

	(void)a_slab(1024, &p);
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const int32_t before = ash_heap_self->bins.room[cls];

		/* More room than there is in all: what a refill brought beyond half a bin is forgotten already. */
		ash_heap_self->bins.room[cls] = ash_classes[cls].cache_max + 1000;
		expect_sane();
		ash_heap_self->bins.room[cls] = before;
	}
	ash_heap_free(p);
}
