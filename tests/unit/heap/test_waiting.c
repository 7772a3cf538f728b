/* SPDX-License-Identifier: MIT */
/* What others have freed to a heap whose thread does not look, used by who needs memory meanwhile. */
#include "harness/test.h"

#include <pthread.h>
#include <stdlib.h>

#include "borrow_no_more.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"
#include "run_thread.h"

#define NR 1500
#define SIZE 1536
#define SLAB_FRAMES 16

static unsigned char *theirs[NR], *ours[NR];

/* NULL: nobody's, as a large run is. */
static struct ash_heap *owner_of(const void *p)
{
	const uint32_t tag = ash_tag_load(ash_frame_index(p));

	return (tag & ASH_TAG_LARGE) == 0 ? ash_heap_by_tag(tag) : NULL;
}

static void allocate(unsigned char **blocks, unsigned nr, size_t size)
{
	for (unsigned i = 0; i < nr; i++) {
		blocks[i] = ash_heap_malloc(size);
		EXPECT(blocks[i] != NULL);
		memset(blocks[i], (int)(i % 251), size);
	}
}

static void free_all(unsigned char **blocks, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		ash_heap_free(blocks[i]);
}

static void expect_kept(unsigned char **blocks, unsigned nr, size_t size)
{
	for (unsigned i = 0; i < nr; i++)
		for (size_t j = 0; j < size; j++)
			EXPECT_EQ(blocks[i][j], i % 251);
}

static unsigned owned_by(const struct ash_heap *h, unsigned char **blocks, unsigned nr)
{
	unsigned owned = 0;

	for (unsigned i = 0; i < nr; i++)
		owned += owner_of(blocks[i]) == h;
	return owned;
}

/* The calling thread's heap, near to which all is that the fake arena has. */
static struct ash_heap *begin(void)
{
	borrow_no_more();
	ash_registry.span_frame_shift = ash_log2_floor(FAKE_FRAMES);
	return ash_heap_self;
}

/* A thread does as it likes with nr blocks of this one's. All of them are home in the end. */
static void lend(unsigned nr, size_t size, void *(*fn)(void *owner))
{
	struct ash_heap *h = begin();

	allocate(theirs, nr, size);
	run_thread(fn, h);
	EXPECT(ash_remote_drain(h));
	expect_nothing_left();
}

/* So the thread has use for the class. */
static void use(size_t size)
{
	ash_heap_free(ash_heap_malloc(size));
}

static void *free_and_allocate_as_much(void *owner)
{
	size_t used;

	(void)begin();
	use(SIZE);
	used = fake_arena_used_frames();
	free_all(theirs, NR);
	allocate(ours, NR, SIZE);
	EXPECT_LE(fake_arena_used_frames(), used + 4 * SLAB_FRAMES);
	EXPECT_GT(owned_by(owner, ours, NR), NR / 2);
	expect_kept(ours, NR, SIZE);
	free_all(ours, NR);
	ash_heap_thread_exit();
	return NULL;
}

TEST(who_needs_a_slab_uses_what_waits_elsewhere)
{
	lend(NR, SIZE, free_and_allocate_as_much);
}

/* Takes all that waits, and uses some. */
static void *free_and_use_a_few(void *owner)
{
	unsigned nr;

	(void)begin();
	use(SIZE);
	free_all(theirs, NR);
	/* What it has kept of what it freed, and a slab of its own, first. */
	for (nr = 0; atomic_load(&ash_heap_self->spare) == 0; nr++) {
		EXPECT_LT(nr, NR);
		ours[nr] = ash_heap_malloc(SIZE);
	}
	EXPECT_EQ(atomic_load(&((struct ash_heap *)owner)->batches), 0);
	free_all(ours, nr);
	return owner;
}

static void *free_use_and_end(void *owner)
{
	(void)free_and_use_a_few(owner);
	ash_heap_thread_exit();
	return owner;
}

static void *free_use_and_flush(void *owner)
{
	(void)free_and_use_a_few(owner);
	ash_heap_flush_thread();
	EXPECT_EQ(atomic_load(&ash_heap_self->spare), 0);
	return owner;
}

TEST(what_was_not_used_goes_home_when_its_thread_ends)
{
	lend(NR, SIZE, free_use_and_end);
}

TEST(what_was_not_used_goes_home_with_a_flush)
{
	lend(NR, SIZE, free_use_and_flush);
}

static pthread_barrier_t barrier;

static void *free_use_and_wait(void *owner)
{
	(void)free_and_use_a_few(owner);
	(void)pthread_barrier_wait(&barrier);
	(void)pthread_barrier_wait(&barrier);
	EXPECT_EQ(atomic_load(&ash_heap_self->spare), 0);
	ash_heap_thread_exit();
	return owner;
}

/* The owner's own objects, which it has no other. */
TEST(what_was_not_used_is_there_for_its_owner)
{
	struct ash_heap *h = begin();
	pthread_t t;
	size_t used;

	allocate(theirs, NR, SIZE);
	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
	EXPECT_EQ(pthread_create(&t, NULL, free_use_and_wait, h), 0);
	(void)pthread_barrier_wait(&barrier);
	used = fake_arena_used_frames();
	allocate(theirs, NR / 2, SIZE);
	EXPECT_LE(fake_arena_used_frames(), used);
	expect_kept(theirs, NR / 2, SIZE);
	EXPECT_EQ(owned_by(h, theirs, NR / 2), NR / 2);
	free_all(theirs, NR / 2);
	/* The rest goes on its way home before the other thread ends. */
	ash_heap_flush_thread();
	(void)pthread_barrier_wait(&barrier);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	(void)ash_remote_drain(h);
	expect_nothing_left();
}

static unsigned char *many[3 * ASH_REMOTE_SOME];

static void *free_many(void *unused)
{
	free_all(many, ASH_ARRAY_LEN(many));
	ash_heap_thread_exit();
	return unused;
}

static void *allocate_with_little_of_its_own(void *owner)
{
	(void)begin();
	allocate(ours, NR, SIZE);
	EXPECT_GT(owned_by(owner, ours, NR), NR / 2);
	expect_kept(ours, NR, SIZE);
	free_all(ours, NR);
	ash_heap_thread_exit();
	return owner;
}

/* An owner takes all that waits at once and walks a part of it. */
TEST(what_an_owner_has_taken_and_not_walked_is_used_too)
{
	struct ash_heap *h = begin();

	allocate(many, ASH_ARRAY_LEN(many), SIZE);
	run_thread(free_many, NULL);
	EXPECT(ash_remote_drain_some(h));
	EXPECT_EQ(atomic_load(&h->remote), 0);
	EXPECT(atomic_load(&h->home) != 0);
	run_thread(allocate_with_little_of_its_own, h);
	EXPECT_EQ(atomic_load(&h->home), 0);
	EXPECT(ash_remote_drain(h));
	expect_nothing_left();
}

#define LARGER 7168
#define NR_LARGER 300

/* Of what it allocates nothing waits, but what is larger by a ninth. */
static void *free_larger_ones(void *owner)
{
	const size_t size = 6400;

	(void)begin();
	use(LARGER);
	free_all(theirs, NR_LARGER);
	allocate(ours, NR_LARGER, size);
	EXPECT_GT(owned_by(owner, ours, NR_LARGER), NR_LARGER / 2);
	expect_kept(ours, NR_LARGER, size);
	free_all(ours, NR_LARGER);
	ash_heap_thread_exit();
	return NULL;
}

TEST(a_larger_object_does_where_none_of_the_class_waits)
{
	lend(NR_LARGER, LARGER, free_larger_ones);
}

/* Large enough would be what waits, but it does not lie on multiples of 2048 or 4096. */
static void *free_unaligned_ones(void *owner)
{
	static const size_t align[] = { 2048, 4096 };

	(void)begin();
	use(2560);
	use(4608);
	free_all(theirs, NR_LARGER);
	for (unsigned i = 0; i < NR_LARGER; i++) {
		ours[i] = ash_heap_aligned(align[i % 2], align[i % 2]);
		EXPECT_EQ((uintptr_t)ours[i] % align[i % 2], 0);
	}
	free_all(ours, NR_LARGER);
	ash_heap_thread_exit();
	return owner;
}

TEST(a_larger_object_is_as_aligned)
{
	struct ash_heap *h = begin();

	for (unsigned i = 0; i < NR_LARGER; i++)
		theirs[i] = ash_heap_malloc(i % 2 == 0 ? 2560 : 4608);
	run_thread(free_unaligned_ones, h);
	EXPECT(ash_remote_drain(h));
	expect_nothing_left();
}

static void *free_what_is_far(void *owner)
{
	(void)begin();
	ash_registry.span_frame_shift = ASH_SLAB_MIN_ORDER;
	use(SIZE);
	free_all(theirs, NR);
	allocate(ours, NR, SIZE);
	EXPECT_EQ(owned_by(owner, ours, NR), 0);
	free_all(ours, NR);
	ash_heap_thread_exit();
	return NULL;
}

TEST(what_waits_on_another_node_is_left_there)
{
	struct ash_heap *h = begin();
	/* With a span for each slab the first of them are of the node that the fake arena's zonelist names. */
	void *first_spans = ash_heap_malloc(ASH_ARENA_KINDS * 65536 * 2);

	allocate(theirs, NR, SIZE);
	run_thread(free_what_is_far, h);
	EXPECT(ash_remote_drain(h));
	ash_heap_free(first_spans);
	expect_nothing_left();
}

static struct ash_heap *first_class;

static void *free_to_a_first_class_heap(void *owner)
{
	(void)begin();
	use(SIZE);
	free_all(theirs, NR);
	allocate(ours, NR, SIZE);
	EXPECT_EQ(owned_by(first_class, ours, NR), 0);
	free_all(ours, NR);
	ash_heap_thread_exit();
	return owner;
}

TEST(what_waits_at_a_first_class_heap_is_left_there)
{
	(void)begin();
	first_class = ash_heap_new(ASH_NODE_CURRENT);
	for (unsigned i = 0; i < NR; i++)
		theirs[i] = ash_heap_alloc_from(first_class, 1, SIZE, false);
	run_thread(free_to_a_first_class_heap, NULL);
	ash_heap_new_destroy(first_class);
	expect_nothing_left();
}

#define CARE ((size_t)16) /* bytes that are written to in each of any size */

static size_t mixed_size(unsigned i)
{
	uint64_t seed = test_seed + i;

	return ash_classes[test_random(&seed) % (1 + test_random(&seed) % ASH_NR_CLASSES)].size;
}

static void allocate_mixed(unsigned char **blocks)
{
	for (unsigned i = 0; i < NR; i++) {
		blocks[i] = ash_heap_malloc(mixed_size(i));
		memset(blocks[i], (int)(i % 251), ash_min(mixed_size(i), CARE));
	}
}

static void expect_mixed(unsigned char **blocks)
{
	for (unsigned i = 0; i < NR; i++)
		for (size_t j = 0; j < ash_min(mixed_size(i), CARE); j++)
			EXPECT_EQ(blocks[i][j], i % 251);
}

static void *free_and_allocate_mixed(void *owner)
{
	(void)begin();
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		use(ash_classes[cls].size);
	for (unsigned round = 0; round < 4; round++) {
		free_all(round == 0 ? theirs : ours, NR);
		allocate_mixed(ours);
		expect_mixed(ours);
	}
	EXPECT_GT(owned_by(owner, ours, NR), 0);
	free_all(ours, NR);
	ash_heap_thread_exit();
	return NULL;
}

TEST(of_all_classes_each_object_is_used_once)
{
	struct ash_heap *h = begin();

	allocate_mixed(theirs);
	run_thread(free_and_allocate_mixed, h);
	EXPECT(ash_remote_drain(h));
	expect_nothing_left();
}
