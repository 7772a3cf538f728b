/* SPDX-License-Identifier: MIT */
/* The smallest class: objects of eight bytes, which have room for one link when they are free and for no more. */
#include "harness/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "at_home.h"
#include "dies.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"
#include "run_thread.h"

#define TINY 8

static void expect_aligned(unsigned char *p, size_t align, size_t size)
{
	EXPECT(p != NULL);
	EXPECT_EQ((uintptr_t)p % align, 0);
	EXPECT_EQ((uintptr_t)p % (size > TINY ? 16 : 8), 0);
	EXPECT_GE(ash_heap_usable(p), ash_max(size, TINY));
	memset(p, 0x3c, ash_heap_usable(p));
}

/* Four of each, so that no answer is aligned by chance alone. */
TEST(every_call_aligns_every_small_size)
{
	struct ash_heap *h = ash_heap_new(-1);
	void *p[4][8];

	for (size_t align = 1; align <= 64; align *= 2) {
		for (size_t size = 0; size <= 65; size++) {
			for (unsigned i = 0; i < 4; i++) {
				p[i][0] = ash_heap_malloc(size);
				p[i][1] = ash_heap_calloc(1, size);
				p[i][2] = ash_heap_realloc(NULL, size);
				p[i][3] = ash_heap_realloc(ash_heap_malloc(TINY), size + 1);
				p[i][4] = ash_heap_aligned(align, size);
				p[i][5] = ash_fast_aligned(align, size);
				p[i][6] = ash_heap_new_alloc(h, align, size, false);
				p[i][7] = ash_heap_new_alloc(h, align, size, true);
				for (unsigned n = 0; n < 8; n++)
					expect_aligned(p[i][n], n < 4 ? 1 : align, n == 3 ? size + 1 : size);
			}
			for (unsigned i = 0; i < 4; i++)
				for (unsigned n = 0; n < 8; n++)
					ash_heap_free(p[i][n]);
		}
	}
	ash_heap_new_destroy(h);
	expect_nothing_left();
}

TEST(up_to_eight_bytes_take_eight)
{
	for (size_t size = 0; size <= 2 * TINY; size++) {
		void *p = ash_heap_malloc(size);

		EXPECT_EQ(ash_heap_usable(p), size <= TINY ? TINY : 2 * TINY);
		ash_heap_free(p);
	}
	expect_nothing_left();
}

/* Between neighbours that are in use, dirty memory is cleared: all that was asked for, and nothing beside it. */
TEST(calloc_clears_an_object_and_no_more)
{
	enum { NR = 1000 };
	static unsigned char *p[NR];

	for (size_t size = 1; size <= 80; size++) {
		for (unsigned i = 0; i < NR; i++) {
			p[i] = ash_heap_malloc(size);
			memset(p[i], 0xa5, ash_heap_usable(p[i]));
		}
		for (unsigned i = 1; i < NR; i += 2) {
			ash_heap_free(p[i]);
			p[i] = i % 4 == 1 ? ash_fast_calloc(1, size) : ash_heap_calloc(size, 1);
			for (size_t n = 0; n < size; n++)
				EXPECT_EQ(p[i][n], 0);
		}
		for (unsigned i = 0; i < NR; i += 2)
			for (size_t n = 0; n < ash_heap_usable(p[i]); n++)
				EXPECT_EQ(p[i][n], 0xa5);
		for (unsigned i = 0; i < NR; i++)
			ash_heap_free(p[i]);
	}
	expect_nothing_left();
}

TEST(a_tiny_object_grows_and_shrinks)
{
	for (size_t size = 1; size <= 3000; size = size * 3 / 2 + 1) {
		unsigned char *p = ash_heap_malloc(TINY), *q;

		memcpy(p, "ashlar..", TINY);
		q = ash_heap_realloc(p, size);
		EXPECT(q != NULL && (size > TINY || q == p));
		EXPECT_EQ(memcmp(q, "ashlar..", ash_min(size, TINY)), 0);
		p = ash_heap_realloc(q, TINY);
		EXPECT_EQ(memcmp(p, "ashlar..", ash_min(size, TINY)), 0);
		ash_heap_free(p);
	}
	expect_nothing_left();
}

/* Some kinds of batches: so many objects of one size, and then of another. The last that is linked is the first. */
static const struct kind {
	size_t size;
	unsigned nr;
	size_t then;
	unsigned nr_then;
} kinds[] = {
	{ TINY, 1, 0, 0 },   /* one word, first and last */
	{ TINY, 10, 0, 0 },
	{ 16, 3, 0, 0 },     /* two words, and nothing carried */
	{ 64, 3, 0, 0 },     /* carries the others */
	{ 64, 7, TINY, 2 },  /* the last carries six, and is where the way goes on */
	{ 16, 2, TINY, 2 },
	{ TINY, 2, 64, 2 },  /* one in the middle, one at the end */
	{ 300, 30, TINY, 5 },
};
#define KINDS ASH_ARRAY_LEN(kinds)
#define BATCHES 40
#define MOST 35 /* objects of a kind */

static struct sequence {
	unsigned kind[BATCHES], nr;
	void *object[BATCHES][MOST];
	unsigned nr_objects;
} sequence;

static size_t size_in(const struct kind *k, unsigned i)
{
	return i < k->nr ? k->size : k->then;
}

static void allocate(struct sequence *s)
{
	s->nr_objects = 0;
	for (unsigned b = 0; b < s->nr; b++) {
		const struct kind *k = &kinds[s->kind[b]];

		for (unsigned i = 0; i < k->nr + k->nr_then; i++, s->nr_objects++) {
			s->object[b][i] = ash_heap_malloc(size_in(k, i));
			memset(s->object[b][i], 0xee, size_in(k, i));
		}
	}
}

static void free_in_batches(struct sequence *s)
{
	for (unsigned b = 0; b < s->nr; b++) {
		for (unsigned i = 0; i < kinds[s->kind[b]].nr + kinds[s->kind[b]].nr_then; i++)
			ash_heap_free(s->object[b][i]);
		ash_remote_flush(ash_heap_self);
	}
}

static void *thread_frees(void *arg)
{
	free_in_batches(arg);
	ash_heap_thread_exit();
	return arg;
}

static void *thread_allocates(void *arg)
{
	allocate(arg);
	ash_heap_thread_exit();
	return arg;
}

static uint32_t free_in(const struct ash_heap *h)
{
	uint32_t nr = 0;

	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		nr += free_of_class(h, cls);
	return nr;
}

static void comes_home(struct sequence *s)
{
	uint32_t before;

	allocate(s);
	run_thread(thread_frees, s);
	before = free_in(ash_heap_self);
	EXPECT(ash_remote_drain(ash_heap_self));
	EXPECT_EQ(free_in(ash_heap_self), before + s->nr_objects);
	EXPECT(!ash_remote_drain(ash_heap_self));
}

/* Every three in a row, and many. */
TEST(batches_of_every_kind_behind_each_other_come_home)
{
	uint64_t rng = test_seed;

	ash_heap_free(ash_heap_malloc(TINY));
	for (unsigned i = 0; i < KINDS * KINDS * KINDS; i++) {
		sequence.nr = 3;
		sequence.kind[0] = i % KINDS;
		sequence.kind[1] = i / KINDS % KINDS;
		sequence.kind[2] = i / KINDS / KINDS;
		comes_home(&sequence);
		if (i % 16 == 0)
			expect_nothing_left();
	}
	for (unsigned round = 0; round < 40; round++) {
		sequence.nr = 1 + test_random(&rng) % BATCHES;
		for (unsigned b = 0; b < sequence.nr; b++)
			sequence.kind[b] = test_random(&rng) % (round % 2 == 0 ? KINDS : 4);
		comes_home(&sequence);
		expect_nothing_left();
	}
}

/* On the list of a heap that becomes an orphan meanwhile: they go to slabs. */
TEST(an_orphan_has_batches_of_every_kind_back)
{
	uint64_t rng = test_seed;

	ash_heap_free(ash_heap_malloc(TINY));
	for (unsigned round = 0; round < 60; round++) {
		struct ash_heap *h;

		sequence.nr = 1 + test_random(&rng) % BATCHES;
		for (unsigned b = 0; b < sequence.nr; b++)
			sequence.kind[b] = test_random(&rng) % KINDS;
		run_thread(thread_allocates, &sequence);
		h = ash_heap_by_tag(ash_tag_load(ash_frame_index(sequence.object[0][0])));
		EXPECT(h != ash_heap_self);
		atomic_store(&h->state, ASH_HEAP_ACTIVE);
		free_in_batches(&sequence);
		EXPECT_EQ(atomic_load(&h->batches), sequence.nr);
		atomic_store(&h->state, ASH_HEAP_ORPHAN);
		ash_heaps_lock();
		ash_remote_drain_to_slabs(h);
		ash_heaps_unlock();
		EXPECT_EQ(atomic_load(&h->remote), 0);
		expect_nothing_left();
	}
}

/* As when their slabs have found an owner who is none: each is sent to him for itself. */
TEST(what_an_orphan_sends_on_comes_home)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		uint32_t before;

		sequence.nr = 2;
		sequence.kind[0] = kind;
		sequence.kind[1] = KINDS - 1 - kind;
		allocate(&sequence);
		run_thread(thread_frees, &sequence);
		ash_heaps_lock();
		ash_remote_drain_to_slabs(ash_heap_self);
		ash_heaps_unlock();
		before = free_in(ash_heap_self);
		EXPECT_EQ(atomic_load(&ash_heap_self->batches), sequence.nr_objects);
		EXPECT(ash_remote_drain(ash_heap_self));
		EXPECT_EQ(free_in(ash_heap_self), before + sequence.nr_objects);
	}
	expect_nothing_left();
}

/*
 * The tag of a run of 256 frames ends in 0, as that of the smallest class. Each object goes home for itself, in every
 * order.
 */
TEST(a_first_class_heap_has_tiny_objects_and_runs_back)
{
	static const size_t sizes[] = { TINY, 16, 1 << 20 };
	const unsigned cls = ash_class_of(TINY);

	ash_heap_free(ash_heap_malloc(TINY));
	for (unsigned order = 0; order < 81; order++) {
		struct ash_heap *h = ash_heap_new(-1);
		unsigned nr_tiny = 0;
		uint32_t held;
		size_t used;
		void *p[4];

		for (unsigned i = 0, rest = order; i < 4; i++, rest /= 3) {
			p[i] = ash_heap_new_alloc(h, 1, sizes[rest % 3], false);
			nr_tiny += rest % 3 == 0;
		}
		held = ash_bin_held(h, cls);
		for (unsigned i = 0; i < 4; i++)
			ash_heap_free(p[i]);
		used = fake_arena_used_frames();
		EXPECT(ash_remote_drain(h));
		EXPECT_EQ(ash_bin_held(h, cls), held + nr_tiny);
		for (unsigned i = 0, rest = order; i < 4; i++, rest /= 3)
			used -= rest % 3 == 2 ? (1 << 20) >> ASH_PAGE_SHIFT : 0;
		EXPECT_EQ(fake_arena_used_frames(), used);
		ash_heap_new_destroy(h);
	}
	expect_nothing_left();
}

enum { MANY = 6000 };
static void *many[MANY], *own[MANY];

/* Four batches wait for a heap that takes nothing home; then who frees to it keeps what there is room for. */
static void *free_many_and_keep_some(void *arg)
{
	const unsigned cls = ash_class_of(TINY), max = ash_classes[cls].cache_max;
	unsigned nr_own = 0;
	int32_t room;

	/* It allocates of the class, and has nothing in its bin. */
	do
		own[nr_own++] = ash_heap_malloc(TINY);
	while (ash_bin_held(ash_heap_self, cls) > 0);
	room = ash_heap_self->bins.room[cls];
	for (unsigned i = 0; i < MANY; i++)
		ash_heap_free(many[i]);
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), (uint32_t)room - max / 4);
	EXPECT(ash_heap_self->keeps_others);
	for (unsigned i = 0; i < nr_own; i++)
		ash_heap_free(own[i]);
	ash_heap_thread_exit();
	return arg;
}

TEST(who_frees_many_to_a_heap_that_takes_nothing_home_keeps_some)
{
	const unsigned cls = ash_class_of(TINY);
	uint32_t before;

	ash_heap_free(ash_heap_malloc(TINY));
	ash_registry.span_frame_shift = ash_log2_floor(FAKE_FRAMES);
	/* And among others, of which the thread allocates none. */
	for (unsigned other = 0; other < 2; other++) {
		uint32_t nr_tiny = 0;

		for (unsigned i = 0; i < MANY; i++) {
			const bool tiny = other == 0 || i % 100 < 70;

			many[i] = ash_heap_malloc(tiny ? TINY : 16);
			nr_tiny += tiny;
		}
		before = free_of_class(ash_heap_self, cls);
		run_thread(free_many_and_keep_some, NULL);
		EXPECT(ash_remote_drain(ash_heap_self));
		EXPECT_EQ(free_of_class(ash_heap_self, cls), before + nr_tiny);
		expect_nothing_left();
	}
}

/* Of two threads that free to each other and a third, all at once, nothing is lost. */
enum { THREADS = 3, EACH = 3000, ROUNDS = 20 };
static void *shared[THREADS][EACH];
static pthread_barrier_t turn;

static void *free_the_neighbours(void *arg)
{
	const unsigned self = (unsigned)(uintptr_t)arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < EACH; i++) {
			shared[self][i] = ash_heap_malloc(i % 7 == 3 ? 40 : TINY);
			*(uintptr_t *)shared[self][i] = self;
		}
		(void)pthread_barrier_wait(&turn);
		for (unsigned i = 0; i < EACH; i++)
			for (unsigned t = 0; t < THREADS; t++) {
				if (i % THREADS != (t + self) % THREADS)
					continue;
				EXPECT_EQ(*(uintptr_t *)shared[t][i], t);
				ash_heap_free(shared[t][i]);
			}
		(void)pthread_barrier_wait(&turn);
	}
	ash_heap_thread_exit();
	return arg;
}

TEST(threads_free_tiny_objects_to_each_other)
{
	pthread_t t[THREADS];

	EXPECT_EQ(pthread_barrier_init(&turn, NULL, THREADS), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&t[i], NULL, free_the_neighbours, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_join(t[i], NULL), 0);
	EXPECT_EQ(pthread_barrier_destroy(&turn), 0);
	expect_nothing_left();
}

/* A bin with room for so many more than it takes to be full. */
static void fill_bin_but(unsigned room)
{
	const unsigned cls = ash_class_of(TINY);

	for (unsigned i = 0; i < MANY; i++)
		many[i] = ash_heap_malloc(TINY);
	ash_bin_flush(ash_heap_self, cls);
	for (unsigned i = 100; i < 100 + ash_classes[cls].cache_max - room; i++)
		ash_heap_free(many[i]);
}

/* The second free of one makes the bin full, and a ring of nr objects what is to be put aside. */
static void ring_of(unsigned nr)
{
	fill_bin_but(nr);
	for (unsigned i = 0; i <= nr; i++)
		ash_heap_free(many[i % nr]);
}

static void ring_of_two(void)
{
	ring_of(2);
}

static void ring_of_three(void)
{
	ring_of(3);
}

static void ring_of_four(void)
{
	ring_of(4);
}

static void once_too_often(void)
{
	for (unsigned i = 0; i < MANY; i++)
		many[i] = ash_heap_malloc(TINY);
	for (unsigned i = 0; i < MANY; i++)
		ash_heap_free(many[i]);
	ash_heap_free(many[100]);
	ash_heap_trim();
}

/* The full bin is put aside; of what is in it one of the first four is freed again, which makes it the bin's. */
static void freed_again_when_put_aside(unsigned i)
{
	fill_bin_but(0);
	ash_heap_free(many[0]);
	EXPECT_GT(ash_heap_self->depot[ash_class_of(TINY)].nr, 4);
	ash_heap_free(many[100 + ash_classes[ash_class_of(TINY)].cache_max - 1 - i]);
	ash_bin_flush(ash_heap_self, ash_class_of(TINY));
}

static void first_put_aside_freed_again(void)
{
	freed_again_when_put_aside(0);
}

static void fourth_put_aside_freed_again(void)
{
	freed_again_when_put_aside(3);
}

static void written_to_when_put_aside(void)
{
	fill_bin_but(0);
	ash_heap_free(many[0]);
	*(uintptr_t *)many[100 + ash_classes[ash_class_of(TINY)].cache_max - 2] = 0x6b6b6b6b6b6b6b6b;
	for (unsigned i = 0; i < 3; i++)
		many[i] = ash_heap_malloc(TINY);
}

/* Of two that were put aside, the last says a number of objects that it cannot have. */
static void take_so_many(uintptr_t nr)
{
	const unsigned cls = ash_class_of(TINY), max = ash_classes[cls].cache_max, from = 100 + max;
	struct ash_object *fourth;

	fill_bin_but(0);
	ash_heap_free(many[0]);
	for (unsigned i = 0; i < max; i++)
		ash_heap_free(many[from + i]);
	if (ash_heap_self->depot[cls].nr != 2 * max)
		return;
	fourth = many[from + max - 5];
	if (fourth->link >> ASH_LINK_BITS != max)
		return;
	fourth->link = (fourth->link & ASH_LINK_MASK) | nr << ASH_LINK_BITS;
	for (unsigned i = 0; i < 3; i++)
		many[i] = ash_heap_malloc(TINY);
}

static void too_few(void)
{
	take_so_many(3);
}

static void too_many(void)
{
	take_so_many(2 * ash_classes[ash_class_of(TINY)].cache_max + 1);
}

static void as_many_as_there_are(void)
{
	take_so_many(ash_classes[ash_class_of(TINY)].cache_max);
}

TEST(misuse_of_tiny_objects_ends_the_program)
{
	EXPECT(dies(ring_of_two));
	EXPECT(dies(ring_of_three));
	EXPECT(dies(ring_of_four));
	EXPECT(dies(once_too_often));
	EXPECT(dies(first_put_aside_freed_again));
	EXPECT(dies(fourth_put_aside_freed_again));
	EXPECT(dies(written_to_when_put_aside));
	EXPECT(dies(too_few));
	EXPECT(dies(too_many));
	EXPECT(!dies(as_many_as_there_are));
}
