/* SPDX-License-Identifier: MIT */
/* What stands in for an operating system: a console, a way to switch off, and the machine's memory map. */
#ifndef BAREMETAL_MACHINE_H
#define BAREMETAL_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Usable memory in whole frames, addresses [start, end), ascending. */
struct range {
	uint64_t start, end;
};
extern struct range memory[];
extern unsigned nr_ranges;

/* Supplied by main.c; called on the one processor, interrupts off. Its result is how the machine ends. */
bool run(void);

/* Whether the command line (-append) has this word. */
bool asked(const char *word);

/*
 * Zeroed memory that no zone will ever hold, for what must exist before the zone does. Ends the machine when there is
 * none.
 */
void *early_alloc(size_t bytes);

void print(const char *text);
void print_number(uint64_t value);
void print_address(uint64_t address);

/* Physical memory is mapped where it is. */
static inline void *at_address(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

_Noreturn void machine_off(bool good);

#endif
