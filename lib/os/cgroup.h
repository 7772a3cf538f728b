/* SPDX-License-Identifier: MIT */
/* The process's cgroups and their limits on memory. All read /proc and /sys: not for the start of a process. */
#ifndef ASH_OS_CGROUP_H
#define ASH_OS_CGROUP_H

#include <stdint.h>

#include "base/compiler.h"

enum { ASH_CGROUP_PATH_MAX = 512 };

struct ash_cgroup_paths {
	/* Paths of our group below the hierarchies' roots; "": not in it. */
	char v1[ASH_CGROUP_PATH_MAX], v2[ASH_CGROUP_PATH_MAX];
};

/* Where the process is for a controller of version 1, and in version 2. A negative errno: no cgroups. */
ASH_MUST_USE int ash_cgroup_paths(const char *controller, struct ash_cgroup_paths *out);

/*
 * The memory limit that is nearest: of the process's own cgroup (version 1 or 2) or one above it, in bytes, and what is
 * used of it, not counting files that nobody has looked at lately (the kernel would drop them first). Beyond it the
 * kernel does not refuse memory but kills. -ENOENT: there is no limit.
 */
ASH_MUST_USE int ash_cgroup_memory(uint64_t *limit, uint64_t *used);

#endif
