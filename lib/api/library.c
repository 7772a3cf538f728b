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
#include "base/compiler.h"
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

#if ASH_WITH_LIBNUMA
/* Where libnuma is of no use, the figures come from sysfs as before. */
static ASH_CONSTRUCTOR void library_start(void)
{
	(void)!ash_numa_use_libnuma();
}
#endif
