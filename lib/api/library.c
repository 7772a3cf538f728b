/* SPDX-License-Identifier: MIT */
/*
 * The API library's foreign pointers: those of malloc, whoever serves it. These calls go through the dynamic linker,
 * so that they reach a preloaded allocator too.
 */
#include <malloc.h>
#include <stdlib.h>

#include "api/process.h"

static size_t foreign_usable(const void *p)
{
	return malloc_usable_size((void *)(uintptr_t)p);
}

const struct ash_foreign_ops ash_process_foreign = {
	.free = free,
	.realloc = realloc,
	.usable = foreign_usable,
};
