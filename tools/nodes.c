/* SPDX-License-Identifier: MIT */
/* Parse a list of NUMA nodes and set the memory policy of this process. */
#include "nodes.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ashlar.h"
#include "os/numa.h"
#include "os/policy.h"

/* Newer than the oldest kernel headers we build with. */
enum { PREFERRED_MANY = 5, WEIGHTED_INTERLEAVE = 6 };

static const struct {
	int policy;
	const char *name;
} modes[] = {
	[NODES_BIND] = { MPOL_BIND, "membind" },
	[NODES_INTERLEAVE] = { MPOL_INTERLEAVE, "interleave" },
	[NODES_PREFERRED] = { MPOL_PREFERRED, "preferred" },
	[NODES_PREFERRED_MANY] = { PREFERRED_MANY, "preferred-many" },
	[NODES_WEIGHTED_INTERLEAVE] = { WEIGHTED_INTERLEAVE, "weighted-interleave" },
	[NODES_LOCAL] = { MPOL_LOCAL, "local" },
};

/* Where no folder tells, those that the process may use: on a kernel without NUMA that is node 0. */
static uint64_t existing_nodes(uint64_t allowed)
{
	uint64_t nodes = 0;

	if (access("/sys/devices/system/node", F_OK) != 0)
		return allowed;
	for (unsigned node = 0; node < ASH_NODES_MAX; node++) {
		char *path = format_text("/sys/devices/system/node/node%u", node);

		nodes |= (uint64_t)(access(path, F_OK) == 0) << node;
		free(path);
	}
	return nodes;
}

bool node_policy_parse(struct node_policy *policy, enum node_mode mode, const char *nodes, char **why)
{
	struct ash_nodelist list = { .allowed = ash_numa_allowed() };
	unsigned bad;
	int err;

	policy->mode = mode;
	snprintf(policy->nodes, sizeof(policy->nodes), "%s", nodes);
	if (mode == NODES_LOCAL)
		return true;
	list.exists = existing_nodes(list.allowed);
	err = ash_nodelist_parse(&list, nodes, strlen(nodes), &policy->mask, &bad);
	if (err == -ERANGE)
		*why = format_text("this machine has no node %u (\"%s\")", bad, nodes);
	else if (err < 0)
		*why = format_text("\"%s\" is not a list of nodes like 0,2-3 or all or !1 or +0", nodes);
	else if (mode == NODES_PREFERRED && ((policy->mask & (policy->mask - 1)) != 0 || strpbrk(nodes, ",-") != NULL))
		*why = format_text("one node is preferred, not several (\"%s\")", nodes);
	else
		return true;
	return false;
}

bool node_policy_apply(const struct node_policy *policy, char **why)
{
	/* The kernel takes the number of bits and uses one fewer. */
	const unsigned long bits = policy->mode == NODES_LOCAL ? 0 : ASH_NODES_MAX + 1;

	if (policy->mode == NODES_UNCHANGED ||
	    syscall(SYS_set_mempolicy, modes[policy->mode].policy, bits != 0 ? &policy->mask : NULL, bits) == 0 ||
	    errno == ENOSYS)
		return true;
	*why = format_text("the kernel refuses the memory policy %s %s: %s", modes[policy->mode].name, policy->nodes,
			   strerror(errno));
	return false;
}

void node_policy_print(const struct node_policy *policy)
{
	if (policy->mode != NODES_UNCHANGED)
		printf("# memory policy: %s %s\n", modes[policy->mode].name, policy->nodes);
}
