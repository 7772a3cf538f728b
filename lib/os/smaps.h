/* SPDX-License-Identifier: MIT */
/* What really backs a range of our own address space, by the kernel's accounting in /proc/self/smaps. */
#ifndef ASH_OS_SMAPS_H
#define ASH_OS_SMAPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Bytes resident, each byte in one figure only. */
struct ash_smaps {
	size_t base, thp, huge_2m, huge_1g;
	unsigned mappings; /* mappings that begin inside the range */
};

/*
 * Sum the mappings that begin in [start, end). Costs a walk of the whole process's mappings (milliseconds in a large
 * one). Negative errno when /proc is not to be had; *out is written only on success.
 */
ASH_MUST_USE int ash_smaps_read(uintptr_t start, uintptr_t end, struct ash_smaps *out);
/* The same of another process's addresses, from its own smaps file. */
ASH_MUST_USE int ash_smaps_read_file(const char *path, uintptr_t start, uintptr_t end, struct ash_smaps *out);

#endif
