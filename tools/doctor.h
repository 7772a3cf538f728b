/* SPDX-License-Identifier: MIT */
/* The doctor's findings: each check says what it saw, and for what is not right, the line that mends it. */
#ifndef ASHLAR_TOOLS_DOCTOR_H
#define ASHLAR_TOOLS_DOCTOR_H

#include "base/compiler.h"

enum severity {
	FINDING_OK,
	FINDING_NOTE,    /* something that a program may ask for is not to be had */
	FINDING_PROBLEM, /* ashlar cannot do what it does by default */
};

struct doctor {
	const char *root; /* "" or a folder that stands for / */
	unsigned count[FINDING_PROBLEM + 1];
};

/* One finding, a line. */
void finding(struct doctor *d, enum severity severity, const char *format, ...) ASH_PRINTF(3, 4);
/* A command that mends the finding before it. */
void fix(const char *format, ...) ASH_PRINTF(1, 2);

/* The number in a file below the root; -1: no such file or no number, -2: "max". */
long long doctor_number(const struct doctor *d, const char *format, ...) ASH_PRINTF(2, 3);

/* doctor_cgroup.c: limits of the control groups that this process is in. */
void check_cgroups(struct doctor *d);

#endif
