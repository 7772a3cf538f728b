/* SPDX-License-Identifier: MIT */
/* Lists of addresses in the shapes that devices and system calls want them. */
#include <errno.h>
#include <sys/uio.h>

#include "dma/internal.h"

enum { PRP_BYTES = 4096, PRP_PER_PAGE = PRP_BYTES / sizeof(uint64_t) };

size_t ash_dma_iovec(const void *p, size_t bytes, struct iovec *iov, size_t n)
{
	const char *at = p;
	size_t nr = 0;

	for (; bytes > 0; nr++) {
		size_t len = bytes;

		(void)ash_dma_translate(at, &len);
		if (len == 0)
			return 0;
		if (nr < n)
			iov[nr] = (struct iovec){ (void *)(uintptr_t)at, len };
		at += len;
		bytes -= len;
	}
	return nr;
}

size_t ash_dma_sg_fill(const struct ash_dma_iommu *iommu, const void *p, size_t bytes, size_t most,
		       struct ash_dma_sg *sg, size_t n)
{
	const char *at = p;
	uint64_t end = 0;
	size_t nr = 0, last = 0;

	while (bytes > 0) {
		size_t len = most > 0 ? ash_min(bytes, most) : bytes;
		const uint64_t address = ash_dma_iova(iommu, at, &len);

		if (len == 0 || address == ASH_DMA_UNKNOWN)
			return 0;
		/* With an IOMMU neighbours in address are neighbours for the device, whatever they are in the
		 * machine. */
		if (nr > 0 && address == end && (most == 0 || last + len <= most)) {
			last += len;
		} else {
			last = len;
			nr++;
		}
		end = address + len;
		if (nr <= n)
			sg[nr - 1] = (struct ash_dma_sg){ end - last, last };
		at += len;
		bytes -= len;
	}
	return nr;
}

/* The device's address of the page that at is in, or of at itself. */
static uint64_t prp_of(const struct ash_dma_iommu *iommu, const char *at, size_t *left)
{
	const size_t in_page = PRP_BYTES - ((uintptr_t)at & (PRP_BYTES - 1));

	*left = *left > in_page ? *left - in_page : 0;
	return ash_dma_iova(iommu, at, NULL);
}

/* The pages behind the first, [at, at + left), into the list. */
static int fill_list(const struct ash_dma_iommu *iommu, const char *at, size_t left, uint64_t *list, size_t entries)
{
	for (size_t i = 0; left > 0; i++) {
		/* The last entry of a page of the list says where the list goes on. */
		const bool chain = i % PRP_PER_PAGE == PRP_PER_PAGE - 1 && left > PRP_BYTES;

		if (i >= entries)
			return -ENOSPC;
		list[i] = chain ? ash_dma_iova(iommu, &list[i + 1], NULL) : prp_of(iommu, at, &left);
		if (list[i] == ASH_DMA_UNKNOWN)
			return -ENODATA;
		at += chain ? 0 : PRP_BYTES;
	}
	return 0;
}

int ash_dma_nvme_prp(const struct ash_dma_iommu *iommu, const void *p, size_t bytes, uint64_t *list, size_t list_bytes,
		     uint64_t prp[2])
{
	const char *second = (const char *)ash_align_down((uintptr_t)p, PRP_BYTES) + PRP_BYTES;
	uint64_t first, next = 0;
	size_t left = bytes;
	int err = 0;

	if (bytes == 0 || ((uintptr_t)p & 3) != 0 || ((uintptr_t)list & (PRP_BYTES - 1)) != 0)
		return -EINVAL;
	first = prp_of(iommu, p, &left);
	if (left > PRP_BYTES) {
		next = ash_dma_iova(iommu, list, NULL);
		err = fill_list(iommu, second, left, list, list_bytes / sizeof(*list));
	} else if (left > 0) {
		next = ash_dma_iova(iommu, second, NULL);
	}
	if (err == 0 && (first == ASH_DMA_UNKNOWN || next == ASH_DMA_UNKNOWN))
		err = -ENODATA;
	if (err == 0) {
		prp[0] = first;
		prp[1] = next;
	}
	return err;
}
