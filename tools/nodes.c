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

#define LONG_BITS (8 * sizeof(unsigned long))

static const struct {
	int policy;
	const char *name;
} modes[] = {
	[NODES_BIND] = { MPOL_BIND, "membind" },
	[NODES_INTERLEAVE] = { MPOL_INTERLEAVE, "interleave" },
	[NODES_PREFERRED] = { MPOL_PREFERRED, "preferred" },
	[NODES_LOCAL] = { MPOL_LOCAL, "local" },
};

static bool node_exists(unsigned long node)
{
	char *path = format_text("/sys/devices/system/node/node%lu", node);
	/* A kernel without NUMA has no such folders, and one node. */
	const bool exists = access(path, F_OK) == 0 || (node == 0 && access("/sys/devices/system/node", F_OK) != 0);

	free(path);
	return exists;
}

static bool parse_node(const char **text, unsigned long *node)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	*node = strtoul(*text, &end, 10);
	if (errno != 0 || *node >= NODES_MAX)
		return false;
	*text = end;
	return true;
}

static bool add(struct node_policy *policy, unsigned long first, unsigned long last, char **why)
{
	for (unsigned long node = first; node <= last; node++) {
		if (!node_exists(node)) {
			*why = format_text("this machine has no node %lu", node);
			return false;
		}
		policy->mask[node / LONG_BITS] |= 1ul << (node % LONG_BITS);
	}
	return true;
}

static unsigned long add_all(struct node_policy *policy)
{
	unsigned long count = 0;

	for (unsigned long node = 0; node < NODES_MAX; node++) {
		if (node_exists(node)) {
			policy->mask[node / LONG_BITS] |= 1ul << (node % LONG_BITS);
			count++;
		}
	}
	return count;
}

/* "0,2-3" into the mask: how many nodes were named, or 0 and *why. */
static unsigned long add_list(struct node_policy *policy, const char *text, char **why)
{
	const char *whole = text;
	unsigned long count = 0;

	for (;;) {
		unsigned long first, last;

		if (!parse_node(&text, &first))
			break;
		last = first;
		if (*text == '-') {
			text++;
			if (!parse_node(&text, &last) || last < first)
				break;
		}
		if (!add(policy, first, last, why))
			return 0;
		count += last - first + 1;
		if (*text == '\0')
			return count;
		if (*text++ != ',')
			break;
	}
	*why = format_text("\"%s\" is not a list of nodes like 0,2-3 or all", whole);
	return 0;
}

bool node_policy_parse(struct node_policy *policy, enum node_mode mode, const char *nodes, char **why)
{
	unsigned long count;

	policy->mode = mode;
	snprintf(policy->nodes, sizeof(policy->nodes), "%s", nodes);
	if (mode == NODES_LOCAL)
		return true;
	count = strcmp(nodes, "all") == 0 ? add_all(policy) : add_list(policy, nodes, why);
	if (count > 1 && mode == NODES_PREFERRED) {
		*why = format_text("one node is preferred, not several (\"%s\")", nodes);
		return false;
	}
	return count > 0;
}

bool node_policy_apply(const struct node_policy *policy, char **why)
{
	/* The kernel takes the number of bits and uses one fewer. */
	const unsigned long bits = policy->mode == NODES_LOCAL ? 0 : NODES_MAX + 1;

	if (policy->mode == NODES_UNCHANGED ||
	    syscall(SYS_set_mempolicy, modes[policy->mode].policy, bits != 0 ? policy->mask : NULL, bits) == 0 ||
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
