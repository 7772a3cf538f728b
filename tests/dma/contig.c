/* SPDX-License-Identifier: MIT */
/*
 * Long runs out of arenas full of small things: what can be moved is moved, what can be dropped is dropped, what can be
 * neither is named.
 */
#include "arena/child.h"
#include "dma/witness.h"

#include <pthread.h>

enum { OBJECTS = 900 };

/* Objects known by one pointer each, as a cache would know them. */
static struct {
	pthread_mutex_t lock;
	unsigned char *at;
	unsigned moves, refuse;
} object[OBJECTS];

static int on_move(void *to, void *from, size_t bytes, void *arg)
{
	const size_t i = (size_t)(uintptr_t)arg;
	int ret = -1;

	pthread_mutex_lock(&object[i].lock);
	if (object[i].at == from && !object[i].refuse) {
		memcpy(to, from, bytes);
		object[i].at = to;
		object[i].moves++;
		ret = 0;
	}
	pthread_mutex_unlock(&object[i].lock);
	return ret;
}

static int on_drop(void *p, size_t bytes, void *arg)
{
	const size_t i = (size_t)(uintptr_t)arg;

	EXPECT(object[i].at == p);
	EXPECT_EQ(bytes, 4096);
	if (object[i].refuse)
		return -1;
	object[i].at = NULL;
	object[i].moves++;
	return ash_dma_free(p);
}

static const struct ash_dma_object_ops movable = { on_move, NULL }, droppable = { NULL, on_drop };

/* Fill what two huge pages hold with objects, and free every fourth: free memory is nowhere in one piece. */
static void fragment(const struct ash_dma_object_ops *ops)
{
	for (size_t i = 0; i < OBJECTS; i++) {
		pthread_mutex_init(&object[i].lock, NULL);
		object[i].at = ash_dma_alloc_object(4096, ops, (void *)(uintptr_t)i, ASH_NODE_LOCAL, 0);
		EXPECT(object[i].at != NULL);
		memset(object[i].at, (int)i, 4096);
	}
	for (size_t i = 0; i < OBJECTS; i += 2) {
		EXPECT_EQ(ash_dma_free(object[i].at), 0);
		object[i].at = NULL;
	}
}

static void check_objects(void)
{
	for (size_t i = 0; i < OBJECTS; i++) {
		for (size_t k = 0; k < 4096 && object[i].at != NULL; k += 511)
			EXPECT_EQ(object[i].at[k], (unsigned char)i);
	}
}

static char *contiguous(size_t bytes, struct ash_dma_error *error)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);

	error->size = sizeof(*error);
	attr.error = error;
	attr.flags = ASH_DMA_NO_GROW;
	return ash_dma_alloc(bytes, &attr);
}

/* The two huge pages, in one arena: what is moved out of a pageblock is moved into another. */
static void need_huge_pages(void)
{
	struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);
	void *p[2];

	for (unsigned i = 0; i < 2; i++) {
		p[i] = ash_dma_alloc(MIB(2), &attr);
		if (p[i] == NULL)
			SKIP("no huge pages to be had, or no pins");
	}
	if (describe(p[0]).phys_known != describe(p[1]).phys_known)
		SKIP("the kernel lets one page be pinned and another not");
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(ash_dma_free(p[i]), 0);
}

CHILD_TEST(what_can_move_makes_room)
{
	struct ash_dma_error error;
	unsigned moves = 0;
	char *p;

	need_huge_pages();
	fragment(&movable);
	p = contiguous(MIB(1), &error);
	EXPECT(p != NULL);
	memset(p, 0xff, MIB(1));
	check_objects();
	for (size_t i = 0; i < OBJECTS; i++)
		moves += object[i].moves;
	EXPECT_GT(moves, 0);
	/* Moved objects end like others, once. */
	for (size_t i = 0; i < OBJECTS; i++) {
		if (object[i].at != NULL) {
			EXPECT_EQ(ash_dma_free(object[i].at), 0);
			EXPECT_EQ(ash_dma_free(object[i].at), -EINVAL);
		}
	}
	EXPECT_EQ(ash_dma_free(p), 0);
	EXPECT_GE(ash_dma_trim(), MIB(4));
}

CHILD_TEST(what_can_be_dropped_makes_room)
{
	struct ash_dma_error error;
	char *p;

	need_huge_pages();
	fragment(&droppable);
	p = contiguous(MIB(1), &error);
	EXPECT(p != NULL);
	memset(p, 0xff, MIB(1));
	check_objects();
}

CHILD_TEST(what_can_neither_is_named_and_left_alone)
{
	struct ash_dma_error error;
	char text[512];

	need_huge_pages();
	fragment(&movable);
	for (size_t i = 0; i < OBJECTS; i++)
		object[i].refuse = 1;
	EXPECT(contiguous(MIB(1), &error) == NULL);
	EXPECT_EQ(error.reason, ASH_DMA_NOT_CONTIGUOUS);
	EXPECT_LT(error.largest, MIB(1));
	EXPECT_GE(error.largest_isolated, MIB(1));
	check_objects();
	for (size_t i = 0; i < OBJECTS; i++)
		EXPECT_EQ(object[i].moves, 0);
	EXPECT_GT(ash_dma_explain(&error, text, sizeof(text)), 0);
	EXPECT(strstr(text, "longest contiguous") != NULL);
}

/* Buffers, whose addresses devices hold, do not move; one of them in each stretch is in the way of every longer run. */
CHILD_TEST(buffers_are_in_the_way_and_are_named)
{
	static void *buffer[1024];
	struct ash_dma_error error;
	unsigned n = 0;

	need_huge_pages();
	while (n < 1024) {
		struct ash_dma_attr attr = wish(ASH_DMA_PHYSICAL);

		attr.flags = ASH_DMA_NO_GROW;
		buffer[n] = ash_dma_alloc(4096, &attr);
		if (buffer[n] == NULL)
			break;
		n++;
	}
	EXPECT_GE(n, 256);
	for (unsigned i = 0; i < n; i += 2)
		EXPECT_EQ(ash_dma_free(buffer[i]), 0);
	EXPECT(contiguous(KIB(64), &error) == NULL);
	EXPECT_EQ(error.reason, ASH_DMA_NOT_CONTIGUOUS);
	EXPECT_EQ(error.largest, 4096);
	EXPECT(error.blocker != NULL);
	EXPECT_EQ(describe(error.blocker).bytes, 4096);
}

static bool stop;

static void *use_objects(void *arg)
{
	uint64_t state = 7;
	unsigned long used = 0;

	(void)arg;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		const size_t i = test_random(&state) % OBJECTS;

		pthread_mutex_lock(&object[i].lock);
		if (object[i].at != NULL) {
			if (object[i].at[100] != (unsigned char)i)
				used = 1ul << 62;
			if (test_random(&state) % 64 == 0) {
				if (ash_dma_free(object[i].at) != 0)
					used = 1ul << 62;
				object[i].at = NULL;
			}
		}
		pthread_mutex_unlock(&object[i].lock);
		used++;
	}
	return (void *)(used >> 62);
}

CHILD_TEST(objects_move_under_threads_that_use_and_free_them)
{
	struct ash_dma_error error;
	pthread_t thread;
	void *failed;

	need_huge_pages();
	fragment(&movable);
	EXPECT_EQ(pthread_create(&thread, NULL, use_objects, NULL), 0);
	for (unsigned i = 0; i < 60; i++) {
		char *p = contiguous(KIB(256) << i % 3, &error);

		if (p != NULL) {
			memset(p, 0xff, KIB(256));
			EXPECT_EQ(ash_dma_free(p), 0);
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	EXPECT_EQ(pthread_join(thread, &failed), 0);
	EXPECT(failed == NULL);
	check_objects();
}

CHILD_TEST(an_object_that_contradicts_itself_is_refused)
{
	const struct ash_dma_object_ops none = { NULL, NULL };

	EXPECT(ash_dma_alloc_object(4096, &none, NULL, ASH_NODE_LOCAL, 0) == NULL);
	EXPECT_EQ(errno, EINVAL);
	EXPECT(ash_dma_alloc_object(0, &movable, NULL, ASH_NODE_LOCAL, 0) == NULL);
	EXPECT(ash_dma_alloc_object(MIB(4), &movable, NULL, ASH_NODE_LOCAL, 0) == NULL);
}
