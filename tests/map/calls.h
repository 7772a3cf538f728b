/* SPDX-License-Identifier: MIT */
/*
 * Random mapping calls of one process, and what came of each: the two halves of the differential test share this.
 *
 * What a step does depends on (seed, sequence, step) and on what earlier steps did, which is the same in both processes
 * as long as their answers are; so the first difference is where something went wrong.
 */
#ifndef ASH_TESTS_MAP_CALLS_H
#define ASH_TESTS_MAP_CALLS_H

#include <stdint.h>

enum { CALLS_STEPS = 48 }; /* of a sequence */

struct calls_record {
	uint32_t sequence, step;
	int64_t ret;      /* addresses relative to the playground; "elsewhere" is one value */
	int32_t error;    /* errno */
	uint32_t content; /* hash of pages that were looked at; unreadable ones count as such */
	uint32_t access;  /* hash of what the kernel says is mapped, where and with which rights */
	char what[84];    /* the call, for people */
};

/* Run the sequence, leaving out the steps of the mask. Calls each record out; it may not return. */
void calls_run(uint64_t seed, uint32_t sequence, uint64_t leave_out, void (*out)(const struct calls_record *record));

#endif
