/* SPDX-License-Identifier: MIT */
/* Parts of slabs that go back to the system: which, when, that nothing alive is touched, and that all of it is had
 * again. */
#include "harness/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "borrow_no_more.h"
#include "dies.h"
#include "fake_arena.h"
#include "heap/fast.h"

#define OBJECTS 20000u
#define TURNS 6 /* sweeps after which a slab that was left alone is thinned */

static unsigned char *object[OBJECTS];

/* Slabs full of objects of 1 KiB: a heap of this size has slabs for all classes. */
#define BALLAST (100u * 64u)
static void *ballast[BALLAST];

static void load(void)
{
	borrow_no_more();
	for (unsigned i = 0; i < BALLAST; i++)
		ballast[i] = ash_heap_malloc(1024);
}

static void unload(void)
{
	for (unsigned i = 0; i < BALLAST; i++)
		ash_heap_free(ballast[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_away_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

/* All that goes by time and amount, as if both had come. */
static void thin(unsigned cls, unsigned turns)
{
	struct ash_heap *h = ash_heap_self;

	ash_bin_flush(h, cls);
	for (unsigned i = 0; i < turns; i++) {
		int64_t work = INT64_MAX;

		h->loose = UINT64_MAX;
		ash_heap_thin(h, cls, &work);
	}
	h->loose = 0;
}

/* As many as fill some slabs: one that is not carved to its end is not thinned. */
static unsigned some_objects(unsigned cls)
{
	const unsigned capacity = ash_classes[cls].capacity;

	return ash_min(12u, OBJECTS / capacity) * capacity;
}

static void take(unsigned cls, unsigned i)
{
	object[i] = ash_heap_malloc(ash_classes[cls].size);
	memset(object[i], (int)(i % 251 + 1), ash_classes[cls].size);
}

static bool is_whole(unsigned cls, unsigned i)
{
	for (uint32_t n = 0; n < ash_classes[cls].size; n++)
		if (object[i][n] != i % 251 + 1)
			return false;
	return true;
}

static int by_address(const void *a, const void *b)
{
	const unsigned char *x = *(unsigned char *const *)a, *y = *(unsigned char *const *)b;

	return (x > y) - (x < y);
}

/* Frames of the slabs of sorted objects that lie in parts, sixteenths of a slab, which nothing alive touches. */
static size_t frames_without(unsigned cls, unsigned nr)
{
	const struct ash_class *c = &ash_classes[cls];
	const size_t slab = ASH_PAGE_SIZE << c->slab_order, part = slab / 16;
	size_t frames = 0;

	for (unsigned i = 0; i < nr;) {
		const uintptr_t start = (uintptr_t)object[i] & ~(slab - 1);
		bool touched[16] = { false };

		for (; i < nr && (uintptr_t)object[i] - start < slab; i++)
			for (size_t at = (uintptr_t)object[i] - start; at < (uintptr_t)object[i] - start + c->size;
			     at++)
				touched[at / part] = true;
		for (unsigned n = 0; n < 16; n++)
			frames += touched[n] ? 0 : part >> ASH_PAGE_SHIFT;
	}
	return frames;
}

/* Of nr objects one in `keep` stays, in every slab; the number. */
static unsigned free_most(unsigned nr, unsigned keep)
{
	unsigned left = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (i % keep == 0)
			object[left++] = object[i];
		else
			ash_heap_free(object[i]);
	}
	return left;
}

/* Of some objects of a class one in every slab stays, the first of object[]; the number. */
static unsigned leave_one_in_a_slab(unsigned cls)
{
	const unsigned nr = some_objects(cls);

	for (unsigned i = 0; i < nr; i++)
		take(cls, i);
	qsort(object, nr, sizeof(object[0]), by_address);
	return free_most(nr, ash_classes[cls].capacity);
}

static void write_to_those_left(unsigned cls, unsigned left)
{
	for (unsigned i = 0; i < left; i++)
		memset(object[i], (int)(i % 251 + 1), ash_classes[cls].size);
}

/* Beside those left: objects are had where all were, and none has been written to by another. */
static void expect_all_again(unsigned cls, unsigned left)
{
	const unsigned nr = some_objects(cls);

	for (unsigned i = left; i < nr; i++)
		take(cls, i);
	EXPECT_EQ(fake_arena_away_frames(), 0);
	for (unsigned i = 0; i < nr; i++)
		EXPECT(is_whole(cls, i));
	for (unsigned i = 0; i < nr; i++)
		ash_heap_free(object[i]);
	ash_heap_trim();
}

/* A trim gives back all that those left do not touch, at once. */
static void expect_trimmed(unsigned cls, unsigned left)
{
	const size_t before = fake_arena_discarded_frames(), expected = frames_without(cls, left);

	write_to_those_left(cls, left);
	EXPECT_GT(expected, 0);
	EXPECT_GE(ash_heap_trim(), expected << ASH_PAGE_SHIFT);
	EXPECT_EQ(fake_arena_discarded_frames() - before, expected);
	EXPECT_LT(ash_heap_trim(), ASH_PAGE_SIZE);
	EXPECT_EQ(fake_arena_discarded_frames() - before, expected);
}

TEST(what_nothing_alive_touches_goes_and_comes_back)
{
	load();
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++) {
		const unsigned nr = some_objects(cls), keep = ash_classes[cls].capacity;
		size_t before = fake_arena_discarded_frames(), slabs;
		unsigned left;

		for (unsigned i = 0; i < nr; i++)
			take(cls, i);
		qsort(object, nr, sizeof(object[0]), by_address);
		slabs = ash_heap_self->slab_frames;
		left = free_most(nr, keep);
		write_to_those_left(cls, left);
		ash_bin_flush(ash_heap_self, cls);
		thin(cls, TURNS - 1);
		EXPECT_EQ(fake_arena_discarded_frames(), before);
		thin(cls, 1);
		EXPECT_EQ(fake_arena_discarded_frames() - before, frames_without(cls, left));
		EXPECT_GT(fake_arena_discarded_frames(), before);
		EXPECT_EQ(fake_arena_away_frames(), fake_arena_discarded_frames() - before);
		before = fake_arena_discarded_frames();
		thin(cls, 2 * TURNS);
		EXPECT_EQ(fake_arena_discarded_frames(), before);
		for (unsigned i = left; i < nr; i++)
			take(cls, i);
		EXPECT_EQ(fake_arena_away_frames(), 0);
		EXPECT_EQ(ash_heap_self->slab_frames, slabs);
		for (unsigned i = 0; i < nr; i++)
			EXPECT(is_whole(cls, i));
		for (unsigned i = 0; i < nr; i++)
			ash_heap_free(object[i]);
		ash_heap_trim();
	}
	unload();
}

/* At random, with slabs thinned at any moment: no object is lost, had twice, or written to by another. */
TEST(thinning_between_any_two_calls_is_not_noticed)
{
	static const size_t sizes[] = { 16,   48,    160,   640,   1280,  3072,  4608,
					5376, 10752, 13056, 18688, 26112, 37376, 65536 };
	uint64_t r = 1;

	load();
	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		const unsigned cls = ash_class_of(sizes[s]),
			       nr = ash_max(some_objects(cls) / 4, ash_classes[cls].capacity + 1u);
		size_t before = fake_arena_discarded_frames();

		memset(object, 0, sizeof(object));
		for (unsigned step = 0; step < 40000; step++) {
			r = r * 6364136223846793005u + 1442695040888963407u;
			const unsigned i = (unsigned)(r >> 33) % nr, most = step / 4000 % 2 == 0 ? 90 : 5;

			if (object[i] != NULL) {
				EXPECT(object[i][0] == i % 251 + 1 && object[i][sizes[s] - 1] == i % 251 + 1);
				if ((r >> 20) % 100 >= most) {
					EXPECT(is_whole(cls, i));
					ash_heap_free(object[i]);
					object[i] = NULL;
				}
			} else if ((r >> 20) % 100 < most) {
				take(cls, i);
			}
			if ((r >> 40) % 500 == 0)
				thin(cls, TURNS);
		}
		/* Of small ones something is alive nearly everywhere. */
		EXPECT(sizes[s] < 640 || fake_arena_discarded_frames() > before);
		for (unsigned i = 0; i < nr; i++) {
			EXPECT(object[i] == NULL || is_whole(cls, i));
			ash_heap_free(object[i]);
		}
		ash_heap_trim();
	}
	unload();
}

TEST(a_slab_in_use_and_a_little_that_is_free_stay)
{
	const unsigned cls = ash_class_of(4096), nr = some_objects(cls);
	const size_t before = fake_arena_discarded_frames();
	struct ash_heap *h;
	unsigned left;

	for (unsigned i = 0; i < nr; i++)
		object[i] = ash_heap_malloc(4096);
	h = ash_heap_self;
	left = free_most(nr, 4);
	ash_bin_flush(h, cls);
	/* Far less is free than is worth it. */
	for (unsigned i = 0; i < 3 * TURNS; i++) {
		int64_t work = INT64_MAX;

		ash_heap_thin_turn(h);
		ash_heap_thin(h, cls, &work);
	}
	EXPECT_GT(h->free_bytes, 0);
	EXPECT_EQ(fake_arena_discarded_frames(), before);
	/* The first slab of the list serves a request between any two sweeps; the rest goes. */
	for (unsigned i = 0; i < TURNS; i++) {
		ash_heap_free(ash_heap_malloc(4096));
		thin(cls, 1);
	}
	EXPECT_GT(fake_arena_discarded_frames(), before);
	EXPECT_EQ(h->partial[cls]->away, 0);
	for (unsigned i = 0; i < left; i++)
		ash_heap_free(object[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(a_trim_gives_back_all_that_nothing_alive_touches_at_once)
{
	const unsigned cls = ash_class_of(1024), left = leave_one_in_a_slab(cls);

	expect_trimmed(cls, left);
	expect_all_again(cls, left);
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_away_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

static void *leave_and_end(void *arg)
{
	*(unsigned *)arg = leave_one_in_a_slab(ash_class_of(1024));
	ash_heap_thread_exit();
	return arg;
}

/* A thread has ended, and some of what it allocated is alive. */
TEST(a_trim_gives_back_parts_of_the_slabs_of_ended_threads)
{
	const unsigned cls = ash_class_of(1024);
	struct ash_heap *orphan;
	unsigned left = 0;
	pthread_t t;

	EXPECT_EQ(pthread_create(&t, NULL, leave_and_end, &left), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	EXPECT_GT(left, 0);
	orphan = ash_heap_by_tag(ash_tag_load(ash_frame_index(object[0])));
	EXPECT(orphan != ash_heap_self);
	expect_trimmed(cls, left);
	EXPECT_EQ(atomic_load(&orphan->state), ASH_HEAP_ORPHAN);
	/* Its slabs are taken, and what was away is had again. */
	expect_all_again(cls, left);
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

#define CHAINS 3u
#define LIVES 100u
#define ITS_OBJECTS 200u

struct chain {
	pthread_t thread;
	unsigned char *object[ITS_OBJECTS];
	unsigned lives;
};
static _Atomic unsigned lost;

/* What the thread before it left is freed, half of what is allocated is for the next. */
static void *live(void *arg)
{
	struct chain *c = arg;

	for (unsigned i = 0; i < ITS_OBJECTS; i++) {
		const size_t size = 16 + i % 16 * 100;
		unsigned char *mine = ash_heap_malloc(size);

		if (c->object[i] != NULL && (c->object[i][0] != i % 251 || c->object[i][size - 1] != i % 251))
			lost++;
		ash_heap_free(c->object[i]);
		c->object[i] = ash_heap_malloc(size);
		memset(c->object[i], (int)(i % 251), size);
		ash_heap_free(mine);
	}
	ash_heap_thread_exit();
	return arg;
}

static void *live_often(void *arg)
{
	struct chain *c = arg;

	for (c->lives = 0; c->lives < LIVES; c->lives++) {
		pthread_t t;

		if (pthread_create(&t, NULL, live, c) != 0 || pthread_join(t, NULL) != 0)
			break;
	}
	return arg;
}

TEST(trims_while_threads_come_and_go_lose_nothing)
{
	static struct chain chain[CHAINS];

	for (unsigned i = 0; i < CHAINS; i++)
		EXPECT_EQ(pthread_create(&chain[i].thread, NULL, live_often, &chain[i]), 0);
	for (unsigned i = 0; i < LIVES; i++)
		(void)ash_heap_trim();
	for (unsigned i = 0; i < CHAINS; i++) {
		EXPECT_EQ(pthread_join(chain[i].thread, NULL), 0);
		EXPECT_EQ(chain[i].lives, LIVES);
	}
	EXPECT_EQ(lost, 0);
	for (unsigned i = 0; i < CHAINS; i++)
		for (unsigned n = 0; n < ITS_OBJECTS; n++)
			ash_heap_free(chain[i].object[n]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_away_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

static void write_to_a_freed_object(void)
{
	const unsigned cls = ash_class_of(2048);

	for (unsigned i = 0; i < ash_classes[cls].capacity; i++)
		object[i] = ash_heap_malloc(2048);
	for (unsigned i = 1; i < ash_classes[cls].capacity; i++)
		ash_heap_free(object[i]);
	ash_bin_flush(ash_heap_self, cls);
	memset(ash_heap_self->partial[cls]->free, 0x40, sizeof(void *));
	thin(cls, TURNS);
}

/* A free list that leads out of its slab has been written to. */
TEST(a_freed_object_that_was_written_to_is_found)
{
	EXPECT(dies(write_to_a_freed_object));
}
