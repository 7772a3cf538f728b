/* SPDX-License-Identifier: MIT */
/* The heap over the fake arena: contents, ownership, all-or-nothing failures, threads, first-class heaps. */
#include "harness/test.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "dies.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "run_thread.h"

#define LIVE 2000

struct shadow {
	unsigned char *p;
	size_t size;
	unsigned char fill;
};

static void shadow_fill(const struct shadow *s)
{
	memset(s->p, s->fill, s->size);
}

static void shadow_verify(const struct shadow *s, size_t size)
{
	/* Ends and a sample: a full compare of large blocks would be most of the test's time. */
	for (size_t i = 0; i < size; i += i < 64 || i + 64 > size ? 1 : 61)
		if (s->p[i] != s->fill)
			TEST_FAIL("byte %zu of %zu at %p is %#x, not %#x", i, s->size, (void *)s->p, s->p[i], s->fill);
}

static size_t random_size(uint64_t *rng)
{
	const uint64_t r = test_random(rng), pick = r % 100, n = r >> 8;

	if (pick < 60)
		return n % 256;
	if (pick < 85)
		return n % 2048;
	if (pick < 95)
		return n % 20000;
	return pick < 99 ? n % 100000 : n % 600000;
}

static void random_allocate(struct shadow *s, uint64_t *rng)
{
	const unsigned how = test_random(rng) % 8;
	const size_t align = (size_t)16 << test_random(rng) % 10;

	s->size = random_size(rng);
	s->fill = (unsigned char)test_random(rng);
	if (how == 0) {
		s->p = ash_heap_calloc(1, s->size);
		EXPECT(s->p != NULL);
		for (size_t i = 0; i < s->size; i++)
			EXPECT_EQ(s->p[i], 0);
	} else if (how == 1) {
		s->p = ash_heap_aligned(align, s->size);
		EXPECT_EQ((uintptr_t)s->p % align, 0);
	} else {
		s->p = ash_heap_malloc(s->size);
	}
	EXPECT(s->p != NULL);
	EXPECT_EQ((uintptr_t)s->p % (s->size > 8 ? 16 : 8), 0);
	EXPECT_GE(ash_heap_usable(s->p), s->size);
	shadow_fill(s);
}

static void random_step(struct shadow *s, uint64_t *rng)
{
	if (s->p == NULL) {
		random_allocate(s, rng);
	} else if (test_random(rng) % 4 == 0) {
		const size_t size = random_size(rng) + 1;
		unsigned char *p = ash_heap_realloc(s->p, size);

		EXPECT(p != NULL);
		s->p = p;
		shadow_verify(s, size < s->size ? size : s->size);
		s->size = size;
		shadow_fill(s);
	} else {
		shadow_verify(s, s->size);
		ash_heap_free(s->p);
		s->p = NULL;
	}
}

TEST(the_arenas_know_of_a_second_heap)
{
	struct ash_heap_stats s;

	/* In whatever order tests run: so far there may have been one heap, or more. */
	ash_heap_free(ash_heap_malloc(1));
	ash_heap_stats(&s);
	EXPECT_EQ(fake_arena_is_shared(), s.heaps > 1);
	ash_heap_new_destroy(ash_heap_new(-1));
	EXPECT(fake_arena_is_shared());
}

TEST(a_heap_too_many_costs_no_metadata)
{
	struct ash_heap *h, *left, *more[2];
	const uint32_t max = ash_heaps.max;
	unsigned before;

	ash_heap_new_destroy(ash_heap_new(-1));
	left = ash_heaps.free;
	ash_heaps.free = NULL;
	h = ash_heap_new(-1);
	EXPECT(h != NULL);
	ash_heaps.max = ash_heaps.nr + 1;
	before = fake_arena_meta_allocs();
	more[0] = ash_heap_new(-1);
	more[1] = ash_heap_new(-1);
	ash_heaps.max = max;
	EXPECT(more[0] == NULL && more[1] == NULL);
	EXPECT_EQ(fake_arena_meta_allocs(), before);
	/* A structure that somebody has left is there for the next. */
	ash_heap_new_destroy(h);
	ash_heaps.max = ash_heaps.nr + 1;
	more[0] = ash_heap_new(-1);
	ash_heaps.max = max;
	EXPECT(more[0] == h);
	ash_heap_new_destroy(h);
	h->orphan_next = left;
}

TEST(the_arenas_are_told_of_long_runs_that_are_to_be_zero)
{
	const size_t pageblock = ASH_PAGEBLOCK_BYTES;
	struct ash_heap *h = ash_heap_new(-1);
	void *p;

	(void)fake_arena_was_zeroed();
	ash_heap_free(ash_heap_calloc(1, pageblock - ASH_PAGE_SIZE));
	ash_heap_free(ash_heap_malloc(pageblock));
	ash_heap_free(ash_heap_aligned(4096, pageblock));
	/* Nor where what is there is taken along. */
	p = ash_heap_realloc(ash_heap_malloc(pageblock), 3 * pageblock);
	ash_heap_free(ash_heap_realloc(p, 9 * pageblock));
	EXPECT(!fake_arena_was_zeroed());
	ash_heap_free(ash_heap_calloc(1, pageblock - ASH_PAGE_SIZE + 1));
	EXPECT(fake_arena_was_zeroed());
	ash_heap_free(ash_heap_alloc_from(h, 1, pageblock, true));
	EXPECT(fake_arena_was_zeroed());
	ash_heap_new_destroy(h);
}

TEST(blocks_never_overlap_and_keep_their_contents)
{
	static struct shadow live[LIVE];
	uint64_t rng = test_seed;

	for (unsigned i = 0; i < 400000; i++)
		random_step(&live[test_random(&rng) % LIVE], &rng);
	for (unsigned i = 0; i < LIVE; i++) {
		if (live[i].p == NULL)
			continue;
		shadow_verify(&live[i], live[i].size);
		ash_heap_free(live[i].p);
	}
	ash_heap_trim();
	EXPECT_EQ(fake_arena_faults(), 0);
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(shadow_verify_notices_a_changed_byte)
{
	unsigned char block[32] = { 0 };
	struct shadow s = { block, sizeof(block), 0 };
	jmp_buf saved;

	block[7] = 1;
	memcpy(saved, test_abort, sizeof(saved));
	if (setjmp(test_abort) == 0) {
		shadow_verify(&s, s.size);
		memcpy(test_abort, saved, sizeof(saved));
		TEST_FAIL("a changed byte went unnoticed");
	}
	memcpy(test_abort, saved, sizeof(saved));
}

TEST(a_failed_allocation_changes_nothing)
{
	unsigned char *keep = ash_heap_malloc(200000);

	memset(keep, 0x5a, 200000);
	ash_heap_trim();
	const size_t before = fake_arena_used_frames();

	fake_arena_fail_at(1);
	errno = 0;
	EXPECT(ash_heap_malloc(300000) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_heap_realloc(keep, 4000000) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_heap_aligned(1 << 20, 100) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_heap_calloc(1000, 1000) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	/* Small requests fail once what is cached is used up, and not before. */
	unsigned got = 0;
	while (ash_heap_malloc(48) != NULL && got < 1000000)
		got++;
	EXPECT_EQ(errno, ENOMEM);
	fake_arena_fail_at(0);
	EXPECT_EQ(fake_arena_used_frames(), before);
	for (size_t i = 0; i < 200000; i++)
		EXPECT_EQ(keep[i], 0x5a);
	ash_heap_free(keep);
}

TEST(shrinking_needs_no_memory)
{
	unsigned char *large = ash_heap_malloc(200000), *small = ash_heap_malloc(1000);

	memset(large, 0x5a, 200000);
	memset(small, 0x5b, 1000);
	fake_arena_fail_at(1);
	while (ash_heap_malloc(16) != NULL)
		;
	while (ash_heap_malloc(48) != NULL)
		;
	errno = 0;
	EXPECT(ash_heap_realloc(large, 16) == large);
	EXPECT(ash_heap_realloc(small, 48) == small);
	EXPECT_EQ(errno, 0);
	fake_arena_fail_at(0);
	for (unsigned i = 0; i < 48; i++)
		EXPECT(small[i] == 0x5b && large[i % 16] == 0x5a);
	ash_heap_free(large);
	ash_heap_free(small);
}

TEST(impossible_requests_fail_with_enomem)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX,
					(size_t)1 << 46 };
	void *p = ash_heap_malloc(100);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		errno = 0;
		EXPECT(ash_heap_malloc(sizes[i]) == NULL && errno == ENOMEM);
		errno = 0;
		EXPECT(ash_heap_calloc(1, sizes[i]) == NULL && errno == ENOMEM);
		errno = 0;
		EXPECT(ash_heap_realloc(p, sizes[i]) == NULL && errno == ENOMEM);
		errno = 0;
		EXPECT(ash_heap_aligned(64, sizes[i]) == NULL && errno == ENOMEM);
	}
	errno = 0;
	EXPECT(ash_heap_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
	ash_heap_free(p);
}

TEST(realloc_of_a_large_block_grows_in_place_when_it_can)
{
	unsigned char *p = ash_heap_malloc(1 << 20);

	memset(p, 7, 1 << 20);
	EXPECT(ash_heap_realloc(p, 3 << 20) == p);
	EXPECT_EQ(p[(1 << 20) - 1], 7);
	EXPECT(ash_heap_realloc(p, 1 << 20) == p);
	ash_heap_free(p);
}

static unsigned char page_mark(size_t i)
{
	return (unsigned char)(1 + i / 4096 % 251);
}

/* With a neighbour behind it the block has to move. */
static void grows_by_moving(size_t size, size_t new_size)
{
	unsigned char *p = ash_heap_malloc(size), *neighbour = ash_heap_malloc(100000), *q;

	EXPECT(p != NULL && neighbour != NULL);
	for (size_t i = 0; i < size; i++)
		p[i] = page_mark(i);
	q = ash_heap_realloc(p, new_size);
	EXPECT(q != NULL && q != p);
	for (size_t i = 0; i < size; i++)
		EXPECT_EQ(q[i], page_mark(i));
	EXPECT_GE(ash_heap_usable(q), new_size);
	ash_heap_free(q);
	ash_heap_free(neighbour);
}

TEST(a_large_block_that_moves_takes_its_contents_along)
{
	size_t before;

	ash_heap_flush_thread();
	before = fake_arena_used_frames();
	grows_by_moving(2 << 20, 5 << 20);
	grows_by_moving((6 << 20) + 5000, (6 << 20) + 70000);
	grows_by_moving((2 << 20) - 4096, 9 << 20);
	ash_heap_flush_thread();
	EXPECT_EQ(fake_arena_used_frames(), before);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(a_large_block_that_cannot_move_stays)
{
	unsigned char *p = ash_heap_malloc(4 << 20), *neighbour = ash_heap_malloc(100000);

	memset(p, 9, 4 << 20);
	fake_arena_fail_at(1);
	errno = 0;
	EXPECT(ash_heap_realloc(p, 9 << 20) == NULL && errno == ENOMEM);
	fake_arena_fail_at(0);
	for (size_t i = 0; i < 4 << 20; i += 4096)
		EXPECT_EQ(p[i], 9);
	ash_heap_free(p);
	ash_heap_free(neighbour);
}

TEST(large_zeroed_blocks_are_zero_whatever_frames_they_get)
{
	unsigned char *p = ash_heap_malloc(5 << 20);

	memset(p, 1, 5 << 20);
	ash_heap_free(p);
	for (unsigned round = 0; round < 3; round++) {
		p = ash_heap_calloc(1, 5 << 20);
		for (size_t i = 0; i < 5 << 20; i++)
			EXPECT_EQ(p[i], 0);
		ash_heap_free(p);
	}
}

TEST(realloc_to_zero_frees_and_realloc_of_null_allocates)
{
	void *p = ash_heap_realloc(NULL, 10);

	EXPECT(p != NULL);
	EXPECT(ash_heap_realloc(p, 0) == NULL);
}

struct hand_over {
	void **blocks;
	unsigned nr;
	size_t size;
};

static void *thread_frees(void *arg)
{
	struct hand_over *h = arg;

	for (unsigned i = 0; i < h->nr; i++)
		ash_heap_free(h->blocks[i]);
	ash_heap_thread_exit();
	return NULL;
}

static void *thread_allocates(void *arg)
{
	struct hand_over *h = arg;

	for (unsigned i = 0; i < h->nr; i++) {
		h->blocks[i] = ash_heap_malloc(h->size);
		memset(h->blocks[i], 1, h->size);
	}
	ash_heap_thread_exit();
	return NULL;
}

TEST(objects_freed_by_another_thread_come_home)
{
	static void *blocks[5000];
	struct hand_over h = { blocks, 5000, 100 };

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < h.nr; i++)
			blocks[i] = ash_heap_malloc(h.size);
		run_thread(thread_frees, &h);
	}
	/* One round's worth and its slack, not twenty. */
	EXPECT_LT(fake_arena_used_frames(), 4 * 5000 * 112 / 4096);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(objects_of_an_ended_thread_can_be_freed)
{
	static void *blocks[5000];
	struct hand_over h = { blocks, 5000, 500 };

	run_thread(thread_allocates, &h);
	for (unsigned i = 0; i < h.nr; i++)
		ash_heap_free(blocks[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(a_new_thread_adopts_what_an_old_one_left)
{
	static void *blocks[1000];
	struct hand_over h = { blocks, 1000, 64 };
	struct ash_heap_stats before, after;

	run_thread(thread_allocates, &h);
	ash_heap_stats(&before);
	for (unsigned i = 0; i < 50; i++) {
		run_thread(thread_frees, &h);
		run_thread(thread_allocates, &h);
	}
	ash_heap_stats(&after);
	EXPECT_EQ(after.heaps, before.heaps);
	run_thread(thread_frees, &h);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

static void *allocate_in_destructor(void *arg)
{
	/* As a TLS destructor of the program's that runs after ours: the thread simply has a heap again. */
	ash_heap_free(ash_heap_malloc(10));
	ash_heap_thread_exit();
	ash_heap_free(ash_heap_malloc(10));
	ash_heap_thread_exit();
	ash_heap_thread_exit();
	return arg;
}

TEST(a_thread_may_allocate_after_its_heap_was_orphaned)
{
	run_thread(allocate_in_destructor, NULL);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(reset_gives_everything_back_at_once)
{
	struct ash_heap *h = ash_heap_new(-1);
	const size_t before = fake_arena_used_frames();

	EXPECT(h != NULL);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3000; i++) {
			unsigned char *p = ash_heap_new_alloc(h, 1, 20 + i, i % 2);

			EXPECT(p != NULL);
			for (unsigned k = 0; i % 2 && k < 20 + i; k++)
				EXPECT_EQ(p[k], 0);
			memset(p, 0xff, 20 + i);
		}
		EXPECT(ash_heap_new_alloc(h, 1, 300000, false) != NULL);
		EXPECT_GT(fake_arena_used_frames(), before);
		ash_heap_new_reset(h);
		EXPECT_EQ(fake_arena_used_frames(), before);
	}
	ash_heap_new_destroy(h);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(objects_of_a_first_class_heap_are_freed_by_any_thread)
{
	static void *blocks[3000];
	struct hand_over hand = { blocks, 3000, 0 };
	struct ash_heap *h = ash_heap_new(-1);

	for (unsigned i = 0; i < 3000; i++)
		blocks[i] = ash_heap_new_alloc(h, 1, i % 10 == 0 ? 70000 : 100, false);
	run_thread(thread_frees, &hand);
	const size_t used = fake_arena_used_frames();
	for (unsigned i = 0; i < 3000; i++)
		blocks[i] = ash_heap_new_alloc(h, 1, i % 10 == 0 ? 70000 : 100, false);
	EXPECT_LE(fake_arena_used_frames(), used + 64);
	for (unsigned i = 0; i < 3000; i++)
		ash_heap_free(blocks[i]);
	ash_heap_new_reset(h);
	ash_heap_new_destroy(h);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(large_objects_of_a_first_class_heap_come_home_when_it_only_makes_large_ones)
{
	struct ash_heap *h = ash_heap_new(-1);
	const size_t before = fake_arena_used_frames();

	for (unsigned i = 0; i < 20; i++) {
		void *p = ash_heap_new_alloc(h, 1, 1 << 20, false);

		EXPECT(p != NULL);
		ash_heap_free(p);
	}
	EXPECT_LE(fake_arena_used_frames() - before, 256);
	ash_heap_new_destroy(h);
	EXPECT_EQ(fake_arena_used_frames(), before);
}

/* Who owns the structure next begins with none waiting. */
TEST(what_waited_for_a_first_class_heap_is_gone_with_a_reset)
{
	struct ash_heap *h = ash_heap_new(-1);

	ash_heap_free(ash_heap_malloc(100));
	ash_heap_free(ash_heap_new_alloc(h, 1, 100, false));
	EXPECT_EQ(atomic_load(&h->batches), 1);
	ash_heap_new_reset(h);
	EXPECT_EQ(atomic_load(&h->batches), 0);
	ash_heap_new_destroy(h);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(frees_to_first_class_heaps_leave_the_outboxes_alone)
{
	static void *blocks[1];
	struct hand_over h = { blocks, 1, 100 };
	struct ash_heap *heaps[ASH_OUTBOXES];
	unsigned waiting = 0;

	run_thread(thread_allocates, &h);
	ash_heap_flush_thread();
	ash_heap_free(blocks[0]);
	/* One of so many in a row shares the outbox. */
	for (unsigned i = 0; i < ASH_OUTBOXES; i++) {
		heaps[i] = ash_heap_new(-1);
		ash_heap_free(ash_heap_new_alloc(heaps[i], 1, 100, false));
	}
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		waiting += ash_heap_self->outbox[i].differs != 0;
	EXPECT_EQ(waiting, 1);
	for (unsigned i = 0; i < ASH_OUTBOXES; i++)
		ash_heap_new_destroy(heaps[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

/* What a child finds whose copy of an object is older than its copy of the list's head: a head, and no link behind
 * it. */
static void plant_torn_list(struct ash_heap *h, uintptr_t *object)
{
	*object = 0x5a5a5a5a5a5a5a50;
	atomic_store(&h->remote, (uintptr_t)object);
}

static void live_with_torn_lists(void)
{
	struct ash_heap *h = ash_heap_new(-1);
	uintptr_t *mine = ash_heap_malloc(48), *of_h = ash_heap_new_alloc(h, 1, 48, false);

	ash_heap_fork_prepare();
	plant_torn_list(ash_heap_self, mine);
	plant_torn_list(h, of_h);
	ash_heap_fork_child();
	for (unsigned i = 0; i < 10000; i++)
		if (ash_heap_malloc(48) == NULL || ash_heap_new_alloc(h, 1, 48, false) == NULL)
			_exit(1);
	ash_heap_new_reset(h);
	ash_heap_trim();
}

TEST(a_child_does_not_follow_lists_that_were_being_written_to)
{
	EXPECT_EQ(ends(live_with_torn_lists), 0);
}

TEST(what_others_freed_before_a_fork_is_not_lost_to_the_child)
{
	static void *blocks[1000];
	struct hand_over h = { blocks, 1000, 4000 };
	size_t used;

	for (unsigned i = 0; i < h.nr; i++)
		blocks[i] = ash_heap_malloc(h.size);
	used = fake_arena_used_frames();
	run_thread(thread_frees, &h);
	ash_heap_fork_prepare();
	EXPECT_EQ(atomic_load(&ash_heap_self->remote), 0);
	ash_heap_fork_parent();
	for (unsigned i = 0; i < h.nr; i++)
		blocks[i] = ash_heap_malloc(h.size);
	EXPECT_LE(fake_arena_used_frames(), used);
	for (unsigned i = 0; i < h.nr; i++)
		ash_heap_free(blocks[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

static void free_twice(void)
{
	void *p = ash_heap_malloc(5000);

	ash_heap_free(p);
	ash_heap_free(p);
}

static void free_twice_with_another_between(void)
{
	void *p = ash_heap_malloc(5000), *q = ash_heap_malloc(5000);

	ash_heap_free(p);
	ash_heap_free(q);
	ash_heap_free(p);
	ash_heap_flush_thread();
}

static void *frees_second_twice(void *objects)
{
	void **p = objects;

	ash_heap_free(p[0]);
	ash_heap_free(p[1]);
	ash_heap_free(p[1]);
	return NULL;
}

static void free_twice_elsewhere(void)
{
	void *p[] = { ash_heap_malloc(5000), ash_heap_malloc(5000) };

	run_thread(frees_second_twice, p);
	ash_heap_flush_thread();
}

/* What a second free at once must not be taken for. */
static void free_again_what_was_handed_out_again(void)
{
	for (unsigned i = 0; i < 3; i++)
		ash_heap_free(ash_heap_malloc(5000));
}

static void free_large_twice(void)
{
	void *p = ash_heap_malloc(500000);

	ash_heap_free(p);
	ash_heap_free(p);
}

static void free_inside_large(void)
{
	char *p = ash_heap_malloc(500000);

	ash_heap_free(p + 4096);
}

static void free_unaligned_large(void)
{
	char *p = ash_heap_malloc(500000);

	ash_heap_free(p + 8);
}

static void nothing_wrong(void)
{
	ash_heap_free(ash_heap_malloc(500000));
}

TEST(broken_frees_abort)
{
	EXPECT(dies(free_twice));
	EXPECT(dies(free_twice_with_another_between));
	EXPECT(dies(free_twice_elsewhere));
	EXPECT(!dies(free_again_what_was_handed_out_again));
	EXPECT(dies(free_large_twice));
	EXPECT(dies(free_inside_large));
	EXPECT(dies(free_unaligned_large));
	EXPECT(!dies(nothing_wrong));
}

TEST(statistics_of_a_quiet_heap_are_exact)
{
	struct ash_heap_stats before, after;
	void *p[100];

	ash_heap_trim();
	ash_heap_stats(&before);
	for (unsigned i = 0; i < 100; i++)
		p[i] = ash_heap_malloc(1000);
	void *large = ash_heap_malloc(1 << 20);
	ash_heap_stats(&after);
	const size_t live_before = before.slab_bytes - before.slab_free_bytes;
	const size_t live_after = after.slab_bytes - after.slab_free_bytes;
	EXPECT_EQ(live_after - live_before, 100 * 1024);
	EXPECT_EQ(after.large_bytes - before.large_bytes, 1 << 20);
	EXPECT_EQ(after.large_count - before.large_count, 1);
	for (unsigned i = 0; i < 100; i++)
		ash_heap_free(p[i]);
	ash_heap_free(large);
	ash_heap_stats(&after);
	EXPECT_EQ(after.slab_bytes - after.slab_free_bytes, live_before);
}

TEST(a_long_refill_is_counted_whole)
{
	static void *p[4000];
	const unsigned cls = ash_class_of(16);

	for (unsigned i = 0; i < 4000; i++)
		p[i] = ash_heap_malloc(16);
	/* One stays, so that its slab stays; the flushes make a long list in it, which the next refill takes whole. */
	for (unsigned i = 0; i < 3999; i++)
		ash_heap_free(p[i]);
	ash_bin_flush(ash_heap_self, cls);
	p[0] = ash_heap_malloc(16);
	EXPECT_GT(ash_bin_held(ash_heap_self, cls), ash_classes[cls].cache_max);
	uint32_t real = 0;
	for (struct ash_object *o = ash_heap_self->bins.head[cls]; o != NULL; o = o->next)
		real++;
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), real);
	ash_heap_free(p[0]);
	ash_heap_free(p[3999]);
}
