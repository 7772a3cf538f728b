/* SPDX-License-Identifier: MIT */
/*
 * Metadata: tables with one entry per frame or pageblock of the whole reservation, and a bump allocator, out of line.
 *
 *      | guard | bump | guard | client tables | pageblocks | backing | first bytes to bump | tags | frames | guard |
 *
 * The clients' tables begin at their ends, so that what is written of them first lies beside what is written first of
 * the others: a page of the kernel's page tables, which maps 2 MiB, is more than a page of memory to a small process.
 * And it is one mapping, made writable by one call: each more is two or three times what a system call is otherwise.
 * The first client's table and that of pageblocks even begin in one page: a small process writes some hundred bytes of
 * either.
 *
 * Part of the arenas' reservation, PROT_NONE at first. It becomes writable piecemeal: the little that every process
 * writes at once, with the first gigabyte's tags and first client's entries; the tables a gigabyte of frames at a time
 * as frames go online (the unit within which the page core may look at the metadata of a frame that is not online), the
 * bump area by steps. So what is writable goes with what the process uses: mlockall(2) populates no table for memory
 * that is not there, and where the kernel charges (vm.overcommit_memory=2, RLIMIT_DATA) it charges that much.
 *
 * Tags are looked up by whatever address a program frees, so all of them can be read from the start: beyond what is
 * writable they are the kernel's zero page.
 *
 * What is not needed any more once the process has a limit on address space is unmapped (fit.c).
 *
 * Everything here is out of core dumps and never huge: it is sparse, and a huge page would make it cost 2 MiB a table.
 */
#include <errno.h>

#include "arena/internal.h"

#define GUARD ASH_KIB(64)
#define BUMP_STEP ASH_KIB(256)
enum { MAX_TABLES = 8, CLIENT_BYTES_PER_FRAME = 8, BUMP_SHARE = 64, BUMP_ALIGN = 64 };
enum { HALF_PAGE = ASH_PAGE_SIZE / 2 };
enum { TAG_BYTES = sizeof(uint32_t), FIRST_CLIENT_BYTES = 4 }; /* per frame; the first client is the heap */
enum { ALIGN_GIB = 64 };
/* What is bumped first: arena and zone, a heap, and a client's word for every 4 MiB, if these are not too many. */
#define EARLY_BYTES ASH_KIB(64)
#define EARLY_MAX ASH_MIB(1)
enum { EARLY_SHARE = 128 }; /* frames per byte */
enum { TABLE_PAGEBLOCKS, TABLE_BACKING, TABLE_FRAMES, TABLE_TAGS, OWN_TABLES };

/*
 * One entry of entry_bytes per 2^shift frames of the reservation; 0: the page core's frames, which it places itself.
 * Of a table that goes down base is its end.
 */
struct meta_table {
	uintptr_t base;
	bool down;
	size_t entry_bytes;
	unsigned shift;
};

static struct {
	size_t nr_frames; /* setup turn and all growth turns: those that there are tags and clients' tables for */
	struct meta_table tables[MAX_TABLES];
	unsigned nr_tables; /* setup turn and all growth turns */
	uintptr_t client_start, client_next; /* setup turn: space for the clients' tables, taken from its end */
	uintptr_t first_start, first_end; /* (c) what is writable from the start */
	uintptr_t early_end, bump_end;    /* (c) */
	_Atomic uintptr_t early_next;     /* (a) the first bytes that are bumped */
	_Atomic uintptr_t bump_next;      /* (a) */
	/* (a) writable below; release store after mprotect, acquire load before use */
	_Atomic uintptr_t bump_committed;
} meta;

/* Where in a table the entries of frames from nr_frames on begin. */
static size_t table_offset(size_t nr_frames, size_t entry_bytes, unsigned shift)
{
	if (entry_bytes == 0)
		return ash_frames_size(nr_frames);
	return ((nr_frames + (1ul << shift) - 1) >> shift) * entry_bytes;
}

static size_t table_bytes(size_t nr_frames, size_t entry_bytes, unsigned shift)
{
	return ash_align_up(table_offset(nr_frames, entry_bytes, shift), ASH_PAGE_SIZE);
}

static uintptr_t place_table(unsigned id, uintptr_t at, size_t nr_frames, size_t entry_bytes, unsigned shift)
{
	meta.tables[id] = (struct meta_table){ at, false, entry_bytes, shift };
	return at + table_bytes(nr_frames, entry_bytes, shift);
}

/*
 * Of a large reservation, what is written first lies in the middle of the first 2 MiB of a gigabyte, in which all
 * tables begin: one page of page tables for most of it, and one above that. A small one may be anywhere because address
 * space is dear.
 */
static bool is_large(size_t nr_frames)
{
	return nr_frames >> ASH_MAX_ORDER >= ALIGN_GIB;
}

static uintptr_t place_early(uintptr_t at, size_t nr_frames)
{
	return is_large(nr_frames) ? ash_align_up(at, ASH_GIB(1)) + ASH_MIB(1) : at;
}

static size_t early_bytes(size_t nr_frames)
{
	return EARLY_BYTES + ash_min(ash_align_up(nr_frames / EARLY_SHARE, ASH_PAGE_SIZE), EARLY_MAX);
}

/*
 * How many frames' tags and client's entries are writable from the start: those of the gigabyte that every process
 * begins with. Beside several nodes nobody knows yet which that is.
 */
static size_t first_frames(size_t nr_frames)
{
	return ash_arenas.bind ? 0 : ash_min(nr_frames, ASH_GIB_FRAMES);
}

static ASH_EARLY size_t bump_bytes(size_t nr_frames)
{
	return ash_max(ash_align_up((nr_frames << ASH_PAGE_SHIFT) / BUMP_SHARE, ASH_PAGE_SIZE), ASH_MIB(1));
}

/* Lays everything out from base and returns the end: with base 0, the size. */
static ASH_EARLY uintptr_t place_all(uintptr_t base, size_t nr_frames)
{
	const size_t bump = bump_bytes(nr_frames);
	uintptr_t at = base + GUARD;

	atomic_init(&meta.bump_next, at);
	atomic_init(&meta.bump_committed, at);
	meta.bump_end = at + bump;
	meta.client_start = meta.bump_end;
	at = meta.client_start + ash_align_up(nr_frames * CLIENT_BYTES_PER_FRAME, ASH_PAGE_SIZE) + MAX_TABLES * GUARD;
	/* Half a page before it is the first client's, and half of one behind them keeps the rest aligned. */
	at = place_early(at, nr_frames) + HALF_PAGE;
	meta.client_next = at;
	meta.first_start = ash_align_down(at - first_frames(nr_frames) * FIRST_CLIENT_BYTES, ASH_PAGE_SIZE);
	at = place_table(TABLE_PAGEBLOCKS, at, nr_frames, 1, ASH_PAGEBLOCK_ORDER);
	at = place_table(TABLE_BACKING, at, nr_frames, 1, ASH_PAGEBLOCK_ORDER) + HALF_PAGE;
	atomic_init(&meta.early_next, at);
	at += early_bytes(nr_frames);
	meta.early_end = at;
	meta.first_end = ash_align_up(at + first_frames(nr_frames) * TAG_BYTES, ASH_PAGE_SIZE);
	at = place_table(TABLE_TAGS, at, nr_frames, TAG_BYTES, 0);
	return place_table(TABLE_FRAMES, at, nr_frames, 0, 0) + GUARD;
}

static int commit(uintptr_t start, uintptr_t end)
{
	start = ash_align_down(start, ASH_PAGE_SIZE);
	return ash_vmem_commit((void *)start, ash_align_up(end, ASH_PAGE_SIZE) - start);
}

/* The first entries are writable, and what follows them is readable: whoever frees something looks its tag up. */
static int commit_first(void)
{
	const struct meta_table *tags = &meta.tables[TABLE_TAGS];
	const uintptr_t end = tags->base + table_bytes(meta.nr_frames, TAG_BYTES, 0);
	int err = commit(meta.first_start, meta.first_end);

	if (err == 0 && meta.first_end < end)
		err = ash_vmem_commit_zero((void *)meta.first_end, end - meta.first_end);
	return err;
}

ASH_EARLY size_t ash_meta_bytes(size_t nr_frames)
{
	return ash_align_up(place_all(0, nr_frames) + (is_large(nr_frames) ? ASH_GIB(1) : 0), ASH_PB_BYTES);
}

ASH_EARLY int ash_meta_init(void *base, size_t bytes, size_t nr_frames)
{
	(void)place_all((uintptr_t)base, nr_frames);
	(void)ash_vmem_advise(base, bytes, ASH_VMEM_NOHUGE);
	(void)ash_vmem_advise(base, bytes, ASH_VMEM_DONTDUMP);
	meta.nr_frames = nr_frames;
	meta.nr_tables = OWN_TABLES;
	/* The tables per pageblock are small, and walkers read them for the whole span. */
	if (commit_first() < 0)
		return -ENOMEM;
	ash_registry.tags = (_Atomic uint32_t *)meta.tables[TABLE_TAGS].base;
	return 0;
}

struct piece {
	uintptr_t at, end;
};

/* Entries of frames from to end, as a span that begins at frame base counts them. */
static ASH_EARLY struct piece entries(const struct meta_table *t, size_t base, size_t from, size_t end)
{
	const size_t part = table_offset(base, t->entry_bytes, t->shift);
	const size_t first = part + table_offset(from, t->entry_bytes, t->shift);
	const size_t last = part + table_offset(end, t->entry_bytes, t->shift);
	const uintptr_t at = t->down ? t->base - last : t->base + first;

	return (struct piece){ at, at + last - first };
}

static ASH_EARLY int cover_table(const struct meta_table *t, size_t base, size_t from, size_t end)
{
	const struct piece p = entries(t, base, from, end);

	return p.at >= meta.first_start && p.end <= meta.first_end ? 0 : commit(p.at, p.end);
}

/* The page core also looks at the frame behind the last one online. */
ASH_EARLY ash_pfn_t ash_meta_reach(const struct ash_arena *a, ash_pfn_t end)
{
	return (ash_pfn_t)ash_min(ash_align_up((size_t)end + 1, ASH_GIB_FRAMES), a->span_frames);
}

ASH_EARLY int ash_meta_cover(struct ash_arena *a, ash_pfn_t end)
{
	const size_t base = (size_t)a->index << ash_registry.span_frame_shift;
	const ash_pfn_t want = ash_meta_reach(a, end);
	int err = 0;

	if (want <= a->covered)
		return 0;
	/* Those per pageblock are writable from the start. */
	for (unsigned i = TABLE_FRAMES; i < meta.nr_tables && err == 0; i++)
		err = cover_table(&meta.tables[i], base, a->covered, want);
	if (err == 0)
		a->covered = want;
	return err;
}

ASH_EARLY struct ash_frame *ash_meta_frames(size_t first)
{
	/* A span's part is laid out as a table of its own. Two of them take no more than one for both: they fit. */
	return (struct ash_frame *)(meta.tables[TABLE_FRAMES].base + ash_frames_size(first));
}

static _Atomic uint8_t *pageblock_table(unsigned id, size_t first)
{
	return (_Atomic uint8_t *)meta.tables[id].base + (first >> ASH_PAGEBLOCK_ORDER);
}

ASH_EARLY _Atomic uint8_t *ash_meta_pageblocks(size_t first)
{
	return pageblock_table(TABLE_PAGEBLOCKS, first);
}

ASH_EARLY _Atomic uint8_t *ash_meta_backing(size_t first)
{
	return pageblock_table(TABLE_BACKING, first);
}

/* Whoever needs memory above the mark commits it: twice does no harm, and nobody waits for another's system call. */
static bool bump_commit(uintptr_t start, uintptr_t end)
{
	uintptr_t mark = atomic_load_explicit(&meta.bump_committed, memory_order_acquire);
	const uintptr_t want = ash_min(ash_align_up(end, BUMP_STEP), meta.bump_end);

	if (end <= mark)
		return true;
	if (commit(start, want) < 0)
		return false;
	/* Between mark and start lies what others took and commit themselves; only a contiguous step moves the mark. */
	while (mark >= start && mark < want &&
	       !atomic_compare_exchange_weak_explicit(&meta.bump_committed, &mark, want, memory_order_release,
						      memory_order_acquire))
		;
	return true;
}

/* bytes from *next, which stays at or below end. 0: not so many left. */
static uintptr_t bump(_Atomic uintptr_t *next, uintptr_t end, size_t bytes)
{
	uintptr_t at = atomic_load_explicit(next, memory_order_relaxed);

	do {
		if (bytes > end - at)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(next, &at, at + bytes, memory_order_relaxed,
							memory_order_relaxed));
	return at;
}

/* Who is refused memory is so for as long as there is none, and must not use up the space meanwhile. The last can. */
static void unbump(_Atomic uintptr_t *next, uintptr_t at, size_t bytes)
{
	uintptr_t end = at + bytes;

	(void)atomic_compare_exchange_strong_explicit(next, &end, at, memory_order_relaxed, memory_order_relaxed);
}

ASH_EARLY void *ash_meta_alloc(size_t bytes)
{
	uintptr_t at;

	if (bytes == 0 || bytes > meta.bump_end)
		return NULL;
	bytes = ash_align_up(bytes, BUMP_ALIGN);
	at = bump(&meta.early_next, meta.early_end, bytes);
	if (at == 0) {
		at = bump(&meta.bump_next, meta.bump_end, bytes);
		if (at == 0)
			return NULL;
		if (!bump_commit(at, at + bytes)) {
			unbump(&meta.bump_next, at, bytes);
			return NULL;
		}
	}
	/* A page that is read before it is written is faulted in twice. */
	*(volatile char *)at = 0;
	return (void *)at;
}

/* Caller holds setup and all growth turns: nothing goes online meanwhile. */
static int cover_online(const struct meta_table *t)
{
	int err = 0;

	for (unsigned i = 0; i < ash_registry.nr_spans && err == 0; i++) {
		const struct ash_arena *a = ash_arena_peek(i);

		if (a != NULL && a->covered > 0)
			err = cover_table(t, (size_t)i << ash_registry.span_frame_shift, 0, a->covered);
	}
	return err;
}

static void *add_table(size_t entry_bytes, unsigned shift)
{
	const struct meta_table t = { meta.client_next, true, entry_bytes, shift };
	const size_t bytes = table_bytes(meta.nr_frames, entry_bytes, shift);

	if (meta.nr_tables == MAX_TABLES || bytes + GUARD > meta.client_next - meta.client_start)
		return NULL;
	if (cover_online(&t) < 0)
		return NULL;
	meta.client_next = ash_align_down(meta.client_next, ASH_PAGE_SIZE) - bytes - GUARD;
	meta.tables[meta.nr_tables++] = t;
	return (void *)(t.base - entry_bytes);
}

ASH_EARLY void *ash_meta_table(size_t entry_bytes, unsigned shift)
{
	void *table;

	ash_arenas_take_turns();
	table = add_table(entry_bytes, shift);
	ash_arenas_end_turns();
	return table;
}

/* Whole pages of it only: others may be on the first and the last. */
static void unmap(uintptr_t at, uintptr_t end)
{
	at = ash_align_up(at, ASH_PAGE_SIZE);
	end = ash_align_down(end, ASH_PAGE_SIZE);
	if (at < end)
		(void)ash_vmem_unmap((void *)at, end - at);
}

void ash_meta_cut(unsigned index, size_t from, size_t end)
{
	const size_t base = (size_t)index << ash_registry.span_frame_shift;

	for (unsigned i = TABLE_FRAMES; i < meta.nr_tables; i++) {
		const struct piece p = entries(&meta.tables[i], base, from, end);

		if (i != TABLE_TAGS)
			unmap(p.at, p.end);
	}
}

void ash_meta_cut_end(void)
{
	unmap(meta.tables[TABLE_FRAMES].base + table_bytes(meta.nr_frames, 0, 0) + GUARD, ash_registry.base);
}

/*
 * What is left to be bumped is cut at its front, by taking it. Those who took what is before it may still be about to
 * make that writable, by whole steps, which stay mapped: it is made so here before the mark passes it.
 */
static void cut_bump(size_t keep)
{
	const uintptr_t to = meta.bump_end - keep;
	uintptr_t at = atomic_load_explicit(&meta.bump_next, memory_order_relaxed), mark;

	do {
		if (at >= to)
			return;
	} while (!atomic_compare_exchange_weak_explicit(&meta.bump_next, &at, to, memory_order_relaxed,
							memory_order_relaxed));
	mark = atomic_load_explicit(&meta.bump_committed, memory_order_acquire);
	if (mark >= at || commit(mark, at) == 0) {
		while (mark < to && !atomic_compare_exchange_weak_explicit(&meta.bump_committed, &mark, to,
									   memory_order_release, memory_order_acquire))
			;
	}
	unmap(ash_align_up(at, BUMP_STEP), to);
}

void ash_meta_cut_common(size_t nr_frames, size_t nr_usable)
{
	const uintptr_t tags = meta.tables[TABLE_TAGS].base;
	/* The heap has the only one that there is. */
	const size_t bytes = ash_align_up(nr_frames * FIRST_CLIENT_BYTES, ASH_PAGE_SIZE) + GUARD;
	const size_t client = meta.nr_tables > OWN_TABLES ? 0 : bytes;
	const uintptr_t client_start = ash_align_down(meta.client_next - client, ASH_PAGE_SIZE);

	unmap(tags + nr_frames * TAG_BYTES, tags + table_bytes(meta.nr_frames, TAG_BYTES, 0));
	meta.nr_frames = nr_frames;
	if (client_start > meta.client_start) {
		unmap(meta.client_start, client_start);
		meta.client_start = client_start;
	}
	cut_bump(bump_bytes(nr_usable));
}
