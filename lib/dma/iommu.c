/* SPDX-License-Identifier: MIT */
/*
 * Device addresses: everything that the arenas have, and all that comes, mapped for a device, by listening to events.
 *
 * What is mapped stays: a page whose device address may stand in some descriptor is not given back (UNMAPPING is
 * refused), and the IOMMU's own pin keeps it from being moved.
 */
#include "os/iommu.h"

#include <errno.h>

#include "dma/internal.h"
#include "os/vmem.h"

/* Below this are the addresses that interrupts and small devices use. */
#define OFFSET_BASE ASH_GIB(4)
/* As many as VFIO takes by default; what is not used is never touched. */
enum { MAPPINGS_MAX = 1 << 16 };
enum kind { KIND_VFIO, KIND_IOMMUFD };

struct mapping {
	uint64_t iova, bytes;
};

struct ash_dma_iommu {
	enum kind kind;         /* (c) */
	int fd;                 /* (c) */
	uint32_t ioas;          /* (c) */
	enum ash_dma_iova how;  /* (c) */
	_Atomic int err;        /* (a) why the last mapping was refused */
	struct ash_lock lock;   /* what follows */
	uint32_t nr;
	struct mapping mappings[MAPPINGS_MAX]; /* what was mapped in one call can only be unmapped so */
};

uint64_t ash_dma_iova(const struct ash_dma_iommu *iommu, const void *p, size_t *len)
{
	const uint64_t phys = ash_dma_translate(p, len);
	uint64_t offset = (uintptr_t)p - ash_dma.base;

	if (iommu == NULL || iommu->how == ASH_DMA_IOVA_PHYS)
		return phys;
	if (ash_dma_arena_of(p) == NULL && !ash_dma_foreign_offset(p, &offset))
		return ASH_DMA_UNKNOWN;
	return iommu->how == ASH_DMA_IOVA_VA ? (uintptr_t)p : offset + OFFSET_BASE;
}

static int remember(struct ash_dma_iommu *m, uint64_t iova, size_t bytes)
{
	int err = -ENOSPC;

	ash_lock(&m->lock, &ash_futex_ops);
	if (m->nr < MAPPINGS_MAX) {
		m->mappings[m->nr++] = (struct mapping){ iova, bytes };
		err = 0;
	}
	ash_unlock(&m->lock, &ash_futex_ops);
	return err;
}

/* The mapping at iova, which is forgotten. false: there is none. */
static bool recall(struct ash_dma_iommu *m, uint64_t iova, struct mapping *out)
{
	bool found = false;

	ash_lock(&m->lock, &ash_futex_ops);
	/* What goes came last, as a rule. */
	for (uint32_t i = m->nr; i-- > 0 && !found;) {
		found = m->mappings[i].iova == iova;
		if (found) {
			*out = m->mappings[i];
			m->mappings[i] = m->mappings[--m->nr];
		}
	}
	ash_unlock(&m->lock, &ash_futex_ops);
	return found;
}

static void unmap_one(const struct ash_dma_iommu *m, const struct mapping *one)
{
	ash_dma_figure(&ash_dma.figures.iova, -(int64_t)one->bytes);
	(void)(m->kind == KIND_VFIO ? ash_vfio_unmap(m->fd, one->iova, one->bytes) :
				      ash_iommufd_unmap(m->fd, m->ioas, one->iova, one->bytes));
}

static int map_one(struct ash_dma_iommu *m, char *va, uint64_t iova, size_t len)
{
	struct mapping ignored;
	int err = iova == ASH_DMA_UNKNOWN ? -ENODATA : remember(m, iova, len);

	if (err < 0)
		return err;
	err = m->kind == KIND_VFIO ? ash_vfio_map(m->fd, va, iova, len)
				   : ash_iommufd_map(m->fd, m->ioas, va, iova, len);
	if (err < 0)
		(void)recall(m, iova, &ignored);
	else
		ash_dma_figure(&ash_dma.figures.iova, (int64_t)len);
	return err;
}

static void unmap(struct ash_dma_iommu *m, char *va, size_t bytes)
{
	struct mapping one;

	while (bytes > 0 && recall(m, ash_dma_iova(m, va, NULL), &one)) {
		unmap_one(m, &one);
		one.bytes = ash_min(one.bytes, bytes);
		va += one.bytes;
		bytes -= one.bytes;
	}
}

static int map(struct ash_dma_iommu *m, char *va, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		/* Physical addresses end with the run; what has none of its own is one piece. */
		size_t len = bytes - done;
		const uint64_t iova = ash_dma_iova(m, va + done, m->how == ASH_DMA_IOVA_PHYS ? &len : NULL);
		const int err = map_one(m, va + done, iova, len);

		if (err < 0) {
			atomic_store_explicit(&m->err, err, memory_order_relaxed);
			unmap(m, va, done);
			return err;
		}
		done += len;
	}
	return 0;
}

static int on_event(enum ash_dma_event event, void *va, size_t bytes, void *arg)
{
	struct ash_dma_iommu *m = arg;

	if (event == ASH_DMA_EVENT_MAPPED)
		return map(m, va, bytes);
	if (event == ASH_DMA_EVENT_UNMAPPED)
		unmap(m, va, bytes);
	return event == ASH_DMA_EVENT_UNMAPPING ? -EBUSY : 0;
}

static struct ash_dma_iommu *attach(enum kind kind, int fd, uint32_t ioas, enum ash_dma_iova how)
{
	struct ash_dma_iommu *m;
	void *memory;
	int err = ash_vmem_map(ash_align_up(sizeof(*m), ASH_PAGE_SIZE), &memory);

	if (err == 0) {
		m = memory;
		m->kind = kind;
		m->fd = fd;
		m->ioas = ioas;
		m->how = how;
		err = ash_dma_events_register(on_event, m);
		if (err == 0)
			return m;
		if (atomic_load_explicit(&m->err, memory_order_relaxed) != 0)
			err = atomic_load_explicit(&m->err, memory_order_relaxed);
		(void)ash_vmem_unmap(memory, ash_align_up(sizeof(*m), ASH_PAGE_SIZE));
	}
	errno = -err;
	return NULL;
}

struct ash_dma_iommu *ash_dma_iommu_vfio(int container, enum ash_dma_iova how)
{
	return attach(KIND_VFIO, container, 0, how);
}

struct ash_dma_iommu *ash_dma_iommu_iommufd(int iommufd, uint32_t ioas, enum ash_dma_iova how)
{
	return attach(KIND_IOMMUFD, iommufd, ioas, how);
}

void ash_dma_iommu_end(struct ash_dma_iommu *m)
{
	if (m == NULL)
		return;
	/* A child of fork is told of nothing, and the descriptor it has is the parent's: so are the device's
	 * addresses. */
	if (ash_dma_events_unregister(on_event, m) < 0)
		m->nr = 0;
	/* Ranges are not told of in the pieces that they were mapped in; what is left goes as it came. */
	while (m->nr > 0)
		unmap_one(m, &m->mappings[--m->nr]);
	(void)ash_vmem_unmap(m, ash_align_up(sizeof(*m), ASH_PAGE_SIZE));
}
