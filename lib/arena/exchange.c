/* SPDX-License-Identifier: MIT */
/*
 * The frames behind a run, moved by page tables (userfaultfd's UFFDIO_MOVE, Linux 6.8) where they would be copied, or
 * where free ones would lie idle while new ones are asked of the system.
 *
 * Only huge pages move, each to a pageblock without any: a microsecond or two. A pageblock of base pages would move
 * page by page, and leave a page table behind where no huge page can come to any more. So the kernel is asked first
 * what there is, and everything else is copied. Its mapping stays one: what receives pages is registered for the length
 * of the call and joined to its neighbours again after it.
 *
 * The arena's growth turn is held, so that a fork neither copies a descriptor nor finds pageblocks held from the zone.
 * Signals are blocked, because a handler may fork and allocate. Nothing here fails: what does not move is copied, or
 * new memory is touched, as on a kernel without all this.
 */
#include <errno.h>
#include <string.h>

#include "arena/internal.h"
#include "os/process.h"
#include "os/resident.h"
#include "os/signal.h"
#include "os/uffd.h"
#include "page/pageblock.h"

enum { LOOK = 64 }; /* pageblocks seen to in one turn */

struct exchange {
	struct ash_arena *arena;
	struct ash_signals before;
	int fd;
};

/* Pages of an arena that is bound to nodes piece by piece would leave their piece's. */
static bool can_exchange(const struct ash_arena *a)
{
	return a != NULL && a->kind == ASH_ARENA_T && !ash_arena_is_pieced(a) && !ash_arena_is_watched() &&
	       !atomic_load_explicit(&ash_arenas.no_exchange, memory_order_relaxed);
}

/* Some filters answer a call they do not know with SIGSYS, here before the first of these. A filter, once there,
 * stays. */
static bool is_filtered(void)
{
	if (!ash_process_filtered())
		return false;
	atomic_store_explicit(&ash_arenas.no_exchange, true, memory_order_relaxed);
	return true;
}

static bool exchange_begin(struct exchange *x, struct ash_arena *a)
{
	x->arena = a;
	ash_arena_take_turn(a);
	if (ash_arena_is_watched()) {
		ash_arena_end_turn(a);
		return false;
	}
	ash_signals_block(&x->before);
	x->fd = ash_uffd_open();
	if (x->fd >= 0)
		return true;
	/* Too many descriptors are open just now; anything else stays so. */
	if (x->fd != -EMFILE && x->fd != -ENFILE && x->fd != -ENOMEM)
		atomic_store_explicit(&ash_arenas.no_exchange, true, memory_order_relaxed);
	ash_signals_restore(&x->before);
	ash_arena_end_turn(a);
	return false;
}

/* Closing unregisters, too, what could not be unregistered for want of memory. */
static void exchange_end(struct exchange *x)
{
	ash_uffd_close(x->fd);
	ash_signals_restore(&x->before);
	ash_arena_end_turn(x->arena);
}

/* Returns the bytes that arrived, from the start. */
static size_t move(const struct exchange *x, void *to, void *from, size_t bytes)
{
	size_t done = 0;

	if (ash_uffd_register(x->fd, to, bytes) == 0) {
		done = ash_uffd_move(x->fd, to, from, bytes);
		ash_uffd_unregister(x->fd, to, bytes);
	}
	return done;
}

/*
 * Where there are huge pages at the target as well they go where the others came from, over a third place. What could
 * not be put back is of a run that nobody has used yet: its contents do not matter.
 */
static size_t swap(const struct exchange *x, void *to, void *from, size_t bytes)
{
	void *scratch, *aside;
	size_t done = 0;

	if (ash_vmem_map(bytes + ASH_PB_BYTES, &scratch) < 0)
		return 0;
	aside = (void *)ash_align_up((uintptr_t)scratch, ASH_PB_BYTES);
	if (move(x, aside, to, bytes) == bytes) {
		done = move(x, to, from, bytes);
		(void)move(x, from, aside, ash_align_down(done, ASH_PB_BYTES));
	}
	(void)ash_vmem_unmap(scratch, bytes + ASH_PB_BYTES);
	return done;
}

/* Some pageblocks of two runs of the caller's, and how far their moving has come. */
struct lot {
	char *to, *from;
	size_t nr;
	unsigned char to_is[LOOK], from_is[LOOK]; /* enum ash_resident */
	size_t done[LOOK];                        /* of a row, at its first pageblock: bytes that need no copying */
};

/* How many pageblocks from the ith on are as it is, on both sides. */
static size_t row(const struct lot *l, size_t i)
{
	size_t n = 1;

	while (i + n < l->nr && l->from_is[i + n] == l->from_is[i] && l->to_is[i + n] == l->to_is[i])
		n++;
	return n;
}

/* What the kernel will not tell, or has no use for, is SOME: to be copied. */
static bool look(struct lot *l, bool to_empty)
{
	bool any = false;

	memset(l->done, 0, sizeof(l->done));
	memset(l->to_is, ASH_RESIDENT_NONE, sizeof(l->to_is));
	if (ash_resident_look(l->from, l->nr, l->from_is) < 0 ||
	    (!to_empty && ash_resident_look(l->to, l->nr, l->to_is) < 0)) {
		memset(l->from_is, ASH_RESIDENT_SOME, sizeof(l->from_is));
		memset(l->to_is, ASH_RESIDENT_SOME, sizeof(l->to_is));
	}
	for (size_t i = 0; i < l->nr; i++)
		any |= l->from_is[i] == ASH_RESIDENT_HUGE && l->to_is[i] != ASH_RESIDENT_SOME;
	return any;
}

static void move_rows(struct lot *l, struct ash_arena *a)
{
	struct exchange x;

	if (!exchange_begin(&x, a))
		return;
	for (size_t i = 0, n; i < l->nr; i += n) {
		char *const to = l->to + i * ASH_PB_BYTES, *const from = l->from + i * ASH_PB_BYTES;

		n = row(l, i);
		if (l->from_is[i] != ASH_RESIDENT_HUGE || l->to_is[i] == ASH_RESIDENT_SOME)
			continue;
		l->done[i] = l->to_is[i] == ASH_RESIDENT_NONE ? move(&x, to, from, n * ASH_PB_BYTES) :
								swap(&x, to, from, n * ASH_PB_BYTES);
	}
	exchange_end(&x);
}

static void copy_rest(const struct lot *l)
{
	for (size_t i = 0, n; i < l->nr; i += n) {
		char *const to = l->to + i * ASH_PB_BYTES, *const from = l->from + i * ASH_PB_BYTES;
		const bool to_none = l->to_is[i] == ASH_RESIDENT_NONE, from_none = l->from_is[i] == ASH_RESIDENT_NONE;
		size_t bytes;

		n = row(l, i);
		bytes = n * ASH_PB_BYTES;
		if (!from_none)
			memcpy(to + l->done[i], from + l->done[i], bytes - l->done[i]);
		else if (!to_none)
			memset(to, 0, bytes);
		if (from_none || (to_none && l->done[i] == bytes))
			ash_run_free_zeroed(from, n * ASH_PB_FRAMES);
		else
			ash_run_free(from, n * ASH_PB_FRAMES);
	}
}

void ash_run_move(void *to, void *from, size_t nr_blocks, bool to_empty)
{
	struct ash_arena *a = ash_arena_of(from);
	const size_t frames = nr_blocks * ASH_PB_FRAMES;

	if (ash_arena_of(to) != a || !can_exchange(a) ||
	    (((uintptr_t)to | (uintptr_t)from) & (ASH_PB_BYTES - 1)) != 0 || is_filtered()) {
		memcpy(to, from, frames << ASH_PAGE_SHIFT);
		ash_run_free(from, frames);
		return;
	}
	for (size_t i = 0; i < nr_blocks; i += LOOK) {
		struct lot l = {
			.to = (char *)to + i * ASH_PB_BYTES,
			.from = (char *)from + i * ASH_PB_BYTES,
			.nr = ash_min(nr_blocks - i, LOOK),
		};

		if (look(&l, to_empty))
			move_rows(&l, a);
		copy_rest(&l);
	}
}

static bool all_huge(const void *addr, size_t nr)
{
	unsigned char what[LOOK];
	size_t n = 0;

	if (ash_resident_look(addr, nr, what) < 0)
		return false;
	while (n < nr && what[n] == ASH_RESIDENT_HUGE)
		n++;
	return n == nr;
}

/*
 * One held buddy after the other, each as large as there is room for. Huge pages go to the run; what is not, goes to
 * the system, because the run will ask as much of it. Returns the pageblocks of the run that got pages.
 */
static size_t fill(const struct exchange *x, char *to, size_t blocks)
{
	struct ash_arena *a = x->arena;
	size_t n = 0;

	for (size_t left = blocks; left > 0;) {
		const unsigned most = ASH_PAGEBLOCK_ORDER + ash_log2_floor(ash_min(left, LOOK));
		unsigned order;
		ash_pfn_t pfn;
		size_t bytes, nr;
		void *from;
		bool gone;

		if (ash_zone_report_begin_max(a->zone, ASH_PAGEBLOCK_ORDER, most, &pfn, &order) < 0)
			break;
		from = ash_arena_address(a, pfn);
		bytes = ASH_PAGE_SIZE << order;
		nr = bytes / ASH_PB_BYTES;
		if (all_huge(from, nr)) {
			gone = ash_uffd_move(x->fd, to + n * ASH_PB_BYTES, from, bytes) == bytes;
			n += nr;
		} else {
			gone = ash_vmem_discard(from, bytes) == 0;
		}
		ash_zone_report_end(a->zone, pfn, order, gone);
		if (!gone)
			break;
		left -= nr;
	}
	return n;
}

/* The first row of pageblocks without memory in [*first, end); the bits are as they were when the run was free. */
static size_t empty_row(const struct ash_arena *a, ash_pfn_t *first, ash_pfn_t end)
{
	size_t n = 0;

	while (*first < end && !ash_pageblock_zeroed(a->zone, *first))
		*first += ASH_PB_FRAMES;
	while (*first + n * ASH_PB_FRAMES < end &&
	       ash_pageblock_zeroed(a->zone, *first + (ash_pfn_t)(n * ASH_PB_FRAMES)))
		n++;
	return n;
}

static void fill_rows(const struct exchange *x, struct ash_run *run, ash_pfn_t first, ash_pfn_t end, size_t free_blocks)
{
	size_t n;

	for (; free_blocks > 0 && (n = empty_row(x->arena, &first, end)) > 0; first += (ash_pfn_t)(n * ASH_PB_FRAMES)) {
		void *const to = ash_arena_address(x->arena, first);

		n = ash_min(n, free_blocks);
		free_blocks -= n;
		if (ash_uffd_register(x->fd, to, n * ASH_PB_BYTES) < 0)
			return;
		if (fill(x, to, n) > 0)
			run->zeroed = false;
		ash_uffd_unregister(x->fd, to, n * ASH_PB_BYTES);
	}
}

void ash_run_fill(struct ash_run *run)
{
	struct ash_arena *a = ash_arena_of(run->addr);
	const size_t blocks = run->nr_frames / ASH_PB_FRAMES;
	struct exchange x;
	ash_pfn_t pfn, end;
	size_t free_blocks;

	if (!can_exchange(a) || blocks == 0 || ((uintptr_t)run->addr & (ASH_PB_BYTES - 1)) != 0)
		return;
	pfn = (ash_pfn_t)(((uintptr_t)run->addr - a->start) >> ASH_PAGE_SHIFT);
	end = pfn + (ash_pfn_t)(blocks * ASH_PB_FRAMES);
	free_blocks = ash_arena_free_resident(a);
	if (free_blocks == 0 || empty_row(a, &(ash_pfn_t){ pfn }, end) == 0 || is_filtered() ||
	    !exchange_begin(&x, a))
		return;
	fill_rows(&x, run, pfn, end, free_blocks);
	exchange_end(&x);
}
