/* SPDX-License-Identifier: MIT */
/*
 * Moving pages between mappings of this process: userfaultfd(2) with UFFDIO_MOVE (Linux 6.8).
 *
 * A page that moves keeps its frame: the page tables change, nothing is copied. A descriptor is opened for one
 * operation and closed after it: none stays behind to be inherited, counted or closed by the program. Addresses and
 * sizes are whole pages; a huge page moves whole where both addresses are aligned to it. Nothing here allocates.
 */
#ifndef ASH_OS_UFFD_H
#define ASH_OS_UFFD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * A descriptor that can move pages, or a negative errno: -ENOSYS or -EPERM where the kernel was built without it or a
 * filter forbids it, -EINVAL before Linux 6.8. Needs no privilege; a system call (not a thread) that touches a page of
 * a registered range which is not there gets EFAULT, so ranges are registered only while nobody may touch them.
 */
ASH_MUST_USE int ash_uffd_open(void);
void ash_uffd_close(int fd);

/* What is to receive pages must be registered. -EBUSY: another userfaultfd has it; -EINVAL: not anonymous memory. */
ASH_MUST_USE int ash_uffd_register(int fd, void *addr, size_t bytes);
void ash_uffd_unregister(int fd, void *addr, size_t bytes);

/*
 * Move the pages of [from, from + bytes) to [to, to + bytes), where there are none, over borders of mappings that are
 * between huge pages. Returns the bytes moved, from the start: less than asked for where a page is missing, pinned,
 * shared with a child, or where one of the mappings is locked or not writable and the other is not so.
 */
size_t ash_uffd_move(int fd, void *to, void *from, size_t bytes);

#endif
