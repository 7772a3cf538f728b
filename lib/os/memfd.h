/* SPDX-License-Identifier: MIT */
/* Memory that has a descriptor: made, sealed, mapped, sent to another process, given to devices. */
#ifndef ASH_OS_MEMFD_H
#define ASH_OS_MEMFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * A file of bytes in memory, in hugetlb pages of 2^page_shift bytes (12: ordinary pages), whose size nobody can change
 * any more. Closed by exec. It exists as long as somebody has it open or mapped. A descriptor or a negative errno.
 */
ASH_MUST_USE int ash_memfd_create(const char *name, size_t bytes, unsigned page_shift);

/* log2 of the page size of an open file in memory, and whether its size is sealed. Negative errno: it is no such
 * file. */
ASH_MUST_USE int ash_memfd_look(int fd, unsigned *page_shift, size_t *bytes, bool *sealed);

/* Map [offset, offset + bytes) of it, shared, readable and writable, anywhere. */
ASH_MUST_USE int ash_memfd_map(int fd, uint64_t offset, size_t bytes, void **out);

int ash_memfd_dup(int fd);
void ash_memfd_close(int fd);

/* Send a descriptor and n bytes over a Unix socket (SCM_RIGHTS); receive them. 0 or a negative errno; -EPROTO: the
 * message held no descriptor, or not n bytes. */
ASH_MUST_USE int ash_memfd_send(int socket, int fd, const void *bytes, size_t n);
ASH_MUST_USE int ash_memfd_receive(int socket, int *fd, void *bytes, size_t n);

/* A dma-buf of [offset, offset + bytes) of a sealed file in memory, from /dev/udmabuf: a descriptor or a negative
 * errno. */
ASH_MUST_USE int ash_memfd_udmabuf(int fd, uint64_t offset, size_t bytes);

/* Register n ranges as the fixed buffers of an io_uring; unregister all of them. */
struct iovec;
ASH_MUST_USE int ash_uring_buffers_set(int ring, const struct iovec *ranges, unsigned n);
int ash_uring_buffers_clear(int ring);

#endif
