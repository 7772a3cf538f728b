/* SPDX-License-Identifier: MIT */
#ifndef BAREMETAL_SELFTEST_H
#define BAREMETAL_SELFTEST_H

#include "page/zone.h"

/* main.c: the core's report of a broken promise. */
void on_bug(const struct ash_zone *z, const char *what, ash_pfn_t pfn, unsigned long a, unsigned long b);

/*
 * Run the core against tests/model, in memory taken from this zone: on small zones of many shapes, and on a zone with
 * the ranges and holes of this very machine. False: they disagree; printed.
 */
bool selftest(struct ash_zone *zone);

#endif
