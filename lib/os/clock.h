/* SPDX-License-Identifier: MIT */
/* A coarse monotonic clock, cheap enough for slow paths to ask each time. */
#ifndef ASH_OS_CLOCK_H
#define ASH_OS_CLOCK_H

#include <stdint.h>

/* Milliseconds since boot with the kernel tick's resolution (1 to 10 ms); no system call where the vDSO is. */
uint64_t ash_clock_ms(void);

#endif
