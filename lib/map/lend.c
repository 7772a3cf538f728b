/* SPDX-License-Identifier: MIT */
/*
 * Pages between slots and mappings.
 *
 * Only whole pageblocks go either way: a huge page moves in a microsecond or two, while a pageblock that is partly
 * there would move page by page and come back with holes.
 *
 * A slot in a mapping's name is empty: UFFDIO_MOVE goes only where there is nothing. Hence the invariant that every
 * function here keeps: a slot is either owned by the zone (and may hold anything), or by a mapping, and then holds no
 * page.
 *
 * The receiving range is registered for as long as it takes. Nobody may know its address then (lending happens before
 * mmap returns; slots are never handed out), so nobody meets the fault that registering would make of a missing page.
 * It is unregistered in so many words: that the descriptor is closed would end it, too, but not while a child has it
 * that another thread made meanwhile, and whoever touched what is missing would wait as long.
 */
#include <string.h>

#include "map/internal.h"
#include "os/numa.h"
#include "os/resident.h"
#include "os/uffd.h"

enum direction { LEND, HARVEST };

static void *block_address(const struct ash_lot *lot, unsigned i)
{
	return (void *)((lot->first + i) << PB_SHIFT);
}

/*
 * Which of nr pageblocks from addr on have pages worth moving: a huge page each. Where there are none, or the
 * kernel will not tell, all the base pages of a pageblock, whose moving costs a tenth of faulting them.
 */
static void find_full(const void *addr, size_t nr, bool *full)
{
	if (atomic_load_explicit(&ash_maps.base_pages, memory_order_relaxed) || ash_resident_huge(addr, nr, full) < 0)
		ash_resident_full(addr, nr, full);
}

/* A pageblock that can be a slot. Those of the base-page start are few, and held until one is found that is not of
 * it. */
static bool alloc_pageblock(const struct ash_zonelist *zl, struct ash_run *run)
{
	struct ash_run start[4];
	unsigned n = 0;
	bool found;

	for (;;) {
		found = ash_run_alloc(zl, PB_FRAMES, ASH_PAGEBLOCK_ORDER, ASH_MT_MOVABLE, run) == 0;
		if (!found || n == 4 || ASH_LIKELY(!ash_arena_is_base_start(run->addr)))
			break;
		start[n++] = *run;
	}
	while (n-- > 0) {
		if (start[n].zeroed)
			ash_run_free_zeroed(start[n].addr, PB_FRAMES);
		else
			ash_run_free(start[n].addr, PB_FRAMES);
	}
	return found;
}

/*
 * Before Linux 6.16 two kernel mappings side by side, of which one has had pages and the other has not, are not joined.
 * To register a slot cuts the arena's mapping, so that one that never had a page would be left in as many pieces as it
 * has slots, and each counts towards vm.max_map_count. A page read in it while it is whole is enough (where there are
 * huge pages that is the kernel's one page of zeroes): what is cut later has the same past, and is joined again. Of
 * slots in a row the first does for all. Who comes between two threads' rows reads a page more.
 */
static void have_had_pages(uint32_t slot)
{
	static _Atomic uint32_t last;
	char *const addr = ash_slot_address(slot);

	if (atomic_exchange_explicit(&last, slot, memory_order_relaxed) + 1 == slot)
		return;
	if (ASH_UNLIKELY(atomic_load_explicit(&ash_maps.base_pages, memory_order_relaxed)))
		*(volatile char *)addr = 0;
	else
		(void)*(volatile char *)addr;
	(void)ash_vmem_discard(addr, PB_BYTES);
}

uint32_t ash_slot_alloc(const struct ash_zonelist *zl, bool *maybe_warm)
{
	struct ash_run run;
	uint32_t slot;

	if (!alloc_pageblock(zl, &run))
		return 0;
	*maybe_warm = !run.zeroed;
	/* What lies behind its address goes to a mapping, or to the system, and nobody uses the address meanwhile. */
	if (*maybe_warm && !ash_arena_empties(run.addr, PB_BYTES)) {
		ash_run_free(run.addr, PB_FRAMES);
		return 0;
	}
	atomic_fetch_add_explicit(&ash_maps.slots, 1, memory_order_relaxed);
	slot = (uint32_t)(ash_frame_index(run.addr) >> ASH_PAGEBLOCK_ORDER) + 1;
	if (!*maybe_warm)
		have_had_pages(slot);
	return slot;
}

void ash_slot_free(uint32_t slot, bool warm)
{
	atomic_fetch_sub_explicit(&ash_maps.slots, 1, memory_order_relaxed);
	if (warm)
		ash_run_free(ash_slot_address(slot), PB_FRAMES);
	else
		ash_run_free_zeroed(ash_slot_address(slot), PB_FRAMES);
}

void ash_slot_free_trylock(uint32_t slot)
{
	atomic_fetch_sub_explicit(&ash_maps.slots, 1, memory_order_relaxed);
	ash_pageblock_free_trylock(ash_slot_address(slot));
}

/* How many blocks from i on are full and have slots in a row: what one call can move. */
static unsigned row(const struct ash_lot *lot, unsigned i)
{
	unsigned n = 0;

	while (i + n < lot->nr && lot->full[i + n] && lot->slot[i + n] == lot->slot[i] + n)
		n++;
	return n;
}

static unsigned next_full(const struct ash_lot *lot, unsigned i)
{
	while (i < lot->nr && !lot->full[i])
		i++;
	return i;
}

/* A move stopped in the middle of block i: what had left it goes back. The program's own munmap may yet fail. */
static void undo_part(struct ash_lot *lot, unsigned i, size_t bytes)
{
	void *slot = ash_slot_address(lot->slot[i]);

	memcpy(block_address(lot, i), slot, bytes);
	(void)ash_vmem_discard(slot, PB_BYTES);
}

/* One call for n blocks from i on. Returns how many went. */
static unsigned move_blocks(int fd, struct ash_lot *lot, unsigned i, unsigned n, enum direction d)
{
	void *const slots = ash_slot_address(lot->slot[i]), *const blocks = block_address(lot, i);
	const size_t bytes = ash_uffd_move(fd, d == LEND ? blocks : slots, d == LEND ? slots : blocks,
					   (size_t)n << PB_SHIFT);
	const unsigned moved = (unsigned)(bytes >> PB_SHIFT);

	for (unsigned k = 0; k < moved; k++)
		lot->moved[i + k] = true;
	if (bytes % PB_BYTES != 0 && d == HARVEST)
		undo_part(lot, i + moved, bytes % PB_BYTES);
	return moved;
}

/*
 * The kernel moves within one of its mappings at a time, and stops at the first page it refuses: then the blocks are
 * tried one by one.
 */
static void move_row(int fd, struct ash_lot *lot, unsigned i, unsigned n, enum direction d)
{
	const unsigned moved = move_blocks(fd, lot, i, n, d);

	for (unsigned k = moved; k < n && n > 1; k++)
		(void)move_blocks(fd, lot, i + k, 1, d);
}

static uint64_t count_moved(const struct ash_lot *lot, uint64_t *refused)
{
	uint64_t moved = 0, full = 0;

	for (unsigned i = 0; i < lot->nr; i++) {
		moved += lot->moved[i];
		full += lot->full[i];
	}
	*refused = full - moved;
	return moved;
}

static void count(const struct ash_lot *lot, _Atomic uint64_t *counter)
{
	uint64_t refused;

	atomic_fetch_add_explicit(counter, count_moved(lot, &refused), memory_order_relaxed);
	atomic_fetch_add_explicit(&ash_maps.refused, refused, memory_order_relaxed);
}

/*
 * From slots that hold whole pageblocks into the mapping, which is registered as one: to register a part of it cuts the
 * kernel's mapping, and what is cut is not always joined again. An mremap of all of it would then fail.
 */
static void slots_to_blocks(struct ash_lot *lot)
{
	void *const start = (void *)lot->start;
	const size_t bytes = lot->end - lot->start;
	const int fd = ash_uffd_open();
	unsigned n;

	if (fd < 0)
		return;
	if (ash_uffd_register(fd, start, bytes) == 0) {
		for (unsigned i = next_full(lot, 0); i < lot->nr; i = next_full(lot, i + n)) {
			n = row(lot, i);
			move_row(fd, lot, i, n, LEND);
		}
		ash_uffd_unregister(fd, start, bytes);
	}
	ash_uffd_close(fd);
}

/* The last is wiped first: see wipe.c. */
static void wipe_and_move(struct ash_lot *lot)
{
	for (unsigned i = lot->nr; i-- > 0;) {
		if (lot->full[i])
			ash_wipe(ash_slot_address(lot->slot[i]), lot->end - lot->start);
	}
	slots_to_blocks(lot);
	count(lot, &ash_maps.lent);
}

/*
 * A slot that is not known to be empty is wiped without asking the kernel what it holds. Nearly always it is the huge
 * page of an earlier mapping; if not, the wiping faults one in, as touching the mapping would have done.
 */
void ash_lot_lend(struct ash_lot *lot)
{
	bool any = false;

	for (unsigned i = 0; i < lot->nr; i++) {
		lot->moved[i] = false;
		any |= lot->full[i];
	}
	if (!any)
		return;
	if (ASH_LIKELY(!atomic_load_explicit(&ash_maps.bare, memory_order_relaxed)))
		wipe_and_move(lot);
	for (unsigned i = 0; i < lot->nr; i++) {
		if (lot->full[i] && !lot->moved[i])
			(void)ash_vmem_discard(ash_slot_address(lot->slot[i]), PB_BYTES);
	}
}

static void blocks_to_slots(struct ash_lot *lot)
{
	const int fd = ash_uffd_open();
	unsigned n;

	if (fd < 0)
		return;
	for (unsigned i = next_full(lot, 0); i < lot->nr; i = next_full(lot, i + n)) {
		void *slots = ash_slot_address(lot->slot[i]);

		n = row(lot, i);
		if (ash_uffd_register(fd, slots, (size_t)n << PB_SHIFT) < 0)
			continue;
		move_row(fd, lot, i, n, HARVEST);
		ash_uffd_unregister(fd, slots, (size_t)n << PB_SHIFT);
	}
	ash_uffd_close(fd);
}

/*
 * On several nodes, pages go only into a slot that is to have pages of their node: the program may have bound its
 * mapping (numa_alloc_onnode), or a full node's memory came from another. A slot with far pages would pass them on as
 * near ones. Of a pageblock its first page is asked for, which is all of it where it is a huge page.
 */
static void leave_strangers(struct ash_lot *lot)
{
	void *pages[LOT_BLOCKS];
	int nodes[LOT_BLOCKS];

	for (unsigned i = 0; i < lot->nr; i++)
		pages[i] = block_address(lot, i);
	if (ash_numa_where(lot->nr, pages, nodes) < 0)
		return;
	for (unsigned i = 0; i < lot->nr; i++) {
		if (lot->full[i] && (nodes[i] < 0 || nodes[i] >= ASH_NODES_MAX ||
				     (ash_arena_nodes_of(ash_slot_address(lot->slot[i])) >> nodes[i] & 1) == 0))
			lot->full[i] = false;
	}
}

void ash_lot_harvest(struct ash_lot *lot)
{
	bool any = false;

	for (unsigned i = 0; i < lot->nr; i++)
		lot->moved[i] = false;
	/* Nobody would get them. */
	if (atomic_load_explicit(&ash_maps.bare, memory_order_relaxed))
		return;
	find_full(block_address(lot, 0), lot->nr, lot->full);
	for (unsigned i = 0; i < lot->nr; i++)
		lot->full[i] = lot->full[i] && lot->slot[i] != 0;
	if (ASH_UNLIKELY(ash_arena_is_several()))
		leave_strangers(lot);
	for (unsigned i = 0; i < lot->nr; i++)
		any |= lot->full[i];
	if (!any)
		return;
	blocks_to_slots(lot);
	count(lot, &ash_maps.harvested);
}

void ash_lot_give_back(struct ash_lot *lot)
{
	for (unsigned i = 0; i < lot->nr; i++) {
		lot->full[i] = lot->moved[i];
		lot->moved[i] = false;
	}
	slots_to_blocks(lot);
	for (unsigned i = 0; i < lot->nr; i++) {
		if (lot->full[i] && !lot->moved[i])
			undo_part(lot, i, PB_BYTES);
	}
}
