/* SPDX-License-Identifier: MIT */
/*
 * hugetlb memory of an H arena: mapped in place over the reservation, proved, returned to the pool, proved again.
 *
 * A hugetlb mapping is a promise that the kernel may break with SIGBUS: under a cgroup limit, on a node that is dry, or
 * after a fork. So every page is populated (which refuses with an errno) before the zone hears of it, and a pageblock
 * given back to the pool is kept allocated in the zone, by us, until it has been populated again.
 *
 *      unmapped --map, populate, online--> free in the zone <--> used
 *                                           |        ^
 *                              take, discard|        |populate, free
 *                                           v        |
 *                                          returned (ASH_PB_RETURNED)
 *
 * Pages of 1 GiB are never returned: one costs a tenth of a second to get again.
 *
 * Each step along an arrow is made with signals blocked. A handler may fork (fork.c), and must not do so where the
 * kernel has given or taken pages already and the table that says so does not know it yet.
 */
#include <errno.h>

#include "arena/internal.h"
#include "os/huge.h"
#include "os/numa.h"
#include "os/signal.h"

static enum ash_backing backing_of_shift(unsigned page_shift)
{
	return page_shift == ASH_HUGE_1G_SHIFT ? ASH_BACKING_HUGETLB_1G : ASH_BACKING_HUGETLB_2M;
}

/* addr: where the memory is now; to: where it is or will be in the arena. */
static int bind_and_populate(struct ash_arena *a, void *addr, const void *to, size_t bytes, unsigned page_shift)
{
	/* Strictly: a page from another node's pool would be a lie about the node, and the ladder may know better. */
	int err = ash_arena_place(a, addr, (uintptr_t)to - a->start, bytes, (size_t)1 << page_shift);

	/* The cpuset has been changed, and the node is not to be used any more. */
	if (err == -EINVAL)
		return -ENOMEM;
	/* A container may forbid placement (seccomp); then the kernel's own choice has to do. */
	if (err == 0 || err == -EPERM || err == -ENOSYS || err == -EACCES)
		err = ash_vmem_populate(addr, bytes);
	return err;
}

/* Before Linux 5.16 hugetlb mappings cannot be moved: proved in place, and not promised to us by the pool, so that
 * after a fork without a copy (ASH_FORK_COW) a dry pool may kill the parent as well as the child. */
static int prove_in_place(struct ash_arena *a, void *addr, size_t bytes, unsigned page_shift)
{
	int err = ash_vmem_map_hugetlb_at(addr, bytes, page_shift);

	if (err == 0)
		err = bind_and_populate(a, addr, addr, bytes, page_shift);
	if (err < 0)
		(void)ash_vmem_reset(addr, bytes);
	return err;
}

/*
 * Map, bind, populate, and only then move over the reservation: a refusal leaves it as it was. (mmap with MAP_FIXED
 * would take the reservation away first and ask the pool then; others' mappings could land in the hole.)
 */
static int prove(struct ash_arena *a, void *addr, size_t bytes, unsigned page_shift)
{
	void *fresh;
	int err = ash_vmem_map_hugetlb(bytes, page_shift, &fresh);

	if (err < 0)
		return err;
	err = bind_and_populate(a, fresh, addr, bytes, page_shift);
	if (err == 0)
		err = ash_vmem_move(fresh, addr, bytes);
	if (err == 0)
		return 0;
	(void)ash_vmem_unmap(fresh, bytes);
	/* mremap too takes the target away before its last checks. */
	(void)ash_vmem_close(addr, bytes);
	return err == -EINVAL ? prove_in_place(a, addr, bytes, page_shift) : err;
}

int ash_hugetlb_online(struct ash_arena *a, ash_pfn_t first, ash_pfn_t nr, unsigned page_shift)
{
	void *addr = ash_arena_address(a, first);
	const size_t bytes = (size_t)nr << ASH_PAGE_SHIFT;
	struct ash_signals before;
	int err;

	if (!ash_arena_charge(bytes))
		return -EDQUOT;
	ash_signals_block(&before);
	err = prove(a, addr, bytes, page_shift);
	if (err == 0) {
		err = ash_arena_online(a, first, first + nr, backing_of_shift(page_shift));
		if (err < 0)
			(void)ash_vmem_reset(addr, bytes);
	}
	ash_signals_restore(&before);
	if (err < 0)
		ash_arena_uncharge(bytes);
	return err < 0 ? -ENOMEM : 0;
}

static _Atomic uint8_t *backing_at(struct ash_arena *a, ash_pfn_t pfn)
{
	return &a->backing[pfn >> ASH_PAGEBLOCK_ORDER];
}

static void set_returned(struct ash_arena *a, ash_pfn_t pfn, bool returned)
{
	_Atomic uint8_t *word = backing_at(a, pfn);
	const uint8_t kind = atomic_load_explicit(word, memory_order_relaxed) & ASH_PB_KIND;

	atomic_store_explicit(word, returned ? kind | ASH_PB_RETURNED : kind, memory_order_relaxed);
	if (returned)
		(void)atomic_fetch_add_explicit(&a->returned, 1, memory_order_relaxed);
	else
		(void)atomic_fetch_sub_explicit(&a->returned, 1, memory_order_relaxed);
}

static bool is_returned(struct ash_arena *a, ash_pfn_t pfn)
{
	return (atomic_load_explicit(backing_at(a, pfn), memory_order_relaxed) & ASH_PB_RETURNED) != 0;
}

static bool is_part_of_gib(struct ash_arena *a, ash_pfn_t pfn)
{
	return ash_pb_kind(atomic_load_explicit(backing_at(a, pfn), memory_order_relaxed)) ==
	       1 + ASH_BACKING_HUGETLB_1G;
}

/* Before Linux 5.18 the kernel refuses. Ordinary memory (fork.c) can be discarded, too. */
static bool discard_block(struct ash_arena *a, ash_pfn_t pfn)
{
	struct ash_signals before;
	bool gone;

	ash_signals_block(&before);
	gone = ash_vmem_discard(ash_arena_address(a, pfn), ASH_PB_BYTES) == 0;
	if (gone)
		set_returned(a, pfn, true);
	ash_signals_restore(&before);
	return gone;
}

/* A free pageblock that the caller holds goes back to the pool. false: a watcher keeps it, or the kernel (then
 * *kept). */
static bool return_block(struct ash_arena *a, ash_pfn_t pfn, bool *kept)
{
	bool gone;

	if (!ash_arena_ask(a, ash_arena_address(a, pfn), ASH_PB_BYTES))
		return false;
	gone = discard_block(a, pfn);
	ash_arena_tell(a, ash_arena_address(a, pfn), ASH_PB_BYTES, gone);
	*kept |= !gone;
	return gone;
}

/*
 * What does not go is held until the others have been looked at, or it would be found again. Of 1 GiB pages all parts:
 * the zone may offer every one of them before anything else.
 */
size_t ash_hugetlb_return(struct ash_arena *a, size_t max, bool *kept)
{
	unsigned nr_refused = 0;
	bool spared = false;
	struct ash_page_grant g;
	size_t n = 0;

	while (n < max && nr_refused < ASH_REFUSED_MAX &&
	       ash_zone_alloc(a->zone, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, 0, ASH_CPU_NONE, &g) == 0) {
		const bool part = is_part_of_gib(a, g.pfn);

		if (!part && return_block(a, g.pfn, kept)) {
			n++;
			continue;
		}
		(void)atomic_fetch_or_explicit(backing_at(a, g.pfn), ASH_PB_SPARED, memory_order_relaxed);
		spared = true;
		nr_refused += !part;
		*kept |= part;
	}
	if (spared)
		ash_arena_unspare(a);
	(void)atomic_fetch_add_explicit(&a->returned_blocks, n, memory_order_relaxed);
	return n;
}

/* The first of n consecutive returned pageblocks, aligned. */
static bool find_returned(struct ash_arena *a, size_t n, unsigned align_order, ash_pfn_t *out)
{
	const ash_pfn_t end = atomic_load_explicit(&a->end, memory_order_relaxed);
	size_t have = 0;

	for (ash_pfn_t pfn = 0; pfn < end; pfn += ASH_PB_FRAMES) {
		if (have == 0 && (pfn & ((1ul << align_order) - 1)) != 0)
			continue;
		have = is_returned(a, pfn) ? have + 1 : 0;
		if (have == n) {
			*out = pfn - (ash_pfn_t)((n - 1) * ASH_PB_FRAMES);
			return true;
		}
	}
	return false;
}

static int reprove_blocks(struct ash_arena *a, ash_pfn_t first, size_t blocks)
{
	struct ash_signals before;
	int err;

	ash_signals_block(&before);
	err = ash_vmem_populate(ash_arena_address(a, first), blocks * ASH_PB_BYTES);
	/* What was populated before a refusal goes back too. */
	if (err < 0)
		(void)ash_vmem_discard(ash_arena_address(a, first), blocks * ASH_PB_BYTES);
	for (size_t i = 0; i < blocks && err == 0; i++)
		set_returned(a, first + (ash_pfn_t)(i * ASH_PB_FRAMES), false);
	ash_signals_restore(&before);
	return err < 0 ? -ENOMEM : 0;
}

int ash_hugetlb_reprove(struct ash_arena *a, size_t nr, unsigned align_order)
{
	const size_t blocks = (nr + ASH_PB_FRAMES - 1) / ASH_PB_FRAMES;
	ash_pfn_t first;

	if (atomic_load_explicit(&a->returned, memory_order_relaxed) < blocks ||
	    !find_returned(a, blocks, align_order, &first))
		return -ENOENT;
	if (reprove_blocks(a, first, blocks) < 0)
		return -ENOMEM;
	ash_zone_free_run(a->zone, first, (ash_pfn_t)(blocks * ASH_PB_FRAMES));
	return 0;
}
