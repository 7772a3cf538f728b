/* SPDX-License-Identifier: MIT */
/*
 * What the hosted drivers of the engine share: running a list of operations with the core's bug report caught,
 * shrinking a list that fails, and printing it so that it can be pasted into tests/model/found.c.
 */
#ifndef ASH_TESTS_MODEL_HOSTED_H
#define ASH_TESTS_MODEL_HOSTED_H

#include <setjmp.h>
#include <stdio.h>

#include "model/model.h"

/* Memory for one model, reused by every run of a driver. */
struct hosted_world {
	struct model_config config;
	void *mem;
	size_t size;
	struct model *m;
};

void hosted_open(struct hosted_world *w, const struct model_config *config);
void hosted_close(struct hosted_world *w);

/* Start over. False: the zone was refused (w->m is NULL). */
bool hosted_reset(struct hosted_world *w);

/* model_step and model_finish with a bug report of the core turned into an error of the model. */
bool hosted_step(struct hosted_world *w, const struct model_op *op);
bool hosted_finish(struct hosted_world *w);

/* Run ops[0..n) from the start, then finish. True: nothing was found. */
bool hosted_run(struct hosted_world *w, const struct model_op *ops, size_t n);

/* Remove operations for as long as the list still fails; returns the new length. The last run is the failing one. */
size_t hosted_shrink(struct hosted_world *w, struct model_op *ops, size_t n);

void hosted_print_error(const struct model *m);
void hosted_print_ops(const struct hosted_world *w, const struct model_op *ops, size_t n);

/* The long mode of the suites: ASH_TEST_LONG is set. */
bool hosted_long(void);

/* Seconds of the monotonic clock. */
double hosted_now(void);

/* For zones that threads share: who finds a lock taken sleeps, as in a process. */
extern const struct ash_lock_ops hosted_lock_ops;

#endif
