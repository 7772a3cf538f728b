/* SPDX-License-Identifier: MIT */
/*
 * Which nodes there are. Each that has memory we may have gets a place, and keeps it: places are only ever added. Nodes
 * that come later (memory that is plugged in, a cpuset that widens) are seen when somebody names one, or wants memory
 * where there is none; so room for them is reserved at the start, within reason.
 */
#include "dma/internal.h"
#include "os/clock.h"

enum { NODES_TO_COME = 8, LOOK_MS = 100 };

static unsigned count(uint64_t nodes)
{
	unsigned n = 0;

	for (; nodes != 0; nodes &= nodes - 1)
		n++;
	return n;
}

static uint64_t with_memory(uint64_t nodes)
{
	uint64_t some;

	if (count(nodes) < 2)
		return nodes;
	some = nodes & ash_numa_topology()->with_memory();
	return some != 0 ? some : nodes;
}

unsigned ash_dma_place(int node)
{
	const unsigned nr = ash_dma_nr_nodes();
	unsigned i = 0;

	while (i < nr && ash_dma.nodes[i] != node)
		i++;
	return i < nr ? i : ASH_DMA_NO_PLACE;
}

/* Setup turn. true: there are more than before. */
static bool give_places(uint64_t nodes)
{
	const unsigned before = ash_dma_nr_nodes();
	unsigned nr = before;

	for (; nodes != 0; nodes &= nodes - 1) {
		const int node = (int)ash_ctz(nodes);

		if (nr == ash_dma.nr_places || ash_dma_place(node) != ASH_DMA_NO_PLACE)
			continue;
		ash_dma.nodes[nr++] = (int16_t)node;
		/* Who sees the place sees whose it is. */
		atomic_store_explicit(&ash_dma.nr_nodes, nr, memory_order_release);
	}
	return nr > before;
}

void ash_dma_nodes_find(void)
{
	const uint64_t nodes = with_memory(ash_numa_allowed());
	const uint64_t possible = ash_numa_may_be_several() ? ash_numa_possible() : 0;
	const unsigned now = count(nodes), all = count(nodes | possible);

	ash_dma.nr_places = ash_min(all, now + NODES_TO_COME);
	ash_dma.bind = ash_dma.nr_places > 1;
	(void)give_places(nodes);
}

bool ash_dma_nodes_look(bool now)
{
	uint64_t due = atomic_load_explicit(&ash_dma.look_due, memory_order_relaxed), nodes;
	const uint64_t time = ash_clock_ms();
	bool more;

	if (ash_dma_nr_nodes() == ash_dma.nr_places)
		return false;
	if ((!now && time < due) ||
	    !atomic_compare_exchange_strong_explicit(&ash_dma.look_due, &due, time + LOOK_MS, memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	nodes = ash_numa_mems_allowed();
	if (nodes == 0)
		return false;
	/* libnuma remembers the machine that the program started on. */
	if ((nodes & ash_numa_sysfs.with_memory()) != 0)
		nodes &= ash_numa_sysfs.with_memory();
	ash_lock(&ash_dma.setup, &ash_futex_ops);
	more = give_places(nodes);
	ash_unlock(&ash_dma.setup, &ash_futex_ops);
	return more;
}
