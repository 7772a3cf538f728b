/* SPDX-License-Identifier: MIT */
/*
 * Topology as /sys/devices/system/node tells it (Documentation/ABI/stable/sysfs-devices-node): no allocation, so it
 * works at any time in any process.
 */
#include "base/bits.h"
#include "os/env.h"
#include "os/file.h"
#include "os/numa.h"
#include "os/text.h"

/* A kernel list of numbers and ranges, "0-1,4", as bits. */
static uint64_t parse_list(const char *s)
{
	uint64_t mask = 0, first, last;

	while (ash_parse_num(&s, 10, &first)) {
		last = first;
		if (*s == '-') {
			s++;
			if (!ash_parse_num(&s, 10, &last))
				break;
		}
		for (; first <= last && first < ASH_NODES_MAX; first++)
			mask |= 1ull << first;
		if (*s == ',')
			s++;
	}
	return mask;
}

static uint64_t read_mask(const char *path)
{
	char buf[256];

	return ash_file_read(path, buf, sizeof(buf)) < 0 ? 0 : parse_list(buf);
}

static uint64_t sysfs_with_memory(void)
{
	return read_mask("/sys/devices/system/node/has_memory");
}

uint64_t ash_numa_possible(void)
{
	return read_mask("/sys/devices/system/node/possible");
}

uint64_t ash_numa_online(void)
{
	return read_mask("/sys/devices/system/node/online");
}

uint64_t ash_numa_with_cpus(void)
{
	return read_mask("/sys/devices/system/node/has_cpu");
}

/* nodeN/distance has one figure per online node, in the order of node numbers; they fit in eight bits. */
static void sysfs_distances(int from, int distance[ASH_NODES_MAX])
{
	uint64_t online = ash_numa_online(), d;
	char path[64], buf[512];
	struct ash_text t;
	const char *s = buf;

	for (int to = 0; to < ASH_NODES_MAX; to++)
		distance[to] = 0;
	if (from < 0)
		return;
	ash_text_init(&t, path, sizeof(path));
	ash_text_str(&t, "/sys/devices/system/node/node");
	ash_text_num(&t, (uint64_t)from);
	ash_text_str(&t, "/distance");
	if (ash_file_read(path, buf, sizeof(buf)) < 0)
		return;
	for (; online != 0; online &= online - 1) {
		while (*s == ' ')
			s++;
		if (!ash_parse_num(&s, 10, &d))
			return;
		distance[ash_ctz(online)] = d > UINT8_MAX ? 0 : (int)d;
	}
}

struct available {
	int node;
	uint64_t kib, total; /* total: all that the node has */
	bool seen;
};

static bool after_name(const char *text, const char *name, uint64_t *kib)
{
	const char *rest = ash_after_prefix(text, name);

	while (rest != NULL && *rest == ' ')
		rest++;
	return rest != NULL && ash_parse_num(&rest, 10, kib);
}

/* "MemAvailable:   123 kB" of the machine, or of a node "Node 0 MemFree:   123 kB" and "Node 0 Inactive(file): ...". */
static int available_line(void *arg, const char *text)
{
	struct available *a = arg;
	const char *rest = ash_after_prefix(text, "Node ");
	uint64_t n;

	if (a->node >= 0 && rest != NULL && ash_parse_num(&rest, 10, &n) && *rest == ' ')
		text = rest + 1;
	if (a->node >= 0 && after_name(text, "MemTotal:", &n))
		a->total = n;
	if (after_name(text, a->node < 0 ? "MemAvailable:" : "MemFree:", &n) ||
	    (a->node >= 0 && after_name(text, "Inactive(file):", &n))) {
		a->kib += n;
		a->seen = true;
	}
	return 0;
}

/*
 * What the machine's MemAvailable has left out already: the kernel's own reserve, and as much again before it is in
 * need. It is one figure for the whole machine, of which each zone keeps its share by size. With huge pages it may be a
 * twentieth of all memory, more than a small node has.
 */
static uint64_t kept_back(uint64_t node_kib)
{
	const uint64_t machine_kib = ash_env_ram() >> 10;
	char buf[32];
	const char *s = buf;
	uint64_t kib;

	if (ash_file_read("/proc/sys/vm/min_free_kbytes", buf, sizeof(buf)) < 0 || !ash_parse_num(&s, 10, &kib))
		return 0;
	return node_kib < machine_kib ? 2 * kib * node_kib / machine_kib : 2 * kib;
}

uint64_t ash_numa_available(int node)
{
	struct available a = { node, 0, 0, false };
	char path[64];
	struct ash_text t;

	ash_text_init(&t, path, sizeof(path));
	ash_text_str(&t, node < 0 ? "/proc/meminfo" : "/sys/devices/system/node/node");
	if (node >= 0) {
		ash_text_num(&t, (uint64_t)node);
		ash_text_str(&t, "/meminfo");
	}
	if (ash_file_lines(path, available_line, &a) < 0 || !a.seen)
		return UINT64_MAX;
	if (node >= 0)
		a.kib -= ash_min(a.kib, kept_back(a.total));
	return a.kib << 10;
}

const struct ash_numa_topology ash_numa_sysfs = {
	.source = "sysfs",
	.with_memory = sysfs_with_memory,
	.distances = sysfs_distances,
};
