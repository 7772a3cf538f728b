/* SPDX-License-Identifier: MIT */
/* What a heap keeps for the next request, and that it is little: large runs, an orphan's bins, room for what grows. */
#include "harness/test.h"

#include <pthread.h>

#include "fake_arena.h"
#include "heap/fast.h"
#include "os/sys.h"

#define KIB(n) ((size_t)(n) << 10)

TEST(a_freed_run_serves_the_next_request_of_about_its_length)
{
	void *p = ash_heap_malloc(KIB(128)), *q;

	ash_heap_free(p);
	q = ash_heap_malloc(KIB(116));
	EXPECT_EQ((uintptr_t)q, (uintptr_t)p);
	EXPECT_EQ(ash_heap_usable(q), KIB(128));
	ash_heap_free(q);
	/* More than an eighth would be wasted. */
	q = ash_heap_malloc(KIB(108));
	EXPECT_EQ(ash_heap_usable(q), KIB(108));
	ash_heap_free(q);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(kept_runs_are_not_taken_for_zeroed)
{
	unsigned char *p = ash_heap_malloc(KIB(128));

	memset(p, 0xa5, KIB(128));
	ash_heap_free(p);
	p = ash_heap_calloc(1, KIB(128));
	for (size_t i = 0; i < KIB(128); i++)
		EXPECT_EQ(p[i], 0);
	ash_heap_free(p);
	ash_heap_trim();
}

TEST(runs_kept_are_few_counted_and_given_back)
{
	void *p[40];
	struct ash_heap_stats stats;

	for (unsigned i = 0; i < 40; i++)
		p[i] = ash_heap_malloc(KIB(68 + 16 * i));
	for (unsigned i = 0; i < 40; i++) {
		ash_heap_free(p[i]);
		EXPECT_LE(ash_heap_self->kept.frames, ASH_KEPT_FRAMES);
	}
	EXPECT_EQ(fake_arena_used_frames(), ash_heap_self->kept.frames);
	EXPECT_GE(ash_heap_self->kept.frames, 1);
	ash_heap_stats(&stats);
	EXPECT_EQ(stats.large_bytes, 0);
	EXPECT_EQ(stats.slab_bytes, (size_t)ash_heap_self->kept.frames << ASH_PAGE_SHIFT);
	EXPECT_EQ(stats.slab_free_bytes, stats.slab_bytes);
	ash_heap_flush_thread();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

TEST(a_block_that_grows_by_little_moves_seldom)
{
	unsigned char *p = ash_heap_malloc(100);
	unsigned moves = 0;

	for (size_t size = 100; size <= KIB(60); size += 16) {
		unsigned char *q = ash_heap_realloc(p, size);

		EXPECT(q != NULL);
		moves += q != p;
		q[size - 1] = 1;
		p = q;
	}
	EXPECT_LE(moves, 32);
	ash_heap_free(p);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

static size_t usable_after(void **p, size_t size)
{
	*p = ash_heap_realloc(*p, size);
	EXPECT(*p != NULL);
	return ash_heap_usable(*p);
}

/* What a move gave to grow into is not cut off by the next call. */
TEST(a_run_as_short_as_a_slabs_object_keeps_its_room)
{
	void *p = ash_heap_malloc(KIB(68)), *const first = p;

	EXPECT_EQ(usable_after(&p, KIB(64)), KIB(64));
	EXPECT_EQ(usable_after(&p, KIB(60) + 1), KIB(64));
	EXPECT_EQ(usable_after(&p, KIB(32)), KIB(64));
	EXPECT_EQ((uintptr_t)p, (uintptr_t)first);
	EXPECT_EQ((uintptr_t)ash_fast_realloc(p, KIB(40)), (uintptr_t)first);
	/* But no more than as much again. */
	EXPECT_LE(usable_after(&p, KIB(28)), KIB(32));
	ash_heap_free(p);

	p = ash_heap_malloc(KIB(20));
	for (size_t size = KIB(20), usable = KIB(20); size <= KIB(64); size += 64) {
		const size_t now = usable_after(&p, size);

		EXPECT_GE(now, usable);
		usable = now;
	}
	ash_heap_free(p);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(a_long_run_is_cut)
{
	void *p = ash_heap_malloc(KIB(100));

	EXPECT_EQ(usable_after(&p, KIB(96)), KIB(96));
	EXPECT_EQ(usable_after(&p, KIB(60)), KIB(60));
	ash_heap_free(p);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

struct brief {
	size_t size;
	void *p;
	size_t frames; /* in use when the thread had given up its heap */
};

static void *allocate_and_end(void *arg)
{
	struct brief *b = arg;
	void *p[4];

	for (unsigned i = 0; i < 4; i++)
		p[i] = ash_heap_malloc(b->size);
	b->p = p[0];
	for (unsigned i = 4; i-- > 0;)
		ash_heap_free(p[i]);
	ash_heap_thread_exit();
	b->frames = fake_arena_used_frames();
	return NULL;
}

static void run(struct brief *b)
{
	pthread_t t;

	EXPECT_EQ(pthread_create(&t, NULL, allocate_and_end, b), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

TEST(a_thread_that_ends_leaves_small_bins_to_the_next_and_no_large_ones)
{
	struct brief first = { .size = 64 }, next = { .size = 64 }, large = { .size = 4096 };

	ash_heap_trim();
	run(&first);
	run(&next);
	EXPECT_EQ((uintptr_t)next.p, (uintptr_t)first.p);
	EXPECT_EQ(next.frames, 16);
	run(&large);
	EXPECT_EQ(large.frames, 16);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}

static uint64_t clock_ms = 1000;

static uint64_t now_ms(void)
{
	return clock_ms;
}

enum { DECAY_MS = 1000 };

/* A heap that holds much in its bins and nothing else: the frames in use, and in *live those without what it caches. */
static size_t cache_much(size_t *live)
{
	static const struct ash_sys_ops turned = { .now_ms = now_ms };
	enum { NR = 2000 };
	static void *p[NR];

	ash_heap_trim();
	ash_sys_hook = &turned;
	fake_arena_decay_ms(DECAY_MS);
	ash_heap_free(ash_heap_malloc(1 << 20));
	*live = fake_arena_used_frames();
	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(16 + i % 3000);
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	EXPECT_GT(fake_arena_used_frames(), *live);
	return fake_arena_used_frames();
}

/* What it has cached goes back within a decay time, and not before, with the little that it does. */
static void check_it_goes_back(size_t held, size_t live)
{
	ash_heap_free(ash_heap_malloc(1 << 20));
	EXPECT_EQ(fake_arena_used_frames(), held);
	for (unsigned ms = 0; ms < 3 * DECAY_MS / 4; ms += 50) {
		clock_ms += 50;
		ash_heap_free(ash_heap_malloc(1 << 20));
	}
	EXPECT_EQ(fake_arena_used_frames(), live);
	fake_arena_decay_ms(UINT32_MAX);
	ash_sys_hook = NULL;
}

TEST(what_a_heap_caches_is_given_back_in_a_decay_time)
{
	size_t live;
	const size_t held = cache_much(&live);

	check_it_goes_back(held, live);
}

/* However long the parent has rested. */
TEST(what_a_child_has_of_its_parent_has_a_decay_time_before_it)
{
	size_t live;
	const size_t held = cache_much(&live);

	clock_ms += 100 * DECAY_MS;
	ash_heap_sweep_anew();
	check_it_goes_back(held, live);
}

/* Of two slabs with room the lower one is used, whichever got an object back last. */
TEST(the_lower_slab_is_used_first)
{
	enum { SIZE = 1024, IN_SLAB = 64, NR = 3 * IN_SLAB };
	void *p[NR], *low, *high;

	ash_heap_trim();
	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(SIZE);
	for (unsigned round = 0; round < 2; round++) {
		low = p[3];
		high = p[NR - 3];
		ash_heap_free(round == 0 ? low : high);
		ash_heap_flush_thread();
		ash_heap_free(round == 0 ? high : low);
		ash_heap_flush_thread();
		EXPECT_EQ((uintptr_t)ash_heap_malloc(SIZE), (uintptr_t)low);
		EXPECT_EQ((uintptr_t)ash_heap_malloc(SIZE), (uintptr_t)high);
	}
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	ash_heap_trim();
}

/* Objects of slabs in a row are in as many places as there are. A small heap has runs for those above 16 KiB. */
TEST(slabs_are_coloured)
{
	static void *p[4096];

	for (unsigned cls = ash_class_of(129); cls <= ash_class_of(16384); cls++) {
		const struct ash_class *c = &ash_classes[cls];
		const uintptr_t slab = ASH_PAGE_SIZE << c->slab_order;
		const unsigned nr = 2u * c->colours * c->capacity;
		uint64_t seen = 0;

		ash_heap_trim();
		EXPECT_LE(nr, ASH_ARRAY_LEN(p));
		for (unsigned i = 0; i < nr; i++) {
			uintptr_t first;

			p[i] = ash_heap_aligned(ash_min(c->size & -c->size, 64), c->size);
			/* Within a slab, and what is left over is where it begins. */
			first = ((uintptr_t)p[i] & (slab - 1)) % c->size;
			EXPECT(first % ash_max(c->step, 1) == 0 && first / ash_max(c->step, 1) < c->colours);
			EXPECT_LE(((uintptr_t)p[i] & (slab - 1)) + c->size, slab);
			seen |= (uint64_t)1 << first / ash_max(c->step, 1);
		}
		EXPECT_EQ((unsigned)__builtin_popcountll(seen), c->colours);
		for (unsigned i = 0; i < nr; i++)
			ash_heap_free(p[i]);
	}
	ash_heap_trim();
	EXPECT_EQ(fake_arena_faults(), 0);
}

static uint32_t bin_length(unsigned cls)
{
	uint32_t nr = 0;

	for (const struct ash_object *o = ash_heap_self->bins.head[cls]; o != NULL; o = o->next)
		nr++;
	return nr;
}

static const struct ash_object *behind(const struct ash_object *o)
{
	return (const struct ash_object *)(o->link & ASH_LINK_MASK);
}

/* Of each magazine: as many objects as it says, of which the first four say where the next one is and how many. */
static uint64_t depot_length(const struct ash_heap *h, unsigned cls)
{
	uint64_t nr = 0, said = 0;

	for (const struct ash_object *m = h->depot[cls].first; m != NULL;
	     m = (const struct ash_object *)(said & ASH_LINK_MASK)) {
		uint64_t of_this = 0;

		for (const struct ash_object *o = m; o != NULL; o = behind(o), of_this++) {
			if (of_this < 4)
				said = said >> 16 | o->link >> 48 << 48;
			else
				EXPECT_EQ(o->link >> 48, 0);
		}
		EXPECT_EQ(said >> 48, of_this);
		nr += of_this;
	}
	return nr;
}

/* A full bin is put aside whole, but for what was freed last; where no more may be, a bounded part goes to slabs. */
TEST(a_full_bin_is_put_aside_and_a_full_depot_gives_a_bounded_part_back)
{
	static const size_t sizes[] = { 8, 16, 64, 128, 512, 1024, 4096, 8192 };
	static void *p[160 * 256];

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		const unsigned cls = ash_class_of(sizes[s]), max = ash_classes[cls].cache_max;
		/* More than the depot of a small heap has room for. */
		const unsigned nr = (unsigned)ash_max(80 * max, KIB(320) / sizes[s]);
		const struct ash_heap *h;
		unsigned magazines = 0, parts = 0;

		for (unsigned i = 0; i < nr; i++)
			p[i] = ash_heap_malloc(ash_classes[cls].size);
		h = ash_heap_self;
		ash_bin_flush(ash_heap_self, cls);
		for (unsigned i = 0; i < nr; i++) {
			const uint32_t before = ash_bin_held(h, cls), aside = h->depot[cls].nr;
			const uint32_t batch = ash_min(max / 2, 64u);
			uint32_t held, gone;

			ash_heap_free(p[i]);
			held = ash_bin_held(h, cls);
			gone = before + 1 - held;
			EXPECT_EQ(held, bin_length(cls));
			EXPECT_LE(held, max);
			if (h->depot[cls].nr != aside) {
				EXPECT_LE(h->depot_bytes,
					  ash_max((uint64_t)256 << 10, h->slab_frames << (ASH_PAGE_SHIFT - 2)));
				EXPECT_EQ(h->depot[cls].nr, aside + gone);
				EXPECT_EQ(h->depot[cls].nr, depot_length(h, cls));
				EXPECT_EQ(h->bins.head[cls], p[i]);
				EXPECT_EQ(held, 1);
				magazines++;
			} else {
				EXPECT_LE(gone, 2 * batch);
				EXPECT(gone == 0 || held >= max - batch);
				parts += gone > 0;
			}
		}
		EXPECT_GT(magazines, 0);
		EXPECT_GT(parts, 0);
		ash_bin_flush(ash_heap_self, cls);
		EXPECT_EQ(h->depot_bytes, 0);
		EXPECT_EQ(h->depot[cls].nr, 0);
	}
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

/* However large the heap: who empties a depot walks what one class has in it, while a malloc waits. */
TEST(a_depot_has_a_bounded_number_of_objects_of_a_class)
{
	enum { NR = 300000, MOST = 32768 };
	const unsigned cls = ash_class_of(16);
	const uint32_t max = ash_classes[cls].cache_max;
	void **p = ash_heap_malloc(NR * sizeof(*p));

	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(16);
	EXPECT_GT(ash_heap_self->slab_frames << ASH_PAGE_SHIFT, 4 * 2 * MOST * 16);
	for (unsigned i = 0; i < NR / 3; i++) {
		ash_heap_free(p[i]);
		EXPECT_LE(ash_heap_self->depot[cls].nr, MOST);
	}
	EXPECT_GT(ash_heap_self->depot[cls].nr, MOST - max);
	EXPECT_EQ(ash_heap_self->depot[cls].nr, depot_length(ash_heap_self, cls));
	for (unsigned i = NR / 3; i < NR; i++)
		ash_heap_free(p[i]);
	ash_heap_free(p);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(what_was_put_aside_comes_back_whole_and_the_last_first)
{
	enum { SIZE = 128, NR = 1000 };
	static void *p[NR];
	const unsigned cls = ash_class_of(SIZE);
	size_t frames;

	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(SIZE);
	ash_bin_flush(ash_heap_self, cls);
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	EXPECT_GT(ash_heap_self->depot[cls].nr, NR / 2);
	frames = fake_arena_used_frames();
	for (unsigned i = NR; i-- > 0;) {
		EXPECT_EQ(ash_heap_malloc(SIZE), p[i]);
		EXPECT_EQ(ash_bin_held(ash_heap_self, cls), bin_length(cls));
	}
	EXPECT_EQ(ash_heap_self->depot_bytes, 0);
	EXPECT_EQ(fake_arena_used_frames(), frames);
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

/* Else a load that goes up and down by one there would meet no fast path. */
TEST(at_the_edge_of_a_magazine_one_more_and_one_less_are_within_the_bin)
{
	enum { SIZE = 128, NR = 1000 };
	static void *p[NR];
	const unsigned cls = ash_class_of(SIZE);
	unsigned freed = 0;

	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(SIZE);
	ash_bin_flush(ash_heap_self, cls);
	while (ash_heap_self->depot[cls].nr == 0)
		ash_heap_free(p[freed++]);
	for (unsigned i = 0; i < 3; i++) {
		const uint32_t aside = ash_heap_self->depot[cls].nr;
		void *q = ash_heap_malloc(SIZE);

		EXPECT_EQ(ash_heap_self->depot[cls].nr, aside);
		ash_heap_free(q);
		EXPECT_EQ(ash_heap_self->depot[cls].nr, aside);
	}
	while (freed < NR)
		ash_heap_free(p[freed++]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(a_heap_that_cannot_grow_takes_what_it_has_put_aside)
{
	enum { SIZE = 64, NR = 16384 };
	static void *p[NR], *q[2000];
	unsigned got = 0;

	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(SIZE);
	ash_bin_flush(ash_heap_self, ash_class_of(SIZE));
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	EXPECT_GT(ash_heap_self->depot_bytes, 200u << 10);
	/* Of what went to slabs many are empty and kept; those first. */
	ash_heap_release_empty(ash_heap_self);
	fake_arena_fail_at(1);
	for (; got < 2000; got++) {
		q[got] = ash_heap_malloc(1024);
		if (q[got] == NULL)
			break;
	}
	fake_arena_fail_at(0);
	EXPECT_EQ(ash_heap_self->depot_bytes, 0);
	EXPECT_GE(got, 192); /* 3 slabs' worth, at least */
	for (unsigned i = 0; i < got; i++)
		ash_heap_free(q[i]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(before_a_heap_grows_some_of_what_it_has_put_aside_goes_to_slabs)
{
	enum { SIZE = 64, NR = 3000 };
	static void *p[NR];
	void *q;
	uint64_t aside;

	for (unsigned i = 0; i < NR; i++)
		p[i] = ash_heap_malloc(SIZE);
	ash_bin_flush(ash_heap_self, ash_class_of(SIZE));
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(p[i]);
	ash_heap_release_empty(ash_heap_self);
	aside = ash_heap_self->depot_bytes;
	EXPECT_GT(aside, 64u << 10);
	q = ash_heap_malloc(2000);
	EXPECT_LT(ash_heap_self->depot_bytes, aside);
	ash_heap_free(q);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(a_bin_that_a_long_list_made_long_is_put_aside_or_shrinks)
{
	static void *p[7000];
	const unsigned cls = ash_class_of(16);
	uint32_t longest;

	for (unsigned i = 0; i < 7000; i++)
		p[i] = ash_heap_malloc(16);
	/* A slab's list of nearly 4000 becomes the bin. */
	for (unsigned i = 0; i < 3999; i++)
		ash_heap_free(p[i]);
	ash_bin_flush(ash_heap_self, cls);
	p[0] = ash_heap_malloc(16);
	longest = ash_bin_held(ash_heap_self, cls);
	EXPECT_GT(longest, 8u * ash_classes[cls].cache_max);
	for (unsigned i = 3999; i < 7000; i++)
		ash_heap_free(p[i]);
	EXPECT_LE(ash_bin_held(ash_heap_self, cls), longest - 2500);
	EXPECT_EQ(ash_bin_held(ash_heap_self, cls), bin_length(cls));
	EXPECT_EQ(ash_heap_self->depot[cls].nr, depot_length(ash_heap_self, cls));
	ash_heap_free(p[0]);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
}

TEST(as_many_objects_of_each_size_as_before_need_no_more_memory)
{
	static struct {
		void *p;
		size_t size;
	} live[4000];
	static const size_t sizes[] = { 16, 40, 100, 200, 500, 1000, 3000, 9000 };
	uint32_t state = 1;
	size_t size = 16;

	for (unsigned i = 0; i < 4000; i++) {
		live[i].size = sizes[i % 8];
		live[i].p = ash_heap_malloc(live[i].size);
	}
	for (unsigned n = 0; n < 400000; n++) {
		const unsigned i = (state = state * 1664525 + 1013904223) >> 8 & 2047;
		const size_t freed = live[i].size;

		/* The classes' bins and lists have been filled. */
		if (n == 200000)
			fake_arena_fail_at(1);
		ash_heap_free(live[i].p);
		live[i].p = ash_heap_malloc(size);
		EXPECT(live[i].p != NULL);
		live[i].size = size;
		size = freed;
	}
	fake_arena_fail_at(0);
	for (unsigned i = 0; i < 4000; i++)
		ash_heap_free(live[i].p);
	ash_heap_trim();
	EXPECT_EQ(fake_arena_used_frames(), 0);
	EXPECT_EQ(fake_arena_faults(), 0);
}
