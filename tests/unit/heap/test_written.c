/* SPDX-License-Identifier: MIT */
/*
 * A program that writes to what another thread has freed: to the words of an object on its way home that say where
 * others are. Whoever takes it home finds out, on each of the ways.
 */
#include "harness/test.h"

#include <pthread.h>

#include "borrow_no_more.h"
#include "dies.h"
#include "fake_arena.h"
#include "heap/fast.h"
#include "nothing_left.h"
#include "run_thread.h"

enum { NR = 48, LINK = 0, BATCH = 1, CARRIED = 2 };

/* One with objects at multiples of a power of two, and one without. */
static const size_t sizes[] = { 96, 128 };
static size_t size;
static void *object[NR];

static void allocate(void)
{
	for (unsigned i = 0; i < NR; i++)
		object[i] = ash_heap_malloc(size);
}

static void *free_all(void *arg)
{
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(object[i]);
	ash_heap_thread_exit();
	return arg;
}

static void *allocate_and_end(void *arg)
{
	borrow_no_more();
	allocate();
	ash_heap_thread_exit();
	return arg;
}

/* With what it carries: the bin is full. */
static void take_home_to_a_slab(void)
{
	ash_heap_self->bins.room[ash_class_of(size)] = 0;
	(void)ash_remote_drain(ash_heap_self);
}

static void take_home_to_a_bin(void)
{
	(void)ash_remote_drain(ash_heap_self);
}

static void write_at(unsigned word, uintptr_t value)
{
	((uintptr_t *)object[0])[word] = value;
}

/* The word of the first object, which carries others, becomes this much more. */
static void add_to(unsigned word, uintptr_t more)
{
	write_at(word, ((uintptr_t *)object[0])[word] + more);
}

static void begin(void)
{
	borrow_no_more();
	allocate();
	run_thread(free_all, NULL);
}

#define BOTH_WAYS(name, ...)                                                                                           \
	static void name##_to_a_slab(void)                                                                             \
	{                                                                                                              \
		begin();                                                                                               \
		__VA_ARGS__;                                                                                           \
		take_home_to_a_slab();                                                                                 \
	}                                                                                                              \
	static void name##_to_a_bin(void)                                                                              \
	{                                                                                                              \
		begin();                                                                                               \
		__VA_ARGS__;                                                                                           \
		take_home_to_a_bin();                                                                                  \
	}

BOTH_WAYS(nothing, (void)0)
BOTH_WAYS(an_address_of_nothing, write_at(CARRIED, 0x6b6b6b6b6b6b6b60))
BOTH_WAYS(a_zero, write_at(CARRIED, 0))
BOTH_WAYS(an_object_s_middle, add_to(CARRIED, size / 2))
BOTH_WAYS(one_byte_further, add_to(CARRIED + 1, 1))
BOTH_WAYS(no_link, write_at(LINK, 0))
BOTH_WAYS(a_link_to_nothing, write_at(LINK, 0x6b6b6b6b6b60))
BOTH_WAYS(a_link_to_unused_memory, write_at(LINK, (uintptr_t)ash_frame_address(FAKE_FRAMES - 1)))
BOTH_WAYS(more_than_there_is_room_for, add_to(LINK, (uintptr_t)5 << ASH_CARRIED_SHIFT))

/* Whether fn dies with objects of each of the sizes. */
static bool always_dies(void (*fn)(void))
{
	unsigned died = 0;

	for (unsigned i = 0; i < ASH_ARRAY_LEN(sizes); i++) {
		size = sizes[i];
		died += dies(fn);
	}
	return died == ASH_ARRAY_LEN(sizes);
}

TEST(what_nobody_wrote_to_comes_home)
{
	for (unsigned i = 0; i < ASH_ARRAY_LEN(sizes); i++) {
		size = sizes[i];
		EXPECT(!dies(nothing_to_a_slab));
		EXPECT(!dies(nothing_to_a_bin));
	}
}

TEST(a_wrong_address_in_what_carries_is_seen)
{
	EXPECT(always_dies(an_address_of_nothing_to_a_slab));
	EXPECT(always_dies(an_address_of_nothing_to_a_bin));
	EXPECT(always_dies(a_zero_to_a_slab));
	EXPECT(always_dies(a_zero_to_a_bin));
}

TEST(an_address_that_is_no_object_s_is_seen)
{
	EXPECT(always_dies(an_object_s_middle_to_a_slab));
	EXPECT(always_dies(an_object_s_middle_to_a_bin));
	EXPECT(always_dies(one_byte_further_to_a_slab));
	EXPECT(always_dies(one_byte_further_to_a_bin));
}

TEST(a_wrong_link_is_seen)
{
	EXPECT(always_dies(no_link_to_a_slab));
	EXPECT(always_dies(no_link_to_a_bin));
	EXPECT(always_dies(a_link_to_nothing_to_a_slab));
	EXPECT(always_dies(a_link_to_nothing_to_a_bin));
	EXPECT(always_dies(a_link_to_unused_memory_to_a_slab));
	EXPECT(always_dies(a_link_to_unused_memory_to_a_bin));
	EXPECT(always_dies(more_than_there_is_room_for_to_a_slab));
	EXPECT(always_dies(more_than_there_is_room_for_to_a_bin));
}

/* An orphan's slabs get them from whoever freed them. */
static void free_to_an_orphan(void)
{
	borrow_no_more(); /* with a heap of its own, which is not the orphan */
	run_thread(allocate_and_end, NULL);
	for (unsigned i = 0; i < NR; i++)
		ash_heap_free(object[i]);
}

static void no_link_to_an_orphan(void)
{
	free_to_an_orphan();
	write_at(LINK, 0);
	ash_heap_flush_thread();
}

static void middle_to_an_orphan(void)
{
	free_to_an_orphan();
	add_to(CARRIED, size / 2);
	ash_heap_flush_thread();
}

TEST(who_acts_for_an_orphan_sees_it_too)
{
	EXPECT(always_dies(no_link_to_an_orphan));
	EXPECT(always_dies(middle_to_an_orphan));
}

/* It stands in the object that was linked last. */
static void batch_behind_is_wrong(void)
{
	const unsigned linked_each = (unsigned)(ash_class_carries[ash_class_of(size)] >> ASH_CARRIED_SHIFT) + 1;

	begin();
	object[0] = object[(NR - 1) / linked_each * linked_each];
	write_at(BATCH, 0x6b6b6b6b6b60);
	take_home_to_a_bin();
}

TEST(a_wrong_way_to_the_next_batch_is_seen)
{
	EXPECT(always_dies(batch_behind_is_wrong));
}
