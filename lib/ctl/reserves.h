/* SPDX-License-Identifier: MIT */
/* The value of the option dma_reserve: NAME=SIZE[@NODE], several with a slash between them. */
#ifndef ASH_CTL_RESERVES_H
#define ASH_CTL_RESERVES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

enum { ASH_RESERVE_NAME_MAX = 32 };

struct ash_reserve_wish {
	char name[ASH_RESERVE_NAME_MAX];
	size_t bytes;
	int node; /* -1: any */
};

/*
 * The wish that the n bytes at *text begin with, of which it takes its own and the slash. 1; 0: there is none left;
 * -EINVAL: that is none, or a name is there twice; -ERANGE: a size or node that cannot be.
 */
ASH_MUST_USE int ash_reserve_next(const char **text, size_t *n, struct ash_reserve_wish *out);

/* The whole value: 0, or what is wrong with it. */
ASH_MUST_USE int ash_reserves_check(const char *text, size_t n);

#endif
