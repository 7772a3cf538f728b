/* SPDX-License-Identifier: MIT */
/*
 * Any machine with up to 64 nodes: what its kernel says under /sys/devices/system/node, which nodes the process may
 * use, and what it was told by mbind. Memory comes from the real kernel, huge pages from fake_pool.h.
 */
#ifndef ASH_TESTS_ARENA_TOPOLOGY_H
#define ASH_TESTS_ARENA_TOPOLOGY_H

#include "arena/child.h"
#include "arena/fake_pool.h"

#include <linux/mempolicy.h>
#include <sched.h>

#include "base/bits.h"

enum { TOPOLOGY_NODES = 64, TOPOLOGY_BINDS = 256 };

static struct {
	uint64_t online, with_memory, with_cpus, allowed;
	unsigned char distance[TOPOLOGY_NODES][TOPOLOGY_NODES];
	int task_mode;
	uint64_t task_nodes;
	uint64_t possible;     /* nodes that there can be: 0: those online */
	bool no_sysfs;
	const char *nonsense;  /* what every file holds, NULL: what it should */
	unsigned opens;        /* of files of the nodes' folder */
	char text[1024];       /* of the file that is open */
	struct {
		long mode;
		uint64_t nodes;
		uintptr_t start;
		size_t bytes;
	} binds[TOPOLOGY_BINDS];
	unsigned nr_binds;
	uint64_t dry_nodes;    /* populating what was bound to these last is refused */
	long unknown_mode;     /* the kernel is too old for this one and those above; 0: it knows all */
} machine;

/* The node and processor that the calling thread runs on: of this machine, too, whatever the real one has. */
static __thread unsigned running_on, running_on_cpu;

int getcpu(unsigned *cpu, unsigned *node)
{
	*cpu = running_on_cpu;
	*node = running_on;
	return 0;
}

/* Bits as the kernel prints them: "0-2,5". */
static void print_mask(char *out, uint64_t mask)
{
	for (unsigned first = 0; first < 64; first++) {
		unsigned last = first;

		if ((mask >> first & 1) == 0)
			continue;
		while (last < 63 && (mask >> (last + 1) & 1) != 0)
			last++;
		out += sprintf(out, last > first ? "%u-%u," : "%u,", first, last);
		first = last;
	}
	*(out[-1] == ',' ? out - 1 : out) = '\n';
}

static void print_distances(char *out, unsigned from)
{
	for (unsigned to = 0; to < TOPOLOGY_NODES; to++) {
		if ((machine.online >> to & 1) != 0)
			out += sprintf(out, "%u ", machine.distance[from][to]);
	}
	out[-1] = '\n';
}

static uint64_t topology_possible(void)
{
	return machine.possible | machine.online;
}

static long topology_open(const char *name)
{
	unsigned node;

	machine.opens++;
	memset(machine.text, 0, sizeof(machine.text));
	if (machine.no_sysfs)
		return -ENOENT;
	if (machine.nonsense != NULL)
		strcpy(machine.text, machine.nonsense);
	else if (strcmp(name, "possible") == 0)
		print_mask(machine.text, topology_possible());
	else if (strcmp(name, "online") == 0)
		print_mask(machine.text, machine.online);
	else if (strcmp(name, "has_memory") == 0)
		print_mask(machine.text, machine.with_memory);
	else if (strcmp(name, "has_cpu") == 0)
		print_mask(machine.text, machine.with_cpus);
	else if (sscanf(name, "node%u/distance", &node) == 1 && (machine.online >> node & 1) != 0)
		print_distances(machine.text, node);
	else
		return -ENOENT;
	fake.files[0].path = name;
	fake.files[0].text = machine.text;
	fake.nr_files = 1;
	fake.offset = 0;
	return FAKE_FD;
}

static long topology_mbind(long addr, long bytes, long mode, const unsigned long *mask)
{
	/* Nodes are named for good: MPOL_F_STATIC_NODES. */
	if ((mode == MPOL_DEFAULT || mode == MPOL_LOCAL) != ((mode & MPOL_F_STATIC_NODES) == 0))
		return -EINVAL;
	mode &= ~MPOL_MODE_FLAGS;
	if (machine.unknown_mode != 0 && mode >= machine.unknown_mode)
		return -EINVAL;
	machine.binds[machine.nr_binds % TOPOLOGY_BINDS].mode = mode;
	machine.binds[machine.nr_binds % TOPOLOGY_BINDS].nodes = mask[0];
	machine.binds[machine.nr_binds % TOPOLOGY_BINDS].start = (uintptr_t)addr;
	machine.binds[machine.nr_binds++ % TOPOLOGY_BINDS].bytes = (size_t)bytes;
	return 0;
}

static bool topology_front(long nr, long a, long b, long c, long d, long e, long *ret)
{
	static const char folder[] = "/sys/devices/system/node/";

	if (nr == __NR_openat && strncmp((const char *)b, folder, strlen(folder)) == 0) {
		*ret = topology_open((const char *)b + strlen(folder));
		return true;
	}
	if (nr == __NR_mbind) {
		*ret = topology_mbind(a, b, c, (const unsigned long *)d);
		return true;
	}
	if (nr == __NR_madvise && c == 23 && machine.nr_binds > 0 &&
	    machine.binds[(machine.nr_binds - 1) % TOPOLOGY_BINDS].start == (uintptr_t)a &&
	    (machine.binds[(machine.nr_binds - 1) % TOPOLOGY_BINDS].nodes & ~machine.dry_nodes) == 0) {
		*ret = -EFAULT;
		return true;
	}
	return pool_front(nr, a, b, c, d, e, ret);
}

/* Its fifth argument tells the two uses apart, and the fake's rules do not see that far. */
static long topology_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;

	if (nr != __NR_get_mempolicy || fake_rule_hit(nr, a, b, c, d, &ret))
		return nr != __NR_get_mempolicy ? fake_call(nr, a, b, c, d, e, f) : ret;
	/* Room for all possible nodes, of which all but the last bit asked for is written: none for one bit. */
	if (c < 64 - (topology_possible() == 0 ? 63 : __builtin_clzll(topology_possible())))
		return -EINVAL;
	if (c > 1)
		memset((void *)b, 0, (size_t)c / 8);
	if (c > 1)
		*(uint64_t *)b = e == MPOL_F_MEMS_ALLOWED ? machine.allowed : machine.task_nodes;
	if (e != MPOL_F_MEMS_ALLOWED)
		*(int *)a = machine.task_mode;
	return 0;
}

static uint64_t topology_now(void)
{
	return fake.now_ms;
}

static const struct ash_sys_ops topology_ops = { .call = topology_call, .now_ms = topology_now };

/* A machine whose online nodes all have memory and processors, 10 apart for each step between their numbers. */
static inline void topology_on(uint64_t nodes)
{
	fake_pool_on(1000, 0);
	memset(&machine, 0, sizeof(machine));
	machine.online = machine.with_memory = machine.with_cpus = machine.allowed = nodes;
	for (int i = 0; i < TOPOLOGY_NODES; i++) {
		for (int j = 0; j < TOPOLOGY_NODES; j++)
			machine.distance[i][j] = (unsigned char)ash_min(10 + 3 * (i > j ? i - j : j - i), 254);
	}
	fake.front = topology_front;
	fake.now_ms = 1;
	ash_sys_hook = &topology_ops;
}

static inline void topology_start(struct ash_arena_config config)
{
	/* Spans small enough for 72 pairs of them. */
	config.reserve = ASH_GIB(1);
	EXPECT_EQ(ash_arena_init(&config), 0);
}

static inline struct ash_run topology_run(const struct ash_zonelist *zl, size_t nr)
{
	struct ash_run r = { NULL, 0, false };

	EXPECT_EQ(ash_run_alloc(zl, nr, 0, ASH_MT_UNMOVABLE, &r), 0);
	return r;
}

static inline struct ash_arena_stats arena_of_run(const struct ash_run *r)
{
	struct ash_arena_stats s;

	EXPECT(ash_arena_stats((unsigned)(ash_frame_index(r->addr) >> ash_registry.span_frame_shift), &s));
	return s;
}

/* What mbind said last of the whole range; NULL: nothing. */
static inline const char *bound_by(const void *p, char text[64])
{
	for (unsigned i = machine.nr_binds; i-- > 0;) {
		const uintptr_t start = machine.binds[i % TOPOLOGY_BINDS].start;

		if ((uintptr_t)p >= start && (uintptr_t)p - start < machine.binds[i % TOPOLOGY_BINDS].bytes) {
			sprintf(text, "%ld:%llx", machine.binds[i % TOPOLOGY_BINDS].mode,
				(unsigned long long)machine.binds[i % TOPOLOGY_BINDS].nodes);
			return text;
		}
	}
	return "nothing";
}

#endif
