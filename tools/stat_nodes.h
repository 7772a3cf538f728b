/* SPDX-License-Identifier: MIT */
/* On which nodes a process's memory is, by the kernel's word (/proc/PID/numa_maps). */
#ifndef ASHLAR_TOOLS_STAT_NODES_H
#define ASHLAR_TOOLS_STAT_NODES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/numa.h"

/* Memory of a range. policy: the kernel's name for what binds it, "" when it is in no mapping. */
struct node_bytes {
	char policy[64];
	uint64_t on[ASH_NODES_MAX];
};

/* false: there is no such file, or it may not be read. */
bool node_bytes_read(pid_t pid, uint64_t start, uint64_t end, struct node_bytes *out);

#endif
