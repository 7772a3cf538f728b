/* SPDX-License-Identifier: MIT */
/*
 * Threads: memory that crosses them, and threads that come and go without leaving memory behind.
 *
 * Leaks are judged by what malloc itself says is in use (mallinfo2), before and after, with everything freed.
 */
#include "harness/test.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common.h"

static size_t live_bytes(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* What the C library keeps per ended thread, and ours in caches, is bounded; a leak per thread is not. */
static size_t slack(void)
{
	return 256u << 10;
}

static size_t random_size(uint64_t *random)
{
	const uint64_t dice = test_random(random);

	return (dice >> 8) % ((dice & 127) == 0 ? 300000 : (dice & 7) == 0 ? 20000 : 500) + 1;
}

static pthread_barrier_t all_here;

/* As many heaps as there are threads, each with objects: what later threads take over, however they are scheduled. */
static void *life_beside_others(void *seed)
{
	uint64_t random = (uintptr_t)seed;
	void *p[200];

	for (int i = 0; i < 200; i++) {
		p[i] = malloc(random_size(&random));
		memset(p[i], 1, 1);
	}
	(void)pthread_barrier_wait(&all_here);
	for (int i = 0; i < 200; i++)
		free(p[i]);
	return NULL;
}

/* A thread that uses malloc the way threads do, at its end as well: the C library frees text buffers after all keys. */
static void *short_life(void *seed)
{
	uint64_t random = (uintptr_t)seed;
	void *p[20];

	for (int i = 0; i < 20; i++) {
		p[i] = malloc(random_size(&random));
		memset(p[i], 1, 1);
	}
	for (int i = 0; i < 20; i++)
		free(p[i]);
	return strsignal(100 + (int)((uintptr_t)seed % 3)) != NULL ? NULL : seed;
}

static void run_threads(int n, int at_once, void *(*body)(void *))
{
	pthread_t threads[64];
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	for (int done = 0; done < n; done += at_once) {
		for (int i = 0; i < at_once; i++)
			EXPECT_EQ(pthread_create(&threads[i], &attr, body, (void *)(uintptr_t)(done + i + 1)), 0);
		for (int i = 0; i < at_once; i++)
			EXPECT_EQ((intptr_t)pthread_join(threads[i], NULL), 0);
	}
	pthread_attr_destroy(&attr);
}

TEST(threads_that_come_and_go_leave_nothing)
{
	size_t before;

	run_threads(200, 8, short_life);
	before = live_bytes();
	run_threads(4000, 8, short_life);
	EXPECT_LE(live_bytes(), before + slack());
}

TEST(ten_thousand_threads)
{
	size_t before, resident[2];
	long pages;
	FILE *statm;

	EXPECT_EQ(pthread_barrier_init(&all_here, NULL, 64), 0);
	run_threads(64, 64, life_beside_others);
	before = live_bytes();
	for (int i = 0; i < 2; i++) {
		run_threads(i == 0 ? 1024 : 10000 - 1024 + 16, 16, short_life);
		/* What is free and still there is the clock's business. */
		malloc_trim(0);
		statm = fopen("/proc/self/statm", "r");
		EXPECT(statm != NULL);
		EXPECT_EQ(fscanf(statm, "%*d %ld", &pages), 1);
		fclose(statm);
		resident[i] = (size_t)pages << 12;
	}
	EXPECT_LE(live_bytes(), before + slack());
	printf("# resident after 1024 and 10000 threads: %zu and %zu KiB\n", resident[0] >> 10, resident[1] >> 10);
	/* A heap's structure for each thread would be 18 MiB. */
	EXPECT_LE(resident[1], resident[0] + (12u << 20));
}

/* Objects made by one thread and freed by another, both ways, in sizes of every kind. */
enum { RING = 256, PASSED = 30000 };

struct ring {
	_Atomic(unsigned char *) slot[RING];
	_Atomic unsigned wrong;
};

static void *producer(void *argument)
{
	struct ring *ring = argument;
	uint64_t random = test_seed;

	for (unsigned i = 0; i < PASSED; i++) {
		const size_t size = random_size(&random) + sizeof(size_t);
		unsigned char *p = malloc(size);

		memcpy(p, &size, sizeof(size));
		fill(p + sizeof(size), size - sizeof(size), 3);
		while (atomic_load_explicit(&ring->slot[i % RING], memory_order_acquire) != NULL)
			sched_yield();
		atomic_store_explicit(&ring->slot[i % RING], p, memory_order_release);
	}
	return NULL;
}

static void *consumer(void *argument)
{
	struct ring *ring = argument;

	for (unsigned i = 0; i < PASSED; i++) {
		unsigned char *p;
		size_t size;

		while ((p = atomic_load_explicit(&ring->slot[i % RING], memory_order_acquire)) == NULL)
			sched_yield();
		atomic_store_explicit(&ring->slot[i % RING], NULL, memory_order_release);
		memcpy(&size, p, sizeof(size));
		if (differs(p + sizeof(size), size - sizeof(size), 3) != size - sizeof(size))
			ring->wrong++;
		if (i % 4 == 0)
			p = realloc(p, size + 100);
		free(p);
	}
	return NULL;
}

TEST(objects_may_be_freed_by_other_threads)
{
	static struct ring rings[2];
	pthread_t threads[4];
	size_t before = live_bytes();

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 4; i++)
			EXPECT_EQ(pthread_create(&threads[i], NULL, i % 2 == 0 ? producer : consumer, &rings[i / 2]),
				  0);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		EXPECT_EQ(rings[0].wrong + rings[1].wrong, 0);
	}
	EXPECT_LE(live_bytes(), before + slack());
}

/* Memory outlives the thread that made it. */
static void *maker(void *seed)
{
	void **p = malloc(100 * sizeof(*p));
	uint64_t random = (uintptr_t)seed;

	for (unsigned i = 0; i < 100; i++) {
		const size_t size = random_size(&random);

		p[i] = malloc(size);
		fill(p[i], size, i);
	}
	return p;
}

TEST(memory_outlives_its_thread)
{
	const size_t before = live_bytes();

	for (uintptr_t round = 1; round <= 100; round++) {
		uint64_t random = round;
		pthread_t thread;
		void *result, **p;

		EXPECT_EQ(pthread_create(&thread, NULL, maker, (void *)round), 0);
		pthread_join(thread, &result);
		p = result;
		for (unsigned i = 0; i < 100; i++) {
			const size_t size = random_size(&random);

			EXPECT_EQ(differs(p[i], size, i), size);
			free(p[i]);
		}
		free(p);
	}
	EXPECT_LE(live_bytes(), before + slack());
}

/* Destructors of thread-specific data allocate and free, in every round they are given. */
static pthread_key_t keys[8];
static _Atomic unsigned destructed;

static void destructor(void *value)
{
	const uintptr_t round = (uintptr_t)value;
	char *p = malloc(5000), *q = calloc(1, 300);

	memset(p, 1, 5000);
	free(realloc(p, 9000));
	free(q);
	destructed++;
	if (round < 4)
		pthread_setspecific(keys[round % 8], (void *)(round + 1));
}

static void *with_keys(void *unused)
{
	for (int i = 0; i < 8; i++)
		pthread_setspecific(keys[i], (void *)1);
	free(malloc(1000));
	return NULL;
}

TEST(destructors_of_thread_data_may_allocate)
{
	size_t before;

	for (int i = 0; i < 8; i++)
		EXPECT_EQ(pthread_key_create(&keys[i], destructor), 0);
	run_threads(100, 4, with_keys);
	before = live_bytes();
	run_threads(2000, 4, with_keys);
	EXPECT_GE(destructed, 8 * 2100);
	EXPECT_LE(live_bytes(), before + slack());
	for (int i = 0; i < 8; i++)
		pthread_key_delete(keys[i]);
}

static void *never_frees_here(void *unused)
{
	for (;;) {
		free(malloc(3000));
		pthread_testcancel();
	}
	return NULL;
}

TEST(cancelled_threads_leave_nothing)
{
	size_t before = 0;

	for (int i = 0; i < 400; i++) {
		pthread_t thread;

		if (i == 50)
			before = live_bytes();
		EXPECT_EQ(pthread_create(&thread, NULL, never_frees_here, NULL), 0);
		EXPECT_EQ(pthread_cancel(thread), 0);
		pthread_join(thread, NULL);
	}
	EXPECT_LE(live_bytes(), before + slack());
}
