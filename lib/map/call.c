/* SPDX-License-Identifier: MIT */
/*
 * The calls: what is served, and what the table has to hear of the rest.
 *
 * The kernel is asked first and its answer is what the caller gets; only munmap looks first, because afterwards there
 * is nothing to harvest. A munmap can fail (too many mappings, when it would cut one in two), and then everything is
 * put back. A mapping that spans many pageblocks is unmapped in pieces, from its start; if one fails, what is left is
 * asked for as a whole, so that the answer is to the caller's own question.
 */
#include <errno.h>
#include <sys/mman.h>

#include "map/internal.h"
#include "os/env.h"
#include "os/huge.h"
#include "os/uffd.h"

struct ash_maps ash_maps;

static bool is_off(void)
{
	return atomic_load_explicit(&ash_maps.state, memory_order_acquire) == ASH_MAP_OFF;
}

void ash_map_enable(bool program)
{
	int off = ASH_MAP_OFF;

	if (program)
		atomic_store_explicit(&ash_maps.program, true, memory_order_relaxed);
	if (!is_off())
		return;

	atomic_compare_exchange_strong_explicit(&ash_maps.state, &off, ASH_MAP_UNPROVED, memory_order_release,
						memory_order_relaxed);
}

/*
 * What serving needs, found out when it is first wanted: that the kernel moves pages for us; and that it does not count
 * memory before it is touched, because a served mapping is counted twice, in its place and in its slots. Two threads
 * that race find out the same. > 0: ask again another time.
 */
static int prove(void)
{
	const int fd = ash_uffd_open();

	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
		return 1;
	if (fd < 0)
		return fd;
	ash_uffd_close(fd);
	return ash_env_counts_untouched() ? -EDQUOT : 0;
}

static bool can_serve(void)
{
	int state = atomic_load_explicit(&ash_maps.state, memory_order_acquire);

	if (state == ASH_MAP_UNPROVED) {
		const int err = prove();

		if (err > 0)
			return false;
		state = err < 0 ? ASH_MAP_REFUSED : ASH_MAP_SERVING;
		atomic_store_explicit(&ash_maps.error, err, memory_order_relaxed);
		atomic_store_explicit(&ash_maps.base_pages,
				      ash_arena_config()->huge == ASH_HUGE_NONE || ash_thp_mode() == ASH_THP_NEVER,
				      memory_order_relaxed);
		atomic_store_explicit(&ash_maps.state, state, memory_order_release);
	}
	return state == ASH_MAP_SERVING;
}

static bool is_error(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095;
}

/* Anonymous, private, readable and writable, at least a pageblock, and nothing asked for that we do not know. */
static bool eligible(size_t bytes, int prot, int flags)
{
	const int indifferent = MAP_POPULATE | MAP_NONBLOCK | MAP_DENYWRITE | MAP_EXECUTABLE;

	return prot == (PROT_READ | PROT_WRITE) && (flags & ~indifferent) == (MAP_PRIVATE | MAP_ANONYMOUS) &&
	       bytes >= PB_BYTES;
}

/* Slots for the lot's blocks, up to last. false: there were not enough. */
static bool alloc_lot(struct ash_lot *lot, const struct ash_zonelist *zl, size_t last)
{
	const unsigned wanted = (unsigned)ash_min(last - lot->first, (size_t)LOT_BLOCKS);

	for (lot->nr = 0; lot->nr < wanted; lot->nr++) {
		lot->slot[lot->nr] = ash_slot_alloc(zl, &lot->full[lot->nr]);
		if (lot->slot[lot->nr] == 0)
			return false;
	}
	return true;
}

/* The slots are empty by now, so that whoever takes one out of the table finds it so. */
static void track_lot(const struct ash_lot *lot)
{
	for (unsigned i = 0; i < lot->nr; i++) {
		const uint32_t old = ash_track_set(lot->first + i, lot->slot[i]);

		if (old != 0)
			ash_slot_free(old == UINT32_MAX ? lot->slot[i] : old, false);
	}
}

/*
 * Give the blocks that lie wholly in [start, end) slots, and what is warm of these to the mapping. Best effort: what
 * gets none is the kernel's alone.
 */
static void serve(uintptr_t start, uintptr_t end, const struct ash_zonelist *zl)
{
	const size_t last = end >> PB_SHIFT;
	struct ash_lot lot;
	bool more = true;

	lot.start = start;
	lot.end = end;
	for (lot.first = ash_align_up(start, PB_BYTES) >> PB_SHIFT; more && lot.first < last; lot.first += lot.nr) {
		more = alloc_lot(&lot, zl, last);
		ash_lot_lend(&lot);
		track_lot(&lot);
	}
}

/*
 * A mapping on a pageblock's boundary where one is to be had, for who named no place. Kernels since 6.7 put one there
 * whose size is a multiple of a pageblock; so it is asked for larger, and cut. What cannot be cut, or had, is asked for
 * as it is.
 */
static long map_at_boundary(size_t bytes, int prot, int flags, int fd, long offset)
{
	const size_t size = ash_align_up(bytes, ASH_PAGE_SIZE), whole = ash_align_up(bytes, PB_BYTES);
	long ret;

	if (whole == size || whole < bytes)
		return ash_vmem_call_mmap(NULL, bytes, prot, flags, fd, offset);
	ret = ash_vmem_call_mmap(NULL, whole, prot, flags, fd, offset);
	if (!is_error(ret) && ash_vmem_call_munmap((char *)ret + size, whole - size) == 0)
		return ret;
	if (!is_error(ret) && ash_vmem_call_munmap((void *)ret, whole) < 0)
		return ret;
	return ash_vmem_call_mmap(NULL, bytes, prot, flags, fd, offset);
}

/*
 * Its pages are the kernel's to place, by the task's own policy where nobody said more. Pieces by weights of the
 * program's own would cut the mapping, which could not be moved as a whole then: it has the system's. own: the
 * mapping's; NULL: the thread's.
 */
static void place(uintptr_t start, size_t bytes, const struct ash_policy *own)
{
	struct ash_policy policy;

	if (ASH_LIKELY(!ash_arena_is_several()) || (own == NULL && !ash_arena_policy_now(&policy)))
		return;
	/* Where placement is forbidden, the kernel's own choice has to do. */
	(void)!ash_policy_apply((void *)start, bytes, own != NULL ? own : &policy);
}

/* A new mapping that is eligible. zl: of its own policy; NULL: the thread's is meant, and there is none of its own. */
static void serve_new(uintptr_t start, size_t bytes, const struct ash_policy *own, const struct ash_zonelist *zl)
{
	const size_t size = ash_align_up(bytes, ASH_PAGE_SIZE);
	struct ash_zonelist ordinary;

	if (ash_arena_config()->huge != ASH_HUGE_NONE)
		(void)ash_vmem_advise((void *)start, size, ASH_VMEM_HUGE);
	if (!atomic_load_explicit(&ash_maps.nameless, memory_order_relaxed) &&
	    ash_vmem_name((void *)start, size, "ashlar map") == -EINVAL)
		atomic_store_explicit(&ash_maps.nameless, true, memory_order_relaxed);
	place(start, size, own);
	/* Whose policy has no arenas is the kernel's alone: there was no slot for one more. */
	if (!can_serve() || !ash_arena_may_wait() || (own != NULL && zl == NULL))
		return;
	atomic_fetch_add_explicit(&ash_maps.calls, 1, memory_order_relaxed);
	if (zl != NULL)
		ash_zonelist_ordinary_of(&ordinary, zl);
	else
		ash_zonelist_ordinary(&ordinary, -1);
	serve(start, start + size, &ordinary);
}

long ash_call_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset)
{
	const bool serves = !is_off() && atomic_load_explicit(&ash_maps.program, memory_order_relaxed) &&
			    eligible(bytes, prot, flags);
	/* To be populated after we have lent what we have, and with huge pages. */
	const int asked = serves && can_serve() ? flags & ~MAP_POPULATE : flags;
	const bool place = serves && addr == NULL && (asked & MAP_POPULATE) == 0;
	const long ret = place ? map_at_boundary(bytes, prot, asked, fd, offset) :
				 ash_vmem_call_mmap(addr, bytes, prot, asked, fd, offset);

	if (is_error(ret))
		return ret;
	if (serves) {
		serve_new((uintptr_t)ret, bytes, NULL, NULL);
		/* Failing to populate is no failure of mmap. */
		if (asked != flags && (flags & MAP_NONBLOCK) == 0)
			(void)!ash_vmem_populate((void *)ret, ash_align_up(bytes, ASH_PAGE_SIZE));
	} else if ((flags & MAP_FIXED) != 0) {
		ash_map_release((void *)ret, bytes);
	}
	return ret;
}

/* Where the kernel put it off a boundary all the same: one that has a boundary in it, cut on both sides. */
static long map_new(size_t bytes)
{
	const int rw = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	long ret = map_at_boundary(bytes, rw, flags, -1, 0), start;

	if (is_error(ret) || ret % (long)PB_BYTES == 0)
		return ret;
	bytes = ash_align_up(bytes, ASH_PAGE_SIZE);
	(void)ash_vmem_call_munmap((void *)ret, bytes);
	ret = ash_vmem_call_mmap(NULL, bytes + PB_BYTES, rw, flags, -1, 0);
	if (is_error(ret))
		return ret;
	start = (long)ash_align_up((uintptr_t)ret, PB_BYTES);
	if (start > ret)
		(void)ash_vmem_call_munmap((void *)ret, (size_t)(start - ret));
	(void)ash_vmem_call_munmap((void *)(start + (long)bytes), PB_BYTES - (size_t)(start - ret));
	return start;
}

/* The list of a mapping's own policy, NULL where there is none. -EINVAL: it is no policy that can be. */
static int list_of_own(const struct ash_policy *own, const struct ash_zonelist **zl)
{
	const int err = own != NULL && ash_arena_ready() ? ash_zonelist_of_policy(own, zl) : 0;

	if (err == 0 && *zl == &ash_zonelist_by_node)
		*zl = ash_zonelist_for(ASH_NODE_CURRENT);
	return err == -EINVAL ? err : 0;
}

long ash_map_new(size_t bytes, const struct ash_policy *own)
{
	const struct ash_zonelist *zl = NULL;
	long ret;
	int err;

	if (own != NULL && own->mode == ASH_POLICY_DEFAULT)
		own = NULL;
	err = list_of_own(own, &zl);
	if (err < 0)
		return err;
	ret = map_new(bytes);
	if (is_error(ret))
		return ret;
	if (!is_off() && bytes >= PB_BYTES)
		serve_new((uintptr_t)ret, bytes, own, zl);
	else if (!is_off())
		place((uintptr_t)ret, ash_align_up(bytes, ASH_PAGE_SIZE), own);
	return ret;
}

bool ash_map_serves(const void *addr, size_t bytes)
{
	const size_t end = ash_align_up((uintptr_t)addr + bytes, PB_BYTES) >> PB_SHIFT;

	return !is_off() && bytes != 0 && ash_track_next((uintptr_t)addr >> PB_SHIFT, end) < end;
}

static void give_up(uint32_t slot, bool may_wait)
{
	if (slot != 0 && may_wait)
		ash_slot_free(slot, false);
	else if (slot != 0)
		ash_slot_free_trylock(slot);
}

void ash_map_pin(const void *addr, size_t bytes)
{
	const size_t end = ash_align_up((uintptr_t)addr + bytes, PB_BYTES) >> PB_SHIFT;
	size_t block = (uintptr_t)addr >> PB_SHIFT;

	if (is_off() || bytes == 0)
		return;
	for (block = ash_track_next(block, end); block < end; block = ash_track_next(block + 1, end)) {
		uint32_t slot = ash_track_get(block);

		/* A mover may be putting another in its place. */
		while (slot != 0 && slot != ASH_TRACK_PINNED && !ash_track_exchange(block, slot, ASH_TRACK_PINNED))
			slot = ash_track_get(block);
		if (slot != 0 && slot != ASH_TRACK_PINNED)
			give_up(slot, ash_arena_may_wait());
	}
}

void ash_map_unpin(const void *addr, size_t bytes)
{
	const size_t end = ((uintptr_t)addr + bytes) >> PB_SHIFT;
	size_t block = ash_align_up((uintptr_t)addr, PB_BYTES) >> PB_SHIFT;
	struct ash_zonelist zl;
	bool warm;

	if (is_off() || !can_serve() || !ash_arena_may_wait())
		return;
	ash_zonelist_ordinary(&zl, -1);
	for (block = ash_track_next(block, end); block < end; block = ash_track_next(block + 1, end)) {
		uint32_t slot;

		if (ash_track_get(block) != ASH_TRACK_PINNED)
			continue;
		slot = ash_slot_alloc(&zl, &warm);
		if (slot == 0)
			break;
		if (warm)
			(void)ash_vmem_discard(ash_slot_address(slot), PB_BYTES);
		ash_run_set_word(ash_slot_address(slot), (uint32_t)block);
		/* The mapping may go meanwhile. */
		if (!ash_track_exchange(block, ASH_TRACK_PINNED, slot))
			ash_slot_free(slot, false);
	}
}

void ash_map_release(const void *addr, size_t bytes)
{
	const size_t end = ash_align_up((uintptr_t)addr + bytes, PB_BYTES) >> PB_SHIFT;
	size_t block = (uintptr_t)addr >> PB_SHIFT;
	bool may_wait;

	if (is_off() || bytes == 0)
		return;
	block = ash_track_next(block, end);
	may_wait = block < end && ash_arena_may_wait();
	for (; block < end; block = ash_track_next(block + 1, end))
		give_up(ash_track_take(block), may_wait);
}

/* Take the slots of the blocks from first on that lie in [first, end). */
static void take_lot(struct ash_lot *lot, size_t first, size_t end)
{
	lot->first = first;
	lot->nr = (unsigned)ash_min(end - first, (size_t)LOT_BLOCKS);
	for (unsigned i = 0; i < lot->nr; i++)
		lot->slot[i] = ash_track_take(first + i);
}

static void free_lot(const struct ash_lot *lot)
{
	for (unsigned i = 0; i < lot->nr; i++) {
		if (lot->slot[i] != 0)
			ash_slot_free(lot->slot[i], lot->moved[i]);
	}
}

static void untake_lot(struct ash_lot *lot)
{
	lot->start = lot->first << PB_SHIFT;
	lot->end = (lot->first + lot->nr) << PB_SHIFT;
	ash_lot_give_back(lot);
	for (unsigned i = 0; i < lot->nr; i++) {
		if (lot->slot[i] != 0)
			(void)ash_track_set(lot->first + i, lot->slot[i]);
	}
}

/* Unmap [start, *end), whose blocks from first on have slots; less of it where it has very many. *end: how far it
 * went. */
static long unmap_piece(uintptr_t start, uintptr_t *end, size_t first)
{
	const size_t last = *end >> PB_SHIFT;
	struct ash_lot lot;
	long err;

	take_lot(&lot, first, last);
	ash_lot_harvest(&lot);
	if (first + lot.nr < last)
		*end = (first + lot.nr) << PB_SHIFT;
	err = ash_vmem_call_munmap((void *)start, *end - start);
	if (err == 0)
		free_lot(&lot);
	else
		untake_lot(&lot);
	return err;
}

static long unmap_served(const uintptr_t start, const uintptr_t end)
{
	uintptr_t at = start;

	while (at < end) {
		const size_t first = ash_track_next(ash_align_up(at, PB_BYTES) >> PB_SHIFT, end >> PB_SHIFT);
		uintptr_t piece = end;

		if (first >= end >> PB_SHIFT || unmap_piece(at, &piece, first) < 0) {
			const long err = ash_vmem_call_munmap((void *)at, end - at);

			if (err < 0)
				return err;
			break;
		}
		at = piece;
	}
	/* Blocks that were cut at the ends, and those of a last piece that was unmapped without us. */
	ash_map_release((void *)start, end - start);
	return 0;
}

long ash_call_munmap(void *addr, size_t bytes)
{
	const uintptr_t start = (uintptr_t)addr, end = start + ash_align_up(bytes, ASH_PAGE_SIZE);
	long ret;

	if (is_off() || start % ASH_PAGE_SIZE != 0 || end <= start ||
	    ash_track_next(start >> PB_SHIFT, ash_align_up(end, PB_BYTES) >> PB_SHIFT) >=
		    ash_align_up(end, PB_BYTES) >> PB_SHIFT ||
	    ash_arena_config()->decay_ms == 0 || !ash_arena_may_wait()) {
		ret = ash_vmem_call_munmap(addr, bytes);
		if (ret == 0)
			ash_map_release(addr, bytes);
		return ret;
	}
	ret = unmap_served(start, end);
	(void)ash_arena_decay();
	return ret;
}

/* Pages went from one place to another: so do the slots, where blocks are still blocks there. */
static void track_moved(uintptr_t from, uintptr_t to, size_t bytes)
{
	const size_t end = (from + bytes) >> PB_SHIFT;
	size_t block = ash_align_up(from, PB_BYTES) >> PB_SHIFT;

	ash_map_release((void *)to, bytes);
	if ((from ^ to) % PB_BYTES == 0) {
		for (block = ash_track_next(block, end); block < end; block = ash_track_next(block + 1, end)) {
			const uint32_t slot = ash_track_take(block);
			const uint32_t old =
				slot != 0 ? ash_track_set(block - (from >> PB_SHIFT) + (to >> PB_SHIFT), slot) : 0;

			if (old != 0)
				ash_slot_free(old == UINT32_MAX ? slot : old, false);
		}
	}
	ash_map_release((void *)from, bytes);
}

long ash_call_mremap(void *from, size_t old_bytes, size_t new_bytes, int flags, void *to)
{
	const uintptr_t start = (uintptr_t)from;
	const size_t old_size = ash_align_up(old_bytes, ASH_PAGE_SIZE),
		     new_size = ash_align_up(new_bytes, ASH_PAGE_SIZE);
	const long ret = ash_vmem_call_mremap(from, old_bytes, new_bytes, flags, to);
	size_t block = start >> PB_SHIFT, end = ash_align_up(start + old_size, PB_BYTES) >> PB_SHIFT;

	if (is_error(ret) || is_off())
		return ret;
	/* A target that was named may have had slots of its own. */
	if (ash_track_next(block, end) >= end || !ash_arena_may_wait()) {
		ash_map_release((void *)ret, new_size);
		return ret;
	}
	if ((uintptr_t)ret != start) {
		track_moved(start, (uintptr_t)ret, ash_min(old_size, new_size));
		ash_map_release(from, old_size);
	} else if (new_size < old_size) {
		ash_map_release((char *)from + new_size, old_size - new_size);
	}
	return ret;
}

void ash_map_stop_recycling(void)
{
	atomic_store_explicit(&ash_maps.bare, true, memory_order_relaxed);
}

void ash_map_stats(struct ash_map_stats *out)
{
	*out = (struct ash_map_stats){
		.state = (enum ash_map_state)atomic_load_explicit(&ash_maps.state, memory_order_acquire),
		.error = atomic_load_explicit(&ash_maps.error, memory_order_relaxed),
		.calls = atomic_load_explicit(&ash_maps.calls, memory_order_relaxed),
		.slots = atomic_load_explicit(&ash_maps.slots, memory_order_relaxed),
		.lent = atomic_load_explicit(&ash_maps.lent, memory_order_relaxed),
		.harvested = atomic_load_explicit(&ash_maps.harvested, memory_order_relaxed),
		.exchanged = atomic_load_explicit(&ash_maps.exchanged, memory_order_relaxed),
		.refused = atomic_load_explicit(&ash_maps.refused, memory_order_relaxed),
	};
}
