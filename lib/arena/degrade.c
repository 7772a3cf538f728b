/* SPDX-License-Identifier: MIT */
/*
 * Going down the ladder: counted always, said once per process in one line that names the pool, the node, what was
 * wanted, what is free, and the cgroup limit if that is the cause.
 */
#include <string.h>

#include "arena/internal.h"
#include "os/huge.h"
#include "os/log.h"
#include "os/text.h"

#define LINE_BYTES 320

/* Few processes ever have such a line, so it is not in the data that every process has. */
static struct {
	_Atomic bool begun;         /* somebody writes the line */
	_Atomic(const char *) line; /* complete (release, acquire) */
} degraded;

static const char *const rung_names[ASH_BACKING_NR] = {
	[ASH_BACKING_HUGETLB_1G] = "1 GiB huge pages",
	[ASH_BACKING_HUGETLB_2M] = "2 MiB huge pages",
	[ASH_BACKING_THP] = "transparent huge pages",
	[ASH_BACKING_BASE] = "base pages",
};

/* A node, or the policy whose memory is of several. */
static void put_whose(struct ash_text *t, const struct ash_arena *a, int node)
{
	char policy[LINE_BYTES / 2];

	if (node >= 0) {
		ash_text_str(t, "node ");
		ash_text_num(t, (uint64_t)node);
	} else {
		ash_policy_write(a->policy, ',', policy, sizeof(policy));
		ash_text_str(t, a->policy->mode == ASH_POLICY_DEFAULT ? "the task's policy" : policy);
	}
}

/* The pool of a node, or what those of all that the policy names hold together; false: there are none. */
static bool add_pools(const struct ash_arena *a, int node, unsigned page_shift, struct ash_huge_pool *sum)
{
	const uint64_t nodes = node < 0 && a->policy != NULL ? a->policy->nodes : 0;
	struct ash_huge_pool pool;
	bool any = false;

	if (nodes == 0)
		return ash_huge_pool(node, page_shift, sum) == 0 || ash_huge_pool(-1, page_shift, sum) == 0;
	*sum = (struct ash_huge_pool){ 0 };
	for (uint64_t left = nodes; left != 0; left &= left - 1) {
		if (ash_huge_pool((int)ash_ctz(left), page_shift, &pool) < 0)
			continue;
		sum->total += pool.total;
		sum->free += pool.free;
		any = true;
	}
	return any;
}

static void put_pool(struct ash_text *t, const struct ash_arena *a, int node, unsigned page_shift)
{
	struct ash_huge_pool pool;

	if (!add_pools(a, node, page_shift, &pool)) {
		ash_text_str(t, "; the kernel has no such pool");
		return;
	}
	ash_text_str(t, "; ");
	ash_text_num(t, pool.free);
	ash_text_str(t, " of ");
	ash_text_num(t, pool.total);
	ash_text_str(t, " pages free");
}

static void put_cgroup(struct ash_text *t, unsigned page_shift, size_t wanted)
{
	uint64_t limit, used;

	if (ash_huge_cgroup(page_shift, &limit, &used) < 0 || (used <= limit && limit - used >= wanted))
		return;
	ash_text_str(t, "; the cgroup's limit is ");
	ash_text_size(t, limit);
	ash_text_str(t, ", ");
	ash_text_size(t, used);
	ash_text_str(t, " in use");
}

static void write_line(char line[LINE_BYTES], const struct ash_arena *a, enum ash_backing rung, size_t wanted,
		       enum ash_backing instead)
{
	const int node = ash_arenas.bind ? ash_arena_node_of(a->index) : a->node;
	struct ash_text t;

	ash_text_init(&t, line, LINE_BYTES);
	put_whose(&t, a, node);
	ash_text_str(&t, ": no ");
	ash_text_str(&t, rung_names[rung]);
	ash_text_str(&t, " (wanted ");
	ash_text_size(&t, wanted);
	if (rung == ASH_BACKING_THP) {
		ash_text_str(&t, "; switched off for this system or process");
	} else {
		const unsigned shift = rung == ASH_BACKING_HUGETLB_1G ? ASH_HUGE_1G_SHIFT : ASH_HUGE_2M_SHIFT;

		put_pool(&t, a, node, shift);
		put_cgroup(&t, shift, wanted);
	}
	ash_text_str(&t, ash_arenas.config.strict ? "): refused, as asked (strict)" : "): using ");
	if (!ash_arenas.config.strict)
		ash_text_str(&t, rung_names[instead]);
}

void ash_degrade_note(struct ash_arena *a, enum ash_backing rung, size_t wanted, enum ash_backing instead)
{
	char line[LINE_BYTES], *kept;

	(void)atomic_fetch_add_explicit(&a->fallbacks, 1, memory_order_relaxed);
	if (atomic_exchange_explicit(&degraded.begun, true, memory_order_relaxed))
		return;
	if (instead == ASH_BACKING_THP && ash_thp_mode() == ASH_THP_NEVER)
		instead = ASH_BACKING_BASE;
	write_line(line, a, rung, wanted, instead);
	/* Without memory to keep it in, it has at least been said. */
	kept = ash_meta_alloc(LINE_BYTES);
	if (kept != NULL) {
		memcpy(kept, line, LINE_BYTES);
		atomic_store_explicit(&degraded.line, kept, memory_order_release);
	}
	if (!ash_arenas.config.quiet)
		ash_log(line);
}

const char *ash_arena_degraded(void)
{
	const char *line = atomic_load_explicit(&degraded.line, memory_order_acquire);

	return line != NULL ? line : "";
}
