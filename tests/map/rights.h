/* SPDX-License-Identifier: MIT */
/* What the kernel says of a stretch of this process's address space, as /proc/self/maps has it. */
#ifndef ASH_TESTS_MAP_RIGHTS_H
#define ASH_TESTS_MAP_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

/* Whether the kernel can be asked for a part of the map (Linux 6.11), which is cheap enough to do after every call. */
bool rights_are_cheap(void);

/*
 * A hash of start, end and rights (r, w, x, shared) of what is mapped in [from, to), neighbours with equal rights as
 * one; what goes beyond an end counts as far as that end.
 */
uint32_t rights_hash(const void *from, const void *to);

#endif
