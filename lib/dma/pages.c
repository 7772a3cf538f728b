/* SPDX-License-Identifier: MIT */
/* Batches of fresh pages; see pages.h. */
#include "dma/pages.h"

#include <errno.h>

#include "os/cgroup.h"
#include "os/huge.h"
#include "os/memfd.h"
#include "os/policy.h"
#include "os/vmem.h"

enum { KEPT_SHARE = 8 };

/* A batch of many pages must not use up the table of pins: of those that are free it gets a share. */
enum { PINS_SHARE = 8 };

static size_t page_bytes(const struct ash_dma_batch *b)
{
	return (size_t)1 << b->shift;
}

static void *page_va(const struct ash_dma_batch *b, size_t index)
{
	return b->va + (index << b->shift);
}

/* A slot of the pins' table, or ASH_DMA_NO_PIN. */
static unsigned pin_slot(void)
{
	unsigned slot = ASH_DMA_NO_PIN;

	ash_lock(&ash_dma.pins, &ash_futex_ops);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(ash_dma.pin_used) && slot == ASH_DMA_NO_PIN; i++) {
		if (ash_dma.pin_used[i] == UINT64_MAX)
			continue;
		slot = i * 64 + ash_ctz(~ash_dma.pin_used[i]);
		ash_dma.pin_used[i] |= 1ull << (slot % 64);
	}
	ash_unlock(&ash_dma.pins, &ash_futex_ops);
	return slot;
}

static size_t pins_left(void)
{
	size_t used = 0;

	ash_lock(&ash_dma.pins, &ash_futex_ops);
	for (unsigned i = 0; i < ASH_ARRAY_LEN(ash_dma.pin_used); i++) {
		for (uint64_t bits = ash_dma.pin_used[i]; bits != 0; bits &= bits - 1)
			used++;
	}
	ash_unlock(&ash_dma.pins, &ash_futex_ops);
	return ASH_PIN_SLOTS - used;
}

static void pin_slot_free(unsigned slot)
{
	ash_lock(&ash_dma.pins, &ash_futex_ops);
	ash_dma.pin_used[slot / 64] &= ~(1ull << (slot % 64));
	ash_unlock(&ash_dma.pins, &ash_futex_ops);
}

static int pin(void *addr, size_t bytes, uint32_t holders, unsigned *slot)
{
	int err;

	*slot = ash_dma.pin_fd < 0 ? ASH_DMA_NO_PIN : pin_slot();
	if (*slot == ASH_DMA_NO_PIN)
		return -ENOMEM;
	err = ash_pin_set(ash_dma.pin_fd, *slot, addr, bytes);
	if (err < 0) {
		pin_slot_free(*slot);
		*slot = ASH_DMA_NO_PIN;
		return err;
	}
	atomic_store_explicit(&ash_dma.pin_slots[*slot], holders, memory_order_relaxed);
	return 0;
}

unsigned ash_dma_pin(void *addr, size_t bytes)
{
	unsigned slot;

	/* Without one the memory is what it is: its slot says so. */
	(void)!pin(addr, bytes, (uint32_t)(bytes / ASH_DMA_SLOT_BYTES), &slot);
	return slot;
}

int ash_dma_pin_one(void *addr, size_t bytes, unsigned *slot)
{
	return pin(addr, bytes, 1, slot);
}

bool ash_dma_unpin(unsigned pin)
{
	if (pin == ASH_DMA_NO_PIN ||
	    atomic_fetch_sub_explicit(&ash_dma.pin_slots[pin], 1, memory_order_relaxed) != 1)
		return false;
	(void)ash_pin_clear(ash_dma.pin_fd, pin);
	pin_slot_free(pin);
	return true;
}

/* Before addresses are read: pinning itself moves pages out of memory that may be wanted back (CMA, ZONE_MOVABLE). */
static void pin_all(struct ash_dma_batch *b)
{
	/* One by one as long as the table lasts: pages that share a pin have to be pinned anew before one can go
	 * alone. */
	const size_t most = ash_max(pins_left() / PINS_SHARE, 1);
	const size_t group = ash_min((b->nr + most - 1) / most, ASH_PIN_MOST >> b->shift);

	for (size_t i = 0; i < b->nr; i += group) {
		const size_t n = ash_min(group, b->nr - i);
		const unsigned pin = ash_dma_pin(page_va(b, i), n << b->shift);

		for (size_t k = i; k < i + n; k++)
			b->page[k].pin = (uint16_t)pin;
	}
}

bool ash_dma_batch_pin(struct ash_dma_batch *b, size_t first, size_t n)
{
	bool same = true;

	for (size_t i = first; i < first + n; i++) {
		struct ash_dma_page *p = &b->page[i];
		uint64_t phys;

		p->pin = (uint16_t)ash_dma_pin(page_va(b, p->index), page_bytes(b));
		(void)ash_phys_read(page_va(b, p->index), page_bytes(b), 1, &phys);
		same = same && phys == p->phys;
	}
	return same;
}

/* By physical address; shell sort, since batches arrive nearly sorted, one way or the other. */
static void sort(struct ash_dma_page *page, size_t n)
{
	for (size_t gap = n / 2; gap > 0; gap /= 2) {
		for (size_t i = gap; i < n; i++) {
			const struct ash_dma_page p = page[i];
			size_t at = i;

			for (; at >= gap && page[at - gap].phys > p.phys; at -= gap)
				page[at] = page[at - gap];
			page[at] = p;
		}
	}
}

/* THP is a wish: what the kernel gave is seen in the addresses, and kept only where it is pinned. */
static bool is_one_page(const struct ash_dma_batch *b, size_t index)
{
	uint64_t phys[ASH_DMA_SLOT_FRAMES];

	(void)ash_phys_read(page_va(b, index), ASH_PAGE_SIZE, ASH_DMA_SLOT_FRAMES, phys);
	/* On a node that is still empty base pages come side by side, too, but from anywhere on. */
	if ((phys[0] & (ASH_DMA_SLOT_BYTES - 1)) != 0)
		return false;
	for (unsigned i = 0; i < ASH_DMA_SLOT_FRAMES; i++) {
		if (phys[i] == ASH_DMA_UNKNOWN || phys[i] != phys[0] + (uint64_t)i * ASH_PAGE_SIZE)
			return false;
	}
	return true;
}

/* Addresses of pages that nobody pins and that are not hugetlb mean nothing a moment later. */
static void read_addresses(struct ash_dma_batch *b)
{
	b->known = true;
	for (size_t i = 0; i < b->nr; i++) {
		struct ash_dma_page *p = &b->page[i];
		const bool thp = b->kind == ASH_DMA_PAGES_THP;

		if (b->kind != ASH_DMA_PAGES_BASE)
			(void)ash_phys_read(page_va(b, i), page_bytes(b), 1, &p->phys);
		if (thp && (p->pin == ASH_DMA_NO_PIN || !is_one_page(b, i)))
			p->phys = ASH_DMA_UNKNOWN;
		b->known = b->known && p->phys != ASH_DMA_UNKNOWN;
	}
	if (b->kind == ASH_DMA_PAGES_THP && !b->known)
		b->kind = ASH_DMA_PAGES_BASE;
}

static int map_hugetlb(struct ash_dma_batch *b)
{
	void *va;
	int err = ash_vmem_map_hugetlb(b->nr << b->shift, b->shift, &va);

	b->va = va;
	return err;
}

/*
 * Ordinary memory is never refused, it is paid for later: whoever populates more than there is has the kernel kill
 * somebody, maybe us. So a share of what there is, on the node and within the cgroup's limit, stays
 * untouched.
 */
static bool is_affordable(const struct ash_dma_batch *b, int node)
{
	uint64_t available = ash_numa_available(ash_dma.bind ? node : -1), limit, used, kept;

	if (ash_cgroup_memory(&limit, &used) == 0)
		available = ash_min(available, limit - ash_min(limit, used));
	kept = available / KEPT_SHARE;
	return available == UINT64_MAX || (uint64_t)b->nr << b->shift <= available - kept;
}

/* Ordinary memory aligned to 2 MiB. */
static int map_ordinary(struct ash_dma_batch *b, int node)
{
	const size_t bytes = b->nr << b->shift;
	void *va;
	int err = is_affordable(b, node) ? ash_vmem_map(bytes + ASH_DMA_SLOT_BYTES, &va) : -ENOMEM;

	if (err < 0)
		return err;
	b->va = (char *)ash_align_up((uintptr_t)va, ASH_DMA_SLOT_BYTES);
	if (b->va > (char *)va)
		(void)ash_vmem_unmap(va, (size_t)(b->va - (char *)va));
	(void)ash_vmem_unmap(b->va + bytes, ASH_DMA_SLOT_BYTES - (size_t)(b->va - (char *)va));
	(void)ash_vmem_advise(b->va, bytes, b->kind == ASH_DMA_PAGES_THP ? ASH_VMEM_HUGE : ASH_VMEM_NOHUGE);
	return 0;
}

static int map_file(struct ash_dma_batch *b, int fd, uint64_t offset, void **va)
{
	int err = ash_memfd_map(fd, offset, b->nr << b->shift, va);

	b->va = *va;
	return err;
}

static int prove(struct ash_dma_batch *b, int node)
{
	const size_t bytes = b->nr << b->shift;
	const struct ash_policy bind = { .mode = ASH_POLICY_BIND, .nodes = 1ull << node };
	int err = 0;

	/* Not inherited: a child that wrote would take the pages' identity with it, and a dry pool would kill it. */
	if (!b->inherit)
		(void)ash_vmem_advise(b->va, bytes, ASH_VMEM_DONTFORK);
	(void)ash_vmem_advise(b->va, bytes, ASH_VMEM_DONTDUMP);
	if (ash_dma.bind)
		err = ash_policy_apply(b->va, bytes, &bind);
	if (err == 0 || err == -EPERM || err == -ENOSYS)
		err = ash_vmem_populate(b->va, bytes);
	if (err == 0 && b->kind >= ASH_DMA_PAGES_THP)
		(void)ash_vmem_lock(b->va, bytes);
	return err;
}

enum ash_dma_pinned ash_dma_firmness(const struct ash_dma_batch *b, unsigned pin)
{
	if (pin != ASH_DMA_NO_PIN)
		return ASH_DMA_PINNED_KERNEL;
	return b->kind <= ASH_DMA_PAGES_2M ? ASH_DMA_PINNED_HUGETLB : ASH_DMA_PINNED_LOCKED;
}

/* The table of the pages; kind, nr and shift are known. */
static int begin(struct ash_dma_batch *b)
{
	void *table;

	if (ash_vmem_map(ash_align_up(b->nr * sizeof(*b->page), ASH_PAGE_SIZE), &table) < 0)
		return -ENOMEM;
	b->page = table;
	for (size_t i = 0; i < b->nr; i++)
		b->page[i] = (struct ash_dma_page){ ASH_DMA_UNKNOWN, (uint32_t)i, ASH_PFN_NONE, ASH_DMA_NO_PIN, false };
	return 0;
}

/* What has been mapped, if err is 0, is proved, pinned and looked up; else the batch ends. */
static int complete(struct ash_dma_batch *b, int node, bool unpinned, int err)
{
	if (err < 0)
		b->va = NULL;
	else
		err = prove(b, node);
	if (err < 0) {
		ash_dma_batch_end(b);
		return -ENOMEM;
	}
	if (!unpinned)
		pin_all(b);
	read_addresses(b);
	return 0;
}

int ash_dma_batch_get(struct ash_dma_batch *b, int node, enum ash_dma_pages kind, size_t nr, bool unpinned)
{
	int err;

	*b = (struct ash_dma_batch){ .nr = nr, .kind = kind };
	b->shift = kind == ASH_DMA_PAGES_1G ? ASH_HUGE_1G_SHIFT : ASH_HUGE_2M_SHIFT;
	if (begin(b) < 0)
		return -ENOMEM;
	err = complete(b, node, unpinned, kind <= ASH_DMA_PAGES_2M ? map_hugetlb(b) : map_ordinary(b, node));
	if (err == 0 && b->known)
		sort(b->page, b->nr);
	return err;
}

int ash_dma_batch_of(struct ash_dma_batch *b, int node, int fd, unsigned page_shift, uint64_t offset, size_t bytes,
		     bool inherit)
{
	void *va = NULL;

	*b = (struct ash_dma_batch){ .kind = ASH_DMA_PAGES_BASE, .shift = ASH_HUGE_2M_SHIFT, .inherit = inherit };
	if (page_shift == ASH_HUGE_1G_SHIFT)
		b->kind = ASH_DMA_PAGES_1G;
	else if (page_shift == ASH_HUGE_2M_SHIFT)
		b->kind = ASH_DMA_PAGES_2M;
	if (b->kind == ASH_DMA_PAGES_1G)
		b->shift = ASH_HUGE_1G_SHIFT;
	b->nr = bytes >> b->shift;
	if (begin(b) < 0)
		return -ENOMEM;
	if (b->kind == ASH_DMA_PAGES_BASE && !is_affordable(b, node))
		return complete(b, node, false, -ENOMEM);
	return complete(b, node, false, map_file(b, fd, offset, &va));
}

void ash_dma_batch_end(struct ash_dma_batch *b)
{
	for (size_t i = 0; i < b->nr && b->va != NULL; i++) {
		/* Where a page has gone from, others may have mapped something since. */
		if (b->page[i].gone)
			continue;
		(void)ash_vmem_unmap(page_va(b, b->page[i].index), page_bytes(b));
		for (size_t slot = 0; slot < page_bytes(b); slot += ASH_DMA_SLOT_BYTES)
			(void)ash_dma_unpin(b->page[i].pin);
	}
	(void)ash_vmem_unmap(b->page, ash_align_up(b->nr * sizeof(*b->page), ASH_PAGE_SIZE));
}
