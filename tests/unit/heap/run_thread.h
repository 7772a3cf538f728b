/* SPDX-License-Identifier: MIT */
/* A thread that does one thing and has ended: for tests of what a heap's owner leaves to others. */
#ifndef ASH_TESTS_UNIT_HEAP_RUN_THREAD_H
#define ASH_TESTS_UNIT_HEAP_RUN_THREAD_H

#include "harness/test.h"

#include <pthread.h>

static inline void run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	EXPECT_EQ(pthread_create(&t, NULL, fn, arg), 0);
	EXPECT_EQ(pthread_join(t, NULL), 0);
}

#endif
