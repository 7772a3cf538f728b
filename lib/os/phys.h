/* SPDX-License-Identifier: MIT */
/* Physical addresses: where the pages of this process are, which node's memory has which addresses, and keeping pages
 * where they are. */
#ifndef ASH_OS_PHYS_H
#define ASH_OS_PHYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* The address is hidden from us (no CAP_SYS_ADMIN), or no page is there. */
#define ASH_PHYS_UNKNOWN UINT64_MAX

/*
 * The physical addresses of n pages, the first at addr and each stride bytes behind the one before, from
 * /proc/self/pagemap: about a microsecond each, or for 512 of them when stride is a page. Negative errno: there is
 * no pagemap; then all are unknown.
 */
int ash_phys_read(const void *addr, size_t stride, size_t n, uint64_t phys[]);

/*
 * The physical addresses that memory of a node can have, [*start, *end), holes included, from /proc/zoneinfo, which
 * everybody may read. -ENOENT: the kernel names no memory of that node.
 */
ASH_MUST_USE int ash_phys_span(int node, uint64_t *start, uint64_t *end);

/*
 * Pins: pages that the kernel promises not to migrate, compact or swap until they are let go, wherever they are mapped
 * meanwhile (FOLL_LONGTERM, got by registering them as buffers of an io_uring that does nothing else). Each takes one
 * of ASH_PIN_SLOTS slots and at most ASH_PIN_MOST bytes. Without CAP_IPC_LOCK pins count against RLIMIT_MEMLOCK.
 */
enum { ASH_PIN_SLOTS = 1 << 14 };
#define ASH_PIN_MOST ((size_t)1 << 30)

/* A descriptor (closed by exec) or a negative errno: no io_uring, or a kernel before 5.19. */
ASH_MUST_USE int ash_pin_open(void);
void ash_pin_close(int fd);
/* Pin [addr, addr + bytes) in a free slot. -ENOMEM: the limit; -EFAULT: not all of it is there. */
ASH_MUST_USE int ash_pin_set(int fd, unsigned slot, void *addr, size_t bytes);
int ash_pin_clear(int fd, unsigned slot);

#endif
