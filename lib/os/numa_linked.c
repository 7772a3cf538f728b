/* SPDX-License-Identifier: MIT */
/* Topology from libnuma, for who links it: libashlar.so, which its program loads before anything is allocated. */
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

static void libnuma_distances(int from, int distance[ASH_NODES_MAX])
{
	for (int to = 0; to < ASH_NODES_MAX; to++)
		distance[to] = to <= numa_max_node() ? numa_distance(from, to) : 0;
}

static const struct ash_numa_topology libnuma = {
	.source = "libnuma",
	.with_memory = libnuma_with_memory,
	.distances = libnuma_distances,
};

int ash_numa_use_libnuma(void)
{
	if (numa_available() < 0)
		return -ENOSYS;
	ash_numa_topology_set(&libnuma);
	return 0;
}
