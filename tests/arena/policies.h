/* SPDX-License-Identifier: MIT */
/* Policies by their text, on the machines of topology.h. */
#ifndef ASH_TESTS_ARENA_POLICIES_H
#define ASH_TESTS_ARENA_POLICIES_H

#include "arena/topology.h"

#include "os/numa.h"
#include "os/policy.h"

static inline struct ash_policy policy(const char *text)
{
	struct ash_policy p;

	EXPECT_EQ(ash_policy_read(&p, text, strlen(text)), 0);
	return p;
}

static inline const struct ash_zonelist *zonelist(const char *text)
{
	const struct ash_policy p = policy(text);
	const struct ash_zonelist *zl = NULL;

	EXPECT_EQ(ash_zonelist_of_policy(&p, &zl), 0);
	return zl;
}

static inline void start(const char *text)
{
	struct ash_arena_config config = test_config();

	if (text != NULL)
		config.policy = policy(text);
	topology_start(config);
}

#endif
