/* SPDX-License-Identifier: MIT */
/* Giving a device addresses: mappings in an IOMMU, through VFIO (type 1) or iommufd. */
#ifndef ASH_OS_IOMMU_H
#define ASH_OS_IOMMU_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * Have the device see [addr, addr + bytes) at iova, for reading and writing; the kernel pins the pages. container is an
 * open /dev/vfio/vfio whose IOMMU type has been set. -ENOMEM: RLIMIT_MEMLOCK; -EEXIST: something is there; -EINVAL:
 * beyond what the IOMMU can address.
 */
ASH_MUST_USE int ash_vfio_map(int container, void *addr, uint64_t iova, size_t bytes);
/* Whole mappings only; several at once will do. */
int ash_vfio_unmap(int container, uint64_t iova, size_t bytes);

/* The same in address space ioas of an open /dev/iommu (Linux 6.2). */
ASH_MUST_USE int ash_iommufd_map(int fd, uint32_t ioas, void *addr, uint64_t iova, size_t bytes);
int ash_iommufd_unmap(int fd, uint32_t ioas, uint64_t iova, size_t bytes);

#endif
