/* SPDX-License-Identifier: MIT */
/* The allocators that a comparison knows, and where Debian and others install them. */
#ifndef ASHLAR_TOOLS_PEERS_H
#define ASHLAR_TOOLS_PEERS_H

#include <stdbool.h>

/*
 * The library of the allocator called name: true with *path malloc'ed, or NULL for glibc, which needs none. false:
 * *why (malloc'ed) says that it is not installed and how to get it; NULL when there is no allocator of that name.
 */
bool peer_find(const char *name, char **path, char **why);

/* "glibc,jemalloc,..." */
extern const char peer_names[];

#endif
