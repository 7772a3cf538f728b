/* SPDX-License-Identifier: MIT */
/*
 * Memory that is not ours, registered for devices: pinned, its physical extents looked up once, told to listeners.
 *
 * A registration is an entry of a small table. Who registers and unregisters does so in turn; who translates takes no
 * lock: an entry is read under its sequence number, which is odd while the entry changes, and who reads its extents is
 * counted, so that they are not unmapped under a reader. The table is searched only for addresses outside the arenas,
 * so a buffer's translation knows nothing of it.
 */
#include <errno.h>
#include <string.h>

#include "dma/pages.h"
#include "os/vmem.h"

enum { FOREIGN_MAX = 128, PAGES_AT_ONCE = 512 };

/* Physically contiguous from `at`, an offset in the registration, to the next extent. */
struct extent {
	uint64_t at, phys;
};

struct foreign {
	_Atomic uint32_t seq;
	_Atomic int readers; /* of extents */
	_Atomic uintptr_t start;
	_Atomic size_t bytes;                /* 0: a free entry */
	_Atomic uint64_t offset;             /* behind the arenas' own, for ASH_DMA_IOVA_OFFSET */
	_Atomic(const struct extent *) extents; /* in order; NULL: addresses are hidden, or nothing keeps them */
	_Atomic size_t nr;
	size_t table_bytes;                  /* (turn) of the mapping that extents is in */
	unsigned nr_pins;                    /* (turn) */
	enum ash_dma_hand hand;              /* (turn) */
	uint32_t told;                       /* (turn) as a slot's */
	uint16_t pins[ASH_DMA_FOREIGN_PINS]; /* (turn) */
};

static struct {
	struct ash_lock turn; /* held over system calls, as a growth turn is */
	_Atomic unsigned high;       /* entries ever used */
	struct foreign of[FOREIGN_MAX];
} foreign;

/* What a reader has found, consistent in itself. */
struct view {
	uintptr_t start;
	size_t bytes, nr;
	uint64_t offset;
	const struct extent *extents;
};

static bool read_entry(const struct foreign *f, uintptr_t at, struct view *v)
{
	const uint32_t seq = atomic_load_explicit(&f->seq, memory_order_acquire);

	v->start = atomic_load_explicit(&f->start, memory_order_relaxed);
	v->bytes = atomic_load_explicit(&f->bytes, memory_order_relaxed);
	if (at - v->start >= v->bytes)
		return false;
	v->offset = atomic_load_explicit(&f->offset, memory_order_relaxed);
	v->extents = atomic_load_explicit(&f->extents, memory_order_relaxed);
	v->nr = atomic_load_explicit(&f->nr, memory_order_relaxed);
	/* The loads above are over before seq is looked at again: pairs with the release fence of publish(). */
	atomic_thread_fence(memory_order_acquire);
	return (seq & 1) == 0 && atomic_load_explicit(&f->seq, memory_order_relaxed) == seq;
}

static void let_go(struct foreign *f)
{
	atomic_fetch_sub_explicit(&f->readers, 1, memory_order_release);
}

/* The entry that p is in, whose extents stay until let_go(), or NULL. */
static struct foreign *find(const void *p, struct view *v)
{
	const unsigned high = atomic_load_explicit(&foreign.high, memory_order_acquire);

	for (unsigned i = 0; i < high; i++) {
		struct foreign *f = &foreign.of[i];

		if (!read_entry(f, (uintptr_t)p, v))
			continue;
		/*
		 * Counted first and read again after: either this sees that the entry has changed, or who changes it
		 * sees the count. Pairs with the fence of wait_for_readers().
		 */
		atomic_fetch_add_explicit(&f->readers, 1, memory_order_seq_cst);
		atomic_thread_fence(memory_order_seq_cst);
		if (read_entry(f, (uintptr_t)p, v))
			return f;
		let_go(f);
	}
	return NULL;
}

/* Turn. What was published before is seen by whoever comes; those who came earlier read a few words and go. */
static void wait_for_readers(struct foreign *f)
{
	atomic_thread_fence(memory_order_seq_cst);
	while (atomic_load_explicit(&f->readers, memory_order_acquire) > 0)
		ash_nap();
}

/* Turn. All of an entry changes as one. */
static void publish(struct foreign *f, struct view v)
{
	const uint32_t seq = atomic_load_explicit(&f->seq, memory_order_relaxed);

	atomic_store_explicit(&f->seq, seq + 1, memory_order_relaxed);
	/* Odd before anything changes. */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&f->start, v.start, memory_order_relaxed);
	atomic_store_explicit(&f->bytes, v.bytes, memory_order_relaxed);
	atomic_store_explicit(&f->offset, v.offset, memory_order_relaxed);
	atomic_store_explicit(&f->extents, v.extents, memory_order_relaxed);
	atomic_store_explicit(&f->nr, v.nr, memory_order_relaxed);
	atomic_store_explicit(&f->seq, seq + 2, memory_order_release);
}

/* The extent that an offset is in. */
static size_t extent_of(const struct view *v, uint64_t at)
{
	size_t low = 0, high = v->nr;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;

		if (v->extents[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

uint64_t ash_dma_foreign_translate(const void *p, size_t *len)
{
	struct view v;
	struct foreign *f = find(p, &v);
	uint64_t at, end, phys;
	size_t i;

	if (f == NULL) {
		if (len != NULL)
			*len = 0;
		return ASH_DMA_UNKNOWN;
	}
	at = (uintptr_t)p - v.start;
	i = v.extents != NULL ? extent_of(&v, at) : 0;
	if (v.extents == NULL)
		end = ash_align_down(at, ASH_PAGE_SIZE) + ASH_PAGE_SIZE;
	else
		end = i + 1 < v.nr ? v.extents[i + 1].at : v.bytes;
	if (len != NULL && *len > end - at)
		*len = end - at;
	phys = v.extents == NULL ? ASH_DMA_UNKNOWN : v.extents[i].phys + (at - v.extents[i].at);
	let_go(f);
	return phys;
}

bool ash_dma_foreign_offset(const void *p, uint64_t *offset)
{
	struct view v;
	struct foreign *f = find(p, &v);

	if (f == NULL)
		return false;
	let_go(f);
	*offset = ((uint64_t)ash_dma.nr_arenas << ash_dma.shift) + v.offset + ((uintptr_t)p - v.start);
	return true;
}

static void take_turn(void)
{
	ash_lock(&foreign.turn, &ash_futex_ops);
}

static void end_turn(void)
{
	ash_unlock(&foreign.turn, &ash_futex_ops);
}

static size_t entry_bytes(const struct foreign *f)
{
	return atomic_load_explicit(&f->bytes, memory_order_relaxed);
}

static uintptr_t entry_start(const struct foreign *f)
{
	return atomic_load_explicit(&f->start, memory_order_relaxed);
}

/* A free entry for [start, start + bytes). -EEXIST: some of it is registered; -ENOSPC. Turn. */
static int claim(uintptr_t start, size_t bytes, struct foreign **out)
{
	*out = NULL;
	for (unsigned i = 0; i < FOREIGN_MAX; i++) {
		struct foreign *f = &foreign.of[i];

		if (entry_bytes(f) == 0)
			*out = *out == NULL ? f : *out;
		else if (start < entry_start(f) + entry_bytes(f) && entry_start(f) < start + bytes)
			return -EEXIST;
	}
	return *out == NULL ? -ENOSPC : 0;
}

/* Device addresses that no other registration has. Turn. */
static uint64_t find_offset(size_t bytes)
{
	uint64_t offset = 0;

	for (unsigned i = 0; i < FOREIGN_MAX; i++) {
		const struct foreign *f = &foreign.of[i];
		const uint64_t from = atomic_load_explicit(&f->offset, memory_order_relaxed);

		if (entry_bytes(f) != 0 && offset < from + entry_bytes(f) && from < offset + bytes) {
			offset = ash_align_up(from + entry_bytes(f), ASH_DMA_SLOT_BYTES);
			i = UINT32_MAX; /* from the beginning */
		}
	}
	return offset;
}

static void unpin(struct foreign *f)
{
	while (f->nr_pins > 0)
		(void)ash_dma_unpin(f->pins[--f->nr_pins]);
}

/* -EFAULT: some of it is not there, may not be written, or is no memory; -ENOMEM: it cannot be pinned. Turn. */
static int pin(struct foreign *f, char *p, size_t bytes)
{
	int err = 0;

	f->nr_pins = 0;
	for (size_t at = 0; at < bytes && err == 0; at += ASH_PIN_MOST) {
		unsigned slot;

		err = ash_dma_pin_one(p + at, ash_min(bytes - at, ASH_PIN_MOST), &slot);
		if (err == 0)
			f->pins[f->nr_pins++] = (uint16_t)slot;
	}
	if (err < 0)
		unpin(f);
	return err == 0 || err == -EFAULT ? err : -ENOMEM;
}

/* Turn. The extents of what is pinned; none where addresses are hidden. */
static void look_up(struct foreign *f, const char *p, struct view *v)
{
	struct extent *extents;
	void *memory;

	/* As many as there could be; what is not used is never touched. */
	f->table_bytes = ash_align_up((v->bytes >> ASH_PAGE_SHIFT) * sizeof(*extents), ASH_PAGE_SIZE);
	if (ash_vmem_map(f->table_bytes, &memory) < 0)
		return;
	extents = memory;
	for (size_t at = 0; at < v->bytes; at += (size_t)PAGES_AT_ONCE << ASH_PAGE_SHIFT) {
		const size_t n = ash_min((v->bytes - at) >> ASH_PAGE_SHIFT, PAGES_AT_ONCE);
		uint64_t phys[PAGES_AT_ONCE];

		(void)ash_phys_read(p + at, ASH_PAGE_SIZE, n, phys);
		for (size_t i = 0; i < n; i++) {
			const uint64_t offset = at + (i << ASH_PAGE_SHIFT);
			const struct extent *last = v->nr > 0 ? &extents[v->nr - 1] : NULL;

			if (phys[i] == ASH_DMA_UNKNOWN) {
				(void)ash_vmem_unmap(memory, f->table_bytes);
				v->nr = 0;
				return;
			}
			if (last == NULL || phys[i] != last->phys + (offset - last->at))
				extents[v->nr++] = (struct extent){ offset, phys[i] };
		}
	}
	v->extents = extents;
}

/* Turn. Nobody knows it. */
static void end_entry(struct foreign *f)
{
	const struct extent *extents = atomic_load_explicit(&f->extents, memory_order_relaxed);

	ash_dma_figure(&ash_dma.figures.registered, -(int64_t)entry_bytes(f));
	publish(f, (struct view){ .bytes = 0 });
	wait_for_readers(f);
	unpin(f);
	if (extents != NULL)
		(void)ash_vmem_unmap((void *)(uintptr_t)extents, f->table_bytes);
}

/* A registration that can be translated, and is in hand. */
static int enter(char *p, size_t bytes, struct foreign **out)
{
	struct view v = { .start = (uintptr_t)p, .bytes = bytes };
	struct foreign *f;
	int err = claim((uintptr_t)p, bytes, out), pinned;

	if (err < 0)
		return err;
	f = *out;
	pinned = pin(f, p, bytes);
	if (pinned == -EFAULT)
		return pinned;
	/* What the kernel may move at any time has no address. */
	if (pinned == 0)
		look_up(f, p, &v);
	v.offset = find_offset(bytes);
	f->hand = ASH_DMA_IN_HAND_FRESH;
	f->told = 0;
	publish(f, v);
	ash_dma_figure(&ash_dma.figures.registered, (int64_t)bytes);
	if ((unsigned)(f - foreign.of) >= atomic_load_explicit(&foreign.high, memory_order_relaxed))
		atomic_store_explicit(&foreign.high, (unsigned)(f - foreign.of) + 1, memory_order_release);
	return pinned == 0 ? ASH_DMA_PINNED_KERNEL : ASH_DMA_PINNED_LOCKED;
}

/* It is in hand: have everybody know, and let it go. fresh: a listener may refuse, and it ends. No turn. */
static int settle(struct foreign *f, uint32_t told, bool fresh)
{
	void *p = (void *)entry_start(f);
	const size_t bytes = entry_bytes(f);
	bool settled = false;
	int err = 0;

	while (err == 0 && !settled) {
		err = ash_listen_tell(&ash_dma_listeners, p, bytes, &told, fresh);
		take_turn();
		settled = err == 0 && ash_listen_settled(&ash_dma_listeners, told);
		if (err < 0) {
			end_entry(f);
		} else if (settled) {
			f->hand = ASH_DMA_NO_HAND;
			f->told = told;
		}
		end_turn();
	}
	ash_listen_let_go(&ash_dma_listeners);
	return err;
}

int ash_dma_register(void *p, size_t bytes)
{
	const uintptr_t start = (uintptr_t)p;
	struct foreign *f;
	int err, ret;

	if (bytes == 0 || ((start | bytes) & (ASH_PAGE_SIZE - 1)) != 0 || start + bytes < start ||
	    bytes > ASH_DMA_FOREIGN_PINS * ASH_PIN_MOST)
		return -EINVAL;
	ret = ash_dma_setup();
	if (ret < 0)
		return -ENOMEM;
	if (start < ash_dma.base + ((uintptr_t)ash_dma.nr_arenas << ash_dma.shift) && ash_dma.base < start + bytes)
		return -EINVAL;
	take_turn();
	ret = enter(p, bytes, &f);
	end_turn();
	if (ret < 0)
		return ret;
	err = settle(f, 0, true);
	return err < 0 ? err : ret;
}

/* Take the registration that begins at p in hand. -ENOENT: there is none; -EBUSY: in a listener, nobody waits. */
static int hold(const void *p, struct foreign **out)
{
	for (;;) {
		struct foreign *f = NULL;
		int err = -ENOENT;

		take_turn();
		for (unsigned i = 0; i < FOREIGN_MAX && err < 0; i++) {
			f = &foreign.of[i];
			if (entry_bytes(f) != 0 && entry_start(f) == (uintptr_t)p)
				err = 0;
		}
		if (err == 0 && f->hand != ASH_DMA_NO_HAND) {
			err = ash_dma_event_wait(&foreign.turn);
			if (err < 0)
				return err;
			continue;
		}
		if (err == 0)
			f->hand = ASH_DMA_IN_HAND;
		end_turn();
		*out = f;
		return err;
	}
}

int ash_dma_unregister(void *p, unsigned flags)
{
	struct foreign *f;
	uint32_t told;
	size_t bytes;
	int err;

	if ((flags & ~(unsigned)ASH_DMA_UNMAP) != 0)
		return -EINVAL;
	err = hold(p, &f);
	if (err < 0)
		return err;
	told = f->told;
	bytes = entry_bytes(f);
	err = (flags & ASH_DMA_UNMAP) != 0 ? 0 : ash_listen_ask(&ash_dma_listeners, p, bytes, told);
	if (err < 0) {
		(void)settle(f, told, false);
		return err;
	}
	ash_listen_gone(&ash_dma_listeners, p, bytes, &told);
	take_turn();
	end_entry(f);
	end_turn();
	ash_listen_let_go(&ash_dma_listeners);
	return 0;
}

bool ash_dma_foreign_introduce(uint32_t mask)
{
	bool left = false;

	for (unsigned i = 0; i < FOREIGN_MAX; i++) {
		struct foreign *f = &foreign.of[i];
		bool mine = false;

		take_turn();
		if (entry_bytes(f) != 0 && f->hand == ASH_DMA_NO_HAND)
			mine = !ash_listen_settled(&ash_dma_listeners, f->told);
		else if (entry_bytes(f) != 0 && f->hand == ASH_DMA_IN_HAND)
			left = left || (f->told & mask) != mask;
		if (mine)
			f->hand = ASH_DMA_IN_HAND;
		end_turn();
		if (mine)
			(void)settle(f, f->told, false);
	}
	return left;
}

/* Pages of an entry that are elsewhere. Turn. */
static long verify_entry(const char *p, size_t bytes)
{
	long moved = 0;

	for (size_t at = 0; at < bytes; at += (size_t)PAGES_AT_ONCE << ASH_PAGE_SHIFT) {
		const size_t n = ash_min((bytes - at) >> ASH_PAGE_SHIFT, PAGES_AT_ONCE);
		uint64_t phys[PAGES_AT_ONCE];

		if (ash_dma_foreign_translate(p, NULL) == ASH_DMA_UNKNOWN)
			return 0;
		(void)ash_phys_read(p + at, ASH_PAGE_SIZE, n, phys);
		for (size_t i = 0; i < n; i++)
			moved += phys[i] != ash_dma_foreign_translate(p + at + (i << ASH_PAGE_SHIFT), NULL);
	}
	return moved;
}

long ash_dma_foreign_verify(void)
{
	long moved = 0;

	take_turn();
	for (unsigned i = 0; i < FOREIGN_MAX; i++)
		moved += verify_entry((const char *)entry_start(&foreign.of[i]), entry_bytes(&foreign.of[i]));
	end_turn();
	return moved;
}

void ash_dma_foreign_forget(void)
{
	for (unsigned i = 0; i < FOREIGN_MAX; i++) {
		const struct extent *extents = atomic_load_explicit(&foreign.of[i].extents, memory_order_relaxed);

		if (extents != NULL)
			(void)ash_vmem_unmap((void *)(uintptr_t)extents, foreign.of[i].table_bytes);
	}
	memset(&foreign, 0, sizeof(foreign));
}
