/* SPDX-License-Identifier: MIT */
/* What the first allocation of a process asks of the kernel: counted, since every process that allocates pays it. */
#include "arena/child.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "heap/heap.h"
#include "os/sys.h"

static struct { unsigned all, mprotect, adjacent, gigabytes; } calls;

static long count(long nr, long a, long b, long c, long d, long e, long f)
{
	static long start[16], end[16];

	calls.all++;
	if (nr == __NR_mprotect && calls.mprotect < 16) {
		bool elsewhere = true;

		for (unsigned i = 0; i < calls.mprotect; i++) {
			calls.adjacent += end[i] == a;
			elsewhere &= start[i] >> 30 != a >> 30;
		}
		calls.gigabytes += elsewhere;
		start[calls.mprotect] = a;
		end[calls.mprotect++] = c == (PROT_READ | PROT_WRITE) ? a + b : 0;
	}
	return ash_sys_kernel(nr, a, b, c, d, e, f);
}

static const struct ash_sys_ops counting = { .call = count };

/*
 * Nodes, memory; two reservations, and of the metadata two advices; readable: tags; writable: the tables per pageblock,
 * the heaps' table behind them, frames, tags, slabs and the first half pageblock.
 */
CHILD_TEST(the_first_allocation_is_thirteen_system_calls)
{
	void *p;

	ash_sys_hook = &counting;
	p = ash_heap_malloc(1);
	ash_sys_hook = NULL;
	EXPECT(p != NULL);
	if (ash_arena_is_several())
		SKIP("several nodes, or more to come, are asked for");
	EXPECT_EQ(calls.mprotect, 7);
	EXPECT_EQ(calls.adjacent, 1);
	/* What lies together (across a border, perhaps), the tables unless they are too long, and the arena. */
	if (ash_registry.nr_frames >> 18 <= 300)
		EXPECT_LE(calls.gigabytes, 4);
	EXPECT_EQ(calls.all, 13);
	check_zones();
}
