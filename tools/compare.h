/* SPDX-License-Identifier: MIT */
/* A comparison's results, between what makes them (compare.c) and what prints them (compare_print.c). */
#ifndef ASHLAR_TOOLS_COMPARE_H
#define ASHLAR_TOOLS_COMPARE_H

#include "measure.h"

#define CONTENDERS_MAX 16
#define RUNS_MAX 1000

struct contender {
	char *name;
	char *library; /* NULL: the C library's own malloc */
	char *preload; /* LD_PRELOAD's value; NULL: unset */
	char *failed;  /* NULL, or what happened */
	unsigned runs; /* that went well */
	double samples[METRIC_NR][RUNS_MAX];
};

struct comparison {
	char **command; /* NULL-terminated */
	unsigned runs;
	const char *conf; /* ASHLAR_CONF of ashlar's runs; NULL: as inherited */
	unsigned nr;
	struct contender *contenders[CONTENDERS_MAX];
	unsigned nr_left_out;
	char *left_out[CONTENDERS_MAX]; /* a sentence each */
};

void compare_print_table(const struct comparison *c);
void compare_print_json(const struct comparison *c);

#endif
