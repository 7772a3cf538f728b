/* SPDX-License-Identifier: MIT */
/* Topology from libnuma, for programs that link it; numa_dlopen.c is the other implementation of this interface. */
#include <errno.h>
#include <numa.h>

#include "os/numa.h"

static uint64_t libnuma_with_memory(void)
{
	uint64_t mask = 0;

	for (int node = 0; node <= numa_max_node() && node < ASH_NODES_MAX; node++) {
		if (numa_node_size64(node, NULL) > 0)
			mask |= 1ull << node;
	}
	return mask;
}

static int libnuma_distance(int from, int to)
{
	return numa_distance(from, to);
}

static const struct ash_numa_topology libnuma = {
	.source = "libnuma",
	.with_memory = libnuma_with_memory,
	.distance = libnuma_distance,
};

int ash_numa_use_libnuma(void)
{
	if (numa_available() < 0)
		return -ENOSYS;
	ash_numa_topology_set(&libnuma);
	return 0;
}
