/* SPDX-License-Identifier: MIT */
/*
 * Whose heap is whose: thread heaps from birth to adoption, and what fork does to them.
 *
 * A thread's heap is made on its first slow path. When the thread ends the heap gives back most of what it caches and
 * becomes an orphan, whole: its slabs keep their tags, objects still alive in it are freed to it as before, and the
 * next new thread of the same NUMA node adopts it. Until then heaps of that node in need of a slab take those that the
 * orphan has partly used. So short-lived threads cost no new memory, and no slab is used from afar. A thread that finds
 * itself on another node, the next time it needs more than its bins hold, leaves its heap behind and takes one of where
 * it is.
 *
 * After fork the child has one thread. Heaps of the others may have been copied in the middle of a list operation:
 * they are marked LOST and never read again; objects freed to them are kept on their remote lists. That memory is lost
 * to the child, and is the price of a fast path without locks. Remote lists are forgotten, of all heaps: the kernel
 * copies page by page while other threads run, so the child may have the head of a list and not the link that was
 * written before it. What was on them is therefore taken home just before.
 */
#include "heap/fast.h"

#include "os/sync.h"
#include "os/thread.h"

/*
 * Nobody writes to it: it is a page of the file that all processes share, and a stray write to it is a fault. Its type
 * lacks the const because a pointer to it stands where that to a heap stands.
 */
static const struct ash_heap heap_none = { .tag = UINT32_MAX };
extern struct ash_heap ash_heap_none ASH_ALIAS(heap_none);
struct ash_heaps ash_heaps = { .lock = ASH_LOCK_INIT, .trim = ASH_LOCK_INIT };
ASH_TLS_DEFINE struct ash_heap *ash_heap_self = &ash_heap_none;
ASH_TLS_DEFINE bool ash_heap_thread_ended;

/*
 * A signal handler may give its thread another policy (ash_heap_leave) while the code that it interrupted has the heap
 * in its hands. So it takes the heap out of ash_heap_self, and no more than that: what was interrupted goes on with the
 * heap that it has, and the thread's next call comes to the slow path, finds the heap here and leaves it properly. Both
 * are the thread's own; how often a handler has been tells those who change them whether they have to do it again.
 */
static ASH_TLS_DEFINE struct ash_heap *volatile left_heap;
static ASH_TLS_DEFINE volatile unsigned times_left;

/* One table entry per 4 MiB of the reservation, which is several times the machine's memory. */
#define HEAP_TABLE_SHIFT 10
#define HEAP_TABLE_MIN 4096

/* Orphans that are looked at for a slab, those that ended last. */
enum { ORPHAN_LOOKS = 8 };

void ash_heaps_lock(void)
{
	ash_lock(&ash_heaps.lock, &ash_futex_ops);
}

void ash_heaps_unlock(void)
{
	ash_unlock(&ash_heaps.lock, &ash_futex_ops);
}

/* The options, the arenas and our tables. Called with no lock held; safe to race and to call again after a failure. */
ASH_EARLY bool ash_heaps_boot(void)
{
	bool ok;

	if (!ash_arena_ready()) {
		struct ash_arena_config config;

		ash_arena_config_default(&config);
		if ((ash_heap_boot != NULL ? ash_heap_boot() : ash_arena_init(&config)) != 0)
			return false;
	}
	/* Making these two tables, once in a process's life, is the only time the kernel is entered with this lock
	 * held, but for the guards of an orphan's slabs that are freed (option guard). */
	ash_heaps_lock();
	if (ash_slabs == NULL)
		ash_slabs = ash_meta_table(sizeof(struct ash_slab), ASH_SLAB_MIN_ORDER);
	if (ash_heaps.table == NULL) {
		ash_heaps.max = (uint32_t)ash_min(ash_max(ash_nr_frames() >> HEAP_TABLE_SHIFT, HEAP_TABLE_MIN),
						  ASH_OWNER_MAX);
		/* One piece for both, and the first heaps' entries on one page with the lists. */
		ash_heaps.orphans = ash_meta_alloc((ash_heaps.max + ASH_ZONELIST_HOMES) * sizeof(struct ash_heap *));
		if (ash_heaps.orphans != NULL)
			ash_heaps.table = (void *)(ash_heaps.orphans + ASH_ZONELIST_HOMES);
	}
	ok = ash_slabs != NULL && ash_heaps.table != NULL;
	ash_heaps_unlock();
	return ok;
}

/* For a structure that owns nothing yet: of a heap in use, others read these. */
static void heap_start(struct ash_heap *h, bool first_class)
{
	atomic_store_explicit(&h->first_class, first_class, memory_order_relaxed);
}

static bool is_full(void)
{
	bool full;

	ash_heaps_lock();
	full = ash_heaps.nr + 1 >= ash_heaps.max;
	ash_heaps_unlock();
	return full;
}

/*
 * A structure for a heap that has never been: metadata first, because getting it may enter the kernel. It cannot be
 * given back, so a full table is seen before; who loses the last number to another thread all the same loses a
 * structure, once.
 */
static struct ash_heap *heap_structure(bool first_class)
{
	struct ash_heap *h = is_full() ? NULL : ash_meta_alloc(sizeof(*h));

	if (h == NULL)
		return NULL;
	for (unsigned cls = 0; cls < ASH_NR_CLASSES; cls++)
		h->bins.room[cls] = ash_classes[cls].cache_max;
	heap_start(h, first_class);
	ash_heaps_lock();
	if (ash_heaps.nr + 1 < ash_heaps.max) {
		h->owner = ++ash_heaps.nr;
		h->tag = h->owner << ASH_TAG_OWNER_SHIFT;
		atomic_store_explicit(&ash_heaps.table[h->owner], h, memory_order_release);
	}
	ash_heaps_unlock();
	if (h->owner > 1)
		ash_arena_note_shared();
	return h->owner != 0 ? h : NULL;
}

/* One that somebody left: a destroyed heap's structure, or for a thread an orphan with all it had. */
static struct ash_heap *heap_reuse(bool first_class, unsigned home)
{
	struct ash_heap **list = &ash_heaps.orphans[home], *h;

	ash_heaps_lock();
	if (first_class || *list == NULL)
		list = &ash_heaps.free;
	h = *list;
	if (h != NULL) {
		*list = h->orphan_next;
		if (list == &ash_heaps.free)
			heap_start(h, first_class);
		else
			(void)atomic_fetch_sub_explicit(&ash_heaps.nr_orphans, 1, memory_order_relaxed);
		atomic_store_explicit(&h->state, ASH_HEAP_ACTIVE, memory_order_seq_cst);
	}
	ash_heaps_unlock();
	return h;
}

/* zonelist NULL: there is none, for want of memory. So is the result. */
ASH_EARLY struct ash_heap *ash_heap_create_structure(bool first_class, const struct ash_zonelist *zonelist)
{
	struct ash_heap *h;

	if (zonelist == NULL)
		return NULL;
	h = heap_reuse(first_class, zonelist->home);
	if (h == NULL)
		h = heap_structure(first_class);
	if (h != NULL)
		h->zonelist = zonelist;
	return h;
}

void ash_heap_leave(void)
{
	struct ash_heap *h = ash_heap_self;

	times_left++;
	if (h == &ash_heap_none)
		return;
	left_heap = h;
	atomic_signal_fence(memory_order_seq_cst);
	ash_heap_self = &ash_heap_none;
}

/* The thread's heap is h, and no other is left, whatever a handler does meanwhile. */
static void set_self(struct ash_heap *h)
{
	unsigned before;

	do {
		before = times_left;
		left_heap = NULL;
		atomic_signal_fence(memory_order_seq_cst);
		ash_heap_self = h;
		atomic_signal_fence(memory_order_seq_cst);
	} while (times_left != before);
}

/* The calling thread's, wherever it is; NULL: none yet. */
static struct ash_heap *own_heap(void)
{
	return ash_heap_self != &ash_heap_none ? ash_heap_self : left_heap;
}

/* A policy that came while a heap was chosen may be another's than the heap: it is looked at again at the next call. */
static void again_if_left_since(unsigned before)
{
	if (ASH_UNLIKELY(times_left != before))
		ash_heap_leave();
}

ASH_EARLY struct ash_heap *ash_heap_get_slow(void)
{
	const unsigned before = times_left;
	struct ash_heap *h = left_heap;

	if (h != NULL) {
		set_self(h);
		return ash_heap_move(h);
	}
	h = ash_heaps_boot() ? ash_heap_create_structure(false, ash_zonelist_of_thread()) : NULL;
	if (h == NULL)
		return NULL;
	/* First the heap, then the hook: registering it may allocate, and must find us ready. */
	set_self(h);
	/* Without a key the heap is not orphaned when its thread ends, and what it holds stays where it is. */
	if (ASH_LIKELY(!ash_heap_thread_ended))
		(void)!ash_thread_on_exit(ash_heap_thread_exit);
	again_if_left_since(before);
	return h;
}

/* Drain an orphan on behalf of a thread that freed into it. */
void ash_heaps_orphan_drain(struct ash_heap *h)
{
	ash_heaps_lock();
	if (atomic_load_explicit(&h->state, memory_order_relaxed) == ASH_HEAP_ORPHAN) {
		ash_remote_drain_to_slabs(h);
		ash_heap_release_empty(h);
	}
	ash_heaps_unlock();
}

/*
 * Objects outlive their threads, and would hold the rest of their slabs until another thread comes. A heap in need of a
 * slab takes one of these instead, of the same home. The bin of the class is emptied first, so that nothing of the slab
 * is cached; what other threads have on its way to the old owner is sent on (remote.c).
 */
ASH_EARLY struct ash_slab *ash_heap_take_slab(struct ash_heap *h, unsigned cls)
{
	struct ash_slab *s = NULL;
	struct ash_heap *o;

	if (h->first_class || atomic_load_explicit(&ash_heaps.nr_orphans, memory_order_relaxed) == 0)
		return NULL;
	ash_heaps_lock();
	o = ash_heaps.orphans[h->zonelist->home];
	for (unsigned i = 0; o != NULL && i < ORPHAN_LOOKS; o = o->orphan_next, i++) {
		if (ash_slab_with_room(o, cls) == NULL)
			continue;
		/* This may leave slabs empty, and an orphan keeps none of these. */
		ash_bin_flush(o, cls);
		ash_heap_release_empty(o);
		s = ash_slab_with_room(o, cls);
		if (s != NULL) {
			ash_slab_change_owner(s, o, h);
			break;
		}
	}
	ash_heaps_unlock();
	return s;
}

/* What others freed comes home, and what h has of others' and has not used goes home. */
static void bring_all(struct ash_heap *h)
{
	ash_remote_drain(h);
	ash_waiting_flush(h);
}

static void heap_flush_all(struct ash_heap *h)
{
	bring_all(h);
	ash_heap_flush(h);
	h->keeps_others = false;
	ash_remote_flush(h);
	ash_heap_release_empty(h);
	ash_large_drop_kept(h);
}

void ash_heap_flush_thread(void)
{
	struct ash_heap *h = own_heap();

	if (h != NULL)
		heap_flush_all(h);
}

/* Under ash_heaps.lock. */
static void orphans_drain(void)
{
	for (unsigned home = 0; ash_heaps.orphans != NULL && home < ASH_ZONELIST_HOMES; home++) {
		for (struct ash_heap *h = ash_heaps.orphans[home]; h != NULL; h = h->orphan_next) {
			ash_remote_drain_to_slabs(h);
			ash_heap_release_empty(h);
		}
	}
}

/*
 * The thread has done with a heap that is no longer ash_heap_self. bin_bytes: what each bin may keep, for the next
 * thread that begins on this node. A thread that only left the node keeps nothing here: with many threads on many nodes
 * caches would be on all of them, and nobody might ever come back.
 */
static void heap_abandon(struct ash_heap *h, uint32_t bin_bytes)
{
	struct ash_heap **list = &ash_heaps.orphans[h->zonelist->home];

	bring_all(h);
	/* An orphan's bins may be emptied under the lock, where nothing can be sent to another orphan. */
	ash_heap_flush_bigger(h, h->keeps_others ? 0 : bin_bytes);
	h->keeps_others = false;
	h->refilled = 0;
	ash_remote_flush(h);
	ash_large_drop_kept(h);
	ash_heaps_lock();
	atomic_store_explicit(&h->state, ASH_HEAP_ORPHAN, memory_order_seq_cst);
	/* A sender that read ACTIVE has spliced before; one that reads ORPHAN waits for this lock and drains. */
	atomic_thread_fence(memory_order_seq_cst);
	ash_remote_drain_to_slabs(h);
	ash_heap_release_empty(h);
	h->orphan_next = *list;
	*list = h;
	(void)atomic_fetch_add_explicit(&ash_heaps.nr_orphans, 1, memory_order_relaxed);
	ash_heaps_unlock();
}

/*
 * All orphans become the caller's, as if it had adopted them, and are linked with the one that ended first in front.
 * The caller gives each back to its list, last of all what was the first there.
 */
static struct ash_heap *orphans_borrow(void)
{
	struct ash_heap *borrowed = NULL;

	ash_heaps_lock();
	for (unsigned home = 0; ash_heaps.orphans != NULL && home < ASH_ZONELIST_HOMES; home++) {
		struct ash_heap **list = &ash_heaps.orphans[home], *h;

		while ((h = *list) != NULL) {
			*list = h->orphan_next;
			h->orphan_next = borrowed;
			borrowed = h;
			(void)atomic_fetch_sub_explicit(&ash_heaps.nr_orphans, 1, memory_order_relaxed);
			atomic_store_explicit(&h->state, ASH_HEAP_ACTIVE, memory_order_seq_cst);
		}
	}
	ash_heaps_unlock();
	return borrowed;
}

/*
 * Giving parts of slabs back enters the kernel, which is nothing to do under the lock that births and deaths need: so
 * orphans are borrowed for it. Threads that begin meanwhile make heaps of their own. A fork waits, for what is borrowed
 * would be the heaps of a thread that is not in the child.
 */
static size_t orphans_trim(void)
{
	struct ash_heap *h, *next;
	size_t bytes = 0;

	ash_lock(&ash_heaps.trim, &ash_futex_ops);
	for (h = orphans_borrow(); h != NULL; h = next) {
		next = h->orphan_next;
		heap_flush_all(h);
		bytes += ash_heap_thin_now(h);
		heap_abandon(h, 0);
	}
	ash_unlock(&ash_heaps.trim, &ash_futex_ops);
	return bytes;
}

size_t ash_heap_trim(void)
{
	struct ash_heap *h = own_heap();
	size_t bytes = 0;

	ash_heap_flush_thread();
	if (h != NULL)
		bytes = ash_heap_thin_now(h);
	bytes += orphans_trim();
	return ash_arena_ready() ? bytes + ash_arena_trim() : 0;
}

void ash_heap_thread_exit(void)
{
	struct ash_heap *h = own_heap();

	ash_heap_thread_ended = true;
	if (h == NULL)
		return;
	set_self(&ash_heap_none);
	heap_abandon(h, ASH_ORPHAN_BIN_BYTES);
}

/*
 * The heap's list is not the process's: because the thread has a policy of its own, or the machine's nodes have
 * changed, or it has come to another node. Without memory for another heap the old one has to do: its own zonelist
 * falls back, too.
 */
struct ash_heap *ash_heap_move(struct ash_heap *old)
{
	const unsigned before = times_left;
	const struct ash_zonelist *zonelist = ash_zonelist_of_thread();
	struct ash_heap *h;

	if (zonelist != NULL && zonelist->home == old->zonelist->home) {
		old->zonelist = zonelist;
		return old;
	}
	h = ash_heap_create_structure(false, zonelist);
	if (h == NULL)
		return old;
	set_self(h);
	heap_abandon(old, 0);
	again_if_left_since(before);
	return h;
}

/* First-class heaps are not ours to touch: what was freed to one and not yet taken is with its next reset. */
void ash_heap_fork_prepare(void)
{
	struct ash_heap *h = own_heap();

	ash_lock(&ash_heaps.trim, &ash_futex_ops);
	if (h != NULL)
		bring_all(h);
	ash_heaps_lock();
	orphans_drain();
}

void ash_heap_fork_parent(void)
{
	ash_heaps_unlock();
	ash_unlock(&ash_heaps.trim, &ash_futex_ops);
}

void ash_heap_sweep_anew(void)
{
	struct ash_heap *h = own_heap();

	if (h != NULL)
		h->sweep_due = 0;
}

void ash_heap_fork_child(void)
{
	for (uint32_t owner = 1; owner <= ash_heaps.nr; owner++) {
		struct ash_heap *h = atomic_load_explicit(&ash_heaps.table[owner], memory_order_relaxed);

		atomic_store_explicit(&h->remote, 0, memory_order_relaxed);
		atomic_store_explicit(&h->batches, 0, memory_order_relaxed);
		atomic_store_explicit(&h->home, 0, memory_order_relaxed);
		atomic_store_explicit(&h->spare, 0, memory_order_relaxed);
		if (h != own_heap() && !h->first_class &&
		    atomic_load_explicit(&h->state, memory_order_relaxed) == ASH_HEAP_ACTIVE)
			atomic_store_explicit(&h->state, ASH_HEAP_LOST, memory_order_relaxed);
	}
	ash_heaps_unlock();
	ash_unlock(&ash_heaps.trim, &ash_futex_ops);
}
