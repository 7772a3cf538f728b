/* SPDX-License-Identifier: MIT */
/*
 * What sets the API library apart from the preloaded object: malloc is somebody else's, and libnuma may be there.
 *
 * Foreign pointers are those of malloc, whoever serves it. These calls go through the dynamic linker, so that they
 * reach a preloaded allocator too.
 */
#include <malloc.h>
#include <stdlib.h>

#include "api/process.h"
#include "arena/arena.h"
#include "base/compiler.h"
#include "dma/dma.h"
#include "os/numa.h"

static size_t foreign_usable(const void *p)
{
	return malloc_usable_size((void *)(uintptr_t)p);
}

const struct ash_foreign_ops ash_process_foreign = {
	.free = free,
	.realloc = realloc,
	.usable = foreign_usable,
};

/* Buffers go by the policies that the heap has, and so by the options, which are read with the arenas. */
static void policy_of_buffers(struct ash_policy *policy)
{
	if (ash_heap_boot() == 0)
		(void)ash_arena_policy_now(policy);
}

/* Where libnuma is of no use, the figures come from sysfs as before. */
static ASH_CONSTRUCTOR void library_start(void)
{
	ash_dma_policy_source(policy_of_buffers);
#if ASH_WITH_LIBNUMA
	(void)!ash_numa_use_libnuma();
#endif
}
