/* SPDX-License-Identifier: MIT */
/* IOMMU mappings; see iommu.h. */
#include "os/iommu.h"

#include <linux/vfio.h>
#include <sys/syscall.h>

#include "os/sys.h"

int ash_vfio_map(int container, void *addr, uint64_t iova, size_t bytes)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)addr,
		.iova = iova,
		.size = bytes,
	};

	return (int)ash_sys(__NR_ioctl, container, VFIO_IOMMU_MAP_DMA, (long)&map, 0, 0, 0);
}

int ash_vfio_unmap(int container, uint64_t iova, size_t bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = iova, .size = bytes };

	return (int)ash_sys(__NR_ioctl, container, VFIO_IOMMU_UNMAP_DMA, (long)&unmap, 0, 0, 0);
}

/* The ABI of <linux/iommufd.h>, which is newer than the oldest kernel headers we build with. */
struct ioas_map {
	uint32_t size, flags, ioas, reserved;
	uint64_t addr, bytes, iova;
};

struct ioas_unmap {
	uint32_t size, ioas;
	uint64_t iova, bytes;
};

enum { IOAS_FIXED_IOVA = 1, IOAS_WRITEABLE = 2, IOAS_READABLE = 4 };
#define IOAS_MAP _IO(';', 0x85)
#define IOAS_UNMAP _IO(';', 0x86)

int ash_iommufd_map(int fd, uint32_t ioas, void *addr, uint64_t iova, size_t bytes)
{
	struct ioas_map map = {
		.size = sizeof(map),
		.flags = IOAS_FIXED_IOVA | IOAS_WRITEABLE | IOAS_READABLE,
		.ioas = ioas,
		.addr = (uintptr_t)addr,
		.bytes = bytes,
		.iova = iova,
	};

	return (int)ash_sys(__NR_ioctl, fd, IOAS_MAP, (long)&map, 0, 0, 0);
}

int ash_iommufd_unmap(int fd, uint32_t ioas, uint64_t iova, size_t bytes)
{
	struct ioas_unmap unmap = { sizeof(unmap), ioas, iova, bytes };

	return (int)ash_sys(__NR_ioctl, fd, IOAS_UNMAP, (long)&unmap, 0, 0, 0);
}
