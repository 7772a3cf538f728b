/* SPDX-License-Identifier: MIT */
/* The part of the report that is by node, and how nodes and policies are named in all formats. */
#include "ctl/formats.h"

const char *const ash_spill_names[ASH_SPILL_REASONS] = {
	[ASH_SPILL_NONE] = "none",
	[ASH_SPILL_POOL] = "pool",
	[ASH_SPILL_LIMIT] = "limit",
	[ASH_SPILL_SPACE] = "space",
	[ASH_SPILL_CPUSET] = "cpuset",
	[ASH_SPILL_MEMORYLESS] = "memoryless",
	[ASH_SPILL_POLICY] = "policy",
};

const char *const ash_spill_texts[ASH_SPILL_REASONS] = {
	[ASH_SPILL_NONE] = "for no reason",
	[ASH_SPILL_POOL] = "its huge pages were used up",
	[ASH_SPILL_LIMIT] = "the limit was reached",
	[ASH_SPILL_SPACE] = "it had no more to give",
	[ASH_SPILL_CPUSET] = "the cpuset does not allow it",
	[ASH_SPILL_MEMORYLESS] = "it has no memory",
	[ASH_SPILL_POLICY] = "a policy or a node's number said so",
};

void ash_write_arena_node(struct ash_writer *w, const struct ash_snapshot_arena *a)
{
	char text[ASH_POLICY_TEXT_MAX];

	if (a->policy == NULL) {
		ash_write(w, "%d", a->stats.node);
		return;
	}
	/* The task's own: nothing is bound. */
	ash_policy_write(a->policy, ',', text, sizeof(text));
	ash_write(w, "%s", a->policy->mode == ASH_POLICY_DEFAULT ? "task" : text);
}

static void write_frames(struct ash_writer *w, uint64_t frames)
{
	ash_write(w, " %10s", frames == 0 ? "-" : ash_size_text(frames * ASH_PAGE_SIZE).text);
}

static void write_row(struct ash_writer *w, int node, const uint64_t *columns, size_t nr)
{
	ash_write(w, "  %-11snode %-6d", "", node);
	for (size_t c = 0; c < nr; c++)
		write_frames(w, columns[c]);
}

void ash_format_text_nodes(struct ash_writer *w, const struct ash_snapshot *s)
{
	if (s->nr_nodes == 0)
		return;
	ash_write(w, "  %-11s%-11s %10s %10s %10s %10s %10s %10s\n", "nodes", "node", "in memory", "strayed", "hit",
		  "miss", "foreign", "interleave");
	for (unsigned i = 0; i < s->nr_nodes; i++) {
		const struct ash_snapshot_node *n = &s->nodes[i];
		const uint64_t columns[] = { n->in_memory, n->strayed,      n->numa_hit,
					     n->numa_miss, n->numa_foreign, n->interleave_hit };

		write_row(w, n->node, columns, ASH_ARRAY_LEN(columns));
		ash_write(w, "\n");
	}
	ash_write(w, "  %-11s%-11s %10s %10s   pool of 2 MiB  of 1 GiB\n", "", "", "local", "other");
	for (unsigned i = 0; i < s->nr_nodes; i++) {
		const struct ash_snapshot_node *n = &s->nodes[i];
		const uint64_t columns[] = { n->local_node, n->other_node };

		write_row(w, n->node, columns, ASH_ARRAY_LEN(columns));
		ash_write(w, " %5llu of %-7llu", (unsigned long long)n->pool_2m_free, (unsigned long long)n->pool_2m);
		ash_write(w, " %llu of %llu free\n", (unsigned long long)n->pool_1g_free,
			  (unsigned long long)n->pool_1g);
	}
	for (unsigned i = 0; i < s->nr_spills; i++) {
		const struct ash_spill *spill = &s->spills[i];

		ash_write(w, "  %-11sfor node %d, taken from node %d: %s", "", spill->from, spill->to,
			  ash_size_text(spill->frames * ASH_PAGE_SIZE).text);
		ash_write(w, " in %llu runs: %s\n", (unsigned long long)spill->runs, ash_spill_texts[spill->reason]);
	}
	if (s->placement_error != 0)
		ash_write(w, "  %-11swhere the memory is the kernel does not say (errno %d)\n", "",
			  -s->placement_error);
	ash_write(w, "\n");
}
