/* SPDX-License-Identifier: MIT */
/*
 * Device addresses: everything that the arenas have, and all that comes, mapped for a device, by listening to events.
 *
 * What is mapped stays: a page whose device address may stand in some descriptor is not given back (UNMAPPING is refused),
 * and the IOMMU's own pin keeps it from being moved.
 */
#include "os/iommu.h"

#include <errno.h>

#include "dma/internal.h"
#include "os/vmem.h"

/* Below this are the addresses that interrupts and small devices use. */
#define OFFSET_BASE ASH_GIB(4)
enum kind { KIND_VFIO, KIND_IOMMUFD };

struct ash_dma_iommu {
	enum kind kind;
	int fd;
	uint32_t ioas;
	enum ash_dma_iova how;
	int err; /* why the last mapping was refused */
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

static int map(struct ash_dma_iommu *m, char *va, size_t bytes)
{
	while (bytes > 0) {
		/* Physical addresses end with the run; what has none of its own is one piece. */
		size_t len = bytes;
		const uint64_t iova = ash_dma_iova(m, va, m->how == ASH_DMA_IOVA_PHYS ? &len : NULL);
		int err = -ENODATA;

		if (iova != ASH_DMA_UNKNOWN)
			err = m->kind == KIND_VFIO ? ash_vfio_map(m->fd, va, iova, len) :
						     ash_iommufd_map(m->fd, m->ioas, va, iova, len);
		if (err < 0) {
			m->err = err;
			return err;
		}
		va += len;
		bytes -= len;
	}
	return 0;
}

static void unmap(struct ash_dma_iommu *m, char *va, size_t bytes)
{
	while (bytes > 0) {
		size_t len = bytes;
		const uint64_t iova = ash_dma_iova(m, va, m->how == ASH_DMA_IOVA_PHYS ? &len : NULL);

		if (iova == ASH_DMA_UNKNOWN || len == 0)
			return;
		(void)(m->kind == KIND_VFIO ? ash_vfio_unmap(m->fd, iova, len) :
					      ash_iommufd_unmap(m->fd, m->ioas, iova, len));
		va += len;
		bytes -= len;
	}
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

static struct ash_dma_iommu *attach(struct ash_dma_iommu with)
{
	struct ash_dma_iommu *m;
	void *memory;
	int err = ash_vmem_map(ASH_PAGE_SIZE, &memory);

	if (err == 0) {
		m = memory;
		*m = with;
		err = ash_dma_events_register(on_event, m);
		if (err == 0)
			return m;
		err = m->err != 0 ? m->err : err;
		(void)ash_vmem_unmap(memory, ASH_PAGE_SIZE);
	}
	errno = -err;
	return NULL;
}

struct ash_dma_iommu *ash_dma_iommu_vfio(int container, enum ash_dma_iova how)
{
	return attach((struct ash_dma_iommu){ .kind = KIND_VFIO, .fd = container, .how = how });
}

struct ash_dma_iommu *ash_dma_iommu_iommufd(int iommufd, uint32_t ioas, enum ash_dma_iova how)
{
	return attach((struct ash_dma_iommu){ .kind = KIND_IOMMUFD, .fd = iommufd, .ioas = ioas, .how = how });
}

void ash_dma_iommu_end(struct ash_dma_iommu *m)
{
	if (m == NULL)
		return;
	(void)ash_dma_events_unregister(on_event, m);
	(void)ash_vmem_unmap(m, ASH_PAGE_SIZE);
}
