/* SPDX-License-Identifier: MIT */
/*
 * fork: a child that can allocate at once, and that never dies of a dry huge page pool.
 *
 * Every lock is taken before and released after on both sides, outermost first, so the child's copy of each is one that
 * was at rest. Ordinary memory needs no more: the kernel copies it on write.
 *
 * Private hugetlb memory does. Parent and child share its pages until one writes, the copy must come from the pool, and
 * when the pool is dry the kernel kills the child (SIGBUS), be it on its own write or, later, on a read of a page that
 * the parent took back. So with ASH_FORK_COPY the child does not get hugetlb memory at all: before the fork, with every
 * lock held, its contents are copied to ordinary memory; the original is marked DONTFORK; in the child the copy is
 * moved to the addresses of the original (page tables move, bytes do not). The parent unmarks the original and unmaps
 * the copy. Since the pages are never shared, the parent too never copies on write: neither side touches the pool, and
 * no other thread of the parent has to be stopped.
 *
 * Why the copy is made before the fork and not by the child: a child that copies reads pages which other threads of the
 * parent may be writing, and each such write takes the page from the child if the pool is dry. What the copy misses is
 * what other threads write to hugetlb memory between the copy and the fork; the kernel's own fork copies page tables
 * while such threads run and orders their writes no better. Memory that is quiescent because atfork handlers hold its
 * locks is exact: ours is registered first, so its prepare runs after the program's.
 *
 * Between the fork and its handlers the child has holes where hugetlb memory was, and the C library may already want
 * that memory: ash_arena_fork_rescue() is for whoever catches the fault (api/fork_fault.c).
 *
 * A thread that is alone may fork in a signal handler that interrupted this library. If any lock is held then, it is
 * left held, and the zones, which may be in the middle of something, are left alone: free pageblocks are copied with
 * the others. What says which pageblock has which memory is at rest all the same, since it changes with signals blocked
 * (huge.c).
 *
 * What this does not cover: clone() and _Fork() called directly, which run no handlers; and see decision 005.
 */
#include <errno.h>
#include <string.h>

#include "arena/internal.h"
#include "os/log.h"

bool ash_arena_has_hugetlb(struct ash_arena *a)
{
	return atomic_load_explicit(&a->backed[ASH_BACKING_HUGETLB_2M], memory_order_relaxed) > 0 ||
	       atomic_load_explicit(&a->backed[ASH_BACKING_HUGETLB_1G], memory_order_relaxed) > 0;
}

/* Locks are left as they are; constant between prepare and what follows it. */
static bool fork_leaves_locks;

static uint8_t pb_word(struct ash_arena *a, ash_pfn_t pfn)
{
	return atomic_load_explicit(&a->backing[pfn >> ASH_PAGEBLOCK_ORDER], memory_order_relaxed);
}

static void pb_store(struct ash_arena *a, ash_pfn_t pfn, uint8_t word)
{
	atomic_store_explicit(&a->backing[pfn >> ASH_PAGEBLOCK_ORDER], word, memory_order_relaxed);
}

static void *rescue_address(const struct ash_arena *a, ash_pfn_t pfn)
{
	return (char *)a->rescue + ((size_t)pfn << ASH_PAGE_SHIFT);
}

/* Free pageblocks are not worth copying: they are taken out of the zone for the time being. Before the zone is
 * locked. */
static void spare_free_blocks(struct ash_arena *a)
{
	struct ash_page_grant g;

	while (ash_zone_alloc(a->zone, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) == 0)
		pb_store(a, g.pfn, pb_word(a, g.pfn) | ASH_PB_SPARED);
}

void ash_arena_unspare(struct ash_arena *a)
{
	const ash_pfn_t end = atomic_load_explicit(&a->end, memory_order_relaxed);

	for (ash_pfn_t pfn = 0; pfn < end; pfn += ASH_PB_FRAMES) {
		const uint8_t word = pb_word(a, pfn);

		if ((word & ASH_PB_SPARED) == 0)
			continue;
		pb_store(a, pfn, (uint8_t)(word & ~ASH_PB_SPARED));
		ash_zone_free(a->zone, pfn, ASH_PAGEBLOCK_ORDER, ASH_CPU_NONE);
	}
	/* Whoever found nothing meanwhile and waits for the turn looks again before it grows. */
	atomic_fetch_add_explicit(&a->growths, 1, memory_order_release);
}

/* The copy covers the arena from its first frame, so that one mremap puts it in place; what is not copied stays
 * untouched and costs nothing. */
static bool rescue_prepare(struct ash_arena *a)
{
	const ash_pfn_t end = atomic_load_explicit(&a->end, memory_order_relaxed);
	const size_t bytes = (size_t)end << ASH_PAGE_SHIFT;

	if (ash_vmem_map(bytes, &a->rescue) < 0) {
		a->rescue = NULL;
		return false;
	}
	(void)ash_vmem_advise(a->rescue, bytes, ASH_VMEM_HUGE);
	for (ash_pfn_t pfn = 0; pfn < end; pfn += ASH_PB_FRAMES) {
		const uint8_t word = pb_word(a, pfn);

		if (word != 0 && (word & (ASH_PB_RETURNED | ASH_PB_SPARED)) == 0)
			memcpy(rescue_address(a, pfn), ash_arena_address(a, pfn), ASH_PB_BYTES);
	}
	if (ash_vmem_advise((void *)a->start, bytes, ASH_VMEM_DONTFORK) < 0) {
		(void)ash_vmem_unmap(a->rescue, bytes);
		a->rescue = NULL;
		return false;
	}
	a->rescue_frames = end;
	return true;
}

static void rescue_drop(struct ash_arena *a)
{
	const size_t bytes = (size_t)a->rescue_frames << ASH_PAGE_SHIFT;

	(void)ash_vmem_advise((void *)a->start, bytes, ASH_VMEM_DOFORK);
	(void)ash_vmem_unmap(a->rescue, bytes);
	a->rescue = NULL;
	a->rescue_frames = 0;
}

/* Freed to the zone by unspare; where the zone must be left alone, held from it until proved, as before. */
static uint8_t word_in_child(uint8_t word)
{
	const uint8_t held = word & (ASH_PB_RETURNED | ASH_PB_SPARED);

	if (!fork_leaves_locks && held != 0)
		return ASH_PB_SPARED | (1 + ASH_BACKING_THP);
	return held | (1 + ASH_BACKING_THP);
}

/* In the child: the copy takes the original's place, and from here on the arena is ordinary memory. */
static void rescue_install(struct ash_arena *a)
{
	const size_t bytes = (size_t)a->rescue_frames << ASH_PAGE_SHIFT;
	size_t frames = 0;

	if (ash_vmem_move(a->rescue, (void *)a->start, bytes) < 0) {
		ash_log("fork: the child's memory could not be put in place");
		__builtin_trap();
	}
	a->rescue = NULL;
	for (ash_pfn_t pfn = 0; pfn < a->rescue_frames; pfn += ASH_PB_FRAMES) {
		const uint8_t word = pb_word(a, pfn);

		if (word == 0)
			continue;
		pb_store(a, pfn, word_in_child(word));
		frames += ASH_PB_FRAMES;
	}
	if (!fork_leaves_locks)
		atomic_store_explicit(&a->returned, 0, memory_order_relaxed);
	atomic_store_explicit(&a->backed[ASH_BACKING_HUGETLB_1G], 0, memory_order_relaxed);
	atomic_store_explicit(&a->backed[ASH_BACKING_HUGETLB_2M], 0, memory_order_relaxed);
	atomic_store_explicit(&a->backed[ASH_BACKING_THP], frames, memory_order_relaxed);
}

static bool wants_rescue(struct ash_arena *a)
{
	return ash_arenas.config.fork == ASH_FORK_COPY && ash_arena_has_hugetlb(a);
}

bool ash_arena_fork_copies(void)
{
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL && wants_rescue(a))
			return true;
	}
	return false;
}

static void each_arena(void (*fn)(struct ash_arena *a))
{
	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL)
			fn(a);
	}
}

static void prepare_free(struct ash_arena *a)
{
	if (wants_rescue(a))
		spare_free_blocks(a);
}

static void prepare_copy(struct ash_arena *a)
{
	if (!fork_leaves_locks)
		ash_zone_lock_all(a->zone);
	if (wants_rescue(a) && !rescue_prepare(a))
		ash_log("fork: no memory to copy huge pages to; the child depends on the pool");
}

void ash_arena_fork_prepare(bool alone)
{
	fork_leaves_locks = alone && ash_arenas_busy();
	if (!fork_leaves_locks) {
		ash_arenas_take_turns();
		each_arena(prepare_free);
	}
	each_arena(prepare_copy);
}

bool ash_arena_fork_copied(void)
{
	bool copied = false;

	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		copied |= a != NULL && a->rescue != NULL;
	}
	return copied;
}

/* The parent has its memory; the hole is the child's alone, and is there until it has been filled. */
bool ash_arena_fork_rescue(void)
{
	bool rescued = false;

	for (unsigned i = 0; i < ash_registry.nr_spans; i++) {
		struct ash_arena *a = ash_arena_peek(i);

		if (a == NULL || a->rescue == NULL || ash_vmem_resident((void *)a->start) != -ENOMEM)
			continue;
		rescue_install(a);
		rescued = true;
	}
	return rescued;
}

static void parent_release(struct ash_arena *a)
{
	if (a->rescue != NULL)
		rescue_drop(a);
	if (fork_leaves_locks)
		return;
	ash_zone_unlock_all(a->zone);
	if (wants_rescue(a))
		ash_arena_unspare(a);
}

void ash_arena_fork_parent(void)
{
	each_arena(parent_release);
	if (!fork_leaves_locks)
		ash_arenas_end_turns();
}

static void child_release(struct ash_arena *a)
{
	const bool rescued = a->rescue_frames != 0;

	if (a->rescue != NULL)
		rescue_install(a);
	a->rescue_frames = 0;
	if (fork_leaves_locks)
		return;
	ash_zone_unlock_all(a->zone);
	if (rescued || wants_rescue(a))
		ash_arena_unspare(a);
}

void ash_arena_fork_child(void)
{
	each_arena(child_release);
	if (!fork_leaves_locks)
		ash_arenas_end_turns();
}
