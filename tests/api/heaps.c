/* SPDX-License-Identifier: MIT */
/* First-class heaps and statistics, as <ashlar/heap.h> and <ashlar/stats.h> promise them. */
#include "harness/test.h"

#include <ashlar/ashlar.h>
#include <errno.h>
#include <pthread.h>

static struct ash_stats stats(void)
{
	struct ash_stats s;

	EXPECT_EQ(ash_stats_read(&s, sizeof(s)), 0);
	return s;
}

TEST(heaps_give_memory_of_every_size_and_alignment)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);

	EXPECT(h != NULL);
	for (size_t size = 0; size < (8u << 20); size = size * 2 + 1) {
		unsigned char *p = ash_heap_alloc(h, size), *z = ash_heap_zalloc(h, size);

		EXPECT(p != NULL && z != NULL);
		EXPECT_EQ((uintptr_t)p % (size > 8 ? 16 : 8), 0);
		memset(p, 0xaa, size);
		for (size_t i = 0; i < size; i++)
			EXPECT_EQ(z[i], 0);
		for (size_t align = 1; align <= 65536; align *= 16) {
			void *a = ash_heap_aligned_alloc(h, align, size);

			EXPECT(a != NULL);
			EXPECT_EQ((uintptr_t)a % align, 0);
			memset(a, 0xbb, size);
		}
		for (size_t i = 0; i < size; i++)
			EXPECT_EQ(p[i], 0xaa);
	}
	ash_heap_destroy(h);
}

/* Where a function takes a node it takes ASH_NODE_LOCAL. */
TEST(what_moves_to_a_node_moves_to_the_local_one)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);
	char *p = ash_heap_zalloc(h, 100);
	int err;

	EXPECT(p != NULL);
	err = ash_migrate(p, 100, ASH_NODE_LOCAL);
	EXPECT(err != -ENODEV && err != -EINVAL);
	err = ash_heap_move_node(h, ASH_NODE_LOCAL);
	EXPECT(err != -ENODEV && err != -EINVAL);
	EXPECT_EQ(ash_migrate(p, 100, ASH_NODE_LOCAL - 1), -ENODEV);
	EXPECT_EQ(ash_heap_move_node(h, ASH_NODE_LOCAL - 1), -EINVAL);
	ash_heap_destroy(h);
}

TEST(objects_of_different_heaps_never_share_a_frame)
{
	struct ash_heap *a = ash_heap_create(ASH_NODE_LOCAL), *b = ash_heap_create(ASH_NODE_LOCAL);

	for (int i = 0; i < 1000; i++) {
		const uintptr_t p = (uintptr_t)ash_heap_alloc(a, 64), q = (uintptr_t)ash_heap_alloc(b, 64);
		const uintptr_t m = (uintptr_t)ash_malloc(64);

		EXPECT_NE(p / ASH_FRAME_BYTES, q / ASH_FRAME_BYTES);
		EXPECT_NE(p / ASH_FRAME_BYTES, m / ASH_FRAME_BYTES);
		ash_free((void *)m);
	}
	ash_heap_destroy(a);
	ash_heap_destroy(b);
}

TEST(reset_frees_everything_and_the_memory_comes_back)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);
	size_t before, full;

	(void)!ash_heap_alloc(h, 1);
	ash_heap_reset(h);
	before = stats().live_bytes + stats().cached_bytes;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 5000; i++)
			memset(ash_heap_alloc(h, 400), 1, 400);
		memset(ash_heap_alloc(h, 3 << 20), 1, 3 << 20);
		full = stats().live_bytes;
		EXPECT_GE(full, before + 5000 * 400);
		ash_heap_reset(h);
	}
	EXPECT_LE(stats().live_bytes, before + (1u << 20));
	ash_heap_destroy(h);
}

TEST(destroyed_heaps_leave_nothing)
{
	size_t online = 0;

	for (int round = 0; round < 300; round++) {
		struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);

		EXPECT(h != NULL);
		for (int i = 0; i < 300; i++)
			memset(ash_heap_alloc(h, 1000), 1, 1000);
		ash_heap_destroy(h);
		if (round == 50)
			online = stats().online_bytes;
	}
	EXPECT_LE(stats().online_bytes, online + (4u << 20));
	ash_heap_destroy(NULL);
}

TEST(single_objects_can_be_freed_and_are_reused)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);
	size_t online = 0;

	for (int i = 0; i < 20000; i++) {
		void *p = ash_heap_alloc(h, 2000), *q = ash_heap_alloc(h, 500000);

		EXPECT(p != NULL && q != NULL);
		memset(q, 1, 4096);
		ash_free(p);
		ash_free(q);
		if (i == 1000)
			online = stats().online_bytes;
	}
	EXPECT_LE(stats().online_bytes, online + (8u << 20));
	ash_heap_destroy(h);
}

static void *free_it(void *p)
{
	ash_free(p);
	return NULL;
}

TEST(objects_may_be_freed_by_any_thread)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);

	for (int i = 0; i < 100; i++) {
		pthread_t thread;

		EXPECT_EQ(pthread_create(&thread, NULL, free_it, ash_heap_alloc(h, i % 2 == 0 ? 100 : 200000)), 0);
		pthread_join(thread, NULL);
	}
	EXPECT(ash_heap_alloc(h, 100) != NULL);
	ash_heap_destroy(h);
}

static void *own_heap(void *unused)
{
	for (int round = 0; round < 20; round++) {
		struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);

		for (unsigned i = 0; i < 2000; i++) {
			unsigned *p = ash_heap_alloc(h, 16 + i % 500);

			*p = i;
		}
		ash_heap_reset(h);
		(void)!ash_heap_zalloc(h, 100);
		ash_heap_destroy(h);
	}
	return unused;
}

TEST(threads_with_heaps_of_their_own_do_not_meet)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		EXPECT_EQ(pthread_create(&threads[i], NULL, own_heap, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

TEST(impossible_requests_are_refused)
{
	struct ash_heap *h = ash_heap_create(ASH_NODE_LOCAL);

	errno = 0;
	EXPECT(ash_heap_alloc(h, SIZE_MAX) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_heap_zalloc(h, (size_t)PTRDIFF_MAX) == NULL);
	EXPECT_EQ(errno, ENOMEM);
	errno = 0;
	EXPECT(ash_heap_aligned_alloc(h, 48, 10) == NULL);
	EXPECT_EQ(errno, EINVAL);
	errno = 0;
	EXPECT(ash_heap_create(-2) == NULL);
	EXPECT_EQ(errno, EINVAL);
	ash_heap_destroy(h);
}

TEST(stats_follow_the_program)
{
	const struct ash_stats before = stats();
	void *large = ash_malloc(5 << 20);
	struct ash_stats during;

	EXPECT(large != NULL);
	memset(large, 1, 5 << 20);
	during = stats();
	EXPECT_EQ(during.version, ASH_STATS_VERSION);
	EXPECT_EQ(during.size, sizeof(during));
	EXPECT_GE(during.live_bytes, before.live_bytes + (5 << 20));
	EXPECT_EQ(during.large_count, before.large_count + 1);
	EXPECT_GE(during.online_bytes, during.live_bytes);
	EXPECT_GE(during.peak_online_bytes, during.online_bytes);
	EXPECT_GE(during.reserved_bytes, during.online_bytes);
	EXPECT_GE(during.free_bytes, during.absent_bytes);
	EXPECT_GE(during.arenas, 1);
	EXPECT_GE(during.heaps, 1);
	ash_free(large);
	EXPECT_EQ(stats().large_count, before.large_count);
}

/* An older and a newer program than the library: it fills what both know, and the rest reads as 0. */
TEST(stats_are_sized_by_the_caller)
{
	struct {
		struct ash_stats known;
		uint64_t unknown[4];
	} newer;
	struct ash_stats older;

	memset(&newer, 0xff, sizeof(newer));
	EXPECT_EQ(ash_stats_read(&newer.known, sizeof(newer)), 0);
	EXPECT_EQ(newer.known.size, sizeof(newer.known));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(newer.unknown[i], 0);
	memset(&older, 0xff, sizeof(older));
	EXPECT_EQ(ash_stats_read(&older, 16), 0);
	EXPECT_EQ(older.size, 16);
	EXPECT_NE(older.live_bytes, UINT64_MAX);
	EXPECT_EQ(older.cached_bytes, UINT64_MAX);
	EXPECT_EQ(ash_stats_read(NULL, sizeof(older)), -EINVAL);
	EXPECT_EQ(ash_stats_read(&older, 4), -EINVAL);
}

TEST(arenas_can_be_listed)
{
	unsigned found = 0, index = 0;
	struct ash_arena_info info;
	uint64_t online = 0;
	void *p = ash_malloc(100);
	int err;

	while ((err = ash_arena_info_read(index++, &info, sizeof(info))) != -ERANGE) {
		if (err == -ENOENT)
			continue;
		EXPECT_EQ(err, 0);
		found++;
		online += info.online_bytes;
		EXPECT_GE(info.node, 0);
		EXPECT_LE(info.online_bytes, info.span_bytes);
		EXPECT_LE(info.free_bytes, info.online_bytes);
		EXPECT_EQ(info.backed_bytes[0] + info.backed_bytes[1] + info.backed_bytes[2] + info.backed_bytes[3],
			  info.online_bytes);
		EXPECT_LT(index, 1000);
	}
	EXPECT_EQ(found, stats().arenas);
	EXPECT_EQ(online, stats().online_bytes);
	ash_free(p);
}

TEST(pages_know_their_arena)
{
	char *p = ash_malloc(3 << 20);
	struct ash_arena_info arena;
	struct ash_page_info info;
	int local = 0;

	EXPECT_EQ(ash_page_info_read(p + 5000, &info, sizeof(info)), 0);
	EXPECT_EQ(info.frame, (uintptr_t)(p + 5000) / ASH_FRAME_BYTES * ASH_FRAME_BYTES);
	EXPECT_EQ(ash_arena_info_read(info.arena, &arena, sizeof(arena)), 0);
	EXPECT_EQ(arena.start + info.pfn * ASH_FRAME_BYTES, info.frame);
	EXPECT_EQ(arena.node, info.node);
	EXPECT_EQ(ash_page_info_read(&local, &info, sizeof(info)), -ENOENT);
	EXPECT_EQ(ash_page_info_read(NULL, &info, sizeof(info)), -ENOENT);
	ash_free(p);
}

TEST(trim_gives_memory_back)
{
	enum { N = 100 };
	void *p[N];
	size_t absent;

	for (int i = 0; i < N; i++) {
		p[i] = ash_malloc(200000);
		memset(p[i], 1, 200000);
	}
	for (int i = 0; i < N; i++)
		ash_free(p[i]);
	absent = stats().absent_bytes;
	EXPECT_GE(ash_trim(), 10u << 20);
	EXPECT_GE(stats().absent_bytes, absent + (10u << 20));
}
