/* SPDX-License-Identifier: MIT */
/* An owner takes home some of what others freed at a time: the rest is found by whoever looks for memory. */
#include "harness/test.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "at_home.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "os/sys.h"
#include "nothing_left.h"
#include "run_thread.h"

enum { SIZE = 64, MANY = 5 * ASH_REMOTE_SOME, OTHER_SIZE = 96 };

struct objects {
	void *object[MANY];
	unsigned nr;
};

static struct objects mine, others;

static void allocate(struct objects *x, unsigned nr, size_t size)
{
	x->nr = nr;
	for (unsigned i = 0; i < nr; i++) {
		x->object[i] = ash_heap_malloc(size);
		EXPECT(x->object[i] != NULL);
	}
}

static void free_all(const struct objects *x)
{
	for (unsigned i = 0; i < x->nr; i++)
		ash_heap_free(x->object[i]);
}

static void *thread_frees(void *arg)
{
	free_all(arg);
	ash_heap_thread_exit();
	return arg;
}

/* The calling thread has more at home than it walks at once, and some of it left. */
static void have_some_left(size_t size)
{
	allocate(&mine, MANY, size);
	run_thread(thread_frees, &mine);
	ash_heap_free(mine.object[0] = ash_heap_malloc(size));
	while (ash_heap_self->home == 0)
		EXPECT(ash_remote_drain_some(ash_heap_self));
}

TEST(some_come_home_at_a_time)
{
	const unsigned cls = ash_class_of(SIZE), max = ash_classes[cls].cache_max;
	struct ash_heap *h;
	uint32_t before, came;

	allocate(&mine, MANY, SIZE);
	h = ash_heap_self;
	ash_bin_flush(h, cls);
	before = free_of_class(h, cls);
	run_thread(thread_frees, &mine);
	EXPECT(ash_remote_drain_some(h));
	EXPECT(h->home != 0);
	EXPECT_EQ(atomic_load(&h->remote), 0);
	came = free_of_class(h, cls) - before;
	EXPECT_LE((uint32_t)ASH_REMOTE_SOME, came);
	EXPECT_LE(came, ASH_REMOTE_SOME + ASH_OUTBOX_COUNT);
	/* The bin is full, and no fuller; the rest is where it was cut from. */
	EXPECT_EQ(ash_bin_held(h, cls), max);
	EXPECT_EQ(h->depot[cls].nr, 0);
	expect_nothing_left();
}

/* What is freed in the order of addresses is handed out so, but for what the bin had room for. */
TEST(objects_of_a_slab_stay_together)
{
	const unsigned cls = ash_class_of(SIZE);
	unsigned next_to = 0;

	ash_heap_trim();
	allocate(&mine, ASH_REMOTE_SOME, SIZE);
	run_thread(thread_frees, &mine);
	allocate(&others, ASH_REMOTE_SOME, SIZE);
	for (unsigned i = 1; i < others.nr; i++) {
		const char *a = others.object[i - 1], *b = others.object[i];

		next_to += ash_slab_of(a, cls) == ash_slab_of(b, cls);
	}
	EXPECT_LE(others.nr - others.nr / 32, next_to);
	free_all(&others);
	expect_nothing_left();
}

TEST(a_refill_from_a_slab_that_has_much_brings_nothing_home)
{
	const unsigned cls = ash_class_of(SIZE);
	struct ash_heap *h;
	unsigned refills = 0;

	have_some_left(SIZE);
	h = ash_heap_self;
	others.nr = MANY;
	for (unsigned i = 0; i < MANY; i++) {
		const struct ash_slab *s = h->bins.head[cls] == NULL ? h->partial[cls] : NULL;
		const uintptr_t left = h->home;
		const bool has_much = left != 0 && s != NULL && s->nr_free > ash_classes[cls].cache_max;

		EXPECT((others.object[i] = ash_heap_malloc(SIZE)) != NULL);
		if (has_much)
			EXPECT_EQ(h->home, left);
		refills += has_much;
	}
	EXPECT_GT(refills, 0u);
	free_all(&others);
	expect_nothing_left();
}

static void *thread_frees_every_second(void *arg)
{
	struct objects *o = arg;

	for (unsigned i = 0; i < o->nr / 2; i++) {
		ash_heap_free(o->object[i * 2]);
		o->object[i] = o->object[i * 2 + 1];
	}
	o->nr /= 2;
	ash_heap_thread_exit();
	return arg;
}

/*
 * The wanted size stands behind another, of which there is more than comes home at once, and of whose slabs none comes
 * to be empty.
 */
TEST(all_is_home_before_the_heap_grows)
{
	size_t used;

	allocate(&others, MANY, OTHER_SIZE);
	allocate(&mine, MANY, SIZE);
	ash_heap_flush_thread();
	used = fake_arena_used_frames();
	run_thread(thread_frees, &mine);
	run_thread(thread_frees_every_second, &others);
	for (unsigned round = 0; round < 3; round++) {
		allocate(&mine, MANY, SIZE);
		EXPECT_LE(fake_arena_used_frames(), used);
		run_thread(thread_frees, &mine);
	}
	free_all(&others);
	expect_nothing_left();
}

TEST(a_flush_finds_what_is_left)
{
	have_some_left(SIZE);
	ash_heap_flush_thread();
	EXPECT_EQ(ash_heap_self->home, 0);
	EXPECT_EQ(ash_heap_self->slab_frames, 0);
	expect_nothing_left();
}

TEST(a_fork_finds_what_is_left)
{
	have_some_left(SIZE);
	ash_heap_fork_prepare();
	EXPECT_EQ(ash_heap_self->home, 0);
	ash_heap_fork_parent();
	have_some_left(SIZE);
	ash_heap_fork_prepare();
	ash_heap_fork_child();
	EXPECT_EQ(ash_heap_self->home, 0);
	expect_nothing_left();
}

static struct ash_heap *waiting;
static pthread_barrier_t barrier;

static void *thread_has_some_left(void *arg)
{
	have_some_left(SIZE);
	waiting = ash_heap_self;
	(void)pthread_barrier_wait(&barrier);
	(void)pthread_barrier_wait(&barrier);
	ash_heap_thread_exit();
	return arg;
}

/* Its pages have been copied one after the other while it may have been running. */
TEST(a_child_leaves_alone_what_another_thread_had_left)
{
	pthread_t t;
	pid_t pid;
	int status;

	EXPECT_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
	EXPECT_EQ(pthread_create(&t, NULL, thread_has_some_left, NULL), 0);
	(void)pthread_barrier_wait(&barrier);
	ash_heap_fork_prepare();
	pid = fork();
	if (pid == 0) {
		ash_heap_fork_child();
		_exit(waiting->home != 0 || waiting->spare != 0);
	}
	ash_heap_fork_parent();
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	EXPECT(waiting->home != 0);
	(void)pthread_barrier_wait(&barrier);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	expect_nothing_left();
}

static struct ash_heap *ended;

static void *thread_leaves_some(void *arg)
{
	have_some_left(SIZE);
	ended = ash_heap_self;
	ash_heap_thread_exit();
	return arg;
}

TEST(a_thread_that_ends_leaves_nothing_at_home)
{
	run_thread(thread_leaves_some, NULL);
	EXPECT_EQ(atomic_load(&ended->state), ASH_HEAP_ORPHAN);
	EXPECT_EQ(ended->home, 0);
	EXPECT_EQ(ended->empty_frames, 0);
	expect_nothing_left();
}

TEST(a_reset_forgets_what_is_left)
{
	struct ash_heap *h = ash_heap_new(-1);

	for (unsigned round = 0; round < 2; round++) {
		mine.nr = MANY;
		for (unsigned i = 0; i < MANY; i++)
			EXPECT((mine.object[i] = ash_heap_new_alloc(h, 1, SIZE, false)) != NULL);
		run_thread(thread_frees, &mine);
		EXPECT(ash_remote_drain_some(h));
		EXPECT(h->home != 0);
		ash_heap_new_reset(h);
		EXPECT_EQ(h->home, 0);
	}
	ash_heap_new_destroy(h);
	expect_nothing_left();
}

static uint64_t clock_ms = 1000;

static uint64_t now_ms(void)
{
	return clock_ms;
}

TEST(a_turn_of_sweeps_finds_what_is_left)
{
	static const struct ash_sys_ops turned = { .now_ms = now_ms };
	enum { DECAY_MS = 1000 };

	have_some_left(SIZE);
	ash_sys_hook = &turned;
	fake_arena_decay_ms(DECAY_MS);
	for (unsigned ms = 0; ms < DECAY_MS && ash_heap_self->home != 0; ms += 50) {
		clock_ms += 50;
		ash_heap_free(ash_heap_malloc(1 << 20));
	}
	EXPECT_EQ(ash_heap_self->home, 0);
	fake_arena_decay_ms(UINT32_MAX);
	ash_sys_hook = NULL;
	expect_nothing_left();
}
