/* SPDX-License-Identifier: MIT */
/* Contiguous ranges and memory that gives way, as <ashlar/contig.h> promises them. */
#include "harness/test.h"

#include <ashlar/contig.h>
#include <ashlar/map.h>
#include <ashlar/stats.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define PB ((size_t)2 << 20)
enum { OBJECTS = 3000, WORDS = 4096 / 8 };

/* Objects with handles: whoever uses one holds the lock, and so does who moves it. */
static struct handle {
	uint64_t *p;
	size_t bytes;
	bool isolated;
} handle[OBJECTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned moves, refusals, putbacks, drops;
static bool pinned, failing;

static struct handle *handle_at(const void *p)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (handle[i].p == p)
			return &handle[i];
	}
	return NULL;
}

static int isolate(void *p, size_t bytes, void *arg)
{
	struct handle *h;
	int err = -1;

	(void)bytes;
	if (arg != handle || pthread_mutex_trylock(&lock) != 0)
		return -1;
	h = handle_at(p);
	if (h != NULL && !h->isolated && !pinned) {
		h->isolated = true;
		err = 0;
	} else {
		refusals++;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

static int migrate(void *to, void *from, size_t bytes, void *arg)
{
	struct handle *h;

	(void)arg;
	if (failing)
		return -1;
	pthread_mutex_lock(&lock);
	h = handle_at(from);
	memcpy(to, from, bytes);
	h->p = to;
	h->isolated = false;
	moves++;
	pthread_mutex_unlock(&lock);
	return 0;
}

static void putback(void *p, size_t bytes, void *arg)
{
	(void)bytes, (void)arg;
	pthread_mutex_lock(&lock);
	handle_at(p)->isolated = false;
	putbacks++;
	pthread_mutex_unlock(&lock);
}

static int drop(void *p, size_t bytes, void *arg)
{
	struct handle *h;

	(void)bytes, (void)arg;
	if (pthread_mutex_trylock(&lock) != 0)
		return -1;
	h = handle_at(p);
	if (h != NULL && !pinned) {
		h->p = NULL;
		drops++;
	} else {
		h = NULL;
	}
	pthread_mutex_unlock(&lock);
	return h != NULL ? ash_movable_free(p) : -1;
}

static const struct ash_movable_ops movable = { .isolate = isolate, .migrate = migrate, .putback = putback };
static const struct ash_movable_ops purgeable = { .drop = drop };

static void object_alloc(unsigned i, size_t bytes, const struct ash_movable_ops *ops)
{
	handle[i].p = ash_movable_alloc(bytes, ops, handle);
	handle[i].bytes = bytes;
	handle[i].isolated = false;
	EXPECT(handle[i].p != NULL);
	for (size_t w = 0; w < bytes / 8; w += WORDS)
		handle[i].p[w] = i * 1000000ul + w;
}

static void object_free(unsigned i)
{
	void *p;

	pthread_mutex_lock(&lock);
	p = handle[i].p;
	EXPECT(!handle[i].isolated);
	handle[i].p = NULL;
	pthread_mutex_unlock(&lock);
	EXPECT_EQ(ash_movable_free(p), 0);
}

static bool object_holds(unsigned i)
{
	for (size_t w = 0; w < handle[i].bytes / 8; w += WORDS) {
		if (handle[i].p[w] != i * 1000000ul + w)
			return false;
	}
	return true;
}

static void free_all(void)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (handle[i].p != NULL)
			object_free(i);
	}
}

/* Small ones everywhere: there is no free pageblock among them. */
static void scatter(const struct ash_movable_ops *ops)
{
	uint64_t state = test_seed;

	for (unsigned i = 0; i < OBJECTS; i++)
		object_alloc(i, (size_t)4096 << test_random(&state) % 5, ops);
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (test_random(&state) % 3 != 0)
			object_free(i);
	}
}

static bool in_range(const void *p, const char *range, size_t bytes)
{
	return (const char *)p >= range && (const char *)p < range + bytes;
}

TEST(ranges_are_whole_pageblocks)
{
	for (size_t bytes = 1; bytes < 70 * PB; bytes = bytes * 5 + 1) {
		char *p = ash_contig_alloc(bytes, bytes % 3 == 0 ? 16 * PB : 0, ASH_NODE_LOCAL);

		EXPECT(p != NULL);
		EXPECT_EQ((uintptr_t)p % (bytes % 3 == 0 ? 16 * PB : PB), 0);
		p[0] = p[bytes - 1] = 1;
		EXPECT_EQ(ash_contig_free(p), 0);
		EXPECT_EQ(ash_contig_free(p), -EINVAL);
	}
}

TEST(what_cannot_be_is_told)
{
	void *m = malloc(4 * PB);
	char *p;

	EXPECT(ash_contig_alloc(0, 0, ASH_NODE_LOCAL) == NULL && errno == EINVAL);
	EXPECT(ash_contig_alloc(PB, 3, ASH_NODE_LOCAL) == NULL && errno == EINVAL);
	EXPECT(ash_contig_alloc(PB, 1024 * PB, ASH_NODE_LOCAL) == NULL && errno == EINVAL);
	EXPECT(ash_contig_alloc(PB, 0, -5) == NULL && errno == EINVAL);
	EXPECT(ash_contig_alloc(SIZE_MAX, 0, ASH_NODE_LOCAL) == NULL && errno == ENOMEM);
	EXPECT(ash_movable_alloc(0, &movable, NULL) == NULL && errno == EINVAL);
	EXPECT(ash_movable_alloc(PB + 1, &movable, NULL) == NULL && errno == EINVAL);
	EXPECT(ash_movable_alloc(1, &(struct ash_movable_ops){ .isolate = isolate }, NULL) == NULL && errno == EINVAL);
	EXPECT_EQ(ash_contig_free(NULL), 0);
	EXPECT_EQ(ash_contig_free(m), -EINVAL);
	EXPECT_EQ(ash_movable_free(NULL), 0);
	EXPECT_EQ(ash_movable_free(m), -EINVAL);
	EXPECT_EQ(ash_movable_free(&m), -EINVAL);
	p = ash_contig_alloc(2 * PB, 0, ASH_NODE_LOCAL);
	EXPECT_EQ(ash_contig_free(p + PB), -EINVAL);
	EXPECT_EQ(ash_movable_free(p), -EINVAL);
	EXPECT_EQ(ash_contig_free(p), 0);
	free(m);
}

/*
 * The range asked for is where the objects are: 4 MiB of some 20 MiB that are a third full. Where it is taken depends
 * on what else is in the arena; that objects had to go is shown by asking until one has.
 */
TEST(movable_objects_are_moved_out)
{
	char *range[16];
	unsigned n = 0;

	moves = 0;
	scatter(&movable);
	for (; n < 16 && moves == 0; n++) {
		range[n] = ash_contig_alloc(2 * PB, 0, ASH_NODE_LOCAL);
		EXPECT(range[n] != NULL);
		memset(range[n], 0xee, 2 * PB);
	}
	EXPECT_GT(moves, 0);
	for (unsigned i = 0; i < OBJECTS; i++) {
		EXPECT(handle[i].p == NULL || object_holds(i));
		for (unsigned k = 0; handle[i].p != NULL && k < n; k++)
			EXPECT(!in_range(handle[i].p, range[k], 2 * PB));
	}
	while (n-- > 0)
		EXPECT_EQ(ash_contig_free(range[n]), 0);
	free_all();
}

TEST(who_refuses_stays)
{
	char *range[8];

	scatter(&movable);
	moves = refusals = putbacks = 0;
	pinned = true;
	for (unsigned n = 0; n < 8; n++)
		range[n] = ash_contig_alloc(4 * PB, 0, ASH_NODE_LOCAL);
	EXPECT_EQ(moves, 0);
	pinned = false;
	failing = true;
	for (unsigned n = 0; n < 8; n++) {
		EXPECT_EQ(ash_contig_free(range[n]), 0);
		EXPECT_EQ(ash_contig_free(ash_contig_alloc(16 * PB, 0, ASH_NODE_LOCAL)), 0);
	}
	failing = false;
	EXPECT_EQ(moves, 0);
	for (unsigned i = 0; i < OBJECTS; i++)
		EXPECT(handle[i].p == NULL || (!handle[i].isolated && object_holds(i)));
	free_all();
}

TEST(caches_are_dropped_when_the_process_is_to_be_smaller)
{
	size_t had = 0, live = 0;

	for (unsigned i = 0; i < 100; i++)
		object_alloc(i, 256 << 10, &purgeable);
	pinned = true;
	(void)ash_arena_shrink(SIZE_MAX);
	EXPECT_EQ(drops, 0);
	pinned = false;
	EXPECT_GE(ash_arena_shrink(8 * PB), 8 * PB);
	for (unsigned i = 0; i < 100; i++) {
		had += handle[i].bytes;
		live += handle[i].p != NULL ? handle[i].bytes : 0;
		EXPECT(handle[i].p == NULL || object_holds(i));
	}
	EXPECT_LE(live, had - 8 * PB);
	(void)ash_arena_shrink(SIZE_MAX);
	EXPECT_EQ(drops, 100);
}

TEST(objects_are_put_together_when_the_process_is_to_be_smaller)
{
	size_t given;

	(void)ash_arena_shrink(SIZE_MAX);
	moves = 0;
	scatter(&movable);
	given = ash_arena_shrink(SIZE_MAX);
	EXPECT_GT(moves, 0);
	EXPECT_GT(given, 0);
	for (unsigned i = 0; i < OBJECTS; i++)
		EXPECT(handle[i].p == NULL || object_holds(i));
	free_all();
}

static atomic_bool stop;

static void *take_ranges(void *arg)
{
	uint64_t state = 9;

	(void)arg;
	while (!stop) {
		void *p = ash_contig_alloc((1 + test_random(&state) % 8) * PB, 0, ASH_NODE_LOCAL);

		if (test_random(&state) % 8 == 0)
			(void)ash_arena_shrink(PB);
		(void)ash_contig_free(p);
	}
	return NULL;
}

static bool child_works(const uint64_t *mapped)
{
	bool ok = pthread_mutex_trylock(&lock) == 0;

	for (size_t i = 0; i < 8 * PB / 8; i += WORDS)
		ok = ok && mapped[i] == i;
	for (unsigned i = 0; i < 200; i++)
		ok = ok && !handle[i].isolated && (handle[i].p == NULL || object_holds(i));
	pthread_mutex_unlock(&lock);
	free(malloc(PB));
	return ok && ash_contig_free(ash_contig_alloc(2 * PB, 0, ASH_NODE_LOCAL)) == 0 &&
	       ash_unmap((void *)mapped, 8 * PB) == 0;
}

/* fork takes no child out of the middle of a move, and objects come and go meanwhile. */
TEST(fork_and_frees_beside_moves)
{
	uint64_t *mapped = ash_map(8 * PB), state = 3;
	pthread_t thread;
	int status;

	for (size_t i = 0; i < 8 * PB / 8; i += WORDS)
		mapped[i] = i;
	memset(handle, 0, sizeof(handle));
	EXPECT_EQ(pthread_create(&thread, NULL, take_ranges, NULL), 0);
	for (unsigned round = 0; round < 4000; round++) {
		const unsigned i = test_random(&state) % 200;
		bool idle;

		pthread_mutex_lock(&lock);
		idle = !handle[i].isolated;
		if (idle && handle[i].p != NULL) {
			const bool holds = object_holds(i);
			void *p = handle[i].p;

			handle[i].p = NULL;
			pthread_mutex_unlock(&lock);
			EXPECT(holds);
			EXPECT_EQ(ash_movable_free(p), 0);
			continue;
		}
		pthread_mutex_unlock(&lock);
		if (idle) {
			struct handle h = { ash_movable_alloc((size_t)4096 << i % 8, &movable, handle),
					    (size_t)4096 << i % 8, false };

			EXPECT(h.p != NULL);
			for (size_t w = 0; w < h.bytes / 8; w += WORDS)
				h.p[w] = i * 1000000ul + w;
			pthread_mutex_lock(&lock);
			handle[i] = h;
			pthread_mutex_unlock(&lock);
		}
		if (round % 80 == 0) {
			pid_t pid;

			pid = fork();
			if (pid == 0)
				_exit(child_works(mapped) ? 0 : 1);
			EXPECT_EQ(waitpid(pid, &status, 0), pid);
			EXPECT_EQ(status, 0);
		}
	}
	stop = true;
	EXPECT_EQ(pthread_join(thread, NULL), 0);
	for (size_t i = 0; i < 8 * PB / 8; i += WORDS)
		EXPECT_EQ(mapped[i], i);
	EXPECT_EQ(ash_unmap(mapped, 8 * PB), 0);
	free_all();
}
