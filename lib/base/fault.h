/* SPDX-License-Identifier: MIT */
/*
 * Fault injection: operations of several steps ask at each step whether to fail there, so that a test can prove that
 * each of them undoes the steps before it. Compiled to constant false unless ASH_CHECKS is 1; no globals.
 */
#ifndef ASH_BASE_FAULT_H
#define ASH_BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

/* Supplied by a test; embed it in what the test needs to remember. */
struct ash_fault {
	/* true: fail here. point names the step and is a constant string. Called with or without locks held. */
	bool (*fail)(struct ash_fault *fault, const char *point);
};

#define ASH_FAULT(fault, point) (ASH_CHECKS && (fault) != NULL && (fault)->fail(fault, point))

#endif
