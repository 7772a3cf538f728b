/* SPDX-License-Identifier: MIT */
/*
 * A batch of fresh pages on their way into an arena: mapped somewhere, proved, pinned, their physical addresses known
 * (where they can be), sorted by them. Pages that are not wanted after all go back to the system.
 */
#ifndef ASH_DMA_PAGES_H
#define ASH_DMA_PAGES_H

#include "dma/internal.h"

/* One huge page, or 2 MiB of base pages. */
struct ash_dma_page {
	uint64_t phys;
	uint32_t index; /* where in the batch's mapping */
	ash_pfn_t pfn;  /* gone: where to */
	uint16_t pin;
	bool gone;      /* no longer in the batch's mapping */
};

struct ash_dma_batch {
	char *va;
	size_t nr;
	unsigned shift;              /* log2 of the bytes of a page */
	enum ash_dma_pages kind;
	bool inherit;                /* a child of fork has them too */
	bool known;                  /* every page's physical address is known */
	struct ash_dma_page *page;   /* [nr], by physical address where known, else by index */
};

/* nr pages of a kind from a node, all or none. -ENOMEM: not to be had. What kind they are is said by the batch: THP
 * that are not what they should be are base pages. */
ASH_MUST_USE int ash_dma_batch_get(struct ash_dma_batch *b, int node, enum ash_dma_pages kind, size_t nr,
				   bool unpinned);

/*
 * Pin n pages of a batch that was fetched unpinned, from page first on. false: one of them was moved by that, and its
 * address is another now. (Pages that are not wanted are better never pinned: before Linux 6.12 or so a pin lets go a
 * moment late, and the pool lacks its pages that long.)
 */
ASH_MUST_USE bool ash_dma_batch_pin(struct ash_dma_batch *b, size_t first, size_t n);

/*
 * The pages of a file in memory, [offset, offset + bytes), in the order of the file. inherit: a child of fork has them
 * too. 12 as page_shift: base pages, 2 MiB of which are one "page" here.
 */
ASH_MUST_USE int ash_dma_batch_of(struct ash_dma_batch *b, int node, int fd, unsigned page_shift, uint64_t offset,
				  size_t bytes, bool inherit);

/* How firmly a page of the batch with this pin stays where it is. */
enum ash_dma_pinned ash_dma_firmness(const struct ash_dma_batch *b, unsigned pin);

/* Give back the pages that have not gone, and the batch. */
void ash_dma_batch_end(struct ash_dma_batch *b);

/* Pin [addr, addr + bytes), at most ASH_PIN_MOST. A slot of ash_pin_set(), counted once per 2 MiB; ASH_DMA_NO_PIN:
 * cannot. */
unsigned ash_dma_pin(void *addr, size_t bytes);
/* Pin [addr, addr + bytes) as one, which the first ash_dma_unpin() lets go. -EFAULT: it is not there to be written;
 * -ENOMEM: no slot, a limit, or no io_uring. */
ASH_MUST_USE int ash_dma_pin_one(void *addr, size_t bytes, unsigned *slot);
/* Count down by 2 MiB; the last lets go. true: that was the last. */
bool ash_dma_unpin(unsigned pin);

#endif
