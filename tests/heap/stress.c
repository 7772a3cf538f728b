/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, on real arenas: threads that come and go, hand their objects to each other, resize and free them,
 * trims, decay and forks, with every object's contents checked. At the end nothing may be left.
 *
 * --seed N repeats a run's choices; what the scheduler makes of them is its own.
 */
#include "arena/child.h"

#include <pthread.h>

#include "base/bits.h"
#include "heap/heap.h"

enum { THREADS = 4, SHARED = 192, PRIVATE = 48, GENERATIONS = 8, FORKS = 3 };
enum { STEPS = 1500, SAMPLED = 512, LIMIT = 12 << 20 };

/* At the start of each object; the rest is filled by it. */
struct object {
	size_t size;
	uint64_t seed;
	unsigned char fill[];
};

static _Atomic(struct object *) shared[SHARED];
static _Atomic unsigned bad_contents, not_zero, refused, served;
static bool limited;

static unsigned char byte_of(const struct object *o, size_t i)
{
	return (unsigned char)(o->seed + i * 31);
}

/* All of a small object; of a large one both ends and something of every page. */
static size_t next(size_t i, size_t n)
{
	return i < SAMPLED || i + SAMPLED > n ? i + 1 : i + 509;
}

static void fill(struct object *o, size_t size, uint64_t seed)
{
	const size_t n = size - sizeof(*o);

	o->size = size;
	o->seed = seed;
	for (size_t i = 0; i < n; i = next(i, n))
		o->fill[i] = byte_of(o, i);
}

static void verify(const struct object *o, size_t size)
{
	const size_t n = size - sizeof(*o), filled = o->size - sizeof(*o);

	for (size_t i = 0; i < n; i = next(i, filled))
		if (o->fill[i] != byte_of(o, i)) {
			bad_contents++;
			return;
		}
}

static size_t random_size(uint64_t *rng)
{
	const uint64_t pick = test_random(rng) % 100, n = test_random(rng);

	if (pick < 60)
		return sizeof(struct object) + n % 500;
	if (pick < 85)
		return sizeof(struct object) + n % 8000;
	return sizeof(struct object) + (pick < 97 ? n % 120000 : n % 1500000);
}

/* NULL only where a limit is set. */
static struct object *make(uint64_t *rng)
{
	const size_t size = random_size(rng), align = (size_t)16 << test_random(rng) % 12;
	const unsigned how = test_random(rng) % 8;
	struct object *o;

	if (how == 0)
		o = ash_heap_calloc(1, size);
	else
		o = how == 1 ? ash_heap_aligned(align, size) : ash_heap_malloc(size);
	if (o == NULL) {
		refused++;
		return NULL;
	}
	served++;
	for (size_t i = 0; how == 0 && i < size; i++)
		not_zero += ((unsigned char *)o)[i] != 0;
	fill(o, size, test_random(rng));
	return o;
}

static void end(struct object *o)
{
	if (o == NULL)
		return;
	verify(o, o->size);
	ash_heap_free(o);
}

static struct object *resize(struct object *o, uint64_t *rng)
{
	const size_t size = random_size(rng), old = o->size;
	struct object *to = ash_heap_realloc(o, size);

	if (to == NULL) {
		refused++;
		return o;
	}
	verify(to, ash_min(size, old));
	fill(to, size, test_random(rng));
	return to;
}

static void put(struct object *o, uint64_t *rng)
{
	end(atomic_exchange(&shared[test_random(rng) % SHARED], o));
}

static void step(struct object **mine, uint64_t *rng)
{
	const unsigned pick = test_random(rng) % 1000;
	struct object *o;

	if (pick < 400) {
		end(*mine);
		*mine = make(rng);
	} else if (pick < 700) {
		put(make(rng), rng);
	} else if (pick < 990) {
		o = atomic_exchange(&shared[test_random(rng) % SHARED], NULL);
		if (o != NULL)
			put(resize(o, rng), rng);
	} else if (pick < 998) {
		ash_heap_flush_thread();
	} else {
		ash_heap_trim();
	}
}

static void steps(unsigned nr, uint64_t seed)
{
	struct object *mine[PRIVATE] = { NULL };
	uint64_t rng = seed;

	for (unsigned i = 0; i < nr; i++)
		step(&mine[test_random(&rng) % PRIVATE], &rng);
	for (unsigned i = 0; i < PRIVATE; i++)
		end(mine[i]);
}

/* Where there is a limit it is met, whatever the others hold. */
static void meet_the_limit(void)
{
	enum { BYTES = 1 << 20, MOST = LIMIT / BYTES + 1 };
	void *p[MOST] = { NULL };
	unsigned n = 0;

	while (n < MOST && (p[n] = ash_heap_malloc(BYTES)) != NULL)
		n++;
	refused += n < MOST;
	while (n-- > 0)
		ash_heap_free(p[n]);
}

static void *thread_steps(void *seed)
{
	if (limited)
		meet_the_limit();
	steps(STEPS, (uint64_t)(uintptr_t)seed);
	return NULL;
}

/* In the child: objects of before the fork are as they were, and new ones can be had. Shared ones are in others'
 * hands. */
static void child(struct object *const kept[PRIVATE])
{
	for (unsigned i = 0; i < SHARED; i++)
		atomic_store_explicit(&shared[i], NULL, memory_order_relaxed);
	for (unsigned i = 0; i < PRIVATE; i++)
		end(kept[i]);
	steps(200, test_seed);
	_exit(bad_contents + not_zero == 0 && (limited || refused == 0) ? 0 : 1);
}

static void fork_once(struct object *const kept[PRIVATE])
{
	int status = -1;
	pid_t pid;

	ash_heap_fork_prepare();
	ash_arena_fork_prepare(false);
	pid = fork();
	if (pid == 0) {
		ash_arena_fork_child();
		ash_heap_fork_child();
		child(kept);
	}
	ash_arena_fork_parent();
	ash_heap_fork_parent();
	EXPECT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

static void generation(unsigned nr, struct object *const kept[PRIVATE])
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, thread_steps,
					 (void *)(uintptr_t)(test_seed + nr * THREADS + i + 1)), 0);
	for (unsigned i = 0; i < FORKS; i++)
		fork_once(kept);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT_EQ(pthread_join(threads[i], NULL), 0);
}

static void stress(enum ash_huge_policy huge, uint32_t decay_ms, size_t limit)
{
	struct ash_arena_config config = test_config();
	struct object *kept[PRIVATE];
	struct ash_heap_stats stats;
	uint64_t rng = test_seed;

	config.huge = huge;
	config.decay_ms = decay_ms;
	config.limit = limit;
	config.reserve = ASH_GIB(1);
	limited = limit != 0;
	EXPECT_EQ(ash_arena_init(&config), 0);
	for (unsigned i = 0; i < PRIVATE; i++)
		kept[i] = make(&rng);
	for (unsigned nr = 0; nr < GENERATIONS; nr++)
		generation(nr, kept);
	for (unsigned i = 0; i < SHARED; i++)
		end(atomic_exchange(&shared[i], NULL));
	for (unsigned i = 0; i < PRIVATE; i++)
		end(kept[i]);
	ash_heap_trim();
	ash_heap_stats(&stats);
	printf("# %u served, %u refused, %zu heaps\n", served, refused, stats.heaps);
	EXPECT_EQ(bad_contents, 0);
	EXPECT_EQ(not_zero, 0);
	EXPECT_GT(served, GENERATIONS * THREADS * STEPS / 4);
	EXPECT_EQ(stats.slab_bytes, 0);
	EXPECT_EQ(stats.large_count, 0);
	/* A thread that begins while another trims, which borrows the orphans, makes a heap of its own. */
	EXPECT_LE(stats.heaps, GENERATIONS * THREADS + 1);
	check_zones();
	if (limited)
		EXPECT_GE(refused, GENERATIONS * THREADS);
	else
		EXPECT_EQ(refused, 0);
}

CHILD_TEST(with_the_usual_decay)
{
	stress(ASH_HUGE_AUTO, 10000, 0);
}

CHILD_TEST(with_decay_of_a_millisecond)
{
	stress(ASH_HUGE_AUTO, 1, 0);
}

CHILD_TEST(with_decay_at_once_on_base_pages)
{
	stress(ASH_HUGE_NONE, 0, 0);
}

CHILD_TEST(with_a_limit_that_is_met)
{
	stress(ASH_HUGE_AUTO, 1, LIMIT);
}

static void change_a_byte(void)
{
	uint64_t rng = test_seed;
	struct object *o = make(&rng);

	/* The least size is the header's. */
	EXPECT_GT(o->size, sizeof(*o));
	o->fill[0] ^= 1;
	end(o);
	EXPECT_EQ(bad_contents, 0);
}

TEST(a_changed_byte_is_noticed)
{
	EXPECT_EQ(child_status(change_a_byte), 1);
}
