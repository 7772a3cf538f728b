/* SPDX-License-Identifier: MIT */
/*
 * Where the numbers of a running process lie, for a reader in another process.
 *
 * Counters are kept where they are used; publishing them costs the process nothing, because a reader is told their
 * places: a layer describes its structures field by field, and api/view.c says where the structures are. The reader
 * takes from memory what it knows the name of, without stopping anyone, so numbers that belong together may be apart by
 * what happened meanwhile.
 */
#ifndef ASH_BASE_VIEW_H
#define ASH_BASE_VIEW_H

#include <stddef.h>
#include <stdint.h>

#define ASH_VIEW_NAME_MAX 19

/* A number in native byte order, or an array of them. */
struct ash_view_field {
	char name[ASH_VIEW_NAME_MAX + 1];
	uint32_t offset;
	uint16_t bytes, count;
};

#define ASH_VIEW_ARRAY(type, member, n)                                                                                \
	{ .name = #member, .offset = offsetof(type, member), .bytes = sizeof(((type *)0)->member) / (n), .count = (n) }
#define ASH_VIEW(type, member) ASH_VIEW_ARRAY(type, member, 1)

#define ASH_VIEW_MAGIC "ashlar\003" /* the last character counts incompatible changes of what follows */

/* Structures of one kind. Pointers, here and below, are the process's own. */
struct ash_view_list {
	const void *array;                   /* of pointers to structures; NULL: none */
	const uint32_t *nr;                  /* entries in use; 0 before the first allocation */
	const struct ash_view_field *fields; /* ended by one without a name */
	uint32_t indirect;                   /* array is the address of a pointer to the array */
	uint32_t last;                       /* *nr is the last entry, not their number */
};

/* The symbol that a reader looks up: ash_view. */
struct ash_view {
	char magic[8];
	const struct ash_view_list *arenas, *heaps;
	const struct ash_view_field *zone; /* what an arena's field "zone" points to */
	const struct ash_view_list *nodes; /* by number, where there are several */
	const struct ash_view_list *spills; /* what came from another node than was wanted, and why (arena/arena.h) */
};

/* Buffers for devices, where the process has that part: ash_dma_view. */
struct ash_dma_view {
	char magic[8];
	/* One struct of figures; buffers in parts, to be added up. */
	const struct ash_view_list *arenas, *figures, *buffers;
	const struct ash_view_field *zone;
};

#endif
