/* SPDX-License-Identifier: MIT */
/* The task's memory policy, inherited over execve and obeyed by the arenas: set_mempolicy(2) as numactl(8) sets it. */
#ifndef ASHLAR_TOOLS_NODES_H
#define ASHLAR_TOOLS_NODES_H

#include <stdbool.h>
#include <stdint.h>

enum node_mode {
	NODES_UNCHANGED,
	NODES_BIND,
	NODES_INTERLEAVE,
	NODES_WEIGHTED_INTERLEAVE,
	NODES_PREFERRED,
	NODES_PREFERRED_MANY,
	NODES_LOCAL
};

struct node_policy {
	enum node_mode mode;
	uint64_t mask;
	char nodes[256]; /* as given */
};

/* numactl's list: "0,2-3", "all", "!1", "+0"; one node for NODES_PREFERRED. false: *why (malloc'ed) says what is
 * wrong. */
bool node_policy_parse(struct node_policy *policy, enum node_mode mode, const char *nodes, char **why);
/* For this process. Without NUMA in the kernel there is one node, and any policy on it is in effect already. */
bool node_policy_apply(const struct node_policy *policy, char **why);
/* A line for --dry-run; nothing when unchanged. */
void node_policy_print(const struct node_policy *policy);

#endif
