/* SPDX-License-Identifier: MIT */
/*
 * Sharing: a buffer in a file of its own, which another process can map, or a device driver import.
 *
 * Whoever has the descriptor can read all of the file, so nothing else is ever put into it: shared buffers lie in LOOSE
 * arenas, where they can be translated, and their frames are never the zone's. The file has no name, and a sealed size:
 * a peer can neither find it nor take memory away under us, and when the last process ends it is gone.
 */
#include <errno.h>
#include <sys/uio.h>

#include "dma/pages.h"
#include "os/huge.h"
#include "os/memfd.h"
#include "os/vmem.h"

/* What the tag of a shared buffer's first frame points to. */
struct ash_dma_share {
	int fd;
	uint64_t offset; /* of the buffer in the file */
	size_t bytes;
	enum ash_dma_level level; /* reached when it came */
};

/* What goes over the socket beside the descriptor. */
struct message {
	uint64_t offset, bytes;
};

static struct ash_dma_share *make_share(int fd, uint64_t offset, size_t bytes)
{
	struct ash_dma_share *s;
	void *memory;

	if (ash_vmem_map(ASH_PAGE_SIZE, &memory) < 0)
		return NULL;
	s = memory;
	*s = (struct ash_dma_share){ fd, offset, bytes, ASH_DMA_VIRTUAL };
	return s;
}

/* Turn over a batch to a place in LOOSE, where it is in hand. Growth turn. */
static int install(struct ash_dma_arena *a, struct ash_dma_batch *b, ash_pfn_t *out)
{
	const ash_pfn_t page = (ash_pfn_t)1 << (b->shift - ASH_PAGE_SHIFT), nr = (ash_pfn_t)b->nr * page;
	const ash_pfn_t pfn = ash_dma_find_gap(a, nr, page);
	void *va;
	int err;

	if (pfn == ASH_PFN_NONE)
		return -ENOMEM;
	va = ash_dma_address(a, pfn);
	err = ash_dma_cover(a, pfn, pfn + nr);
	if (err == 0)
		err = ash_vmem_move(b->va, va, b->nr << b->shift);
	if (err < 0) {
		(void)ash_vmem_close(va, b->nr << b->shift);
		return err;
	}
	for (size_t i = 0; i < b->nr; i++) {
		const struct ash_dma_page *p = &b->page[i];
		const ash_pfn_t at = pfn + (ash_pfn_t)p->index * page;

		b->page[i].gone = true;
		ash_dma_slots_set(a, at, at + page, p->phys, b->kind, ash_dma_firmness(b, p->pin), p->pin);
	}
	ash_dma_slots_join(a, pfn, pfn + nr);
	ash_dma_slots_hold(a, pfn, pfn + nr, ASH_DMA_IN_HAND_FRESH);
	*out = pfn;
	return 0;
}

/* What is in hand becomes a buffer, once every listener knows of it; or goes. */
static int bring(struct ash_dma_arena *a, ash_pfn_t pfn, struct ash_dma_share *s)
{
	const ash_pfn_t end = pfn + (ash_pfn_t)(s->bytes >> ASH_PAGE_SHIFT);
	uint32_t told;
	const int err = ash_dma_event_come(a, pfn, end, &told);

	if (err == 0) {
		s->level = ash_dma_level_of(ash_dma_address(a, pfn), s->bytes);
		ash_dma_count(s->level, end - pfn, 1);
		atomic_store_explicit(&a->tags[pfn], (uintptr_t)s | ASH_DMA_TAG_SHARED, memory_order_relaxed);
		ash_dma_slots_let_go(a, pfn, end, told);
	} else {
		ash_dma_take_turn(a);
		ash_dma_drop(a, pfn, end);
	}
	ash_dma_end_turn(a);
	ash_listen_let_go(&ash_dma_listeners);
	return err;
}

/* A buffer over [offset, offset + bytes) of fd, which becomes the buffer's; not on failure. */
static int adopt(unsigned place, int fd, unsigned page_shift, uint64_t offset, size_t bytes, bool inherit, void **out)
{
	/* What is longer than an arena has no place; a file of any length costs whoever made it nothing. */
	struct ash_dma_arena *a = bytes >> ash_dma.shift == 0 ? ash_dma_arena_get(place, ASH_DMA_LOOSE) : NULL;
	struct ash_dma_share *s = a != NULL ? make_share(fd, offset, bytes) : NULL;
	struct ash_dma_batch b;
	ash_pfn_t pfn = 0;
	int err = a != NULL && s != NULL
			  ? ash_dma_batch_of(&b, ash_dma.nodes[place], fd, page_shift, offset, bytes, inherit)
			  : -ENOMEM;

	if (err == 0) {
		ash_dma_take_turn(a);
		err = install(a, &b, &pfn);
		ash_dma_end_turn(a);
		ash_dma_batch_end(&b);
		if (err == 0)
			err = bring(a, pfn, s);
	}
	if (err < 0) {
		if (s != NULL)
			(void)ash_vmem_unmap(s, ASH_PAGE_SIZE);
		return err;
	}
	*out = ash_dma_address(a, pfn);
	return 0;
}

int ash_dma_share_alloc(unsigned place, size_t bytes, enum ash_dma_pages pages, bool strict, bool inherit, void **out)
{
	int err = -ENOMEM;

	if (pages <= ASH_DMA_PAGES_2M) {
		const unsigned shift = pages == ASH_DMA_PAGES_1G ? ASH_HUGE_1G_SHIFT : ASH_HUGE_2M_SHIFT;
		const size_t whole = ash_align_up(bytes, (size_t)1 << shift);
		const int fd = ash_memfd_create("ashlar dma", whole, shift);

		err = fd < 0 ? fd : adopt(place, fd, shift, 0, whole, inherit, out);
		if (err < 0 && fd >= 0)
			ash_memfd_close(fd);
	}
	if (err < 0 && !(strict && pages != ASH_DMA_PAGES_ANY && pages != ASH_DMA_PAGES_BASE)) {
		const size_t whole = ash_align_up(bytes, ASH_DMA_SLOT_BYTES);
		const int fd = ash_memfd_create("ashlar dma", whole, ASH_PAGE_SHIFT);

		err = fd < 0 ? fd : adopt(place, fd, ASH_PAGE_SHIFT, 0, whole, inherit, out);
		if (err < 0 && fd >= 0)
			ash_memfd_close(fd);
	}
	return err < 0 ? -ENOMEM : 0;
}

size_t ash_dma_share_bytes(uint64_t tag)
{
	return ((const struct ash_dma_share *)(uintptr_t)(tag & ~(uint64_t)ASH_DMA_TAG_KIND))->bytes;
}

/* Take the buffer at pfn in hand, if it is still that of tag. -EINVAL: it is not; -EBUSY: in a listener, nobody
 * waits. */
static int hold(struct ash_dma_arena *a, ash_pfn_t pfn, ash_pfn_t end, uint64_t tag, uint32_t *told)
{
	const struct ash_dma_slot *slot = &a->slots[pfn >> ASH_DMA_SLOT_ORDER];
	int err = 0;

	ash_dma_take_turn(a);
	while (err == 0 && atomic_load_explicit(&a->tags[pfn], memory_order_relaxed) == tag &&
	       slot->hand != ASH_DMA_NO_HAND) {
		err = ash_dma_event_wait(&a->growth);
		if (err == 0)
			ash_dma_take_turn(a);
	}
	if (err < 0)
		return err;
	if (atomic_load_explicit(&a->tags[pfn], memory_order_relaxed) != tag)
		err = -EINVAL;
	else
		ash_dma_slots_hold(a, pfn, end, ASH_DMA_IN_HAND);
	*told = slot->told;
	ash_dma_end_turn(a);
	return err;
}

int ash_dma_share_free(struct ash_dma_arena *a, ash_pfn_t pfn, uint64_t tag)
{
	struct ash_dma_share *s = (struct ash_dma_share *)(uintptr_t)(tag & ~(uint64_t)ASH_DMA_TAG_KIND);
	const size_t bytes = s->bytes;
	const ash_pfn_t end = pfn + (ash_pfn_t)(bytes >> ASH_PAGE_SHIFT);
	uint32_t told;
	int err = hold(a, pfn, end, tag, &told);

	if (err < 0)
		return err;
	err = ash_listen_ask(&ash_dma_listeners, ash_dma_address(a, pfn), bytes, told);
	if (err < 0) {
		ash_dma_event_settle(a, pfn, end, told);
		return err;
	}
	atomic_store_explicit(&a->tags[pfn], 0, memory_order_relaxed);
	ash_dma_count(s->level, end - pfn, -1);
	ash_listen_gone(&ash_dma_listeners, ash_dma_address(a, pfn), bytes, &told);
	ash_dma_take_turn(a);
	ash_dma_drop(a, pfn, end);
	ash_dma_end_turn(a);
	ash_listen_let_go(&ash_dma_listeners);
	ash_memfd_close(s->fd);
	(void)ash_vmem_unmap(s, ASH_PAGE_SIZE);
	return 0;
}

/* The share that p is the beginning of; NULL: none. */
static const struct ash_dma_share *share_at(const void *p)
{
	const struct ash_dma_arena *a = ash_dma_arena_of(p);
	uint64_t tag;

	if (a == NULL || ((uintptr_t)p & (ASH_PAGE_SIZE - 1)) != 0)
		return NULL;
	tag = atomic_load_explicit(&a->tags[ash_dma_pfn(a, p)], memory_order_relaxed);
	if ((tag & ASH_DMA_TAG_KIND) != ASH_DMA_TAG_SHARED)
		return NULL;
	return (const struct ash_dma_share *)(uintptr_t)(tag & ~(uint64_t)ASH_DMA_TAG_KIND);
}

int ash_dma_export(const void *p, uint64_t *offset, size_t *bytes)
{
	const struct ash_dma_share *s = share_at(p);

	if (s == NULL)
		return -EINVAL;
	*offset = s->offset;
	*bytes = s->bytes;
	return ash_memfd_dup(s->fd);
}

void *ash_dma_import(int fd, uint64_t offset, size_t bytes)
{
	unsigned page_shift;
	size_t size;
	bool sealed;
	void *p = NULL;
	int own, err = ash_dma_setup();

	if (err == 0)
		err = ash_memfd_look(fd, &page_shift, &size, &sealed);
	if (err == 0 && !sealed)
		err = -EPERM;
	if (err == 0 && (page_shift > ASH_HUGE_1G_SHIFT || offset > size || bytes > size - offset || bytes == 0 ||
			 ((offset | bytes) & (ash_max(ASH_DMA_SLOT_BYTES, (size_t)1 << page_shift) - 1)) != 0))
		err = -EINVAL;
	own = err == 0 ? ash_memfd_dup(fd) : err;
	if (own >= 0) {
		err = adopt(ash_dma_place_near(ash_numa_current()), own, page_shift, offset, bytes, false, &p);
		if (err < 0)
			ash_memfd_close(own);
	} else {
		err = own;
	}
	if (err < 0)
		errno = -err;
	return p;
}

int ash_dma_send(int socket, const void *p)
{
	const struct ash_dma_share *s = share_at(p);
	struct message m;

	if (s == NULL)
		return -EINVAL;
	m = (struct message){ s->offset, s->bytes };
	return ash_memfd_send(socket, s->fd, &m, sizeof(m));
}

void *ash_dma_receive(int socket, size_t *bytes)
{
	struct message m;
	int fd, err = ash_memfd_receive(socket, &fd, &m, sizeof(m));
	void *p;

	if (err < 0) {
		errno = -err;
		return NULL;
	}
	p = ash_dma_import(fd, m.offset, m.bytes);
	ash_memfd_close(fd);
	if (p != NULL && bytes != NULL)
		*bytes = m.bytes;
	return p;
}

int ash_dma_export_udmabuf(const void *p)
{
	const struct ash_dma_share *s = share_at(p);

	return s == NULL ? -EINVAL : ash_memfd_udmabuf(s->fd, s->offset, s->bytes);
}

enum { URING_RANGES = 64 };

int ash_dma_uring_register(int ring, void *const *buffers, unsigned n)
{
	struct iovec ranges[URING_RANGES];

	if (n == 0 || n > URING_RANGES)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		struct ash_dma_info info = { .size = sizeof(info) };

		if (ash_dma_info_read(buffers[i], &info) < 0 || info.bytes > ASH_PIN_MOST)
			return -EINVAL;
		ranges[i] = (struct iovec){ buffers[i], info.bytes };
	}
	return ash_uring_buffers_set(ring, ranges, n);
}

int ash_dma_uring_unregister(int ring)
{
	return ash_uring_buffers_clear(ring);
}
