/* SPDX-License-Identifier: MIT */
/*
 * Topology from libnuma, loaded on demand: for the preload object, which must start without it (libnuma's constructor
 * costs a quarter of a millisecond and allocates before our own has run). It is not linked there yet: README.md says
 * why. numa_linked.c is the other implementation.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#include "os/numa.h"

/* The calls used, with numa.h's types (numa(3)); all are set before the topology is published. */
static struct {
	int (*available)(void);
	int (*max_node)(void);
	long long (*node_size64)(int node, long long *freep);
	int (*distance)(int from, int to);
} lib;

static uint64_t libnuma_with_memory(void)
{
	uint64_t mask = 0;
	int max = lib.max_node();

	for (int node = 0; node <= max && node < ASH_NODES_MAX; node++) {
		if (lib.node_size64(node, NULL) > 0)
			mask |= 1ull << node;
	}
	return mask;
}

static int libnuma_distance(int from, int to)
{
	return lib.distance(from, to);
}

static const struct ash_numa_topology libnuma = {
	.source = "libnuma (loaded)",
	.with_memory = libnuma_with_memory,
	.distance = libnuma_distance,
};

/* dlsym gives a data pointer; POSIX guarantees that its bytes are a function pointer's. */
static int find(void *handle, const char *name, void *fn)
{
	void *sym = dlsym(handle, name);

	__builtin_memcpy(fn, &sym, sizeof(sym));
	return sym != NULL ? 0 : -ENOSYS;
}

int ash_numa_use_libnuma(void)
{
	void *handle = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL)
		return -ENOSYS;
	if (find(handle, "numa_available", &lib.available) < 0 || find(handle, "numa_max_node", &lib.max_node) < 0 ||
	    find(handle, "numa_node_size64", &lib.node_size64) < 0 ||
	    find(handle, "numa_distance", &lib.distance) < 0 || lib.available() < 0) {
		(void)dlclose(handle);
		return -ENOSYS;
	}
	ash_numa_topology_set(&libnuma);
	return 0;
}
