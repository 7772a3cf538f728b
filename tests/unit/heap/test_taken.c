/* SPDX-License-Identifier: MIT */
/* Slabs that change their owner, and objects that somebody else than their owner caches. */
#include "harness/test.h"

#include <pthread.h>

#include "borrow_no_more.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"

#define SIZE 448
#define NR 4000
#define KEEP_EVERY 8

static unsigned char *blocks[NR], *more[NR];

static void *allocate_all(void *arg)
{
	borrow_no_more();
	for (unsigned i = 0; i < NR; i++) {
		blocks[i] = ash_heap_malloc(SIZE);
		memset(blocks[i], (int)(i % 251), SIZE);
	}
	return arg;
}

/* A thread's life: of what it allocates some survives it. */
static void *leave_some(void *arg)
{
	(void)allocate_all(NULL);
	for (unsigned i = 0; i < NR; i++)
		if (i % KEEP_EVERY != 0)
			ash_heap_free(blocks[i]);
	ash_heap_thread_exit();
	return arg;
}

static void run_thread(void *(*fn)(void *))
{
	pthread_t t;

	EXPECT_EQ(pthread_create(&t, NULL, fn, NULL), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

static struct ash_heap *owner_of(const void *p)
{
	return ash_heap_by_tag(ash_tag_load(ash_frame_index(p)));
}

static void verify_survivors(void)
{
	for (unsigned i = 0; i < NR; i += KEEP_EVERY)
		for (unsigned j = 0; j < SIZE; j++)
			EXPECT_EQ(blocks[i][j], i % 251);
}

/* The calling thread has a heap, and the class's slabs of the last thread become its own. */
static void take_all(void)
{
	borrow_no_more();
	for (unsigned i = 0; i < NR - NR / KEEP_EVERY; i++) {
		more[i] = ash_heap_malloc(SIZE);
		memset(more[i], 0xee, SIZE);
	}
}

static void free_survivors(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i += KEEP_EVERY)
		ash_heap_free(blocks[i]);
}

static void free_taken(void)
{
	for (unsigned i = 0; i < NR - NR / KEEP_EVERY; i++)
		ash_heap_free(more[i]);
}

TEST(who_needs_a_slab_takes_what_an_ended_thread_has_partly_used)
{
	size_t used;

	ash_heap_free(ash_heap_malloc(16));
	run_thread(leave_some);
	used = fake_arena_used_frames();
	take_all();
	EXPECT_LE(fake_arena_used_frames(), used + 16);
	verify_survivors();
	for (unsigned i = 0; i < NR; i += KEEP_EVERY)
		EXPECT(owner_of(blocks[i]) == ash_heap_self);
	free_survivors(0, NR);
	free_taken();
	expect_nothing_left();
}

TEST(a_slab_with_little_room_is_left_where_it_is)
{
	void *p;

	ash_heap_free(ash_heap_malloc(16));
	run_thread(allocate_all);
	ash_heap_free(blocks[0]);
	ash_heap_flush_thread();
	p = ash_heap_malloc(SIZE);
	EXPECT(owner_of(p) == ash_heap_self);
	EXPECT(owner_of(blocks[0]) != ash_heap_self);
	ash_heap_free(p);
	for (unsigned i = 1; i < NR; i++)
		ash_heap_free(blocks[i]);
	expect_nothing_left();
}

TEST(first_class_heaps_take_nothing)
{
	struct ash_heap *h;
	void *p;

	run_thread(leave_some);
	h = ash_heap_new(ASH_NODE_CURRENT);
	p = ash_heap_alloc_from(h, 1, SIZE, false);
	EXPECT(owner_of(p) == h);
	for (unsigned i = 0; i < NR; i += KEEP_EVERY)
		EXPECT(owner_of(blocks[i]) != h);
	ash_heap_new_destroy(h);
	free_survivors(0, NR);
	expect_nothing_left();
}

/* A thread that takes a step whenever it is told to, and tells when it has. */
struct stepper {
	pthread_t thread;
	pthread_barrier_t barrier;
};

static struct stepper frees, adopts;

static void meet(struct stepper *s)
{
	(void)pthread_barrier_wait(&s->barrier);
}

static void step(struct stepper *s)
{
	meet(s);
	meet(s);
}

static void start(struct stepper *s, void *(*fn)(void *))
{
	EXPECT_EQ(pthread_barrier_init(&s->barrier, NULL, 2), 0);
	EXPECT_EQ(pthread_create(&s->thread, NULL, fn, NULL), 0);
	meet(s);
}

static void finish(struct stepper *s)
{
	meet(s);
	EXPECT_EQ(pthread_join(s->thread, NULL), 0);
	EXPECT_EQ(pthread_barrier_destroy(&s->barrier), 0);
}

enum { UNDERWAY = 8 * KEEP_EVERY };

/* Has a heap; frees a few survivors, too few to be sent; ends, which sends them. */
static void *free_across(void *arg)
{
	ash_heap_free(ash_heap_malloc(16));
	meet(&frees);
	meet(&frees);
	free_survivors(0, UNDERWAY);
	meet(&frees);
	meet(&frees);
	ash_heap_thread_exit();
	return arg;
}

/* Has the heap of the thread that ended; takes home what is of it. */
static void *adopt(void *arg)
{
	ash_heap_free(ash_heap_malloc(16));
	meet(&adopts);
	meet(&adopts);
	EXPECT(ash_remote_drain(ash_heap_self));
	ash_heap_thread_exit();
	return arg;
}

static void slabs_taken_while_objects_are_underway(bool adopted)
{
	struct ash_heap *old;

	ash_heap_free(ash_heap_malloc(16));
	start(&frees, free_across);
	run_thread(leave_some);
	old = owner_of(blocks[0]);
	step(&frees);
	take_all();
	for (unsigned i = 0; i < NR; i += KEEP_EVERY)
		EXPECT(owner_of(blocks[i]) == ash_heap_self);
	if (adopted)
		start(&adopts, adopt);
	EXPECT_EQ(atomic_load(&old->state), adopted ? ASH_HEAP_ACTIVE : ASH_HEAP_ORPHAN);
	finish(&frees);
	if (adopted)
		finish(&adopts);
	EXPECT(ash_remote_drain(ash_heap_self));
	free_survivors(UNDERWAY, NR);
	free_taken();
	expect_nothing_left();
}

TEST(what_is_underway_to_an_orphan_is_sent_on_to_who_took_its_slab)
{
	slabs_taken_while_objects_are_underway(false);
}

TEST(what_is_underway_to_an_adopted_heap_is_sent_on_to_who_took_its_slab)
{
	slabs_taken_while_objects_are_underway(true);
}

/* The fake arena's frames are all of one span. */
static void allocate_in_one_span(void)
{
	ash_heap_free(ash_heap_malloc(16));
	ash_registry.span_frame_shift = ash_log2_floor(FAKE_FRAMES);
	(void)allocate_all(NULL);
}

/* The thread allocates of the class, and has nothing in its bin. */
static void *own[NR];
static unsigned allocate_own(void)
{
	const unsigned cls = ash_class_of(SIZE);
	unsigned nr = 0;

	do
		own[nr++] = ash_heap_malloc(SIZE);
	while (ash_bin_held(ash_heap_self, cls) > 0);
	return nr;
}

static void free_own(unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		ash_heap_free(own[i]);
}

/* All it frees is of another heap, whose thread does not look meanwhile. */
static void *free_and_allocate(void *arg)
{
	struct ash_heap *other = owner_of(blocks[0]);
	const unsigned nr_own = allocate_own();
	unsigned kept = 0;

	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(blocks[i]);
	for (unsigned i = 0; i < ash_classes[ash_class_of(SIZE)].cache_max / 2u; i++) {
		more[i] = ash_heap_malloc(SIZE);
		kept += owner_of(more[i]) == other;
	}
	EXPECT_GT(kept, 0);
	for (unsigned i = 0; i < ash_classes[ash_class_of(SIZE)].cache_max / 2u; i++)
		ash_heap_free(more[i]);
	free_own(nr_own);
	ash_heap_thread_exit();
	return arg;
}

TEST(who_frees_to_a_heap_that_takes_nothing_home_keeps_some)
{
	allocate_in_one_span();
	run_thread(free_and_allocate);
	EXPECT(ash_remote_drain(ash_heap_self));
	expect_nothing_left();
}

/*
 * Of what it frees to a heap whose thread takes nothing home four batches wait; then an object goes into the bin at
 * once, until three quarters are filled, and what is left is sent.
 */
static void *fill_its_bin(void *arg)
{
	const unsigned cls = ash_class_of(SIZE), max = ash_classes[cls].cache_max, batch = ASH_OUTBOX_BYTES / SIZE;
	const unsigned nr_own = allocate_own();
	struct ash_heap *other = owner_of(blocks[0]), *self = ash_heap_self;
	unsigned i = 0;

	/* The first of each batch sends the one before. */
	while (i < 4 * batch + 1)
		ash_heap_free(blocks[i++]);
	EXPECT_EQ(atomic_load(&other->batches), 4);
	EXPECT_EQ(ash_bin_held(self, cls), 0);
	ash_heap_free(blocks[i]);
	EXPECT_EQ(ash_bin_held(self, cls), 1);
	EXPECT_EQ(ash_heap_malloc(SIZE), blocks[i]);
	while (ash_bin_held(self, cls) < max - max / 4) {
		ash_heap_free(blocks[i++]);
		EXPECT_LT(i, 5 * batch + max);
	}
	EXPECT_EQ(atomic_load(&other->batches), 4);
	while (i < NR)
		ash_heap_free(blocks[i++]);
	EXPECT_EQ(ash_bin_held(self, cls), max - max / 4);
	EXPECT_EQ(atomic_load(&other->batches), (NR - (max - max / 4) - 1) / batch);
	free_own(nr_own);
	ash_heap_thread_exit();
	return arg;
}

TEST(four_batches_wait_before_three_quarters_of_a_bin_are_kept)
{
	allocate_in_one_span();
	run_thread(fill_its_bin);
	EXPECT(ash_remote_drain(ash_heap_self));
	expect_nothing_left();
}

/* Whether an object is kept, which is then the next that malloc returns. */
static bool is_kept(void *p)
{
	ash_heap_free(p);
	if (ash_bin_held(ash_heap_self, ash_class_of(SIZE)) == 0)
		return false;
	EXPECT_EQ(ash_heap_malloc(SIZE), p);
	return true;
}

/* As many as an outbox holds are kept before it is looked again whether batches still wait. */
static void *free_one_again_and_again(void *arg)
{
	const unsigned batch = ASH_OUTBOX_BYTES / SIZE, nr_own = allocate_own();
	struct ash_heap *other = owner_of(blocks[0]);
	unsigned i = 0;

	while (i < 4 * batch + 1)
		ash_heap_free(blocks[i++]);
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned kept = 0; kept < ASH_OUTBOX_COUNT; kept++)
			EXPECT(is_kept(blocks[i]));
		if (turn == 1)
			atomic_store(&other->batches, 0);
		EXPECT(!is_kept(blocks[i++]));
	}
	EXPECT(!is_kept(blocks[i++]));
	while (i < NR)
		ash_heap_free(blocks[i++]);
	free_own(nr_own);
	ash_heap_thread_exit();
	return arg;
}

TEST(whose_batches_are_gone_is_sent_to_again)
{
	allocate_in_one_span();
	run_thread(free_one_again_and_again);
	EXPECT(ash_remote_drain(ash_heap_self));
	expect_nothing_left();
}

/* What it allocates is of another class; or was of this one, and its bin has been emptied since. */
static void *free_all_that_others_own(void *allocated_before)
{
	const unsigned cls = ash_class_of(SIZE), batch = ASH_OUTBOX_BYTES / SIZE;
	struct ash_heap *other = owner_of(blocks[0]);

	ash_heap_free(ash_heap_malloc(16));
	if (allocated_before != NULL) {
		free_own(allocate_own());
		ash_heap_flush_thread();
	}
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(blocks[i]);
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), 0);
	EXPECT_EQ(atomic_load(&other->batches), (NR - 1) / batch);
	EXPECT(!ash_heap_self->keeps_others);
	ash_heap_thread_exit();
	return NULL;
}

static void who_only_frees_keeps_nothing(bool allocated_before)
{
	static int yes;
	pthread_t t;

	allocate_in_one_span();
	EXPECT_EQ(pthread_create(&t, NULL, free_all_that_others_own, allocated_before ? &yes : NULL), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	EXPECT(ash_remote_drain(ash_heap_self));
	expect_nothing_left();
}

TEST(who_allocates_nothing_of_a_class_keeps_nothing_of_it)
{
	who_only_frees_keeps_nothing(false);
}

TEST(who_has_allocated_nothing_since_a_bin_was_emptied_keeps_nothing_in_it)
{
	who_only_frees_keeps_nothing(true);
}

/* Kept objects are given back one slab's after the other, and an emptied bin holds none. */
static void *free_and_flush(void *arg)
{
	const unsigned cls = ash_class_of(SIZE), nr_own = allocate_own();

	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(blocks[i]);
	EXPECT_GT(ash_bin_held(ash_heap_self, cls), 0);
	free_own(nr_own);
	ash_heap_flush_thread();
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), 0);
	return arg;
}

TEST(what_was_kept_goes_home_when_a_bin_is_emptied)
{
	allocate_in_one_span();
	run_thread(free_and_flush);
	EXPECT(ash_remote_drain(ash_heap_self));
	expect_nothing_left();
}
