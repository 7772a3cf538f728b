/* SPDX-License-Identifier: MIT */
/* The fake kernel of arena/topology.h, which is no friend of threads, for many of them: one call at a time. */
#ifndef ASH_TESTS_HEAP_SHARED_KERNEL_H
#define ASH_TESTS_HEAP_SHARED_KERNEL_H

#include "arena/topology.h"

#include <pthread.h>

static pthread_mutex_t kernel = PTHREAD_MUTEX_INITIALIZER;

static long one_at_a_time(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;

	if (nr == __NR_futex)
		return ash_sys_kernel(nr, a, b, c, d, e, f);
	pthread_mutex_lock(&kernel);
	ret = topology_call(nr, a, b, c, d, e, f);
	pthread_mutex_unlock(&kernel);
	return ret;
}

static const struct ash_sys_ops ops = { .call = one_at_a_time, .now_ms = topology_now };

#endif
