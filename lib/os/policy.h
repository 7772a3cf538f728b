/* SPDX-License-Identifier: MIT */
/*
 * NUMA policies as text and as system calls. struct ash_policy is the public one.
 *
 * Text: MODE or MODE=NODES, see <ashlar/policy.h>. Nothing here allocates; which nodes there are is asked of the kernel
 * only when NODES are given.
 */
#ifndef ASH_OS_POLICY_H
#define ASH_OS_POLICY_H

#include <ashlar/policy.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * A list of nodes in numactl's syntax, the n bytes at s: bits into *nodes. allowed: what "all", "!" and "+" refer to.
 * exists: what may be named. weight: NULL, or where NODE*WEIGHT is taken down.
 * 0; -EINVAL: no such list, or one of no node; -ERANGE: *bad does not exist.
 */
struct ash_nodelist {
	uint64_t allowed, exists;
	uint8_t *weight;
};
ASH_MUST_USE int ash_nodelist_parse(const struct ash_nodelist *list, const char *s, size_t n, uint64_t *nodes,
				    unsigned *bad);

/* The n bytes at s; *out is written on success only. 0, -EINVAL, -ERANGE. */
ASH_MUST_USE int ash_policy_read(struct ash_policy *out, const char *s, size_t n);

/* The text that ash_policy_read() takes, commas written as comma. size: ASH_POLICY_TEXT_MAX is enough for all. */
enum { ASH_POLICY_TEXT_MAX = 1024 };
void ash_policy_write(const struct ash_policy *policy, char comma, char *buf, size_t size);

/* The fields agree with each other: modes that name nodes name some, the others none. */
bool ash_policy_valid(const struct ash_policy *policy);

/*
 * Pages of [addr, addr + bytes) not yet touched come from nodes as the policy says; DEFAULT: as the task's own. Weights
 * are not looked at, only whether there are any. A kernel without the mode takes the nearest older one. -errno
 * otherwise.
 */
ASH_MUST_USE int ash_policy_apply(void *addr, size_t bytes, const struct ash_policy *policy);

/*
 * The task's own policy (set_mempolicy, numactl). DEFAULT: it has none, or one that is to be local, or the kernel will
 * not say. -EINVAL: one that struct ash_policy cannot tell: nodes relative to the cpuset, or a mode that is newer than
 * we.
 */
ASH_MUST_USE int ash_policy_of_task(struct ash_policy *out);

#endif
